//! The rules of the hypercall interface, one test each, against a handler that records what reaches it.
#![allow(clippy::cast_possible_truncation, reason = "the numbers are the test's own")]

use hypercall::{
    Caller, CallerMode, Handler, Inaccessible, MapVpStatePageShortInput, Outcome, Partial, R8, RAX, RBX, RCX, RDI, RDX,
    RSI, Refusal, Rep, Simple, dispatch,
};
use std::cell::Cell;
use std::collections::BTreeSet;
use tlfs::addr::{Gpa, PAGE_SIZE, PartitionId, VpIndex};
use tlfs::calls::*;
use tlfs::hypercall::{CallCode, CallForm, HypercallInput, HypercallOutput};
use tlfs::register::{HvRegisterName, HvRegisterValue};
use tlfs::status::HvStatus;
use zerocopy::{FromBytes, IntoBytes};

const IN: u64 = 0x1000;
const OUT: u64 = 0x2000;
const PAGES: usize = 8;

/// A caller with eight pages of memory, and a handler that answers from its fields.
struct Fake {
    mode: CallerMode,
    gprs: [u64; 16],
    xmm: [[u8; 16]; 6],
    memory: Vec<u8>,
    unreadable: BTreeSet<u64>,
    unwritable: BTreeSet<u64>,
    /// Nothing can be read once an element was carried out.
    vanishes: bool,
    /// Bytes written.
    written: usize,
    denied: bool,
    parent: bool,
    /// Looks at the clock until the time is up.
    looks: Cell<u32>,
    /// The simple calls answer this.
    refusal: Option<Refusal>,
    /// Elements of rep calls that are still carried out, and what the next one gives.
    good: usize,
    then: HvStatus,
    /// What arrived: the name of the call and its input.
    seen: Vec<(&'static str, Vec<u8>)>,
    /// Indices at which runs began, and their lengths.
    runs: Vec<(usize, usize)>,
    total: usize,
}

impl Fake {
    fn new() -> Self {
        let mut memory = vec![0; PAGES * 4096];
        memory[OUT as usize..OUT as usize + 4096].fill(0xee);
        Self {
            mode: CallerMode::Bits64,
            gprs: [0xdead; 16],
            xmm: [[0; 16]; 6],
            memory,
            unreadable: BTreeSet::new(),
            unwritable: BTreeSet::new(),
            vanishes: false,
            written: 0,
            denied: false,
            parent: false,
            looks: Cell::new(u32::MAX),
            refusal: None,
            good: usize::MAX,
            then: HvStatus::INVALID_PARAMETER,
            seen: Vec::new(),
            runs: Vec::new(),
            total: 0,
        }
    }

    fn at(&self, gpa: Gpa, len: usize) -> Result<core::ops::Range<usize>, Inaccessible> {
        assert!(gpa.page_offset() as usize + len <= 4096, "a block in one page");
        let start = usize::try_from(gpa.0).map_err(|_| Inaccessible)?;
        if start >= self.memory.len() { Err(Inaccessible) } else { Ok(start..start + len) }
    }

    fn put(&mut self, at: u64, data: &[u8]) {
        self.memory[at as usize..at as usize + data.len()].copy_from_slice(data);
    }

    fn output(&self, len: usize) -> &[u8] {
        &self.memory[OUT as usize..OUT as usize + len]
    }

    /// Calls with these three values, in 64-bit form.
    fn call(&mut self, control: u64, input: u64, output: u64) -> Outcome {
        self.gprs[RCX] = control;
        self.gprs[RDX] = input;
        self.gprs[R8] = output;
        dispatch(self)
    }

    /// The same; the result.
    fn result(&mut self, control: HypercallInput, input: u64, output: u64) -> (HvStatus, u16) {
        assert_eq!(self.call(control.0, input, output), Outcome::Complete);
        let result = HypercallOutput(self.gprs[RAX]);
        (result.status(), result.reps_completed())
    }

    fn simple(&mut self, name: &'static str, input: &[u8]) -> Result<(), Refusal> {
        self.seen.push((name, input.to_vec()));
        self.refusal.map_or(Ok(()), Err)
    }

    fn rep(&mut self, name: &'static str, header: &[u8], first: usize, count: usize) -> Rep {
        self.seen.push((name, header.to_vec()));
        self.runs.push((first, count));
        assert!(count >= 1);
        let done = count.min(self.good);
        self.good -= if self.good == usize::MAX { 0 } else { done };
        self.total += done;
        if done < count { Err(Partial { done, status: self.then }) } else { Ok(()) }
    }
}

impl Caller for Fake {
    type Place = Gpa;

    fn mode(&self) -> CallerMode {
        self.mode
    }
    fn gprs(&self) -> &[u64; 16] {
        &self.gprs
    }
    fn gprs_mut(&mut self) -> &mut [u64; 16] {
        &mut self.gprs
    }
    fn xmm(&self) -> [[u8; 16]; 6] {
        self.xmm
    }
    fn locate(&mut self, gpa: Gpa, write: bool) -> Result<Gpa, Inaccessible> {
        self.at(gpa, 0)?;
        let bad = if write { &self.unwritable } else { &self.unreadable };
        let gone = self.vanishes && self.total > 0;
        if gone || bad.contains(&gpa.page_number()) { Err(Inaccessible) } else { Ok(gpa) }
    }
    fn read(&mut self, place: Gpa, offset: usize, buf: &mut [u8]) -> Result<(), Inaccessible> {
        let range = self.at(Gpa(place.0 + offset as u64), buf.len())?;
        buf.copy_from_slice(&self.memory[range]);
        Ok(())
    }
    fn write(&mut self, place: Gpa, offset: usize, data: &[u8]) -> Result<(), Inaccessible> {
        let range = self.at(Gpa(place.0 + offset as u64), data.len())?;
        self.written += data.len();
        self.memory[range].copy_from_slice(data);
        Ok(())
    }
    fn start_clock(&mut self) {}
    fn time_is_up(&self) -> bool {
        self.looks.set(self.looks.get() - 1);
        self.looks.get() == 0
    }
}

macro_rules! simple_calls {
    ($( $method:ident($input:ty) $(-> $output:ty)?; )*) => {
        $( fn $method(&mut self, input: &$input) -> Simple$(<$output>)? {
            self.simple(stringify!($method), input.as_bytes())?;
            Ok(simple_calls!(@value $($output)?))
        } )*
    };
    (@value $output:ty) => { <$output>::read_from_bytes(&[0x77; size_of::<$output>()]).expect("any bytes will do") };
    (@value) => { () };
}

impl Handler for Fake {
    fn authorize(&self, _: CallCode) -> Result<(), HvStatus> {
        if self.denied { Err(HvStatus::ACCESS_DENIED) } else { Ok(()) }
    }
    fn has_parent(&self) -> bool {
        self.parent
    }
    fn get_partition_id(&mut self) -> Simple<GetPartitionIdOutput> {
        self.simple("get_partition_id", &[])?;
        Ok(GetPartitionIdOutput { partition_id: PartitionId(0x7777_7777_7777_7777) })
    }
    simple_calls! {
        create_partition(CreatePartitionInput) -> CreatePartitionOutput;
        initialize_partition(PartitionInput);
        finalize_partition(PartitionInput);
        delete_partition(PartitionInput);
        get_partition_property(GetPartitionPropertyInput) -> GetPartitionPropertyOutput;
        set_partition_property(SetPartitionPropertyInput);
        get_memory_balance(GetMemoryBalanceInput) -> GetMemoryBalanceOutput;
        create_vp(CreateVpInput);
        delete_vp(DeleteVpInput);
        install_intercept(InstallInterceptInput);
        map_vp_state_page(MapVpStatePageShortInput) -> MapVpStatePageOutput;
        unmap_vp_state_page(UnmapVpStatePageInput);
        translate_virtual_address(TranslateVirtualAddressInput) -> TranslateVirtualAddressOutput;
        assert_virtual_interrupt(AssertVirtualInterruptInput);
        dispatch_vp(DispatchVpInput) -> DispatchVpOutput;
    }
    fn deposit_memory(&mut self, header: &DepositMemoryHeader, pages: &[u64]) -> Rep {
        for (index, page) in pages.iter().enumerate() {
            // Tests write 100 + index.
            assert_eq!(*page as usize, 100 + self.total + index);
        }
        self.rep("deposit_memory", header.as_bytes(), self.total, pages.len())
    }
    fn withdraw_memory(&mut self, header: &WithdrawMemoryHeader, pages: &mut [u64]) -> Rep {
        let first = self.total;
        for (index, page) in pages.iter_mut().enumerate() {
            *page = 500 + (first + index) as u64;
        }
        self.rep("withdraw_memory", header.as_bytes(), first, pages.len())
    }
    fn map_gpa_pages(&mut self, header: &MapGpaPagesHeader, first: u16, pages: &[u64]) -> Rep {
        self.rep("map_gpa_pages", header.as_bytes(), first.into(), pages.len())
    }
    fn unmap_gpa_pages(&mut self, header: &UnmapGpaPagesHeader, first: u16, count: usize) -> Rep {
        self.rep("unmap_gpa_pages", header.as_bytes(), first.into(), count)
    }
    fn get_vp_registers(
        &mut self,
        header: &VpRegistersHeader,
        names: &[HvRegisterName],
        values: &mut [HvRegisterValue],
    ) -> Rep {
        for (name, value) in names.iter().zip(values) {
            *value = HvRegisterValue { low: name.0.into(), high: 1 };
        }
        self.rep("get_vp_registers", header.as_bytes(), self.total, names.len())
    }
    fn set_vp_registers(&mut self, header: &VpRegistersHeader, elements: &[SetVpRegistersElement]) -> Rep {
        self.rep("set_vp_registers", header.as_bytes(), self.total, elements.len())
    }
}

/// Size of a call's input (with `reps` elements) and output.
fn sizes(code: CallCode, reps: usize) -> (usize, usize) {
    match code {
        CallCode::CREATE_PARTITION => (56, 8),
        CallCode::INITIALIZE_PARTITION | CallCode::FINALIZE_PARTITION | CallCode::DELETE_PARTITION => (8, 0),
        CallCode::GET_PARTITION_ID => (0, 8),
        CallCode::GET_PARTITION_PROPERTY => (16, 8),
        CallCode::SET_PARTITION_PROPERTY => (24, 0),
        CallCode::GET_MEMORY_BALANCE => (16, 16),
        CallCode::CREATE_VP => (40, 0),
        CallCode::DELETE_VP | CallCode::UNMAP_VP_STATE_PAGE => (16, 0),
        CallCode::INSTALL_INTERCEPT => (24, 0),
        CallCode::MAP_VP_STATE_PAGE => (16, 8),
        CallCode::TRANSLATE_VIRTUAL_ADDRESS => (32, 16),
        CallCode::ASSERT_VIRTUAL_INTERRUPT => (32, 0),
        CallCode::DISPATCH_VP => (32, 8),
        CallCode::DEPOSIT_MEMORY => (8 + 8 * reps, 0),
        CallCode::WITHDRAW_MEMORY => (16, 8 * reps),
        CallCode::MAP_GPA_PAGES => (24 + 8 * reps, 0),
        CallCode::UNMAP_GPA_PAGES => (24, 0),
        CallCode::GET_VP_REGISTERS => (16 + 4 * reps, 16 * reps),
        CallCode::SET_VP_REGISTERS => (16 + 32 * reps, 0),
        other => panic!("{other} has no sizes here"),
    }
}

fn is_rep(code: CallCode) -> bool {
    code.form() == Some(CallForm::Rep)
}

/// A valid control word for a call.
fn control(code: CallCode) -> HypercallInput {
    let control = HypercallInput::new(code);
    if is_rep(code) { control.with_reps(1, 0) } else { control }
}

/// A caller whose input page holds what the deposit handler expects.
fn caller() -> Fake {
    let mut fake = Fake::new();
    for index in 0..500 {
        fake.put(IN + 8 + index * 8, &(100 + index).to_le_bytes());
    }
    fake
}

#[test]
fn every_call_that_is_served_reaches_its_handler() {
    for code in SERVED {
        let mut fake = caller();
        let reps = u16::from(is_rep(*code));
        assert_eq!(fake.result(control(*code), IN, OUT), (HvStatus::SUCCESS, reps), "{code}");
        assert_eq!(fake.seen.len(), 1);
        let (input, output) = sizes(*code, 1);
        let header = if is_rep(*code) { fake.seen[0].1.len() } else { input };
        assert_eq!(fake.seen[0].1, fake.memory[IN as usize..IN as usize + header], "{code}");
        // The output is written, and nothing behind it.
        assert!(output == 0 || fake.output(output).iter().any(|byte| *byte != 0xee), "{code}");
        assert!(fake.memory[OUT as usize + output..OUT as usize + 64].iter().all(|byte| *byte == 0xee), "{code}");
    }
}

#[test]
fn unknown_codes_are_said_to_be_unknown_to_everyone() {
    for code in (0..=u16::MAX).map(CallCode).filter(|code| !SERVED.contains(code)) {
        let mut fake = Fake::new();
        fake.denied = code.0 % 2 == 0;
        assert_eq!(fake.result(HypercallInput::new(code), IN, OUT).0, HvStatus::INVALID_HYPERCALL_CODE);
    }
}

#[test]
fn access_denied_comes_before_everything_that_informs() {
    for code in SERVED {
        for word in [control(*code).0, control(*code).0 | HypercallInput::RESERVED, control(*code).with_reps(0, 5).0] {
            for (input, output) in [(IN, OUT), (IN + 1, OUT), (u64::MAX, u64::MAX), (0xffff_0000, 0)] {
                let mut fake = Fake::new();
                fake.denied = true;
                assert_eq!(fake.result(HypercallInput(word), input, output).0, HvStatus::ACCESS_DENIED, "{code}");
                assert!(fake.seen.is_empty());
            }
        }
    }
}

#[test]
fn control_words_that_are_wrong_for_the_call() {
    for code in SERVED {
        let good = control(*code);
        let mut wrong = vec![
            good.with_variable_header_size(1),
            good.with_variable_header_size(0x3ff),
            HypercallInput(good.0 | 1 << 31),
        ];
        wrong.extend(
            (0..64).filter(|bit| HypercallInput::RESERVED >> bit & 1 != 0).map(|bit| HypercallInput(good.0 | 1 << bit)),
        );
        if is_rep(*code) {
            wrong.extend([good.with_reps(0, 0), good.with_reps(1, 1), good.with_reps(5, 9), good.with_reps(0, 1)]);
        } else {
            wrong.extend([good.with_reps(1, 0), good.with_reps(0, 1), good.with_reps(4095, 4094)]);
        }
        for word in wrong {
            let mut fake = caller();
            let (status, done) = fake.result(word, IN, OUT);
            assert_eq!(status, HvStatus::INVALID_HYPERCALL_INPUT, "{code} {word:?}");
            assert!(done <= word.rep_start());
            assert!(fake.seen.is_empty());
            assert!(fake.output(4096).iter().all(|byte| *byte == 0xee));
        }
    }
}

#[test]
fn blocks_are_aligned_to_8_and_lie_in_one_page() {
    for code in SERVED {
        let (input, output) = sizes(*code, 1);
        for (offset, bad) in [(0, false), (1, true), (4, true), (7, true), (8, false)] {
            if input != 0 {
                let mut fake = caller();
                fake.memory[IN as usize..].fill(0);
                fake.put(IN + 8 + 8, &100_u64.to_le_bytes());
                fake.put(IN + 8, &100_u64.to_le_bytes());
                let (status, _) = fake.result(control(*code), IN + offset, OUT);
                assert_eq!(status == HvStatus::INVALID_ALIGNMENT, bad, "{code} in {offset}");
            }
            if output != 0 {
                let mut fake = caller();
                let (status, _) = fake.result(control(*code), IN, OUT + offset);
                assert_eq!(status == HvStatus::INVALID_ALIGNMENT, bad, "{code} out {offset}");
            }
        }
        // Ends exactly with the page, or with the first byte of the next.
        let ends = |size: usize| (PAGE_SIZE as usize - size.next_multiple_of(8)) as u64;
        if input > 8 {
            let mut fake = caller();
            fake.put(IN + ends(input) + 8, &100_u64.to_le_bytes());
            assert_eq!(fake.result(control(*code), IN + ends(input), OUT).0, HvStatus::SUCCESS, "{code}");
            let (status, _) = fake.result(control(*code), IN + ends(input) + 8, OUT);
            assert_eq!(status, HvStatus::INVALID_ALIGNMENT, "{code}");
        }
        if output > 8 {
            let mut fake = caller();
            assert_eq!(fake.result(control(*code), IN, OUT + ends(output)).0, HvStatus::SUCCESS, "{code}");
            let (status, _) = fake.result(control(*code), IN, OUT + ends(output) + 8);
            assert_eq!(status, HvStatus::INVALID_ALIGNMENT, "{code}");
        }
    }
}

#[test]
fn a_list_must_fit_the_page_as_a_whole() {
    let fits = HypercallInput::new(CallCode::DEPOSIT_MEMORY).with_reps(511, 0);
    let mut fake = Fake::new();
    (0..511).for_each(|index| fake.put(IN + 8 + index * 8, &(100 + index).to_le_bytes()));
    assert_eq!(fake.result(fits, IN, OUT), (HvStatus::SUCCESS, 511));
    for start in [0, 511] {
        let too_long = fits.with_reps(512, start);
        assert_eq!(fake.result(too_long, IN, OUT), (HvStatus::INVALID_ALIGNMENT, start));
    }
    // The start does not move the list.
    let map = HypercallInput::new(CallCode::MAP_GPA_PAGES);
    assert_eq!(fake.result(map.with_reps(509, 508), IN, OUT), (HvStatus::SUCCESS, 509));
    assert_eq!(fake.result(map.with_reps(509, 508), IN + 8, OUT), (HvStatus::INVALID_ALIGNMENT, 508));
    let outputs = HypercallInput::new(CallCode::WITHDRAW_MEMORY).with_reps(513, 0);
    assert_eq!(Fake::new().result(outputs, IN, OUT).0, HvStatus::INVALID_ALIGNMENT);
}

#[test]
fn input_and_output_do_not_overlap() {
    let balance = HypercallInput::new(CallCode::GET_MEMORY_BALANCE);
    for (output, status) in [
        (IN, HvStatus::INVALID_ALIGNMENT),
        (IN + 8, HvStatus::INVALID_ALIGNMENT),
        (IN + 16, HvStatus::SUCCESS),
        (IN - 8, HvStatus::INVALID_ALIGNMENT),
        (IN + 4096 - 16, HvStatus::SUCCESS),
    ] {
        assert_eq!(Fake::new().result(balance, IN, output).0, status, "{output:#x}");
    }
}

#[test]
fn pointers_that_a_call_does_not_need_are_ignored() {
    for code in SERVED {
        let (input, output) = sizes(*code, 1);
        let mut fake = caller();
        let input = if input == 0 { u64::MAX } else { IN };
        let output = if output == 0 { u64::MAX } else { OUT };
        assert_eq!(fake.result(control(*code), input, output).0, HvStatus::SUCCESS, "{code}");
    }
}

#[test]
fn memory_that_is_not_there_is_told_to_the_parent_or_refused() {
    for code in SERVED {
        let (input, output) = sizes(*code, 1);
        let cases = [
            (input != 0, 0xffff_f000, OUT, Outcome::NoAccess { gpa: Gpa(0xffff_f000), write: false }),
            (output != 0, IN, 0xffff_f000, Outcome::NoAccess { gpa: Gpa(0xffff_f000), write: true }),
            (input != 0, 0x5008, OUT, Outcome::NoAccess { gpa: Gpa(0x5008), write: false }),
            (output != 0, IN, 0x5008, Outcome::NoAccess { gpa: Gpa(0x5008), write: true }),
        ];
        for (applies, from, to, outcome) in cases {
            if !applies {
                continue;
            }
            let mut fake = caller();
            fake.unreadable.insert(5);
            fake.unwritable.insert(5);
            fake.parent = true;
            let before = fake.gprs;
            assert_eq!(fake.call(control(*code).0, from, to), outcome, "{code}");
            assert_eq!((fake.gprs[RAX], fake.seen.len()), (before[RAX], 0), "nothing has happened");
            fake.parent = false;
            assert_eq!(fake.result(control(*code), from, to).0, HvStatus::INVALID_ALIGNMENT, "{code}");
            assert!(fake.seen.is_empty());
        }
    }
}

#[test]
fn a_page_that_can_only_be_read_is_good_for_input() {
    let mut fake = caller();
    fake.unwritable.insert(1);
    assert_eq!(fake.result(control(CallCode::CREATE_VP), IN, OUT).0, HvStatus::SUCCESS);
    fake.unreadable.insert(2);
    assert_eq!(fake.result(control(CallCode::GET_PARTITION_ID), IN, OUT).0, HvStatus::SUCCESS);
}

#[test]
fn a_failed_simple_call_writes_nothing() {
    for code in SERVED.iter().filter(|code| !is_rep(**code)) {
        let mut fake = caller();
        fake.refusal = Some(HvStatus::OPERATION_DENIED.into());
        let before = fake.memory.clone();
        assert_eq!(fake.result(control(*code), IN, OUT), (HvStatus::OPERATION_DENIED, 0), "{code}");
        assert_eq!(fake.memory, before, "{code}");
    }
}

#[test]
fn a_simple_call_can_go_on_later() {
    let mut fake = caller();
    fake.refusal = Some(Refusal::Again);
    let word = control(CallCode::FINALIZE_PARTITION).0;
    assert_eq!(fake.call(word, IN, OUT), Outcome::Resume);
    assert_eq!((fake.gprs[RCX], fake.gprs[RDX], fake.gprs[RAX]), (word, IN, 0xdead));
    fake.refusal = None;
    assert_eq!(fake.call(word, IN, OUT), Outcome::Complete);
}

#[test]
fn reps_completed_are_absolute() {
    for (count, start, good, expected) in [
        (25, 20, usize::MAX, (HvStatus::SUCCESS, 25)),
        (25, 20, 2, (HvStatus::INVALID_PARAMETER, 22)),
        (25, 20, 0, (HvStatus::INVALID_PARAMETER, 20)),
        (25, 0, 16, (HvStatus::INVALID_PARAMETER, 16)),
        (25, 0, 17, (HvStatus::INVALID_PARAMETER, 17)),
        (4095, 4094, usize::MAX, (HvStatus::SUCCESS, 4095)),
    ] {
        let mut fake = Fake::new();
        fake.good = good;
        let word = HypercallInput::new(CallCode::UNMAP_GPA_PAGES).with_reps(count, start);
        assert_eq!(fake.result(word, IN, OUT), expected);
        // RCX has the new start; RDX and R8 are as they were.
        assert_eq!(HypercallInput(fake.gprs[RCX]).rep_start(), expected.1);
        assert_eq!((fake.gprs[RDX], fake.gprs[R8]), (IN, OUT));
        assert_eq!(fake.runs[0].0, usize::from(start));
    }
}

#[test]
fn outputs_of_completed_reps_are_written_even_if_a_later_one_fails() {
    let mut fake = Fake::new();
    fake.good = 19;
    fake.then = HvStatus::NO_RESOURCES;
    let word = HypercallInput::new(CallCode::WITHDRAW_MEMORY).with_reps(30, 0);
    assert_eq!(fake.result(word, IN, OUT), (HvStatus::NO_RESOURCES, 19));
    for index in 0..19_u64 {
        let at = (OUT + index * 8) as usize;
        assert_eq!(u64::read_from_bytes(&fake.memory[at..at + 8]), Ok(500 + index));
    }
    assert!(fake.memory[OUT as usize + 19 * 8..OUT as usize + 4096].iter().all(|byte| *byte == 0xee));
}

#[test]
fn a_long_list_pauses_and_goes_on_by_itself() {
    let mut fake = Fake::new();
    (0..100).for_each(|index| fake.put(IN + 8 + index * 8, &(100 + index).to_le_bytes()));
    let mut word = HypercallInput::new(CallCode::DEPOSIT_MEMORY).with_reps(100, 0);
    let mut pauses = 0;
    loop {
        // Always late: a run is made all the same.
        fake.looks.set(1);
        match fake.call(word.0, IN, OUT) {
            Outcome::Resume => pauses += 1,
            outcome => {
                assert_eq!(outcome, Outcome::Complete);
                break;
            }
        }
        let next = HypercallInput(fake.gprs[RCX]);
        assert!(next.rep_start() > word.rep_start() && next.rep_count() == 100);
        word = next;
    }
    assert_eq!(HypercallOutput(fake.gprs[RAX]), HypercallOutput::new(HvStatus::SUCCESS, 100));
    assert_eq!((fake.total, pauses), (100, 6));
}

#[test]
fn the_32_bit_form_has_its_own_registers() {
    let mut fake = Fake::new();
    fake.mode = CallerMode::Bits32;
    let word = control(CallCode::GET_MEMORY_BALANCE);
    fake.gprs[RDX] = 0xaaaa_0000_0000_0000 | word.0 >> 32;
    fake.gprs[RAX] = 0xbbbb_0000_0000_0000 | word.0 & 0xffff_ffff;
    fake.gprs[RBX] = 0;
    fake.gprs[RCX] = IN;
    fake.gprs[RDI] = 0;
    fake.gprs[RSI] = OUT;
    assert_eq!(dispatch(&mut fake), Outcome::Complete);
    assert_eq!((fake.gprs[RAX], fake.gprs[RDX]), (0, 0));
    assert_eq!(fake.output(16), [0x77; 16]);

    // Reps: the result in EDX:EAX, and the resumed control word too.
    for late in [false, true] {
        let mut fake = Fake::new();
        fake.mode = CallerMode::Bits32;
        let word = HypercallInput::new(CallCode::UNMAP_GPA_PAGES).with_reps(40, 3);
        (fake.gprs[RDX], fake.gprs[RAX]) = (word.0 >> 32, word.0 & 0xffff_ffff);
        (fake.gprs[RBX], fake.gprs[RCX]) = (0, IN);
        fake.looks.set(if late { 1 } else { u32::MAX });
        let outcome = dispatch(&mut fake);
        let value = fake.gprs[RDX] << 32 | fake.gprs[RAX];
        if late {
            assert_eq!(outcome, Outcome::Resume);
            assert_eq!(HypercallInput(value), word.with_rep_start(3 + 16));
        } else {
            assert_eq!(HypercallOutput(value), HypercallOutput::new(HvStatus::SUCCESS, 40));
        }
        assert_eq!(fake.gprs[RCX], IN);
    }
}

#[test]
fn register_fast_input() {
    for mode in [CallerMode::Bits64, CallerMode::Bits32] {
        let mut fake = Fake::new();
        fake.mode = mode;
        let word = control(CallCode::DELETE_VP).fast().0;
        let (first, second) = (0x1122_3344_5566_7788_u64, 5_u64);
        if mode == CallerMode::Bits64 {
            assert_eq!(fake.call(word, first, second), Outcome::Complete);
            assert_eq!((fake.gprs[RDX], fake.gprs[R8]), (first, second), "inputs stay");
        } else {
            (fake.gprs[RDX], fake.gprs[RAX]) = (word >> 32, word & 0xffff_ffff);
            (fake.gprs[RBX], fake.gprs[RCX]) = (first >> 32, first & 0xffff_ffff);
            (fake.gprs[RDI], fake.gprs[RSI]) = (second >> 32, second & 0xffff_ffff);
            assert_eq!(dispatch(&mut fake), Outcome::Complete);
        }
        let expected = DeleteVpInput { partition_id: PartitionId(first), vp_index: VpIndex(5), reserved: 0 };
        assert_eq!(fake.seen, [("delete_vp", expected.as_bytes().to_vec())]);
    }
}

#[test]
fn xmm_fast_input_is_rdx_r8_and_six_registers() {
    let bytes: Vec<u8> = (1..=112).collect();
    let with = |fake: &mut Fake| {
        for (register, chunk) in fake.xmm.iter_mut().zip(bytes[16..].chunks(16)) {
            register.copy_from_slice(chunk);
        }
        let word = |at: usize| u64::read_from_bytes(&bytes[at..at + 8]).unwrap();
        (word(0), word(8))
    };
    for code in SERVED.iter().filter(|code| sizes(**code, 1).0 > 16 && sizes(**code, 1).1 == 0) {
        let mut fake = Fake::new();
        let (first, second) = with(&mut fake);
        if *code == CallCode::DEPOSIT_MEMORY {
            continue;
        }
        let xmm = fake.xmm;
        assert_eq!(fake.result(control(*code).fast(), first, second).0, HvStatus::SUCCESS, "{code}");
        let len = fake.seen[0].1.len();
        assert_eq!(fake.seen[0].1, bytes[..len], "{code}");
        assert_eq!(fake.xmm, xmm);
    }
    // Elements too: 8 + 13 * 8 = 112 bytes, and not one more.
    let mut fake = Fake::new();
    let list: Vec<u64> = (0..14).map(|index| if index == 0 { 9 } else { 99 + index }).collect();
    for (register, chunk) in fake.xmm.iter_mut().zip(list.as_bytes()[16..].chunks(16)) {
        register.copy_from_slice(chunk);
    }
    let word = HypercallInput::new(CallCode::DEPOSIT_MEMORY).fast();
    assert_eq!(fake.result(word.with_reps(13, 0), list[0], list[1]), (HvStatus::SUCCESS, 13));
    let mut fake = Fake::new();
    assert_eq!(fake.result(word.with_reps(14, 0), 0, 0), (HvStatus::INVALID_HYPERCALL_INPUT, 0));
}

#[test]
fn fast_output_is_not_offered() {
    for code in SERVED.iter().filter(|code| sizes(**code, 1).1 != 0) {
        let mut fake = Fake::new();
        assert_eq!(fake.call(control(*code).fast().0, 0, 0), Outcome::InvalidOpcode, "{code}");
        assert!(fake.seen.is_empty());
    }
}

#[test]
fn only_ring_0_of_protected_mode_may_call() {
    const PE: u64 = 1;
    const LMA: u64 = 1 << 10;
    const VM: u64 = 1 << 17;
    for (cr0, efer, rflags, cpl, long_code, expected) in [
        (PE, 0, 2, 0, false, CallerMode::Bits32),
        (PE, LMA, 2, 0, true, CallerMode::Bits64),
        (PE, LMA, 2, 0, false, CallerMode::Bits32),
        (PE, 0, 2, 0, true, CallerMode::Bits32),
        (0, 0, 2, 0, false, CallerMode::Illegal),
        (PE, 0, 2, 1, false, CallerMode::Illegal),
        (PE, LMA, 2, 3, true, CallerMode::Illegal),
        (PE, 0, VM | 2, 0, false, CallerMode::Illegal),
        (PE, LMA, VM | 2, 0, true, CallerMode::Bits64),
    ] {
        assert_eq!(CallerMode::of(cr0, efer, rflags, cpl, long_code), expected);
    }
    let mut fake = Fake::new();
    fake.mode = CallerMode::Illegal;
    assert_eq!(fake.call(control(CallCode::GET_PARTITION_ID).0, IN, OUT), Outcome::InvalidOpcode);
    assert_eq!(fake.gprs[RAX], 0xdead);
}

/// A list that is taken away while it is worked on (a deposit of the very page) ends the call with what was done.
#[test]
fn a_list_that_vanishes_ends_the_call() {
    let mut fake = caller();
    fake.parent = true;
    fake.vanishes = true;
    let word = HypercallInput::new(CallCode::DEPOSIT_MEMORY).with_reps(40, 0);
    assert_eq!(fake.result(word, IN, OUT), (HvStatus::INVALID_ALIGNMENT, 16));
}

/// Control words, addresses and modes at random: whatever comes, the dispatcher answers, touches only its blocks and
/// keeps its promises about reps.
#[test]
fn anything_at_all() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..20_000 {
        let mut fake = Fake::new();
        fake.gprs = core::array::from_fn(|_| random());
        fake.parent = random() % 2 == 0;
        fake.good = usize::try_from(random() % 40).unwrap();
        fake.total = 0;
        fake.looks.set(1 + u32::try_from(random() % 3).unwrap());
        fake.mode =
            [CallerMode::Bits64, CallerMode::Bits32, CallerMode::Illegal][usize::try_from(random() % 3).unwrap()];
        // Codes with a list of their own expectations aside, any call, mostly with sensible bits.
        let code = SERVED[usize::try_from(random()).unwrap() % SERVED.len()];
        let code = if code == CallCode::DEPOSIT_MEMORY { CallCode::MAP_GPA_PAGES } else { code };
        let reps = u16::try_from(random() % 4096).unwrap();
        let start = u16::try_from(random() % 4096).unwrap() >> (random() % 13);
        let noise = if random() % 4 == 0 { 1 << (random() % 64) } else { 0 };
        let word = HypercallInput(HypercallInput::new(code).with_reps(reps >> (random() % 13), start).0 ^ noise);
        let address = |value: u64| if value.is_multiple_of(3) { value } else { (value % (PAGES as u64 * 4096)) & !7 };
        let (input, output) = (address(random()), address(random()));
        if word.call_code() == CallCode::DEPOSIT_MEMORY {
            continue;
        }
        fake.gprs[RCX] = word.0;
        fake.gprs[RDX] = input;
        fake.gprs[R8] = output;
        if fake.mode == CallerMode::Bits32 {
            (fake.gprs[RDX], fake.gprs[RAX]) = (word.0 >> 32, word.0 & 0xffff_ffff);
            (fake.gprs[RBX], fake.gprs[RCX]) = (input >> 32, input & 0xffff_ffff);
            (fake.gprs[RDI], fake.gprs[RSI]) = (output >> 32, output & 0xffff_ffff);
        }
        let wide = fake.mode == CallerMode::Bits64;
        match dispatch(&mut fake) {
            Outcome::Complete => {
                let value = if wide { fake.gprs[RAX] } else { fake.gprs[RDX] << 32 | fake.gprs[RAX] };
                let result = HypercallOutput(value);
                assert!(result.reps_completed() <= word.rep_count().max(word.rep_start()));
                if result.status() == HvStatus::SUCCESS {
                    assert_eq!(result.reps_completed(), word.rep_count());
                }
            }
            Outcome::Resume => {
                let value = if wide { fake.gprs[RCX] } else { fake.gprs[RDX] << 32 | fake.gprs[RAX] };
                let next = HypercallInput(value);
                assert!(next.rep_start() > word.rep_start() && next.rep_start() < word.rep_count());
            }
            Outcome::InvalidOpcode => assert!(fake.mode == CallerMode::Illegal || word.is_fast()),
            Outcome::NoAccess { gpa, .. } => {
                assert!(fake.parent);
                assert!(gpa.0 >= PAGES as u64 * 4096);
            }
        }
        let served = SERVED.contains(&word.call_code());
        let (_, size) = if served { sizes(word.call_code(), usize::from(word.rep_count())) } else { (0, 0) };
        assert!(fake.written <= size);
    }
}
