//! What things cost: a line `row NAME ops=N rounds=N ns=N ticks=N` for each, the best of a few rounds.
//!
//! `cargo xtask bench` runs it in a sandbox and, as the first process of a plain Linux, in the same machine, where it switches the
//! machine off at its end. Arguments pick rows.
#![allow(unsafe_code)]

use families::files::{pipe, write};
use families::memory::{PAGE, anonymous, at, poke};
use families::tasks::{child, wait};
use families::{c, libc, must, say, sys};
use std::arch::x86_64::{_mm_lfence, _rdtsc};
use std::hint::black_box;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// Rounds of which the best counts.
const ROUNDS: u32 = 3;
/// A file that does not change, of at least 1 MiB.
const FILE: &std::ffi::CStr = c"/usr/bin/python3.11";

/// A row: its name, how often a round does it, and the round.
type Row = (&'static str, u32, fn(u32));

const ROWS: [Row; 10] = [
    ("getpid", 5000, getpid),
    ("fault", 2048, fault),
    ("fork", 50, fork),
    ("thread", 100, thread),
    ("ping-pong", 500, ping_pong),
    ("compute", 20, compute),
    ("read", 20, read),
    ("open", 200, open),
    ("true", 5, |n| start(n, &["/usr/bin/true"])),
    ("python", 2, |n| start(n, &["/usr/bin/python3", "-c", "pass"])),
];

fn main() -> ExitCode {
    let first = std::process::id() == 1;
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    for (name, ops, round) in ROWS {
        if wanted.is_empty() || first || wanted.iter().any(|word| word == name) {
            measure(name, ops, round);
        }
    }
    if first {
        // The console still sends when write has returned.
        std::thread::sleep(std::time::Duration::from_secs(1));
        c!(libc::reboot(libc::RB_POWER_OFF));
    }
    ExitCode::SUCCESS
}

/// Runs the rounds of a row and prints it.
fn measure(name: &str, ops: u32, round: fn(u32)) {
    let mut best = (u128::MAX, u64::MAX);
    for _ in 0..ROUNDS {
        let (start, ticks) = (Instant::now(), now_ticks());
        round(ops);
        let (ticks, ns) = (now_ticks().wrapping_sub(ticks), start.elapsed().as_nanos());
        best = (best.0.min(ns), best.1.min(ticks));
    }
    say!("row {name} ops={ops} rounds={ROUNDS} ns={} ticks={}", best.0, best.1);
}

fn now_ticks() -> u64 {
    c!({
        _mm_lfence();
        let ticks = _rdtsc();
        _mm_lfence();
        ticks
    })
}

fn getpid(ops: u32) {
    for _ in 0..ops {
        c!(libc::syscall(libc::SYS_getpid));
    }
}

fn fault(ops: u32) {
    let pages = usize::try_from(ops).unwrap_or(1);
    let memory = anonymous(pages * PAGE);
    for page in 0..pages {
        poke(at(memory, page * PAGE), 1);
    }
    c!(libc::munmap(memory.cast(), pages * PAGE));
}

fn fork(ops: u32) {
    for _ in 0..ops {
        wait(child(|| 0));
    }
}

fn thread(ops: u32) {
    for _ in 0..ops {
        std::thread::spawn(|| ()).join().expect("thread");
    }
}

/// Two processes hand a byte to and fro: four calls and two changes of task each time.
fn ping_pong(ops: u32) {
    let ((from, to), (back_from, back_to)) = (pipe(), pipe());
    let mut byte = [0u8; 1];
    let pid = child(|| {
        for _ in 0..ops {
            c!(libc::read(from, byte.as_mut_ptr().cast(), 1));
            c!(libc::write(back_to, byte.as_ptr().cast(), 1));
        }
        0
    });
    for _ in 0..ops {
        must(write(to, b"x"));
        must(sys!(libc::read(back_from, byte.as_mut_ptr().cast(), 1)));
    }
    wait(pid);
    for fd in [from, to, back_from, back_to] {
        c!(libc::close(fd));
    }
}

/// Mixes 64 KiB by rotations, additions and exclusive ors, as hash functions do.
fn compute(ops: u32) {
    let block: Vec<u32> = (0..16384).collect();
    let mut state = [0x6a09_e667u32, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a];
    for _ in 0..ops * 16 {
        for word in &block {
            let [a, b, c, d] = state;
            let sum = a.rotate_right(6) ^ b.rotate_right(11) ^ (c & d) ^ (!c & a);
            state = [b.wrapping_add(sum), c, d.wrapping_add(*word), a ^ sum];
        }
    }
    black_box(state);
}

fn read(ops: u32) {
    let fd = must(sys!(libc::open(FILE.as_ptr(), libc::O_RDONLY)));
    let mut buffer = vec![0u8; 65536];
    for _ in 0..ops {
        must(sys!(libc::lseek(fd, 0, libc::SEEK_SET)));
        for _ in 0..16 {
            must(sys!(libc::read(fd, buffer.as_mut_ptr().cast(), 65536)));
        }
    }
    c!(libc::close(fd));
}

fn open(ops: u32) {
    for _ in 0..ops {
        c!(libc::close(must(sys!(libc::open(FILE.as_ptr(), libc::O_RDONLY)))));
    }
}

/// Starts a program and waits for its end.
fn start(ops: u32, command: &[&str]) {
    for _ in 0..ops {
        let status = Command::new(command[0]).args(&command[1..]).stdin(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "{command:?} failed");
    }
}
