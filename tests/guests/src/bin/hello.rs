//! An ordinary Rust program against the C library: shows its arguments, its environment and its input, and exits as told.
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut out = io::stdout().lock();
    let mut code = 0;
    for (i, word) in std::env::args().enumerate().skip(1) {
        let _ = writeln!(out, "argument {i}: {word}");
        if let Some(status) = word.strip_prefix("exit=") {
            code = status.parse().unwrap_or(0);
        }
    }
    for (name, value) in std::env::vars().filter(|(name, _)| name.starts_with("GUEST_")) {
        let _ = writeln!(out, "variable {name}: {value}");
    }
    let mut bytes = 0;
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        bytes += line.len();
    }
    let _ = writeln!(out, "input: {bytes} bytes without line ends");
    eprintln!("this goes to standard error");
    ExitCode::from(code)
}
