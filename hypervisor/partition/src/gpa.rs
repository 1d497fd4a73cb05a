//! A child's address space: pages of the root put into it and taken out, and what the hypervisor lays over it.
//!
//! Every leaf of a child's table maps a frame that the root owns and counts in the frame table, except an
//! overlay, whose frame is of the child's deposit and which remembers the leaf that it covers.

use engine::{Engine, PhysMem, Platform};
use paging::format::{EntryFormat, Npt, Rights};
use paging::table::{GPA_LIMIT, MapError, Mapping, PageSize};
use tlfs::addr::{Gpa, PAGE_SIZE, Spa};
use tlfs::calls::MapGpaFlags;
use tlfs::status::HvStatus;

use crate::frames::FrameTable;
use crate::hypervisor::Hypervisor;
use crate::object::{OVERLAY_ENABLED, OverlayKind, ROOT};

/// What a failed change of a table means to the caller of a hypercall.
pub(crate) fn status_of(error: MapError) -> HvStatus {
    match error {
        MapError::NoFrames => HvStatus::INSUFFICIENT_MEMORY,
        MapError::BadAddress | MapError::Occupied => HvStatus::INVALID_PARAMETER,
        MapError::Memory => HvStatus::OPERATION_FAILED,
    }
}

/// How pages are to be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapRequest {
    pub(crate) rights: Rights,
    pub(crate) size: PageSize,
    /// What is mapped stays, but without rights.
    pub(crate) withdraw: bool,
}

impl MapRequest {
    /// Reads the flags of HvCallMapGpaPages. Nested tables do not tell supervisor from user fetches, so the
    /// two go together; reading cannot be forbidden where anything is allowed.
    pub(crate) fn parse(flags: MapGpaFlags) -> Result<Self, HvStatus> {
        let executable = MapGpaFlags::KERNEL_EXECUTABLE | MapGpaFlags::USER_EXECUTABLE;
        let permissions = MapGpaFlags::READABLE | MapGpaFlags::WRITABLE | executable;
        let known = permissions | MapGpaFlags::NO_ACCESS | MapGpaFlags::LARGE_PAGE;
        let withdraw = flags.contains(MapGpaFlags::NO_ACCESS);
        let rights = Rights {
            read: flags.contains(MapGpaFlags::READABLE),
            write: flags.contains(MapGpaFlags::WRITABLE),
            execute: flags.contains(executable),
        };
        let half_executable = flags.intersects(executable) && !rights.execute;
        let contradiction = withdraw && flags.intersects(permissions);
        if !known.contains(flags) || half_executable || contradiction || !Npt::supports(rights) {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let size = if flags.contains(MapGpaFlags::LARGE_PAGE) { PageSize::Large } else { PageSize::Small };
        Ok(Self { rights, size, withdraw })
    }
}

/// The address of the `index`-th page of a list that starts at page number `base`.
pub(crate) fn nth_page(base: u64, index: u64, size: PageSize) -> Result<Gpa, HvStatus> {
    let step = size.bytes() / PAGE_SIZE;
    let number = index.checked_mul(step).and_then(|offset| base.checked_add(offset));
    let number = number.filter(|number| *number < GPA_LIMIT / PAGE_SIZE && number.is_multiple_of(step));
    number.map(Gpa::from_page_number).ok_or(HvStatus::INVALID_PARAMETER)
}

impl FrameTable<'_> {
    /// Counts a mapping of `size` bytes, all of which must be the root's, or none of it.
    fn add_mappings(&mut self, spa: Spa, size: PageSize) -> Result<(), HvStatus> {
        let count = size.bytes() / PAGE_SIZE;
        for index in 0..count {
            if !self.add_mapping(Spa(spa.0 + index * PAGE_SIZE)) {
                (0..index).for_each(|done| self.remove_mapping(Spa(spa.0 + done * PAGE_SIZE)));
                return Err(HvStatus::INVALID_PARAMETER);
            }
        }
        Ok(())
    }

    /// Takes back what a mapping had counted.
    pub(crate) fn drop_mapping(&mut self, mapping: &Mapping) {
        for index in 0..mapping.size.bytes() / PAGE_SIZE {
            self.remove_mapping(Spa(mapping.spa.0 + index * PAGE_SIZE));
        }
    }
}

impl<E: Engine, P: Platform> Hypervisor<'_, E, P> {
    /// Maps the root's memory at page number `source` into a child at `gpa`, in the place of what was there.
    pub(crate) fn map_into(&mut self, child: u16, gpa: Gpa, source: u64, request: MapRequest) -> Result<(), HvStatus> {
        if request.withdraw {
            return self.protect_in(child, gpa, request);
        }
        let count = request.size.bytes() / PAGE_SIZE;
        if source >= GPA_LIMIT / PAGE_SIZE || !source.is_multiple_of(count) {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let new = Mapping { spa: Spa::from_page_number(source), size: request.size, rights: request.rights };
        if self.covered(child, gpa, request.size)? {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        self.frames.add_mappings(new.spa, new.size)?;
        if let Some(overlay) = self.partition_mut(child)?.overlay_at(gpa) {
            let old = overlay.under.replace(new);
            old.iter().for_each(|old| self.frames.drop_mapping(old));
            return Ok(());
        }
        let mapped = self.with_tables(child, |tables, mem, purse| tables.map(mem, purse, gpa, new).map_err(status_of));
        match mapped {
            Ok((old, flush)) => {
                old.iter().for_each(|old| self.frames.drop_mapping(old));
                self.partition_mut(child)?.note(flush);
                Ok(())
            }
            Err(status) => {
                self.frames.drop_mapping(&new);
                Err(status)
            }
        }
    }

    /// Takes what a child has at `gpa` out of its address space.
    pub(crate) fn unmap_from(&mut self, child: u16, gpa: Gpa, size: PageSize) -> Result<(), HvStatus> {
        if self.covered(child, gpa, size)? {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        if let Some(overlay) = self.partition_mut(child)?.overlay_at(gpa) {
            let old = overlay.under.take();
            old.iter().for_each(|old| self.frames.drop_mapping(old));
            return Ok(());
        }
        let (old, flush) =
            self.with_tables(child, |tables, mem, purse| tables.unmap(mem, purse, gpa, size).map_err(status_of))?;
        old.iter().for_each(|old| self.frames.drop_mapping(old));
        self.partition_mut(child)?.note(flush);
        Ok(())
    }

    fn protect_in(&mut self, child: u16, gpa: Gpa, request: MapRequest) -> Result<(), HvStatus> {
        if self.covered(child, gpa, request.size)? {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        if let Some(overlay) = self.partition_mut(child)?.overlay_at(gpa) {
            if let Some(under) = &mut overlay.under {
                under.rights = Rights::NONE;
            }
            return Ok(());
        }
        let (_, flush) = self.with_tables(child, |tables, mem, purse| {
            tables.protect(mem, purse, gpa, request.size, Rights::NONE).map_err(status_of)
        })?;
        self.partition_mut(child)?.note(flush);
        Ok(())
    }

    /// Whether a large range has an overlay in it, which a large leaf cannot go around.
    fn covered(&self, child: u16, gpa: Gpa, size: PageSize) -> Result<bool, HvStatus> {
        let object = self.partition(child)?;
        let inside = |at: Option<Gpa>| at.is_some_and(|at| at.0 & !(size.bytes() - 1) == gpa.0);
        Ok(size != PageSize::Small && (inside(object.hypercall.at) || inside(object.reference_tsc.at)))
    }

    /// Lays an overlay over a partition at `gpa`. A child's frame comes from its deposit, with `content` at its
    /// start; the root's is there already, and its place is fixed.
    pub(crate) fn show_overlay(
        &mut self,
        partition: u16,
        kind: OverlayKind,
        gpa: Gpa,
        content: &[u8],
    ) -> Result<(), HvStatus> {
        self.hide_overlay(partition, kind)?;
        let rights = if kind == OverlayKind::Hypercall { Rights::READ_EXECUTE } else { Rights::READ };
        let object = self.partition_mut(partition)?;
        if object.overlay_at(gpa).is_some() {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let (frame, fresh) = match object.overlay(kind).frame {
            Some(frame) => (frame, false),
            None => (self.take_frame(partition)?, true),
        };
        let mapping = Mapping { spa: frame, size: PageSize::Small, rights };
        let written = self.engine.memory().write(frame, content).map_err(|_| HvStatus::OPERATION_FAILED);
        let mapped = written.and_then(|()| {
            self.with_tables(partition, |tables, mem, purse| tables.map(mem, purse, gpa, mapping).map_err(status_of))
        });
        match mapped {
            Ok((under, flush)) => {
                let object = self.partition_mut(partition)?;
                object.note(flush);
                let overlay = object.overlay(kind);
                overlay.frame = Some(frame);
                overlay.at = Some(gpa);
                overlay.under = under;
                Ok(())
            }
            Err(status) => {
                if fresh {
                    self.give_frame(partition, frame);
                }
                Err(status)
            }
        }
    }

    /// Lifts an overlay: what it covered is there again, and a child's frame goes back to its deposit. Its MSR says so
    /// from here on, also where another place for it turns out to be impossible.
    pub(crate) fn hide_overlay(&mut self, partition: u16, kind: OverlayKind) -> Result<(), HvStatus> {
        let overlay = self.partition_mut(partition)?.overlay(kind);
        let Some(gpa) = overlay.at.take() else { return Ok(()) };
        overlay.msr &= !OVERLAY_ENABLED;
        let under = overlay.under.take();
        let frame = if partition == ROOT { None } else { overlay.frame.take() };
        // Both find the small entry that the overlay is in, so neither needs a frame nor can fail.
        let (_, flush) = self.with_tables(partition, |tables, mem, purse| {
            let changed = match under {
                Some(under) => tables.map(mem, purse, gpa, under),
                None => tables.unmap(mem, purse, gpa, PageSize::Small),
            };
            changed.map_err(status_of)
        })?;
        self.partition_mut(partition)?.note(flush);
        frame.iter().for_each(|frame| self.give_frame(partition, *frame));
        Ok(())
    }

    /// One step of taking an address space down: unmaps until all is gone or the time is up. `true`: gone.
    pub(crate) fn take_down_space(&mut self, child: u16, deadline: u64) -> Result<bool, HvStatus> {
        self.hide_overlay(child, OverlayKind::Hypercall)?;
        self.hide_overlay(child, OverlayKind::ReferenceTsc)?;
        let Self { engine, platform, frames, partitions, .. } = self;
        let object = partitions.get_mut(usize::from(child)).ok_or(HvStatus::INVALID_PARTITION_ID)?;
        object.generation += 1;
        let Some(mut tables) = object.tables.take() else { return Ok(true) };
        let mut purse = crate::deposit::Purse { frames, deposit: &mut object.deposit };
        let expired = || platform.tsc() >= deadline;
        let cleared =
            tables.clear(engine.memory(), &mut purse, |purse, mapping| purse.frames.drop_mapping(&mapping), expired);
        if cleared == Ok(true) {
            tables.release(&mut purse);
            return Ok(true);
        }
        object.tables = Some(tables);
        cleared.map_err(status_of)
    }
}
