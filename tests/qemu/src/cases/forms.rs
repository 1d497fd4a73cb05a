//! What a policy is made of beside rules: other files, and what is said about the program's process.
use crate::{Bench, Case, Verdict};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tests of the forms of a policy.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("a policy of several files", several_files),
        Case::new("a process as the policy says it", process),
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
