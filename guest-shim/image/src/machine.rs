//! The personality's platform: this processor, and this partition's memory through the direct map.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, _rdtsc};
use core::ptr;

use alloc::vec::Vec;

use personality::Platform;
use personality::num::{index, low32};
use personality::platform::{Copied, PAGE, PAGE_SIZE, SpareHeap};
use personality::task::FpuState;
use proto::layout::DIRECT_MAP_VA;
use proto::{CallResult, DOORBELL_PORT, GatePage, Grant, Limits, RESULT_SLOTS, SERVICE_PAGES};
use tlfs::msr::{HV_X64_MSR_REFERENCE_TSC, HV_X64_MSR_TIME_REF_COUNT};
use tlfs::time::ReferenceTscPage;

use crate::heap;
use crate::panic::fail;

const MSR_FS_BASE: u32 = 0xc000_0100;
const MSR_GS_BASE: u32 = 0xc000_0101;
/// Frame address bits of CR3.
const CR3_FRAME: u64 = 0x000f_ffff_ffff_f000;

/// A virtual address as the integer type of pointers.
pub(crate) fn address(va: u64) -> usize {
    index(va)
}

/// Where a guest physical address is in the direct map.
fn direct<T>(gpa: u64) -> *mut T {
    ptr::with_exposed_provenance_mut(address(DIRECT_MAP_VA.wrapping_add(gpa)))
}

/// Rings the doorbell; the root has acted when this returns.
pub(crate) fn ring_doorbell() {
    // SAFETY: the port is the root's. It reads and writes only what the request names: the service pages and frames,
    // to which nobody holds a reference now.
    unsafe { asm!("out dx, al", in("dx") DOORBELL_PORT, in("al") 0_u8, options(nostack, preserves_flags)) };
}

/// The machine beneath the personality.
pub(crate) struct Machine {
    frames_start: u64,
    frames_end: u64,
    service: u64,
    gate: u64,
    copies: u64,
    boot_cr3: u64,
    window: (u64, u64),
    tsc_page: u64,
    results: u64,
}

impl Machine {
    /// The machine as the root described it.
    ///
    /// # Safety
    /// Once. The addresses are those of `BootInfo`; [`frames_start`, `frames_end`) is memory that nothing else uses.
    pub(crate) unsafe fn new(info: &proto::BootInfo, frames_start: u64) -> Self {
        Self {
            frames_start,
            frames_end: info.free_end,
            service: info.service_gpa,
            gate: info.gate_gpa,
            copies: info.copies_gpa,
            boot_cr3: info.boot_cr3,
            window: (info.window_gpa, info.window_gpa.saturating_add(info.window_len)),
            tsc_page: info.tsc_page_gpa,
            results: 0,
        }
    }

    /// Asks the hypervisor for the reference TSC page.
    pub(crate) fn enable_reference_tsc(&mut self) {
        // SAFETY: a register of the hypervisor's that every partition with this privilege has; the page is set aside for it.
        unsafe { write_msr(HV_X64_MSR_REFERENCE_TSC, (self.tsc_page & !(PAGE - 1)) | 1) };
    }

    fn check(&self, gpa: u64) {
        if !gpa.is_multiple_of(PAGE) || gpa < self.frames_start || gpa >= self.frames_end {
            fail(format_args!("no frame at guest physical address {gpa:#x}"));
        }
    }

    /// The same for what is only read: a page of the window will do.
    fn check_readable(&self, gpa: u64) {
        if gpa < self.window.0 || gpa >= self.window.1 || !gpa.is_multiple_of(PAGE) {
            self.check(gpa);
        }
    }

    fn gate(&self) -> *mut GatePage {
        direct(self.gate)
    }
}

/// # Safety
/// The caller answers for what the register does.
unsafe fn write_msr(register: u32, value: u64) {
    let (low, high) = (low32(value), low32(value >> 32));
    // SAFETY: the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") low, in("edx") high, options(nostack, preserves_flags));
    }
}

/// # Safety
/// The caller answers for the register being there.
unsafe fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller's promise.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

impl Platform for Machine {
    fn frame(&self, gpa: u64) -> &[u8; PAGE_SIZE] {
        self.check_readable(gpa);
        // SAFETY: memory of the frame range is reached only through `self`, whose borrow rules are the frame's. Ring 3,
        // which can change it, does not run meanwhile, nor does the root. Nobody writes to the window at all.
        unsafe { &*direct(gpa) }
    }

    fn frame_mut(&mut self, gpa: u64) -> &mut [u8; PAGE_SIZE] {
        self.check(gpa);
        // SAFETY: as in `frame`.
        unsafe { &mut *direct(gpa) }
    }

    fn copy(&mut self, from: u64, to: u64, len: usize) {
        self.check_readable(from & !(PAGE - 1));
        self.check(to & !(PAGE - 1));
        for address in [from, to] {
            if index(address % PAGE) + len > PAGE_SIZE {
                fail(format_args!("{len} bytes at {address:#x} are not in one frame"));
            }
        }
        // SAFETY: as in `frame`: the bytes lie in frames; they may be the same.
        unsafe { ptr::copy::<u8>(direct(from), direct(to), len) };
    }

    fn service(&mut self) -> &mut [u8] {
        // SAFETY: the service pages are reached only here, through the borrow of `self`.
        unsafe { core::slice::from_raw_parts_mut(direct(self.service), SERVICE_PAGES * PAGE_SIZE) }
    }

    fn doorbell(&mut self) {
        ring_doorbell();
    }

    fn grant(&self) -> Grant {
        // SAFETY: the gate page is mapped for good; the root writes to it only while this processor is stopped.
        unsafe { (&raw const (*self.gate()).grant).read_volatile() }
    }

    fn tainted(&self) -> u64 {
        // SAFETY: as above.
        unsafe { (&raw const (*self.gate()).tainted).read_volatile() }
    }

    fn copies(&self) -> Vec<Copied> {
        // SAFETY: the grant says that the root has put them there, in pages that are mapped for good then; it writes to them only while
        // this processor is stopped.
        Copied::list(unsafe { &*direct(self.copies) })
    }

    fn limits(&self) -> Limits {
        // SAFETY: as in `grant`.
        unsafe { (&raw const (*self.gate()).limits).read_volatile() }
    }

    fn reached(&mut self, limits: u32) {
        // SAFETY: as in `grant`; nobody but this processor writes the word.
        unsafe {
            let word = &raw mut (*self.gate()).reached;
            word.write_volatile(word.read_volatile() | limits);
        }
    }

    fn report(&mut self, result: CallResult) {
        let slot = index(self.results % RESULT_SLOTS as u64);
        self.results += 1;
        // SAFETY: as in `grant`; the slot is below `RESULT_SLOTS`.
        unsafe {
            (&raw mut (*self.gate()).results).cast::<CallResult>().add(slot).write_volatile(result);
            (&raw mut (*self.gate()).result_count).write_volatile(self.results);
        }
    }

    fn kernel_entry(&self, index: usize) -> u64 {
        let table = direct::<u64>(self.boot_cr3 & CR3_FRAME);
        // SAFETY: the boot page table is mapped for good and has 512 entries.
        unsafe { table.add(index & 511).read_volatile() }
    }

    fn activate(&mut self, root: u64) {
        self.check(root);
        // SAFETY: the table's upper half is the boot table's, so that everything of the shim's stays where it is.
        unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
    }

    fn flush_page(&mut self, va: u64) {
        // SAFETY: forgets a translation.
        unsafe { asm!("invlpg [{}]", in(reg) va, options(nostack, preserves_flags)) };
    }

    fn flush_all(&mut self) {
        // SAFETY: loads CR3 with what it holds.
        unsafe { asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags)) };
    }

    fn set_fs_base(&mut self, base: u64) {
        // SAFETY: ring 0 does not use FS; the personality keeps the base canonical.
        unsafe { write_msr(MSR_FS_BASE, base) };
    }

    fn set_gs_base(&mut self, base: u64) {
        // SAFETY: ring 0 does not use GS; the personality keeps the base canonical.
        unsafe { write_msr(MSR_GS_BASE, base) };
    }

    fn fpu(&mut self) -> &mut FpuState {
        // SAFETY: the area is used by the entry code only, before and after what runs now, and here through the borrow of `self`.
        unsafe { &mut *crate::entry::fpu() }
    }

    fn set_alarm(&mut self, at: u64) {
        // SAFETY: the gate page is mapped for good; the root reads the word while this processor is stopped.
        unsafe { (&raw mut (*self.gate()).alarm).write_volatile(at) };
    }

    fn set_thread(&mut self, tid: u32) {
        // SAFETY: as in `set_alarm`.
        unsafe { (&raw mut (*self.gate()).thread).write_volatile(tid) };
    }

    fn reset_fpu(&mut self) {
        crate::entry::reset_fpu();
    }

    fn reference_time(&mut self) -> u64 {
        // SAFETY: the page is mapped for good. The hypervisor may change it at any time: hence the sequence.
        let page = unsafe { direct::<ReferenceTscPage>(self.tsc_page).read_volatile() };
        if page.sequence == ReferenceTscPage::SEQUENCE_INVALID {
            // SAFETY: every partition with access to the reference TSC page has this register too.
            return unsafe { read_msr(HV_X64_MSR_TIME_REF_COUNT) };
        }
        // SAFETY: RDTSC is not intercepted.
        let product = u128::from(unsafe { _rdtsc() }) * u128::from(page.scale);
        let ticks = u64::try_from(product >> 64).unwrap_or(u64::MAX);
        ticks.wrapping_add_signed(page.offset)
    }

    fn hardware_capabilities(&self) -> u64 {
        u64::from(__cpuid(1).edx)
    }

    fn spare_heap(&self) -> SpareHeap {
        heap::spare()
    }

    fn fail(&mut self, reason: &str) -> ! {
        fail(format_args!("{reason}"))
    }
}

/// Takes the page at `va` out of the boot page tables, if they map it by a page of its own.
///
/// # Safety
/// Nothing uses the page.
pub(crate) unsafe fn unmap_page(boot_cr3: u64, va: u64) {
    let mut table = boot_cr3 & CR3_FRAME;
    for level in [4, 3, 2] {
        let slot = address(va >> (12 + 9 * (level - 1))) & 511;
        // SAFETY: tables lie in memory that the direct map covers.
        let entry = unsafe { direct::<u64>(table).add(slot).read_volatile() };
        let (present, large) = (entry & 1 != 0, entry & 0x80 != 0 && level < 4);
        if !present || large {
            return;
        }
        table = entry & CR3_FRAME;
    }
    let slot = address(va >> 12) & 511;
    // SAFETY: as above; the caller answers for the page.
    unsafe {
        direct::<u64>(table).add(slot).write_volatile(0);
        asm!("invlpg [{}]", in(reg) va, options(nostack, preserves_flags));
    }
}
