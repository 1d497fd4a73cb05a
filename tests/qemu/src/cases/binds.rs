//! Folders of the host: what is in them is seen as it is there, and what is done to them comes to where it should.
use crate::{Bench, Case, Verdict};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

/// Tests of `--bind`.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("a folder is seen as plain Linux sees it", seen),
        Case::new("a folder is changed for the program alone", copied),
        Case::new("a folder is changed on the host", changed),
        Case::new("git clones in a folder that stays as it is", |bench| cloned(bench, "cow")).needs("git"),
        Case::new("git clones into a folder of the host", |bench| cloned(bench, "rw")).needs("git"),
        Case::new("binds that cannot be", refused),
    ]
}

/// What looks at everything in a folder.
const LOOK: &str = "cd \"$0\" && busybox find . -type f -exec busybox sha256sum {} + | busybox sort && \
    busybox find . | busybox sort && busybox find . -exec busybox stat -c '%A %u %g %s %Y %h %N' {} + | busybox sort";

/// What changes a folder in every way that leaves the same tree whoever does it.
const CHANGE: &str = "cd \"$0\" && busybox mkdir -p x/y && echo new >x/y/n && busybox mv dir moved && echo more >>moved/file && \
    busybox rm a && busybox ln -s x link2 && busybox ln moved/file hard && busybox chmod 600 big && \
    busybox dd if=/dev/zero of=big bs=1000 count=3 seek=10 conv=notrunc,fsync 2>&- && busybox touch -d @1000000000 hard && \
    busybox truncate -s 5 hard && exec 5<moved/file && busybox rm moved/file && busybox cat <&5";

/// A folder with files of all kinds, and a name of every byte that a name can have.
fn make(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder.join("dir/below"))?;
    fs::write(folder.join("a"), "one\n")?;
    fs::write(folder.join("dir/file"), "two\n")?;
    fs::write(folder.join("big"), [7; 300_000])?;
    std::os::unix::fs::symlink("dir/file", folder.join("link"))?;
    let all: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    for half in all.chunks(127) {
        fs::write(folder.join(std::ffi::OsStr::from_bytes(half)), "a name\n")?;
    }
    Ok(())
}

/// What a script that is given a folder says on plain Linux.
fn plainly(script: &str, folder: &Path) -> Result<String, String> {
    // Names may be of any bytes; what is read so is compared with what is read so.
    bytes_of(script, folder).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn bytes_of(script: &str, folder: &Path) -> Result<Vec<u8>, String> {
    let output = Command::new("/bin/busybox").args(["sh", "-c", script]).arg(folder).output();
    output.map(|output| output.stdout).map_err(|error| error.to_string())
}

/// The option that binds a folder.
pub(super) fn bind(folder: &Path, rest: &str) -> [OsString; 2] {
    let mut value = folder.as_os_str().to_owned();
    value.push(rest);
    ["--bind".into(), value]
}

/// An error of this machine as text.
pub(super) fn said(error: std::io::Error) -> String {
    error.to_string()
}

fn seen(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    make(scratch.path()).map_err(said)?;
    let expected = bytes_of(LOOK, scratch.path())?;
    let run = bench.busybox(&["sh", "-c", LOOK, "/mnt"]).options(bind(scratch.path(), ":/mnt")).run()?;
    let difference = crate::sandbox::first_difference(&run.stdout, &expected);
    run.exits(0)?.wants(run.stdout == expected, &format!("what plain Linux sees{difference}"))?;
    let write = bench.busybox(&["touch", "/mnt/x"]).options(bind(scratch.path(), ":/mnt:ro")).run()?;
    write.exits(1)?.complains("Read-only file system")?.done()
}

fn copied(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    make(scratch.path()).map_err(said)?;
    let before = plainly(LOOK, scratch.path())?;
    let run = bench.busybox(&["sh", "-c", CHANGE, "/mnt"]).options(bind(scratch.path(), ":/mnt:cow")).run()?;
    run.exits(0)?.prints("two\nm")?;
    let after = plainly(LOOK, scratch.path())?;
    if before == after { Ok(()) } else { Err(format!("the folder is no longer\n{before}\nbut\n{after}")) }
}

/// The same changes by plain Linux to another folder lead to the same tree.
fn changed(bench: &Bench<'_>) -> Verdict {
    let (scratch, judge) = (bench.fixture.scratch()?, bench.fixture.scratch()?);
    make(scratch.path()).map_err(said)?;
    make(judge.path()).map_err(said)?;
    let expected = plainly(CHANGE, judge.path())?;
    let run = bench.busybox(&["sh", "-c", CHANGE, "/mnt"]).options(bind(scratch.path(), ":/mnt:rw")).run()?;
    run.exits(0)?.prints(&expected)?;
    let what = "cd \"$0\" && busybox find . -type f -exec busybox sha256sum {} + | busybox sort && \
        busybox find . -exec busybox stat -c '%A %h %N' {} + | busybox sort";
    let (here, there) = (plainly(what, scratch.path())?, plainly(what, judge.path())?);
    if here == there { Ok(()) } else { Err(format!("the folder is\n{here}\nand should be\n{there}")) }
}

fn cloned(bench: &Bench<'_>, mode: &str) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let script = "cd \"$0\" && git init -q src && cd src && for n in 1 2 3; do echo $n >f$n && git add . && \
        git -c user.name=a -c user.email=a@b commit -qm $n || exit 1; done";
    let made = Command::new("sh").args(["-c", script]).arg(scratch.path()).output().map_err(said)?;
    if !made.status.success() {
        return Err(format!("the repository cannot be made: {}", String::from_utf8_lossy(&made.stderr)));
    }
    let before = plainly(LOOK, scratch.path())?;
    let git = ["/usr/bin/git", "-c", "safe.directory=*", "clone", "-q", "/mnt/src", "/mnt/dst"];
    let tree = ["--layer".into(), bench.setup.trees.join("git").into_os_string()];
    let aside = bench.fixture.scratch()?;
    let diff = aside.path().join("diff.tar");
    let run = bench.sandbox(git).options(tree).options(bind(scratch.path(), &format!(":/mnt:{mode}")));
    run.options(["--diff".as_ref(), diff.as_os_str()]).run()?.exits(0)?.says_nothing()?;
    let check = "cd dst && git -c safe.directory='*' fsck --strict 2>&1 && git -c safe.directory='*' status --porcelain && \
        cat f1 f2 f3 && cd ../src && git -c safe.directory='*' fsck --strict 2>&1";
    let said = if mode == "rw" {
        plainly(&format!("cd \"$0\"; {check}"), scratch.path())?
    } else {
        let after = plainly(LOOK, scratch.path())?;
        if before != after {
            return Err(format!("the folder is no longer\n{before}\nbut\n{after}"));
        }
        // The base of the diff is the tree with the folder in it.
        fs::create_dir_all(aside.path().join("base/mnt")).map_err(said)?;
        plainly(&format!("cp -a \"$0\"/* {}/base/mnt/", aside.path().display()), scratch.path())?;
        super::diff::apply(&aside.path().join("base"), &diff, &format!("cd mnt; {check}"), aside.path())?
    };
    match said.as_str() {
        said if said.ends_with("1\n2\n3\n") && !said.contains("error") => Ok(()),
        said => Err(format!("the clone is not whole: {said}")),
    }
}

fn refused(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let run = |value: &str, more: &[OsString]| {
        let options = bind(scratch.path(), value).into_iter().chain(more.iter().cloned());
        bench.busybox(&["true"]).options(options).run()
    };
    run("/none:/mnt", &[])?.exits(2)?.says("no such directory")?;
    run(":/mnt:wo", &[])?.exits(2)?.complains("none of ro, cow, rw")?;
    run(":mnt", &[])?.exits(2)?.complains("absolute path")?;
    run(":/mnt", &bind(scratch.path(), ":/mnt/x"))?.exits(2)?.says("nested")?.done()
}
