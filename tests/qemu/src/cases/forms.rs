//! What a policy is made of beside rules: other files, and what is said about the program's process.
use crate::{Bench, Case, Verdict};
use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tests of the forms of a policy.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("a policy of several files", several_files),
        Case::new("a process as the policy says it", process),
        Case::new("an OCI bundle whose config.json crun has written", bundle).needs("crun"),
        Case::new("a command line that asks for another process than the policy says", contradiction),
    ]
}

/// What a policy says of the process. The program is the policy's, too.
const PROCESS: &str = "version = 1
default = \"allow\"
[process]
args = [\"BUSYBOX\", \"sh\", \"-c\", \"B=BUSYBOX; $B id -u; $B id -g; $B id -G; umask; $B hostname; $B cat /proc/sys/kernel/domainname; pwd; ulimit -Sn; ulimit -Hn; ulimit -n 4000; $B grep NoNew /proc/self/status; $B env; $B date +%s\"]
cwd = \"/srv/none\"
uid = 1000
gid = 100
groups = [24, 4]
umask = 0o027
hostname = \"box\"
domainname = \"example.org\"
no_new_privileges = true
clock = { offset = \"-365d\" }
rlimit = { nofile = [256, 2048] }
env = { set = { SET = \"1\" }, unset = [\"HOME\"] }
";

/// What its program prints, but for the time.
const PRINTED: &str = "1000\n100\n100 4 24\n0027\nbox\nexample.org\n/srv/none\n256\n2048\nNoNewPrivs:\t1\n";

/// Programs see what the policy says: Debian's busybox, whose applets are asked.
fn process(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let policy = scratch.path().join("p.toml");
    fs::write(&policy, PROCESS.replace("BUSYBOX", &bench.path_of_busybox())).map_err(|error| error.to_string())?;
    let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).map(|now| now.as_secs()).map_err(|e| e.to_string());
    let before = seconds()?;
    let nothing: [&str; 0] = [];
    let outcome =
        bench.sandbox(nothing).options(["--policy", &policy.display().to_string(), "--env", "ADDED=2"]).run()?;
    let printed = String::from_utf8_lossy(&outcome.stdout).into_owned();
    let (settings, rest) = printed.split_at(printed.len().min(PRINTED.len()));
    let time = rest.lines().last().and_then(|line| line.parse::<u64>().ok()).unwrap_or(0) + 365 * 24 * 3600;
    let year = (before..=seconds()? + 1).contains(&time);
    let outcome = outcome.exits(0)?.wants(settings == PRINTED, PRINTED)?.wants(year, "the time of a year ago")?;
    let has = |line: &str| rest.lines().any(|known| known == line);
    outcome.wants(has("SET=1") && has("ADDED=2") && !rest.contains("HOME="), "the policy's environment")?.done()
}

/// What the program of the bundle does.
const BUNDLED: &str = "busybox hostname; busybox id -u; ulimit -n; busybox cat /data/file; busybox grep NoNew /proc/self/status; \
                       for file in /data/new /etc/new /etc/note; do echo x 2>/dev/null >$file || echo refused; done; \
                       echo x >/run/new && busybox cat /etc/note /run/new; busybox cat /etc/gai.conf 2>/dev/null || echo masked; busybox env";

/// The configuration that Debian's crun writes, with a program, a root and a folder; and what of it does not apply.
fn bundle(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let (directory, tree) = (scratch.path(), bench.setup.trees.join("crun"));
    // The tree's own loader, as this machine need not have crun's libraries.
    let written = Command::new(tree.join("lib64/ld-linux-x86-64.so.2"))
        .arg("--library-path")
        .arg(tree.join("usr/lib/x86_64-linux-gnu"))
        .arg(tree.join("usr/bin/crun"))
        .arg("spec")
        .current_dir(directory)
        .status();
    if !written.map_err(|error| error.to_string())?.success() {
        return Err("crun has written no configuration".into());
    }
    let text = fs::read_to_string(directory.join("config.json")).map_err(|error| error.to_string())?;
    let mount = r#""mounts": [{"destination": "/data", "type": "bind", "source": "data", "options": ["bind", "ro"]},
        {"destination": "/etc/note", "type": "bind", "source": "note", "options": ["bind", "ro"]},
        {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]},"#;
    let changed = text
        .replacen("\"sh\"", &format!("\"sh\", \"-c\", {BUNDLED:?}"), 1)
        .replacen("\"rootfs\"", &format!("{:?}", tree.display().to_string()), 1)
        .replacen("\"mounts\": [", mount, 1)
        .replacen("\"maskedPaths\": [", "\"maskedPaths\": [\"/etc/gai.conf\", ", 1);
    fs::create_dir(directory.join("data")).map_err(|error| error.to_string())?;
    for (name, text) in [("config.json", changed.as_str()), ("data/file", "of the host\n"), ("note", "a note\n")] {
        fs::write(directory.join(name), text).map_err(|error| error.to_string())?;
    }
    let nothing: [&str; 0] = [];
    let policy = directory.display().to_string();
    let printed = "crun\n0\n1024\nof the host\nNoNewPrivs:\t1\nrefused\nrefused\nrefused\na note\nx\nmasked\n\
                   PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nTERM=xterm\nPWD=/\n";
    let outcome = bench.sandbox(nothing).options(["--policy", &policy]).run()?;
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let same = sorted(&String::from_utf8_lossy(&outcome.stdout)) == sorted(printed);
    outcome.exits(0)?.wants(same, printed)?.done()?;
    let checked = Command::new(&bench.setup.xtask).args(["policy", "check", &policy]).output();
    let checked = String::from_utf8_lossy(&checked.map_err(|error| error.to_string())?.stdout).into_owned();
    let noted = [
        "process.capabilities: does not apply",
        "what is read-only is so by [[files]]",
        "mounts: /etc/note: the file is as it was at the start",
        "linux.maskedPaths: /etc/gai.conf: reading it is EACCES",
        "linux.maskedPaths: /proc/",
        "linux.seccomp: there is none",
    ];
    match noted.iter().find(|note| !checked.contains(*note)) {
        Some(missing) => Err(format!("wanted `policy check` to say {missing:?}; it said {checked:?}")),
        None => Ok(()),
    }
}

/// Nothing is started.
fn contradiction(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let policy = scratch.path().join("p.toml");
    fs::write(&policy, PROCESS).map_err(|error| error.to_string())?;
    let refused = |option: [&str; 2], why: &str| {
        let outcome =
            bench.busybox(&["true"]).options(["--policy", &policy.display().to_string()]).options(option).run()?;
        outcome.exits(2)?.prints("")?.says(why)?.done()
    };
    refused(["--cwd", "/tmp"], "--cwd /tmp: the working directory is \"/srv/none\" by p.toml:5")?;
    refused(["--env", "HOME=/"], "--env HOME: the variable is left out by p.toml:15")
}

/// The rules of a file that another includes decide what that leaves, and are named with their file.
fn several_files(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let write = |name: &str, text: &str| fs::write(scratch.path().join(name), text).map_err(|error| error.to_string());
    fs::create_dir(scratch.path().join("lib")).map_err(|error| error.to_string())?;
    let rule = |call: &str, result: u32| format!("[[rule]]\ncalls = [\"{call}\"]\naction = {{ fake = {result} }}\n");
    write("main.toml", &format!("version = 1\ninclude = [\"lib/base.toml\"]\n{}", rule("umask", 7)))?;
    write("lib/base.toml", &format!("version = 1\ndefault = \"allow\"\n\n{}{}", rule("umask", 8), rule("chdir", 0)))?;
    let policy = scratch.path().join("main.toml").display().to_string();
    let shell = bench.busybox(&["sh", "-c", "umask 1; umask; cd /nowhere; echo $?"]);
    let outcome = shell.options(["--trace", "--policy", &policy]).run()?;
    let (own, included) =
        ("umask(01) = 07 [fake, rule 1 main.toml:3]", "chdir(\"/nowhere\") = 0 [fake, rule 2 lib/base.toml:7]");
    outcome.exits(0)?.prints("0007\n0\n")?.complains(own)?.complains(included)?.done()
}
