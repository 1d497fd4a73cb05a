//! What goes by more than a path: sticky directories, bits that let a file run as its owner, groups, times.
use crate::{
    Call, GROUP, OTHER, as_user, chmod, chown, facts, owned, owned_directory, set_times, show_tree, superuser,
};
use families::files::{
    Scratch, close, file, link, lstat, mkdir, mode_text, names, open, open_mode, path, rename, rmdir, stat, symlink,
    try_open, unlink, write,
};
use families::tasks::{ending, pause_ms};
use families::{Errno, Report, Sys, c, libc, must, say, sys};
use std::io::Read;
use std::process::Stdio;
use std::ptr;

/// Sticky directories: of whom, and who may take what away.
pub(crate) fn sticky(t: &mut Report) {
    let scratch = Scratch::new();
    must(chmod(&scratch.directory().display().to_string(), 0o755));
    for (directory, owner) in [("mine", OTHER), ("theirs", 1)] {
        owned_directory(directory, 0o1777, owner, 0);
        for entry in ["a", "b", "c", "d"] {
            owned(&format!("{directory}/{entry}"), 0o666, if entry < "c" { OTHER } else { 1 }, 0);
            owned_directory(&format!("{directory}/{entry}-directory"), 0o777, if entry < "c" { OTHER } else { 1 }, 0);
        }
    }
    let all = |t: &Report| {
        for directory in ["mine", "theirs"] {
            let at = |name: &str| format!("{directory}/{name}");
            t.ret("  rename over one of mine", rename(&at("d"), &at("a")));
            t.ret("  rename mine over another's", rename(&at("b"), &at("c")));
            t.ret("  rename mine", rename(&at("b"), &at("e")));
            t.ret("  a directory of another's", rename(&at("d-directory"), &at("e-directory")));
            t.ret("  a directory of mine over another's", rename(&at("a-directory"), &at("c-directory")));
            t.ret("  exchange", exchange(&at("a"), &at("c")));
            t.ret("  unlink another's", unlink(&at("c")));
            t.ret("  rmdir of another's", rmdir(&at("c-directory")));
            t.ret("  rmdir of mine", rmdir(&at("b-directory")));
            t.ret("  unlink mine", unlink(&at("e")));
            t.show("  left", names(directory));
        }
    };
    if superuser() {
        say!("another user");
        say!("{}", as_user(OTHER, &[], || all(t)));
    }
    all(t);
    show_tree(".");
}

fn exchange(old: &str, new: &str) -> Sys {
    let flags = libc::RENAME_EXCHANGE;
    sys!(libc::renameat2(libc::AT_FDCWD, path(old).as_ptr(), libc::AT_FDCWD, path(new).as_ptr(), flags))
}

/// What takes the bits away that let a file run as its owner, and who may set them.
pub(crate) fn set_id(t: &mut Report) {
    let scratch = Scratch::new();
    must(chmod(&scratch.directory().display().to_string(), 0o777));
    let (me, mine) = (c!(libc::geteuid()), c!(libc::getegid()));
    let changes: [(&str, Call); 8] = [
        ("write", |name| {
            let fd = must(Ok(open(name, libc::O_WRONLY)?));
            write(fd, b"x").and(close(fd))
        }),
        ("write nothing", |name| {
            let fd = must(Ok(open(name, libc::O_WRONLY)?));
            write(fd, b"").and(close(fd))
        }),
        ("truncate", |name| sys!(libc::truncate(path(name).as_ptr(), 1))),
        ("open to cut", |name| try_open(name, libc::O_WRONLY | libc::O_TRUNC)),
        ("chown to nobody", |name| chown(name, u32::MAX, u32::MAX)),
        ("chown to oneself", |name| chown(name, c!(libc::geteuid()), c!(libc::getegid()))),
        ("chmod", |name| chmod(name, 0o6755)),
        ("utimensat", |name| set_times(name, libc::UTIME_NOW)),
    ];
    let try_changes = |t: &Report, user: u32, group: u32| {
        for (what, change) in changes {
            for mode in [0o6755, 0o6745, 0o2644, 0o4644] {
                let name = format!("{user}-{mode:o}");
                let _ = unlink(&name);
                must(close(file(&name, b"content")));
                if superuser() {
                    must(chown(&name, user, group));
                }
                must(chmod(&name, mode));
                t.ret(&format!("  {what} of {mode:04o}"), change(&name));
                say!("    is {}", facts(&name));
            }
        }
        must(mkdir("directory"));
        must(chmod("directory", 0o6755));
        t.ret("  chown of a directory", chown("directory", u32::MAX, u32::MAX));
        t.show("    is", mode_text(lstat("directory").map_or(0, |found| found.st_mode)));
        must(rmdir("directory"));
    };
    try_changes(t, me, mine);
    if superuser() {
        say!("another user");
        say!("{}", as_user(OTHER, &[], || try_changes(t, OTHER, OTHER)));
        // Somebody else's, which all may write to.
        owned("writable", 0o6777, 0, 0);
        say!("{}", as_user(OTHER, &[], || t.ret("  write", must_write("writable"))));
        t.show("is", facts("writable"));
    }
}

fn must_write(name: &str) -> Sys {
    let fd = must(Ok(open(name, libc::O_WRONLY)?));
    write(fd, b"x")
}

/// Groups: of what is new, and what belonging to one gives.
pub(crate) fn groups(t: &mut Report) {
    let scratch = Scratch::new();
    must(chmod(&scratch.directory().display().to_string(), 0o777));
    owned_directory("inherits", 0o2777, 0, GROUP);
    let make = |t: &Report, part: &str| {
        let at = |name: &str| format!("inherits/{part}-{name}");
        t.ok("  a file", open_mode(&at("f"), libc::O_CREAT | libc::O_WRONLY, 0o2775));
        t.ret("  a directory", sys!(libc::mkdir(path(&at("d")).as_ptr(), 0o755)));
        t.ret("  a link", symlink("x", &at("l")));
        t.ret("  a fifo", sys!(libc::mknod(path(&at("p")).as_ptr(), libc::S_IFIFO | 0o2775, 0)));
        t.ret("  set-group-id by chmod", chmod(&at("f"), 0o2775));
        t.ret("  on the directory", chmod(&at("d"), 0o2775));
        for name in ["f", "d", "l", "p"] {
            say!("  {name} {}", facts(&at(name)));
        }
    };
    make(t, "own");
    if !superuser() {
        return;
    }
    say!("{}", as_user(OTHER, &[], || make(t, "other")));
    say!("{}", as_user(OTHER, &[7, GROUP], || make(t, "beside")));
    say!("{}", as_user(GROUP, &[], || make(t, "member")));
    owned("given", 0o644, OTHER, OTHER);
    let give = |t: &Report| {
        t.ret("  to a group of mine", chown("given", u32::MAX, GROUP));
        t.ret("  to another", chown("given", u32::MAX, 77));
        t.ret("  to myself", chown("given", OTHER, u32::MAX));
        t.ret("  to the superuser", chown("given", 0, u32::MAX));
        say!("  is {}", facts("given"));
    };
    say!("{}", as_user(OTHER, &[], || give(t)));
    say!("{}", as_user(OTHER, &[GROUP], || give(t)));
    switching(t);
}

/// Effective ids that come and go in one process.
fn switching(t: &Report) {
    owned("secret", 0o600, 0, 0);
    owned("for-group", 0o040, 0, GROUP);
    owned("not-for-group", 0o604, 0, GROUP);
    let tries = |who: &str| {
        for name in ["secret", "for-group", "not-for-group"] {
            t.ok(&format!("  {who}: {name}"), try_open(name, libc::O_RDONLY));
        }
    };
    let by = ending(|| {
        must(sys!(libc::setgroups(0, ptr::null())));
        must(sys!(libc::setegid(OTHER)));
        must(sys!(libc::seteuid(OTHER)));
        tries("effective user");
        let real = |name: &str| sys!(libc::access(path(name).as_ptr(), libc::R_OK));
        t.ret("  access asks for the real one", real("secret"));
        must(sys!(libc::seteuid(0)));
        tries("back again");
        must(sys!(libc::setgroups(1, [GROUP].as_ptr())));
        must(sys!(libc::seteuid(OTHER)));
        tries("with the group");
        t.ret("  setgroups", sys!(libc::setgroups(0, ptr::null())));
        must(sys!(libc::seteuid(0)));
        must(sys!(libc::setgroups(0, ptr::null())));
        must(sys!(libc::setfsuid(OTHER)).or(Ok(0)));
        tries("file system user");
        0
    });
    say!("{by}");
}

/// Which times of a file and of its directory an operation changes.
pub(crate) fn times(t: &mut Report) {
    let _scratch = Scratch::new();
    must(mkdir("d"));
    must(mkdir("d/e"));
    must(mkdir("other"));
    let fd = file("d/f", b"content");
    let operations: [(&str, &dyn Fn() -> Sys); 24] = [
        ("stat", &|| lstat("d/f").map(|_| 0)),
        ("open", &|| try_open("d/f", libc::O_RDWR)),
        ("read", &|| families::files::read_len(fd, 3)),
        ("write", &|| write(fd, b"x")),
        ("write nothing", &|| write(fd, b"")),
        ("ftruncate", &|| sys!(libc::ftruncate(fd, 5))),
        ("ftruncate to the same", &|| sys!(libc::ftruncate(fd, 5))),
        ("truncate to the same", &|| sys!(libc::truncate(path("d/f").as_ptr(), 5))),
        ("open to cut", &|| try_open("d/f", libc::O_WRONLY | libc::O_TRUNC)),
        ("open to cut what is empty", &|| try_open("d/f", libc::O_WRONLY | libc::O_TRUNC)),
        ("open to create what is there", &|| try_open("d/f", libc::O_WRONLY | libc::O_CREAT)),
        ("chmod", &|| chmod("d/f", 0o600)),
        ("chown to nobody", &|| chown("d/f", u32::MAX, u32::MAX)),
        ("link", &|| link("d/f", "d/g")),
        ("rename", &|| rename("d/g", "d/h")),
        ("rename onto itself", &|| rename("d/h", "d/f")),
        ("unlink", &|| unlink("d/h")),
        ("mkdir", &|| mkdir("d/new")),
        ("rmdir", &|| rmdir("d/new")),
        ("symlink", &|| symlink("x", "d/l")),
        ("mknod", &|| sys!(libc::mknod(path("d/n").as_ptr(), libc::S_IFREG | 0o600, 0))),
        ("a file that cannot be made", &|| mkdir("d/n")),
        ("rename out", &|| rename("d/f", "other/f")),
        ("rename in", &|| rename("other/f", "d/f")),
    ];
    for (what, operation) in operations {
        let before = [times_of("d/f"), times_of("d"), times_of("other")];
        // Longer than a tick of any kernel's clock for files.
        pause_ms(25);
        let result = operation();
        let after = [times_of("d/f"), times_of("d"), times_of("other")];
        let mut changed = String::new();
        for (name, (before, after)) in ["file", "directory", "other"].iter().zip(before.iter().zip(after)) {
            // Only what was there both times has changed.
            let (Some(before), Some(after)) = (before, after) else { continue };
            let parts = [("mtime", before.modified != after.modified), ("ctime", before.changed != after.changed)];
            for (part, _) in parts.iter().filter(|(_, differs)| *differs) {
                changed += &format!(" {part} of {name}");
            }
        }
        t.ok(what, result);
        say!("  changes{changed}");
    }
    t.check("the file's descriptor is good still", stat(fd).st_nlink == 1);
}

/// Modification and change time.
#[derive(Clone, Copy)]
struct Times {
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The times of a file, if it is there.
fn times_of(name: &str) -> Option<Times> {
    let found = lstat(name).ok()?;
    Some(Times { modified: (found.st_mtime, found.st_mtime_nsec), changed: (found.st_ctime, found.st_ctime_nsec) })
}

/// A program that runs is not written to, and one that is written to does not run.
pub(crate) fn busy(t: &mut Report) {
    if std::env::var_os(BUSY).is_some() {
        // The copy that runs: until its input ends.
        say!("runs");
        let _ = std::io::stdin().read(&mut [0]);
        return;
    }
    let scratch = Scratch::new();
    must(chmod(&scratch.directory().display().to_string(), 0o755));
    let me = std::fs::read("/proc/self/exe").expect("this program");
    must(close(file("program", &me)));
    must(close(file("script", b"#!./program busy\n")));
    for name in ["program", "script"] {
        must(chmod(name, 0o755));
        for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_RDONLY] {
            let fd = must(open(name, flags));
            let mut started = run(name);
            match &mut started {
                Ok(child) => say!("{name} open as {flags}: ends well: {}", child.wait().expect("its end").success()),
                Err(errno) => say!("{name} open as {flags}: {errno}"),
            }
            must(close(fd));
        }
    }
    let mut child = run("program").expect("the program runs");
    must(until_it_runs(&mut child));
    let changes: [(&str, Call); 9] = [
        ("to read", |name| try_open(name, libc::O_RDONLY)),
        ("to write", |name| try_open(name, libc::O_WRONLY)),
        ("to read and write", |name| try_open(name, libc::O_RDWR)),
        ("to cut", |name| try_open(name, libc::O_RDONLY | libc::O_TRUNC)),
        ("to create", |name| try_open(name, libc::O_WRONLY | libc::O_CREAT)),
        ("to create anew", |name| try_open(name, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL)),
        ("truncate", |name| sys!(libc::truncate(path(name).as_ptr(), 5))),
        ("chmod", |name| chmod(name, 0o755)),
        ("utimensat", |name| set_times(name, 5)),
    ];
    let all =
        |t: &Report| changes.iter().for_each(|(what, change)| t.ok(&format!("  running, {what}"), change("program")));
    all(t);
    if superuser() {
        say!("another user");
        say!("{}", as_user(OTHER, &[], || all(t)));
    }
    t.ok("running, link", link("program", "other"));
    t.ok("running, by the other name", try_open("other", libc::O_WRONLY));
    t.ok("running, unlink", unlink("other"));
    t.ok("running, rename", rename("program", "moved"));
    drop(child.stdin.take());
    t.show("ends well", child.wait().expect("its end").success());
    t.ok("ended, to write", try_open("moved", libc::O_WRONLY));
}

/// Says to the copy of this program that it is to wait.
const BUSY: &str = "FAMILY_BUSY";

/// Starts a program here that runs until its input is closed; waiting for it closes it.
fn run(name: &str) -> Result<std::process::Child, Errno> {
    let mut command = std::process::Command::new(format!("./{name}"));
    command.arg("busy").env(BUSY, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().map_err(|error| Errno(error.raw_os_error().unwrap_or(0)))
}

/// Waits until the program says that it runs.
fn until_it_runs(child: &mut std::process::Child) -> Sys {
    let mut line = [0; 5];
    let read = child.stdout.as_mut().expect("its output").read_exact(&mut line);
    read.map(|()| 0).map_err(|error| Errno(error.raw_os_error().unwrap_or(0)))
}
