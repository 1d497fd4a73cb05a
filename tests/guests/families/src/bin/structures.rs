//! Structures that calls are passed by pointer: sizes that are too small or larger than known, pages that are not there, and which error comes first.
#![allow(unsafe_code)]

use families::files::{Scratch, file, path};
use families::memory::{PAGE, map, pointer};
use families::{Report, Sys, c, libc, sys};
use std::process::ExitCode;

fn main() -> ExitCode {
    families::run(&[("openat2", openat2), ("clone3", clone3), ("limits", limits), ("scheduling", scheduling)])
}

/// Two pages of zeros, with nothing before and behind them.
struct Pages {
    start: usize,
}

impl Pages {
    const END: usize = 2 * PAGE;

    fn new() -> Self {
        let all = pointer(map(4 * PAGE, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0));
        let start = all.wrapping_add(PAGE);
        families::must(sys!(libc::mprotect(start.cast(), 2 * PAGE, libc::PROT_READ | libc::PROT_WRITE)));
        Self { start: start.expose_provenance() }
    }

    /// Zeros, but for these bytes, which are at these places where there is memory.
    fn put(&self, at: isize, bytes: &[u8]) -> usize {
        let byte = |place: usize| std::ptr::with_exposed_provenance_mut::<u8>(self.start + place);
        (0..Self::END).for_each(|place| families::memory::poke(byte(place), 0));
        for (place, value) in (at..).zip(bytes) {
            if let Some(place) = usize::try_from(place).ok().filter(|place| *place < Self::END) {
                families::memory::poke(byte(place), *value);
            }
        }
        self.start.wrapping_add_signed(at)
    }
}

/// Tries what may go wrong with a structure of `value`'s length, of which `least` bytes are enough. `call`: with its address and its size.
fn sizes(t: &Report, value: &[u8], least: usize, call: impl Fn(usize, usize) -> Sys) {
    let (pages, known) = (Pages::new(), value.len());
    let (end, behind) = (Pages::END as isize, known as isize);
    let at = |place: isize, more: &[u8]| pages.put(place, &[value, more].concat());
    for size in [0, 8, least - 1, least, known, known + 1, known + 8, PAGE] {
        t.ok(&format!("{size} bytes"), call(at(0, &[]), size));
    }
    let more = [vec![0; PAGE - known], vec![1]].concat();
    t.ok("more than a page", call(at(0, &more), PAGE + 1));
    t.ok("a byte behind it that is 1", call(at(0, &[1]), known + 1));
    t.ok("the same, not brought", call(at(0, &[1]), known));
    t.ok("the last byte that is 1", call(at(0, more.get(1..).unwrap_or(&[])), PAGE));
    t.ok("across two pages", call(at(PAGE as isize - 5, &[]), known));
    t.ok("across two pages, larger", call(at(PAGE as isize - 5, &[0; 99]), known + 99));
    t.ok("at the end", call(at(end - behind, &[]), known));
    t.ok("over the end", call(at(end - behind, &[]), known + 1));
    t.ok("over the end with zeros", call(at(end - behind - 8, &[0; 8]), known + 16));
    t.ok("over the end behind a byte that is 1", call(at(end - behind - 8, &[1]), known + 16));
    t.ok("cut by the end", call(at(end - behind + 8, &[]), known));
    t.ok("from before the start", call(at(-8, &[]), known));
    t.ok("wholly before it, zeros behind", call(at(-behind, &[]), known + 8));
    t.ok("wholly before it, more behind", call(at(-behind, &[1]), known + 8));
    for (what, address) in [("nowhere", 0), ("at 8", 8), ("at the top", usize::MAX - 7), ("at no address", 1 << 63)] {
        for size in [0, least - 1, known, known + 8] {
            t.ok(&format!("{what}, {size} bytes"), call(address, size));
        }
    }
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn openat2(t: &mut Report) {
    let _scratch = Scratch::new();
    file("f", b"content");
    let open = |name: &'static str| {
        move |how: usize, size: usize| {
            let fd = sys!(libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path(name).as_ptr(), how, size))?;
            sys!(libc::close(i32::try_from(fd).unwrap_or(-1)))
        }
    };
    let how = bytes(&[libc::O_RDONLY as u64, 0, libc::RESOLVE_BENEATH]);
    sizes(t, &how, how.len(), open("f"));
    // The structure comes before the path.
    let pages = Pages::new();
    t.ok("no such file", open("missing")(pages.put(0, &how), how.len()));
    t.ok("no such file, too short", open("missing")(pages.put(0, &how), 8));
    let nameless = |how: usize, size: usize| sys!(libc::syscall(libc::SYS_openat2, -5, 8, how, size));
    t.ok("no path", nameless(pages.put(0, &how), how.len()));
    t.ok("no path, too short", nameless(pages.put(0, &how), 8));
    t.ok("no path, nothing there", nameless(8, how.len()));
    for (what, words) in [
        ("writing", [libc::O_WRONLY as u64, 0, 0]),
        ("flags that are too large", [1 << 32, 0, 0]),
        ("a mode that is too large", [libc::O_CREAT as u64, 1 << 32, 0]),
        ("a limit that is too large", [0, 0, 1 << 32]),
        ("links are not followed", [0, 0, libc::RESOLVE_NO_SYMLINKS]),
    ] {
        t.ok(what, open("f")(pages.put(0, &bytes(&words)), 24));
    }
}

fn clone3(t: &mut Report) {
    let call = |at: usize, size: usize| {
        let pid = sys!(libc::syscall(libc::SYS_clone3, at, size))?;
        if pid == 0 {
            c!(libc::_exit(0));
        }
        sys!(libc::waitpid(i32::try_from(pid).unwrap_or(-1), std::ptr::null_mut(), 0))
    };
    let arguments = |flags: u64, signal: u64| bytes(&[flags, 0, 0, 0, signal, 0, 0, 0, 0, 0, 0]);
    sizes(t, &arguments(0, libc::SIGCHLD as u64), 64, call);
    let pages = Pages::new();
    for (what, flags, signal) in [
        ("a signal in the flags", libc::SIGCHLD as u64, 0),
        ("a signal that there is not", 0, 65),
        ("a signal that is too large", 0, 1 << 32 | 17),
        ("flags that there are not", 1 << 63, 17),
        ("a thread without memory", libc::CLONE_THREAD as u64, 0),
    ] {
        t.ok(what, call(pages.put(0, &arguments(flags, signal)), 88));
    }
}

fn limits(t: &mut Report) {
    let mut old = families::zeroed!(libc::rlimit64);
    families::must(sys!(libc::getrlimit64(libc::RLIMIT_NOFILE, &raw mut old)));
    let mine = bytes(&[old.rlim_cur, old.rlim_max]);
    let set = |at: usize| sys!(libc::syscall(libc::SYS_setrlimit, libc::RLIMIT_NOFILE, at));
    let process = |at: usize| sys!(libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, at, 0));
    fixed(t, &mine, set);
    fixed(t, &mine, process);
    let pages = Pages::new();
    t.ok("soft above hard", process(pages.put(0, &bytes(&[2, 1]))));
    let other = |pid: i32, kind: u32, at: usize| sys!(libc::syscall(libc::SYS_prlimit64, pid, kind, at, 0));
    t.ok("nothing there, nobody", other(-1, libc::RLIMIT_NOFILE, 8));
    t.ok("nothing there, no such limit", other(0, 99, 8));
    t.ok("nobody", other(-1, libc::RLIMIT_NOFILE, pages.put(0, &mine)));
    t.ok("no such limit", other(0, 99, pages.put(0, &mine)));
}

fn scheduling(t: &mut Report) {
    let zero = [0; 4];
    fixed(t, &zero, |at| sys!(libc::syscall(libc::SYS_sched_setparam, 0, at)));
    fixed(t, &zero, |at| sys!(libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_BATCH, at)));
    let pages = Pages::new();
    t.ok("a priority", sys!(libc::syscall(libc::SYS_sched_setparam, 0, pages.put(0, &[1, 0, 0, 0]))));
}

/// The same as [`sizes`] for a structure of one size.
fn fixed(t: &Report, value: &[u8], call: impl Fn(usize) -> Sys) {
    let (pages, behind) = (Pages::new(), value.len() as isize);
    t.ok("there", call(pages.put(0, value)));
    t.ok("across two pages", call(pages.put(PAGE as isize - 3, value)));
    t.ok("at the end", call(pages.put(Pages::END as isize - behind, value)));
    t.ok("cut by the end", call(pages.put(Pages::END as isize - behind + 1, value)));
    t.ok("from before the start", call(pages.put(-1, value)));
    for address in [8, usize::MAX - 7, 1 << 63] {
        t.ok("nowhere", call(address));
    }
}
