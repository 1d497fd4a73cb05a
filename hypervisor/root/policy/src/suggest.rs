//! "Did you mean": the nearest of the names that would have been right.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Names longer than this are not compared: no call, key or error has one.
const LONGEST: usize = 32;

/// "; did you mean `x`?", or nothing if no candidate is near.
pub(crate) fn did_you_mean<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> String {
    match nearest(name, candidates) {
        Some(candidate) => format!("; did you mean `{candidate}`?"),
        None => String::new(),
    }
}

/// The candidate with the fewest edits away from `name`, if they are few; else the shortest that contains it.
fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    if name.len() > LONGEST {
        return None;
    }
    let allowed = (name.len() / 3).clamp(1, 2);
    let folded = name.to_ascii_lowercase();
    let rank = |candidate: &&'c str| {
        let edits = distance(folded.as_bytes(), candidate.to_ascii_lowercase().as_bytes());
        let part = name.len() >= 4 && candidate.contains(folded.as_str());
        match (edits <= allowed, part) {
            (true, _) => Some(edits),
            (false, true) => Some(LONGEST + candidate.len()),
            (false, false) => None,
        }
    };
    candidates.filter_map(|candidate| Some((rank(&candidate)?, candidate))).min_by_key(|(rank, _)| *rank).map(|(_, candidate)| candidate)
}

/// Levenshtein's distance.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, to) in row.iter_mut().skip(1).zip(b) {
            let edits = (diagonal + usize::from(from != to)).min(left + 1).min(*cell + 1);
            diagonal = core::mem::replace(cell, edits);
            left = edits;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance(b"", b""), 0);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"opneat", b"openat"), 2);
    }

    #[test]
    fn suggestions() {
        let calls = || proto::syscalls::SYSCALLS.iter().map(|call| call.name);
        assert_eq!(did_you_mean("opneat", calls()), "; did you mean `openat`?");
        assert_eq!(did_you_mean("READ", calls()), "; did you mean `read`?");
        assert_eq!(did_you_mean("fstatat", calls()), "; did you mean `newfstatat`?");
        assert_eq!(did_you_mean("frobnicate", calls()), "");
    }
}
