//! A child partition with one processor, a little memory and a few instructions to execute.
//!
//! Its first pages hold page tables that map the first GiB one to one, for ring 3 too, a GDT, an IDT without
//! entries, the code and a stack. It starts in 64-bit mode in ring 0.

use hvclient::{DispatchEnd, StatePage};
use tlfs::addr::{PartitionId, VpIndex};
use tlfs::calls::{DispatchVpFlags, MapGpaFlags};
use tlfs::intercept::{HvInterceptAccessTypeMask as Mask, HvInterceptType};
use tlfs::message::{HvMessageHeader, HvMessageType};
use tlfs::partition::PartitionCreationFlags;
use tlfs::register::{
    HvRegisterName as Name, HvRegisterValue, HvX64SegmentAttributes, HvX64SegmentRegister, HvX64TableRegister,
};
use tlfs::vp_page::{HvVpRegisterPage, HvVpStatePageType, RegisterPageDirty};
use zerocopy::FromBytes;

use crate::memory::OwnPage;
use crate::parent::{Parent, pages};
use crate::{Kernel, Outcome, ensure, ensure_eq};

/// The child's only processor.
pub const VP: VpIndex = VpIndex(0);
/// Everything allowed.
pub const ALL: MapGpaFlags = MapGpaFlags::READABLE
    .union(MapGpaFlags::WRITABLE)
    .union(MapGpaFlags::KERNEL_EXECUTABLE)
    .union(MapGpaFlags::USER_EXECUTABLE);

/// Guest physical (and linear) address of the child's interrupt table: 256 gates of 16 bytes.
pub const IDT: u64 = 0x4000;
/// Of its descriptor table.
pub const GDT: u64 = 0x5000;
/// Of its code.
pub const CODE: u64 = 0x8000;
/// Of a page for data.
pub const DATA: u64 = 0xa000;
/// Of the end of its stack.
pub const STACK: u64 = 0x1_0000;
/// Pages that it has from address 0 on.
pub const PAGES: u64 = 32;
/// Selector of its 64-bit code segment.
pub const CODE_SELECTOR: u16 = 0x08;
/// Selector of its data segment.
pub const DATA_SELECTOR: u16 = 0x10;
/// Selector of its ring 3 code segment.
pub const USER_CODE_SELECTOR: u16 = 0x1b;
/// Selector of its ring 3 data segment.
pub const USER_DATA_SELECTOR: u16 = 0x23;
/// CR3.
pub const TABLES: u64 = 0x1000;

/// Pages that pay for a child, with room to spare.
const DEPOSIT: u64 = 64;

/// RAX, RCX, … in [`Child::gpr`].
pub const RAX: usize = 0;
/// See [`RAX`].
pub const RCX: usize = 1;
/// See [`RAX`].
pub const RDX: usize = 2;
/// See [`RAX`].
pub const RBX: usize = 3;
/// See [`RAX`].
pub const RSI: usize = 6;
/// See [`RAX`].
pub const RDI: usize = 7;
/// See [`RAX`].
pub const R8: usize = 8;

/// A child.
#[derive(Debug)]
pub struct Child {
    /// Its identifier.
    pub id: PartitionId,
    /// Its memory from address 0 on.
    pub memory: OwnPage,
    /// Its processor's registers.
    pub registers: StatePage,
    /// Its processor's message.
    pub message: StatePage,
    /// Exceptions that exit: bit n is vector n.
    intercepted: u32,
}

/// Creation flags of a child whose messages go to a mapped page.
pub const FLAGS: PartitionCreationFlags =
    PartitionCreationFlags::EXO_PARTITION.union(PartitionCreationFlags::INTERCEPT_MESSAGE_PAGE_ENABLED);

/// Deposits `count` fresh pages for a partition.
///
/// # Errors
/// If the hypervisor refuses.
pub fn deposit(kernel: &mut Kernel, parent: &mut Parent, id: PartitionId, count: u64) -> Outcome {
    let first = kernel.memory.take(count).number();
    for page in first..first + count {
        parent.client.deposit(id, &[page])?;
    }
    Ok(())
}

impl Child {
    /// Makes a child that starts at [`CODE`].
    ///
    /// # Errors
    /// If the hypervisor refuses anything.
    pub fn new(kernel: &mut Kernel, parent: &mut Parent, code: &[u8]) -> Outcome<Self> {
        let client = &mut parent.client;
        let id = client.create_partition(FLAGS)?;
        deposit(kernel, parent, id, DEPOSIT)?;
        let client = &mut parent.client;
        client.initialize_partition(id)?;
        let memory = kernel.memory.take(PAGES);
        client.map_gpa_pages(id, 0, ALL, &pages(memory.number(), PAGES))?;
        client.create_vp(id, VP)?;
        let registers = client.map_vp_state_page(id, VP, HvVpStatePageType::REGISTERS)?;
        let message = client.map_vp_state_page(id, VP, HvVpStatePageType::INTERCEPT_MESSAGE)?;
        let mut child = Self { id, memory, registers, message, intercepted: 0 };
        child.prepare_memory();
        child.reset(parent, code)?;
        Ok(child)
    }

    /// Writes tables and descriptors, as they were at the start.
    pub fn prepare_memory(&mut self) {
        const PRESENT_WRITABLE_USER: u64 = 7;
        const LARGE: u64 = 0x80;
        self.memory.write_u64(TABLES, (TABLES + 0x1000) | PRESENT_WRITABLE_USER);
        self.memory.write_u64(TABLES + 0x1000, (TABLES + 0x2000) | PRESENT_WRITABLE_USER);
        for index in 0..512 {
            self.memory.write_u64(TABLES + 0x2000 + index * 8, index << 21 | LARGE | PRESENT_WRITABLE_USER);
        }
        let descriptors =
            [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x00af_fb00_0000_ffff, 0x00cf_f300_0000_ffff_u64];
        for (address, descriptor) in (GDT..).step_by(8).zip(descriptors) {
            self.memory.write_u64(address, descriptor);
        }
    }

    /// Brings the processor back to the start, at this code, without exception intercepts.
    ///
    /// # Errors
    /// If the hypervisor refuses a register.
    pub fn reset(&mut self, parent: &mut Parent, code: &[u8]) -> Outcome {
        for vector in (0..32).filter(|vector| self.intercepted & 1 << vector != 0) {
            parent.client.install_intercept(self.id, HvInterceptType::EXCEPTION, Mask::empty(), vector)?;
        }
        self.intercepted = 0;
        self.memory.write(CODE, &[0xf4; 4096]);
        self.memory.write(CODE, code);
        let code_segment = segment(CODE_SELECTOR, 0xa09b);
        let data_segment = segment(DATA_SELECTOR, 0xc093);
        let table = |base, limit| HvRegisterValue::from_table(HvX64TableRegister { pad: [0; 3], limit, base });
        let number = HvRegisterValue::from_u64;
        let mut registers = alloc::vec![
            (Name::INTERNAL_ACTIVITY_STATE, number(0)),
            (Name::X64_CR0, number(0x8001_0033)),
            (Name::X64_CR3, number(TABLES)),
            (Name::X64_CR4, number(0x620)),
            (Name::X64_EFER, number(0xd00)),
            (Name::X64_CS, code_segment),
            (Name::X64_GDTR, table(GDT, 0x27)),
            (Name::X64_IDTR, table(IDT, 0)),
            (Name::X64_RIP, number(CODE)),
            (Name::X64_RSP, number(STACK)),
            (Name::X64_RFLAGS, number(2)),
        ];
        registers.extend([Name::X64_SS, Name::X64_DS, Name::X64_ES].map(|name| (name, data_segment)));
        parent.client.set_registers(self.id, VP, &registers)?;
        Ok(())
    }

    /// Asks for these exceptions, until the next [`Child::reset`].
    ///
    /// # Errors
    /// If the hypervisor refuses.
    pub fn intercept_exceptions(&mut self, parent: &mut Parent, vectors: &[u8]) -> Outcome {
        for vector in vectors {
            let vector = u64::from(*vector);
            parent.client.install_intercept(self.id, HvInterceptType::EXCEPTION, Mask::EXECUTE, vector)?;
            self.intercepted |= 1 << vector;
        }
        Ok(())
    }

    /// Installs an interrupt gate for `vector`.
    ///
    /// # Errors
    /// If the hypervisor refuses the interrupt table's register.
    pub fn set_gate(&mut self, parent: &mut Parent, vector: u64, handler: u64) -> Outcome {
        let low = handler & 0xffff | u64::from(CODE_SELECTOR) << 16 | 0x8e00 << 32 | (handler >> 16 & 0xffff) << 48;
        self.memory.write_u64(IDT + vector * 16, low);
        self.memory.write_u64(IDT + vector * 16 + 8, handler >> 32);
        let table = HvX64TableRegister { pad: [0; 3], limit: 0xfff, base: IDT };
        parent.client.set_registers(self.id, VP, &[(Name::X64_IDTR, HvRegisterValue::from_table(table))])?;
        Ok(())
    }

    /// Runs until there is something for the parent.
    ///
    /// # Errors
    /// If the hypervisor refuses.
    pub fn run(&mut self, parent: &mut Parent) -> Outcome<DispatchEnd> {
        Ok(parent.client.dispatch(self.id, VP, DispatchVpFlags::CLEAR_INTERCEPT_SUSPEND)?)
    }

    /// Runs until there is a message, which must be of this type.
    ///
    /// # Errors
    /// If something else happens.
    pub fn run_to<M: FromBytes>(&mut self, parent: &mut Parent, wanted: HvMessageType) -> Outcome<M> {
        let end = self.run(parent)?;
        ensure_eq!(end, DispatchEnd::Intercept, "the end of the dispatch");
        self.read_message(wanted)
    }

    /// Runs until HLT without anything to wake for.
    ///
    /// # Errors
    /// If something else happens.
    pub fn run_to_halt(&mut self, parent: &mut Parent) -> Outcome {
        let end = self.run(parent)?;
        let header: HvMessageHeader = self.message.read::<_, 0>();
        ensure!(end == DispatchEnd::Blocked, "not at its HLT, but {end:x?}, {header:x?}, rip {:#x}", self.rip());
        Ok(())
    }

    /// The message, which must be of this type.
    ///
    /// # Errors
    /// If it is of another.
    pub fn read_message<M: FromBytes>(&mut self, wanted: HvMessageType) -> Outcome<M> {
        let header: HvMessageHeader = self.message.read::<_, 0>();
        ensure_eq!(header.message_type, wanted, "type of the message at rip {:#x}", self.rip());
        ensure_eq!(usize::from(header.payload_size), size_of::<M>(), "size of the payload");
        let bytes: [u8; 256] = self.message.read::<_, 16>();
        M::read_from_prefix(&bytes).map(|(message, _)| message).map_err(|_| "a message is longer than a page".into())
    }

    /// A general register, from the register page.
    #[must_use]
    pub fn gpr(&self, index: usize) -> u64 {
        self.registers.read::<[u64; 16], { core::mem::offset_of!(HvVpRegisterPage, gprs) }>()[index]
    }

    /// Sets a general register for the next dispatch.
    pub fn set_gpr(&mut self, index: usize, value: u64) {
        self.registers.write_element::<u64, { core::mem::offset_of!(HvVpRegisterPage, gprs) }, 16>(index, value);
        self.mark(RegisterPageDirty::GENERAL);
    }

    /// RIP, from the register page.
    #[must_use]
    pub fn rip(&self) -> u64 {
        self.registers.read::<u64, { core::mem::offset_of!(HvVpRegisterPage, rip) }>()
    }

    /// Sets RIP for the next dispatch.
    pub fn set_rip(&mut self, value: u64) {
        self.registers.write::<u64, { core::mem::offset_of!(HvVpRegisterPage, rip) }>(value);
        self.mark(RegisterPageDirty::IP);
    }

    /// Names a part of the register page as changed.
    pub fn mark(&mut self, part: RegisterPageDirty) {
        const DIRTY: usize = core::mem::offset_of!(HvVpRegisterPage, dirty);
        let dirty: RegisterPageDirty = self.registers.read::<_, DIRTY>();
        self.registers.write::<_, DIRTY>(dirty | part);
    }

    /// Takes the child down; gives the number of pages that came back.
    ///
    /// # Errors
    /// If the hypervisor refuses.
    pub fn delete(self, parent: &mut Parent) -> Outcome<u64> {
        let client = &mut parent.client;
        client.finalize_partition(self.id)?;
        let mut pages = 0;
        client.withdraw(self.id, |_| pages += 1)?;
        client.delete_partition(self.id)?;
        Ok(pages)
    }
}

/// Runs a case with a child of its own, which is taken down behind it.
pub fn case(
    kernel: &mut Kernel,
    parent: &mut Parent,
    name: &str,
    run: impl FnOnce(&mut Kernel, &mut Parent, &mut Child) -> Outcome,
) {
    kernel.case(name, |kernel| {
        let mut child = Child::new(kernel, parent, &[])?;
        let outcome = run(kernel, parent, &mut child);
        let deleted = child.delete(parent);
        outcome.and(deleted.map(|_| ()))
    });
}

/// A flat segment.
#[must_use]
pub fn segment(selector: u16, attributes: u16) -> HvRegisterValue {
    HvRegisterValue::from_segment(HvX64SegmentRegister {
        base: 0,
        limit: u32::MAX,
        selector,
        attributes: HvX64SegmentAttributes(attributes),
    })
}

/// Instructions for a child: `code!(name: "line", …)` makes a function that gives their bytes. They may run anywhere; jumps
/// are relative, and numeric labels from 2 to 69 are free.
#[macro_export]
macro_rules! code {
    ($name:ident: $($line:literal),+ $(,)?) => {
        fn $name() -> &'static [u8] {
            #[unsafe(naked)]
            extern "C" fn blob() {
                core::arch::naked_asm!(".quad 71f - 70f", "70:", $($line,)+ "71:")
            }
            $crate::child::bytes_of(blob)
        }
    };
}

/// The bytes that [`code!`] made: their number, then they themselves.
#[must_use]
pub fn bytes_of(blob: extern "C" fn()) -> &'static [u8] {
    let start = blob as *const u8;
    // SAFETY: `code!` puts the length in front of as many bytes of the image's text.
    unsafe {
        let len = start.cast::<u64>().read_unaligned();
        core::slice::from_raw_parts(start.add(8), usize::try_from(len).unwrap_or(0))
    }
}
