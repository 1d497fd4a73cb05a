//! Policies on socket addresses, and on what is written.
use super::denials::with_policy;
use crate::Case;

/// A policy for `network.py`. The name is in every `/etc/hosts`.
const LISTS: &str = "version = 1
default = \"allow\"
[network]
connect = [\"localhost:8000\"]
bind = [\"127.0.0.0/8:8000-8003\", \"unix:/tmp/allowed\", \"unix:@na*\"]
listen = [\"127.0.0.1:8000-8002\"]
";

/// What `network.py` says under it.
const FOUND: &str = "connect ok
over an allowed connection
connect, written as IPv6 ok
connect to every host ok
connect elsewhere Permission denied
listen ok
bind only Permission denied
bind elsewhere Permission denied
listen unbound Permission denied
bind unix ok
bind unix elsewhere Permission denied
bind unix by a detour Permission denied
bind abstract ok
connect abstract Permission denied
sendto ok
sendto elsewhere Permission denied
sendmsg elsewhere Permission denied
sendmmsg 1 Permission denied
socketpair ok
";

/// A policy for a program whose lines are judged, and for one that changes them meanwhile.
pub(super) const NO_TEXT: &str = "version = 1
default = \"allow\"
[[rule]]
calls = [\"write\", \"writev\", \"sendto\", \"sendmsg\"]
when = [{ contains = [\"secret\", \"PRIVATE KEY\"] }]
action = { errno = \"EACCES\" }
";

/// Writes lines, one of which is denied, and more at once than is judged at once.
const WRITE_LINES: &str = "echo fine; echo a PRIVATE KEY; busybox dd if=/dev/zero of=/tmp/zeros bs=10000 count=1 2> /dev/null; busybox wc -c < /tmp/zeros";

/// The tests.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("a network of listed addresses: python3", |bench| {
            let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", include_str!("network.py")]);
            with_policy(bench, LISTS, sandbox.options(["--trace"]), |sandbox| {
                sandbox
                    .run()?
                    .exits(0)?
                    .prints(FOUND)?
                    .complains("\"127.0.0.1:8001\", 16) = -1 EACCES (Permission denied) [errno EACCES, [network] policy.toml:3]")?
                    .done()
            })
        })
        .needs("python"),
        Case::new("a text that is judged", |bench| {
            with_policy(bench, NO_TEXT, bench.busybox(&["sh", "-c", WRITE_LINES]), |sandbox| {
                sandbox.run()?.exits(0)?.prints("fine\n10000\n")?.complains("write error: Permission denied")?.done()
            })
        }),
    ]
}
