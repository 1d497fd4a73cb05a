//! Guest virtual addresses, through the child's own page tables (AMD64 volume 2, chapter 5: 4-level paging).
//!
//! What is read here is what **ring 3** can read: a page that the program itself could not touch is not
//! mapped, so that a pointer in a system call shows nothing of the shim. Four reads a page at most.
use alloc::vec::Vec;
use core::fmt;

use tlfs::addr::{Gpa, PAGE_SIZE};

use crate::{GuestMemory, NotMapped, bytes_in_page};

const PRESENT: u64 = 1 << 0;
const USER: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
/// Bits 51 to 12: the frame of an entry, and of CR3.
const FRAME: u64 = 0x000f_ffff_ffff_f000;
/// Index bits a level.
const LEVEL_BITS: u32 = 9;

/// Why a virtual address could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkError {
    /// Bits 63 to 47 differ: no such address.
    NonCanonical {
        /// The address.
        gva: u64,
    },
    /// The tables do not let ring 3 read it.
    NotPresent {
        /// The address.
        gva: u64,
    },
    /// A table, or the page itself, is where the child has no memory.
    NotMapped(NotMapped),
    /// No NUL within the limit.
    Unterminated,
}

impl fmt::Display for WalkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NonCanonical { gva } => write!(f, "{gva:#x} is not a canonical address"),
            Self::NotPresent { gva } => write!(f, "{gva:#x} is not mapped for the program"),
            Self::NotMapped(e) => e.fmt(f),
            Self::Unterminated => f.write_str("the string does not end within the limit"),
        }
    }
}

impl core::error::Error for WalkError {}

impl From<NotMapped> for WalkError {
    fn from(e: NotMapped) -> Self {
        Self::NotMapped(e)
    }
}

/// The guest physical address behind `gva` under the page table `cr3`, if ring 3 can read it.
///
/// # Errors
/// [`WalkError`], never `Unterminated`.
pub fn translate<M: GuestMemory + ?Sized>(memory: &M, cr3: u64, gva: u64) -> Result<Gpa, WalkError> {
    // Sign extension of 48 bits, undone and done again.
    if ((gva << 16).cast_signed() >> 16).cast_unsigned() != gva {
        return Err(WalkError::NonCanonical { gva });
    }
    let mut table = cr3 & FRAME;
    for level in (0..4_u32).rev() {
        let shift = 12 + level * LEVEL_BITS;
        let index = (gva >> shift) & 0x1ff;
        let entry = memory.read_u64(Gpa(table + index * 8))?;
        if entry & (PRESENT | USER) != PRESENT | USER {
            return Err(WalkError::NotPresent { gva });
        }
        // Bit 7 is reserved at level 3 (the processor would fault) and is PAT at level 0.
        let leaf = level == 0 || (level < 3 && entry & LARGE != 0);
        if leaf {
            let offset_mask = (1_u64 << shift) - 1;
            return Ok(Gpa((entry & FRAME & !offset_mask) | (gva & offset_mask)));
        }
        table = entry & FRAME;
    }
    Err(WalkError::NotPresent { gva })
}

/// Copies `buf.len()` bytes from `gva` on.
///
/// # Errors
/// [`WalkError`] if a byte cannot be read; `buf` then holds unspecified bytes.
pub fn read_gva<M: GuestMemory + ?Sized>(memory: &M, cr3: u64, gva: u64, buf: &mut [u8]) -> Result<(), WalkError> {
    let mut gva = gva;
    let mut rest = buf;
    while !rest.is_empty() {
        let len = bytes_in_page(gva, rest.len());
        let (now, later) = rest.split_at_mut(len);
        memory.read(translate(memory, cr3, gva)?, now)?;
        gva = next(gva, len)?;
        rest = later;
    }
    Ok(())
}

/// The string at `gva`, without its NUL, if it is at most `max` bytes long.
///
/// # Errors
/// [`WalkError`] if a byte up to the NUL cannot be read or there is none within `max` bytes.
pub fn read_cstr<M: GuestMemory + ?Sized>(memory: &M, cr3: u64, gva: u64, max: usize) -> Result<Vec<u8>, WalkError> {
    match read_cstr_prefix(memory, cr3, gva, max)? {
        (bytes, true) => Ok(bytes),
        (_, false) => Err(WalkError::Unterminated),
    }
}

/// The first `max` bytes of the string at `gva`, without its NUL, and whether that is all of it.
///
/// # Errors
/// [`WalkError`] if a byte that is needed cannot be read.
pub fn read_cstr_prefix<M: GuestMemory + ?Sized>(
    memory: &M,
    cr3: u64,
    gva: u64,
    max: usize,
) -> Result<(Vec<u8>, bool), WalkError> {
    let mut gva = gva;
    let mut bytes = Vec::new();
    let mut chunk = [0; CHUNK];
    // One byte more than `max`, for the NUL of a string that is exactly so long.
    let limit = max.saturating_add(1);
    while bytes.len() < limit {
        // A chunk that divides the page size and is aligned never reads beyond the page of its start.
        let aligned = CHUNK - usize::try_from(gva % CHUNK as u64).unwrap_or(0);
        let len = aligned.min(limit - bytes.len());
        let chunk = &mut chunk[..len];
        memory.read(translate(memory, cr3, gva)?, chunk)?;
        if let Some(end) = chunk.iter().position(|&byte| byte == 0) {
            bytes.extend_from_slice(&chunk[..end]);
            return Ok((bytes, true));
        }
        bytes.extend_from_slice(chunk);
        gva = next(gva, len)?;
    }
    bytes.truncate(max);
    Ok((bytes, false))
}

/// A byte that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its virtual address.
    pub gva: u64,
    /// Why.
    pub why: WalkError,
}

/// Copies the string at `gva`, which with its NUL has to fit `out`. Gives its length without the NUL.
///
/// # Errors
/// [`Unreadable`]: the first byte up to the NUL that cannot be read, or the first beyond `out` if there is no NUL in it.
pub fn copy_cstr<M: GuestMemory + ?Sized>(memory: &M, cr3: u64, gva: u64, out: &mut [u8]) -> Result<usize, Unreadable> {
    let mut gva = gva;
    let mut done = 0;
    let mut page = None;
    while let (done_before, Some(rest)) = (done, out.get_mut(done..))
        && !rest.is_empty()
    {
        let failed = |why| Unreadable { gva, why };
        // A chunk that divides the page size and is aligned never reads beyond the page of its start.
        let aligned = CHUNK - usize::try_from(gva % CHUNK as u64).unwrap_or(0);
        let (chunk, _) = rest.split_at_mut(aligned.min(rest.len()));
        let gpa = match page {
            Some(gpa) if !gva.is_multiple_of(PAGE_SIZE) => gpa,
            _ => translate(memory, cr3, gva).map_err(failed)?,
        };
        memory.read(gpa, chunk).map_err(|error| failed(error.into()))?;
        if let Some(end) = chunk.iter().position(|&byte| byte == 0) {
            return Ok(done_before + end);
        }
        let len = chunk.len();
        page = u64::try_from(len).ok().and_then(|len| gpa.0.checked_add(len)).map(Gpa);
        gva = next(gva, len).map_err(failed)?;
        done += len;
    }
    Err(Unreadable { gva, why: WalkError::Unterminated })
}

/// Copies `out.len()` bytes from `gva` on.
///
/// # Errors
/// [`Unreadable`]: the first byte of those that cannot be read, or of the page that it is in.
pub fn copy_gva<M: GuestMemory + ?Sized>(memory: &M, cr3: u64, gva: u64, out: &mut [u8]) -> Result<(), Unreadable> {
    let (mut gva, mut rest) = (gva, out);
    while !rest.is_empty() {
        let failed = |why| Unreadable { gva, why };
        let (now, later) = rest.split_at_mut(bytes_in_page(gva, rest.len()));
        let len = now.len();
        read_gva(memory, cr3, gva, now).map_err(failed)?;
        gva = next(gva, len).map_err(failed)?;
        rest = later;
    }
    Ok(())
}

/// The address `len` bytes after `gva`; the end of the address space is not mapped for ring 3.
fn next(gva: u64, len: usize) -> Result<u64, WalkError> {
    let step = u64::try_from(len).map_err(|_| WalkError::NonCanonical { gva })?;
    gva.checked_add(step).ok_or(WalkError::NonCanonical { gva })
}

/// Bytes of a string that are read at a time.
const CHUNK: usize = 64;

const _: () = assert!(PAGE_SIZE.is_multiple_of(CHUNK as u64));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::double::VecMemory;

    const CR3: u64 = 0x1000;
    const LEAF: u64 = PRESENT | USER;
    const WRITABLE: u64 = 1 << 1;

    /// Page tables at 0x1000 to 0x4000; GVA 0x40_0000 and 0x40_1000 are at GPA 0x6000 and 0x5000,
    /// 0x40_2000 is supervisor-only, GVA 0x60_0000 is a large page at GPA 0.
    fn memory() -> VecMemory {
        let mut memory = VecMemory::new(0x8000);
        let mut put = |gpa, value: u64| memory.write_u64(Gpa(gpa), value).unwrap();
        put(0x1000, 0x2000 | LEAF | WRITABLE);
        put(0x2000, 0x3000 | LEAF);
        put(0x3000 + 2 * 8, 0x4000 | LEAF);
        put(0x3000 + 3 * 8, LEAF | LARGE);
        put(0x4000, 0x6000 | LEAF | 1 << 63);
        put(0x4008, 0x5000 | LEAF);
        put(0x4010, 0x7000 | PRESENT);
        memory
    }

    #[test]
    fn translates_small_and_large_pages() {
        let memory = memory();
        assert_eq!(translate(&memory, CR3 | 0xfff, 0x40_0123), Ok(Gpa(0x6123)));
        assert_eq!(translate(&memory, CR3, 0x40_1fff), Ok(Gpa(0x5fff)));
        assert_eq!(translate(&memory, CR3, 0x60_5678), Ok(Gpa(0x5678)));
    }

    #[test]
    fn refuses_what_ring_3_cannot_read() {
        let memory = memory();
        let not_present = |gva| Err(WalkError::NotPresent { gva });
        assert_eq!(translate(&memory, CR3, 0x40_2000), not_present(0x40_2000));
        assert_eq!(translate(&memory, CR3, 0x40_3000), not_present(0x40_3000));
        assert_eq!(translate(&memory, CR3, 1 << 39), not_present(1 << 39));
        assert_eq!(translate(&memory, CR3, 0x8000_0000_0000), Err(WalkError::NonCanonical { gva: 0x8000_0000_0000 }));
    }

    #[test]
    fn tables_may_point_anywhere() {
        let mut memory = memory();
        assert!(matches!(translate(&memory, u64::MAX, 0x40_0000), Err(WalkError::NotMapped(_))));
        memory.write_u64(Gpa(0x2000), 0x000f_ffff_ffff_f000 | LEAF).unwrap();
        assert!(matches!(translate(&memory, CR3, 0x40_0000), Err(WalkError::NotMapped(_))));
        // A table that is its own child ends all the same.
        memory.write_u64(Gpa(0x1000), 0x1000 | LEAF).unwrap();
        assert_eq!(translate(&memory, CR3, 0), Ok(Gpa(0x1000)));
        // Bit 7 in the top level is no large page of 512 GiB.
        memory.write_u64(Gpa(0x1000), 0x2000 | LEAF | LARGE).unwrap();
        assert!(matches!(translate(&memory, CR3, 0x40_0000), Err(WalkError::NotMapped(_))));
    }

    #[test]
    fn reads_across_pages() {
        let mut memory = memory();
        memory.write(Gpa(0x6ffe), b"ab").unwrap();
        memory.write(Gpa(0x5000), b"cd\0").unwrap();
        let mut buf = [0; 4];
        assert_eq!(read_gva(&memory, CR3, 0x40_0ffe, &mut buf), Ok(()));
        assert_eq!(&buf, b"abcd");
        assert_eq!(read_cstr(&memory, CR3, 0x40_0ffe, 4), Ok(b"abcd".to_vec()));
        assert_eq!(read_cstr(&memory, CR3, 0x40_0ffe, 3), Err(WalkError::Unterminated));
        assert_eq!(read_cstr_prefix(&memory, CR3, 0x40_0ffe, 3), Ok((b"abc".to_vec(), false)));
        assert_eq!(read_gva(&memory, CR3, 0x40_1ffe, &mut buf), Err(WalkError::NotPresent { gva: 0x40_2000 }));
    }

    #[test]
    fn a_string_may_end_right_before_an_unmapped_page() {
        let mut memory = memory();
        memory.write(Gpa(0x5ffd), b"xy\0").unwrap();
        assert_eq!(read_cstr(&memory, CR3, 0x40_1ffd, 100), Ok(b"xy".to_vec()));
        memory.write(Gpa(0x5fff), b"z").unwrap();
        assert_eq!(read_cstr(&memory, CR3, 0x40_1ffd, 100), Err(WalkError::NotPresent { gva: 0x40_2000 }));
        assert_eq!(read_cstr(&memory, CR3, 0x40_1ffd, 0), Err(WalkError::Unterminated));
    }

    #[test]
    fn strings_are_copied_up_to_their_end() {
        let mut memory = memory();
        memory.write(Gpa(0x6fa0), &[b'a'; 0x60]).unwrap();
        memory.write(Gpa(0x5000), b"bc\0d").unwrap();
        let mut out = [0xff; 0x80];
        assert_eq!(copy_cstr(&memory, CR3, 0x40_0fa0, &mut out), Ok(0x62));
        assert_eq!((&out[..0x60], &out[0x60..0x62]), (&[b'a'; 0x60][..], &b"bc"[..]));
        // The NUL counts.
        let unterminated = |gva| Err(Unreadable { gva, why: WalkError::Unterminated });
        assert_eq!(copy_cstr(&memory, CR3, 0x40_0fa0, &mut out[..0x62]), unterminated(0x40_1002));
        assert_eq!(copy_cstr(&memory, CR3, 0x40_0fa0, &mut out[..0x63]), Ok(0x62));
        assert_eq!(copy_cstr(&memory, CR3, 0x40_0fa0, &mut []), unterminated(0x40_0fa0));
        let why = WalkError::NotPresent { gva: 0x40_2000 };
        memory.write(Gpa(0x5ff0), &[b'x'; 16]).unwrap();
        assert_eq!(copy_cstr(&memory, CR3, 0x40_1ff0, &mut out), Err(Unreadable { gva: 0x40_2000, why }));
        assert!(copy_cstr(&memory, CR3, u64::MAX, &mut out).is_err());
    }

    #[test]
    fn a_read_off_the_end_of_the_address_space_fails() {
        let memory = memory();
        let mut buf = [0; 16];
        assert!(read_gva(&memory, CR3, u64::MAX - 3, &mut buf).is_err());
        assert_eq!(read_gva(&memory, CR3, u64::MAX, &mut []), Ok(()));
    }
}
