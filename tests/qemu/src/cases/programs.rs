//! Real programs: their output and exit code must be those of plain Linux.
use crate::Case;

/// busybox and coreutils (dynamic, PIE), and a program of our own.
pub(crate) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let mut busybox = |name: &str, arguments: &'static [&'static str]| {
        all.push(Case::new(format!("busybox {name}"), move |bench| bench.busybox(arguments).same_as_here()));
    };
    busybox("true", &["true"]);
    busybox("false", &["false"]);
    busybox("echo", &["echo", "one", "two  three"]);
    busybox("cat", &["cat", "fruit", "fruit"]);
    busybox("cat through a link", &["cat", "link"]);
    busybox("cat of a large file", &["cat", "large"]);
    busybox("cat of a missing file", &["cat", "no-such-file"]);
    busybox("sha256sum", &["sha256sum", "/etc/os-release"]);
    busybox("sha256sum of a large file", &["sha256sum", "large", "fruit"]);
    busybox("sort", &["sort", "fruit"]);
    busybox("sort by number", &["sort", "-k2", "-n", "-r", "fruit"]);
    busybox("awk", &["awk", "{ sum[$1] += $2 } END { for (k in sum) print k, sum[k] }", "fruit"]);
    busybox("awk in floating point", &["awk", "BEGIN { printf \"%.6f %d\\n\", exp(1) * sqrt(2), 2 ^ 40 }"]);
    busybox("grep", &["grep", "-n", "apple", "fruit"]);
    busybox("grep without a match", &["grep", "banana", "fruit"]);
    busybox("sed", &["sed", "s/a/A/g", "fruit"]);
    busybox("wc", &["wc", "fruit", "large"]);
    busybox("head and tail", &["tail", "-n", "2", "fruit"]);
    busybox("od", &["od", "-c", "fruit"]);
    busybox("expr", &["expr", "6", "*", "7"]);
    busybox("uname -s", &["uname", "-s"]);
    busybox("an unknown applet", &["no-such-applet"]);
    busybox("date of a given time", &["date", "-u", "-d", "@86400"]);
    busybox("pwd", &["pwd"]);
    busybox("id", &["id", "-u"]);
    busybox("sh with built-ins", &["sh", "-c", "x=5; while [ $x -gt 0 ]; do echo $x; x=$((x-1)); done; exit 7"]);
    busybox("sh with a function", &["sh", "-c", "f() { echo \"$1-$2\"; return 3; }; f a b; echo $?"]);
    busybox(
        "sh reading a file",
        &["sh", "-c", "while read name count; do echo \"$count:$name\"; done < \"$0\"", "fruit"],
    );
    busybox("sh with a missing command", &["sh", "-c", "no_such_command; echo $?"]);

    let mut program = |name: &str, command: &'static [&'static str]| {
        all.push(Case::new(name, move |bench| bench.sandbox(command).same_as_here()));
    };
    program("/bin/cat", &["/bin/cat", "fruit"]);
    program("/bin/cat of a missing file", &["/bin/cat", "no-such-file"]);
    program("/bin/true by name", &["true"]);
    program("/bin/ls of files", &["/bin/ls", "-1", "fruit", "link"]);
    program("/usr/bin/env", &["/usr/bin/env"]);
    program("/usr/bin/sha256sum", &["/usr/bin/sha256sum", "fruit"]);
    program("/usr/bin/sort", &["/usr/bin/sort", "fruit"]);
    program("/usr/bin/printf", &["/usr/bin/printf", "%s %05d %x\\n", "a", "42", "255"]);
    program("/usr/bin/seq", &["/usr/bin/seq", "1", "1000"]);

    program(
        "/bin/bash with built-ins",
        &["/bin/bash", "-c", "for i in 1 2 3; do printf '%d ' $((i * i)); done; exit 4"],
    );
    program("/usr/bin/perl", &["/usr/bin/perl", "-e", "print join(',', map { $_ ** 2 } 1..5), \"\\n\""]);
    program("a script with its interpreter", &["./sub/script", "argument"]);

    all.push(Case::new("environment and arguments", |bench| {
        bench
            .guest("hello", &["a b", "", "exit=9"])
            .options(["--env", "GUEST_A=1", "--env", "GUEST_A=2"])
            .input(b"first\nsecond\n")
            .same_as_here()
    }));
    all
}
