//! Every call with wild arguments: an errno or the program's end, never a panic, and frames never run away.

use alloc::string::String;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::machine::FOR_EVER;
use super::*;
use crate::random::Random;
use crate::syscalls::table::SUPPORT;

/// Calls that are made.
const ROUNDS: u32 = rounds(10_000);

/// Numbers that arguments are made of.
fn wild(random: &mut Random, scratch: u64) -> u64 {
    let mut any = [0; 8];
    random.fill(&mut any);
    let any = u64::from_le_bytes(any);
    match random.below(16) {
        0 => 0,
        1 => u64::MAX,
        2 => random.below(8),
        3 => random.below(0x1_0000),
        4 => scratch + random.below(0x4_0000),
        5 => (scratch + random.below(0x4_0000)) & !0xfff,
        6 => 0x7fff_ffff_f000 - random.below(0x2000),
        7 => 0xffff_ffff_8000_0000 + random.below(0x1_0000),
        8 => 0xffff_8800_0000_0000 + random.below(0x1_0000),
        9 => any & 0x7fff_ffff_ffff,
        10 => 1 << random.below(64),
        11 => (1_u64 << random.below(64)).wrapping_sub(1),
        12 => i64::MAX.cast_unsigned(),
        13 => i64::MIN.cast_unsigned(),
        14 => random.below(4096),
        _ => any,
    }
}

#[test]
fn wild_arguments_do_no_harm() {
    let mut random = Random::new(&[42; 32]);
    let mut sandbox = Sandbox::new();
    for round in 0..ROUNDS {
        let row = &SUPPORT[usize::try_from(random.below(256)).expect("small") % SUPPORT.len()];
        let mut args = [0; 6];
        for arg in &mut args {
            *arg = wild(&mut random, sandbox.scratch);
        }
        // A call may end the program, wait for ever, unmap the scratch area or close everything.
        let call = AssertUnwindSafe(|| sandbox.enter(u64::from(row.number), args));
        let fresh = match catch_unwind(call) {
            Ok(flow) => flow == Flow::Ended || round % 500 == 0,
            Err(panic) => {
                let words = panic.downcast_ref::<String>().map_or("", String::as_str);
                assert!(words.contains(FOR_EVER), "{}{args:x?}: {words}", row.name);
                true
            }
        };
        if fresh {
            sandbox = Sandbox::new();
        }
    }
}

#[test]
fn wild_faults_do_no_harm() {
    let mut random = Random::new(&[43; 32]);
    let mut sandbox = Sandbox::new();
    for _ in 0..rounds(5_000) {
        let address = wild(&mut random, sandbox.scratch);
        if sandbox.fault(random.below(32), random.below(32), address) == Flow::Ended {
            sandbox = Sandbox::new();
        }
    }
}

#[test]
fn a_program_that_fills_the_shim_is_killed() {
    let mut sandbox = Sandbox::new();
    sandbox.kernel.platform.heap_left = 1000;
    assert_eq!(sandbox.enter(39, [0; 6]), Flow::Ended);
    assert_eq!(sandbox.kernel.platform.exit.map(|exit| exit.signal), Some(9));
}

#[test]
fn areas_are_bounded() {
    let mut sandbox = Sandbox::new();
    let flags = u64::from(raw::MAP_PRIVATE | raw::MAP_ANONYMOUS);
    let at = sandbox.call(9, [0, 1 << 30, 1, flags | u64::from(raw::MAP_NORESERVE), u64::MAX, 0]).cast_unsigned();
    let mut refused = 0;
    for page in (0..(1 << 18)).step_by(2) {
        refused = sandbox.call(10, [at + page * 0x1000, 0x1000, 3, 0, 0, 0]);
        if refused < 0 {
            break;
        }
    }
    assert_eq!(refused, error(crate::errno::Errno::ENOMEM));
    assert_eq!(sandbox.call(11, [at, 1 << 30, 0, 0, 0, 0]), error(crate::errno::Errno::ENOMEM));
}
