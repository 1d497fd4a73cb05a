//! Taints in force: the word that says so is the root's, and so is what follows, whatever the shim makes of it.
//!
//! Under the runner's policy ptrace taints, upon which getpid and listen are denied.

use core::mem::offset_of;

use linux_raw_sys::errno::EPERM;
use proto::op::{self, Listen};
use proto::{GatePage, Grant};
use zerocopy::IntoBytes;

use super::ring3::{CODE_VA, Space, user};
use crate::Shim;
use crate::cpu::{BP, GRANTED};
use crate::memory;
use crate::report::Tally;
use crate::service::Answer;

const SYSCALL: [u8; 2] = [0x0f, 0x05];
const GETPID: u64 = 39;
const PTRACE: u64 = 101;

pub(super) fn run(shim: &mut Shim) {
    Space::enter(shim).put(0, &SYSCALL);
    let mut tally = Tally::new();
    let word = shim.info.gate_gpa + offset_of!(GatePage, tainted) as u64;
    let forged = [0, 1, 1 << 62, 1 << 63, u64::MAX];
    for forged in forged {
        memory::write_word(word, forged);
        tally.expect(user(CODE_VA, GETPID, [0; 6]).vector, GRANTED, "getpid, before anything taints");
        tally.expect(listen(shim), Ok(0), "LISTEN, before anything taints");
    }
    let recall = memory::read::<Grant>(shim.info.gate_gpa + offset_of!(GatePage, grant) as u64).recall;
    tally.expect(recall.count_ones(), 1, "what may deny getpid yet");
    memory::write_word(word, 0);
    tally.expect(user(CODE_VA, PTRACE, [0; 6]).vector, GRANTED, "ptrace");
    tally.expect(memory::read::<u64>(word), recall, "what is in force");
    for forged in forged {
        memory::write_word(word, forged);
        let trap = user(CODE_VA, GETPID, [0; 6]);
        tally.expect((trap.vector, trap.rax), (BP, (-i64::from(EPERM)).cast_unsigned()), "getpid");
        tally.expect(listen(shim), Err(EPERM), "LISTEN");
    }
    shim.report("taints", &tally);
}

/// Asks whether a socket may listen at 127.0.0.1:80.
fn listen(shim: &mut Shim) -> Answer {
    let mut listen = Listen { address: [0; 128], len: 16, reserved: 0 };
    for (to, from) in listen.address.iter_mut().zip([2, 0, 0, 80, 127, 0, 0, 1]) {
        *to = from;
    }
    shim.service.call(op::LISTEN, 0, &[listen.as_bytes()], &[])
}
