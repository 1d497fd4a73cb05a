//! Programs that take all they can get. Each must end with an error number or its own death; then, in the same sandbox, an ordinary
//! program must run. Each prints `afterwards: works` and exits with 0 if so.
#![allow(unsafe_code)]

use families::events::Epoll;
use families::files::{Scratch, open, path, pipe_with, read, write};
use families::memory::{PAGE, anonymous, at, map, poke};
use families::tasks::{child, count, handle, pause_ms, set, wait};
use families::{Report, Sys, c, libc, must, say, sys, zeroed};
use std::process::ExitCode;
use std::ptr;
use std::time::{Duration, Instant};

/// How long an attacker may go on.
const PATIENCE: Duration = Duration::from_secs(6);
/// Upper end of what is tried: far beyond what anybody should get.
const MANY: u32 = 1_000_000;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("exec-again") {
        exec();
    }
    families::run(&[
        ("fork-bomb", |t| attack(t, fork_bomb)),
        ("thread-bomb", |t| attack(t, thread_bomb)),
        ("memory", |t| attack(t, memory)),
        ("mappings", |t| attack(t, mappings)),
        ("reservations", |t| attack(t, reservations)),
        ("disk", |t| attack(t, disk)),
        ("files", |t| attack(t, files)),
        ("descriptors", |t| attack(t, descriptors)),
        ("links", |t| attack(t, links)),
        ("paths", |t| attack(t, paths)),
        ("directories", |t| attack(t, directories)),
        ("pipes", |t| attack(t, pipes)),
        ("sockets", |t| attack(t, sockets)),
        ("in-flight", |t| attack(t, in_flight)),
        ("signals", |t| attack(t, signals)),
        ("timers", |t| attack(t, timers)),
        ("epolls", |t| attack(t, epolls)),
        ("exec", |t| attack(t, exec)),
        ("inotify", |t| attack(t, inotify)),
        ("locks", |t| attack(t, locks)),
        ("futexes", |t| attack(t, futexes)),
        ("stack", |t| attack(t, stack)),
        ("queues", |t| attack(t, queues)),
        ("semaphores", |t| attack(t, semaphores)),
        ("connections", |t| attack(t, connections)),
    ])
}

/// Runs an attacker in a process group of its own until it ends or its time is up; then tries whether all is well.
fn attack(t: &mut Report, body: fn()) {
    must(sys!(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)).or(Ok(0)));
    let pid = child(|| {
        c!(libc::setpgid(0, 0));
        body();
        0
    });
    let start = Instant::now();
    while start.elapsed() < PATIENCE && sys!(libc::waitpid(pid, ptr::null_mut(), libc::WNOHANG)) == Ok(0) {
        pause_ms(10);
    }
    for _ in 0..100 {
        c!(libc::kill(-pid, libc::SIGKILL));
        pause_ms(1);
    }
    while sys!(libc::waitpid(-1, ptr::null_mut(), 0)).is_ok() {}
    let good = ordinary();
    t.check("afterwards all is well", good);
    say!("afterwards: {}", if good { "works" } else { "does not work" });
}

/// What an ordinary program does.
fn ordinary() -> bool {
    let _scratch = Scratch::new();
    let (from, to) = pipe_with(0);
    let end = wait(child(|| {
        let memory = anonymous(100 * PAGE);
        for page in 0..100 {
            poke(at(memory, page * PAGE), 1);
        }
        let thread = std::thread::spawn(|| 5).join().unwrap_or(0);
        let written = std::fs::write("f", vec![b'x'; 10_000]).is_ok();
        must(write(to, b"told"));
        i32::from(written && thread == 5)
    }));
    end == "exit 1" && read(from, 10) == "\"told\"" && std::fs::read("f").is_ok_and(|bytes| bytes.len() == 10_000)
}

/// Does it again and again, as long as there is success.
fn again(mut call: impl FnMut(u32) -> Sys) {
    let _ = (0..MANY).try_for_each(|n| call(n).map(|_| ()));
}

fn fork_bomb() {
    loop {
        if sys!(libc::fork()).is_err() {
            pause_ms(2000);
        }
    }
}

fn thread_bomb() {
    let mut failed = 0;
    while failed < 10 {
        let thread = std::thread::Builder::new().stack_size(16384).spawn(|| pause_ms(100_000));
        failed += u32::from(thread.is_err());
    }
}

fn memory() {
    again(|_| {
        let block = map(1 << 20, 3, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)?;
        let block: *mut u8 = ptr::with_exposed_provenance_mut(usize::try_from(block).unwrap_or(0));
        for page in 0..256 {
            poke(at(block, page * PAGE), 1);
        }
        Ok(0)
    });
}

fn mappings() {
    again(|n| map(PAGE, if n % 2 == 0 { 1 } else { 3 }, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0));
}

fn reservations() {
    again(|_| map(1 << 40, 0, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, -1, 0));
    again(|_| map(1 << 30, 3, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0));
}

fn disk() {
    let _scratch = Scratch::new();
    let fd = must(open("f", libc::O_RDWR | libc::O_CREAT));
    let block = vec![b'd'; 1 << 20];
    again(|_| write(fd, &block));
    c!(libc::ftruncate(fd, i64::MAX));
    c!(libc::fallocate(fd, 0, 0, 1 << 45));
}

fn files() {
    let _scratch = Scratch::new();
    again(|n| {
        let fd = open(&format!("f{n}"), libc::O_RDWR | libc::O_CREAT)?;
        sys!(libc::close(must(Ok(fd))))
    });
}

fn descriptors() {
    let limit = libc::rlimit { rlim_cur: MANY.into(), rlim_max: MANY.into() };
    c!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit));
    again(|_| open("/dev/null", libc::O_RDONLY));
    again(|_| sys!(libc::dup(0)));
}

fn links() {
    let _scratch = Scratch::new();
    for n in 0..100 {
        let (target, name) = (format!("l{}/l{}/l{}", (n + 1) % 100, (n + 2) % 100, (n + 3) % 100), format!("l{n}"));
        c!(libc::symlink(path(&target).as_ptr(), path(&name).as_ptr()));
    }
    for n in 0..100 {
        let long = format!("l{n}/").repeat(1000);
        assert!(open(&long, libc::O_RDONLY).is_err());
    }
}

fn paths() {
    for len in [4095, 4096, 4097, 65_536, 1 << 20, 16 << 20] {
        let long = "x/".repeat(len / 2);
        assert!(open(&long, libc::O_RDONLY).is_err());
        assert!(sys!(libc::rename(path(&long).as_ptr(), path(&long).as_ptr())).is_err());
        assert!(sys!(libc::execl(path(&long).as_ptr(), path("x").as_ptr(), ptr::null::<i8>())).is_err());
    }
}

fn directories() {
    let _scratch = Scratch::new();
    let name = path(&"d".repeat(255));
    for _ in 0..3000 {
        if c!(libc::mkdir(name.as_ptr(), 0o755)) != 0 || c!(libc::chdir(name.as_ptr())) != 0 {
            break;
        }
    }
    let mut buffer = [0u8; 4096];
    c!(libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), 4096));
}

fn pipes() {
    let limit = libc::rlimit { rlim_cur: MANY.into(), rlim_max: MANY.into() };
    c!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit));
    let block = vec![b'p'; 1 << 20];
    again(|_| {
        let mut ends = [0; 2];
        sys!(libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK))?;
        c!(libc::fcntl(ends[1], libc::F_SETPIPE_SZ, 1 << 20));
        write(ends[1], &block)
    });
}

fn sockets() {
    let limit = libc::rlimit { rlim_cur: MANY.into(), rlim_max: MANY.into() };
    c!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit));
    let block = vec![b's'; 1 << 20];
    again(|_| {
        let mut ends = [0; 2];
        sys!(libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0, ends.as_mut_ptr()))?;
        while write(ends[0], &block).is_ok() {}
        Ok(0)
    });
    again(|_| sys!(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)));
}

/// Sockets that hold each other's ends, where nobody can reach them.
fn in_flight() {
    for _ in 0..2000 {
        let mut ends = [0; 2];
        if sys!(libc::socketpair(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0, ends.as_mut_ptr())).is_err()
        {
            return;
        }
        let byte = *b"x";
        let vector = libc::iovec { iov_base: byte.as_ptr().cast_mut().cast(), iov_len: 1 };
        let mut control = [20u64, (1 << 32) | 1, u64::from(ends[1].cast_unsigned())];
        let mut message = zeroed!(libc::msghdr);
        message.msg_iov = (&raw const vector).cast_mut();
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = 24;
        c!(libc::sendmsg(ends[0], &raw const message, 0));
        c!(libc::close(ends[0]));
        c!(libc::close(ends[1]));
    }
}

fn signals() {
    must(handle(libc::SIGUSR1, count, libc::SA_NODEFER));
    let parent = c!(libc::getpid());
    for _ in 0..4 {
        child(|| {
            loop {
                c!(libc::kill(parent, libc::SIGUSR1));
            }
        });
    }
    let blocked = set(&[libc::SIGRTMIN()]);
    c!(libc::sigprocmask(libc::SIG_BLOCK, &raw const blocked, ptr::null_mut()));
    let value = libc::sigval { sival_ptr: ptr::null_mut() };
    again(|_| sys!(libc::sigqueue(parent, libc::SIGRTMIN(), value)));
    pause_ms(200);
}

fn timers() {
    c!(libc::signal(libc::SIGALRM, libc::SIG_IGN));
    let soon = libc::itimerspec {
        it_interval: libc::timespec { tv_sec: 0, tv_nsec: 1 },
        it_value: libc::timespec { tv_sec: 0, tv_nsec: 1 },
    };
    let mut event = zeroed!(libc::sigevent);
    event.sigev_signo = libc::SIGALRM;
    for _ in 0..1000 {
        let mut timer = ptr::null_mut();
        if c!(libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer)) != 0 {
            break;
        }
        c!(libc::timer_settime(timer, 0, &raw const soon, ptr::null_mut()));
    }
    pause_ms(500);
}

fn epolls() {
    let limit = libc::rlimit { rlim_cur: MANY.into(), rlim_max: MANY.into() };
    c!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit));
    let fd = must(sys!(libc::eventfd(1, 0)));
    let mut last = fd;
    again(|n| {
        if n > 20_000 {
            return Err(families::Errno(0));
        }
        let epoll = Epoll(must(sys!(libc::epoll_create1(0))));
        epoll.add(fd, libc::EPOLLIN)?;
        if epoll.add(last, libc::EPOLLIN).is_err() {
            last = fd;
        } else {
            last = epoll.0;
        }
        epoll.wait(&[fd], 0);
        Ok(0)
    });
}

fn exec() {
    // The program in place of itself, without end.
    let own = path("/proc/self/exe");
    let (name, word) = (path("attacks"), path("exec-again"));
    c!(libc::execl(own.as_ptr(), name.as_ptr(), word.as_ptr(), ptr::null::<i8>()));
}

fn inotify() {
    let _scratch = Scratch::new();
    let fd = must(sys!(libc::inotify_init1(0)));
    c!(libc::inotify_add_watch(fd, path(".").as_ptr(), libc::IN_ALL_EVENTS));
    // Nobody reads what comes.
    for n in 0..20_000 {
        let name = path(&format!("{}{n}", "f".repeat(200)));
        let file = c!(libc::open(name.as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o600));
        c!(libc::close(file));
        c!(libc::unlink(name.as_ptr()));
    }
    again(|_| sys!(libc::inotify_init1(0)));
}

fn locks() {
    let _scratch = Scratch::new();
    let fd = must(open("f", libc::O_RDWR | libc::O_CREAT));
    again(|n| {
        let mut lock = zeroed!(libc::flock);
        lock.l_type = 1;
        lock.l_start = i64::from(n) * 2;
        lock.l_len = 1;
        if n > 50_000 { Err(families::Errno(0)) } else { sys!(libc::fcntl(fd, libc::F_SETLK, &raw const lock)) }
    });
}

fn futexes() {
    let memory = anonymous(1000 * PAGE);
    for n in 0..500usize {
        let word = at(memory, n * PAGE).addr();
        let wait = move || c!(libc::syscall(libc::SYS_futex, word, 0, 0, 0, 0, 0));
        if std::thread::Builder::new().stack_size(16384).spawn(wait).is_err() {
            break;
        }
    }
    again(|n| {
        c!(libc::syscall(libc::SYS_futex, at(memory, 8), libc::FUTEX_CMP_REQUEUE, 1, i32::MAX, memory, 0));
        if n > 10_000 { Err(families::Errno(0)) } else { Ok(0) }
    });
}

fn stack() {
    #[allow(unconditional_recursion)]
    fn deeper(level: u64) -> u64 {
        let frame = std::hint::black_box([level; 512]);
        deeper(std::hint::black_box(level + 1)).wrapping_add(std::hint::black_box(frame)[0])
    }
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    c!(libc::setrlimit(libc::RLIMIT_STACK, &raw const limit));
    deeper(0);
}

/// Messages that stay when their sender ends.
fn queues() {
    let message = [1u64; 1001];
    again(|_| {
        let id = must(Ok(sys!(libc::msgget(libc::IPC_PRIVATE, 0o600))?));
        while sys!(libc::msgsnd(id, message.as_ptr().cast(), 8000, libc::IPC_NOWAIT)).is_ok() {}
        Ok(0)
    });
    again(|n| {
        let name = std::ffi::CString::new(format!("/attack-{n}")).unwrap_or_default();
        let flags = libc::O_CREAT | libc::O_RDWR | libc::O_NONBLOCK;
        let fd = sys!(libc::mq_open(name.as_ptr(), flags, 0o600, ptr::null_mut::<libc::mq_attr>()))?;
        let fd = must(Ok(fd));
        while sys!(libc::mq_send(fd, message.as_ptr().cast(), 8000, 0)).is_ok() {}
        sys!(libc::mq_unlink(name.as_ptr()))
    });
}

/// Sets of semaphores, and what is to be undone at them.
fn semaphores() {
    again(|_| {
        let id = must(Ok(sys!(libc::semget(libc::IPC_PRIVATE, 100, 0o600))?));
        for sem_num in 0..100 {
            let undo = i16::try_from(libc::SEM_UNDO).unwrap_or(0);
            let mut operation = libc::sembuf { sem_num, sem_op: 1, sem_flg: undo };
            sys!(libc::semop(id, &raw mut operation, 1))?;
        }
        Ok(0)
    });
}

/// Connections that nobody accepts.
fn connections() {
    let server = must(sys!(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)));
    must(sys!(libc::listen(server, 0)));
    let (mut place, mut len) = (zeroed!(libc::sockaddr_in), 16);
    must(sys!(libc::getsockname(server, (&raw mut place).cast(), &raw mut len)));
    again(|_| {
        let fd = must(Ok(sys!(libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0))?));
        c!(libc::connect(fd, (&raw const place).cast(), 16));
        Ok(0)
    });
    again(|_| {
        let fd = must(Ok(sys!(libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0))?));
        c!(libc::connect(fd, (&raw const place).cast(), 16));
        sys!(libc::close(fd))
    });
}
