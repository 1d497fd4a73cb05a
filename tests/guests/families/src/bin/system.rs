//! Time, timers, identities, limits and what /proc tells.
#![allow(unsafe_code)]

use families::tasks::{
    block, child, count, ending, handle, handle_info, pause_ms, seen, set, status_text, until, wait, wait_with,
};
use families::{Report, Sys, c, libc, must, say, signal_name, sys, zeroed};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::Instant;

fn main() -> ExitCode {
    families::run(&[
        ("clocks", clocks),
        ("sleeping", sleeping),
        ("interval-timers", interval_timers),
        ("posix-timers", posix_timers),
        ("timer-threads", timer_errors),
        ("processor-time", processor_time),
        ("processor-timers", processor_timers),
        ("users", users),
        ("groups", groups),
        ("capabilities", capabilities),
        ("limits", limits),
        ("limit-effects", limit_effects),
        ("prctl", prctl),
        ("usage", usage),
        ("personality", personality),
        ("scheduling", scheduling),
        ("names", names),
        ("proc-maps", proc_maps),
        ("proc-status", proc_status),
        ("proc-stat", proc_stat),
        ("proc-self", proc_self),
        ("proc-fd", proc_fd),
        ("proc-system", proc_system),
        ("proc-children", proc_children),
    ])
}

fn clock(clock: i32) -> i128 {
    let mut time = zeroed!(libc::timespec);
    must(sys!(libc::clock_gettime(clock, &raw mut time)));
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

fn clock_by_call(clock: i32) -> i128 {
    let mut time = zeroed!(libc::timespec);
    must(sys!(libc::syscall(libc::SYS_clock_gettime, clock, &raw mut time)));
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

fn clocks(t: &mut Report) {
    for (name, id) in [
        ("REALTIME", libc::CLOCK_REALTIME),
        ("MONOTONIC", libc::CLOCK_MONOTONIC),
        ("RAW", libc::CLOCK_MONOTONIC_RAW),
        ("BOOTTIME", libc::CLOCK_BOOTTIME),
        ("REALTIME_COARSE", libc::CLOCK_REALTIME_COARSE),
        ("MONOTONIC_COARSE", libc::CLOCK_MONOTONIC_COARSE),
        ("TAI", libc::CLOCK_TAI),
        ("PROCESS", libc::CLOCK_PROCESS_CPUTIME_ID),
        ("THREAD", libc::CLOCK_THREAD_CPUTIME_ID),
    ] {
        let times: Vec<i128> = (0..50).flat_map(|_| [clock(id), clock_by_call(id)]).collect();
        t.check(&format!("{name} never goes back, by call or without"), times.is_sorted());
        let mut resolution = zeroed!(libc::timespec);
        t.check(
            "  it has a resolution",
            sys!(libc::clock_getres(id, &raw mut resolution)) == Ok(0) && resolution.tv_nsec > 0,
        );
    }
    t.check("it is after 2020", clock(libc::CLOCK_REALTIME) > 1_577_836_800_000_000_000);
    let mut time = zeroed!(libc::timeval);
    must(sys!(libc::gettimeofday(&raw mut time, ptr::null_mut())));
    t.check("gettimeofday agrees", (i128::from(time.tv_sec) - clock(libc::CLOCK_REALTIME) / 1_000_000_000).abs() <= 1);
    t.check("time agrees", (i128::from(c!(libc::time(ptr::null_mut()))) - i128::from(time.tv_sec)).abs() <= 1);
    let mut space = zeroed!(libc::timespec);
    t.ret("no such clock", sys!(libc::clock_gettime(99, &raw mut space)));
    let (mut cpu, mut node) = (99u32, 99u32);
    t.ret("getcpu", sys!(libc::syscall(libc::SYS_getcpu, &raw mut cpu, &raw mut node, 0)));
    t.check("a processor", cpu < 64 && node == 0);
    t.check("sched_getcpu", c!(libc::sched_getcpu()) >= 0);
    let start = Instant::now();
    pause_ms(30);
    t.check("a pause takes its time", start.elapsed().as_millis() >= 30);
}

fn sleeping(t: &mut Report) {
    let time = |ns: i64| libc::timespec { tv_sec: 0, tv_nsec: ns };
    let start = Instant::now();
    t.ret("nanosleep", sys!(libc::nanosleep(ptr::from_ref(&time(20_000_000)), ptr::null_mut())));
    t.check("not less", start.elapsed().as_millis() >= 20);
    t.ret("nothing", sys!(libc::nanosleep(ptr::from_ref(&time(0)), ptr::null_mut())));
    t.ret("too many nanoseconds", sys!(libc::nanosleep(ptr::from_ref(&time(1_000_000_000)), ptr::null_mut())));
    t.ret(
        "negative",
        sys!(libc::nanosleep(ptr::from_ref(&libc::timespec { tv_sec: -1, tv_nsec: 0 }), ptr::null_mut())),
    );
    let until = |id: i32, flags: i32, time: &libc::timespec| {
        Ok(c!(libc::clock_nanosleep(id, flags, time, ptr::null_mut())).into())
    };
    t.ret("clock_nanosleep", until(libc::CLOCK_MONOTONIC, 0, &time(5_000_000)));
    for (name, id) in [("MONOTONIC", libc::CLOCK_MONOTONIC), ("REALTIME", libc::CLOCK_REALTIME)] {
        let at = clock(id) + 20_000_000;
        let split = |at: i128, by: i128| i64::try_from(at / by).unwrap_or(0);
        let wanted = libc::timespec { tv_sec: split(at, 1_000_000_000), tv_nsec: split(at % 1_000_000_000, 1) };
        t.ret(name, until(id, libc::TIMER_ABSTIME, &wanted));
        t.check("  not before", clock(id) >= at);
    }
    t.ret("a time that is past", until(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &time(1)));
    t.ret("the thread's own clock", until(libc::CLOCK_THREAD_CPUTIME_ID, 0, &time(1)));
    t.ret("no such clock", until(99, 0, &time(1)));
}

fn interval_timers(t: &mut Report) {
    let arm = |which: i32, first: i64, then: i64| {
        let time = |us: i64| libc::timeval { tv_sec: us / 1_000_000, tv_usec: us % 1_000_000 };
        let mut old = zeroed!(libc::itimerval);
        let new = libc::itimerval { it_value: time(first), it_interval: time(then) };
        sys!(libc::setitimer(which, &raw const new, &raw mut old)).map(|_| old.it_value.tv_sec)
    };
    must(handle(libc::SIGALRM, count, 0));
    t.ret("once", arm(libc::ITIMER_REAL, 10_000, 0));
    t.check("it comes", until(|| families::tasks::SEEN.load(Ordering::SeqCst) == 1));
    pause_ms(30);
    t.show("times", seen());
    t.ret("repeated", arm(libc::ITIMER_REAL, 5_000, 5_000));
    t.check("it comes again and again", until(|| families::tasks::SEEN.load(Ordering::SeqCst) >= 5));
    t.ret("off", arm(libc::ITIMER_REAL, 0, 0));
    seen();
    must(arm(libc::ITIMER_REAL, 100_000_000, 0));
    t.ret("what was left", arm(libc::ITIMER_REAL, 0, 0).map(|left| i64::from((98..=100).contains(&left))));
    t.ret("a wrong time", arm(libc::ITIMER_REAL, -1, 0));
    t.ret("no such timer", sys!(libc::syscall(libc::SYS_setitimer, 9, 0, 0)));
    c!(libc::alarm(100));
    t.show("alarm is the same timer", (98..=100).contains(&c!(libc::alarm(0))));
    for (name, which, signal) in
        [("VIRTUAL", libc::ITIMER_VIRTUAL, libc::SIGVTALRM), ("PROF", libc::ITIMER_PROF, libc::SIGPROF)]
    {
        must(handle(signal, count, 0));
        must(arm(which, 20_000, 0));
        let start = Instant::now();
        while families::tasks::SEEN.load(Ordering::SeqCst) == 0 && start.elapsed().as_secs() < 10 {
            std::hint::spin_loop();
        }
        t.show(name, format!("{} {}", seen(), signal_name(families::tasks::LAST.load(Ordering::SeqCst))));
    }
}

static PAYLOAD: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
static CODE: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

extern "C" fn keep(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    PAYLOAD.store(c!((*info).si_value()).sival_ptr.addr(), Ordering::SeqCst);
    CODE.store(c!((*info).si_code), Ordering::SeqCst);
    families::tasks::SEEN.fetch_add(1, Ordering::SeqCst);
}

fn posix_timers(t: &mut Report) {
    must(handle_info(libc::SIGUSR1, keep, 0));
    let mut event = zeroed!(libc::sigevent);
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGUSR1;
    event.sigev_value.sival_ptr = ptr::without_provenance_mut(4711);
    let mut timer = ptr::null_mut();
    t.ret("create", sys!(libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer)));
    let arm = |flags: i32, first: i64, then: i64| {
        let time = |ms: i64| libc::timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 };
        let new = libc::itimerspec { it_value: time(first), it_interval: time(then) };
        sys!(libc::timer_settime(timer, flags, &raw const new, ptr::null_mut()))
    };
    t.ret("arm", arm(0, 10, 0));
    t.check("it comes", until(|| families::tasks::SEEN.load(Ordering::SeqCst) == 1));
    t.show("payload and code", format!("{} {}", PAYLOAD.load(Ordering::SeqCst), CODE.load(Ordering::SeqCst)));
    seen();
    block(&[libc::SIGUSR1]);
    must(arm(0, 2, 2));
    pause_ms(50);
    families::tasks::unblock(&[libc::SIGUSR1]);
    t.check("one signal at a time, the rest is counted", seen() >= 1 && c!(libc::timer_getoverrun(timer)) >= 0);
    must(arm(0, 0, 0));
    let mut now = zeroed!(libc::itimerspec);
    t.ret("ask", sys!(libc::timer_gettime(timer, &raw mut now)));
    t.show("disarmed", now.it_value.tv_sec == 0 && now.it_value.tv_nsec == 0);
    must(arm(0, 100_000, 3000));
    must(sys!(libc::timer_gettime(timer, &raw mut now)));
    t.show("armed", format!("{} {}", (98..=100).contains(&now.it_value.tv_sec), now.it_interval.tv_sec));
    seen();
    must(arm(libc::TIMER_ABSTIME, 1, 0));
    t.check("a time that is past", until(|| families::tasks::SEEN.load(Ordering::SeqCst) == 1));
    t.ret("delete", sys!(libc::timer_delete(timer)));
    event.sigev_notify = libc::SIGEV_NONE;
    t.ret("without notice", sys!(libc::timer_create(libc::CLOCK_REALTIME, &raw mut event, &raw mut timer)));
    t.show("not inherited", ending(|| i32::from(sys!(libc::timer_gettime(timer, &raw mut now)).is_ok())));
}

fn timer_errors(t: &mut Report) {
    let mut timer = 0i32;
    let create = |clock: i32, event: &libc::sigevent, timer: &mut i32| {
        sys!(libc::syscall(libc::SYS_timer_create, clock, ptr::from_ref(event), ptr::from_mut(timer)))
    };
    let mut event = zeroed!(libc::sigevent);
    event.sigev_signo = 99;
    t.ret("a bad signal", create(libc::CLOCK_MONOTONIC, &event, &mut timer));
    event.sigev_signo = libc::SIGUSR1;
    event.sigev_notify = 77;
    t.ret("a bad notice", create(libc::CLOCK_MONOTONIC, &event, &mut timer));
    event.sigev_notify = 0;
    t.ret("no such clock", create(99, &event, &mut timer));
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_notify_thread_id = 99_999;
    t.ret("no such thread", create(libc::CLOCK_MONOTONIC, &event, &mut timer));
    event.sigev_notify_thread_id = c!(libc::gettid());
    t.ret("this thread", create(libc::CLOCK_MONOTONIC, &event, &mut timer));
    t.ret("no such timer", sys!(libc::syscall(libc::SYS_timer_delete, 12345)));
    t.ret(
        "settime of it",
        sys!(libc::syscall(libc::SYS_timer_settime, 12345, 0, ptr::from_ref(&zeroed!(libc::itimerspec)), 0)),
    );
    t.ret("overrun of it", sys!(libc::syscall(libc::SYS_timer_getoverrun, 12345)));
}

fn processor_time(t: &mut Report) {
    let before = clock(libc::CLOCK_PROCESS_CPUTIME_ID);
    pause_ms(50);
    let slept = clock(libc::CLOCK_PROCESS_CPUTIME_ID) - before;
    t.check("sleeping takes none", slept < 45_000_000);
    let start = Instant::now();
    while clock(libc::CLOCK_PROCESS_CPUTIME_ID) - before < 30_000_000 && start.elapsed().as_secs() < 20 {
        std::hint::spin_loop();
    }
    t.check("computing does", clock(libc::CLOCK_PROCESS_CPUTIME_ID) - before >= 30_000_000);
    let child_time = ending(|| i32::from(clock(libc::CLOCK_PROCESS_CPUTIME_ID) > 25_000_000));
    t.show("a child starts anew", child_time);
    let mut clock_id = 0;
    t.ret("clock of a process", Ok(c!(libc::clock_getcpuclockid(0, &raw mut clock_id)).into()));
    t.check("runs", clock(clock_id) > 0);
}

fn processor_timers(t: &mut Report) {
    must(handle(libc::SIGUSR1, count, 0));
    let mut own = 0;
    must(Ok(c!(libc::clock_getcpuclockid(0, &raw mut own)).into()));
    let clocks = [
        ("process", libc::CLOCK_PROCESS_CPUTIME_ID),
        ("thread", libc::CLOCK_THREAD_CPUTIME_ID),
        ("process by number", own),
    ];
    for (what, id) in clocks {
        let mut event = zeroed!(libc::sigevent);
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGUSR1;
        let mut timer = ptr::null_mut();
        t.ret(what, sys!(libc::timer_create(id, &raw mut event, &raw mut timer)));
        let time = |ms: i64| libc::timespec { tv_sec: 0, tv_nsec: ms * 1_000_000 };
        let new = libc::itimerspec { it_value: time(40), it_interval: time(0) };
        must(sys!(libc::timer_settime(timer, 0, &raw const new, ptr::null_mut())));
        pause_ms(80);
        t.show("  not while it sleeps", seen());
        let before = clock(id);
        let start = Instant::now();
        while families::tasks::SEEN.load(Ordering::SeqCst) == 0 && start.elapsed().as_secs() < 30 {
            std::hint::spin_loop();
        }
        t.show("  while it computes", seen());
        t.check("  and not before", clock(id) - before > 10_000_000);
        must(sys!(libc::timer_delete(timer)));
    }
    let worker = std::thread::spawn(|| {
        let start = Instant::now();
        while start.elapsed().as_millis() < 300 {
            std::hint::spin_loop();
        }
    });
    let time = libc::timespec { tv_sec: 0, tv_nsec: 30_000_000 };
    let before = clock(libc::CLOCK_PROCESS_CPUTIME_ID);
    let slept = c!(libc::clock_nanosleep(libc::CLOCK_PROCESS_CPUTIME_ID, 0, &raw const time, ptr::null_mut()));
    t.ret("sleep while a thread computes", Ok(slept.into()));
    t.check("not too short", clock(libc::CLOCK_PROCESS_CPUTIME_ID) - before >= 29_000_000);
    worker.join().expect("thread");
}

fn users(t: &mut Report) {
    let (mut r, mut e, mut s) = (9u32, 9u32, 9u32);
    t.ret("getresuid", sys!(libc::getresuid(&raw mut r, &raw mut e, &raw mut s)));
    t.show("the same", r == e && e == s && r == c!(libc::getuid()) && e == c!(libc::geteuid()));
    t.ret("getresgid", sys!(libc::getresgid(&raw mut r, &raw mut e, &raw mut s)));
    t.show("the same", r == e && e == s);
    t.ret("to oneself", sys!(libc::setuid(libc::getuid())));
    t.ret("no change", sys!(libc::setresuid(u32::MAX, u32::MAX, u32::MAX)));
    if c!(libc::getuid()) == 0 {
        t.show(
            "as another",
            ending(|| {
                let show = |what: &str, result: Sys| {
                    say!("  {what}: {}", result.map_or_else(|e| e.to_string(), |n| n.to_string()))
                };
                show("setresgid", sys!(libc::setresgid(1000, 1001, 1002)));
                show("setresuid", sys!(libc::setresuid(1000, 1001, 1002)));
                let (mut r, mut e, mut s) = (9u32, 9u32, 9u32);
                must(sys!(libc::getresuid(&raw mut r, &raw mut e, &raw mut s)));
                say!("  {r} {e} {s} {}", c!(libc::getuid()));
                show("back to the superuser", sys!(libc::setuid(0)));
                show("seteuid to the real one", sys!(libc::seteuid(1000)));
                show("setreuid", sys!(libc::setreuid(1002, 1000)));
                must(sys!(libc::getresuid(&raw mut r, &raw mut e, &raw mut s)));
                say!("  {r} {e} {s}");
                show("setgroups", sys!(libc::setgroups(0, ptr::null())));
                show("setfsuid", Ok(c!(libc::setfsuid(5)).into()));
                0
            }),
        );
    }
}

fn groups(t: &mut Report) {
    let mut list = [0u32; 64];
    t.check("getgroups", sys!(libc::getgroups(0, list.as_mut_ptr())).is_ok_and(|n| n <= 64));
    t.ret("too small", sys!(libc::getgroups(-1, list.as_mut_ptr())));
    if c!(libc::getuid()) == 0 {
        t.show(
            "in a child",
            ending(|| {
                let new = [5u32, 3, 4];
                say!(
                    "  set {}",
                    sys!(libc::setgroups(3, new.as_ptr())).map_or_else(|e| e.to_string(), |n| n.to_string())
                );
                let mut list = [0u32; 8];
                let got = sys!(libc::getgroups(8, list.as_mut_ptr()));
                say!("  {got:?} {:?}", &list[..3]);
                say!(
                    "  too many {}",
                    sys!(libc::setgroups(70_000, new.as_ptr())).map_or_else(|e| e.to_string(), |n| n.to_string())
                );
                0
            }),
        );
    }
}

fn capabilities(t: &mut Report) {
    let mut header = [0x2008_0522u32, 0];
    let mut data = [0u32; 6];
    t.ret("capget", sys!(libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr())));
    header[0] = 1;
    t.ret("another version", sys!(libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr())));
    t.show("the version is told", format!("{:#x}", header[0]));
    header = [0x2008_0522, 99_999];
    t.ret("nobody", sys!(libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr())));
    t.ret("bound", sys!(libc::prctl(libc::PR_CAPBSET_READ, 999)));
}

fn limits(t: &mut Report) {
    let get = |which: libc::__rlimit_resource_t| {
        let mut found = zeroed!(libc::rlimit);
        sys!(libc::getrlimit(which, &raw mut found)).map(|_| (found.rlim_cur, found.rlim_max))
    };
    let set = |which: libc::__rlimit_resource_t, soft: u64, hard: u64| {
        let new = libc::rlimit { rlim_cur: soft, rlim_max: hard };
        sys!(libc::setrlimit(which, &raw const new))
    };
    for which in 0..16 {
        t.check(&format!("limit {which}"), get(which).is_ok_and(|(soft, hard)| soft <= hard));
    }
    t.ok("no such limit", get(16).map(|_| 0));
    t.ret("soft above hard", set(libc::RLIMIT_NOFILE, 100, 50));
    t.ret("lower", set(libc::RLIMIT_NOFILE, 100, 200));
    t.show("now", format!("{:?}", get(libc::RLIMIT_NOFILE)));
    t.ret("soft up", set(libc::RLIMIT_NOFILE, 200, 200));
    t.show("inherited", ending(|| i32::try_from(get(libc::RLIMIT_NOFILE).map_or(0, |l| l.0)).unwrap_or(0)));
    let mut old = zeroed!(libc::rlimit);
    t.ret("prlimit of oneself", sys!(libc::prlimit(0, libc::RLIMIT_NOFILE, ptr::null(), &raw mut old)));
    t.ret("prlimit of nobody", sys!(libc::prlimit(99_999, libc::RLIMIT_NOFILE, ptr::null(), &raw mut old)));
    let pid = child(|| {
        pause_ms(20_000);
        0
    });
    let new = libc::rlimit { rlim_cur: 30, rlim_max: 40 };
    t.ret("prlimit of a child", sys!(libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const new, ptr::null_mut())));
    must(sys!(libc::prlimit(pid, libc::RLIMIT_NOFILE, ptr::null(), &raw mut old)));
    t.show("is", old.rlim_cur);
    c!(libc::kill(pid, libc::SIGKILL));
    wait(pid);
}

fn limit_effects(t: &mut Report) {
    let set = |which: libc::__rlimit_resource_t, soft: u64, hard: u64| {
        let new = libc::rlimit { rlim_cur: soft, rlim_max: hard };
        must(sys!(libc::setrlimit(which, &raw const new)))
    };
    t.show(
        "processor time",
        ending(|| {
            set(libc::RLIMIT_CPU, 1, 1);
            loop {
                std::hint::spin_loop();
            }
        }),
    );
    t.show(
        "processor time, soft",
        ending(|| {
            must(handle(libc::SIGXCPU, count, 0));
            set(libc::RLIMIT_CPU, 1, 5);
            while families::tasks::SEEN.load(Ordering::SeqCst) == 0 {
                std::hint::spin_loop();
            }
            7
        }),
    );
    t.show(
        "address space",
        ending(|| {
            set(libc::RLIMIT_AS, 500 << 20, 500 << 20);
            i32::from(families::memory::map(600 << 20, 3, 0x22, -1, 0).is_ok())
        }),
    );
    if c!(libc::getuid()) == 0 {
        t.show(
            "processes",
            ending(|| {
                must(sys!(libc::setresuid(54_321, 54_321, 54_321)));
                set(libc::RLIMIT_NPROC, 3, 3);
                let mut pids = Vec::new();
                let refused = (0..10).find_map(|_| match sys!(libc::fork()) {
                    Ok(0) => {
                        pause_ms(60_000);
                        c!(libc::_exit(0));
                    }
                    Ok(pid) => {
                        pids.push(must(Ok(pid)));
                        None
                    }
                    Err(errno) => Some(errno),
                });
                say!("  after {} {}", pids.len(), refused.map_or("never".to_owned(), |e| e.to_string()));
                for pid in pids {
                    c!(libc::kill(pid, libc::SIGKILL));
                    wait(pid);
                }
                0
            }),
        );
    }
}

fn prctl(t: &mut Report) {
    let call = |option: i32, a: u64| sys!(libc::prctl(option, a, 0, 0, 0));
    t.ret("PR_GET_DUMPABLE", call(libc::PR_GET_DUMPABLE, 0));
    t.ret("PR_SET_DUMPABLE", call(libc::PR_SET_DUMPABLE, 0));
    t.ret("PR_GET_DUMPABLE", call(libc::PR_GET_DUMPABLE, 0));
    t.ret("PR_SET_DUMPABLE 7", call(libc::PR_SET_DUMPABLE, 7));
    t.ret("PR_GET_KEEPCAPS", call(libc::PR_GET_KEEPCAPS, 0));
    t.ret("PR_GET_NO_NEW_PRIVS", call(libc::PR_GET_NO_NEW_PRIVS, 0));
    t.ret("PR_SET_NO_NEW_PRIVS 0", call(libc::PR_SET_NO_NEW_PRIVS, 0));
    t.ret("PR_SET_NO_NEW_PRIVS", call(libc::PR_SET_NO_NEW_PRIVS, 1));
    t.ret("PR_GET_NO_NEW_PRIVS", call(libc::PR_GET_NO_NEW_PRIVS, 0));
    t.ret("PR_GET_TIMERSLACK", call(libc::PR_GET_TIMERSLACK, 0));
    t.ret("PR_SET_TIMERSLACK", call(libc::PR_SET_TIMERSLACK, 12345));
    t.ret("PR_GET_TIMERSLACK", call(libc::PR_GET_TIMERSLACK, 0));
    t.ret("PR_GET_SECCOMP", call(libc::PR_GET_SECCOMP, 0));
    t.ret("nothing known", call(9999, 0));
    let mut fs = 0u64;
    t.ret("ARCH_GET_FS", sys!(libc::syscall(libc::SYS_arch_prctl, 0x1003, &raw mut fs)));
    t.check("is this thread's", fs != 0);
    t.ret("ARCH_SET_FS of the kernel's half", sys!(libc::syscall(libc::SYS_arch_prctl, 0x1002, -4096i64)));
    t.ret("arch_prctl of nothing known", sys!(libc::syscall(libc::SYS_arch_prctl, 0x9999, 0)));
}

fn usage(t: &mut Report) {
    let mut usage = zeroed!(libc::rusage);
    for (what, who) in
        [("self", libc::RUSAGE_SELF), ("children", libc::RUSAGE_CHILDREN), ("thread", libc::RUSAGE_THREAD)]
    {
        t.ret(what, sys!(libc::getrusage(who, &raw mut usage)));
    }
    t.ret("nobody", sys!(libc::getrusage(77, &raw mut usage)));
    wait(child(|| {
        let start = Instant::now();
        while clock(libc::CLOCK_PROCESS_CPUTIME_ID) < 60_000_000 && start.elapsed().as_secs() < 20 {
            std::hint::spin_loop();
        }
        0
    }));
    must(sys!(libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage)));
    t.check(
        "a child's time is counted when it was waited for",
        usage.ru_utime.tv_usec + usage.ru_stime.tv_usec >= 40_000 || usage.ru_utime.tv_sec > 0,
    );
    let mut times = zeroed!(libc::tms);
    t.check("times", sys!(libc::times(&raw mut times)).is_ok() && times.tms_cutime + times.tms_cstime >= 4);
    t.ret("ticks a second", Ok(c!(libc::sysconf(libc::_SC_CLK_TCK))));
    t.ret("page size", Ok(c!(libc::sysconf(libc::_SC_PAGESIZE))));
}

fn personality(t: &mut Report) {
    t.ret("ask", sys!(libc::personality(0xffff_ffff)));
    t.ret("no random addresses", sys!(libc::personality(0x0004_0000)));
    t.ret("ask", sys!(libc::personality(0xffff_ffff)).map(|n| n & 0x0004_0000));
    t.ret("inherited", Ok(ending(|| i32::from(c!(libc::personality(0xffff_ffff)) & 0x0004_0000 != 0)).len() as i64));
}

fn scheduling(t: &mut Report) {
    t.ret("sched_yield", sys!(libc::sched_yield()));
    t.ret("policy", sys!(libc::sched_getscheduler(0)));
    let mut parameter = zeroed!(libc::sched_param);
    t.ret("parameter", sys!(libc::sched_getparam(0, &raw mut parameter)));
    t.show("is", parameter.sched_priority);
    t.ret("highest of FIFO", sys!(libc::sched_get_priority_max(libc::SCHED_FIFO)));
    t.ret("lowest of FIFO", sys!(libc::sched_get_priority_min(libc::SCHED_FIFO)));
    t.ret("highest of OTHER", sys!(libc::sched_get_priority_max(libc::SCHED_OTHER)));
    t.ret("no such policy", sys!(libc::sched_get_priority_max(77)));
    t.ret(
        "a policy with a wrong priority",
        sys!(libc::sched_setscheduler(0, libc::SCHED_OTHER, ptr::from_ref(&libc::sched_param { sched_priority: 5 }))),
    );
    t.ret(
        "BATCH",
        sys!(libc::sched_setscheduler(0, libc::SCHED_BATCH, ptr::from_ref(&libc::sched_param { sched_priority: 0 }))),
    );
    t.ret("policy", sys!(libc::sched_getscheduler(0)));
    t.ret("of nobody", sys!(libc::sched_getscheduler(99_999)));
    let mut processors = zeroed!(libc::cpu_set_t);
    t.check(
        "affinity",
        sys!(libc::sched_getaffinity(0, 128, &raw mut processors)) == Ok(0) && c!(libc::CPU_COUNT(&processors)) >= 1,
    );
    t.ret("set it", sys!(libc::sched_setaffinity(0, 128, &raw const processors)));
    let none = zeroed!(libc::cpu_set_t);
    t.ret("to none", sys!(libc::sched_setaffinity(0, 128, &raw const none)));
    t.ret("too short", sys!(libc::sched_getaffinity(0, 1, &raw mut processors)));
    t.ret("nice", Ok(c!(libc::nice(3)).into()));
    t.ret("getpriority", Ok(c!(libc::getpriority(libc::PRIO_PROCESS, 0)).into()));
    t.ret("of nobody", sys!(libc::getpriority(libc::PRIO_PROCESS, 99_999)));
    t.ret("setpriority beyond", sys!(libc::setpriority(libc::PRIO_PROCESS, 0, 100)));
    t.ret("getpriority", Ok(c!(libc::getpriority(libc::PRIO_PROCESS, 0)).into()));
    t.ret("no such kind", sys!(libc::getpriority(9, 0)));
}

fn names(t: &mut Report) {
    let mut name = zeroed!(libc::utsname);
    t.ret("uname", sys!(libc::uname(&raw mut name)));
    let text =
        |bytes: &[i8]| bytes.iter().take_while(|b| **b != 0).map(|b| char::from(b.cast_unsigned())).collect::<String>();
    t.show("system", text(&name.sysname));
    t.show("machine", text(&name.machine));
    t.check("release", text(&name.release).split('.').next().is_some_and(|n| n.parse::<u32>().is_ok_and(|n| n >= 5)));
    let mut host = [0u8; 65];
    t.check("gethostname", sys!(libc::gethostname(host.as_mut_ptr().cast(), 65)) == Ok(0) && host[0] != 0);
    let mut info = zeroed!(libc::sysinfo);
    t.ret("sysinfo", sys!(libc::sysinfo(&raw mut info)));
    t.check(
        "memory and processes",
        info.totalram > 0 && info.freeram <= info.totalram && info.procs > 0 && info.mem_unit > 0,
    );
}

fn lines(path: &str) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn proc_maps(t: &mut Report) {
    let lines = lines("/proc/self/maps");
    t.check(
        "each line is well formed",
        !lines.is_empty()
            && lines.iter().all(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let range = words.first().and_then(|range| range.split_once('-'));
                let hex = |text: &str| u64::from_str_radix(text, 16).ok();
                words.len() >= 5
                    && range.is_some_and(|(a, b)| hex(a) < hex(b))
                    && words[1].len() == 4
                    && hex(words[2]).is_some()
            }),
    );
    let has = |name: &str, rights: &str| lines.iter().any(|line| line.ends_with(name) && line.contains(rights));
    t.check("stack", has("[stack]", "rw-p"));
    t.check("heap", has("[heap]", "rw-p"));
    t.check("vdso", has("[vdso]", "r-xp"));
    t.check("this program", has("/system", "r-xp") && has("/system", "r--p"));
    t.check("the C library", lines.iter().any(|line| line.contains("libc.so.6") && line.contains("r-xp")));
    let here = proc_maps as *const () as usize;
    t.check(
        "this function is in it",
        lines.iter().any(|line| {
            let range = line.split_whitespace().next().and_then(|range| range.split_once('-'));
            let hex = |text: &str| usize::from_str_radix(text, 16).unwrap_or(0);
            range.is_some_and(|(a, b)| (hex(a)..hex(b)).contains(&here)) && line.contains("r-xp")
        }),
    );
    let starts: Vec<u64> =
        lines.iter().filter_map(|line| u64::from_str_radix(line.split('-').next()?, 16).ok()).collect();
    t.check("in order", starts.is_sorted());
    let fd = families::files::file_in_memory(&[0; 8192]);
    families::memory::map(8192, 1, libc::MAP_SHARED, fd, 0).ok();
    let after = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    t.check("a new one is there", after.lines().any(|line| line.contains("r--s") && line.contains("memfd:family")));
}

/// The lines of `/proc/self/status`, by name.
fn status() -> BTreeMap<String, String> {
    let pair = |line: &String| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    lines("/proc/self/status").iter().filter_map(pair).collect()
}

fn proc_status(t: &mut Report) {
    let fields = status();
    let get = |name: &str| fields.get(name).cloned().unwrap_or_else(|| "missing".to_owned());
    t.show("Name", get("Name"));
    t.show("State", get("State"));
    t.check("Pid", get("Pid") == c!(libc::getpid()).to_string() && get("Tgid") == get("Pid"));
    t.check("PPid", get("PPid") == c!(libc::getppid()).to_string());
    t.show("TracerPid", get("TracerPid"));
    let uid = c!(libc::getuid());
    t.check("Uid", get("Uid").split_whitespace().all(|word| word == uid.to_string()));
    t.show("Threads", get("Threads"));
    t.check("VmSize and VmRSS", [get("VmSize"), get("VmRSS")].iter().all(|value| value.ends_with(" kB")));
    block(&[libc::SIGUSR1]);
    c!(libc::raise(libc::SIGUSR1));
    must(handle(libc::SIGUSR2, count, 0));
    let fields = status();
    for name in ["SigPnd", "SigBlk", "SigIgn", "SigCgt"] {
        let set = fields.get(name).and_then(|set| u64::from_str_radix(set, 16).ok()).unwrap_or(u64::MAX);
        // What glibc keeps for itself may come ignored from whoever started the program.
        say!("{name}: {:016x}", set & !(0b11 << 31));
    }
    for name in ["Umask", "SigQ", "CapEff", "NoNewPrivs", "Seccomp", "Cpus_allowed_list", "voluntary_ctxt_switches"] {
        t.show(name, fields.contains_key(name));
    }
}

fn proc_stat(t: &mut Report) {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let (head, rest) = text.rsplit_once(") ").unwrap_or_default();
    t.check("number and name", head == format!("{} (system", c!(libc::getpid())));
    let words: Vec<&str> = rest.split_whitespace().collect();
    t.show("fields", words.len());
    t.show("state", words.first().copied().unwrap_or_default());
    t.check(
        "parent, group and session",
        words.get(1..4).is_some_and(|w| {
            w == [c!(libc::getppid()).to_string(), c!(libc::getpgrp()).to_string(), c!(libc::getsid(0)).to_string()]
        }),
    );
    t.show("threads", words.get(17).copied().unwrap_or_default());
    t.show("statm fields", std::fs::read_to_string("/proc/self/statm").unwrap_or_default().split_whitespace().count());
}

fn proc_self(t: &mut Report) {
    let bytes = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    let words: Vec<String> = bytes.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
    t.show("cmdline", format!("{} {}", words.len(), words.get(1).cloned().unwrap_or_default()));
    t.show("comm", std::fs::read_to_string("/proc/self/comm").unwrap_or_default().trim_end());
    t.check(
        "exe",
        std::fs::read_link("/proc/self/exe").is_ok_and(|exe| std::env::current_exe().is_ok_and(|own| own == exe)),
    );
    t.check(
        "cwd",
        std::fs::read_link("/proc/self/cwd").is_ok_and(|cwd| std::env::current_dir().is_ok_and(|own| own == cwd)),
    );
    t.show("root", std::fs::read_link("/proc/self/root").map(|p| p.display().to_string()).unwrap_or_default());
    t.check("environ", std::fs::read("/proc/self/environ").is_ok_and(|bytes| bytes.windows(5).any(|w| w == b"PATH=")));
    t.check(
        "self",
        std::fs::read_link("/proc/self").is_ok_and(|p| p.display().to_string() == std::process::id().to_string()),
    );
    t.check("by number", std::fs::read(format!("/proc/{}/comm", std::process::id())).is_ok());
    t.check(
        "thread-self",
        std::fs::read_link("/proc/thread-self").is_ok_and(|p| p.starts_with(std::process::id().to_string())),
    );
    t.check(
        "mounts",
        lines("/proc/self/mounts")
            .iter()
            .any(|line| line.split(' ').nth(1) == Some("/") && line.split(' ').count() == 6),
    );
    t.check(
        "mountinfo",
        lines("/proc/self/mountinfo").iter().any(|line| line.contains(" / / ") && line.contains(" - ")),
    );
    t.check(
        "auxv",
        std::fs::read("/proc/self/auxv").is_ok_and(|bytes| bytes.len() >= 64 && bytes.len().is_multiple_of(16)),
    );
    t.check("limits", lines("/proc/self/limits").iter().any(|line| line.starts_with("Max open files")));
    t.show("oom_score_adj", std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default().trim_end());
    t.show(
        "nothing of the kind",
        std::fs::read("/proc/self/nothing")
            .err()
            .map_or("ok".to_owned(), |e| families::Errno(e.raw_os_error().unwrap_or(0)).to_string()),
    );
    t.show(
        "nobody",
        std::fs::read("/proc/99999/comm")
            .err()
            .map_or("ok".to_owned(), |e| families::Errno(e.raw_os_error().unwrap_or(0)).to_string()),
    );
    t.show(
        "it cannot be written",
        std::fs::write("/proc/self/maps", "x")
            .err()
            .map_or("ok".to_owned(), |e| families::Errno(e.raw_os_error().unwrap_or(0)).to_string()),
    );
    t.show("comm can", std::fs::write("/proc/self/comm", "renamed").is_ok());
    t.show("comm", std::fs::read_to_string("/proc/self/comm").unwrap_or_default().trim_end());
}

fn proc_fd(t: &mut Report) {
    let (from, to) = families::files::pipe();
    let link = |fd: i32| {
        std::fs::read_link(format!("/proc/self/fd/{fd}"))
            .map(|p| p.display().to_string())
            .unwrap_or_else(|e| e.to_string())
    };
    t.check("a pipe", link(from) == link(to) && link(from).starts_with("pipe:["));
    let fd = must(families::files::open("/dev/null", libc::O_RDWR | libc::O_APPEND));
    t.show("a device", link(fd));
    let names = || std::fs::read_dir("/proc/self/fd").map_or(0, |all| all.count());
    let before = names();
    families::files::pipe();
    t.show("two more", names() - before);
    t.show(
        "opened again",
        families::files::open(&format!("/proc/self/fd/{from}"), libc::O_WRONLY | libc::O_NONBLOCK).is_ok(),
    );
    let info = lines(&format!("/proc/self/fdinfo/{fd}"));
    t.show(
        "fdinfo",
        info.iter()
            .filter(|line| line.starts_with("pos:") || line.starts_with("flags:"))
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
            .replace('\t', " "),
    );
    t.show("nothing", link(99).contains("No such file"));
    let epoll = families::events::Epoll::new();
    t.show("epoll", link(epoll.0));
    t.show("eventfd", link(must(sys!(libc::eventfd(0, 0)))));
    t.show("signalfd", link(must(sys!(libc::signalfd(-1, ptr::from_ref(&set(&[10])), 0)))));
    t.show("timerfd", link(must(sys!(libc::timerfd_create(1, 0)))));
}

fn proc_system(t: &mut Report) {
    let cpu = lines("/proc/cpuinfo");
    let has = |name: &str| cpu.iter().any(|line| line.starts_with(name));
    t.check("cpuinfo", ["processor", "vendor_id", "model name", "flags", "cpu MHz"].iter().all(|name| has(name)));
    t.check("flags hold sse2", cpu.iter().any(|line| line.starts_with("flags") && line.contains(" sse2")));
    let memory = lines("/proc/meminfo");
    t.check(
        "meminfo",
        ["MemTotal:", "MemFree:", "MemAvailable:", "Buffers:", "Cached:", "SwapTotal:"]
            .iter()
            .all(|name| memory.iter().any(|line| line.starts_with(name) && line.ends_with(" kB"))),
    );
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    t.check("uptime", uptime.split_whitespace().filter_map(|word| word.parse::<f64>().ok()).count() == 2);
    t.check("loadavg", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().split_whitespace().count() == 5);
    t.check("version", std::fs::read_to_string("/proc/version").unwrap_or_default().starts_with("Linux version "));
    t.check(
        "stat",
        lines("/proc/stat")
            .first()
            .is_some_and(|line| line.starts_with("cpu ") && line.split_whitespace().count() >= 8),
    );
    t.check("filesystems", lines("/proc/filesystems").iter().any(|line| line.ends_with("proc")));
    for name in [
        "kernel/ostype",
        "kernel/pid_max",
        "fs/file-max",
        "vm/overcommit_memory",
        "kernel/osrelease",
        "kernel/hostname",
        "kernel/random/boot_id",
        "net/core/somaxconn",
        "kernel/ngroups_max",
        "fs/pipe-max-size",
    ] {
        t.check(
            name,
            std::fs::read_to_string(format!("/proc/sys/{name}"))
                .is_ok_and(|text| text.ends_with('\n') && text.len() > 1),
        );
    }
    let directory = std::fs::read_dir("/proc")
        .map(|all| all.flatten().filter(|e| e.file_name().to_string_lossy().parse::<u32>().is_ok()).count());
    t.check("processes are listed", directory.is_ok_and(|n| n >= 1));
}

fn proc_children(t: &mut Report) {
    let pid = child(|| {
        c!(libc::raise(libc::SIGSTOP));
        0
    });
    let (_, status) = wait_with(pid, libc::WUNTRACED).unwrap_or_default();
    t.show("stopped", status_text(status));
    let status = lines(&format!("/proc/{pid}/status"));
    t.show("state", status.iter().find(|line| line.starts_with("State:")).cloned().unwrap_or_default());
    t.check(
        "parent",
        status
            .iter()
            .any(|line| line.strip_prefix("PPid:").is_some_and(|n| n.trim() == std::process::id().to_string())),
    );
    t.check(
        "its program is ours",
        std::fs::read_link(format!("/proc/{pid}/exe")).ok() == std::fs::read_link("/proc/self/exe").ok(),
    );
    t.check("its descriptors", std::fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|all| all.count() >= 3));
    t.check(
        "it is listed",
        std::fs::read_dir("/proc")
            .is_ok_and(|all| all.flatten().any(|e| e.file_name().to_string_lossy() == pid.to_string())),
    );
    c!(libc::kill(pid, libc::SIGKILL));
    t.show("zombie", until(|| families::tasks::state(pid) == 'Z'));
    t.show("a zombie's command line", lines(&format!("/proc/{pid}/cmdline")).len());
    wait(pid);
    t.check("gone", std::fs::metadata(format!("/proc/{pid}")).is_err());
}
