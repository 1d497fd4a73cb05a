//! An image of the store out again, as it is or with layers on it.
use super::{lay_over, named, squash, stored_layer};
use crate::cli::ExportOptions;
use crate::exit::Failure;
use crate::output;
use crate::pack::Tree;
use anyhow::Context;
use layers::Digest;
use layers::export::{Export, with_layers};
use layers::store::Store;
use std::io::BufWriter;

/// Writes an image to a file, which is there when it is whole. The digest of the image, which is another one if it got layers.
pub(super) fn export(store: &Store, options: &ExportOptions) -> Result<Digest, Failure> {
    let names = named(options.name.as_deref())?;
    let out = &options.out;
    if out.exists() && !out.is_file() {
        return Err(Failure::early(format!("cannot write the image {}: it is no file", out.display())));
    }
    // Now, and not when layers have been put together, it is told that this cannot be.
    let file = output::temporary(out)?;
    let (stored, _) = super::image(store, &options.image)?;
    let mut layers = stored.layers.clone();
    for layer in &options.layers {
        layers.push(stored_layer(store, layer)?);
    }
    let mut below = stored.layers.len();
    if options.squash || layers.len() > below {
        let mut tree = Tree::empty();
        for layer in &layers {
            lay_over(&mut tree, store, *layer)?;
        }
        if options.squash {
            layers = vec![squash::keep(store, &tree)?];
            below = 0;
        }
    }
    let is_as_it_was = layers == stored.layers;
    let config = if is_as_it_was { stored.config } else { with_layers(&stored.config, below, &layers)? };
    let names = if names.is_empty() && is_as_it_was { stored.names } else { names };
    let id = Digest::of(config.as_bytes());
    let layers = layers.into_iter().map(|layer| (layer, store.layer_path(layer))).collect();
    let mut to = BufWriter::with_capacity(1 << 16, file);
    Export { config, names, layers }
        .write(&mut to)
        .map_err(|error| Failure::early(format!("{}: {error}", out.display())))?;
    let file = to.into_inner().map_err(|error| error.into_error()).context("cannot write the image")?;
    file.finish(out)?;
    Ok(id)
}
