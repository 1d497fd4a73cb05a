//! What things cost: a line `row NAME ops=N rounds=N ns=N ticks=N` for each, the best of a few rounds.
//!
//! `cargo xtask bench` runs it in a sandbox and, as the first process of a plain Linux, in the same machine, where it switches the
//! machine off at its end. Arguments pick rows, or with `prepare:` before a row's name only what comes before it; the first process
//! mounts folders that are served to the machine: `TAG:PLACE`, with `:ro` behind it if it is to read only.
#![allow(unsafe_code)]

use families::cost::measure;
use families::files::{close, file, mkdir, open_mode, path, pipe, unlink, write};
use families::memory::{PAGE, anonymous, at, poke};
use families::tasks::{child, wait};
use families::{c, libc, must, sys, zeroed};
use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::process::{Command, ExitCode, Stdio};

/// Rounds of which the best counts.
const ROUNDS: u32 = 3;
/// A file that does not change, of at least 1 MiB.
const FILE: &std::ffi::CStr = c"/usr/bin/python3.11";

/// Where files are that are found, and those that go into an archive.
const FOUND_IN: &str = "/tmp/found";
const PACKED_IN: &str = "/tmp/packed";
/// Files that are found, and directories that they are in.
const FOUND: (u32, u32) = (10_000, 100);
/// Small files of an archive, and bytes of each.
const PACKED: (u32, usize) = (1000, 1500);
/// Bytes that are written to a large file, and by one call.
const LARGE: (usize, usize) = (16 << 20, 64 << 10);

/// A row: its name, how often a round does it, and the round.
type Row = (&'static str, u32, fn(u32));

const ROWS: [Row; 14] = [
    ("getpid", 5000, getpid),
    ("fault", 2048, fault),
    ("fork", 50, fork),
    ("thread", 100, thread),
    ("ping-pong", 500, ping_pong),
    ("compute", 20, compute),
    ("read", 20, read),
    ("open", 200, open),
    ("stat", 200, stat),
    ("write", 1, write_large),
    ("untar", 1, untar),
    ("find", 1, |n| (0..n).for_each(|_| find(FOUND_IN))),
    ("true", 5, |n| start(n, &["/usr/bin/true"])),
    ("python", 2, |n| start(n, &["/usr/bin/python3", "-c", "pass"])),
];

fn main() -> ExitCode {
    let first = std::process::id() == 1;
    let (folders, wanted): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| first && word.contains(':'));
    if !folders.is_empty() {
        mount(&folders);
    }
    for (name, ops, round) in ROWS {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            prepare(name);
            measure(name, ops, ROUNDS, || round(ops));
        } else if wanted.iter().any(|word| word.strip_prefix("prepare:") == Some(name)) {
            prepare(name);
        }
    }
    if first {
        // The console still sends when write has returned.
        std::thread::sleep(std::time::Duration::from_secs(1));
        c!(libc::reboot(libc::RB_POWER_OFF));
    }
    ExitCode::SUCCESS
}

/// Loads the modules of Linux' 9P client, which the machine's first file system has in their order, and mounts folders.
fn mount(folders: &[String]) {
    let entries = std::fs::read_dir("/modules").expect("modules");
    let mut modules: Vec<_> = entries.map(|entry| entry.expect("a module").path()).collect();
    modules.sort();
    for module in modules {
        let file = std::fs::File::open(module).expect("a module");
        must(sys!(libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), 0)));
    }
    for folder in folders {
        let (tag, place) = folder.split_once(':').expect("a place");
        let (place, flags) = place.strip_suffix(":ro").map_or((place, 0), |place| (place, libc::MS_RDONLY));
        let options = c"trans=virtio,version=9p2000.L,cache=none";
        let (tag, place) = (path(tag), path(place));
        must(sys!(libc::mount(tag.as_ptr(), place.as_ptr(), c"9p".as_ptr(), flags, options.as_ptr().cast())));
    }
}

/// Makes what a row needs and does not measure.
fn prepare(row: &str) {
    match row {
        "untar" => {
            fill(PACKED_IN, 1, PACKED.0, PACKED.1);
            start(1, &["/usr/bin/tar", "-C", "/tmp", "-cf", "/tmp/packed.tar", "packed"]);
        }
        "find" => fill(FOUND_IN, FOUND.1, FOUND.0 / FOUND.1, 0),
        _ => {}
    }
}

/// Makes directories in a new one, and files in each of them.
fn fill(top: &str, directories: u32, files: u32, bytes: usize) {
    let content = vec![b'x'; bytes];
    must(mkdir(top));
    for directory in 0..directories {
        must(mkdir(&format!("{top}/{directory}")));
        for number in 0..files {
            must(close(file(&format!("{top}/{directory}/{number}"), &content)));
        }
    }
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

fn stat(ops: u32) {
    let mut found = zeroed!(libc::stat);
    for _ in 0..ops {
        must(sys!(libc::stat(FILE.as_ptr(), &raw mut found)));
    }
    black_box(found.st_size);
}

/// Writes a new file from its start to its end, and removes it.
fn write_large(ops: u32) {
    let piece = vec![b'x'; LARGE.1];
    for _ in 0..ops {
        let fd = must(open_mode("/tmp/large", libc::O_CREAT | libc::O_WRONLY | libc::O_EXCL, 0o644));
        for _ in 0..LARGE.0 / LARGE.1 {
            must(write(fd, &piece));
        }
        must(close(fd));
        must(unlink("/tmp/large"));
    }
}

/// Unpacks an archive of small files into a new directory.
fn untar(ops: u32) {
    for _ in 0..ops {
        let mut template = *b"/tmp/unpacked-XXXXXX\0";
        assert!(!c!(libc::mkdtemp(template.as_mut_ptr().cast())).is_null(), "mkdtemp");
        let into = String::from_utf8_lossy(&template[..template.len() - 1]);
        start(1, &["/usr/bin/tar", "-C", &into, "-xf", "/tmp/packed.tar"]);
    }
}

/// Lists a directory and what is below it, and looks at each file, as find(1) does when it prints more than names.
fn find(directory: &str) {
    let directory = path(directory);
    let listing = c!(libc::opendir(directory.as_ptr()));
    assert!(!listing.is_null(), "opendir");
    let fd = c!(libc::dirfd(listing));
    loop {
        let entry = c!(libc::readdir(listing));
        if entry.is_null() {
            break;
        }
        // SAFETY: readdir gave an entry, which lives until the next call; its name ends with a NUL.
        let (name, kind) = unsafe { (std::ffi::CStr::from_ptr((&raw const (*entry).d_name).cast()), (*entry).d_type) };
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let mut found = zeroed!(libc::stat);
        must(sys!(libc::fstatat(fd, name.as_ptr(), &raw mut found, libc::AT_SYMLINK_NOFOLLOW)));
        if kind == libc::DT_DIR {
            find(&format!("{}/{}", directory.to_string_lossy(), name.to_string_lossy()));
        }
    }
    c!(libc::closedir(listing));
}

/// Starts a program and waits for its end.
fn start(ops: u32, command: &[&str]) {
    for _ in 0..ops {
        let status = Command::new(command[0]).args(&command[1..]).stdin(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "{command:?} failed");
    }
}
