//! Processes, threads, signals, timers: several tasks on the scripted machine.

use super::*;
use crate::abi::SigAction;
use crate::errno::Errno;
use proto::op;
use zerocopy::{FromBytes, IntoBytes};

const FORK: u64 = 57;
const EXIT: u64 = 60;
const EXIT_GROUP: u64 = 231;
const WAIT4: u64 = 61;
const GETPID: u64 = 39;
const FUTEX: u64 = 202;
const KILL: u64 = 62;
const CLONE: u64 = 56;
const SIGRETURN: u64 = 15;

impl Sandbox {
    /// The process that runs now.
    fn pid(&mut self) -> i64 {
        self.call(GETPID, [0; 6])
    }

    pub(super) fn handle(&mut self, signal: u64, handler: u64, flags: u64) {
        let at = self.scratch + 0x8000;
        let action = SigAction { handler, flags: flags | 0x0400_0000, restorer: 0x40_0200, mask: 0 };
        self.kernel.copy_out(at, action.as_bytes()).expect("scratch memory");
        assert_eq!(self.call(13, [signal, at, 0, 8, 0, 0]), 0);
    }
}

#[test]
fn a_child_has_memory_of_its_own_and_its_end_is_told() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch;
    sandbox.kernel.copy_out(at, b"parent").expect("scratch memory");
    let child = sandbox.call(FORK, [0; 6]);
    assert_eq!(child, 3);
    // The parent waits; the child runs in its place.
    assert_eq!(sandbox.call(WAIT4, [u64::MAX, at + 64, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.pid(), 3);
    assert_eq!(sandbox.bytes(at, 6), b"parent");
    sandbox.kernel.copy_out(at, b"child!").expect("scratch memory");
    assert_eq!(sandbox.call(EXIT_GROUP, [7, 0, 0, 0, 0, 0]), 3);
    assert_eq!(sandbox.bytes(at, 6), b"parent");
    assert_eq!(sandbox.bytes(at + 64, 4), [0, 7, 0, 0]);
    assert_eq!(sandbox.pid(), 2);
    assert_eq!(sandbox.call(WAIT4, [u64::MAX, 0, 0, 0, 0, 0]), error(Errno::ECHILD));
    assert_eq!(sandbox.kernel.process_ids(), [1, 2]);
}

#[test]
fn beginnings_and_ends_are_told_if_they_are_recorded() {
    let mut silent = Sandbox::new();
    silent.call(FORK, [0; 6]);
    assert_eq!(silent.kernel.platform.told, []);
    let mut sandbox = Sandbox::with_flags(ordinary_server(), proto::boot_flags::TELL_PROCESSES);
    let thread = u64::from(raw::CLONE_VM | raw::CLONE_SIGHAND | raw::CLONE_THREAD);
    assert_eq!(sandbox.call(CLONE, [thread, sandbox.scratch + 0x1_0000, 0, 0, 0, 0]), 3);
    assert_eq!(sandbox.call(FORK, [0; 6]), 4);
    assert_eq!(sandbox.call(WAIT4, [4, 0, 0, 0, 0, 0]), 0, "the thread");
    assert_eq!(sandbox.call(EXIT, [0; 6]), 0, "the child");
    sandbox.call(EXIT_GROUP, [7, 0, 0, 0, 0, 0]);
    assert_ne!(sandbox.enter(EXIT_GROUP, [1, 0, 0, 0, 0, 0]), Flow::Resume);
    let started = |thread, process, parent| {
        (op::THREAD_STARTED, op::ThreadStarted { thread, process, parent, reserved: 0 }.as_bytes().to_vec())
    };
    let ended =
        |process, thread, status| (op::ENDED, op::Ended { process, thread, status, reserved: 0 }.as_bytes().to_vec());
    let executed = [op::Executed { process: 2, argc: 2 }.as_bytes(), b"/bin/tiny\0argument\0"].concat();
    let told = [
        started(2, 2, 1),
        (op::EXECUTED, executed),
        started(3, 2, 1),
        started(4, 4, 2),
        ended(2, 3, 0),
        ended(4, 0, 7 << 8),
        ended(2, 0, 1 << 8),
    ];
    assert_eq!(sandbox.kernel.platform.told, told);
}

#[test]
fn frames_come_back_with_the_process_that_had_them() {
    let mut sandbox = Sandbox::new();
    for _ in 0..3 {
        sandbox.call(FORK, [0; 6]);
        sandbox.call(WAIT4, [u64::MAX, 0, 0, 0, 0, 0]);
        sandbox.call(EXIT_GROUP, [0; 6]);
    }
    let before = sandbox.kernel.frames.used();
    for _ in 0..20 {
        sandbox.call(FORK, [0; 6]);
        sandbox.call(WAIT4, [u64::MAX, 0, 0, 0, 0, 0]);
        sandbox.write(1, b"x");
        sandbox.call(EXIT_GROUP, [0; 6]);
    }
    assert_eq!(sandbox.kernel.frames.used(), before);
}

#[test]
fn threads_meet_at_a_futex() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch;
    let flags = 0x3d_0f00; // what pthread_create asks for
    let thread = sandbox.call(CLONE, [flags, at + 0x1000, at + 32, at + 36, 0x5000, 0]);
    assert_eq!(thread, 3);
    assert_eq!(sandbox.bytes(at + 32, 4), [3, 0, 0, 0]);
    // The first thread waits for the word; the second runs, changes it and wakes it.
    assert_eq!(sandbox.call(FUTEX, [at, 128, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(186, [0; 6]), 3);
    assert_eq!(sandbox.kernel.platform.fs_base, 0x5000);
    assert_eq!(sandbox.regs.rsp, at + 0x1000);
    assert_eq!(sandbox.call(FUTEX, [at, 129, 1, 0, 0, 0]), 1);
    // Its end clears the word that joins it.
    sandbox.kernel.copy_out(at + 36, &[3, 0, 0, 0]).expect("scratch memory");
    assert_eq!(sandbox.call(60, [0; 6]), 0);
    assert_eq!(sandbox.call(186, [0; 6]), 2);
    assert_eq!(sandbox.bytes(at + 36, 4), [0; 4]);
}

#[test]
fn a_handler_runs_and_returns_to_where_it_was() {
    let mut sandbox = Sandbox::new();
    sandbox.handle(10, 0x40_0180, 0);
    sandbox.regs.rsp = sandbox.scratch + 0x7000;
    sandbox.regs.rip = 0x40_0110;
    sandbox.regs.rbx = 77;
    assert_eq!(sandbox.enter(KILL, [2, 10, 0, 0, 0, 0]), Flow::Resume);
    assert_eq!((sandbox.regs.rip, sandbox.regs.rdi), (0x40_0180, 10));
    let info = sandbox.bytes(sandbox.regs.rsi, 24);
    assert_eq!(info[..4], [10, 0, 0, 0]);
    assert_eq!(info[16..20], [2, 0, 0, 0]);
    assert_eq!(sandbox.bytes(sandbox.regs.rsp, 8), 0x40_0200_u64.to_le_bytes());
    sandbox.regs.rbx = 0;
    sandbox.regs.rsp += 8;
    sandbox.call(SIGRETURN, [0; 6]);
    assert_eq!((sandbox.regs.rip, sandbox.regs.rbx, sandbox.regs.rax), (0x40_0110, 77, 0));
    assert_eq!(sandbox.kernel.task.blocked, 0);
}

#[test]
fn a_forged_frame_gains_nothing() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch;
    let mut forged = [0xff_u8; 440];
    forged[8 + 40 + 128..][..8].copy_from_slice(&0x40_0100_u64.to_le_bytes());
    forged[8 + 40 + 144..][..2].copy_from_slice(&proto::layout::USER_CS.to_le_bytes());
    forged[8 + 40 + 184..][..8].copy_from_slice(&[0; 8]);
    sandbox.kernel.copy_out(at, &forged).expect("scratch memory");
    sandbox.regs.rsp = at + 8;
    sandbox.call(SIGRETURN, [0; 6]);
    assert_eq!(sandbox.regs.cs, u64::from(proto::layout::USER_CS));
    assert_eq!(sandbox.regs.ss, u64::from(proto::layout::USER_SS));
    assert_eq!(sandbox.regs.rflags & 0x3_3000, 0, "no I/O privilege, no virtual-8086 mode, no nested task");
    assert_ne!(sandbox.regs.rflags & 0x200, 0, "interrupts stay on");
    assert_eq!(sandbox.kernel.task.blocked & crate::signal::UNSTOPPABLE, 0);
    // One that leads out of user space is the program's end.
    sandbox.regs.rsp = 8;
    assert_eq!(sandbox.enter(SIGRETURN, [0; 6]), Flow::Ended);
    assert_eq!(sandbox.kernel.platform.exit.map(|exit| exit.signal), Some(11));
}

#[test]
fn a_wait_is_interrupted_or_made_again() {
    for (flags, expected) in [(0, error(Errno::EINTR)), (0x1000_0000, 0)] {
        let mut sandbox = Sandbox::new();
        let at = sandbox.scratch;
        sandbox.handle(14, 0x40_0180, flags);
        sandbox.regs.rsp = at + 0x7000;
        sandbox.regs.rip = 0x40_0110;
        assert_eq!(sandbox.call(22, [at, 0, 0, 0, 0, 0]), 0);
        assert_eq!(sandbox.call(37, [1, 0, 0, 0, 0, 0]), 0);
        let reader = u64::from(sandbox.bytes(at, 1)[0]);
        // The pipe stays empty; the alarm comes.
        assert_eq!(sandbox.enter(0, [reader, at, 1, 0, 0, 0]), Flow::Resume);
        assert_eq!(sandbox.regs.rip, 0x40_0180);
        sandbox.regs.rsp += 8;
        sandbox.call(SIGRETURN, [0; 6]);
        if flags == 0 {
            assert_eq!((sandbox.regs.rip, sandbox.regs.rax.cast_signed()), (0x40_0110, expected));
        } else {
            assert_eq!((sandbox.regs.rip, sandbox.regs.rax), (0x40_010e, 0), "read again");
        }
    }
}

#[test]
fn an_unhandled_fault_of_a_child_is_its_parents_news() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch;
    sandbox.call(FORK, [0; 6]);
    sandbox.call(WAIT4, [u64::MAX, at, 0, 0, 0, 0]);
    assert_eq!(sandbox.fault(14, 6, 0), Flow::Resume);
    assert_eq!(sandbox.regs.rax, 3);
    assert_eq!(sandbox.bytes(at, 4), [11, 0, 0, 0]);
}

#[test]
fn a_fault_shows_its_address_and_kind() {
    let mut sandbox = Sandbox::new();
    sandbox.handle(11, 0x40_0180, 4);
    sandbox.regs.rsp = sandbox.scratch + 0x7000;
    assert_eq!(sandbox.fault(14, 6, 0xdead_b000), Flow::Resume);
    let info = sandbox.bytes(sandbox.regs.rsi, 24);
    assert_eq!(i32::read_from_bytes(&info[8..12]), Ok(crate::signal::SEGV_MAPERR));
    assert_eq!(u64::read_from_bytes(&info[16..24]), Ok(0xdead_b000));
}

#[test]
fn time_slices_rotate() {
    let mut sandbox = Sandbox::new();
    sandbox.call(FORK, [0; 6]);
    assert_eq!(sandbox.pid(), 2);
    let alarm = sandbox.kernel.platform.alarm;
    assert_ne!(alarm, proto::NO_ALARM);
    sandbox.kernel.platform.time = alarm;
    assert_eq!(sandbox.kernel.interrupt(&mut sandbox.regs), Flow::Resume);
    assert_eq!(sandbox.pid(), 3);
    assert_eq!(sandbox.kernel.platform.thread, 3);
}

#[test]
fn stopped_children_go_on_when_told() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch;
    sandbox.call(FORK, [0; 6]);
    assert_eq!(sandbox.call(KILL, [3, 19, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(WAIT4, [3, at, 2, 0, 0, 0]), 3);
    assert_eq!(sandbox.bytes(at, 4), [0x7f, 19, 0, 0]);
    assert_eq!(sandbox.call(WAIT4, [3, at, 1, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(KILL, [3, 18, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(WAIT4, [3, at, 8, 0, 0, 0]), 3);
    assert_eq!(sandbox.bytes(at, 4), [0xff, 0xff, 0, 0]);
    assert_eq!(sandbox.call(KILL, [3, 9, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(WAIT4, [3, at, 0, 0, 0, 0]), 3);
    assert_eq!(sandbox.bytes(at, 4), [9, 0, 0, 0]);
}

#[test]
fn a_vfork_waits_for_the_childs_end() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch;
    // The child runs first, in the same memory.
    assert_eq!(sandbox.call(58, [0; 6]), 0);
    assert_eq!(sandbox.pid(), 3);
    sandbox.kernel.copy_out(at, b"both").expect("scratch memory");
    assert_eq!(sandbox.call(EXIT_GROUP, [0; 6]), 3);
    assert_eq!(sandbox.bytes(at, 4), b"both");
}

#[test]
fn tasks_are_bounded() {
    let mut sandbox = Sandbox::new();
    let limit = [20_u64, 20];
    let at = sandbox.scratch;
    sandbox.kernel.copy_out(at, limit.as_bytes()).expect("scratch memory");
    assert_eq!(sandbox.call(160, [6, at, 0, 0, 0, 0]), 0);
    // The limit is not for user 0.
    assert_eq!(sandbox.call(117, [1000, 1000, 1000, 0, 0, 0]), 0);
    let mut made = 0;
    while sandbox.call(FORK, [0; 6]) > 0 {
        made += 1;
        assert!(made < 100);
    }
    assert_eq!(sandbox.regs.rax.cast_signed(), error(Errno::EAGAIN));
    assert_eq!(made, 19);
}
