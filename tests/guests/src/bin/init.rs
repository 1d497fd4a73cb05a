//! The first process of the plain Linux that `cargo xtask bench` boots: measures as `getpid` does, then switches the machine off.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use core::fmt::Write;
use guests::{Args, Fd, measure, number, syscall};

guests::guest!(run);

const NANOSLEEP: u64 = 35;
const REBOOT: u64 = 169;
/// LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2 and LINUX_REBOOT_CMD_POWER_OFF of linux/reboot.h.
const POWER_OFF: [u64; 6] = [0xfee1_dead, 672_274_793, 0x4321_fedc, 0, 0, 0];

fn run(mut args: Args) -> u8 {
    let calls = args.nth(1).and_then(number).unwrap_or(1);
    let _ = writeln!(Fd(1), "{}", measure::getpid(calls));
    // The console still sends when write has returned.
    let pause = [1u64, 0];
    // SAFETY: the kernel reads the timespec.
    unsafe { syscall(NANOSLEEP, [pause.as_ptr().addr() as u64, 0, 0, 0, 0, 0]) };
    // SAFETY: ends the machine; as any but the first process it is refused.
    unsafe { syscall(REBOOT, POWER_OFF) };
    0
}
