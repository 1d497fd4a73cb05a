//! `[limits]`: each is held against who tries for more, is told, ends as documented, and leaves a neighbour alone.
use super::denials::with_policy;
use crate::sandbox::{Outcome, Sandbox, wait};
use crate::{Bench, Case, Verdict};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Takes until it is refused.
const PROGRAM: &str = include_str!("limits.py");
/// A neighbour: it takes a little of everything.
const NEIGHBOUR: &str = "i=0; while [ $i -lt 5 ]; do i=$((i+1)); (echo $i >>/tmp/x); done; busybox cat /tmp/x";
const NEIGHBOURS: &str = "1\n2\n3\n4\n5\n";

/// What `limits.py files` says with 40 descriptors for all processes.
const FILES: &str = "open 40 ENFILE
dup 40 ENFILE
dup2 40 ENFILE
pipe 40 ENFILE
socket 40 ENFILE
socketpair 40 ENFILE
connect, accept 40 ENFILE
epoll 40 ENFILE
eventfd 40 ENFILE
memfd 40 ENFILE
directory 40 ENFILE
pidfd 40 ENFILE
on their way 40 ETOOMANYREFS
dup 0 ENFILE
children with 6 5 EAGAIN
";

/// Tests of limits.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("limits: processes", |bench| {
            let said = "children 7 EAGAIN\none has ended 0 EAGAIN\nand is waited for 1 EAGAIN\na thread is none\n";
            python(bench, "processes = 8", &["processes"], |run| {
                run.outcome.exits(0)?.prints_by_sandbox(&[said, NEIGHBOURS])?.done()?;
                run.told_once("processes", 8)
            })
        })
        .needs("python"),
        Case::new("limits: threads", |bench| {
            python(bench, "threads = 9", &["threads"], |run| {
                let said = "threads 8 can't start new thread\na process is one 0 EAGAIN\n";
                run.outcome.exits(0)?.prints_by_sandbox(&[said, NEIGHBOURS])?.done()?;
                run.told_once("threads", 9)
            })
        })
        .needs("python"),
        Case::new("limits: descriptors, however they are made", |bench| {
            python(bench, "open_files = 40", &["files"], |run| {
                run.outcome.exits(0)?.prints_by_sandbox(&[FILES, NEIGHBOURS])?.done()?;
                run.told_once("open_files", 40)
            })
        })
        .needs("python"),
        Case::new("limits: bytes that are written, by whatever call", |bench| {
            python(bench, "bytes_written = 50_001", &["written", "50001"], |run| {
                run.outcome.exits(0)?.prints_by_sandbox(&["", NEIGHBOURS])?.done()?;
                run.told_once("bytes_written", 50_001)
            })
        })
        .needs("python"),
        Case::new("limits: bytes that are written to standard output", |bench| {
            limited(bench, "bytes_written = 10_000", bench.busybox(&["yes"]), |run| {
                run.outcome.exits(1)?.wants(run.outcome.stdout.len() == 10_000, "10000 bytes")?.done()?;
                run.told_once("bytes_written", 10_000)
            })
        }),
        Case::new("limits: processor time", |bench| {
            let spin = bench.busybox(&["sh", "-c", "(while :; do :; done) & while :; do :; done"]);
            limited(bench, "cpu = \"800ms\"", beside(bench, spin), |run| {
                run.outcome.exits(124)?.prints_by_sandbox(&["", NEIGHBOURS])?;
                run.outcome
                    .says("timed out: the program was ended at its time limit ([limits] policy.toml:4: cpu 800ms)")?;
                run.told_once("cpu", 800)?;
                // Some is its neighbour's, and none is its waiting.
                run.lasted(800, 6000)
            })
        }),
        Case::new("limits: waiting is no processor time", |bench| {
            let sleep = bench.busybox(&["sh", "-c", "busybox sleep 2; echo awake"]);
            limited(bench, "cpu = \"1s\"", sleep, |run| {
                run.outcome.exits(0)?.prints("awake\n")?.done()?;
                run.told_nothing()
            })
        }),
        Case::new("limits: time, the stricter of two", |bench| {
            let sleep = || bench.busybox(&["sleep", "100"]);
            limited(bench, "wall = \"1s\"", sleep().options(["--timeout", "50"]), |run| {
                run.outcome.exits(124)?.says("at its time limit ([limits] policy.toml:4: wall 1s)")?.done()?;
                run.told_once("wall", 1000)?;
                run.lasted(1000, 3000)
            })?;
            // It is no verdict on a call.
            limited(bench, "wall = \"1s\"", sleep().options(["--dry-run"]), |run| run.outcome.exits(124)?.done())?;
            limited(bench, "wall = \"50s\"", sleep().options(["--timeout", "1"]), |run| {
                run.outcome.exits(124)?.says("at its time limit")?.done()?;
                run.told_nothing()
            })
        }),
        Case::new("limits: calls a second slow down who makes them", |bench| {
            let quick = format!("/usr/bin/python3 -B -c {} calls few", shell_word(PROGRAM));
            let sandbox = program(bench, &["calls", "many"]).options(["--beside", &quick]);
            limited(bench, "calls_per_second = 200", sandbox, |run| {
                run.outcome.exits(0)?.prints_by_sandbox(&["took seconds\n", "took a moment\n"])?.done()?;
                run.told("calls_per_second", 200, 2)
            })
        })
        .needs("python"),
        Case::new("limits: memory, of files and programs together", memory).needs("python"),
        Case::new("limits: a fork bomb and a program that eats everything", bombs).needs("stress"),
        Case::new("limits: another policy while the program runs", changed).needs("python"),
        Case::new("limits: what is not reached changes nothing", |bench| {
            let all = "memory = \"200M\"\nprocesses = 100\nthreads = 100\nopen_files = 1000\nbytes_written = \"1M\"\ncpu = \"100s\"\nwall = \"100s\"\ncalls_per_second = 1_000_000";
            let script = "echo one; (exit 3); echo $?; busybox df /tmp >/dev/null; busybox ls /proc/self/fd | busybox wc -l >/tmp/x; busybox cat /tmp/x";
            let without = bench.busybox(&["sh", "-c", script]).run()?;
            limited(bench, all, bench.busybox(&["sh", "-c", script]), |run| {
                run.outcome.exits(without.code)?.prints(&String::from_utf8_lossy(&without.stdout))?.done()?;
                run.told_nothing()
            })
        }),
    ]
}

/// A run under limits, and what was told of it.
struct Run<'r> {
    outcome: &'r Outcome,
    events: Vec<Value>,
}

impl Run<'_> {
    /// Wants one event, of the first sandbox, and the same limit in the picture and on the page.
    fn told_once(&self, limit: &str, amount: u64) -> Verdict {
        self.told(limit, amount, 1)
    }

    /// Wants an event of at least the first and at most so many sandboxes, one of each.
    fn told(&self, limit: &str, amount: u64, most: usize) -> Verdict {
        let told: Vec<&Value> = self.limits().collect();
        let good = |event: &&Value| {
            event["limit"] == limit
                && event["amount"] == amount
                && event["rule"] == "[limits] policy.toml:4"
                && event["text"].as_str().is_some_and(|text| text.starts_with(&format!("limit: {limit} ")))
        };
        let of_first = told.iter().filter(|event| event["sandbox"] == 1).count();
        if told.iter().all(good) && of_first == 1 && told.len() <= most {
            return Ok(());
        }
        Err(format!("wanted one event of {limit} {amount}, got {told:?}"))
    }

    fn told_nothing(&self) -> Verdict {
        if self.limits().next().is_none() { Ok(()) } else { Err("a limit was told that was not reached".to_owned()) }
    }

    /// Wants the first sandbox to have lasted from one to the other, in milliseconds.
    fn lasted(&self, least: u64, most: u64) -> Verdict {
        let exit = self.events.iter().find(|event| event["type"] == "exit" && event["sandbox"] == 1);
        let ms = exit.and_then(|event| event["ns"].as_u64()).ok_or("no end was told")? / 1_000_000;
        if (least..=most).contains(&ms) { Ok(()) } else { Err(format!("it lasted {ms} ms, not {least} to {most}")) }
    }

    fn limits(&self) -> impl Iterator<Item = &Value> {
        self.events.iter().filter(|event| event["type"] == "limit")
    }
}

/// Runs `sandbox` under these limits.
fn limited(bench: &Bench<'_>, limits: &str, sandbox: Sandbox, test: impl FnOnce(&Run<'_>) -> Verdict) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let at = |name: &str| scratch.path().join(name);
    let (events, report, timeline) = (at("events"), at("report.html"), at("timeline"));
    let option = |name: &str, path: &Path| [name.to_owned(), path.display().to_string()];
    let sandbox = sandbox
        .options(option("--events", &events))
        .options(option("--report", &report))
        .options(option("--timeline", &timeline));
    with_policy(bench, &format!("version = 1\ndefault = \"allow\"\n[limits]\n{limits}\n"), sandbox, |sandbox| {
        let outcome = sandbox.run()?;
        let read = |path: &Path| fs::read_to_string(path).map_err(|error| error.to_string());
        let parse = |line: &str| serde_json::from_str(line).map_err(|error| format!("{error}: {line}"));
        let events = read(&events)?.lines().map(parse).collect::<Result<Vec<Value>, String>>()?;
        let run = Run { outcome: &outcome, events };
        test(&run)?;
        let reached = run.limits().next().is_some();
        let shown = [read(&report)?.contains("Limits that were reached"), read(&timeline)?.contains("\"limit: ")];
        if shown == [reached; 2] { Ok(()) } else { Err(format!("limits on the page, in the picture: {shown:?}")) }
    })
}

/// `limits.py` with these arguments, under these limits and beside a neighbour.
fn python(bench: &Bench<'_>, limits: &str, arguments: &[&str], test: impl FnOnce(&Run<'_>) -> Verdict) -> Verdict {
    limited(bench, limits, beside(bench, program(bench, arguments)), test)
}

fn program(bench: &Bench<'_>, arguments: &[&str]) -> Sandbox {
    // Compiled modules are not written: that would count.
    let words = ["/usr/bin/python3", "-B", "-c", PROGRAM].iter().chain(arguments);
    bench.in_tree("python", words)
}

/// With a neighbour.
fn beside(bench: &Bench<'_>, sandbox: Sandbox) -> Sandbox {
    let neighbour = format!("{} sh -c {}", bench.path_of_busybox(), shell_word(NEIGHBOUR));
    sandbox.options(["--beside", &neighbour])
}

/// A text as one word of a shell's.
fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Limits of another policy hold from its first call on, also those that are over by then; memory stays.
fn changed(bench: &Bench<'_>) -> Verdict {
    let text = |error: std::io::Error| error.to_string();
    let scratch = bench.fixture.scratch()?;
    let [policy, events] = ["policy.toml", "events"].map(|name| scratch.path().join(name));
    let write = |limits: &str| {
        fs::write(&policy, format!("version = 1\ndefault = \"allow\"\n[limits]\n{limits}\n")).map_err(text)
    };
    write("processes = 3\nmemory = \"100M\"")?;
    let options = ["--timeout", "100", "--watch-policy", "--policy"].map(OsStr::new);
    let more = [policy.as_os_str(), "--events".as_ref(), events.as_os_str()];
    let sandbox = program(bench, &["changed"]).options(options).options(more);
    let mut run = sandbox.command_inside();
    run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = run.spawn().map_err(text)?;
    let mut output = BufReader::new(run.stdout.take().ok_or("no output")?).lines();
    let mut said = BufReader::new(run.stderr.take().ok_or("no messages")?).lines();
    let mut next = |said_by_us: bool| {
        let line = if said_by_us { said.next() } else { output.next() };
        line.ok_or("a stream has ended")?.map_err(text)
    };
    let mut lines = vec![next(false)?];
    write("processes = 3\nmemory = \"50M\"")?;
    lines.push(next(true)?);
    write("processes = 5\nmemory = \"100M\"")?;
    lines.extend([next(true)?, next(false)?]);
    write("processes = 5\nmemory = \"100M\"\nwall = \"1ms\"")?;
    lines.extend([next(true)?, next(true)?, next(true)?]);
    let code = wait(&mut run, Duration::from_secs(60))?;
    let expected = [
        "children 2 EAGAIN",
        "`memory` in `[limits]` has changed",
        "it is policy 2 now",
        "more",
        "it is policy 3 now",
        " events, sha256 ",
        "its time limit ([limits] policy.toml:6: wall 1ms)",
    ];
    let good = |(line, expected): (&String, &str)| line.contains(expected);
    if code != 124 || !lines.iter().zip(expected).all(good) {
        return Err(format!("exit code {code}, {lines:?}"));
    }
    let events = fs::read_to_string(&events).map_err(text)?;
    match events.matches("\"type\":\"limit\"").count() {
        // Processes under the first and under the second, and the time.
        3 => Ok(()),
        count => Err(format!("{count} limits were told")),
    }
}

/// Fills files, then memory: neither by itself nor together more than there may be.
fn memory(bench: &Bench<'_>) -> Verdict {
    let fill = "busybox dd if=/dev/zero of=/tmp/fill bs=64k count=1000 2>/dev/null; busybox stat -c %s /tmp/fill; busybox rm /tmp/fill; echo free";
    limited(bench, "memory = \"16M\"", beside(bench, bench.busybox(&["sh", "-c", fill])), |run| {
        run.outcome.exits(0)?.prints_somewhere("free\n")?.prints_somewhere("[2] 5\n")?;
        let filled = String::from_utf8_lossy(&run.outcome.stdout).lines().find_map(|line| line.parse::<u64>().ok());
        let within = filled.is_some_and(|bytes| (6 << 20..12 << 20).contains(&bytes));
        run.outcome.wants(within, "6 to 12 MiB of a file")?;
        run.told_once("memory", 16 << 20)
    })?;
    let eat = "import os,sys\nif os.fork() == 0:\n kept = []\n while True: kept.append(bytes(range(256)) * 4096)\nprint(os.wait()[1]); sys.stdout.flush()\nmore = [bytes(range(256)) * 4096 for _ in range(4)]\nprint(len(more))";
    let eater = bench.in_tree("python", ["/usr/bin/python3", "-c", eat]);
    limited(bench, "memory = \"32M\"", beside(bench, eater), |run| {
        // The one that eats is killed, as by Linux, and what it had can be had again.
        run.outcome.exits(0)?.prints_by_sandbox(&["9\n4\n", NEIGHBOURS])?.done()?;
        run.told_once("memory", 32 << 20)
    })?;
    let both = "with open('/tmp/x', 'wb') as file: [file.write(bytes(1 << 16)) for _ in range(192)]\nkept = []\nwhile True: kept.append(bytes(range(256)) * 4096)";
    let both = bench.in_tree("python", ["/usr/bin/python3", "-c", both]).options(["--stats"]);
    limited(bench, "memory = \"32M\"", beside(bench, both), |run| {
        run.outcome.exits(137)?.says("program ended by SIGKILL")?.prints_somewhere("[2] 5\n")?;
        let own = run.events.iter().find(|event| event["type"] == "exit" && event["sandbox"] == 1);
        let bytes = own.and_then(|event| event["figures"]["memory_bytes"].as_u64()).unwrap_or(u64::MAX);
        // The file has its part.
        let within = (12 << 20..=20 << 20).contains(&bytes);
        run.outcome.wants(within, &format!("12 to 20 MiB of memory, not {bytes} bytes"))?;
        run.told_once("memory", 32 << 20)
    })
}

/// Programs that take without end: the sandbox lasts, and its neighbour notices nothing.
fn bombs(bench: &Bench<'_>) -> Verdict {
    let bomb = "bomb() { bomb | bomb & }; bomb 2>/dev/null; busybox sleep 2; echo over";
    let limits = "processes = 20\nthreads = 20\nopen_files = 120\nmemory = \"48M\"";
    let sandbox = bench.busybox(&["sh", "-c", bomb]).options(["--timeout", "100"]);
    limited(bench, limits, beside(bench, sandbox), |run| {
        run.outcome.exits(0)?.prints_by_sandbox(&["over\n", NEIGHBOURS])?.done()?;
        let told: Vec<&Value> = run.limits().map(|event| &event["limit"]).collect();
        run.outcome.wants(told.iter().any(|limit| *limit == "processes" || *limit == "threads"), "a limit")?;
        run.outcome.wants(told.len() <= 4, "each limit once")?.done()
    })?;
    let stress =
        "--fork 1 --pthread 1 --vm 1 --vm-bytes 40M --open 1 --pipe 1 --dup 1 --sock 1 --hdd 1 --hdd-bytes 40M";
    let words = ["stress-ng", "--timeout", "4", "--temp-path", "/tmp"].into_iter().chain(stress.split(' '));
    let limits = "processes = 24\nthreads = 40\nopen_files = 200\nmemory = \"64M\"\nbytes_written = \"8M\"\ncpu = \"60s\"\nwall = \"90s\"";
    limited(bench, limits, beside(bench, bench.in_tree("stress", words)), |run| {
        run.outcome.prints_somewhere("[2] 5\n")?;
        run.outcome.wants(run.outcome.code != 125, "a sandbox that lasts")?;
        let told: Vec<&Value> = run.limits().map(|event| &event["limit"]).collect();
        run.outcome.wants((1..=7).contains(&told.len()), &format!("one event for each limit: {told:?}"))?.done()
    })
}
