//! Programs that try everything or take everything (tests/guests/families: `wild` and `attacks`): the sandbox lives on, and an ordinary
//! program runs in it afterwards.
use crate::Case;

/// Calls that the fuzzer makes from one seed.
const CALLS: &str = "2000";
/// Seeds of the fuzzer.
const SEEDS: [&str; 2] = ["1", "2"];
/// What is taken without measure, by the sections of the program.
const ATTACKS: [&str; 21] = [
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
];

/// A test for each seed and each attack.
pub(crate) fn cases() -> Vec<Case> {
    let fuzz = SEEDS.map(|seed| {
        Case::new(format!("system calls at random: seed {seed}"), move |bench| {
            let outcome = bench.guest("wild", &[seed, CALLS]).options(["--timeout", "100"]).run()?;
            outcome.exits(0)?.prints(&format!("wild: {CALLS} calls made\n"))?.done()
        })
    });
    let attacks = ATTACKS.map(|name| {
        Case::new(format!("attack: {name}"), move |bench| {
            let outcome = bench.guest("attacks", &[name]).options(["--timeout", "60"]).run()?;
            outcome.exits(0)?.prints("afterwards all is well: yes\nafterwards: works\n")?.done()
        })
    });
    fuzz.into_iter().chain(attacks).collect()
}
