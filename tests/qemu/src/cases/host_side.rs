//! The host's side of a run: it ends when it is told to, leaves nothing behind, and says what was asked for.
use crate::{Bench, Case, LAYERS, Outcome, Verdict, tree};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Tests of the host's side.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("SIGINT ends the machine and leaves nothing behind", |bench| stopped(bench, "INT", Some(130))),
        Case::new("SIGTERM ends the machine and leaves nothing behind", |bench| stopped(bench, "TERM", Some(143))),
        Case::new("SIGKILL ends the machine too", |bench| stopped(bench, "KILL", None)),
        Case::new("a reader that goes away ends the program", |bench| {
            let scratch = bench.fixture.scratch()?;
            let mut run = start(bench, &["seq", "1", "100000000"], scratch.path(), Stdio::piped())?;
            drop(run.stdout.take());
            let status = end(&mut run)?;
            if status == Some(141) { Ok(()) } else { Err(format!("wanted exit code 141; got {status:?}")) }
        }),
        Case::new("what nobody reads ends no run, and a list that goes nowhere ends", |bench| {
            let scratch = bench.fixture.scratch()?;
            // The pipe's reader is gone before anything is written.
            let script = "mkfifo \"$2\" && exec 3<>\"$2\" 4>\"$2\" 3<&-
                \"$0\" run --no-build --stats --verbose -- \"$1\" echo here 2>/dev/full || exit
                \"$0\" run --no-build --stats -- \"$1\" echo here 2>&4 || exit
                \"$0\" tree >/dev/full; echo $?; \"$0\" tree >&4; echo $?";
            let pipe = scratch.path().join("pipe").display().to_string();
            let xtask = bench.setup.xtask.display().to_string();
            let sandbox = bench.sandbox(["sh", "-c", script, &xtask, &bench.path_of_busybox(), &pipe]);
            let outcome = sandbox.run_here()?;
            outcome.exits(0)?.prints("here\nhere\n1\n141\n")?.says("cannot write to standard output")?.done()
        }),
        Case::new("a trace goes to a file", |bench| {
            let scratch = bench.fixture.scratch()?;
            let file = scratch.path().join("trace");
            let outcome = bench.busybox(&["true"]).options([format!("--trace={}", file.display())]).run()?;
            let trace = fs::read_to_string(&file).map_err(|e| e.to_string())?;
            outcome.exits(0)?.wants(trace.contains("exit_group(0)"), "exit_group in the file")?;
            outcome.wants(outcome.stderr.is_empty(), "nothing on standard error")?.done()
        }),
        Case::new("what does not fit on the disk is told, and is not there by half", disk_full),
        Case::new(
            "an image store on a full disk holds nothing by half, and takes images when there is room",
            store_full,
        ),
        Case::new("a finished run leaves nothing behind", |bench| {
            let scratch = bench.fixture.scratch()?;
            let mut run = start(bench, &["true"], scratch.path(), Stdio::null())?;
            let status = end(&mut run)?;
            if status == Some(0) && is_empty(scratch.path()) {
                Ok(())
            } else {
                Err(format!("exit code {status:?}, directory empty: {}", is_empty(scratch.path())))
            }
        }),
        Case::new("--verbose shows QEMU's command line", |bench| {
            bench.busybox(&["true"]).options(["--verbose"]).run()?.exits(0)?.says("-kernel")?.done()
        }),
    ]
}

/// On a file system of 64 KiB at `$2`, which is this test's alone: everything that `run` and `layer` write, too large for it, or with no room
/// left for a page; after each, the exit code and the names that are there. `$0` is xtask, `$1` busybox.
const DISK_FULL: &str = r#"
mount -t tmpfs -o size=64k small "$2" && cd "$2" || exit 99
left() { echo $? $(ls -A); rm -f out; }
try() {
    if [ "$fill" ]; then head -c 64k /dev/zero >fill; else echo old >out; fi 2>/dev/null
    "$xtask" run --no-build "$@" -- "$busybox" sh -c 'i=0; while [ $i -lt 300 ]; do i=$((i+1)); [ -e /none/$i ]; done; busybox head -c 100000 /dev/urandom >/tmp/file; echo end'
}
xtask=$0 busybox=$1 fill=
try --diff out; left
try --events out >/dev/null; code=$?; "$xtask" trace verify out; tail -c 3 out; (exit $code); left
try --timeline out >/dev/null; left
fill=yes
try --learn out; left
try --report out; left
try --learn out --report /dev/full; left
rm fill
head -c 100000 /dev/urandom >/tmp/layer/file && image=$("$xtask" layer base /tmp/layer) || exit 99
echo old >out; "$xtask" layer export "$image" out; echo $? $(cat out) $(ls -A)
"$xtask" layer destroy "$image" 2>/dev/null
"#;

/// Runs a script where it may mount, with a folder at `$2` for that, and another one in the place of `/tmp/layer`.
fn with_disk(bench: &Bench<'_>, script: &str) -> Result<Outcome, String> {
    let scratch = bench.fixture.scratch()?;
    let (disk, layer) = (scratch.path().join("disk"), scratch.path().join("layer"));
    fs::create_dir(&disk).and_then(|()| fs::create_dir(&layer)).map_err(|error| error.to_string())?;
    let script = script.replace("/tmp/layer", &layer.display().to_string());
    let mut command: Vec<String> = vec!["unshare".into()];
    command.extend((!tree::is_root()).then(|| "--map-root-user".into()));
    command.extend(["--mount", "--", "/bin/sh", "-c", &script].map(String::from));
    command.extend([bench.setup.xtask.display().to_string(), bench.path_of_busybox(), disk.display().to_string()]);
    bench.sandbox(command).options(["--env", &format!("{LAYERS}={}", bench.setup.layers.display())]).run_here()
}

/// An image of a small layer and one of 400 KiB, and the small one's archive, go into a store on a file system of 256 KiB at `$2`, then into one that is full
/// to the last page, and then into one with room; after each try the exit code and the files that the store has. `$0` is xtask, `$1` busybox.
const STORE_FULL: &str = r#"
xtask=$0 busybox=$1 disk=$2
mkdir /tmp/layer/small /tmp/layer/large && echo seen >/tmp/layer/small/seen && head -c 400k /dev/urandom >/tmp/layer/large/file || exit 99
tar -C /tmp/layer/small -cf /tmp/layer/small.tar . && tar -C /tmp/layer/large -cf /tmp/layer/large.tar . || exit 99
mount -t tmpfs -o size=8m made "$disk" || exit 99
CORDON_LAYERS=$disk && export CORDON_LAYERS
image=$("$xtask" layer base /tmp/layer/small.tar) && "$xtask" layer export "$image" /tmp/layer/image.tar --layer /tmp/layer/large.tar >/dev/null || exit 99
umount "$disk" && mount -t tmpfs -o size=256k small "$disk" || exit 99
left() { echo $? $(cd "$disk" && find . -type f | sed 's/[0-9a-f]\{64\}/HEX/' | sort); }
in_layers() { "$xtask" run --no-build --layer /tmp/layer/small.tar --layer /tmp/layer/large.tar -- "$busybox" cat /seen; }
"$xtask" layer import /tmp/layer/image.tar; left
"$xtask" run --no-build --image /tmp/layer/image.tar -- "$busybox" true; left
"$xtask" run --no-build --layer /tmp/layer/large.tar -- "$busybox" true; left
"$xtask" layer list | wc -l
head -c 256k /dev/zero >"$disk/fill" 2>/dev/null
in_layers; left
"$xtask" layer destroy --all; left
"$xtask" layer import /tmp/layer/image.tar; left
rm "$disk/fill" && mount -o remount,size=8m "$disk" || exit 99
"$xtask" layer import /tmp/layer/image.tar >/dev/null; left
in_layers; left
umount "$disk"
"#;

fn store_full(bench: &Bench<'_>) -> Verdict {
    let outcome = with_disk(bench, STORE_FULL)?;
    let (one, both) = ("./layers/HEX.tar", "./images/HEX.json ./layers/HEX.tar ./layers/HEX.tar");
    outcome.exits(0)?.prints(&format!(
        "2 {one} ./lock\n2 {one} ./lock\n2 {one} ./lock\n1\n\
         2 ./fill {one} ./lock\n0 ./fill ./lock\n2 ./fill {one} ./lock\n\
         0 {both} ./lock ./seen/HEX\nseen\n0 {both} ./lock ./seen/HEX ./seen/HEX ./seen/HEX\n"
    ))?;
    let told = |name: &str| {
        let is_told = |line: &&String| {
            line.contains(&format!("{name}: cannot write the plain archive to the store in /"))
                && line.ends_with("/disk: No space left on device (os error 28)")
        };
        outcome.said.iter().filter(is_told).count()
    };
    let told = ["image.tar", "large.tar", "small.tar"].map(told);
    outcome.wants(told == [3, 1, 1], "what did not fit, each time")?.done()
}

fn disk_full(bench: &Bench<'_>) -> Verdict {
    let outcome = with_disk(bench, DISK_FULL)?;
    let full = ": No space left on device (os error 28)";
    outcome
        .exits(0)?
        .prints("end\n125\n\"}\n125 out\n125\nend\n125 fill\nend\n125 fill\nend\n125 fill\n2 old out\n")?;
    for line in [
        "no diff out: cannot write the layer",
        "the run was stopped: cannot write the events out",
        "the run was stopped: cannot write the timeline out",
        "cannot write the policy out",
        "cannot write the report out",
        "cannot write the report /dev/full",
        "out: cannot write the image",
    ] {
        outcome.says(&format!("{line}{full}"))?;
    }
    outcome.says("out:")?.says("it ends before the run did: the last events are missing")?;
    // Nothing else is told: not what the sandbox' logs say, for it is no trouble of theirs.
    outcome.wants(outcome.said.len() == 9, "a line for each")?.done()
}

/// Starts busybox in a sandbox, with `temporary` as the place for temporary files.
fn start(bench: &Bench<'_>, arguments: &[&str], temporary: &Path, stdout: Stdio) -> Result<Child, String> {
    Command::new(&bench.setup.xtask)
        .args(["run", "--no-build", "--"])
        .arg(&bench.setup.busybox)
        .args(arguments)
        .env("TMPDIR", temporary)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| e.to_string())
}

/// Waits for the end, for a limited time. `None`: a signal.
fn end(run: &mut Child) -> Result<Option<i32>, String> {
    let ended = eventually(|| matches!(run.try_wait(), Ok(Some(_)) | Err(_)));
    if !ended {
        run.kill().map_err(|e| e.to_string())?;
    }
    let status = run.wait().map_err(|e| e.to_string())?;
    if ended { Ok(status.code()) } else { Err("it does not end".into()) }
}

/// Sends a signal to a run in its midst: it ends with this code, and QEMU with it.
fn stopped(bench: &Bench<'_>, signal: &str, code: Option<i32>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let mark = scratch.path().display().to_string();
    let mut run = start(bench, &["sleep", "100"], scratch.path(), Stdio::null())?;
    if !eventually(|| machine_runs(&mark)) {
        end(&mut run)?;
        return Err("the machine did not start".into());
    }
    let id = run.id().to_string();
    Command::new("kill").args(["-s", signal, &id]).status().map_err(|e| e.to_string())?;
    let status = end(&mut run)?;
    if status != code {
        return Err(format!("wanted exit code {code:?}; got {status:?}"));
    }
    if !eventually(|| !machine_runs(&mark)) {
        return Err("QEMU still runs".into());
    }
    // Nobody can clean up after SIGKILL.
    if code.is_some() && !is_empty(scratch.path()) {
        return Err("temporary files are left".into());
    }
    Ok(())
}

/// Whether a QEMU runs whose command line holds `mark`. The program that starts it, and sees to it that it ends with
/// `xtask`, has the same words in its own until it has done so.
fn machine_runs(mark: &str) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    processes.flatten().any(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        line.contains("-kernel") && line.contains(mark) && !line.contains("--pdeathsig")
    })
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// Waits until something holds, for a limited time.
fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if holds() {
            return true;
        }
        thread::sleep(Duration::from_millis(10));
    }
    false
}
