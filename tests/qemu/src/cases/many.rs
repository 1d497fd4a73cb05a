//! Several sandboxes at once on one machine: each has its own memory, files, time and end.
use std::time::Duration;

use super::images::layer;
use crate::{Bench, Case, Verdict};

/// Tests of sandboxes beside each other.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("copies and commands beside each other", |bench| {
            let busybox = bench.path_of_busybox();
            let first = format!("{busybox} sh -c 'echo left; kill -SEGV $$'");
            let second = format!("{busybox} sh -c 'echo right; exit 3'");
            let sandbox = bench.busybox(&["sh", "-c", "read line; echo got $line"]).input(b"words\n");
            let outcome = sandbox.options(["--copies", "2", "--beside", &first, "--beside", &second]).run()?;
            // Standard input is the first one's: for the others it has ended, and `read` says so.
            outcome.exits(0)?.prints_by_sandbox(&["got words\n", "got\n", "left\n", "right\n"])?;
            outcome.says("[3] program ended by SIGSEGV")?.says("[4] program ended with exit code 3")?.done()
        }),
        Case::new("the first copy that fails gives the exit code", |bench| {
            // What is random differs between copies.
            let program = "read -r id </proc/sys/kernel/random/uuid; echo $id; exit 5";
            let outcome = bench.busybox(&["sh", "-c", program]).options(["--copies", "3"]).run()?;
            outcome.exits(5)?.says("[2] program ended with exit code 5")?;
            let ids: Vec<&str> = lines(&outcome.stdout).map(|line| line.rsplit(' ').next().unwrap_or(line)).collect();
            let different = ids.iter().collect::<std::collections::BTreeSet<_>>().len();
            outcome.wants(ids.len() == 3 && different == 3, "three different lines")?.done()
        }),
        Case::new("files that one sandbox writes are in no other", |bench| {
            let program = "echo x >>/tmp/common; while read -r line; do echo $line; done </tmp/common";
            let outcome = bench.busybox(&["sh", "-c", program]).options(["--copies", "4"]).run()?;
            outcome.exits(0)?.prints_by_sandbox(&["x\n"; 4])?.done()
        }),
        Case::new("who never waits keeps nobody from the processor", |bench| {
            let spin = format!("{} sh -c 'while :; do :; done'", bench.path_of_busybox());
            let noise = format!("{} yes", bench.path_of_busybox());
            let program = "i=0; while [ $i -lt 20 ]; do i=$((i+1)); (echo $i >/dev/null); done; echo $i";
            let beside = ["--beside", &spin, "--beside", &spin, "--beside", &noise, "--timeout", "12"];
            let outcome = bench.busybox(&["sh", "-c", program]).options(beside).run()?;
            let first: Vec<&str> = lines(&outcome.stdout).filter(|line| !line.starts_with('[')).collect();
            outcome.exits(0)?.wants(first == ["20"], "the first program's work done")?;
            outcome.says("[2] timed out: the")?.says("[3] timed out: the")?.says("[4] timed out: the")?.done()
        }),
        Case::new("one that takes all memory leaves the others theirs", |bench| {
            let hog = format!("{} memory", bench.path_of_guest("attacks"));
            let program =
                "i=0; text=0123456789abcdef; while [ $i -lt 14 ]; do text=$text$text; i=$((i+1)); done; echo ${#text}";
            let outcome = bench
                .busybox(&["sh", "-c", program])
                .options(["--memory", "32M", "--beside", &hog, "--beside", &hog, "--timeout", "100"])
                .run()?;
            let hogs = "afterwards all is well: yes\nafterwards: works\n";
            outcome.exits(0)?.prints_by_sandbox(&["262144\n", hogs, hogs])?.done()
        }),
        Case::new("two hundred sandboxes from one image", two_hundred).needs("git"),
    ]
}

/// How long two hundred sandboxes may take, on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

/// Each of two hundred takes what it writes, and no part of the image, which is many times as large as what one may take.
fn two_hundred(bench: &Bench<'_>) -> Verdict {
    const COUNT: usize = 200;
    /// KiB that one may take: the shim's tables, the program's pages, and what the hypervisor keeps of it.
    const MOST_EACH: u64 = 1024;
    let image = layer(bench, &["base".as_ref(), bench.setup.trees.join("git").as_os_str()])?;
    let sandbox = bench.sandbox(["/usr/bin/dash", "-c", "echo $((6 * 7)) >/tmp/x; read y </tmp/x; echo $y"]);
    let many = ["--copies", "200", "--memory", "16M", "--stats", "--image", image.trim()];
    let outcome = sandbox.options(many).limit(LIMIT).run()?;
    layer(bench, &["destroy".as_ref(), image.trim().as_ref()])?;
    outcome.exits(0)?.prints_by_sandbox(&["42\n"; COUNT])?;
    let own: Vec<u64> = outcome.said.iter().filter_map(|line| own_memory(line)).collect();
    outcome.wants(own.len() == COUNT, "the figures of two hundred sandboxes")?;
    match own.iter().max() {
        Some(&most) if most > MOST_EACH => Err(format!("one of {COUNT} takes {most} KiB, more than {MOST_EACH}")),
        _ => Ok(()),
    }
}

/// The KiB in all of one sandbox' figures.
fn own_memory(line: &str) -> Option<u64> {
    let (before, _) = line.strip_prefix('[')?.split_once(" KiB in all")?;
    before.rsplit(' ').next()?.parse().ok()
}

fn lines(stdout: &[u8]) -> impl Iterator<Item = &str> {
    stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).filter_map(|line| str::from_utf8(line).ok())
}
