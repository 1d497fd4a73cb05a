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

use anyhow::Result;
use fixture::Fixture;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

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
                println!("{name} ... ok");
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
        println!("{} passed, {} failed", self.passed, self.failed);
    }
}

/// Prints the line of a test that failed, and below it why.
fn print_failure(name: &str, why: &str) {
    println!("{name} ... FAILED");
    for line in why.lines() {
        println!("    {line}");
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
    /// Prints a line about the test that is running.
    pub(crate) fn note(&self, line: &str) {
        println!("    {line}");
    }
}

/// Runs the tests whose name contains `filter`.
///
/// # Errors
/// If the files that they share cannot be made. Failures of tests are counted, not returned.
pub fn run(setup: &Setup, filter: Option<&str>, tally: &mut Tally) -> Result<()> {
    let fixture = Fixture::new(setup)?;
    let bench = Bench { setup, fixture: &fixture };
    let mut waiting = wanted(setup, filter);
    waiting.reverse();
    let waiting = Mutex::new(waiting);
    let (done, finished) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..setup.jobs {
            let done = done.clone();
            let (waiting, bench) = (&waiting, &bench);
            scope.spawn(move || {
                while let Some(case) = next(waiting) {
                    let start = Instant::now();
                    let verdict = (case.run)(bench);
                    // The receiver lives until the scope ends.
                    let _ = done.send((case.name, verdict, start.elapsed()));
                }
            });
        }
        drop(done);
        for (name, verdict, took) in finished {
            tally.add(&format!("qemu: {name} ({:.1} s)", took.as_secs_f64()), verdict);
        }
    });
    Ok(())
}

/// Takes the next test from the list.
fn next(waiting: &Mutex<Vec<Case>>) -> Option<Case> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).pop()
}
