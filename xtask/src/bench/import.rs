//! How long the host takes to import an image.
use super::programs::TREE;
use super::table::Row;
use crate::exit::Failure;
use crate::{layer, trees};
use anyhow::{Context, Result, ensure};
use layers::store::Store;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Makes `plain.tar` and `packed.tar`, an image of one layer as `docker save` writes it and one with that layer packed, as registries
/// have it. `$1` is a tree, `$2` the layer's size in MiB; what the tree lacks of it is made up of noise.
const MAKE: &str = r#"
set -e
mkdir noise
head -c "$(($2 * 1048576 - $(du -sb "$1" | cut -f1)))" /dev/urandom >noise/noise
tar -cf layer.tar -C "$1" . -C "$PWD/noise" ./noise
id=$(sha256sum layer.tar | cut -c-64)
echo '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:'"$id"'"]},"config":{}}' >config.json
echo '[{"Config":"config.json","RepoTags":[],"Layers":["layer.tar"]}]' >manifest.json
tar -cf plain.tar manifest.json config.json layer.tar
gzip layer.tar
echo '[{"Config":"config.json","RepoTags":[],"Layers":["layer.tar.gz"]}]' >manifest.json
tar -cf packed.tar manifest.json config.json layer.tar.gz
"#;
/// Size of the layer in MiB.
const MIB: u32 = 120;
/// The longest that an import should take, in seconds.
const AIM: f64 = 3.0;

/// The rows.
pub(super) fn rows() -> Result<Vec<Row>, Failure> {
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    make(directory.path())?;
    let mut rows = Vec::new();
    for (image, how) in [("plain", "docker save"), ("packed", "layers packed by gzip")] {
        let store = Store::at(&directory.path().join(format!("store-{image}")));
        let start = Instant::now();
        layer::import(&store, &directory.path().join(format!("{image}.tar")))?;
        let name = format!("layer import of {MIB} MiB, {how}");
        rows.push(Row::new(&name, "s", Some(start.elapsed().as_secs_f64()), None).aim(AIM));
    }
    Ok(rows)
}

fn make(directory: &Path) -> Result<()> {
    let mut script = Command::new("sh");
    script.args(["-c", MAKE, "sh"]).arg(trees::directory().join(TREE)).arg(MIB.to_string()).current_dir(directory);
    let status = script.status().context("sh cannot be started")?;
    ensure!(status.success(), "the image cannot be made");
    Ok(())
}
