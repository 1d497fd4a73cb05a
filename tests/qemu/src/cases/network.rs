//! Policies on socket addresses.
use super::denials::with_policy;
use crate::Case;
use std::time::Duration;

/// How long a million tries may take.
const FLIPPING: Duration = Duration::from_secs(7200);

/// A policy for `flip address` and `flip message`.
const NO_7002: &str = "version = 1
default = \"allow\"
[[rule]]
calls = [\"sendto\", \"sendmsg\"]
when = [{ address = \"127.0.0.1:7002\" }]
action = { errno = \"EACCES\" }
";

/// The tests.
pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("an address that changes while it is judged", |bench| {
        let tries = if bench.setup.all { "1000000" } else { "3000" };
        let beside = format!("{} message {tries}", bench.fixture.guest("flip"));
        let sandbox = bench.guest("flip", &["address", tries]).options(["--beside", &beside]).limit(FLIPPING);
        with_policy(bench, NO_7002, sandbox, |sandbox| {
            let said = format!("{tries} datagrams: 0 to the forbidden port; both outcomes: true\n");
            sandbox.run()?.exits(0)?.prints_somewhere(&said)?.prints_somewhere(&format!("[2] {said}"))?.done()
        })
    })]
}
