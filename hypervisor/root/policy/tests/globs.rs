//! Globs against a matcher that follows the words of their documentation, one way after the other. Seeded; the same each time.

use policy::glob::{GlobSet, MAX_PATTERN, Subject};
use seeded::Random;

/// Whether `pattern` matches `text`, found by trying everything.
fn reference(pattern: &[u8], text: &[u8], subject: Subject, at_start: bool) -> bool {
    let path = subject == Subject::Path;
    let outside = |byte: u8| path && byte == b'/';
    let tails = |text: &[u8]| (0..=text.len()).collect::<Vec<_>>();
    match pattern {
        [] => text.is_empty(),
        [b'*', b'*'] if path && at_start => true,
        [b'*', b'*', b'/', rest @ ..] if path && at_start => tails(text)
            .into_iter()
            .any(|at| (at == 0 || text[at - 1] == b'/') && reference(rest, &text[at..], subject, false)),
        [b'/', b'*', b'*', rest @ ..] if path && matches!(rest, [] | [b'/', ..]) => tails(text)
            .into_iter()
            .any(|at| (at == 0 || text[0] == b'/') && reference(rest, &text[at..], subject, false)),
        [b'*', rest @ ..] => tails(text)
            .into_iter()
            .any(|at| !text[..at].iter().any(|byte| outside(*byte)) && reference(rest, &text[at..], subject, false)),
        [b'?', rest @ ..] => {
            matches!(text, [byte, after @ ..] if !outside(*byte) && reference(rest, after, subject, false))
        }
        [b'[', b'a', b'-', b'b', b']', rest @ ..] => {
            matches!(text, [b'a' | b'b', after @ ..] if reference(rest, after, subject, false))
        }
        [b'[', b'!', b'a', b']', rest @ ..] => {
            matches!(text, [byte, after @ ..] if *byte != b'a' && !outside(*byte) && reference(rest, after, subject, false))
        }
        [literal, rest @ ..] => {
            matches!(text, [byte, after @ ..] if byte == literal && reference(rest, after, subject, false))
        }
    }
}

fn joined(random: &mut Random, pieces: &[&str], most: usize) -> String {
    let count = random.below(most + 1);
    (0..count).map(|_| random.pick(pieces)).collect()
}

fn agree(seed: u64, rounds: usize) {
    let mut random = Random(seed);
    let (mut matched, mut other) = (0, 0);
    for _ in 0..rounds {
        let subject = random.pick(&[Subject::Path, Subject::Text]);
        let pieces: &[&str] = match subject {
            Subject::Path => &["a", "b", "/", "/", "*", "?", "/**", "**/", "[a-b]", "[!a]", "ab"],
            Subject::Text => &["a", "b", "/", "*", "?", "[a-b]", "[!a]", "ab"],
        };
        let count = random.below(4) + 1;
        let patterns: Vec<String> = (0..count).map(|_| joined(&mut random, pieces, 7)).collect();
        let Ok(set) = GlobSet::new(patterns.iter().map(String::as_str), subject) else { continue };
        for _ in 0..8 {
            let text = joined(&mut random, &["a", "b", "c", "/"], 9);
            let expected = patterns.iter().any(|pattern| reference(pattern.as_bytes(), text.as_bytes(), subject, true));
            assert_eq!(set.matches(text.as_bytes()), expected, "{patterns:?} {text:?} {subject:?}");
            if expected { matched += 1 } else { other += 1 }
        }
    }
    assert!(matched > rounds / 4 && other > rounds / 4, "{matched} {other}");
}

#[test]
fn sets_agree_with_trying_everything() {
    agree(11, 8_000);
}

#[test]
#[ignore = "a hundred times as many: minutes"]
fn sets_agree_with_trying_everything_long() {
    agree(12, 2_000_000);
}

/// Patterns that make a matcher which goes back try for ever: this ends at once.
#[test]
fn no_pattern_is_slow() {
    let stars = "*a".repeat(50);
    let deep = "/**/a*".repeat(12);
    let set = GlobSet::new([stars.as_str(), deep.as_str()].into_iter(), Subject::Path).expect("patterns");
    let text = vec![b'a'; 4095];
    assert!(set.matches(&text));
    let mut text = b"/a".repeat(2047);
    text.push(b'b');
    assert!(set.matches(&text));
    text.push(b'/');
    assert!(!set.matches(&text));
}

#[test]
fn any_bytes_are_a_pattern_or_an_error() {
    let mut random = Random(13);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..20_000 {
        let pattern: String = (0..random.below(40)).map(|_| char::from(random.pick(b"a/*?[]!-\\^\x7f"))).collect();
        let text: Vec<u8> = (0..random.below(40)).map(|_| random.pick(b"a/*?[]!-\\^\xff")).collect();
        for subject in [Subject::Path, Subject::Text] {
            match GlobSet::new([pattern.as_str()].into_iter(), subject) {
                Ok(set) => good += usize::from(set.matches(&text) == set.matches(&text)),
                Err((index, _)) => bad += usize::from(index == 0),
            }
        }
    }
    assert_eq!(good + bad, 40_000);
    assert!(good > 1000 && bad > 1000);
    assert!(GlobSet::new([&*"/".repeat(MAX_PATTERN + 1)].into_iter(), Subject::Path).is_err());
}
