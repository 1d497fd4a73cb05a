//! The tests that boot the machine: real programs in sandboxes, compared with plain Linux; everything that a program can do
//! wrong; the test kernels.
//!
//! A test is a name and a function; [`cases`] lists them. They go through `cargo xtask run` as a user does, so that
//! what is tested is the whole way and the words of each message.
#![forbid(unsafe_code)]

mod cases;
mod fixture;
mod sandbox;
mod terminal;
mod tree;

pub use sandbox::{Outcome, Sandbox};
pub use tree::SHOW_TREE;

use anyhow::Result;
use fixture::Fixture;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Arguments;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The variable of `xtask`'s environment that says where images are kept.
pub(crate) const LAYERS: &str = "CORDON_LAYERS";

/// How often the tests that run are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What has run for this long is named, and again after as long.
const SLOW: Duration = Duration::from_secs(300);

/// No test takes this long: the limits of the longest run in a sandbox and on plain Linux, and some time.
const STUCK: Duration = Duration::from_secs(2700);

/// The same for those that run with `--all` only.
const LONG_STUCK: Duration = Duration::from_secs(6 * 3600);

/// What the tests work with.
#[derive(Debug)]
pub struct Setup {
    /// The `xtask` program.
    pub xtask: PathBuf,
    /// The host's busybox.
    pub busybox: PathBuf,
    /// Directory of the built guest programs.
    pub guests: PathBuf,
    /// The built hostile shim.
    pub hostile_shim: PathBuf,
    /// Names of the built test kernels.
    pub kernels: Vec<String>,
    /// Directory of the trees of Debian's packages, of which those that [`trees`] names are made.
    pub trees: PathBuf,
    /// Where the tests' images are kept: not among those of the user.
    pub layers: PathBuf,
    /// Also run what takes long, and what is known not to pass yet.
    pub all: bool,
    /// Machines at a time.
    pub jobs: usize,
}

/// How many tests passed and failed.
#[derive(Debug, Default)]
pub struct Tally {
    /// Passed.
    pub passed: u32,
    /// Failed.
    pub failed: u32,
    /// What each failed test is called and why it failed, to be said again at the end.
    failures: Vec<(String, String)>,
}

impl Tally {
    /// Counts a test and prints its line.
    pub fn add(&mut self, name: &str, result: Verdict) {
        match result {
            Ok(()) => {
                self.passed += 1;
                say(format_args!("{name} ... ok"));
            }
            Err(why) => {
                self.failed += 1;
                print_failure(name, &why);
                self.failures.push((name.to_owned(), why));
            }
        }
    }

    /// Prints the failures once more, where they are found below a thousand good lines, and the sum.
    pub fn print_sum(&self) {
        for (name, why) in &self.failures {
            print_failure(name, why);
        }
        say(format_args!("{} passed, {} failed", self.passed, self.failed));
    }
}

/// Prints a line, if somebody reads it: the tests go on without.
fn say(line: Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints the line of a test that failed, and below it why.
fn print_failure(name: &str, why: &str) {
    say(format_args!("{name} ... FAILED"));
    for line in why.lines() {
        say(format_args!("    {line}"));
    }
}

/// What a test says: nothing, or why it failed.
pub type Verdict = std::result::Result<(), String>;

/// One test.
pub(crate) struct Case {
    name: String,
    /// The trees of Debian's packages that it needs.
    trees: Vec<&'static str>,
    run: Box<dyn Fn(&Bench<'_>) -> Verdict + Send>,
}

impl Case {
    /// A test of this name.
    pub(crate) fn new(name: impl Into<String>, run: impl Fn(&Bench<'_>) -> Verdict + Send + 'static) -> Self {
        Self { name: name.into(), trees: Vec::new(), run: Box::new(run) }
    }

    /// Says that it needs a tree of Debian's packages.
    pub(crate) fn needs(mut self, tree: &'static str) -> Self {
        self.trees.push(tree);
        self
    }
}

/// What a test is given.
pub(crate) struct Bench<'s> {
    pub(crate) setup: &'s Setup,
    pub(crate) fixture: &'s Fixture,
}

/// The tests whose name contains `filter`.
fn wanted(setup: &Setup, filter: Option<&str>) -> Vec<Case> {
    cases::all(setup).into_iter().filter(|case| filter.is_none_or(|word| case.name.contains(word))).collect()
}

/// The trees of Debian's packages that the tests whose name contains `filter` need.
#[must_use]
pub fn trees(setup: &Setup, filter: Option<&str>) -> Vec<&'static str> {
    let names: BTreeSet<&str> = wanted(setup, filter).iter().flat_map(|case| &case.trees).copied().collect();
    names.into_iter().collect()
}

impl Bench<'_> {
    /// `xtask`, with the tests' own store of images.
    pub(crate) fn xtask(&self) -> Command {
        let mut command = Command::new(&self.setup.xtask);
        command.env(LAYERS, &self.setup.layers);
        command
    }

    /// Prints a line about the test that is running.
    pub(crate) fn note(&self, line: &str) {
        say(format_args!("    {line}"));
    }
}

/// Runs the tests whose name contains `filter`.
///
/// A test that does not come to its end fails like one that says no: the others' results are told, and it is left to itself.
///
/// # Errors
/// If the files that they share cannot be made. Failures of tests are counted, not returned.
pub fn run(setup: Setup, filter: Option<&str>, tally: &mut Tally) -> Result<()> {
    let mut waiting = wanted(&setup, filter);
    waiting.reverse();
    let limit = if setup.all { LONG_STUCK } else { STUCK };
    run_cases(setup, limit, waiting, tally)
}

/// Runs the tests, the last one first, and waits for none of them longer than `limit`.
fn run_cases(setup: Setup, limit: Duration, cases: Vec<Case>, tally: &mut Tally) -> Result<()> {
    let shared = Arc::new(Shared {
        fixture: Fixture::new(&setup)?,
        setup,
        limit,
        waiting: Mutex::new(cases),
        running: Mutex::new(BTreeMap::new()),
    });
    let (done, finished) = mpsc::channel();
    for _ in 0..shared.setup.jobs {
        let (done, shared) = (done.clone(), Arc::clone(&shared));
        thread::spawn(move || {
            while let Some(case) = shared.next() {
                let bench = Bench { setup: &shared.setup, fixture: &shared.fixture };
                let verdict = (case.run)(&bench);
                let took = shared.ended(&case.name);
                // The receiver may have given up.
                let _ = done.send((case.name, verdict, took));
            }
        });
    }
    drop(done);
    collect(&finished, &shared, tally);
    Ok(())
}

/// What the threads share that run the tests.
struct Shared {
    setup: Setup,
    fixture: Fixture,
    /// The time after which a test is not expected to end.
    limit: Duration,
    /// The tests to be run, the first one last.
    waiting: Mutex<Vec<Case>>,
    /// The tests that run.
    running: Mutex<BTreeMap<String, Watched>>,
}

/// A test that runs.
struct Watched {
    start: Instant,
    /// How often it has been named as one that takes long.
    named: u32,
}

impl Shared {
    /// Takes the next test from the list.
    fn next(&self) -> Option<Case> {
        let case = lock(&self.waiting).pop()?;
        lock(&self.running).insert(case.name.clone(), Watched { start: Instant::now(), named: 0 });
        Some(case)
    }

    /// Notes the end of a test; how long it took.
    fn ended(&self, name: &str) -> Duration {
        lock(&self.running).remove(name).map_or(Duration::ZERO, |test| test.start.elapsed())
    }

    /// Names the tests that take long. False if there are only such as do not end.
    fn goes_on(&self) -> bool {
        let mut running = lock(&self.running);
        for (name, test) in running.iter_mut() {
            let took = test.start.elapsed();
            if took > SLOW.saturating_mul(test.named + 1) {
                test.named += 1;
                say(format_args!("    {name} still runs after {} s", took.as_secs()));
            }
        }
        running.is_empty() || running.values().any(|test| test.start.elapsed() < self.limit)
    }

    /// The tests that did not come to their end, and those that nobody was left to run.
    fn left(&self) -> Vec<(String, &'static str)> {
        let running = std::mem::take(&mut *lock(&self.running));
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        let stuck = running.into_keys().map(|name| (name, "it does not come to its end"));
        stuck.chain(waiting.into_iter().map(|case| (case.name, "it was not run"))).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts the tests as they end, names those that take long, and counts as failed what does not end.
fn collect(finished: &Receiver<(String, Verdict, Duration)>, shared: &Shared, tally: &mut Tally) {
    while shared.goes_on() {
        match finished.recv_timeout(LOOK) {
            Ok((name, verdict, took)) => tally.add(&format!("qemu: {name} ({:.1} s)", took.as_secs_f64()), verdict),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    for (name, why) in shared.left() {
        tally.add(&format!("qemu: {name}"), Err(why.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place where no test of this module looks.
    fn setup() -> Setup {
        Setup {
            xtask: PathBuf::new(),
            busybox: PathBuf::new(),
            guests: PathBuf::new(),
            hostile_shim: PathBuf::new(),
            kernels: Vec::new(),
            trees: PathBuf::new(),
            layers: PathBuf::new(),
            all: false,
            jobs: 1,
        }
    }

    #[test]
    fn what_does_not_end_fails_and_the_others_count() {
        let good = Case::new("good", |_| Ok(()));
        let stuck = Case::new("stuck", |_| {
            loop {
                thread::park();
            }
        });
        let behind = Case::new("behind it", |_| Ok(()));
        let mut tally = Tally::default();
        run_cases(setup(), Duration::ZERO, vec![behind, stuck, good], &mut tally).unwrap();
        assert_eq!((tally.passed, tally.failed), (1, 2));
        let failures: Vec<&str> = tally.failures.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(failures, ["qemu: stuck", "qemu: behind it"]);
    }

    #[test]
    fn what_a_program_leaves_behind_is_no_reason_to_wait() {
        let setup = setup();
        let bench = Bench { setup: &setup, fixture: &Fixture::new(&setup).unwrap() };
        let outcome = bench.sandbox(["sh", "-c", "sleep 1000 & echo here"]).run_here();
        assert_eq!(outcome.map(|outcome| outcome.stdout), Ok(b"here\n".to_vec()));
    }
}
