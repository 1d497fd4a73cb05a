//! `print!`, `println!`, `eprint!` and `eprintln!` for this program, in the place of the standard library's, which abort it when nobody reads any more
//! what it writes (`cargo xtask … | head`).
use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::process;

/// The exit code of a program that SIGPIPE ends, as a shell shows it.
const BROKEN_PIPE: i32 = 128 + 13;

/// Writes to standard output, or ends the program: a result that nobody gets is none.
pub(crate) fn print(text: Arguments<'_>) {
    let mut stdout = io::stdout();
    let Err(error) = stdout.write_all(text.to_string().as_bytes()).and_then(|()| stdout.flush()) else { return };
    if error.kind() == ErrorKind::BrokenPipe {
        process::exit(BROKEN_PIPE);
    }
    eprint(format_args!("cordon: cannot write to standard output: {error}\n"));
    process::exit(1);
}

/// Writes to standard error, if somebody reads it, in one piece.
pub(crate) fn eprint(text: Arguments<'_>) {
    // A program that cannot be told about goes on all the same.
    let _ = io::stderr().write_all(text.to_string().as_bytes());
}

macro_rules! print {
    ($($text:tt)*) => { $crate::streams::print(format_args!($($text)*)) };
}

macro_rules! println {
    ($($text:tt)*) => { $crate::streams::print(format_args!("{}\n", format_args!($($text)*))) };
}

macro_rules! eprint {
    ($($text:tt)*) => { $crate::streams::eprint(format_args!($($text)*)) };
}

macro_rules! eprintln {
    ($($text:tt)*) => { $crate::streams::eprint(format_args!("{}\n", format_args!($($text)*))) };
}
