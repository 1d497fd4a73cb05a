//! Memory: all that was promised comes and can be used; what was not promised does not come, by whatever page table.

use linux_raw_sys::errno::EFAULT;
use proto::layout::{DIRECT_MAP_VA, SHIM_BASE_GPA, SHIM_BASE_VA};
use proto::op;

use crate::Shim;
use crate::cpu::{self, Control};
use crate::memory::{self, LAST_PAGE, PAGE, VICTIM_WORD, gpa_of_image};
use crate::report::Tally;
use crate::service::segment;

/// A virtual address that the boot page table leaves alone, in the lower half.
pub(super) const SPARE_VA: u64 = 0x1000_0000_0000;
/// From one page that is touched to the next, in bytes: some of each block.
const STEP: usize = 16 << 10;
/// What the processor sets in the entries of page tables.
const ACCESSED_DIRTY: u64 = 1 << 5 | 1 << 6;

pub(super) fn run(shim: &mut Shim) {
    let before = memory::image_sum();
    protected_by_own_tables(shim);
    services_write_nowhere_else(shim);
    untouched_memory(shim);
    tables_in_new_memory(shim);
    all_of_it(shim);
    shim.expect("memory: the code is whole", memory::image_sum(), before);
}

/// Code and constants are read-only by the boot page table too: this fault is the shim's own.
fn protected_by_own_tables(shim: &mut Shim) {
    let mut tally = Tally::new();
    for address in [memory::victim_code(), memory::victim_constants(), SHIM_BASE_VA, 0] {
        tally.expect(cpu::store(address, 1).map_err(|trap| trap.vector), Err(cpu::PF), "a store");
    }
    tally.expect(cpu::call(memory::victim_constants()).map_err(|trap| trap.vector), Err(cpu::PF), "a call");
    tally.expect(cpu::call(memory::victim_code()), Ok(()), "a call of code");
    shim.report("memory: own tables", &tally);
}

/// The root writes for a child only where the child could.
fn services_write_nowhere_else(shim: &mut Shim) {
    let end = shim.info.free_end;
    let places = [
        gpa_of_image(memory::victim_code()),
        gpa_of_image(memory::victim_constants()),
        SHIM_BASE_GPA,
        0,
        shim.info.tsc_page_gpa,
        end,
        end + (1 << 30),
        1 << 40,
        1 << 63,
        LAST_PAGE,
    ];
    let mut tally = Tally::new();
    for gpa in places {
        let answer = shim.service.call(op::RANDOM, 0, &[], &[segment(gpa, 64)]);
        tally.expect(answer, Err(EFAULT), "RANDOM");
        // Half of it good: what went before the bad part may be there, the rest not.
        let page = shim.free.take_page();
        let answer = shim.service.call(op::RANDOM, 0, &[], &[segment(page, 64), segment(gpa, 64)]);
        tally.check(matches!(answer, Err(EFAULT) | Ok(8)), "it is otherwise");
    }
    tally.expect(cpu::load(memory::victim_constants()), Ok(VICTIM_WORD), "constants");
    tally.expect(cpu::call(memory::victim_code()), Ok(()), "code");
    shim.report("memory: services", &tally);
}

/// An address space of the shim's own: the boot one with `entry` in the place for [`SPARE_VA`].
pub(super) fn space_with(shim: &mut Shim, entry: u64) -> u64 {
    let top = shim.free.take_page();
    let mut page = [0u8; 4096];
    memory::read_bytes(shim.info.boot_cr3, &mut page);
    memory::write(top, &page);
    memory::write_word(top + (SPARE_VA >> 39 & 511) * 8, entry);
    top
}

/// Memory that only the root touches, on the child's behalf: zeros to read, and what was written to it.
fn untouched_memory(shim: &mut Shim) {
    const BLOCK: u64 = 64 << 10;
    let first = shim.free.take_pages(2 * BLOCK / PAGE).next_multiple_of(BLOCK);
    let mut tally = Tally::new();
    tally.expect(shim.service.console_write_from(2, &[segment(first, 1)]), Ok(1), "a byte of it");
    let second = shim.free.take_pages(2 * BLOCK / PAGE).next_multiple_of(BLOCK);
    tally.expect(shim.service.call(op::RANDOM, 0, &[], &[segment(second, 64)]), Ok(8), "RANDOM");
    tally.check(cpu::load(DIRECT_MAP_VA + second) != Ok(0), "nothing was written");
    tally.expect(cpu::load(DIRECT_MAP_VA + second + 64), Ok(0), "what is behind it");
    shim.report("memory: untouched", &tally);
}

/// Tables in memory that nobody touched yet: the walk itself brings it, as zeros.
fn tables_in_new_memory(shim: &mut Shim) {
    let mut tally = Tally::new();
    let untouched = shim.info.free_end - PAGE;
    let space = space_with(shim, untouched | 3);
    tally.expect(cpu::write_control(Control::Cr3, space), Ok(()), "CR3");
    tally.expect(cpu::load(SPARE_VA).map_err(|trap| trap.vector), Err(cpu::PF), "a load");
    // A table that is its own next level: its entry leads to itself at every level, and to itself as a page.
    memory::write_word(untouched, untouched | 3);
    let read = cpu::load(SPARE_VA).map(|word| word & !ACCESSED_DIRTY);
    tally.expect(read, Ok(untouched | 3), "a table that maps itself");
    memory::write_word(untouched, 0);
    tally.expect(cpu::write_control(Control::Cr3, shim.info.boot_cr3), Ok(()), "CR3");
    shim.report("memory: tables", &tally);
}

/// Every block up to the limit.
fn all_of_it(shim: &mut Shim) {
    let mut tally = Tally::new();
    for gpa in shim.free.rest().step_by(STEP) {
        let address = DIRECT_MAP_VA + gpa;
        tally.expect(cpu::load(address), Ok(0), "a new page");
        tally.expect(cpu::store(address, gpa), Ok(()), "a store");
    }
    for gpa in shim.free.rest().step_by(STEP) {
        tally.expect(cpu::load(DIRECT_MAP_VA + gpa), Ok(gpa), "what was stored");
    }
    shim.report("memory: all of it", &tally);
}

/// A few new blocks, to see that the root still gives memory.
pub(super) fn touch_some(shim: &mut Shim, name: &str) {
    let mut tally = Tally::new();
    for gpa in shim.free.rest().step_by(1 << 20) {
        tally.expect(cpu::load(DIRECT_MAP_VA + gpa), Ok(0), "a new page");
    }
    shim.report(name, &tally);
}
