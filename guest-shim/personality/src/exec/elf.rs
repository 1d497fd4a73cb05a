//! ELF64 executables and shared objects for x86-64: the header and the program headers, checked.

use alloc::vec::Vec;

use crate::mm::space::MIN_ADDRESS;
use crate::num::{page_down, page_up};
use proto::layout::USER_END_VA;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `Elf64_Ehdr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct FileHeader {
    pub ident: [u8; 16],
    pub kind: u16,
    pub machine: u16,
    pub version: u32,
    pub entry: u64,
    pub headers_offset: u64,
    pub sections_offset: u64,
    pub flags: u32,
    pub size: u16,
    pub header_size: u16,
    pub header_count: u16,
    pub section_size: u16,
    pub section_count: u16,
    pub section_names: u16,
}

/// `Elf64_Phdr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct ProgramHeader {
    pub kind: u32,
    pub flags: u32,
    pub offset: u64,
    pub address: u64,
    pub physical: u64,
    pub file_len: u64,
    pub memory_len: u64,
    pub align: u64,
}

pub(super) const PT_LOAD: u32 = 1;
pub(super) const PT_INTERP: u32 = 3;
pub(super) const PT_PHDR: u32 = 6;
pub(super) const PT_GNU_STACK: u32 = 0x6474_e551;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_386: u16 = 3;
const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;
/// As Linux: more than this makes no sense.
const MAX_HEADERS: usize = 65536 / size_of::<ProgramHeader>();

/// A checked ELF file.
#[derive(Debug)]
pub(super) struct Elf {
    pub entry: u64,
    /// Position independent (ET_DYN).
    pub movable: bool,
    pub headers_offset: u64,
    pub headers: Vec<ProgramHeader>,
}

/// The file header, or why the file is none that can run here.
pub(super) fn file_header(start: &[u8]) -> Result<FileHeader, &'static str> {
    if !start.starts_with(b"\x7fELF") {
        return Err("cannot execute: not an ELF file");
    }
    let Ok((header, _)) = FileHeader::read_from_prefix(start) else {
        return Err("cannot execute: the ELF file is truncated");
    };
    match (header.ident[4], header.machine) {
        (2, EM_X86_64) => {}
        (1, EM_386) => return Err("cannot execute: a 32-bit (i386) program; only x86-64 runs yet"),
        (_, EM_AARCH64) => return Err("cannot execute: an ELF file for another machine (AArch64)"),
        _ => return Err("cannot execute: an ELF file for another machine"),
    }
    if header.ident[5] != 1 || header.version != 1 {
        return Err("cannot execute: an ELF file of an unknown version");
    }
    if header.kind != ET_EXEC && header.kind != ET_DYN {
        return Err("cannot execute: an ELF file, but not an executable");
    }
    let count = usize::from(header.header_count);
    if usize::from(header.header_size) != size_of::<ProgramHeader>() || count == 0 || count > MAX_HEADERS {
        return Err("cannot execute: the ELF file has no usable program headers");
    }
    Ok(header)
}

/// Checks the program headers against a file of `file_len` bytes.
pub(super) fn check(header: &FileHeader, headers: Vec<ProgramHeader>, file_len: u64) -> Result<Elf, &'static str> {
    // Position-dependent code keeps off the lowest pages, as mmap does; the rest is placed by the loader.
    let lowest = if header.kind == ET_EXEC { MIN_ADDRESS } else { 0 };
    let mut end = lowest;
    let mut loads = 0;
    for segment in headers.iter().filter(|segment| segment.kind == PT_LOAD) {
        let last = segment.address.checked_add(segment.memory_len).and_then(page_up).unwrap_or(u64::MAX);
        if last > USER_END_VA || segment.file_len > segment.memory_len {
            return Err("cannot execute: a segment of the ELF file does not fit the address space");
        }
        if page_down(segment.address) < lowest {
            return Err("cannot execute: a segment of the ELF file lies below the lowest address");
        }
        if page_down(segment.address) < end || segment.offset % 4096 != segment.address % 4096 {
            return Err("cannot execute: the segments of the ELF file overlap or are not aligned");
        }
        if segment.offset.checked_add(segment.file_len).is_none_or(|end| end > file_len) {
            return Err("cannot execute: the ELF file is truncated");
        }
        end = last;
        loads += 1;
    }
    if loads == 0 {
        return Err("cannot execute: the ELF file has nothing to load");
    }
    // An entry that is not canonical would fault in ring 0, on the way out.
    if header.entry >= end {
        return Err("cannot execute: the ELF file's entry point lies outside of its segments");
    }
    Ok(Elf { entry: header.entry, movable: header.kind == ET_DYN, headers_offset: header.headers_offset, headers })
}

impl Elf {
    /// The segments to load, by rising address.
    pub(super) fn loads(&self) -> impl Iterator<Item = &ProgramHeader> + '_ {
        self.headers.iter().filter(|segment| segment.kind == PT_LOAD)
    }

    /// First address and length of the whole program, in pages' bounds.
    pub(super) fn extent(&self) -> (u64, u64) {
        let start = self.loads().next().map_or(0, |segment| page_down(segment.address));
        let end = self.loads().last().map_or(0, |segment| segment.address.saturating_add(segment.memory_len));
        let end = page_up(end).unwrap_or(end);
        (start, end.saturating_sub(start))
    }

    /// Where the program headers are in memory, before any displacement.
    pub(super) fn headers_address(&self) -> u64 {
        if let Some(own) = self.headers.iter().find(|segment| segment.kind == PT_PHDR) {
            return own.address;
        }
        let holder = self.loads().find(|segment| {
            segment.offset <= self.headers_offset && self.headers_offset - segment.offset < segment.file_len
        });
        holder.map_or(0, |segment| segment.address + (self.headers_offset - segment.offset))
    }

    /// The header of this kind.
    pub(super) fn find(&self, kind: u32) -> Option<&ProgramHeader> {
        self.headers.iter().find(|segment| segment.kind == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn header() -> FileHeader {
        let mut ident = [0; 16];
        ident[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        FileHeader {
            ident,
            kind: ET_EXEC,
            machine: EM_X86_64,
            version: 1,
            entry: 0x40_1000,
            headers_offset: 64,
            sections_offset: 0,
            flags: 0,
            size: 64,
            header_size: 56,
            header_count: 1,
            section_size: 0,
            section_count: 0,
            section_names: 0,
        }
    }

    fn load() -> ProgramHeader {
        ProgramHeader {
            kind: PT_LOAD,
            flags: 5,
            offset: 0,
            address: 0x40_0000,
            physical: 0,
            file_len: 0x2000,
            memory_len: 0x3000,
            align: 4096,
        }
    }

    #[test]
    fn a_good_file_passes() {
        let header = file_header(header().as_bytes()).expect("a good header");
        let elf = check(&header, vec![load()], 0x2000).expect("good segments");
        assert_eq!(elf.extent(), (0x40_0000, 0x3000));
        assert_eq!(elf.headers_address(), 0x40_0040);
        assert!(!elf.movable);
    }

    #[test]
    fn bad_files_say_what_is_bad() {
        assert!(file_header(b"#!/bin/sh").is_err_and(|text| text.contains("not an ELF")));
        assert!(file_header(b"\x7fELF\x02\x01").is_err_and(|text| text.contains("truncated")));
        let mut other = header();
        other.machine = EM_AARCH64;
        assert!(file_header(other.as_bytes()).is_err_and(|text| text.contains("AArch64")));
        let mut old = header();
        (old.machine, old.ident[4]) = (EM_386, 1);
        assert!(file_header(old.as_bytes()).is_err_and(|text| text.contains("i386")));
        let mut object = header();
        object.kind = 1;
        assert!(file_header(object.as_bytes()).is_err_and(|text| text.contains("not an executable")));
        assert!(check(&header(), vec![load()], 0x1fff).is_err_and(|text| text.contains("truncated")));
        assert!(check(&header(), vec![], 0x2000).is_err_and(|text| text.contains("nothing to load")));
        assert!(check(&header(), vec![load(), load()], 0x2000).is_err_and(|text| text.contains("overlap")));
        let mut high = load();
        high.address = !4095;
        assert!(check(&header(), vec![high], 0x2000).is_err_and(|text| text.contains("address space")));
        let mut low = load();
        low.address %= 4096;
        assert!(check(&header(), vec![low], 0x2000).is_err_and(|text| text.contains("lowest address")));
        let mut stray = header();
        stray.entry = 1 << 47;
        assert!(check(&stray, vec![load()], 0x2000).is_err_and(|text| text.contains("entry point")));
    }
}
