//! Pipes and fifos, moving data between descriptors, reading and writing at positions, locks.
#![allow(unsafe_code)]

use families::events::ready;
use families::files::{
    Scratch, close, file, file_in_memory, open, path, pipe, pipe_with, read, read_len, stat, text, write,
};
use families::tasks::{Baton, child, ending, pause_ms, state, until, wait};
use families::{Report, Sys, c, libc, must, say, sys, zeroed};
use std::process::ExitCode;
use std::ptr;

fn main() -> ExitCode {
    families::run(&[
        ("pipe", one_pipe),
        ("capacity", capacity),
        ("blocking", blocking),
        ("packets", packets),
        ("fifo", fifo),
        ("positions", positions),
        ("vectors", vectors),
        ("append", append),
        ("truncate", truncate),
        ("allocate", allocate),
        ("holes", holes),
        ("copy", copy),
        ("sendfile", sendfile),
        ("splice", splice),
        ("tee", tee),
        ("duplicates", duplicates),
        ("flock", flock),
        ("posix-locks", posix_locks),
        ("deadlock", deadlock),
        ("ofd-locks", ofd_locks),
        ("limits", limits),
    ])
}

fn one_pipe(t: &mut Report) {
    let (from, to) = pipe();
    t.show("empty", format!("{} {}", ready(from), ready(to)));
    t.ret("write", write(to, b"hello"));
    t.show("filled", ready(from));
    let mut count = 0i32;
    t.ret("FIONREAD", sys!(libc::ioctl(from, libc::FIONREAD, &raw mut count)));
    t.show("bytes", count);
    t.show("a part", read(from, 2));
    t.show("the rest", read(from, 10));
    t.ret("write to the wrong end", write(from, b"x"));
    t.show("read from the wrong end", read(to, 1));
    t.ret("lseek", sys!(libc::lseek(from, 0, libc::SEEK_SET)));
    t.ret("pread", sys!(libc::pread(from, [0u8; 1].as_mut_ptr().cast(), 1, 0)));
    t.show("kind", families::files::mode_text(stat(from).st_mode));
    t.ret("flags that there are not", sys!(libc::pipe2([0; 2].as_mut_ptr(), 1)));
    must(write(to, b"last"));
    must(close(to));
    t.show("closed", ready(from));
    t.show("what is left", read(from, 10));
    t.show("the end", read(from, 10));
    t.show("then", ready(from));
    let (from, to) = pipe();
    must(close(from));
    t.show("no reader", ready(to));
    t.show("a write kills", ending(|| write(to, b"x").map_or(1, |_| 0)));
}

fn capacity(t: &mut Report) {
    let (from, to) = pipe_with(libc::O_NONBLOCK);
    t.ret("empty", read_len(from, 1));
    t.ret("F_GETPIPE_SZ", sys!(libc::fcntl(from, libc::F_GETPIPE_SZ)));
    let block = [7u8; 4096];
    let mut blocks = 0;
    while write(to, &block).is_ok() {
        blocks += 1;
    }
    t.show("pages that fit", blocks);
    t.ret("one byte more", write(to, b"x"));
    t.show("ready", ready(to));
    t.ret("read a page", read_len(from, 4096));
    t.show("ready", ready(to));
    t.ret("more than fits", write(to, &[1; 10_000]));
    t.ret("read much", read_len(from, 1 << 20));
    t.ret("a large write, not blocking", write(to, &vec![1; 100_000]));
    t.ret("read all", read_len(from, 1 << 20));
    t.ret("F_SETPIPE_SZ", sys!(libc::fcntl(to, libc::F_SETPIPE_SZ, 100_000)));
    t.ret("now", sys!(libc::fcntl(to, libc::F_GETPIPE_SZ)));
    t.ret("smaller", sys!(libc::fcntl(to, libc::F_SETPIPE_SZ, 1)));
    t.ret("not of a file", sys!(libc::fcntl(file_in_memory(b""), libc::F_GETPIPE_SZ)));
}

fn blocking(t: &mut Report) {
    let (from, to) = pipe();
    let pid = child(|| {
        let (mut sum, mut reads) = (0, 0);
        must(close(to));
        while let Ok(got) = read_len(from, 10_000) {
            if got == 0 {
                break;
            }
            sum += got;
            reads += 1;
        }
        say!("  read {sum} in several pieces: {}", reads > 1);
        0
    });
    t.ret("a large write", write(to, &vec![5; 1 << 20]));
    must(close(to));
    t.show("reader", wait(pid));
    let (from, to) = pipe();
    let pid = child(|| {
        pause_ms(50);
        must(write(to, b"late"));
        0
    });
    t.show("a read waits", read(from, 10));
    t.show("writer", wait(pid));
    // Writes up to a page are never mixed.
    let writers: Vec<i32> = (0..4u8)
        .map(|n| {
            child(|| {
                for _ in 0..50 {
                    must(write(to, &[n; 1000]));
                }
                0
            })
        })
        .collect();
    must(close(to));
    let mut whole = 0;
    let mut bytes = Vec::new();
    while let Ok(got) = {
        let mut piece = vec![0u8; 4000];
        let got = sys!(libc::read(from, piece.as_mut_ptr().cast(), 4000));
        if let Ok(got) = got {
            bytes.extend_from_slice(&piece[..usize::try_from(got).unwrap_or(0)]);
        }
        got
    } {
        if got == 0 {
            break;
        }
    }
    for block in bytes.chunks(1000) {
        whole += usize::from(block.iter().all(|b| *b == block[0]));
    }
    for pid in writers {
        wait(pid);
    }
    t.show("whole blocks", whole);
}

fn packets(t: &mut Report) {
    let (from, to) = pipe_with(libc::O_DIRECT);
    must(write(to, b"first"));
    must(write(to, b"second"));
    t.show("one packet", read(from, 100));
    t.show("cut short", read(from, 3));
    must(close(to));
    t.show("the rest is lost", read(from, 100));
}

fn fifo(t: &mut Report) {
    let _scratch = Scratch::new();
    must(sys!(libc::mkfifo(path("f").as_ptr(), 0o600)));
    t.ret("write without a reader", open("f", libc::O_WRONLY | libc::O_NONBLOCK));
    let pid = child(|| {
        let to = must(open("f", libc::O_WRONLY));
        must(write(to, b"through the fifo"));
        0
    });
    let from = must(open("f", libc::O_RDONLY));
    t.show("both ends meet", read(from, 100));
    t.show("writer", wait(pid));
    t.show("the end", read(from, 100));
    let to = must(open("f", libc::O_WRONLY | libc::O_NONBLOCK));
    must(write(to, b"again"));
    t.show("a second writer", read(from, 100));
    let both = must(open("f", libc::O_RDWR));
    must(write(both, b"self"));
    t.show("read and write", read(both, 100));
    t.show("kind", families::files::mode_text(stat(both).st_mode));
}

fn positions(t: &mut Report) {
    let fd = file_in_memory(b"0123456789");
    let seek = |offset: i64, whence: i32| sys!(libc::lseek(fd, offset, whence));
    t.ret("SEEK_SET", seek(4, libc::SEEK_SET));
    t.show("read", read(fd, 2));
    t.ret("SEEK_CUR", seek(-1, libc::SEEK_CUR));
    t.ret("SEEK_END", seek(-2, libc::SEEK_END));
    t.show("read", read(fd, 10));
    t.ret("before the start", seek(-1, libc::SEEK_SET));
    t.ret("whence 9", seek(0, 9));
    t.ret("behind the end", seek(20, libc::SEEK_SET));
    t.show("read", read(fd, 10));
    t.ret("write there", write(fd, b"X"));
    must(seek(8, libc::SEEK_SET));
    t.show("a gap of zeros", read(fd, 20));
    let mut buffer = [b'.'; 4];
    t.ret("pread", sys!(libc::pread(fd, buffer.as_mut_ptr().cast(), 4, 2)));
    t.show("read", text(&buffer));
    t.ret("the position stays", seek(0, libc::SEEK_CUR));
    t.ret("pwrite", sys!(libc::pwrite(fd, b"ab".as_ptr().cast(), 2, 0)));
    t.ret("pread before the start", sys!(libc::pread(fd, buffer.as_mut_ptr().cast(), 4, -1)));
    t.ret("no descriptor", sys!(libc::read(99, buffer.as_mut_ptr().cast(), 4)));
    t.ret("length 0", sys!(libc::read(fd, ptr::null_mut(), 0)));
}

fn vectors(t: &mut Report) {
    let fd = file_in_memory(b"abcdefghij");
    let (mut one, mut two) = ([0u8; 3], [0u8; 4]);
    let vector = [
        libc::iovec { iov_base: one.as_mut_ptr().cast(), iov_len: 3 },
        libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 },
        libc::iovec { iov_base: two.as_mut_ptr().cast(), iov_len: 4 },
    ];
    t.ret("readv", sys!(libc::readv(fd, vector.as_ptr(), 3)));
    t.show("read", format!("{} {}", text(&one), text(&two)));
    t.ret("preadv", sys!(libc::preadv(fd, vector.as_ptr(), 3, 5)));
    t.ret("preadv2", sys!(libc::preadv2(fd, vector.as_ptr(), 3, 0, 0)));
    t.ret("preadv2 at the position", sys!(libc::preadv2(fd, vector.as_ptr(), 3, -1, 0)));
    t.ret("preadv2 with flags that there are not", sys!(libc::preadv2(fd, vector.as_ptr(), 3, 0, 0x1000)));
    t.ret("pwritev", sys!(libc::pwritev(fd, vector.as_ptr(), 3, 10)));
    t.ret("writev", sys!(libc::writev(fd, vector.as_ptr(), 3)));
    t.ret("none", sys!(libc::readv(fd, vector.as_ptr(), 0)));
    t.ret("too many", sys!(libc::syscall(libc::SYS_readv, fd, vector.as_ptr(), 1025)));
    t.ret("negative", sys!(libc::syscall(libc::SYS_readv, fd, vector.as_ptr(), -1)));
    let long = [libc::iovec { iov_base: one.as_mut_ptr().cast(), iov_len: usize::MAX }];
    t.ret("a negative length", sys!(libc::readv(fd, long.as_ptr(), 1)));
    t.ret("size", Ok(stat(fd).st_size));
}

fn append(t: &mut Report) {
    let _scratch = Scratch::new();
    file("f", b"start");
    let fd = must(open("f", libc::O_WRONLY | libc::O_APPEND));
    let other = must(open("f", libc::O_WRONLY | libc::O_APPEND));
    must(write(fd, b" one"));
    must(write(other, b" two"));
    must(sys!(libc::lseek(fd, 0, libc::SEEK_SET)));
    must(write(fd, b" three"));
    t.show("content", std::fs::read_to_string("f").unwrap_or_default());
    t.ret("pwrite appends as well", sys!(libc::pwrite(fd, b"!".as_ptr().cast(), 1, 0)));
    t.show("content", std::fs::read_to_string("f").unwrap_or_default());
    t.ret("F_SETFL takes it away", sys!(libc::fcntl(fd, libc::F_SETFL, 0)));
    must(sys!(libc::pwrite(fd, b"S".as_ptr().cast(), 1, 0)));
    t.show("content", std::fs::read_to_string("f").unwrap_or_default());
    let pids: Vec<i32> = (0..4)
        .map(|_| {
            child(|| {
                for _ in 0..25 {
                    must(write(other, b"line\n"));
                }
                0
            })
        })
        .collect();
    for pid in pids {
        wait(pid);
    }
    t.show("lines of four writers", std::fs::read_to_string("f").unwrap_or_default().matches("line\n").count());
}

fn truncate(t: &mut Report) {
    let _scratch = Scratch::new();
    let fd = file("f", b"0123456789");
    let cut = |name: &str, len: i64| sys!(libc::truncate(path(name).as_ptr(), len));
    t.ret("shorter", cut("f", 4));
    t.ret("longer", sys!(libc::ftruncate(fd, 8)));
    t.show("content", read(fd, 20));
    t.ret("negative", cut("f", -1));
    t.ret("nothing", cut("x", 1));
    t.ret("a directory", cut(".", 1));
    t.ret("one to read", sys!(libc::ftruncate(must(open("f", libc::O_RDONLY)), 1)));
    t.ret("a pipe", sys!(libc::ftruncate(pipe().1, 1)));
    t.show(
        "limit",
        ending(|| {
            let limit = libc::rlimit { rlim_cur: 100, rlim_max: 100 };
            must(sys!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit)));
            must(families::tasks::handle(libc::SIGXFSZ, families::tasks::count, 0));
            must(sys!(libc::lseek(fd, 90, libc::SEEK_SET)));
            let show = |what: &str, result: Sys| {
                say!("  {what}: {}", result.map_or_else(|e| e.to_string(), |n| n.to_string()))
            };
            show("a write up to it", write(fd, &[1; 50]));
            show("beyond it", write(fd, &[1; 50]));
            show("truncate", sys!(libc::ftruncate(fd, 1000)));
            say!("  signals {}", families::tasks::seen());
            c!(libc::signal(libc::SIGXFSZ, libc::SIG_DFL));
            show("by default", write(fd, b"x"));
            0
        }),
    );
}

fn allocate(t: &mut Report) {
    let _scratch = Scratch::new();
    let fd = file("f", b"0123456789");
    let allocate = |mode: i32, offset: i64, len: i64| sys!(libc::fallocate(fd, mode, offset, len));
    t.ret("grow", allocate(0, 0, 20));
    t.ret("size", Ok(stat(fd).st_size));
    t.ret("KEEP_SIZE", allocate(libc::FALLOC_FL_KEEP_SIZE, 0, 100_000));
    t.ret("size", Ok(stat(fd).st_size));
    t.ret("a hole", allocate(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 2, 3));
    t.show("content", read(fd, 10));
    t.ret("a hole without KEEP_SIZE", allocate(libc::FALLOC_FL_PUNCH_HOLE, 2, 3));
    t.ret("zeros", allocate(libc::FALLOC_FL_ZERO_RANGE, 6, 2));
    must(sys!(libc::lseek(fd, 0, libc::SEEK_SET)));
    t.show("content", read(fd, 10));
    t.ret("no length", allocate(0, 0, 0));
    t.ret("negative", allocate(0, -1, 5));
    t.ret("modes that there are not", allocate(0x4000, 0, 5));
    t.ret("a pipe", sys!(libc::fallocate(pipe().1, 0, 0, 5)));
    t.ret("posix_fallocate", Ok(c!(libc::posix_fallocate(fd, 0, 50)).into()));
    t.ret("fadvise", Ok(c!(libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_SEQUENTIAL)).into()));
    t.ret("fadvise of a pipe", Ok(c!(libc::posix_fadvise(pipe().0, 0, 0, 0)).into()));
    t.ret("fadvise 99", Ok(c!(libc::posix_fadvise(fd, 0, 0, 99)).into()));
}

fn holes(t: &mut Report) {
    let _scratch = Scratch::new();
    let fd = file("f", b"data");
    must(sys!(libc::ftruncate(fd, 1 << 20)));
    must(sys!(libc::pwrite(fd, b"end".as_ptr().cast(), 3, (1 << 20) - 3)));
    t.ret("data at the start", sys!(libc::lseek(fd, 0, libc::SEEK_DATA)));
    t.ret("data at the end", sys!(libc::lseek(fd, (1 << 20) - 2, libc::SEEK_DATA)));
    t.ret("behind the end", sys!(libc::lseek(fd, 1 << 20, libc::SEEK_DATA)));
    t.ret("the hole behind the end", sys!(libc::lseek(fd, (1 << 20) - 2, libc::SEEK_HOLE)));
    t.check("a hole comes before the end", sys!(libc::lseek(fd, 0, libc::SEEK_HOLE)).is_ok_and(|at| at <= 1 << 20));
    let mut byte = [9u8];
    must(sys!(libc::pread(fd, byte.as_mut_ptr().cast(), 1, 500_000)));
    t.show("between", byte[0]);
    t.ret("a file of a terabyte", sys!(libc::ftruncate(fd, 1 << 40)));
    t.ret("its size", Ok(stat(fd).st_size));
    t.ret("a read far out", sys!(libc::pread(fd, byte.as_mut_ptr().cast(), 1, 1 << 39)));
}

fn copy(t: &mut Report) {
    let _scratch = Scratch::new();
    let (a, b) = (file("a", b"0123456789"), file("b", b""));
    let range = |from: i32, to: i32, len: usize, flags: u32| {
        sys!(libc::copy_file_range(from, ptr::null_mut(), to, ptr::null_mut(), len, flags))
    };
    t.ret("copy", range(a, b, 4, 0));
    t.ret("more than is there", range(a, b, 100, 0));
    t.ret("at the end", range(a, b, 100, 0));
    t.show("content", std::fs::read_to_string("b").unwrap_or_default());
    let (mut from, mut to) = (2i64, 20i64);
    t.ret("at positions", sys!(libc::copy_file_range(a, &raw mut from, b, &raw mut to, 3, 0)));
    t.show("they move", format!("{from} {to}"));
    t.ret("flags", range(a, b, 1, 1));
    t.ret("a pipe", range(a, pipe().1, 1, 0));
    t.ret("a directory", range(must(open(".", libc::O_RDONLY)), b, 1, 0));
    t.ret("one to append", range(a, must(open("b", libc::O_WRONLY | libc::O_APPEND)), 1, 0));
    let (mut from, mut to) = (0i64, 2i64);
    t.ret("overlapping", sys!(libc::copy_file_range(a, &raw mut from, a, &raw mut to, 5, 0)));
}

fn sendfile(t: &mut Report) {
    let fd = file_in_memory(b"0123456789");
    let (from, to) = pipe();
    t.ret("to a pipe", sys!(libc::sendfile(to, fd, ptr::null_mut(), 4)));
    let mut offset = 7i64;
    t.ret("from a position", sys!(libc::sendfile(to, fd, &raw mut offset, 100)));
    t.show("it moves", offset);
    t.show("read", read(from, 20));
    t.ret("the file's own position", sys!(libc::lseek(fd, 0, libc::SEEK_CUR)));
    let out = file_in_memory(b"");
    t.ret("to a file", sys!(libc::sendfile(out, fd, ptr::null_mut(), 100)));
    t.ret("from a pipe", sys!(libc::sendfile(out, from, &raw mut offset, 1)));
    t.ret("no descriptor", sys!(libc::sendfile(99, fd, ptr::null_mut(), 1)));
    t.ret("a negative position", {
        let mut offset = -1i64;
        sys!(libc::sendfile(out, fd, &raw mut offset, 1))
    });
}

fn splice(t: &mut Report) {
    let fd = file_in_memory(b"0123456789");
    let (from, to) = pipe();
    let splice = |a: i32, b: i32, len: usize| {
        sys!(libc::splice(a, ptr::null_mut(), b, ptr::null_mut(), len, libc::SPLICE_F_NONBLOCK))
    };
    t.ret("file to pipe", splice(fd, to, 6));
    let out = file_in_memory(b"");
    t.ret("pipe to file", splice(from, out, 4));
    let (from2, to2) = pipe();
    t.ret("pipe to pipe", splice(from, to2, 100));
    t.show("read", read(from2, 10));
    t.ret("empty", splice(from, to2, 1));
    t.ret("file to file", splice(fd, out, 1));
    let mut offset = 8i64;
    t.ret("from a position", sys!(libc::splice(fd, &raw mut offset, to, ptr::null_mut(), 10, 0)));
    t.show("it moves", offset);
    t.ret("a position of a pipe", sys!(libc::splice(from, &raw mut offset, out, ptr::null_mut(), 1, 0)));
    t.ret("to itself", splice(from, to, 1));
    let words = b"by pages";
    let vector = libc::iovec { iov_base: words.as_ptr().cast_mut().cast(), iov_len: words.len() };
    t.ret("vmsplice", sys!(libc::vmsplice(to, &raw const vector, 1, 0)));
    t.show("read", read(from, 20));
    t.ret("vmsplice to a file", sys!(libc::vmsplice(fd, &raw const vector, 1, 0)));
}

fn tee(t: &mut Report) {
    let ((from, to), (from2, to2)) = (pipe(), pipe());
    must(write(to, b"twice"));
    t.ret("tee", sys!(libc::tee(from, to2, 100, 0)));
    t.show("the copy", read(from2, 10));
    t.show("the original", read(from, 10));
    t.ret("empty", sys!(libc::tee(from, to2, 100, libc::SPLICE_F_NONBLOCK)));
    t.ret("a file", sys!(libc::tee(file_in_memory(b"x"), to2, 1, 0)));
    t.ret("to itself", sys!(libc::tee(from, to, 1, 0)));
}

fn duplicates(t: &mut Report) {
    let fd = file_in_memory(b"0123456789");
    let copy = must(sys!(libc::dup(fd)));
    must(sys!(libc::lseek(fd, 5, libc::SEEK_SET)));
    t.show("one position", read(copy, 2));
    t.ret("lowest number", sys!(libc::dup(fd)).map(|n| n - i64::from(copy)));
    t.ret("dup2", sys!(libc::dup2(fd, 60)));
    t.ret("dup2 to itself", sys!(libc::dup2(60, 60)));
    t.ret("dup2 of nothing", sys!(libc::dup2(99, 99)));
    t.ret("F_DUPFD", sys!(libc::fcntl(fd, libc::F_DUPFD, 70)));
    t.ret("F_DUPFD too high", sys!(libc::fcntl(fd, libc::F_DUPFD, 1 << 30)));
    t.ret("close", close(60));
    t.ret("again", close(60));
    t.ret("close_range", sys!(libc::syscall(libc::SYS_close_range, 65, 80, 0)));
    t.ret("closed", sys!(libc::fcntl(70, libc::F_GETFD)));
    t.ret("close_range backwards", sys!(libc::syscall(libc::SYS_close_range, 80, 65, 0)));
    t.ret("F_SETFL", sys!(libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK)));
    t.ret("for both", sys!(libc::fcntl(copy, libc::F_GETFL)).map(|flags| flags & i64::from(libc::O_NONBLOCK)));
    t.ret("no such command", sys!(libc::fcntl(fd, 7777)));
}

fn flock(t: &mut Report) {
    let _scratch = Scratch::new();
    file("f", b"");
    let one = must(open("f", libc::O_RDWR));
    let two = must(open("f", libc::O_RDWR));
    let lock = |fd: i32, how: i32| sys!(libc::flock(fd, how | libc::LOCK_NB));
    t.ret("exclusive", lock(one, libc::LOCK_EX));
    t.ret("another", lock(two, libc::LOCK_EX));
    t.ret("shared", lock(two, libc::LOCK_SH));
    t.ret("down to shared", lock(one, libc::LOCK_SH));
    t.ret("shared", lock(two, libc::LOCK_SH));
    t.ret("up again", lock(one, libc::LOCK_EX));
    must(lock(two, libc::LOCK_UN));
    must(lock(one, libc::LOCK_EX));
    let pid = child(|| {
        let inherited = lock(one, libc::LOCK_EX).is_ok();
        let other = lock(two, libc::LOCK_EX).is_err();
        i32::from(inherited) + 2 * i32::from(other)
    });
    t.show("a child has the same lock", wait(pid));
    let baton = Baton::default();
    let pid = child(|| {
        baton.pass();
        let waited = sys!(libc::flock(two, libc::LOCK_EX));
        i32::from(waited.is_err())
    });
    baton.take();
    pause_ms(30);
    must(lock(one, libc::LOCK_UN));
    t.show("one that waits", wait(pid));
    t.ret("nonsense", sys!(libc::flock(one, 0)));
    t.ret("no descriptor", sys!(libc::flock(99, libc::LOCK_EX)));
}

fn record(kind: i32, start: i64, len: i64) -> libc::flock {
    let mut lock = zeroed!(libc::flock);
    lock.l_type = i16::try_from(kind).unwrap_or(0);
    lock.l_start = start;
    lock.l_len = len;
    lock
}

fn posix_locks(t: &mut Report) {
    let _scratch = Scratch::new();
    let fd = file("f", b"0123456789");
    let lock = |kind: i32, start: i64, len: i64| {
        sys!(libc::fcntl(fd, libc::F_SETLK, ptr::from_ref(&record(kind, start, len))))
    };
    t.ret("write lock", lock(libc::F_WRLCK, 0, 10));
    t.ret("unlock the middle", lock(libc::F_UNLCK, 4, 2));
    let ask = |start: i64, len: i64| {
        let mut found = record(libc::F_WRLCK, start, len);
        let result = sys!(libc::fcntl(fd, libc::F_GETLK, &raw mut found));
        format!(
            "{:?} type {} start {} len {} holder {}",
            result,
            found.l_type,
            found.l_start,
            found.l_len,
            found.l_pid == c!(libc::getppid())
        )
    };
    t.show(
        "a child asks",
        ending(|| {
            say!("  {}", ask(0, 0));
            say!("  {}", ask(4, 1));
            say!("  {}", ask(5, 5));
            let show = |what: &str, result: Sys| {
                say!("  {what}: {}", result.map_or_else(|e| e.to_string(), |n| n.to_string()))
            };
            show("locks", lock(libc::F_WRLCK, 0, 1));
            show("locks the middle", lock(libc::F_RDLCK, 4, 2));
            show("unlocks what is not its own", lock(libc::F_UNLCK, 0, 10));
            0
        }),
    );
    let pid = child(|| {
        let waited = sys!(libc::fcntl(fd, libc::F_SETLKW, ptr::from_ref(&record(libc::F_WRLCK, 0, 1))));
        i32::from(waited.is_err())
    });
    pause_ms(30);
    must(lock(libc::F_UNLCK, 0, 0));
    t.show("one that waits", wait(pid));
    must(lock(libc::F_WRLCK, 0, 0));
    must(close(must(open("f", libc::O_RDONLY))));
    t.show("closing another descriptor drops it", ending(|| lock(libc::F_WRLCK, 0, 0).map_or(1, |_| 0)));
    t.ret("a kind that there is not", lock(9, 0, 0));
    t.ret("a negative start", lock(libc::F_WRLCK, -1, 0));
    t.ret("one to read", {
        let reader = must(open("f", libc::O_RDONLY));
        sys!(libc::fcntl(reader, libc::F_SETLK, ptr::from_ref(&record(libc::F_WRLCK, 0, 0))))
    });
}

/// Three processes hold a byte each, and each asks for the next one's.
fn deadlock(t: &mut Report) {
    let _scratch = Scratch::new();
    let fd = file("f", b"0123456789");
    let lock =
        |command: i32, kind: i32, start: i64| sys!(libc::fcntl(fd, command, ptr::from_ref(&record(kind, start, 1))));
    let mut waiter = |own: i64, wanted: i64| {
        let pid = child(|| {
            must(lock(libc::F_SETLK, libc::F_WRLCK, own));
            lock(libc::F_SETLKW, libc::F_WRLCK, wanted).map_or(1, |_| 0)
        });
        let held = || {
            let mut found = record(libc::F_RDLCK, own, 1);
            must(sys!(libc::fcntl(fd, libc::F_GETLK, &raw mut found)));
            found.l_pid == pid
        };
        t.check("it waits", until(|| held() && state(pid) == 'S'));
        pid
    };
    must(lock(libc::F_SETLK, libc::F_WRLCK, 2));
    let second = waiter(1, 2);
    let first = waiter(0, 1);
    t.ret("to close the ring", lock(libc::F_SETLKW, libc::F_WRLCK, 0));
    t.ret("without waiting", lock(libc::F_SETLK, libc::F_WRLCK, 0));
    t.ret("another lock of its own", lock(libc::F_SETLKW, libc::F_WRLCK, 3));
    t.ret("give up", lock(libc::F_SETLK, libc::F_UNLCK, 2));
    t.show("the second", wait(second));
    t.show("the first", wait(first));
    t.ret("afterwards", lock(libc::F_SETLKW, libc::F_WRLCK, 0));
}

fn ofd_locks(t: &mut Report) {
    let _scratch = Scratch::new();
    let one = file("f", b"0123456789");
    let two = must(open("f", libc::O_RDWR));
    let lock = |fd: i32, kind: i32| sys!(libc::fcntl(fd, libc::F_OFD_SETLK, ptr::from_ref(&record(kind, 0, 5))));
    t.ret("one", lock(one, libc::F_WRLCK));
    t.ret("two", lock(two, libc::F_WRLCK));
    t.show("a child with the same descriptor", ending(|| lock(one, libc::F_WRLCK).map_or(1, |_| 0)));
    t.show("and another", ending(|| lock(two, libc::F_RDLCK).map_or(1, |_| 0)));
    must(close(must(sys!(libc::dup(one)))));
    t.ret("closing a copy keeps it", lock(two, libc::F_RDLCK));
    must(close(one));
    t.ret("closing the last does not", lock(two, libc::F_WRLCK));
}

fn limits(t: &mut Report) {
    t.show(
        "descriptors",
        ending(|| {
            let limit = libc::rlimit { rlim_cur: 20, rlim_max: 20 };
            must(sys!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)));
            let mut last = Ok(0);
            for _ in 0..30 {
                last = open("/dev/null", libc::O_RDONLY);
            }
            let show = |what: &str, result: Sys| {
                say!("  {what}: {}", result.map_or_else(|e| e.to_string(), |n| n.to_string()))
            };
            show("open", last);
            show("dup2", sys!(libc::dup2(0, 20)));
            show("pipe", sys!(libc::pipe([0; 2].as_mut_ptr())));
            close(10).ok();
            show("pipe with one free", sys!(libc::pipe([0; 2].as_mut_ptr())));
            show("open again", open("/dev/null", libc::O_RDONLY));
            0
        }),
    );
}
