//! Whatever the text is, reading it ends with a policy or with an error inside the text. Short and seeded; the same
//! each time. `CORDON_FUZZ=N` makes N texts of the language, `CORDON_SEED=S` others.

use policy::{Pointed, Policy, PolicyError, parse_bytes};
use seeded::Random;
use seeded::texts::{Language, Texts};
use std::env;
use toml::de::DeTable;

const SHIPPED: &[u8] = include_bytes!("../../../../../policies/default.toml");
const LANGUAGE: Language<'_> = Language {
    heads: include_str!("heads.toml"),
    parts: include_str!("parts.toml"),
    between: "\n",
    tail: "",
    words: include_str!("words.txt"),
};
/// One of so many texts that are refused is looked at for what refused it.
const SAMPLE: u64 = 16;

/// Whether it is a policy.
fn check(bytes: &[u8]) -> bool {
    match parse_bytes("fuzz.toml", bytes) {
        Ok(policy) => {
            use_all(&policy);
            true
        }
        Err(PolicyError { line, column, message, .. }) => {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
            assert!(line >= 1 && usize::try_from(line).expect("fits") <= lines, "line {line} of {lines}");
            assert!(column >= 1 && usize::try_from(column).expect("fits") <= bytes.len() + 1);
            assert!(!message.is_empty());
            false
        }
    }
}

/// Asks the policy about calls of each kind of condition, and about files.
fn use_all(policy: &Policy) {
    let mut pointed = Pointed::NOTHING;
    (0..6).for_each(|argument| pointed.set(argument, b"/etc/secret/x"));
    pointed.set_address(&[2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    pointed.set_content(b"GET PRIVATE KEY");
    for number in [0, 1, 8, 16, 41, 42, 44, 56, 165, 257, 302, 435, 437, 469, 470, u64::MAX] {
        for word in [0, u64::MAX] {
            let _ = policy.judge(number, &[word; 6]);
        }
        let rules = policy.about(number);
        let verdict = rules.judge(&[2; 6], &pointed);
        let (_, _, _) = (verdict.rewritten([2; 6]), verdict.question(), verdict.rule());
        assert!(rules.reads().iter().all(|read| read.argument < 6));
        let brings = rules.brings(&verdict, &[4; 6], || pointed);
        let taints = policy.taints().fold(0, |all, taint| all | 1 << taint.bit);
        assert!(brings & !taints == 0 && rules.bounded([4; 6]).iter().all(|word| *word <= 4));
    }
    for path in [&b"/"[..], b"/etc/shadow", b"/tmp/x/y", b"/\xff"] {
        assert!(!policy.file_rights(path).to_string().is_empty());
    }
    let _ = policy.same_rights_below(b"/etc", b"/tmp/x");
    assert!(policy.same_triggers(&policy.clone()));
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Tells which text it was that a test did not come to the end of.
struct Told<'t>(&'t str);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with the text {:?}", self.0);
        }
    }
}

#[test]
fn texts_of_the_language() {
    let texts = Texts::of(&LANGUAGE);
    let count = setting("CORDON_FUZZ").unwrap_or(4000);
    let mut random = Random(setting("CORDON_SEED").unwrap_or(0) << 40);
    let (mut text, mut policies, mut looked_at, mut no_toml) = (String::new(), 0_u64, 0_u64, 0_u64);
    for nth in 0..count {
        texts.write(&mut random, &mut text);
        let told = Told(&text);
        if check(told.0.as_bytes()) {
            policies += 1;
        } else if nth % SAMPLE == 0 {
            looked_at += 1;
            no_toml += u64::from(DeTable::parse(&text).is_err());
        }
    }
    let others = count - policies;
    let compiled = policies + others - others * no_toml / looked_at.max(1);
    println!(
        "{count} texts: {policies} policies; of {looked_at} others {no_toml} are no TOML: {compiled} get to the compiler"
    );
    assert!(policies > count / 8 && others > count / 4, "{policies} of {count} are policies");
    assert!(compiled > count / 2 && compiled < count, "{compiled} of {count} get to the compiler");
}

#[test]
fn every_part_is_read() {
    for text in Texts::of(&LANGUAGE).unchanged() {
        policy::parse("fuzz.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
}

#[test]
fn random_bytes() {
    let mut random = Random(1);
    for _ in 0..3000 {
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.next().to_le_bytes()[3]).collect();
        check(&bytes);
    }
}

#[test]
fn the_shipped_policy_damaged() {
    let mut random = Random(3);
    let mut survived = 0;
    for _ in 0..300 {
        let mut bytes = SHIPPED.to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = random.next().to_le_bytes()[0],
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, random.pick(b"\"[]{}=,\n'#.0x")),
                _ => bytes.truncate(at),
            }
            if bytes.is_empty() {
                break;
            }
        }
        survived += usize::from(check(&bytes));
    }
    assert!(survived > 10, "comments can change without harm, but only {survived} did");
}
