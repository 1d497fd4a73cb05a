//! The lines of the trace.

use crate::support::{BASE, Child, END};
use gate::Action;
use proto::result_flags;

const POLICY: &str = r#"version = 1
default = { errno = "EPERM" }
[[rule]]
calls = ["ptrace"]
action = { errno = "EACCES" }
reason = "no debugging"
[[rule]]
calls = ["mount"]
action = "kill"
[[rule]]
calls = ["read", "write", "open", "openat", "mmap", "mprotect", "munmap", "brk", "fcntl", "ioctl", "lseek", "access", "clone",
  "execve", "exit_group", "umask", "futex", "clock_gettime", "kill", "rt_sigaction", "getpid", "newfstatat", "symlink",
  "faccessat2", "chown", "unlinkat", "socket", "rt_sigprocmask", "statx", "prlimit64", "uretprobe", "wait4",
  "writev", "sendmsg", "sendmmsg"]
action = "allow"
"#;

/// The line that a call gets when the shim reports `value`, without time, thread and verdict.
fn line(child: &mut Child, name: &str, args: [u64; 6], value: i64) -> String {
    let Action::Forward { grant, .. } = child.call(name, args) else { panic!("{name} is allowed") };
    child.completed(grant.sequence, value, 0);
    let line = child.take_lines();
    let line = line.strip_prefix("   0.000000   1 ").expect("time and thread");
    line.strip_suffix(" [allow, rule 3 test.toml:10]\n").expect("the verdict").to_string()
}

fn child() -> Child {
    Child::new(POLICY, true)
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn what_ranges_and_messages_hold() {
    let mut child = child();
    let name = child.put(BASE, &[2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let text = child.put(BASE + 0x100, &[b'x'; 40]);
    let list = child.put(BASE + 0x200, &words(&[text, 3, 0, 0, text, 2]));
    assert_eq!(line(&mut child, "writev", [1, list, 3, 0, 0, 0], 5), r#"writev(1, "xxxxx", 3) = 5"#);
    assert_eq!(line(&mut child, "writev", [1, list, 0, 0, 0, 0], 0), r#"writev(1, "", 0) = 0"#);
    let at = child.put(BASE + 0x300, &words(&[0, 0, list, 1, 0, 0, 0]));
    assert_eq!(line(&mut child, "sendmsg", [3, at, 0, 0, 0, 0], 3), r#"sendmsg(3, {msg_iov="xxx"}, 0) = 3"#);
    child.put(at, &words(&[name, 16, list, 3, 0, 0, 0]));
    let shown = r#"{msg_name="127.0.0.1:80", msg_iov="xxxxx"}"#;
    assert_eq!(line(&mut child, "sendmsg", [3, at, 0, 0, 0, 0], 5), format!("sendmsg(3, {shown}, 0) = 5"));
    assert_eq!(line(&mut child, "sendmmsg", [3, at, 2, 0, 0, 0], 2), format!("sendmmsg(3, {shown}, 2, 0) = 2"));
    // Only the beginning of much, and of many ranges.
    let cut = format!("{}\"...", "x".repeat(32));
    child.put(list, &words(&[text, 31, text, 40]));
    assert_eq!(line(&mut child, "writev", [1, list, 2, 0, 0, 0], 71), format!("writev(1, \"{cut}, 2) = 71"));
    child.put(list, &words(&[0; 40]));
    assert_eq!(line(&mut child, "writev", [1, list, 20, 0, 0, 0], 0), r#"writev(1, ""..., 20) = 0"#);
    // What cannot be read.
    child.put(list, &words(&[END, 1]));
    let shown = format!("{list:#x}");
    assert_eq!(
        line(&mut child, "writev", [1, list, 1, 0, 0, 0], -14),
        format!("writev(1, {shown}, 1) = -1 EFAULT (Bad address)")
    );
    child.put(at, &words(&[name, 16, list, 1, 0, 0, 0]));
    assert_eq!(
        line(&mut child, "sendmsg", [3, at, 0, 0, 0, 0], -14),
        r#"sendmsg(3, "127.0.0.1:80", 0) = -1 EFAULT (Bad address)"#
    );
}

const AT_FDCWD: u64 = 0xffff_ff9c;

#[test]
fn whole_lines() {
    let mut child = child();
    let path = child.put(BASE, b"/etc/os-release\0");
    child.now_100ns = 15_000_012_345;
    child.thread = 12;
    child.call("openat", [AT_FDCWD, path, 0o2_000_000, 0, 0, 0]);
    assert_eq!(child.lines, "", "it waits for the result");
    child.completed(1, 3, 0);
    child.call("ptrace", [0; 6]);
    child.call_number(470, [1, 0, 0, 0, 0, 0]);
    child.call_number(0x4000_0001, [0; 6]);
    child.call("mount", [path, 0, 0, 1, 0, 0]);
    let expected = [
        r#"1500.001234  12 openat(AT_FDCWD, "/etc/os-release", O_RDONLY|O_CLOEXEC) = 3 [allow, rule 3 test.toml:10]"#,
        "1500.001234  12 ptrace(PTRACE_TRACEME, 0, 0, 0) = -1 EACCES (Permission denied) [errno EACCES, rule 1 test.toml:3: no debugging]",
        "1500.001234  12 syscall_0x1d6(0x1, 0, 0, 0, 0, 0) = -1 EPERM (Operation not permitted) [errno EPERM, default]",
        "1500.001234  12 syscall_0x40000001(0, 0, 0, 0, 0, 0) = -1 EPERM (Operation not permitted) [errno EPERM, default]",
        r#"1500.001234  12 mount("/etc/os-release", NULL, NULL, MS_RDONLY, NULL) = ? [kill, rule 2 test.toml:7]"#,
    ];
    assert_eq!(child.lines.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn results() {
    let mut child = child();
    assert_eq!(line(&mut child, "getpid", [0; 6], 17), "getpid() = 17");
    assert_eq!(line(&mut child, "brk", [0; 6], 0x55_0000), "brk(NULL) = 0x550000");
    assert_eq!(line(&mut child, "umask", [0o22, 0, 0, 0, 0, 0], 0o77), "umask(022) = 077");
    assert_eq!(line(&mut child, "umask", [0; 6], 0), "umask(000) = 0");
    assert_eq!(
        line(&mut child, "read", [0, BASE, 10, 0, 0, 0], -11),
        "read(0, 0x400000, 10) = -1 EAGAIN (Resource temporarily unavailable)"
    );
    assert_eq!(line(&mut child, "read", [0, BASE, 10, 0, 0, 0], -512), "read(0, 0x400000, 10) = -1 (error 512)");
    assert_eq!(
        line(&mut child, "lseek", [3, u64::MAX, 2, 0, 0, 0], i64::MIN),
        "lseek(3, -1, SEEK_END) = -9223372036854775808"
    );
}

#[test]
fn calls_that_are_not_carried_out_say_so() {
    let mut child = child();
    child.call("statx", [AT_FDCWD, 0, 0, 0x7ff, 0, 0]);
    child.completed(1, -38, result_flags::NOT_IMPLEMENTED);
    assert_eq!(
        child.lines,
        "   0.000000   1 statx(AT_FDCWD, NULL, 0, STATX_BASIC_STATS, NULL) = -1 ENOSYS (Function not implemented) \
         [allow, rule 3 test.toml:10] [not carried out yet]\n"
    );
    assert_eq!(child.gate.counters().not_implemented, 1);
}

#[test]
fn calls_that_do_not_come_back() {
    let mut child = child();
    child.call("exit_group", [0xffff_ffff_0000_0007, 0, 0, 0, 0, 0]);
    assert_eq!(child.take_lines(), "   0.000000   1 exit_group(7) = ? [allow, rule 3 test.toml:10]\n");
    child.call("read", [0, BASE, 1, 0, 0, 0]);
    child.finish();
    assert_eq!(
        child.take_lines(),
        "   0.000000   1 read(0, 0x400000, 1) <unfinished ...> [allow, rule 3 test.toml:10]\n"
    );
    child.finish();
    assert_eq!(child.lines, "");
}

#[test]
fn a_shim_that_reports_nothing_fills_no_memory() {
    let mut child = child();
    for _ in 0..5000 {
        child.call("getpid", [0; 6]);
    }
    assert_eq!(child.take_lines().lines().count(), 5000 - 256);
    child.finish();
    assert_eq!(child.lines.lines().count(), 256);
}

#[test]
fn strings() {
    let mut child = child();
    let nasty = child.put(BASE, b"a\"b\\\n\r\t\x0b\x0c\x1b[31m\x00");
    let nasty_line = line(&mut child, "open", [nasty, 0, 0, 0, 0, 0], 3);
    assert_eq!(nasty_line, r#"open("a\"b\\\n\r\t\v\f\33[31m", O_RDONLY) = 3"#);
    let digits = child.put(BASE, b"\x01\x011\xc3\xa4\x00");
    assert_eq!(line(&mut child, "open", [digits, 0, 0, 0, 0, 0], 3), r#"open("\1\0011\303\244", O_RDONLY) = 3"#);
    let long = child.put(BASE, &[b'x'; 300]);
    let long_line = line(&mut child, "open", [long, 0, 0, 0, 0, 0], -36);
    assert_eq!(long_line, format!("open(\"{}\"..., O_RDONLY) = -1 ENAMETOOLONG (File name too long)", "x".repeat(256)));
    let text = line(&mut child, "symlink", [long, long, 0, 0, 0, 0], 0);
    assert!(text.starts_with(&format!("symlink(\"{}\"..., \"xxx", "x".repeat(32))), "{text}");
    // Across two pages; up to the very last byte; beyond it; nowhere.
    let across = child.put(BASE + 4094, b"/tmp\0");
    assert_eq!(line(&mut child, "open", [across, 0, 0, 0, 0, 0], 3), r#"open("/tmp", O_RDONLY) = 3"#);
    let last = child.put(END - 3, b"/x\0");
    assert_eq!(line(&mut child, "open", [last, 0, 0, 0, 0, 0], 3), r#"open("/x", O_RDONLY) = 3"#);
    let unterminated = child.put(END - 2, b"/x");
    assert_eq!(
        line(&mut child, "open", [unterminated, 0, 0, 0, 0, 0], -14),
        "open(0x403ffe, O_RDONLY) = -1 EFAULT (Bad address)"
    );
    assert_eq!(line(&mut child, "open", [0, 0, 0, 0, 0, 0], -14), "open(NULL, O_RDONLY) = -1 EFAULT (Bad address)");
    let kernel = 0xffff_ffff_8000_0000;
    assert_eq!(
        line(&mut child, "open", [kernel, 0, 0, 0, 0, 0], -14),
        "open(0xffffffff80000000, O_RDONLY) = -1 EFAULT (Bad address)"
    );
}

#[test]
fn buffers() {
    let mut child = child();
    let text = child.put(BASE, b"hello\nworld, this is more than thirty-two bytes");
    assert_eq!(line(&mut child, "write", [1, text, 6, 0, 0, 0], 6), r#"write(1, "hello\n", 6) = 6"#);
    assert_eq!(
        line(&mut child, "write", [1, text, 40, 0, 0, 0], 40),
        r#"write(1, "hello\nworld, this is more than t"..., 40) = 40"#
    );
    assert_eq!(line(&mut child, "write", [1, text, 0, 0, 0, 0], 0), r#"write(1, "", 0) = 0"#);
    let huge = line(&mut child, "write", [1, text, u64::MAX, 0, 0, 0], -14);
    assert_eq!(
        huge,
        r#"write(1, "hello\nworld, this is more than t"..., 18446744073709551615) = -1 EFAULT (Bad address)"#
    );
    assert_eq!(
        line(&mut child, "write", [1, END - 2, 6, 0, 0, 0], -14),
        "write(1, 0x403ffe, 6) = -1 EFAULT (Bad address)"
    );
}

#[test]
fn arrays_of_strings() {
    let mut child = child();
    let word = |address: u64| address.to_le_bytes();
    let (ls, dash) = (child.put(BASE, b"ls\0"), child.put(BASE + 16, b"-l\0"));
    let argv = child.put(BASE + 64, &[word(ls), word(dash), word(0)].concat());
    assert_eq!(line(&mut child, "execve", [ls, argv, 0, 0, 0, 0], 0), r#"execve("ls", ["ls", "-l"], NULL) = 0"#);
    let empty = child.put(BASE + 128, &word(0));
    assert_eq!(line(&mut child, "execve", [ls, empty, 0, 0, 0, 0], 0), r#"execve("ls", [], NULL) = 0"#);
    assert_eq!(
        line(&mut child, "execve", [ls, 8, 0, 0, 0, 0], -14),
        r#"execve("ls", 0x8, NULL) = -1 EFAULT (Bad address)"#
    );
    let cut = child.put(END - 16, &[word(ls), word(8)].concat());
    assert_eq!(
        line(&mut child, "execve", [ls, cut, 0, 0, 0, 0], -14),
        r#"execve("ls", ["ls", 0x8, ???], NULL) = -1 EFAULT (Bad address)"#
    );
    let many = child.put(BASE + 1024, &word(ls).repeat(17));
    let many = line(&mut child, "execve", [ls, many, 0, 0, 0, 0], 0);
    assert!(many.ends_with(r#""ls", ...], NULL) = 0"#) && many.matches("\"ls\"").count() == 17, "{many}");
    let sixteen = child.put(BASE + 2048, &[word(ls).repeat(16), word(0).to_vec()].concat());
    let sixteen = line(&mut child, "execve", [ls, sixteen, 0, 0, 0, 0], 0);
    assert!(sixteen.ends_with(r#""ls"], NULL) = 0"#), "{sixteen}");
}

#[test]
fn names_for_numbers() {
    let mut child = child();
    let path = child.put(BASE, b"f\0");
    let cases: [(&str, [u64; 6], i64, &str); 24] = [
        ("open", [path, 0o1101, 0o644, 0, 0, 0], 3, r#"open("f", O_WRONLY|O_CREAT|O_TRUNC, 0644) = 3"#),
        ("openat", [5, path, 0o200_000, 0o777, 0, 0], 3, r#"openat(5, "f", O_RDONLY|O_DIRECTORY) = 3"#),
        ("openat", [5, path, 0o20_200_002, 0o600, 0, 0], 3, r#"openat(5, "f", O_RDWR|O_TMPFILE, 0600) = 3"#),
        (
            "mmap",
            [0, 8192, 3, 0x22, u64::MAX, 0],
            0x7f00_0000,
            "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f000000",
        ),
        (
            "mmap",
            [0x1000, 4096, 5, 0x812, 3, 0x2000],
            -22,
            "mmap(0x1000, 4096, PROT_READ|PROT_EXEC, MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE, 3, 0x2000) = -1 EINVAL (Invalid argument)",
        ),
        ("mprotect", [0x1000, 4096, 0, 0, 0, 0], 0, "mprotect(0x1000, 4096, PROT_NONE) = 0"),
        ("fcntl", [3, 1, 9, 0, 0, 0], 0, "fcntl(3, F_GETFD) = 0"),
        ("fcntl", [3, 2, 1, 0, 0, 0], 0, "fcntl(3, F_SETFD, FD_CLOEXEC) = 0"),
        ("fcntl", [3, 4, 0o4002, 0, 0, 0], 0, "fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0"),
        ("fcntl", [3, 1030, 10, 0, 0, 0], 10, "fcntl(3, F_DUPFD_CLOEXEC, 10) = 10"),
        ("fcntl", [3, 6, BASE, 0, 0, 0], 0, "fcntl(3, F_SETLK, 0x400000) = 0"),
        ("ioctl", [1, 0x5413, BASE, 0, 0, 0], 0, "ioctl(1, TIOCGWINSZ, 0x400000) = 0"),
        ("ioctl", [1, 0x1234, 0, 0, 0, 0], -25, "ioctl(1, 0x1234, 0) = -1 ENOTTY (Inappropriate ioctl for device)"),
        ("access", [path, 4, 0, 0, 0, 0], 0, r#"access("f", R_OK) = 0"#),
        ("faccessat2", [AT_FDCWD, path, 0, 0x200, 0, 0], 0, r#"faccessat2(AT_FDCWD, "f", F_OK, AT_EACCESS) = 0"#),
        (
            "newfstatat",
            [1, path, BASE, 0x1100, 0, 0],
            0,
            r#"newfstatat(1, "f", 0x400000, AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH) = 0"#,
        ),
        ("unlinkat", [AT_FDCWD, path, 0x200, 0, 0, 0], 0, r#"unlinkat(AT_FDCWD, "f", AT_REMOVEDIR) = 0"#),
        ("clock_gettime", [1, BASE, 0, 0, 0, 0], 0, "clock_gettime(CLOCK_MONOTONIC, 0x400000) = 0"),
        ("kill", [u64::MAX, 9, 0, 0, 0, 0], 0, "kill(-1, SIGKILL) = 0"),
        ("kill", [1, 40, 0, 0, 0, 0], 0, "kill(1, 0x28) = 0"),
        ("rt_sigprocmask", [2, 0, BASE, 8, 0, 0], 0, "rt_sigprocmask(SIG_SETMASK, NULL, 0x400000, 8) = 0"),
        ("futex", [BASE, 0x81, 1, 0, 0, 0], 0, "futex(0x400000, FUTEX_WAKE|FUTEX_PRIVATE_FLAG, 1, 0, NULL, 0) = 0"),
        ("prlimit64", [0, 3, 0, BASE, 0, 0], 0, "prlimit64(0, RLIMIT_STACK, NULL, 0x400000) = 0"),
        ("chown", [path, 0, 0xffff_ffff, 0, 0, 0], 0, r#"chown("f", 0, -1) = 0"#),
    ];
    for (name, args, value, expected) in cases {
        assert_eq!(line(&mut child, name, args, value), expected);
    }
    // Junk above an int does not show: the kernel does not see it.
    assert_eq!(
        line(&mut child, "ioctl", [0xdead_0000_0001, 0xbeef_0000_5401, 0, 0, 0, 0], 0),
        "ioctl(1, TCGETS, 0) = 0"
    );
    // A call without a row of its own has six words.
    assert_eq!(
        line(&mut child, "uretprobe", [1, 2, 0, 0, 0, 0xff], -38),
        "uretprobe(0x1, 0x2, 0, 0, 0, 0xff) = -1 ENOSYS (Function not implemented)"
    );
}

#[test]
fn any_registers_make_a_line_of_printable_ascii() {
    let mut child = Child::new("version = 1\ndefault = \"allow\"\n", true);
    child.put(BASE, &(0..=255).cycle().take(4096 * 4).collect::<Vec<u8>>());
    let mut state = 7_u64;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let mut sequence = 0;
    for round in 0..20_000_u64 {
        let args = [(); 6].map(|()| match next() % 4 {
            0 => BASE + next() % (END - BASE),
            1 => next() % 64,
            2 => next(),
            _ => (next() % 64).wrapping_neg(),
        });
        child.call_number(round % 480, args);
        sequence += 1;
        child.completed(sequence, next().cast_signed() >> (next() % 64), next() % 2);
        let lines = child.take_lines();
        assert!(lines.lines().count() == 1 && lines.ends_with('\n'), "{lines}");
        assert!(lines.len() < 4096 && lines.trim_end().bytes().all(|byte| matches!(byte, b' '..=b'~')), "{lines}");
    }
}
