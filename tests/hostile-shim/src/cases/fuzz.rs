//! Requests without sense, thousands of them, from a seed: the frame is good (a bad one ends the sandbox), all else is chance.

use proto::{MAX_SEGMENTS, Segment, op};

use super::number;
use crate::Shim;
use crate::memory;
use crate::report::Tally;
use crate::rng::Rng;
use crate::service::segment;

const ROUNDS: u32 = 6000;
/// The highest opcode of Linux' FUSE, STATX.
const LAST_OPCODE: u32 = 52;
/// Most bytes of arguments; now and then far more are sent.
const USUAL: u64 = 128;

pub(super) fn run(shim: &mut Shim, variant: &str) {
    let seed = number(variant);
    let before = memory::image_sum();
    let mut rng = Rng::new(seed ^ 0x6675_7a7a);
    let data = shim.free.take_pages(4);
    let mut tally = Tally::new();
    for round in 0..ROUNDS {
        let opcode = opcode(&mut rng);
        let node = interesting(&mut rng);
        let mut arguments = [0u8; 2048];
        let len = arguments_of(&mut rng, &mut arguments);
        let (segments, count) = segments(&mut rng, shim, data);
        shim.service.uid = if rng.below(8) == 0 { rng.word() } else { 0 };
        let answer = shim.service.call(opcode, node, &[&arguments[..len]], &segments[..count]);
        // The frame of the answer was checked on the way; an errno is one of Linux'.
        tally.check(
            answer.is_ok() || answer.is_err_and(|errno| (1..134).contains(&errno)),
            format_args!("{round}: opcode {opcode}: {answer:?}"),
        );
    }
    shim.service.uid = 0;
    shim.report("fuzz", &tally);
    shim.expect("fuzz changes no code", memory::image_sum(), before);
}

/// Any opcode but those that end the sandbox or wait.
fn opcode(rng: &mut Rng) -> u32 {
    match rng.below(16) {
        0 => op::RANDOM,
        1 => op::CONSOLE_READ,
        2 => op::WINDOW_SIZE,
        3 => rng.word() & 0x3fff_ffff,
        _ => 1 + rng.word() % LAST_OPCODE,
    }
}

/// A number that is small, a power of two or nearly so, or anything.
fn interesting(rng: &mut Rng) -> u64 {
    match rng.below(8) {
        0..=4 => rng.below(64),
        5 => (1 << rng.below(64)) - rng.below(2),
        6 => u64::MAX - rng.below(16),
        _ => rng.next(),
    }
}

/// Fields and names by chance: how many bytes.
fn arguments_of(rng: &mut Rng, arguments: &mut [u8]) -> usize {
    let limit = if rng.below(16) == 0 { arguments.len() as u64 } else { USUAL };
    let len = usize::try_from(rng.below(limit)).unwrap_or(0);
    let part = &mut arguments[..len];
    for word in part.chunks_mut(8) {
        let value = match rng.below(6) {
            0 => u64::from_le_bytes(*b"tmp\0tmp\0"),
            1 => u64::from_le_bytes(*b"a\0b\0..\0/"),
            _ => interesting(rng),
        };
        word.copy_from_slice(&value.to_le_bytes()[..word.len()]);
    }
    if rng.below(2) == 0
        && let Some(last) = part.last_mut()
    {
        *last = 0;
    }
    if rng.below(32) == 0 {
        rng.fill(part);
    }
    len
}

/// Segments that keep to their pages; where those are is chance.
fn segments(rng: &mut Rng, shim: &Shim, data: u64) -> ([Segment; MAX_SEGMENTS], usize) {
    let mut segments = [segment(0, 0); MAX_SEGMENTS];
    let count = if rng.below(16) == 0 { rng.below(65) } else { rng.below(4) };
    let count = usize::try_from(count).unwrap_or(0);
    for place in &mut segments[..count] {
        let page = match rng.below(12) {
            0 => shim.info.service_gpa,
            1 => memory::gpa_of_image(memory::victim_code()),
            2 => shim.info.free_end,
            3 => rng.next() & 0x7fff_ffff_ffff_f000,
            _ => data + rng.below(4) * 4096,
        };
        let offset = rng.below(4096);
        let len = 1 + rng.below(4096 - offset);
        *place = segment(page + offset, usize::try_from(len).unwrap_or(1));
    }
    (segments, count)
}
