//! The mechanics of hypercalls: control word, parameter blocks, registers, repetitions.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use kernels::child::{FLAGS, deposit};
use kernels::cpu::Trap;
use kernels::parent::{Parent, Returned};
use kernels::{Failure, Kernel, Outcome, ensure, ensure_eq};
use tlfs::addr::{PartitionId, VpIndex};
use tlfs::calls::{GetPartitionPropertyInput, InstallInterceptInput, PartitionInput, SERVED, VpRegistersHeader};
use tlfs::cpuid::{HV_CPUID_FEATURES, HvFeatures};
use tlfs::hypercall::{CallCode, CallForm, HypercallInput};
use tlfs::intercept::{HvInterceptAccessTypeMask, HvInterceptType};
use tlfs::partition::HvPartitionPropertyCode;
use tlfs::register::HvRegisterName;
use tlfs::status::HvStatus;
use zerocopy::IntoBytes;

kernels::kernel!(run);

/// Names no partition.
const NOBODY: PartitionId = PartitionId(0x7777_0000_0001);
/// Far beyond the memory of the test machine, and no device either.
const NOWHERE: u64 = 0x3f_0000_0000_0000;

fn ok(result: Result<Returned, Trap>) -> Outcome<Returned> {
    result.map_err(|trap| Failure(kernels::alloc::format!("it raised {trap:?}")))
}

fn run(kernel: &mut Kernel) {
    Parent::with(kernel, cases);
}

fn cases(kernel: &mut Kernel, parent: &mut Parent) {
    kernel.case("the own partition's id", |_| own_id(parent));
    kernel.case("unknown codes", |_| unknown_codes(parent));
    kernel.case("control words of simple calls", |_| simple_control_words(parent));
    kernel.case("control words of rep calls", |_| rep_control_words(parent));
    kernel.case("alignment and place of parameters", |_| parameters(parent));
    kernel.case("a failed simple call writes no output", |_| no_output(parent));
    kernel.case("fast and memory-based calls agree", |_| fast_calls(parent));
    kernel.case("input in XMM registers", |kernel| xmm_input(kernel, parent));
    kernel.case("repetitions are absolute, and outputs of the done ones stay", |_| partial_reps(parent));
    kernel.case("registers survive", |_| registers_survive(parent));
}

fn own_id(parent: &Parent) -> Outcome {
    let control = HypercallInput::new(CallCode::GET_PARTITION_ID);
    let returned = ok(parent.raw.memory(control))?;
    ensure_eq!(returned.status(), HvStatus::SUCCESS, "status");
    let id = parent.raw.output.read_u64(0);
    ensure!(id != 0 && id != u64::MAX, "id {id:#x}");
    // A call without input does not look at its address.
    let returned = ok(parent.raw.registers(control, 3, parent.raw.output.address() + 8))?;
    ensure_eq!(returned.status(), HvStatus::SUCCESS, "status with a bad input address");
    ensure_eq!(parent.raw.output.read_u64(8), id, "id the second time");
    Ok(())
}

fn unknown_codes(parent: &Parent) -> Outcome {
    for code in [0, 0x3f, 0x5f, 0x0111, 0x7fff, 0x8001, 0xffff] {
        let returned = ok(parent.raw.memory(HypercallInput::new(CallCode(code))))?;
        ensure_eq!(returned.status(), HvStatus::INVALID_HYPERCALL_CODE, "status of {code:#x}");
    }
    // Whatever else is wrong with it.
    let control = HypercallInput(HypercallInput::RESERVED | 0xffff);
    ensure_eq!(ok(parent.raw.registers(control, 1, 1))?.status(), HvStatus::INVALID_HYPERCALL_CODE, "status");
    Ok(())
}

fn simple_control_words(parent: &Parent) -> Outcome {
    parent.raw.input.write(0, PartitionInput { partition_id: NOBODY }.as_bytes());
    let good = HypercallInput::new(CallCode::FINALIZE_PARTITION);
    ensure_eq!(ok(parent.raw.memory(good))?.status(), HvStatus::INVALID_PARTITION_ID, "status of a good one");
    let bad = [
        ("a rep count", good.with_rep_count(1)),
        ("a rep start", good.with_rep_start(1)),
        ("both", good.with_reps(2, 1)),
        ("a variable header", good.with_variable_header_size(1)),
        ("reserved bits", HypercallInput(good.0 | HypercallInput::RESERVED)),
        ("reserved bit 27", HypercallInput(good.0 | 1 << 27)),
        ("reserved bit 44", HypercallInput(good.0 | 1 << 44)),
        ("reserved bit 60", HypercallInput(good.0 | 1 << 60)),
    ];
    for (what, control) in bad {
        let returned = ok(parent.raw.memory(control))?;
        ensure_eq!(returned.status(), HvStatus::INVALID_HYPERCALL_INPUT, "status with {what}");
    }
    Ok(())
}

fn rep_control_words(parent: &Parent) -> Outcome {
    for code in SERVED.iter().filter(|code| code.form() == Some(CallForm::Rep)) {
        let good = HypercallInput::new(*code).with_reps(1, 0);
        let bad = [
            ("no rep count", good.with_rep_count(0)),
            ("start = count", good.with_reps(3, 3)),
            ("start > count", good.with_reps(3, 4)),
            ("a variable header", good.with_variable_header_size(2)),
            ("reserved bits", HypercallInput(good.0 | HypercallInput::RESERVED)),
        ];
        for (what, control) in bad {
            let returned = ok(parent.raw.memory(control))?;
            ensure_eq!(returned.status(), HvStatus::INVALID_HYPERCALL_INPUT, "status of {code} with {what}");
        }
    }
    Ok(())
}

fn parameters(parent: &Parent) -> Outcome {
    let raw = &parent.raw;
    let (input, output) = (raw.input.address(), raw.output.address());
    let property = GetPartitionPropertyInput {
        partition_id: PartitionId::SELF,
        property_code: HvPartitionPropertyCode::PRIVILEGE_FLAGS,
        padding: 0,
    };
    for offset in [0, 1, 4, 4080, 4088] {
        raw.input.write(offset.min(4080), property.as_bytes());
    }
    let control = HypercallInput::new(CallCode::GET_PARTITION_PROPERTY);
    let good = [(input + 4080, output), (input + 4080, output + 4088), (input + 4080, output + 8)];
    for (rdx, r8) in good {
        let status = ok(raw.registers(control, rdx, r8))?.status();
        ensure_eq!(status, HvStatus::SUCCESS, "status with {rdx:#x} and {r8:#x}");
    }
    let bad = [
        ("input not aligned", input + 4, output),
        ("input not aligned", input + 1, output),
        ("input over a page's end", input + 4088, output),
        ("output not aligned", input, output + 4),
        ("output not aligned", input, output + 4095),
        ("input nowhere", NOWHERE, output),
        ("output nowhere", input, NOWHERE),
        ("input at the end of all addresses", !7, output),
        ("output at the end of all addresses", input, !7),
        ("output over input", input, input),
    ];
    for (what, rdx, r8) in bad {
        let status = ok(raw.registers(control, rdx, r8))?.status();
        ensure_eq!(status, HvStatus::INVALID_ALIGNMENT, "status with {what}");
    }
    Ok(())
}

fn no_output(parent: &Parent) -> Outcome {
    let raw = &parent.raw;
    let property = GetPartitionPropertyInput {
        partition_id: PartitionId::SELF,
        property_code: HvPartitionPropertyCode(0xdead),
        padding: 0,
    };
    raw.input.write(0, property.as_bytes());
    raw.output.fill(0xa5);
    let returned = ok(raw.memory(HypercallInput::new(CallCode::GET_PARTITION_PROPERTY)))?;
    ensure_eq!(returned.status(), HvStatus::UNKNOWN_PROPERTY, "status");
    ensure!(raw.output.is_all(0xa5), "the output page was written");
    Ok(())
}

fn fast_calls(parent: &Parent) -> Outcome {
    let raw = &parent.raw;
    raw.input.write(0, PartitionInput { partition_id: NOBODY }.as_bytes());
    for code in [CallCode::INITIALIZE_PARTITION, CallCode::FINALIZE_PARTITION, CallCode::DELETE_PARTITION] {
        let control = HypercallInput::new(code);
        let by_memory = ok(raw.memory(control))?;
        let fast = ok(raw.registers(control.fast(), NOBODY.0, u64::MAX))?;
        ensure_eq!(by_memory.status(), HvStatus::INVALID_PARTITION_ID, "status of {code} by memory");
        ensure_eq!(fast.rax, by_memory.rax, "result of {code} by registers");
    }
    // Output by registers is a feature of its own.
    let features = HvFeatures(kernels::cpu::cpuid(HV_CPUID_FEATURES, 0)[3]);
    if !features.contains(HvFeatures::XMM_FAST_OUTPUT) {
        let control = HypercallInput::new(CallCode::GET_PARTITION_ID).fast();
        ensure_eq!(raw.registers(control, 0, 0).err(), Some(Trap::UD), "a fast call with output");
    }
    Ok(())
}

fn xmm_input(kernel: &mut Kernel, parent: &mut Parent) -> Outcome {
    let features = HvFeatures(kernels::cpu::cpuid(HV_CPUID_FEATURES, 0)[3]);
    let input = |partition_id, vector| InstallInterceptInput {
        partition_id,
        access_type: HvInterceptAccessTypeMask::EXECUTE,
        intercept_type: HvInterceptType::EXCEPTION,
        intercept_parameter: vector,
    };
    let words = |input: InstallInterceptInput| {
        let mut words = [0; 14];
        words.as_mut_bytes()[..24].copy_from_slice(input.as_bytes());
        words
    };
    let control = HypercallInput::new(CallCode::INSTALL_INTERCEPT).fast();
    let result = parent.raw.xmm(control, words(input(NOBODY, 6)));
    if !features.contains(HvFeatures::XMM_FAST_INPUT) {
        ensure_eq!(result.err(), Some(Trap::UD), "not advertised");
        return Ok(());
    }
    ensure_eq!(ok(result)?.status(), HvStatus::INVALID_PARTITION_ID, "status for no partition");
    // The third word, in XMM0, is seen: the same call is good or bad by it alone.
    let id = parent.client.create_partition(FLAGS)?;
    deposit(kernel, parent, id, 8)?;
    parent.client.initialize_partition(id)?;
    let good = ok(parent.raw.xmm(control, words(input(id, 6))))?;
    ensure_eq!(good.status(), HvStatus::SUCCESS, "status with vector 6");
    let bad = ok(parent.raw.xmm(control, words(input(id, 0x1_0006))))?;
    ensure_eq!(bad.status(), HvStatus::INVALID_PARAMETER, "status with vector 0x10006");
    parent.client.finalize_partition(id)?;
    Ok(parent.client.delete_partition(id)?)
}

fn partial_reps(parent: &Parent) -> Outcome {
    let raw = &parent.raw;
    let header =
        VpRegistersHeader { partition_id: PartitionId::SELF, vp_index: VpIndex::SELF, target_vtl: 0, reserved: [0; 3] };
    let names = [
        HvRegisterName::VP_INDEX,
        HvRegisterName::GUEST_OS_ID,
        HvRegisterName::TIME_REF_COUNT,
        HvRegisterName(0xdead_0000),
        HvRegisterName::VP_INDEX,
    ];
    raw.input.write(0, header.as_bytes());
    raw.input.write(16, names.as_bytes());
    raw.output.fill(0xa5);
    let control = HypercallInput::new(CallCode::GET_VP_REGISTERS).with_reps(5, 0);
    let returned = ok(raw.memory(control))?;
    ensure_eq!(returned.status(), HvStatus::INVALID_PARAMETER, "status of an unknown register");
    ensure_eq!(returned.reps(), 3, "repetitions completed");
    ensure_eq!(raw.output.read_u64(0), 0, "VP index");
    ensure_eq!(raw.output.read_u64(16), kernels::parent::OS_ID.0, "OS id");
    ensure!(raw.output.read_u64(32) != 0xa5a5_a5a5_a5a5_a5a5, "the third value was not written back");
    ensure_eq!(raw.output.read_u64(48), 0xa5a5_a5a5_a5a5_a5a5, "fourth value");

    raw.output.fill(0xa5);
    let returned = ok(raw.memory(control.with_rep_start(4)))?;
    ensure_eq!(returned.status(), HvStatus::SUCCESS, "status of the last alone");
    ensure_eq!(returned.reps(), 5, "repetitions completed, from 4 on");
    ensure_eq!(raw.output.read_u64(0), 0xa5a5_a5a5_a5a5_a5a5, "first value");
    ensure_eq!(raw.output.read_u64(64), 0, "last value");
    Ok(())
}

fn registers_survive(parent: &Parent) -> Outcome {
    let control = HypercallInput::new(CallCode::GET_PARTITION_ID);
    let seen = parent.raw.changed_registers(control);
    ensure_eq!(seen, Ok(0), "bits that changed in registers that a hypercall must keep");
    Ok(())
}
