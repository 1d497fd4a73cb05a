//! What a policy denies: the program sees the error, or ends with the code for it.
use crate::{Bench, Case, Sandbox};
use std::fs;

/// Tests of denials.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("a denied open in busybox's words", |bench| {
            // The dynamic linker opens with O_CLOEXEC, busybox without.
            let policy = "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"openat\"]\nwhen = [{ arg = 2, op = \"==\", value = 0 }]\naction = { errno = \"EPERM\" }\n";
            with_policy(bench, policy, bench.busybox(&["cat", "fruit"]), |sandbox| {
                sandbox.run()?.exits(1)?.complains("cat: can't open 'fruit': Operation not permitted")?.done()
            })
        }),
        Case::new("an errno rule", |bench| {
            let policy =
                "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"getppid\"]\naction = { errno = \"EXDEV\" }\n";
            with_policy(bench, policy, bench.guest("probe", &["110"]), |sandbox| {
                sandbox.run()?.exits(0)?.prints("-18\n")?.done()
            })
        }),
        Case::new("a kill rule", |bench| {
            let policy = "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"getppid\"]\naction = \"kill\"\nreason = \"nobody asks\"\n";
            with_policy(bench, policy, bench.guest("probe", &["110"]), |sandbox| {
                sandbox.run()?.exits(120)?.prints("")?.says("killed by policy: getppid")?.done()
            })
        }),
        Case::new("a comparison of an argument", |bench| {
            let policy = "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"getpgid\"]\nwhen = [{ arg = 0, op = \"==\", value = 7 }]\naction = { errno = \"EACCES\" }\n";
            with_policy(bench, policy, bench.guest("probe", &["121", "7"]), |sandbox| {
                sandbox.run()?.exits(0)?.prints("-13\n")?.done()
            })?;
            with_policy(bench, policy, bench.guest("probe", &["121", "0"]), |sandbox| {
                let outcome = sandbox.run()?;
                outcome.exits(0)?.wants(outcome.stdout != b"-13\n", "another answer than -13")?.done()
            })
        }),
        Case::new("an unknown call is denied by the default policy", |bench| {
            bench.guest("probe", &["9999"]).run()?.exits(0)?.prints("-1\n")?.done()
        }),
        Case::new("sysenter is judged as a call", |bench| other_entry(bench, "sysenter", 132)),
        Case::new("int 0x80 is judged as a call", |bench| other_entry(bench, "int80", 139)),
        Case::new("denied calls are counted and traced with their rule", |bench| {
            let policy =
                "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"getppid\"]\naction = { errno = \"EPERM\" }\n";
            with_policy(bench, policy, bench.guest("probe", &["110"]).options(["--trace"]), |sandbox| {
                let outcome = sandbox.run()?;
                outcome.exits(0)?.complains("getppid(")?.complains("rule 1")?.says("1 denied")?.done()
            })
        }),
    ]
}

/// A system call by another instruction than `syscall`: it goes through the gate like any other, and ends as on a kernel
/// without 32-bit calls.
fn other_entry(bench: &Bench<'_>, kind: &str, code: i32) -> crate::Verdict {
    let outcome = bench.guest("fault", &[kind]).options(["--trace"]).run()?;
    outcome.exits(code)?.complains("i386:")?.says("1 calls")?.done()
}

/// Runs a test with a policy of its own.
fn with_policy(
    bench: &Bench<'_>,
    text: &str,
    sandbox: Sandbox,
    test: impl FnOnce(Sandbox) -> crate::Verdict,
) -> crate::Verdict {
    let scratch = bench.fixture.scratch()?;
    let file = scratch.path().join("policy.toml");
    fs::write(&file, text).map_err(|e| e.to_string())?;
    test(sandbox.options(["--policy".as_ref(), file.as_os_str()]))
}
