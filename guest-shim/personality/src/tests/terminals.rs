//! Pseudoterminals and the console as a terminal; the line discipline beside the one of the machine that tests it.

use alloc::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::*;
use crate::abi::{Termios, Winsize};
use crate::errno::Errno;
use crate::fs::special::Sink;
use crate::fs::terminal::line::{Line, SANE};
use zerocopy::{FromBytes, IntoBytes};

const TCGETS: u64 = 0x5401;
const TCSETS: u64 = 0x5402;
const TIOCSCTTY: u64 = 0x540e;
const TIOCGPGRP: u64 = 0x540f;
const TIOCSPGRP: u64 = 0x5410;
const TIOCGWINSZ: u64 = 0x5413;
const TIOCSWINSZ: u64 = 0x5414;
const FIONREAD: u64 = 0x541b;
const TIOCPKT: u64 = 0x5420;
const TIOCGSID: u64 = 0x5429;
const TIOCGPTN: u64 = 0x8004_5430;
const TIOCSPTLCK: u64 = 0x4004_5431;
const TIOCGPTPEER: u64 = 0x5441;
const NONBLOCK: u32 = raw::O_RDWR | raw::O_NOCTTY | raw::O_NONBLOCK;

impl Sandbox {
    fn ioctl(&mut self, fd: i64, request: u64, argument: u64) -> i64 {
        self.call(16, [fd.cast_unsigned(), request, argument, 0, 0, 0])
    }

    /// With a value that the request reads or writes; the result, and the value afterwards.
    fn ioctl_int(&mut self, fd: i64, request: u64, value: i32) -> (i64, i32) {
        let at = self.scratch + 0x3000;
        self.kernel.copy_out(at, value.as_bytes()).expect("scratch memory");
        let result = self.ioctl(fd, request, at);
        (result, i32::read_from_bytes(&self.bytes(at, 4)).expect("an int"))
    }

    fn settings(&mut self, fd: i64) -> Termios {
        let at = self.scratch + 0x3000;
        assert_eq!(self.ioctl(fd, TCGETS, at), 0);
        Termios::read_from_bytes(&self.bytes(at, 36)).expect("a termios")
    }

    fn change(&mut self, fd: i64, change: impl FnOnce(&mut Termios)) {
        let mut settings = self.settings(fd);
        change(&mut settings);
        let at = self.scratch + 0x3000;
        self.kernel.copy_out(at, settings.as_bytes()).expect("scratch memory");
        assert_eq!(self.ioctl(fd, TCSETS, at), 0);
    }

    /// Master and slave of a new pseudoterminal, which never wait.
    fn pty(&mut self) -> (i64, i64) {
        let master = self.open(b"/dev/ptmx", NONBLOCK, 0);
        let (result, number) = self.ioctl_int(master, TIOCGPTN, -1);
        assert_eq!(result, 0);
        let name = alloc::format!("/dev/pts/{number}");
        assert_eq!(self.open(name.as_bytes(), NONBLOCK, 0), error(Errno::EIO));
        assert_eq!(self.ioctl_int(master, TIOCSPTLCK, 0).0, 0);
        (master, self.open(name.as_bytes(), NONBLOCK, 0))
    }

    fn hang_up(&mut self, fd: i64) {
        assert_eq!(self.call(3, [fd.cast_unsigned(), 0, 0, 0, 0, 0]), 0);
    }
}

const AGAIN: i64 = -11;

#[test]
fn lines_go_through_a_pseudoterminal() {
    let mut sandbox = Sandbox::new();
    let (master, slave) = sandbox.pty();
    assert_eq!(sandbox.read(slave, 100), Err(AGAIN));
    assert_eq!(sandbox.write(master, b"abd\x7fc"), 5);
    assert_eq!(sandbox.read(slave, 100), Err(AGAIN));
    assert_eq!(sandbox.write(master, b"\rnext"), 5);
    assert_eq!(sandbox.ioctl_int(slave, FIONREAD, 0), (0, 4));
    assert_eq!(sandbox.read(slave, 2), Ok(b"ab".to_vec()));
    assert_eq!(sandbox.read(slave, 100), Ok(b"c\n".to_vec()));
    assert_eq!(sandbox.read(slave, 100), Err(AGAIN));
    assert_eq!(sandbox.read(master, 100), Ok(b"abd\x08 \x08c\r\nnext".to_vec()));
    assert_eq!(sandbox.write(slave, b"out\n"), 4);
    assert_eq!(sandbox.read(master, 100), Ok(b"out\r\n".to_vec()));
    assert_eq!(sandbox.read(master, 100), Err(AGAIN));
    assert_eq!(sandbox.write(master, b"\x04"), 1);
    assert_eq!(sandbox.read(slave, 4), Ok(b"next".to_vec()));
    assert_eq!(sandbox.read(slave, 4), Err(AGAIN));
    assert_eq!(sandbox.write(master, b"\x04"), 1);
    assert_eq!(sandbox.read(slave, 4), Ok(Vec::new()));
}

#[test]
fn raw_mode_gives_bytes_as_they_come() {
    let mut sandbox = Sandbox::new();
    let (master, slave) = sandbox.pty();
    sandbox.change(slave, |settings| {
        settings.c_lflag &= !(raw::ICANON | raw::ECHO | raw::ISIG);
        settings.c_iflag = 0;
        settings.c_oflag = 0;
        settings.c_cc[raw::VMIN as usize] = 2;
    });
    assert_eq!(sandbox.write(master, b"\x03"), 1);
    assert_eq!(sandbox.read(slave, 100), Err(AGAIN));
    assert_eq!(sandbox.read(slave, 1), Ok(b"\x03".to_vec()));
    assert_eq!(sandbox.write(master, b"\r\x04"), 2);
    assert_eq!(sandbox.read(slave, 100), Ok(b"\r\x04".to_vec()));
    assert_eq!(sandbox.read(master, 100), Err(AGAIN));
    assert_eq!(sandbox.write(slave, b"\n"), 1);
    assert_eq!(sandbox.read(master, 100), Ok(b"\n".to_vec()));
}

#[test]
fn a_time_limit_ends_a_read() {
    let mut sandbox = Sandbox::new();
    let (master, slave) = sandbox.pty();
    assert_eq!(sandbox.call(72, [slave.cast_unsigned(), 4, 2, 0, 0, 0]), 0);
    sandbox.change(slave, |settings| {
        settings.c_lflag &= !raw::ICANON;
        settings.c_cc[raw::VMIN as usize] = 0;
        settings.c_cc[raw::VTIME as usize] = 3;
    });
    let before = sandbox.kernel.platform.time;
    assert_eq!(sandbox.read(slave, 100), Ok(Vec::new()));
    assert!(sandbox.kernel.platform.time - before >= 3_000_000);
    sandbox.change(slave, |settings| settings.c_cc[raw::VMIN as usize] = 5);
    let before = sandbox.kernel.platform.time;
    assert_eq!(sandbox.write(master, b"xy"), 2);
    assert_eq!(sandbox.read(slave, 100), Ok(b"xy".to_vec()));
    assert!(sandbox.kernel.platform.time - before >= 2_999_000);
    sandbox.change(slave, |settings| {
        settings.c_cc[raw::VMIN as usize] = 0;
        settings.c_cc[raw::VTIME as usize] = 0;
    });
    assert_eq!(sandbox.read(slave, 100), Ok(Vec::new()));
}

#[test]
fn ends_of_a_pseudoterminal_notice_each_other() {
    let mut sandbox = Sandbox::new();
    let (master, slave) = sandbox.pty();
    sandbox.write(slave, b"last");
    sandbox.hang_up(slave);
    assert_eq!(sandbox.read(master, 100), Ok(b"last".to_vec()));
    assert_eq!(sandbox.read(master, 100), Err(error(Errno::EIO)));
    let slave = sandbox.ioctl(master, TIOCGPTPEER, u64::from(NONBLOCK));
    assert!(slave > 0);
    assert_eq!(sandbox.read(master, 100), Err(AGAIN));
    sandbox.hang_up(master);
    assert_eq!(sandbox.read(slave, 100), Ok(Vec::new()));
    assert_eq!(sandbox.write(slave, b"x"), error(Errno::EIO));
    let at = sandbox.scratch;
    assert_eq!(sandbox.ioctl(slave, TCGETS, at), error(Errno::EIO));
    assert_eq!(sandbox.open(b"/dev/pts/0", NONBLOCK, 0), error(Errno::ENOENT));
    assert_eq!(sandbox.ioctl(master, TIOCGPTN, at), error(Errno::EBADF));
}

#[test]
fn names_lead_back_to_terminals() {
    let mut sandbox = Sandbox::new();
    let (_, slave) = sandbox.pty();
    let link = alloc::format!("/proc/self/fd/{slave}");
    let at = sandbox.scratch + 0x1000;
    assert_eq!(sandbox.path_call(89, link.as_bytes(), [at, 100]), 10);
    assert_eq!(sandbox.bytes(at, 10), b"/dev/pts/0");
    assert_eq!(sandbox.path_call(4, b"/dev/pts/0", [at, 0]), 0);
    let by_name = sandbox.bytes(at, 144);
    assert_eq!(sandbox.call(5, [slave.cast_unsigned(), at, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.bytes(at, 144), by_name);
    assert_eq!(by_name[40..42], [0, 0x88]);
    assert_eq!(sandbox.path_call(4, b"/dev/pts/7", [at, 0]), error(Errno::ENOENT));
}

#[test]
fn packets_tell_what_happened() {
    let mut sandbox = Sandbox::new();
    let (master, slave) = sandbox.pty();
    assert_eq!(sandbox.ioctl_int(master, TIOCPKT, 1).0, 0);
    sandbox.write(slave, b"hi");
    assert_eq!(sandbox.read(master, 100), Ok(b"\0hi".to_vec()));
    assert_eq!(sandbox.ioctl(slave, 0x540b, 0), 0);
    assert_eq!(sandbox.read(master, 100), Ok(alloc::vec![1]));
    assert_eq!(sandbox.read(master, 100), Err(AGAIN));
}

#[test]
fn a_session_takes_a_terminal() {
    let mut sandbox = Sandbox::new();
    let (master, slave) = sandbox.pty();
    assert_eq!(sandbox.open(b"/dev/tty", raw::O_RDWR, 0), error(Errno::ENXIO));
    assert_eq!(sandbox.ioctl_int(slave, TIOCGPGRP, 0).0, error(Errno::ENOTTY));
    assert_eq!(sandbox.ioctl(slave, TIOCSCTTY, 0), error(Errno::EPERM));
    assert_eq!(sandbox.call(112, [0; 6]), 2);
    assert_eq!(sandbox.ioctl(slave, TIOCSCTTY, 0), 0);
    assert_eq!(sandbox.ioctl_int(slave, TIOCGPGRP, 0), (0, 2));
    assert_eq!(sandbox.ioctl_int(slave, TIOCGSID, 0), (0, 2));
    assert_eq!(sandbox.ioctl_int(master, TIOCGPGRP, 0), (0, 2));
    assert_eq!(sandbox.ioctl_int(slave, TIOCSPGRP, 77).0, error(Errno::ESRCH));
    assert_eq!(sandbox.ioctl_int(slave, TIOCSPGRP, 1).0, error(Errno::EPERM));
    assert_eq!(sandbox.ioctl_int(slave, TIOCSPGRP, 2).0, 0);
    let own = sandbox.open(b"/dev/tty", raw::O_RDWR, 0);
    sandbox.write(own, b"own");
    assert_eq!(sandbox.read(master, 100), Ok(b"own".to_vec()));
    let (_, other) = sandbox.pty();
    assert_eq!(sandbox.ioctl(other, TIOCSCTTY, 0), error(Errno::EPERM));
    let at = sandbox.string(1, b"\x03");
    assert_eq!(sandbox.enter(1, [master.cast_unsigned(), at, 1, 0, 0, 0]), Flow::Ended);
    assert_eq!(sandbox.kernel.platform.exit.map(|exit| exit.signal), Some(2));
}

#[test]
fn windows_have_the_size_that_they_were_given() {
    let mut sandbox = Sandbox::new();
    let (master, slave) = sandbox.pty();
    let at = sandbox.scratch;
    let window = Winsize { ws_row: 7, ws_col: 9, ..Default::default() };
    sandbox.kernel.copy_out(at, window.as_bytes()).expect("scratch memory");
    assert_eq!(sandbox.ioctl(master, TIOCSWINSZ, at), 0);
    assert_eq!(sandbox.ioctl(slave, TIOCGWINSZ, at + 8), 0);
    assert_eq!(sandbox.bytes(at + 8, 8), window.as_bytes());
    assert_eq!(sandbox.ioctl(slave, 0x5412, at), error(Errno::EIO));
    assert_eq!(sandbox.ioctl(slave, 0x54ff, at), error(Errno::ENOTTY));
}

#[test]
fn writers_and_typists_are_held_up() {
    let mut sandbox = Sandbox::new();
    let (master, slave) = sandbox.pty();
    let data = alloc::vec![b'x'; 4000];
    let mut written = 0;
    loop {
        match sandbox.write(slave, &data) {
            AGAIN => break,
            count => written += count,
        }
    }
    assert!((16 << 10..32 << 10).contains(&written), "{written}");
    sandbox.read(master, 4000).expect("output");
    assert!(sandbox.write(slave, &data) > 0);
    sandbox.change(slave, |settings| settings.c_lflag &= !(raw::ICANON | raw::ECHO));
    assert_eq!(sandbox.write(master, &data), 4000);
    assert_eq!(sandbox.write(master, &data), 95);
    assert_eq!(sandbox.write(master, &data), AGAIN);
    // A line without an end loses what is too much, so that its end can come.
    sandbox.change(slave, |settings| settings.c_lflag |= raw::ICANON);
    assert_eq!(sandbox.read(slave, 4096).map(|read| read.len()), Ok(4095));
    for _ in 0..3 {
        assert_eq!(sandbox.write(master, &data), 4000);
    }
    assert_eq!(sandbox.write(master, b"\n"), 1);
    assert_eq!(sandbox.read(slave, 4096).map(|read| read.len()), Ok(4096));
}

#[test]
fn a_write_without_end_lets_others_have_their_turn() {
    let mut sandbox = Sandbox::new();
    let (master, _) = sandbox.pty();
    let at = sandbox.scratch;
    let list: Vec<u64> = (0..16).flat_map(|_| [at + 0x1000, 0x3_f000]).collect();
    sandbox.kernel.copy_out(at, list.as_slice().as_bytes()).expect("scratch memory");
    sandbox.kernel.copy_out(at + 0x1000, &alloc::vec![b'x'; 0x3_f000]).expect("scratch memory");
    assert_eq!(sandbox.call(20, [master.cast_unsigned(), at, 16, 0, 0, 0]), 16 * 0x3_f000);
    let turns = sandbox.kernel.platform.waits.len();
    assert!((12..20).contains(&turns), "{turns}");
}

#[test]
fn the_console_is_a_terminal_with_a_line() {
    let mut sandbox = Sandbox::with_terminal();
    sandbox.kernel.platform.input = b"abx\x7f\r".to_vec();
    assert_eq!(sandbox.read(0, 100), Ok(b"ab\n".to_vec()));
    assert_eq!(sandbox.kernel.platform.output[1], b"abx\x08 \x08\r\n");
    assert_eq!(sandbox.write(1, b"1\n"), 2);
    assert_eq!(sandbox.write(2, b"2\n"), 2);
    assert_eq!(sandbox.kernel.platform.output[1], b"abx\x08 \x08\r\n1\r\n");
    assert_eq!(sandbox.kernel.platform.output[2], b"2\r\n");
    assert_eq!(sandbox.settings(0), SANE);
    sandbox.change(0, |settings| settings.c_lflag &= !(raw::ICANON | raw::ECHO));
    sandbox.kernel.platform.input = b"\x7f".to_vec();
    assert_eq!(sandbox.read(0, 100), Ok(b"\x7f".to_vec()));
    assert_eq!(sandbox.ioctl_int(0, TIOCGPGRP, 0), (0, 1));
    let at = sandbox.scratch;
    assert_eq!(sandbox.path_call(89, b"/proc/self/fd/0", [at + 0x1000, 100]), 12);
    assert_eq!(sandbox.bytes(at + 0x1000, 12), b"/dev/console");
    let own = sandbox.open(b"/dev/tty", raw::O_RDWR, 0);
    sandbox.kernel.platform.output[1].clear();
    sandbox.write(own, b"own");
    assert_eq!(sandbox.kernel.platform.output[1], b"own");
}

#[test]
fn an_interrupt_key_ends_a_program_that_sleeps() {
    let mut sandbox = Sandbox::with_terminal();
    let at = sandbox.scratch;
    sandbox.kernel.copy_out(at, [1000_u64, 0].as_bytes()).expect("scratch memory");
    sandbox.kernel.platform.input = b"typed ahead\n\x03".to_vec();
    assert_eq!(sandbox.enter(35, [at, 0, 0, 0, 0, 0]), Flow::Ended);
    assert_eq!(sandbox.kernel.platform.exit.map(|exit| exit.signal), Some(2));
    assert_eq!(sandbox.kernel.platform.output[1], b"^C");
}

#[test]
fn a_new_window_size_is_a_signal_to_the_foreground() {
    let mut sandbox = Sandbox::with_terminal();
    let at = sandbox.scratch;
    let window = Winsize { ws_row: 7, ws_col: 9, ..Default::default() };
    sandbox.kernel.copy_out(at, window.as_bytes()).expect("scratch memory");
    assert_eq!(sandbox.ioctl(0, TIOCSWINSZ, at), 0);
    assert_eq!(sandbox.ioctl(1, TIOCGWINSZ, at + 8), 0);
    assert_eq!(sandbox.bytes(at + 8, 4), [7, 0, 9, 0]);
    // SIGWINCH is waited for: blocked, so that it stays pending.
    sandbox.kernel.copy_out(at, &(1_u64 << 27).to_le_bytes()).expect("scratch memory");
    assert_eq!(sandbox.call(14, [0, at, 0, 8, 0, 0]), 0);
    sandbox.kernel.platform.window_changed = true;
    assert_eq!(sandbox.call(128, [at, 0, 0, 8, 0, 0]), 28);
    assert_eq!(sandbox.ioctl(1, TIOCGWINSZ, at), 0);
    assert_eq!(sandbox.bytes(at, 4), [24, 0, 80, 0]);
}

#[test]
fn the_console_ends_like_a_file() {
    let mut sandbox = Sandbox::with_terminal();
    sandbox.kernel.platform.input = b"rest\n".to_vec();
    sandbox.kernel.platform.input_ended = true;
    assert_eq!(sandbox.read(0, 100), Ok(b"rest\n".to_vec()));
    assert_eq!(sandbox.read(0, 100), Ok(Vec::new()));
}

/// A buffer of so many bytes.
struct Buffer(Vec<u8>, usize);

impl Sink for Buffer {
    fn room(&self) -> usize {
        self.1 - self.0.len()
    }

    fn next(&mut self, max: usize) -> &mut [u8] {
        let (at, len) = (self.0.len(), max.min(self.room()));
        self.0.resize(at + len, 0);
        &mut self.0[at..]
    }
}

/// A pseudoterminal of the machine that runs the test.
struct Real {
    master: OwnedFd,
    slave: OwnedFd,
}

impl Real {
    fn new(settings: &Termios) -> Option<Self> {
        use rustix::fs::{Mode, OFlags};
        use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).ok()?;
        unlockpt(&master).expect("a new terminal");
        let name = ptsname(&master, Vec::new()).expect("a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK;
        let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).expect("its other side");
        rustix::io::ioctl_fionbio(&master, true).expect("a flag");
        let mut real = rustix::termios::tcgetattr(&slave).expect("settings");
        real.input_modes = rustix::termios::InputModes::from_bits_retain(settings.c_iflag);
        real.output_modes = rustix::termios::OutputModes::from_bits_retain(settings.c_oflag);
        real.local_modes = rustix::termios::LocalModes::from_bits_retain(settings.c_lflag);
        rustix::termios::tcsetattr(&slave, rustix::termios::OptionalActions::Now, &real).expect("settings");
        Some(Self { master, slave })
    }

    /// What is shown. The machine takes a while to look at what was typed, a busy one a long while: `expected` bytes are
    /// waited for, and then a moment for more.
    fn shown(&self, expected: usize) -> Vec<u8> {
        let mut shown = Vec::new();
        let (mut tries, mut moments) = (0, 0);
        while moments < 3 && tries < 20_000 {
            std::thread::sleep(Duration::from_millis(1));
            shown.extend(Self::read(&self.master, 4096).unwrap_or_default());
            tries += 1;
            moments += u32::from(shown.len() >= expected);
        }
        shown
    }

    fn read(from: &OwnedFd, len: usize) -> Option<Vec<u8>> {
        let mut bytes = alloc::vec![0; len];
        let count = rustix::io::read(from, bytes.as_mut_slice()).ok()?;
        bytes.truncate(count);
        Some(bytes)
    }
}

/// A random number generator that says the same each time (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).expect("small")
    }
}

#[test]
fn lines_are_as_this_machine_has_them() {
    const KEYS: &[u8] = b"ab _\t\xc3\xa9\x7f\x7f\x17\x15\r\n\x04\x16\x12\x1a\x03\x01\x1b";
    let input = [raw::ICRNL, raw::INLCR, raw::IGNCR, raw::ISTRIP, raw::IUTF8, raw::IUCLC];
    let output = [raw::ONLCR, raw::OCRNL, raw::ONOCR, raw::ONLRET, raw::XTABS, raw::OLCUC];
    let local = [raw::ECHOE, raw::ECHOK, raw::ECHOKE, raw::ECHOCTL, raw::ECHONL, raw::IEXTEN, raw::NOFLSH];
    let mut random = Random(7);
    let flags = |of: &[u32], random: &mut Random| {
        of.iter().filter(|_| random.below(2) == 0).fold(0, |flags, flag| flags | flag)
    };
    for case in 0..150 {
        let settings = Termios {
            c_iflag: flags(&input, &mut random),
            c_oflag: raw::OPOST | flags(&output, &mut random),
            c_lflag: flags(&[raw::ICANON, raw::ECHO, raw::ISIG], &mut random)
                | raw::ICANON
                | flags(&local, &mut random),
            ..SANE
        };
        let Some(real) = Real::new(&settings) else {
            std::println!("this machine has no pseudoterminals: nothing to compare with");
            return;
        };
        let (mut line, mut shown) = (Line::new(), VecDeque::new());
        line.set(settings);
        for step in 0..4 {
            let typed: Vec<u8> = (0..random.below(12)).map(|_| KEYS[random.below(KEYS.len())]).collect();
            for &byte in &typed {
                line.receive(byte, 0, &mut shown);
            }
            rustix::io::write(&real.master, &typed).expect("room");
            let label = alloc::format!("case {case}.{step}: {settings:x?} {typed:x?}");
            let seen: Vec<u8> = shown.drain(..).collect();
            assert_eq!(seen, real.shown(seen.len()), "shown, {label}");
            for len in [1 + random.below(9), 4096] {
                let mut buffer = Buffer(Vec::new(), len);
                let read = line.read(0, &mut buffer).map(|_| buffer.0);
                assert_eq!(read, Real::read(&real.slave, len), "read of {len}, {label}");
            }
        }
    }
}
