//! Questions about calls: of those that were never made, of others', twice, after the answer, taken back, without end.
//!
//! The runner's policy asks about mkdir, and whoever answers says no to the first question, yes to the second and the third, and nothing to any other. So there is
//! one call that may be carried out; and none that was taken back.

use core::mem::offset_of;

use linux_raw_sys::errno::{EACCES, EINVAL};
use proto::op::{self, Question, Settled, Wait, settled, wait_events};
use proto::{GatePage, Grant, MAX_SEGMENTS, grant_flags};
use tlfs::msr::HV_X64_MSR_TIME_REF_COUNT;
use zerocopy::IntoBytes;

use super::names::NAMES;
use super::ring3::{CODE_VA, Space, user};
use crate::Shim;
use crate::cpu::{self, GRANTED};
use crate::memory;
use crate::report::Tally;
use crate::rng::Rng;
use crate::service::{Answer, segment};

const SYSCALL: [u8; 2] = [0x0f, 0x05];
const GETPID: u64 = 39;
const MKDIR: u64 = 83;
/// Where ring 3's path is, from the start of its code.
const PATH: u64 = 1024;
/// Questions of a sandbox at a time.
const MOST: usize = 32;
/// Calls in a flood of them.
const MANY: usize = 100;
/// Longest program's name that a request has room for.
const LONGEST: usize = 18_000;
/// Time to wait for an answer, in 100 ns.
const PATIENCE: u64 = 600_000_000;

pub(super) fn run(shim: &mut Shim) {
    let space = Space::enter(shim);
    space.put(0, &SYSCALL);
    memory::write(space.code + PATH, b"/tmp/x\0");
    lengths(shim);
    without_a_call(shim);
    answered(shim, "questions: an answer that says no", (settled::FAILED, EACCES));
    answered(shim, "questions: an answer that says yes", (settled::ALLOWED, 0));
    taken_back(shim);
    more_than_there_can_be(shim);
    without_end(shim);
    by_chance(shim);
}

/// Makes a call about which somebody is asked: its number.
fn asked(shim: &Shim) -> u64 {
    let trap = user(CODE_VA, MKDIR, [CODE_VA + PATH, 0o755, 0, 0, 0, 0]);
    assert_eq!(trap.vector, GRANTED, "mkdir: {trap}");
    let grant = grant(shim);
    assert!(grant.number == MKDIR && grant.flags & grant_flags::ASK != 0, "{grant:x?} asks nobody");
    grant.sequence
}

fn grant(shim: &Shim) -> Grant {
    memory::read(shim.info.gate_gpa + offset_of!(GatePage, grant) as u64)
}

/// Asks what has become of a question: its state.
fn ask(shim: &mut Shim, sequence: u64, program: &[u8]) -> Settled {
    let question = Question { sequence, process: u32::MAX, reserved: u32::MAX };
    let answer = shim.service.call(op::QUESTION, u64::MAX, &[question.as_bytes(), program], &[]);
    assert_eq!(answer, Ok(size_of::<Settled>()), "QUESTION about {sequence:#x}");
    shim.service.body(0)
}

fn state(shim: &mut Shim, sequence: u64) -> u32 {
    ask(shim, sequence, b"/bin/true").state
}

fn withdraw(shim: &mut Shim, sequence: u64) -> Answer {
    let question = Question { sequence, process: 0, reserved: u32::MAX };
    shim.service.call(op::WITHDRAW, 0, &[question.as_bytes()], &[])
}

/// Waits until a question is settled, and says how.
fn settled(shim: &mut Shim, sequence: u64) -> Settled {
    let now = || cpu::read_msr(HV_X64_MSR_TIME_REF_COUNT).unwrap_or_else(|trap| panic!("the clock: {trap}"));
    let end = now() + PATIENCE;
    loop {
        let found = ask(shim, sequence, b"");
        if found.state != settled::OPEN || now() >= end {
            return found;
        }
        let wait = Wait { deadline: end, events: wait_events::ANSWER };
        let _ = shim.service.call(op::WAIT, 0, &[wait.as_bytes()], &[]);
    }
}

fn lengths(shim: &mut Shim) {
    const QUESTION: usize = size_of::<Question>();
    let page = shim.free.take_page();
    let everything = [segment(page, 4096); MAX_SEGMENTS];
    let mut tally = Tally::new();
    for len in 0..QUESTION {
        for opcode in [op::QUESTION, op::WITHDRAW] {
            let answer = shim.service.call(opcode, 0, &[&[0xff; QUESTION][..len]], &[]);
            tally.expect(answer, Err(EINVAL), format_args!("{opcode:#x} of {len} bytes"));
        }
    }
    for len in [1, 8, 4096, LONGEST] {
        let more = &[0xff; LONGEST][..len];
        let answer = shim.service.call(op::WITHDRAW, 0, &[&[0; QUESTION], more], &[]);
        tally.expect(answer, Err(EINVAL), format_args!("WITHDRAW with {len} bytes more"));
        let answer = shim.service.call(op::QUESTION, 0, &[&[0; QUESTION], more], &everything);
        tally.expect(answer, Ok(size_of::<Settled>()), format_args!("QUESTION with {len} bytes of a name"));
    }
    for gpa in [0, shim.info.free_end, 1 << 45] {
        let answer = shim.service.call(op::QUESTION, 0, &[&[0; QUESTION]], &[segment(gpa, 8)]);
        tally.expect(answer, Ok(size_of::<Settled>()), "QUESTION with a segment that is nowhere");
    }
    shim.report("questions: lengths", &tally);
}

/// Numbers that no call has, or one about which nobody was asked.
fn without_a_call(shim: &mut Shim) {
    let mut tally = Tally::new();
    let mut rng = Rng::new(0x7175_6573);
    assert_eq!(user(CODE_VA, GETPID, [0; 6]).vector, GRANTED, "getpid");
    let known = grant(shim).sequence;
    let chance = [(); 50].map(|()| rng.next());
    for number in [0, known, known + 1, known + 2, 1 << 32, 1 << 63, u64::MAX - 1, u64::MAX].into_iter().chain(chance) {
        for _ in 0..2 {
            tally.expect(state(shim, number), settled::AGAIN, format_args!("QUESTION about {number:#x}"));
            tally.expect(withdraw(shim, number), Ok(0), format_args!("WITHDRAW of {number:#x}"));
        }
    }
    shim.report("questions: without a call", &tally);
}

/// A question that gets its answer, and gets it once, whatever is asked and taken back meanwhile.
fn answered(shim: &mut Shim, what: &str, (wanted, errno): (u32, u32)) {
    let mut tally = Tally::new();
    let number = asked(shim);
    for other in [0, number - 1, number + 1, number + (1 << 32), !number, u64::MAX] {
        tally.expect(state(shim, other), settled::AGAIN, "QUESTION about another");
        tally.expect(withdraw(shim, other), Ok(0), "WITHDRAW of another");
    }
    let found = settled(shim, number);
    tally.expect((found.state, found.errno), (wanted, errno), "what was answered");
    for _ in 0..3 {
        tally.expect(state(shim, number), settled::AGAIN, "QUESTION once it was answered");
        tally.expect(withdraw(shim, number), Ok(0), "WITHDRAW once it was answered");
    }
    shim.report(what, &tally);
}

/// The answer to what was taken back allows nothing, whether it comes before or behind that.
fn taken_back(shim: &mut Shim) {
    let mut tally = Tally::new();
    let number = asked(shim);
    // It may have come already.
    let _ = state(shim, number);
    for _ in 0..3 {
        tally.expect(withdraw(shim, number), Ok(0), "WITHDRAW");
        tally.expect(state(shim, number), settled::AGAIN, "QUESTION about what was taken back");
    }
    shim.report("questions: taken back", &tally);
}

/// More calls than there can be questions, of which some are never asked about.
fn more_than_there_can_be(shim: &mut Shim) {
    let mut tally = Tally::new();
    let calls = [(); MANY].map(|()| asked(shim));
    for (index, number) in calls.into_iter().enumerate().filter(|(index, _)| index % 2 == 0) {
        tally.expect(state(shim, number), settled::OPEN, format_args!("QUESTION of call {index}"));
    }
    for number in [0, u64::MAX] {
        tally.expect(state(shim, number), settled::OPEN, "QUESTION about none, without room");
    }
    for (index, number) in calls.into_iter().enumerate() {
        tally.expect(withdraw(shim, number), Ok(0), format_args!("WITHDRAW of call {index}"));
        let others = calls.get(MOST..).unwrap_or_default();
        let next = others.get(index % others.len()).copied().unwrap_or(0);
        tally.expect(state(shim, next), settled::AGAIN, "QUESTION of one that had no room");
    }
    shim.report("questions: more than there can be", &tally);
}

/// One after the other, posed and taken back, by programs whose names are anything.
fn without_end(shim: &mut Shim) {
    let mut tally = Tally::new();
    for name in NAMES.into_iter().cycle().take(1000) {
        let number = asked(shim);
        tally.expect(ask(shim, number, name).state, settled::OPEN, "QUESTION");
        tally.expect(state(shim, number), settled::OPEN, "QUESTION by another name");
        tally.expect(withdraw(shim, number), Ok(0), "WITHDRAW");
    }
    let number = asked(shim);
    tally.expect(ask(shim, number, &[0x1b; LONGEST]).state, settled::OPEN, "QUESTION of a long name");
    tally.expect(withdraw(shim, number), Ok(0), "WITHDRAW");
    shim.report("questions: without end", &tally);
}

/// Requests in any order, about calls that are open and others.
fn by_chance(shim: &mut Shim) {
    let mut rng = Rng::new(0x6368_616e);
    let mut tally = Tally::new();
    let mut last = asked(shim);
    for _ in 0..5000 {
        let number = match rng.below(4) {
            0 => rng.next(),
            _ => last.saturating_sub(rng.below(40)),
        };
        match rng.below(8) {
            0 => last = asked(shim),
            1 => tally.expect(withdraw(shim, number), Ok(0), "WITHDRAW"),
            _ => {
                let found = state(shim, number);
                tally.check(matches!(found, settled::OPEN | settled::AGAIN), format_args!("{number:#x} is {found}"));
            }
        }
    }
    for number in last.saturating_sub(5000)..=last {
        tally.expect(withdraw(shim, number), Ok(0), "WITHDRAW of all");
    }
    shim.report("questions: by chance", &tally);
}
