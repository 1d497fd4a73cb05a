//! What POSIX and Linux promise of names, rights and times, call by call: each call that takes a path is given the same awkward
//! paths, by the superuser (if that is who runs this) and by others, and what it says is printed, with what is there afterwards.
//!
//! Left out is what a setting of the system decides (/proc/sys/fs/protected_*): links to files of others, and opening what others
//! have put into sticky directories.
#![allow(unsafe_code)]

mod calls;
mod rules;

use families::files::{
    Scratch, close, file, link, lstat, mkdir, names, open, path, rename, rmdir, symlink, try_open, unlink, what,
};
use families::tasks::ending;
use families::{Report, Section, Sys, c, libc, must, say, sys};
use std::process::ExitCode;

/// A user who owns nothing but what is called "mine", and a group that has rights of its own.
const OTHER: u32 = 65_533;
const GROUP: u32 = 2000;

/// A call that takes a path, and its section.
type Call = fn(&str) -> Sys;

const SECTIONS: [Section; 42] = [
    ("access", |t| try_all(t, |name| sys!(libc::access(path(name).as_ptr(), libc::R_OK | libc::W_OK)))),
    ("chdir", |t| try_all(t, chdir_and_back)),
    ("chmod", |t| try_all(t, |name| chmod(name, 0o751))),
    ("chown", |t| try_all(t, |name| chown(name, OTHER, GROUP))),
    ("lchown", |t| try_all(t, |name| sys!(libc::lchown(path(name).as_ptr(), u32::MAX, GROUP)))),
    ("link", |t| try_all(t, |name| link("open/mine", name))),
    ("mkdir", |t| try_all(t, mkdir)),
    ("mkfifo", |t| try_all(t, |name| sys!(libc::mkfifo(path(name).as_ptr(), 0o644)))),
    ("mknod", |t| try_all(t, |name| sys!(libc::mknod(path(name).as_ptr(), libc::S_IFREG | 0o600, 0)))),
    ("open", |t| try_all(t, |name| try_open(name, libc::O_RDWR | libc::O_NONBLOCK))),
    ("open-to-create", |t| try_all(t, |name| try_open(name, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL))),
    ("list", |t| try_all(t, |name| try_open(name, libc::O_RDONLY | libc::O_DIRECTORY))),
    ("readlink", |t| try_all(t, |name| sys!(libc::readlink(path(name).as_ptr(), [0; 64].as_mut_ptr(), 64)))),
    ("rename-from", |t| try_all(t, |name| rename(name, "open/moved"))),
    ("rename-to", |t| try_all(t, rename_to)),
    ("rmdir", |t| try_all(t, rmdir)),
    ("stat", |t| try_all(t, |name| sys!(libc::faccessat(libc::AT_FDCWD, path(name).as_ptr(), libc::F_OK, 0)))),
    ("symlink", |t| try_all(t, |name| symlink("target", name))),
    ("truncate", |t| try_all(t, |name| sys!(libc::truncate(path(name).as_ptr(), 3)))),
    ("unlink", |t| try_all(t, unlink)),
    ("utimensat", |t| try_all(t, |name| set_times(name, libc::UTIME_NOW))),
    ("utimensat-exact", |t| try_all(t, |name| set_times(name, 5))),
    ("lstat", |t| try_all(t, calls::lstat)),
    ("statx", |t| try_all(t, calls::statx)),
    ("statfs", |t| try_all(t, calls::statfs)),
    ("execve", |t| try_all(t, calls::execve)),
    ("chroot", |t| try_all(t, calls::chroot)),
    ("link-from", |t| drop(try_as_self(t, |name| link(name, "open/linked").and_then(|_| unlink("open/linked"))))),
    ("link-followed", |t| drop(try_as_self(t, calls::link_followed))),
    ("rename-noreplace", |t| try_all(t, |name| calls::rename_flags(name, libc::RENAME_NOREPLACE))),
    ("rename-exchange", |t| try_all(t, |name| calls::rename_flags(name, libc::RENAME_EXCHANGE))),
    ("openat2", |t| try_all(t, calls::openat2)),
    ("utimes", |t| try_all(t, |name| sys!(libc::utimes(path(name).as_ptr(), std::ptr::null())))),
    ("getxattr", |t| try_all(t, calls::getxattr)),
    ("setxattr", |t| try_all(t, calls::setxattr)),
    ("inotify", |t| try_all(t, calls::watch)),
    ("bind", |t| try_all(t, calls::bind)),
    ("sticky", rules::sticky),
    ("set-id", rules::set_id),
    ("groups", rules::groups),
    ("times", rules::times),
    ("busy", rules::busy),
];

fn main() -> ExitCode {
    families::run(&SECTIONS)
}

fn chmod(name: &str, mode: u32) -> Sys {
    sys!(libc::chmod(path(name).as_ptr(), mode))
}

fn chown(name: &str, user: u32, group: u32) -> Sys {
    sys!(libc::chown(path(name).as_ptr(), user, group))
}

fn chdir(name: &str) -> Sys {
    sys!(libc::chdir(path(name).as_ptr()))
}

fn chdir_and_back(name: &str) -> Sys {
    let here = must(open(".", libc::O_PATH));
    let result = chdir(name);
    must(sys!(libc::fchdir(here)));
    must(close(here));
    result
}

fn rename_to(name: &str) -> Sys {
    let from = "open/renamed";
    match open(from, libc::O_CREAT | libc::O_WRONLY) {
        Ok(fd) => close(must(Ok(fd)))?,
        Err(errno) => return Err(errno),
    };
    rename(from, name)
}

/// Sets both times to these nanoseconds of the second 1000, or to now.
fn set_times(name: &str, nanoseconds: i64) -> Sys {
    let time = libc::timespec { tv_sec: 1000, tv_nsec: nanoseconds };
    sys!(libc::utimensat(libc::AT_FDCWD, path(name).as_ptr(), [time; 2].as_ptr(), 0))
}

fn superuser() -> bool {
    c!(libc::geteuid()) == 0
}

/// Makes a file with this mode, of this owner if that can be.
fn owned(name: &str, mode: u32, user: u32, group: u32) {
    must(close(file(name, b"content")));
    hand_over(name, mode, user, group);
}

fn owned_directory(name: &str, mode: u32, user: u32, group: u32) {
    must(mkdir(name));
    hand_over(name, mode, user, group);
}

fn hand_over(name: &str, mode: u32, user: u32, group: u32) {
    if superuser() {
        must(chown(name, user, group));
    }
    must(chmod(name, mode));
}

/// Makes what the calls are tried on: plain things, and directories with different rights that hold the same each.
fn make_world() {
    must(close(file("f", b"content")));
    for directory in ["d", "d/in", "e"] {
        must(mkdir(directory));
    }
    must(close(file("d/f", b"content")));
    for (target, name) in [("f", "to-file"), ("d", "to-directory"), ("loop", "loop"), ("nowhere", "to-nothing")] {
        must(symlink(target, name));
    }
    must(sys!(libc::mkfifo(path("fifo").as_ptr(), 0o644)));
    // Rights are set when all is made: who is not the superuser is stopped by his own as well.
    let places = [
        ("open", 0o777),
        ("closed", 0o700),
        ("readonly", 0o555),
        ("blind", 0o333),
        ("group", 0o770),
        ("sticky", 0o1777),
    ];
    for (name, _) in places {
        must(mkdir(name));
        owned(&format!("{name}/theirs"), 0o600, 0, 0);
        owned(&format!("{name}/readable"), 0o644, 0, 0);
        owned(&format!("{name}/mine"), 0o600, OTHER, OTHER);
        owned(&format!("{name}/ours"), 0o660, 0, GROUP);
        owned_directory(&format!("{name}/their-directory"), 0o755, 0, 0);
        owned_directory(&format!("{name}/my-directory"), 0o755, OTHER, OTHER);
    }
    for (name, mode) in places {
        hand_over(name, mode, 0, if name == "group" { GROUP } else { 0 });
    }
}

/// Paths that end in no place of their own, or in an awkward way.
fn awkward_paths() -> Vec<String> {
    let long = "n".repeat(256);
    let mut paths: Vec<String> = [
        "",
        "/",
        ".",
        "..",
        "f",
        "f/",
        "f/.",
        "f/..",
        "f/x",
        "d",
        "d/",
        "d/.",
        "d/..",
        "d/f",
        "d/f/x",
        "e",
        "e/",
        "new",
        "new-too/",
        "missing/x",
        "missing/../f",
        "to-file",
        "to-file/",
        "to-file/x",
        "to-directory",
        "to-directory/",
        "to-directory/f",
        "to-directory/.",
        "to-nothing",
        "to-nothing/",
        "to-nothing/x",
        "loop",
        "loop/",
        "loop/x",
        "fifo",
        "fifo/",
        "fifo/x",
    ]
    .map(str::to_owned)
    .into();
    paths.extend([long.clone(), format!("{long}/x"), format!("d/{long}"), format!("{}/x", "n".repeat(255))]);
    paths.extend([4095, 4096].map(|len| format!(".{}f", "/".repeat(len - 2))));
    paths.push(format!("{}d", "./".repeat(2047)));
    paths
}

/// Paths into the directories with different rights.
fn guarded_paths() -> Vec<String> {
    let mut paths = Vec::new();
    for place in ["open", "closed", "readonly", "blind", "group", "sticky"] {
        paths.push(place.to_owned());
        for name in
            ["theirs", "readable", "mine", "ours", "new", "their-directory", "my-directory", "their-directory/new"]
        {
            paths.push(format!("{place}/{name}"));
        }
    }
    paths
}

/// Tries a call on all paths, as whoever runs this.
fn try_as_self(t: &Report, call: Call) -> Scratch {
    let scratch = Scratch::new();
    for (number, paths) in [awkward_paths(), guarded_paths()].into_iter().enumerate() {
        in_world(&scratch, &format!("world-{number}"), || try_paths(t, &paths, call));
    }
    scratch
}

/// Tries a call on all paths: as whoever runs this, and as others.
fn try_all(t: &mut Report, call: Call) {
    let scratch = try_as_self(t, call);
    if !superuser() {
        return;
    }
    let members: [(&str, u32, &[u32]); 3] = [
        ("another user", OTHER, &[]),
        ("with the group", GROUP, &[]),
        ("with the group beside", OTHER, &[1, GROUP, 3]),
    ];
    for (number, (who, group, groups)) in members.into_iter().enumerate() {
        in_world(&scratch, &format!("user-{number}"), || {
            say!("{who}:");
            let paths: Vec<String> =
                guarded_paths().into_iter().chain(["f".into(), "d/f".into(), "e".into()]).collect();
            say!("{}", as_user(group, groups, || try_paths(t, &paths, call)));
        });
    }
}

/// Does something in a new directory with everything in it, and shows what is there afterwards.
fn in_world(scratch: &Scratch, name: &str, body: impl FnOnce()) {
    must(chmod(&scratch.directory().display().to_string(), 0o755));
    must(mkdir(name));
    must(chdir(name));
    make_world();
    body();
    show_tree(".");
    // What may not be entered cannot be removed by its owner either.
    for name in ["closed", "readonly", "blind", "group"] {
        let _ = chmod(name, 0o700);
    }
    must(chdir(".."));
}

fn try_paths(t: &Report, paths: &[String], call: Call) {
    for name in paths {
        let shown = if name.len() > 60 { format!("{}... of {}", &name[..12], name.len()) } else { name.clone() };
        t.ok(&format!("  {shown}"), call(name));
    }
}

/// Does something in a child that is a user with these groups.
fn as_user(group: u32, groups: &[u32], body: impl FnOnce()) -> String {
    ending(|| {
        must(sys!(libc::setgroups(groups.len(), groups.as_ptr())));
        must(sys!(libc::setresgid(group, group, group)));
        must(sys!(libc::setresuid(OTHER, OTHER, OTHER)));
        body();
        0
    })
}

/// Type, mode, owner and links of all that is in a directory.
fn show_tree(directory: &str) {
    for name in names(directory).split_whitespace() {
        let name = format!("{directory}/{name}");
        say!("{name}: {}", facts(&name));
        if lstat(&name).is_ok_and(|found| found.st_mode & libc::S_IFMT == libc::S_IFDIR) {
            show_tree(&name);
        }
    }
}

/// What something is, and whose if it is none of the user's who runs this.
fn facts(name: &str) -> String {
    let found = match lstat(name) {
        Ok(found) => found,
        Err(errno) => return errno.to_string(),
    };
    let whose = if superuser() { format!(" of {}:{}", found.st_uid, found.st_gid) } else { String::new() };
    format!("{}{whose}", what(name))
}
