//! The terminal: what is typed reaches the program as the program wants it.
use crate::{Bench, Case, Sandbox};

/// Busybox' shell on a terminal, with a prompt that nothing else prints, and with coreutils to call: not every busybox finds its own
/// tools.
fn shell(bench: &Bench<'_>, arguments: &[&str]) -> Sandbox {
    let mut command = vec!["busybox", "sh"];
    command.extend(arguments);
    bench.in_tree("shell", command).options(["--env", "PS1=%% ", "--env", "TERM=dumb"])
}

/// Tests of the terminal.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("a line is edited and its end is an end", |bench| {
            shell(bench, &["-c", "echo go; exec cat"]).same_on_terminal(&[
                ("go\r\n", "wrong\u{15}helxx\u{7f}\u{7f}lo\r"),
                ("lo\r\nhello\r\n", "last\u{4}"),
                ("lastlast", "\u{4}"),
            ])
        }),
        Case::new("a program takes single keys without echo", |bench| {
            let program = "stty raw -echo; echo go; dd bs=1 count=3 2>/dev/null | od -An -tx1; stty sane; stty -a | grep -c icanon";
            shell(bench, &["-c", program]).same_on_terminal(&[("go", "\u{3}\rx")])
        }),
        Case::new("jobs are stopped, resumed and interrupted", |bench| {
            let job = "sh -c 'echo $((1+1))go; read x; echo got $x; exec sleep 60'\r";
            shell(bench, &["-i"]).same_on_terminal(&[
                ("%% ", job),
                ("2go\r\n", "\u{1a}"),
                ("Stopped", ""),
                ("%% ", "fg\r"),
                ("fg\r\nsh -c", "abc\r"),
                ("got abc\r\n", "\u{3}"),
                ("%% ", "echo code $?\r"),
                ("code 130\r\n", ""),
                ("%% ", "exit 7\r"),
            ])
        }),
        Case::new("a program that computes is interrupted", |bench| {
            let program = "trap 'echo caught; exit 4' INT; echo go; while :; do :; done";
            bench.busybox(&["sh", "-c", program]).same_on_terminal(&[("go\r\n", "\u{3}")])
        }),
        Case::new("what stops a run that ignores all keys", |bench| {
            let program = "trap '' INT QUIT TSTP; echo go; while :; do :; done";
            let (code, screen) = bench
                .busybox(&["sh", "-c", program])
                .on_terminal(&[("go\r\n", "\u{3}"), ("^C", "\u{1d}\u{1d}\u{1d}")])?;
            if code == 130 && screen.contains("stopped by SIGINT") {
                Ok(())
            } else {
                Err(format!("{code}: {screen:?}"))
            }
        }),
    ]
}
