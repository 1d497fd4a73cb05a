//! Images in their forms, and the store.
use super::{Made, refusal};
use crate::store::{Kept, Store};
use crate::{Digest, Kind};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs;
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;

pub(super) fn layers() -> [Vec<u8>; 2] {
    [Made::new().directory("etc").file("etc/a", b"one").bytes(), Made::new().file("etc/.wh.a", b"").bytes()]
}

pub(super) fn config(layers: &[Vec<u8>], architecture: &str) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|layer| format!("{:?}", Digest::of(layer).to_string())).collect();
    let settings = r#"{"User":null,"Env":["A=1"],"Cmd":["/bin/sh"],"WorkingDir":"/srv"}"#;
    format!(
        r#"{{"architecture":"{architecture}","os":"linux","config":{settings},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        ids.join(",")
    )
    .into_bytes()
}

/// As `docker save` writes it.
pub(super) fn saved(config: &[u8], layers: &[Vec<u8>]) -> Made {
    let manifest = r#"[{"Config":"c.json","RepoTags":["demo:1"],"Layers":["0/layer.tar","1/layer.tar"]}]"#;
    let mut made = Made::new().file("manifest.json", manifest.as_bytes()).file("c.json", config);
    for (number, layer) in layers.iter().enumerate() {
        made = made.file(&format!("{number}/layer.tar"), layer);
    }
    made
}

/// As `skopeo copy … oci:DIR` writes it, with gzip.
fn laid_out(directory: &Path, config: &[u8], layers: &[Vec<u8>]) {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let blob = |bytes: &[u8]| {
        fs::write(blobs.join(Digest::of(bytes).hex()), bytes).unwrap();
        format!(r#""digest":"{}","size":{}"#, Digest::of(bytes), bytes.len())
    };
    let parts: Vec<String> = layers
        .iter()
        .map(|layer| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(layer).unwrap();
            let part = blob(&encoder.finish().unwrap());
            format!(r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip",{part}}}"#)
        })
        .collect();
    let manifest = format!(r#"{{"schemaVersion":2,"config":{{{}}},"layers":[{}]}}"#, blob(config), parts.join(","));
    let name = r#""annotations":{"org.opencontainers.image.ref.name":"latest"}"#;
    let other = r#"{"digest":"sha256:0","platform":{"os":"linux","architecture":"arm64"}}"#;
    let index = format!(r#"{{"manifests":[{other},{{{},{name}}}]}}"#, blob(manifest.as_bytes()));
    fs::write(directory.join("index.json"), index).unwrap();
}

pub(super) fn store(directory: &TempDir) -> Store {
    Store::at(&directory.path().join("store"))
}

pub(super) fn write(directory: &TempDir, name: &str, made: Made) -> std::path::PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, made.bytes()).unwrap();
    path
}

#[test]
fn both_forms_are_the_same_image() {
    let directory = tempfile::tempdir().unwrap();
    let (layers, store) = (layers(), store(&directory));
    let config = config(&layers, "amd64");
    let archive = write(&directory, "saved.tar", saved(&config, &layers));
    let (stored, is_new) = store.image(&archive).unwrap();
    assert!(is_new && stored.id == Digest::of(&config));
    assert_eq!((stored.names.as_slice(), stored.layers.len()), (["demo:1".to_owned()].as_slice(), 2));
    assert_eq!(stored.settings().unwrap().working_dir.as_deref(), Some("/srv"));
    assert_eq!(store.layer(stored.layers[1]).unwrap().entries[0].kind, Kind::Whiteout);
    assert!(!store.image(&archive).unwrap().1, "the second time it is known");

    let layout = directory.path().join("layout");
    laid_out(&layout, &config, &layers);
    let (other, _) = store.image(&layout).unwrap();
    assert_eq!((other.id, &other.layers), (stored.id, &stored.layers));
    assert_eq!(other.names, ["latest"]);
    // As `skopeo copy … dir:DIR` leaves it.
    let flat = directory.path().join("flat");
    fs::create_dir(&flat).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let manifest = index["manifests"][1]["digest"].as_str().unwrap().trim_start_matches("sha256:");
    for blob in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        let name = blob.unwrap().file_name();
        let place = if name == manifest { "manifest.json".into() } else { name.clone() };
        fs::copy(layout.join("blobs/sha256").join(&name), flat.join(place)).unwrap();
    }
    assert_eq!(store.image(&flat).unwrap().0.layers, stored.layers);
    let (other, _) = store.image(&layout).unwrap();
    assert_eq!(store.list().unwrap(), std::slice::from_ref(&other));
    assert_eq!(store.find_image(&stored.id.hex()[..8]).unwrap().id, stored.id);
    assert!(store.find("nothing").is_err());

    assert!(store.destroy(&Kept::Image(other)).unwrap() > 0);
    assert!(store.list().unwrap().is_empty() && !store.layer_path(stored.layers[0]).exists());
    assert!(store.image(&archive).unwrap().1, "what was destroyed is imported again");
}

#[test]
fn layers_that_others_have_stay() {
    let directory = tempfile::tempdir().unwrap();
    let (layers, store) = (layers(), store(&directory));
    let mut others = layers.clone();
    others[1] = Made::new().file("b", b"").bytes();
    let one = write(&directory, "1", saved(&config(&layers, "amd64"), &layers));
    let two = write(&directory, "2", saved(&config(&others, "amd64"), &others));
    let (one, two) = (store.image(&one).unwrap().0, store.image(&two).unwrap().0);
    store.destroy(&Kept::Image(one.clone())).unwrap();
    assert!(store.layer_path(two.layers[0]).exists() && !store.layer_path(one.layers[1]).exists());
    store.clear().unwrap();
    assert!(store.list().unwrap().is_empty() && !store.layer_path(two.layers[0]).exists());
}

#[test]
fn bad_images_are_refused_and_leave_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (layers, store) = (layers(), store(&directory));
    let good = config(&layers, "amd64");
    let mut changed = layers.clone();
    changed[1] = Made::new().file("other", b"").bytes();
    let device = [Made::new().entry(tar::EntryType::Char, b"dev/null", b"", b"").bytes(), layers[1].clone()];
    let cases = [
        (Made::new().file("x", b""), "this is no image: neither manifest.json nor index.json is in it"),
        (saved(&config(&layers, "arm64"), &layers), "it is not for Linux on amd64"),
        (saved(&config(&layers[..1], "amd64"), &layers), "manifest and configuration have different numbers of layers"),
        (saved(&good, &changed), "its digest is not the one that the configuration tells"),
        (saved(&good, &layers[..1]), "this layer is missing"),
        (saved(b"{", &layers), "it is not the JSON that it should be"),
        (Made::new().file("manifest.json", b"[]"), "there is not exactly one image"),
        (saved(&config(&device, "amd64"), &device), "devices are not taken"),
    ];
    for (made, reason) in cases {
        let path = write(&directory, "bad.tar", made);
        assert_eq!(refusal(store.image(&path)).1, reason);
    }
    assert!(store.list().unwrap().is_empty());
    let layout = directory.path().join("layout");
    laid_out(&layout, &good, &layers);
    for blob in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        // A layer that is kept already would not be read again.
        store.clear().unwrap();
        let path = blob.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, [bytes.as_slice(), b"\n"].concat()).unwrap();
        refusal(store.image(&layout));
        fs::write(&path, bytes).unwrap();
    }
    assert!(store.image(&layout).is_ok());
}
