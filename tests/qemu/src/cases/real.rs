//! Real programs of Debian, unmodified: each script says the same in a sandbox as on plain Linux, on the same tree of files.
//!
//! Scripts are in `tests/qemu/real`; they say nothing that differs from run to run (no process ids, no times).
use crate::{Case, Setup};
use std::time::Duration;

/// Longest time for one run: compilers and large runtimes start slowly on an emulated processor.
const LIMIT: Duration = Duration::from_secs(400);

/// One script.
struct Script {
    name: &'static str,
    tree: &'static str,
    /// The shell, or what else reads it.
    interpreter: &'static [&'static str],
    text: &'static str,
    /// Memory of the sandbox.
    memory: &'static str,
    /// Whether it takes too long to be run each time: with `--all` only.
    slow: bool,
}

/// What a script is unless it says otherwise.
const SH: Script =
    Script { name: "", tree: "shell", interpreter: &["/bin/sh", "-c"], text: "", memory: "256M", slow: false };

/// All of them.
const SCRIPTS: &[Script] = &[
    Script { name: "coreutils", text: include_str!("../../real/coreutils.sh"), ..SH },
    Script { name: "busybox", text: include_str!("../../real/busybox.sh"), ..SH },
    Script { name: "dash", text: include_str!("../../real/dash.sh"), ..SH },
    Script { name: "bash", interpreter: &["/bin/bash", "-c"], text: include_str!("../../real/bash.sh"), ..SH },
    Script { name: "find, grep, sed, awk, tar, gzip, xz", text: include_str!("../../real/text.sh"), ..SH },
    Script { name: "ps, pgrep, free, uptime", text: include_str!("../../real/procps.sh"), ..SH },
    Script { name: "make", text: include_str!("../../real/make.sh"), ..SH },
    Script { name: "sqlite3", text: include_str!("../../real/sqlite3.sh"), ..SH },
    Script { name: "openssl", text: include_str!("../../real/openssl.sh"), ..SH },
    Script { name: "perl", tree: "perl", text: include_str!("../../real/perl.sh"), ..SH },
    Script { name: "git", tree: "git", text: include_str!("../../real/git.sh"), ..SH },
    Script { name: "gcc", tree: "gcc", text: include_str!("../../real/gcc.sh"), memory: "512M", ..SH },
    Script { name: "redis", tree: "net", text: include_str!("../../real/redis.sh"), ..SH },
    Script { name: "nginx and curl", tree: "net", text: include_str!("../../real/nginx.sh"), ..SH },
    Script { name: "node", tree: "node", text: include_str!("../../real/node.sh"), memory: "1G", ..SH },
    Script { name: "java", tree: "java", text: include_str!("../../real/java.sh"), memory: "1G", ..SH },
    Script { name: "go", tree: "go", text: include_str!("../../real/go.sh"), ..SH },
    Script {
        name: "python",
        tree: "python",
        interpreter: &["/usr/bin/python3", "-c"],
        text: include_str!("../../real/python.py"),
        ..SH
    },
    Script {
        name: "python multiprocessing",
        tree: "python",
        text: include_str!("../../real/multiprocessing.sh"),
        ..SH
    },
    Script { name: "python venv", tree: "python", text: include_str!("../../real/venv.sh"), ..SH },
    Script { name: "python venv with pip", tree: "python", text: include_str!("../../real/pip.sh"), slow: true, ..SH },
    Script { name: "stress-ng", tree: "stress", text: include_str!("../../real/stress.sh"), ..SH },
];

/// Programs that are run by themselves, with the tree that they are in.
const COMMANDS: &[(&str, &str, &[&str])] = &[
    ("coreutils ls", "shell", &["/bin/ls", "-ln", "/usr/share/base-files"]),
    ("coreutils sha256sum", "shell", &["/usr/bin/sha256sum", "/usr/bin/bash", "/usr/bin/busybox"]),
    ("coreutils stat", "shell", &["/usr/bin/stat", "-c", "%n %s %a %u %Y %F", "/usr/bin/bash", "/bin", "/tmp"]),
    ("coreutils sort", "shell", &["/usr/bin/sort", "-r", "/etc/passwd"]),
    ("grep", "shell", &["/bin/grep", "-c", "root", "/etc/passwd", "/etc/group"]),
    ("sed", "shell", &["/bin/sed", "-n", "s/:.*//p", "/etc/passwd"]),
    ("gawk", "shell", &["/usr/bin/gawk", "-F:", "{ n += $3 } END { print n, NR }", "/etc/passwd"]),
    ("mawk", "shell", &["/usr/bin/mawk", "-F:", "{ n += $3 } END { print n, NR }", "/etc/passwd"]),
    ("find", "shell", &["/usr/bin/find", "/etc", "-name", "passwd", "-printf", "%p %s %m\n"]),
    ("gzip", "shell", &["/bin/gzip", "-c", "-n", "/usr/bin/bash"]),
    ("sqlite3 in memory", "shell", &["/usr/bin/sqlite3", ":memory:", "select 6 * 7, sqlite_version()"]),
    ("openssl digest", "shell", &["/usr/bin/openssl", "dgst", "-sha512", "/usr/bin/bash"]),
    ("perl -e", "perl", &["/usr/bin/perl", "-MList::Util=sum", "-e", "print sum(1..100), qq(\\n)"]),
    ("python3 -c", "python", &["/usr/bin/python3", "-c", "import sys, json; print(json.dumps(sys.version_info[:2]))"]),
    ("git --version", "git", &["/usr/bin/git", "--version"]),
    ("gcc --version", "gcc", &["/usr/bin/gcc", "--version"]),
    ("curl --version", "net", &["/usr/bin/curl", "--version"]),
    ("redis-server --version", "net", &["/usr/bin/redis-server", "--version"]),
    ("node --version", "node", &["/usr/bin/node", "--version"]),
    ("shfmt (Go) --version", "go", &["/usr/bin/shfmt", "--version"]),
];

/// Tests of real programs.
pub(crate) fn cases(setup: &Setup) -> Vec<Case> {
    let all = setup.all;
    let commands = COMMANDS.iter().map(|(name, tree, command)| {
        let run = |bench: &crate::Bench<'_>| bench.in_tree(tree, *command).limit(LIMIT).same_as_here();
        Case::new(format!("real {name}"), run).needs(tree)
    });
    let scripts = SCRIPTS.iter().filter(|script| all || !script.slow).map(|script| {
        Case::new(format!("real script {}", script.name), |bench| {
            let command = script.interpreter.iter().chain([&script.text]);
            let options = ["--memory", script.memory, "--timeout", "380"];
            bench.in_tree(script.tree, command).options(options).limit(LIMIT).same_as_here()
        })
        .needs(script.tree)
    });
    commands.chain(scripts).collect()
}
