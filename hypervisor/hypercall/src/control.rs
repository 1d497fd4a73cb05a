//! The control word and the parameters: found in registers, checked, and read once.

use tlfs::addr::{Gpa, PAGE_SIZE};
use tlfs::hypercall::{HypercallInput, HypercallOutput, XMM_FAST_INPUT_SIZE};
use tlfs::status::HvStatus;

use crate::Ending;
use crate::caller::{Caller, CallerMode, R8, RAX, RBX, RCX, RDI, RDX, RSI};

/// Bit 31 asks for the hypervisor below this one; there is none.
const NESTED: u64 = 1 << 31;

/// The three values that a caller passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registers {
    /// The 64-bit form.
    wide: bool,
    pub(crate) control: HypercallInput,
    pub(crate) input: u64,
    pub(crate) output: u64,
}

fn pair(high: u64, low: u64) -> u64 {
    (high << 32) | (low & 0xffff_ffff)
}

impl Registers {
    /// `None`: the caller is in no mode to call.
    pub(crate) fn of(caller: &impl Caller) -> Option<Self> {
        let gprs = caller.gprs();
        match caller.mode() {
            CallerMode::Illegal => None,
            CallerMode::Bits64 => {
                Some(Self { wide: true, control: HypercallInput(gprs[RCX]), input: gprs[RDX], output: gprs[R8] })
            }
            CallerMode::Bits32 => Some(Self {
                wide: false,
                control: HypercallInput(pair(gprs[RDX], gprs[RAX])),
                input: pair(gprs[RBX], gprs[RCX]),
                output: pair(gprs[RDI], gprs[RSI]),
            }),
        }
    }
}

/// Puts the result where the caller looks for it. For a rep call the control word takes the repetitions done,
/// where a register still holds it.
pub(crate) fn finish(caller: &mut impl Caller, registers: &Registers, result: HypercallOutput) {
    let rep = registers.control.rep_count() != 0;
    let gprs = caller.gprs_mut();
    if registers.wide {
        gprs[RAX] = result.0;
        if rep {
            gprs[RCX] = registers.control.with_rep_start(result.reps_completed()).0;
        }
    } else {
        gprs[RAX] = result.0 & 0xffff_ffff;
        gprs[RDX] = result.0 >> 32;
    }
}

/// Rewrites the control word so that the same instruction goes on at `rep_start`.
pub(crate) fn resume_at(caller: &mut impl Caller, registers: &Registers, rep_start: u16) {
    let control = registers.control.with_rep_start(rep_start).0;
    let gprs = caller.gprs_mut();
    if registers.wide {
        gprs[RCX] = control;
    } else {
        gprs[RAX] = control & 0xffff_ffff;
        gprs[RDX] = control >> 32;
    }
}

/// Checks the control word of a simple call.
pub(crate) fn check_simple(control: HypercallInput) -> Result<(), HvStatus> {
    let reps = control.rep_count() != 0 || control.rep_start() != 0;
    check_common(control)?;
    if reps { Err(HvStatus::INVALID_HYPERCALL_INPUT) } else { Ok(()) }
}

/// Checks the control word of a rep call.
pub(crate) fn check_rep(control: HypercallInput) -> Result<(), HvStatus> {
    check_common(control)?;
    // A count of 0 is caught too: no start is below it.
    if control.rep_start() >= control.rep_count() { Err(HvStatus::INVALID_HYPERCALL_INPUT) } else { Ok(()) }
}

fn check_common(control: HypercallInput) -> Result<(), HvStatus> {
    // No call that is served takes a variable header.
    let wrong = control.reserved() != 0 || control.0 & NESTED != 0 || control.variable_header_size() != 0;
    if wrong { Err(HvStatus::INVALID_HYPERCALL_INPUT) } else { Ok(()) }
}

/// Where a call's input is.
pub(crate) enum Input<P> {
    /// The call has none.
    None,
    /// In memory: from this address on, in one page.
    Memory { gpa: Gpa, place: P },
    /// Taken from registers.
    Fast([u8; XMM_FAST_INPUT_SIZE]),
}

impl<P: Copy> Input<P> {
    /// Finds `size` bytes of input.
    pub(crate) fn locate<C>(caller: &mut C, registers: &Registers, size: usize) -> Result<Self, Ending>
    where
        C: Caller<Place = P>,
    {
        if size == 0 {
            return Ok(Self::None);
        }
        if registers.control.is_fast() {
            return Self::fast(caller, registers, size);
        }
        let gpa = Gpa(registers.input);
        check_block(gpa, size)?;
        let place = caller.locate(gpa, false).map_err(|_| Ending::NoAccess { gpa, write: false })?;
        Ok(Self::Memory { gpa, place })
    }

    fn fast(caller: &impl Caller, registers: &Registers, size: usize) -> Result<Self, Ending> {
        if size > XMM_FAST_INPUT_SIZE {
            return Err(Ending::Status(HvStatus::INVALID_HYPERCALL_INPUT));
        }
        let mut bytes = [0; XMM_FAST_INPUT_SIZE];
        let (general, xmm) = bytes.split_at_mut(16);
        general[..8].copy_from_slice(&registers.input.to_le_bytes());
        general[8..].copy_from_slice(&registers.output.to_le_bytes());
        if size > 16 {
            for (to, from) in xmm.chunks_exact_mut(16).zip(caller.xmm()) {
                to.copy_from_slice(&from);
            }
        }
        Ok(Self::Fast(bytes))
    }

    /// Finds memory anew, after something that can have changed the caller's address space.
    pub(crate) fn relocate<C>(&mut self, caller: &mut C) -> Result<(), Ending>
    where
        C: Caller<Place = P>,
    {
        if let Self::Memory { gpa, place } = self {
            let gpa = *gpa;
            *place = caller.locate(gpa, false).map_err(|_| Ending::NoAccess { gpa, write: false })?;
        }
        Ok(())
    }

    /// Copies input from `offset` on. The range was covered by the size that [`Input::locate`] was given.
    pub(crate) fn read<C>(&self, caller: &mut C, offset: usize, buf: &mut [u8]) -> Result<(), Ending>
    where
        C: Caller<Place = P>,
    {
        match self {
            Self::None => Ok(()),
            Self::Memory { gpa, place } => {
                caller.read(*place, offset, buf).map_err(|_| Ending::NoAccess { gpa: *gpa, write: false })
            }
            Self::Fast(bytes) => {
                let range = bytes.get(offset..offset.saturating_add(buf.len()));
                buf.copy_from_slice(range.ok_or(HvStatus::INVALID_HYPERCALL_INPUT)?);
                Ok(())
            }
        }
    }
}

/// Where a call's output goes, if it has any: from this address on, in one page.
#[derive(Clone, Copy)]
pub(crate) struct Output<P> {
    gpa: Gpa,
    place: P,
}

impl<P: Copy> Output<P> {
    /// Finds room for `size` bytes.
    pub(crate) fn locate<C>(caller: &mut C, registers: &Registers, size: usize) -> Result<Option<Self>, Ending>
    where
        C: Caller<Place = P>,
    {
        if size == 0 {
            return Ok(None);
        }
        if registers.control.is_fast() {
            // Output in XMM registers is a feature of its own, which is not offered.
            return Err(Ending::InvalidOpcode);
        }
        let gpa = Gpa(registers.output);
        check_block(gpa, size)?;
        Ok(Some(Self::at(caller, gpa)?))
    }

    fn at<C>(caller: &mut C, gpa: Gpa) -> Result<Self, Ending>
    where
        C: Caller<Place = P>,
    {
        let place = caller.locate(gpa, true).map_err(|_| Ending::NoAccess { gpa, write: true })?;
        Ok(Self { gpa, place })
    }

    /// Finds it anew, after something that can have changed the caller's address space.
    pub(crate) fn relocated<C>(self, caller: &mut C) -> Result<Self, Ending>
    where
        C: Caller<Place = P>,
    {
        Self::at(caller, self.gpa)
    }

    /// Copies output to `offset`. The range was covered by the size that [`Output::locate`] was given.
    pub(crate) fn write<C>(self, caller: &mut C, offset: usize, data: &[u8]) -> Result<(), Ending>
    where
        C: Caller<Place = P>,
    {
        caller.write(self.place, offset, data).map_err(|_| Ending::NoAccess { gpa: self.gpa, write: true })
    }
}

/// A block is aligned to 8 bytes and lies in one page.
fn check_block(gpa: Gpa, size: usize) -> Result<(), HvStatus> {
    let fits = gpa.0 & 7 == 0 && size as u64 <= PAGE_SIZE - gpa.page_offset();
    if fits { Ok(()) } else { Err(HvStatus::INVALID_ALIGNMENT) }
}

/// Input and output of a memory-based call must not overlap.
pub(crate) fn check_overlap<P>(
    input: &Input<P>,
    input_size: usize,
    output: Option<Output<P>>,
    size: usize,
) -> Result<(), HvStatus> {
    let (Input::Memory { gpa: from, .. }, Some(Output { gpa: to, .. })) = (input, output) else { return Ok(()) };
    let apart = from.0.saturating_add(input_size as u64) <= to.0 || to.0.saturating_add(size as u64) <= from.0;
    if apart { Ok(()) } else { Err(HvStatus::INVALID_ALIGNMENT) }
}
