//! `[[files]]`: rights on resolved paths, against a program that knows every way to a name.
use super::denials::with_policy;
use crate::{Bench, Case, Verdict};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const POLICY: &str = r#"version = 1
default = "allow"
[[files]]
paths = "/vault/secret"
rights = ["hide"]
reason = "nobody's business"
[[files]]
paths = "/vault/closed"
rights = []
[[files]]
paths = ["/vault/locked", "/vault/tool"]
rights = ["read"]
[[files]]
paths = "/tmp/**"
rights = ["read", "write", "create", "delete", "list"]
[[files]]
default = ["read", "execute", "list"]
"#;

/// What the program has to say, but for its last line.
const SAID: &str = "/vault/secret: ENOENT
stat /vault/secret: ENOENT
/tmp/link: ENOENT
stat /tmp/link: ENOENT
/tmp/folder/secret: ENOENT
stat /tmp/folder/secret: ENOENT
/tmp/../vault/./secret: ENOENT
stat /tmp/../vault/./secret: ENOENT
/proc/self/root/vault/secret: ENOENT
stat /proc/self/root/vault/secret: ENOENT
from its folder: ENOENT
by number: ENOENT
link: ENOENT
rename: ENOENT
rename the folder: EACCES
rename to it: EACCES
make it: EACCES
list: ['closed', 'locked', 'tool']
closed: EACCES
closed, by number: EACCES
closed, linked: EXDEV
closed, executed: EACCES
locked: locked
locked, written: EACCES
locked, cut: EACCES
locked, touched: EACCES
locked, replaced: EACCES
locked, removed: EACCES
locked, linked: EXDEV
locked, shown: b'locked'
locked, written to where it is shown: EACCES
tool: #!/usr/bin/python3

tool, executed: EACCES
own script, executed: EACCES
in /etc: EACCES
";

/// What the trace has to say, among other things.
const TOLD: [&str; 4] = [
    "files: look \"/vault/secret\" [errno ENOENT, files entry 1 policy.toml:3: nobody's business]",
    "files: read \"/vault/closed\" [errno EACCES, files entry 2 policy.toml:7]",
    "files: execute \"/vault/tool\" [errno EACCES, files entry 3 policy.toml:10]",
    "\"/tmp/hard\" from \"/vault/locked\" [errno EXDEV, files entry 4 policy.toml:13]",
];

/// Tests of rights on paths.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("rights on paths hold for every way to a name", every_way).needs("python"),
        Case::new("a run says how many uses of files its policy has refused", |bench| {
            let policy = "version = 1\ndefault = \"allow\"\n[[files]]\npaths = \"**/fruit\"\nrights = []\n[[files]]\ndefault = [\"read\", \"execute\", \"list\"]\n";
            with_policy(bench, policy, bench.busybox(&["cat", "fruit"]).options(["--stats"]), |sandbox| {
                sandbox
                    .run()?
                    .exits(1)?
                    .says(" 0 denied, 0 killed, 0 not carried out, 1 use of files refused, ")?
                    .done()
            })
        }),
        Case::new("rights on paths are told and not enforced in a dry run", |bench| {
            let policy = "version = 1\ndefault = \"allow\"\n[[files]]\ndefault = []\nreason = \"why\"\n";
            with_policy(bench, policy, bench.busybox(&["cat", "fruit"]).options(["--dry-run"]), |sandbox| {
                let outcome = sandbox.run()?;
                outcome.exits(0)?.prints("pear 3\napple 10\nfig 7\napple 2\n")?;
                outcome.complains("/fruit\" [not done: errno EACCES, files default policy.toml:3: why]")?.done()
            })
        }),
    ]
}

fn every_way(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    fill(&scratch.path().join("vault")).map_err(|error| format!("the layer cannot be made: {error}"))?;
    let tries = if bench.setup.all { "100000" } else { "300" };
    let program = include_str!("file_rules.py");
    let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", program, tries]).layer(scratch.path());
    with_policy(bench, POLICY, sandbox.options(["--timeout", "7000"]).limit(super::races::LIMIT), |sandbox| {
        let said = format!("{SAID}secrets: 0 - both outcomes: True\n");
        let outcome = sandbox.options(["--trace"]).run()?;
        outcome.exits(0)?.prints(&said)?;
        for told in TOLD {
            outcome.complains(told)?;
        }
        outcome.done()
    })
}

/// A layer with things to keep.
fn fill(vault: &Path) -> io::Result<()> {
    fs::create_dir(vault)?;
    for (name, text) in [
        ("secret", "secret"),
        ("closed", "#!/usr/bin/python3\n"),
        ("locked", "locked"),
        ("tool", "#!/usr/bin/python3\n"),
    ] {
        fs::write(vault.join(name), text)?;
        fs::set_permissions(vault.join(name), Permissions::from_mode(0o777))?;
    }
    Ok(())
}
