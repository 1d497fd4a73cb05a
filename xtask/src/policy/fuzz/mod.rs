//! Whatever a policy file holds, of whichever format: it ends as a policy that compiles or as an error with a place. Seeded; the same in every run.
//! `CORDON_FUZZ=N` tries N texts of each format instead of a few, `CORDON_SEED=S` others.
use super::{Container, PolicyFiles, check, json};
use seeded::Random;
use seeded::texts::{Language, Texts};
use std::env;
use std::path::Path;

const WORDS: &str = include_str!("words.txt");
const CONFIG: &str = "{\"ociVersion\": \"1.0.2\",\n";

/// The formats. Of ours there is more to try in its own crate.
const FORMATS: [(&str, Language<'_>); 6] = [
    (
        "our own",
        Language {
            heads: include_str!("../../../../hypervisor/root/policy/tests/fuzz/heads.toml"),
            parts: include_str!("../../../../hypervisor/root/policy/tests/fuzz/parts.toml"),
            between: "\n",
            tail: "",
            words: include_str!("../../../../hypervisor/root/policy/tests/fuzz/words.txt"),
        },
    ),
    (
        "our own as JSON",
        Language {
            heads: "{\"version\": 1,\n",
            parts: include_str!("own.json"),
            between: ",\n",
            tail: "}",
            words: WORDS,
        },
    ),
    (
        "seccomp profiles",
        Language {
            heads: include_str!("profiles.json"),
            parts: include_str!("entries.json"),
            between: ",\n",
            tail: "]}",
            words: WORDS,
        },
    ),
    (
        "OCI's config.json",
        Language { heads: CONFIG, parts: include_str!("config.json"), between: ",\n", tail: "}", words: WORDS },
    ),
    (
        "minijail",
        Language { heads: "# x\n", parts: include_str!("minijail.txt"), between: "", tail: "dup2: 1\n", words: WORDS },
    ),
    (
        "systemd",
        Language {
            heads: "[Service]\n\n# /lib/systemd/system/x.service\n[Service]\n",
            parts: include_str!("systemd.txt"),
            between: "",
            tail: "SystemCallFilter=read\n",
            words: WORDS,
        },
    ),
];

/// What became of texts.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    policies: u64,
    /// Refused, once their format was read and translated.
    by_compiler: u64,
    by_reader: u64,
}

impl Count {
    fn add(&mut self, text: &str) {
        let policy = PolicyFiles::of_bytes(Path::new("/nonexistent/f"), "f", text.as_bytes(), &Container::default());
        let why = match policy.map(|policy| (policy.compiled().map_err(|why| why.to_string()), policy)) {
            Ok((Ok(_), policy)) => {
                self.policies += 1;
                assert_places(&policy, text);
                return assert_written_again(&policy, text);
            }
            Ok((Err(why), _)) => {
                self.by_compiler += 1;
                why
            }
            Err(why) => {
                self.by_reader += 1;
                why
            }
        };
        let parts: Vec<&str> = why.split(':').collect();
        let is_number = |part: &&str| part.parse::<u32>().is_ok_and(|number| number > 0);
        let is_placed = match parts.as_slice() {
            ["f", place @ ..] => place.len() > 2 && place.iter().take(2).all(is_number),
            // A file that a unit's text names.
            [path, place @ ..] => path.starts_with('/') && place.windows(2).any(|pair| pair.iter().all(is_number)),
            [] => false,
        };
        assert!(is_placed, "{why:?} for {text:?}");
    }
}

/// Verdicts name lines that the file has.
fn assert_places(policy: &PolicyFiles, text: &str) {
    let (compiled, lines) = (policy.compiled().unwrap(), text.split('\n').count());
    for call in 0..500 {
        let place = compiled.judge(call, &[0; 6]).rule().place;
        let is_there = usize::try_from(place.line).is_ok_and(|line| line <= lines);
        assert!(is_there && (place.file == "f" || place.file.starts_with('/')), "{place} for {text:?}");
    }
}

/// What a policy is written as is read again.
fn assert_written_again(policy: &PolicyFiles, text: &str) {
    let written = check::check(policy).and_then(|_| policy.flat()).map_err(|why| why.to_string());
    let written = written.and_then(|flat| json::of_toml(&flat));
    let written = written.and_then(|_| policy.json().map_err(|why| why.to_string()));
    assert!(written.is_ok(), "{written:?} for {text:?}");
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn texts_of_every_format() {
    let (count, seed) = (setting("CORDON_FUZZ").unwrap_or(500), setting("CORDON_SEED").unwrap_or(0));
    let try_all = |nth: u64, name: &str, language: &Language<'_>| {
        let texts = Texts::of(language);
        let (mut random, mut text, mut found) = (Random((seed << 40) + (nth << 32)), String::new(), Count::default());
        for _ in 0..count {
            texts.write(&mut random, &mut text);
            found.add(&text);
        }
        println!("{name}: {count} texts, {found:?}");
        // Systemd passes over most of what it does not know, and so is there least to refuse.
        assert!(found.policies > count / 10 && found.policies < count * 19 / 20, "{name}: {found:?}");
    };
    std::thread::scope(|scope| {
        for (nth, (name, language)) in (0..).zip(&FORMATS) {
            scope.spawn(move || try_all(nth, name, language));
        }
    });
}

#[test]
fn every_part_is_read() {
    for text in FORMATS.iter().flat_map(|(_, language)| Texts::of(language).unchanged().collect::<Vec<_>>()) {
        let mut found = Count::default();
        found.add(&text);
        // There is nothing to include here.
        assert!(found.policies == 1 || text.contains("@include"), "{found:?}: {text}");
    }
}
