//! What is exported is imported again, here and by its names.
use super::images::{config, layers, saved, store, write};
use super::refusal;
use crate::export::{Export, base_config, reference, with_layers};
use crate::store::{Kept, Stored};
use crate::{Digest, Error};
use std::fs::{self, File};
use std::path::Path;
use tempfile::TempDir;

fn export(directory: &Path, stored: &Stored, store: &crate::store::Store) -> crate::Result<std::path::PathBuf> {
    let layers = stored.layers.iter().map(|layer| (*layer, store.layer_path(*layer))).collect();
    let out = directory.join("out.tar");
    let export = Export { config: stored.config.clone(), names: stored.names.clone(), layers };
    export.write(File::create(&out).unwrap())?;
    Ok(out)
}

fn imported(directory: &TempDir) -> (crate::store::Store, Stored) {
    let store = store(directory);
    let archive = write(directory, "saved.tar", saved(&config(&layers(), "amd64"), &layers()));
    let (stored, _) = store.image(&archive).unwrap();
    (store, stored)
}

#[test]
fn an_exported_image_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (store, stored) = imported(&directory);
    let out = export(directory.path(), &stored, &store).unwrap();
    store.clear().unwrap();
    let (again, is_new) = store.image(&out).unwrap();
    assert!(is_new && again == stored, "{again:?}");
    // Without what `docker load` reads it is an image layout, with the same image.
    let layout = directory.path().join("layout");
    tar::Archive::new(File::open(&out).unwrap()).unpack(&layout).unwrap();
    fs::remove_file(layout.join("manifest.json")).unwrap();
    assert_eq!(store.image(&layout).unwrap().0, stored);
}

#[test]
fn a_layer_that_changed_in_the_store_is_not_exported() {
    let directory = tempfile::tempdir().unwrap();
    let (store, stored) = imported(&directory);
    let path = store.layer_path(stored.layers[0]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (_, reason) = refusal(export(directory.path(), &stored, &store));
    assert_eq!(reason, "this layer in the store is not what its digest says");
    fs::remove_file(&path).unwrap();
    assert!(matches!(export(directory.path(), &stored, &store), Err(Error::Io { .. })));
}

#[test]
fn configurations_tell_of_the_layers_that_come() {
    let [one, two, three] = [b"1", b"2", b"3"].map(|bytes| Digest::of(bytes));
    let config = base_config(one).replace("\"config\":{}", "\"config\":{\"Cmd\":[\"x\"]}");
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let more = parsed(&with_layers(&config, 1, &[one, two, three]).unwrap());
    assert_eq!(more["rootfs"]["diff_ids"].as_array().unwrap().len(), 3);
    assert_eq!((more["history"].as_array().unwrap().len(), &more["config"]["Cmd"][0]), (3, &"x".into()));
    let squashed = parsed(&with_layers(&more.to_string(), 0, &[two]).unwrap());
    assert_eq!(squashed["rootfs"]["diff_ids"][0], two.to_string());
    assert_eq!(squashed["history"].as_array().unwrap().len(), 1);
    refusal(with_layers("[]", 0, &[]));
}

#[test]
fn names_that_other_tools_take() {
    for (name, whole) in [("demo", "demo:latest"), ("a/b-c:1.0", "a/b-c:1.0"), ("Host:5000/x", "Host:5000/x:latest")] {
        assert_eq!(reference(name).as_deref(), Some(whole));
    }
    for bad in ["", ":", "x:", ":1", "X", "a//b", "a/", "-a", "a b", "a:-b", "a:b:c", "a/B:1", "ä", &"a".repeat(600)] {
        assert_eq!(reference(bad), None, "{bad}");
    }
}

#[test]
fn an_archive_is_a_layer_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let (store, stored) = imported(&directory);
    let path = write(&directory, "layer.tar", super::Made::new().file("x", b"text"));
    let (layer, is_new) = store.archive(&path).unwrap();
    assert!(is_new && store.archive(&path).unwrap() == (layer, false), "the second time it is known");
    assert_eq!(store.loose().unwrap(), [layer]);
    assert_eq!(store.find(&layer.hex()).unwrap(), Kept::Layer(layer));
    assert!(store.find_image(&layer.hex()).is_err());
    store.destroy(&Kept::Image(stored)).unwrap();
    assert!(store.layer_path(layer).is_file(), "it is not the image's");
    store.destroy(&Kept::Layer(layer)).unwrap();
    assert!(store.loose().unwrap().is_empty() && store.archive(&path).unwrap().1);
    // What is no layer leaves nothing.
    store.clear().unwrap();
    let empty = directory.path().join("empty");
    fs::write(&empty, b"").unwrap();
    assert_eq!(refusal(store.archive(&empty)).1, "this is no tar archive, or nothing is left of it");
    fs::write(&empty, vec![b'x'; 2000]).unwrap();
    assert_eq!(refusal(store.archive(&empty)).1, "this is no tar archive");
    assert_eq!(refusal(store.archive(Path::new("/dev/null"))).1, "it is no file");
    assert!(store.loose().unwrap().is_empty());
}
