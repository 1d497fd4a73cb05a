//! `bench=switch` on the command line: what a bare world switch costs here, before anything else runs.

use core::fmt;

use engine::{AddressSpace, BadAddress, Engine, PhysMem, Segment, VpExit, VpKind, VpSlot};
use platform::clock::tsc;
use tlfs::addr::{PAGE_SIZE, Spa};
use tlfs::register::HvX64SegmentRegister;

/// Exits that are measured.
const ROUNDS: usize = 1024;
/// Four levels of table and a page of code.
const OWN_FRAMES: u64 = 5;
/// CPUID, which exits; RIP stays at it.
const CODE: [u8; 2] = [0x0f, 0xa2];
/// Present, writable, user.
const TABLE_BITS: u64 = 0b111;

/// The median of many, in TSC ticks for one entry and one exit.
pub(crate) struct Ticks(u64);

impl fmt::Display for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "raw world switch {} ticks", self.0)
    }
}

/// Measures with a guest of one instruction, in real mode, in a single page. `frames` are free frames in a row, which
/// are given back cleared. `None` if the guest did not do what it should.
pub(crate) fn world_switch<E: Engine>(engine: &mut E, slot: VpSlot, frames: Spa) -> Option<Ticks> {
    let space = build(engine.memory(), frames).ok()?;
    let first = frames.0 + OWN_FRAMES * PAGE_SIZE;
    let vp_frames = [Spa(first), Spa(first + PAGE_SIZE)];
    engine.create_vp(slot, VpKind::Child, vp_frames.get(..engine.frames_per_vp())?).ok()?;
    let code = HvX64SegmentRegister { base: 0, limit: 0xffff, ..engine.segment(slot, Segment::Cs) };
    engine.set_segment(slot, Segment::Cs, code).ok()?;
    engine.core_mut(slot).rip = 0;
    let ticks = measure(engine, slot, space);
    engine.delete_vp(slot);
    for index in 0..OWN_FRAMES {
        engine.memory().zero_page(Spa(frames.0 + index * PAGE_SIZE)).ok()?;
    }
    ticks
}

/// Tables that map guest address 0 to the code, and nothing else.
fn build(memory: &mut impl PhysMem, frames: Spa) -> Result<AddressSpace, BadAddress> {
    let frame = |index| Spa(frames.0 + index * PAGE_SIZE);
    for index in 0..OWN_FRAMES {
        memory.zero_page(frame(index))?;
    }
    for level in 1..OWN_FRAMES {
        memory.write_u64(frame(level - 1), frame(level).0 | TABLE_BITS)?;
    }
    memory.write(frame(OWN_FRAMES - 1), &CODE)?;
    Ok(AddressSpace { root: frames, tag: 0, generation: 0 })
}

fn measure<E: Engine>(engine: &mut E, slot: VpSlot, space: AddressSpace) -> Option<Ticks> {
    let mut samples = [0; ROUNDS];
    for sample in &mut samples {
        let start = tsc();
        let exit = engine.run(slot, space);
        *sample = tsc().wrapping_sub(start);
        if !matches!(exit, VpExit::Cpuid | VpExit::Interrupt) {
            return None;
        }
    }
    samples.sort_unstable();
    Some(Ticks(samples[ROUNDS / 2]))
}
