//! How a call is made: its input put into registers or the page, a rep call gone on with until it is done.
use tlfs::hypercall::{CallCode, HypercallInput, HypercallOutput};
use tlfs::status::HvStatus;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{CallError, Client, PAGE, PartialCall, Transport};

impl<T: Transport> Client<T> {
    pub(super) fn call(&mut self, control: HypercallInput) -> HypercallOutput {
        self.calls += 1;
        self.transport.call(control)
    }

    pub(super) fn fast(&mut self, call: CallCode, input: [u64; 2]) -> Result<(), CallError> {
        self.calls += 1;
        check(call, self.transport.call_fast(HypercallInput::new(call).fast(), input))
    }

    /// A simple call with output.
    #[inline]
    pub(super) fn simple<I: IntoBytes + Immutable, O: FromBytes>(
        &mut self,
        call: CallCode,
        input: &I,
    ) -> Result<O, CallError> {
        fill(self.transport.input(), input.as_bytes(), &[]);
        check(call, self.call(HypercallInput::new(call)))?;
        self.output()
    }

    /// A simple call without output: by registers if its input fits.
    pub(super) fn simple_no_output<I: IntoBytes + Immutable>(
        &mut self,
        call: CallCode,
        input: &I,
    ) -> Result<(), CallError> {
        let mut words = [0_u64; 2];
        if let Some(room) = words.as_mut_bytes().get_mut(..size_of::<I>()) {
            room.copy_from_slice(input.as_bytes());
            return self.fast(call, words);
        }
        fill(self.transport.input(), input.as_bytes(), &[]);
        check(call, self.call(HypercallInput::new(call)))
    }

    #[inline]
    pub(super) fn output<O: FromBytes>(&self) -> Result<O, CallError> {
        // Every output is shorter than the page.
        match O::read_from_prefix(self.transport.output()) {
            Ok((output, _)) => Ok(output),
            Err(_) => Err(CallError { call: CallCode(0), status: HvStatus::OPERATION_FAILED }),
        }
    }

    /// A rep call over `count` elements, at most `limit` at once. `prepare` fills the input page for `count` elements from `first` on.
    pub(super) fn in_chunks(
        &mut self,
        call: CallCode,
        count: usize,
        limit: usize,
        prepare: impl Fn(&mut [u8; PAGE], usize, usize),
    ) -> Result<(), PartialCall> {
        let mut done = 0;
        while done < count {
            let now = (count - done).min(limit);
            prepare(self.transport.input(), done, now);
            done += self.reps(call, now).map_err(|e| PartialCall { done: offset(done) + e.done, error: e.error })?;
        }
        Ok(())
    }

    /// One rep call with `count` elements, continued for as long as the hypervisor gets on with it.
    pub(super) fn reps(&mut self, call: CallCode, count: usize) -> Result<usize, PartialCall> {
        let total = u16::try_from(count).unwrap_or(u16::MAX);
        let mut done = 0;
        while done < total {
            let result = self.call(HypercallInput::new(call).with_reps(total, done));
            // Absolute: it counts from the first element, not from where this call started.
            let completed = result.reps_completed().clamp(done, total);
            let no_progress = completed == done && result.status() == HvStatus::SUCCESS;
            done = completed;
            let failed = |status| PartialCall { done: u64::from(done), error: CallError { call, status } };
            if result.status() != HvStatus::SUCCESS {
                return Err(failed(result.status()));
            }
            if no_progress {
                return Err(failed(HvStatus::OPERATION_FAILED));
            }
        }
        Ok(usize::from(done))
    }
}

pub(super) fn check(call: CallCode, result: HypercallOutput) -> Result<(), CallError> {
    match result.status() {
        HvStatus::SUCCESS => Ok(()),
        status => Err(CallError { call, status }),
    }
}

/// Puts `header` and then `list` at the start of the input page.
#[inline]
pub(super) fn fill(input: &mut [u8; PAGE], header: &[u8], list: &[u8]) {
    if let Some((head, rest)) = input.split_at_mut_checked(header.len()) {
        head.copy_from_slice(header);
        if let Some(room) = rest.get_mut(..list.len()) {
            room.copy_from_slice(list);
        }
    }
}

pub(super) fn offset(elements: usize) -> u64 {
    u64::try_from(elements).unwrap_or(u64::MAX)
}
