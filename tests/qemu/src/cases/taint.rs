//! `[[taint]]`: calls that are denied once a file was read, against programs that know every way to a file and to a socket.
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
        Case::new("a taint stays when the policy changes", |bench| {
            let scratch = bench.fixture.scratch()?;
            fill(scratch.path()).map_err(|error| format!("the layer cannot be made: {error}"))?;
            let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", CONNECT_TWICE]).layer(scratch.path());
            let rule = "[[rule]]\ncalls = [\"getppid\"]\naction = { fake = 4242 }\n";
            let (other, changed) = (POLICY.replace("secret", "other"), POLICY.replace("it knows", "really") + rule);
            let run = Watched::start(bench, sandbox, POLICY)?.change(&[&other, &changed])?;
            run.says(&["before 1\n", "`paths` or `rights` of a `[[taint]]` has changed", "policy 2 now\n", "after 1\n"])
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
