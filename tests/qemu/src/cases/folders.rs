//! Folders of the host that are not simple: laid over others, with hidden paths, changed by the host meanwhile, on a full disk, served late.
use super::binds::{bind, said};
use crate::{Bench, Case, Outcome, Verdict, tree};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

/// Tests of `--bind` where the host is no quiet place.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("a folder over another, with hidden paths", merged),
        Case::new("a folder with names of all bytes is filled", named),
        Case::new("a folder that the host changes and takes away", changing),
        Case::new("a new file of the host's that gets a copied one's number", renumbered),
        Case::new("a folder on a full disk", full),
        Case::new("a folder whose server is late", late),
        Case::new("a folder whose server never answers again", silent),
    ]
}

/// Everything that may be tried on hidden paths, and what lies over what.
const MERGED: &str = "cd \"$0\" || exit 1; exec 2>&1; busybox ls -A . deep; busybox cat both host tree deep/host deep/tree
    busybox cat secret deep/secret deep/../secret to-secret; busybox find . | busybox grep secret
    busybox touch secret; busybox mkdir secret; busybox mkfifo secret; busybox ln -s x secret; busybox ln host secret; busybox mv host secret
    busybox touch deep/secret; busybox mv secret x; busybox ln secret x; busybox rm secret; busybox rmdir hidden; busybox touch hidden/new
    echo new >new && echo more >>deep/tree; busybox rm both; busybox ls -A . deep; busybox cat deep/tree";

/// What is said of it, but for what `deep/tree` holds at the end.
const MERGED_SAID: &str = "\
.:\nboth\ndeep\nhost\nto-secret\ntree\n\ndeep:\nhost\ntree\nthe host's\nthe host's\nthe tree's\nthe host's\nthe tree's\n\
cat: can't open 'secret': No such file or directory\ncat: can't open 'deep/secret': No such file or directory\n\
cat: can't open 'deep/../secret': No such file or directory\ncat: can't open 'to-secret': No such file or directory\n\
./to-secret\n\
touch: secret: Operation not permitted\nmkdir: can't create directory 'secret': Operation not permitted\n\
mkfifo: secret: Operation not permitted\nln: secret: Operation not permitted\nln: secret: Operation not permitted\n\
mv: can't rename 'host': Operation not permitted\ntouch: deep/secret: Operation not permitted\n\
mv: can't rename 'secret': No such file or directory\nln: secret: No such file or directory\n\
rm: can't remove 'secret': No such file or directory\nrmdir: 'hidden': No such file or directory\n\
touch: hidden/new: No such file or directory\n\
.:\ndeep\nhost\nnew\nto-secret\ntree\n\ndeep:\nhost\ntree\nthe tree's\nmore\n";

fn merged(bench: &Bench<'_>) -> Verdict {
    let (layer, host) = (bench.fixture.scratch()?, bench.fixture.scratch()?);
    for place in ["cow", "rw"] {
        fill(&host.path().join(place), "host").map_err(said)?;
        fill(&layer.path().join(place), "tree").map_err(said)?;
        for hidden in ["secret", "deep/secret"] {
            fs::write(host.path().join(place).join(hidden), "hidden\n").map_err(said)?;
        }
        fs::create_dir(host.path().join(place).join("hidden")).map_err(said)?;
        symlink("deep/secret", host.path().join(place).join("to-secret")).map_err(said)?;
    }
    let options = |place: &str| {
        bind(
            &host.path().join(place),
            &format!(":/{place}:{place}:merge:except=secret:except=deep/secret:except=/hidden"),
        )
    };
    let script = format!("cd /; for p in cow rw; do busybox sh -c '{}' /$p; done", MERGED.replace('\'', "'\\''"));
    let run = bench.busybox(&["sh", "-c", &script]).layer(layer.path()).options(options("cow")).options(options("rw"));
    let run = run.run()?;
    run.exits(0)?.prints(&[MERGED_SAID, MERGED_SAID].concat())?.says_nothing()?;
    let left = |path: &str| fs::read_to_string(host.path().join(path)).unwrap_or_default();
    for place in ["cow", "rw"] {
        let hidden = [left(&format!("{place}/secret")), left(&format!("{place}/deep/secret"))];
        run.wants(hidden.iter().all(|text| text == "hidden\n"), "the hidden files as they were")?;
    }
    run.wants(left("cow/both") == "the host's\n" && left("cow/new").is_empty(), "the copied folder as it was")?;
    run.wants(left("rw/both").is_empty() && left("rw/new") == "new\n", "the changes on the host")?.done()
}

/// A directory with `both` and one of `host` and `tree`, and the same in `deep`, but for `both`.
fn fill(folder: &Path, whose: &str) -> std::io::Result<()> {
    fs::create_dir_all(folder.join("deep"))?;
    for name in ["both", whose, &format!("deep/{whose}")] {
        fs::write(folder.join(name), format!("the {whose}'s\n"))?;
    }
    Ok(())
}

/// Each byte but `/` and NUL between two letters is the name of a file, which is then moved.
fn named(bench: &Bench<'_>) -> Verdict {
    let host = bench.fixture.scratch()?;
    let script = "cd /mnt; n=1; while [ $n -lt 256 ]; do [ $n = 47 ] || echo $n >\"$(printf \"a\\\\$(printf %o $n)z\")\"; n=$((n+1)); done; \
        busybox mkdir moved && busybox mv a* moved";
    let run = bench.busybox(&["sh", "-c", script]).options(bind(host.path(), ":/mnt:rw")).run()?;
    run.exits(0)?.prints("")?.says_nothing()?;
    for byte in (1..=255_u8).filter(|byte| *byte != b'/') {
        let path = host.path().join("moved").join(OsStr::from_bytes(&[b'a', byte, b'z']));
        let text = fs::read_to_string(path).map_err(|error| format!("the name with byte {byte}: {error}"))?;
        run.wants(text == format!("{byte}\n"), &format!("the file for byte {byte}"))?;
    }
    Ok(())
}

/// Has files open, and looks at them after each change by the host.
const CHANGING: &str = "cd /mnt; exec 2>&1 3<grows 4<cut 5<replaced 6<gone 7<>written; echo ready; read line
    busybox cat <&3; busybox cat <&4; busybox cat <&5; busybox cat replaced; busybox cat <&6; busybox cat gone; echo x >&7
    busybox ls turned; busybox cat was-directory; busybox ls sub; (cd kept && busybox ls ..); busybox ls; echo ready; read line
    busybox ls /mnt; busybox cat grows; echo x >new; busybox mkdir /mnt/new; busybox cat <&3; echo still here";
const CHANGING_SAID: [&str; 2] = [
    "1\n2\n12old\nnew\ngone\ncat: can't open 'gone': No such file or directory\ninside\nfile\n\
    ls: sub: No such file or directory\ncut\ngrows\nkept\nlater\nreplaced\nturned\nwas-directory\n\
    cut\ngrows\nkept\nlater\nreplaced\nturned\nwas-directory\n",
    "cat: can't open 'grows': No such file or directory\nsh: can't create new: nonexistent directory\nmkdir: can't create directory '/mnt/new': No such file or directory\nstill here\n",
];

fn changing(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let host = scratch.path().join("folder");
    for directory in ["was-directory", "sub", "kept"] {
        fs::create_dir_all(host.join(directory)).map_err(said)?;
    }
    for (name, text) in [
        ("grows", "1\n"),
        ("cut", "123456"),
        ("replaced", "old\n"),
        ("gone", "gone\n"),
        ("written", ""),
        ("turned", ""),
    ] {
        fs::write(host.join(name), text).map_err(said)?;
    }
    let sandbox = bench.busybox(&["sh", "-c", CHANGING]).options(bind(&host, ":/mnt:rw")).options(["--timeout", "100"]);
    let mut child = sandbox.command_inside();
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(said)?;
    let (mut input, output) = (child.stdin.take().ok_or("no input")?, child.stdout.take().ok_or("no output")?);
    let mut output = BufReader::new(output);
    let changes: [&dyn Fn() -> std::io::Result<()>; 2] = [&|| change(&host), &|| fs::remove_dir_all(&host)];
    let first = until_ready(&mut output)?;
    let mut wanted = vec![(first, "")];
    for (change, expected) in changes.into_iter().zip(CHANGING_SAID) {
        change().map_err(said)?;
        writeln!(input, "go on").map_err(said)?;
        wanted.push((until_ready(&mut output)?, expected));
    }
    drop(input);
    let ended = child.wait_with_output().map_err(said)?;
    let log = String::from_utf8_lossy(&ended.stderr).into_owned();
    for (text, expected) in wanted {
        if text != expected {
            return Err(format!("the program saw\n{text}\nand should see\n{expected}\n{log}"));
        }
    }
    let told = log.contains("the folder at /mnt: the host has removed it");
    if ended.status.success() && told { Ok(()) } else { Err(format!("{:?}: {log}", ended.status)) }
}

/// What is printed before the next line `ready`, or the end.
fn until_ready(output: &mut impl BufRead) -> Result<String, String> {
    let (mut all, mut line) = (String::new(), String::new());
    while output.read_line(&mut line).map_err(said)? > 0 && line != "ready\n" {
        all.push_str(&line);
        line.clear();
    }
    Ok(all)
}

fn change(host: &Path) -> std::io::Result<()> {
    fs::write(host.join("grows"), "1\n2\n")?;
    fs::OpenOptions::new().write(true).open(host.join("cut"))?.set_len(2)?;
    fs::write(host.join("later"), "new\n")?;
    fs::copy(host.join("later"), host.join("other"))?;
    fs::rename(host.join("other"), host.join("replaced"))?;
    for name in ["gone", "written", "turned"] {
        fs::remove_file(host.join(name))?;
    }
    for name in ["was-directory", "sub"] {
        fs::remove_dir(host.join(name))?;
    }
    fs::create_dir(host.join("turned"))?;
    fs::write(host.join("turned/inside"), "")?;
    fs::write(host.join("was-directory"), "file\n")
}

/// A file is copied, taken away on the host, and another made, to which most file systems give its number: it is the host's, and not the copy.
fn renumbered(bench: &Bench<'_>) -> Verdict {
    let host = bench.fixture.scratch()?;
    let (old, new) = (host.path().join("old"), host.path().join("new"));
    fs::write(&old, "old\n").map_err(said)?;
    let script = "cd /mnt; echo copied >>old; echo ready; read line; busybox cat new old; busybox stat -c %h new";
    let sandbox =
        bench.busybox(&["sh", "-c", script]).options(bind(host.path(), ":/mnt:cow")).options(["--timeout", "100"]);
    let mut command = sandbox.command_inside();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(said)?;
    let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
    until_ready(&mut output)?;
    let number = fs::metadata(&old).map_err(said)?.ino();
    fs::remove_file(&old).and_then(|()| fs::write(&new, "new\n")).map_err(said)?;
    if fs::metadata(&new).map_err(said)?.ino() != number {
        bench.note("the file system here gives other numbers: this shows nothing");
    }
    let sent = child.stdin.take().ok_or("no input").map(|mut input| input.write_all(b"\n"));
    sent?.map_err(said)?;
    let printed = until_ready(&mut output)?;
    child.wait().map_err(said)?;
    if printed == "new\nold\ncopied\n1\n" { Ok(()) } else { Err(format!("it printed {printed:?}")) }
}

/// A small file system of memory over the folder `$0`, for what runs here alone; afterwards what it holds.
const SMALL: &str = r#"
mount -t tmpfs -o size=1m small "$0" && echo kept >"$0/kept" || exit 99
"$@"
code=$?
cd "$0" && ls && cat kept small
exit $code
"#;

fn full(bench: &Bench<'_>) -> Verdict {
    let host = bench.fixture.scratch()?;
    let script = "cd /mnt; busybox dd if=/dev/zero of=file bs=10000 count=1000 conv=fsync 2>&1 | busybox grep -o 'No space.*'; \
        busybox dd if=/dev/zero bs=4096 count=1 of=file oflag=append conv=notrunc 2>&1 | busybox grep -o 'No space.*'; \
        [ $(busybox stat -c %s file) -gt 900000 ] && busybox cat file | busybox tr -d '\\000' | busybox wc -c; \
        echo more >new || echo no room; busybox rm file new && echo more >>kept && echo room >small; busybox cat kept";
    let sandbox = bench.busybox(&["sh", "-c", script]).options(bind(host.path(), ":/mnt:rw"));
    let inside = sandbox.options(["--beside", &format!("{} echo beside", bench.path_of_busybox())]);
    let mut command = Command::new("unshare");
    command
        .args((!tree::is_root()).then_some("--map-root-user"))
        .args(["--mount", "--", "/bin/sh", "-c", SMALL])
        .arg(host.path());
    let run = inside.finish(within(command, inside.command_inside()))?;
    let (full, kept) = ("No space left on device\n", "kept\nmore\n");
    let expected = format!("{full}{full}0\nno room\n{kept}kept\nsmall\n{kept}room\n");
    run.exits(0)?
        .prints_by_sandbox(&[&expected, "beside\n"])?
        .says("the folder at /mnt: the host's file system is full")?
        .done()
}

/// The command with another one and its arguments behind it.
fn within(mut outer: Command, inner: Command) -> Command {
    outer.arg(inner.get_program()).args(inner.get_args());
    if let Some(directory) = inner.get_current_dir() {
        outer.current_dir(directory);
    }
    outer
}

/// QEMU, whose 9P server writes no more than so many bytes a second once it has written some.
const SLOW: &str = r#"#!/bin/sh
PATH=${PATH#*:}
for argument; do
  shift
  case $argument in local,*) argument=$argument,throttling.bps-write=@RATE@ ;; esac
  set -- "$@" "$argument"
done
exec qemu-system-x86_64 "$@"
"#;

/// Runs the script with a folder whose server is slow, beside another program, which is to notice nothing of it.
fn slowly(bench: &Bench<'_>, host: &Path, rate: u32, script: &str) -> Result<Outcome, String> {
    let programs = bench.fixture.scratch()?;
    let qemu = programs.path().join("qemu-system-x86_64");
    fs::write(&qemu, SLOW.replace("@RATE@", &rate.to_string()))
        .and_then(|()| fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)))
        .map_err(said)?;
    let beside = format!("{} sh -c 'for n in 1 2 3; do busybox sleep 1; done; echo beside'", bench.path_of_busybox());
    let sandbox = bench.busybox(&["sh", "-c", script]).options(bind(host, ":/mnt:rw")).options(["--beside", &beside]);
    let mut command = sandbox.command_inside();
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env("PATH", [programs.path().as_os_str(), &path].join(OsStr::new(":")));
    sandbox.finish(command)
}

/// The first write is acknowledged; the next one would take the server as many seconds as it has bytes. Everything that is asked of it from then
/// on fails at once, and the run ends when the program does.
fn silent(bench: &Bench<'_>) -> Verdict {
    let host = bench.fixture.scratch()?;
    let script = "cd /mnt; exec 2>&1; busybox seq 1000 >first && echo acknowledged; echo lost >second; busybox cat first; busybox ls; \
        echo more >>first; busybox mkdir d; busybox mv first third; echo still here >/tmp/own; busybox cat /tmp/own";
    let run = slowly(bench, host.path(), 1, script)?;
    let own = "acknowledged\nsh: write error: Input/output error\ncat: can't open 'first': Input/output error\n\
        ls: .: Input/output error\nsh: can't create first: Input/output error\nmkdir: can't create directory 'd': Input/output error\n\
        mv: can't stat 'third': Input/output error\nstill here\n";
    run.exits(0)?
        .prints_by_sandbox(&[own, "beside\n"])?
        .wants(run.said == ["the folder at /mnt: the server did not answer in time"], "one line")?;
    let all: String = (1..=1000).map(|number| format!("{number}\n")).collect();
    let first = fs::read_to_string(host.path().join("first"));
    run.wants(first.is_ok_and(|text| text == all), "the acknowledged bytes")?.done()
}

/// The first write is acknowledged, and the next one would take the server 40 seconds.
fn late(bench: &Bench<'_>) -> Verdict {
    let host = bench.fixture.scratch()?;
    let script = "cd /mnt; exec 2>&1; busybox seq 10000 | busybox dd bs=32768 count=1 iflag=fullblock of=first 2>/tmp/dd && echo acknowledged; echo late >second; \
        busybox cat first | busybox wc -c; until busybox cat first >/tmp/first 2>/tmp/errors; do busybox sleep 1; done; \
        busybox wc -c </tmp/first; echo again >third && busybox cat third";
    let run = slowly(bench, host.path(), 800, script)?;
    let own = "acknowledged\nsh: write error: Input/output error\ncat: can't open 'first': Input/output error\n0\n32768\nagain\n";
    run.exits(0)?
        .prints_by_sandbox(&[own, "beside\n"])?
        .says("the folder at /mnt: the server did not answer in time")?;
    let left = |name: &str| fs::read(host.path().join(name)).unwrap_or_default();
    let all: String = (1..=10_000).map(|number| format!("{number}\n")).collect();
    run.wants(Some(left("first").as_slice()) == all.as_bytes().get(..32768), "the acknowledged bytes")?;
    run.wants(left("third") == b"again\n", "what was written afterwards")?.done()
}
