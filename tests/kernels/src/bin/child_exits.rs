//! What a child's instructions come to: exits with messages for its parent, and defaults where the parent wants nothing.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use hvclient::DispatchEnd;
use kernels::child::{CODE, Child, RAX, RBX, RCX, RDX, STACK, VP, case};
use kernels::parent::Parent;
use kernels::{Kernel, Outcome, code, ensure, ensure_eq};
use tlfs::addr::VpIndex;
use tlfs::calls::DispatchVpFlags;
use tlfs::cpuid::HYPERVISOR_PRESENT;
use tlfs::intercept::{HvInterceptAccessType as Access, HvInterceptAccessTypeMask as Mask, HvInterceptType as Type};
use tlfs::message::*;
use tlfs::register::{HvRegisterName, HvRegisterValue};
use tlfs::status::HvStatus;

kernels::kernel!(run);

code!(halt: "mov eax, 0x1234", "hlt", "mov eax, 0x5678", "hlt");
code!(cpuid_1: "mov eax, 1", "xor ecx, ecx", "cpuid", "hlt");
code!(cpuid_ext: "mov eax, 0x80000001", "xor ecx, ecx", "cpuid", "hlt");
code!(out_port: "mov edx, 0x5001", "mov eax, 0x89abcdef", "out dx, ax", "in eax, dx", "hlt");
code!(in_imm: "xor eax, eax", "in al, 0x60", "hlt");
code!(undefined: "mov r8d, 0x88", "mov r15d, 0xff", "ud2", "mov eax, 7", "hlt");
code!(write_efer: "mov ecx, 0xc0000080", "mov eax, 0xd01", "xor edx, edx", "wrmsr", "rdmsr", "hlt");
code!(kernel_gs_base: "mov ecx, 0xc0000102", "mov eax, 0x11", "mov edx, 0x22", "wrmsr", "rdmsr", "hlt");
code!(bad_msr: "mov ecx, 0x4b564d00", "rdmsr", "hlt");
code!(triple: "ud2");
code!(syscall: "syscall");
code!(forbidden: "xor ecx, ecx", "xor edx, edx", "mov eax, 3", "xsetbv", "hlt");
code!(svm: "xor eax, eax", "vmrun rax", "hlt");
code!(store_high: "mov rax, 0x3f000000", "mov byte ptr [rax], 1", "hlt");

fn run(kernel: &mut Kernel) {
    Parent::with(kernel, |kernel, parent| {
        let mut with = |name, run: fn(&mut Parent, &mut Child) -> Outcome| {
            case(kernel, parent, name, |_, parent, child| run(parent, child));
        };
        with("HLT blocks and goes on behind it", halts);
        with("CPUID is filtered", cpuid_defaults);
        with("CPUID intercept", cpuid_intercept);
        with("ports without an intercept", port_defaults);
        with("port intercept", port_intercept);
        with("exception intercept", exception);
        with("SYSCALL without EFER.SCE is #UD", no_syscall);
        with("MSR intercept", msr_intercept);
        with("an MSR intercept works or is refused", switched_msr);
        with("MSRs that a child does not have", unknown_msr);
        with("instructions that no child has", forbidden_instructions);
        with("a triple fault is unrecoverable", triple_fault);
        with("a new start after a triple fault", start_again);
        with("no dispatch while a message waits", suspended);
        with("memory that is not there", unmapped);
        with("bad intercepts are refused", bad_intercepts);
    });
}

fn halts(parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, halt())?;
    child.run_to_halt(parent)?;
    ensure_eq!((child.gpr(RAX), child.rip()), (0x1234, CODE + 6), "RAX and RIP at the first HLT");
    // Nothing to wake for: it stays.
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RAX), 0x1234, "RAX while it is blocked");
    wake(parent, child)?;
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RAX), 0x5678, "RAX at the second HLT");
    Ok(())
}

/// Ends a HLT.
fn wake(parent: &mut Parent, child: &mut Child) -> Outcome {
    let awake = (HvRegisterName::INTERNAL_ACTIVITY_STATE, HvRegisterValue::from_u64(0));
    Ok(parent.client.set_registers(child.id, VP, &[awake])?)
}

fn cpuid_defaults(parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, cpuid_1())?;
    child.run_to_halt(parent)?;
    let ecx = child.gpr(RCX);
    ensure!(ecx & u64::from(HYPERVISOR_PRESENT) != 0, "no hypervisor bit: ECX {ecx:#x}");
    // MONITOR, XSAVE, OSXSAVE, AVX, x2APIC.
    let hidden = 1 << 3 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 21;
    ensure_eq!(ecx & hidden, 0, "features that a child must not see in leaf 1, ECX");
    ensure_eq!(child.gpr(RDX) & 1 << 9, 0, "APIC bit in leaf 1, EDX");
    ensure!(child.gpr(RDX) & (1 << 25 | 1 << 26) == 1 << 25 | 1 << 26, "SSE and SSE2 are missing");
    child.reset(parent, cpuid_ext())?;
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RCX) & 1 << 2, 0, "SVM bit in leaf 0x80000001");
    Ok(())
}

fn cpuid_intercept(parent: &mut Parent, child: &mut Child) -> Outcome {
    parent.client.install_intercept(child.id, Type::X64_CPUID, Mask::EXECUTE, 1)?;
    child.reset(parent, cpuid_1())?;
    let message: HvX64CpuidInterceptMessage = child.run_to(parent, HvMessageType::X64_CPUID_INTERCEPT)?;
    ensure_eq!((message.rax, message.rcx), (1, 0), "leaf and sub-leaf");
    ensure_eq!(message.header.rip, CODE + 7, "RIP in the message");
    ensure_eq!(message.header.length_cr8.instruction_length(), 2, "instruction length");
    ensure!(message.default_result_rcx & u64::from(HYPERVISOR_PRESENT) != 0, "the default result is not the default");
    for (register, value) in [(RAX, 0xa), (RBX, 0xb), (RCX, 0xc), (RDX, 0xd)] {
        child.set_gpr(register, value);
    }
    child.set_rip(message.header.rip + 2);
    child.run_to_halt(parent)?;
    ensure_eq!((child.gpr(RAX), child.gpr(RDX)), (0xa, 0xd), "RAX and RDX behind an answered CPUID");
    parent.client.install_intercept(child.id, Type::X64_CPUID, Mask::empty(), 1)?;
    child.reset(parent, cpuid_1())?;
    child.run_to_halt(parent)
}

fn port_defaults(parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, out_port())?;
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RAX), 0xffff_ffff, "EAX from a port where nothing is");
    child.reset(parent, in_imm())?;
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RAX), 0xff, "EAX after IN AL");
    Ok(())
}

fn port_intercept(parent: &mut Parent, child: &mut Child) -> Outcome {
    parent.client.install_intercept(child.id, Type::X64_IO_PORT, Mask::READ | Mask::WRITE, 0x5001)?;
    child.reset(parent, out_port())?;
    let message: HvX64IoPortInterceptMessage = child.run_to(parent, HvMessageType::X64_IO_PORT_INTERCEPT)?;
    ensure_eq!(message.port_number, 0x5001, "port");
    ensure_eq!(message.access_info.access_size(), 2, "size");
    ensure!(!message.access_info.string_op() && !message.access_info.rep_prefix(), "it looks like a string access");
    ensure_eq!(message.header.intercept_access_type, Access::WRITE, "direction");
    ensure_eq!(message.rax & 0xffff, 0xcdef, "AX");
    ensure_eq!(message.header.rip, CODE + 10, "RIP");
    ensure_eq!(message.header.length_cr8.instruction_length(), 2, "instruction length");
    let state = message.header.execution_state;
    ensure!(state.cpl() == 0 && state.cr0_pe() && state.efer_lma(), "execution state {state:?}");
    ensure!(message.header.cs_segment.attributes.long(), "CS is {:x?}", message.header.cs_segment);
    child.set_rip(message.header.rip + 2);
    let message: HvX64IoPortInterceptMessage = child.run_to(parent, HvMessageType::X64_IO_PORT_INTERCEPT)?;
    ensure_eq!(message.header.intercept_access_type, Access::READ, "direction of the second");
    ensure_eq!(message.access_info.access_size(), 4, "size of the second");
    ensure_eq!(message.header.length_cr8.instruction_length(), 1, "instruction length of the second");
    child.set_gpr(RAX, 0x4242);
    child.set_rip(message.header.rip + 1);
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RAX), 0x4242, "EAX as the parent answered");
    Ok(parent.client.install_intercept(child.id, Type::X64_IO_PORT, Mask::empty(), 0x5001)?)
}

fn exception(parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, undefined())?;
    child.intercept_exceptions(parent, &[6])?;
    let message: HvX64ExceptionInterceptMessage = child.run_to(parent, HvMessageType::X64_EXCEPTION_INTERCEPT)?;
    ensure_eq!(message.exception_vector, 6, "vector");
    ensure!(!message.exception_info.error_code_valid(), "#UD with an error code");
    let rip = message.header.rip;
    ensure_eq!(message.instruction_byte_count, 16, "instruction bytes");
    ensure_eq!(message.instruction_bytes[..2], [0x0f, 0x0b], "bytes at RIP {rip:#x}");
    ensure_eq!((message.gprs[8], message.gprs[15], message.gprs[4]), (0x88, 0xff, STACK), "R8, R15 and RSP");
    ensure_eq!(message.header.execution_state.cpl(), 0, "CPL");
    child.set_rip(rip + 2);
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RAX), 7, "RAX behind the instruction");
    Ok(())
}

fn no_syscall(parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, syscall())?;
    child.intercept_exceptions(parent, &[6])?;
    let message: HvX64ExceptionInterceptMessage = child.run_to(parent, HvMessageType::X64_EXCEPTION_INTERCEPT)?;
    ensure_eq!(message.exception_vector, 6, "vector");
    ensure_eq!(message.instruction_bytes[..2], [0x0f, 0x05], "instruction");
    ensure_eq!(message.header.rip, CODE, "RIP");
    Ok(())
}

fn msr_intercept(parent: &mut Parent, child: &mut Child) -> Outcome {
    const EFER: u64 = 0xc000_0080;
    parent.client.install_intercept(child.id, Type::X64_MSR, Mask::WRITE, EFER)?;
    child.reset(parent, write_efer())?;
    let message: HvX64MsrInterceptMessage = child.run_to(parent, HvMessageType::X64_MSR_INTERCEPT)?;
    ensure_eq!(u64::from(message.msr_number), EFER, "MSR");
    ensure_eq!((message.rax, message.rdx), (0xd01, 0), "RAX and RDX");
    ensure_eq!(message.header.intercept_access_type, Access::WRITE, "direction");
    ensure_eq!(message.header.length_cr8.instruction_length(), 2, "instruction length");
    child.set_rip(message.header.rip + 2);
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RAX), 0xd00, "EFER, of which only writes were asked for");
    parent.client.install_intercept(child.id, Type::X64_MSR, Mask::empty(), EFER)?;
    child.reset(parent, write_efer())?;
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RAX), 0xd01, "EFER when the parent does not care");
    Ok(())
}

/// The processor switches some MSRs with the child, which need not exit; but then nobody may be told that they do.
fn switched_msr(parent: &mut Parent, child: &mut Child) -> Outcome {
    const KERNEL_GS_BASE: u64 = 0xc000_0102;
    child.reset(parent, kernel_gs_base())?;
    child.run_to_halt(parent)?;
    ensure_eq!((child.gpr(RAX), child.gpr(RDX)), (0x11, 0x22), "KERNEL_GS_BASE as written");
    if parent.client.install_intercept(child.id, Type::X64_MSR, Mask::WRITE, KERNEL_GS_BASE).is_err() {
        return Ok(());
    }
    child.reset(parent, kernel_gs_base())?;
    let end = child.run(parent)?;
    parent.client.install_intercept(child.id, Type::X64_MSR, Mask::empty(), KERNEL_GS_BASE)?;
    ensure_eq!(end, DispatchEnd::Intercept, "the end of a dispatch with an intercept on KERNEL_GS_BASE installed");
    Ok(())
}

fn unknown_msr(parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, bad_msr())?;
    child.intercept_exceptions(parent, &[13])?;
    let message: HvX64ExceptionInterceptMessage = child.run_to(parent, HvMessageType::X64_EXCEPTION_INTERCEPT)?;
    ensure_eq!((message.exception_vector, message.error_code), (13, 0), "vector and error code");
    ensure!(message.exception_info.error_code_valid(), "#GP without an error code");
    ensure_eq!(message.header.rip, CODE + 5, "RIP");
    Ok(())
}

fn forbidden_instructions(parent: &mut Parent, child: &mut Child) -> Outcome {
    for (what, code) in [("XSETBV", forbidden()), ("VMRUN", svm())] {
        child.reset(parent, code)?;
        child.intercept_exceptions(parent, &[6])?;
        let end = child.run(parent)?;
        ensure_eq!(end, DispatchEnd::Intercept, "the end of {what}");
        let message: HvX64ExceptionInterceptMessage = child.read_message(HvMessageType::X64_EXCEPTION_INTERCEPT)?;
        ensure_eq!(message.exception_vector, 6, "vector for {what}");
    }
    Ok(())
}

fn triple_fault(parent: &mut Parent, child: &mut Child) -> Outcome {
    // The interrupt table has no entries: #UD, #GP, double fault, and the end.
    child.reset(parent, triple())?;
    let message: HvX64BareInterceptMessage = child.run_to(parent, HvMessageType::UNRECOVERABLE_EXCEPTION)?;
    ensure_eq!(message.header.vp_index, 0, "VP");
    Ok(())
}

fn start_again(parent: &mut Parent, child: &mut Child) -> Outcome {
    triple_fault(parent, child)?;
    let none = (HvRegisterName::PENDING_INTERRUPTION, HvRegisterValue::from_u64(0));
    parent.client.set_registers(child.id, VP, &[none])?;
    child.reset(parent, halt())?;
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RAX), 0x1234, "RAX");
    Ok(())
}

fn suspended(parent: &mut Parent, child: &mut Child) -> Outcome {
    parent.client.install_intercept(child.id, Type::X64_IO_PORT, Mask::WRITE, 0x5001)?;
    child.reset(parent, out_port())?;
    let _: HvX64IoPortInterceptMessage = child.run_to(parent, HvMessageType::X64_IO_PORT_INTERCEPT)?;
    let end = parent.client.dispatch(child.id, VP, DispatchVpFlags::empty())?;
    ensure_eq!(end, DispatchEnd::Suspended, "a dispatch that leaves the message");
    let end = parent.client.dispatch(child.id, VpIndex(1), DispatchVpFlags::empty());
    ensure_eq!(end.err().map(|e| e.status), Some(HvStatus::INVALID_VP_INDEX), "a dispatch of VP 1");
    let end = parent.client.dispatch(child.id, VP, DispatchVpFlags(1 << 20));
    ensure_eq!(end.err().map(|e| e.status), Some(HvStatus::INVALID_PARAMETER), "unknown flags");
    Ok(parent.client.install_intercept(child.id, Type::X64_IO_PORT, Mask::empty(), 0x5001)?)
}

fn unmapped(parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, store_high())?;
    let message: HvX64MemoryInterceptMessage = child.run_to(parent, HvMessageType::UNMAPPED_GPA)?;
    ensure_eq!(message.guest_physical_address, 0x3f00_0000, "address");
    ensure_eq!(message.header.intercept_access_type, Access::WRITE, "access");
    Ok(())
}

fn bad_intercepts(parent: &mut Parent, child: &mut Child) -> Outcome {
    let bad = [
        ("vector 32", Type::EXCEPTION, Mask::EXECUTE, 32),
        ("a port above 0xffff", Type::X64_IO_PORT, Mask::READ, 0x1_0000),
        ("execution of a port", Type::X64_IO_PORT, Mask::EXECUTE, 0x60),
        ("an unknown mask", Type::X64_MSR, Mask(8), 0x10),
        ("an MSR above 32 bits", Type::X64_MSR, Mask::READ, 1 << 33),
        ("an unknown type", Type(0x999), Mask::READ, 0),
    ];
    for (what, kind, mask, parameter) in bad {
        let status = parent.client.install_intercept(child.id, kind, mask, parameter).err().map(|e| e.status);
        ensure_eq!(status, Some(HvStatus::INVALID_PARAMETER), "{what}");
    }
    Ok(())
}
