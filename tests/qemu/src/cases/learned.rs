//! Policies that are learned from a run: the same run under them goes as it went, and what reaches for more is refused.
use super::denials::with_policy;
use crate::{Bench, Case, Sandbox, Verdict};
use std::fs;

/// Makes a file with another name each time, renames files and a folder, reads and lists, and keeps a database.
const PYTHON: &str = "
import json, os, sqlite3, tempfile
with tempfile.NamedTemporaryFile(delete=False) as file: file.write(b'x')
os.rename(file.name, '/tmp/y')
os.mkdir('/tmp/d')
with open('/tmp/d/f', 'w') as file: file.write('1')
os.rename('/tmp/d', '/tmp/e')
os.link('/tmp/y', '/srv/z')
print(open('/tmp/e/f').read(), open('/srv/z').read(), len(os.listdir('/etc')), json.dumps(open('/etc/group').read()[:4]))
base = sqlite3.connect('/tmp/base')
base.execute('create table t(a)')
base.execute('insert into t values (3)')
base.commit()
print(base.execute('select * from t').fetchall())
";

/// A repository with commits, packed, and a clone of it.
const GIT: &str = "export HOME=/tmp; git init -q r; cd r; git config user.email a@b; git config user.name n
echo 1 >a; git add a; git commit -qm x; git gc -q; git clone -q . ../c; ls ../c; git log --oneline | wc -l";

const BUSYBOX: &str = "wc -l </etc/passwd; ls /usr/bin | wc -l; echo x >/tmp/a.$$; mv /tmp/a.$$ /etc/out; cat /etc/out; mkdir -p /tmp; rmdir /etc";

/// Tests of learned policies.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("a learned policy has the paths of python3's run, and no others", |bench| {
            goes_again(bench.in_tree("python", ["/usr/bin/python3", "-c", PYTHON]), bench)?;
            let learned = learned(&bench.in_tree("python", ["/usr/bin/python3", "-c", "print(1)"]), bench)?;
            let other = ["/usr/bin/python3", "-c", "print(1); open('/etc/passwd')"];
            with_policy(bench, &learned, bench.in_tree("python", other), |sandbox| {
                let outcome = sandbox.run()?;
                outcome
                    .exits(1)?
                    .prints("1\n")?
                    .complains("PermissionError: [Errno 13] Permission denied: '/etc/passwd'")?
                    .done()
            })
        })
        .needs("python"),
        Case::new("a learned policy has the paths of git's run", |bench| {
            goes_again(bench.in_tree("git", ["/usr/bin/dash", "-c", GIT]), bench)
        })
        .needs("git"),
        Case::new("a learned policy has the paths of busybox' run", |bench| {
            goes_again(bench.in_tree("shell", ["/usr/bin/busybox", "sh", "-c", BUSYBOX]), bench)
        })
        .needs("shell"),
    ]
}

/// The policy that is learned from a run.
fn learned(sandbox: &Sandbox, bench: &Bench<'_>) -> Result<String, String> {
    let scratch = bench.fixture.scratch()?;
    let file = scratch.path().join("learned.toml");
    let outcome = sandbox.clone().options(["--learn".as_ref(), file.as_os_str()]).run()?;
    outcome.says("different calls of this run, and what it did with")?;
    fs::read_to_string(&file).map_err(|error| error.to_string())
}

/// Under what was learned of it, the program does the same, and nothing is refused.
fn goes_again(sandbox: Sandbox, bench: &Bench<'_>) -> Verdict {
    let before = sandbox.run()?;
    let learned = learned(&sandbox, bench)?;
    with_policy(bench, &learned, sandbox.options(["--trace"]), |sandbox| {
        let outcome = sandbox.run()?;
        outcome.exits(before.code)?.prints(&String::from_utf8_lossy(&before.stdout))?.says(" 0 denied, 0 killed")?;
        let refused = outcome.stderr.lines().find(|line| line.contains(" files: "));
        match refused {
            Some(line) => Err(format!("refused: {line}; the policy is\n{learned}")),
            None => Ok(()),
        }
    })
}
