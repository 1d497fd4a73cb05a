//! `[[taint]]`: calls that are denied once a file was read or a call was made, against programs that know every way to a file and to a socket.
use super::denials::with_policy;
use super::life::Watched;
use crate::{Bench, Case, Verdict};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const POLICY: &str = r#"version = 1
default = "allow"
[[taint]]
paths = ["/vault/secret*"]
deny = ["connect", "sendto", "sendmsg", "sendmmsg", "splice"]
reason = "it knows"
"#;

/// What calls bring: no changes of files once it has gone far, no further programs once it has made code.
const BY_CALLS: &str = r#"version = 1
default = "allow"
[network]
connect = "127.0.0.0/8"
bind = "127.0.0.0/8"
listen = "127.0.0.1"
[[taint]]
calls = ["connect"]
when = [{ address = "127.0.0.2" }]
deny = ["mkdir", "connect", "listen", "readv"]
action = { errno = "EXDEV" }
reason = "far away"
[[taint]]
calls = ["mprotect", "pkey_mprotect"]
when = [{ arg = "prot", op = "masked_eq", mask = "PROT_EXEC", value = "PROT_EXEC" }]
deny = ["execve", "execveat"]
reason = "code"
"#;

/// What `taint_calls.py` says under it.
const BY_CALLS_FOUND: &str = "here ECONNREFUSED ok ok
away ECONNREFUSED EXDEV EXDEV EXDEV
waited for what is denied: EXDEV
waited for something else: b'x'
data True
code EPERM
";

/// The same beside Docker's profile.
const INCLUDES_DOCKER: &str = r#"version = 1
include = ["docker.json"]
[[taint]]
paths = "/vault/**"
deny = ["connect"]
[[taint]]
calls = ["listen"]
deny = ["mkdir", "listen"]
action = { errno = "EXDEV" }
"#;

/// What Docker's profile denies, what it does not, and what is denied then.
const UNDER_DOCKER: &str = r"
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    return errno.errorcode[ctypes.get_errno()] if libc.syscall(number, *arguments) < 0 else 'ok'
def attempt(act):
    try: act()
    except OSError as why: return errno.errorcode[why.errno]
    return 'ok'
def connects(): return attempt(lambda: socket.socket().connect(('127.0.0.1', 1)))
print(call(272, 0x10000000), connects(), attempt(lambda: os.mkdir('/tmp/a')))
open('/vault/secret').close()
print(call(272, 0x10000000), connects(), attempt(lambda: os.mkdir('/tmp/b')))
print(attempt(socket.socket().listen), attempt(lambda: os.mkdir('/tmp/c')), attempt(socket.socket().listen))
";

/// Ways to use the file, or not, in the words of a shell; and whether the program is tainted then.
const WAYS: [(&str, bool); 10] = [
    (
        "busybox cat /vault/other; busybox ls -l /vault/secret; busybox test -x /vault/secret; busybox cat /vault/secret/x; echo >> /vault/secret",
        false,
    ),
    ("busybox ln -s /vault/secret /tmp/link; busybox readlink /tmp/link; busybox cat /tmp/link", true),
    ("busybox ln /vault/secret /tmp/hard; busybox cat /tmp/hard", false),
    ("busybox mv /vault/secret /tmp/moved", true),
    ("busybox mv /vault /tmp/moved", true),
    ("cd /vault; busybox cat ../vault/./secret", true),
    ("busybox cat /proc/self/root/vault/secret", true),
    ("exec 3>> /vault/secret; busybox cat /proc/self/fd/3", true),
    ("(busybox head -c 1 /vault/secret | busybox wc -c) & wait", true),
    ("/vault/secret", true),
];

/// What the program does then.
const CONNECT: &str = "echo | busybox nc -w 1 127.0.0.1 1";

/// Connects, before and after the policy has changed.
const CONNECT_TWICE: &str = r"
import os, socket
def connects():
    try: socket.socket().connect(('127.0.0.1', 1))
    except OSError as why: return why.errno
open('/vault/secret').close()
print('before', connects(), flush=True)
while os.getppid() != 4242: pass
print('after', connects(), flush=True)
";

/// The tests.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("a file taints by every way to it", every_way),
        Case::new("calls under way when a file taints", |bench| {
            let scratch = bench.fixture.scratch()?;
            fill(scratch.path()).map_err(|error| format!("the layer cannot be made: {error}"))?;
            let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", include_str!("taint.py")]);
            with_policy(bench, POLICY, sandbox.layer(scratch.path()).options(["--trace"]), |sandbox| {
                let outcome = sandbox.run()?;
                outcome.exits(0)?.prints(
                    "before: ECONNREFUSED after: EPERM\nsent a part: True secrets: 0 again: EPERM\nmoved: EPERM\nchild: 1\n",
                )?;
                outcome
                    .complains("tainted: read \"/vault/secret\" [[[taint]] policy.toml:3: it knows]")?
                    .complains("[errno EPERM, [[taint]] policy.toml:3: it knows]")?
                    .done()
            })
        })
        .needs("python"),
        Case::new("calls that taint", |bench| {
            let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", include_str!("taint_calls.py")]);
            with_policy(bench, BY_CALLS, sandbox.options(["--trace"]), |sandbox| {
                let outcome = sandbox.run()?;
                outcome.exits(0)?.prints(BY_CALLS_FOUND)?;
                outcome
                    .complains("tainted: connect [[[taint]] policy.toml:7: far away]")?
                    .complains("tainted: mprotect [[[taint]] policy.toml:13: code]")?
                    .complains("[errno EXDEV, [[taint]] policy.toml:7: far away]")?
                    .done()
            })
        })
        .needs("python"),
        Case::new("taints beside Docker's profile", |bench| {
            let scratch = bench.fixture.scratch()?;
            let layer = scratch.path().join("layer");
            let policy = scratch.path().join("policy.toml");
            let prepared = fs::create_dir(&layer)
                .and_then(|()| fill(&layer))
                .and_then(|()| fs::copy(bench.setup.trees.join("profiles/docker.json"), scratch.path().join("docker.json")))
                .and_then(|_| fs::write(&policy, INCLUDES_DOCKER));
            prepared.map_err(|error| format!("the policy cannot be made: {error}"))?;
            let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", UNDER_DOCKER]).layer(&layer);
            let policy = policy.display().to_string();
            let outcome = sandbox.options(["--policy", policy.as_str()]).run()?;
            outcome.exits(0)?.prints("EPERM ECONNREFUSED ok\nEPERM EPERM ok\nok EXDEV EXDEV\n")?.done()
        })
        .needs("python")
        .needs("profiles"),
        Case::new("a taint stays when the policy changes", |bench| {
            let scratch = bench.fixture.scratch()?;
            fill(scratch.path()).map_err(|error| format!("the layer cannot be made: {error}"))?;
            let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", CONNECT_TWICE]).layer(scratch.path());
            let rule = "[[rule]]\ncalls = [\"getppid\"]\naction = { fake = 4242 }\n";
            let (other, changed) = (POLICY.replace("secret", "other"), POLICY.replace("it knows", "really") + rule);
            let run = Watched::start(bench, sandbox, POLICY)?.change(&[&other, &changed])?;
            run.says(&["before 1\n", "`paths`, `rights`, `calls` or `when` of a `[[taint]]` has changed", "policy 2 now\n", "after 1\n"])
        })
        .needs("python"),
    ]
}

fn every_way(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    fill(scratch.path()).map_err(|error| format!("the layer cannot be made: {error}"))?;
    // A sandbox each: what is tainted in one of them is not in the others.
    let script = |way: &str| format!("{way}; {CONNECT}");
    let [(first, _), others @ ..] = WAYS;
    let beside = others.iter().flat_map(|(way, _)| ["--beside".to_owned(), format!("busybox sh -c '{}'", script(way))]);
    let sandbox = bench.busybox(&["sh", "-c", &script(first)]).layer(scratch.path()).options(beside);
    with_policy(bench, POLICY, sandbox, |sandbox| {
        let outcome = sandbox.run()?;
        for (number, (_, tainted)) in (1..).zip(WAYS) {
            let why = if tainted { "Operation not permitted" } else { "Connection refused" };
            // The first sandbox has no label; it has said something before.
            let label = if number == 1 { "\n".to_owned() } else { format!("[{number}] ") };
            outcome.complains(&format!("{label}nc: can't connect to remote host (127.0.0.1): {why}"))?;
        }
        outcome.done()
    })
}

/// A layer with what taints.
fn fill(layer: &Path) -> io::Result<()> {
    let vault = layer.join("vault");
    fs::create_dir(&vault)?;
    fs::write(vault.join("other"), "nothing\n")?;
    fs::write(vault.join("secret"), "#!/bin/cat the combination is 1234\n")?;
    fs::set_permissions(vault.join("secret"), Permissions::from_mode(0o777))
}
