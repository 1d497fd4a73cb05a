//! Calls about which somebody is asked.

use super::*;
use crate::errno::Errno;
use crate::platform::Copied;
use proto::copy_forms;
use proto::op::{Settled, settled, wait_events};
use zerocopy::IntoBytes;

const GETPPID: u64 = 110;
const GETTID: u64 = 186;
const CLONE: u64 = 56;
const TGKILL: u64 = 234;
const NOTHING: u64 = u64::MAX;

impl Sandbox {
    /// Makes a call that somebody is asked about.
    fn ask(&mut self, number: u64, args: [u64; 6], flags: u64) -> Flow {
        self.sequence += 1;
        let flags = flags | grant_flags::ASK | grant_flags::REPORT;
        self.kernel.platform.grant = Grant { sequence: self.sequence, number, args, flags, fetch: 0, recall: 0 };
        self.regs.vector = SYSCALL_VECTOR;
        self.regs.rax = number;
        self.kernel.system_call(&mut self.regs)
    }

    /// What has become of the questions to come.
    fn settle(&mut self, states: &[u32]) {
        let errno = Errno::EACCES.0.unsigned_abs();
        let all = states.iter().map(|state| Settled { state: *state, errno });
        self.kernel.platform.settled.extend(all);
    }

    /// A second thread, which runs while the first one waits.
    fn second_thread(&mut self) {
        let at = self.scratch;
        assert_eq!(self.call(CLONE, [0x3d_0f00, at + 0x1000, at + 32, at + 36, 0x5000, 0]), 3);
    }
}

#[test]
fn the_call_is_carried_out_once_it_is_allowed() {
    let mut sandbox = Sandbox::new();
    let path = sandbox.string(0, b"/no/such/file");
    let copy = Copied { address: path, form: copy_forms::STRING, bytes: b"/bin/tiny".to_vec() };
    sandbox.kernel.platform.copies = vec![copy];
    // Woken for nothing the first time.
    sandbox.settle(&[settled::OPEN, settled::OPEN, settled::ALLOWED]);
    let here = i64::from(raw::AT_FDCWD).cast_unsigned();
    assert_eq!(sandbox.ask(257, [here, path, 0, 0, 0, 0], grant_flags::COPIES), Flow::Resume);
    assert!(sandbox.regs.rax.cast_signed() > 2, "what was judged is what is opened");
    let questions = &sandbox.kernel.platform.questions;
    assert_eq!(questions.len(), 3);
    let (question, program) = &questions[0];
    assert_eq!((question.sequence, question.process, program.as_slice()), (sandbox.sequence, 2, &b"/bin/tiny"[..]));
    assert_eq!(sandbox.kernel.platform.waits, [(NOTHING, wait_events::ANSWER); 2]);
    assert_eq!(sandbox.kernel.platform.reports.last().map(|report| report.sequence), Some(sandbox.sequence));
    assert!(sandbox.kernel.task.copies.is_empty());
}

#[test]
fn what_is_not_allowed_is_not_done() {
    let mut sandbox = Sandbox::new();
    sandbox.settle(&[settled::FAILED, 99]);
    for _ in 0..2 {
        assert_eq!(sandbox.ask(GETPPID, [0; 6], 0), Flow::Resume);
        assert_eq!(sandbox.regs.rax.cast_signed(), error(Errno::EACCES));
    }
    // Nobody was asked: the program makes the call again.
    sandbox.settle(&[settled::OPEN, settled::AGAIN]);
    sandbox.regs.rip = 0x1002;
    assert_eq!(sandbox.ask(GETPPID, [0; 6], 0), Flow::Resume);
    assert_eq!((sandbox.regs.rip, sandbox.regs.rax), (0x1000, GETPPID));
    assert!(sandbox.kernel.task.call.is_none());
    sandbox.settle(&[settled::KILL_PROCESS]);
    assert_eq!(sandbox.ask(GETPPID, [0; 6], 0), Flow::Ended);
    assert_eq!(sandbox.kernel.platform.exit.map(|exit| exit.signal), Some(31));
    assert_eq!(sandbox.kernel.platform.withdrawn, [], "nothing was open any more");
}

#[test]
fn a_program_is_executed_with_the_strings_of_the_time_of_the_question() {
    for (number, shift) in [(59, 0), (322, 1)] {
        let mut sandbox = Sandbox::new();
        sandbox.second_thread();
        let (path, one) = (sandbox.string(0, b"/bin/tiny"), sandbox.string(1, b"-good"));
        let lists = sandbox.scratch + 0x3000;
        sandbox.kernel.copy_out(lists, [path, one, 0, one, 0].as_bytes()).expect("scratch memory");
        let mut args = [i64::from(raw::AT_FDCWD).cast_unsigned(); 6];
        args[shift..shift + 3].copy_from_slice(&[path, lists, lists + 24]);
        args[shift + 3..].fill(0);
        sandbox.settle(&[settled::OPEN]);
        assert_eq!(sandbox.ask(number, args, 0), Flow::Resume);
        // The other thread, while somebody thinks about it: another string, and other lists.
        sandbox.string(1, b"-evil");
        sandbox.kernel.copy_out(lists, [1_u64; 5].as_bytes()).expect("scratch memory");
        sandbox.settle(&[settled::ALLOWED]);
        sandbox.kernel.platform.time += 1_000_000;
        assert_eq!(sandbox.kernel.interrupt(&mut sandbox.regs), Flow::Resume);
        let process = sandbox.kernel.task.process.borrow();
        assert_eq!(process.arguments, b"/bin/tiny\0-good\0");
        assert_eq!(process.environment, b"-good\0");
        assert!(sandbox.kernel.task.strings.is_none());
    }
    // What could not be read then is missing, whatever is there by now.
    let mut sandbox = Sandbox::new();
    let path = sandbox.string(0, b"/bin/tiny");
    let list = sandbox.scratch + 0x3000;
    sandbox.kernel.copy_out(list, 1_u64.as_bytes()).expect("scratch memory");
    sandbox.settle(&[settled::ALLOWED]);
    assert_eq!(sandbox.ask(59, [path, list, 0, 0, 0, 0], 0), Flow::Resume);
    assert_eq!(sandbox.regs.rax.cast_signed(), error(Errno::EFAULT));
    assert!(sandbox.kernel.task.strings.is_none());
}

#[test]
fn other_threads_go_on_meanwhile() {
    let mut sandbox = Sandbox::new();
    sandbox.second_thread();
    sandbox.settle(&[settled::OPEN]);
    assert_eq!(sandbox.ask(GETPPID, [0; 6], 0), Flow::Resume);
    assert_eq!(sandbox.call(GETTID, [0; 6]), 3);
    // The slice's alarm looks for answers, too.
    sandbox.settle(&[settled::KILL_THREAD]);
    sandbox.kernel.platform.time += 1_000_000;
    assert_eq!(sandbox.kernel.interrupt(&mut sandbox.regs), Flow::Resume);
    assert_eq!(sandbox.call(GETTID, [0; 6]), 3, "the first one is gone");
    assert!(sandbox.kernel.task_of(2).is_none());
}

#[test]
fn handlers_wait_for_the_answer_and_an_end_does_not() {
    let mut sandbox = Sandbox::new();
    sandbox.second_thread();
    sandbox.handle(10, 0x40_1000, 0x1000_0000);
    sandbox.settle(&[settled::OPEN, settled::OPEN]);
    assert_eq!(sandbox.ask(GETPPID, [0; 6], 0), Flow::Resume);
    let asked = sandbox.sequence;
    // To the thread that waits: it looks, and waits on.
    assert_eq!(sandbox.call(TGKILL, [2, 2, 10, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(24, [0; 6]), 0);
    assert_eq!(sandbox.call(GETTID, [0; 6]), 3);
    assert!(sandbox.kernel.platform.withdrawn.is_empty());
    assert_eq!(sandbox.enter(TGKILL, [2, 2, 15, 0, 0, 0]), Flow::Resume);
    assert_eq!(sandbox.enter(24, [0; 6]), Flow::Ended);
    assert_eq!(sandbox.kernel.platform.exit.map(|exit| exit.signal), Some(15));
    assert_eq!(sandbox.kernel.platform.withdrawn, [asked]);
}
