//! Policies in others' formats, as they are published.
use crate::{Bench, Case, Sandbox};
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

/// The sandbox under one of the published profiles.
fn profile(bench: &Bench<'_>, sandbox: Sandbox, name: &str) -> Sandbox {
    let path = bench.setup.trees.join("profiles").join(name);
    sandbox.options(["--memory", "256M", "--timeout", "380", "--policy"]).options([path]).limit(LIMIT)
}
