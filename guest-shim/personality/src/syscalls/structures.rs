//! Structures that calls read and that a policy may have looked into: they are taken as they were judged, whatever the program's memory says by now.

use alloc::vec;

use proto::copy_forms;
use zerocopy::{FromBytes, IntoBytes};

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::num::index;
use crate::platform::{PAGE, Platform};

impl<P: Platform> Kernel<P> {
    /// The structure at `at`.
    pub(super) fn structure<T: FromBytes + IntoBytes>(&mut self, at: u64) -> Result<T, Errno> {
        match self.judged(copy_forms::STRUCTURE, at) {
            Some(copy) => T::read_from_bytes(copy).map_err(|_| Errno::EINVAL),
            None => self.get(at),
        }
    }

    /// The same for one of which the program says how many bytes it has, `least` at least (Linux, `copy_struct_from_user`). What it lacks is 0, and what it
    /// has beyond what is known here has to be.
    pub(super) fn sized_structure<T: FromBytes + IntoBytes>(
        &mut self,
        at: u64,
        size: u64,
        least: u64,
    ) -> Result<T, Errno> {
        if size < least {
            return Err(Errno::EINVAL);
        }
        if size > PAGE {
            return Err(Errno::E2BIG);
        }
        if self.judged(copy_forms::STRUCTURE, at).is_some() {
            return self.structure(at);
        }
        let mut value = T::new_zeroed();
        let known = value.as_mut_bytes();
        self.nothing_beyond(at.wrapping_add(known.len() as u64), index(size).saturating_sub(known.len()))?;
        let given = index(size).min(known.len());
        self.copy_in(at, known.get_mut(..given).ok_or(Errno::EINVAL)?)?;
        Ok(value)
    }

    /// E2BIG for a byte that is not 0, which counts before one behind it that cannot be read.
    fn nothing_beyond(&mut self, at: u64, len: usize) -> Result<(), Errno> {
        let first = index(PAGE - at % PAGE).min(len);
        for (at, len) in [(at, first), (at.wrapping_add(first as u64), len - first)] {
            let mut bytes = vec![0; len];
            self.copy_in(at, &mut bytes)?;
            if bytes.iter().any(|&byte| byte != 0) {
                return Err(Errno::E2BIG);
            }
        }
        Ok(())
    }
}
