//! Container images: what is in them is seen, and nothing else.
use crate::{Bench, Case, Verdict};
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// Tests of images.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("an image of two layers", two_layers).needs("shell"),
        Case::new("an image that is none", |bench| {
            let image = bench.fixture.files().join("fruit");
            bench.busybox(&["true"]).options(["--image".as_ref(), image.as_os_str()]).run()?.exits(2)?.done()
        }),
    ]
}

/// The image's own program shows the files, which are those that the same changes by hand lead to; then the image is removed again.
fn two_layers(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let expected = make(&bench.setup.trees.join("shell"), scratch.path())?;
    let image = scratch.path().join("image.tar");
    let run = |command: &[&str]| bench.sandbox(command).options(["--image".as_ref(), image.as_os_str()]).run();
    run(&[])?.exits(3)?.prints(&expected)?;
    // Arguments of the command line come in the place of the image's own.
    run(&["-c", "echo $0; cat /etc/hostname; ls /etc/issue", "zero"])?
        .exits(2)?
        .prints("zero\nreplaced\n")?
        .complains("No such file")?;
    let digest = layer(bench, &["import".as_ref(), image.as_os_str()])?;
    layer(bench, &["destroy".as_ref(), digest.trim().as_ref()])?;
    let left = layer(bench, &["list".as_ref()])?;
    if left.contains(&digest[7..19]) { Err(format!("{digest} is still there")) } else { Ok(()) }
}

/// What `cargo xtask layer` prints.
pub(super) fn layer(bench: &Bench<'_>, arguments: &[&OsStr]) -> Result<String, String> {
    let output = bench.xtask().arg("layer").args(arguments).output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(format!("layer {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|e| e.to_string())
}

/// Makes the image in `directory`; what its program is to print.
fn make(tree: &Path, directory: &Path) -> Result<String, String> {
    let mut script = Command::new("sh");
    script.arg("-c").arg(include_str!("images.sh")).arg("images.sh").arg(tree).current_dir(directory);
    let output = script.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("the image cannot be made: {}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}
