//! What a sandbox may take of the root's free memory, divided beforehand: whatever the child does with its
//! share, the root and the hypervisor keep theirs.
use tlfs::addr::PAGE_SIZE;

/// What stays for the root's heap beside files, and for the hypervisor's tables: a fixed part (less in a small machine)
/// and a share that grows with the sandbox.
const RESERVE: u64 = 16 << 20;
const SMALL_MACHINE_SHARE: u64 = 4;
const RESERVE_SHARE: u64 = 32;
/// The least share of the rest that files get.
const FILES_SHARE: u64 = 8;
/// Guest physical addresses, most of them without memory, below those that are given out freely.
const FOR_FIXED_PARTS: u64 = 4 << 20;
/// What an open file takes of the heap, and the share of the reserve that open files may take.
const HANDLE_COST: u64 = 128;
const HANDLE_SHARE: u64 = 8;
const MAX_HANDLES: u64 = 1 << 16;

/// The shares, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Guest physical memory of the child.
    pub child: u64,
    /// The files that it makes.
    pub files: u64,
    /// What it may take of all that together, if that is less ([`Budget::within`]).
    pub whole: Option<u64>,
    /// How many files it can have open.
    pub handles: usize,
}

impl Budget {
    /// Divides `free_pages` of the root's memory for `sandboxes` that are to have `wanted` bytes each. All get the same, and nobody
    /// can take of another's.
    #[must_use]
    pub fn divide(free_pages: u64, sandboxes: usize, wanted: u64) -> Self {
        let sandboxes = u64::try_from(sandboxes.max(1)).unwrap_or(u64::MAX);
        let free = (free_pages / sandboxes).saturating_mul(PAGE_SIZE);
        let reserve = RESERVE.min(free / SMALL_MACHINE_SHARE) + free / RESERVE_SHARE;
        let spare = free.saturating_sub(reserve);
        let child = wanted.min(spare - spare / FILES_SHARE);
        let handles = (reserve / HANDLE_SHARE / HANDLE_COST).min(MAX_HANDLES);
        let handles = usize::try_from(handles).unwrap_or(usize::MAX);
        Self { child, files: wanted.min(spare - child), whole: None, handles }
    }

    /// The same for sandboxes that are to have `whole` bytes each for everything together: each part can be nearly as much, as long as the others
    /// are small.
    #[must_use]
    pub fn within(free_pages: u64, sandboxes: usize, whole: u64) -> Self {
        let all = Self::divide(free_pages, sandboxes, u64::MAX);
        let whole = whole.min(all.child);
        let child = whole.saturating_add(FOR_FIXED_PARTS);
        // Files reckon with more for bookkeeping than the sum does.
        let files = whole.saturating_mul(2).min(all.child);
        Self { child, files, whole: Some(whole), handles: all.handles }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_wanted_is_given_if_it_is_there() {
        let budget = Budget::divide(3 * 1024 * MIB / PAGE_SIZE, 3, 256 * MIB);
        assert_eq!((budget.child, budget.files), (256 * MIB, 256 * MIB));
        assert!(budget.handles > 10_000);
    }

    #[test]
    fn a_whole_is_for_all_parts_and_within_the_machine() {
        let budget = Budget::within(3 * 1024 * MIB / PAGE_SIZE, 3, 256 * MIB);
        assert_eq!((budget.whole, budget.child, budget.files), (Some(256 * MIB), 260 * MIB, 512 * MIB));
        let small = Budget::within(100 * MIB / PAGE_SIZE, 1, 256 * MIB);
        assert!(small.whole.is_some_and(|whole| whole < 80 * MIB) && small.files < 80 * MIB);
    }

    #[test]
    fn the_shares_never_add_up_to_all() {
        for mib in [1, 8, 24, 64, 500, 4096, 1 << 20] {
            for wanted in [0, 1, 64 * MIB, u64::MAX] {
                let free = mib * MIB;
                let budget = Budget::divide(free / PAGE_SIZE, 1, wanted);
                assert!(budget.child + budget.files <= free - free / RESERVE_SHARE, "{mib} MiB");
                assert!(budget.child <= wanted && budget.files <= wanted);
            }
        }
        assert_eq!(Budget::divide(0, 0, 5), Budget { child: 0, files: 0, whole: None, handles: 0 });
    }
}
