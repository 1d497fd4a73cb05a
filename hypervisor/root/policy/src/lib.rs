//! The policy: which system calls a program may make, as data.
//!
//! A policy is TOML text. [`parse`] checks every word of it and compiles it to a bounded table ([`Policy`]);
//! [`Policy::judge`] gives the verdict on one call, without allocation and without recursion: a call without
//! conditions costs one look-up, any other the clauses that name it.
//!
//! `POLICIES.md` describes the language; the modules say what each section means in full: [`address`], [`budget`], [`environment`], [`events`], [`glob`],
//! [`groups`], [`hosts`], [`mounts`], [`network`], [`process`], [`question`], [`quotas`], [`taint`]. Where Linux' prototypes decide how wide
//! an argument is, that is [`signature`], and what lies in structures [`structures`]; names for numbers are [`symbols`].
//!
//! Whoever packs a policy of several files finds them ([`includes`]) and hands them over in the order in which their rules are tried
//! ([`parse_files`]).
//!
//! # Example
//! ```
//! let text = "version = 1\n[[rule]]\ncalls = [\"getpid\"]\naction = \"allow\"\n";
//! let policy = policy::parse("example.toml", text).expect("a good policy");
//! let verdict = policy.judge(39, &[0; 6]);
//! assert_eq!(verdict.action, policy::Action::Allow);
//! assert_eq!(verdict.rule().to_string(), "rule 1 example.toml:2");
//!
//! let error = policy::parse("bad.toml", "version = 1\nrules = 3\n").unwrap_err();
//! assert!(error.to_string().starts_with("bad.toml:2:1: unknown key `rules`; did you mean `rule`?"));
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod action;
pub mod address;
pub mod budget;
mod change;
mod compile;
mod contents;
pub mod environment;
pub mod errno;
mod error;
pub mod events;
mod files;
pub mod glob;
pub mod groups;
pub mod hosts;
mod include;
pub mod mounts;
pub mod network;
pub mod numbers;
mod origin;
mod parse;
mod pointed;
pub mod process;
pub mod question;
pub mod quotas;
pub mod signature;
pub mod structures;
mod suggest;
pub mod symbols;
mod table;
pub mod taint;

use alloc::format;
use alloc::vec::Vec;

pub use budget::Budget;
use compile::FileText;
use errno::Errno;
pub use error::PolicyError;
use error::Source;
pub use events::WhenFull;
pub use files::{FileVerdict, Rights};
pub use include::{Include, includes};
use origin::Labels;
pub use origin::{Origin, Origins, Place, shown, steers};
pub use pointed::{Form, Pointed, Read};
pub use question::{Question, Settlement};
pub use suggest::did_you_mean;
pub use table::{By, Policy, Rewrite, RuleRef, Rules, Verdict};

/// Bounds on what a policy may hold. They bound memory and the cost of a verdict; real policies stay far below.
pub mod limits {
    /// Bytes of a file.
    pub const MAX_TEXT: usize = 256 * 1024;
    /// Bytes of all files of a policy.
    pub const MAX_TOTAL_TEXT: usize = 1024 * 1024;
    /// Files that a policy is made of.
    pub const MAX_FILES: usize = 64;
    /// Files that include one another, one within the other.
    pub const MAX_DEPTH: usize = 8;
    /// Parts that come from somewhere else, in all files.
    pub const MAX_ORIGINS: usize = 4096;
    /// Further files that they come from.
    pub const MAX_ORIGIN_FILES: usize = 256;
    /// Bytes of a file's name that are shown, and a few more.
    pub const MAX_NAME: usize = 512;
    /// Rules in all files.
    pub const MAX_RULES: usize = 1024;
    /// Conditions in one rule.
    pub const MAX_CONDITIONS: usize = 16;
    /// Bytes of a reason.
    pub const MAX_REASON: usize = 200;
    /// Rules with conditions that name one call: the longest chain a verdict can cost.
    pub const MAX_CLAUSES_PER_CALL: usize = 256;
    /// Pairs of a rule with conditions and a call that it names.
    pub const MAX_CLAUSES: usize = 16 * 1024;
    /// Conditions of all these pairs.
    pub const MAX_TOTAL_CONDITIONS: usize = 32 * 1024;
    /// Entries of `files` in all files.
    pub const MAX_FILE_RULES: usize = 256;
    /// Patterns in the `files` of one file.
    pub const MAX_FILE_PATTERNS: usize = 4096;
    /// Patterns in one condition.
    pub const MAX_PATTERNS: usize = 1024;
    /// Bytes of one text that `prefix` or `contains` looks for.
    pub const MAX_CONTENT: usize = 1024;
    /// Bytes of all these texts.
    pub const MAX_TOTAL_CONTENT: usize = 64 * 1024;
    /// Names of hosts that have addresses.
    pub const MAX_HOSTS: usize = 256;
    /// Addresses of one of them.
    pub const MAX_HOST_ADDRESSES: usize = 64;
}

/// What is done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is carried out.
    Allow,
    /// It is not carried out; the program gets this error.
    Errno(Errno),
    /// It is not carried out; the sandbox ends.
    Kill,
    /// It is not carried out; the program sees this result.
    Fake(i64),
    /// It is carried out with other arguments than the program's ([`Verdict::rewritten`]).
    Rewrite,
    /// It is not carried out; its process ends as by SIGSYS, whatever it does about that signal (seccomp(2), SECCOMP_RET_KILL_PROCESS).
    KillProcess,
    /// It is not carried out; its thread ends, and if it is the last of its process, that ends as by SIGSYS (SECCOMP_RET_KILL_THREAD).
    KillThread,
    /// It is not carried out; its thread gets SIGSYS, with the call's number and address (SECCOMP_RET_TRAP).
    Trap,
    /// Its thread waits until somebody has said what is done, or nobody has in time ([`Verdict::question`]).
    Ask,
    /// The same, and the whole sandbox stands still meanwhile.
    Stop,
}

impl Action {
    /// Whether a call to which this is said is carried out, be it with other arguments.
    #[must_use]
    pub fn carries_out(self) -> bool {
        matches!(self, Self::Allow | Self::Rewrite)
    }

    /// Whether it ends a thread or more.
    #[must_use]
    pub fn kills(self) -> bool {
        matches!(self, Self::Kill | Self::KillProcess | Self::KillThread)
    }
}

/// One file of a policy.
#[derive(Clone, Copy, Debug)]
pub struct File<'t> {
    /// Its name, for messages.
    pub name: &'t str,
    /// What it holds.
    pub text: &'t str,
    /// Where that comes from, if the text was made of something else.
    pub origins: Origins<'t>,
}

impl<'t> File<'t> {
    /// One that was made of nothing else.
    #[must_use]
    pub fn new(name: &'t str, text: &'t str) -> Self {
        Self { name, text, origins: Origins::default() }
    }
}

/// Reads and compiles a policy that is one file. `name` is the file's name, for messages.
///
/// # Errors
/// The first thing that is wrong, with its place and what to do; so is that it includes others.
pub fn parse(name: &str, text: &str) -> Result<Policy, PolicyError> {
    parse_files(&[File::new(name, text)])
}

/// Reads and compiles a policy from its files, in the order in which their rules are tried: that which was asked for, and those that it includes.
///
/// # Errors
/// The first thing that is wrong, with its place and what to do.
pub fn parse_files(files: &[File<'_>]) -> Result<Policy, PolicyError> {
    let (mut texts, mut total) = (Vec::new(), 0);
    if files.len() > limits::MAX_FILES {
        let source = Source::new(files.first().map_or("", |file| file.name), &[]);
        return Err(source.error(&(0..0), format!("a policy has {} files at most", limits::MAX_FILES)));
    }
    origin::check(files)?;
    let labels = Labels::new(files);
    for (index, file) in (0..).zip(files) {
        let source = Source::of_file(file, index, &labels);
        total += file.text.len();
        check_size(&source, file.text.len(), limits::MAX_TEXT, "the policy has")?;
        check_size(&source, total, limits::MAX_TOTAL_TEXT, "the policy with what it includes has")?;
        let text = parse::read(&source, file.text)?;
        match &text.includes {
            Some(span) if files.len() == 1 => {
                return Err(source.error(span, "what this file includes was not read together with it"));
            }
            _ => texts.push(FileText { source, text }),
        }
    }
    compile::compile(texts, &labels)
}

fn check_size(source: &Source<'_>, bytes: usize, most: usize, what: &str) -> Result<(), PolicyError> {
    if bytes <= most {
        return Ok(());
    }
    Err(source.error(&(0..0), format!("{what} {bytes} bytes; at most {most} are read")))
}

/// [`parse`] for a file's bytes, which may turn out not to be text.
///
/// # Errors
/// Those of [`parse`] and [`text`].
pub fn parse_bytes(name: &str, bytes: &[u8]) -> Result<Policy, PolicyError> {
    parse(name, text(name, bytes)?)
}

/// A file's bytes as text.
///
/// # Errors
/// Where they are not UTF-8.
pub fn text<'b>(name: &str, bytes: &'b [u8]) -> Result<&'b str, PolicyError> {
    core::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let message = match bytes {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "this is UTF-16; write the policy as UTF-8",
            _ => "not UTF-8 from here on; a policy is a text file",
        };
        Source::new(name, bytes).error(&(at..at), message)
    })
}
