//! Policies in others' formats, as they are published.
use crate::{Bench, Case, Sandbox};
use std::fs;
use std::time::Duration;

/// Longest time for one run.
const LIMIT: Duration = Duration::from_secs(400);

/// Says what Docker's profile lets a program do that looks.
const LOOK: &str = "
import ctypes, json, os, socket, subprocess, threading
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    return os.strerror(ctypes.get_errno()) if result < 0 else result
print(json.dumps({'threads': threading.Thread(target=int).start(), 'files': sorted(os.listdir('/etc'))[:2]}))
print(subprocess.check_output(['id', '-u']) != b'')
print('unshare', call(272, 0x10000000))
print('clone3', call(435, 0, 0))
print('mount', call(165, 0, 0, 0, 0, 0))
print('ptrace', call(101, -1, 0, 0, 0))
print('vsock', call(41, 40, 1, 0))
print(len(socket.socketpair()))
";

/// Tests of published policies.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        docker("busybox", |bench| {
            let sandbox = bench.in_tree("shell", ["/bin/sh", "-c", include_str!("../../real/busybox.sh")]);
            profile(bench, sandbox, "docker.json").same_as_here()
        })
        .needs("shell"),
        docker("python3", |bench| {
            let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", include_str!("../../real/python.py")]);
            profile(bench, sandbox, "docker.json").same_as_here()
        })
        .needs("python"),
        docker("redis", |bench| {
            let sandbox = bench.in_tree("net", ["/bin/sh", "-c", include_str!("../../real/redis.sh")]);
            profile(bench, sandbox, "docker.json").same_as_here()
        })
        .needs("net"),
        docker("what it denies", |bench| {
            let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", LOOK]);
            let denied =
                "unshare Operation not permitted\nclone3 Function not implemented\nmount Operation not permitted\n";
            profile(bench, sandbox, "docker.json").run()?.exits(0)?.prints_somewhere(denied)?.done()
        })
        .needs("python"),
        docker("what a capability adds", |bench| {
            let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", LOOK]).options(["--cap-add", "sys_admin"]);
            // The call is carried out now: it has no size.
            profile(bench, sandbox, "docker.json")
                .run()?
                .exits(0)?
                .prints_somewhere("clone3 Invalid argument\n")?
                .done()
        })
        .needs("python"),
        docker("a trace names its lines", docker_lines),
        Case::new("a policy of minijail's: a trace names its lines, and those of what it includes", minijail_lines),
        Case::new("Podman's default profile: python3", |bench| {
            let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", include_str!("../../real/python.py")]);
            profile(bench, sandbox, "podman.json").same_as_here()
        })
        .needs("profiles")
        .needs("python"),
    ]
}

fn docker(what: &str, run: impl Fn(&Bench<'_>) -> crate::Verdict + Send + 'static) -> Case {
    Case::new(format!("Docker's default profile: {what}"), run).needs("profiles")
}

/// A clone3 and a mount under Docker's profile, and then with a capability that lets the mount through.
fn docker_lines(bench: &Bench<'_>) -> crate::Verdict {
    let text = fs::read_to_string(bench.setup.trees.join("profiles/docker.json")).map_err(|error| error.to_string())?;
    // Where the entry begins in which this stands.
    let entry = |what: &str| {
        let before = text.get(..text.find(what)?)?;
        Some(before.get(..before.rfind("\t\t{\n")?)?.lines().count() + 1)
    };
    let line = |what: &str| entry(what).ok_or_else(|| format!("docker.json has no {what}"));
    let (comment, mount) = ("ENOSYS for clone3 on non-mips architectures", line("\"mount\",")?);
    let probe = |call: &str| bench.guest("probe", &[call]).options(["--trace"]);
    let clone3 = profile(bench, probe("435"), "docker.json").run()?;
    let wanted = format!("[errno ENOSYS, rule docker.json:{}: {comment}]", line(comment)?);
    let named = clone3.stderr.lines().any(|line| line.contains("clone3(") && line.ends_with(&wanted));
    clone3.wants(named, &wanted)?;
    let allowed = format!("rule docker.json:{}]", line("\"accept\",")?);
    clone3.complains(&allowed)?;
    let sandbox = probe("165").options(["--cap-add", "sys_admin"]);
    let wanted = format!("[allow, rule docker.json:{mount}: includes caps CAP_SYS_ADMIN]");
    profile(bench, sandbox, "docker.json").run()?.complains(&wanted)?.done()
}

/// What the program may do is in a file that is included from a folder of another system.
const JAIL: &str = "# Copyright 2026 nobody\n\n@include /usr/share/policy/none/common.policy\n\numask: arg0 == 022 || \\\n  arg0 == 077 # private files\n\
                    chdir: return ENOENT\n";

fn minijail_lines(bench: &Bench<'_>) -> crate::Verdict {
    let scratch = bench.fixture.scratch()?;
    let write = |name: &str, text: &str| fs::write(scratch.path().join(name), text).map_err(|error| error.to_string());
    let calls = "read write writev brk mmap mprotect munmap arch_prctl exit_group openat newfstatat pread64 close rt_sigaction getuid getpid";
    let lines: String = calls.split(' ').map(|call| format!("{call}: allow\n")).collect();
    write("common.policy", &format!("# what all need\n{lines}\n@default return EPERM\n"))?;
    write("jail.policy", JAIL)?;
    let policy = scratch.path().join("jail.policy").display().to_string();
    let map = format!("/usr/share/policy/none={}", scratch.path().display());
    let shell = bench.busybox(&["sh", "-c", "umask 77; umask 1; cd /nowhere; exit 0"]);
    let outcome = shell.options(["--trace", "--policy", &policy, "--include-map", &map]).run()?;
    outcome
        .exits(0)?
        .complains("umask(077) = 022 [allow, rule jail.policy:6: private files]")?
        .complains("[errno EPERM, rule jail.policy:5: no condition holds]")?
        .complains("chdir(\"/nowhere\") = -1 ENOENT (No such file or directory) [errno ENOENT, rule jail.policy:7]")?
        .complains("exit_group(0) = ? [allow, rule common.policy:10: what all need]")?
        .done()
}

/// The sandbox under one of the published profiles.
fn profile(bench: &Bench<'_>, sandbox: Sandbox, name: &str) -> Sandbox {
    let path = bench.setup.trees.join("profiles").join(name);
    sandbox.options(["--memory", "256M", "--timeout", "380", "--policy"]).options([path]).limit(LIMIT)
}
