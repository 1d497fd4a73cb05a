//! `[limits]` of the policy, as far as they are kept here: memory, and what is asked of the shim.
//!
//! Memory is one sum: the child's pages, what the hypervisor keeps for its partition, and the files that it writes. Each of the three may
//! grow into what the others leave, but for a quarter that files leave to programs. The shim is told how much of its free memory will be backed, so that a program gets ENOMEM and not its
//! end; the sum does not hang on the shim. Processes, threads and descriptors are the shim's own objects, and so are the figures that it
//! gets of them here only what it is asked to keep: one that does not keep them has its memory and its time, and no more.
use core::mem::offset_of;

use hvclient::Transport;
use policy::quotas::Quota;
use proto::{GatePage, Limits, reached};
use tlfs::addr::PAGE_SIZE;
use zerocopy::IntoBytes;

use crate::layout;
use crate::memory::RootMemory;
use crate::partition::DEPOSIT_AT_ONCE;
use crate::run::Sandbox;
use crate::{Failure, World};

/// The part of the memory (one in so many) that files leave, beside what the child has.
const FOR_PROGRAMS: u64 = 4;

/// The limits that a shim can say it has reached.
const OF_SHIM: [(u32, Quota); 4] = [
    (reached::MEMORY, Quota::Memory),
    (reached::PROCESSES, Quota::Processes),
    (reached::THREADS, Quota::Threads),
    (reached::OPEN_FILES, Quota::OpenFiles),
];

/// What the limits of a sandbox have come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// Pages of the whole sandbox. That of the policy that it was made under: it has its memory from then.
    memory: Option<u64>,
    /// What the gate page says.
    published: Limits,
    /// What the shim has said of [`reached`].
    seen: u32,
}

impl Kept {
    /// Nothing is published yet. `memory`: bytes of the whole sandbox.
    pub(crate) fn new(memory: Option<u64>) -> Self {
        let memory = memory.map(|bytes| bytes / PAGE_SIZE);
        Self { memory, published: Limits::NONE, seen: 0 }
    }
}

impl<R: RootMemory> Sandbox<'_, R> {
    /// Takes notice of what a request has changed.
    #[inline]
    pub(crate) fn after_request<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<(), Failure> {
        if self.services.take_written_up() {
            self.reached(Quota::BytesWritten, world);
        }
        self.divide(world)
    }

    /// Divides what is left of the sandbox' memory anew, and tells the shim what holds. It is for whoever has changed something of it.
    #[inline]
    pub(crate) fn divide<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<(), Failure> {
        let memory = match self.kept.memory {
            Some(all) => self.divide_memory(all, world),
            None => u64::MAX,
        };
        let limits = Limits { memory, ..self.kept.published };
        self.publish(limits, world)
    }

    /// Forgets what the shim has refused: another policy holds, under which that may not be reached.
    pub(crate) fn forget_reached<T: Transport>(&mut self, world: &mut World<'_, T, R>) {
        if let Some(gate) = self.memory.private_page(layout::GATE) {
            world.memory.write(gate, offset_of!(GatePage, reached), &[0; size_of::<u32>()]);
        }
        self.kept.seen = 0;
    }

    /// What the shim may have of its objects by the policy that holds now.
    pub(crate) fn tell_limits<T: Transport>(&mut self, world: &mut World<'_, T, R>) -> Result<(), Failure> {
        let of = |quota| self.gate.limit(quota).unwrap_or(u64::MAX);
        let (processes, threads, open_files) = (of(Quota::Processes), of(Quota::Threads), of(Quota::OpenFiles));
        self.services.allow_written(of(Quota::BytesWritten));
        let limits = Limits { processes, threads, open_files, ..self.kept.published };
        self.publish(limits, world)?;
        self.divide(world)
    }

    /// Gives each part of the memory what the others leave of `all` pages; how many bytes of free memory there may be.
    fn divide_memory<T: Transport>(&mut self, all: u64, world: &mut World<'_, T, R>) -> u64 {
        // Backing a block may make the hypervisor ask for more.
        let for_tables = u64::try_from(DEPOSIT_AT_ONCE).unwrap_or(u64::MAX);
        let left = all.saturating_sub(self.partition.deposited_pages().saturating_add(for_tables));
        let files = self.services.stack().memory().div_ceil(PAGE_SIZE);
        let of_child = left.saturating_sub(files);
        // Files that have filled everything would leave no program the memory to remove them.
        let of_programs = self.memory.private_pages().saturating_add(all / FOR_PROGRAMS);
        let of_files = left.saturating_sub(of_programs);
        self.memory.set_limit(of_child);
        self.services.stack_mut().set_memory(of_files.saturating_mul(PAGE_SIZE));
        if self.services.stack().is_full() {
            self.reached(Quota::Memory, world);
        }
        of_child.saturating_sub(self.memory.low_pages()).saturating_mul(PAGE_SIZE)
    }

    fn publish<T: Transport>(&mut self, limits: Limits, world: &mut World<'_, T, R>) -> Result<(), Failure> {
        if limits != self.kept.published {
            let gate = self.memory.private_page(layout::GATE).ok_or_else(|| Failure::new("there is no gate page"))?;
            world.memory.write(gate, offset_of!(GatePage, limits), limits.as_bytes());
            self.kept.published = limits;
        }
        Ok(())
    }

    /// Takes notice of what the shim says that it has refused.
    #[inline]
    pub(crate) fn see_reached<T: Transport>(&mut self, told: u32, world: &mut World<'_, T, R>) {
        if told & !self.kept.seen != 0 {
            self.kept.seen |= told;
            for (_, quota) in OF_SHIM.into_iter().filter(|(bit, _)| told & bit != 0) {
                self.reached(quota, world);
            }
        }
    }

    /// Records that a limit has been reached.
    #[cold]
    pub fn reached<T: Transport>(&mut self, quota: Quota, world: &mut World<'_, T, R>) {
        let age = (world.now)().saturating_sub(self.parts.created);
        let console = &mut *world.console;
        self.gate.reached(quota, self.thread, age, &mut |record| console.record(&record));
    }
}
