//! Calls getpid as often as the first argument says and prints what that cost: `calls=N ns=N ticks=N`, in all.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use core::fmt::Write;
use guests::{Args, Fd, measure, number};

guests::guest!(run);

fn run(mut args: Args) -> u8 {
    let Some(calls) = args.nth(1).and_then(number) else {
        let _ = writeln!(Fd(2), "usage: getpid CALLS");
        return 2;
    };
    let _ = writeln!(Fd(1), "{}", measure::getpid(calls));
    0
}
