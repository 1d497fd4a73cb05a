//! A child's registers: by name, through the register page, and kept apart from the parent's.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use core::mem::offset_of;

use kernels::child::{CODE, Child, DATA, RAX, RBX, STACK, VP, case};
use kernels::parent::Parent;
use kernels::{Failure, Kernel, Outcome, code, ensure, ensure_eq};
use tlfs::register::{HvRegisterName as Name, HvRegisterValue as Value};
use tlfs::status::HvStatus;
use tlfs::vp_page::{HvVpRegisterPage, RegisterPageDirty as Dirty};

kernels::kernel!(run);

code!(halt: "hlt");
code!(halts: "hlt", "hlt", "hlt");
code!(flags: "pushfq", "pop rax", "hlt");
code!(use_xmm: "movdqa xmm1, xmm0", "paddq xmm1, xmm1", "movq rax, xmm1", "hlt");
code!(
    trash: "mov eax, 0x7777", "movq xmm0, rax", "movq xmm5, rax", "movq xmm6, rax", "movq xmm15, rax", "fninit", "fld1", "fldpi",
    "mov dword ptr [0xa100], 0x1fa0", "ldmxcsr [0xa100]", "mov word ptr [0xa108], 0x27f", "fldcw [0xa108]",
    "mov ebx, 0x7777", "mov ebp, 0x7777", "mov r12d, 0x7777", "hlt"
);
code!(
    read_back: "movq rax, xmm6", "movq rbx, xmm15", "stmxcsr [0xa100]", "fnstcw [0xa108]", "fstp qword ptr [0xa110]", "hlt"
);

fn run(kernel: &mut Kernel) {
    Parent::with(kernel, |kernel, parent| {
        let mut with = |name, run: fn(&mut Parent, &mut Child) -> Outcome| {
            case(kernel, parent, name, |_, parent, child| run(parent, child));
        };
        with("set and get by name", by_name);
        with("values that cannot be", bad_values);
        with("names that are not", bad_names);
        with("the register page shows what is", page_shows);
        with("only dirty parts of the register page count", dirty_parts);
        with("XMM registers through the register page", xmm_by_page);
        with("segments through the register page", segments_by_page);
        with("flags are kept sane", sane_flags);
        with("x87 and SSE of parent and child are apart", apart);
        with("the parent's general registers survive a dispatch", parent_survives);
    });
}

fn set(parent: &mut Parent, child: &Child, name: Name, value: Value) -> HvStatus {
    let result = parent.client.set_registers(child.id, VP, &[(name, value)]);
    result.map_or_else(|error| error.error.status, |()| HvStatus::SUCCESS)
}

fn get(parent: &mut Parent, child: &Child, name: Name) -> Outcome<Value> {
    let value = parent.client.get_register(child.id, VP, name);
    value.map_err(|error| Failure(kernels::alloc::format!("{name}: {error}")))
}

fn by_name(parent: &mut Parent, child: &mut Child) -> Outcome {
    let number = |value| Value { low: value, high: 0 };
    let general = (0..16).map(|n| (Name(Name::X64_RAX.0 + n), number(0x1111_0000_2222_0000 + u64::from(n))));
    let mut list: kernels::alloc::vec::Vec<_> = general.collect();
    list.extend([
        (Name::X64_RIP, number(0x1234)),
        (Name::X64_CR2, number(0xffff_8000_0000_1000)),
        (Name::X64_CR3, number(0x5000)),
        (Name::X64_CR8, number(5)),
        (Name::X64_DR0, number(0x1_0000)),
        (Name::X64_DR3, number(0x3_0000)),
        (Name::X64_KERNEL_GS_BASE, number(0xffff_8000_1234_5678)),
        (Name::X64_STAR, number(0x0023_0010_0000_0000)),
        (Name::X64_LSTAR, number(0xffff_ffff_8000_0000)),
        (Name::X64_CSTAR, number(0x1000)),
        (Name::X64_SFMASK, number(0x4_7700)),
        (Name::X64_SYSENTER_CS, number(0x10)),
        (Name::X64_SYSENTER_EIP, number(0x2000)),
        (Name::X64_SYSENTER_ESP, number(0x3000)),
        (Name::X64_PAT, number(0x0007_0406_0007_0406)),
    ]);
    list.extend((0..16).map(|n| (Name(Name::X64_XMM0.0 + n), Value { low: 0x10 + u64::from(n), high: 0xff << 56 })));
    for (name, value) in &list {
        ensure_eq!(set(parent, child, *name, *value), HvStatus::SUCCESS, "setting {name}");
    }
    for (name, value) in &list {
        ensure_eq!(get(parent, child, *name)?, *value, "{name}");
    }
    // What the hypervisor knows of the processor.
    ensure_eq!(get(parent, child, Name::VP_INDEX)?.low, 0, "VP index");
    ensure!(get(parent, child, Name::TIME_REF_COUNT)?.low > 0, "no reference time");
    ensure_eq!(get(parent, child, Name::X64_RFLAGS)?.low, 2, "RFLAGS");
    ensure!(get(parent, child, Name::X64_CS)?.segment().attributes.long(), "CS is not a 64-bit segment");
    Ok(())
}

fn bad_values(parent: &mut Parent, child: &mut Child) -> Outcome {
    let bad = [
        (Name::X64_CR0, 1 << 31, "paging without protection"),
        (Name::X64_CR0, 1 << 40, "bits above 32"),
        (Name::X64_CR4, 1 << 63, "reserved bits"),
        (Name::X64_EFER, 1 << 12, "SVME"),
        (Name::X64_EFER, 1 << 63, "reserved bits"),
        (Name::X64_XFEM, 7, "AVX state"),
    ];
    for (name, value, what) in bad {
        let status = set(parent, child, name, Value::from_u64(value));
        ensure!(status != HvStatus::SUCCESS, "{name} took {value:#x} ({what})");
    }
    child.reset(parent, halt())?;
    child.run_to_halt(parent)
}

fn bad_names(parent: &mut Parent, child: &mut Child) -> Outcome {
    for name in [Name(0xffff_ffff), Name(0x0002_00ff), Name(0x0666_0000)] {
        ensure_eq!(set(parent, child, name, Value::default()), HvStatus::INVALID_PARAMETER, "setting {name}");
        let status = parent.client.get_register(child.id, VP, name).err().map(|error| error.status);
        ensure_eq!(status, Some(HvStatus::INVALID_PARAMETER), "reading {name}");
    }
    ensure!(set(parent, child, Name::VP_INDEX, Value::from_u64(3)) != HvStatus::SUCCESS, "the VP index was set");
    Ok(())
}

fn page_shows(parent: &mut Parent, child: &mut Child) -> Outcome {
    let marks = [(Name::X64_RAX, 0xa1), (Name::X64_R15, 0xf1), (Name::X64_RSP, STACK - 64)];
    child.reset(parent, halt())?;
    for (name, value) in marks {
        set(parent, child, name, Value::from_u64(value));
    }
    child.run_to_halt(parent)?;
    let page: HvVpRegisterPage = child.registers.read::<_, 0>();
    ensure_eq!((page.version, page.is_valid), (HvVpRegisterPage::VERSION_1, 1), "version and validity");
    ensure_eq!((page.gprs[0], page.gprs[15], page.gprs[4]), (0xa1, 0xf1, STACK - 64), "RAX, R15 and RSP");
    ensure_eq!(page.rip, CODE + 1, "RIP");
    ensure_eq!(page.rflags & !0x1_0000, 2, "RFLAGS");
    ensure_eq!(page.cr3, kernels::child::TABLES, "CR3");
    ensure_eq!(page.efer & 0xd00, 0xd00, "EFER");
    ensure_eq!(page.cr0, get(parent, child, Name::X64_CR0)?.low, "CR0");
    ensure_eq!(page.cr4, get(parent, child, Name::X64_CR4)?.low, "CR4");
    let cs = page.segments[1];
    ensure_eq!((cs.selector, cs.attributes.long(), cs.attributes.dpl()), (8, true, 0), "CS");
    ensure_eq!(page.dirty, Dirty::empty(), "dirty parts");
    Ok(())
}

fn dirty_parts(parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, halts())?;
    child.run_to_halt(parent)?;
    let rip = child.rip();
    // All changed, none named: nothing changes.
    const GPRS: usize = offset_of!(HvVpRegisterPage, gprs);
    const RIP: usize = offset_of!(HvVpRegisterPage, rip);
    const FLAGS: usize = offset_of!(HvVpRegisterPage, rflags);
    child.registers.write::<[u64; 16], GPRS>([0x99; 16]);
    child.registers.write::<u64, RIP>(0x99);
    child.registers.write::<u64, FLAGS>(0x99);
    awake(parent, child);
    child.run_to_halt(parent)?;
    ensure_eq!(child.rip(), rip + 1, "RIP");
    ensure!(child.gpr(RBX) != 0x99, "RBX was taken though nothing was named");
    // Only RIP named.
    child.registers.write::<[u64; 16], GPRS>([0x99; 16]);
    child.registers.write::<u64, RIP>(CODE);
    child.mark(Dirty::IP);
    awake(parent, child);
    child.run_to_halt(parent)?;
    ensure_eq!(child.rip(), CODE + 1, "RIP after a dirty RIP");
    ensure!(child.gpr(RBX) != 0x99, "RBX was taken with RIP");
    // General registers, all sixteen.
    let values: [u64; 16] = core::array::from_fn(|n| 0x4400 + n as u64);
    child.registers.write::<[u64; 16], GPRS>(values);
    child.mark(Dirty::GENERAL);
    awake(parent, child);
    child.run_to_halt(parent)?;
    for (index, value) in values.iter().enumerate() {
        let name = Name(Name::X64_RAX.0 + u32::try_from(index).unwrap_or(0));
        ensure_eq!(get(parent, child, name)?.low, *value, "{name}");
    }
    Ok(())
}

fn awake(parent: &mut Parent, child: &Child) {
    set(parent, child, Name::INTERNAL_ACTIVITY_STATE, Value::from_u64(0));
}

fn xmm_by_page(parent: &mut Parent, child: &mut Child) -> Outcome {
    const XMM: usize = offset_of!(HvVpRegisterPage, xmm);
    child.reset(parent, halt())?;
    child.run_to_halt(parent)?;
    child.reset(parent, use_xmm())?;
    let mut xmm: [[u8; 16]; 6] = child.registers.read::<_, XMM>();
    xmm[0] = Value { low: 21, high: 7 }.bytes();
    child.registers.write::<[[u8; 16]; 6], XMM>(xmm);
    child.mark(Dirty::XMM);
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RAX), 42, "twice XMM0");
    let xmm: [[u8; 16]; 6] = child.registers.read::<_, XMM>();
    ensure_eq!(Value::from_bytes(xmm[1]), Value { low: 42, high: 14 }, "XMM1 in the page");
    Ok(())
}

fn segments_by_page(parent: &mut Parent, child: &mut Child) -> Outcome {
    const SEGMENTS: usize = offset_of!(HvVpRegisterPage, segments);
    child.reset(parent, halt())?;
    child.run_to_halt(parent)?;
    awake(parent, child);
    let mut segments: [tlfs::register::HvX64SegmentRegister; 6] = child.registers.read::<_, SEGMENTS>();
    let ring3 = kernels::child::segment(kernels::child::USER_CODE_SELECTOR, 0xa0fb).segment();
    let ring3_stack = kernels::child::segment(kernels::child::USER_DATA_SELECTOR, 0xc0f3).segment();
    (segments[1], segments[2]) = (ring3, ring3_stack);
    child.registers.write::<_, SEGMENTS>(segments);
    child.mark(Dirty::SEGMENT);
    child.set_rip(CODE);
    child.intercept_exceptions(parent, &[13])?;
    use tlfs::message::{HvMessageType, HvX64ExceptionInterceptMessage};
    let message: HvX64ExceptionInterceptMessage = child.run_to(parent, HvMessageType::X64_EXCEPTION_INTERCEPT)?;
    ensure_eq!(message.exception_vector, 13, "vector of HLT in ring 3");
    ensure_eq!(message.header.execution_state.cpl(), 3, "CPL");
    ensure_eq!(message.header.cs_segment.selector, kernels::child::USER_CODE_SELECTOR, "CS");
    Ok(())
}

fn sane_flags(parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, flags())?;
    // All reserved bits, and a harmless one.
    set(parent, child, Name::X64_RFLAGS, Value::from_u64(0xffff_ffff_ffc0_8028 | 1));
    child.run_to_halt(parent)?;
    ensure_eq!(child.gpr(RAX) & !0x28d5, 2, "RFLAGS as the child sees them, without the status flags");
    Ok(())
}

fn apart(parent: &mut Parent, child: &mut Child) -> Outcome {
    child.reset(parent, trash())?;
    let state = Fpu::fill();
    let dispatched = child.run_to_halt(parent);
    let after = Fpu::read();
    dispatched?;
    ensure_eq!(after, state, "the parent's x87 and SSE control words and XMM6 to XMM15");
    // Now the parent makes a mess of its own, and the child finds what it left.
    child.reset(parent, read_back())?;
    Fpu::fill();
    child.run_to_halt(parent)?;
    ensure_eq!((child.gpr(RAX), child.gpr(RBX)), (0x7777, 0x7777), "the child's XMM6 and XMM15");
    ensure_eq!(child.memory.read_u64(DATA + 0x100) & 0xffff, 0x1fa0, "the child's MXCSR");
    ensure_eq!(child.memory.read_u64(DATA + 0x108) & 0xffff, 0x27f, "the child's x87 control word");
    ensure_eq!(
        child.memory.read_u64(DATA + 0x110),
        core::f64::consts::PI.to_bits(),
        "the top of the child's x87 stack"
    );
    Fpu::restore();
    Ok(())
}

/// What of the parent's x87 and SSE state compiled code does not touch by itself.
#[derive(Debug, PartialEq, Eq)]
struct Fpu {
    mxcsr: u32,
    control: u16,
}

impl Fpu {
    /// Loads odd values: all exceptions masked, flush to zero, round up; x87 with short precision.
    fn fill() -> Self {
        let this = Self { mxcsr: 0xdf80, control: 0x087f };
        this.load();
        this
    }

    /// Loads the values that compiled code expects.
    fn restore() {
        Self { mxcsr: 0x1f80, control: 0x037f }.load();
    }

    fn load(&self) {
        // SAFETY: nothing here computes with floating point; the values are valid.
        unsafe {
            core::arch::asm!("ldmxcsr [{}]", "fldcw [{}]", in(reg) &raw const self.mxcsr, in(reg) &raw const self.control);
        }
    }

    fn read() -> Self {
        let mut this = Self { mxcsr: 0, control: 0 };
        // SAFETY: stores to the two fields.
        unsafe {
            core::arch::asm!("stmxcsr [{}]", "fnstcw [{}]", in(reg) &raw mut this.mxcsr, in(reg) &raw mut this.control);
        }
        this
    }
}

fn parent_survives(parent: &mut Parent, child: &mut Child) -> Outcome {
    use tlfs::calls::DispatchVpInput;
    use tlfs::hypercall::{CallCode, HypercallInput};
    use zerocopy::IntoBytes;
    child.reset(parent, trash())?;
    let input = DispatchVpInput { partition_id: child.id, vp_index: VP, ..DispatchVpInput::default() };
    parent.raw.input.write(0, input.as_bytes());
    let changed = parent.raw.changed_registers(HypercallInput::new(CallCode::DISPATCH_VP));
    ensure_eq!(changed, Ok(0), "bits that changed in registers of the parent");
    ensure_eq!(child.gpr(RBX), 0x7777, "RBX of the child, which ran");
    Ok(())
}
