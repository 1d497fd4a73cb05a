//! The boot module: finding the root image and its payload in the bundle, and putting the root in its place.

use core::fmt;

use bundle::{BUNDLE_MAGIC, BundleHeader};
use engine::PhysMem;
use tlfs::addr::{PAGE_SIZE, Spa};
use zerocopy::FromBytes;

use crate::handover::Handover;
use crate::plan::{FOUR_GIB, Range};

/// [`PAGE_SIZE`] as a length.
const PAGE_BYTES: usize = 4096;

/// Why there is no root to run. The text is what the user reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleError {
    /// The loader gave no module.
    Missing,
    /// The header cannot be read or has another magic.
    NotABundle,
    /// The header names bytes that the bundle does not have.
    Truncated,
    /// The root image does not fit the machine's memory where it wants to be.
    RootPlace,
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no bundle: the boot loader gave no module (QEMU: -initrd)",
            Self::NotABundle => "the module given is not a bundle",
            Self::Truncated => "the bundle is malformed: its header names what it does not hold",
            Self::RootPlace => "too little memory: there is none where the root image has to be",
        })
    }
}

/// A bundle whose header holds what it says.
#[derive(Clone, Copy, Debug)]
pub struct Bundle {
    /// All of it.
    pub range: Range,
    /// The root image in it.
    image: Range,
    /// The payload in it.
    pub payload: Range,
    /// Where the root image goes, with its `.bss`.
    pub place: Range,
    /// Its entry.
    pub entry: u64,
}

impl Bundle {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// What is wrong with the module.
    pub fn at(module: Option<Range>, memory: &impl PhysMem) -> Result<Self, BundleError> {
        let range = module.ok_or(BundleError::Missing)?;
        let header = read_header(range, memory).ok_or(BundleError::NotABundle)?;
        let within = |offset: u64, len: u64| {
            let start = range.start.checked_add(offset).ok_or(BundleError::Truncated)?;
            let part = Range { start, end: start.checked_add(len).ok_or(BundleError::Truncated)? };
            if range.contains(&part) { Ok(part) } else { Err(BundleError::Truncated) }
        };
        let image = within(header.root_offset, header.root_len)?;
        let payload = within(header.payload_offset, header.payload_len)?;
        let place = Range::sized(header.root_gpa, header.root_mem_len);
        let aligned = header.root_gpa.is_multiple_of(PAGE_SIZE) && payload.start.is_multiple_of(PAGE_SIZE);
        if !aligned || image.len() > place.len() || !place.contains(&Range::sized(header.root_entry, 1)) {
            return Err(BundleError::Truncated);
        }
        Ok(Self { range, image, payload, place: place.grow_to_pages(), entry: header.root_entry })
    }

    /// Whether the root can be put where it wants to be: in RAM below 4 GiB, clear of what is `taken` and of the bundle.
    ///
    /// # Errors
    /// [`BundleError::RootPlace`] if not.
    pub fn check_place(&self, ram: &[Range], taken: &[Range]) -> Result<(), BundleError> {
        let in_ram = |wanted: &Range| ram.iter().any(|range| range.contains(wanted));
        let free = |wanted: &Range| in_ram(wanted) && !taken.iter().any(|range| range.overlaps(wanted));
        let handover = Handover::range();
        let apart = !self.place.overlaps(&self.range) && !handover.overlaps(&self.range);
        let fits = free(&self.place) && free(&handover) && self.place.end <= FOUR_GIB;
        if apart && fits { Ok(()) } else { Err(BundleError::RootPlace) }
    }

    /// Copies the root image to its place, with the rest of the place cleared.
    ///
    /// # Errors
    /// One of both is not RAM.
    pub fn place_root(&self, memory: &mut impl PhysMem) -> Result<(), BundleError> {
        let mut page = [0; PAGE_BYTES];
        for offset in (0..self.place.len()).step_by(PAGE_BYTES) {
            let len = self.image.len().saturating_sub(offset).min(PAGE_SIZE);
            let (data, clear) = page.split_at_mut(usize::try_from(len).unwrap_or(0));
            if !data.is_empty() {
                memory.read(Spa(self.image.start + offset), data).map_err(|_| BundleError::Truncated)?;
            }
            clear.fill(0);
            memory.write(Spa(self.place.start + offset), &page).map_err(|_| BundleError::RootPlace)?;
        }
        Ok(())
    }
}

fn read_header(range: Range, memory: &impl PhysMem) -> Option<BundleHeader> {
    let mut bytes = [0; size_of::<BundleHeader>()];
    if range.len() < bytes.len() as u64 {
        return None;
    }
    memory.read(Spa(range.start), &mut bytes).ok()?;
    BundleHeader::read_from_bytes(&bytes).ok().filter(|header| header.magic == BUNDLE_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::BadAddress;
    use std::vec;
    use std::vec::Vec;
    use zerocopy::IntoBytes;

    /// RAM from address 0.
    struct Memory(Vec<u8>);

    impl Memory {
        fn bytes(&self, spa: Spa, len: usize) -> Option<core::ops::Range<usize>> {
            let start = usize::try_from(spa.0).ok()?;
            let end = start.checked_add(len)?;
            (end <= self.0.len()).then_some(start..end)
        }
    }

    impl PhysMem for Memory {
        fn read(&self, spa: Spa, buf: &mut [u8]) -> Result<(), BadAddress> {
            buf.copy_from_slice(&self.0[self.bytes(spa, buf.len()).ok_or(BadAddress)?]);
            Ok(())
        }
        fn write(&mut self, spa: Spa, data: &[u8]) -> Result<(), BadAddress> {
            let range = self.bytes(spa, data.len()).ok_or(BadAddress)?;
            self.0[range].copy_from_slice(data);
            Ok(())
        }
        fn read_u64(&self, _: Spa) -> Result<u64, BadAddress> {
            Err(BadAddress)
        }
        fn write_u64(&mut self, _: Spa, _: u64) -> Result<(), BadAddress> {
            Err(BadAddress)
        }
        fn zero_page(&mut self, _: Spa) -> Result<(), BadAddress> {
            Err(BadAddress)
        }
    }

    const SIZE: u64 = 0x10_0000;
    const SIZE_BYTES: usize = 0x10_0000;
    const AT: u64 = 0xf_0000;
    const GOOD: BundleHeader = BundleHeader {
        magic: BUNDLE_MAGIC,
        root_gpa: 0x2_0000,
        root_offset: 0x1000,
        root_len: 0x1234,
        root_mem_len: 0x3001,
        root_entry: 0x2_0010,
        payload_offset: 0x3000,
        payload_len: 0x111,
    };
    const RAM: [Range; 1] = [Range { start: 0x1000, end: SIZE }];

    fn find(header: BundleHeader, len: u64) -> Result<(Bundle, Memory), BundleError> {
        let mut memory = Memory(vec![0xaa; SIZE_BYTES]);
        assert_eq!(memory.write(Spa(AT), header.as_bytes()), Ok(()));
        let bundle = Bundle::at(Some(Range::sized(AT, len)), &memory)?;
        Ok((bundle, memory))
    }

    #[test]
    fn the_root_goes_to_its_place_and_the_rest_of_it_is_clear() {
        let (bundle, mut memory) = find(GOOD, 0x3111).expect("a good bundle");
        assert_eq!(bundle.payload, Range { start: AT + 0x3000, end: AT + 0x3111 });
        assert_eq!(bundle.place, Range { start: 0x2_0000, end: 0x2_4000 });
        let image: Vec<u8> = (0..0x1234u32).map(|index| index.to_le_bytes()[0] | 1).collect();
        assert_eq!(memory.write(Spa(AT + 0x1000), &image), Ok(()));
        assert_eq!(bundle.check_place(&RAM, &[]), Ok(()));
        assert_eq!(bundle.place_root(&mut memory), Ok(()));
        assert_eq!(memory.0[0x2_0000..0x2_1234], image);
        assert!(memory.0[0x2_1234..0x2_4000].iter().all(|byte| *byte == 0));
        assert_eq!((memory.0[0x1_ffff], memory.0[0x2_4000]), (0xaa, 0xaa));
    }

    #[test]
    fn what_is_no_bundle_is_refused() {
        assert_eq!(Bundle::at(None, &Memory(vec![])).err(), Some(BundleError::Missing));
        assert_eq!(find(BundleHeader { magic: 1, ..GOOD }, 0x4000).err(), Some(BundleError::NotABundle));
        assert_eq!(find(GOOD, 63).err(), Some(BundleError::NotABundle));
        let outside = Bundle::at(Some(Range::sized(SIZE - 8, 0x4000)), &Memory(vec![0; SIZE_BYTES]));
        assert_eq!(outside.err(), Some(BundleError::NotABundle));
    }

    #[test]
    fn a_header_that_names_too_much_is_refused() {
        for header in [
            BundleHeader { root_len: 0x3001, ..GOOD },
            BundleHeader { root_offset: u64::MAX, ..GOOD },
            BundleHeader { root_offset: 0x4000, ..GOOD },
            BundleHeader { root_mem_len: 0x1233, ..GOOD },
            BundleHeader { root_gpa: 0x2_0008, ..GOOD },
            BundleHeader { root_entry: 0x2_3001, ..GOOD },
            BundleHeader { root_entry: 0x1_ffff, ..GOOD },
            BundleHeader { payload_offset: 0x3010, ..GOOD },
            BundleHeader { payload_len: 0x112, ..GOOD },
            BundleHeader { payload_len: u64::MAX, ..GOOD },
        ] {
            assert_eq!(find(header, 0x3111).err(), Some(BundleError::Truncated), "{header:x?}");
        }
    }

    #[test]
    fn a_place_that_is_not_free_is_refused() {
        let (bundle, _) = find(GOOD, 0x3111).expect("a good bundle");
        let refused = Err(BundleError::RootPlace);
        assert_eq!(bundle.check_place(&RAM, &[Range { start: 0x2_3fff, end: 0x2_5000 }]), refused);
        assert_eq!(bundle.check_place(&[Range { start: 0x1000, end: 0x2_3000 }], &[]), refused);
        assert_eq!(bundle.check_place(&[Range { start: 0x1_0000, end: SIZE }], &[]), refused, "no low memory");
        let (onto, _) = find(BundleHeader { root_gpa: AT - 0x1000, root_entry: AT, ..GOOD }, 0x3111).expect("a header");
        assert_eq!(onto.check_place(&RAM, &[]), refused, "onto the bundle");
    }
}
