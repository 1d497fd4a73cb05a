//! Futexes: who waits at which word of memory.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use proto::layout::USER_END_VA;

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::mm::area::Access;
use crate::mm::space::AddressSpace;
use crate::platform::{PAGE, Platform};
use crate::task::FutexWait;

/// Which word it is: one of shared memory by its frame, one of private memory by its space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FutexKey {
    /// Guest physical address.
    Shared(u64),
    /// Root table of the space, and virtual address.
    Private(u64, u64),
}

/// One who waits.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    tid: u32,
    bits: u32,
    /// Which of the words that it waits at this is.
    place: usize,
}

/// All futexes that somebody waits at.
#[derive(Default)]
pub struct Futexes {
    queues: BTreeMap<FutexKey, Vec<Waiter>>,
}

impl Futexes {
    /// Takes out the one who has waited longest at `key` of those whose bits meet `bits`.
    fn take(&mut self, key: FutexKey, bits: u32) -> Option<Waiter> {
        let queue = self.queues.get_mut(&key)?;
        let at = queue.iter().position(|waiter| waiter.bits & bits != 0)?;
        let waiter = queue.remove(at);
        if queue.is_empty() {
            self.queues.remove(&key);
        }
        Some(waiter)
    }

    /// A thread does not wait at these any more.
    pub(crate) fn leave(&mut self, tid: u32, keys: &[FutexKey]) {
        for key in keys {
            if let Some(queue) = self.queues.get_mut(key) {
                queue.retain(|waiter| waiter.tid != tid);
                if queue.is_empty() {
                    self.queues.remove(key);
                }
            }
        }
    }
}

/// A robust list may be this long (ROBUST_LIST_LIMIT).
const MAX_ROBUST: u32 = 2048;
const WAITERS: u32 = 0x8000_0000;
const OWNER_DIED: u32 = 0x4000_0000;
const TID_MASK: u32 = 0x3fff_ffff;

impl<P: Platform> Kernel<P> {
    /// The key of the word at `va`. `private`: the program says that only its own space uses it.
    ///
    /// # Errors
    /// EINVAL when it is not aligned; EFAULT.
    pub(crate) fn futex_key(&mut self, va: u64, private: bool) -> Result<FutexKey, Errno> {
        if !va.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        let root = self.task.space.borrow().root();
        if va >= USER_END_VA {
            return Err(Errno::EFAULT);
        }
        let shared = if private {
            false
        } else {
            self.task.space.borrow().area(va).map(|area| area.shared).ok_or(Errno::EFAULT)?
        };
        if !shared {
            return Ok(FutexKey::Private(root, va));
        }
        let frame = self.touch(va, Access::Write)?;
        Ok(FutexKey::Shared(frame + va % PAGE))
    }

    /// The present task waits at these futexes from now on, until one of them is woken by somebody whose bits meet `bits`.
    pub(crate) fn join_futexes(&mut self, keys: Vec<FutexKey>, bits: u32) {
        for (place, &key) in keys.iter().enumerate() {
            self.futexes.queues.entry(key).or_default().push(Waiter { tid: self.task.tid, bits, place });
        }
        self.task.futex = Some(FutexWait { keys, woken: None });
    }

    /// The present task does not wait at a futex any more.
    pub(crate) fn end_futex_wait(&mut self) {
        if let Some(wait) = self.task.futex.take() {
            self.futexes.leave(self.task.tid, &wait.keys);
        }
    }

    /// Wakes up to `count` of those whose bits meet `bits`; how many.
    pub(crate) fn wake_futex(&mut self, key: FutexKey, count: u32, bits: u32) -> u32 {
        let mut woken = 0;
        while woken < count {
            let Some(waiter) = self.futexes.take(key, bits) else { break };
            if let Some(wait) = self.task_mut(waiter.tid).and_then(|task| task.futex.as_mut()) {
                wait.woken = Some(waiter.place);
                let keys = core::mem::take(&mut wait.keys);
                self.futexes.leave(waiter.tid, &keys);
            }
            self.make_ready(waiter.tid);
            woken += 1;
        }
        woken
    }

    /// Moves up to `count` of those who wait at `from` to `to`; how many.
    pub(crate) fn requeue_futex(&mut self, from: FutexKey, to: FutexKey, count: u32) -> u32 {
        let mut moved = 0;
        while moved < count && from != to {
            let Some(waiter) = self.futexes.take(from, u32::MAX) else { break };
            self.futexes.queues.entry(to).or_default().push(waiter);
            let wait = self.task_mut(waiter.tid).and_then(|task| task.futex.as_mut());
            if let Some(key) = wait.and_then(|wait| wait.keys.get_mut(waiter.place)) {
                *key = to;
            }
            moved += 1;
        }
        moved
    }

    /// What the end of a thread does to the memory that it shares: its robust futexes are marked and woken, and the word that
    /// `set_tid_address` named is cleared and woken. Everything there is the program's word; what is bad is left alone.
    pub(crate) fn leave_memory(
        &mut self,
        space: &Rc<RefCell<AddressSpace>>,
        tid: u32,
        clear_tid: u64,
        robust_list: (u64, u64),
    ) {
        let own = core::mem::replace(&mut self.task.space, Rc::clone(space));
        self.walk_robust_list(tid, robust_list.0);
        if clear_tid != 0 && self.put(clear_tid, &0_u32).is_ok() {
            self.wake_word(clear_tid, 1);
        }
        self.task.space = own;
    }

    fn walk_robust_list(&mut self, tid: u32, head: u64) {
        if head == 0 {
            return;
        }
        let Ok([first, offset, pending]) = self.get::<[u64; 3]>(head) else { return };
        let mut entry = first;
        for _ in 0..MAX_ROBUST {
            if entry & !1 == head {
                break;
            }
            let Ok(next) = self.get::<u64>(entry & !1) else { break };
            if entry != pending {
                self.mark_owner_died((entry & !1).wrapping_add(offset), tid);
            }
            entry = next;
        }
        if pending != 0 {
            self.mark_owner_died((pending & !1).wrapping_add(offset), tid);
        }
    }

    fn mark_owner_died(&mut self, va: u64, tid: u32) {
        let Ok(value) = self.get::<u32>(va) else { return };
        if value & TID_MASK != tid {
            return;
        }
        if self.put(va, &((value & WAITERS) | OWNER_DIED)).is_ok() && value & WAITERS != 0 {
            self.wake_word(va, 1);
        }
    }

    fn wake_word(&mut self, va: u64, count: u32) {
        for private in [true, false] {
            if let Ok(key) = self.futex_key(va, private)
                && self.wake_futex(key, count, u32::MAX) > 0
            {
                break;
            }
        }
    }
}

/// FUTEX_WAKE_OP: what to do to the second word, and what to compare its old value with.
#[derive(Clone, Copy, Debug)]
pub struct WakeOp(pub u32);

impl WakeOp {
    /// The word's new value.
    ///
    /// # Errors
    /// ENOSYS for an unknown operation.
    pub fn apply(self, old: u32) -> Result<u32, Errno> {
        let shift = self.0 >> 31 != 0;
        let operand = sign_extend(self.0 >> 12);
        let operand = if shift { 1_u32.wrapping_shl(operand & 31) } else { operand };
        Ok(match self.0 >> 28 & 7 {
            0 => operand,
            1 => old.wrapping_add(operand),
            2 => old | operand,
            3 => old & !operand,
            4 => old ^ operand,
            _ => return Err(Errno::ENOSYS),
        })
    }

    /// Does the old value fit the comparison?
    ///
    /// # Errors
    /// ENOSYS for an unknown one.
    pub fn compares(self, old: u32) -> Result<bool, Errno> {
        let (old, with) = (old.cast_signed(), sign_extend(self.0).cast_signed());
        Ok(match self.0 >> 24 & 15 {
            0 => old == with,
            1 => old != with,
            2 => old < with,
            3 => old <= with,
            4 => old > with,
            5 => old >= with,
            _ => return Err(Errno::ENOSYS),
        })
    }
}

/// The low twelve bits as a signed number.
fn sign_extend(value: u32) -> u32 {
    ((value << 20).cast_signed() >> 20).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_operations_follow_the_manual_page() {
        // FUTEX_OP(ADD, −1, GT, 0)
        let op = WakeOp(1 << 28 | 4 << 24 | 0xfff << 12);
        assert_eq!(op.apply(5), Ok(4));
        assert_eq!(op.compares(5), Ok(true));
        assert_eq!(op.compares(0), Ok(false));
        // FUTEX_OP(OR | SHIFT, 4, EQ, −2)
        let op = WakeOp(1 << 31 | 2 << 28 | 4 << 12 | 0xffe);
        assert_eq!(op.apply(1), Ok(17));
        assert_eq!(op.compares((-2_i32).cast_unsigned()), Ok(true));
        assert_eq!(WakeOp(5 << 28).apply(0), Err(Errno::ENOSYS));
        assert_eq!(WakeOp(6 << 24).compares(0), Err(Errno::ENOSYS));
    }
}
