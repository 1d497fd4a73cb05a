use super::*;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use tlfs::calls::PartitionInput;

type Answer = Box<dyn FnMut(HypercallInput, &[u8; PAGE], &mut [u8; PAGE]) -> HypercallOutput>;

/// A hypervisor that is a closure.
struct Fake {
    input: Box<[u8; PAGE]>,
    output: Box<[u8; PAGE]>,
    answer: Answer,
}

impl Transport for Fake {
    fn input(&mut self) -> &mut [u8; PAGE] {
        &mut self.input
    }
    fn output(&self) -> &[u8; PAGE] {
        &self.output
    }
    fn call(&mut self, control: HypercallInput) -> HypercallOutput {
        (self.answer)(control, &self.input, &mut self.output)
    }
    fn call_fast(&mut self, control: HypercallInput, input: [u64; 2]) -> HypercallOutput {
        assert!(control.is_fast());
        let mut page = [0; PAGE];
        page[..16].copy_from_slice(input.as_bytes());
        (self.answer)(control, &page, &mut self.output)
    }
}

fn client(
    answer: impl FnMut(HypercallInput, &[u8; PAGE], &mut [u8; PAGE]) -> HypercallOutput + 'static,
) -> Client<Fake> {
    Client::new(Fake { input: Box::new([0xee; PAGE]), output: Box::new([0; PAGE]), answer: Box::new(answer) })
}

const SUCCESS: HypercallOutput = HypercallOutput::new(HvStatus::SUCCESS, 0);
const ID: PartitionId = PartitionId(7);

#[test]
fn short_inputs_go_by_registers() {
    let mut client = client(|control, input, _| {
        assert!(control.is_fast());
        assert_eq!(control.call_code(), CallCode::DELETE_VP);
        assert_eq!(u64::read_from_bytes(&input[..8]), Ok(7));
        SUCCESS
    });
    client.delete_vp(ID, VpIndex(0)).unwrap();
    assert_eq!(client.calls(), 1);
}

#[test]
fn outputs_come_from_the_output_page() {
    let mut client = client(|control, input, output| {
        assert!(!control.is_fast());
        assert_eq!(PartitionInput::read_from_bytes(&input[..8]).unwrap().partition_id, ID);
        output[..16].copy_from_slice([3_u64, 4].as_bytes());
        SUCCESS
    });
    let balance = client.memory_balance(ID).unwrap();
    assert_eq!((balance.pages_available, balance.pages_in_use), (3, 4));
}

#[test]
fn an_interrupted_rep_call_goes_on_where_it_was() {
    let mut starts = Vec::new();
    let mut client = client(move |control, input, _| {
        starts.push(control.rep_start());
        assert_eq!(control.rep_count(), 10);
        let header = MapGpaPagesHeader::read_from_prefix(input).unwrap().0;
        assert_eq!((header.target_gpa_base, header.map_flags), (0x100, MapGpaFlags::READABLE));
        let pages: Vec<u64> = input[24..104].chunks(8).map(|b| u64::read_from_bytes(b).unwrap()).collect();
        assert_eq!(pages, (500..510).collect::<Vec<_>>());
        assert!(starts.len() <= 4);
        HypercallOutput::new(HvStatus::SUCCESS, (control.rep_start() + 3).min(10))
    });
    let sources: Vec<u64> = (500..510).collect();
    client.map_gpa_pages(ID, 0x100, MapGpaFlags::READABLE, &sources).unwrap();
    assert_eq!(client.calls(), 4);
}

#[test]
fn long_lists_go_in_several_calls() {
    let pages: Vec<u64> = (0..1200).collect();
    let mut seen = 0;
    let mut client = client(move |control, input, _| {
        assert_eq!(u64::read_from_bytes(&input[8..16]), Ok(seen));
        seen += u64::from(control.rep_count());
        HypercallOutput::new(HvStatus::SUCCESS, control.rep_count())
    });
    client.deposit(ID, &pages).unwrap();
    assert_eq!(client.calls(), 3);
}

#[test]
fn a_failure_says_how_far_it_got() {
    let mut calls = 0;
    let mut client = client(move |control, _, _| {
        calls += 1;
        match calls {
            1 => HypercallOutput::new(HvStatus::SUCCESS, control.rep_count()),
            _ => HypercallOutput::new(HvStatus::INSUFFICIENT_MEMORY, 2),
        }
    });
    let error = client.map_gpa_pages(ID, 0, MapGpaFlags::READABLE, &[0; 600]).unwrap_err();
    assert_eq!(error.done, 509 + 2);
    assert_eq!(error.error, CallError { call: CallCode::MAP_GPA_PAGES, status: HvStatus::INSUFFICIENT_MEMORY });
}

#[test]
fn a_hypervisor_that_does_not_get_on_is_left() {
    let mut client = client(|_, _, _| SUCCESS);
    let error = client.unmap_gpa_pages(ID, 0, 5).unwrap_err();
    assert_eq!((error.done, error.error.status), (0, HvStatus::OPERATION_FAILED));
}

#[test]
fn withdrawing_ends_when_nothing_is_left() {
    let mut calls = 0_u64;
    let mut client = client(move |_, _, output| {
        calls += 1;
        output[..8].copy_from_slice(&calls.to_le_bytes());
        match calls {
            1 | 2 => HypercallOutput::new(HvStatus::SUCCESS, 1),
            _ => HypercallOutput::new(HvStatus::NO_RESOURCES, 1),
        }
    });
    let mut pages = vec![];
    client.withdraw(ID, |page| pages.push(page)).unwrap();
    assert_eq!(pages, [1, 2, 3]);
}

#[test]
fn dispatch_says_why_it_ended() {
    let ends = [
        (DispatchState::READY, DispatchEvent::INTERCEPT, DispatchEnd::Intercept),
        (DispatchState::READY, DispatchEvent::INVALID, DispatchEnd::Ready),
        (DispatchState::BLOCKED, DispatchEvent::INVALID, DispatchEnd::Blocked),
        (DispatchState::BLOCKED, DispatchEvent::SUSPEND, DispatchEnd::Suspended),
        (DispatchState(9), DispatchEvent(8), DispatchEnd::Unknown(DispatchState(9), DispatchEvent(8))),
    ];
    for (state, event, expected) in ends {
        let mut client = client(move |_, input, output| {
            let input = DispatchVpInput::read_from_prefix(input).unwrap().0;
            assert_eq!((input.time_slice, input.spec_ctrl), (0, 0));
            output[..8].copy_from_slice([state.0, event.0].as_bytes());
            SUCCESS
        });
        assert_eq!(client.dispatch(ID, VpIndex(0), DispatchVpFlags::empty()), Ok(expected));
    }
}

#[test]
fn registers_are_set_by_name() {
    let mut client = client(|control, input, _| {
        let element = SetVpRegistersElement::read_from_bytes(&input[48..80]).unwrap();
        assert_eq!((element.name, element.value.as_u64()), (HvRegisterName::X64_RIP, 0x1234));
        HypercallOutput::new(HvStatus::SUCCESS, control.rep_count())
    });
    let value = HvRegisterValue::from_u64;
    let registers = [(HvRegisterName::X64_RAX, value(1)), (HvRegisterName::X64_RIP, value(0x1234))];
    client.set_registers(ID, VpIndex(0), &registers).unwrap();
}
