//! Programs that try everything or take everything (tests/guests/families: `wild` and `attacks`): the sandbox lives on, and an ordinary
//! program runs in it afterwards. Beside each of them an ordinary program runs in a sandbox of its own, and notices nothing.
use crate::{Bench, Case, Verdict};
use std::time::Duration;

/// Calls that the fuzzer makes from one seed.
const CALLS: &str = "2000";
/// Seeds of the fuzzer.
const SEEDS: [&str; 2] = ["1", "2"];
/// Longest time of a program, in seconds, and of the machine that it runs in: making and ending thousands of processes takes a while
/// where others use the processor as well.
const LIMIT: &str = "280";
const HARNESS_LIMIT: Duration = Duration::from_secs(320);
/// What is taken without measure, by the sections of the program.
const ATTACKS: [&str; 25] = [
    "fork-bomb",
    "thread-bomb",
    "memory",
    "mappings",
    "reservations",
    "disk",
    "files",
    "descriptors",
    "links",
    "paths",
    "directories",
    "pipes",
    "sockets",
    "in-flight",
    "signals",
    "timers",
    "epolls",
    "exec",
    "inotify",
    "locks",
    "futexes",
    "stack",
    "queues",
    "semaphores",
    "connections",
];

/// A test for each seed and each attack.
pub(crate) fn cases() -> Vec<Case> {
    let fuzz = SEEDS.map(|seed| {
        Case::new(format!("system calls at random: seed {seed}"), move |bench| {
            survives(bench, "wild", &[seed, CALLS], &format!("wild: {CALLS} calls made\n"))
        })
    });
    let attacks = ATTACKS.map(|name| {
        Case::new(format!("attack: {name}"), move |bench| {
            survives(bench, "attacks", &[name], "afterwards all is well: yes\nafterwards: works\n")
        })
    });
    fuzz.into_iter().chain(attacks).collect()
}

/// What runs beside an attacker: it computes, writes and reads files, and forks.
const NEIGHBOUR: &str = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo $i >/tmp/n; read j </tmp/n; [ $i = $j ] || exit 1; done; \
                         (echo neighbour: $i)";

/// Runs an attacker with a neighbour, and wants both to come to their ends.
fn survives(bench: &Bench<'_>, program: &str, arguments: &[&str], expected: &str) -> Verdict {
    let neighbour = format!("{} sh -c '{NEIGHBOUR}'", bench.path_of_busybox());
    let sandbox = bench.guest(program, arguments).options(["--timeout", LIMIT, "--beside", &neighbour]);
    let outcome = sandbox.limit(HARNESS_LIMIT).run()?;
    outcome.exits(0)?.prints_by_sandbox(&[expected, "neighbour: 300\n"])?.says_nothing()?.done()
}
