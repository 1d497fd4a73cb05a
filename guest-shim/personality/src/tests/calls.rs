//! Calls that are not about files or memory, and the frame around all calls.

use super::*;
use crate::abi::{Rlimit, Timespec, UTS_FIELD};
use crate::errno::Errno;
use proto::result_flags;
use zerocopy::{FromBytes, IntoBytes};

#[test]
fn results_are_reported_and_what_is_missing_is_marked() {
    let mut sandbox = Sandbox::new();
    assert_eq!(sandbox.call(39, [0; 6]), 2);
    let report = *sandbox.kernel.platform.reports.last().expect("a report");
    assert_eq!((report.sequence, report.value, report.flags), (sandbox.sequence, 2, 0));
    assert_eq!(sandbox.call(450, [0; 6]), error(Errno::ENOSYS));
    let report = *sandbox.kernel.platform.reports.last().expect("a report");
    assert_eq!(report.flags, result_flags::NOT_IMPLEMENTED);
    assert_eq!(sandbox.call(u64::MAX, [0; 6]), error(Errno::ENOSYS));
    assert_eq!(sandbox.call(334, [0; 6]), error(Errno::ENOSYS));
    assert_eq!(sandbox.kernel.platform.reports.last().map(|report| report.flags), Some(0));
}

#[test]
#[should_panic(expected = "without a new grant")]
fn a_grant_is_used_once() {
    let mut sandbox = Sandbox::new();
    sandbox.call(39, [0; 6]);
    let _ = sandbox.kernel.system_call(&mut sandbox.regs);
}

#[test]
fn exit_ends_with_the_low_byte() {
    let mut sandbox = Sandbox::new();
    assert_eq!(sandbox.enter(231, [0x1_02, 0, 0, 0, 0, 0]), Flow::Ended);
    let exit = sandbox.kernel.platform.exit.expect("the root was told");
    assert_eq!((exit.status, exit.signal), (2, 0));
    assert!(exit.program_bytes >= 0x1000);
}

#[test]
fn faults_end_with_their_signal() {
    for (vector, code, address, signal) in [
        (14, 4, 0, 11),
        (14, 6, 0x40_0000_0000, 11),
        (14, 5, 0xffff_ffff_8000_1000, 11),
        (14, 0x15, 0xffff_8800_0000_0000, 11),
        (14, 0, 0x40_0000, 11),
        (13, 0, 0, 11),
        (6, 0, 0, 4),
        (0, 0, 0, 8),
        (3, 0, 0, 5),
        (17, 0, 0, 7),
        (19, 0, 0, 8),
    ] {
        let mut sandbox = Sandbox::new();
        assert_eq!(sandbox.fault(vector, code, address), Flow::Ended);
        let exit = sandbox.kernel.platform.exit.expect("the root was told");
        assert_eq!(exit.signal, signal, "vector {vector}");
    }
}

#[test]
fn console_reads_wait_and_streams_stay_apart() {
    let mut sandbox = Sandbox::new();
    assert_eq!(sandbox.write(1, b"out"), 3);
    assert_eq!(sandbox.write(2, b"err"), 3);
    assert_eq!(sandbox.kernel.platform.output, [b"".to_vec(), b"out".to_vec(), b"err".to_vec()]);
    sandbox.kernel.platform.input = b"line".to_vec();
    assert_eq!(sandbox.read(0, 2), Ok(b"li".to_vec()));
    assert_eq!(sandbox.read(0, 100), Ok(b"ne".to_vec()));
    sandbox.kernel.platform.input_ended = false;
    assert_eq!(sandbox.read(0, 100), Ok(Vec::new()));
    assert_eq!(sandbox.kernel.platform.waits, [(u64::MAX, 1)]);
    assert_eq!(sandbox.write(0, b"x"), error(Errno::EBADF));
    assert_eq!(sandbox.read(1, 1), Err(error(Errno::EBADF)));
}

#[test]
fn a_large_write_goes_by_segments_and_crosses_pages() {
    let mut sandbox = Sandbox::new();
    let data: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let at = sandbox.scratch + 123;
    sandbox.kernel.copy_out(at, &data).expect("scratch memory");
    assert_eq!(sandbox.call(1, [1, at, 100_000, 0, 0, 0]), 100_000);
    assert_eq!(sandbox.kernel.platform.output[1], data);
}

#[test]
fn vectors_are_one_transfer() {
    let mut sandbox = Sandbox::new();
    let (one, two) = (sandbox.string(2, b"Hello, "), sandbox.string(3, b"world"));
    let list = [one, 7, 0, 0, two, 5];
    let at = sandbox.scratch;
    sandbox.kernel.copy_out(at, list.as_slice().as_bytes()).expect("scratch memory");
    assert_eq!(sandbox.call(20, [1, at, 3, 0, 0, 0]), 12);
    assert_eq!(sandbox.kernel.platform.output[1], b"Hello, world");
    assert_eq!(sandbox.call(20, [1, at, 1025, 0, 0, 0]), error(Errno::EINVAL));
}

#[test]
fn pipes_carry_bytes_and_end() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch;
    assert_eq!(sandbox.call(293, [at, 0, 0, 0, 0, 0]), 0);
    let ends = sandbox.bytes(at, 8);
    assert_eq!(ends, [3, 0, 0, 0, 4, 0, 0, 0]);
    assert_eq!(sandbox.write(4, b"through"), 7);
    assert_eq!(sandbox.read(3, 100), Ok(b"through".to_vec()));
    assert_eq!(sandbox.call(72, [3, 4, 0o4000, 0, 0, 0]), 0);
    assert_eq!(sandbox.read(3, 100), Err(error(Errno::EAGAIN)));
    assert_eq!(sandbox.call(3, [4, 0, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.read(3, 100), Ok(Vec::new()));
    assert_eq!(sandbox.call(3, [4, 0, 0, 0, 0, 0]), error(Errno::EBADF));
}

#[test]
fn a_pipe_without_reader_is_sigpipe() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch;
    sandbox.call(293, [at, 0, 0, 0, 0, 0]);
    sandbox.call(3, [3, 0, 0, 0, 0, 0]);
    let ignore = [1_u64, 0, 0, 0];
    sandbox.kernel.copy_out(at, ignore.as_bytes()).expect("scratch memory");
    assert_eq!(sandbox.call(13, [13, at, 0, 8, 0, 0]), 0);
    assert_eq!(sandbox.write(4, b"x"), error(Errno::EPIPE));
    let default = [0_u64; 4];
    sandbox.kernel.copy_out(at, default.as_bytes()).expect("scratch memory");
    sandbox.call(13, [13, at, 0, 8, 0, 0]);
    assert_eq!(sandbox.enter(1, [4, at, 1, 0, 0, 0]), Flow::Ended);
    assert_eq!(sandbox.kernel.platform.exit.map(|exit| exit.signal), Some(13));
}

#[test]
fn descriptors_are_the_lowest_free() {
    let mut sandbox = Sandbox::new();
    assert_eq!(sandbox.call(32, [1, 0, 0, 0, 0, 0]), 3);
    assert_eq!(sandbox.call(33, [1, 10, 0, 0, 0, 0]), 10);
    assert_eq!(sandbox.call(72, [1, 0, 5, 0, 0, 0]), 5);
    assert_eq!(sandbox.call(72, [5, 1, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(72, [1, 1030, 0, 0, 0, 0]), 4);
    assert_eq!(sandbox.call(72, [4, 1, 0, 0, 0, 0]), 1);
    assert_eq!(sandbox.call(33, [1, 1024, 0, 0, 0, 0]), error(Errno::EBADF));
    assert_eq!(sandbox.call(33, [99, 1, 0, 0, 0, 0]), error(Errno::EBADF));
    assert_eq!(sandbox.call(292, [1, 1, 0, 0, 0, 0]), error(Errno::EINVAL));
}

#[test]
fn descriptors_run_out_at_the_limit() {
    let mut sandbox = Sandbox::new();
    for expected in 3..1024 {
        assert_eq!(sandbox.call(32, [1, 0, 0, 0, 0, 0]), expected);
    }
    assert_eq!(sandbox.call(32, [1, 0, 0, 0, 0, 0]), error(Errno::EMFILE));
    let at = sandbox.scratch;
    assert_eq!(sandbox.call(293, [at, 0, 0, 0, 0, 0]), error(Errno::EMFILE));
}

#[test]
fn sleeping_waits_for_the_reference_clock() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch;
    let time = Timespec { tv_sec: 2, tv_nsec: 500 };
    sandbox.kernel.copy_out(at, time.as_bytes()).expect("scratch memory");
    let before = sandbox.kernel.platform.time;
    assert_eq!(sandbox.call(35, [at, 0, 0, 0, 0, 0]), 0);
    assert!(sandbox.kernel.platform.time >= before + 20_000_005);
    assert_eq!(sandbox.kernel.platform.waits.len(), 1);
    let bad = Timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    sandbox.kernel.copy_out(at, bad.as_bytes()).expect("scratch memory");
    assert_eq!(sandbox.call(35, [at, 0, 0, 0, 0, 0]), error(Errno::EINVAL));
}

#[test]
fn clocks_agree() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch;
    let read = |sandbox: &mut Sandbox, clock| {
        assert_eq!(sandbox.call(228, [clock, at, 0, 0, 0, 0]), 0);
        Timespec::read_from_bytes(&sandbox.bytes(at, 16)).expect("a timespec")
    };
    let monotonic = read(&mut sandbox, 1);
    let realtime = read(&mut sandbox, 0);
    assert_eq!(realtime.tv_sec, 1_700_000_000);
    assert!(realtime.tv_nsec > monotonic.tv_nsec);
    assert_eq!(sandbox.call(228, [99, at, 0, 0, 0, 0]), error(Errno::EINVAL));
    assert_eq!(sandbox.call(229, [1, at, 0, 0, 0, 0]), 0);
}

#[test]
fn polling_sees_what_is_ready_and_gives_up_in_time() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch;
    sandbox.call(293, [at, 0, 0, 0, 0, 0]);
    let list = |fd: u8, events: u8| [fd, 0, 0, 0, events, 0, 0, 0];
    sandbox.kernel.copy_out(at, &list(3, 1)).expect("scratch memory");
    assert_eq!(sandbox.call(7, [at, 1, 5, 0, 0, 0]), 0);
    assert_eq!(sandbox.kernel.platform.waits.len(), 1);
    sandbox.write(4, b"x");
    sandbox.kernel.copy_out(at, &list(3, 1)).expect("scratch memory");
    assert_eq!(sandbox.call(7, [at, 1, u64::MAX, 0, 0, 0]), 1);
    assert_eq!(sandbox.bytes(at + 6, 2), [1, 0]);
    sandbox.kernel.copy_out(at, &list(77, 1)).expect("scratch memory");
    assert_eq!(sandbox.call(7, [at, 1, 0, 0, 0, 0]), 1);
    assert_eq!(sandbox.bytes(at + 6, 2), [0x20, 0]);
    sandbox.kernel.platform.input = b"ready".to_vec();
    sandbox.kernel.copy_out(at, &[1, 0, 0, 0, 0, 0, 0, 0]).expect("scratch memory");
    assert_eq!(sandbox.call(23, [1, at, 0, 0, 0, 0]), 1);
    assert_eq!(sandbox.bytes(at, 1), [1]);
}

#[test]
fn signals_to_oneself_act_by_default() {
    let mut sandbox = Sandbox::new();
    assert_eq!(sandbox.call(62, [2, 0, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(62, [7, 9, 0, 0, 0, 0]), error(Errno::ESRCH));
    assert_eq!(sandbox.call(62, [2, 17, 0, 0, 0, 0]), 0);
    let at = sandbox.scratch;
    sandbox.kernel.copy_out(at, &(1_u64 << 14).to_le_bytes()).expect("scratch memory");
    assert_eq!(sandbox.call(14, [0, at, 0, 8, 0, 0]), 0);
    assert_eq!(sandbox.call(62, [2, 15, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(127, [at + 8, 8, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.bytes(at + 8, 8), (1_u64 << 14).to_le_bytes());
    assert_eq!(sandbox.enter(14, [1, at, 0, 8, 0, 0]), Flow::Ended);
    assert_eq!(sandbox.kernel.platform.exit.map(|exit| exit.signal), Some(15));
}

#[test]
fn futexes_wake_nobody_and_wait_only_for_time() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch;
    assert_eq!(sandbox.call(202, [at, 1, 1, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(202, [at, 128, 5, 0, 0, 0]), error(Errno::EAGAIN));
    sandbox.kernel.copy_out(at + 64, Timespec { tv_sec: 1, tv_nsec: 0 }.as_bytes()).expect("scratch memory");
    assert_eq!(sandbox.call(202, [at, 0, 0, at + 64, 0, 0]), error(Errno::ETIMEDOUT));
    assert_eq!(sandbox.call(202, [at + 1, 0, 0, 0, 0, 0]), error(Errno::EINVAL));
    assert_eq!(sandbox.call(202, [0, 1, 1, 0, 0, 0]), error(Errno::EFAULT));
}

#[test]
fn facts_about_the_system() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch;
    assert_eq!(sandbox.call(63, [at, 0, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.bytes(at, 6), b"Linux\0");
    assert_eq!(sandbox.bytes(at + 4 * UTS_FIELD as u64, 7), b"x86_64\0");
    assert_eq!(sandbox.call(302, [0, 7, 0, at, 0, 0]), 0);
    let limit = Rlimit::read_from_bytes(&sandbox.bytes(at, 16)).expect("an rlimit");
    assert_eq!(limit.rlim_cur, 1024);
    assert_eq!(sandbox.call(302, [0, 99, 0, at, 0, 0]), error(Errno::EINVAL));
    assert_eq!(sandbox.call(158, [0x1002, 0x1234, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.kernel.platform.fs_base, 0x1234);
    assert_eq!(sandbox.call(158, [0x1002, u64::MAX, 0, 0, 0, 0]), error(Errno::EPERM));
    assert_eq!(sandbox.call(204, [0, 128, at, 0, 0, 0]), 8);
    assert_eq!(sandbox.call(318, [at, 300, 0, 0, 0, 0]), 300);
    assert_ne!(sandbox.bytes(at, 16), sandbox.bytes(at + 16, 16));
}

#[test]
fn without_a_terminal_there_is_none() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch;
    assert_eq!(sandbox.call(16, [1, 0x5401, at, 0, 0, 0]), error(Errno::ENOTTY));
    let mut sandbox = Sandbox::with_flags(ordinary_server(), proto::boot_flags::STDOUT_TTY);
    assert_eq!(sandbox.call(16, [1, 0x5401, at, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(16, [1, 0x5413, at, 0, 0, 0]), 0);
    assert_eq!(sandbox.bytes(at, 4), [24, 0, 80, 0]);
    assert_eq!(sandbox.call(16, [0, 0x5401, at, 0, 0, 0]), error(Errno::ENOTTY));
}

#[test]
fn a_program_replaces_itself() {
    let mut sandbox = Sandbox::new();
    let path = sandbox.string(0, b"/bin/tiny");
    let (first, key) = (sandbox.string(1, b"other name"), sandbox.string(2, b"A=1"));
    let lists = sandbox.scratch + 0x3000;
    sandbox.kernel.copy_out(lists, [first, 0, key, 0].as_bytes()).expect("scratch memory");
    sandbox.regs.rbx = 77;
    let at = sandbox.scratch;
    sandbox.call(292, [1, 9, u64::from(raw::O_CLOEXEC), 0, 0, 0]);
    assert_eq!(sandbox.call(59, [path, lists, lists + 16, 0, 0, 0]), 0);
    assert_eq!((sandbox.regs.rip, sandbox.regs.rbx), (0x40_0100, 0));
    let arguments = u64::from_le_bytes(sandbox.bytes(sandbox.regs.rsp + 8, 8).try_into().expect("eight bytes"));
    assert_eq!(sandbox.bytes(arguments, 11), b"other name\0");
    assert!(sandbox.kernel.copy_out(at, &[0]).is_err());
    assert_eq!(sandbox.call(3, [9, 0, 0, 0, 0, 0]), error(Errno::EBADF));
    assert_eq!(sandbox.call(59, [0, 0, 0, 0, 0, 0]), error(Errno::EFAULT));
}

#[test]
fn what_there_is_none_of() {
    let mut sandbox = Sandbox::new();
    assert_eq!(sandbox.call(61, [u64::MAX, 0, 0, 0, 0, 0]), error(Errno::ECHILD));
    assert_eq!(sandbox.call(52, [0; 6]), error(Errno::ENOTSOCK));
    assert_eq!(sandbox.call(52, [99, 0, 0, 0, 0, 0]), error(Errno::EBADF));
    let name = sandbox.string(1, b"user.x");
    assert_eq!(sandbox.path_call(191, b"/dev/null", [name, 0]), error(Errno::EOPNOTSUPP));
    assert_eq!(sandbox.path_call(191, b"/etc/none", [name, 0]), error(Errno::ENOENT));
    assert_eq!(sandbox.path_call(194, b"/dev/null", [0, 0]), 0);
}
