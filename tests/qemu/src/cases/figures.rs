//! Figures that are promised: world switches a call, and what the summary shows.
use crate::{Bench, Case, Outcome, Verdict};
use std::str::FromStr;

/// Most instructions of an intercepted, allowed and forwarded getpid, from the program's own instruction to the next.
const INSTRUCTIONS_A_CALL: u64 = 4500;
/// Most memory that a sandbox takes beyond the program's own pages.
const KIB_BEYOND: i64 = 512;
/// Most wake-ups of the root in a wait of two seconds: its end, and what the host has to say meanwhile. Polling took 200.
const WAKE_UPS: i64 = 10;

/// Tests of figures.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("two world switches for a call that the shim carries out alone", two_switches),
        Case::new("calls are counted", |bench| {
            let few = calls(bench, "10")?;
            let many = calls(bench, "110")?;
            if many - few == 100 { Ok(()) } else { Err(format!("100 more calls were counted as {}", many - few)) }
        }),
        Case::new("figures of a run", |bench| {
            bench
                .busybox(&["true"])
                .options(["--stats"])
                .run()?
                .exits(0)?
                .says("from the partition's creation to the first instruction")?
                .says("KiB beyond")?
                .says("tcg")?
                .done()
        }),
        Case::new("a call costs no more instructions than budgeted", |bench| {
            let outcome = getpid(bench, "2000")?;
            let output = String::from_utf8_lossy(&outcome.stdout).into_owned();
            let ticks = output.split_once("ticks=").and_then(|(_, n)| n.trim().parse::<u64>().ok());
            let cost = ticks.ok_or("no figure")? / 2000;
            outcome
                .wants(cost <= INSTRUCTIONS_A_CALL, &format!("at most {INSTRUCTIONS_A_CALL} instead of {cost}"))?
                .done()
        }),
        Case::new("memory beyond the program's own pages", |bench| {
            let outcome = bench.busybox(&["true"]).options(["--stats"]).run()?;
            let beyond: i64 = number_before(&outcome, " KiB beyond")?;
            outcome.wants(beyond <= KIB_BEYOND, &format!("at most {KIB_BEYOND} KiB"))?.done()
        }),
        Case::new("a sandbox that waits leaves the processor alone", |bench| {
            let outcome = bench.busybox(&["sleep", "2"]).options(["--stats"]).run()?;
            let wake_ups: i64 = number_before(&outcome, " wake-ups of the root")?;
            outcome.exits(0)?.wants((1..=WAKE_UPS).contains(&wake_ups), &format!("1 to {WAKE_UPS} wake-ups"))?.done()
        }),
        Case::new("a console that does not interrupt is polled", |bench| {
            bench
                .busybox(&["cat"])
                .options(["--qemu-arg", "-global", "--qemu-arg", "virtio-serial-pci.vectors=0"])
                .input(b"line\n")
                .run()?
                .exits(0)?
                .prints("line\n")?
                .done()
        }),
        Case::new("a plain run says nothing of its own", |bench| {
            bench.busybox(&["true"]).run()?.exits(0)?.says_nothing()?.done()
        }),
        Case::new("a trace of a run", |bench| {
            bench
                .busybox(&["cat", "fruit"])
                .options(["--trace"])
                .run()?
                .exits(0)?
                .complains("\"fruit\"")?
                .complains("exit_group(0)")?
                .done()
        }),
    ]
}

/// Runs the getpid guest and gives its outcome. Time is counted in instructions, so that few timer interrupts come in between.
fn getpid(bench: &Bench<'_>, calls: &str) -> Result<Outcome, String> {
    let outcome = bench
        .guest("getpid", &[calls])
        .options(["--stats", "--qemu-arg", "-icount", "--qemu-arg", "shift=0,sleep=off"])
        .run()?;
    outcome.exits(0)?;
    Ok(outcome)
}

/// The judged calls of a run, from the summary line.
fn calls(bench: &Bench<'_>, calls: &str) -> Result<i64, String> {
    number_before(&getpid(bench, calls)?, " calls")
}

/// The exits of root and child, as the hypervisor counted them.
fn exits(bench: &Bench<'_>, calls: &str) -> Result<(i64, i64), String> {
    let outcome = getpid(bench, calls)?;
    Ok((number_before(&outcome, " of the root")?, number_before(&outcome, " of the child")?))
}

/// The number that stands before `words` in one of Cordon's lines.
pub(super) fn number_before<N: FromStr>(outcome: &Outcome, words: &str) -> Result<N, String> {
    outcome
        .said
        .iter()
        .find_map(|line| {
            let before = line.split(words).next().filter(|part| part.len() < line.len())?;
            before.rsplit([' ', ',', '(']).next()?.parse().ok()
        })
        .ok_or_else(|| format!("no number before {words:?}; got {outcome}"))
}

/// 1000 calls more cost 1000 exits of the child and 1000 of the root more. A timer interrupt may end a dispatch in
/// between, in either run: a handful is let pass.
fn two_switches(bench: &Bench<'_>) -> Verdict {
    const SLACK: i64 = 4;
    let (root_few, child_few) = exits(bench, "1000")?;
    let (root_many, child_many) = exits(bench, "2000")?;
    let (root, child) = (root_many - root_few, child_many - child_few);
    let good = |n: i64| (n - 1000).abs() <= SLACK;
    if good(root) && good(child) {
        Ok(())
    } else {
        Err(format!("1000 more calls cost {child} exits of the child and {root} of the root"))
    }
}
