//! Copies of an address space: common until written to, counted until the last owner is gone.

use alloc::collections::BTreeMap;

use super::*;
use crate::errno::Errno;
use crate::mm::area::{Access, Area, AreaFlags, Backing, BadTouch, Prot};
use crate::mm::space::{AddressSpace, Source};
use crate::mm::user;
use crate::random::Random;

const PAGE: u64 = 0x1000;
const BASE: u64 = 0x5000_0000;
const PAGES: u64 = 24;
const READ_WRITE: Prot = Prot(Prot::READ | Prot::WRITE);

fn empty(source: &mut Source<'_, Machine>) -> AddressSpace {
    AddressSpace::new(source.platform, source.frames).expect("frames")
}

fn with_area(source: &mut Source<'_, Machine>) -> AddressSpace {
    let mut space = empty(source);
    space.insert(Area::new(BASE, BASE + PAGES * PAGE, READ_WRITE, Backing::Anonymous));
    space
}

fn get(space: &mut AddressSpace, source: &mut Source<'_, Machine>, va: u64) -> u8 {
    let mut byte = [0];
    user::read(space, source, va, &mut byte).expect("readable");
    byte[0]
}

fn set(space: &mut AddressSpace, source: &mut Source<'_, Machine>, va: u64, value: u8) {
    user::write(space, source, va, &[value]).expect("writable");
}

#[test]
fn only_a_write_makes_a_copy() {
    let mut sandbox = Sandbox::new();
    let mut source = sandbox.kernel.source();
    let before = source.frames.used();
    let mut parent = with_area(&mut source);
    set(&mut parent, &mut source, BASE, 1);
    set(&mut parent, &mut source, BASE + PAGE, 2);
    let mut child = parent.fork(&mut source).expect("a fork");
    assert_eq!(child.resident_pages(), (2, 2));
    let used = source.frames.used();
    assert_eq!(get(&mut child, &mut source, BASE), 1);
    assert_eq!(source.frames.used(), used, "reading copies nothing");
    let shared = child.touch(&mut source, BASE, Access::Read);
    assert_eq!(shared, parent.touch(&mut source, BASE, Access::Read));
    set(&mut child, &mut source, BASE, 9);
    assert_eq!(source.frames.used(), used + PAGE);
    assert_eq!(get(&mut parent, &mut source, BASE), 1);
    // The parent is the only owner now: its write needs no copy.
    assert_eq!(parent.touch(&mut source, BASE, Access::Write), shared);
    assert_eq!(source.frames.used(), used + PAGE);
    child.destroy(&mut source);
    parent.destroy(&mut source);
    assert_eq!(source.frames.used(), before);
}

#[test]
fn random_writes_stay_with_their_space() {
    let mut sandbox = Sandbox::new();
    let mut source = sandbox.kernel.source();
    let before = source.frames.used();
    let mut random = Random::new(&[5; 32]);
    let mut spaces = vec![(with_area(&mut source), BTreeMap::new())];
    for _ in 0..rounds(4000) {
        let count = spaces.len();
        let which = usize::try_from(random.below(count as u64)).expect("small");
        let va = BASE + random.below(PAGES) * PAGE;
        let (space, model) = &mut spaces[which];
        match random.below(20) {
            0 => {
                let copy = (space.fork(&mut source).expect("a fork"), model.clone());
                if count < 6 {
                    spaces.push(copy);
                } else {
                    copy.0.destroy(&mut source);
                }
            }
            1 if count > 1 => spaces.remove(which).0.destroy(&mut source),
            2 => {
                space.protect(&mut source, va, va + PAGE, Prot(Prot::READ));
                assert_eq!(space.touch(&mut source, va, Access::Write), Err(BadTouch::Denied));
                space.protect(&mut source, va, va + PAGE, READ_WRITE);
            }
            3 => {
                space.discard(&mut source, va, va + PAGE);
                model.remove(&va);
            }
            4..10 => {
                let value = random.below(255).to_le_bytes()[0];
                set(space, &mut source, va + 7, value);
                model.insert(va, value);
            }
            _ => assert_eq!(get(space, &mut source, va + 7), model.get(&va).copied().unwrap_or(0)),
        }
    }
    for (mut space, model) in spaces {
        for va in (BASE..BASE + PAGES * PAGE).step_by(4096) {
            assert_eq!(get(&mut space, &mut source, va + 7), model.get(&va).copied().unwrap_or(0));
        }
        space.destroy(&mut source);
    }
    assert_eq!(source.frames.used(), before, "every count is back at nothing");
}

#[test]
fn shared_areas_stay_one_memory() {
    let mut sandbox = Sandbox::new();
    let mut source = sandbox.kernel.source();
    let mut parent = empty(&mut source);
    parent.insert(Area { shared: true, ..Area::new(BASE, BASE + PAGE, READ_WRITE, Backing::Anonymous) });
    set(&mut parent, &mut source, BASE, 1);
    let mut child = parent.fork(&mut source).expect("a fork");
    set(&mut child, &mut source, BASE, 2);
    assert_eq!(get(&mut parent, &mut source, BASE), 2);
    parent.destroy(&mut source);
    assert_eq!(get(&mut child, &mut source, BASE), 2);
}

#[test]
fn advice_leaves_areas_out_or_empty() {
    let mut sandbox = Sandbox::new();
    let mut source = sandbox.kernel.source();
    let mut parent = empty(&mut source);
    for (number, flags) in [0, AreaFlags::DONT_FORK, AreaFlags::WIPE_ON_FORK].into_iter().enumerate() {
        let start = BASE + number as u64 * PAGE;
        let flags = AreaFlags(flags);
        parent.insert(Area { flags, ..Area::new(start, start + PAGE, READ_WRITE, Backing::Anonymous) });
        set(&mut parent, &mut source, start, 7);
    }
    let mut child = parent.fork(&mut source).expect("a fork");
    assert_eq!(get(&mut child, &mut source, BASE), 7);
    assert_eq!(child.touch(&mut source, BASE + PAGE, Access::Read), Err(BadTouch::Unmapped));
    assert_eq!(get(&mut child, &mut source, BASE + 2 * PAGE), 0);
    assert_eq!(get(&mut parent, &mut source, BASE + 2 * PAGE), 7);
}

#[test]
fn a_fork_without_memory_leaves_nothing_behind() {
    let mut sandbox = Sandbox::new();
    let mut source = sandbox.kernel.source();
    let mut parent = with_area(&mut source);
    for page in 0..PAGES {
        set(&mut parent, &mut source, BASE + page * PAGE, 3);
    }
    let mut hogs = Vec::new();
    while let Ok(frame) = source.frames.take(source.platform) {
        hogs.push(frame);
    }
    for room in 0..4 {
        for _ in 0..room {
            let frame = hogs.pop().expect("many");
            source.frames.give(source.platform, frame);
        }
        let used = source.frames.used();
        assert_eq!(parent.fork(&mut source).map(|_| ()), Err(Errno::ENOMEM));
        assert_eq!(source.frames.used(), used);
        for _ in 0..room {
            hogs.push(source.frames.take(source.platform).expect("just given"));
        }
    }
    set(&mut parent, &mut source, BASE, 4);
    assert_eq!(get(&mut parent, &mut source, BASE), 4);
}

#[test]
fn what_is_lent_is_copied_before_it_is_changed() {
    let mut sandbox = Sandbox::new();
    let mut source = sandbox.kernel.source();
    let frame = source.frames.take(source.platform).expect("a frame");
    let mut space = empty(&mut source);
    space.insert(Area::new(BASE, BASE + PAGE, Prot(Prot::READ), Backing::Fixed));
    space.place_frame(&mut source, BASE, frame, Prot(Prot::READ), crate::mm::area::Lent::Frame).expect("frames");
    space.protect(&mut source, BASE, BASE + PAGE, READ_WRITE);
    set(&mut space, &mut source, BASE, 5);
    assert_eq!(get(&mut space, &mut source, BASE), 5);
    assert_eq!(source.platform.frame(frame)[0], 0);
}
