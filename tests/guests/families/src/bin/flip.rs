//! Races for what a policy judges: what it has judged, and nothing else, is carried out.
//!
//! Two files, `judged` and `secret`; the policy of the test denies the second one. A second thread exchanges the two names in the buffer that
//! the first one opens from, as fast as it can. `flip N` makes N tries and prints how many opened the secret file (none), and whether
//! both outcomes were seen, so that there was a race at all. `flip pipe` holds an open up in between, where a second look at the
//! buffer would find the other name for certain. `flip rewritten N` is for a policy that has another file opened in the secret one's place.
//!
//! `flip address N` and `flip message N` do the same with datagrams to two ports, 7001 and the forbidden 7002: the second thread exchanges the
//! port in the address that they are sent to, or the address that a message names.
//!
//! `flip structure N` opens `judged` by openat2, and sets a limit, by structures in which the second thread exchanges the flags for O_WRONLY and the
//! limit for 99; the policy denies these. `flip held` holds the open up in between, as `flip pipe` does.
//!
//! `flip sends` holds a `sendto`, a `sendmsg` and a `write` open: there is no room for them until the address, the header and the text say otherwise.
//!
//! `flip content N` writes the buffer instead, by `write`, `writev`, `sendto` and `sendmsg` in turn; the policy denies the text `secret`.
#![allow(unsafe_code)]

use families::files::{Scratch, path};
use families::random::Random;
use families::{c, libc, must, sys, zeroed};
use std::io::{Read, pipe};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Both names are seven bytes with their NUL: the buffer is one word, written at once.
const JUDGED: u64 = u64::from_le_bytes(*b"judged\0\0");
const SECRET: u64 = u64::from_le_bytes(*b"secret\0\0");
/// How long the files are, which tells them apart once they are open: the judged one, and the one in the secret one's place.
const JUDGED_LEN: i64 = 1;
const INSTEAD: &str = "iii";

/// Most exchanges of a turn.
const BURST: u64 = 1000;

static NAME: AtomicU64 = AtomicU64::new(JUDGED);
static OVER: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let _scratch = Scratch::new();
    std::fs::write("judged", "j").expect("a new file");
    // Made under a name that nobody denies.
    std::fs::write("other", "ss").expect("a new file");
    must(sys!(libc::rename(path("other").as_ptr(), path("secret").as_ptr())));
    match std::env::args().nth(1).as_deref() {
        Some("pipe") => named_pipe(),
        Some("address") => datagrams(false),
        Some("message") => datagrams(true),
        Some("content") => contents(),
        Some("structure") => structures(),
        Some("held") => held_structure(),
        Some("sends") => held_sends(),
        Some("rewritten") => {
            std::fs::write("/tmp/instead", INSTEAD).expect("a new file");
            names(argument(2))
        }
        _ => names(argument(1)),
    }
}

/// How many tries there are to be.
fn argument(index: usize) -> u64 {
    std::env::args().nth(index).and_then(|tries| tries.parse().ok()).unwrap_or(1000)
}

/// What came of one try.
enum Outcome {
    /// What may be was carried out.
    Done,
    /// It was refused, or something else was carried out in its place.
    Refused,
    /// What was not judged was carried out.
    Wrong,
}

/// Makes the tries while another thread calls `exchange` as fast as it can, and tells how many came to what must not be.
fn race(
    tries: u64,
    wrong: &str,
    exchange: impl Fn() + Send + 'static,
    mut attempt: impl FnMut(u64) -> Outcome,
) -> ExitCode {
    let exchanger = thread::spawn(move || {
        let mut random = Random::new(1, tries);
        while !OVER.load(Ordering::Relaxed) {
            (0..=random.below(BURST)).for_each(|_| exchange());
            // On one processor: what is judged goes on after a moment, with either choice, and is interrupted anywhere.
            thread::yield_now();
        }
    });
    let (mut done, mut refused, mut failed) = (0_u64, 0_u64, 0_u64);
    for count in 0..tries {
        match attempt(count) {
            Outcome::Done => done += 1,
            Outcome::Refused => refused += 1,
            Outcome::Wrong => failed += 1,
        }
        if count % 15 == 0 {
            // On one processor: the other thread has a turn. The number has no divisor in common with that of kinds of tries which take turns.
            thread::yield_now();
        }
    }
    OVER.store(true, Ordering::Relaxed);
    let _ = exchanger.join();
    let both = done > 0 && refused > 0;
    println!("{tries} tries: {failed} {wrong}; both outcomes: {both}");
    ExitCode::from(u8::from(failed > 0 || !both))
}

/// Exchanges the name in the buffer.
fn exchange_name() {
    NAME.fetch_xor(JUDGED ^ SECRET, Ordering::Relaxed);
}

/// Where a word is, for the kernel.
fn place(slot: &AtomicU64) -> u64 {
    slot.as_ptr().expose_provenance() as u64
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

/// Opens files by the name in the buffer.
fn names(tries: u64) -> ExitCode {
    race(tries, "opened the secret file", exchange_name, |_| match open_named() {
        Some(JUDGED_LEN) => Outcome::Done,
        Some(len) if len != INSTEAD.len() as i64 => Outcome::Wrong,
        Some(_) | None => Outcome::Refused,
    })
}

/// The judged name leads to a named pipe, whose open waits for a writer. The name is exchanged before there is one.
fn named_pipe() -> ExitCode {
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

/// A socket of datagrams at this port.
fn receiver(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind(("127.0.0.1", port)).expect("a free port");
    socket.set_nonblocking(true).expect("a socket");
    socket
}

/// `struct sockaddr_in` of 127.0.0.1, in two words: the port is in the first.
fn words(port: u16) -> [u64; 2] {
    let [high, low] = port.to_be_bytes();
    [u64::from_le_bytes([2, 0, high, low, 127, 0, 0, 1]), 0]
}

/// The address that is sent to, and its second half.
static ADDRESS: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
/// `struct msghdr`: the address that is named, its length, the one range of bytes, and nothing else.
static HEADER: [AtomicU64; 7] = [const { AtomicU64::new(0) }; 7];
/// The range: where, how long.
static RANGE: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(1)];
/// Addresses that a message may name: the one that is allowed, and the other.
static NAMES: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// Sends datagrams to one port, which another thread exchanges for the forbidden one.
fn datagrams(in_message: bool) -> ExitCode {
    let (allowed, forbidden) = (receiver(7001), receiver(7002));
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let (good, bad) = (words(7001), words(7002));
    for (slot, word) in NAMES.iter().zip([good, bad].concat()) {
        slot.store(word, Ordering::Relaxed);
    }
    RANGE[0].store(place(&RANGE[1]), Ordering::Relaxed);
    for (slot, word) in HEADER.iter().zip([place(&NAMES[0]), 16, place(&RANGE[0]), 1, 0, 0, 0]) {
        slot.store(word, Ordering::Relaxed);
    }
    ADDRESS[0].store(good[0], Ordering::Relaxed);
    let difference = place(&NAMES[0]) ^ place(&NAMES[2]);
    let exchange = move || {
        ADDRESS[0].fetch_xor(good[0] ^ bad[0], Ordering::Relaxed);
        HEADER[0].fetch_xor(difference, Ordering::Relaxed);
    };
    let fd = sender.as_raw_fd();
    race(argument(2), "reached the forbidden port or none", exchange, |_| {
        let result = if in_message {
            sys!(libc::sendmsg(fd, HEADER.as_ptr().cast(), 0))
        } else {
            sys!(libc::sendto(fd, b"x".as_ptr().cast(), 1, 0, ADDRESS.as_ptr().cast(), 16))
        };
        let arrived = |socket: &UdpSocket| socket.recv(&mut [0; 4]).is_ok();
        match (result.is_ok(), arrived(&allowed), arrived(&forbidden)) {
            (true, true, false) => Outcome::Done,
            (false, false, false) => Outcome::Refused,
            _ => Outcome::Wrong,
        }
    })
}

/// A socket of messages that is the file `name`.
fn mailbox(name: &str) -> UnixDatagram {
    let socket = UnixDatagram::bind(name).expect("a new name");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    socket
}

/// `struct sockaddr_un` of a file whose name is this letter.
const fn mail_address(name: u8) -> u64 {
    u64::from_le_bytes([1, 0, name, 0, 0, 0, 0, 0])
}

/// What is sent when there is room for it, once by each call.
fn held_sends() -> ExitCode {
    let (allowed, forbidden) = (mailbox("a"), mailbox("b"));
    forbidden.set_nonblocking(true).expect("a socket");
    let sender = UnixDatagram::unbound().expect("a socket");
    let (mut reader, writer) = pipe().expect("a pipe");
    let (socket, file) = (sender.as_raw_fd(), writer.as_raw_fd());
    RANGE[0].store(place(&NAME), Ordering::Relaxed);
    RANGE[1].store(6, Ordering::Relaxed);
    NAMES[0].store(mail_address(b'a'), Ordering::Relaxed);
    NAMES[2].store(mail_address(b'b'), Ordering::Relaxed);
    for (slot, word) in HEADER.iter().zip([0, 4, place(&RANGE[0]), 1, 0, 0, 0]) {
        slot.store(word, Ordering::Relaxed);
    }
    let mut right = 0;
    for call in ["sendto", "sendmsg", "write"] {
        NAME.store(JUDGED, Ordering::Relaxed);
        ADDRESS[0].store(mail_address(b'a'), Ordering::Relaxed);
        HEADER[0].store(place(&NAMES[0]), Ordering::Relaxed);
        fill(file, |bytes| sys!(libc::write(file, bytes.as_ptr().cast(), bytes.len())).is_ok());
        fill(socket, |bytes| sender.send_to(bytes, "a").is_ok());
        let text = thread::scope(|scope| {
            let other = scope.spawn(|| {
                families::tasks::pause_ms(200);
                NAME.store(SECRET, Ordering::Relaxed);
                ADDRESS[0].store(mail_address(b'b'), Ordering::Relaxed);
                HEADER[0].store(place(&NAMES[2]), Ordering::Relaxed);
                first_text(|room| if call == "write" { reader.read(room) } else { allowed.recv(room) })
            });
            must(match call {
                "sendto" => sys!(libc::sendto(socket, NAME.as_ptr().cast(), 6, 0, ADDRESS.as_ptr().cast(), 4)),
                "sendmsg" => sys!(libc::sendmsg(socket, HEADER.as_ptr().cast(), 0)),
                _ => sys!(libc::write(file, NAME.as_ptr().cast(), 6)),
            });
            other.join().expect("a thread")
        });
        let elsewhere = forbidden.recv(&mut [0; 9]).is_ok();
        println!("{call} after the exchange: {text}, elsewhere: {elsewhere}");
        right += u8::from(text == "judged" && !elsewhere);
    }
    ExitCode::from(u8::from(right != 3))
}

/// Calls `put` with bytes that are no text until there is no room, without waiting for any.
fn fill(fd: i32, put: impl Fn(&[u8]) -> bool) {
    let flags = must(sys!(libc::fcntl(fd, libc::F_GETFL)));
    must(sys!(libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK)));
    for len in [1000, 1] {
        while put(&vec![0; len]) {}
    }
    must(sys!(libc::fcntl(fd, libc::F_SETFL, flags)));
}

/// Makes room by reading, until there is a text behind what was there.
fn first_text(mut read: impl FnMut(&mut [u8]) -> std::io::Result<usize>) -> String {
    loop {
        let mut room = [0; 1000];
        let len = read(&mut room).expect("what was sent");
        let text: Vec<u8> = room[..len].iter().copied().skip_while(|byte| *byte == 0).collect();
        if !text.is_empty() {
            return String::from_utf8_lossy(&text).into_owned();
        }
    }
}

/// `struct open_how` and `struct rlimit64`.
static HOW: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static LIMIT: [AtomicU64; 2] = [AtomicU64::new(ALLOWED), AtomicU64::new(100)];
/// Limits of core files that may be set, and that may not.
const ALLOWED: u64 = 98;
const DENIED: u64 = 99;

/// Opens a file for reading, and sets a limit, which another thread exchanges for what is denied.
fn structures() -> ExitCode {
    let exchange = || {
        HOW[0].fetch_xor(libc::O_WRONLY as u64, Ordering::Relaxed);
        LIMIT[0].fetch_xor(ALLOWED ^ DENIED, Ordering::Relaxed);
    };
    race(argument(2), "did what was denied", exchange, |count| {
        let done = if count % 2 == 0 { opened_to_read() } else { limited() };
        match done {
            Some(true) => Outcome::Done,
            Some(false) => Outcome::Wrong,
            None => Outcome::Refused,
        }
    })
}

/// Opens a named pipe for reading, which waits for a writer. Before there is one the flags become some that there are not: who looks again refuses them.
fn held_structure() -> ExitCode {
    must(sys!(libc::unlink(path("judged").as_ptr())));
    must(sys!(libc::mkfifo(path("judged").as_ptr(), 0o600)));
    let writer = thread::spawn(|| {
        families::tasks::pause_ms(200);
        HOW[0].store(u64::MAX, Ordering::Relaxed);
        sys!(libc::open(path("judged").as_ptr(), libc::O_WRONLY)).is_ok()
    });
    let found = opened_to_read();
    println!("opened to read after the exchange: {found:?}, with a writer: {:?}", writer.join().ok());
    ExitCode::from(u8::from(found != Some(true)))
}

/// Whether the file was opened for reading only; nothing if it was not opened.
fn opened_to_read() -> Option<bool> {
    let fd = sys!(libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, c"judged".as_ptr(), HOW.as_ptr(), 24)).ok()?;
    let fd = i32::try_from(fd).unwrap_or(-1);
    let flags = must(sys!(libc::fcntl(fd, libc::F_GETFL)));
    c!(libc::close(fd));
    Some(flags & libc::O_ACCMODE == libc::O_RDONLY)
}

/// Whether the limit is what it may be; nothing if it was not set.
fn limited() -> Option<bool> {
    sys!(libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_CORE, LIMIT.as_ptr(), 0)).ok()?;
    let mut limit = zeroed!(libc::rlimit64);
    must(sys!(libc::getrlimit64(libc::RLIMIT_CORE, &raw mut limit)));
    Some(limit.rlim_cur == ALLOWED)
}

/// Writes the buffer, whose text another thread exchanges for the forbidden one.
fn contents() -> ExitCode {
    let (mut reader, writer) = pipe().expect("a pipe");
    let (receiver, sender) = UnixDatagram::pair().expect("two sockets");
    // The first letter alone, and the others: two ranges that are one text.
    let ranges = [place(&NAME), 1, place(&NAME) + 1, 5];
    let header = [0, 0, ranges.as_ptr().expose_provenance() as u64, 2, 0, 0, 0_u64];
    let (file, socket) = (writer.as_raw_fd(), sender.as_raw_fd());
    race(argument(2), "wrote what was not judged", exchange_name, |count| {
        let result = match count % 4 {
            0 => sys!(libc::write(file, NAME.as_ptr().cast(), 6)),
            1 => sys!(libc::writev(file, ranges.as_ptr().cast(), 2)),
            2 => sys!(libc::sendto(socket, NAME.as_ptr().cast(), 6, 0, std::ptr::null(), 0)),
            _ => sys!(libc::sendmsg(socket, header.as_ptr().cast(), 0)),
        };
        if result.is_err() {
            return Outcome::Refused;
        }
        let mut text = [0; 6];
        match count % 4 {
            0 | 1 => reader.read_exact(&mut text).expect("what was written"),
            _ => assert_eq!(receiver.recv(&mut text).expect("what was sent"), 6),
        }
        if text == *b"judged" { Outcome::Done } else { Outcome::Wrong }
    })
}
