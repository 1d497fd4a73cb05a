//! Memory: mapping, protecting, moving, copying on fork, files in memory.
#![allow(unsafe_code)]

use families::files::{self, Scratch, file, file_in_memory, read, text, write};
use families::memory::{PAGE, anonymous, at, map, map_at, peek, pointer, poke, reading, shared, writing};
use families::tasks::{Baton, child, ending, wait};
use families::{Report, Sys, c, libc, must, say, sys};
use std::process::ExitCode;
use std::ptr;

const READ: i32 = libc::PROT_READ;
const WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
const PRIVATE: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

fn main() -> ExitCode {
    families::run(&[
        ("map", mapping),
        ("errors", errors),
        ("fixed", fixed),
        ("file", of_a_file),
        ("shared-file", of_a_shared_file),
        ("end-of-file", end_of_file),
        ("protect", protect),
        ("remap", remap),
        ("advise", advise),
        ("resident", resident),
        ("fork", fork),
        ("shared", shared_memory),
        ("memfd", memfd),
        ("seals", seals),
        ("break", program_break),
        ("reserve", reserve),
        ("lock", lock),
        ("sync", sync),
        ("large", large),
        ("stack", stack),
        ("bad-pointers", bad_pointers),
    ])
}

fn unmap(at: *mut u8, len: usize) -> Sys {
    sys!(libc::munmap(at.cast(), len))
}

fn mprotect(at: *mut u8, len: usize, prot: i32) -> Sys {
    sys!(libc::mprotect(at.cast(), len, prot))
}

fn slice(at: *mut u8, len: usize) -> &'static mut [u8] {
    c!(std::slice::from_raw_parts_mut(at, len))
}

fn mapping(t: &mut Report) {
    let memory = anonymous(10 * PAGE);
    t.check("zeros", slice(memory, 10 * PAGE).iter().all(|b| *b == 0));
    t.check("page aligned", memory.addr().is_multiple_of(PAGE));
    poke(at(memory, 5 * PAGE), 7);
    t.ret("unmap the middle", unmap(at(memory, 4 * PAGE), PAGE));
    t.show("its neighbour", peek(at(memory, 5 * PAGE)));
    t.show("itself", reading(at(memory, 4 * PAGE)));
    t.ret("unmap nothing", unmap(at(memory, 4 * PAGE), PAGE));
    t.ret("all", unmap(memory, 10 * PAGE));
    t.show("gone", reading(at(memory, 5 * PAGE)));
    let again = anonymous(10 * PAGE);
    t.check("zeros again", slice(again, 10 * PAGE).iter().all(|b| *b == 0));
    t.show("a page to read", reading(pointer(map(PAGE, READ, PRIVATE, -1, 0))));
    t.show("writing it", writing(pointer(map(PAGE, READ, PRIVATE, -1, 0))));
    t.show("a closed page", reading(pointer(map(PAGE, libc::PROT_NONE, PRIVATE, -1, 0))));
    t.show("MAP_NORESERVE", writing(pointer(map(PAGE, WRITE, PRIVATE | libc::MAP_NORESERVE, -1, 0))));
    let populated = pointer(map(4 * PAGE, WRITE, PRIVATE | libc::MAP_POPULATE, -1, 0));
    t.show("MAP_POPULATE", peek(at(populated, 3 * PAGE)));
    t.show("MAP_STACK", peek(pointer(map(4 * PAGE, WRITE, PRIVATE | libc::MAP_STACK, -1, 0))));
    let low = pointer(map(PAGE, WRITE, PRIVATE | libc::MAP_32BIT, -1, 0));
    t.check("MAP_32BIT", low.addr() < 1 << 32);
}

fn errors(t: &mut Report) {
    let wild: *mut u8 = ptr::without_provenance_mut(0x7fff_ffff_f000);
    t.ok("no length", map(0, WRITE, PRIVATE, -1, 0));
    t.ok("far too long", map(1 << 62, WRITE, PRIVATE, -1, 0));
    t.ok("longer than the address space", map(usize::MAX & !4095, WRITE, PRIVATE, -1, 0));
    t.ok("neither shared nor private", map(PAGE, WRITE, libc::MAP_ANONYMOUS, -1, 0));
    t.ok("no descriptor", map(PAGE, READ, libc::MAP_PRIVATE, -1, 0));
    t.ok("a crooked offset", map(PAGE, READ, libc::MAP_PRIVATE, 0, 100));
    t.ok("fixed at a crooked address", map_at(0x1001, PAGE, READ, PRIVATE | libc::MAP_FIXED, -1, 0));
    t.ok("fixed above the user's half", map_at(1 << 60, PAGE, READ, PRIVATE | libc::MAP_FIXED, -1, 0));
    t.ok("fixed at its end", map_at(wild.addr(), PAGE, READ, PRIVATE | libc::MAP_FIXED, -1, 0));
    t.ok("a hint above", map_at(1 << 60, PAGE, READ, PRIVATE, -1, 0));
    let (from, _) = files::pipe();
    t.ok("a pipe", map(PAGE, READ, libc::MAP_PRIVATE, from, 0));
    let directory = must(files::open("/", libc::O_RDONLY));
    t.ok("a directory", map(PAGE, READ, libc::MAP_PRIVATE, directory, 0));
    let _scratch = Scratch::new();
    file("f", b"content");
    let only = must(files::open("f", libc::O_WRONLY));
    t.ok("a file open for writing only", map(PAGE, READ, libc::MAP_PRIVATE, only, 0));
    let only = must(files::open("f", libc::O_RDONLY));
    t.ok("shared and writable, open for reading only", map(PAGE, WRITE, libc::MAP_SHARED, only, 0));
    t.ok("private and writable, the same", map(PAGE, WRITE, libc::MAP_PRIVATE, only, 0));
    t.ok("unmap crooked", sys!(libc::munmap(ptr::without_provenance_mut(0x1001), PAGE)));
    t.ok("unmap no length", sys!(libc::munmap(ptr::without_provenance_mut(0x10000), 0)));
    t.ok("unmap above", sys!(libc::munmap(ptr::without_provenance_mut(1 << 60), PAGE)));
    t.ok("protect a hole", mprotect(ptr::without_provenance_mut(0x10_0000_0000), PAGE, READ));
    t.ok("protect crooked", mprotect(ptr::without_provenance_mut(0x10_0000_0001), PAGE, READ));
    t.ok("protect with bits that there are not", mprotect(anonymous(PAGE), PAGE, 0x100));
    t.ok("protect no length", mprotect(anonymous(PAGE), 0, READ));
    high_bits(t);
}

/// Flags beyond the 32 bits in which there are some: seen where the kernel's prototype has them.
fn high_bits(t: &mut Report) {
    const HIGH: i64 = 1 << 32;
    let memory = anonymous(2 * PAGE).expose_provenance();
    let (write, private) = (i64::from(WRITE), i64::from(PRIVATE));
    t.ok("protect", sys!(libc::syscall(libc::SYS_mprotect, memory, PAGE, HIGH | write)));
    t.ok("protect nothing", sys!(libc::syscall(libc::SYS_mprotect, memory, 0, HIGH | write)));
    t.ok("protect without a key", sys!(libc::syscall(libc::SYS_pkey_mprotect, memory, PAGE, HIGH | write, -1)));
    t.ok("shrink", sys!(libc::syscall(libc::SYS_mremap, memory, 2 * PAGE, PAGE, HIGH, 0)));
    let maps = |prot: i64, flags: i64| sys!(libc::syscall(libc::SYS_mmap, 0, PAGE, prot, flags, -1, 0)).is_ok();
    t.show("map", maps(HIGH | write, HIGH | private));
}

fn fixed(t: &mut Report) {
    let memory = anonymous(3 * PAGE);
    slice(memory, 3 * PAGE).fill(9);
    let middle = at(memory, PAGE);
    t.check("over another", map_at(middle.addr(), PAGE, WRITE, PRIVATE | libc::MAP_FIXED, -1, 0).is_ok());
    t.show("new zeros between", format!("{} {} {}", peek(memory), peek(middle), peek(at(memory, 2 * PAGE))));
    let no_replace = PRIVATE | libc::MAP_FIXED_NOREPLACE;
    t.ok("not over another", map_at(middle.addr(), PAGE, WRITE, no_replace, -1, 0));
    t.ok("not over a part", map_at(memory.addr() - PAGE, 2 * PAGE, WRITE, no_replace, -1, 0));
    must(unmap(middle, PAGE));
    t.check("in a hole", map_at(middle.addr(), PAGE, WRITE, no_replace, -1, 0) == Ok(middle.addr() as i64));
    must(unmap(middle, PAGE));
    t.check("a hint is taken", map_at(middle.addr(), PAGE, WRITE, PRIVATE, -1, 0) == Ok(middle.addr() as i64));
    let other = map_at(memory.addr(), PAGE, WRITE, PRIVATE, -1, 0);
    t.check("but not over another", other.is_ok_and(|at| at != memory.addr() as i64));
    t.show("which stays", peek(memory));
}

fn of_a_file(t: &mut Report) {
    let _scratch = Scratch::new();
    let content: Vec<u8> = (0..10_000u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let fd = file("f", &content);
    let memory = pointer(map(content.len(), WRITE, libc::MAP_PRIVATE, fd, 0));
    t.check("content", slice(memory, content.len()) == content);
    t.check("zeros behind", slice(at(memory, content.len()), 3 * PAGE - content.len()).iter().all(|b| *b == 0));
    poke(at(memory, 1), 0xaa);
    let mut byte = [0u8; 1];
    must(sys!(libc::pread(fd, byte.as_mut_ptr().cast(), 1, 1)));
    t.check("a private change is not in the file", byte[0] == content[1]);
    let second = pointer(map(PAGE, READ, libc::MAP_PRIVATE, fd, 4096));
    t.check("from an offset", slice(second, PAGE) == &content[4096..8192]);
    must(files::close(fd));
    std::fs::remove_file("f").expect("the file");
    t.check("it stays when the file is closed and gone", slice(second, PAGE) == &content[4096..8192]);
    t.check("and what was not touched yet as well", slice(at(memory, 8192), 1000) == &content[8192..9192]);
    let own = std::fs::read("/proc/self/exe").expect("own program");
    let exe = must(files::open("/proc/self/exe", libc::O_RDONLY));
    let memory = pointer(map(own.len(), READ, libc::MAP_PRIVATE, exe, 0));
    t.check("this program", slice(memory, own.len()) == own);
    t.show(
        "execution of a file",
        ending(|| {
            let memory = pointer(map(PAGE, READ | libc::PROT_EXEC, libc::MAP_PRIVATE, exe, 0));
            i32::from(peek(memory) != 0x7f)
        }),
    );
}

fn of_a_shared_file(t: &mut Report) {
    let _scratch = Scratch::new();
    let fd = file("f", &[b'a'; 8192]);
    let one = pointer(map(8192, WRITE, libc::MAP_SHARED, fd, 0));
    let two = pointer(map(PAGE, WRITE, libc::MAP_SHARED, fd, 4096));
    poke(at(one, 10), b'X');
    poke(two, b'Y');
    t.show("one sees the other", char::from(peek(at(one, 4096))).to_string());
    let mut bytes = [0u8; 12];
    must(sys!(libc::pread(fd, bytes.as_mut_ptr().cast(), 12, 0)));
    t.show("read sees it", text(&bytes));
    must(sys!(libc::pwrite(fd, b"written".as_ptr().cast(), 7, 4096)));
    t.show("a write is seen", text(slice(two, 9)));
    t.show(
        "in a child",
        ending(|| {
            say!("  {}", text(slice(two, 9)));
            poke(at(two, 1), b'-');
            0
        }),
    );
    t.show("whose change is seen", text(slice(two, 9)));
    let private = pointer(map(PAGE, WRITE, libc::MAP_PRIVATE, fd, 4096));
    t.show("privately", text(slice(private, 9)));
    poke(private, b'!');
    t.show("not changed by that", text(slice(two, 9)));
    must(unmap(one, 8192));
    must(files::close(fd));
    let content = std::fs::read("f").unwrap_or_default();
    t.show("the file at last", format!("{} {}", content.len(), text(&content[4096..4106])));
    t.show("another program sees it", {
        let found = std::fs::read("f").unwrap_or_default();
        text(&found[8..12])
    });
}

fn end_of_file(t: &mut Report) {
    let _scratch = Scratch::new();
    let fd = file("f", b"short");
    let memory = pointer(map(3 * PAGE, WRITE, libc::MAP_SHARED, fd, 0));
    t.show("within its last page", peek(at(memory, 100)));
    t.show("behind it", reading(at(memory, PAGE)));
    t.show("writing behind it", writing(at(memory, 2 * PAGE)));
    must(sys!(libc::ftruncate(fd, 6000)));
    t.show("after it grew", reading(at(memory, PAGE)));
    poke(at(memory, PAGE + 1), b'z');
    poke(at(memory, PAGE + 3000), b'n');
    must(sys!(libc::ftruncate(fd, 5)));
    t.show("after it shrank", reading(at(memory, PAGE)));
    must(sys!(libc::ftruncate(fd, 2 * 4096)));
    t.show("grown again it holds zeros", format!("{} {}", peek(at(memory, PAGE + 1)), peek(at(memory, PAGE + 3000))));
    t.show("a read into memory behind the end", {
        must(sys!(libc::ftruncate(fd, 5)));
        let (from, to) = files::pipe();
        must(write(to, b"abc"));
        sys!(libc::read(from, at(memory, PAGE).cast(), 3)).map_or_else(|e| e.to_string(), |n| n.to_string())
    });
}

fn protect(t: &mut Report) {
    let memory = anonymous(4 * PAGE);
    slice(memory, 4 * PAGE).fill(1);
    t.ret("to read", mprotect(at(memory, PAGE), PAGE, READ));
    t.show("write there", writing(at(memory, PAGE)));
    t.show("write beside it", writing(at(memory, 2 * PAGE)));
    t.show("content", peek(at(memory, PAGE)));
    t.ret("closed", mprotect(at(memory, PAGE), 2 * PAGE, libc::PROT_NONE));
    t.show("read there", reading(at(memory, 2 * PAGE)));
    t.ret("read by a call", {
        let (_, to) = files::pipe();
        sys!(libc::write(to, at(memory, PAGE).cast(), 1))
    });
    t.ret("open again", mprotect(memory, 4 * PAGE, WRITE));
    t.show("content", format!("{} {}", peek(at(memory, PAGE)), peek(at(memory, 2 * PAGE))));
    t.ret("across a hole", {
        must(unmap(at(memory, 2 * PAGE), PAGE));
        mprotect(memory, 4 * PAGE, READ)
    });
    t.show("what came before the hole is changed", writing(memory));
    let code = anonymous(PAGE);
    // mov eax, 42; ret
    slice(code, 6).copy_from_slice(&[0xb8, 42, 0, 0, 0, 0xc3]);
    let run = || {
        let value: i32;
        c!(std::arch::asm!("call {}", in(reg) code, lateout("eax") value, clobber_abi("C")));
        value
    };
    t.show("code in data", ending(run));
    t.ret("made executable", mprotect(code, PAGE, READ | libc::PROT_EXEC));
    t.show("then", ending(run));
    t.show("it cannot be written now", writing(code));
}

fn remap(t: &mut Report) {
    let grow = |old: *mut u8, len: usize, new: usize, flags: i32| sys!(libc::mremap(old.cast(), len, new, flags));
    let memory = anonymous(2 * PAGE);
    slice(memory, 2 * PAGE).fill(5);
    let larger = pointer(grow(memory, 2 * PAGE, 100 * PAGE, libc::MREMAP_MAYMOVE));
    t.show("grown", format!("{} {} {}", peek(larger), peek(at(larger, 2 * PAGE - 1)), peek(at(larger, 2 * PAGE))));
    t.check("shrunk in its place", grow(larger, 100 * PAGE, PAGE, 0) == Ok(larger.addr() as i64));
    t.show("the rest is gone", reading(at(larger, PAGE)));
    let fence = pointer(map_at(larger.addr() + PAGE, PAGE, READ, PRIVATE | libc::MAP_FIXED, -1, 0));
    t.ok("no room to grow", grow(larger, PAGE, 2 * PAGE, 0));
    let target = anonymous(4 * PAGE);
    let moved = sys!(libc::mremap(larger.cast(), PAGE, PAGE, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, target));
    t.check("to a given place", moved == Ok(target.addr() as i64));
    t.show("content", peek(target));
    t.show("the old place", reading(larger));
    t.show("the neighbour", peek(fence));
    t.ok("a hole", grow(ptr::without_provenance_mut(0x10_0000_0000), PAGE, 2 * PAGE, libc::MREMAP_MAYMOVE));
    t.ok("no new length", grow(target, PAGE, 0, libc::MREMAP_MAYMOVE));
    t.ok("crooked", grow(at(target, 1), PAGE, 2 * PAGE, libc::MREMAP_MAYMOVE));
    t.ok("flags that there are not", grow(target, PAGE, 2 * PAGE, 64));
    t.ok("fixed without maymove", sys!(libc::mremap(target.cast(), PAGE, PAGE, libc::MREMAP_FIXED, fence)));
    t.ok(
        "over itself",
        sys!(libc::mremap(target.cast(), 2 * PAGE, PAGE, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, at(target, PAGE))),
    );
    t.ok("across two mappings", {
        let two = anonymous(2 * PAGE);
        must(mprotect(two, PAGE, READ));
        grow(two, 2 * PAGE, 4 * PAGE, libc::MREMAP_MAYMOVE)
    });
    let fd = file_in_memory(&[b'q'; 12288]);
    let mapped = pointer(map(PAGE, WRITE, libc::MAP_SHARED, fd, 0));
    let mapped = pointer(grow(mapped, PAGE, 3 * PAGE, libc::MREMAP_MAYMOVE));
    t.show("a mapping of a file", char::from(peek(at(mapped, 2 * PAGE))).to_string());
    let second = pointer(grow(mapped, 0, PAGE, libc::MREMAP_MAYMOVE));
    poke(second, b'w');
    t.show("a second view of a shared one", char::from(peek(mapped)).to_string());
}

fn advise(t: &mut Report) {
    let memory = anonymous(4 * PAGE);
    slice(memory, 4 * PAGE).fill(6);
    let advise = |at: *mut u8, len: usize, advice: i32| sys!(libc::madvise(at.cast(), len, advice));
    t.ret("DONTNEED", advise(at(memory, PAGE), PAGE, libc::MADV_DONTNEED));
    t.show("content", format!("{} {} {}", peek(memory), peek(at(memory, PAGE)), peek(at(memory, 2 * PAGE))));
    for (what, advice) in [
        ("NORMAL", libc::MADV_NORMAL),
        ("RANDOM", libc::MADV_RANDOM),
        ("SEQUENTIAL", libc::MADV_SEQUENTIAL),
        ("WILLNEED", libc::MADV_WILLNEED),
        ("DONTFORK", libc::MADV_DONTFORK),
        ("DOFORK", libc::MADV_DOFORK),
        ("DONTDUMP", libc::MADV_DONTDUMP),
        ("DODUMP", libc::MADV_DODUMP),
        ("COLD", libc::MADV_COLD),
        ("POPULATE_READ", libc::MADV_POPULATE_READ),
        ("POPULATE_WRITE", libc::MADV_POPULATE_WRITE),
    ] {
        t.ret(what, advise(memory, PAGE, advice));
    }
    t.ret("no such advice", advise(memory, PAGE, 77));
    t.ret("crooked", advise(at(memory, 1), PAGE, libc::MADV_DONTNEED));
    t.ret("a hole", advise(ptr::without_provenance_mut(0x10_0000_0000), PAGE, libc::MADV_DONTNEED));
    t.ret("no length", advise(memory, 0, libc::MADV_DONTNEED));
    let fd = file_in_memory(&[b'f'; 4096]);
    let mapped = pointer(map(PAGE, WRITE, libc::MAP_PRIVATE, fd, 0));
    poke(mapped, b'c');
    must(advise(mapped, PAGE, libc::MADV_DONTNEED));
    t.show("a private page of a file comes back as it was", char::from(peek(mapped)).to_string());
    let common = shared(PAGE);
    poke(common, 8);
    must(advise(common, PAGE, libc::MADV_DONTNEED));
    t.show("a shared page keeps its content", peek(common));
    must(advise(common, PAGE, libc::MADV_REMOVE));
    t.show("unless removed", peek(common));
    poke(memory, 3);
    must(advise(memory, PAGE, libc::MADV_WIPEONFORK));
    t.show("WIPEONFORK: the child sees", ending(|| peek(memory).into()));
    t.show("and the parent", peek(memory));
    must(advise(at(memory, 2 * PAGE), PAGE, libc::MADV_DONTFORK));
    t.show("DONTFORK", ending(|| peek(at(memory, 2 * PAGE)).into()));
}

fn resident(t: &mut Report) {
    let memory = anonymous(4 * PAGE);
    poke(at(memory, PAGE), 1);
    poke(at(memory, 3 * PAGE), 1);
    let mut vector = [9u8; 4];
    t.ret("mincore", sys!(libc::mincore(memory.cast(), 4 * PAGE, vector.as_mut_ptr())));
    t.show("pages", format!("{:?}", vector.map(|v| v & 1)));
    t.ret("a hole", sys!(libc::mincore(ptr::without_provenance_mut(0x10_0000_0000), PAGE, vector.as_mut_ptr())));
    t.ret("crooked", sys!(libc::mincore(at(memory, 5).cast(), PAGE, vector.as_mut_ptr())));
    t.ret("a bad vector", sys!(libc::syscall(libc::SYS_mincore, memory, PAGE, 8)));
}

fn fork(t: &mut Report) {
    let memory = anonymous(64 * PAGE);
    slice(memory, 64 * PAGE).fill(1);
    let (to_child, to_parent) = (Baton::default(), Baton::default());
    let pid = child(|| {
        to_child.take();
        let seen: u32 = slice(memory, 64 * PAGE).iter().step_by(PAGE).map(|b| u32::from(*b)).sum();
        slice(memory, 64 * PAGE).fill(3);
        to_parent.pass();
        i32::try_from(seen).unwrap_or(-1)
    });
    slice(memory, 64 * PAGE).fill(2);
    to_child.pass();
    to_parent.take();
    t.check("the parent's memory is its own", slice(memory, 64 * PAGE).iter().all(|b| *b == 2));
    t.show("the child's is as it was", wait(pid));
    t.show(
        "three generations",
        ending(|| {
            poke(memory, 10);
            let inner = ending(|| {
                poke(at(memory, PAGE), 20);
                let innermost = ending(|| {
                    poke(at(memory, 2 * PAGE), 30);
                    say!("  {} {} {}", peek(memory), peek(at(memory, PAGE)), peek(at(memory, 2 * PAGE)));
                    0
                });
                say!("  {innermost} {} {} {}", peek(memory), peek(at(memory, PAGE)), peek(at(memory, 2 * PAGE)));
                0
            });
            say!("  {inner} {} {} {}", peek(memory), peek(at(memory, PAGE)), peek(at(memory, 2 * PAGE)));
            0
        }),
    );
    must(mprotect(memory, PAGE, READ));
    t.show("protection is inherited", writing(memory));
    t.show("a call writes to a page that is still shared", {
        let (from, to) = files::pipe();
        must(write(to, b"new"));
        let pid = child(|| {
            to_child.take();
            i32::from(peek(at(memory, 5 * PAGE)))
        });
        must(sys!(libc::read(from, at(memory, 5 * PAGE).cast(), 3)));
        to_child.pass();
        format!("{} {}", wait(pid), text(slice(at(memory, 5 * PAGE), 3)))
    });
    must(unmap(memory, 64 * PAGE));
    let code = (0..50).map(|n| ending(|| n)).filter(|end| end.starts_with("exit ")).count();
    t.show("fifty more forks", code);
}

fn shared_memory(t: &mut Report) {
    let memory = shared(4 * PAGE);
    let untouched = at(memory, 3 * PAGE);
    poke(memory, 1);
    t.show(
        "child",
        ending(|| {
            poke(at(memory, 1), peek(memory) + 1);
            poke(untouched, 9);
            0
        }),
    );
    t.show("parent sees", format!("{} {}", peek(at(memory, 1)), peek(untouched)));
    t.show(
        "a grandchild",
        ending(|| {
            wait(child(|| {
                poke(at(memory, 2), 33);
                0
            }));
            0
        }),
    );
    t.show("parent sees", peek(at(memory, 2)));
    must(unmap(memory, 4 * PAGE));
    let fd = must(files::open("/dev/zero", libc::O_RDWR));
    let zero = pointer(map(PAGE, WRITE, libc::MAP_SHARED, fd, 0));
    wait(child(|| {
        poke(zero, 4);
        0
    }));
    t.show("/dev/zero is shared", peek(zero));
    let zero = pointer(map(PAGE, WRITE, libc::MAP_PRIVATE, fd, 0));
    wait(child(|| {
        poke(zero, 4);
        0
    }));
    t.show("or private", peek(zero));
}

fn memfd(t: &mut Report) {
    let create = |flags: u32| sys!(libc::memfd_create(c"a name".as_ptr(), flags));
    let fd = must(create(libc::MFD_CLOEXEC));
    t.ret("flags", sys!(libc::fcntl(fd, libc::F_GETFD)));
    t.show("mode", files::mode_text(files::stat(fd).st_mode));
    t.show("links", files::stat(fd).st_nlink);
    t.show(
        "name",
        std::fs::read_link(format!("/proc/self/fd/{fd}")).map_or_else(|e| e.to_string(), |p| p.display().to_string()),
    );
    t.ret("no such flag", create(0x1000));
    t.ret("a bad name", sys!(libc::syscall(libc::SYS_memfd_create, 8, 0)));
    t.ret("a long name", sys!(libc::memfd_create(files::path(&"n".repeat(250)).as_ptr(), 0)));
    t.ret("grow", sys!(libc::ftruncate(fd, 10_000)));
    t.ret("size", Ok(files::stat(fd).st_size));
    must(sys!(libc::pwrite(fd, b"abc".as_ptr().cast(), 3, 9_999)));
    t.ret("size", Ok(files::stat(fd).st_size));
    let memory = pointer(map(3 * PAGE, WRITE, libc::MAP_SHARED, fd, 0));
    t.show("mapped", text(slice(at(memory, 9_998), 5)));
    let again = must(files::open(&format!("/proc/self/fd/{fd}"), libc::O_RDONLY));
    t.ret("opened again by its link", sys!(libc::lseek(again, 0, libc::SEEK_END)));
}

fn seals(t: &mut Report) {
    let fd = must(sys!(libc::memfd_create(c"s".as_ptr(), libc::MFD_ALLOW_SEALING)));
    must(write(fd, b"0123456789"));
    let add = |seal: i32| sys!(libc::fcntl(fd, libc::F_ADD_SEALS, seal));
    let seals = || sys!(libc::fcntl(fd, libc::F_GET_SEALS));
    t.ret("none", seals());
    t.ret("SHRINK", add(libc::F_SEAL_SHRINK));
    t.ret("shrink", sys!(libc::ftruncate(fd, 5)));
    t.ret("grow", sys!(libc::ftruncate(fd, 20)));
    t.ret("GROW", add(libc::F_SEAL_GROW));
    t.ret("grow", sys!(libc::ftruncate(fd, 30)));
    t.ret("write at the end", sys!(libc::pwrite(fd, b"x".as_ptr().cast(), 1, 20)));
    t.ret("write inside", sys!(libc::pwrite(fd, b"x".as_ptr().cast(), 1, 2)));
    let memory = pointer(map(PAGE, WRITE, libc::MAP_SHARED, fd, 0));
    t.ret("WRITE while mapped", add(libc::F_SEAL_WRITE));
    must(unmap(memory, PAGE));
    t.ret("WRITE", add(libc::F_SEAL_WRITE));
    t.ret("write", sys!(libc::pwrite(fd, b"x".as_ptr().cast(), 1, 2)));
    t.ok("map to write", map(PAGE, WRITE, libc::MAP_SHARED, fd, 0));
    t.ok("map privately", map(PAGE, WRITE, libc::MAP_PRIVATE, fd, 0));
    let readable = map(PAGE, READ, libc::MAP_SHARED, fd, 0);
    t.ok("map to read", readable);
    t.ret("SEAL", add(libc::F_SEAL_SEAL));
    t.ret("more", add(libc::F_SEAL_SHRINK));
    t.ret("all", seals());
    t.ret("seals that there are not", add(0x1000));
    let plain = file_in_memory(b"");
    t.ret("without sealing", sys!(libc::fcntl(plain, libc::F_ADD_SEALS, libc::F_SEAL_WRITE)));
    t.ret("it has", sys!(libc::fcntl(plain, libc::F_GET_SEALS)));
    t.ret("no file in memory", sys!(libc::fcntl(files::pipe().0, libc::F_GET_SEALS)));
}

fn program_break(t: &mut Report) {
    // The C library's allocator may use the break as well: nothing is allocated between these lines.
    let raw = |at: i64| sys!(libc::syscall(libc::SYS_brk, at)).unwrap_or(0);
    let start = raw(0);
    let grown = raw(start + 3 * 4096);
    let first: *mut u8 = ptr::with_exposed_provenance_mut(usize::try_from(start).unwrap_or(0));
    let zero = peek(at(first, 5000));
    poke(at(first, 5000), 1);
    let back = raw(start);
    let again = raw(start + 3 * 4096);
    let zero_again = peek(at(first, 5000));
    let refused = raw(1);
    let far = raw(i64::MAX);
    raw(start);
    t.check("grows", grown == start + 3 * 4096);
    t.check("with zeros", zero == 0);
    t.check("shrinks", back == start);
    t.check("and grows with zeros", again == grown && zero_again == 0);
    t.check("a low address is refused", refused == again);
    t.check("and one far too high", far == again);
    t.show(
        "limit",
        ending(|| {
            let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
            must(sys!(libc::setrlimit(libc::RLIMIT_DATA, &raw const limit)));
            i32::from(raw(start + (8 << 20)) == start + (8 << 20))
        }),
    );
}

fn reserve(t: &mut Report) {
    const LARGE: usize = 64 << 30;
    let memory = pointer(map(LARGE, libc::PROT_NONE, PRIVATE | libc::MAP_NORESERVE, -1, 0));
    t.ret("a part is opened", mprotect(at(memory, LARGE / 2), 16 * PAGE, WRITE));
    poke(at(memory, LARGE / 2 + 5 * PAGE), 5);
    t.show("used", peek(at(memory, LARGE / 2 + 5 * PAGE)));
    t.ret("given back", unmap(memory, LARGE));
    let sparse = pointer(map(8 << 30, WRITE, PRIVATE | libc::MAP_NORESERVE, -1, 0));
    for n in 0..64usize {
        poke(at(sparse, n * (128 << 20)), n.to_le_bytes()[0]);
    }
    let sum: usize = (0..64usize).map(|n| usize::from(peek(at(sparse, n * (128 << 20))))).sum();
    t.show("64 pages over 8 GiB", sum);
    t.ret("given back", unmap(sparse, 8 << 30));
    t.show(
        "limit on the address space",
        ending(|| {
            let limit = libc::rlimit { rlim_cur: 1 << 30, rlim_max: 1 << 30 };
            must(sys!(libc::setrlimit(libc::RLIMIT_AS, &raw const limit)));
            say!("  {}", map(2 << 30, WRITE, PRIVATE, -1, 0).err().map_or("ok".to_owned(), |e| e.to_string()));
            0
        }),
    );
    let mut places: Vec<i64> =
        (0..500).map(|n| map(PAGE, if n % 2 == 0 { READ } else { WRITE }, PRIVATE, -1, 0).unwrap_or(0)).collect();
    places.sort_unstable();
    places.dedup();
    t.show("500 mappings", places.len());
}

fn lock(t: &mut Report) {
    let memory = anonymous(4 * PAGE);
    t.ret("mlock", sys!(libc::mlock(memory.cast(), 2 * PAGE)));
    t.ret("a hole", sys!(libc::mlock(ptr::without_provenance_mut(0x10_0000_0000), PAGE)));
    t.ret("munlock", sys!(libc::munlock(memory.cast(), 4 * PAGE)));
    t.ret("mlock2", sys!(libc::mlock2(memory.cast(), PAGE, libc::MLOCK_ONFAULT)));
    t.ret("flags that there are not", sys!(libc::mlock2(memory.cast(), PAGE, 8)));
    t.ret("munlockall", sys!(libc::munlockall()));
    t.ret("mlockall 0", sys!(libc::mlockall(0)));
}

fn sync(t: &mut Report) {
    let _scratch = Scratch::new();
    let fd = file("f", &[0; 4096]);
    let memory = pointer(map(PAGE, WRITE, libc::MAP_SHARED, fd, 0));
    poke(memory, b's');
    let msync = |at: *mut u8, flags: i32| sys!(libc::msync(at.cast(), PAGE, flags));
    t.ret("MS_SYNC", msync(memory, libc::MS_SYNC));
    t.ret("MS_ASYNC", msync(memory, libc::MS_ASYNC));
    t.ret("both", msync(memory, libc::MS_SYNC | libc::MS_ASYNC));
    t.ret("flags that there are not", msync(memory, 64));
    t.ret("crooked", msync(at(memory, 3), libc::MS_SYNC));
    t.ret("a hole", msync(ptr::without_provenance_mut(0x10_0000_0000), libc::MS_SYNC));
    t.ret("anonymous memory", msync(anonymous(PAGE), libc::MS_SYNC));
    t.show("in the file", read(fd, 1));
}

fn large(t: &mut Report) {
    let len = 16 << 20;
    let memory = anonymous(len);
    for page in 0..len / PAGE {
        poke(at(memory, page * PAGE), page.to_le_bytes()[0]);
    }
    let sum: usize = (0..len / PAGE).map(|page| usize::from(peek(at(memory, page * PAGE)))).sum();
    t.show("16 MiB page by page", sum);
    t.show(
        "and in a child",
        ending(|| {
            slice(memory, len).fill(1);
            i32::from(slice(memory, len).iter().map(|b| usize::from(*b)).sum::<usize>() == len)
        }),
    );
    let blocks: Vec<Vec<u8>> = (0..200u8).map(|n| vec![n; 40_000]).collect();
    t.show("two hundred blocks of the heap", blocks.iter().map(|b| usize::from(b[39_999])).sum::<usize>());
}

fn stack(t: &mut Report) {
    fn deep(level: u32) -> u32 {
        let frame = std::hint::black_box([level; 1000]);
        if level == 0 { 0 } else { deep(level - 1) + u32::from(frame[500] == level) }
    }
    t.show("it grows", deep(300));
    t.show("a far jump within the limit", {
        let mut block = [0u8; 1 << 20];
        std::hint::black_box(&mut block)[0] = 1;
        block[0]
    });
    let limit = libc::rlimit { rlim_cur: 512 << 10, rlim_max: libc::RLIM_INFINITY };
    t.show(
        "limit",
        ending(|| {
            c!(libc::setrlimit(libc::RLIMIT_STACK, &raw const limit));
            i32::from(deep(300) == 0)
        }),
    );
}

fn bad_pointers(t: &mut Report) {
    let bad: *mut libc::c_void = ptr::without_provenance_mut(0x10_0000_0000);
    let kernel: *mut libc::c_void = ptr::without_provenance_mut(0xffff_8000_0000_0000);
    let (from, to) = files::pipe();
    must(write(to, b"abcdef"));
    for (what, at) in [("unmapped", bad), ("the kernel's", kernel)] {
        say!("{what}");
        t.ret("  read", sys!(libc::read(from, at, 1)));
        t.ret("  write", sys!(libc::write(to, at, 1)));
        t.ret("  open", sys!(libc::open(at.cast(), libc::O_RDONLY)));
        t.ret("  fstat", sys!(libc::syscall(libc::SYS_fstat, 0, at)));
        t.ret("  pipe", sys!(libc::syscall(libc::SYS_pipe, at)));
        t.ret("  getcwd", sys!(libc::syscall(libc::SYS_getcwd, at, 100)));
        t.ret("  uname", sys!(libc::syscall(libc::SYS_uname, at)));
        t.ret("  clock_gettime", sys!(libc::syscall(libc::SYS_clock_gettime, 0, at)));
        t.ret("  nanosleep", sys!(libc::syscall(libc::SYS_nanosleep, at, 0)));
        t.ret("  poll", sys!(libc::syscall(libc::SYS_poll, at, 1, 0)));
        t.ret("  select", sys!(libc::syscall(libc::SYS_select, 1, at, 0, 0, 0)));
        t.ret("  writev", sys!(libc::syscall(libc::SYS_writev, to, at, 1)));
        t.ret("  getrandom", sys!(libc::syscall(libc::SYS_getrandom, at, 8, 0)));
        t.ret("  getrlimit", sys!(libc::syscall(libc::SYS_getrlimit, 7, at)));
        t.ret("  sysinfo", sys!(libc::syscall(libc::SYS_sysinfo, at)));
    }
    t.show("nothing was lost", read(from, 10));
    let page = anonymous(2 * PAGE);
    must(unmap(at(page, PAGE), PAGE));
    must(write(to, b"abcdef"));
    let fd = file_in_memory(b"abcdef");
    t.ret(
        "read of a file across the end of a mapping",
        sys!(libc::read(fd, at(page, PAGE - 3).cast(), 6)).map(|n| i64::from(n <= 3)),
    );
    t.show("a path across it", {
        slice(at(page, PAGE - 4), 4).copy_from_slice(b"/tmp");
        sys!(libc::open(at(page, PAGE - 4).cast(), libc::O_RDONLY)).err().map_or("ok".to_owned(), |e| e.to_string())
    });
    slice(at(page, PAGE - 5), 5).copy_from_slice(b"/tmp\0");
    t.ok("a path up to it", sys!(libc::open(at(page, PAGE - 5).cast(), libc::O_RDONLY)));
}
