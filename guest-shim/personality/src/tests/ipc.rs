//! System V semaphores and message queues, POSIX queues, pidfds, and waits at several futexes: two processes that meet there.

use super::*;
use crate::errno::Errno;
use zerocopy::IntoBytes;

const FORK: u64 = 57;
const EXIT_GROUP: u64 = 231;
const WAIT4: u64 = 61;
const GETPID: u64 = 39;
const SEMGET: u64 = 64;
const SEMOP: u64 = 65;
const SEMCTL: u64 = 66;
const MSGGET: u64 = 68;
const MSGSND: u64 = 69;
const MSGRCV: u64 = 70;
const MSGCTL: u64 = 71;
const RMID: u64 = 0;
const GETVAL: u64 = 12;
const SETVAL: u64 = 16;
const UNDO: i16 = 0x1000;
const NOWAIT: u64 = 0o4000;

impl Sandbox {
    /// semop with one operation.
    fn operate(&mut self, set: i64, change: i16, flags: i16) -> i64 {
        let at = self.scratch + 0x100;
        self.kernel.copy_out(at, [0, change, flags].as_bytes()).expect("scratch memory");
        self.call(SEMOP, [set.cast_unsigned(), at, 1, 0, 0, 0])
    }

    fn value(&mut self, set: i64) -> i64 {
        self.call(SEMCTL, [set.cast_unsigned(), 0, GETVAL, 0, 0, 0])
    }

    fn send(&mut self, queue: i64, kind: i64, text: &[u8]) -> i64 {
        let at = self.scratch + 0x200;
        self.kernel.copy_out(at, kind.as_bytes()).expect("scratch memory");
        self.kernel.copy_out(at + 8, text).expect("scratch memory");
        self.call(MSGSND, [queue.cast_unsigned(), at, text.len() as u64, NOWAIT, 0, 0])
    }
}

#[test]
fn a_process_waits_at_a_semaphore_until_another_raises_it() {
    let mut sandbox = Sandbox::new();
    let set = sandbox.call(SEMGET, [0, 1, 0o600, 0, 0, 0]);
    let child = sandbox.call(FORK, [0; 6]);
    // The parent waits, so that the child runs; it raises the semaphore, and the parent goes on when the child ends.
    assert_eq!(sandbox.operate(set, -1, 0), 0);
    assert_eq!(sandbox.call(GETPID, [0; 6]), child);
    assert_eq!(sandbox.operate(set, 2, 0), 0);
    assert_eq!(sandbox.call(EXIT_GROUP, [0; 6]), 0);
    assert_eq!(sandbox.call(GETPID, [0; 6]), 2);
    assert_eq!(sandbox.value(set), 1);
}

#[test]
fn what_was_done_with_undo_is_taken_back_at_the_end() {
    let mut sandbox = Sandbox::new();
    let set = sandbox.call(SEMGET, [0, 1, 0o600, 0, 0, 0]);
    assert_eq!(sandbox.call(SEMCTL, [set.cast_unsigned(), 0, SETVAL, 5, 0, 0]), 0);
    sandbox.call(FORK, [0; 6]);
    sandbox.call(WAIT4, [u64::MAX, 0, 0, 0, 0, 0]);
    assert_eq!(sandbox.operate(set, -3, UNDO), 0);
    assert_eq!(sandbox.value(set), 2);
    sandbox.call(EXIT_GROUP, [0; 6]);
    assert_eq!(sandbox.value(set), 5);
}

#[test]
fn whoever_waits_at_what_is_removed_is_told() {
    let mut sandbox = Sandbox::new();
    let set = sandbox.call(SEMGET, [0, 1, 0o600, 0, 0, 0]);
    sandbox.call(FORK, [0; 6]);
    sandbox.operate(set, -1, 0);
    assert_eq!(sandbox.call(SEMCTL, [set.cast_unsigned(), 0, RMID, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(EXIT_GROUP, [0; 6]), error(Errno::EIDRM));
    assert_eq!(sandbox.operate(set, 1, 0), error(Errno::EINVAL));
}

#[test]
fn messages_are_taken_by_kind() {
    let mut sandbox = Sandbox::new();
    let queue = sandbox.call(MSGGET, [0, 0o600, 0, 0, 0, 0]);
    for (kind, text) in [(3, "three"), (1, "one"), (2, "two")] {
        assert_eq!(sandbox.send(queue, kind, text.as_bytes()), 0);
    }
    let at = sandbox.scratch + 0x300;
    let receive = |sandbox: &mut Sandbox, kind: i64| {
        let got = sandbox.call(MSGRCV, [queue.cast_unsigned(), at, 64, kind.cast_unsigned(), NOWAIT, 0]);
        usize::try_from(got).map(|len| sandbox.bytes(at + 8, len)).map_err(|_| got)
    };
    assert_eq!(receive(&mut sandbox, 2), Ok(b"two".to_vec()));
    assert_eq!(receive(&mut sandbox, -3), Ok(b"one".to_vec()));
    assert_eq!(receive(&mut sandbox, 0), Ok(b"three".to_vec()));
    assert_eq!(receive(&mut sandbox, 0), Err(error(Errno::ENOMSG)));
    assert_eq!(sandbox.send(queue, 0, b"x"), error(Errno::EINVAL));
    for _ in 0..2 {
        assert_eq!(sandbox.send(queue, 1, &[0; 8192]), 0);
    }
    assert_eq!(sandbox.send(queue, 1, b"x"), error(Errno::EAGAIN));
    assert_eq!(sandbox.call(MSGCTL, [queue.cast_unsigned(), RMID, 0, 0, 0, 0]), 0);
    assert_eq!(receive(&mut sandbox, 0), Err(error(Errno::EINVAL)));
}

#[test]
fn a_posix_queue_has_a_name_until_it_is_taken_away() {
    const MQ_OPEN: u64 = 240;
    const MQ_UNLINK: u64 = 241;
    let mut sandbox = Sandbox::new();
    let flags = u64::from(raw::O_CREAT | raw::O_RDWR | raw::O_NONBLOCK);
    let name = sandbox.string(0, b"queue");
    let fd = sandbox.call(MQ_OPEN, [name, flags, 0o600, 0, 0, 0]);
    assert_eq!(fd, 3);
    let text = sandbox.string(1, b"hello");
    assert_eq!(sandbox.call(242, [3, text, 5, 7, 0, 0]), 0);
    let at = sandbox.scratch + 0x2000;
    assert_eq!(sandbox.call(243, [3, at, 8191, 0, 0, 0]), error(Errno::EMSGSIZE));
    assert_eq!(sandbox.call(243, [3, at, 8192, at + 0x1_0000, 0, 0]), 5);
    assert_eq!(sandbox.bytes(at, 5), b"hello");
    assert_eq!(sandbox.bytes(at + 0x1_0000, 4), [7, 0, 0, 0]);
    assert_eq!(sandbox.call(243, [3, at, 8192, 0, 0, 0]), error(Errno::EAGAIN));
    assert_eq!(sandbox.call(MQ_UNLINK, [name, 0, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(MQ_OPEN, [name, 0, 0, 0, 0, 0]), error(Errno::ENOENT));
}

#[test]
fn a_pidfd_tells_the_end_and_knows_its_process_from_another_of_its_number() {
    const PIDFD_OPEN: u64 = 434;
    const PIDFD_SEND_SIGNAL: u64 = 424;
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch;
    let child = sandbox.call(FORK, [0; 6]).cast_unsigned();
    let fd = sandbox.call(PIDFD_OPEN, [child, 0, 0, 0, 0, 0]).cast_unsigned();
    let ready = |sandbox: &mut Sandbox| {
        sandbox.kernel.copy_out(at, [fd, 0].as_bytes()).expect("scratch memory");
        sandbox.kernel.copy_out(at + 4, &[1, 0]).expect("scratch memory");
        sandbox.call(7, [at, 1, 0, 0, 0, 0])
    };
    assert_eq!(ready(&mut sandbox), 0);
    assert_eq!(sandbox.call(PIDFD_SEND_SIGNAL, [fd, 9, 0, 0, 0, 0]), 0);
    // The child meets its end when it runs.
    assert_eq!(sandbox.call(24, [0; 6]), 0);
    assert_eq!(ready(&mut sandbox), 1);
    assert_eq!(sandbox.call(PIDFD_SEND_SIGNAL, [fd, 0, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(WAIT4, [u64::MAX, 0, 0, 0, 0, 0]).cast_unsigned(), child);
    sandbox.kernel.last_id = 2;
    assert_eq!(sandbox.call(FORK, [0; 6]).cast_unsigned(), child);
    assert_eq!(sandbox.call(PIDFD_SEND_SIGNAL, [fd, 9, 0, 0, 0, 0]), error(Errno::ESRCH));
}

#[test]
fn a_wait_at_several_futexes_ends_with_the_one_that_is_woken() {
    const FUTEX_WAITV: u64 = 449;
    let mut sandbox = Sandbox::new();
    let (at, words) = (sandbox.scratch + 0x100, sandbox.scratch);
    let mut list = Vec::new();
    for word in 0..3_u64 {
        list.extend_from_slice([0, words + word * 4, 0x82].as_bytes());
    }
    sandbox.kernel.copy_out(at, &list).expect("scratch memory");
    let flags = 0x3d_0f00; // what pthread_create asks for
    let thread = sandbox.call(56, [flags, at + 0x1000, words + 32, words + 36, 0x5000, 0]);
    sandbox.call(FUTEX_WAITV, [at, 3, 0, 0, 0, 0]);
    assert_eq!(sandbox.call(186, [0; 6]), thread);
    assert_eq!(sandbox.call(202, [words + 8, 129, 1, 0, 0, 0]), 1);
    // It waits at none of the others any more.
    assert_eq!(sandbox.call(202, [words, 129, 1, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(60, [0; 6]), 2);
    assert_eq!(sandbox.call(FUTEX_WAITV, [at, 129, 0, 0, 0, 0]), error(Errno::EINVAL));
    sandbox.kernel.copy_out(words, &[1]).expect("scratch memory");
    assert_eq!(sandbox.call(FUTEX_WAITV, [at, 3, 0, 0, 0, 0]), error(Errno::EAGAIN));
}

#[test]
fn a_descriptor_of_another_process_is_taken_over() {
    const PIDFD_OPEN: u64 = 434;
    const PIDFD_GETFD: u64 = 438;
    let mut sandbox = Sandbox::new();
    let child = sandbox.call(FORK, [0; 6]).cast_unsigned();
    let pidfd = sandbox.call(PIDFD_OPEN, [child, 0, 0, 0, 0, 0]).cast_unsigned();
    // The child opens a file while the parent gives way.
    assert_eq!(sandbox.call(24, [0; 6]), 0);
    assert_eq!(sandbox.call(GETPID, [0; 6]).cast_unsigned(), child);
    assert_eq!(sandbox.open(b"/etc/text", 0, 0), 3);
    assert_eq!(sandbox.call(24, [0; 6]), 0);
    assert_eq!(sandbox.call(GETPID, [0; 6]), 2);
    let fd = sandbox.call(PIDFD_GETFD, [pidfd, 3, 0, 0, 0, 0]);
    assert_eq!(sandbox.read(fd, 9), Ok(b"some text".to_vec()));
    assert_eq!(sandbox.call(72, [fd.cast_unsigned(), 1, 0, 0, 0, 0]), 1, "execve closes it");
    assert_eq!(sandbox.call(PIDFD_GETFD, [pidfd, 4, 0, 0, 0, 0]), error(Errno::EBADF));
    assert_eq!(sandbox.call(PIDFD_GETFD, [0, 0, 0, 0, 0, 0]), error(Errno::EBADF));
    assert_eq!(sandbox.call(PIDFD_GETFD, [pidfd, 3, 1, 0, 0, 0]), error(Errno::EINVAL));
}
