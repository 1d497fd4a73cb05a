//! `cargo xtask layer`: container images and layers, as they were imported. They are kept in `target/layers`, or where `CORDON_LAYERS`
//! says; see [`layers::store`].
mod export;
mod squash;

use crate::cli::{LayerCommand, LayerOptions};
use crate::exit::Failure;
use crate::pack::{self, LayerSource, Tree};
use crate::workspace;
use layers::Digest;
use layers::export::{base_config, reference};
use layers::store::{Kept, Store, Stored};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Digits of a digest that are shown: as many as Docker shows.
const SHORT: usize = 12;

/// Names another place for the store.
const PLACE: &str = "CORDON_LAYERS";

/// What was imported: in this workspace, or where the user says.
pub(crate) fn store() -> Store {
    match std::env::var_os(PLACE).filter(|place| !place.is_empty()) {
        Some(place) => Store::at(Path::new(&place)),
        None => Store::at(&workspace::target_dir("layers")),
    }
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
            println!("{}", stored.id);
            if !is_new {
                eprintln!("cordon: {} was imported before", image.display());
            }
        }
        LayerCommand::Base { root, name } => println!("{}", base(&store, root, name.as_deref())?.id),
        LayerCommand::Export(options) => println!("{}", export::export(&store, options)?),
        LayerCommand::List => list(&store)?,
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

/// The image in a file or directory, imported if it was not. One whose layers do not fit together is none, and is not kept.
pub(crate) fn import(store: &Store, image: &Path) -> Result<(Stored, bool), Failure> {
    let imported = store.image(image);
    let (stored, is_new) =
        imported.map_err(|error| Failure::early(format!("the image {}: {error}", image.display())))?;
    if is_new && let Err(failure) = tree(store, &stored) {
        store.destroy(&Kept::Image(stored))?;
        return Err(failure);
    }
    Ok((stored, is_new))
}

/// The image that a user means: a file or directory, or else one that was imported, by its name or digest. The flag says whether it is new.
pub(crate) fn image(store: &Store, image: &Path) -> Result<(Stored, bool), Failure> {
    match image.to_str() {
        Some(name) if !image.exists() => match store.find_image(name) {
            Ok(stored) => Ok((stored, false)),
            Err(error) => Err(Failure::early(format!("the image {name}: there is no such file, and {error}"))),
        },
        _ => import(store, image),
    }
}

/// The files of an image.
pub(crate) fn tree(store: &Store, image: &Stored) -> Result<Tree, Failure> {
    let mut tree = Tree::without_host();
    for layer in &image.layers {
        lay_over(&mut tree, store, *layer)?;
    }
    Ok(tree)
}

/// Lays what the user calls layers over a tree, one after the other: directories, and archives as `run --diff` writes them.
pub(crate) fn lay_all(tree: &mut Tree, store: &Store, layers: &[PathBuf]) -> Result<(), Failure> {
    layers.iter().try_for_each(|layer| match layer.is_dir() {
        true => pack::lay_directory(tree, layer),
        false => lay_over(tree, store, archive(store, layer)?),
    })
}

/// The archive in this file as a layer of the store.
fn archive(store: &Store, layer: &Path) -> Result<Digest, Failure> {
    let refuse = |why: String| Failure::early(format!("the layer {}: {why}", layer.display()));
    if !layer.exists() {
        return Err(refuse("no such file or directory".into()));
    }
    store.archive(layer).map(|(digest, _)| digest).map_err(|error| refuse(error.to_string()))
}

/// The same of a directory, too, which is written as an archive.
fn stored_layer(store: &Store, layer: &Path) -> Result<Digest, Failure> {
    if !layer.is_dir() {
        return archive(store, layer);
    }
    let mut tree = Tree::empty();
    pack::lay_directory(&mut tree, layer)?;
    squash::keep(store, &tree)
}

/// Sets a base layer up: an image of one layer, which is a root file system.
fn base(store: &Store, root: &Path, name: Option<&str>) -> Result<Stored, Failure> {
    let names = named(name)?;
    let known = store.loose()?;
    let layer = stored_layer(store, root)?;
    // What does not fit together in it is found now.
    if let Err(failure) = lay_over(&mut Tree::without_host(), store, layer) {
        if store.loose()?.contains(&layer) && !known.contains(&layer) {
            store.destroy(&Kept::Layer(layer))?;
        }
        return Err(failure);
    }
    Ok(store.keep(base_config(layer), names, vec![layer])?)
}

/// An image's names if it is called so.
fn named(name: Option<&str>) -> Result<Vec<String>, Failure> {
    let wrong = |name: &str| Failure::early(format!("{name:?} is no name for an image; write for example demo:1"));
    name.map(|name| reference(name).ok_or_else(|| wrong(name))).transpose().map(|name| name.into_iter().collect())
}

/// Lays a layer of the store over a tree.
fn lay_over(tree: &mut Tree, store: &Store, digest: Digest) -> Result<(), Failure> {
    let refuse = |error: layers::Error| Failure::early(format!("the layer {}: {error}", short(digest)));
    let layer = store.layer(digest).map_err(refuse)?;
    let source = LayerSource { layer: &layer, archive: &store.layer_path(digest), number: digest.short() };
    tree.apply(&source).map_err(refuse)
}

fn short(digest: Digest) -> String {
    digest.hex().chars().take(SHORT).collect()
}

/// Prints a line for each image (digest, layers, MiB, names) and each layer that no image has.
fn list(store: &Store) -> Result<(), Failure> {
    let len = |layer: &Digest| store.layer_path(*layer).metadata().map_or(0, |metadata| metadata.len());
    for stored in store.list()? {
        let mib = stored.layers.iter().map(len).sum::<u64>() >> 20;
        let names: Vec<String> = stored.names.iter().map(|name| name.escape_default().to_string()).collect();
        println!("{}  {:3} layers {mib:6} MiB  {}", short(stored.id), stored.layers.len(), names.join(" "));
    }
    for layer in store.loose()? {
        println!("{}    a layer  {:6} MiB", short(layer), len(&layer) >> 20);
    }
    Ok(())
}
