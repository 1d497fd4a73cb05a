//! `cargo xtask bench`: what system calls and whole programs cost, against the machine's own limits and against plain Linux.
//!
//! Under `-icount shift=0,sleep=off` each instruction takes one tick of the time-stamp counter, whatever the host: the
//! same figures on every run and every machine. The same runs without it give times, which are this host's.
mod cpio;
mod import;
mod linux;
mod programs;
mod table;
mod verdicts;

use crate::apt;
use crate::cli::{BenchOptions, BenchPart};
use crate::exit::Failure;
use crate::images;
use crate::qemu;
use crate::trees;
use anyhow::{Context, Result, anyhow, ensure};
use std::process::{Command, ExitCode, Stdio};
use table::Row;

/// Calls in a measured loop.
const CALLS: u64 = 20_000;
/// Starts that are timed.
const STARTS: usize = 5;
/// The ratio to two raw world switches that is aimed at.
const AIM: f64 = 1.6;
/// The memory beyond a program's own pages that is aimed at.
const KIB_BEYOND: f64 = 512.0;

/// How time passes in the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// One tick for each instruction.
    Instructions,
    /// The host's.
    Host,
}

impl Clock {
    /// What QEMU must be told.
    fn qemu_args(self) -> &'static [&'static str] {
        match self {
            Self::Instructions => &["-icount", "shift=0,sleep=off"],
            Self::Host => &[],
        }
    }

    /// How often a machine is started for a figure, of which the best counts: whatever else the host does only adds to a time.
    fn boots(self) -> usize {
        match self {
            Self::Instructions => 1,
            Self::Host => 3,
        }
    }

    /// What a tick of the time-stamp counter is.
    fn unit(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Host => "ticks",
        }
    }
}

/// What the getpid guest measured, per call.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    ns: f64,
    ticks: f64,
}

impl Cost {
    /// Reads `calls=N ns=N ticks=N`.
    fn parse(text: &str) -> Result<Self> {
        let number = |key: &str| -> Result<f64> {
            let (_, after) = text.split_once(key).with_context(|| format!("no {key} in {text:?}"))?;
            let digits = after.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            Ok(digits.parse::<f64>()?)
        };
        let calls = number("calls=")?;
        ensure!(calls > 0.0, "no calls in {text:?}");
        Ok(Self { ns: number("ns=")? / calls, ticks: number("ticks=")? / calls })
    }
}

/// Measures and prints.
pub(crate) fn bench(options: &BenchOptions) -> Result<ExitCode, Failure> {
    qemu::require()?;
    images::build_all(false)?;
    images::build(&["guests"], false)?;
    images::build(&["families"], false)?;
    trees::ensure(&[programs::TREE, verdicts::PROFILES], false)?;
    let wanted = |part| options.parts.is_empty() || options.parts.contains(&part);
    let mut rows = if wanted(BenchPart::Verdicts) { verdicts::rows()? } else { Vec::new() };
    let clocks: &[Clock] = if options.no_times { &[Clock::Instructions] } else { &[Clock::Instructions, Clock::Host] };
    for &clock in clocks {
        if wanted(BenchPart::Calls) {
            rows.extend(calls(clock, !options.no_linux)?);
        }
        if wanted(BenchPart::Programs) {
            rows.extend(programs::rows(clock, !options.no_linux)?);
        }
        if wanted(BenchPart::Events) {
            rows.push(programs::events(clock)?);
        }
    }
    if !options.no_times && wanted(BenchPart::Starts) {
        rows.extend(starts()?);
    }
    if !options.no_times && wanted(BenchPart::Import) {
        rows.extend(import::rows()?);
    }
    if !options.no_times && wanted(BenchPart::Folders) {
        rows.extend(programs::folders(!options.no_linux)?);
    }
    if options.json {
        println!("{:#}", table::json(&rows));
    } else {
        print!("{}", table::text(&rows));
    }
    Ok(ExitCode::SUCCESS)
}

/// The rows of getpid: against two raw world switches, and against plain Linux.
fn calls(clock: Clock, linux: bool) -> Result<Vec<Row>> {
    let (mut best, mut outside) = (None::<(Cost, f64)>, None::<f64>);
    // In turns, so that a host that slows down does so for both.
    for _ in 0..clock.boots() {
        let found = in_sandbox(clock)?;
        best = best.filter(|(cost, _)| cost.ticks <= found.0.ticks).or(Some(found));
        if linux {
            let init = images::built("init");
            let files = linux::Files { init: &init, argument: CALLS.to_string(), tree: None, folders: &[] };
            let cost = Cost::parse(&linux::run(clock, &files)?).context("Linux did not measure")?;
            outside = Some(outside.map_or(cost.ticks, |best| best.min(cost.ticks)));
        }
    }
    let inside = best.map(|(cost, _)| cost.ticks);
    let name = "getpid, beside two raw world switches";
    let row = Row::new(name, clock.unit(), inside, best.map(|(_, switch)| 2.0 * switch));
    // In instructions a world switch is one, whatever the processor does for it: only its time is a measure.
    let row = if clock == Clock::Host { row.aim(AIM) } else { row };
    let beside_linux = outside.map(|outside| Row::new("getpid", clock.unit(), inside, Some(outside)));
    Ok([Some(row), beside_linux].into_iter().flatten().collect())
}

/// Runs a program by `cargo xtask run` and returns its standard output and error.
fn run(clock: Clock, append: &str, command: &[&str]) -> Result<(String, String)> {
    run_with(clock, append, &[], command)
}

/// The same, with more options.
fn run_with(clock: Clock, append: &str, options: &[&str], command: &[&str]) -> Result<(String, String)> {
    let me = std::env::current_exe().context("this program's path is unknown")?;
    let mut run = Command::new(me);
    run.args(["run", "--no-build", "--stats", "--accel", "tcg"]);
    run.args(["--append", append]).args(options);
    for argument in clock.qemu_args() {
        run.args(["--qemu-arg", argument]);
    }
    let output = run.arg("--").args(command).stdin(Stdio::null()).output().context("cannot run a sandbox")?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "the sandbox failed:\n{stderr}");
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), stderr))
}

/// The cost of a call in a sandbox, and the ticks of a raw world switch in the same boot.
fn in_sandbox(clock: Clock) -> Result<(Cost, f64)> {
    let guest = images::built("getpid").display().to_string();
    let (stdout, stderr) = run(clock, "bench=switch", &[&guest, &CALLS.to_string()])?;
    let switch = number_between(&stderr, "raw world switch: ", " ticks")
        .ok_or_else(|| anyhow!("the hypervisor measured no raw world switch:\n{stderr}"))?;
    Ok((Cost::parse(&stdout)?, switch))
}

/// How long a program takes to start.
fn starts() -> Result<Vec<Row>> {
    let busybox = apt::find_program("busybox").context("busybox is missing (apt-get install busybox)")?;
    let busybox = busybox.display().to_string();
    let mut whole = Vec::new();
    let mut first = Vec::new();
    let mut beyond = 0.0;
    for _ in 0..STARTS {
        let (_, stderr) = run(Clock::Host, "", &[&busybox, "true"])?;
        let figure = |before, after| -> Result<f64> {
            number_between(&stderr, before, after).ok_or_else(|| anyhow!("a figure is missing:\n{stderr}"))
        };
        whole.push(figure("(", " s with the boot")?);
        first.push(figure("start: ", " ms from")?);
        beyond = figure("own pages, ", " KiB beyond")?;
    }
    let row = |name: &str, unit, value| Row::new(name, unit, Some(value), None);
    Ok(vec![
        row("busybox true, from QEMU's start to its end", "s", median(whole)),
        row("  from the partition to the first instruction", "ms", median(first)),
        row("  memory beyond the program's own pages", "KiB", beyond).aim(KIB_BEYOND),
    ])
}

/// The number between two texts.
fn number_between(text: &str, before: &str, after: &str) -> Option<f64> {
    text.match_indices(before).find_map(|(at, _)| {
        let rest = text.get(at + before.len()..)?;
        rest.split_once(after)?.0.trim().parse().ok()
    })
}

/// The middle value.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found() {
        assert_eq!(number_between("a (x) (1.5 s with the boot", "(", " s with"), Some(1.5));
        assert_eq!(number_between("none", "(", ")"), None);
        let cost = Cost::parse("calls=10 ns=1000 ticks=250\n").unwrap();
        assert_eq!(cost, Cost { ns: 100.0, ticks: 25.0 });
        assert!(Cost::parse("calls=0 ns=1 ticks=1").is_err());
        assert!(Cost::parse("").is_err());
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
