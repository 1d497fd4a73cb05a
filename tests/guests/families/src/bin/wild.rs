//! `wild SEED COUNT`: system calls of every number with random arguments, in children, whose deaths do not count. What counts is that
//! the kernel below lives on: then the last line is `wild: COUNT calls made` and the exit code 0.
//!
//! Not for a machine that is needed: elsewhere than in a sandbox it refuses to run unless it is the first process of its namespace.
#![allow(unsafe_code)]

use families::files::{file_in_memory, pipe};
use families::memory::{PAGE, anonymous, at, map, pointer};
use families::random::Random;
use families::tasks::{child, pause_ms};
use families::{c, libc, say, sys};
use std::process::ExitCode;
use std::ptr;

/// Numbers of calls, a few beyond the last included.
const NUMBERS: u64 = 470;
/// Calls that one child makes.
const BATCH: u64 = 40;
/// How long a child may take: many calls wait.
const PATIENCE_MS: u64 = 60;
/// exit, exit_group and rt_sigreturn end a child without having tried anything; vfork's child would run on the parent's stack.
const LEFT_OUT: [i64; 4] = [libc::SYS_exit, libc::SYS_exit_group, libc::SYS_rt_sigreturn, libc::SYS_vfork];
/// Calls whose first argument is a process: only oneself, or the run would end itself.
const ON_A_PROCESS: [i64; 8] = [
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_prlimit64,
    libc::SYS_setpgid,
    libc::SYS_sched_setscheduler,
];

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map_while(|word| word.parse::<u64>().ok());
    let (Some(seed), Some(count)) = (numbers.next(), numbers.next()) else {
        say!("usage: wild SEED COUNT");
        return ExitCode::from(2);
    };
    // A sandbox keeps number 1 for itself.
    if std::process::id() > 2 {
        say!("wild: only as the first process (unshare --fork --pid --mount --net --ipc)");
        return ExitCode::from(2);
    }
    let mut made = 0;
    while made < count {
        let batch = BATCH.min(count - made);
        let mut random = Random::new(seed, made);
        let pid = child(|| batch_of_calls(&mut random, batch));
        finish(pid);
        made += batch;
    }
    say!("wild: {made} calls made");
    ExitCode::SUCCESS
}

/// Waits for a child for a while; then ends it and all that it has left behind.
fn finish(pid: i32) {
    let over = |pid: i32| sys!(libc::waitpid(pid, ptr::null_mut(), libc::WNOHANG)) != Ok(0);
    for _ in 0..PATIENCE_MS / 2 {
        if over(pid) {
            break;
        }
        pause_ms(2);
    }
    // As the first process, this one is spared.
    c!(libc::kill(-1, libc::SIGKILL));
    while sys!(libc::waitpid(-1, ptr::null_mut(), libc::__WALL)).is_ok() {}
}

fn batch_of_calls(random: &mut Random, count: u64) -> i32 {
    let me = c!(libc::getpid());
    let places = prepare(random);
    for _ in 0..count {
        let number = random.below(NUMBERS) as i64;
        if LEFT_OUT.contains(&number) {
            continue;
        }
        let mut a: [u64; 6] = std::array::from_fn(|_| argument(random, &places));
        if ON_A_PROCESS.contains(&number) {
            a[0] = me as u64;
        }
        c!(libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]));
        // A copy of this process that the call has made is not to go on here.
        if c!(libc::syscall(libc::SYS_gettid)) != me.into() {
            c!(libc::syscall(libc::SYS_exit, 0));
        }
    }
    0
}

/// Descriptors of many kinds from 0 on, and addresses of all kinds.
fn prepare(random: &mut Random) -> Vec<u64> {
    for fd in 0..64 {
        c!(libc::close(fd));
    }
    c!(libc::open(c"/dev/null".as_ptr(), libc::O_RDWR));
    c!(libc::open(c"/tmp".as_ptr(), libc::O_RDONLY));
    c!(libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY));
    file_in_memory(b"something to read");
    pipe();
    c!(libc::eventfd(1, 0));
    c!(libc::epoll_create1(0));
    c!(libc::timerfd_create(1, 0));
    c!(libc::inotify_init());
    let mut ends = [0; 2];
    c!(libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, ends.as_mut_ptr()));
    c!(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0));
    c!(libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0));
    c!(libc::posix_openpt(libc::O_RDWR));
    c!(libc::open(c"/".as_ptr(), libc::O_PATH));
    let buffer = anonymous(16 * PAGE);
    for n in 0..16 * PAGE / 8 {
        let value = if n % 3 == 0 { random.number() } else { random.below(300) };
        c!(buffer.cast::<u64>().add(n).write(value));
    }
    let fixed = pointer(map(PAGE, libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0));
    let end = anonymous(2 * PAGE);
    c!(libc::munmap(at(end, PAGE).cast(), PAGE));
    let paths =
        [c"/tmp/wild", c"/", c".", c"/proc/self/mem", c"/proc/self/fd/3", c"/dev/zero", c"", c"/tmp/wild/below"];
    let mut places: Vec<u64> = paths.iter().map(|path| path.as_ptr().expose_provenance() as u64).collect();
    for offset in [0, 8, 100, 4095, 8192, 65000] {
        places.push(at(buffer, offset).expose_provenance() as u64);
    }
    places.push(fixed.expose_provenance() as u64);
    places.push(at(end, PAGE - 4).expose_provenance() as u64);
    places
}

/// Numbers at which things change.
const EDGES: [u64; 8] = [0, u64::MAX, 1 << 31, u64::MAX >> 1, 0xffff_8000_0000_0000, 0x7fff_ffff_f000, 4096, 0x100];

fn argument(random: &mut Random, places: &[u64]) -> u64 {
    match random.below(10) {
        0 => random.below(20),
        1 => 1 << random.below(64),
        2 => random.number(),
        3 => random.below(5000),
        4 => random.one_of(&EDGES),
        5 => u64::MAX - random.below(5000),
        6 | 7 => random.below(18),
        _ => random.one_of(places),
    }
}
