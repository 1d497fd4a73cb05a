//! Address space identifiers: which translations in the TLB are whose.
//!
//! A VP keeps its identifier until its address space changes under it; then it gets a fresh one, so that old
//! translations are out of reach without a flush. When all are used up, everything is flushed once and counting
//! starts again. Each VP has its own identifier, also when two share a partition: on one processor that costs nothing
//! but some sharing of translations.

use engine::AddressSpace;

/// What a VP remembers of its identifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    asid: u32,
    round: u64,
    space: Option<AddressSpace>,
}

/// What to write into the control block for the next entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The identifier.
    pub asid: u32,
    /// Flush the translations of all address spaces on this entry.
    pub flush_all: bool,
}

/// Hands out identifiers 1 to `limit - 1`; 0 is the host's.
#[derive(Debug)]
pub struct Asids {
    limit: u32,
    next: u32,
    round: u64,
}

impl Asids {
    /// `limit`: number of identifiers that the processor has (CPUID 8000_000A EBX), the host's included.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        // The very first entry flushes: the TLB's contents are not known.
        Self { limit, next: limit, round: 0 }
    }

    /// The identifier to run in `space` with, if it is not the one that the VP holds already.
    #[inline]
    pub fn assign(&mut self, held: &mut Held, space: AddressSpace) -> Option<Assignment> {
        if held.round == self.round && held.space == Some(space) { None } else { Some(self.renew(held, space)) }
    }

    #[cold]
    fn renew(&mut self, held: &mut Held, space: AddressSpace) -> Assignment {
        let flush_all = self.next >= self.limit;
        if flush_all {
            self.round += 1;
            self.next = 1;
        }
        *held = Held { asid: self.next, round: self.round, space: Some(space) };
        self.next += 1;
        Assignment { asid: held.asid, flush_all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tlfs::addr::Spa;

    fn space(tag: u16, generation: u64) -> AddressSpace {
        AddressSpace { root: Spa(u64::from(tag) << 12), tag, generation }
    }

    const fn fresh(asid: u32, flush_all: bool) -> Option<Assignment> {
        Some(Assignment { asid, flush_all })
    }

    #[test]
    fn the_first_entry_flushes_and_later_ones_keep() {
        let (mut asids, mut held) = (Asids::new(16), Held::default());
        assert_eq!(asids.assign(&mut held, space(1, 0)), fresh(1, true));
        assert_eq!(asids.assign(&mut held, space(1, 0)), None);
    }

    #[test]
    fn a_changed_space_gets_a_fresh_identifier() {
        let (mut asids, mut held) = (Asids::new(16), Held::default());
        asids.assign(&mut held, space(1, 0));
        assert_eq!(asids.assign(&mut held, space(1, 1)), fresh(2, false));
        assert_eq!(asids.assign(&mut held, space(2, 1)), fresh(3, false));
    }

    #[test]
    fn running_out_flushes_once_and_renews_everyone() {
        let (mut asids, mut a, mut b) = (Asids::new(3), Held::default(), Held::default());
        asids.assign(&mut a, space(1, 0));
        assert_eq!(asids.assign(&mut b, space(2, 0)), fresh(2, false));
        assert_eq!(asids.assign(&mut a, space(1, 1)), fresh(1, true));
        assert_eq!(asids.assign(&mut b, space(2, 0)), fresh(2, false), "old round: renewed");
        assert_eq!(asids.assign(&mut a, space(1, 1)), None);
    }

    #[test]
    fn two_identifiers_are_enough() {
        let (mut asids, mut a, mut b) = (Asids::new(2), Held::default(), Held::default());
        for _ in 0..4 {
            assert_eq!(asids.assign(&mut a, space(1, 0)), fresh(1, true));
            assert_eq!(asids.assign(&mut b, space(2, 0)), fresh(1, true));
        }
    }
}
