//! The control word and the result of a hypercall, and other registers of bit fields: what goes in comes out, and
//! nothing else changes. The numbers are pseudo-random from a fixed seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use tlfs::calls::SERVED;
use tlfs::hypercall::{CallCode, HypercallInput, HypercallOutput};
use tlfs::msr::{GuestOsId, HypercallMsr};
use tlfs::register::{HvRegisterValue, HvX64PendingInterruptionRegister};
use tlfs::status::HvStatus;

const ROUNDS: usize = 20_000;

fn generator() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(0x0043_6f72_646f_6e00)
}

fn u16_of(rng: &mut ChaCha8Rng) -> u16 {
    (rng.next_u32() & 0xffff) as u16
}

#[test]
fn fields_of_the_control_word_round_trip() {
    let mut rng = generator();
    for _ in 0..ROUNDS {
        let code = CallCode(u16_of(&mut rng));
        let fast = rng.next_u32() & 1 != 0;
        let nested = rng.next_u32() & 1 != 0;
        let variable = u16_of(&mut rng) & 0x3ff;
        let (count, start) = (u16_of(&mut rng) & 0xfff, u16_of(&mut rng) & 0xfff);
        let word = HypercallInput::new(code)
            .with_fast(fast)
            .with_nested(nested)
            .with_variable_header_size(variable)
            .with_reps(count, start);
        assert_eq!(word.call_code(), code);
        assert_eq!(word.is_fast(), fast);
        assert_eq!(word.is_nested(), nested);
        assert_eq!(word.variable_header_size(), variable);
        assert_eq!((word.rep_count(), word.rep_start()), (count, start));
        assert_eq!(word.reserved(), 0, "{word:?}");
        // The layout, spelled out once more by hand.
        let by_hand = u64::from(code.0)
            | u64::from(fast) << 16
            | u64::from(variable) << 17
            | u64::from(nested) << 31
            | u64::from(count) << 32
            | u64::from(start) << 48;
        assert_eq!(word.0, by_hand);
    }
}

#[test]
fn every_word_is_its_fields_and_its_reserved_bits() {
    let mut rng = generator();
    for _ in 0..ROUNDS {
        let word = HypercallInput(rng.next_u64());
        let rebuilt = HypercallInput::new(word.call_code())
            .with_fast(word.is_fast())
            .with_nested(word.is_nested())
            .with_variable_header_size(word.variable_header_size())
            .with_reps(word.rep_count(), word.rep_start());
        assert_eq!(rebuilt.0 | word.reserved(), word.0);
        assert_eq!(rebuilt.0 & HypercallInput::RESERVED, 0);
    }
}

#[test]
fn setting_a_field_leaves_the_others_and_drops_excess_bits() {
    let mut rng = generator();
    for _ in 0..ROUNDS {
        let word = HypercallInput(rng.next_u64());
        let count = u16_of(&mut rng);
        let changed = word.with_rep_count(count);
        assert_eq!(changed.rep_count(), count & 0xfff);
        assert_eq!(changed.0 & !(0xfff << 32), word.0 & !(0xfff << 32));
        let changed = word.with_variable_header_size(count);
        assert_eq!(changed.variable_header_size(), count & 0x3ff);
        assert_eq!(changed.0 & !(0x3ff << 17), word.0 & !(0x3ff << 17));
        assert_eq!(word.fast().0, word.0 | 1 << 16);
    }
}

#[test]
fn results_round_trip() {
    let mut rng = generator();
    for _ in 0..ROUNDS {
        let (status, reps) = (HvStatus(u16_of(&mut rng)), u16_of(&mut rng) & 0xfff);
        let result = HypercallOutput::new(status, reps);
        assert_eq!((result.status(), result.reps_completed()), (status, reps));
        assert_eq!(result.0, u64::from(status.0) | u64::from(reps) << 32);
    }
}

#[test]
fn other_registers_round_trip() {
    let mut rng = generator();
    for _ in 0..ROUNDS {
        let page = rng.next_u64() >> 12;
        let msr = HypercallMsr(0).with_enabled(true).with_gpa_page(page);
        assert_eq!((msr.enabled(), msr.locked(), msr.gpa_page()), (true, false, page));
        assert_eq!(msr.0, page << 12 | 1);

        let os = GuestOsId(rng.next_u64());
        let rebuilt = GuestOsId(0)
            .with_build(os.build())
            .with_version(os.version())
            .with_os_id(os.os_id())
            .with_os_type(os.os_type())
            .with_open_source(os.open_source());
        assert_eq!(rebuilt, os, "the fields cover all 64 bits");

        let (vector, code) = ((rng.next_u32() & 0xff) as u8, rng.next_u32());
        let event = HvX64PendingInterruptionRegister::exception(vector, Some(code));
        assert!(event.interruption_pending() && event.deliver_error_code());
        assert_eq!(event.interruption_type(), HvX64PendingInterruptionRegister::TYPE_EXCEPTION);
        assert_eq!((event.interruption_vector(), event.error_code()), (u16::from(vector), code));
        assert!(!HvX64PendingInterruptionRegister::exception(vector, None).deliver_error_code());

        let (low, high) = (rng.next_u64(), rng.next_u64());
        let value = HvRegisterValue { low, high };
        assert_eq!(HvRegisterValue::from_u128(value.as_u128()), value);
        assert_eq!(HvRegisterValue::from_bytes(value.bytes()), value);
        assert_eq!(HvRegisterValue::from_segment(value.segment()), value);
        assert_eq!(HvRegisterValue::from_table(value.table()), value);
        assert_eq!(HvRegisterValue::from_u64(low).as_u64(), low);
    }
}

#[test]
fn unknown_values_keep_their_number_and_print_it() {
    assert_eq!(CallCode(0x7777).name(), None);
    assert_eq!(CallCode(0x7777).form(), None);
    assert_eq!(format!("{}", CallCode(0x7777)), "CallCode(0x7777)");
    assert_eq!(format!("{}", HvStatus(0xabc)), "HvStatus(0xabc)");
    assert_eq!(format!("{}", HvStatus::ACCESS_DENIED), "HV_STATUS_ACCESS_DENIED");
    for code in SERVED {
        assert_eq!(format!("{code}"), code.name().expect("named"));
    }
}
