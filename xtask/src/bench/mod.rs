//! `cargo xtask bench`: what system calls and whole programs cost, against the machine's own limits and against plain Linux.
//!
//! Under `-icount shift=0,sleep=off` each instruction takes one tick of the time-stamp counter, whatever the host: the
//! same figures on every run and every machine. The same runs without it give times, which are this host's.
mod cpio;
mod linux;
mod table;

use crate::apt;
use crate::cli::BenchOptions;
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
/// The tree that the measured programs are in.
const TREE: &str = "python";

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
    trees::ensure(&[TREE], false)?;
    let mut rows = Vec::new();
    for clock in [Clock::Instructions, Clock::Host] {
        rows.extend(calls(clock, !options.no_linux)?);
        rows.extend(programs(clock, !options.no_linux)?);
    }
    rows.extend(starts()?);
    if options.json {
        println!("{:#}", table::json(&rows));
    } else {
        print!("{}", table::text(&rows));
    }
    Ok(ExitCode::SUCCESS)
}

/// The rows of getpid: against two raw world switches, and against plain Linux.
fn calls(clock: Clock, linux: bool) -> Result<Vec<Row>> {
    let (inside, switch) = in_sandbox(clock)?;
    let mut rows = Vec::new();
    let name = "getpid, beside two raw world switches";
    let row = Row::new(name, clock.unit(), Some(inside.ticks), Some(2.0 * switch));
    // In instructions a world switch is one, whatever the processor does for it: only its time is a measure.
    rows.push(if clock == Clock::Host { row.aim(AIM) } else { row });
    if linux {
        let init = images::built("init");
        let files = linux::Files { init: &init, argument: CALLS.to_string(), tree: None };
        let outside = Cost::parse(&linux::run(clock, &files)?).context("Linux did not measure")?;
        rows.push(Row::new("getpid", clock.unit(), Some(inside.ticks), Some(outside.ticks)));
    }
    Ok(rows)
}

/// What the `costs` guest measures: its name there, here, and the aim.
const PROGRAMS: [(&str, &str, f64); 9] = [
    ("fault", "page fault", 1.5),
    ("fork", "fork, exit, wait", 1.5),
    ("thread", "thread, created and joined", 1.5),
    ("ping-pong", "pipe, to and fro between two processes", 1.5),
    ("compute", "computing", 1.03),
    ("read", "1 MiB of a cached file in 64 KiB pieces", 1.5),
    ("open", "open and close", 4.0),
    ("python", "python3 -c pass", 2.0),
    ("true", "/usr/bin/true, from start to end", 2.0),
];

/// Calls of a ping-pong's round: a write and a read on each side.
const PING_PONG_CALLS: f64 = 4.0;

/// The rows of the `costs` guest, per operation.
fn programs(clock: Clock, linux: bool) -> Result<Vec<Row>> {
    let guest = images::built("costs");
    let tree = trees::directory().join(TREE);
    let layer = tree.display().to_string();
    let (inside, _) = run_with(clock, "", &["--layer", &layer, "--memory", "512M"], &[&guest.display().to_string()])?;
    let outside = match linux {
        true => linux::run(clock, &linux::Files { init: &guest, argument: String::new(), tree: Some(&tree) })?,
        false => String::new(),
    };
    let cost = |text: &str, name: &str| {
        let line =
            text.lines().find_map(|line| line.trim().strip_prefix("row ")?.strip_prefix(name)?.strip_prefix(' '))?;
        let cost = Cost::parse(&line.replace("ops=", "calls=")).ok()?;
        Some(match clock {
            Clock::Instructions => cost.ticks,
            Clock::Host => cost.ns,
        })
    };
    let unit = match clock {
        Clock::Instructions => clock.unit(),
        Clock::Host => "ns",
    };
    let mut rows = Vec::new();
    for (key, name, aim) in PROGRAMS {
        let (here, there) = (cost(&inside, key), cost(&outside, key));
        if key == "ping-pong" {
            // The intercepts are the price of judging each call; what the sandbox itself adds is beside them.
            let extra = |a: Option<f64>, b: Option<f64>| Some(PING_PONG_CALLS * (a? - b?));
            let intercepts = extra(cost(&inside, "getpid"), cost(&outside, "getpid"));
            rows.push(Row::new("  its intercepts alone", unit, intercepts, None));
            let rest = intercepts.and_then(|cost| Some(here? - cost));
            rows.push(Row::new(name, unit, here, there));
            rows.push(Row::new("  beyond its intercepts", unit, rest, there).aim(aim));
        } else {
            rows.push(Row::new(name, unit, here, there).aim(aim));
        }
    }
    Ok(rows)
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
