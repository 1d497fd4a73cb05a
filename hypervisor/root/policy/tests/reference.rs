//! The compiled table against an evaluator that knows nothing of tables: it reads the rules from the top.

use std::fmt::Write;

use policy::{Action, parse};
use seeded::Random;

/// Calls with the widths of their first three arguments, from Linux' prototypes; of clone's flags it says `unsigned long`, and looks at the lower half.
const CALLS: [(&str, u64, [u32; 3]); 7] = [
    ("read", 0, [32, 64, 64]),
    ("lseek", 8, [32, 64, 32]),
    ("mmap", 9, [64, 64, 64]),
    ("clone", 56, [32, 64, 64]),
    ("mkdirat", 258, [32, 64, 16]),
    ("fchmodat", 268, [32, 64, 16]),
    ("setresuid", 117, [32, 32, 32]),
];
const OPERATORS: [&str; 7] = ["==", "!=", "<", "<=", ">", ">=", "masked_eq"];
type IsAction = fn(Action) -> bool;
const ACTIONS: [(&str, IsAction); 4] = [
    ("\"allow\"", |action| action == Action::Allow),
    ("\"kill\"", |action| action == Action::Kill),
    ("{ errno = \"EPERM\" }", |action| matches!(action, Action::Errno(errno) if errno.name == "EPERM")),
    ("{ errno = \"ENOSYS\" }", |action| matches!(action, Action::Errno(errno) if errno.name == "ENOSYS")),
];

struct Condition {
    arg: usize,
    op: &'static str,
    value: u64,
    mask: u64,
}

struct Rule {
    calls: Vec<usize>,
    when: Vec<Condition>,
    action: usize,
}

/// Small numbers that collide often, and some with bits in the upper half.
fn word(random: &mut Random) -> u64 {
    let low = random.next() % 6;
    match random.below(6) {
        0 => low | 0x5_0000_0000,
        1 => low.wrapping_neg(),
        2 => low | 0x3_0000,
        _ => low,
    }
}

fn condition(random: &mut Random, calls: &[usize]) -> Condition {
    let arg = random.below(3);
    let narrowest = calls.iter().map(|call| CALLS[*call].2[arg]).min().expect("a call");
    let limit = u64::MAX >> (64 - narrowest);
    let mask = (random.next() % 7 + 1) & limit;
    let op = random.pick(&OPERATORS);
    // Numbers that the compiler takes for every one of the calls, and that do not decide by themselves.
    let value = (random.next() % 5 + 1) & limit;
    Condition { arg, op, value: if op == "masked_eq" { value & mask } else { value }, mask }
}

fn rules(random: &mut Random) -> Vec<Rule> {
    let mut settled = [false; CALLS.len()];
    let mut rules = Vec::new();
    for _ in 0..random.below(12) {
        let mut calls: Vec<usize> = (0..CALLS.len()).filter(|call| !settled[*call]).collect();
        calls.retain(|_| random.below(2) == 0);
        if calls.is_empty() {
            continue;
        }
        let mut when: Vec<Condition> = (0..random.below(4)).map(|_| condition(random, &calls)).collect();
        when.dedup_by(|a, b| (a.arg, a.op) == (b.arg, b.op));
        if !can_hold(&when, calls[0]) {
            continue;
        }
        if when.is_empty() {
            calls.iter().for_each(|call| settled[*call] = true);
        }
        rules.push(Rule { calls, when, action: random.below(ACTIONS.len()) });
    }
    rules
}

fn text(rules: &[Rule], default: usize) -> String {
    let mut text = format!("version = 1\ndefault = {}\n", ACTIONS[default].0);
    for rule in rules {
        let calls: Vec<String> = rule.calls.iter().map(|call| format!("\"{}\"", CALLS[*call].0)).collect();
        write!(text, "[[rule]]\ncalls = [{}]\naction = {}\n", calls.join(", "), ACTIONS[rule.action].0)
            .expect("a string");
        let when: Vec<String> = rule
            .when
            .iter()
            .map(|condition| {
                let mask =
                    if condition.op == "masked_eq" { format!(", mask = {:#x}", condition.mask) } else { String::new() };
                format!("{{ arg = {}, op = \"{}\", value = {}{mask} }}", condition.arg, condition.op, condition.value)
            })
            .collect();
        if !when.is_empty() {
            writeln!(text, "when = [{}]", when.join(", ")).expect("a string");
        }
    }
    text
}

fn holds(condition: &Condition, call: usize, args: &[u64; 6]) -> bool {
    let width = CALLS[call].2[condition.arg];
    let argument = args[condition.arg] & (u64::MAX >> (64 - width));
    match condition.op {
        "==" => argument == condition.value,
        "!=" => argument != condition.value,
        "<" => argument < condition.value,
        "<=" => argument <= condition.value,
        ">" => argument > condition.value,
        ">=" => argument >= condition.value,
        _ => argument & condition.mask == condition.value,
    }
}

/// Whether some small arguments fulfil them all: what is refused because it never holds is not made in the first place.
fn can_hold(when: &[Condition], call: usize) -> bool {
    (0..6).all(|arg| {
        let fulfils = |value: u64| when.iter().filter(|one| one.arg == arg).all(|one| holds(one, call, &[value; 6]));
        (0..=16).any(fulfils)
    })
}

/// Which rule decides, from 1; 0 for the default.
fn reference(rules: &[Rule], call: usize, args: &[u64; 6]) -> usize {
    let applies =
        |rule: &Rule| rule.calls.contains(&call) && rule.when.iter().all(|condition| holds(condition, call, args));
    rules.iter().position(applies).map_or(0, |index| index + 1)
}

#[test]
fn table_agrees_with_reading_from_the_top() {
    let (mut by_rule, mut by_default) = (0, 0);
    for seed in 0..1500 {
        let mut random = Random(seed);
        let rules = rules(&mut random);
        let default = random.below(ACTIONS.len());
        let text = text(&rules, default);
        let policy = match parse("random.toml", &text) {
            Ok(policy) => policy,
            // Two conditions of one rule may come out equal, which is refused.
            Err(error) if error.message.contains("twice") => continue,
            Err(error) => panic!("{error}\n{text}"),
        };
        for _ in 0..100 {
            let call = random.below(CALLS.len());
            let args = [(); 6].map(|()| word(&mut random));
            let expected = reference(&rules, call, &args);
            let verdict = policy.judge(CALLS[call].1, &args);
            let found = if let policy::By::Rule(index) = verdict.rule().by { usize::from(index) } else { 0 };
            assert_eq!(found, expected, "{} {args:x?}\n{text}", CALLS[call].0);
            let action = if expected == 0 { default } else { rules[expected - 1].action };
            assert!(ACTIONS[action].1(verdict.action), "{verdict:?}\n{text}");
            if expected == 0 { by_default += 1 } else { by_rule += 1 }
        }
    }
    assert!(by_rule > 10_000 && by_default > 10_000, "{by_rule} {by_default}");
}
