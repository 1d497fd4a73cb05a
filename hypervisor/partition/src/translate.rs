//! A VP's addresses: linear → guest physical → machine, and the bytes of the instruction it is at.

use engine::{ControlRegs, PhysMem};
use paging::format::Rights;
use paging::guest::{GuestAccess, GuestPaging, walk};
use tlfs::addr::{Gpa, Gva, PAGE_SIZE, Spa};

use crate::frames::{FrameState, FrameTable};
use crate::object::Tables;

/// A partition's memory as the hypervisor may touch it for it: RAM only.
#[derive(Clone, Copy)]
pub(crate) struct Space<'s> {
    pub(crate) tables: Option<&'s Tables>,
    /// Given for the root, whose address space is mostly the machine's and can be judged without a walk.
    pub(crate) identity: Option<&'s FrameTable<'s>>,
}

impl Space<'_> {
    /// Where `gpa` is, and what the partition may do there.
    pub(crate) fn translate(&self, mem: &impl PhysMem, gpa: Gpa) -> Option<(Spa, Rights)> {
        if let Some(frames) = self.identity {
            match frames.state(Spa(gpa.0)) {
                FrameState::Root { .. } => return Some((Spa(gpa.0), Rights::ALL)),
                // An overlay or a state page, if it is mapped at all.
                FrameState::Used { .. } => {}
                // Devices: reading them has effects.
                FrameState::Absent | FrameState::Free { .. } => return None,
            }
        }
        self.tables?.translate(mem, gpa)
    }

    /// The machine address of `gpa` if it can be accessed so.
    pub(crate) fn access(&self, mem: &impl PhysMem, gpa: Gpa, write: bool) -> Option<Spa> {
        let (spa, rights) = self.translate(mem, gpa)?;
        let allowed = if write { rights.write } else { rights.read };
        allowed.then_some(spa)
    }
}

/// The registers that matter to a guest walk.
pub(crate) fn paging_of(control: &ControlRegs) -> GuestPaging {
    GuestPaging { cr0: control.cr0, cr3: control.cr3, cr4: control.cr4, efer: control.efer }
}

/// One remembered translation of a code page: the table entries that it rests on, and where it led.
#[derive(Clone, Copy, Debug)]
struct FetchEntry {
    /// Page address; odd where there is none.
    page: u64,
    /// With the mode: the same CR3 means another walk in it.
    paging: GuestPaging,
    generation: u64,
    /// A walk of fewer steps repeats its first one.
    steps: [(Spa, u64); STEPS],
    frame: Spa,
}

/// Steps of a walk that can be remembered. A longer one (with 57-bit addresses) is made each time.
const STEPS: usize = 4;
/// Entries of the cache, a power of two.
const ENTRIES: usize = 4;

/// Translations of the last code pages at which a VP was intercepted.
///
/// An entry is used only if each guest table entry it rests on still says the same, which takes as many
/// reads as the guest has levels instead of a nested walk for each. `generation` covers the nested map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchCache {
    entries: [FetchEntry; ENTRIES],
}

impl FetchCache {
    pub(crate) const EMPTY: Self = Self {
        entries: [FetchEntry {
            page: 1,
            paging: GuestPaging::long_mode(0),
            generation: 0,
            steps: [(Spa(0), 0); STEPS],
            frame: Spa(0),
        }; ENTRIES],
    };

    /// The frame that holds the page of `linear`, for a fetch that the processor has already made.
    fn frame(
        &mut self,
        mem: &impl PhysMem,
        space: Space<'_>,
        generation: u64,
        paging: &GuestPaging,
        linear: Gva,
    ) -> Option<Spa> {
        #[allow(clippy::cast_possible_truncation, reason = "only the low bits are meant")]
        let index = (linear.page_number() as usize) & (ENTRIES - 1);
        let entry = self.entries.get_mut(index)?;
        let page = linear.page_base().0;
        let same = entry.page == page && entry.paging == *paging && entry.generation == generation;
        if same && entry.holds(mem) {
            return Some(entry.frame);
        }
        entry.fill(mem, space, generation, paging, page)
    }
}

impl FetchEntry {
    fn holds(&self, mem: &impl PhysMem) -> bool {
        self.steps.iter().all(|(at, value)| mem.read_u64(*at) == Ok(*value))
    }

    /// Walks, and remembers it.
    #[cold]
    fn fill(
        &mut self,
        mem: &impl PhysMem,
        space: Space<'_>,
        generation: u64,
        paging: &GuestPaging,
        page: u64,
    ) -> Option<Spa> {
        let mut steps = [None; STEPS];
        let mut count = 0;
        let found = walk(paging, Gva(page), GuestAccess::EXEMPT, |gpa| {
            let at = space.access(mem, gpa, false)?;
            let value = mem.read_u64(at).ok()?;
            if let Some(place) = steps.get_mut(count) {
                *place = Some((at, value));
            }
            count += 1;
            Some(value)
        })
        .ok()?;
        let frame = space.access(mem, found.gpa, false)?.page_base();
        // Without a step there is nothing to check, with too many not enough.
        if let Some(first) = steps[0].filter(|_| count <= STEPS) {
            let steps = steps.map(|step| step.unwrap_or(first));
            *self = Self { page, paging: *paging, generation, steps, frame };
        }
        Some(frame)
    }
}

/// Up to 16 bytes from `linear` on, and how many there are: fewer where the next page cannot be read.
pub(crate) fn fetch(
    cache: &mut FetchCache,
    mem: &impl PhysMem,
    space: Space<'_>,
    generation: u64,
    paging: &GuestPaging,
    linear: Gva,
) -> ([u8; 16], usize) {
    let mut bytes = [0; 16];
    let mut done = 0;
    while done < bytes.len() {
        let at = Gva(linear.0.wrapping_add(done as u64));
        let Some(frame) = cache.frame(mem, space, generation, paging, at) else { break };
        let left = usize::try_from(PAGE_SIZE - at.page_offset()).unwrap_or(0);
        let end = bytes.len().min(done + left);
        let Some(part) = bytes.get_mut(done..end) else { break };
        if mem.read(Spa(frame.0 | at.page_offset()), part).is_err() {
            break;
        }
        done = end;
    }
    (bytes, done)
}
