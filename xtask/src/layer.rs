//! `cargo xtask layer`: container images and their layers, as they were imported. They are kept in `target/layers`; see [`layers::store`].
use crate::cli::{LayerCommand, LayerOptions};
use crate::exit::Failure;
use crate::pack::{LayerSource, Tree};
use crate::workspace;
use layers::Digest;
use layers::store::{Store, Stored};
use std::path::Path;
use std::process::ExitCode;

/// Digits of a digest that are shown: as many as Docker shows.
const SHORT: usize = 12;

/// The images of this workspace.
pub(crate) fn store() -> Store {
    Store::at(&workspace::target_dir("layers"))
}

impl From<layers::Error> for Failure {
    fn from(error: layers::Error) -> Self {
        Self::early(error.to_string())
    }
}

/// Does what was asked.
pub(crate) fn layer(options: &LayerOptions) -> Result<ExitCode, Failure> {
    let store = store();
    match &options.command {
        LayerCommand::Import { image } => {
            let (stored, is_new) = import(&store, image)?;
            // Layers that do not fit together are found now and not by the first run.
            tree(&store, &stored)?;
            println!("{}", stored.id);
            if !is_new {
                eprintln!("cordon: {} was imported before", image.display());
            }
        }
        LayerCommand::List => {
            for stored in store.list()? {
                println!("{}", line(&store, &stored));
            }
        }
        LayerCommand::Destroy { images, all } => {
            let mut freed = 0;
            for image in images {
                freed += store.destroy(&store.find(image)?)?;
            }
            if *all {
                freed += store.clear()?;
            }
            eprintln!("cordon: {} MiB freed", freed >> 20);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The image in a file or directory, imported if it was not.
pub(crate) fn import(store: &Store, image: &Path) -> Result<(Stored, bool), Failure> {
    store.image(image).map_err(|error| Failure::early(format!("the image {}: {error}", image.display())))
}

/// The files of an image.
pub(crate) fn tree(store: &Store, image: &Stored) -> Result<Tree, Failure> {
    let mut tree = Tree::without_host();
    for layer in &image.layers {
        lay_over(&mut tree, store, *layer)?;
    }
    Ok(tree)
}

/// Lays a layer of the store over a tree.
pub(crate) fn lay_over(tree: &mut Tree, store: &Store, digest: Digest) -> Result<(), Failure> {
    let refuse = |error: layers::Error| Failure::early(format!("the layer {}: {error}", short(digest)));
    let layer = store.layer(digest).map_err(refuse)?;
    let source = LayerSource { layer: &layer, archive: &store.layer_path(digest), number: digest.short() };
    tree.apply(&source).map_err(refuse)
}

fn short(digest: Digest) -> String {
    digest.hex().chars().take(SHORT).collect()
}

/// An image's line in the list: digest, layers, MiB, names.
fn line(store: &Store, stored: &Stored) -> String {
    let len = |layer: &Digest| store.layer_path(*layer).metadata().map_or(0, |metadata| metadata.len());
    let bytes: u64 = stored.layers.iter().map(len).sum();
    let names: Vec<String> = stored.names.iter().map(|name| name.escape_default().to_string()).collect();
    format!("{}  {:3} layers {:6} MiB  {}", short(stored.id), stored.layers.len(), bytes >> 20, names.join(" "))
}
