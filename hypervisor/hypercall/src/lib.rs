//! Hypercalls: from a trapped instruction to a typed request, and from its answer back to registers.
//!
//! [`dispatch`] does everything that is the same for all calls, in this order:
//! 1. the caller's mode (ring 0, protected mode), else #UD;
//! 2. the call code, else INVALID_HYPERCALL_CODE;
//! 3. the caller's right to make it, else ACCESS_DENIED: before anything that would tell it more;
//! 4. the control word (reps, variable header, reserved bits), else INVALID_HYPERCALL_INPUT;
//! 5. the parameter blocks (8-byte aligned, in one page, apart), else INVALID_ALIGNMENT;
//! 6. the caller's access to them: a memory intercept for its parent, INVALID_ALIGNMENT if it has none;
//! 7. the input, copied once, then [`Handler`]'s method; then the output, only on success for a simple
//!    call, for each element done for a rep call.
//!
//! Rep calls go in runs of [`BATCH`] elements; after each the clock is asked, and when 50 µs are over the control
//! word is rewritten and the instruction not passed, so that it goes on by itself.
//!
//! The crate owns no state and knows no engine: the caller is a trait ([`Caller`]).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod caller;
mod control;
mod handler;

pub use caller::{Caller, CallerMode, Inaccessible, R8, RAX, RBX, RCX, RDI, RDX, RSI};
pub use handler::{Handler, MapVpStatePageShortInput, Partial, Refusal, Rep, Simple};

use control::{Input, Output, Registers, check_overlap, check_rep, check_simple, finish, resume_at};
use tlfs::addr::Gpa;
use tlfs::hypercall::{CallCode, HypercallOutput};
use tlfs::status::HvStatus;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

/// Elements of a rep call that are carried out between two looks at the clock.
pub const BATCH: usize = 16;

/// What the virtual processor does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The result is in its registers: it goes on behind the instruction.
    Complete,
    /// It executes the instruction again.
    Resume,
    /// It gets #UD.
    InvalidOpcode,
    /// Its parent gets a memory intercept; the instruction is not passed.
    NoAccess {
        /// What was not accessible.
        gpa: Gpa,
        /// To write.
        write: bool,
    },
}

/// How a call ended early.
enum Ending {
    Status(HvStatus),
    /// A rep call that ended at this element.
    Partial {
        done: u16,
        status: HvStatus,
    },
    Again {
        done: u16,
    },
    NoAccess {
        gpa: Gpa,
        write: bool,
    },
    InvalidOpcode,
}

impl From<HvStatus> for Ending {
    fn from(status: HvStatus) -> Self {
        Self::Status(status)
    }
}

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Status(status) => Self::Status(status),
            Refusal::Again => Self::Again { done: 0 },
        }
    }
}

/// Carries out the call that the caller's registers describe.
pub fn dispatch<H: Handler>(handler: &mut H) -> Outcome {
    let Some(registers) = Registers::of(handler) else { return Outcome::InvalidOpcode };
    let (status, done) = match route(handler, &registers) {
        Ok(done) => (HvStatus::SUCCESS, done),
        Err(Ending::Status(status)) => (status, registers.control.rep_start()),
        Err(Ending::Partial { done, status }) => (status, done),
        Err(Ending::InvalidOpcode) => return Outcome::InvalidOpcode,
        Err(Ending::NoAccess { gpa, write }) if handler.has_parent() => return Outcome::NoAccess { gpa, write },
        Err(Ending::NoAccess { .. }) => (HvStatus::INVALID_ALIGNMENT, registers.control.rep_start()),
        Err(Ending::Again { done }) => {
            resume_at(handler, &registers, done);
            return Outcome::Resume;
        }
    };
    // "Reps completed" means something only for a control word that asked for reps.
    let done = if registers.control.rep_count() == 0 { 0 } else { done };
    finish(handler, &registers, HypercallOutput::new(status, done));
    Outcome::Complete
}

/// The codes of [`tlfs::calls::SERVED`], one bit each; all of them are below 256.
const SERVED: [u64; 4] = {
    let mut bits = [0; 4];
    let mut index = 0;
    while index < tlfs::calls::SERVED.len() {
        let code = tlfs::calls::SERVED[index].0;
        bits[(code / 64) as usize] |= 1 << (code % 64);
        index += 1;
    }
    bits
};

fn is_served(code: CallCode) -> bool {
    SERVED.get(usize::from(code.0 / 64)).is_some_and(|word| word & (1 << (code.0 % 64)) != 0)
}

/// Finds the call. The answer is the number of reps done, 0 for a simple call.
fn route<H: Handler>(h: &mut H, r: &Registers) -> Result<u16, Ending> {
    let code = r.control.call_code();
    if !is_served(code) {
        return Err(HvStatus::INVALID_HYPERCALL_CODE.into());
    }
    h.authorize(code)?;
    match code {
        CallCode::DISPATCH_VP => simple(h, r, H::dispatch_vp),
        CallCode::CREATE_PARTITION => simple(h, r, H::create_partition),
        CallCode::INITIALIZE_PARTITION => simple(h, r, H::initialize_partition),
        CallCode::FINALIZE_PARTITION => simple(h, r, H::finalize_partition),
        CallCode::DELETE_PARTITION => simple(h, r, H::delete_partition),
        CallCode::GET_PARTITION_ID => simple(h, r, |h: &mut H, (): &()| h.get_partition_id()),
        CallCode::GET_PARTITION_PROPERTY => simple(h, r, H::get_partition_property),
        CallCode::SET_PARTITION_PROPERTY => simple(h, r, H::set_partition_property),
        CallCode::GET_MEMORY_BALANCE => simple(h, r, H::get_memory_balance),
        CallCode::CREATE_VP => simple(h, r, H::create_vp),
        CallCode::DELETE_VP => simple(h, r, H::delete_vp),
        CallCode::INSTALL_INTERCEPT => simple(h, r, H::install_intercept),
        CallCode::MAP_VP_STATE_PAGE => simple(h, r, H::map_vp_state_page),
        CallCode::UNMAP_VP_STATE_PAGE => simple(h, r, H::unmap_vp_state_page),
        CallCode::TRANSLATE_VIRTUAL_ADDRESS => simple(h, r, H::translate_virtual_address),
        CallCode::ASSERT_VIRTUAL_INTERRUPT => simple(h, r, H::assert_virtual_interrupt),
        CallCode::DEPOSIT_MEMORY => rep(h, r, |h, header, run: Run<'_, u64, ()>| h.deposit_memory(header, run.input)),
        CallCode::WITHDRAW_MEMORY => {
            rep(h, r, |h, header, run: Run<'_, (), u64>| h.withdraw_memory(header, run.output))
        }
        CallCode::MAP_GPA_PAGES => {
            rep(h, r, |h, header, run: Run<'_, u64, ()>| h.map_gpa_pages(header, run.first, run.input))
        }
        CallCode::UNMAP_GPA_PAGES => {
            rep(h, r, |h, header, run: Run<'_, (), ()>| h.unmap_gpa_pages(header, run.first, run.input.len()))
        }
        CallCode::GET_VP_REGISTERS => {
            rep(h, r, |h, header, run: Run<'_, _, _>| h.get_vp_registers(header, run.input, run.output))
        }
        CallCode::SET_VP_REGISTERS => rep(h, r, |h, header, run: Run<'_, _, ()>| h.set_vp_registers(header, run.input)),
        _ => Err(HvStatus::INVALID_HYPERCALL_CODE.into()),
    }
}

fn simple<H, I, O>(h: &mut H, r: &Registers, call: impl FnOnce(&mut H, &I) -> Simple<O>) -> Result<u16, Ending>
where
    H: Handler,
    I: FromBytes + IntoBytes,
    O: IntoBytes + Immutable,
{
    check_simple(r.control)?;
    let input = Input::locate(h, r, size_of::<I>())?;
    let output = Output::locate(h, r, size_of::<O>())?;
    check_overlap(&input, size_of::<I>(), output, size_of::<O>())?;
    let mut request = I::new_zeroed();
    input.read(h, 0, request.as_mut_bytes())?;
    let answer = call(h, &request)?;
    if let Some(output) = output {
        output.write(h, 0, answer.as_bytes())?;
    }
    Ok(0)
}

/// A run of elements of a rep call: as many outputs as inputs, either of which may have no size.
struct Run<'r, I, O> {
    first: u16,
    input: &'r [I],
    output: &'r mut [O],
}

fn rep<H, D, I, O>(
    h: &mut H,
    r: &Registers,
    mut call: impl FnMut(&mut H, &D, Run<'_, I, O>) -> Rep,
) -> Result<u16, Ending>
where
    H: Handler,
    D: FromBytes + IntoBytes,
    I: FromBytes + IntoBytes,
    O: FromBytes + IntoBytes + Immutable,
{
    check_rep(r.control)?;
    let count = usize::from(r.control.rep_count());
    let input_size = size_of::<D>() + count * size_of::<I>();
    let output_size = count * size_of::<O>();
    let mut input = Input::locate(h, r, input_size)?;
    let output = Output::locate(h, r, output_size)?;
    check_overlap(&input, input_size, output, output_size)?;
    h.start_clock();
    let mut header = D::new_zeroed();
    input.read(h, 0, header.as_mut_bytes())?;

    let mut inputs: [I; BATCH] = FromZeros::new_zeroed();
    let mut outputs: [O; BATCH] = FromZeros::new_zeroed();
    let mut first = r.control.rep_start();
    loop {
        let start = usize::from(first);
        let len = (count - start).min(BATCH);
        let (Some(run_in), Some(run_out)) = (inputs.get_mut(..len), outputs.get_mut(..len)) else {
            return Err(HvStatus::OPERATION_FAILED.into());
        };
        input
            .relocate(h)
            .and_then(|()| input.read(h, size_of::<D>() + start * size_of::<I>(), run_in.as_mut_bytes()))
            .map_err(|ending| at(ending, first))?;
        let result = call(h, &header, Run { first, input: run_in, output: &mut *run_out });
        let made = result.map_or_else(|partial| partial.done.min(len), |()| len);
        // The sum stays below the rep count, which has 12 bits.
        let done = first + u16::try_from(made).unwrap_or(0);
        if let (Some(output), Some(made_out)) = (output, run_out.get(..made)) {
            output
                .relocated(h)
                .and_then(|output| output.write(h, start * size_of::<O>(), made_out.as_bytes()))
                .map_err(|ending| at(ending, first))?;
        }
        if let Err(partial) = result {
            return Err(Ending::Partial { done, status: partial.status });
        }
        if usize::from(done) >= count {
            return Ok(done);
        }
        if h.time_is_up() {
            return Err(Ending::Again { done });
        }
        first = done;
    }
}

/// An access that failed after elements were done (a call can take its own list away) is reported with their
/// number; nobody is told to map the page, since the call would start anew.
fn at(ending: Ending, done: u16) -> Ending {
    match ending {
        Ending::NoAccess { .. } if done > 0 => Ending::Partial { done, status: HvStatus::INVALID_ALIGNMENT },
        other => other,
    }
}
