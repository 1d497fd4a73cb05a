//! `cargo xtask bench`: what an intercepted system call costs, against the machine's own limits and against plain Linux.
//!
//! Under `-icount shift=0,sleep=off` each instruction takes one tick of the time-stamp counter, whatever the host: the
//! same figures on every run and every machine. The same runs without it give times, which are this host's.
mod cpio;
mod linux;

use crate::apt;
use crate::cli::BenchOptions;
use crate::exit::Failure;
use crate::images;
use crate::qemu;
use anyhow::{Context, Result, anyhow, ensure};
use std::process::{Command, ExitCode, Stdio};

/// Calls in a measured loop.
const CALLS: u64 = 20_000;
/// Starts that are timed.
const STARTS: usize = 5;
/// The ratio to two raw world switches that is aimed at.
const AIM: f64 = 1.6;

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
    println!("getpid, per call ({CALLS} calls in a loop)");
    for clock in [Clock::Instructions, Clock::Host] {
        let (inside, switch) = in_sandbox(clock)?;
        row("  in a sandbox, judged and forwarded", inside, clock);
        println!("  {:<42}{:>9.0} {}", "two raw world switches, same boot", 2.0 * switch, clock.unit());
        let ratio = inside.ticks / (2.0 * switch);
        println!("  {:<42}{ratio:>9.2}   (aim: at most {AIM})", "ratio to two raw world switches");
        if !options.no_linux {
            let outside = linux::getpid(clock)?;
            row("  on plain Linux in the same machine", outside, clock);
            println!("  {:<42}{:>9.2}", "ratio to plain Linux", inside.ticks / outside.ticks);
        }
    }
    starts()?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a cost.
fn row(name: &str, cost: Cost, clock: Clock) {
    let ns = match clock {
        Clock::Instructions => String::new(),
        Clock::Host => format!(" = {:.0} ns", cost.ns),
    };
    println!("{name:<44}{:>9.0} {}{ns}", cost.ticks, clock.unit());
}

/// Runs a program by `cargo xtask run` and returns its standard output and error.
fn run(clock: Clock, append: &str, command: &[&str]) -> Result<(String, String)> {
    let me = std::env::current_exe().context("this program's path is unknown")?;
    let mut run = Command::new(me);
    run.args(["run", "--no-build", "--stats", "--accel", "tcg"]);
    run.args(["--append", append]);
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
fn starts() -> Result<()> {
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
    println!("busybox true (median of {STARTS})");
    println!("  {:<42}{:>9.3} s", "from QEMU's start to its end", median(whole));
    println!("  {:<42}{:>9.3} ms", "from the partition to the first instruction", median(first));
    println!("  {:<42}{beyond:>9.0} KiB", "memory beyond the program's own pages");
    Ok(())
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
