//! Signals: numbers, default actions, which exception is which signal, and what waits to be delivered.

mod asynchronous;
pub(crate) mod deliver;
mod frame;
mod send;

use alloc::collections::VecDeque;

use linux_raw_sys::general as raw;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::task::FpuState;
pub(crate) use deliver::{Delivery, child_code, child_info};
pub(crate) use frame::is_on;

/// A signal number (1 to 64).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(pub u32);

#[expect(missing_docs, reason = "the names are Linux' own")]
impl Signal {
    pub const HUP: Self = Self(raw::SIGHUP);
    pub const INT: Self = Self(raw::SIGINT);
    pub const QUIT: Self = Self(raw::SIGQUIT);
    pub const ILL: Self = Self(raw::SIGILL);
    pub const TRAP: Self = Self(raw::SIGTRAP);
    pub const BUS: Self = Self(raw::SIGBUS);
    pub const FPE: Self = Self(raw::SIGFPE);
    pub const KILL: Self = Self(raw::SIGKILL);
    pub const SEGV: Self = Self(raw::SIGSEGV);
    pub const PIPE: Self = Self(raw::SIGPIPE);
    pub const ALRM: Self = Self(raw::SIGALRM);
    pub const CHLD: Self = Self(raw::SIGCHLD);
    pub const CONT: Self = Self(raw::SIGCONT);
    pub const STOP: Self = Self(raw::SIGSTOP);
    pub const TSTP: Self = Self(raw::SIGTSTP);
    pub const TTIN: Self = Self(raw::SIGTTIN);
    pub const TTOU: Self = Self(raw::SIGTTOU);
    pub const IO: Self = Self(raw::SIGIO);
    pub const XCPU: Self = Self(raw::SIGXCPU);
    pub const XFSZ: Self = Self(raw::SIGXFSZ);
    pub const VTALRM: Self = Self(raw::SIGVTALRM);
    pub const PROF: Self = Self(raw::SIGPROF);
    pub const WINCH: Self = Self(raw::SIGWINCH);
    pub const SYS: Self = Self(raw::SIGSYS);
}

/// Signals that are never blocked, caught or ignored.
pub const UNSTOPPABLE: u64 = 1 << (raw::SIGKILL - 1) | 1 << (raw::SIGSTOP - 1);
/// Signals whose default action stops.
const STOPPING: u64 =
    1 << (raw::SIGSTOP - 1) | 1 << (raw::SIGTSTP - 1) | 1 << (raw::SIGTTIN - 1) | 1 << (raw::SIGTTOU - 1);
/// First real-time signal of the kernel.
const FIRST_REAL_TIME: u32 = 32;

impl Signal {
    /// From a number that a program gave.
    #[must_use]
    pub fn new(number: i32) -> Option<Self> {
        let number = u32::try_from(number).ok()?;
        (1..=64).contains(&number).then_some(Self(number))
    }

    /// Its bit in a signal set.
    #[must_use]
    pub fn bit(self) -> u64 {
        1 << ((self.0.wrapping_sub(1)) & 63)
    }

    /// Its place in the table of actions.
    #[must_use]
    pub fn slot(self) -> usize {
        ((self.0.wrapping_sub(1)) & 63) as usize
    }

    /// What happens when no handler is set.
    #[must_use]
    pub fn default_action(self) -> DefaultAction {
        match self.0 {
            raw::SIGCHLD | raw::SIGURG | raw::SIGWINCH | raw::SIGCONT => DefaultAction::Ignore,
            raw::SIGSTOP | raw::SIGTSTP | raw::SIGTTIN | raw::SIGTTOU => DefaultAction::Stop,
            _ => DefaultAction::End,
        }
    }

    /// Does its default action leave a core dump, where the limit allows one?
    #[must_use]
    pub fn dumps_core(self) -> bool {
        matches!(
            self.0,
            raw::SIGQUIT
                | raw::SIGILL
                | raw::SIGTRAP
                | raw::SIGABRT
                | raw::SIGBUS
                | raw::SIGFPE
                | raw::SIGSEGV
                | raw::SIGXCPU
                | raw::SIGXFSZ
                | raw::SIGSYS
        )
    }

    fn is_real_time(self) -> bool {
        self.0 >= FIRST_REAL_TIME
    }
}

/// What a signal does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// Nothing.
    Ignore,
    /// The process stops.
    Stop,
    /// The process ends.
    End,
}

/// `sa_handler`: the default action.
pub const SIG_DFL: u64 = 0;
/// `sa_handler`: ignored.
pub const SIG_IGN: u64 = 1;

/// The part of `siginfo_t` that is ever used: its first 48 bytes. The body's meaning hangs on signal and code.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Info {
    /// `si_signo`.
    pub number: i32,
    /// `si_errno`.
    pub errno: i32,
    /// `si_code`.
    pub code: i32,
    /// Zero.
    pub pad: i32,
    /// The union.
    pub body: [u64; 4],
}

/// `si_code`: sent by the kernel.
pub const SI_KERNEL: i32 = 0x80;
/// `si_code`: sent by kill.
pub const SI_USER: i32 = 0;
/// `si_code`: sent by tkill and tgkill.
pub const SI_TKILL: i32 = -6;
/// `si_code`: sent by a POSIX timer.
pub const SI_TIMER: i32 = -2;

impl Info {
    /// A signal of the kernel's own.
    #[must_use]
    pub fn kernel(signal: Signal) -> Self {
        Self { number: signal.0.cast_signed(), code: SI_KERNEL, ..Default::default() }
    }

    /// A signal that process `pid` of user `uid` sent.
    #[must_use]
    pub fn sent(signal: Signal, code: i32, pid: u32, uid: u32) -> Self {
        let body = [u64::from(pid) | u64::from(uid) << 32, 0, 0, 0];
        Self { number: signal.0.cast_signed(), code, body, ..Default::default() }
    }

    /// A fault at `address`.
    #[must_use]
    pub fn fault(signal: Signal, code: i32, address: u64) -> Self {
        Self { number: signal.0.cast_signed(), code, body: [address, 0, 0, 0], ..Default::default() }
    }

    /// A call that the policy refuses: it returns to `address` (Linux `force_sig_seccomp`).
    #[must_use]
    pub fn refused_call(address: u64, number: u64) -> Self {
        let body = [address, number | AUDIT_ARCH_X86_64 << 32, 0, 0];
        Self { number: raw::SIGSYS.cast_signed(), code: SYS_SECCOMP, body, ..Default::default() }
    }

    /// The signal.
    #[must_use]
    pub fn signal(&self) -> Signal {
        Signal::new(self.number).unwrap_or(Signal::KILL)
    }
}

/// Signals that have been sent and not delivered. Ordinary ones are kept once, real-time ones queue.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    set: u64,
    queue: VecDeque<Info>,
}

impl Pending {
    /// The set of those that are pending.
    #[must_use]
    pub fn set(&self) -> u64 {
        self.set
    }

    /// Adds a signal. `false`: there is no room for it (`limit` of the queue, or no memory). An ordinary signal, and one that `kill`
    /// sends, is pending all the same, without its information.
    pub fn add(&mut self, info: Info, limit: u64) -> bool {
        let signal = info.signal();
        if !signal.is_real_time() && self.set & signal.bit() != 0 {
            return true;
        }
        let room = (self.queue.len() as u64) < limit && self.queue.try_reserve(1).is_ok();
        if room {
            self.queue.push_back(info);
        }
        let added = room || !signal.is_real_time() || info.code == SI_USER;
        if added {
            self.set |= signal.bit();
        }
        added
    }

    /// Takes the first signal of `wanted`: faults first, then the lowest number, each in the order of sending.
    pub fn take(&mut self, wanted: u64) -> Option<Info> {
        let due = self.set & wanted;
        if due == 0 {
            return None;
        }
        let first = if due & SYNCHRONOUS != 0 { due & SYNCHRONOUS } else { due };
        let signal = Signal(first.trailing_zeros() + 1);
        let number = signal.0.cast_signed();
        let found = self.queue.iter().position(|info| info.number == number);
        let info = found.and_then(|at| self.queue.remove(at)).unwrap_or(Info::sent(signal, SI_USER, 0, 0));
        if !self.queue.iter().any(|info| info.number == number) {
            self.set &= !signal.bit();
        }
        Some(info)
    }

    /// Forgets the signals of `which`.
    pub fn discard(&mut self, which: u64) {
        self.set &= !which;
        self.queue.retain(|info| info.signal().bit() & which == 0);
    }

    /// How many are queued.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// None.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set == 0
    }
}

/// Signals of faults: they come before all others, so that a handler sees the registers of the fault.
const SYNCHRONOUS: u64 = 1 << (raw::SIGSEGV - 1)
    | 1 << (raw::SIGBUS - 1)
    | 1 << (raw::SIGILL - 1)
    | 1 << (raw::SIGTRAP - 1)
    | 1 << (raw::SIGFPE - 1)
    | 1 << (raw::SIGSYS - 1);

/// Vector of the page fault.
pub const PAGE_FAULT: u64 = 14;

/// The signal of an exception other than a page fault, with its `si_code` (Intel SDM 3A, 6.15; Linux `arch/x86/kernel/traps.c`).
#[must_use]
pub fn of_exception(vector: u64) -> (Signal, i32) {
    match vector {
        0 => (Signal::FPE, FPE_INTDIV),
        FPU_FAULT | SIMD_FAULT => (Signal::FPE, 0),
        1 => (Signal::TRAP, TRAP_TRACE),
        3 => (Signal::TRAP, SI_KERNEL),
        6 => (Signal::ILL, ILL_ILLOPN),
        11 | 12 => (Signal::BUS, SI_KERNEL),
        17 => (Signal::BUS, BUS_ADRALN),
        _ => (Signal::SEGV, SI_KERNEL),
    }
}

/// Vector of the x87 fault, and of the SSE one.
pub const FPU_FAULT: u64 = 16;
/// See [`FPU_FAULT`].
pub const SIMD_FAULT: u64 = 19;

/// The `si_code` of a floating-point fault, from the state that FXSAVE stored: what has happened and is not masked (Linux
/// `fpu__exception_code`).
#[must_use]
pub fn floating_point_code(vector: u64, state: &FpuState) -> i32 {
    let word = |at: usize| {
        let bytes = state.0.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from(u16::from_le_bytes(*bytes)))
    };
    let (happened, masked) = if vector == FPU_FAULT {
        (word(STATUS_WORD), word(CONTROL_WORD))
    } else {
        (word(MXCSR), word(MXCSR) >> MXCSR_MASKS)
    };
    match happened & !masked {
        due if due & 0x01 != 0 => FPE_FLTINV,
        due if due & 0x04 != 0 => FPE_FLTDIV,
        due if due & 0x08 != 0 => FPE_FLTOVF,
        due if due & 0x12 != 0 => FPE_FLTUND,
        due if due & 0x20 != 0 => FPE_FLTRES,
        _ => 0,
    }
}

/// Where FXSAVE puts the control and status words of the x87, and MXCSR, whose masks begin at a bit.
const CONTROL_WORD: usize = 0;
const STATUS_WORD: usize = 2;
const MXCSR: usize = 24;
const MXCSR_MASKS: u32 = 7;

const FPE_INTDIV: i32 = 1;
const FPE_FLTDIV: i32 = 3;
const FPE_FLTOVF: i32 = 4;
const FPE_FLTUND: i32 = 5;
const FPE_FLTRES: i32 = 6;
const FPE_FLTINV: i32 = 7;
const TRAP_TRACE: i32 = 2;
const ILL_ILLOPN: i32 = 2;
const BUS_ADRALN: i32 = 1;
/// `si_code` of SIGSEGV: nothing is mapped there.
pub const SEGV_MAPERR: i32 = 1;
/// `si_code` of SIGSEGV: the mapping does not allow it.
pub const SEGV_ACCERR: i32 = 2;
/// `si_code` of SIGSYS: a call is refused.
const SYS_SECCOMP: i32 = 1;
/// `si_arch` of it (Linux `uapi/linux/audit.h`).
const AUDIT_ARCH_X86_64: u64 = 0xc000_003e;
/// `si_code` of SIGBUS: beyond the end of the file.
pub const BUS_ADRERR: i32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_the_range_are_no_signals() {
        assert_eq!(Signal::new(0), None);
        assert_eq!(Signal::new(65), None);
        assert_eq!(Signal::new(-1), None);
        assert_eq!(Signal::new(11), Some(Signal::SEGV));
        assert_eq!(Signal::new(64).map(Signal::bit), Some(1 << 63));
    }

    #[test]
    fn exceptions_are_the_signals_that_linux_sends() {
        assert_eq!(of_exception(0).0, Signal::FPE);
        assert_eq!(of_exception(3).0, Signal::TRAP);
        assert_eq!(of_exception(6).0, Signal::ILL);
        assert_eq!(of_exception(13).0, Signal::SEGV);
        assert_eq!(of_exception(17).0, Signal::BUS);
    }

    #[test]
    fn ordinary_signals_are_kept_once_and_real_time_ones_queue() {
        let mut pending = Pending::default();
        for value in 0..3 {
            let mut info = Info::sent(Signal(40), -1, 1, 0);
            info.body[1] = value;
            assert!(pending.add(info, 10));
            assert!(pending.add(Info::sent(Signal::INT, 0, 1, 0), 10));
        }
        assert!(pending.add(Info::kernel(Signal::SEGV), 10));
        assert_eq!(pending.take(u64::MAX).map(|info| info.signal()), Some(Signal::SEGV));
        assert_eq!(pending.take(u64::MAX).map(|info| info.signal()), Some(Signal::INT));
        let values: alloc::vec::Vec<u64> =
            core::iter::from_fn(|| pending.take(u64::MAX)).map(|info| info.body[1]).collect();
        assert_eq!(values, [0, 1, 2]);
        assert!(pending.is_empty());
    }

    #[test]
    fn floating_point_faults_say_what_was_not_masked() {
        let mut state = FpuState([0; crate::task::FPU_STATE]);
        state.0[..4].copy_from_slice(&[0x7b, 0x03, 0x05, 0x00]);
        assert_eq!(floating_point_code(FPU_FAULT, &state), FPE_FLTDIV);
        state.0[24..28].copy_from_slice(&0x1f08_u32.to_le_bytes());
        assert_eq!(floating_point_code(SIMD_FAULT, &state), 0);
        state.0[24..28].copy_from_slice(&0x1b08_u32.to_le_bytes());
        assert_eq!(floating_point_code(SIMD_FAULT, &state), FPE_FLTOVF);
    }

    #[test]
    fn a_full_queue_refuses_real_time_signals_only() {
        let mut pending = Pending::default();
        assert!(pending.add(Info::sent(Signal(40), -1, 1, 0), 1));
        assert!(!pending.add(Info::sent(Signal(41), -1, 1, 0), 1));
        assert!(pending.add(Info::sent(Signal::INT, 0, 1, 0), 1));
        assert!(pending.add(Info::sent(Signal(42), SI_USER, 1, 0), 1));
        assert_eq!(pending.set(), Signal(40).bit() | Signal::INT.bit() | Signal(42).bit());
    }
}
