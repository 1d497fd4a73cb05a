//! A program of the shim's own in ring 3, to see what the root makes of it.

use super::memory::space_with;
use crate::Shim;
use crate::cpu::{self, Control, Trap, User};
use crate::memory;

/// Ring 3's pages: code, and a stack below the address.
pub(super) const CODE_VA: u64 = super::memory::SPARE_VA;
/// The way back to ring 0.
pub(super) const INT3: u8 = 0xcc;
/// Of a page-table entry: present, writable, ring 3's.
pub(super) const USER: u64 = 7;

/// Ring 3's page tables.
pub(super) struct Space {
    /// GPA of the top table.
    pub(super) top: u64,
    /// GPA of the code.
    pub(super) code: u64,
    /// The lowest table: its entries are for the pages from [`CODE_VA`] on.
    pub(super) table: u64,
}

impl Space {
    /// Makes one and goes over to it.
    pub(super) fn enter(shim: &mut Shim) -> Self {
        let [third, second, table, code] = [(); 4].map(|()| shim.free.take_page());
        memory::write_word(third, second | USER);
        memory::write_word(second, table | USER);
        memory::write_word(table, code | USER);
        let top = space_with(shim, third | USER);
        if let Err(trap) = cpu::write_control(Control::Cr3, top) {
            panic!("{trap}");
        }
        Self { top, code, table }
    }

    /// Sets the entry of the page `index` behind the code's.
    pub(super) fn map(&self, index: u64, entry: u64) {
        memory::write_word(self.table + index * 8, entry);
    }

    /// Makes these the instructions at `offset`, with `int3` behind.
    pub(super) fn put(&self, offset: u64, code: &[u8]) {
        memory::write(self.code + offset, code);
        memory::write(self.code + offset + code.len() as u64, &[INT3]);
    }
}

/// Runs ring 3 at `rip` until it comes back.
pub(super) fn user(rip: u64, rax: u64, arguments: [u64; 6]) -> Trap {
    cpu::run_user(&User { rip, rsp: CODE_VA, rflags: 2, rax, arguments })
}
