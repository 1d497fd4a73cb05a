//! Bad layers: each is refused with the entry's name and the reason, by itself and in an image, before anything starts; nothing of it is
//! kept, and nothing is written beside the store.
use super::layers::succeed;
use crate::{Bench, Case, LAYERS, Verdict};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Tests of bad layers.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("bad layers are refused, and leave nothing", refused),
        Case::new("links of a layer lead to what is in the sandbox", links),
    ]
}

/// Unit of an archive in bytes.
const BLOCK: usize = 512;
/// Bytes of zeros that are packed into a few: more than any layer's text comes to.
const BOMB: &str = "head -c 200M /dev/zero | gzip -9";

/// An entry of an archive, and its bytes padded to whole blocks.
fn entry(kind: u8, name: &str, link: &str, bytes: &[u8]) -> Vec<u8> {
    sized(kind, name, link, &format!("{:011o}\0", bytes.len()), bytes)
}

/// The same with a size of its own choice in the header.
fn sized(kind: u8, name: &str, link: &str, size: &str, bytes: &[u8]) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, size);
    put(136, "00000000000\0");
    put(148, "        ");
    put(157, link);
    put(257, "ustar\x0000");
    block[156] = kind;
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend_from_slice(bytes);
    block.resize(block.len().next_multiple_of(BLOCK), 0);
    block
}

/// An archive of these entries.
fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut all = entries.concat();
    all.resize(all.len() + 2 * BLOCK, 0);
    all
}

/// What a shell's command makes of these bytes.
fn through(script: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut command = Command::new("sh");
    let command = command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    if let Some(mut input) = child.stdin.take() {
        // Who reads nothing of it needs none.
        let _ = input.write_all(bytes);
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(output.stdout) } else { Err(format!("{script}: {}", output.status)) }
}

/// An image of this layer, as `docker save` writes it.
fn image(layer: &[u8]) -> Result<Vec<u8>, String> {
    let digest = through("gzip -dcf 2>/dev/null | sha256sum", layer)?;
    let digest = String::from_utf8_lossy(&digest);
    let digest = digest.split(' ').next().unwrap_or_default();
    let config = format!(
        "{{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"sha256:{digest}\"]}}}}"
    );
    let manifest = r#"[{"Config":"config.json","RepoTags":["bad:1"],"Layers":["layer.tar"]}]"#;
    let parts = [("manifest.json", manifest.as_bytes()), ("config.json", config.as_bytes()), ("layer.tar", layer)];
    Ok(archive(&parts.map(|(name, bytes)| entry(b'0', name, "", bytes))))
}

/// What is wrong with an archive, the archive, and what is said of it: the entry and the reason.
type Bad = (&'static str, Vec<u8>, &'static str);

/// Every kind of bad archive.
fn bad() -> Result<Vec<Bad>, String> {
    let file = |name: &str| entry(b'0', name, "", b"text");
    let good = archive(&[file("good"), file("good2")]);
    let packed = through("gzip", &good)?;
    let mut corrupt = packed.clone();
    let end = corrupt.len() - 6;
    corrupt[end] ^= 1;
    let mut spoiled = good.clone();
    spoiled[2 * BLOCK] ^= 1;
    Ok(vec![
        (
            "a path out of the layer",
            archive(&[file("good"), file("../up")]),
            "../up: the name leads out of the layer by `..`",
        ),
        (
            "a path out in its midst",
            archive(&[file("a/../../up")]),
            "a/../../up: the name leads out of the layer by `..`",
        ),
        (
            "a hard link out of the root",
            archive(&[entry(b'1', "l", "../up", b"")]),
            "l: the hard link's target cannot be one",
        ),
        (
            "an absolute hard link out",
            archive(&[entry(b'1', "l", "/../up", b"")]),
            "l: the hard link's target cannot be one",
        ),
        (
            "a hard link to what the host has",
            archive(&[entry(b'1', "l", "/etc/passwd", b"")]),
            "l: a hard link to what is not there",
        ),
        ("a whiteout out of the layer", archive(&[file("../.wh.up")]), "../.wh.up: the name leads out"),
        ("a bomb", through(BOMB, b"")?, "it is a bomb: too much comes out of few compressed bytes"),
        ("an archive that is cut off", good[..BLOCK].to_vec(), "good: its data is not in the archive"),
        (
            "one that is cut off between entries",
            good[..2 * BLOCK].to_vec(),
            "good: the archive is truncated after this entry",
        ),
        ("compressed data that is cut off", packed[..packed.len() / 2].to_vec(), "the compressed data is"),
        ("compressed data that is corrupt", corrupt, "the compressed data is corrupt"),
        ("a header that is corrupt", spoiled, "good: what follows this entry is not a tar header"),
        (
            "a huge size",
            archive(&[sized(b'0', "huge", "", "77777777777\0", b"")]),
            "huge: its data is not in the archive",
        ),
        (
            "a size that is none",
            archive(&[file("good"), sized(b'0', "none", "", "-1         \0", b"")]),
            "good: what follows this entry is not a tar header",
        ),
        ("an entry that is there twice", archive(&[file("good"), file("./good")]), "./good: the entry is there twice"),
        ("a character device", archive(&[entry(b'3', "dev/null", "", b"")]), "dev/null: devices are not taken"),
        ("a block device", archive(&[entry(b'4', "dev/sda", "", b"")]), "dev/sda: devices are not taken"),
        (
            "a circle of links",
            archive(&[entry(b'2', "a", "b", b""), entry(b'2', "b", "a", b""), file("a/x")]),
            "a/x: its path leads in a circle of links",
        ),
        (
            "a circle of hard links",
            archive(&[entry(b'1', "a", "b", b""), entry(b'1', "b", "a", b"")]),
            "a: a hard link to what is not there",
        ),
    ])
}

fn refused(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let (store, place) = (scratch.path().join("store"), scratch.path().join("inner"));
    fs::create_dir(&place).map_err(|error| error.to_string())?;
    fs::write(scratch.path().join("up"), "as it was").map_err(|error| error.to_string())?;
    for (what, bytes, reason) in bad()? {
        let archives = [("layer.tar", bytes.clone()), ("image.tar", image(&bytes)?)];
        for (name, bytes) in &archives {
            fs::write(place.join(name), bytes).map_err(|error| error.to_string())?;
        }
        for arguments in [
            &["run", "--layer", "layer.tar", "--", "/x"][..],
            &["run", "--image", "image.tar", "--", "/x"],
            &["layer", "import", "image.tar"],
            &["layer", "base", "layer.tar"],
        ] {
            let mut command = bench.xtask();
            command.env(LAYERS, &store).args(arguments).current_dir(&place);
            let output = command.output().map_err(|error| error.to_string())?;
            let said = String::from_utf8_lossy(&output.stderr);
            if output.status.code() != Some(2) || !said.contains(reason) || said.lines().count() != 1 {
                return Err(format!("{what}: {arguments:?}: {}, {said}", output.status));
            }
        }
        let images = succeed(bench.xtask().env(LAYERS, &store).args(["layer", "list"]))?;
        if images.contains("layers")
            || names(scratch.path())? != ["inner", "store", "up"]
            || names(&place)? != ["image.tar", "layer.tar"]
        {
            return Err(format!("{what}: something is left: {images}"));
        }
    }
    let up = fs::read_to_string(scratch.path().join("up"));
    if up.is_ok_and(|text| text == "as it was") { Ok(()) } else { Err("what is outside was changed".into()) }
}

/// The names in a directory.
fn names(directory: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(directory).map_err(|error| error.to_string())?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// Links to absolute paths, and up beyond the root, are usual in images: they are taken, and what they lead to is the sandbox's. What the
/// layer puts behind them is there, and not on the host.
fn links(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside)
        .and_then(|()| fs::write(outside.join("secret"), "the host's"))
        .map_err(|error| error.to_string())?;
    let target = outside.display().to_string();
    let layer = archive(&[
        entry(b'2', "absolute", &target, b""),
        entry(b'2', "up", &format!("../../../..{target}"), b""),
        entry(b'0', "absolute/new", "", b"the layer's\n"),
        entry(b'0', "up/more", "", b"as well\n"),
    ]);
    let file = scratch.path().join("layer.tar");
    fs::write(&file, layer).map_err(|error| error.to_string())?;
    let script =
        format!("cat /absolute/new /up/more {target}/more; for n in /absolute /up {target}; do busybox ls $n; done");
    let run = bench.busybox(&["sh", "-c", &script.replace("cat ", "busybox cat ")]).layer(&file).run()?;
    run.exits(0)?.prints(&format!("the layer's\nas well\nas well\n{}", "more\nnew\n".repeat(3)))?;
    run.wants(names(&outside)? == ["secret"], "nothing new on the host")?.done()
}
