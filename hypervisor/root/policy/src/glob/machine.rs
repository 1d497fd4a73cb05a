//! Patterns as one deterministic automaton: a table with a row for each state and a column for each kind of byte.
//!
//! It is made by the subset construction over the patterns' parts. Patterns whose parts begin alike share states for as long as they do, so
//! that a hundred of them are hardly more to follow than one. Some patterns have no small table; how large it may become, and what may be
//! spent on making it, hangs on their length and has an end, so that no policy costs more than its own size times a constant, and what is
//! needed while a table is made is small whatever the patterns are.
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Subject;
use super::pattern::{Glob, NEXT, Part, SECOND, STAY};

/// Entries of the table for each part of the patterns.
const ENTRIES_PER_PART: usize = 32;
/// Entries that may be there in any case: less than what is kept of a pattern anyway.
const FREE_ENTRIES: usize = 64;
/// Most entries of a table.
const MAX_ENTRIES: usize = 64 << 10;
/// Steps from one part to another that an entry may cost, on average.
const WORK_PER_ENTRY: usize = 8;

/// The state that nothing leads out of.
const DEAD: u16 = 0;
/// The state before the first byte.
const START: u16 = 1;

/// The automaton.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    /// The column of each byte.
    columns: Box<[u8; 256]>,
    width: usize,
    /// The next state: rows of `width`.
    next: Vec<u16>,
    /// Whether a text may end in this state.
    accepts: Vec<bool>,
}

impl Machine {
    /// The automaton of all these patterns without their beginnings; none if it would be too large.
    pub(super) fn new(globs: &[Glob]) -> Option<Self> {
        let subject = globs.first()?.subject;
        let parts: BTreeSet<&Part> = globs.iter().flat_map(|glob| &glob.parts).collect();
        let (columns, bytes) = columns(&parts, subject);
        let chains = Chains::of(globs)?;
        let length: usize = globs.iter().map(|glob| glob.parts.len()).sum();
        let mut sets = Sets::new((FREE_ENTRIES + length * ENTRIES_PER_PART).min(MAX_ENTRIES), &chains)?;
        let mut next = Vec::new();
        while let Some(set) = sets.following() {
            for &byte in &bytes {
                let after = chains.after(&set, byte, subject);
                next.push(sets.number(after)?);
            }
        }
        let accepts = sets.all.iter().map(|set| chains.accept(set)).collect();
        Some(Self { columns, width: bytes.len(), next, accepts })
    }

    /// Whether one of the patterns matches this.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let mut state = START;
        for &byte in text {
            let column = self.columns.get(usize::from(byte)).map_or(0, |column| usize::from(*column));
            state = self.next.get(usize::from(state) * self.width + column).copied().unwrap_or(DEAD);
            if state == DEAD {
                return false;
            }
        }
        self.accepts.get(usize::from(state)).copied().unwrap_or(false)
    }
}

/// The column of each byte, and one byte of each column: those that all parts treat alike share one.
fn columns(parts: &BTreeSet<&Part>, subject: Subject) -> (Box<[u8; 256]>, Vec<u8>) {
    let borders: BTreeSet<u8> = parts.iter().flat_map(|part| part.borders()).chain([b'/', b'/' + 1]).collect();
    let (mut columns, mut firsts) = (Box::new([0; 256]), Vec::new());
    let (mut known, mut column) = (BTreeMap::new(), 0);
    for (byte, place) in (0..=u8::MAX).zip(columns.iter_mut()) {
        if byte == 0 || borders.contains(&byte) {
            let steps: Vec<u128> = parts.iter().map(|part| part.step(byte, subject)).collect();
            column = *known.entry(steps).or_insert_with(|| {
                firsts.push(byte);
                // There are no more columns than bytes.
                u8::try_from(firsts.len() - 1).unwrap_or(u8::MAX)
            });
        }
        *place = column;
    }
    (columns, firsts)
}

/// The parts of several patterns. Those whose parts are the same up to here share one link.
struct Chains {
    links: Vec<Link>,
    first: Vec<u16>,
}

/// A part, and what may follow it in one of the patterns.
struct Link {
    /// Nothing: the end of a pattern.
    part: Option<Part>,
    next: Vec<u16>,
}

impl Chains {
    fn of(globs: &[Glob]) -> Option<Self> {
        let mut chains = Self { links: Vec::new(), first: Vec::new() };
        for glob in globs {
            let mut before = None;
            for part in glob.parts.iter().map(Some).chain([None]) {
                before = Some(chains.link(before, part)?);
            }
        }
        Some(chains)
    }

    /// The link of a part behind another one; none if there are too many.
    fn link(&mut self, before: Option<u16>, part: Option<&Part>) -> Option<u16> {
        let known = self.behind(before).iter().find(|link| self.part(**link) == part).copied();
        if known.is_some() {
            return known;
        }
        let link = u16::try_from(self.links.len()).ok()?;
        self.links.push(Link { part: part.cloned(), next: Vec::new() });
        match before.and_then(|before| self.links.get_mut(usize::from(before))) {
            Some(before) => before.next.push(link),
            None => self.first.push(link),
        }
        Some(link)
    }

    fn part(&self, link: u16) -> Option<&Part> {
        self.links.get(usize::from(link))?.part.as_ref()
    }

    /// What may follow a link; without one, what may be first.
    fn behind(&self, link: Option<u16>) -> &[u16] {
        match link {
            Some(link) => self.links.get(usize::from(link)).map_or(&[], |link| &link.next),
            None => &self.first,
        }
    }

    /// What may follow what may follow.
    fn second(&self, link: u16) -> impl Iterator<Item = u16> {
        self.behind(Some(link)).iter().flat_map(|next| self.behind(Some(*next))).copied()
    }

    /// All links that are reached from these without a byte, sorted.
    fn closed(&self, set: BTreeSet<u16>) -> Vec<u16> {
        let (mut waiting, mut all): (Vec<u16>, _) = (set.iter().copied().collect(), set);
        while let Some(link) = waiting.pop() {
            let Some(part) = self.part(link) else { continue };
            let next = part.leads_to_next().then(|| self.behind(Some(link)).iter().copied());
            let second = part.leads_to_second().then(|| self.second(link));
            let more = next.into_iter().flatten().chain(second.into_iter().flatten());
            waiting.extend(more.filter(|link| all.insert(*link)));
        }
        all.into_iter().collect()
    }

    /// The links that a byte leads to.
    fn after(&self, set: &[u16], byte: u8, subject: Subject) -> Vec<u16> {
        let mut after = BTreeSet::new();
        for &link in set {
            let to = self.part(link).map_or(0, |part| part.step(byte, subject));
            if to & STAY != 0 {
                after.insert(link);
            }
            if to & NEXT != 0 {
                after.extend(self.behind(Some(link)));
            }
            if to & SECOND != 0 {
                after.extend(self.second(link));
            }
        }
        self.closed(after)
    }

    /// Whether a pattern ends here.
    fn accept(&self, set: &[u16]) -> bool {
        set.iter().any(|link| self.part(*link).is_none())
    }
}

/// Sets of links, each of which is a state, and what may still be spent on them.
struct Sets {
    numbers: BTreeMap<Vec<u16>, u16>,
    all: Vec<Vec<u16>>,
    /// Those whose rows are done.
    done: usize,
    entries: usize,
    work: usize,
}

impl Sets {
    /// The states that are there from the start: the dead one, and the one before the first byte.
    fn new(entries: usize, chains: &Chains) -> Option<Self> {
        let (numbers, all) = (BTreeMap::new(), Vec::new());
        let mut sets = Self { numbers, all, done: 0, entries, work: entries * WORK_PER_ENTRY };
        let start = chains.closed(chains.first.iter().copied().collect());
        let numbers = [sets.number(Vec::new())?, sets.number(start)?];
        (numbers == [DEAD, START]).then_some(sets)
    }

    /// The next state whose row is to be made.
    fn following(&mut self) -> Option<Vec<u16>> {
        let set = self.all.get(self.done).cloned();
        self.done += usize::from(set.is_some());
        set
    }

    /// The number of the state that is this set; none if too much was spent.
    fn number(&mut self, set: Vec<u16>) -> Option<u16> {
        self.entries = self.entries.checked_sub(1)?;
        self.work = self.work.checked_sub(set.len())?;
        if let Some(known) = self.numbers.get(&set) {
            return Some(*known);
        }
        let number = u16::try_from(self.all.len()).ok()?;
        self.all.push(set.clone());
        self.numbers.insert(set, number);
        Some(number)
    }
}
