//! Things that cannot be run: each has its message and its exit code, and none brings the machine down.
use crate::{Bench, Case, Verdict};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// Tests of bad input.
pub(crate) fn cases() -> Vec<Case> {
    let mut all = vec![
        Case::new("a missing program", |bench| {
            bench.sandbox(["/no/such/program"]).run()?.exits(127)?.says("no such file")?.done()
        }),
        Case::new("an unknown command", |bench| {
            bench.sandbox(["no-such-command-here"]).run()?.exits(127)?.says("command not found")?.done()
        }),
        Case::new("a program that is a directory", |bench| {
            bench.sandbox(["/usr"]).run()?.exits(126)?.says("is a directory")?.done()
        }),
        Case::new("a program that may not be executed", |bench| {
            bench.sandbox(["./fruit"]).run()?.exits(126)?.says("permission denied")?.done()
        }),
        Case::new("not an ELF file", |bench| refused(bench, b"this is no program at all\n".to_vec())),
        Case::new("an empty file", |bench| refused(bench, Vec::new())),
        Case::new("an endless loop and a time limit", |bench| {
            bench
                .guest("fault", &["loop"])
                .options(["--timeout", "1"])
                .run()?
                .exits(124)?
                .says("timed out: the program was ended")?
                .done()
        }),
        Case::new("waiting for input and a time limit", |bench| {
            bench
                .busybox(&["sleep", "30"])
                .options(["--timeout", "1"])
                .run()?
                .exits(124)?
                .says("timed out: the program was ended")?
                .done()
        }),
        Case::new("more memory than there is", |bench| {
            let double = "BEGIN { s = \"x\"; while (1) s = s s }";
            let ended = bench.busybox(&["awk", double]).options(["--memory", "16M"]).run()?;
            // As on Linux: a request that cannot be met fails, and what was promised and is lacking ends the program.
            let refused = ended.code == 1 && ended.stderr.contains("out of memory");
            ended.wants(refused || ended.code == 137, "ENOMEM or the program's end")?.done()
        }),
        Case::new("more memory and more files than there is room for, at once", |bench| {
            let fill = "BEGIN { s = \"xxxxxxxx\"; for (i = 0; i < 13; i++) s = s s; \
                        for (i = 0; i < 400; i++) printf \"%s\", s > \"/tmp/f\"; close(\"/tmp/f\"); \
                        print \"written\" > \"/dev/stderr\"; while (1) s = s s }";
            let ended = bench.busybox(&["awk", fill]).options(["--memory", "24M"]).run()?;
            // The program's end, by its own memory: the root has kept its share.
            ended
                .complains("written")?
                .wants(ended.code == 137 || ended.stderr.contains("out of memory"), "the program's end")?
                .done()
        }),
        Case::new("a missing layer", |bench| {
            bench
                .busybox(&["true"])
                .options(["--layer", "/no/such/layer"])
                .run()?
                .exits(2)?
                .says("the layer /no/such/layer: no such file or directory")?
                .done()
        }),
        Case::new("a working directory that the sandbox' own folders do not have", |bench| {
            let there = bench.busybox(&["pwd"]).options(["--cwd", "/proc"]).run()?;
            there.exits(0)?.prints("/proc\n")?;
            for (place, why) in [("/proc/none", "is not there"), ("/dev/null", "is no directory")] {
                let outcome = bench.busybox(&["true"]).options(["--cwd", place]).run()?;
                outcome.exits(2)?.says(&format!("{place}: the working directory {why}"))?;
            }
            Ok(())
        }),
        Case::new("a policy that nobody writes, and outputs in one another's place", |bench| {
            let scratch = bench.fixture.scratch()?;
            let [pipe, file] = ["pipe", "file"].map(|name| scratch.path().join(name).display().to_string());
            let made = Command::new("mkfifo").arg(&pipe).status().map_err(|error| error.to_string())?;
            let outcome = bench.busybox(&["true"]).options(["--policy", &pipe]).run()?;
            outcome.exits(2)?.says("it is a pipe, and nobody has written to it for 10 s")?;
            for options in [["--events", &file, "--learn", &file], ["--events", &file, "--report", "/no/such/page"]] {
                let outcome = bench.busybox(&["true"]).options(options).run()?;
                outcome.exits(2)?.says(if options[2] == "--learn" {
                    "is written there"
                } else {
                    "there is no folder /no/such"
                })?;
            }
            let left = fs::read_dir(scratch.path()).map_err(|error| error.to_string())?.count();
            if made.success() && left == 1 { Ok(()) } else { Err(format!("{left} files are left")) }
        }),
        Case::new("a bad environment variable", |bench| {
            bench.busybox(&["true"]).options(["--env", "NOVALUE"]).run()?.exits(2)?.says("NAME=VALUE")?.done()
        }),
        Case::new("a bad memory size", |bench| {
            bench
                .busybox(&["true"])
                .options(["--memory", "tiny"])
                .run()?
                .exits(2)?
                .complains("not a memory size")?
                .done()
        }),
        Case::new("a missing policy file", |bench| {
            bench
                .busybox(&["true"])
                .options(["--policy", "/no/such/policy.toml"])
                .run()?
                .exits(2)?
                .says("cannot read the policy /no/such/policy.toml")?
                .done()
        }),
    ];
    let mut elf = |name: &str, change: fn(&mut Vec<u8>)| {
        all.push(Case::new(name, move |bench| {
            let mut bytes = fs::read(bench.fixture.guest("probe")).map_err(|e| e.to_string())?;
            change(&mut bytes);
            refused(bench, bytes)
        }));
    };
    // Offsets of ELF64: class 4, machine 18, program headers' offset 32, their count 56.
    elf("an ELF file for another machine", |bytes| put(bytes, 18, &[0xb7, 0]));
    elf("a 32-bit ELF file", |bytes| put(bytes, 4, &[1]));
    elf("an ELF file of a few bytes", |bytes| bytes.truncate(20));
    elf("an ELF file cut off in its header", |bytes| bytes.truncate(60));
    elf("an ELF file without its program headers", |bytes| bytes.truncate(64));
    elf("an ELF file with program headers far away", |bytes| put(bytes, 32, &[0xff; 8]));
    elf("an ELF file without segments", |bytes| put(bytes, 56, &[0, 0]));

    all.push(Case::new("an ELF file cut off in its segments", |bench| {
        let mut bytes = fs::read(bench.fixture.guest("probe")).map_err(|e| e.to_string())?;
        bytes.truncate(bytes.len() / 8);
        let outcome = with_program(bench, &bytes)?.1;
        outcome.wants(outcome.code == 126 || outcome.code > 128, "a refusal or a signal")?.done()
    }));
    all.push(Case::new("a missing interpreter", missing_interpreter));
    all.push(Case::new("a missing library", missing_library));
    all.extend(bad_policies());
    all
}

/// Policies that are refused with a place, before anything starts.
fn bad_policies() -> impl Iterator<Item = Case> {
    let contradiction = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["dup"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
        {"names": ["dup"], "action": "SCMP_ACT_KILL", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#;
    let policies: [(&str, Vec<u8>, &str); 12] = [
        ("of another version", b"version = 99\n".into(), ":1:"),
        ("with an unknown key", b"version = 1\nrules = 3\n".into(), ":2:1: unknown key"),
        ("with an unknown call", b"version = 1\n[[rule]]\ncalls = [\"opne\"]\naction = \"allow\"\n".into(), ":3:"),
        ("that is no TOML", b"version = = 1\n".into(), ":1:"),
        ("that is no UTF-8", b"version = 1\n# \xff\n".into(), ":2:3: not UTF-8"),
        ("of more bytes than are read", vec![b'#'; 300_000], ":1:1: the policy has more than"),
        ("nested deeply", b"{\"defaultAction\":".repeat(10_000), ":1:"),
        (
            "that includes itself",
            b"read: 1\n@include bad.toml\n".into(),
            ":2:1: cannot include bad.toml: that is a circle: ",
        ),
        (
            "of ours that includes itself",
            b"version = 1\ninclude = [\"bad.toml\"]\n".into(),
            ":2:12: cannot include bad.toml: that is a circle: ",
        ),
        (
            "that includes what is not there",
            b"version = 1\ninclude = [\"../none\"]\n".into(),
            ":2:12: cannot include ../none: No such file",
        ),
        ("that is JSON of no policy", b"{\"version\": 1, \"rule\": 3}".into(), ":1:24: `rule` must be"),
        ("that contradicts itself", contradiction.into(), ":3:9: about `dup` this contradicts the entry at 2:9"),
    ];
    policies.into_iter().map(|(name, text, place)| {
        Case::new(format!("a policy {name}"), move |bench| {
            let scratch = bench.fixture.scratch()?;
            let file = scratch.path().join("bad.toml");
            fs::write(&file, &text).map_err(|e| e.to_string())?;
            let outcome = bench.busybox(&["true"]).options(["--policy".as_ref(), file.as_os_str()]).run()?;
            outcome.exits(2)?.prints("")?.says(&format!("bad.toml{place}"))?.done()
        })
    })
}

/// Overwrites bytes.
fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + new.len()) {
        place.copy_from_slice(new);
    }
}

/// Writes a program and runs it.
fn with_program(bench: &Bench<'_>, bytes: &[u8]) -> Result<(TempDir, crate::Outcome), String> {
    let scratch = bench.fixture.scratch()?;
    let path = write_program(&scratch, bytes)?;
    let outcome = bench.sandbox([path]).run()?;
    Ok((scratch, outcome))
}

pub(super) fn write_program(scratch: &TempDir, bytes: &[u8]) -> Result<PathBuf, String> {
    let path = scratch.path().join("program");
    fs::write(&path, bytes)
        .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)))
        .map_err(|e| e.to_string())?;
    Ok(path)
}

/// Wants a program of these bytes to be refused.
fn refused(bench: &Bench<'_>, bytes: Vec<u8>) -> Verdict {
    let (_scratch, outcome) = with_program(bench, &bytes)?;
    outcome.exits(126)?.prints("")?.says("program")?.done()
}

/// A program whose interpreter is not there: what execve says to ENOENT.
fn missing_interpreter(bench: &Bench<'_>) -> Verdict {
    let mut bytes = fs::read("/bin/cat").map_err(|e| e.to_string())?;
    replace(&mut bytes, b"/lib64/ld-linux-x86-64.so.2", b"/lib64/ld-missing-here.so.2")?;
    let (_scratch, outcome) = with_program(bench, &bytes)?;
    outcome.exits(127)?.prints("")?.says("ld-missing-here.so.2")?.done()
}

/// A library that is not there: the dynamic linker says so itself.
fn missing_library(bench: &Bench<'_>) -> Verdict {
    let mut bytes = fs::read("/bin/cat").map_err(|e| e.to_string())?;
    replace(&mut bytes, b"libc.so.6\0", b"libX.so.6\0")?;
    let (_scratch, outcome) = with_program(bench, &bytes)?;
    outcome.exits(127)?.says("libX.so.6")?.complains("error while loading shared libraries: libX.so.6")?.done()
}

/// Replaces the first `from` by `to`, which is as long.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) -> Verdict {
    let at = bytes.windows(from.len()).position(|window| window == from).ok_or("the text to replace is not there")?;
    put(bytes, at, to);
    Ok(())
}
