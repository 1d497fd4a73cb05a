//! Futexes, by the call itself.
#![allow(unsafe_code)]

use families::memory::shared;
use families::tasks::{child, ending, pause_ms, until, wait};
use families::{Errno, Report, Sys, c, libc, say, sys, zeroed};
use std::process::ExitCode;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

const PRIVATE: i32 = libc::FUTEX_PRIVATE_FLAG;

fn main() -> ExitCode {
    families::run(&[
        ("wait", waiting),
        ("errors", errors),
        ("wake", wake),
        ("requeue", requeue),
        ("bitset", bitset),
        ("wake-op", wake_op),
        ("times", times),
        ("shared", between_processes),
        ("file", in_a_file),
        ("robust", robust),
        ("priority", priority),
        ("exit", exit),
        ("waitv", waitv),
    ])
}

fn futex(
    word: &AtomicU32,
    operation: i32,
    value: u32,
    time: *const libc::timespec,
    other: *const AtomicU32,
    last: u32,
) -> Sys {
    sys!(libc::syscall(libc::SYS_futex, ptr::from_ref(word), operation, value, time, other, last))
}

fn wait_on(word: &AtomicU32, value: u32) -> Sys {
    futex(word, libc::FUTEX_WAIT | PRIVATE, value, ptr::null(), ptr::null(), 0)
}

fn wake_up(word: &AtomicU32, count: u32) -> Sys {
    futex(word, libc::FUTEX_WAKE | PRIVATE, count, ptr::null(), ptr::null(), 0)
}

/// Threads that wait on a word that holds 0, once `n` of them do.
fn waiters(word: &Arc<AtomicU32>, n: u32) -> Vec<JoinHandle<Sys>> {
    let started = Arc::new(AtomicU32::new(0));
    let threads = (0..n)
        .map(|_| {
            let (word, started) = (Arc::clone(word), Arc::clone(&started));
            thread::spawn(move || {
                started.fetch_add(1, Ordering::SeqCst);
                wait_on(&word, 0)
            })
        })
        .collect();
    until(|| started.load(Ordering::SeqCst) == n);
    // Between the count and the wait there is no way to look.
    pause_ms(50);
    threads
}

fn join(threads: Vec<JoinHandle<Sys>>) -> usize {
    threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|result| *result == Ok(0)).count()
}

fn waiting(t: &mut Report) {
    let word = AtomicU32::new(5);
    t.ret("another value", wait_on(&word, 4));
    let short = libc::timespec { tv_sec: 0, tv_nsec: 5_000_000 };
    t.ret("time is up", futex(&word, libc::FUTEX_WAIT | PRIVATE, 5, &raw const short, ptr::null(), 0));
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    t.ret("no time", futex(&word, libc::FUTEX_WAIT | PRIVATE, 5, &raw const now, ptr::null(), 0));
    t.ret("nobody waits", wake_up(&word, 1));
    let word = Arc::new(AtomicU32::new(0));
    let threads = waiters(&word, 1);
    t.ret("one waits", wake_up(&word, 10));
    t.show("woken", join(threads));
}

fn errors(t: &mut Report) {
    let word = AtomicU32::new(0);
    t.ret("no such operation", futex(&word, 99, 0, ptr::null(), ptr::null(), 0));
    t.ret("no address", sys!(libc::syscall(libc::SYS_futex, 0, libc::FUTEX_WAIT | PRIVATE, 0, 0, 0, 0)));
    t.ret("a crooked address", sys!(libc::syscall(libc::SYS_futex, 4097, libc::FUTEX_WAIT | PRIVATE, 0, 0, 0, 0)));
    t.ret(
        "an unmapped address",
        sys!(libc::syscall(libc::SYS_futex, 0x10_0000_0000u64, libc::FUTEX_WAIT | PRIVATE, 0, 0, 0, 0)),
    );
    t.ret(
        "wake at an unmapped address",
        sys!(libc::syscall(libc::SYS_futex, 0x10_0000_0000u64, libc::FUTEX_WAKE | PRIVATE, 1, 0, 0, 0)),
    );
    t.ret("the kernel's half", sys!(libc::syscall(libc::SYS_futex, -4096i64, libc::FUTEX_WAKE | PRIVATE, 1, 0, 0, 0)));
    let wrong = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    t.ret("a wrong time", futex(&word, libc::FUTEX_WAIT | PRIVATE, 0, &raw const wrong, ptr::null(), 0));
    let wrong = libc::timespec { tv_sec: -1, tv_nsec: 0 };
    t.ret("a negative time", futex(&word, libc::FUTEX_WAIT | PRIVATE, 0, &raw const wrong, ptr::null(), 0));
    t.ret("bits 0", futex(&word, libc::FUTEX_WAIT_BITSET | PRIVATE, 0, ptr::null(), ptr::null(), 0));
    t.ret("bits 0 to wake", futex(&word, libc::FUTEX_WAKE_BITSET | PRIVATE, 1, ptr::null(), ptr::null(), 0));
    t.ret("FUTEX_FD is gone", futex(&word, 2, 0, ptr::null(), ptr::null(), 0));
}

fn wake(t: &mut Report) {
    let word = Arc::new(AtomicU32::new(0));
    let threads = waiters(&word, 5);
    t.ret("two of five", wake_up(&word, 2));
    t.ret("none", wake_up(&word, 0).map(|n| i64::from(n < 2)));
    t.ret(
        "all",
        futex(&word, libc::FUTEX_WAKE | PRIVATE, u32::MAX >> 1, ptr::null(), ptr::null(), 0).map(|n| i64::from(n >= 2)),
    );
    t.show("woken", join(threads));
}

fn requeue(t: &mut Report) {
    let (one, two) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let threads = waiters(&one, 4);
    let move_to = |operation: i32, wake: u32, count: usize, value: u32| {
        let time = ptr::without_provenance::<libc::timespec>(count);
        futex(&one, operation | PRIVATE, wake, time, Arc::as_ptr(&two), value)
    };
    t.ret("another value", move_to(libc::FUTEX_CMP_REQUEUE, 1, 2, 7));
    t.ret("one woken, two moved", move_to(libc::FUTEX_CMP_REQUEUE, 1, 2, 0));
    t.ret("one was left", wake_up(&one, 10));
    t.ret("two are on the other", wake_up(&two, 10));
    t.show("woken", join(threads));
    let threads = waiters(&one, 2);
    t.ret("without comparison", move_to(libc::FUTEX_REQUEUE, 0, 10, 0));
    t.ret("nobody is left", wake_up(&one, 10));
    t.ret("both are there", wake_up(&two, 10));
    t.show("woken", join(threads));
    t.ret("a negative count", move_to(libc::FUTEX_CMP_REQUEUE, 1, usize::MAX, 0));
}

fn bitset(t: &mut Report) {
    let word = Arc::new(AtomicU32::new(0));
    let threads: Vec<_> = [1u32, 2, 4]
        .map(|bits| {
            let word = Arc::clone(&word);
            thread::spawn(move || futex(&word, libc::FUTEX_WAIT_BITSET | PRIVATE, 0, ptr::null(), ptr::null(), bits))
        })
        .into_iter()
        .collect();
    pause_ms(100);
    let wake = |bits: u32| futex(&word, libc::FUTEX_WAKE_BITSET | PRIVATE, 10, ptr::null(), ptr::null(), bits);
    t.ret("bit 8", wake(8));
    t.ret("bits 1 and 4", wake(5));
    t.ret("again", wake(5));
    t.ret("any", wake_up(&word, 10));
    t.show("woken", join(threads));
    // The time of the bitset operations is a point in time.
    let mut now = zeroed!(libc::timespec);
    for (what, clock, flag) in
        [("monotonic", libc::CLOCK_MONOTONIC, 0), ("real time", libc::CLOCK_REALTIME, libc::FUTEX_CLOCK_REALTIME)]
    {
        c!(libc::clock_gettime(clock, &raw mut now));
        now.tv_nsec += 5_000_000;
        if now.tv_nsec >= 1_000_000_000 {
            now.tv_nsec -= 1_000_000_000;
            now.tv_sec += 1;
        }
        t.ret(what, futex(&word, libc::FUTEX_WAIT_BITSET | PRIVATE | flag, 0, &raw const now, ptr::null(), u32::MAX));
    }
    let past = libc::timespec { tv_sec: 1, tv_nsec: 0 };
    t.ret(
        "a time that is past",
        futex(&word, libc::FUTEX_WAIT_BITSET | PRIVATE, 0, &raw const past, ptr::null(), u32::MAX),
    );
}

fn wake_op(t: &mut Report) {
    let (one, two) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    // FUTEX_OP of linux/futex.h: operation, comparison, and their arguments.
    let op = |operation: u32, argument: u32, comparison: u32, against: u32| {
        (operation & 0xf) << 28 | (comparison & 0xf) << 24 | (argument & 0xfff) << 12 | (against & 0xfff)
    };
    let call = |encoded: u32| {
        let time = ptr::without_provenance::<libc::timespec>(5);
        futex(&one, libc::FUTEX_WAKE_OP | PRIVATE, 5, time, Arc::as_ptr(&two), encoded)
    };
    for (what, operation, argument) in
        [("set", 0, 7), ("add", 1, 3), ("or", 2, 0x10), ("and not", 3, 2), ("xor", 4, 0xff)]
    {
        t.ret(what, call(op(operation, argument, 0, 99)));
        t.show("value", two.load(Ordering::SeqCst));
    }
    t.ret("with a shift", call(op(8, 5, 0, 0)));
    t.show("value", two.load(Ordering::SeqCst));
    t.ret("negative", call(op(1, 0xfff, 0, 0)));
    t.show("value", two.load(Ordering::SeqCst));
    t.ret("no such operation", call(op(7, 0, 0, 0)));
    t.ret("no such comparison", call(op(0, 0, 9, 0)));
    let first = waiters(&one, 1);
    two.store(0, Ordering::SeqCst);
    let second = waiters(&two, 2);
    t.ret("both when the comparison holds", call(op(0, 1, 0, 0)));
    t.show("woken", join(first) + join(second));
    one.store(0, Ordering::SeqCst);
    let first = waiters(&one, 1);
    t.ret("one when it does not", call(op(0, 1, 4, 100)));
    t.show("woken", join(first));
}

fn times(t: &mut Report) {
    let word = AtomicU32::new(0);
    let time = libc::timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let start = std::time::Instant::now();
    t.ret("50 ms", futex(&word, libc::FUTEX_WAIT | PRIVATE, 0, &raw const time, ptr::null(), 0));
    t.check("not less", start.elapsed().as_millis() >= 50);
    t.check("not much more", start.elapsed().as_secs() < 5);
}

/// A word in memory that is shared with children.
fn shared_word() -> &'static AtomicU32 {
    c!(&*shared(4096).cast::<AtomicU32>())
}

fn between_processes(t: &mut Report) {
    let word = shared_word();
    let pid = child(|| match futex(word, libc::FUTEX_WAIT, 0, ptr::null(), ptr::null(), 0) {
        Ok(_) | Err(Errno(libc::EAGAIN)) => 1,
        Err(_) => 2,
    });
    pause_ms(50);
    word.store(1, Ordering::SeqCst);
    futex(word, libc::FUTEX_WAKE, 1, ptr::null(), ptr::null(), 0).ok();
    t.show("a child is woken", wait(pid));
    word.store(0, Ordering::SeqCst);
    let pid = child(|| {
        let time = libc::timespec { tv_sec: 0, tv_nsec: 300_000_000 };
        let result = futex(word, libc::FUTEX_WAIT | PRIVATE, 0, &raw const time, ptr::null(), 0);
        say!("  {}", result.err().map_or("woken".to_owned(), |e| e.to_string()));
        0
    });
    pause_ms(50);
    t.ret("a private wake does not reach it", wake_up(word, 1));
    t.show("end", wait(pid));
    // After fork, the same address of private memory is another word.
    let own: &'static AtomicU32 = c!(&*families::memory::anonymous(4096).cast::<AtomicU32>());
    let pid = child(|| {
        let time = libc::timespec { tv_sec: 0, tv_nsec: 300_000_000 };
        let result = futex(own, libc::FUTEX_WAIT, 0, &raw const time, ptr::null(), 0);
        say!("  {}", result.err().map_or("woken".to_owned(), |e| e.to_string()));
        0
    });
    pause_ms(50);
    t.ret("private memory is not shared", futex(own, libc::FUTEX_WAKE, 1, ptr::null(), ptr::null(), 0));
    t.show("end", wait(pid));
    // Ping-pong.
    let (ping, pong) = (shared_word(), shared_word());
    let meet = |word: &AtomicU32, value: u32| {
        while word.load(Ordering::SeqCst) != value {
            let seen = word.load(Ordering::SeqCst);
            if seen != value {
                futex(word, libc::FUTEX_WAIT, seen, ptr::null(), ptr::null(), 0).ok();
            }
        }
    };
    let tell = |word: &AtomicU32, value: u32| {
        word.store(value, Ordering::SeqCst);
        futex(word, libc::FUTEX_WAKE, 1, ptr::null(), ptr::null(), 0).ok();
    };
    let pid = child(|| {
        for n in 1..=200 {
            meet(ping, n);
            tell(pong, n);
        }
        0
    });
    for n in 1..=200 {
        tell(ping, n);
        meet(pong, n);
    }
    t.show("ping-pong", wait(pid));
}

fn in_a_file(t: &mut Report) {
    let fd = families::files::file_in_memory(&[0; 4096]);
    let map = || {
        let at = families::memory::map(4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, fd, 0);
        c!(&*families::memory::pointer(at).cast::<AtomicU32>())
    };
    let (one, two) = (map(), map());
    let waiter = thread::spawn(move || futex(one, libc::FUTEX_WAIT, 0, ptr::null(), ptr::null(), 0));
    pause_ms(50);
    let mut woken = Ok(0);
    until(|| {
        woken = futex(two, libc::FUTEX_WAKE, 1, ptr::null(), ptr::null(), 0);
        woken != Ok(0)
    });
    t.ret("two addresses of one word", woken);
    t.ret("woken", waiter.join().unwrap_or(Ok(9)));
}

/// `struct robust_list_head` and one entry, as the C library lays them out.
#[repr(C)]
struct Robust {
    next: usize,
    offset: i64,
    pending: usize,
    entry: usize,
    word: AtomicU32,
}

fn robust(t: &mut Report) {
    let place = shared(4096);
    let head: &'static mut Robust = c!(&mut *place.cast::<Robust>());
    let entry = (&raw const head.entry).addr();
    head.next = entry;
    head.offset = 8;
    head.entry = (&raw const head.next).addr();
    let word: &'static AtomicU32 = &head.word;
    let at = place.expose_provenance();
    let set = move || sys!(libc::syscall(libc::SYS_set_robust_list, at, 24));
    t.ret("a wrong size", sys!(libc::syscall(libc::SYS_set_robust_list, place, 23)));
    let owner = |waiters: u32| {
        move || {
            set().ok();
            word.store(c!(libc::gettid()).cast_unsigned() | waiters, Ordering::SeqCst);
        }
    };
    let bits = || word.load(Ordering::SeqCst);
    thread::spawn(owner(0)).join().expect("thread");
    // The thread is joined before its end: by the word that the kernel clears.
    t.check("a thread's end marks its lock", until(|| bits() == libc::FUTEX_OWNER_DIED));
    let pid = child(|| {
        owner(libc::FUTEX_WAITERS)();
        0
    });
    let waiter = thread::spawn(move || {
        until(|| bits() & libc::FUTEX_WAITERS != 0);
        let seen = bits();
        if seen & libc::FUTEX_OWNER_DIED != 0 {
            return Ok(0);
        }
        futex(word, libc::FUTEX_WAIT, seen, ptr::null(), ptr::null(), 0)
    });
    t.show("a process", wait(pid));
    t.show("its lock", format!("{:#x}", bits()));
    t.check("who waits is woken", matches!(waiter.join(), Ok(Ok(0) | Err(Errno(libc::EAGAIN)))));
    word.store(12345, Ordering::SeqCst);
    thread::spawn(move || set().ok()).join().expect("thread");
    pause_ms(20);
    t.show("a lock of somebody else stays", bits());
    t.show(
        "a bad list harms nobody",
        ending(|| {
            c!(libc::syscall(libc::SYS_set_robust_list, 4096, 24));
            3
        }),
    );
    head.entry = entry;
    t.show(
        "nor one without end",
        ending(|| {
            set().ok();
            4
        }),
    );
    let (mut got, mut len) = (0usize, 0usize);
    t.show(
        "asked",
        ending(|| {
            set().ok();
            let asked = sys!(libc::syscall(libc::SYS_get_robust_list, 0, &raw mut got, &raw mut len));
            say!("  {asked:?} {} {len}", got == place.addr());
            0
        }),
    );
}

/// Priority inheritance: either it works, or it is refused for good.
fn priority(t: &mut Report) {
    let word = AtomicU32::new(0);
    match futex(&word, libc::FUTEX_LOCK_PI | PRIVATE, 0, ptr::null(), ptr::null(), 0) {
        Ok(_) => {
            let free = futex(&word, libc::FUTEX_UNLOCK_PI | PRIVATE, 0, ptr::null(), ptr::null(), 0);
            t.check("works", free == Ok(0) && word.load(Ordering::SeqCst) == 0);
        }
        Err(errno) => t.check("works", errno == Errno(libc::ENOSYS)),
    }
}

fn exit(t: &mut Report) {
    // CLONE_CHILD_CLEARTID: the word is cleared and woken when the memory is not the last thread's.
    let ended = thread::spawn(|| 5).join().unwrap_or(0);
    t.show("join", ended);
    t.show(
        "end with threads in futexes",
        ending(|| {
            let word = Arc::new(AtomicU32::new(0));
            let threads = waiters(&word, 8);
            std::mem::forget(threads);
            6
        }),
    );
}

#[repr(C)]
struct Waiter {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

fn waitv(t: &mut Report) {
    let words: Vec<Arc<AtomicU32>> = (0..3).map(|_| Arc::new(AtomicU32::new(0))).collect();
    let list = |words: &[Arc<AtomicU32>], values: [u64; 3]| -> Vec<Waiter> {
        let entry = |(word, value): (&Arc<AtomicU32>, u64)| Waiter {
            value,
            address: Arc::as_ptr(word).expose_provenance() as u64,
            flags: 0x82,
            reserved: 0,
        };
        words.iter().zip(values).map(entry).collect()
    };
    let call = |list: &[Waiter], time: *const libc::timespec| {
        sys!(libc::syscall(449, list.as_ptr(), list.len(), 0, time, libc::CLOCK_MONOTONIC))
    };
    t.ret("another value", call(&list(&words, [0, 1, 0]), ptr::null()));
    let past = libc::timespec { tv_sec: 1, tv_nsec: 0 };
    t.ret("time is up", call(&list(&words, [0, 0, 0]), &raw const past));
    t.ret("none", call(&[], ptr::null()));
    let copies = words.clone();
    let waiter = thread::spawn(move || call(&list(&copies, [0, 0, 0]), ptr::null()));
    pause_ms(50);
    let mut woken = Ok(0);
    until(|| {
        woken = wake_up(&words[2], 1);
        woken != Ok(0)
    });
    t.ret("the third is woken", waiter.join().unwrap_or(Ok(9)));
}
