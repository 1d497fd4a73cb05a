//! Second-level tables, in AMD's format, against a plain model of what is mapped where.
#![allow(clippy::cast_possible_truncation, reason = "the numbers are the test's own")]

use engine::PhysMem;
use engine::fake::VecMemory;
use paging::format::{EntryFormat, Npt, Rights};
use paging::table::{FrameSource, GPA_LIMIT, MapError, Mapping, NestedTable, PageSize};
use std::collections::{BTreeMap, BTreeSet};
use tlfs::addr::{Gpa, Spa};

/// Frames of a small memory, each lent at most once.
struct Frames {
    free: Vec<Spa>,
    lent: BTreeSet<u64>,
}

impl Frames {
    fn new(count: u64) -> Self {
        Self { free: (0..count).map(Spa::from_page_number).collect(), lent: BTreeSet::new() }
    }
}

impl FrameSource for Frames {
    fn take(&mut self) -> Option<Spa> {
        let frame = self.free.pop()?;
        assert!(self.lent.insert(frame.0));
        Some(frame)
    }

    fn give(&mut self, frame: Spa) {
        assert!(self.lent.remove(&frame.0), "a frame that was lent");
        self.free.push(frame);
    }
}

struct World {
    mem: VecMemory,
    frames: Frames,
    table: NestedTable<Npt>,
}

impl World {
    fn new(frames: u64) -> Self {
        let mut mem = VecMemory::new(frames as usize, 0xff);
        let mut frames = Frames::new(frames);
        let table = NestedTable::new(&mut mem, &mut frames).unwrap();
        Self { mem, frames, table }
    }

    fn map(&mut self, gpa: u64, spa: u64, size: PageSize, rights: Rights) -> Result<(Option<Mapping>, bool), MapError> {
        let new = Mapping { spa: Spa(spa), size, rights };
        self.table.map(&mut self.mem, &mut self.frames, Gpa(gpa), new).map(|(old, flush)| (old, flush.is_due()))
    }

    fn unmap(&mut self, gpa: u64, size: PageSize) -> Result<(Option<Mapping>, bool), MapError> {
        self.table.unmap(&mut self.mem, &mut self.frames, Gpa(gpa), size).map(|(old, flush)| (old, flush.is_due()))
    }

    fn protect(&mut self, gpa: u64, size: PageSize, rights: Rights) -> Result<(bool, bool), MapError> {
        let done = self.table.protect(&mut self.mem, &mut self.frames, Gpa(gpa), size, rights);
        done.map(|(found, flush)| (found, flush.is_due()))
    }

    fn at(&self, gpa: u64) -> Option<(u64, Rights)> {
        self.table.translate(&self.mem, Gpa(gpa)).map(|(spa, rights)| (spa.0, rights))
    }
}

const LARGE: u64 = 2 << 20;
const HUGE: u64 = 1 << 30;

#[test]
fn entries_say_what_they_are_given() {
    for rights in [Rights::NONE, Rights::READ, Rights::READ_WRITE, Rights::READ_EXECUTE, Rights::ALL] {
        assert!(Npt::supports(rights));
        for (level, spa) in [(1, 0x1234_5000), (2, 0x4020_0000), (3, 0x0fff_c000_0000)] {
            let entry = Npt::leaf(Spa(spa), level, rights);
            assert!(Npt::in_use(entry) && Npt::is_leaf(entry, level));
            assert_eq!((Npt::address(entry), Npt::rights(entry)), (Spa(spa), rights));
            assert_eq!(entry & 1 != 0, rights.read, "present");
            assert_eq!(entry & 4, 4, "nested accesses are of ring 3");
            assert_eq!(entry >> 63 == 0, rights.execute);
        }
    }
    assert!(!Npt::supports(Rights { read: false, write: true, execute: false }));
    let table = Npt::table(Spa(0x7000));
    assert!(Npt::in_use(table) && !Npt::is_leaf(table, 2) && Npt::is_leaf(table, 1));
    assert!(!Npt::in_use(0));
}

#[test]
fn map_look_up_unmap() {
    let mut world = World::new(16);
    assert_eq!(world.at(0x1000), None);
    assert_eq!(world.map(0x1000, 0x9000, PageSize::Small, Rights::READ), Ok((None, false)));
    assert_eq!(world.at(0x1abc), Some((0x9abc, Rights::READ)));
    assert_eq!(world.at(0x2000), None);
    let first = Mapping { spa: Spa(0x9000), size: PageSize::Small, rights: Rights::READ };
    assert_eq!(world.table.lookup(&world.mem, Gpa(0x1fff)), Some(first));
    // Another in its place: the old one is told, and a flush is due.
    assert_eq!(world.map(0x1000, 0xa000, PageSize::Small, Rights::ALL), Ok((Some(first), true)));
    assert_eq!(world.protect(0x1000, PageSize::Small, Rights::READ_WRITE), Ok((true, true)));
    assert_eq!(world.protect(0x1000, PageSize::Small, Rights::ALL), Ok((true, false)));
    assert_eq!(world.protect(0x2000, PageSize::Small, Rights::ALL), Ok((false, false)));
    assert_eq!(world.protect(0x1000, PageSize::Small, Rights::NONE), Ok((true, true)));
    assert_eq!(world.at(0x1000), Some((0xa000, Rights::NONE)));
    let (old, flush) = world.unmap(0x1000, PageSize::Small).unwrap();
    assert_eq!((old.map(|old| old.spa), flush), (Some(Spa(0xa000)), true));
    assert_eq!(world.unmap(0x1000, PageSize::Small), Ok((None, false)));
    assert_eq!(world.unmap(0x40_0000_0000, PageSize::Small), Ok((None, false)));
}

#[test]
fn large_leaves_are_split_when_they_must() {
    let mut world = World::new(16);
    assert_eq!(world.map(HUGE, 3 * HUGE, PageSize::Huge, Rights::ALL), Ok((None, false)));
    assert_eq!(world.frames.lent.len(), 2);
    assert_eq!(world.at(HUGE + 0x1234_5678), Some((3 * HUGE + 0x1234_5678, Rights::ALL)));
    let hole = HUGE + 5 * LARGE + 0x3000;
    let (old, flush) = world.unmap(hole, PageSize::Small).unwrap();
    assert_eq!(old, Some(Mapping { spa: Spa(2 * HUGE + hole), size: PageSize::Small, rights: Rights::ALL }));
    assert!(flush);
    assert_eq!(world.frames.lent.len(), 4, "one table of large, one of small pages");
    for gpa in [HUGE, HUGE + LARGE, hole - 1, hole + 0x1000, HUGE + 6 * LARGE, 2 * HUGE - 1] {
        assert_eq!(world.at(gpa), Some((2 * HUGE + gpa, Rights::ALL)), "{gpa:#x}");
    }
    assert_eq!(world.at(hole), None);
    // The neighbour in the same 2 MiB needs no further table; rights of a part change the part alone.
    assert_eq!(world.protect(hole + 0x1000, PageSize::Small, Rights::READ), Ok((true, true)));
    assert_eq!(world.frames.lent.len(), 4);
    assert_eq!(world.at(hole + 0x1000).unwrap().1, Rights::READ);
    assert_eq!(world.at(hole + 0x2000).unwrap().1, Rights::ALL);
    // What is split stays: no large leaf goes over it, nor away with it.
    assert_eq!(world.map(HUGE, HUGE, PageSize::Huge, Rights::ALL), Err(MapError::Occupied));
    assert_eq!(world.unmap(HUGE + 5 * LARGE, PageSize::Large), Err(MapError::Occupied));
    assert!(world.unmap(HUGE + 4 * LARGE, PageSize::Large).unwrap().1);
}

#[test]
fn addresses_that_do_not_fit() {
    let mut world = World::new(16);
    for (gpa, spa, size) in [
        (0x800, 0, PageSize::Small),
        (0, 0x800, PageSize::Small),
        (0x1000, 0, PageSize::Large),
        (0, 0x1000, PageSize::Large),
        (LARGE, 0, PageSize::Huge),
        (GPA_LIMIT, 0, PageSize::Small),
        (!0xfff, 0, PageSize::Small),
    ] {
        assert_eq!(world.map(gpa, spa, size, Rights::ALL), Err(MapError::BadAddress), "{gpa:#x} {spa:#x}");
    }
    assert_eq!(world.unmap(GPA_LIMIT, PageSize::Small), Err(MapError::BadAddress));
    assert_eq!(world.at(GPA_LIMIT), None);
    assert_eq!(world.at(u64::MAX), None);
    assert_eq!(world.frames.lent.len(), 1);
}

#[test]
fn running_out_of_frames_changes_no_meaning() {
    let mut world = World::new(3);
    assert_eq!(world.map(0, 0x5000, PageSize::Small, Rights::ALL), Err(MapError::NoFrames));
    assert_eq!(world.at(0), None);
    let mut world = World::new(3);
    world.map(0, HUGE, PageSize::Huge, Rights::ALL).unwrap();
    assert_eq!(world.unmap(0x5000, PageSize::Small), Err(MapError::NoFrames));
    assert_eq!(world.at(0x5000), Some((HUGE + 0x5000, Rights::ALL)));
    assert_eq!(world.at(HUGE - 1), Some((2 * HUGE - 1, Rights::ALL)));
}

#[test]
fn clearing_tells_of_every_mapping_and_gives_every_table_back() {
    for patience in [1, 2, usize::MAX] {
        let mut world = World::new(64);
        let mut expected = BTreeSet::new();
        for index in 0..40_u64 {
            let (gpa, size) = match index % 3 {
                0 => (index << 21, PageSize::Large),
                1 => (index << 30, PageSize::Huge),
                _ => ((index << 21) + 0x7000, PageSize::Small),
            };
            world.map(gpa, index << 30, size, Rights::READ).unwrap();
            expected.insert(index << 30);
        }
        let mut seen = BTreeSet::new();
        let mut rounds = 0;
        loop {
            rounds += 1;
            let mut looks = 0;
            let World { mem, frames, table } = &mut world;
            let done = table.clear(
                mem,
                frames,
                |_, mapping| assert!(seen.insert(mapping.spa.0)),
                || {
                    looks += 1;
                    looks >= patience
                },
            );
            if done == Ok(true) {
                break;
            }
            assert_eq!(done, Ok(false));
        }
        assert_eq!(seen, expected);
        assert_eq!(rounds > 1, patience < 10);
        let World { mut frames, table, mem } = world;
        assert!((0..512).all(|index| mem.read_u64(Spa(table.root().0 + index * 8)) == Ok(0)));
        table.release(&mut frames);
        assert!(frames.lent.is_empty());
    }
}

/// Random small, large and protecting operations against a map of pages.
#[test]
fn a_model_agrees() {
    let mut state = 0xfeed_beef_dead_cafe_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut world = World::new(128);
    let mut model: BTreeMap<u64, (u64, Rights)> = BTreeMap::new();
    for _ in 0..3000 {
        let large = random(6) == 0;
        let size = if large { PageSize::Large } else { PageSize::Small };
        let step = size.bytes() / 4096;
        // Four regions of 2 MiB, in different corners of the space.
        let region = [0, 1, 0x4_0000, 0x3ff_fe00][usize::try_from(random(4)).unwrap()] * 512;
        let page = (region + random(8)) / step * step;
        let source = random(1 << 20) / step * step;
        let rights = [Rights::READ, Rights::READ_WRITE, Rights::ALL, Rights::NONE][usize::try_from(random(4)).unwrap()];
        let pages = || (0..step).map(|index| page + index);
        match random(3) {
            0 => match world.map(page * 4096, source * 4096, size, rights) {
                Ok((old, flush)) => {
                    assert_eq!(old.is_some(), flush);
                    pages().for_each(|at| _ = model.insert(at, (source + at - page, rights)));
                }
                Err(error) => assert_eq!((error, large), (MapError::Occupied, true)),
            },
            1 => match world.unmap(page * 4096, size) {
                Ok((old, _)) => {
                    assert_eq!(old.map(|old| old.spa.0 / 4096), model.get(&page).map(|found| found.0));
                    pages().for_each(|at| _ = model.remove(&at));
                }
                Err(error) => assert_eq!((error, large), (MapError::Occupied, true)),
            },
            _ => match world.protect(page * 4096, size, rights) {
                Ok((found, _)) => {
                    assert_eq!(found, model.contains_key(&page));
                    pages().for_each(|at| _ = model.get_mut(&at).map(|place| place.1 = rights));
                }
                Err(error) => assert_eq!((error, large), (MapError::Occupied, true)),
            },
        }
        for at in (0..8).chain([511, 512]).map(|index| region + index) {
            let found = world.at(at * 4096).map(|(spa, rights)| (spa / 4096, rights));
            assert_eq!(found, model.get(&at).copied(), "{at:#x}");
        }
    }
}
