//! A race for the path of an open: what the policy has judged, and nothing else, is opened.
//!
//! Two files, `judged` and `secret`; the policy of the test denies the second one. A second thread exchanges the two names in the buffer that
//! the first one opens from, as fast as it can. `flip N` makes N tries and prints how often the secret file was opened (never), and whether
//! both outcomes were seen, so that there was a race at all. `flip pipe` holds an open up in between, where a second look at the
//! buffer would find the other name for certain.
#![allow(unsafe_code)]

use families::files::{Scratch, path};
use families::{c, libc, must, sys, zeroed};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// Both names are seven bytes with their NUL: the buffer is one word, written at once.
const JUDGED: u64 = u64::from_le_bytes(*b"judged\0\0");
const SECRET: u64 = u64::from_le_bytes(*b"secret\0\0");
/// How long the files are, which tells them apart once they are open.
const JUDGED_LEN: i64 = 1;

static NAME: AtomicU64 = AtomicU64::new(JUDGED);
static OVER: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let _scratch = Scratch::new();
    std::fs::write("judged", "j").expect("a new file");
    // Made under a name that nobody denies.
    std::fs::write("other", "ss").expect("a new file");
    must(sys!(libc::rename(path("other").as_ptr(), path("secret").as_ptr())));
    match std::env::args().nth(1).as_deref() {
        Some("pipe") => pipe(),
        tries => race(tries.and_then(|tries| tries.parse().ok()).unwrap_or(1000)),
    }
}

/// Opens whatever the buffer says. The length of the file that it was, or nothing if it was denied.
fn open_named() -> Option<i64> {
    let fd = sys!(libc::open(NAME.as_ptr().cast(), libc::O_RDONLY)).ok()?;
    let fd = i32::try_from(fd).unwrap_or(-1);
    let mut stat = zeroed!(libc::stat);
    must(sys!(libc::fstat(fd, &raw mut stat)));
    c!(libc::close(fd));
    Some(stat.st_size)
}

fn race(tries: u64) -> ExitCode {
    let flipper = thread::spawn(|| {
        while !OVER.load(Ordering::Relaxed) {
            NAME.fetch_xor(JUDGED ^ SECRET, Ordering::Relaxed);
        }
    });
    let (mut opened, mut denied, mut wrong) = (0_u64, 0_u64, 0_u64);
    for count in 0..tries {
        match open_named() {
            Some(JUDGED_LEN) => opened += 1,
            Some(_) => wrong += 1,
            None => denied += 1,
        }
        if count % 16 == 0 {
            // On one processor: the other thread has a turn, whose end leaves either name.
            thread::yield_now();
        }
    }
    OVER.store(true, Ordering::Relaxed);
    let _ = flipper.join();
    let both = opened > 0 && denied > 0;
    println!("{tries} tries: the secret file was opened {wrong} times; both outcomes: {both}");
    ExitCode::from(u8::from(wrong > 0 || !both))
}

/// The judged name leads to a named pipe, whose open waits for a writer. The name is exchanged before there is one.
fn pipe() -> ExitCode {
    must(sys!(libc::unlink(path("judged").as_ptr())));
    must(sys!(libc::mkfifo(path("judged").as_ptr(), 0o600)));
    let writer = thread::spawn(|| {
        families::tasks::pause_ms(200);
        NAME.store(SECRET, Ordering::Relaxed);
        sys!(libc::open(path("judged").as_ptr(), libc::O_WRONLY)).is_ok()
    });
    let found = open_named();
    println!("opened after the exchange: {found:?}, with a writer: {:?}", writer.join().ok());
    ExitCode::from(u8::from(found != Some(0)))
}
