//! "Did you mean": the nearest of the names that would have been right.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Names longer than this are not compared: no call, key or error has one.
const LONGEST: usize = 32;

/// "; did you mean `x`?", or nothing if no candidate is near.
#[must_use]
pub fn did_you_mean<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> String {
    match nearest(name, candidates) {
        Some(candidate) => format!("; did you mean `{candidate}`?"),
        None => String::new(),
    }
}

/// The candidate that is `name` with a little before or behind it (`umount` → `umount2`), else the one with the fewest
/// edits, if they are few.
fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    if name.len() > LONGEST {
        return None;
    }
    let allowed = (name.len() / 3).clamp(1, 2);
    let folded = name.to_ascii_lowercase();
    let rank = |candidate: &str| {
        let extra = candidate.len().saturating_sub(name.len());
        if name.len() >= 4 && extra <= 3 && candidate.contains(folded.as_str()) {
            return Some((0, extra));
        }
        let edits = distance(folded.as_bytes(), candidate.to_ascii_lowercase().as_bytes());
        (edits <= allowed).then_some((1, edits))
    };
    let ranked = candidates.filter_map(|candidate| Some((rank(candidate)?, candidate)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, candidate)| candidate)
}

/// How many bytes must be changed, added, left out or swapped with their neighbour to make `b` of `a`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(above.len());
        row.push(i + 1);
        for (j, to) in b.iter().enumerate() {
            let mut edits = (at(&above, j) + usize::from(from != to)).min(at(&above, j + 1) + 1).min(at(&row, j) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(to) && b.get(j - 1) == Some(from) {
                edits = edits.min(at(&before, j - 1) + 1);
            }
            row.push(edits);
        }
        before = core::mem::replace(&mut above, row);
    }
    at(&above, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance(b"", b""), 0);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"opneat", b"openat"), 1);
    }

    #[test]
    fn suggestions() {
        let calls = || proto::syscalls::SYSCALLS.iter().map(|call| call.name);
        assert_eq!(did_you_mean("opneat", calls()), "; did you mean `openat`?");
        assert_eq!(did_you_mean("READ", calls()), "; did you mean `read`?");
        assert_eq!(did_you_mean("fstatat", calls()), "; did you mean `newfstatat`?");
        assert_eq!(did_you_mean("umount", calls()), "; did you mean `umount2`?");
        assert_eq!(did_you_mean("frobnicate", calls()), "");
    }
}
