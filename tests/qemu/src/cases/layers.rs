//! Layers that are archives, and images made of them: what one run changed is what the next starts from.
use super::images::layer;
use crate::{Bench, Case, LAYERS, Verdict};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// Tests of layers.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("what one run changed is a layer of the next", state_goes_on).needs("shell"),
        Case::new("an image is imported once", imported_once),
        Case::new("layers and images that are none", bad_input),
    ]
}

/// Counts its runs, takes a file away, and shows what is there.
const COUNT: &str = "n=$(cat /root/n 2>/dev/null); echo $((n + 1)) >/root/n; cat /root/n; \
    if [ -e /etc/hostname ]; then echo there; rm /etc/hostname; else echo gone; fi";

/// A diff on an image, compressed or not, for several sandboxes at once, and as layers of the image that is exported.
fn state_goes_on(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let [one, two, squashed, stacked] =
        ["1.tar", "2.tar", "squashed.tar", "stacked.tar"].map(|n| scratch.path().join(n));
    let base = layer(bench, &["base".as_ref(), bench.setup.trees.join("shell").as_os_str()])?;
    let base = base.trim();
    let run = |image: &OsStr, options: &[&OsStr]| {
        let run = bench.sandbox(["/bin/bash", "-c", COUNT]).options(["--image".as_ref(), image]);
        run.options(options).run()
    };
    run(base.as_ref(), &["--diff".as_ref(), one.as_os_str()])?.exits(0)?.says_nothing()?.prints("1\nthere\n")?;
    let before = state(bench, base)?;
    succeed(Command::new("gzip").arg("-k").arg(&one))?;
    let compressed = scratch.path().join("1.tar.gz");
    let beside = "/bin/bash -c 'echo n is $(cat /root/n)'";
    let several = ["--layer".as_ref(), compressed.as_os_str(), "--copies".as_ref(), "2".as_ref(), "--diff".as_ref()];
    let several = [several.as_slice(), &[two.as_os_str(), "--beside".as_ref(), beside.as_ref()]].concat();
    run(base.as_ref(), &several)?.exits(0)?.prints_by_sandbox(&["2\ngone\n", "2\ngone\n", "n is 1\n"])?;
    if state(bench, base)? != before {
        return Err("the second run has written the image's layer again".into());
    }
    let second = scratch.path().join("2.1.tar");
    for (out, more) in [(&squashed, &["--squash"][..]), (&stacked, &["--name", "cordon-test/stacked"])] {
        let mut arguments: Vec<&OsStr> = vec!["export".as_ref(), base.as_ref(), out.as_ref()];
        for upper in [&compressed, &second] {
            arguments.extend([OsStr::new("--layer"), upper.as_os_str()]);
        }
        arguments.extend(more.iter().map(OsStr::new));
        layer(bench, &arguments)?;
    }
    for image in [&squashed, &stacked] {
        run(image.as_os_str(), &[])?.exits(0)?.prints("3\ngone\n")?;
    }
    // All that was kept can be named, and goes.
    let squashed = layer(bench, &["import".as_ref(), squashed.as_os_str()])?;
    for image in ["cordon-test/stacked:latest", squashed.trim(), base] {
        layer(bench, &["destroy".as_ref(), image.as_ref()])?;
    }
    Ok(())
}

/// What shows that the layers of an image were written again.
fn state(bench: &Bench<'_>, image: &str) -> Result<Vec<(u64, i64, i64)>, String> {
    let directory = &bench.setup.layers;
    let record = directory.join("images").join(format!("{}.json", image.trim_start_matches("sha256:")));
    let record = fs::read_to_string(record).map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    for entry in fs::read_dir(directory.join("layers")).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.file_stem().and_then(OsStr::to_str).is_some_and(|digest| record.contains(digest)) {
            let metadata = path.metadata().map_err(|error| error.to_string())?;
            all.push((metadata.ino(), metadata.ctime(), metadata.ctime_nsec()));
        }
    }
    if all.is_empty() { Err("the image has no layers".into()) } else { Ok(all) }
}

/// An image that is larger than all that the program reads besides: of the second import, how many bytes were read tells.
fn imported_once(bench: &Bench<'_>) -> Verdict {
    const LARGE: u64 = 64 << 20;
    let scratch = bench.fixture.scratch()?;
    let root = scratch.path().join("root");
    let image = scratch.path().join("image.tar");
    fs::create_dir(&root).map_err(|error| error.to_string())?;
    let filled = fs::File::create(root.join("large")).and_then(|file| file.set_len(LARGE));
    filled.map_err(|error| error.to_string())?;
    let base = layer(bench, &["base".as_ref(), root.as_os_str()])?;
    layer(bench, &["export".as_ref(), base.trim().as_ref(), image.as_os_str()])?;
    layer(bench, &["destroy".as_ref(), base.trim().as_ref()])?;
    let first = bytes_read(bench, &image)?;
    let second = bytes_read(bench, &image)?;
    layer(bench, &["destroy".as_ref(), base.trim().as_ref()])?;
    let third = bytes_read(bench, &image)?;
    layer(bench, &["destroy".as_ref(), base.trim().as_ref()])?;
    if first < LARGE || second >= LARGE / 4 || third < LARGE {
        return Err(format!("of {LARGE} bytes, {first} were read, then {second}, and {third} once it was destroyed"));
    }
    Ok(())
}

/// How many bytes an import reads: the shell's own count holds those of the programs that it waited for (proc_pid_io(5)).
fn bytes_read(bench: &Bench<'_>, image: &Path) -> Result<u64, String> {
    let mut command = Command::new("sh");
    command
        .env(LAYERS, &bench.setup.layers)
        .args(["-c", "\"$0\" layer import \"$1\" >/dev/null && exec cat /proc/$$/io"])
        .arg(&bench.setup.xtask)
        .arg(image);
    let said = succeed(&mut command)?;
    let count = said.lines().find_map(|line| line.strip_prefix("rchar: ")?.trim().parse().ok());
    count.ok_or_else(|| format!("no count of bytes: {said:?}"))
}

/// Each is refused before anything starts, in words that say what it is, and a file that should come of it does not.
fn bad_input(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let place = |name: &str| scratch.path().join(name).display().to_string();
    let inner = scratch.path().join("inner");
    fs::create_dir(&inner).map_err(|error| error.to_string())?;
    fs::write(place("up"), "").map_err(|error| error.to_string())?;
    succeed(Command::new("tar").arg("-C").arg(&inner).arg("-Pcf").arg(place("up.tar")).arg("../up"))?;
    let fruit = bench.fixture.files().join("fruit").display().to_string();
    let (out, up) = (place("out.tar"), place("up.tar"));
    let cases: [(&[&str], &str); 11] = [
        (&["run", "--layer", &fruit, "--", "/x"], "this is no tar archive"),
        (&["run", "--layer", &up, "--", "/x"], "../up: the name leads out of the layer by `..`"),
        (&["run", "--layer", "/dev/null", "--", "/x"], "the layer /dev/null: it is no file"),
        (
            &["run", "--image", "no-such-image:1"],
            "there is no such file, and no image \"no-such-image:1\" was imported",
        ),
        (&["layer", "import", "/none"], "No such file or directory"),
        (&["layer", "base", &up], "../up: the name leads out of the layer by `..`"),
        (&["layer", "base", "/none"], "the layer /none: no such file or directory"),
        (&["layer", "base", &up, "--name", "A B"], "\"A B\" is no name for an image"),
        (&["layer", "export", "no-such-image:1", &out], "no image \"no-such-image:1\" was imported"),
        (&["layer", "export", "x", "/none/out.tar"], "cannot write to /none"),
        (&["layer", "destroy", "no-such-image:1"], "no image \"no-such-image:1\" was imported"),
    ];
    for (arguments, reason) in cases {
        let output = bench.xtask().args(arguments).output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() != Some(2) || !said.contains(reason) || said.lines().count() != 1 {
            return Err(format!("{arguments:?}: {}, {said}", output.status));
        }
    }
    if Path::new(&out).exists() { Err("there is an image of nothing".into()) } else { Ok(()) }
}

/// What a command prints that must succeed.
pub(super) fn succeed(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}
