//! Races for what a policy judges (tests/guests: `flip`): a second thread changes it meanwhile, as fast as it can. With `--all` a million tries.
use super::denials::with_policy;
use super::network::NO_TEXT;
use crate::{Bench, Case, Sandbox, Verdict};
use std::time::Duration;

/// How long a million tries may take.
pub(super) const LIMIT: Duration = Duration::from_secs(7200);

/// Denies what `flip N` and `flip pipe` must not open.
const NO_SECRET: &str = "version = 1
default = \"allow\"
[[rule]]
calls = [\"open\"]
when = [{ arg = 0, path = \"secret\" }]
action = { errno = \"EACCES\" }
[[rule]]
calls = [\"openat\"]
when = [{ arg = 1, path = \"secret\" }]
action = { errno = \"EACCES\" }
";

/// Has another file opened in the place of what `flip rewritten N` must not open.
const REWRITTEN: &str = r#"version = 1
default = "allow"
[[rule]]
calls = ["open"]
when = [{ arg = 0, path = "secret" }]
action = { rewrite = [{ arg = 0, path = "/tmp/instead" }] }
[[rule]]
calls = ["openat"]
when = [{ arg = 1, path = "secret" }]
action = { rewrite = [{ arg = 1, path = "/tmp/instead" }] }
"#;

/// Denies where `flip address N` and `flip message N` must not send to.
const NO_7002: &str = "version = 1
default = \"allow\"
[[rule]]
calls = [\"sendto\", \"sendmsg\"]
when = [{ address = \"127.0.0.1:7002\" }]
action = { errno = \"EACCES\" }
";

/// Denies what `flip sends` must not send.
const NO_SECRET_MAIL: &str = r#"version = 1
default = "allow"
[[rule]]
calls = ["sendto", "sendmsg"]
when = [{ address = "unix:b" }]
action = { errno = "EACCES" }
[[rule]]
calls = ["sendto", "sendmsg", "write"]
when = [{ contains = "secret" }]
action = { errno = "EACCES" }
"#;

/// Denies what `flip structure N` must not do.
const NO_WRITING: &str = r#"version = 1
default = "allow"
[[rule]]
calls = ["openat2"]
when = [{ arg = "how.flags", op = "masked_eq", mask = "O_ACCMODE", value = "O_WRONLY" }]
action = { errno = "EACCES" }
[[rule]]
calls = ["prlimit64"]
when = [{ arg = "new_limit.rlim_cur", op = "==", value = 99 }]
action = { errno = "EACCES" }
"#;

/// Tests of races.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("a path that changes while it is judged", |bench| {
            with_policy(bench, NO_SECRET, bench.guest("flip", &["pipe"]), |sandbox| {
                sandbox
                    .run()?
                    .exits(0)?
                    .prints("opened after the exchange: Some(0), with a writer: Some(true)\n")?
                    .done()
            })?;
            let tries = tries(bench);
            race(bench, NO_SECRET, bench.guest("flip", &[tries]), &[&said(tries, "opened the secret file")])
        }),
        Case::new("a path that changes while it is rewritten", |bench| {
            let tries = tries(bench);
            let sandbox = bench.guest("flip", &["rewritten", tries]);
            race(bench, REWRITTEN, sandbox, &[&said(tries, "opened the secret file")])
        }),
        Case::new("an address that changes while it is judged", |bench| {
            let tries = tries(bench);
            let beside = format!("{} message {tries}", bench.path_of_guest("flip"));
            let sandbox = bench.guest("flip", &["address", tries]).options(["--beside", &beside]);
            let said = said(tries, "reached the forbidden port or none");
            race(bench, NO_7002, sandbox, &[&said, &said])
        }),
        Case::new("a structure that changes while it is judged", |bench| {
            with_policy(bench, NO_WRITING, bench.guest("flip", &["held"]), |sandbox| {
                let said = "opened to read after the exchange: Some(true), with a writer: Some(true)\n";
                sandbox.run()?.exits(0)?.prints(said)?.done()
            })?;
            let tries = tries(bench);
            let sandbox = bench.guest("flip", &["structure", tries]);
            race(bench, NO_WRITING, sandbox, &[&said(tries, "did what was denied")])
        }),
        Case::new("what is sent when there is room for it is what was judged", |bench| {
            with_policy(bench, NO_SECRET_MAIL, bench.guest("flip", &["sends"]), |sandbox| {
                let said = ["sendto", "sendmsg", "write"]
                    .map(|call| format!("{call} after the exchange: judged, elsewhere: false\n"));
                sandbox.run()?.exits(0)?.prints(&said.concat())?.done()
            })
        }),
        Case::new("a text that changes while it is judged", |bench| {
            let tries = tries(bench);
            let sandbox = bench.guest("flip", &["content", tries]);
            race(bench, NO_TEXT, sandbox, &[&said(tries, "wrote what was not judged")])
        }),
    ]
}

/// How many tries there are.
fn tries(bench: &Bench<'_>) -> &'static str {
    if bench.setup.all { "1000000" } else { "5000" }
}

/// What the program says if none of them did this.
fn said(tries: &str, wrong: &str) -> String {
    format!("{tries} tries: 0 {wrong}; both outcomes: true\n")
}

/// Runs the program, or two side by side, and wants each to say this.
fn race(bench: &Bench<'_>, policy: &str, sandbox: Sandbox, said: &[&str]) -> Verdict {
    with_policy(bench, policy, sandbox.limit(LIMIT), |sandbox| sandbox.run()?.exits(0)?.prints_by_sandbox(said)?.done())
}
