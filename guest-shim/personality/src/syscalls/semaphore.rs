//! System V semaphores (semop(2), semctl(2)).

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use zerocopy::IntoBytes;

use super::Args;
use super::ipc::{self, Ids};
use crate::abi::{SemaphoreOperation, SemaphoreSet, Timespec};
use crate::errno::{Errno, Outcome, Stop};
use crate::kernel::{Kernel, int};
use crate::num::index;
use crate::platform::Platform;
use crate::task::IpcWait;
use crate::time::from_timespec;
use crate::wait::{Channel, Wait};

/// Commands of semctl.
mod command {
    pub(super) const GETPID: i32 = 11;
    pub(super) const GETVAL: i32 = 12;
    pub(super) const GETALL: i32 = 13;
    pub(super) const GETNCNT: i32 = 14;
    pub(super) const GETZCNT: i32 = 15;
    pub(super) const SETVAL: i32 = 16;
    pub(super) const SETALL: i32 = 17;
}

/// SEM_UNDO.
const UNDO: u32 = 0x1000;
/// Highest value, and highest adjustment (SEMVMX, SEMAEM).
const MAX_VALUE: i32 = 32767;
/// Most semaphores of a set, of all sets, and most sets.
const MAX_IN_SET: usize = 32000;
const MAX_IN_ALL: usize = 32000;
const MAX_SETS: usize = 1024;
/// Most operations of one call (SEMOPM).
const MAX_OPERATIONS: u64 = 500;

/// A semaphore.
#[derive(Clone, Copy, Default)]
struct Semaphore {
    value: u16,
    /// The process that changed it last.
    pid: i32,
}

struct Set {
    semaphores: Vec<Semaphore>,
    facts: SemaphoreSet,
    /// Woken by every change, and when the set goes.
    channel: Channel,
}

/// What a process takes back at its end, by set and semaphore.
type Undo = BTreeMap<(i32, u16), i32>;

/// All sets, and what is to be undone for which process.
#[derive(Default)]
pub(crate) struct Table {
    sets: Ids<Set>,
    undo: BTreeMap<u32, Undo>,
}

impl Table {
    /// Settings by hand make all adjustments void.
    fn forget_undo(&mut self, id: i32, semaphore: Option<u16>) {
        for undo in self.undo.values_mut() {
            undo.retain(|&(set, number), _| set != id || semaphore.is_some_and(|one| one != number));
        }
        self.undo.retain(|_, undo| !undo.is_empty());
    }
}

impl<P: Platform> Kernel<P> {
    /// A process has ended: what it did with SEM_UNDO is taken back.
    pub(crate) fn undo_semaphores(&mut self, pid: u32) {
        let Some(undo) = self.semaphores.undo.remove(&pid) else { return };
        for ((id, number), adjustment) in undo {
            let Ok(set) = self.semaphores.sets.get(id) else { continue };
            let Some(semaphore) = set.semaphores.get_mut(usize::from(number)) else { continue };
            let value = (i32::from(semaphore.value) + adjustment).clamp(0, MAX_VALUE);
            semaphore.value = u16::try_from(value).unwrap_or(0);
            semaphore.pid = pid.cast_signed();
            set.channel.wake();
        }
    }

    /// How many calls wait at a semaphore: for zero, or for it to grow.
    fn waiters_at(&self, id: i32, semaphore: u16, for_zero: bool) -> u64 {
        let wanted = Some(IpcWait { id, semaphore, for_zero });
        self.tasks.values().filter(|task| task.ipc_wait == wanted).count() as u64
    }
}

pub(super) fn semget<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (key, count, flags) = (args.int(0), args.int(1), args.uint(2));
    let count = usize::try_from(count).ok().filter(|&count| count <= MAX_IN_SET).ok_or(Errno::EINVAL)?;
    if let Some((id, set)) = kernel.semaphores.sets.find(key, flags, |set| &set.facts.perm)? {
        if count > set.semaphores.len() {
            return Err(Errno::EINVAL.into());
        }
        kernel.may_use_ipc(&set.facts.perm, ipc::wanted_rights(flags))?;
        return Ok(ipc::shown(id));
    }
    if count == 0 {
        return Err(Errno::EINVAL.into());
    }
    let used: usize = kernel.semaphores.sets.values().map(|set| set.semaphores.len()).sum();
    if kernel.semaphores.sets.len() >= MAX_SETS || used + count > MAX_IN_ALL {
        return Err(Errno::ENOSPC.into());
    }
    kernel.room_for_object()?;
    let mut semaphores = Vec::new();
    semaphores.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    semaphores.resize(count, Semaphore::default());
    let perm = kernel.ipc_permissions(key, flags);
    let facts = SemaphoreSet { perm, change_time: kernel.seconds(), count: count as u64, ..Default::default() };
    let channel = kernel.hub.channel();
    Ok(ipc::shown(kernel.semaphores.sets.add(Set { semaphores, facts, channel })))
}

pub(super) fn semop<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    operate(kernel, args, 0)
}

pub(super) fn semtimedop<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    operate(kernel, args, args.get(3))
}

fn operate<P: Platform>(kernel: &mut Kernel<P>, args: &Args, timeout_at: u64) -> Outcome {
    let (id, at, count) = (args.int(0), args.get(1), u64::from(args.uint(2)));
    if count == 0 || id < 0 {
        return Err(Errno::EINVAL.into());
    }
    if count > MAX_OPERATIONS {
        return Err(Errno::E2BIG.into());
    }
    let mut operations = vec![SemaphoreOperation::default(); index(count)];
    kernel.copy_in(at, operations.as_mut_slice().as_mut_bytes())?;
    let deadline = match timeout_at {
        0 => u64::MAX,
        at => {
            let ns = from_timespec(kernel.get::<Timespec>(at)?)?;
            kernel.deadline(ns)
        }
    };
    let missing = kernel.no_ipc_object(Errno::EINVAL);
    let set = kernel.semaphores.sets.get(id).map_err(|_| missing)?;
    if operations.iter().any(|one| usize::from(one.number) >= set.semaphores.len()) {
        return Err(Errno::EFBIG.into());
    }
    let perm = set.facts.perm;
    let changes = operations.iter().any(|one| one.change != 0);
    kernel.may_use_ipc(&perm, if changes { ipc::WRITE } else { ipc::READ })?;
    match attempt(kernel, id, &operations)? {
        None => Ok(0),
        Some(one) if u32::from(one.flags.cast_unsigned()) & ipc::NOWAIT != 0 => Err(Errno::EAGAIN.into()),
        Some(_) if kernel.is_over(deadline) => Err(Errno::EAGAIN.into()),
        Some(one) => {
            kernel.task.ipc_wait = Some(IpcWait { id, semaphore: one.number, for_zero: one.change == 0 });
            let channel = kernel.semaphores.sets.get(id)?.channel.clone();
            Err(Stop::Block(Wait::on(&channel).or_until(deadline).never_restarted()))
        }
    }
}

/// Carries out all operations, or none: then the one that has to wait is given.
fn attempt<P: Platform>(
    kernel: &mut Kernel<P>,
    id: i32,
    operations: &[SemaphoreOperation],
) -> Result<Option<SemaphoreOperation>, Errno> {
    if operations.iter().any(|one| u32::from(one.flags.cast_unsigned()) & UNDO != 0) {
        kernel.room_for_object()?;
    }
    let (now, pid) = (kernel.seconds(), kernel.task.process.borrow().pid);
    let table = &mut kernel.semaphores;
    let set = table.sets.get(id)?;
    let known = table.undo.get(&pid);
    let mut values: BTreeMap<u16, i32> = BTreeMap::new();
    let mut undo = Undo::new();
    for one in operations {
        let semaphore = set.semaphores.get(usize::from(one.number)).copied().unwrap_or_default();
        let value = values.entry(one.number).or_insert_with(|| i32::from(semaphore.value));
        let change = i32::from(one.change);
        if (change == 0 && *value != 0) || *value + change < 0 {
            return Ok(Some(*one));
        }
        *value += change;
        if *value > MAX_VALUE {
            return Err(Errno::ERANGE);
        }
        if u32::from(one.flags.cast_unsigned()) & UNDO != 0 && change != 0 {
            let key = (id, one.number);
            let before = known.and_then(|known| known.get(&key)).copied().unwrap_or(0);
            let adjustment = undo.entry(key).or_insert(before);
            *adjustment -= change;
            if !(-MAX_VALUE - 1..=MAX_VALUE).contains(adjustment) {
                return Err(Errno::ERANGE);
            }
        }
    }
    for (number, value) in values {
        if let Some(semaphore) = set.semaphores.get_mut(usize::from(number)) {
            *semaphore = Semaphore { value: u16::try_from(value).unwrap_or(0), pid: pid.cast_signed() };
        }
    }
    set.facts.operation_time = now;
    if operations.iter().any(|one| one.change != 0) {
        set.channel.wake();
    }
    if !undo.is_empty() {
        table.undo.entry(pid).or_default().extend(undo);
    }
    Ok(None)
}

pub(super) fn semctl<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (id, number, command, argument) = (args.int(0), args.int(1), args.int(2), args.get(3));
    if id < 0 {
        return Err(Errno::EINVAL.into());
    }
    let facts = kernel.semaphores.sets.get(id)?.facts;
    match command {
        ipc::STAT => {
            kernel.may_use_ipc(&facts.perm, ipc::READ)?;
            kernel.put(argument, &facts)?;
        }
        ipc::SET => {
            let new: SemaphoreSet = kernel.get(argument)?;
            kernel.owns_ipc(&facts.perm)?;
            let now = kernel.seconds();
            let set = kernel.semaphores.sets.get(id)?;
            ipc::change(&mut set.facts.perm, &new.perm);
            set.facts.change_time = now;
        }
        ipc::RMID => {
            kernel.owns_ipc(&facts.perm)?;
            if let Some(set) = kernel.semaphores.sets.remove(id) {
                set.channel.wake();
            }
            kernel.semaphores.forget_undo(id, None);
        }
        command::GETALL | command::SETALL => return all_values(kernel, id, command == command::SETALL, argument),
        _ => return of_one(kernel, id, number, command, argument),
    }
    Ok(0)
}

/// GETALL and SETALL.
fn all_values<P: Platform>(kernel: &mut Kernel<P>, id: i32, sets: bool, at: u64) -> Outcome {
    let facts = kernel.semaphores.sets.get(id)?.facts;
    kernel.may_use_ipc(&facts.perm, if sets { ipc::WRITE } else { ipc::READ })?;
    if !sets {
        let values: Vec<u16> = kernel.semaphores.sets.get(id)?.semaphores.iter().map(|one| one.value).collect();
        kernel.copy_out(at, values.as_slice().as_bytes())?;
        return Ok(0);
    }
    let mut values = vec![0_u16; index(facts.count)];
    kernel.copy_in(at, values.as_mut_slice().as_mut_bytes())?;
    if values.iter().any(|&value| i32::from(value) > MAX_VALUE) {
        return Err(Errno::ERANGE.into());
    }
    let (now, pid) = (kernel.seconds(), kernel.ipc_pid());
    let set = kernel.semaphores.sets.get(id)?;
    for (semaphore, value) in set.semaphores.iter_mut().zip(values) {
        *semaphore = Semaphore { value, pid };
    }
    set.facts.change_time = now;
    set.channel.wake();
    kernel.semaphores.forget_undo(id, None);
    Ok(0)
}

/// The commands that are about one semaphore.
fn of_one<P: Platform>(kernel: &mut Kernel<P>, id: i32, number: i32, command: i32, argument: u64) -> Outcome {
    let set = kernel.semaphores.sets.get(id)?;
    let perm = set.facts.perm;
    let number = u16::try_from(number).map_err(|_| Errno::EINVAL);
    let found = number.and_then(|at| set.semaphores.get(usize::from(at)).map(|one| (at, *one)).ok_or(Errno::EINVAL));
    match command {
        command::SETVAL => {
            let value = int(argument);
            let value = u16::try_from(value).ok().filter(|_| value <= MAX_VALUE).ok_or(Errno::ERANGE)?;
            let (at, _) = found?;
            kernel.may_use_ipc(&perm, ipc::WRITE)?;
            let (now, pid) = (kernel.seconds(), kernel.ipc_pid());
            let set = kernel.semaphores.sets.get(id)?;
            if let Some(semaphore) = set.semaphores.get_mut(usize::from(at)) {
                *semaphore = Semaphore { value, pid };
            }
            set.facts.change_time = now;
            set.channel.wake();
            kernel.semaphores.forget_undo(id, Some(at));
            Ok(0)
        }
        command::GETVAL | command::GETPID | command::GETNCNT | command::GETZCNT => {
            kernel.may_use_ipc(&perm, ipc::READ)?;
            let (at, semaphore) = found?;
            Ok(match command {
                command::GETVAL => u64::from(semaphore.value),
                command::GETPID => u64::from(semaphore.pid.unsigned_abs()),
                _ => kernel.waiters_at(id, at, command == command::GETZCNT),
            })
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
