//! Paths that a policy replaces by others, in Debian's programs.
use super::denials::with_policy;
use crate::{Bench, Case, Verdict};
use std::fs;

/// Other files for some names, whatever they are asked for.
const POLICY: &str = r#"version = 1
default = "allow"
[[rule]]
calls = ["openat", "newfstatat", "statx"]
when = [{ arg = 1, path = ["/srv/passwd", "passwd"] }]
action = { rewrite = [{ arg = 1, path = "/srv/fake/passwd" }] }
reason = "not for everybody"
[[rule]]
calls = ["execve"]
when = [{ arg = 0, path = "/usr/bin/false" }]
action = { rewrite = [{ arg = 0, path = "/usr/bin/true" }] }
[[rule]]
calls = ["rename"]
when = [{ arg = 0, path = "from" }]
action = { rewrite = [{ arg = 1, path = "/tmp/there" }] }
"#;

/// Rights on what is in the place of the program's path.
const HIDDEN: &str = r#"[[files]]
paths = "/srv/fake/*"
rights = ["hide"]
[[files]]
default = ["read", "execute", "list"]
"#;

/// The program opens, looks at and runs what it names, and what it gets instead.
const PROGRAM: &str =
    "cat /srv/passwd; cd /srv; cat passwd; cat ./passwd; stat -c %s /srv/passwd; /usr/bin/false; echo $?";

/// Tests of paths that are replaced.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("a rewritten path is what is opened, looked at and run", carried_out).needs("shell"),
        Case::new("a rewritten path has the rights of where it leads", |bench| {
            let scratch = files(bench)?;
            let sandbox = bench.in_tree("shell", ["cat", "/srv/passwd"]).layer(scratch.path()).options(["--trace"]);
            with_policy(bench, &format!("{POLICY}{HIDDEN}"), sandbox, |sandbox| {
                let outcome = sandbox.run()?;
                outcome.exits(1)?.prints("")?.complains("openat(AT_FDCWD, \"/srv/passwd\", O_RDONLY) = -1 ENOENT")?;
                outcome
                    .complains("files: look \"/srv/fake/passwd\" [errno ENOENT, files entry 1 policy.toml:16]")?
                    .done()
            })
        })
        .needs("shell"),
    ]
}

/// A layer with a file, and with another one for its place.
fn files(bench: &Bench<'_>) -> Result<tempfile::TempDir, String> {
    let scratch = bench.fixture.scratch()?;
    let made = fs::create_dir_all(scratch.path().join("srv/fake"))
        .and_then(|()| fs::write(scratch.path().join("srv/passwd"), "the real one\n"))
        .and_then(|()| fs::write(scratch.path().join("srv/fake/passwd"), "another\n"));
    made.map_err(|error| format!("the layer cannot be made: {error}"))?;
    Ok(scratch)
}

fn carried_out(bench: &Bench<'_>) -> Verdict {
    let scratch = files(bench)?;
    let sandbox = || bench.in_tree("shell", ["dash", "-c", PROGRAM]).layer(scratch.path()).options(["--trace"]);
    with_policy(bench, POLICY, sandbox(), |sandbox| {
        let outcome = sandbox.run()?;
        // `./passwd` is another text, which the rules do not name.
        outcome.exits(0)?.prints("another\nanother\nthe real one\n8\n0\n")?;
        outcome.complains("openat(AT_FDCWD, \"/srv/passwd\", O_RDONLY) = 3 [rewrite pathname := \"/srv/fake/passwd\", rule 1 policy.toml:3: not for everybody]")?;
        outcome.complains("execve(\"/usr/bin/false\"")?.done()
    })?;
    // Of two paths one, where a program passes the same text for both.
    let program =
        "import os; os.chdir('/tmp'); open('from', 'w'); p = b'from'; os.rename(p, p); print(os.listdir('.'))";
    let python = bench.in_tree("python", ["/usr/bin/python3", "-c", program]);
    with_policy(bench, POLICY, python, |sandbox| sandbox.run()?.exits(0)?.prints("['there']\n")?.done())
}
