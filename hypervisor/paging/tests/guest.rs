//! The guest walk, in each of the modes that x86 has, over tables made by hand.
#![allow(clippy::cast_possible_truncation, reason = "the numbers are the test's own")]

use paging::guest::{GuestAccess, GuestPaging, Privilege, Translation, WalkFault, walk};
use std::cell::Cell;
use std::collections::BTreeMap;
use tlfs::addr::{Gpa, Gva};

const PG: u64 = 1 << 31;
const WP: u64 = 1 << 16;
const PSE: u64 = 1 << 4;
const PAE: u64 = 1 << 5;
const LA57: u64 = 1 << 12;
const SMEP: u64 = 1 << 20;
const LMA: u64 = 1 << 10;
const NXE: u64 = 1 << 11;
const NX: u64 = 1 << 63;

const SUPERVISOR: Privilege = Privilege::Supervisor { smap: false };

fn access(write: bool, execute: bool, privilege: Privilege) -> GuestAccess {
    GuestAccess { write, execute, privilege }
}

/// Eight-byte words; nothing elsewhere.
#[derive(Default)]
struct Memory {
    words: BTreeMap<u64, u64>,
    reads: Cell<usize>,
}

impl Memory {
    fn with(entries: &[(u64, u64)]) -> Self {
        let mut memory = Self::default();
        for (at, value) in entries {
            // Tables are whole pages: what is not said is not present.
            (0..512).for_each(|index| _ = memory.words.entry((at & !0xfff) + index * 8).or_insert(0));
            memory.words.insert(*at, *value);
        }
        memory
    }

    fn walk(&self, paging: &GuestPaging, gva: u64, access: GuestAccess) -> Result<Translation, WalkFault> {
        self.reads.set(0);
        let result = walk(paging, Gva(gva), access, |gpa| {
            assert_eq!(gpa.0 % 8, 0);
            self.reads.set(self.reads.get() + 1);
            self.words.get(&gpa.0).copied()
        });
        assert!(self.reads.get() <= 5);
        result
    }
}

/// Four levels at 0x1000 to 0x4000: small pages at 0x7f.., a large and a huge page.
fn long() -> Memory {
    Memory::with(&[
        (0x1000 + 8 * 255, 0x2007),
        (0x2000, 0x3007),
        (0x2000 + 8, 0x4000_0087),
        (0x2000 + 16, 0x4000_1087),
        (0x2000 + 24, 0x4000_2087),
        (0x3000, 0x4007),
        (0x3000 + 8, 0x0020_0087),
        (0x3000 + 16, 0x0020_2087),
        (0x3000 + 24, 0xdead_0000_0007),
        (0x3000 + 32, 0),
        (0x4000, 0x5007),
        (0x4000 + 8, 0x6005),
        (0x4000 + 16, 0x7003),
        (0x4000 + 24, NX | 0x8007),
        (0x4000 + 32, 0x9006),
        (0x1000 + 8, 0x2087),
    ])
}

const BASE: u64 = 255 << 39;

#[test]
fn four_levels() {
    let memory = long();
    let paging = GuestPaging::long_mode(0x1000);
    let find = |gva| memory.walk(&paging, gva, GuestAccess::EXEMPT).map(|found| (found.gpa.0, found.page_shift));
    assert_eq!(find(BASE + 0x123), Ok((0x5123, 12)));
    assert_eq!(find(BASE + 0x1fff), Ok((0x6fff, 12)));
    assert_eq!(find(BASE + (1 << 21) + 0x1_2345), Ok((0x21_2345, 21)));
    assert_eq!(find(BASE + (1 << 30) + 0x345_6789), Ok((0x4345_6789, 30)));
    // Bit 12 of a large leaf is a PAT bit; the next one is reserved.
    assert_eq!(find(BASE + (2 << 30)), Ok((0x4000_0000, 30)));
    assert_eq!(find(BASE + (3 << 30)), Err(WalkFault::ReservedBits));
    assert_eq!(find(BASE + (2 << 21)), Err(WalkFault::ReservedBits));
    assert_eq!(find(BASE + 0x4000), Err(WalkFault::NotPresent));
    assert_eq!(find(BASE + (4 << 21)), Err(WalkFault::NotPresent));
    assert_eq!(find(BASE + (3 << 21) + 0x5000), Err(WalkFault::TableUnreadable(Gpa(0xdead_0000_0028))));
    assert_eq!(find(0), Err(WalkFault::NotPresent));
    // A leaf where there are none.
    assert_eq!(find(1 << 39), Err(WalkFault::ReservedBits));
    for gva in [1 << 47, u64::MAX >> 1, 0xffff_7fff_ffff_ffff, 1 << 63] {
        assert_eq!(find(gva), Err(WalkFault::NonCanonical), "{gva:#x}");
    }
    assert_eq!(find(0xffff_8000_0000_0000), Err(WalkFault::NotPresent));
}

#[test]
fn how_much_of_a_page_is_left() {
    let memory = long();
    let paging = GuestPaging::long_mode(0x1000);
    for (gva, left) in [(BASE, 4096), (BASE + 0xfff, 1), (BASE + (1 << 21) + 1, (2 << 20) - 1)] {
        assert_eq!(memory.walk(&paging, gva, GuestAccess::EXEMPT).unwrap().bytes_left(), left);
    }
}

#[test]
fn rights_of_users_and_supervisors() {
    let memory = long();
    let paging = GuestPaging::long_mode(0x1000);
    let no_wp = GuestPaging { cr0: PG, ..paging };
    let smep = GuestPaging { cr4: PAE | SMEP, ..paging };
    let smap = Privilege::Supervisor { smap: true };
    let (all, read_only, supervisor, no_execute) = (BASE, BASE + 0x1000, BASE + 0x2000, BASE + 0x3000);
    for (paging, gva, access, allowed) in [
        (paging, all, access(true, true, Privilege::User), true),
        (paging, read_only, GuestAccess::USER_READ, true),
        (paging, read_only, GuestAccess::USER_WRITE, false),
        (paging, read_only, access(true, false, SUPERVISOR), false),
        (no_wp, read_only, access(true, false, SUPERVISOR), true),
        (no_wp, read_only, GuestAccess::USER_WRITE, false),
        (paging, supervisor, GuestAccess::USER_READ, false),
        (paging, supervisor, access(true, true, SUPERVISOR), true),
        (paging, supervisor, access(true, true, smap), true),
        (paging, no_execute, access(false, true, Privilege::User), false),
        (paging, no_execute, access(false, true, SUPERVISOR), false),
        (paging, no_execute, GuestAccess::USER_WRITE, true),
        (paging, all, access(false, true, SUPERVISOR), true),
        (smep, all, access(false, true, SUPERVISOR), false),
        (smep, supervisor, access(false, true, SUPERVISOR), true),
        (smep, all, access(true, false, SUPERVISOR), true),
        (paging, all, access(false, false, smap), false),
        (paging, all, access(true, false, smap), false),
        (paging, all, access(false, true, smap), true),
        (paging, no_execute, access(true, true, Privilege::Exempt), true),
    ] {
        let result = memory.walk(&paging, gva, access);
        assert_eq!(result.is_ok(), allowed, "{gva:#x} {access:?} {result:?}");
        assert!(allowed || result == Err(WalkFault::Privilege));
    }
    // Without NXE, the bit is reserved.
    let no_nxe = GuestPaging { efer: LMA, ..paging };
    assert_eq!(memory.walk(&no_nxe, no_execute, GuestAccess::EXEMPT), Err(WalkFault::ReservedBits));
}

#[test]
fn rights_narrow_on_the_way_down() {
    for (upper, lower, expected) in [
        (0x7, 0x7, (true, true, true)),
        (0x5, 0x7, (false, true, true)),
        (0x3, 0x7, (true, false, true)),
        (NX | 7, 0x7, (true, true, false)),
        (0x7, 0x1, (false, false, true)),
    ] {
        let memory =
            Memory::with(&[(0x1000, 0x2007), (0x2000, 0x3000 | upper), (0x3000, 0x4007), (0x4000, 0x5000 | lower)]);
        let found = memory.walk(&GuestPaging::long_mode(0x1000), 0, GuestAccess::EXEMPT).unwrap();
        assert_eq!((found.writable, found.user, found.executable), expected);
    }
}

#[test]
fn five_levels() {
    let mut memory = long();
    (0..512).for_each(|index| _ = memory.words.insert(0x9000 + index * 8, 0));
    memory.words.insert(0x9000 + 8 * 3, 0x1007);
    let paging = GuestPaging { cr4: PAE | LA57, ..GuestPaging::long_mode(0x9000) };
    let gva = (3 << 48) + BASE + 0x123;
    assert_eq!(memory.walk(&paging, gva, GuestAccess::EXEMPT).unwrap().gpa, Gpa(0x5123));
    assert_eq!(memory.walk(&paging, 1 << 56, GuestAccess::EXEMPT), Err(WalkFault::NonCanonical));
}

#[test]
fn no_paging() {
    let memory = Memory::default();
    let paging = GuestPaging { cr0: 1, cr3: 0xdead, cr4: PAE, efer: 0 };
    let found = memory.walk(&paging, 0xffff_fff0, access(true, true, Privilege::User)).unwrap();
    assert_eq!((found.gpa, memory.reads.get()), (Gpa(0xffff_fff0), 0));
    assert_eq!(memory.walk(&paging, 1 << 32, GuestAccess::EXEMPT), Err(WalkFault::NonCanonical));
}

#[test]
fn pae() {
    let memory = Memory::with(&[
        (0x1020, 0x2001),
        (0x1028, 0x3001),
        (0x1030, 0),
        (0x2000, 0x0060_00e7),
        (0x3000, 0x4007),
        (0x4000 + 8, NX | 0x5005),
    ]);
    let paging = GuestPaging { cr0: PG | WP, cr3: 0x1020, cr4: PAE, efer: NXE };
    let find = |gva, access| memory.walk(&paging, gva, access).map(|found| (found.gpa.0, found.page_shift));
    assert_eq!(find(0x12_3456, GuestAccess::USER_WRITE), Ok((0x72_3456, 21)));
    assert_eq!(find((1 << 30) + 0x1abc, GuestAccess::USER_READ), Ok((0x5abc, 12)));
    assert_eq!(find((1 << 30) + 0x1abc, GuestAccess::USER_WRITE), Err(WalkFault::Privilege));
    assert_eq!(find((1 << 30) + 0x1abc, access(false, true, Privilege::User)), Err(WalkFault::Privilege));
    assert_eq!(find(2 << 30, GuestAccess::EXEMPT), Err(WalkFault::NotPresent));
    assert_eq!(find(1 << 32, GuestAccess::EXEMPT), Err(WalkFault::NonCanonical));
}

#[test]
fn two_levels_of_32_bits() {
    // Two entries a word: an odd one in the high half.
    let memory = Memory::with(&[
        (0x1000, 0x0000_2007_0000_0000 | 0x3007),
        (0x1008, 0x0040_2087 << 32),
        (0x2000, 0x0000_6005_0000_5007),
        (0x3000, 0),
    ]);
    let paging = GuestPaging { cr0: PG | WP, cr3: 0x1000, cr4: PSE, efer: 0 };
    let find = |gva, access| memory.walk(&paging, gva, access).map(|found| (found.gpa.0, found.page_shift));
    assert_eq!(find((1 << 22) + 0x123, GuestAccess::USER_WRITE), Ok((0x5123, 12)));
    assert_eq!(find((1 << 22) + 0x1123, GuestAccess::USER_READ), Ok((0x6123, 12)));
    assert_eq!(find((1 << 22) + 0x1123, GuestAccess::USER_WRITE), Err(WalkFault::Privilege));
    assert_eq!(find(0, GuestAccess::EXEMPT), Err(WalkFault::NotPresent));
    // 4 MiB with the bits above 32 in bits 20 to 13.
    assert_eq!(find((3 << 22) + 0x12_3456, GuestAccess::USER_READ), Ok((0x01_0052_3456, 22)));
    // Without PSE it is a table.
    let no_pse = GuestPaging { cr4: 0, ..paging };
    let fault = memory.walk(&no_pse, 3 << 22, GuestAccess::EXEMPT);
    assert_eq!(fault, Err(WalkFault::TableUnreadable(Gpa(0x40_2000))));
}

/// Tables of random words: the walk ends, within five reads, whatever they say.
#[test]
fn any_tables_at_all() {
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..100_000 {
        let paging = GuestPaging {
            cr0: random() | if random() % 8 == 0 { 0 } else { PG },
            cr3: random(),
            cr4: random(),
            efer: random(),
        };
        let gva = if random() % 2 == 0 { random() } else { random() >> 17 };
        let access =
            access(random() % 2 == 0, random() % 2 == 0, if random() % 2 == 0 { Privilege::User } else { SUPERVISOR });
        let mut reads = 0;
        let result = walk(&paging, Gva(gva), access, |_| {
            reads += 1;
            (random() % 16 != 0).then(|| random() | 1)
        });
        assert!(reads <= 5);
        if let Ok(found) = result {
            assert!(found.gpa.0 < 1 << 52);
            assert!(found.bytes_left() >= 1);
        }
    }
}
