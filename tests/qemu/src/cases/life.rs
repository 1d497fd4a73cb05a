//! What policies do to a running sandbox beyond an error: ending a process, asking, another policy meanwhile.
use super::denials::with_policy;
use crate::Case;

/// What `refused.py` sets as a filter on plain Linux.
const REFUSED: &str = "version = 1
default = \"allow\"
[[rule]]
calls = [\"prctl\"]
when = [{ arg = 0, op = \"==\", value = 22 }]
action = { fake = 0 }
[[rule]]
calls = [\"getppid\"]
action = { kill = \"process\" }
reason = \"no parents\"
[[rule]]
calls = [\"getpgid\"]
action = { kill = \"thread\" }
[[rule]]
calls = [\"getsid\"]
action = \"trap\"
";

/// Ends who asks for a session.
const NO_SESSIONS: &str = "version = 1
default = \"allow\"
[[rule]]
calls = [\"getsid\"]
action = { kill = \"process\" }
reason = \"no sessions\"
";

/// Tests of it.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("life: who makes a refused call ends as under seccomp", |bench| {
            let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", include_str!("refused.py")]);
            with_policy(bench, REFUSED, sandbox, |sandbox| sandbox.same_as_here())
        })
        .needs("python"),
        Case::new("life: a shell goes on when its child is ended, and ends with its exit code", |bench| {
            let probe = bench.path_of_guest("probe");
            let script = format!("{probe} 124; echo $?; exec {probe} 124");
            with_policy(bench, NO_SESSIONS, bench.busybox(&["sh", "-c", &script, &probe]), |sandbox| {
                let outcome = sandbox.run()?;
                outcome
                    .exits(159)?
                    .prints("159\n")?
                    .complains("Bad system call")?
                    .says("program ended by SIGSYS (getsid(0): rule 1 policy.toml:3: no sessions)")?
                    .done()
            })
        }),
    ]
}
