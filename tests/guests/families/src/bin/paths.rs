//! Files by name: opening, making, linking, renaming, removing, and every error that goes with it.
#![allow(unsafe_code)]

use families::files::{
    Scratch, close, file, link, mkdir, mode_text, names, open, open_mode, path, read, rename, rmdir, stat, symlink,
    text, try_open, unlink, what, write,
};
use families::tasks::ending;
use families::{Report, Sys, c, libc, must, say, sys, zeroed};
use std::process::ExitCode;
use std::ptr;

fn main() -> ExitCode {
    families::run(&[
        ("open", opening),
        ("create", creating),
        ("directories", directories),
        ("links", links),
        ("loops", loops),
        ("rename", renaming),
        ("long", long),
        ("openat", openat),
        ("openat2", openat2),
        ("unlink", unlinking),
        ("tmpfile", tmpfile),
        ("umask", umask),
        ("modes", modes),
        ("owners", owners),
        ("access", access),
        ("times", times),
        ("statx", statx),
        ("list", list),
        ("working-directory", working_directory),
        ("chroot", chroot),
        ("xattr", xattr),
        ("opath", opath),
        ("deep", deep),
        ("devices", devices),
        ("statfs", statfs),
    ])
}

fn content(name: &str) -> String {
    std::fs::read(name).map_or_else(|e| families::Errno(e.raw_os_error().unwrap_or(0)).to_string(), |b| text(&b))
}

fn opening(t: &mut Report) {
    let _scratch = Scratch::new();
    file("f", b"content");
    must(mkdir("d"));
    must(symlink("f", "to-file"));
    must(symlink("nowhere", "to-nothing"));
    must(symlink("d", "to-directory"));
    for (what, name, flags) in [
        ("a file", "f", libc::O_RDONLY),
        ("nothing", "missing", libc::O_RDONLY),
        ("an empty name", "", libc::O_RDONLY),
        ("below a file", "f/x", libc::O_RDONLY),
        ("a file with a slash", "f/", libc::O_RDONLY),
        ("below nothing", "missing/x", libc::O_RDONLY),
        ("a directory", "d", libc::O_RDONLY),
        ("a directory with slashes", ".//d///", libc::O_RDONLY),
        ("a directory to write", "d", libc::O_WRONLY),
        ("a directory to create", "d", libc::O_RDONLY | libc::O_CREAT),
        ("O_DIRECTORY on a file", "f", libc::O_RDONLY | libc::O_DIRECTORY),
        ("O_DIRECTORY on a link to one", "to-directory", libc::O_RDONLY | libc::O_DIRECTORY),
        ("O_NOFOLLOW on a link", "to-file", libc::O_RDONLY | libc::O_NOFOLLOW),
        ("O_NOFOLLOW on a file", "f", libc::O_RDONLY | libc::O_NOFOLLOW),
        ("O_NOFOLLOW and O_DIRECTORY on a link", "to-directory", libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_DIRECTORY),
        ("O_EXCL where one is", "f", libc::O_RDWR | libc::O_CREAT | libc::O_EXCL),
        ("O_EXCL on a dangling link", "to-nothing", libc::O_RDWR | libc::O_CREAT | libc::O_EXCL),
        ("a dangling link", "to-nothing", libc::O_RDONLY),
        ("creating through one", "to-nothing", libc::O_RDWR | libc::O_CREAT),
        ("creating with a slash", "new/", libc::O_RDWR | libc::O_CREAT),
        ("creating below nothing", "missing/new", libc::O_RDWR | libc::O_CREAT),
        ("creating below a file", "f/new", libc::O_RDWR | libc::O_CREAT),
        ("access mode 3", "f", 3),
        ("O_TRUNC", "f", libc::O_WRONLY | libc::O_TRUNC),
        ("dot", ".", libc::O_RDONLY),
        ("dots above the root", "/../../..", libc::O_RDONLY),
        ("through a file by dots", "f/..", libc::O_RDONLY),
        ("/dev/null", "/dev/null", libc::O_RDWR | libc::O_TRUNC | libc::O_CREAT),
        ("O_NONBLOCK and O_NOCTTY", "f", libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY),
    ] {
        t.ok(what, try_open(name, flags));
    }
    t.show("what is there now", names("."));
    t.show("the file is empty", what("f"));
    let fd = must(open("f", libc::O_RDONLY));
    t.ret("write to one to read", write(fd, b"x"));
    let fd = must(open("f", libc::O_WRONLY));
    t.show("read of one to write", read(fd, 1));
    t.ret("flags", sys!(libc::fcntl(fd, libc::F_GETFL)).map(|flags| flags & !0x8000));
    t.ret("read of a directory", families::files::read_len(must(open("d", libc::O_RDONLY)), 10));
}

fn creating(t: &mut Report) {
    let _scratch = Scratch::new();
    t.ok("creat", sys!(libc::creat(path("a").as_ptr(), 0o640)));
    t.show("is", what("a"));
    t.ok("mknod of a file", sys!(libc::mknod(path("b").as_ptr(), libc::S_IFREG | 0o600, 0)));
    t.show("is", what("b"));
    t.ok("mknod of a fifo", sys!(libc::mknod(path("c").as_ptr(), libc::S_IFIFO | 0o600, 0)));
    t.show("is", what("c"));
    t.ok("mknod where one is", sys!(libc::mknod(path("a").as_ptr(), libc::S_IFREG, 0)));
    t.ok("mknod of a directory", sys!(libc::mknod(path("e").as_ptr(), libc::S_IFDIR | 0o755, 0)));
    t.ok("mkfifo", sys!(libc::mkfifo(path("f").as_ptr(), 0o622)));
    t.show("is", what("f"));
    t.ok("strange names", try_open("a b\n\u{1}\u{ff}", libc::O_CREAT | libc::O_RDWR));
    t.show("all", names(".").escape_default());
}

fn directories(t: &mut Report) {
    let _scratch = Scratch::new();
    t.ret("make", mkdir("d"));
    t.ret("again", mkdir("d"));
    t.ret("with a slash", mkdir("e/"));
    t.ret("below", mkdir("d/e"));
    t.ret("below nothing", mkdir("x/y"));
    t.ret("an empty name", mkdir(""));
    t.ret("dot", mkdir("."));
    t.ret("root", mkdir("/"));
    t.show("is", what("d"));
    file("f", b"");
    t.ret("below a file", mkdir("f/x"));
    must(symlink("nowhere", "l"));
    t.ret("where a dangling link is", mkdir("l"));
    t.ret("remove one that is not empty", rmdir("d"));
    t.ret("remove the inner one", rmdir("d/e"));
    t.show("links now", what("d"));
    t.ret("remove with a slash", rmdir("d/"));
    t.ret("remove a file", rmdir("f"));
    t.ret("remove nothing", rmdir("d"));
    t.ret("remove dot", rmdir("."));
    t.ret("remove dots", rmdir("e/.."));
    t.ret("remove a dot at the end", rmdir("e/."));
    t.ret("remove the root", rmdir("/"));
    t.ret("unlink one", unlink("e"));
    t.ret("unlink with the flag", sys!(libc::unlinkat(libc::AT_FDCWD, path("e").as_ptr(), libc::AT_REMOVEDIR)));
    t.ret("unlink with other flags", sys!(libc::unlinkat(libc::AT_FDCWD, path("e").as_ptr(), 1)));
    t.show("what is left", names("."));
    // One that is open, or the working directory, may go.
    must(mkdir("gone"));
    let fd = must(open("gone", libc::O_RDONLY));
    std::env::set_current_dir("gone").expect("it is there");
    t.ret("remove the working directory", rmdir("../gone"));
    t.ok("make something in it", mkdir("x"));
    t.ok("open dot", try_open(".", libc::O_RDONLY));
    let mut buffer = [0u8; 256];
    t.ok("getcwd", sys!(libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), 256)));
    t.show("links", stat(fd).st_nlink);
    t.ok("dots lead out", sys!(libc::chdir(path("..").as_ptr())));
}

fn links(t: &mut Report) {
    let _scratch = Scratch::new();
    file("f", b"content");
    must(mkdir("d"));
    t.ret("link", link("f", "g"));
    t.show("both are", format!("{}, {}", what("f"), what("g")));
    t.ret("where one is", link("f", "g"));
    t.ret("to nothing", link("missing", "h"));
    t.ret("to a directory", link("d", "h"));
    t.ret("into nothing", link("f", "missing/h"));
    t.ret("with a slash", link("f", "h/"));
    must(symlink("f", "s"));
    t.ret("to a link", link("s", "hard"));
    t.show("is", what("hard"));
    t.ret(
        "to what a link names",
        sys!(libc::linkat(
            libc::AT_FDCWD,
            path("s").as_ptr(),
            libc::AT_FDCWD,
            path("followed").as_ptr(),
            libc::AT_SYMLINK_FOLLOW
        )),
    );
    t.show("is", what("followed"));
    t.ret(
        "flags that there are not",
        sys!(libc::linkat(libc::AT_FDCWD, path("f").as_ptr(), libc::AT_FDCWD, path("x").as_ptr(), 1)),
    );
    t.ret("symlink where one is", symlink("x", "f"));
    t.ret("symlink to an empty name", symlink("", "x"));
    t.ret("symlink without a name", symlink("x", ""));
    t.ret("symlink below a file", symlink("x", "f/x"));
    t.show("is", what("s"));
    let mut buffer = [b'.'; 10];
    t.ret("readlink", sys!(libc::readlink(path("s").as_ptr(), buffer.as_mut_ptr().cast(), 10)));
    t.show("without an end", text(&buffer));
    must(symlink("a-long-target", "long"));
    t.ret("readlink, cut short", sys!(libc::readlink(path("long").as_ptr(), buffer.as_mut_ptr().cast(), 4)));
    t.show("so", text(&buffer));
    t.ret("readlink of a file", sys!(libc::readlink(path("f").as_ptr(), buffer.as_mut_ptr().cast(), 10)));
    t.ret("readlink of a directory", sys!(libc::readlink(path("d").as_ptr(), buffer.as_mut_ptr().cast(), 10)));
    t.ret("readlink of nothing", sys!(libc::readlink(path("x").as_ptr(), buffer.as_mut_ptr().cast(), 10)));
    t.ret("readlink of length 0", sys!(libc::readlink(path("s").as_ptr(), buffer.as_mut_ptr().cast(), 0)));
    must(symlink("d/../f", "way"));
    t.show("a way through a directory", content("way"));
    must(symlink("..", "d/up"));
    t.show("up again", content("d/up/f"));
    let here = std::env::current_dir().expect("directory").display().to_string();
    must(symlink(&here, "absolute"));
    t.show("an absolute one", content("absolute/absolute/d/up/f"));
    must(unlink("f"));
    t.show("the other name stays", format!("{} {}", what("g"), content("g")));
}

fn loops(t: &mut Report) {
    let _scratch = Scratch::new();
    must(symlink("a", "a"));
    must(symlink("c", "b"));
    must(symlink("b", "c"));
    t.ok("itself", try_open("a", libc::O_RDONLY));
    t.ok("a circle", try_open("b", libc::O_RDONLY));
    t.ok("below it", try_open("b/x", libc::O_RDONLY));
    t.ok("creating", try_open("a", libc::O_RDWR | libc::O_CREAT));
    t.ok("O_NOFOLLOW", try_open("a", libc::O_RDONLY | libc::O_NOFOLLOW));
    t.show("lstat", what("a"));
    file("end", b"reached");
    for n in 0..45 {
        must(symlink(&if n == 0 { "end".to_owned() } else { format!("n{}", n - 1) }, &format!("n{n}")));
    }
    t.show("39 links", content("n38"));
    t.show("40 links", content("n39"));
    t.show("41 links", content("n40"));
    must(symlink(".", "here"));
    t.show("40 times here", content(&format!("{}end", "here/".repeat(40))));
    t.show("41 times", content(&format!("{}end", "here/".repeat(41))));
    t.ok("mkdir through one", mkdir("a/x"));
    t.ok("chdir", sys!(libc::chdir(path("b").as_ptr())));
    t.ok("stat", sys!(libc::access(path("b").as_ptr(), 0)));
    t.ret("rename of one", rename("a", "z"));
    t.ret("unlink", unlink("z"));
}

fn renaming(t: &mut Report) {
    let _scratch = Scratch::new();
    file("f", b"one");
    file("g", b"two");
    must(mkdir("d"));
    must(mkdir("d/in"));
    must(mkdir("empty"));
    t.ret("over another", rename("f", "g"));
    t.show("content", content("g"));
    t.ret("nothing", rename("f", "x"));
    t.ret("onto itself", rename("g", "g"));
    t.ret("a file onto a directory", rename("g", "empty"));
    t.ret("a directory onto a file", rename("empty", "g"));
    t.ret("a directory onto one that is not empty", rename("empty", "d"));
    t.ret("into itself", rename("d", "d/in/x"));
    t.ret("onto its own parent", rename("d/in", "d"));
    t.ret("dot", rename(".", "x"));
    t.ret("dots", rename("d/..", "x"));
    t.ret("a file with a slash", rename("g", "x/"));
    t.ret("a directory with a slash", rename("empty", "renamed/"));
    t.ret("a directory onto an empty one", rename("d", "renamed"));
    t.show("what is there", format!("{} | {}", names("."), names("renamed")));
    must(symlink("g", "s"));
    t.ret("a link", rename("s", "s2"));
    t.show("is", what("s2"));
    t.ret("two names of one file", {
        must(link("g", "h"));
        rename("g", "h")
    });
    t.show("both stay", format!("{} {}", what("g"), what("h")));
    let with = |old: &str, new: &str, flags: u32| {
        sys!(libc::renameat2(libc::AT_FDCWD, path(old).as_ptr(), libc::AT_FDCWD, path(new).as_ptr(), flags))
    };
    file("one", b"1");
    file("two", b"2");
    t.ret("NOREPLACE over another", with("one", "two", libc::RENAME_NOREPLACE));
    t.ret("NOREPLACE", with("one", "three", libc::RENAME_NOREPLACE));
    t.ret("EXCHANGE", with("two", "three", libc::RENAME_EXCHANGE));
    t.show("content", format!("{} {}", content("two"), content("three")));
    t.ret("EXCHANGE with a directory", with("two", "renamed", libc::RENAME_EXCHANGE));
    t.show("now", format!("{} {}", what("renamed"), names("two")));
    t.ret("EXCHANGE with nothing", with("two", "missing", libc::RENAME_EXCHANGE));
    t.ret("both", with("two", "three", libc::RENAME_EXCHANGE | libc::RENAME_NOREPLACE));
    t.ret("flags that there are not", with("two", "three", 64));
    let fd = file("open", b"still here");
    must(rename("open", "renamed-open"));
    file("open", b"other");
    t.show("an open file goes along", read(fd, 20));
    t.ret("an open file that is replaced", rename("open", "renamed-open"));
    must(sys!(libc::lseek(fd, 0, 0)));
    t.show("is read still", format!("{} links {}", read(fd, 20), stat(fd).st_nlink));
}

fn long(t: &mut Report) {
    let _scratch = Scratch::new();
    let name = |len: usize| "n".repeat(len);
    t.ok("255 bytes", try_open(&name(255), libc::O_RDWR | libc::O_CREAT));
    t.ok("256 bytes", try_open(&name(256), libc::O_RDWR | libc::O_CREAT));
    t.ok("256 bytes in the middle", try_open(&format!("{}/x", name(256)), libc::O_RDONLY));
    let dots = |len: usize| format!("{}{}", "./".repeat((len - 1) / 2), if len.is_multiple_of(2) { ".." } else { "." });
    t.ok("4095 bytes", try_open(&dots(4095), libc::O_RDONLY));
    t.ok("4097 bytes", try_open(&dots(4097), libc::O_RDONLY));
    t.ok("100000 bytes", try_open(&dots(100_001), libc::O_RDONLY));
    t.ok("mkdir", mkdir(&name(256)));
    t.ok("rename", rename(&name(255), &name(256)));
    t.ok("link to a long target", symlink(&"t".repeat(4095), "l"));
    t.ok("a longer one", symlink(&"t".repeat(4096), "l2"));
    t.ok("opening it", try_open("l", libc::O_RDONLY));
    t.show("how long it is", what("l"));
    t.ok("unlink", unlink(&name(255)));
}

fn openat(t: &mut Report) {
    let _scratch = Scratch::new();
    must(mkdir("d"));
    file("d/f", b"inside");
    let f = file("f", b"outside");
    let at = |fd: i32, name: &str, flags: i32| {
        let opened = sys!(libc::openat(fd, path(name).as_ptr(), flags, 0o600))?;
        let fd = must(Ok(opened));
        let content = read(fd, 20);
        must(close(fd));
        say!("  {content}");
        Ok(0)
    };
    let d = must(open("d", libc::O_RDONLY | libc::O_DIRECTORY));
    t.ok("inside", at(d, "f", libc::O_RDONLY));
    t.ok("dots", at(d, "../f", libc::O_RDONLY));
    t.ok("missing", at(d, "x", libc::O_RDONLY));
    t.ok("a file as directory", at(f, "f", libc::O_RDONLY));
    t.ok("no descriptor", at(99, "f", libc::O_RDONLY));
    t.ok("an absolute path needs none", at(99, "/dev/null", libc::O_RDONLY));
    t.ok("an empty name", at(d, "", libc::O_RDONLY));
    must(rename("d", "moved"));
    t.ok("it goes along", at(d, "f", libc::O_RDONLY));
    let mut found = zeroed!(libc::stat);
    let fstatat = |fd: i32, name: &str, flags: i32, found: &mut libc::stat| {
        sys!(libc::fstatat(fd, path(name).as_ptr(), found, flags))
    };
    t.ret("fstatat of the descriptor", fstatat(f, "", libc::AT_EMPTY_PATH, &mut found));
    t.show("size", found.st_size);
    t.ret("without the flag", fstatat(f, "", 0, &mut found));
    t.ret("flags that there are not", fstatat(d, "f", 0x10, &mut found));
    t.ret("mkdirat", sys!(libc::mkdirat(d, path("sub").as_ptr(), 0o700)));
    t.ret("symlinkat", sys!(libc::symlinkat(path("f").as_ptr(), d, path("l").as_ptr())));
    t.ret("linkat", sys!(libc::linkat(d, path("f").as_ptr(), libc::AT_FDCWD, path("linked").as_ptr(), 0)));
    t.ret("renameat", sys!(libc::renameat(d, path("sub").as_ptr(), libc::AT_FDCWD, path("sub").as_ptr())));
    t.ret(
        "linkat of a descriptor",
        sys!(libc::linkat(
            libc::AT_FDCWD,
            path(&format!("/proc/self/fd/{f}")).as_ptr(),
            d,
            path("by-number").as_ptr(),
            libc::AT_SYMLINK_FOLLOW
        )),
    );
    t.show("there is", format!("{} | {}", names("."), names("moved")));
}

fn openat2(t: &mut Report) {
    let scratch = Scratch::new();
    must(mkdir("d"));
    file("d/f", b"inside");
    file("f", b"outside");
    must(symlink("f", "d/link"));
    must(symlink("../f", "d/out"));
    must(symlink(&scratch.directory().join("f").display().to_string(), "d/absolute"));
    let d = must(open("d", libc::O_RDONLY | libc::O_DIRECTORY));
    let how = |flags: i32, mode: u64, resolve: u64| [u64::from(flags.cast_unsigned()), mode, resolve, 0];
    let call = |name: &str, how: &[u64], size: usize| {
        let fd = sys!(libc::syscall(libc::SYS_openat2, d, path(name).as_ptr(), how.as_ptr(), size))?;
        must(close(must(Ok(fd))));
        Ok(0)
    };
    let (no_links, beneath, in_root, no_magic) =
        (libc::RESOLVE_NO_SYMLINKS, libc::RESOLVE_BENEATH, libc::RESOLVE_IN_ROOT, libc::RESOLVE_NO_MAGICLINKS);
    for (what, name, resolve) in [
        ("plain", "f", 0),
        ("NO_SYMLINKS", "link", no_links),
        ("NO_SYMLINKS on a file", "f", no_links),
        ("BENEATH", "link", beneath),
        ("BENEATH by dots", "../f", beneath),
        ("BENEATH by a link", "out", beneath),
        ("BENEATH by an absolute path", "/dev/null", beneath),
        ("BENEATH by an absolute link", "absolute", beneath),
        ("BENEATH, down and up", "../d/f", beneath),
        ("IN_ROOT by dots", "../../f", in_root),
        ("IN_ROOT by an absolute path", "/f", in_root),
        ("IN_ROOT by an absolute link", "absolute", in_root),
        ("NO_MAGICLINKS", "/proc/self/exe", no_magic),
        ("both roots", "f", beneath | in_root),
        ("resolve bits that there are not", "f", 1 << 40),
    ] {
        t.ok(what, call(name, &how(libc::O_RDONLY, 0, resolve), 24));
    }
    t.ok("a mode without creation", call("f", &how(libc::O_RDONLY, 0o600, 0), 24));
    t.ok("a mode with too many bits", call("x", &how(libc::O_CREAT, 0o200_000, 0), 24));
    t.ok("flags that there are not", call("f", &[1 << 40, 0, 0, 0], 24));
    t.ok("too short", call("f", &how(0, 0, 0), 16));
    t.ok("longer, with zeros", call("f", &how(0, 0, 0), 32));
    t.ok("longer, with more", call("f", &[0, 0, 0, 1], 32));
    t.ok("creating", call("new", &how(libc::O_CREAT | libc::O_RDWR, 0o600, beneath), 24));
}

fn unlinking(t: &mut Report) {
    let _scratch = Scratch::new();
    let fd = file("f", b"content");
    t.ret("an open file", unlink("f"));
    t.show("links", stat(fd).st_nlink);
    t.show("still read", read(fd, 20));
    t.ret("and written", write(fd, b"more"));
    t.ret("size", Ok(stat(fd).st_size));
    let shown = std::fs::read_link(format!("/proc/self/fd/{fd}")).map(|p| p.display().to_string()).unwrap_or_default();
    t.show("its link says so", shown.ends_with("/f (deleted)"));
    t.show("opened again by that", must(open(&format!("/proc/self/fd/{fd}"), libc::O_RDONLY)) > 0);
    t.ret("again", unlink("f"));
    t.ret("with a slash", {
        file("g", b"");
        unlink("g/")
    });
    t.ret("below a file", unlink("g/x"));
    t.ret("an empty name", unlink(""));
    must(symlink("g", "s"));
    t.ret("a link", unlink("s"));
    t.show("what it named stays", what("g"));
    for n in 0..300 {
        file(&format!("many-{n}"), b"");
    }
    let removed = (0..300).filter(|n| unlink(&format!("many-{n}")).is_ok()).count();
    t.show("removed", removed);
    t.show("left", names("."));
    t.show(
        "in a child with the file open",
        ending(|| {
            must(sys!(libc::lseek(fd, 0, 0)));
            say!("  {}", read(fd, 20));
            0
        }),
    );
}

fn tmpfile(t: &mut Report) {
    let _scratch = Scratch::new();
    let fd = must(open_mode(".", libc::O_TMPFILE | libc::O_RDWR, 0o600));
    must(write(fd, b"secret"));
    t.show("no name", names("."));
    t.show("links", stat(fd).st_nlink);
    t.ret(
        "given one",
        sys!(libc::linkat(
            libc::AT_FDCWD,
            path(&format!("/proc/self/fd/{fd}")).as_ptr(),
            libc::AT_FDCWD,
            path("named").as_ptr(),
            libc::AT_SYMLINK_FOLLOW
        )),
    );
    t.show("then", format!("{} {}", what("named"), content("named")));
    let fd = must(open_mode(".", libc::O_TMPFILE | libc::O_RDWR | libc::O_EXCL, 0o600));
    t.ret(
        "not with O_EXCL",
        sys!(libc::linkat(
            libc::AT_FDCWD,
            path(&format!("/proc/self/fd/{fd}")).as_ptr(),
            libc::AT_FDCWD,
            path("x").as_ptr(),
            libc::AT_SYMLINK_FOLLOW
        )),
    );
    t.ok("to read only", try_open(".", libc::O_TMPFILE | libc::O_RDONLY));
    t.ok("in a file", try_open("named", libc::O_TMPFILE | libc::O_RDWR));
    t.ok("in nothing", try_open("missing", libc::O_TMPFILE | libc::O_RDWR));
}

fn umask(t: &mut Report) {
    let _scratch = Scratch::new();
    c!(libc::umask(0o27));
    t.show("was", format!("{:04o}", c!(libc::umask(0o077))));
    must(open_mode("a", libc::O_CREAT | libc::O_RDWR, 0o666));
    t.show("077", what("a"));
    c!(libc::umask(0o1022));
    t.show("only nine bits", format!("{:04o}", c!(libc::umask(0o022))));
    must(sys!(libc::mkdir(path("d").as_ptr(), 0o1777)));
    t.show("a directory", mode_text(stat(must(open("d", libc::O_RDONLY))).st_mode));
    must(open_mode("s", libc::O_CREAT | libc::O_RDWR, 0o4755));
    t.show("set-user-id", what("s"));
    t.show("inherited", ending(|| i32::try_from(c!(libc::umask(0))).unwrap_or(-1)));
}

fn modes(t: &mut Report) {
    let _scratch = Scratch::new();
    let fd = file("f", b"");
    t.ret("chmod", sys!(libc::chmod(path("f").as_ptr(), 0o4751)));
    t.show("is", what("f"));
    t.ret("fchmod", sys!(libc::fchmod(fd, 0o100_640)));
    t.show("is", what("f"));
    must(symlink("f", "s"));
    t.ret("through a link", sys!(libc::chmod(path("s").as_ptr(), 0o600)));
    t.show("is", format!("{}, {}", what("f"), what("s")));
    t.ret("nothing", sys!(libc::chmod(path("x").as_ptr(), 0)));
    t.ret("fchmodat", sys!(libc::fchmodat(libc::AT_FDCWD, path("f").as_ptr(), 0o611, 0)));
    t.ret("no descriptor", sys!(libc::fchmod(99, 0)));
    t.show("is", what("f"));
    t.ret("a write takes set-user-id away", {
        must(sys!(libc::fchmod(fd, 0o4755)));
        write(fd, b"x")
    });
    t.show("unless one is the superuser", c!(libc::geteuid()) == 0 || stat(fd).st_mode & 0o4000 == 0);
}

fn owners(t: &mut Report) {
    let _scratch = Scratch::new();
    let fd = file("f", b"");
    let (me, mine) = (c!(libc::geteuid()), c!(libc::getegid()));
    t.show("a new file is mine", stat(fd).st_uid == me && stat(fd).st_gid == mine);
    t.ret("to myself", sys!(libc::chown(path("f").as_ptr(), me, mine)));
    t.ret("no change", sys!(libc::fchown(fd, u32::MAX, u32::MAX)));
    t.ret("nothing", sys!(libc::chown(path("x").as_ptr(), me, mine)));
    t.ret("no descriptor", sys!(libc::fchown(99, me, mine)));
    must(symlink("nowhere", "s"));
    t.ret("a link itself", sys!(libc::lchown(path("s").as_ptr(), me, mine)));
    t.ret("what it names", sys!(libc::chown(path("s").as_ptr(), me, mine)));
    t.ret("by descriptor", sys!(libc::fchownat(fd, path("").as_ptr(), me, mine, libc::AT_EMPTY_PATH)));
    t.ret("flags that there are not", sys!(libc::fchownat(libc::AT_FDCWD, path("f").as_ptr(), me, mine, 0x10)));
    if me == 0 {
        must(sys!(libc::fchmod(fd, 0o6755)));
        t.ret("to another", sys!(libc::fchown(fd, 1000, 1001)));
        t.show("is", format!("{} {} {}", stat(fd).st_uid, stat(fd).st_gid, mode_text(stat(fd).st_mode)));
    }
}

fn access(t: &mut Report) {
    let _scratch = Scratch::new();
    file("f", b"");
    must(sys!(libc::chmod(path("f").as_ptr(), 0o400)));
    let ask = |name: &str, mode: i32| sys!(libc::access(path(name).as_ptr(), mode));
    t.ret("exists", ask("f", libc::F_OK));
    t.ret("nothing", ask("x", libc::F_OK));
    t.ret("read", ask("f", libc::R_OK));
    t.ret("execute", ask("f", libc::X_OK));
    t.ret("mode that there is not", ask("f", 8));
    t.ret("faccessat2 flags", sys!(libc::syscall(libc::SYS_faccessat2, libc::AT_FDCWD, path("f").as_ptr(), 4, 0x10)));
    must(symlink("nowhere", "s"));
    t.ret("a dangling link", ask("s", libc::F_OK));
    t.ret(
        "itself",
        sys!(libc::syscall(libc::SYS_faccessat2, libc::AT_FDCWD, path("s").as_ptr(), 0, libc::AT_SYMLINK_NOFOLLOW)),
    );
    if c!(libc::geteuid()) == 0 {
        t.show(
            "as another user",
            ending(|| {
                must(mkdir("closed"));
                must(mkdir("open"));
                file("closed/f", b"");
                file("locked", b"");
                must(sys!(libc::chmod(path("closed").as_ptr(), 0o700)));
                must(sys!(libc::chmod(path("locked").as_ptr(), 0o604)));
                must(sys!(libc::chmod(path(".").as_ptr(), 0o755)));
                must(sys!(libc::setresgid(1000, 1000, 1000)));
                must(sys!(libc::setgroups(0, ptr::null())).or(Ok(0)));
                must(sys!(libc::setresuid(1000, 1000, 1000)));
                let say = |what: &str, result: Sys| {
                    say!("  {what}: {}", result.err().map_or("ok".to_owned(), |e| e.to_string()))
                };
                say("read", try_open("locked", libc::O_RDONLY));
                say("write", try_open("locked", libc::O_WRONLY));
                say("into a closed directory", try_open("closed/f", libc::O_RDONLY));
                say("list it", try_open("closed", libc::O_RDONLY));
                say("make something", mkdir("open/x"));
                say("remove something", unlink("locked"));
                say("change a mode", sys!(libc::chmod(path("locked").as_ptr(), 0o777)));
                say("change an owner", sys!(libc::chown(path("locked").as_ptr(), 1000, 1000)));
                say("access", sys!(libc::access(path("locked").as_ptr(), libc::W_OK)));
                say(
                    "change times to now",
                    sys!(libc::utimensat(libc::AT_FDCWD, path("locked").as_ptr(), ptr::null(), 0)),
                );
                0
            }),
        );
    }
}

fn times(t: &mut Report) {
    let _scratch = Scratch::new();
    let fd = file("f", b"content");
    let set = |a: (i64, i64), m: (i64, i64)| {
        let times = [libc::timespec { tv_sec: a.0, tv_nsec: a.1 }, libc::timespec { tv_sec: m.0, tv_nsec: m.1 }];
        sys!(libc::utimensat(libc::AT_FDCWD, path("f").as_ptr(), times.as_ptr(), 0))
    };
    let show = |what: &str| {
        let s = stat(fd);
        say!("{what}: {}", format_args!("{}.{:09} {}.{:09}", s.st_atime, s.st_atime_nsec, s.st_mtime, s.st_mtime_nsec));
    };
    t.ret("set", set((1000, 1), (2000, 999_999_999)));
    show("times");
    t.ret("one omitted", set((5, libc::UTIME_OMIT), (3000, 5)));
    show("times");
    t.ret("both omitted", set((0, libc::UTIME_OMIT), (0, libc::UTIME_OMIT)));
    t.ret("too many nanoseconds", set((0, 1_000_000_000), (0, 0)));
    t.ret("before 1970", set((-5, 5), (-1_000_000, 0)));
    show("times");
    t.ret("now", set((0, libc::UTIME_NOW), (7, 7)));
    t.check("is now", stat(fd).st_atime > 1_600_000_000 && stat(fd).st_mtime == 7);
    must(set((1, 0), (2, 0)));
    must(write(fd, b"x"));
    t.check("a write changes mtime", stat(fd).st_mtime > 1_600_000_000);
    t.show("and not atime", stat(fd).st_atime);
    t.ret("futimens", sys!(libc::futimens(fd, [libc::timespec { tv_sec: 8, tv_nsec: 0 }; 2].as_ptr())));
    show("times");
    t.ret("utimes", sys!(libc::utimes(path("f").as_ptr(), [libc::timeval { tv_sec: 9, tv_usec: 500 }; 2].as_ptr())));
    show("times");
    t.ret("utime", sys!(libc::utime(path("f").as_ptr(), &libc::utimbuf { actime: 10, modtime: 11 })));
    show("times");
    t.ret("nothing", sys!(libc::utimensat(libc::AT_FDCWD, path("x").as_ptr(), ptr::null(), 0)));
    must(symlink("f", "s"));
    t.ret(
        "a link itself",
        sys!(libc::utimensat(
            libc::AT_FDCWD,
            path("s").as_ptr(),
            [libc::timespec { tv_sec: 12, tv_nsec: 0 }; 2].as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW
        )),
    );
    show("times of the file");
    must(mkdir("d"));
    must(sys!(libc::utimensat(
        libc::AT_FDCWD,
        path("d").as_ptr(),
        [libc::timespec { tv_sec: 12, tv_nsec: 0 }; 2].as_ptr(),
        0
    )));
    file("d/new", b"");
    t.check("a new entry changes its directory", stat(must(open("d", libc::O_RDONLY))).st_mtime > 1_600_000_000);
}

fn statx(t: &mut Report) {
    let _scratch = Scratch::new();
    let fd = file("f", b"content");
    let mut found = zeroed!(libc::statx);
    let mut ask = |fd: i32, name: &str, flags: i32, mask: u32| {
        let result = sys!(libc::statx(fd, path(name).as_ptr(), flags, mask, &raw mut found));
        (result, found.stx_mode, found.stx_size, found.stx_nlink, found.stx_mask & libc::STATX_BASIC_STATS)
    };
    t.show("by name", format!("{:?}", ask(libc::AT_FDCWD, "f", 0, libc::STATX_BASIC_STATS)));
    t.show("by descriptor", format!("{:?}", ask(fd, "", libc::AT_EMPTY_PATH, libc::STATX_BASIC_STATS)));
    t.ret("nothing", ask(libc::AT_FDCWD, "x", 0, 0).0);
    t.ret("flags that there are not", ask(libc::AT_FDCWD, "f", 0x10, 0).0);
    t.ret("both kinds of synchronizing", ask(libc::AT_FDCWD, "f", 0x6000, 0).0);
    t.ret("a mask from the future", ask(libc::AT_FDCWD, "f", 0, 0x8000_0000).0);
    let (a, b) = (stat(fd), stat(must(open("f", libc::O_RDONLY))));
    t.check("the same file has the same number", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    let other = stat(file("g", b""));
    t.check("another one another", other.st_ino != a.st_ino);
    t.show("block size", a.st_blksize);
    t.show("blocks", a.st_blocks >= 1);
}

/// What a directory holds, by getdents64 or getdents: names and types, sorted.
fn entries(t: &mut Report, fd: i32, call: i64) -> String {
    let (mut all, mut calls) = (Vec::new(), 0);
    while calls < 1000 {
        let mut buffer = [0u8; 200];
        let got = match sys!(libc::syscall(call, fd, buffer.as_mut_ptr(), 200)) {
            Ok(got) => usize::try_from(got).unwrap_or(0),
            Err(errno) => return errno.to_string(),
        };
        if got == 0 {
            break;
        }
        calls += 1;
        let mut at = 0;
        while at < got {
            let len = usize::from(u16::from_le_bytes([buffer[at + 16], buffer[at + 17]]));
            let (name_at, kind_at) = if call == libc::SYS_getdents { (18, len - 1) } else { (19, 18) };
            let name = buffer[at + name_at..at + len].split(|b| *b == 0).next().unwrap_or_default();
            all.push(format!("{}:{}", String::from_utf8_lossy(name), buffer[at + kind_at]));
            at += len.max(1);
        }
    }
    t.check("in several calls", calls > 5);
    all.sort();
    all.join(" ")
}

fn list(t: &mut Report) {
    let _scratch = Scratch::new();
    must(mkdir("d"));
    for n in 0..50 {
        file(&format!("d/{n:02}"), b"");
    }
    must(symlink("x", "d/link"));
    must(mkdir("d/sub"));
    must(sys!(libc::mkfifo(path("d/fifo").as_ptr(), 0o600)));
    let fd = must(open("d", libc::O_RDONLY | libc::O_DIRECTORY));
    let shown = entries(t, fd, libc::SYS_getdents64);
    t.show("entries", shown);
    must(sys!(libc::lseek(fd, 0, libc::SEEK_SET)));
    let shown = entries(t, fd, libc::SYS_getdents);
    t.show("in the old form", shown);
    t.ret("at the end", sys!(libc::syscall(libc::SYS_getdents64, fd, [0u8; 200].as_mut_ptr(), 200)));
    t.ret("rewound", sys!(libc::lseek(fd, 0, libc::SEEK_SET)));
    t.ret("too small a buffer", sys!(libc::syscall(libc::SYS_getdents64, fd, [0u8; 200].as_mut_ptr(), 10)));
    t.ok("again", sys!(libc::syscall(libc::SYS_getdents64, fd, [0u8; 200].as_mut_ptr(), 200)));
    t.ret("of a file", sys!(libc::syscall(libc::SYS_getdents64, file("f", b""), [0u8; 200].as_mut_ptr(), 200)));
    let mut seen = 0;
    for entry in std::fs::read_dir("d").expect("directory").flatten() {
        std::fs::remove_file(entry.path()).or_else(|_| std::fs::remove_dir(entry.path())).ok();
        seen += 1;
    }
    t.show("removed while listing", format!("{seen} left {}", names("d")));
}

fn working_directory(t: &mut Report) {
    let scratch = Scratch::new();
    must(mkdir("d"));
    must(mkdir("d/e"));
    file("f", b"");
    let here = |t: &Report, what: &str| {
        let now = std::env::current_dir().unwrap_or_default();
        let now = now.strip_prefix(scratch.directory()).map(|p| p.display().to_string());
        t.show(what, now.unwrap_or_else(|_| "elsewhere".to_owned()));
    };
    let go = |name: &str| sys!(libc::chdir(path(name).as_ptr()));
    t.ret("chdir", go("d/e"));
    here(t, "is");
    t.ret("dots", go(".."));
    here(t, "is");
    t.ret("nothing", go("x"));
    t.ret("a file", go("../f"));
    t.ret("an empty name", go(""));
    let fd = must(open(".", libc::O_RDONLY));
    t.ret("far away", go("/"));
    t.ret("fchdir", sys!(libc::fchdir(fd)));
    here(t, "is");
    t.ret("fchdir to a file", sys!(libc::fchdir(file("../f", b""))));
    t.ret("fchdir to nothing", sys!(libc::fchdir(99)));
    must(rename("../d", "../moved"));
    here(t, "after it was renamed");
    let mut buffer = [0u8; 4];
    t.ret("too small a buffer", sys!(libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), 4)));
    t.show("a child's is its own", ending(|| i32::from(go("/").is_err())));
    here(t, "is still");
}

fn chroot(t: &mut Report) {
    let _scratch = Scratch::new();
    must(mkdir("r"));
    must(mkdir("r/d"));
    file("r/f", b"inside");
    file("f", b"outside");
    must(symlink("/f", "r/link"));
    must(symlink("../../../../f", "r/d/up"));
    let outside = must(open(".", libc::O_RDONLY));
    t.show(
        "in a child",
        ending(|| {
            let result = sys!(libc::chroot(path("r").as_ptr()));
            if let Err(errno) = result {
                say!("  {errno}");
                return 1;
            }
            say!("  still outside by name: {}", content("f"));
            must(sys!(libc::chdir(path("/").as_ptr())));
            say!("  names {}", names("/"));
            say!("  absolute {}", content("/f"));
            say!("  by an absolute link {}", content("/link"));
            say!("  by dots {}", content("../../f"));
            say!("  by a link with dots {}", content("/d/up"));
            say!("  directory {}", std::env::current_dir().map_or_else(|e| e.to_string(), |p| p.display().to_string()));
            must(sys!(libc::fchdir(outside)));
            say!("  a descriptor leads out {}", content("f"));
            0
        }),
    );
    t.ret("to a file", sys!(libc::chroot(path("f").as_ptr())));
    t.ret("to nothing", sys!(libc::chroot(path("x").as_ptr())));
}

fn xattr(t: &mut Report) {
    let _scratch = Scratch::new();
    let fd = file("f", b"");
    let set = |name: &str, value: &[u8], flags: i32| {
        sys!(libc::setxattr(path("f").as_ptr(), path(name).as_ptr(), value.as_ptr().cast(), value.len(), flags))
    };
    let mut buffer = [0u8; 64];
    t.ret(
        "get what is not there",
        sys!(libc::getxattr(path("f").as_ptr(), path("user.x").as_ptr(), buffer.as_mut_ptr().cast(), 64)),
    );
    t.ret(
        "no such file",
        sys!(libc::getxattr(path("g").as_ptr(), path("user.x").as_ptr(), buffer.as_mut_ptr().cast(), 64)),
    );
    t.ret("a bad name", set("nonsense", b"x", 0));
    t.ret("an empty name", set("", b"x", 0));
    t.ret("flags that there are not", set("user.a", b"x", 8));
    t.ret("replace what is not there", set("user.a", b"x", libc::XATTR_REPLACE));
    t.ret("set", set("user.a", b"value", 0));
    t.ret("create again", set("user.a", b"x", libc::XATTR_CREATE));
    t.ret("size", sys!(libc::fgetxattr(fd, path("user.a").as_ptr(), ptr::null_mut(), 0)));
    t.ret("too small", sys!(libc::fgetxattr(fd, path("user.a").as_ptr(), buffer.as_mut_ptr().cast(), 2)));
    t.ret("get", sys!(libc::fgetxattr(fd, path("user.a").as_ptr(), buffer.as_mut_ptr().cast(), 64)));
    t.show("value", text(&buffer[..5]));
    must(set("user.b", b"", 0));
    t.ret("list", sys!(libc::flistxattr(fd, buffer.as_mut_ptr().cast(), 64)));
    t.ret("remove", sys!(libc::fremovexattr(fd, path("user.a").as_ptr())));
    t.ret("again", sys!(libc::fremovexattr(fd, path("user.a").as_ptr())));
}

fn opath(t: &mut Report) {
    let _scratch = Scratch::new();
    file("f", b"content");
    must(symlink("f", "s"));
    let fd = must(open("f", libc::O_PATH));
    t.show("read", read(fd, 1));
    t.ret("write", write(fd, b"x"));
    t.ret("lseek", sys!(libc::lseek(fd, 0, 0)));
    t.ret("fchmod", sys!(libc::fchmod(fd, 0o600)));
    t.ret("ftruncate", sys!(libc::ftruncate(fd, 0)));
    t.show("fstat", mode_text(stat(fd).st_mode));
    t.ok("dup", sys!(libc::dup(fd)));
    t.ok("opened by its link", try_open(&format!("/proc/self/fd/{fd}"), libc::O_RDONLY));
    let fd = must(open("s", libc::O_PATH | libc::O_NOFOLLOW));
    t.show("a link itself", mode_text(stat(fd).st_mode));
    let mut buffer = [0u8; 8];
    t.ret("what it names", sys!(libc::readlinkat(fd, path("").as_ptr(), buffer.as_mut_ptr().cast(), 8)));
    t.ok("nothing", try_open("x", libc::O_PATH));
}

fn deep(t: &mut Report) {
    let scratch = Scratch::new();
    let name = "d".repeat(200);
    for _ in 0..30 {
        must(mkdir(&name));
        must(sys!(libc::chdir(path(&name).as_ptr())));
    }
    file("bottom", b"reached");
    t.show("6000 bytes down", content("bottom"));
    let mut buffer = vec![0u8; 8192];
    t.ret("getcwd", sys!(libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), 8192)).map(|n| i64::from(n > 6000)));
    t.ret("getcwd with a page", sys!(libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), 4096)));
    t.show("up again by dots", {
        let up = "../".repeat(30);
        must(sys!(libc::chdir(path(&up).as_ptr())));
        std::env::current_dir().is_ok_and(|now| now == scratch.directory())
    });
}

fn devices(t: &mut Report) {
    let null = must(open("/dev/null", libc::O_RDWR));
    t.show("null", format!("{} {:?}", read(null, 5), write(null, b"abc")));
    let zero = must(open("/dev/zero", libc::O_RDWR));
    t.show("zero", format!("{} {:?}", read(zero, 3), write(zero, b"abc")));
    let full = must(open("/dev/full", libc::O_RDWR));
    t.show("full", read(full, 3));
    t.ret("full", write(full, b"abc"));
    t.ret("full, nothing", write(full, b""));
    for name in ["/dev/random", "/dev/urandom"] {
        let fd = must(open(name, libc::O_RDONLY));
        t.ret(name, families::files::read_len(fd, 1000));
    }
    for name in ["null", "zero", "full", "random", "urandom", "tty", "ptmx"] {
        let mut found = zeroed!(libc::stat);
        match sys!(libc::stat(path(&format!("/dev/{name}")).as_ptr(), &raw mut found)) {
            Ok(_) => t.show(
                name,
                format!("{} {}:{}", mode_text(found.st_mode), libc::major(found.st_rdev), libc::minor(found.st_rdev)),
            ),
            Err(errno) => t.show(name, errno),
        }
    }
    for (name, wanted) in
        [("/dev/fd", "/proc/self/fd"), ("/dev/stdin", "/proc/self/fd/0"), ("/dev/stderr", "/proc/self/fd/2")]
    {
        let target = std::fs::read_link(name).map(|p| p.display().to_string()).unwrap_or_default();
        t.show(name, target == wanted);
    }
    let mut one = [0u8; 32];
    let mut two = [0u8; 32];
    t.ret("getrandom", sys!(libc::getrandom(one.as_mut_ptr().cast(), 32, 0)));
    t.ret("getrandom", sys!(libc::getrandom(two.as_mut_ptr().cast(), 32, libc::GRND_NONBLOCK)));
    t.check("differs", one != two);
    t.ret("getrandom with flags that there are not", sys!(libc::getrandom(two.as_mut_ptr().cast(), 32, 64)));
}

fn statfs(t: &mut Report) {
    let _scratch = Scratch::new();
    let mut found = zeroed!(libc::statfs);
    t.ret("statfs", sys!(libc::statfs(path(".").as_ptr(), &raw mut found)));
    t.check("blocks", found.f_bsize > 0 && found.f_blocks > 0);
    t.show("longest name", found.f_namelen);
    t.ret("proc", sys!(libc::statfs(path("/proc").as_ptr(), &raw mut found)));
    t.show("is proc", found.f_type == libc::PROC_SUPER_MAGIC);
    t.ret("nothing", sys!(libc::statfs(path("x").as_ptr(), &raw mut found)));
    t.ret("fstatfs", sys!(libc::fstatfs(0, &raw mut found)));
    t.ret("no descriptor", sys!(libc::fstatfs(99, &raw mut found)));
    t.ret("sync", {
        c!(libc::sync());
        Ok(0)
    });
    t.ret("fsync", sys!(libc::fsync(file("f", b""))));
    t.ret("fsync of nothing", sys!(libc::fsync(99)));
}
