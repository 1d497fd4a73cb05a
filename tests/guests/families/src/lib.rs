//! What the programs of the system call families share. Each of them is an ordinary program against Debian's C library that
//! tries one family of system calls and prints a line for each thing it finds out. The lines hold nothing that differs from
//! one run to the next (no addresses, process numbers or times), so that a sandbox must print what plain Linux prints.
//!
//! A program is a list of named sections; an argument picks one. It exits with 0 if nothing looked odd to the program itself.
#![allow(unsafe_code)]
// `sys!` and `c!`: what they are given is unsafe by design, for the programs are to hand the kernel whatever they like.
#![allow(clippy::macro_metavars_in_unsafe)]

pub mod cost;
pub mod events;
pub mod files;
pub mod memory;
pub mod random;
pub mod tasks;

pub use libc;

use std::ffi::CStr;
use std::fmt::{self, Display};
use std::process::{Command, ExitCode};

/// What a C function that may fail returned: its value, or errno.
pub type Sys = Result<i64, Errno>;

/// An error number of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

unsafe extern "C" {
    fn strerrorname_np(errno: i32) -> *const libc::c_char;
    fn sigabbrev_np(signal: i32) -> *const libc::c_char;
}

impl Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: takes any number; what it returns is null or lives for ever.
        match static_text(unsafe { strerrorname_np(self.0) }) {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

/// The name of a signal.
pub fn signal_name(signal: i32) -> String {
    // SAFETY: takes any number; what it returns is null or lives for ever.
    match static_text(unsafe { sigabbrev_np(signal) }) {
        Some(name) => format!("SIG{name}"),
        None if signal >= libc::SIGRTMIN() => format!("SIGRTMIN+{}", signal - libc::SIGRTMIN()),
        None => format!("signal {signal}"),
    }
}

fn static_text(text: *const libc::c_char) -> Option<&'static str> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the two functions above return constants of the C library.
    unsafe { CStr::from_ptr(text) }.to_str().ok()
}

/// What a C function returns to say success or failure.
pub trait Returned {
    /// Its value as a number.
    fn number(self) -> i64;
}

impl Returned for i32 {
    fn number(self) -> i64 {
        self.into()
    }
}

impl Returned for i64 {
    fn number(self) -> i64 {
        self
    }
}

impl Returned for isize {
    fn number(self) -> i64 {
        self as i64
    }
}

impl<T> Returned for *mut T {
    fn number(self) -> i64 {
        self.expose_provenance() as i64
    }
}

/// Turns -1 into the error number.
pub fn returned(value: impl Returned) -> Sys {
    match value.number() {
        -1 => Err(errno()),
        value => Ok(value),
    }
}

/// The error number of this thread.
pub fn errno() -> Errno {
    Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// Calls a C function that says by -1 that it failed, and gives a [`Sys`].
#[macro_export]
macro_rules! sys {
    ($call:expr) => {{
        // SAFETY: a test program: each call gets memory of its own that fits, or one that it must refuse.
        let value = unsafe { $call };
        $crate::returned(value)
    }};
}

/// Calls a C function and gives what it returned.
#[macro_export]
macro_rules! c {
    ($call:expr) => {{
        // SAFETY: a test program: each call gets memory of its own that fits, or one that it must refuse.
        unsafe { $call }
    }};
}

/// An all-zero structure of C.
#[macro_export]
macro_rules! zeroed {
    ($type:ty) => {{
        // SAFETY: used only for plain structures of C, for which zeros are a value.
        unsafe { std::mem::zeroed::<$type>() }
    }};
}

/// Prints a line. Without a buffer: a copy of one would be printed by children as well.
pub fn line(text: impl Display) {
    let text = format!("{text}\n");
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let wrote = c!(libc::write(1, rest.as_ptr().cast(), rest.len()));
        let Ok(wrote) = usize::try_from(wrote) else {
            return;
        };
        rest = &rest[wrote..];
    }
}

/// Prints a formatted line.
#[macro_export]
macro_rules! say {
    ($($word:tt)*) => { $crate::line(format_args!($($word)*)) };
}

/// What a section reports to.
#[derive(Debug, Default)]
pub struct Report {
    odd: u32,
}

impl Report {
    /// Prints a value.
    pub fn show(&self, what: &str, value: impl Display) {
        say!("{what}: {value}");
    }

    /// Prints what a call returned, as a number.
    pub fn ret(&self, what: &str, value: Sys) {
        match value {
            Ok(value) => say!("{what}: {value}"),
            Err(errno) => say!("{what}: {errno}"),
        }
    }

    /// Prints whether a call succeeded; its value is not to be seen.
    pub fn ok(&self, what: &str, value: Sys) {
        match value {
            Ok(_) => say!("{what}: ok"),
            Err(errno) => say!("{what}: {errno}"),
        }
    }

    /// Prints whether something is as it must be, and remembers if not.
    pub fn check(&mut self, what: &str, good: bool) {
        if !good {
            self.odd += 1;
        }
        say!("{what}: {}", if good { "yes" } else { "NO" });
    }
}

/// The number, which is needed to go on.
///
/// # Panics
/// If the call failed, or the number is too large for a descriptor or process.
#[track_caller]
pub fn must(value: Sys) -> i32 {
    match value {
        Ok(value) => i32::try_from(value).expect("a small number"),
        Err(errno) => panic!("{errno}"),
    }
}

/// A named part of a program.
pub type Section = (&'static str, fn(&mut Report));

/// Runs the section that the first argument names, or all of them, each in a process of its own.
pub fn run(sections: &[Section]) -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        return run_all(sections);
    };
    let Some((_, section)) = sections.iter().find(|(known, _)| *known == name) else {
        for (known, _) in sections {
            say!("{known}");
        }
        return ExitCode::from(if name == "--list" { 0 } else { 2 });
    };
    plain_signals();
    let mut report = Report::default();
    section(&mut report);
    if report.odd == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Takes back what Rust's runtime sets at a program's start: SIGPIPE ignored, handlers for faults on an alternate stack.
fn plain_signals() {
    for signal in [libc::SIGPIPE, libc::SIGSEGV, libc::SIGBUS] {
        c!(libc::signal(signal, libc::SIG_DFL));
    }
    let off = libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
    c!(libc::sigaltstack(&raw const off, std::ptr::null_mut()));
}

fn run_all(sections: &[Section]) -> ExitCode {
    let mut good = true;
    for (name, _) in sections {
        say!("== {name}");
        let status = std::env::current_exe().and_then(|me| Command::new(me).arg(name).status());
        let passed = status.as_ref().is_ok_and(std::process::ExitStatus::success);
        if !passed {
            good = false;
            say!("{name} ended with {status:?}");
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
