//! Makes one system call with the number and arguments given (decimal, or hexadecimal with `0x`) and prints the result.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use core::fmt::Write;
use guests::{Args, Fd, number, syscall};

guests::guest!(run);

fn run(mut args: Args) -> u8 {
    let Some(call) = args.nth(1).and_then(number) else {
        let _ = writeln!(Fd(2), "usage: probe NUMBER [ARG]...");
        return 2;
    };
    let mut values = [0; 6];
    for (slot, word) in values.iter_mut().zip(args) {
        let Some(value) = number(word) else {
            let _ = writeln!(Fd(2), "not a number: {word}");
            return 2;
        };
        *slot = value;
    }
    // SAFETY: none can be given for any call at all; this program holds nothing that could be spoilt.
    let result = unsafe { syscall(call, values) };
    let _ = writeln!(Fd(1), "{result}");
    0
}
