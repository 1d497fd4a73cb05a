//! Rules on what lies in the structures that calls pass by pointer.
use super::denials::with_policy;
use crate::{Bench, Case, Verdict};

/// Reads every structure that rules can look into, and denies nothing that is tried.
const LOOKS: &str = r#"version = 1
default = "allow"
[[rule]]
calls = ["openat2"]
when = [{ arg = "how.mode", op = "==", value = 0o7777 }]
action = "kill"
[[rule]]
calls = ["clone3"]
when = [{ arg = "cl_args.tls", op = "==", value = 7 }]
action = "kill"
[[rule]]
calls = ["setrlimit", "prlimit64"]
when = [{ arg = "rlim_cur", op = "==", value = 7 }]
action = "kill"
[[rule]]
calls = ["sched_setparam", "sched_setscheduler"]
when = [{ arg = "param.sched_priority", op = "==", value = 77 }]
action = "kill"
"#;

/// No way to open a file but to read it, and no user name spaces, by one rule each.
const READ_ONLY: &str = r#"version = 1
default = "allow"
[[rule]]
calls = ["open", "openat", "openat2"]
when = [{ arg = "flags", op = "masked_eq", mask = "O_ACCMODE", value = "O_RDONLY" }]
action = "allow"
[[rule]]
calls = ["open", "openat", "openat2"]
action = { errno = "EROFS" }
[[rule]]
calls = ["clone", "clone3", "unshare"]
when = [{ arg = "flags", op = "masked_eq", mask = "CLONE_NEWUSER", value = "CLONE_NEWUSER" }]
action = { errno = "ENOSPC" }
"#;

/// Python has no functions for these calls.
const CALLS: &str = "
import ctypes, fcntl, os, struct, threading
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    done = libc.syscall(*[ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args])
    return done if done >= 0 else os.strerror(ctypes.get_errno())
def openat2(path, flags, resolve=0):
    how = struct.pack('QQQ', flags, 0, resolve)
    fd = call(437, -100, path, how, len(how))
    return (os.read(fd, 9), fcntl.fcntl(fd, fcntl.F_GETFL) & 3) if isinstance(fd, int) else fd
def clone3(flags):
    pid = call(435, struct.pack('11Q', flags, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0), 88)
    if pid == 0: os._exit(7)
    return os.waitpid(pid, 0)[1] >> 8 if isinstance(pid, int) else pid
";

/// Opens files and makes processes by them; and a thread, which the C library makes by clone3.
const PROGRAM: &str = "
print(openat2(b'/etc/hostname', os.O_RDONLY))
print(openat2(b'/etc/hostname', os.O_RDWR), '|', openat2(b'/etc/hostname', os.O_WRONLY))
print(clone3(0), '|', clone3(0x10000000))
seen = []
thread = threading.Thread(target=lambda: seen.append(1))
thread.start()
thread.join()
print(seen)
";

/// The flags that a program asks for are replaced, and the file is opened for reading whatever it says.
const REWRITTEN: &str = r#"version = 1
default = "allow"
[[rule]]
calls = ["openat2"]
action = { rewrite = [{ arg = "how.flags", mask = "O_CLOEXEC" }, { arg = "how.resolve", value = "RESOLVE_NO_SYMLINKS" }] }
"#;

/// Tests of rules on structures.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("structures: one rule on the flags of every way to open a file", read_only).needs("python"),
        Case::new("structures: threads of the C library are judged by the flags of clone3", threads).needs("python"),
        Case::new("structures: flags that are rewritten", |bench| {
            let program = "print(openat2(b'/etc/hostname', 2), '|', openat2(b'/bin/sh', 0), '|', openat2(b'/proc/self/exe', 0))\n";
            let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", &format!("{CALLS}{program}")]).options(["--trace"]);
            with_policy(bench, REWRITTEN, sandbox, |sandbox| {
                let outcome = sandbox.run()?;
                outcome.complains("{flags=O_RDWR, mode=000, resolve=0}, 24) = ")?;
                outcome.complains(
                    "[rewrite how.flags & O_RDONLY|O_CLOEXEC, how.resolve := RESOLVE_NO_SYMLINKS, rule 1 policy.toml:3]",
                )?;
                let links = "Too many levels of symbolic links";
                outcome.exits(0)?.prints(&format!("(b'cordon\\n', 0) | {links} | {links}\n"))?.done()
            })
        })
        .needs("python"),
    ];
    cases.extend(["openat2", "clone3", "limits", "scheduling"].map(|section| {
        Case::new(format!("structures: {section} says under rules what it says on Linux"), move |bench| {
            with_policy(bench, LOOKS, bench.guest("structures", &[section]), |sandbox| sandbox.same_as_here())
        })
    }));
    cases
}

fn read_only(bench: &Bench<'_>) -> Verdict {
    let sandbox =
        bench.in_tree("python", ["/usr/bin/python3", "-B", "-c", &format!("{CALLS}{PROGRAM}")]).options(["--trace"]);
    with_policy(bench, READ_ONLY, sandbox, |sandbox| {
        let outcome = sandbox.run()?;
        outcome.exits(0)?.prints(
            "(b'cordon\\n', 0)\nRead-only file system | Read-only file system\n7 | No space left on device\n[1]\n",
        )?;
        outcome.complains("{flags=O_RDWR, mode=000, resolve=0}, 24) = -1 EROFS")?;
        outcome
            .complains("clone3({flags=CLONE_NEWUSER, exit_signal=SIGCHLD, stack=NULL, stack_size=0}, 88) = -1 ENOSPC")?
            .done()
    })
}

/// Without threads, Python says so; with the flags of threads it has them, and no other process is made.
fn threads(bench: &Bench<'_>) -> Verdict {
    let policy = |flags: &str| {
        format!(
            "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"clone3\"]\nwhen = [{{ arg = \"cl_args.flags\", op = \"masked_eq\", mask = \"CLONE_THREAD\", value = {flags} }}]\naction = {{ errno = \"EAGAIN\" }}\n"
        )
    };
    let program = "import threading\ntry:\n  t = threading.Thread(target=print, args=('in a thread',)); t.start(); t.join()\nexcept RuntimeError as why: print(why)\n";
    let sandbox = || bench.in_tree("python", ["/usr/bin/python3", "-c", program]).options(["--trace"]);
    with_policy(bench, &policy("\"CLONE_THREAD\""), sandbox(), |sandbox| {
        let outcome = sandbox.run()?;
        outcome
            .exits(0)?
            .prints("can't start new thread\n")?
            .complains("clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|")?
            .done()
    })?;
    with_policy(bench, &policy("0"), sandbox(), |sandbox| sandbox.run()?.exits(0)?.prints("in a thread\n")?.done())
}
