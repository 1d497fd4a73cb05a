//! Hypercalls. A child of the root has no privilege for the hypercall MSRs, so it cannot say who it is, and to a guest that
//! has not, the hypercall instruction is an illegal one: whatever the code and whatever the input. In ring 0 the first one
//! ends the sandbox ([`super::endings`]); a shim that lets ring 3 try gets #UD each time.

use tlfs::hypercall::{CallCode, HypercallInput};

use super::ring3::{CODE_VA, Space, user};
use crate::memory::{self, PAGE, gpa_of_image};
use crate::report::Tally;
use crate::rng::Rng;
use crate::{Shim, cpu};

/// Every code that the specification names, and room for what it does not.
const CODES: [core::ops::RangeInclusive<u16>; 3] = [0..=0x150, 0x8000..=0x8010, 0xfff0..=0xffff];
/// Input that may be taken for a partition (`HV_PARTITION_ID_SELF`, the root, a first child) or for anything.
const INPUTS: [u64; 4] = [u64::MAX, 1, 0x1_0001, 0x0123_4567_89ab_cdef];
/// `mov rcx, rdi; vmmcall`
const CALL: [u8; 6] = [0x48, 0x89, 0xf9, 0x0f, 0x01, 0xd9];
const CANARY: u64 = 0x5ca1_ab1e_5ca1_ab1e;

pub(super) fn run(shim: &mut Shim) {
    let before = memory::image_sum();
    let (input, output) = (shim.free.take_page(), shim.free.take_page());
    fill(output, CANARY);
    let space = Space::enter(shim);
    space.put(0, &CALL);
    every_call(shim, input, output);
    random_words(shim, input, output);
    let mut tally = Tally::new();
    for offset in (0..PAGE).step_by(8) {
        tally.expect(memory::read::<u64>(output + offset), CANARY, "output");
    }
    shim.report("hypercalls write nothing", &tally);
    shim.expect("hypercalls change no code", memory::image_sum(), before);
}

fn every_call(shim: &mut Shim, input: u64, output: u64) {
    let end = shim.info.free_end;
    let text = gpa_of_image(memory::victim_code());
    let places = [
        (input, output),
        (input + 1, output),
        (input + PAGE - 4, output + PAGE - 4),
        (input, text),
        (input, gpa_of_image(memory::victim_constants())),
        (shim.info.service_gpa, shim.info.gate_gpa),
        (end, end),
        (0, 0),
        (u64::MAX - 7, u64::MAX),
    ];
    let mut tally = Tally::new();
    for code in CODES.into_iter().flatten().map(CallCode) {
        for (control, value) in forms(code).into_iter().zip(INPUTS.iter().cycle()) {
            fill(input, *value);
            refused(&mut tally, control.0, input, output);
        }
        for (input, output) in places {
            refused(&mut tally, HypercallInput::new(code).0, input, output);
            refused(&mut tally, HypercallInput::new(code).with_reps(1, 0).0, input, output);
        }
    }
    shim.report("every hypercall", &tally);
}

/// Ways to make a call, most of them wrong in themselves.
fn forms(code: CallCode) -> [HypercallInput; 11] {
    let plain = HypercallInput::new(code);
    [
        plain,
        plain.fast(),
        plain.with_reps(1, 0),
        plain.with_reps(4, 0).fast(),
        plain.with_reps(4095, 0),
        plain.with_reps(4, 4),
        plain.with_reps(0, 4095),
        plain.with_variable_header_size(1),
        plain.with_variable_header_size(1023).with_reps(1, 0),
        plain.with_nested(true),
        HypercallInput(plain.0 | HypercallInput::RESERVED),
    ]
}

fn random_words(shim: &mut Shim, input: u64, output: u64) {
    let mut rng = Rng::new(0x68_7970_6572);
    let mut tally = Tally::new();
    for _ in 0..4000 {
        let control = rng.next();
        let places = [input + rng.below(PAGE), output, rng.next(), rng.next() & 0xffff_f000];
        refused(&mut tally, control, rng.pick(&places), rng.pick(&places));
    }
    shim.report("random hypercalls", &tally);
}

fn refused(tally: &mut Tally, control: u64, input: u64, output: u64) {
    let trap = user(CODE_VA, 0, [control, 0, input, 0, output, 0]);
    let call = format_args!("{control:#x} {input:#x} {output:#x}");
    tally.check(trap.vector == cpu::UD, format_args!("{call}: {trap}"));
}

fn fill(gpa: u64, value: u64) {
    for offset in (0..PAGE).step_by(8) {
        memory::write_word(gpa + offset, value);
    }
}
