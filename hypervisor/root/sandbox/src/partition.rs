//! A child partition with its one VP, and the memory that the hypervisor wants for it.
use alloc::format;

use hvclient::{CallError, Client, PartialCall, Transport};
use tlfs::addr::{PartitionId, VpIndex};
use tlfs::calls::MapGpaFlags;
use tlfs::partition::PartitionCreationFlags;
use tlfs::status::HvStatus;

use crate::Failure;
use crate::memory::RootMemory;

/// The VP of a sandbox.
pub const VP: VpIndex = VpIndex(0);

/// Pages that are deposited each time the hypervisor asks for more.
pub(crate) const DEPOSIT_AT_ONCE: usize = 8;
/// Deposits for one call, before it is taken for one that cannot be satisfied.
const MAX_DEPOSITS: u32 = 256;

/// A partition that this root created.
#[derive(Debug)]
pub struct Partition {
    id: PartitionId,
    deposited: u64,
}

impl Partition {
    /// HvCallCreatePartition and HvCallInitializePartition; `configure` is called between the two.
    ///
    /// # Errors
    /// [`Failure`]; nothing is left behind then.
    pub fn create<T: Transport, R: RootMemory>(
        client: &mut Client<T>,
        memory: &mut R,
        flags: PartitionCreationFlags,
        configure: impl FnOnce(&mut Client<T>, PartitionId) -> Result<(), CallError>,
    ) -> Result<Self, Failure> {
        // Before it exists, what a partition needs is the caller's own to pay.
        let mut own = Self { id: PartitionId::SELF, deposited: 0 };
        let id = own.paying(client, memory, |client| client.create_partition(flags))?;
        let mut partition = Self { id, deposited: own.deposited };
        let ready = configure(client, id).map_err(Failure::from);
        let ready = ready.and_then(|()| partition.paying(client, memory, |client| client.initialize_partition(id)));
        match ready {
            Ok(()) => Ok(partition),
            Err(failure) => {
                let _ = partition.delete(client, memory);
                Err(failure)
            }
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// Pages that were deposited for it.
    #[must_use]
    pub fn deposited_pages(&self) -> u64 {
        self.deposited
    }

    /// Makes a call, depositing memory for as long as the hypervisor asks for it.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn paying<T: Transport, R: RootMemory, O>(
        &mut self,
        client: &mut Client<T>,
        memory: &mut R,
        mut call: impl FnMut(&mut Client<T>) -> Result<O, CallError>,
    ) -> Result<O, Failure> {
        for _ in 0..MAX_DEPOSITS {
            match call(client) {
                Err(e) if e.status == HvStatus::INSUFFICIENT_MEMORY => self.deposit(client, memory)?,
                done => return Ok(done?),
            }
        }
        Err(Failure::new("the hypervisor asks for more memory without end"))
    }

    /// Maps the root's pages `sources` from page `target` on, paying.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn map<T: Transport, R: RootMemory>(
        &mut self,
        client: &mut Client<T>,
        memory: &mut R,
        target: u64,
        flags: MapGpaFlags,
        sources: &[u64],
    ) -> Result<(), Failure> {
        let id = self.id;
        let (mut target, mut rest) = (target, sources);
        self.paying(client, memory, |client| {
            client.map_gpa_pages(id, target, flags, rest).map_err(|PartialCall { done, error }| {
                target += done;
                rest = usize::try_from(done).ok().and_then(|done| rest.get(done..)).unwrap_or_default();
                error
            })
        })
    }

    /// Deletes the partition and takes its deposit back.
    ///
    /// # Errors
    /// [`Failure`]: what it still has is lost to the root.
    pub fn delete<T: Transport, R: RootMemory>(
        &mut self,
        client: &mut Client<T>,
        memory: &mut R,
    ) -> Result<(), Failure> {
        match client.finalize_partition(self.id) {
            // It was never initialized: there is nothing to finalize.
            Err(e) if e.status == HvStatus::INVALID_PARTITION_STATE => {}
            finalized => finalized?,
        }
        let (mut back, mut strange) = (0, 0);
        client.withdraw(self.id, |page| if memory.take_back(page) { back += 1 } else { strange += 1 })?;
        self.deposited = self.deposited.saturating_sub(back);
        client.delete_partition(self.id)?;
        if strange > 0 {
            return Err(Failure::new(format!("the hypervisor gave back {strange} pages that were never deposited")));
        }
        Ok(())
    }

    /// Deposits a few pages in advance, for what is paid for when the child itself acts.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn deposit<T: Transport, R: RootMemory>(
        &mut self,
        client: &mut Client<T>,
        memory: &mut R,
    ) -> Result<(), Failure> {
        let mut pages = [0; DEPOSIT_AT_ONCE];
        let mut count = 0;
        for slot in &mut pages {
            let Some(page) = memory.allocate_page() else { break };
            *slot = memory.give_away(page);
            count += 1;
        }
        let given = pages.get(..count).unwrap_or_default();
        if given.is_empty() {
            return Err(Failure::new("the root has no memory left that the hypervisor could have for the sandbox"));
        }
        let result = client.deposit(self.id, given);
        let done = match &result {
            Ok(()) => given.len(),
            Err(partial) => usize::try_from(partial.done).unwrap_or(usize::MAX),
        };
        for &page in given.iter().skip(done) {
            memory.take_back(page);
        }
        self.deposited += u64::try_from(done.min(given.len())).unwrap_or(0);
        result.map_err(|partial| partial.error.into())
    }
}
