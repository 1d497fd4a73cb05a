//! Threads: as the C library makes them, and by clone itself.
#![allow(unsafe_code)]

use families::memory::{anonymous, at, peek, shared};
use families::tasks::{self, block, child, count, ending, handle, pause_ms, seen, until, wait};
use families::{Errno, Report, Sys, c, libc, must, say, sys};
use std::cell::Cell;
use std::process::ExitCode;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Barrier, Condvar, Mutex, Once, RwLock};
use std::thread;
use std::time::Duration;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("shown-threads") {
        say!("  threads after exec: {}", thread_count());
        say!("  first thread: {}", c!(libc::gettid()) == c!(libc::getpid()));
        return ExitCode::from(5);
    }
    families::run(&[
        ("join", join),
        ("mutex", mutex),
        ("condvar", condvar),
        ("barrier", barrier),
        ("channels", channels),
        ("locals", locals),
        ("rwlock", rwlock),
        ("many", many),
        ("numbers", numbers),
        ("exit", exit),
        ("first-thread-ends", first_thread_ends),
        ("exec", exec),
        ("signals", signals),
        ("fork", fork),
        ("clone", clone),
        ("clone3", clone3),
        ("spinning", spinning),
        ("errno", errno),
        ("limits", limits),
        ("names", names),
        ("fault", fault),
        ("chain", chain),
    ])
}

fn thread_count() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count())
}

fn join(t: &mut Report) {
    let threads: Vec<_> = (0..8u64).map(|n| thread::spawn(move || n * n)).collect();
    let sum: u64 = threads.into_iter().map(|thread| thread.join().unwrap_or(1000)).sum();
    t.show("sum", sum);
    let value = thread::scope(|scope| {
        let inner = scope.spawn(|| scope.spawn(|| 5).join().unwrap_or(0) + 1);
        inner.join().unwrap_or(0)
    });
    t.show("nested", value);
}

fn mutex(t: &mut Report) {
    let sum = Mutex::new(0u64);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    if let Ok(mut sum) = sum.lock() {
                        *sum += 1;
                    }
                }
            });
        }
    });
    t.show("counted", sum.into_inner().unwrap_or(0));
}

fn condvar(t: &mut Report) {
    let turn = (Mutex::new(0u32), Condvar::new());
    thread::scope(|scope| {
        for me in 0..3u32 {
            let turn = &turn;
            scope.spawn(move || {
                for _ in 0..100 {
                    let guard = turn.0.lock().expect("lock");
                    let mut guard = turn.1.wait_while(guard, |turn| *turn % 3 != me).expect("wait");
                    *guard += 1;
                    turn.1.notify_all();
                }
            });
        }
    });
    t.show("turns", *turn.0.lock().expect("lock"));
    let guard = turn.0.lock().expect("lock");
    let (_guard, result) = turn.1.wait_timeout(guard, Duration::from_millis(20)).expect("wait");
    t.show("timed out", result.timed_out());
}

fn barrier(t: &mut Report) {
    let barrier = Barrier::new(10);
    let (reached, leaders, early) = (AtomicU32::new(0), AtomicU32::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                for round in 1..=5 {
                    reached.fetch_add(1, Ordering::SeqCst);
                    if barrier.wait().is_leader() {
                        leaders.fetch_add(1, Ordering::SeqCst);
                    }
                    if reached.load(Ordering::SeqCst) < round * 10 {
                        early.store(true, Ordering::SeqCst);
                    }
                    barrier.wait();
                }
            });
        }
    });
    t.show("leaders", leaders.load(Ordering::SeqCst));
    t.check("nobody was early", !early.load(Ordering::SeqCst));
}

fn channels(t: &mut Report) {
    let (to, from) = channel::<u64>();
    let (back, answers) = sync_channel::<u64>(2);
    let worker = thread::spawn(move || {
        for n in from {
            back.send(n * 2).expect("send");
        }
    });
    for n in 0..500 {
        to.send(n).expect("send");
        if n % 2 == 1 {
            t.check("answers come in order", answers.recv() == Ok(n * 2 - 2) && answers.recv() == Ok(n * 2));
            if n > 5 {
                break;
            }
        }
    }
    let sum: u64 = (10..200)
        .map(|n| {
            to.send(n).expect("send");
            answers.recv().unwrap_or(0)
        })
        .sum();
    t.show("sum", sum);
    drop(to);
    t.check("worker ends", worker.join().is_ok());
    t.show("then there is nothing", answers.recv().is_err());
}

thread_local! {
    static MINE: Cell<u32> = const { Cell::new(1) };
    static DROPPED: Told = const { Told };
}
static DROPS: AtomicU32 = AtomicU32::new(0);

struct Told;

impl Drop for Told {
    fn drop(&mut self) {
        DROPS.fetch_add(1, Ordering::SeqCst);
    }
}

fn locals(t: &mut Report) {
    MINE.set(100);
    let values: Vec<u32> = thread::scope(|scope| {
        let threads: Vec<_> = (0..5)
            .map(|n| {
                scope.spawn(move || {
                    DROPPED.with(|_| ());
                    MINE.set(MINE.get() + n);
                    thread::yield_now();
                    MINE.get()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(0)).collect()
    });
    t.show("of the threads", format!("{values:?}"));
    t.show("mine", MINE.get());
    t.show("dropped", DROPS.load(Ordering::SeqCst));
    let once = Once::new();
    let ran = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                once.call_once(|| {
                    pause_ms(10);
                    ran.fetch_add(1, Ordering::SeqCst);
                })
            });
        }
    });
    t.show("once", ran.load(Ordering::SeqCst));
}

fn rwlock(t: &mut Report) {
    let table = RwLock::new(vec![0u32; 4]);
    let torn = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..300 {
                    let table = table.read().expect("read");
                    if table.iter().any(|n| *n != table[0]) {
                        torn.store(true, Ordering::SeqCst);
                    }
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..200 {
                    for n in table.write().expect("write").iter_mut() {
                        *n += 1;
                    }
                }
            });
        }
    });
    t.show("written", table.read().expect("read")[3]);
    t.check("never torn", !torn.load(Ordering::SeqCst));
}

fn many(t: &mut Report) {
    let barrier = Arc::new(Barrier::new(65));
    let threads: Vec<_> = (0..64u64)
        .map(|n| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                barrier.wait();
                barrier.wait();
                n
            })
        })
        .collect();
    barrier.wait();
    t.show("threads at once", thread_count());
    barrier.wait();
    let sum: u64 = threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum();
    t.show("sum", sum);
    t.check("then one is left", until(|| thread_count() == 1));
    let count: usize = (0..300).filter(|_| thread::spawn(|| ()).join().is_ok()).count();
    t.show("one after another", count);
}

fn numbers(t: &mut Report) {
    let (pid, tid) = (c!(libc::getpid()), c!(libc::gettid()));
    t.check("the first thread has the process's number", pid == tid);
    let (other_pid, other_tid, other_parent, other_group) =
        thread::spawn(|| (c!(libc::getpid()), c!(libc::gettid()), c!(libc::getppid()), c!(libc::getpgrp())))
            .join()
            .expect("thread");
    t.check("others have it, too", other_pid == pid);
    t.check("and one of their own", other_tid != tid);
    t.check("the same parent and group", other_parent == c!(libc::getppid()) && other_group == c!(libc::getpgrp()));
    t.ret("set_tid_address", sys!(libc::syscall(libc::SYS_set_tid_address, 0)).map(|n| (n == i64::from(tid)).into()));
}

fn exit(t: &mut Report) {
    t.show(
        "exit of a thread ends all",
        ending(|| {
            thread::spawn(|| c!(libc::_exit(33)));
            loop {
                c!(libc::pause());
            }
        }),
    );
    t.show(
        "the first thread's return ends all",
        ending(|| {
            thread::spawn(|| {
                loop {
                    c!(libc::pause());
                }
            });
            thread::spawn(|| {
                loop {
                    std::hint::spin_loop();
                }
            });
            pause_ms(20);
            34
        }),
    );
    t.show(
        "a deadly signal to a thread",
        ending(|| {
            let (to, from) = channel();
            thread::spawn(move || {
                to.send(c!(libc::gettid())).expect("send");
                pause_ms(60_000);
            });
            let tid = from.recv().expect("number");
            c!(libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGTERM));
            pause_ms(60_000);
            1
        }),
    );
    t.show(
        "exit while others wait for a lock",
        ending(|| {
            let lock = Arc::new(Mutex::new(()));
            let guard = lock.lock().expect("lock");
            for _ in 0..4 {
                let lock = Arc::clone(&lock);
                thread::spawn(move || drop(lock.lock()));
            }
            pause_ms(20);
            std::mem::forget(guard);
            35
        }),
    );
}

fn first_thread_ends(t: &mut Report) {
    t.show(
        "others go on",
        ending(|| {
            let me = c!(libc::getpid());
            thread::spawn(move || {
                let zombie = until(|| tasks::state(me) == 'Z');
                say!("  the first thread is a zombie: {zombie}");
                pause_ms(20);
                c!(libc::_exit(44));
            });
            c!(libc::syscall(libc::SYS_exit, 1));
            0
        }),
    );
    t.show(
        "the last one's code",
        ending(|| {
            thread::spawn(|| {
                pause_ms(50);
                c!(libc::syscall(libc::SYS_exit, 9));
            });
            c!(libc::syscall(libc::SYS_exit, 7));
            0
        }),
    );
}

fn exec(t: &mut Report) {
    let become_self = || {
        let (own, me, word) = (c"/proc/self/exe", c"me", c"shown-threads");
        c!(libc::execl(own.as_ptr(), me.as_ptr(), word.as_ptr(), ptr::null::<i8>()));
        say!("  {}", families::errno());
    };
    t.show(
        "by the first thread",
        ending(|| {
            for _ in 0..3 {
                thread::spawn(|| pause_ms(60_000));
            }
            become_self();
            1
        }),
    );
    t.show(
        "by another",
        ending(|| {
            for _ in 0..3 {
                thread::spawn(|| {
                    loop {
                        std::hint::spin_loop();
                    }
                });
            }
            thread::spawn(become_self);
            pause_ms(60_000);
            1
        }),
    );
}

static HANDLER_THREAD: AtomicI32 = AtomicI32::new(0);

extern "C" fn where_handled(_: i32) {
    HANDLER_THREAD.store(c!(libc::gettid()), Ordering::SeqCst);
    tasks::SEEN.fetch_add(1, Ordering::SeqCst);
}

fn signals(t: &mut Report) {
    must(handle(libc::SIGUSR1, where_handled, 0));
    let (to, from) = channel();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let other = thread::spawn(move || {
        to.send(c!(libc::gettid())).expect("send");
        while !stopped.load(Ordering::SeqCst) {
            pause_ms(5);
        }
    });
    let tid = from.recv().expect("number");
    must(sys!(libc::syscall(libc::SYS_tgkill, c!(libc::getpid()), tid, libc::SIGUSR1)));
    t.check("tgkill reaches the thread", until(|| HANDLER_THREAD.load(Ordering::SeqCst) == tid));
    seen();
    block(&[libc::SIGUSR1]);
    must(sys!(libc::kill(c!(libc::getpid()), libc::SIGUSR1)));
    HANDLER_THREAD.store(0, Ordering::SeqCst);
    t.check(
        "one that the first thread blocks goes to another",
        until(|| HANDLER_THREAD.load(Ordering::SeqCst) == tid) || seen() > 0,
    );
    must(sys!(libc::syscall(libc::SYS_tgkill, c!(libc::getpid()), c!(libc::gettid()), libc::SIGUSR1)));
    let mut waiting = tasks::set(&[]);
    c!(libc::sigpending(&raw mut waiting));
    t.show("pending for this thread", tasks::names(&waiting));
    let other_sees = thread::spawn(|| {
        let mut waiting = tasks::set(&[]);
        c!(libc::sigpending(&raw mut waiting));
        tasks::names(&waiting)
    })
    .join()
    .expect("thread");
    t.show("not for others", other_sees);
    stop.store(true, Ordering::SeqCst);
    t.check("join", other.join().is_ok());
    // A synchronous wait in one thread.
    block(&[libc::SIGUSR2]);
    let waiter = thread::spawn(|| {
        let wanted = tasks::set(&[libc::SIGUSR2]);
        let mut signal = 0;
        c!(libc::sigwait(&raw const wanted, &raw mut signal));
        signal
    });
    must(sys!(libc::kill(c!(libc::getpid()), libc::SIGUSR2)));
    t.show("sigwait", waiter.join().unwrap_or(0));
}

fn fork(t: &mut Report) {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let other = thread::spawn(move || {
        while !stopped.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    });
    t.show(
        "only the forking thread is in the child",
        ending(|| {
            say!("  threads {}", thread_count());
            say!("  number {}", c!(libc::gettid()) == c!(libc::getpid()));
            say!("  it can start threads: {}", thread::spawn(|| 4).join().unwrap_or(0));
            0
        }),
    );
    let code = thread::spawn(|| ending(|| 12)).join();
    t.show("fork by a thread", code.unwrap_or_default());
    let pid = child(|| 13);
    let code = thread::spawn(move || wait(pid)).join();
    t.show("wait by another thread", code.unwrap_or_default());
    stop.store(true, Ordering::SeqCst);
    t.check("join", other.join().is_ok());
}

extern "C" fn started(argument: *mut libc::c_void) -> i32 {
    let place = argument.cast::<u8>();
    let value = peek(place);
    c!(place.write_volatile(value + 1));
    i32::from(value)
}

/// clone with this function on a stack of its own.
fn clone_with(flags: i32, place: *mut u8) -> Sys {
    const STACK: usize = 65536;
    let stack = anonymous(STACK);
    sys!(libc::clone(started, at(stack, STACK).cast(), flags, place.cast()))
}

fn clone(t: &mut Report) {
    let place = anonymous(4096);
    c!(place.write(10));
    let pid = must(clone_with(libc::SIGCHLD, place));
    t.show("a copy", format!("{} value {}", wait(pid), peek(place)));
    let pid = must(clone_with(libc::CLONE_VM | libc::SIGCHLD, place));
    t.show("CLONE_VM", format!("{} value {}", wait(pid), peek(place)));
    let pid = must(clone_with(libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD, place));
    t.show("vfork", format!("value {} {}", peek(place), wait(pid)));
    let all = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND;
    t.ret("CLONE_THREAD without CLONE_SIGHAND", clone_with(libc::CLONE_VM | libc::CLONE_THREAD, place));
    t.ret("CLONE_SIGHAND without CLONE_VM", clone_with(libc::CLONE_SIGHAND | libc::SIGCHLD, place));
    let pid = must(clone_with(all | libc::SIGCHLD, place));
    t.show("everything shared but the process", wait(pid));
    t.show("value", peek(place));
    // Descriptors shared or copied.
    let fd = must(families::files::open("/dev/null", libc::O_RDONLY));
    for (what, flags) in [("copied", 0), ("shared", libc::CLONE_FILES)] {
        let pid = must(sys!(libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0)));
        if pid == 0 {
            c!(libc::close(fd));
            c!(libc::_exit(0));
        }
        wait(pid);
        t.show(&format!("descriptors {what}: still open"), c!(libc::fcntl(fd, libc::F_GETFD)) >= 0);
    }
    // Numbers written and cleared.
    let place = shared(4096).cast::<i32>();
    let pid = must(sys!(libc::syscall(
        libc::SYS_clone,
        libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD,
        0,
        place,
        place.wrapping_add(1),
        0
    )));
    if pid == 0 {
        let good = c!(*place.add(1)) == c!(libc::gettid());
        c!(libc::_exit(i32::from(good)));
    }
    t.check("CLONE_PARENT_SETTID", c!(*place) == pid);
    t.show("CLONE_CHILD_SETTID", wait(pid));
    let parent = c!(libc::getppid());
    let pid = child(|| {
        let pid = must(sys!(libc::syscall(libc::SYS_clone, libc::CLONE_PARENT | libc::SIGCHLD, 0, 0, 0, 0)));
        if pid == 0 {
            c!(libc::_exit(8));
        }
        i32::from(c!(libc::getppid()) == parent)
    });
    let mut ends = [wait(-1), wait(-1)];
    ends.sort();
    t.check("CLONE_PARENT", pid > 0);
    t.show("both are our children", ends.join(", "));
}

fn clone3(t: &mut Report) {
    let call = |arguments: &libc::clone_args, size: usize| {
        sys!(libc::syscall(libc::SYS_clone3, ptr::from_ref(arguments), size))
    };
    let size = size_of::<libc::clone_args>();
    let mut arguments = families::zeroed!(libc::clone_args);
    t.ret("too short", call(&arguments, 10));
    t.ret("too long", call(&arguments, 10_000));
    arguments.exit_signal = 100;
    t.ret("a bad signal", call(&arguments, size));
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.stack = 4096;
    t.ret("a stack without size", call(&arguments, size));
    arguments.stack = 0;
    let mut pidfd = -1i32;
    arguments.flags = libc::CLONE_PIDFD as u64;
    arguments.pidfd = (&raw mut pidfd).expose_provenance() as u64;
    let pid = call(&arguments, size);
    if pid == Ok(0) {
        c!(libc::_exit(66));
    }
    let pid = must(pid);
    t.show("a descriptor of the child", families::events::poll(pidfd, libc::POLLIN, 10_000));
    t.show("its end", wait(pid));
    t.ret("signal to one that is gone", sys!(libc::syscall(libc::SYS_pidfd_send_signal, pidfd, libc::SIGTERM, 0, 0)));
    t.ret("bad address", sys!(libc::syscall(libc::SYS_clone3, 8, size)));
}

fn spinning(t: &mut Report) {
    // None of them ever gives the processor up: only time slices let the first thread go on.
    let stop = Arc::new(AtomicBool::new(false));
    let counts: Vec<_> = (0..4).map(|_| Arc::new(AtomicU32::new(0))).collect();
    let threads: Vec<_> = counts
        .iter()
        .map(|count| {
            let (stop, count) = (Arc::clone(&stop), Arc::clone(count));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    t.check("each gets its turn", until(|| counts.iter().all(|count| count.load(Ordering::Relaxed) > 0)));
    let before: Vec<u32> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    t.check(
        "again and again",
        until(|| counts.iter().zip(&before).all(|(now, before)| now.load(Ordering::Relaxed) > *before)),
    );
    stop.store(true, Ordering::Relaxed);
    t.show("joined", threads.into_iter().filter_map(|thread| thread.join().ok()).count());
}

fn errno(t: &mut Report) {
    let mine = sys!(libc::close(-1));
    let other = thread::spawn(|| sys!(libc::chdir(c"/no/such".as_ptr()))).join().expect("thread");
    t.ret("mine", mine);
    t.ret("other", other);
    t.show("mine is kept", families::errno() == Errno(libc::EBADF));
    // The working directory is everybody's.
    thread::spawn(|| std::env::set_current_dir("/").ok()).join().expect("thread");
    t.show("directory", std::env::current_dir().map_or_else(|e| e.to_string(), |d| d.display().to_string()));
}

fn limits(t: &mut Report) {
    t.show(
        "a small stack",
        thread::Builder::new().stack_size(16384).spawn(|| 3).map_or(0, |thread| thread.join().unwrap_or(0)),
    );
    t.show(
        "a large one",
        thread::Builder::new()
            .stack_size(64 << 20)
            .spawn(|| {
                let mut block = [0u8; 1 << 20];
                std::hint::black_box(&mut block)[12345] = 7;
                block[12345]
            })
            .map_or(0, |thread| thread.join().unwrap_or(0)),
    );
    t.show(
        "overflow of a thread's stack",
        ending(|| {
            fn deeper(level: u64) -> u64 {
                let frame = std::hint::black_box([level; 64]);
                if level == 0 { 0 } else { deeper(level + 1).wrapping_add(std::hint::black_box(frame)[0]) }
            }
            i32::from(thread::spawn(|| deeper(1)).join().is_ok())
        })
        .replace("SIGABRT", "a signal")
        .replace("SIGSEGV", "a signal"),
    );
}

fn names(t: &mut Report) {
    let name = |what: &str| {
        let text = std::fs::read_to_string("/proc/thread-self/comm").unwrap_or_default();
        t.show(what, text.trim_end());
    };
    name("as started");
    must(sys!(libc::prctl(libc::PR_SET_NAME, c"a name far too long".as_ptr())));
    name("as set");
    let inner = thread::Builder::new().name("worker".to_owned()).spawn(|| {
        let mut bytes = [0u8; 16];
        c!(libc::prctl(libc::PR_GET_NAME, bytes.as_mut_ptr()));
        bytes
    });
    let bytes = inner.map(|thread| thread.join().unwrap_or_default()).unwrap_or_default();
    t.show("of a thread", families::files::text(bytes.split(|b| *b == 0).next().unwrap_or_default()));
    name("still");
}

fn fault(t: &mut Report) {
    t.show(
        "a thread's fault ends the process",
        ending(|| {
            thread::spawn(|| peek(ptr::null()));
            pause_ms(60_000);
            1
        }),
    );
    must(handle(libc::SIGUSR1, count, 0));
    t.ret("raise in a thread", {
        let sent = thread::spawn(|| c!(libc::raise(libc::SIGUSR1))).join().unwrap_or(-1);
        Ok((sent + i32::try_from(seen()).unwrap_or(100)).into())
    });
}

/// Each thread starts the next one and waits for it.
fn chain(t: &mut Report) {
    fn link(depth: u32) -> u32 {
        if depth == 0 { 0 } else { thread::spawn(move || link(depth - 1)).join().unwrap_or(1000) + 1 }
    }
    t.show("thirty deep", link(30));
}
