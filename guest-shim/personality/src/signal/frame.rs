//! Signal frames: what a handler finds on its stack, and the way back from it (Linux `arch/x86/kernel/signal.c`,
//! `arch/x86/include/uapi/asm/sigcontext.h`, `ucontext.h`).

use linux_raw_sys::general as raw;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Info, SIG_DFL, UNSTOPPABLE};
use crate::abi::{AltStack, SigAction};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::regs::UserRegs;
use crate::task::FPU_STATE;
use proto::layout::{USER_CS, USER_END_VA, USER_SS};

/// `struct sigcontext` of x86-64.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct SigContext {
    r8: u64,
    r9: u64,
    r10: u64,
    r11: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    rip: u64,
    rflags: u64,
    cs: u16,
    gs: u16,
    fs: u16,
    ss: u16,
    error_code: u64,
    trap: u64,
    old_mask: u64,
    cr2: u64,
    fpu: u64,
    reserved: [u64; 8],
}

/// `struct rt_sigframe`: return address, `struct ucontext`, `siginfo_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Frame {
    return_to: u64,
    flags: u64,
    link: u64,
    stack: AltStack,
    context: SigContext,
    mask: u64,
    info: Info,
    info_rest: [u64; 10],
}

const _: () = assert!(size_of::<SigContext>() == 256 && size_of::<Frame>() == 440);

/// Where `struct ucontext` starts in the frame.
const UCONTEXT: u64 = 8;
/// Where `siginfo_t` starts in the frame.
const INFO: u64 = 312;
/// UC_SIGCONTEXT_SS and UC_STRICT_RESTORE_SS.
const UC_FLAGS: u64 = 6;
/// Bytes below the stack pointer that a function may use without moving it.
const RED_ZONE: u64 = 128;
/// Flags that a program may have as it likes: AC, OF, DF, TF, SF, ZF, AF, PF, CF.
const USER_FLAGS: u64 = 0x4_0dd5;
/// IF, and the bit that is always set.
const FIXED_FLAGS: u64 = 0x202;
/// Flags that a handler starts without: RF, DF, TF.
const CLEARED_FLAGS: u64 = 0x1_0500;
/// Where MXCSR is in the FXSAVE area, and the bits of it that exist.
const MXCSR: usize = 24;
const MXCSR_BITS: u32 = 0xffff;
const SS_ONSTACK: i32 = 1;
const SS_DISABLE: i32 = 2;
const SS_AUTODISARM: i32 = i32::MIN;

/// Is `sp` on this alternate stack?
#[must_use]
pub(crate) fn is_on(stack: &AltStack, sp: u64) -> bool {
    stack.ss_flags & SS_DISABLE == 0 && sp > stack.ss_sp && sp - stack.ss_sp <= stack.ss_size
}

/// The privilege level of programs in a selector.
const RING_3: u16 = 3;

impl<P: Platform> Kernel<P> {
    /// Makes the registers those of the handler's first instruction, with a frame on its stack.
    pub(super) fn enter_handler(&mut self, regs: &mut UserRegs, info: &Info, action: &SigAction) -> Result<(), Errno> {
        let signal = info.signal();
        let flag = |flag: u32| action.flags & u64::from(flag) != 0;
        let top = self.handler_stack(regs.rsp, flag(raw::SA_ONSTACK));
        let fpu = top.checked_sub(FPU_STATE as u64).ok_or(Errno::EFAULT)? & !63;
        let at = (fpu.checked_sub(size_of::<Frame>() as u64).ok_or(Errno::EFAULT)? & !15).wrapping_sub(8);
        let state = self.platform.fpu().0;
        self.copy_out(fpu, &state)?;
        let mask = self.task.saved_mask.unwrap_or(self.task.blocked);
        let frame = Frame {
            return_to: action.restorer,
            flags: UC_FLAGS,
            stack: self.reported_stack(regs.rsp),
            context: self.context(regs, fpu),
            mask,
            info: *info,
            ..Default::default()
        };
        self.put(at, &frame)?;
        self.task.saved_mask = None;
        if self.task.alternate_stack.ss_flags & SS_AUTODISARM != 0 {
            self.task.alternate_stack = AltStack { ss_flags: SS_DISABLE, ..Default::default() };
        }
        self.task.blocked |= action.mask | if flag(raw::SA_NODEFER) { 0 } else { signal.bit() };
        self.task.blocked &= !UNSTOPPABLE;
        if flag(raw::SA_RESETHAND)
            && let Some(action) = self.task.actions.borrow_mut().get_mut(signal.slot())
        {
            action.handler = SIG_DFL;
        }
        regs.rdi = u64::from(signal.0);
        regs.rsi = at + INFO;
        regs.rdx = at + UCONTEXT;
        regs.rax = 0;
        regs.rsp = at;
        regs.rip = action.handler;
        regs.rflags &= !CLEARED_FLAGS;
        if regs.rip >= USER_END_VA { Err(Errno::EFAULT) } else { Ok(()) }
    }

    /// Where a handler's frame goes below.
    fn handler_stack(&self, sp: u64, wanted: bool) -> u64 {
        let stack = &self.task.alternate_stack;
        if wanted && stack.ss_flags & SS_DISABLE == 0 && !is_on(stack, sp) {
            stack.ss_sp.wrapping_add(stack.ss_size)
        } else {
            sp.wrapping_sub(RED_ZONE)
        }
    }

    /// The alternate stack as programs are told of it.
    pub(crate) fn reported_stack(&self, sp: u64) -> AltStack {
        let mut stack = self.task.alternate_stack;
        if is_on(&stack, sp) {
            stack.ss_flags |= SS_ONSTACK;
        }
        stack
    }

    fn context(&self, regs: &UserRegs, fpu: u64) -> SigContext {
        let (trap, error_code, cr2) = self.task.last_fault;
        SigContext {
            r8: regs.r8,
            r9: regs.r9,
            r10: regs.r10,
            r11: regs.r11,
            r12: regs.r12,
            r13: regs.r13,
            r14: regs.r14,
            r15: regs.r15,
            rdi: regs.rdi,
            rsi: regs.rsi,
            rbp: regs.rbp,
            rbx: regs.rbx,
            rdx: regs.rdx,
            rax: regs.rax,
            rcx: regs.rcx,
            rsp: regs.rsp,
            rip: regs.rip,
            rflags: regs.rflags,
            cs: USER_CS,
            ss: USER_SS,
            error_code,
            trap,
            old_mask: self.task.blocked,
            cr2,
            fpu,
            ..Default::default()
        }
    }

    /// rt_sigreturn: the registers that the frame at the stack pointer holds. Everything in it is the program's word.
    ///
    /// # Errors
    /// EFAULT when there is no such frame, or it leads nowhere: SIGSEGV.
    pub(crate) fn leave_handler(&mut self, sp: u64) -> Result<UserRegs, Errno> {
        let frame: Frame = self.get(sp.wrapping_sub(UCONTEXT))?;
        let context = &frame.context;
        // Code of another kind than the program's own there is not.
        if context.rip >= USER_END_VA || context.cs | RING_3 != USER_CS {
            return Err(Errno::EFAULT);
        }
        if context.fpu == 0 {
            self.platform.reset_fpu();
        } else {
            let mut state = [0; FPU_STATE];
            self.copy_in(context.fpu, &mut state)?;
            if let Some(mxcsr) = state.get_mut(MXCSR..).and_then(|rest| rest.first_chunk_mut()) {
                *mxcsr = (u32::from_le_bytes(*mxcsr) & MXCSR_BITS).to_le_bytes();
            }
            self.platform.fpu().0 = state;
        }
        self.task.blocked = frame.mask & !UNSTOPPABLE;
        self.restore_stack(frame.stack);
        Ok(UserRegs {
            r15: context.r15,
            r14: context.r14,
            r13: context.r13,
            r12: context.r12,
            rbp: context.rbp,
            rbx: context.rbx,
            r11: context.r11,
            r10: context.r10,
            r9: context.r9,
            r8: context.r8,
            rax: context.rax,
            rcx: context.rcx,
            rdx: context.rdx,
            rsi: context.rsi,
            rdi: context.rdi,
            vector: 0,
            error_code: 0,
            rip: context.rip,
            cs: u64::from(USER_CS),
            rflags: (context.rflags & USER_FLAGS) | FIXED_FLAGS,
            rsp: context.rsp,
            ss: u64::from(USER_SS),
        })
    }

    /// The alternate stack goes back to what it was when the handler began; what makes no sense is ignored.
    fn restore_stack(&mut self, stack: AltStack) {
        let flags = stack.ss_flags & !SS_ONSTACK;
        if flags & !(SS_AUTODISARM | SS_DISABLE) == 0 {
            self.task.alternate_stack = AltStack { ss_flags: flags, ..stack };
        }
    }
}
