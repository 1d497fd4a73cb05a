//! The alarm: ring 3 without end is interrupted, once for each time that was set; and times that make no sense interrupt nobody else.

use core::mem::offset_of;

use proto::{ALARM_VECTOR, GatePage, NO_ALARM};
use tlfs::msr::HV_X64_MSR_TIME_REF_COUNT;

use super::ring3::{CODE_VA, Space};
use crate::Shim;
use crate::cpu::{self, GRANTED, Trap, User};
use crate::memory;
use crate::report::Tally;
use crate::rng::Rng;

const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// A jump to itself.
const SPIN: [u8; 2] = [0xeb, 0xfe];
const GETPID: u64 = 39;
const INTERRUPTS_ON: u64 = 0x202;
const INTERRUPTS_OFF: u64 = 2;
const INTERRUPT: u64 = ALARM_VECTOR as u64;
const MILLISECOND: u64 = 10_000;

pub(super) fn run(shim: &mut Shim) {
    let space = Space::enter(shim);
    on_time(shim, &space);
    once(shim, &space);
    without_end(shim, &space);
}

fn set(shim: &Shim, alarm: u64) {
    memory::write_word(shim.info.gate_gpa + offset_of!(GatePage, alarm) as u64, alarm);
}

fn now() -> u64 {
    cpu::read_msr(HV_X64_MSR_TIME_REF_COUNT).unwrap_or_else(|trap| panic!("the clock: {trap}"))
}

fn user(rflags: u64) -> Trap {
    cpu::run_user(&User { rip: CODE_VA, rsp: CODE_VA, rflags, rax: GETPID, arguments: [0; 6] })
}

/// A program that makes no call is interrupted, never early. How late is the emulator's affair.
fn on_time(shim: &mut Shim, space: &Space) {
    let mut tally = Tally::new();
    space.put(0, &SPIN);
    for round in 0..10 {
        let alarm = now() + round * MILLISECOND;
        set(shim, alarm);
        tally.expect(user(INTERRUPTS_ON).vector, INTERRUPT, "spinning");
        tally.check(now() >= alarm, format_args!("round {round} was interrupted before its time"));
    }
    shim.report("alarm: on time", &tally);
}

/// It waits for interrupts to be on, and does not come again.
fn once(shim: &mut Shim, space: &Space) {
    let mut tally = Tally::new();
    space.put(0, &SYSCALL);
    set(shim, now());
    for _ in 0..20 {
        tally.expect(user(INTERRUPTS_OFF).vector, GRANTED, "a call with interrupts off");
    }
    tally.expect(user(INTERRUPTS_ON).vector, INTERRUPT, "what waited");
    for _ in 0..20 {
        tally.expect(user(INTERRUPTS_ON).vector, GRANTED, "a call behind it");
    }
    set(shim, NO_ALARM);
    tally.expect(user(INTERRUPTS_ON).vector, GRANTED, "a call without an alarm");
    shim.report("alarm: once", &tally);
}

/// A new time before each call, most of them past.
fn without_end(shim: &mut Shim, space: &Space) {
    let mut rng = Rng::new(0x616c_6172);
    let mut tally = Tally::new();
    space.put(0, &SYSCALL);
    for _ in 0..2000 {
        let times = [rng.next(), rng.below(now() + 1), 0, 1, NO_ALARM - 1, now() + rng.below(MILLISECOND)];
        set(shim, rng.pick(&times));
        let flags = rng.pick(&[INTERRUPTS_ON, INTERRUPTS_OFF]);
        let trap = user(flags);
        let right = trap.vector == GRANTED || flags == INTERRUPTS_ON && trap.vector == INTERRUPT;
        tally.check(right, format_args!("{trap}"));
    }
    set(shim, NO_ALARM);
    shim.report("alarm: without end", &tally);
}
