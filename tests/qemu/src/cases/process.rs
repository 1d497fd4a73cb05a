//! What a policy says of the process, item by item, as Debian's own programs see it.
use super::denials::with_policy;
use crate::{Bench, Case, Sandbox, Verdict};
use serde_json::json;
use std::fs;

/// Tests of `[process]`, `[root]` and `[[bind]]`.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("process: variables that are set, left out, passed on and allowed", variables).needs("shell"),
        Case::new("process: arguments are what is run if nothing is named", |bench| {
            let policy = section("args = [\"/bin/echo\", \"of the policy\", \"\"]");
            let nothing: [&str; 0] = [];
            with_policy(bench, &policy, bench.in_tree("shell", nothing), |sandbox| {
                sandbox.run()?.exits(0)?.prints("of the policy \n")?.done()
            })?;
            with_policy(bench, &policy, bench.in_tree("shell", ["/bin/echo", "of the line"]), |sandbox| {
                sandbox.run()?.exits(0)?.prints("of the line\n")?.done()
            })
        })
        .needs("shell"),
        Case::new("process: a working directory that is made, and one that cannot be", directories).needs("shell"),
        Case::new("process: clocks that go before and after", clocks).needs("shell"),
        Case::new("process: users and groups", |bench| {
            let policy = section("uid = 4294967294\ngid = 50\ngroups = [9, 4]");
            with_policy(bench, &policy, bench.in_tree("shell", ["/bin/sh", "-c", WHO]), |sandbox| {
                let printed = "4294967294 50 4294967294 50\n50 4 9\nOperation not permitted\n";
                sandbox.run()?.exits(0)?.prints(printed)?.done()
            })
        })
        .needs("shell"),
        Case::new("process: folders of the host are listed as mounted", mounted).needs("shell"),
        Case::new("process: all of it in a config.json", config).needs("shell"),
    ]
}

/// Who the program is, in four ways, and whether it can become somebody else.
const WHO: &str = "stat -c '%u %g' /proc/self | tr '\\n' ' '; id -u | tr '\\n' ' '; id -g; id -G; \
    chown 0 /tmp 2>&1 | sed 's/.*: //'";

/// A program of Debian's, whose command line says nothing else.
fn plain(bench: &Bench<'_>, command: &[&str]) -> Sandbox {
    bench.sandbox(command).layer(&bench.setup.trees.join("shell"))
}

fn section(text: &str) -> String {
    format!("version = 1\ndefault = \"allow\"\n[process]\n{text}\n")
}

fn variables(bench: &Bench<'_>) -> Verdict {
    let env = "env = { set = { SET = \"1\", A_KEY = \"set\" }, unset = [\"*_KEY\", \"TERM\", \"Q_ALL\"], pass = [\"Q_*\", \"GIT_*_NAME\", \"*_KEY2\"], allow = [\"GIVEN\"] }";
    let sandbox = || plain(bench, &["/usr/bin/env"]);
    with_policy(bench, &section(env), sandbox().options(["--env", "GIVEN=2"]), |sandbox| {
        let mut run = sandbox.command_inside();
        run.envs([("Q_TIME", "C"), ("Q_ALL", "C"), ("GIT_AUTHOR_NAME", "me=you"), ("GIT_NAME", "x"), ("B_KEY", "x")]);
        let outcome = sandbox.finish(run)?;
        let printed = String::from_utf8_lossy(&outcome.stdout).into_owned();
        let mut lines: Vec<&str> = printed.lines().collect();
        lines.sort_unstable();
        let expected = ["A_KEY=set", "GIT_AUTHOR_NAME=me=you", "GIVEN=2", "Q_TIME=C", "SET=1"];
        outcome.exits(0)?.wants(lines == expected, &format!("{expected:?}"))?.done()
    })?;
    for (pair, why) in [
        ("B_KEY=1", "--env B_KEY: the variable is left out by policy.toml:4"),
        ("SET=2", "--env SET: its value is \"1\" by policy.toml:4"),
        ("HOME=/", "--env HOME: the variable is not allowed by policy.toml:4"),
    ] {
        with_policy(bench, &section(env), sandbox().options(["--env", pair]), |sandbox| {
            sandbox.run()?.exits(2)?.prints("")?.says(why)?.done()
        })?;
    }
    Ok(())
}

fn directories(bench: &Bench<'_>) -> Verdict {
    let sandbox = || plain(bench, &["/bin/sh", "-c", "pwd; stat -c %a:%F ."]);
    for (stated, printed) in [("/srv/a/b c", "/srv/a/b c\n755:directory\n"), ("/proc", "/proc\n555:directory\n")] {
        with_policy(bench, &section(&format!("cwd = \"{stated}\"")), sandbox(), |sandbox| {
            sandbox.run()?.exits(0)?.prints(printed)?.done()
        })?;
    }
    with_policy(bench, &section("cwd = \"/etc/passwd/x\""), sandbox(), |sandbox| {
        let why = "policy.toml:4: the working directory /etc/passwd/x: a part of its path is no directory";
        sandbox.run()?.exits(2)?.prints("")?.says(why)?.done()
    })
}

fn clocks(bench: &Bench<'_>) -> Verdict {
    let date = |format: &str| bench.in_tree("shell", ["/bin/date", "-u", format]);
    let year = |offset: &str| {
        let mut year = String::new();
        with_policy(bench, &section(&format!("clock = {{ offset = \"{offset}\" }}")), date("+%Y"), |sandbox| {
            let outcome = sandbox.run()?;
            year = String::from_utf8_lossy(&outcome.stdout).trim().to_owned();
            outcome.exits(0)?.done()
        })?;
        year.parse::<i64>().map_err(|error| format!("{error}: {year}"))
    };
    let (now, before, after) = (year("0s")?, year("-10957d")?, year("36500d")?);
    // Thirty years, and a hundred but for leap days.
    let near = |offset: i64, shown: i64| (offset - 1..=offset + 1).contains(&(shown - now));
    if !near(-30, before) || !near(100, after) {
        return Err(format!("the years are {before}, {now}, {after}"));
    }
    with_policy(bench, &section("clock = { offset = \"-3000w\" }"), date("+%Y"), |sandbox| {
        sandbox.run()?.exits(2)?.prints("")?.says("policy.toml:4: the clock would stand before 1970")?.done()
    })
}

fn mounted(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let mut policy = "version = 1\ndefault = \"allow\"\n".to_owned();
    for mode in ["ro", "cow", "rw"] {
        let host = scratch.path().join(mode);
        fs::create_dir(&host).map_err(|error| error.to_string())?;
        fs::write(host.join("hidden"), "").map_err(|error| error.to_string())?;
        policy += &format!(
            "[[bind]]\nhost = {:?}\nat = \"/mnt/{mode} x\"\nmode = \"{mode}\"\nexcept = [\"hidden\"]\n",
            host.display().to_string()
        );
    }
    let script = "grep ' 9p ' /proc/mounts; grep -c ' 9p ' /proc/self/mountinfo; \
        for mode in ro cow rw; do (echo x >\"/mnt/$mode x/new\") 2>/dev/null || echo $mode; done; ls /mnt/*";
    let printed = "host /mnt/ro\\040x 9p ro,nosuid,nodev,relatime 0 0\nhost /mnt/cow\\040x 9p rw,nosuid,nodev,relatime 0 0\n\
        host /mnt/rw\\040x 9p rw,nosuid,nodev,relatime 0 0\n3\nro\n/mnt/cow x:\nnew\n\n/mnt/ro x:\n\n/mnt/rw x:\nnew\n";
    with_policy(bench, &policy, bench.in_tree("shell", ["/bin/sh", "-c", script]), |sandbox| {
        sandbox.run()?.exits(0)?.prints(printed)?.done()
    })?;
    let on_host = ["ro", "cow", "rw"].map(|mode| scratch.path().join(mode).join("new").exists());
    if on_host == [false, false, true] { Ok(()) } else { Err(format!("new files on the host: {on_host:?}")) }
}

/// What a `config.json` says is what the program is, but for the order of its variables.
fn config(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let script = "id -u; id -g; id -G; umask; pwd; uname -n; cat /proc/sys/kernel/domainname; ulimit -Sn; ulimit -Hn; ulimit -c; \
        env | sort; grep ' 9p ' /proc/mounts; (echo >/etc/x) 2>&1 | sed 's/.*: //'; echo >/run/x && ls /run";
    let text = json!({
        "ociVersion": "1.0.2",
        "process": {
            "args": ["/bin/sh", "-c", script],
            "cwd": "/srv/none",
            "env": ["A=1", "PATH=/bin:/usr/bin", "A=2=3", "B="],
            "user": {"uid": 0, "gid": 6, "umask": 63, "additionalGids": [9, 8]},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 100}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
        },
        "root": {"path": bench.setup.trees.join("shell"), "readonly": true},
        "hostname": "box",
        "domainname": "example.org",
        "mounts": [
            {"destination": "/run", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/data", "type": "bind", "source": ".", "options": ["ro"]}
        ]
    });
    fs::write(scratch.path().join("config.json"), text.to_string()).map_err(|error| error.to_string())?;
    let nothing: [&str; 0] = [];
    let policy = scratch.path().display().to_string();
    let printed = "0\n6\n6 8 9\n0077\n/srv/none\nbox\nexample.org\n99\n100\n0\nA=2=3\nB=\nPATH=/bin:/usr/bin\nPWD=/srv/none\n\
        host /data 9p ro,nosuid,nodev,relatime 0 0\nPermission denied\nx\n";
    bench.sandbox(nothing).options(["--policy", &policy]).run()?.exits(0)?.prints(printed)?.done()
}
