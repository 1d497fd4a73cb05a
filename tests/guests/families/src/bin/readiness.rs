//! Waiting for descriptors: eventfd, timerfd, epoll, poll, select, inotify.
#![allow(unsafe_code)]

use families::events::{Epoll, poll, ready};
use families::files::{Scratch, close, file, pipe, read_len, write};
use families::tasks::{block, child, count, ending, handle, pause_ms, seen, set, state, tick, until, wait};
use families::{Report, Sys, c, libc, must, say, sys, zeroed};
use std::process::ExitCode;
use std::ptr;

fn main() -> ExitCode {
    families::run(&[
        ("eventfd", eventfd),
        ("timerfd", timerfd),
        ("poll", polls),
        ("ppoll", ppoll),
        ("select", select),
        ("epoll", epoll),
        ("edges", edges),
        ("nested", nested),
        ("exclusive", exclusive),
        ("epoll-errors", epoll_errors),
        ("epoll-mask", epoll_mask),
        ("many", many),
        ("inotify", inotify),
    ])
}

fn eventfd(t: &mut Report) {
    let fd = must(sys!(libc::eventfd(3, libc::EFD_NONBLOCK)));
    let take = |fd: i32| {
        let mut value = 0u64;
        match sys!(libc::read(fd, (&raw mut value).cast(), 8)) {
            Ok(n) => format!("{n} bytes: {value}"),
            Err(errno) => errno.to_string(),
        }
    };
    let add = |fd: i32, value: u64| write(fd, &value.to_le_bytes());
    t.show("ready", ready(fd));
    t.show("read", take(fd));
    t.show("again", take(fd));
    t.show("ready", ready(fd));
    t.ret("add", add(fd, 5));
    t.ret("add", add(fd, 6));
    t.show("read", take(fd));
    t.ret("the largest", add(fd, u64::MAX - 1));
    t.ret("one more", add(fd, 1));
    t.show("ready", ready(fd));
    t.ret("all ones", add(fd, u64::MAX));
    t.show("read", take(fd));
    t.ret("too short", write(fd, &[0; 4]));
    t.ret("too short", read_len(fd, 4));
    let fd = must(sys!(libc::eventfd(2, libc::EFD_SEMAPHORE)));
    t.show("a semaphore", format!("{} {}", take(fd), take(fd)));
    let pid = child(|| {
        pause_ms(30);
        add(fd, 1).map_or(1, |_| 0)
    });
    t.show("waits", take(fd));
    wait(pid);
    t.ret("flags that there are not", sys!(libc::eventfd(0, 1 << 20)));
    t.ret("lseek", sys!(libc::lseek(fd, 0, 0)));
}

fn timerfd(t: &mut Report) {
    let fd = must(sys!(libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK)));
    let time = |ms: i64| libc::timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 };
    let arm = |first: i64, then: i64, flags: i32| {
        let new = libc::itimerspec { it_value: time(first), it_interval: time(then) };
        sys!(libc::timerfd_settime(fd, flags, &raw const new, ptr::null_mut()))
    };
    t.ret("not armed", read_len(fd, 8));
    t.ret("arm", arm(20, 0, 0));
    t.show("ready", poll(fd, libc::POLLIN, 10_000));
    t.ret("read", read_len(fd, 8));
    t.ret("again", read_len(fd, 8));
    t.ret("repeat", arm(5, 5, 0));
    pause_ms(60);
    let mut times = 0u64;
    must(sys!(libc::read(fd, (&raw mut times).cast(), 8)));
    t.check("several times at once", times >= 10);
    t.ret("a time that is past", arm(1, 0, libc::TFD_TIMER_ABSTIME));
    t.show("ready", poll(fd, libc::POLLIN, 10_000));
    t.ret("disarm", arm(0, 0, 0));
    t.show("ready", ready(fd));
    must(arm(100_000, 7, 0));
    let mut now = zeroed!(libc::itimerspec);
    t.ret("ask", sys!(libc::timerfd_gettime(fd, &raw mut now)));
    t.show("rest", format!("{} {}", (98..100).contains(&now.it_value.tv_sec), now.it_interval.tv_nsec));
    t.ret("a wrong time", {
        let new = libc::itimerspec { it_value: libc::timespec { tv_sec: 0, tv_nsec: -1 }, it_interval: time(0) };
        sys!(libc::timerfd_settime(fd, 0, &raw const new, ptr::null_mut()))
    });
    t.ret("no such clock", sys!(libc::timerfd_create(77, 0)));
    t.ret("no timer", sys!(libc::timerfd_gettime(0, &raw mut now)));
    t.ret("too short", read_len(fd, 4));
}

fn polls(t: &mut Report) {
    let (from, to) = pipe();
    let mut entries =
        [from, to, -1, 99].map(|fd| libc::pollfd { fd, events: libc::POLLIN | libc::POLLOUT, revents: 77 });
    t.ret("poll", sys!(libc::poll(entries.as_mut_ptr(), 4, 0)));
    t.show("found", format!("{:?}", entries.map(|entry| entry.revents)));
    t.show("a file", ready(file_and_gone()));
    t.ret("nothing, for a while", sys!(libc::poll(ptr::null_mut(), 0, 10)));
    t.ret("too many", sys!(libc::syscall(libc::SYS_poll, entries.as_mut_ptr(), u32::MAX, 0)));
    let pid = child(|| {
        pause_ms(30);
        must(write(to, b"x"));
        0
    });
    t.show("waits", poll(from, libc::POLLIN, 10_000));
    wait(pid);
    let pid = child(|| {
        pause_ms(30);
        0
    });
    must(close(to));
    t.show("the end", poll(from, 0, 10_000));
    wait(pid);
}

fn file_and_gone() -> i32 {
    families::files::file_in_memory(b"content")
}

fn ppoll(t: &mut Report) {
    let (from, _to) = pipe();
    must(handle(libc::SIGUSR1, count, 0));
    block(&[libc::SIGUSR1]);
    c!(libc::raise(libc::SIGUSR1));
    let mut entry = libc::pollfd { fd: from, events: libc::POLLIN, revents: 0 };
    let time = libc::timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    t.ret("without a mask", sys!(libc::ppoll(&raw mut entry, 1, &raw const time, ptr::null())));
    t.show("signals", seen());
    let none = set(&[]);
    t.ret("with an empty one", sys!(libc::ppoll(&raw mut entry, 1, &raw const time, &raw const none)));
    t.show("signals", seen());
    let mut mask = zeroed!(libc::sigset_t);
    c!(libc::sigprocmask(libc::SIG_BLOCK, ptr::null(), &raw mut mask));
    t.show("mask after it", families::tasks::names(&mask));
    c!(libc::raise(libc::SIGUSR1));
    t.ret(
        "pselect",
        sys!(libc::pselect(0, ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), &raw const time, &raw const none)),
    );
    t.show("signals", seen());
    let wrong = libc::timespec { tv_sec: 0, tv_nsec: -1 };
    t.ret("a wrong time", sys!(libc::ppoll(&raw mut entry, 1, &raw const wrong, ptr::null())));
}

fn select(t: &mut Report) {
    let (from, to) = pipe();
    let ask = |read: &[i32], write: &[i32], ms: i64| {
        let (mut r, mut w) = (zeroed!(libc::fd_set), zeroed!(libc::fd_set));
        for fd in read {
            c!(libc::FD_SET(*fd, &raw mut r));
        }
        for fd in write {
            c!(libc::FD_SET(*fd, &raw mut w));
        }
        let mut time = libc::timeval { tv_sec: 0, tv_usec: ms * 1000 };
        let found = sys!(libc::select(100, &raw mut r, &raw mut w, ptr::null_mut(), &raw mut time));
        let read: Vec<bool> = read.iter().map(|fd| c!(libc::FD_ISSET(*fd, &raw const r))).collect();
        let write: Vec<bool> = write.iter().map(|fd| c!(libc::FD_ISSET(*fd, &raw const w))).collect();
        format!("{} {read:?} {write:?}", found.map_or_else(|e| e.to_string(), |n| n.to_string()))
    };
    t.show("empty", ask(&[from], &[to], 0));
    must(write(to, b"x"));
    t.show("filled", ask(&[from], &[to], 0));
    // Linux looks at no descriptor beyond its table's size, which is 64 at least.
    t.show("nobody's", ask(&[60], &[], 0));
    must(sys!(libc::read(from, [0u8; 1].as_mut_ptr().cast(), 1)));
    t.show("time is up", ask(&[from], &[], 10));
    t.ret(
        "negative number",
        sys!(libc::select(-1, ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut())),
    );
    let mut wrong = libc::timeval { tv_sec: -1, tv_usec: 0 };
    t.ret("a wrong time", sys!(libc::select(0, ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), &raw mut wrong)));
}

fn epoll(t: &mut Report) {
    let epoll = Epoll::new();
    let ((from, to), (from2, to2)) = (pipe(), pipe());
    let known = [from, from2, to];
    t.ret("add", epoll.add(from, libc::EPOLLIN));
    t.ret("add", epoll.add(from2, libc::EPOLLIN));
    t.ret("add", epoll.add(to, libc::EPOLLOUT));
    t.show("wait", epoll.wait(&known, 0));
    must(write(to, b"x"));
    must(write(to2, b"x"));
    t.show("wait", epoll.wait(&known, 0));
    t.show("still", epoll.wait(&known, 0));
    t.ret("change", epoll.control(libc::EPOLL_CTL_MOD, from, 0));
    t.ret("remove", epoll.control(libc::EPOLL_CTL_DEL, to, 0));
    t.show("wait", epoll.wait(&known, 0));
    must(close(to2));
    t.show("the other end is closed", epoll.wait(&known, 0));
    must(close(from2));
    t.show("closed", epoll.wait(&known, 0));
    t.show("a copy keeps it alive", {
        must(epoll.control(libc::EPOLL_CTL_MOD, from, libc::EPOLLIN));
        let copy = must(sys!(libc::dup(from)));
        must(close(from));
        let found = epoll.wait(&known, 0);
        must(close(copy));
        format!("{found}, then {}", epoll.wait(&known, 0))
    });
    let (from, to) = pipe();
    must(epoll.add(from, libc::EPOLLIN));
    let pid = child(|| {
        pause_ms(30);
        must(write(to, b"x"));
        0
    });
    t.show("waits", epoll.wait(&[from], 10_000));
    wait(pid);
    t.show(
        "in a child",
        ending(|| {
            say!("  {}", epoll.wait(&[from], 0));
            0
        }),
    );
}

fn edges(t: &mut Report) {
    let epoll = Epoll::new();
    let (from, to) = pipe();
    let known = [from];
    must(epoll.add(from, libc::EPOLLIN | libc::EPOLLET));
    must(write(to, b"one"));
    t.show("an edge", epoll.wait(&known, 0));
    t.show("once", epoll.wait(&known, 0));
    must(write(to, b"two"));
    t.show("a second one", epoll.wait(&known, 0));
    must(read_len(from, 100));
    t.show("read away", epoll.wait(&known, 0));
    must(epoll.control(libc::EPOLL_CTL_MOD, from, libc::EPOLLIN | libc::EPOLLONESHOT));
    must(write(to, b"x"));
    t.show("one shot", epoll.wait(&known, 0));
    t.show("then nothing", epoll.wait(&known, 0));
    must(epoll.control(libc::EPOLL_CTL_MOD, from, libc::EPOLLIN | libc::EPOLLONESHOT));
    t.show("armed again", epoll.wait(&known, 0));
}

fn nested(t: &mut Report) {
    let (inner, outer) = (Epoll::new(), Epoll::new());
    let (from, to) = pipe();
    must(inner.add(from, libc::EPOLLIN));
    t.ret("one in the other", outer.add(inner.0, libc::EPOLLIN));
    t.show("nothing", outer.wait(&[inner.0], 0));
    must(write(to, b"x"));
    t.show("through both", outer.wait(&[inner.0], 0));
    t.show("by poll", ready(outer.0));
    t.ret("a circle", inner.add(outer.0, libc::EPOLLIN));
    t.ret("itself", inner.add(inner.0, libc::EPOLLIN));
    let mut last = outer;
    let mut depth = 2;
    let refused = loop {
        let next = Epoll::new();
        match next.add(last.0, libc::EPOLLIN) {
            Ok(_) if depth < 20 => depth += 1,
            result => break result,
        }
        last = next;
    };
    t.ret("too deep", refused);
    t.show("depth", depth);
}

/// Two processes wait for one eventfd, each by an epoll of its own: a change wakes one of them.
fn exclusive(t: &mut Report) {
    let events = must(sys!(libc::eventfd(0, 0)));
    let change = || must(write(events, &1u64.to_ne_bytes()));
    let waiters: Vec<(Epoll, i32)> = (0..2)
        .map(|_| {
            let epoll = Epoll::new();
            must(epoll.add(events, libc::EPOLLIN | libc::EPOLLEXCLUSIVE));
            let pid = child(|| i32::from(epoll.wait(&[events], -1) == "0:IN"));
            (epoll, pid)
        })
        .collect();
    t.check("both wait", until(|| waiters.iter().all(|(_, pid)| state(*pid) == 'S')));
    change();
    t.show("the first", wait(waiters[0].1));
    pause_ms(50);
    t.show("the second", state(waiters[1].1));
    // Nobody waits at the first epoll any more: it is told all the same, and then the second.
    change();
    t.show("the second", wait(waiters[1].1));
    t.show("both know", waiters.iter().map(|(epoll, _)| epoll.wait(&[events], 0)).collect::<Vec<_>>().join(" "));
    t.ret("change an exclusive one", waiters[0].0.control(libc::EPOLL_CTL_MOD, events, libc::EPOLLIN));
    t.ret("one shot", Epoll::new().add(events, libc::EPOLLIN | libc::EPOLLEXCLUSIVE | libc::EPOLLONESHOT));
}

fn epoll_errors(t: &mut Report) {
    let epoll = Epoll::new();
    let (from, _to) = pipe();
    t.ret("remove what is not there", epoll.control(libc::EPOLL_CTL_DEL, from, 0));
    t.ret("change what is not there", epoll.control(libc::EPOLL_CTL_MOD, from, 0));
    must(epoll.add(from, 0));
    t.ret("add twice", epoll.add(from, 0));
    t.ret("no descriptor", epoll.add(99, 0));
    t.ret("a file", epoll.add(file_and_gone(), libc::EPOLLIN));
    t.ret("no such operation", epoll.control(9, from, 0));
    t.ret("no epoll", Epoll(from).add(epoll.0, 0));
    t.ret("a bad address", sys!(libc::syscall(libc::SYS_epoll_ctl, epoll.0, libc::EPOLL_CTL_ADD, from, 8)));
    t.ret("size 0", sys!(libc::epoll_create(0)));
    t.ret("flags that there are not", sys!(libc::epoll_create1(1)));
    t.ret("no room", sys!(libc::syscall(libc::SYS_epoll_wait, epoll.0, 8, 0, 0)));
    t.ret("read", read_len(epoll.0, 8));
}

fn epoll_mask(t: &mut Report) {
    let epoll = Epoll::new();
    must(handle(libc::SIGUSR1, count, 0));
    block(&[libc::SIGUSR1]);
    c!(libc::raise(libc::SIGUSR1));
    let none = set(&[]);
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    t.ret("epoll_pwait", sys!(libc::epoll_pwait(epoll.0, &raw mut event, 1, 10_000, &raw const none)));
    t.show("signals", seen());
    must(handle(libc::SIGALRM, count, libc::SA_RESTART));
    tick(20);
    t.ret("never restarted", sys!(libc::epoll_wait(epoll.0, &raw mut event, 1, 10_000)));
    tick(0);
}

fn many(t: &mut Report) {
    let epoll = Epoll::new();
    let pipes: Vec<(i32, i32)> = (0..100).map(|_| pipe()).collect();
    for (from, _) in &pipes {
        must(epoll.add(*from, libc::EPOLLIN));
    }
    for (_, to) in pipes.iter().step_by(3) {
        must(write(*to, b"x"));
    }
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 200];
    let wait =
        |events: &mut [libc::epoll_event], room: i32| sys!(libc::epoll_wait(epoll.0, events.as_mut_ptr(), room, 0));
    t.ret("all that are ready", wait(&mut events, 200));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let got = must(wait(&mut events, 7));
        for event in &events[..usize::try_from(got).unwrap_or(0)] {
            let data = event.u64;
            seen.insert(data);
        }
    }
    t.show("each gets its turn", seen.len());
}

fn inotify(t: &mut Report) {
    let _scratch = Scratch::new();
    std::fs::create_dir("d").expect("directory");
    let fd = must(sys!(libc::inotify_init1(libc::IN_NONBLOCK)));
    let watch = |name: &str, mask: u32| sys!(libc::inotify_add_watch(fd, families::files::path(name).as_ptr(), mask));
    t.ret("watch", watch("d", libc::IN_ALL_EVENTS));
    t.ret("again", watch("d", libc::IN_ALL_EVENTS));
    t.ret("nothing", watch("x", libc::IN_ALL_EVENTS));
    t.ret("no mask", watch("d", 0));
    t.ret("empty", read_len(fd, 1000));
    let show = |what: &str| {
        let mut buffer = [0u8; 4096];
        let got = sys!(libc::read(fd, buffer.as_mut_ptr().cast(), 4096)).unwrap_or(0);
        let (mut at, got) = (0, usize::try_from(got).unwrap_or(0));
        let mut events = Vec::new();
        let word = |at: usize| u32::from_le_bytes([buffer[at], buffer[at + 1], buffer[at + 2], buffer[at + 3]]);
        while at + 16 <= got {
            let len = usize::try_from(word(at + 12)).unwrap_or(0);
            let name = buffer[at + 16..at + 16 + len].split(|b| *b == 0).next().unwrap_or_default();
            events.push(format!("{:#x}:{}", word(at + 4), String::from_utf8_lossy(name)));
            at += 16 + len;
        }
        say!("{what}: {}", events.join(" "));
    };
    let f = file("d/f", b"content");
    show("created and written");
    must(close(f));
    show("closed");
    std::fs::rename("d/f", "d/g").ok();
    show("renamed");
    std::fs::create_dir("d/sub").ok();
    show("a directory");
    std::fs::remove_file("d/g").ok();
    show("removed");
    t.show("ready", ready(fd));
    t.ret("remove the watch", sys!(libc::inotify_rm_watch(fd, 1)));
    show("ignored");
    t.ret("again", sys!(libc::inotify_rm_watch(fd, 1)));
    let result: Sys = watch("d", libc::IN_DELETE_SELF | libc::IN_ONLYDIR);
    t.ret("another number", result);
    std::fs::remove_dir_all("d").ok();
    show("the directory itself");
}
