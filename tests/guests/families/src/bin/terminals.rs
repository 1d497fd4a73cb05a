//! Pseudo-terminals: the line discipline, job control, window size.
#![allow(unsafe_code)]

use families::events::{poll, ready};
use families::files::{close, open, read, write};
use families::tasks::{
    Baton, action, block, child, count, ending, handle, pause_ms, seen, status_text, until, wait, wait_with,
};
use families::{Report, c, libc, must, say, sys, zeroed};
use std::process::ExitCode;
use std::ptr;

fn main() -> ExitCode {
    families::run(&[
        ("open", opening),
        ("canonical", canonical),
        ("raw", raw),
        ("echo", echo),
        ("output", output),
        ("interrupt", interrupt),
        ("size", size),
        ("control", control),
        ("background", background),
        ("hang-up", hang_up),
        ("none", none),
    ])
}

/// A new terminal: its master and its slave.
fn terminal() -> (i32, i32) {
    let master = must(sys!(libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY)));
    must(sys!(libc::grantpt(master)));
    must(sys!(libc::unlockpt(master)));
    let mut name = [0u8; 64];
    must(Ok(c!(libc::ptsname_r(master, name.as_mut_ptr().cast(), 64)).into()));
    let name = String::from_utf8_lossy(name.split(|b| *b == 0).next().unwrap_or_default()).into_owned();
    (master, must(open(&name, libc::O_RDWR | libc::O_NOCTTY)))
}

fn settings(fd: i32) -> libc::termios {
    let mut found = zeroed!(libc::termios);
    must(sys!(libc::tcgetattr(fd, &raw mut found)));
    found
}

fn change(fd: i32, change: impl FnOnce(&mut libc::termios)) {
    let mut new = settings(fd);
    change(&mut new);
    must(sys!(libc::tcsetattr(fd, libc::TCSANOW, &raw const new)));
}

fn opening(t: &mut Report) {
    let master = must(open("/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY));
    let mut number = 0u32;
    t.ret("TIOCGPTN", sys!(libc::ioctl(master, libc::TIOCGPTN, &raw mut number)));
    let name = format!("/dev/pts/{number}");
    t.ok("locked", open(&name, libc::O_RDWR | libc::O_NOCTTY));
    let unlock = 0i32;
    t.ret("TIOCSPTLCK", sys!(libc::ioctl(master, libc::TIOCSPTLCK, &raw const unlock)));
    t.ok("unlocked", open(&name, libc::O_RDWR | libc::O_NOCTTY));
    let (master, slave) = terminal();
    t.show("terminals", format!("{} {}", c!(libc::isatty(master)), c!(libc::isatty(slave))));
    let s = settings(slave);
    t.show(
        "settings",
        format!("{:#o} {:#o} {:#o} {:#o} {:?}", s.c_iflag, s.c_oflag, s.c_cflag, s.c_lflag, &s.c_cc[..17]),
    );
    let mut space = zeroed!(libc::termios);
    t.ret("no terminal", sys!(libc::tcgetattr(families::files::pipe().0, &raw mut space)));
    t.show("kind", families::files::mode_text(families::files::stat(slave).st_mode).starts_with("character device"));
    let (_, other) = terminal();
    t.check("each is another one", families::files::stat(other).st_rdev != families::files::stat(slave).st_rdev);
    must(close(master));
    t.show("without a master", read(slave, 5));
    t.ret("write", write(slave, b"x"));
}

fn canonical(t: &mut Report) {
    let (master, slave) = terminal();
    change(slave, |s| s.c_lflag &= !libc::ECHO);
    must(write(master, b"half"));
    t.show("half a line is not ready", poll(slave, libc::POLLIN, 20));
    must(write(master, b" a line\nnext\n"));
    t.show("ready", poll(slave, libc::POLLIN, 10_000));
    t.show("a line", read(slave, 100));
    t.show("a part of the next", read(slave, 2));
    t.show("and its rest", read(slave, 100));
    must(write(master, b"abc\x7f\x7fde\n"));
    t.show("erased", read(slave, 100));
    must(write(master, b"all of it\x15new\n"));
    t.show("killed", read(slave, 100));
    must(write(master, b"one two\x17three\n"));
    t.show("a word erased", read(slave, 100));
    must(write(master, b"carriage return\r"));
    t.show("carriage return", read(slave, 100));
    must(write(master, b"no end\x04"));
    t.show("end of file after text", read(slave, 100));
    must(write(master, b"\x04"));
    t.show("end of file", read(slave, 100));
    must(write(master, b"\x16\x03quoted\n"));
    t.show("quoted", read(slave, 100));
    must(write(master, b"thrown away\n"));
    t.ret("flush", sys!(libc::tcflush(slave, libc::TCIFLUSH)));
    must(sys!(libc::fcntl(slave, libc::F_SETFL, libc::O_NONBLOCK)));
    t.show("nothing", read(slave, 100));
}

fn raw(t: &mut Report) {
    let (master, slave) = terminal();
    let mut s = settings(slave);
    c!(libc::cfmakeraw(&raw mut s));
    t.ret("set", sys!(libc::tcsetattr(slave, libc::TCSADRAIN, &raw const s)));
    must(write(master, b"a\r\x03\x04\x7f"));
    t.show("as it came", read(slave, 100));
    must(write(slave, b"b\n"));
    t.show("as it went", read(master, 100));
    change(slave, |s| {
        s.c_cc[libc::VMIN] = 0;
        s.c_cc[libc::VTIME] = 1;
    });
    t.show("time is up", read(slave, 10));
    change(slave, |s| {
        s.c_cc[libc::VMIN] = 3;
        s.c_cc[libc::VTIME] = 0;
    });
    let pid = child(|| {
        for byte in [b"x", b"y", b"z"] {
            must(write(master, byte));
            pause_ms(20);
        }
        0
    });
    t.show("three at least", read(slave, 10));
    wait(pid);
}

fn echo(t: &mut Report) {
    let (master, slave) = terminal();
    must(write(master, b"ab\n"));
    t.show("line", read(slave, 10));
    t.show("echo", read(master, 100));
    must(write(master, b"x\x7f\n"));
    read(slave, 10);
    t.show("erase", read(master, 100));
    must(write(master, b"\x01\n"));
    read(slave, 10);
    t.show("control characters", read(master, 100));
    change(slave, |s| s.c_lflag &= !libc::ECHO);
    must(write(master, b"secret\n"));
    t.show("line", read(slave, 10));
    t.show("no echo", ready(master));
    change(slave, |s| s.c_lflag |= libc::ECHONL);
    must(write(master, b"secret\n"));
    read(slave, 10);
    t.show("the line's end alone", read(master, 100));
}

fn output(t: &mut Report) {
    let (master, slave) = terminal();
    must(write(slave, b"one\ntwo\r\tx\n"));
    t.show("processed", read(master, 100));
    change(slave, |s| s.c_oflag &= !libc::OPOST);
    must(write(slave, b"one\n"));
    t.show("not processed", read(master, 100));
    let mut count = 0i32;
    must(write(slave, b"12345"));
    // What goes into one end comes out of the other a little later.
    let mut there = libc::pollfd { fd: master, events: libc::POLLIN, revents: 0 };
    until(|| c!(libc::poll(&raw mut there, 1, 1000)) == 1);
    t.ret("FIONREAD", sys!(libc::ioctl(master, libc::FIONREAD, &raw mut count)));
    t.show("bytes", count);
}

/// Runs `body` in a new session that has the slave as its terminal.
fn session(slave: i32, body: impl FnOnce() -> i32) -> i32 {
    child(|| {
        must(sys!(libc::setsid()));
        must(sys!(libc::ioctl(slave, libc::TIOCSCTTY, 0)));
        body()
    })
}

fn interrupt(t: &mut Report) {
    let (master, slave) = terminal();
    for (what, key) in [("^C", b"\x03"), ("^\\", b"\x1c"), ("^Z", b"\x1a")] {
        let ready = Baton::default();
        let pid = session(slave, || {
            // A child in a group of its own in the foreground: what is to be hit. A parent outside keeps ^Z from being orphaned.
            let inner = child(|| {
                must(sys!(libc::setpgid(0, 0)));
                pause_ms(60_000);
                0
            });
            until(|| c!(libc::getpgid(inner)) == inner);
            must(sys!(libc::tcsetpgrp(slave, inner)));
            ready.pass();
            let (_, status) = wait_with(inner, libc::WUNTRACED).unwrap_or_default();
            say!("  {}", status_text(status));
            c!(libc::kill(inner, libc::SIGKILL));
            0
        });
        ready.take();
        must(write(master, key));
        t.show(what, wait(pid));
    }
    read(master, 100);
    change(slave, |s| s.c_lflag &= !libc::ISIG);
    must(write(master, b"\x03\n"));
    t.show("not with ISIG off", read(slave, 10));
}

fn size(t: &mut Report) {
    let (master, slave) = terminal();
    let mut size = zeroed!(libc::winsize);
    t.ret("ask", sys!(libc::ioctl(slave, libc::TIOCGWINSZ, &raw mut size)));
    t.show("rows and columns", format!("{} {}", size.ws_row, size.ws_col));
    let ready = Baton::default();
    let pid = session(slave, || {
        must(handle(libc::SIGWINCH, count, 0));
        ready.pass();
        let came = until(|| families::tasks::SEEN.load(std::sync::atomic::Ordering::SeqCst) > 0);
        let mut size = zeroed!(libc::winsize);
        must(sys!(libc::ioctl(slave, libc::TIOCGWINSZ, &raw mut size)));
        say!("  {came} {} {}", size.ws_row, size.ws_col);
        0
    });
    ready.take();
    size.ws_row = 50;
    size.ws_col = 132;
    let set = sys!(libc::ioctl(master, libc::TIOCSWINSZ, &raw const size));
    let end = wait(pid);
    t.ret("set", set);
    t.show("SIGWINCH", end);
}

fn control(t: &mut Report) {
    let (_master, slave) = terminal();
    t.ret("not ours: tcgetpgrp", sys!(libc::tcgetpgrp(slave)));
    let pid = session(slave, || {
        let me = c!(libc::getpid());
        say!("  foreground {}", c!(libc::tcgetpgrp(slave)) == me);
        say!("  session {}", c!(libc::tcgetsid(slave)) == me);
        let tty = open("/dev/tty", libc::O_RDWR);
        say!("  /dev/tty {}", tty.is_ok());
        say!(
            "  a group of another session {}",
            sys!(libc::tcsetpgrp(slave, libc::getppid())).err().map_or("ok".to_owned(), |e| e.to_string())
        );
        say!(
            "  a group that there is not {}",
            sys!(libc::tcsetpgrp(slave, 99_999)).err().map_or("ok".to_owned(), |e| e.to_string())
        );
        c!(libc::signal(libc::SIGHUP, libc::SIG_IGN));
        say!("  given up {}", sys!(libc::ioctl(slave, libc::TIOCNOTTY)).is_ok());
        say!("  then /dev/tty {}", open("/dev/tty", libc::O_RDWR).err().map_or("ok".to_owned(), |e| e.to_string()));
        0
    });
    t.show("session", wait(pid));
    t.show(
        "not a leader",
        ending(|| {
            say!("  {}", sys!(libc::ioctl(slave, libc::TIOCSCTTY, 0)).err().map_or("ok".to_owned(), |e| e.to_string()));
            0
        }),
    );
}

fn background(t: &mut Report) {
    let (master, slave) = terminal();
    let pid = session(slave, || {
        let in_background = |what: &str, body: &dyn Fn() -> i32| {
            let inner = child(|| {
                must(sys!(libc::setpgid(0, 0)));
                body()
            });
            let (_, status) = wait_with(inner, libc::WUNTRACED).unwrap_or_default();
            say!("  {what}: {}", status_text(status));
            c!(libc::kill(inner, libc::SIGKILL));
            wait(inner);
        };
        in_background("read", &|| i32::from(families::files::read_len(slave, 1).is_err()));
        in_background("write", &|| i32::from(write(slave, b"x").is_err()));
        change(slave, |s| s.c_lflag |= libc::TOSTOP);
        in_background("write with TOSTOP", &|| i32::from(write(slave, b"x").is_err()));
        in_background("settings", &|| {
            change(slave, |s| s.c_lflag |= libc::ECHO);
            0
        });
        in_background("read with SIGTTIN ignored", &|| {
            must(action(libc::SIGTTIN, libc::SIG_IGN, 0));
            families::files::read_len(slave, 1).err().map_or(0, |e| e.0)
        });
        in_background("tcsetpgrp with SIGTTOU blocked", &|| {
            block(&[libc::SIGTTOU]);
            i32::from(sys!(libc::tcsetpgrp(slave, libc::getpgrp())).is_err())
        });
        0
    });
    t.show("session", wait(pid));
    t.show("what was written", read(master, 10));
}

fn hang_up(t: &mut Report) {
    let (master, slave) = terminal();
    let (ready_to, told) = (Baton::default(), Baton::default());
    let pid = session(slave, || {
        must(handle(libc::SIGHUP, count, 0));
        c!(libc::close(master));
        ready_to.pass();
        until(|| families::tasks::SEEN.load(std::sync::atomic::Ordering::SeqCst) > 0);
        say!("  SIGHUP {}", seen());
        say!("  read {}", read(slave, 10));
        say!("  ready {}", ready(slave));
        told.pass();
        0
    });
    ready_to.take();
    must(close(master));
    told.take();
    t.show("when the master is closed", wait(pid));
    let (master, slave) = terminal();
    let pid = session(slave, || {
        child(|| {
            c!(libc::signal(libc::SIGHUP, libc::SIG_DFL));
            pause_ms(60_000);
            0
        });
        0
    });
    t.show("leader", wait(pid));
    must(close(slave));
    t.show("the master reads", read(master, 10).replace("\"\"", "EIO"));
}

fn none(t: &mut Report) {
    t.show(
        "new session",
        ending(|| {
            must(sys!(libc::setsid()));
            let show = |what: &str, result: families::Sys| {
                say!("  {what}: {}", result.err().map_or("ok".to_owned(), |e| e.to_string()))
            };
            show("/dev/tty", open("/dev/tty", libc::O_RDWR));
            let (_, slave) = terminal();
            show("opening one with O_NOCTTY does not take it", open("/dev/tty", libc::O_RDWR));
            let mut name = [0u8; 64];
            must(Ok(c!(libc::ttyname_r(slave, name.as_mut_ptr().cast(), 64)).into()));
            let name = String::from_utf8_lossy(name.split(|b| *b == 0).next().unwrap_or_default()).into_owned();
            say!("  name {}", name.starts_with("/dev/pts/"));
            must(open(&name, libc::O_RDWR));
            show("without it does", open("/dev/tty", libc::O_RDWR));
            0
        }),
    );
    t.ret("ioctl that there is not", sys!(libc::ioctl(terminal().1, 0x9999, ptr::null_mut::<u8>())));
}
