//! The rows of the `costs` guest: what programs do, per operation, beside the same on plain Linux.
use super::linux::{self, Files, Folder};
use super::table::Row;
use super::{Clock, Cost, number_between, run_with};
use crate::{images, trees};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

/// The tree that the measured programs are in.
pub(super) const TREE: &str = "python";

/// What is measured.
struct Program {
    /// Its name in the guest.
    key: &'static str,
    /// Its name here.
    name: &'static str,
    /// The most that the ratio to plain Linux should be,
    aim: f64,
    /// of what.
    of: Share,
}

/// What of a cost an aim is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    /// All.
    Whole,
    /// All, and shown beside it what of it is the price of judging its calls.
    WholeWithIntercepts,
    /// What is left without the price of judging its calls, which is shown apart.
    BeyondIntercepts,
}

const PROGRAMS: [Program; 13] = [
    Program { key: "fault", name: "page fault", aim: 1.5, of: Share::Whole },
    Program { key: "fork", name: "fork, exit, wait", aim: 1.5, of: Share::Whole },
    Program { key: "thread", name: "thread, created and joined", aim: 1.5, of: Share::WholeWithIntercepts },
    Program { key: "ping-pong", name: "pipe, to and fro between two processes", aim: 1.5, of: Share::BeyondIntercepts },
    Program { key: "compute", name: "computing", aim: 1.03, of: Share::Whole },
    Program { key: "read", name: "1 MiB of a cached file in 64 KiB pieces", aim: 1.5, of: Share::WholeWithIntercepts },
    Program { key: "open", name: "open and close", aim: 4.0, of: Share::WholeWithIntercepts },
    Program { key: "stat", name: "stat", aim: 3.0, of: Share::WholeWithIntercepts },
    Program { key: "write", name: "16 MiB written in 64 KiB pieces", aim: 2.0, of: Share::WholeWithIntercepts },
    Program { key: "untar", name: "tar -x of 1,000 small files", aim: 3.0, of: Share::WholeWithIntercepts },
    Program { key: "find", name: "10,000 files found and looked at", aim: 3.0, of: Share::WholeWithIntercepts },
    Program { key: "python", name: "python3 -c pass", aim: 2.0, of: Share::Whole },
    Program { key: "true", name: "/usr/bin/true, from start to end", aim: 2.0, of: Share::Whole },
];

/// The most that writing events may make of a start of python3.
const EVENTS_AIM: f64 = 1.3;

/// A start of python3 with all its events written, beside the same without.
pub(super) fn events(clock: Clock) -> Result<Row> {
    let guest = Guest::new();
    let mut texts = [Vec::new(), Vec::new()];
    for _ in 0..clock.boots() {
        for (texts, options) in texts.iter_mut().zip([&["--events", "/dev/null"][..], &[]]) {
            texts.push(guest.with_options(clock, options, &["python"])?.0);
        }
    }
    let [with, without] = texts.map(|texts| best(&texts, clock, "python"));
    Ok(Row::new("python3 -c pass with --events, beside without", unit(clock), with, without).aim(EVENTS_AIM))
}

/// Rows of the guest whose files can be a folder's.
const FOLDER_KEYS: [&str; 4] = ["read", "open", "stat", "write"];

/// The rows that work on files, with these in a folder of the host, beside the sandbox' own, and beside those of a folder that Linux' own
/// client shows in the same machine, from the same server, and keeps nothing of.
pub(super) fn folders(linux: bool) -> Result<Vec<Row>> {
    let guest = Guest::new();
    let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
    // What is read lies in /usr/bin, and what is written in /tmp.
    let read = format!("{}:/usr/bin", guest.tree.join("usr/bin").display());
    let written = format!("{}:/tmp:rw", scratch.path().display());
    let (mut bound, mut own, mut client) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..Clock::Host.boots() {
        bound.push(guest.with_options(Clock::Host, &["--bind", &read, "--bind", &written], &FOLDER_KEYS)?.0);
        own.push(guest.in_sandbox(Clock::Host, &FOLDER_KEYS)?.0);
        if linux {
            client.push(guest.in_folders(scratch.path())?);
        }
    }
    let name = |key| PROGRAMS.iter().find(|program| program.key == key).map_or(key, |program| program.name);
    let mut rows = Vec::new();
    for key in FOLDER_KEYS {
        let here = best(&bound, Clock::Host, key);
        rows.push(Row::new(&format!("in a bind: {}", name(key)), "ns", here, best(&own, Clock::Host, key)));
        if linux {
            rows.push(Row::new("  beside Linux' own 9P client", "ns", here, best(&client, Clock::Host, key)));
        }
    }
    Ok(rows)
}

/// The rows, per operation.
pub(super) fn rows(clock: Clock, linux: bool) -> Result<Vec<Row>> {
    let guest = Guest::new();
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    // In turns, so that a host that slows down does so for both.
    for _ in 0..clock.boots() {
        inside.push(guest.in_sandbox(clock, &[])?.0);
        if linux {
            outside.push(guest.on_linux(clock)?);
        }
    }
    let getpid = |texts: &[String]| best(texts, clock, "getpid");
    let price = getpid(&inside).zip(getpid(&outside)).map(|(here, there)| here - there);
    let mut rows = Vec::new();
    for Program { key, name, aim, of } in PROGRAMS {
        let (here, there) = (best(&inside, clock, key), best(&outside, clock, key));
        let row = Row::new(name, unit(clock), here, there);
        if of == Share::Whole {
            rows.push(row.aim(aim));
            continue;
        }
        // The price of judging each call is the sandbox' purpose; what the sandbox itself adds is beside it.
        let calls = guest.calls_of(key)?;
        let intercepts = price.map(|price| calls * price);
        let rest = here.zip(intercepts).map(|(here, intercepts)| here - intercepts);
        let beyond = Row::new("  beyond them", unit(clock), rest, there);
        let (row, beyond) = match of {
            Share::BeyondIntercepts => (row, beyond.aim(aim)),
            _ => (row.aim(aim), beyond),
        };
        let intercepts = Row::new(&format!("  the intercepts of its {calls:.0} calls"), unit(clock), intercepts, None);
        rows.extend([row, intercepts, beyond]);
    }
    Ok(rows)
}

fn unit(clock: Clock) -> &'static str {
    match clock {
        Clock::Instructions => clock.unit(),
        Clock::Host => "ns",
    }
}

/// The least that one operation took, of all that the guest printed.
fn best(texts: &[String], clock: Clock, key: &str) -> Option<f64> {
    let costs = texts.iter().filter_map(|text| {
        let cost = Cost::parse(&line(text, key)?.replace("ops=", "calls=")).ok()?;
        Some(match clock {
            Clock::Instructions => cost.ticks,
            Clock::Host => cost.ns,
        })
    });
    costs.min_by(f64::total_cmp)
}

/// What the guest printed of a row.
fn line<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim().strip_prefix("row ")?.strip_prefix(key)?.strip_prefix(' '))
}

/// The guest, and the tree that it runs in.
struct Guest {
    program: PathBuf,
    tree: PathBuf,
}

impl Guest {
    fn new() -> Self {
        Self { program: images::built("costs"), tree: trees::directory().join(TREE) }
    }

    /// Runs it, for these rows or for all, and returns its standard output and error.
    fn in_sandbox(&self, clock: Clock, keys: &[&str]) -> Result<(String, String)> {
        self.with_options(clock, &[], keys)
    }

    /// The same with further options of `run`.
    fn with_options(&self, clock: Clock, options: &[&str], keys: &[&str]) -> Result<(String, String)> {
        let (tree, program) = (self.tree.display().to_string(), self.program.display().to_string());
        let command: Vec<&str> = std::iter::once(program.as_str()).chain(keys.iter().copied()).collect();
        run_with(clock, "", &[&["--layer", &tree, "--memory", "512M"], options].concat(), &command)
    }

    fn on_linux(&self, clock: Clock) -> Result<String> {
        let tree = Some(self.tree.as_path());
        linux::run(clock, &Files { init: &self.program, argument: String::new(), tree, folders: &[] })
    }

    /// On Linux, with what is read and what is written in folders of the host.
    fn in_folders(&self, written: &Path) -> Result<String> {
        let read = self.tree.join("usr/bin");
        let folders = [
            Folder { host: &read, at: "/usr/bin", read_only: true },
            Folder { host: written, at: "/tmp", read_only: false },
        ];
        let (argument, tree) = (FOLDER_KEYS.join(" "), Some(self.tree.as_path()));
        let text = linux::run(Clock::Host, &Files { init: &self.program, argument, tree, folders: &folders })?;
        let has_all = FOLDER_KEYS.iter().all(|key| line(&text, key).is_some());
        ensure!(has_all, "Linux has not measured all:\n{text}");
        Ok(text)
    }

    /// How many calls one operation of a row makes: those of a run with it beyond those of a run that only prepares for it.
    fn calls_of(&self, key: &str) -> Result<f64> {
        let calls = |key: &str| -> Result<(String, f64)> {
            let (text, figures) = self.in_sandbox(Clock::Host, &[key])?;
            let calls = number_between(&figures, "cordon: ", " calls, ").context("the run says no number of calls")?;
            Ok((text, calls))
        };
        let (text, with) = calls(key)?;
        let (_, without) = calls(&format!("prepare:{key}"))?;
        let of = |what| line(&text, key).and_then(|line| number_between(line, what, " "));
        let operations = of("ops=").zip(of("rounds=")).map(|(ops, rounds)| ops * rounds);
        let operations = operations.context("the guest says no number of operations")?;
        Ok((with - without) / operations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_counts() {
        let texts =
            ["row a ops=10 rounds=3 ns=500 ticks=30\r\n", "row a ops=10 rounds=3 ns=400 ticks=40\n"].map(str::to_owned);
        assert_eq!(best(&texts, Clock::Host, "a"), Some(40.0));
        assert_eq!(best(&texts, Clock::Instructions, "a"), Some(3.0));
        assert_eq!(best(&texts, Clock::Host, "b"), None);
        assert_eq!(best(&[], Clock::Host, "a"), None);
    }
}
