//! `overlay SEED COUNT DIRECTORY`: random operations on the tree in a directory. Prints what each of them said, and at the end
//! the whole tree: type, mode, size, names, content or target of everything in it.
//!
//! Names are few, so that most operations meet something. Nothing is printed in which file systems may differ: sizes and links of
//! directories, the order of names, numbers of inodes.
#![allow(unsafe_code)]

use families::files::{
    close, link, lstat, mkdir, mode_text, open, open_mode, path, rename, rmdir, symlink, unlink, write,
};
use families::random::Random;
use families::{Errno, Sys, c, libc, must, say, sys};
use std::process::ExitCode;

/// Names in a directory.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// What a path may end with, now and then.
const ENDS: [&str; 5] = ["/", "/.", "/..", "//", "/x/"];
/// Longest file, in bytes: a few pages.
const LONGEST: u64 = 12_000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [seed, count, directory] = &words[..] else {
        say!("usage: overlay SEED COUNT DIRECTORY");
        return ExitCode::from(2);
    };
    let numbers = (seed.parse::<u64>(), count.parse::<u64>());
    let ((Ok(seed), Ok(count)), Ok(())) = (numbers, std::env::set_current_dir(directory)) else {
        say!("overlay: not numbers, or no directory");
        return ExitCode::from(2);
    };
    c!(libc::umask(0));
    let mut random = Random::new(seed, 0);
    for step in 0..count {
        let (kind, operation) = OPERATIONS[usize::try_from(random.below(OPERATIONS.len() as u64)).unwrap_or(0)];
        let said = operation(&mut random);
        say!("{step} {kind} {said}");
    }
    show_tree(".");
    ExitCode::SUCCESS
}

/// An operation: chooses its arguments, does it, and says both.
type Operation = fn(&mut Random) -> String;

/// The operations, the more frequent ones several times.
const OPERATIONS: [(&str, Operation); 28] = [
    ("create", create),
    ("create", create),
    ("create", create),
    ("mkdir", |random| with_path(random, |name| sys!(libc::mkdir(path(name).as_ptr(), 0o777)))),
    ("mkdir", |random| with_path(random, mkdir)),
    ("mkdir", |random| with_path(random, mkdir)),
    ("mkfifo", |random| with_path(random, |name| sys!(libc::mkfifo(path(name).as_ptr(), 0o620)))),
    ("symlink", make_symlink),
    ("link", |random| with_paths(random, link)),
    ("link", |random| with_paths(random, link)),
    ("unlink", |random| with_path(random, unlink)),
    ("unlink", |random| with_path(random, unlink)),
    ("rmdir", |random| with_path(random, rmdir)),
    ("rmdir", |random| with_path(random, rmdir)),
    ("rename", |random| with_paths(random, rename)),
    ("rename", |random| with_paths(random, rename)),
    ("rename", |random| with_paths(random, rename)),
    ("renameat2", rename_with_flags),
    ("renameat2", rename_with_flags),
    ("write", write_part),
    ("write", write_part),
    ("write", write_part),
    ("truncate", truncate),
    ("chmod", change_mode),
    ("stat", |random| shown(random, |name| facts(name).map_err(|errno| errno.to_string()))),
    ("read", |random| shown(random, |name| digest(name).map_err(|errno| errno.to_string()))),
    ("readdir", |random| shown(random, list)),
    ("readlink", |random| shown(random, |name| target(name).map_err(|errno| errno.to_string()))),
];

/// A path of one to three names, at times with an end that asks for a directory or with a name that is too long.
fn some_path(random: &mut Random) -> String {
    let depth = random.one_of(&[1u64, 1, 2, 2, 2, 3, 3]);
    let names: Vec<&str> = (0..depth).map(|_| random.one_of(&NAMES)).collect();
    let mut path = names.join("/");
    match random.below(40) {
        0 => path.push_str(random.one_of(&ENDS)),
        1 => path.push_str(&"n".repeat(255)),
        _ => {}
    }
    path
}

fn in_words(result: Sys) -> String {
    result.map_or_else(|errno| errno.to_string(), |value| value.to_string())
}

fn with_path(random: &mut Random, call: impl FnOnce(&str) -> Sys) -> String {
    let name = some_path(random);
    let result = in_words(call(&name));
    format!("{name}: {result}")
}

fn with_paths(random: &mut Random, call: impl FnOnce(&str, &str) -> Sys) -> String {
    let (old, new) = (some_path(random), some_path(random));
    let result = in_words(call(&old, &new));
    format!("{old} {new}: {result}")
}

fn shown(random: &mut Random, look: impl FnOnce(&str) -> Result<String, String>) -> String {
    let name = some_path(random);
    let found = look(&name).unwrap_or_else(|error| error);
    format!("{name}: {found}")
}

fn create(random: &mut Random) -> String {
    let flags = random.one_of(&[0, libc::O_EXCL, libc::O_TRUNC, libc::O_NOFOLLOW]);
    let (mode, len) = (random.one_of(&[0o644, 0o600, 0o777, 0o4711]), random.below(6000));
    with_path(random, |name| {
        let flags = flags | libc::O_CREAT | libc::O_WRONLY | libc::O_NONBLOCK;
        let fd = must(Ok(open_mode(name, flags, mode)?));
        let wrote = write(fd, &pattern(len));
        close(fd)?;
        wrote
    })
}

fn make_symlink(random: &mut Random) -> String {
    let up = random.one_of(&["", "", "../", "../../", "./"]);
    let target = format!("{up}{}", some_path(random));
    let said = with_path(random, |name| symlink(&target, name));
    format!("{target} {said}")
}

fn rename_with_flags(random: &mut Random) -> String {
    let (exchange, keep) = (libc::RENAME_EXCHANGE, libc::RENAME_NOREPLACE);
    let flags = random.one_of(&[exchange, exchange, exchange, keep, keep, exchange | keep, 8]);
    let said = with_paths(random, |old, new| {
        sys!(libc::renameat2(libc::AT_FDCWD, path(old).as_ptr(), libc::AT_FDCWD, path(new).as_ptr(), flags))
    });
    format!("{flags} {said}")
}

/// Writes somewhere into a file that is there, or at its end.
fn write_part(random: &mut Random) -> String {
    let (offset, len, append) = (random.below(LONGEST), random.below(6000), random.below(4) == 0);
    let said = with_path(random, |name| {
        let append = if append { libc::O_APPEND } else { 0 };
        let fd = must(Ok(open(name, libc::O_RDWR | libc::O_NONBLOCK | append)?));
        let bytes = pattern(len);
        let wrote = sys!(libc::pwrite(fd, bytes.as_ptr().cast(), bytes.len(), offset.cast_signed()));
        close(fd)?;
        wrote
    });
    format!("{len} at {offset} {said}")
}

fn truncate(random: &mut Random) -> String {
    let size = random.below(LONGEST).cast_signed();
    let said = with_path(random, |name| sys!(libc::truncate(path(name).as_ptr(), size)));
    format!("to {size} {said}")
}

fn change_mode(random: &mut Random) -> String {
    let mode = random.one_of(&[0o644, 0o755, 0o1777, 0o2755, 0o4755, 0o700]);
    let said = with_path(random, |name| sys!(libc::chmod(path(name).as_ptr(), mode)));
    format!("{mode:04o} {said}")
}

/// Bytes that differ by their place and by the length.
fn pattern(len: u64) -> Vec<u8> {
    (0..len).map(|at| (at % 251 + len).to_le_bytes()[0]).collect()
}

/// Type and mode; names and size of what is no directory.
fn facts(name: &str) -> Result<String, Errno> {
    let found = lstat(name)?;
    let kind = mode_text(found.st_mode);
    if found.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Ok(kind);
    }
    Ok(format!("{kind} names {} size {} of {}:{}", found.st_nlink, found.st_size, found.st_uid, found.st_gid))
}

/// A digest of a file's bytes (FNV-1a).
fn digest(name: &str) -> Result<String, Errno> {
    let fd = must(Ok(open(name, libc::O_RDONLY | libc::O_NONBLOCK)?));
    let (mut sum, mut bytes) = (0xcbf2_9ce4_8422_2325u64, [0u8; 4096]);
    let end = loop {
        match sys!(libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len())) {
            Ok(0) => break Ok(format!("{sum:016x}")),
            Ok(got) => {
                for byte in &bytes[..usize::try_from(got).unwrap_or(0)] {
                    sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
                }
            }
            Err(errno) => break Err(errno),
        }
    };
    close(fd)?;
    end
}

fn target(name: &str) -> Result<String, Errno> {
    let mut buffer = [0u8; 4096];
    let len = sys!(libc::readlink(path(name).as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()))?;
    Ok(String::from_utf8_lossy(&buffer[..usize::try_from(len).unwrap_or(0)]).into_owned())
}

/// The names in a directory, each with its type, sorted.
fn entries(directory: &str) -> Result<Vec<String>, Errno> {
    let errno = |error: std::io::Error| Errno(error.raw_os_error().unwrap_or(0));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(errno)? {
        names.push(entry.map_err(errno)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn list(directory: &str) -> Result<String, String> {
    entries(directory).map(|names| names.join(" ")).map_err(|errno| errno.to_string())
}

/// Prints all that is in a directory. The tree of a bounded number of operations is not deeper than that.
fn show_tree(directory: &str) {
    let names = match entries(directory) {
        Ok(names) => names,
        Err(errno) => {
            say!("{directory} {errno}");
            return;
        }
    };
    for name in names {
        let name = format!("{directory}/{name}");
        let what = facts(&name).unwrap_or_else(|errno| errno.to_string());
        let content = if what.starts_with("file") {
            digest(&name).unwrap_or_else(|errno| errno.to_string())
        } else {
            target(&name).unwrap_or_default()
        };
        say!("{name} {what} {content}");
        if what.starts_with("directory") {
            show_tree(&name);
        }
    }
}
