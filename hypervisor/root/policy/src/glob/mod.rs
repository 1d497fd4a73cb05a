//! Globs: patterns for strings and paths, and sets of them.
//!
//! | in a pattern | stands for |
//! |---|---|
//! | `?` | one byte; in a path, none that is `/` |
//! | `*` | any number of such bytes |
//! | `[a-z_]`, `[!0-9]` | one byte of, or not of, these; in a path never `/` |
//! | `/**` (paths) | nothing, or `/` and anything: whole components. `/etc/**` is `/etc` and all below, `/usr/**/bin` also `/usr/bin` |
//! | `**/` at the start (paths) | nothing, or anything up to a `/` |
//! | `\` and a character | that character |
//!
//! Matching is over bytes, from the first to the last, and allocates nothing. A set is sorted by what its patterns begin with, and that is
//! looked up byte by byte for all of them together. What follows it is one look into a table for each byte, for all patterns with that
//! beginning ([`machine`]). If the table would be larger than the patterns are worth, each of them runs as a nondeterministic automaton whose
//! states are the bits of one word: the cost is bounded by the text's length times the patterns' parts, whatever the text is.

mod machine;
mod pattern;

use alloc::boxed::Box;
use alloc::vec::Vec;

use machine::Machine;
use pattern::Glob;
pub use pattern::MAX_PATTERN;

/// What a text is: it decides what `*` and `?` stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Bytes without a meaning.
    Text,
    /// Components with `/` between them.
    Path,
}

/// Why a pattern is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobError {
    /// Longer than [`MAX_PATTERN`], or with too many parts behind its literal beginning.
    TooLong,
    /// `[` without `]`, or with nothing in it, or with a range that runs backwards.
    BadClass,
    /// `\` at the end.
    LoneEscape,
    /// `**` that is not a whole component.
    BadDoubleStar,
}

impl GlobError {
    /// What to tell the author.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::TooLong => "this pattern is too long or has too many parts; make several of it",
            Self::BadClass => "`[` begins a set of characters, such as [a-z]; write `\\[` for the character itself",
            Self::LoneEscape => "`\\` at the end escapes nothing",
            Self::BadDoubleStar => "`**` stands for whole components: write it as in /a/**, /a/**/b or **/b",
        }
    }
}

/// Patterns of which one has to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobSet {
    /// Sorted by their literal beginnings.
    groups: Vec<Group>,
}

/// Patterns with the same literal beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    prefix: Box<[u8]>,
    globs: Vec<Glob>,
    /// All of them in one; none if they are simpler than it, or too much for it.
    machine: Option<Machine>,
}

impl GlobSet {
    /// The set of these patterns.
    ///
    /// # Errors
    /// The index of the first that is none, and why.
    pub fn new<'a>(patterns: impl Iterator<Item = &'a str>, subject: Subject) -> Result<Self, (usize, GlobError)> {
        let globs = patterns
            .enumerate()
            .map(|(index, pattern)| Glob::parse(pattern.as_bytes(), subject).map_err(|error| (index, error)));
        let mut globs = globs.collect::<Result<Vec<_>, _>>()?;
        globs.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        let groups = globs.chunk_by(|a, b| a.prefix == b.prefix).filter_map(Group::new);
        Ok(Self { groups: groups.collect() })
    }

    /// Whether one of the patterns matches all of `text`.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        // Those whose beginning agrees with the text so far: they stand together, the shortest first.
        let mut candidates = self.groups.as_slice();
        let mut rest = text;
        let mut at = 0;
        loop {
            if let Some((first, others)) = candidates.split_first()
                && first.prefix.len() == at
            {
                if first.rest_matches(rest) {
                    return true;
                }
                candidates = others;
            }
            let (Some(first), Some(last)) = (candidates.first(), candidates.last()) else { return false };
            let Some((&byte, after)) = rest.split_first() else { return false };
            if first.prefix.get(at) != Some(&byte) || last.prefix.get(at) != Some(&byte) {
                candidates = with_byte(candidates, at, byte);
            }
            rest = after;
            at += 1;
        }
    }
}

impl GlobSet {
    /// The set without a pattern, which matches nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self { groups: Vec::new() }
    }

    /// Whether the patterns match all that lies below this directory. May say no where they do.
    #[must_use]
    pub fn matches_all_below(&self, dir: &[u8]) -> bool {
        self.globs().any(|glob| glob.below(dir).is_everything(glob))
    }

    /// Whether the patterns match the same below one directory as below another. May say no where they do.
    #[must_use]
    pub fn same_below(&self, one: &[u8], other: &[u8]) -> bool {
        self.globs().all(|glob| glob.below(one) == glob.below(other))
    }

    fn globs(&self) -> impl Iterator<Item = &Glob> {
        self.groups.iter().flat_map(|group| &group.globs)
    }
}

impl Group {
    /// The group of these, which begin alike.
    fn new(globs: &[Glob]) -> Option<Self> {
        let first = globs.first()?;
        let machine = if globs.iter().all(Glob::is_simple) { None } else { Machine::new(globs) };
        Some(Self { prefix: first.prefix.clone(), globs: globs.into(), machine })
    }

    /// Whether one of them matches what follows the beginning.
    fn rest_matches(&self, text: &[u8]) -> bool {
        match &self.machine {
            Some(machine) => machine.matches(text),
            None => self.globs.iter().any(|glob| glob.rest_matches(text)),
        }
    }
}

/// Those of sorted groups, which agree before `at`, that have this byte there.
fn with_byte(groups: &[Group], at: usize, byte: u8) -> &[Group] {
    let found = |group: &Group| group.prefix.get(at).copied();
    let start = groups.partition_point(|group| found(group) < Some(byte));
    let (_, groups) = groups.split_at(start);
    let end = groups.partition_point(|group| found(group) == Some(byte));
    groups.split_at(end).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    fn path(pattern: &str, text: &str) -> bool {
        GlobSet::new([pattern].into_iter(), Subject::Path).expect("a pattern").matches(text.as_bytes())
    }

    fn text(pattern: &str, text: &str) -> bool {
        GlobSet::new([pattern].into_iter(), Subject::Text).expect("a pattern").matches(text.as_bytes())
    }

    #[test]
    fn stars_stay_in_their_component() {
        assert!(path("/a/*.c", "/a/x.c") && path("/a/*.c", "/a/.c"));
        assert!(!path("/a/*.c", "/a/b/x.c") && !path("/a/*.c", "/a/x.cc"));
        assert!(path("/a?c", "/abc") && !path("/a?c", "/a/c"));
        assert!(path("/[!x]", "/y") && !path("/a[!x]c", "/a/c") && path("/[]a-c-]", "/]") && path("/[a-c-]", "/-"));
        assert!(text("a*c", "a/b/c") && text("a?c", "a/c") && text("a**c", "abbc") && !text("a*c", "acb"));
        assert!(path("/a\\*", "/a*") && !path("/a\\*", "/ab"));
        assert!(path("", "") && !path("", "a") && text("*", ""));
    }

    #[test]
    fn double_stars_are_components() {
        for (pattern, yes, no) in [
            ("/etc/**", &["/etc", "/etc/", "/etc/a", "/etc/a/b"][..], &["/etcetera", "/et", "/"][..]),
            ("/usr/**/bin", &["/usr/bin", "/usr/a/bin", "/usr/a/b/bin"], &["/usr/abin", "/usr/bin/a", "/usr"]),
            ("**/core", &["core", "/core", "a/core", "/a/b/core"], &["score", "/a/score", "core/a"]),
            ("/**", &["/", "/a", ""], &["a"]),
            ("**", &["", "a", "/a/b"], &[]),
            ("/a/**/*.so.?", &["/a/x.so.1", "/a/b/c/x.so.2"], &["/a/x.so.12", "/a/x.so./"]),
            ("/a/**/b/**/c", &["/a/b/c", "/a/b/b/c", "/a/x/b/y/c"], &["/a/c", "/a/b/xc"]),
        ] {
            for text in yes {
                assert!(path(pattern, text), "{pattern} {text}");
            }
            for text in no {
                assert!(!path(pattern, text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn bad_patterns() {
        let refused = |pattern: &str| GlobSet::new(["ok", pattern].into_iter(), Subject::Path).unwrap_err();
        assert_eq!(refused("/a[b"), (1, GlobError::BadClass));
        assert_eq!(refused("/a[b-a]"), (1, GlobError::BadClass));
        assert_eq!(refused("/a[]"), (1, GlobError::BadClass));
        assert_eq!(refused("/a\\"), (1, GlobError::LoneEscape));
        assert_eq!(refused("/a**"), (1, GlobError::BadDoubleStar));
        assert_eq!(refused("/a/**b"), (1, GlobError::BadDoubleStar));
        assert_eq!(refused(&"?".repeat(121)), (1, GlobError::TooLong));
        assert_eq!(refused(&"a".repeat(1025)), (1, GlobError::TooLong));
        assert!(GlobSet::new([&*"?".repeat(120)].into_iter(), Subject::Path).is_ok());
    }

    #[test]
    fn sets_match_by_any_of_their_patterns() {
        let patterns = ["/usr/lib/**", "/usr/lib", "/usr/*", "/u", "/etc/passwd", "/zz", "*"];
        let set = GlobSet::new(patterns.into_iter(), Subject::Path).expect("patterns");
        for text in ["/usr/lib/x/y", "/usr/lib", "/usr/x", "/u", "/etc/passwd", "/zz", "x", ""] {
            assert!(set.matches(text.as_bytes()), "{text}");
        }
        for text in ["/usr/x/y", "/", "/zzz", "/etc/passw", "/etc/passwd/", "/a"] {
            assert!(!set.matches(text.as_bytes()), "{text}");
        }
        assert!(!GlobSet::new([].into_iter(), Subject::Path).expect("none").matches(b""));
    }

    #[test]
    fn patterns_that_begin_alike_are_one_table() {
        let patterns: Vec<String> = (0..100).map(|n| format!("/usr/lib/**/module_{n}-*.py")).collect();
        let set = GlobSet::new(patterns.iter().map(String::as_str), Subject::Path).expect("patterns");
        assert_eq!(set.groups.len(), 1);
        assert!(set.groups[0].machine.is_some());
        for text in ["/usr/lib/module_7-x.py", "/usr/lib/a/b/module_99-.py", "/usr/lib/module_1-/module_42-a.py.py"] {
            assert!(set.matches(text.as_bytes()), "{text}");
        }
        for text in ["/usr/lib/module_100-x.py", "/usr/lib/a/module_9.py", "/usr/libmodule_7-x.py", "/usr/lib"] {
            assert!(!set.matches(text.as_bytes()), "{text}");
        }
    }

    /// All texts of so many of these bytes.
    fn texts(bytes: &[u8], length: usize) -> Vec<Vec<u8>> {
        let Some(shorter) = length.checked_sub(1) else { return Vec::from([Vec::new()]) };
        let longer = |text: Vec<u8>| bytes.iter().map(move |byte| [&text[..], &[*byte]].concat()).collect::<Vec<_>>();
        texts(bytes, shorter).into_iter().flat_map(longer).collect()
    }

    /// The two ways to match, which are not asked the same questions elsewhere.
    #[test]
    fn tables_and_single_patterns_agree() {
        let texts: Vec<Vec<u8>> = (0..=7).flat_map(|length| texts(b"ab/x", length)).collect();
        for patterns in [
            &["*a*b", "*/a", "?b*", "[!a]x"][..],
            &["**/a", "**/b/**", "**/a*b"],
            &["/**/a", "/**/ab*", "/**/b/**/a", "/**"],
            &["[a-b]*[!b]", "*", "[x/]?"],
            &["**/[]a-]?/**/*"],
        ] {
            for subject in [Subject::Path, Subject::Text] {
                let parsed = patterns.iter().map(|pattern| Glob::parse(pattern.as_bytes(), subject));
                let Ok(globs) = parsed.collect::<Result<Vec<_>, _>>() else { continue };
                let machine = Machine::new(&globs).expect("small enough");
                for text in &texts {
                    let single = globs.iter().any(|glob| glob.rest_matches(text));
                    assert_eq!(machine.matches(text), single, "{patterns:?} {subject:?} {text:?}");
                }
            }
        }
    }

    /// A table of this would have to know of the last hundred bytes which was an `a`.
    #[test]
    fn what_no_table_can_hold_is_matched_all_the_same() {
        let pattern = format!("*a{}", "?".repeat(100));
        let set = GlobSet::new([pattern.as_str()].into_iter(), Subject::Text).expect("a pattern");
        assert!(set.groups[0].machine.is_none());
        let text = |at: usize| format!("{}a{}", "b".repeat(at), "b".repeat(300 - at));
        assert!(set.matches(text(200).as_bytes()));
        assert!(!set.matches(text(199).as_bytes()) && !set.matches(text(201).as_bytes()));
    }
}
