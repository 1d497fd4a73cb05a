//! How often the root is asked, and with what.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use fuse_abi::linux::fuse_opcode::{self, *};
use linux_raw_sys::general as raw;
use proto::{MAX_CLOSED, boot_flags};

use super::{Sandbox, error, ordinary_server};
use crate::errno::Errno;

impl Sandbox {
    /// What the root is asked meanwhile.
    fn asked(&mut self, what: impl FnOnce(&mut Self)) -> Vec<u32> {
        let before = self.kernel.platform.requests.len();
        what(self);
        self.kernel.platform.requests[before..].to_vec()
    }

    /// Lists a directory to its end; how many entries there were.
    fn list(&mut self, path: &[u8], room: u64) -> usize {
        let fd = self.open(path, raw::O_RDONLY | raw::O_DIRECTORY, 0);
        let (mut count, out) = (0, self.scratch + 0x8000);
        loop {
            let len = self.call(217, [fd.cast_unsigned(), out, room, 0, 0, 0]);
            let bytes = self.bytes(out, usize::try_from(len).expect("a listing"));
            let mut rest = &bytes[..];
            while let Some(len) = rest.get(16..18) {
                rest = &rest[usize::from(u16::from_le_bytes([len[0], len[1]]))..];
                count += 1;
            }
            if bytes.is_empty() {
                break;
            }
        }
        self.close(fd);
        count
    }

    fn open_count(&self) -> usize {
        self.kernel.platform.server.open_count()
    }
}

fn opcodes<const N: usize>(list: [fuse_opcode; N]) -> Vec<u32> {
    list.map(|opcode| opcode as u32).to_vec()
}

#[test]
fn handles_are_closed_with_the_next_request() {
    let mut sandbox = Sandbox::new();
    let open = sandbox.open_count();
    let asked = sandbox.asked(|sandbox| {
        for _ in 0..100 {
            let fd = sandbox.open(b"/etc/text", raw::O_RDONLY, 0);
            sandbox.close(fd);
            assert!(sandbox.open_count() <= open + 1, "what was closed before is not open any more");
        }
    });
    assert_eq!(asked, [opcodes([FUSE_LOOKUP; 2]), opcodes([FUSE_OPEN; 100])].concat());
    sandbox.ask_something();
    assert_eq!(sandbox.open_count(), open);
}

#[test]
fn handles_that_nobody_asks_anything_after_are_not_many() {
    let mut sandbox = Sandbox::new();
    let open = sandbox.open_count();
    let files: Vec<i64> = (0..50).map(|_| sandbox.open(b"/etc/text", raw::O_RDONLY, 0)).collect();
    assert_eq!(sandbox.open_count(), open + 50);
    let asked = sandbox.asked(|sandbox| files.into_iter().for_each(|fd| sandbox.close(fd)));
    assert_eq!(asked, opcodes([FUSE_RELEASE; 2]));
    assert_eq!(sandbox.open_count(), open + 50 - 2 * (MAX_CLOSED + 1));
    sandbox.ask_something();
    assert_eq!(sandbox.open_count(), open);
}

#[test]
fn what_has_no_name_is_closed_at_once() {
    let mut sandbox = Sandbox::new();
    let open = sandbox.open_count();
    let fd = sandbox.open(b"/etc/text", raw::O_RDONLY, 0);
    assert_eq!(sandbox.path_call(87, b"/etc/text", [0, 0]), 0);
    let asked = sandbox.asked(|sandbox| sandbox.close(fd));
    assert_eq!(asked, opcodes([FUSE_RELEASE, FUSE_BATCH_FORGET]));
    assert_eq!(sandbox.open_count(), open);
    // Nor has what another file has taken the name of.
    let fd = sandbox.open(b"/tmp/one", raw::O_RDWR | raw::O_CREAT, 0o644);
    let other = sandbox.open(b"/tmp/two", raw::O_RDWR | raw::O_CREAT, 0o644);
    let (from, to) = (sandbox.string(4, b"/tmp/two"), sandbox.string(5, b"/tmp/one"));
    assert_eq!(sandbox.call(82, [from, to, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.asked(|sandbox| sandbox.close(fd)), opcodes([FUSE_RELEASE, FUSE_BATCH_FORGET]));
    assert_eq!(sandbox.asked(|sandbox| sandbox.close(other)), []);
}

#[test]
fn what_was_written_is_told_at_once_if_it_is_recorded() {
    for (flags, told) in [(0, opcodes([])), (boot_flags::TELL_PROCESSES, opcodes([FUSE_RELEASE]))] {
        let mut sandbox = Sandbox::with_flags(ordinary_server(), flags);
        let fd = sandbox.open(b"/etc/text", raw::O_WRONLY, 0);
        assert_eq!(sandbox.write(fd, b"x"), 1);
        assert_eq!(sandbox.asked(|sandbox| sandbox.close(fd)), told);
        let fd = sandbox.open(b"/etc/text", raw::O_RDONLY, 0);
        assert_eq!(sandbox.asked(|sandbox| sandbox.close(fd)), []);
    }
}

#[test]
fn what_is_to_be_made_is_not_looked_for() {
    let mut sandbox = Sandbox::new();
    assert!(sandbox.open(b"/tmp/first", raw::O_WRONLY | raw::O_CREAT, 0o644) > 0);
    let both = raw::O_WRONLY | raw::O_CREAT | raw::O_EXCL;
    let mut asked = |path: &[u8], flags| {
        let mut fd = 0;
        (sandbox.asked(|sandbox| fd = sandbox.open(path, flags, 0o644)), fd)
    };
    assert_eq!(asked(b"/tmp/second", both), (opcodes([FUSE_CREATE]), 4));
    assert_eq!(asked(b"/tmp/second", both), (opcodes([]), error(Errno::EEXIST)));
    assert_eq!(asked(b"/etc/text", both), (opcodes([FUSE_LOOKUP, FUSE_CREATE]), error(Errno::EEXIST)));
    // A file that is there, and one that a link leads to.
    let make = raw::O_WRONLY | raw::O_CREAT;
    assert_eq!(asked(b"/etc/text", make), (opcodes([FUSE_CREATE, FUSE_LOOKUP, FUSE_OPEN]), 5));
    assert_eq!(asked(b"/etc/text", make), (opcodes([FUSE_OPEN]), 6));
    let through = opcodes([FUSE_CREATE, FUSE_LOOKUP, FUSE_READLINK, FUSE_OPEN]);
    assert_eq!(asked(b"/etc/link", make), (through, 7));
    assert_eq!(asked(b"/etc/", make), (opcodes([]), error(Errno::EISDIR)));
}

#[test]
fn directories_and_links_are_made_by_one_request() {
    let mut sandbox = Sandbox::new();
    assert!(sandbox.stat(b"/tmp", 0).is_ok());
    let mut asked = |number, path: &[u8]| {
        let mut result = 0;
        (sandbox.asked(|sandbox| result = sandbox.path_call(number, path, [0o755, 0])), result)
    };
    assert_eq!(asked(83, b"/tmp/new"), (opcodes([FUSE_MKDIR]), 0));
    assert_eq!(asked(83, b"/tmp/new/a"), (opcodes([FUSE_MKDIR]), 0));
    assert_eq!(asked(83, b"/tmp/new/b/"), (opcodes([FUSE_LOOKUP, FUSE_MKDIR]), 0));
    assert_eq!(asked(83, b"/tmp/new/a"), (opcodes([]), error(Errno::EEXIST)));
    assert_eq!(asked(83, b"/etc/text"), (opcodes([FUSE_LOOKUP, FUSE_MKDIR]), error(Errno::EEXIST)));
    assert_eq!(asked(83, b"/proc"), (opcodes([]), error(Errno::EEXIST)));
    let (text, path) = (sandbox.string(4, b"to"), sandbox.string(5, b"/tmp/new/link"));
    assert_eq!(sandbox.asked(|sandbox| _ = sandbox.call(88, [text, path, 0, 0, 0, 0])), opcodes([FUSE_SYMLINK]));
}

/// What changes size and times of a file or directory leaves its type and who may do what.
#[test]
fn what_was_written_to_is_opened_without_asking_what_it_is() {
    let mut sandbox = Sandbox::new();
    let fd = sandbox.open(b"/tmp/file", raw::O_RDWR | raw::O_CREAT, 0o644);
    assert_eq!(sandbox.write(fd, b"bytes"), 5);
    let asked = sandbox.asked(|sandbox| _ = sandbox.open(b"/tmp/file", raw::O_RDONLY, 0));
    assert_eq!(asked, opcodes([FUSE_OPEN]));
    let asked = sandbox.asked(|sandbox| assert_eq!(sandbox.stat(b"/tmp/file", 0).map(|stat| stat.st_size), Ok(5)));
    assert_eq!(asked, opcodes([FUSE_GETATTR]));
    // Who may do what is as it was set last.
    assert_eq!(sandbox.path_call(90, b"/tmp/file", [0o200, 0]), 0);
    assert_eq!(sandbox.write(fd, b"more"), 4);
    assert_eq!(sandbox.call(117, [1000; 6]), 0);
    assert_eq!(sandbox.asked(|sandbox| _ = sandbox.open(b"/tmp/file", raw::O_RDONLY, 0)), opcodes([]));
    assert_eq!(sandbox.open(b"/tmp/file", raw::O_RDONLY, 0), error(Errno::EACCES));
}

/// `/a`, `/b` … with 100 files each.
fn full_directories(names: &[&str]) -> Sandbox {
    let mut server = ordinary_server();
    for directory in names {
        server.directory(directory);
        (0..100).for_each(|number| server.file(&format!("{directory}/{number}"), b"", 0o644));
    }
    Sandbox::with(server)
}

impl Sandbox {
    /// Lists a directory, and looks at each of its files.
    fn look_at_all(&mut self, directory: &str) {
        assert_eq!(self.list(directory.as_bytes(), 0x8000), 102);
        for number in 0..100 {
            assert!(self.stat(format!("{directory}/{number}").as_bytes(), 0).is_ok());
        }
    }
}

#[test]
fn who_looks_at_what_it_lists_is_told_of_it_ahead() {
    let mut sandbox = full_directories(&["/a", "/b", "/c"]);
    let lookups = |asked: &[u32]| asked.iter().filter(|&&opcode| opcode == FUSE_LOOKUP as u32).count();
    let asked = sandbox.asked(|sandbox| sandbox.look_at_all("/a"));
    assert_eq!(lookups(&asked), 101);
    for directory in ["/b", "/c"] {
        let asked = sandbox.asked(|sandbox| sandbox.look_at_all(directory));
        assert!(asked.contains(&(FUSE_READDIRPLUS as u32)) && !asked.contains(&(FUSE_READDIR as u32)));
        // Names whose slots others have taken since are asked for.
        assert!(lookups(&asked) <= 20, "{} of 100 names were asked for", lookups(&asked));
    }
    // Of folders that nobody has looked into nothing more is told than names.
    let mut sandbox = full_directories(&["/a", "/b"]);
    for directory in [&b"/a"[..], b"/b", b"/a"] {
        assert!(!sandbox.asked(|sandbox| _ = sandbox.list(directory, 0x8000)).contains(&(FUSE_READDIRPLUS as u32)));
    }
}

#[test]
fn who_does_not_look_any_more_is_told_of_names_only() {
    let names: Vec<String> = (0..40).map(|number| format!("/{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut sandbox = full_directories(&names);
    names[..5].iter().for_each(|directory| sandbox.look_at_all(directory));
    let ahead = |asked: Vec<u32>| asked.contains(&(FUSE_READDIRPLUS as u32));
    let told: Vec<bool> = names[5..]
        .iter()
        .map(|name| ahead(sandbox.asked(|sandbox| _ = sandbox.list(name.as_bytes(), 0x8000))))
        .collect();
    assert!(told[0] && !told[20..].contains(&true), "{told:?}");
    // A listing into little room has names only.
    sandbox.look_at_all(names[0]);
    sandbox.look_at_all(names[1]);
    assert!(!ahead(sandbox.asked(|sandbox| assert_eq!(sandbox.list(names[2].as_bytes(), 2048), 102))));
}

#[test]
fn what_was_told_ahead_follows_changes() {
    let mut sandbox = full_directories(&["/a", "/b"]);
    sandbox.look_at_all("/a");
    assert_eq!(sandbox.list(b"/b", 0x8000), 102);
    assert_eq!(sandbox.path_call(87, b"/b/7", [0, 0]), 0);
    assert_eq!(sandbox.stat(b"/b/7", 0).err(), Some(error(Errno::ENOENT)));
    let (from, to) = (sandbox.string(4, b"/b/8"), sandbox.string(5, b"/b/7"));
    assert_eq!(sandbox.call(82, [from, to, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.stat(b"/b/8", 0).err(), Some(error(Errno::ENOENT)));
    assert!(sandbox.stat(b"/b/7", 0).is_ok());
    assert_eq!(sandbox.path_call(90, b"/b/9", [0o600, 0]), 0);
    assert_eq!(sandbox.list(b"/b", 0x8000), 101);
    assert_eq!(sandbox.stat(b"/b/9", 0).map(|stat| stat.st_mode), Ok(0o100_600));
    assert_eq!(sandbox.stat(b"/b/8", 0).err(), Some(error(Errno::ENOENT)));
}
