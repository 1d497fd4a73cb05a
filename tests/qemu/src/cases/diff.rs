//! What a run changed, taken out as a layer.
use crate::{Bench, Case, SHOW_TREE as SHOW, Verdict};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Tests of diffs.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("a diff applied to the base is the tree at the end", applied).needs("shell"),
        Case::new("a diff of a program that a signal, a limit or a rule ends", every_end).needs("shell"),
        Case::new("diffs of several sandboxes", several).needs("shell"),
        Case::new("a diff that no layer can hold", none).needs("shell"),
        Case::new("a large diff is whole", large).needs("shell"),
    ]
}

/// The same listing in the sandbox at its end and in a copy of the base with the layer over it.
fn applied(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let diff = scratch.path().join("diff.tar");
    // The program that shows the tree has another name by then.
    let show = SHOW.replace("find ", "/usr/bin/found ");
    let script = format!("export LC_ALL=C\n{}{show}", include_str!("diff_changes.sh"));
    let inside =
        bench.in_tree("shell", ["/bin/bash", "-c", &script]).options(["--diff".as_ref(), diff.as_os_str()]).run()?;
    inside.exits(0)?.says_nothing()?;
    let outside = apply(&bench.setup.trees.join("shell"), &diff, SHOW, scratch.path())?;
    inside.prints(&outside)?.done()
}

/// Applies a diff to a copy of a tree in `directory`, and runs a script there.
pub(super) fn apply(tree: &Path, diff: &Path, script: &str, directory: &Path) -> Result<String, String> {
    let mut command = Command::new("bash");
    command.args(["-c", include_str!("diff.sh"), "diff.sh"]).arg(tree).arg(diff).arg(script).current_dir(directory);
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("the diff cannot be applied: {}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

/// What a layer's file at `path` holds, by tar.
fn content(diff: &Path, path: &str) -> Result<String, String> {
    let output = Command::new("tar").arg("-xOf").arg(diff).arg(path).output().map_err(|error| error.to_string())?;
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

fn every_end(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let diff = scratch.path().join("diff.tar");
    let policy = scratch.path().join("kill.toml");
    fs::write(
        &policy,
        "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"mkdir\", \"mkdirat\"]\naction = \"kill\"\n",
    )
    .map_err(|error| error.to_string())?;
    let kill = ["--policy".as_ref(), policy.as_os_str()];
    let ends = [
        ("kill -SEGV $$", &[][..], 139),
        ("while :; do :; done", &["--timeout", "3"].map(AsRef::as_ref), 124),
        ("mkdir /tmp/directory", &kill, 120),
    ];
    for (last, options, code) in ends {
        let script = format!("echo left >/tmp/file; {last}");
        let run = bench.in_tree("shell", ["/bin/bash", "-c", &script]).options(options);
        run.options(["--diff".as_ref(), diff.as_os_str()]).run()?.exits(code)?;
        let left = content(&diff, "tmp/file")?;
        if left != "left\n" {
            return Err(format!("{last}: {left:?}"));
        }
    }
    Ok(())
}

fn several(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let diff = scratch.path().join("diff.tar");
    let options = ["--copies", "2", "--beside", "/bin/bash -c 'echo beside >/tmp/file'", "--diff"];
    let run = bench.in_tree("shell", ["/bin/bash", "-c", "echo copy >/tmp/file"]).options(options);
    run.options([diff.as_os_str()]).run()?.exits(0)?.says_nothing()?;
    for (number, expected) in [(1, "copy\n"), (2, "copy\n"), (3, "beside\n")] {
        let own = content(&scratch.path().join(format!("diff.{number}.tar")), "tmp/file")?;
        if own != expected {
            return Err(format!("of sandbox {number}: {own:?}"));
        }
    }
    if diff.exists() { Err("there is one of nobody".into()) } else { Ok(()) }
}

/// A name that means something else in a layer: nothing is left, and the user is told.
fn none(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let diff = scratch.path().join("diff.tar");
    fs::write(&diff, "of another run").map_err(|error| error.to_string())?;
    let run = bench.in_tree("shell", ["/bin/bash", "-c", ": >/tmp/.wh.passwd"]);
    run.options(["--diff".as_ref(), diff.as_os_str()]).run()?.exits(125)?.says("tmp/.wh.passwd: in a layer")?;
    let left = fs::read_dir(scratch.path()).map_err(|error| error.to_string())?.count();
    if left == 0 { Ok(()) } else { Err(format!("{left} files are left")) }
}

/// More than any queue on the way holds.
fn large(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let diff = scratch.path().join("diff.tar");
    let script = "head -c 12345678 /dev/urandom >/tmp/file; sha256sum </tmp/file";
    let run =
        bench.in_tree("shell", ["/bin/bash", "-c", script]).options(["--diff".as_ref(), diff.as_os_str()]).run()?;
    let sum = Command::new("sh").args(["-c", "tar -xOf \"$0\" tmp/file | sha256sum"]).arg(&diff).output();
    let sum = sum.map_err(|error| error.to_string())?;
    run.exits(0)?.prints(&String::from_utf8_lossy(&sum.stdout))?.done()
}
