//! The one page that a child may have laid over its memory: the reference TSC page. Wherever it is put, what is below comes back,
//! and the tables that it costs are the child's own.

use proto::layout::DIRECT_MAP_VA;
use tlfs::msr::HV_X64_MSR_REFERENCE_TSC;

use crate::cpu::{self, Trap};
use crate::memory::{self, PAGE, VICTIM_WORD, gpa_of_image};
use crate::report::Tally;
use crate::rng::Rng;
use crate::service::segment;
use crate::{Shim, cases};

/// Puts the page at `gpa`.
pub(super) fn show(gpa: u64) -> Result<(), Trap> {
    cpu::write_msr(HV_X64_MSR_REFERENCE_TSC, gpa | 1)
}

fn hide() -> Result<(), Trap> {
    cpu::write_msr(HV_X64_MSR_REFERENCE_TSC, 0)
}

pub(super) fn run(shim: &mut Shim) {
    let before = memory::image_sum();
    over_constants(shim);
    over_service_pages(shim);
    as_a_buffer(shim);
    tour(shim);
    shim.expect("overlays change no code", memory::image_sum(), before);
    cases::memory::touch_some(shim, "memory after the overlays");
}

/// Over shared constants: this child sees its clock there, and the constants are whole afterwards.
fn over_constants(shim: &mut Shim) {
    let address = memory::victim_constants();
    let mut tally = Tally::new();
    for _ in 0..3 {
        tally.expect(show(gpa_of_image(address)), Ok(()), "show");
        tally.check(cpu::load(address).is_ok_and(|word| word != VICTIM_WORD), "it is otherwise");
        tally.expect(hide(), Ok(()), "hide");
        tally.expect(cpu::load(address), Ok(VICTIM_WORD), "constants");
    }
    shim.report("overlay over constants", &tally);
}

/// Over the service pages: the root keeps to the child's own memory below.
fn over_service_pages(shim: &mut Shim) {
    let mut tally = Tally::new();
    for page in 0..proto::SERVICE_PAGES as u64 {
        tally.expect(show(shim.info.service_gpa + page * PAGE), Ok(()), "show");
        tally.expect(hide(), Ok(()), "hide");
    }
    tally.expect(show(shim.info.gate_gpa), Ok(()), "show");
    tally.expect(hide(), Ok(()), "hide");
    shim.report("overlay over the service pages", &tally);
}

/// As the place of a request's data: it is not the child's memory, but what is below is.
fn as_a_buffer(shim: &mut Shim) {
    let page = shim.free.take_page();
    memory::write_word(page, 0x1111);
    let mut tally = Tally::new();
    tally.expect(show(page), Ok(()), "show");
    tally.expect(shim.service.call(proto::op::RANDOM, 0, &[], &[segment(page, 8)]), Ok(8), "RANDOM");
    tally.check(memory::read::<u64>(page) != 0x1111, "it is otherwise");
    tally.expect(hide(), Ok(()), "hide");
    let unmapped = shim.info.tsc_page_gpa;
    tally.expect(show(unmapped), Ok(()), "show at its own place");
    let answer = shim.service.call(proto::op::RANDOM, 0, &[], &[segment(unmapped, 8)]);
    tally.expect(answer, Err(linux_raw_sys::errno::EFAULT), "RANDOM into the clock");
    tally.expect(hide(), Ok(()), "hide");
    shim.report("overlay as a buffer", &tally);
}

/// All over the child's memory, touched and untouched.
fn tour(shim: &mut Shim) {
    let mut rng = Rng::new(0x746f_7572);
    let rest = shim.free.rest();
    let mut tally = Tally::new();
    for gpa in rest.clone().step_by(1 << 20) {
        tally.expect(cpu::load(DIRECT_MAP_VA + gpa), Ok(0), "a new page");
    }
    for _ in 0..3000 {
        let gpa = (rest.start + rng.below(rest.end - rest.start)) & !(PAGE - 1);
        tally.expect(show(gpa), Ok(()), format_args!("show at {gpa:#x}"));
        tally.check(cpu::load(DIRECT_MAP_VA + gpa).is_ok_and(|word| word != 0), "no clock");
    }
    tally.expect(hide(), Ok(()), "hide");
    shim.report("overlay everywhere", &tally);
}

/// One place after the other all over the address space: each may cost tables, until the deposit is used up.
pub(super) fn far_tour() -> Result<(), Trap> {
    let [eax, ..] = cpu::cpuid(0x8000_0008, 0);
    let bits = (eax & 0xff).min(52);
    let mut rng = Rng::new(0x6661_7221);
    (0..100_000).try_for_each(|_| show(rng.next() & ((1 << bits) - 1) & !(PAGE - 1)))
}
