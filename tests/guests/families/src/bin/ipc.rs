//! System V semaphores and message queues, and POSIX message queues.
#![allow(unsafe_code)]

use families::events::ready;
use families::tasks::{child, count, ending, handle, handle_info, pause_ms, seen, tick, until, wait};
use families::{Report, Sys, c, libc, must, sys, zeroed};
use std::process::ExitCode;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

fn main() -> ExitCode {
    families::run(&[
        ("semaphores", semaphores),
        ("semaphore-waits", semaphore_waits),
        ("semaphore-undo", semaphore_undo),
        ("semaphore-errors", semaphore_errors),
        ("queue", queue),
        ("queue-waits", queue_waits),
        ("queue-errors", queue_errors),
        ("posix-queue", posix_queue),
        ("posix-queue-waits", posix_queue_waits),
        ("posix-queue-errors", posix_queue_errors),
        ("posix-queue-notice", posix_queue_notice),
    ])
}

/// A set of semaphores that goes with the section.
struct Set(i32);

impl Set {
    fn new(count: i32) -> Self {
        Self(must(sys!(libc::semget(libc::IPC_PRIVATE, count, 0o600))))
    }

    fn control(&self, number: i32, command: i32, argument: u64) -> Sys {
        sys!(libc::semctl(self.0, number, command, argument))
    }

    fn values(&self, count: i32) -> String {
        let values: Vec<String> = (0..count)
            .map(|number| self.control(number, libc::GETVAL, 0).map_or_else(|e| e.to_string(), |n| n.to_string()))
            .collect();
        values.join(" ")
    }

    /// Operations: semaphore, change, flags.
    fn operate(&self, list: &[(u16, i16, i32)]) -> Sys {
        self.operate_for(list, ptr::null())
    }

    fn operate_for(&self, list: &[(u16, i16, i32)], time: *const libc::timespec) -> Sys {
        let mut list: Vec<libc::sembuf> = list
            .iter()
            .map(|&(sem_num, sem_op, flags)| libc::sembuf {
                sem_num,
                sem_op,
                sem_flg: i16::try_from(flags).unwrap_or(0),
            })
            .collect();
        sys!(libc::syscall(libc::SYS_semtimedop, self.0, list.as_mut_ptr(), list.len(), time))
    }

    fn waiters(&self, number: i32) -> (Sys, Sys) {
        (self.control(number, libc::GETNCNT, 0), self.control(number, libc::GETZCNT, 0))
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        self.control(0, libc::IPC_RMID, 0).ok();
    }
}

fn semaphores(t: &mut Report) {
    let set = Set::new(3);
    t.show("at first", set.values(3));
    t.ret("SETVAL", set.control(1, libc::SETVAL, 5));
    t.ret("several at once", set.operate(&[(0, 2, 0), (1, -3, 0), (2, 1, 0)]));
    t.show("values", set.values(3));
    t.ret("all or nothing", set.operate(&[(0, 1, 0), (1, -3, libc::IPC_NOWAIT)]));
    t.show("values", set.values(3));
    t.ret("one after the other", set.operate(&[(0, -2, 0), (0, 0, 0), (0, 7, 0)]));
    t.show("values", set.values(3));
    t.ret("not zero", set.operate(&[(0, 0, libc::IPC_NOWAIT)]));
    let me = i64::from(c!(libc::getpid()));
    t.show("who was last", set.control(0, libc::GETPID, 0) == Ok(me));
    let mut values = [9u16, 8, 7];
    t.ret("SETALL", set.control(0, libc::SETALL, values.as_ptr().expose_provenance() as u64));
    values = [0; 3];
    t.ret("GETALL", set.control(0, libc::GETALL, values.as_mut_ptr().expose_provenance() as u64));
    t.show("values", format!("{values:?}"));
    let mut facts = zeroed!(libc::semid_ds);
    t.ret("IPC_STAT", set.control(0, libc::IPC_STAT, (&raw mut facts).expose_provenance() as u64));
    t.show("facts", format!("{} {:o}", facts.sem_nsems, facts.sem_perm.mode));
    t.check("times", facts.sem_otime > 0 && facts.sem_ctime > 0);
    facts.sem_perm.mode = 0o640;
    t.ret("IPC_SET", set.control(0, libc::IPC_SET, (&raw mut facts).expose_provenance() as u64));
    must(set.control(0, libc::IPC_STAT, (&raw mut facts).expose_provenance() as u64));
    t.show("mode", format!("{:o}", facts.sem_perm.mode));
    t.show("a child has them too", ending(|| i32::from(set.control(0, libc::GETVAL, 0) != Ok(9))));
    t.ret("IPC_RMID", set.control(0, libc::IPC_RMID, 0));
    t.ret("then", set.control(0, libc::GETVAL, 0));
}

fn semaphore_waits(t: &mut Report) {
    let set = Set::new(1);
    let pid = child(|| i32::from(set.operate(&[(0, -2, 0)]).is_err()));
    t.check("it waits for more", until(|| set.waiters(0) == (Ok(1), Ok(0))));
    must(set.operate(&[(0, 1, 0)]));
    pause_ms(20);
    t.check("one is not enough", set.waiters(0) == (Ok(1), Ok(0)));
    must(set.operate(&[(0, 1, 0)]));
    t.show("two are", wait(pid));
    t.show("value", set.values(1));
    must(set.operate(&[(0, 1, 0)]));
    let pid = child(|| i32::from(set.operate(&[(0, 0, 0)]).is_err()));
    t.check("it waits for zero", until(|| set.waiters(0) == (Ok(0), Ok(1))));
    must(set.operate(&[(0, -1, 0)]));
    t.show("zero", wait(pid));
    let short = libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    t.ret("time is up", set.operate_for(&[(0, -1, 0)], &raw const short));
    let wrong = libc::timespec { tv_sec: 0, tv_nsec: -1 };
    t.ret("a wrong time", set.operate_for(&[(0, -1, 0)], &raw const wrong));
    must(handle(libc::SIGALRM, count, libc::SA_RESTART));
    tick(20);
    t.ret("a signal ends it", set.operate(&[(0, -1, 0)]));
    tick(0);
    t.check("it was seen", seen() > 0);
    let pid = child(|| i32::from(set.operate(&[(0, -1, 0)]) != Err(families::Errno(libc::EIDRM))));
    until(|| set.waiters(0) == (Ok(1), Ok(0)));
    must(set.control(0, libc::IPC_RMID, 0));
    t.show("the set goes", wait(pid));
}

fn semaphore_undo(t: &mut Report) {
    let set = Set::new(2);
    must(set.control(0, libc::SETVAL, 4));
    let undo = libc::SEM_UNDO;
    t.show("a child takes and ends", ending(|| i32::from(set.operate(&[(0, -3, undo), (1, 2, undo)]).is_err())));
    t.show("values", set.values(2));
    t.show("killed", {
        let pid = child(|| {
            must(set.operate(&[(0, -1, undo)]));
            pause_ms(100_000);
            0
        });
        until(|| set.values(1) == "3");
        must(sys!(libc::kill(pid, libc::SIGKILL)));
        wait(pid)
    });
    t.show("values", set.values(2));
    t.show(
        "set by hand meanwhile",
        ending(|| {
            must(set.operate(&[(0, -1, undo)]));
            must(set.control(0, libc::SETVAL, 1));
            0
        }),
    );
    t.show("values", set.values(2));
    t.show("waiting for the one who ends", {
        must(set.control(0, libc::SETVAL, 1));
        let holder = child(|| {
            must(set.operate(&[(0, -1, undo)]));
            until(|| set.waiters(0) == (Ok(1), Ok(0)));
            0
        });
        until(|| set.values(1) == "0");
        let waiter = child(|| i32::from(set.operate(&[(0, -1, 0)]).is_err()));
        format!("{} {}", wait(holder), wait(waiter))
    });
}

fn semaphore_errors(t: &mut Report) {
    let get = |key: i32, count: i32, flags: i32| sys!(libc::semget(key, count, flags));
    t.ret("no semaphores", get(libc::IPC_PRIVATE, 0, 0o600));
    t.ret("fewer than none", get(libc::IPC_PRIVATE, -1, 0o600));
    t.ret("too many", get(libc::IPC_PRIVATE, 1_000_000, 0o600));
    let key = 0x5a00_0000 | c!(libc::getpid());
    t.ret("not there", get(key, 1, 0));
    let id = must(get(key, 2, 0o600 | libc::IPC_CREAT));
    let set = Set(id);
    t.show("by key", get(key, 0, 0) == Ok(id.into()));
    t.ret("larger than it is", get(key, 3, 0));
    t.ret("new", get(key, 2, 0o600 | libc::IPC_CREAT | libc::IPC_EXCL));
    t.ret("no such semaphore", set.operate(&[(2, 1, 0)]));
    t.ret("no such semaphore", set.control(2, libc::GETVAL, 0));
    t.ret("too large", set.control(0, libc::SETVAL, 32768));
    t.ret("negative", set.control(0, libc::SETVAL, u64::from(u32::MAX)));
    must(set.control(0, libc::SETVAL, 32767));
    t.ret("beyond the largest", set.operate(&[(0, 1, 0)]));
    t.ret("no operations", set.operate(&[]));
    t.ret("too many operations", set.operate(&[(0, 0, 0); 501]));
    t.ret("no such command", set.control(0, 77, 0));
    t.ret("no such set", sys!(libc::semctl(i32::MAX, 0, libc::GETVAL)));
    t.ret("a negative one", sys!(libc::semctl(-1, 0, libc::GETVAL)));
    t.ret("a bad address", sys!(libc::syscall(libc::SYS_semop, id, 8, 1)));
    t.ret("IPC_STAT to a bad address", set.control(0, libc::IPC_STAT, 8));
}

/// A queue of System V that goes with the section.
struct Queue(i32);

#[repr(C)]
struct Letter {
    kind: i64,
    bytes: [u8; 64],
}

impl Queue {
    fn new() -> Self {
        Self(must(sys!(libc::msgget(libc::IPC_PRIVATE, 0o600))))
    }

    fn send(&self, kind: i64, text: &str, flags: i32) -> Sys {
        let mut letter = Letter { kind, bytes: [0; 64] };
        letter.bytes[..text.len()].copy_from_slice(text.as_bytes());
        sys!(libc::msgsnd(self.0, (&raw const letter).cast(), text.len(), flags))
    }

    fn receive(&self, kind: i64, room: usize, flags: i32) -> String {
        let mut letter = Letter { kind: 0, bytes: [0; 64] };
        match sys!(libc::msgrcv(self.0, (&raw mut letter).cast(), room, kind, flags)) {
            Ok(len) => {
                let len = usize::try_from(len).unwrap_or(0);
                format!("{} {}", letter.kind, String::from_utf8_lossy(&letter.bytes[..len]))
            }
            Err(errno) => errno.to_string(),
        }
    }

    fn facts(&self) -> libc::msqid_ds {
        let mut facts = zeroed!(libc::msqid_ds);
        must(sys!(libc::msgctl(self.0, libc::IPC_STAT, &raw mut facts)));
        facts
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        c!(libc::msgctl(self.0, libc::IPC_RMID, ptr::null_mut()));
    }
}

fn queue(t: &mut Report) {
    let queue = Queue::new();
    for (kind, text) in [(3, "three"), (1, "one"), (2, "two"), (1, "one again"), (5, "")] {
        t.ret("send", queue.send(kind, text, 0));
    }
    let facts = queue.facts();
    t.show("facts", format!("{} {} {:o}", facts.msg_qnum, facts.msg_qbytes, facts.msg_perm.mode));
    t.check("who and when", facts.msg_lspid == c!(libc::getpid()) && facts.msg_stime > 0 && facts.msg_rtime == 0);
    t.show("of kind 2", queue.receive(2, 64, 0));
    t.show("the lowest up to 2", queue.receive(-2, 64, 0));
    t.show("the first", queue.receive(0, 64, 0));
    t.show("too long", queue.receive(0, 3, 0));
    t.show("cut", queue.receive(0, 3, libc::MSG_NOERROR));
    t.show("not of kind 7", queue.receive(7, 64, libc::MSG_EXCEPT));
    t.show("none", queue.receive(0, 64, libc::IPC_NOWAIT));
    let mut facts = queue.facts();
    facts.msg_qbytes = 10;
    t.ret("IPC_SET", sys!(libc::msgctl(queue.0, libc::IPC_SET, &raw mut facts)));
    t.ret("ten bytes", queue.send(1, "0123456789", libc::IPC_NOWAIT));
    t.ret("one more", queue.send(1, "x", libc::IPC_NOWAIT));
    t.show("a child receives", ending(|| i32::from(queue.receive(0, 64, 0) != "1 0123456789")));
    t.ret("IPC_RMID", sys!(libc::msgctl(queue.0, libc::IPC_RMID, ptr::null_mut())));
    t.ret("then", queue.send(1, "x", 0));
}

fn queue_waits(t: &mut Report) {
    let queue = Queue::new();
    let pid = child(|| i32::from(queue.receive(9, 64, 0) != "9 yes"));
    pause_ms(20);
    must(queue.send(8, "no", 0));
    pause_ms(20);
    must(queue.send(9, "yes", 0));
    t.show("it waited for its kind", wait(pid));
    t.show("the other", queue.receive(0, 64, 0));
    let mut facts = queue.facts();
    facts.msg_qbytes = 4;
    must(sys!(libc::msgctl(queue.0, libc::IPC_SET, &raw mut facts)));
    must(queue.send(1, "full", 0));
    let pid = child(|| i32::from(queue.send(2, "next", 0).is_err()));
    pause_ms(20);
    t.show("the first", queue.receive(0, 64, 0));
    t.show("it waited for room", wait(pid));
    t.show("the next", queue.receive(0, 64, 0));
    must(handle(libc::SIGALRM, count, libc::SA_RESTART));
    tick(20);
    t.show("a signal ends it", queue.receive(0, 64, 0));
    tick(0);
    let pid = child(|| i32::from(queue.receive(0, 64, 0) != "EIDRM"));
    pause_ms(100);
    must(sys!(libc::msgctl(queue.0, libc::IPC_RMID, ptr::null_mut())));
    let code = wait(pid);
    t.check("the queue goes", code == "exit 0");
}

fn queue_errors(t: &mut Report) {
    let queue = Queue::new();
    t.ret("kind 0", queue.send(0, "x", 0));
    t.ret("too long", sys!(libc::msgsnd(queue.0, [1u64; 2000].as_ptr().cast(), 8193, 0)));
    t.ret("a bad address", sys!(libc::syscall(libc::SYS_msgsnd, queue.0, 8, 1, 0)));
    t.ret("a negative length", sys!(libc::syscall(libc::SYS_msgrcv, queue.0, 0, -1i64, 0i64, libc::IPC_NOWAIT)));
    t.ret("no such queue", sys!(libc::msgsnd(i32::MAX, [1u64; 2].as_ptr().cast(), 1, 0)));
    t.ret("no such command", sys!(libc::msgctl(queue.0, 99, ptr::null_mut())));
    let key = 0x5b00_0000 | c!(libc::getpid());
    t.ret("not there", sys!(libc::msgget(key, 0)));
    let known = Queue(must(sys!(libc::msgget(key, 0o600 | libc::IPC_CREAT))));
    t.show("by key", sys!(libc::msgget(key, 0)) == Ok(known.0.into()));
    t.ret("new", sys!(libc::msgget(key, 0o600 | libc::IPC_CREAT | libc::IPC_EXCL)));
}

/// A POSIX queue's name, which goes with the section.
struct Named(std::ffi::CString);

impl Named {
    fn new(word: &str) -> Self {
        let name = format!("/cordon-{word}-{}", std::process::id());
        Self(std::ffi::CString::new(name).expect("no NUL"))
    }

    fn open(&self, flags: i32, attributes: Option<(i64, i64)>) -> Sys {
        let mut attr = zeroed!(libc::mq_attr);
        if let Some((most, longest)) = attributes {
            (attr.mq_maxmsg, attr.mq_msgsize) = (most, longest);
        }
        let at = if attributes.is_some() { &raw mut attr } else { ptr::null_mut() };
        sys!(libc::mq_open(self.0.as_ptr(), flags, 0o600 as libc::mode_t, at))
    }

    fn make(&self, most: i64, longest: i64, flags: i32) -> i32 {
        must(self.open(libc::O_CREAT | libc::O_EXCL | libc::O_RDWR | flags, Some((most, longest))))
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        c!(libc::mq_unlink(self.0.as_ptr()));
    }
}

fn put(fd: i32, text: &str, priority: u32) -> Sys {
    sys!(libc::mq_send(fd, text.as_ptr().cast(), text.len(), priority))
}

fn take(fd: i32, room: usize) -> String {
    let mut bytes = [0u8; 64];
    let mut priority = 99;
    match sys!(libc::mq_receive(fd, bytes.as_mut_ptr().cast(), room, &raw mut priority)) {
        Ok(len) => format!("{priority} {}", String::from_utf8_lossy(&bytes[..usize::try_from(len).unwrap_or(0)])),
        Err(errno) => errno.to_string(),
    }
}

fn attributes(fd: i32) -> String {
    let mut attr = zeroed!(libc::mq_attr);
    must(sys!(libc::mq_getattr(fd, &raw mut attr)));
    format!("{} {} {} {}", attr.mq_flags, attr.mq_maxmsg, attr.mq_msgsize, attr.mq_curmsgs)
}

fn posix_queue(t: &mut Report) {
    let name = Named::new("plain");
    let fd = name.make(4, 16, 0);
    t.show("attributes", attributes(fd));
    t.show("flags", must(sys!(libc::fcntl(fd, libc::F_GETFD))));
    for (text, priority) in [("low", 1), ("high", 9), ("low too", 1), ("", 5)] {
        t.ret("send", put(fd, text, priority));
    }
    t.show("attributes", attributes(fd));
    t.show("ready", ready(fd));
    for _ in 0..4 {
        t.show("received", take(fd, 16));
    }
    t.show("ready", ready(fd));
    let other = must(name.open(libc::O_WRONLY, None));
    t.ret("by another descriptor", put(other, "hello", 3));
    t.show("it cannot receive", take(other, 16));
    t.show("a child receives", ending(|| i32::from(take(fd, 16) != "3 hello")));
    t.ret("unlink", sys!(libc::mq_unlink(name.0.as_ptr())));
    t.ret("it has no name", name.open(libc::O_RDWR, None));
    t.ret("and works on", put(fd, "still", 0));
    t.show("received", take(fd, 16));
    let defaults = Named::new("defaults");
    let fd = must(defaults.open(libc::O_CREAT | libc::O_RDWR, None));
    t.show("defaults", attributes(fd));
}

fn posix_queue_waits(t: &mut Report) {
    let name = Named::new("waits");
    let fd = name.make(1, 16, 0);
    let pid = child(|| i32::from(take(fd, 16) != "2 at last"));
    pause_ms(20);
    must(put(fd, "at last", 2));
    t.show("it waited", wait(pid));
    must(put(fd, "full", 0));
    let pid = child(|| i32::from(put(fd, "next", 0).is_err()));
    pause_ms(20);
    t.show("the first", take(fd, 16));
    t.show("it waited for room", wait(pid));
    t.show("the next", take(fd, 16));
    let past = libc::timespec { tv_sec: 1, tv_nsec: 0 };
    let mut bytes = [0u8; 16];
    let timed = |fd: i32, time: &libc::timespec, bytes: &mut [u8; 16]| {
        sys!(libc::mq_timedreceive(fd, bytes.as_mut_ptr().cast(), 16, ptr::null_mut(), time))
    };
    t.ret("time is up", timed(fd, &past, &mut bytes));
    t.ret("a wrong time", timed(fd, &libc::timespec { tv_sec: 0, tv_nsec: 1_000_000_000 }, &mut bytes));
    must(handle(libc::SIGALRM, count, 0));
    tick(20);
    t.show("a signal ends it", take(fd, 16));
    tick(0);
    let mut attr = zeroed!(libc::mq_attr);
    attr.mq_flags = libc::O_NONBLOCK.into();
    t.ret("O_NONBLOCK", sys!(libc::mq_setattr(fd, &raw const attr, ptr::null_mut())));
    t.show("nothing", take(fd, 16));
    must(put(fd, "one", 0));
    t.ret("no room", put(fd, "two", 0));
    t.show("attributes", attributes(fd));
}

fn posix_queue_errors(t: &mut Report) {
    let name = Named::new("errors");
    t.ret("not there", name.open(libc::O_RDWR, None));
    t.ret("no messages", name.open(libc::O_CREAT | libc::O_RDWR, Some((0, 8))));
    t.ret("no bytes", name.open(libc::O_CREAT | libc::O_RDWR, Some((1, 0))));
    let fd = name.make(2, 8, 0);
    t.ret("there already", name.open(libc::O_CREAT | libc::O_EXCL | libc::O_RDWR, None));
    t.ret("too long", put(fd, "123456789", 0));
    t.show("too little room", take(fd, 7));
    t.ret("too high a priority", put(fd, "x", 32768));
    t.ret("no descriptor", put(99, "x", 0));
    t.ret("no queue", put(1, "x", 0));
    let raw_open = |name: &std::ffi::CStr| sys!(libc::syscall(libc::SYS_mq_open, name.as_ptr(), libc::O_RDWR, 0, 0));
    t.ret("a path", raw_open(c"a/b"));
    t.ret("no name", raw_open(c""));
    let long = std::ffi::CString::new("x".repeat(256)).expect("no NUL");
    t.ret("a long name", raw_open(&long));
    t.ret("unlink of nothing", sys!(libc::mq_unlink(c"/cordon-nothing-of-the-kind".as_ptr())));
}

static VALUE: AtomicI32 = AtomicI32::new(0);

extern "C" fn told(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let code = c!((*info).si_code);
    VALUE.store(i32::try_from(c!((*info).si_value()).sival_ptr.addr()).unwrap_or(0) * 1000 - code, Ordering::SeqCst);
    families::tasks::SEEN.fetch_add(1, Ordering::SeqCst);
}

fn posix_queue_notice(t: &mut Report) {
    let name = Named::new("notice");
    let fd = name.make(3, 16, 0);
    must(handle_info(libc::SIGUSR1, told, 0));
    let mut event = zeroed!(libc::sigevent);
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGUSR1;
    event.sigev_value.sival_ptr = ptr::without_provenance_mut(7);
    let ask = |event: *const libc::sigevent| sys!(libc::mq_notify(fd, event));
    t.ret("ask", ask(&raw const event));
    t.ret("again", ask(&raw const event));
    t.show("another process", ending(|| i32::from(ask(&raw const event) != Err(families::Errno(libc::EBUSY)))));
    must(put(fd, "news", 0));
    t.check("it comes", until(|| families::tasks::SEEN.load(Ordering::SeqCst) == 1));
    t.show("value and code", VALUE.load(Ordering::SeqCst));
    must(put(fd, "more", 0));
    pause_ms(20);
    t.show("once only", seen());
    t.ret("ask while there are some", ask(&raw const event));
    must(put(fd, "third", 0));
    pause_ms(20);
    t.show("an empty queue only", seen());
    t.ret("give it up", ask(ptr::null()));
    event.sigev_signo = 99;
    t.ret("a bad signal", ask(&raw const event));
    event.sigev_notify = 77;
    t.ret("a bad notice", ask(&raw const event));
}
