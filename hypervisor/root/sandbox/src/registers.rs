//! The VP's registers in its register page: read and set without a call.
use core::mem::offset_of;

use hvclient::StatePage;
use tlfs::register::HvX64SegmentRegister;
use tlfs::vp_page::{HvVpRegisterPage, RegisterPageDirty};

/// Numbers of registers in the page.
pub(crate) const RAX: usize = 0;
pub(crate) const RCX: usize = 1;
pub(crate) const R11: usize = 11;
pub(crate) const CS: usize = 1;
pub(crate) const SS: usize = 2;

const GPRS: usize = 16;
const SEGMENTS: usize = 6;

/// A mapped register page. What is set counts only with [`Registers::set_dirty`].
pub(crate) struct Registers {
    page: StatePage,
}

impl Registers {
    pub(crate) fn new(page: StatePage) -> Self {
        Self { page }
    }

    /// The page, to be unmapped.
    pub(crate) fn into_page(self) -> StatePage {
        self.page
    }

    /// The page table that the VP uses.
    #[inline]
    pub(crate) fn cr3(&self) -> u64 {
        self.page.read::<u64, { offset_of!(HvVpRegisterPage, cr3) }>()
    }

    /// Sets the general register with this number.
    #[inline]
    pub(crate) fn set_gpr(&mut self, index: usize, value: u64) {
        self.page.write_element::<u64, { offset_of!(HvVpRegisterPage, gprs) }, GPRS>(index, value);
    }

    /// Sets RIP.
    #[inline]
    pub(crate) fn set_rip(&mut self, value: u64) {
        self.page.write::<u64, { offset_of!(HvVpRegisterPage, rip) }>(value);
    }

    /// Sets RFLAGS.
    #[inline]
    pub(crate) fn set_rflags(&mut self, value: u64) {
        self.page.write::<u64, { offset_of!(HvVpRegisterPage, rflags) }>(value);
    }

    /// Sets the segment register with this number.
    #[inline]
    pub(crate) fn set_segment(&mut self, index: usize, value: HvX64SegmentRegister) {
        self.page.write_element::<_, { offset_of!(HvVpRegisterPage, segments) }, SEGMENTS>(index, value);
    }

    /// Says which parts of the register page count at the next dispatch.
    #[inline]
    pub(crate) fn set_dirty(&mut self, parts: RegisterPageDirty) {
        self.page.write::<RegisterPageDirty, { offset_of!(HvVpRegisterPage, dirty) }>(parts);
    }
}
