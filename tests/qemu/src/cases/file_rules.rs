//! `[[files]]`: rights on resolved paths, against a program that knows every way to a name.
use super::denials::with_policy;
use crate::{Bench, Case, Verdict};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// Longest time for one run.
const LIMIT: Duration = Duration::from_secs(7200);

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

/// Tests of rights on paths.
pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("rights on paths hold for every way to a name", every_way).needs("python")]
}

fn every_way(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    fill(&scratch.path().join("vault")).map_err(|error| format!("the layer cannot be made: {error}"))?;
    let tries = if bench.setup.all { "100000" } else { "300" };
    let program = include_str!("file_rules.py");
    let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", program, tries]).layer(scratch.path());
    with_policy(bench, POLICY, sandbox.options(["--timeout", "7000"]).limit(LIMIT), |sandbox| {
        let said = format!("{SAID}secrets: 0 - both outcomes: True\n");
        sandbox.run()?.exits(0)?.prints(&said)?.done()
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
