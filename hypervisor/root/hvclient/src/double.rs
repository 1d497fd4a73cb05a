//! A hypervisor for tests: it keeps what it is told, and its VP does what a script says.
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use tlfs::addr::PartitionId;
use tlfs::calls::{
    AssertVirtualInterruptInput, CreatePartitionOutput, DepositMemoryHeader, DispatchEvent, DispatchState,
    DispatchVpOutput, InstallInterceptInput, MapGpaFlags, MapGpaPagesHeader, MapVpStatePageInput, MapVpStatePageOutput,
    SetVpRegistersElement, VpRegistersHeader,
};
use tlfs::hypercall::{CallCode, HypercallInput, HypercallOutput};
use tlfs::register::{HvRegisterName, HvRegisterValue};
use tlfs::status::HvStatus;
use tlfs::vp_page::HvVpStatePageType;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::client::{PAGE, Transport};
use crate::state_page::StatePage;

/// The one partition that this hypervisor makes.
pub const CHILD: PartitionId = PartitionId(2);

/// What a dispatch does: it sees the register page and the message page.
pub type Run = Box<dyn FnMut(&mut StatePage, &mut StatePage) -> (DispatchState, DispatchEvent)>;

/// The double.
pub struct Double {
    input: Box<[u8; PAGE]>,
    output: Box<[u8; PAGE]>,
    registers_page: StatePage,
    message_page: StatePage,
    /// Page numbers of the two state pages.
    locations: [u64; 2],
    /// Calls made, in order.
    pub calls: Vec<CallCode>,
    /// Pages that must be deposited before the partition can be initialized.
    pub price: usize,
    /// Pages deposited and not withdrawn.
    pub deposit: Vec<u64>,
    /// Source page and flags of each mapped page.
    pub mapped: BTreeMap<u64, (u64, MapGpaFlags)>,
    /// Registers set, in order.
    pub registers: Vec<(HvRegisterName, HvRegisterValue)>,
    /// Intercepts installed.
    pub intercepts: Vec<InstallInterceptInput>,
    /// The interrupt asserted last.
    pub asserted: Option<AssertVirtualInterruptInput>,
    /// What the next dispatches do.
    pub script: VecDeque<Run>,
    /// Every call of this kind fails like this.
    pub refuses: Option<(CallCode, HvStatus)>,
}

impl core::fmt::Debug for Double {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Double({} calls)", self.calls.len())
    }
}

#[repr(align(4096))]
struct Page([u8; PAGE]);

/// A page that stays, its number, and a way to it.
fn page() -> (u64, StatePage) {
    let page = Box::leak(Box::new(Page([0; PAGE])));
    let number = (page.0.as_mut_ptr().expose_provenance() / PAGE) as u64;
    // SAFETY: the page was leaked: it is there for good, and nobody has a reference to it.
    (number, unsafe { StatePage::new(number) }.unwrap_or_else(|| unreachable!("no page is at address 0")))
}

impl Default for Double {
    fn default() -> Self {
        let ((registers_at, registers_page), (message_at, message_page)) = (page(), page());
        Self {
            input: Box::new([0; PAGE]),
            output: Box::new([0; PAGE]),
            registers_page,
            message_page,
            locations: [registers_at, message_at],
            calls: Vec::new(),
            price: 0,
            deposit: Vec::new(),
            mapped: BTreeMap::new(),
            registers: Vec::new(),
            intercepts: Vec::new(),
            asserted: None,
            script: VecDeque::new(),
            refuses: None,
        }
    }
}

impl Double {
    /// One that refuses nothing and has nothing to run.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn give<T: IntoBytes + Immutable>(&mut self, output: &T) {
        self.output[..size_of::<T>()].copy_from_slice(output.as_bytes());
    }

    fn header<T: FromBytes>(&self) -> T {
        T::read_from_prefix(&self.input[..])
            .map(|(header, _)| header)
            .unwrap_or_else(|_| unreachable!("shorter than a page"))
    }

    /// The elements of a rep call behind a header of `header` bytes.
    fn list<T: FromBytes>(&self, header: usize, count: u16) -> Vec<T> {
        let bytes = self.input[header..].chunks_exact(size_of::<T>());
        bytes.take(usize::from(count)).filter_map(|bytes| T::read_from_bytes(bytes).ok()).collect()
    }

    fn dispatch(&mut self) -> HvStatus {
        let Some(mut run) = self.script.pop_front() else { return HvStatus::INVALID_VP_STATE };
        let (dispatch_state, dispatch_event) = run(&mut self.registers_page, &mut self.message_page);
        self.give(&DispatchVpOutput { dispatch_state, dispatch_event });
        HvStatus::SUCCESS
    }

    fn map(&mut self, count: u16) {
        let header: MapGpaPagesHeader = self.header();
        let sources: Vec<u64> = self.list(size_of::<MapGpaPagesHeader>(), count);
        for (target, source) in (header.target_gpa_base..).zip(sources) {
            let before = self.mapped.insert(target, (source, header.map_flags));
            assert!(before.is_none(), "page {target:#x} is mapped twice");
        }
    }

    fn withdraw(&mut self, count: u16) -> HypercallOutput {
        let pages = self.deposit.split_off(self.deposit.len().saturating_sub(usize::from(count)));
        self.output[..pages.len() * 8].copy_from_slice(pages.as_bytes());
        let done = u16::try_from(pages.len()).unwrap_or(u16::MAX);
        HypercallOutput::new(if done == count { HvStatus::SUCCESS } else { HvStatus::NO_RESOURCES }, done)
    }

    fn answer(&mut self, control: HypercallInput) -> HypercallOutput {
        let call = control.call_code();
        let count = control.rep_count();
        self.calls.push(call);
        if let Some((refused, status)) = self.refuses
            && refused == call
        {
            return HypercallOutput::new(status, 0);
        }
        let mut status = HvStatus::SUCCESS;
        match call {
            CallCode::CREATE_PARTITION => self.give(&CreatePartitionOutput { partition_id: CHILD }),
            CallCode::INITIALIZE_PARTITION if self.deposit.len() < self.price => status = HvStatus::INSUFFICIENT_MEMORY,
            CallCode::DEPOSIT_MEMORY => self.deposit.extend(self.list::<u64>(size_of::<DepositMemoryHeader>(), count)),
            CallCode::WITHDRAW_MEMORY => return self.withdraw(count),
            CallCode::MAP_GPA_PAGES => self.map(count),
            CallCode::INSTALL_INTERCEPT => {
                let input = self.header();
                self.intercepts.push(input);
            }
            CallCode::SET_VP_REGISTERS => {
                let list: Vec<SetVpRegistersElement> = self.list(size_of::<VpRegistersHeader>(), count);
                self.registers.extend(list.iter().map(|element| (element.name, element.value)));
            }
            CallCode::GET_VP_REGISTERS => self.give(&HvRegisterValue::from_u64(0)),
            CallCode::MAP_VP_STATE_PAGE => {
                let input: MapVpStatePageInput = self.header();
                let which = usize::from(input.page_type == HvVpStatePageType::INTERCEPT_MESSAGE);
                self.give(&MapVpStatePageOutput { map_location: self.locations[which] });
            }
            CallCode::ASSERT_VIRTUAL_INTERRUPT => self.asserted = Some(self.header()),
            CallCode::DISPATCH_VP => status = self.dispatch(),
            _ => {}
        }
        HypercallOutput::new(status, count)
    }
}

impl Transport for Double {
    fn input(&mut self) -> &mut [u8; PAGE] {
        &mut self.input
    }

    fn output(&self) -> &[u8; PAGE] {
        &self.output
    }

    fn call(&mut self, control: HypercallInput) -> HypercallOutput {
        self.answer(control)
    }

    fn call_fast(&mut self, control: HypercallInput, input: [u64; 2]) -> HypercallOutput {
        self.input[..16].copy_from_slice(input.as_bytes());
        self.answer(control)
    }
}
