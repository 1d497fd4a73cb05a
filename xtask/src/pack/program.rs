//! What an ELF program says that it needs: its interpreter, libraries and where they are to be looked for.
use elf::ElfBytes;
use elf::abi::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, DT_STRTAB, EM_X86_64, PT_INTERP, PT_LOAD};
use elf::endian::AnyEndian;
use elf::file::Class;

/// What concerns the packer about an ELF file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// PT_INTERP.
    pub(crate) interpreter: Option<Vec<u8>>,
    /// DT_NEEDED, in order.
    pub(crate) libraries: Vec<Vec<u8>>,
    /// DT_RPATH, split at colons.
    pub(crate) rpath: Vec<Vec<u8>>,
    /// DT_RUNPATH, split at colons.
    pub(crate) runpath: Vec<Vec<u8>>,
    /// DT_SONAME.
    pub(crate) soname: Option<Vec<u8>>,
}

/// Reads `file`. `None`: not an x86-64 ELF file that makes sense; the sandbox will say so in its own words.
pub(crate) fn needs(file: &[u8]) -> Option<Needs> {
    let elf = ElfBytes::<AnyEndian>::minimal_parse(file).ok()?;
    if elf.ehdr.class != Class::ELF64 || elf.ehdr.e_machine != EM_X86_64 {
        return None;
    }
    let segments = elf.segments()?;
    let mut needs = Needs::default();
    if let Some(interp) = segments.iter().find(|s| s.p_type == PT_INTERP) {
        let data = elf.segment_data(&interp).ok()?;
        needs.interpreter = Some(until_nul(data)?.to_vec());
    }
    let Some(dynamic) = elf.dynamic().ok()? else {
        return Some(needs);
    };
    let value = |tag| dynamic.iter().find(|d| d.d_tag == tag).map(|d| d.d_val());
    let Some(table) = value(DT_STRTAB).and_then(|address| file_offset(&elf, address)) else {
        return Some(needs);
    };
    let string = |offset: u64| {
        let start = usize::try_from(table.checked_add(offset)?).ok()?;
        until_nul(file.get(start..)?)
    };
    needs.libraries =
        dynamic.iter().filter(|d| d.d_tag == DT_NEEDED).filter_map(|d| string(d.d_val())).map(<[u8]>::to_vec).collect();
    let directories = |tag| {
        let list = value(tag).and_then(string).unwrap_or_default();
        split_colons(list)
    };
    needs.rpath = directories(DT_RPATH);
    needs.runpath = directories(DT_RUNPATH);
    needs.soname = value(DT_SONAME).and_then(string).map(<[u8]>::to_vec);
    Some(needs)
}

/// The interpreter line of a script: what stands behind `#!`, up to the first blank.
pub(crate) fn script_interpreter(file: &[u8]) -> Option<&[u8]> {
    let line = file.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let words = line.split(|b| matches!(b, b' ' | b'\t'));
    words.into_iter().find(|word| !word.is_empty())
}

/// Splits a list of directories at its colons.
pub(crate) fn split_colons(list: &[u8]) -> Vec<Vec<u8>> {
    list.split(|b| *b == b':').filter(|dir| !dir.is_empty()).map(<[u8]>::to_vec).collect()
}

/// Where in the file the byte at a virtual address is.
fn file_offset(elf: &ElfBytes<'_, AnyEndian>, address: u64) -> Option<u64> {
    elf.segments()?.iter().filter(|s| s.p_type == PT_LOAD).find_map(|s| {
        let into = address.checked_sub(s.p_vaddr)?;
        (into < s.p_filesz).then(|| s.p_offset.checked_add(into))?
    })
}

/// The bytes up to the first NUL.
fn until_nul(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|b| *b == 0)?;
    bytes.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_needs_libc() {
        let me = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let needs = needs(&me).unwrap();
        assert!(needs.interpreter.unwrap().starts_with(b"/"));
        assert!(needs.libraries.iter().any(|l| l == b"libc.so.6"));
    }

    #[test]
    fn broken_files_are_nothing_special() {
        let me = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for len in [0, 3, 16, 63, 64, 100, 200] {
            assert!(needs(&me[..len]).is_none_or(|n| n.libraries.is_empty()));
        }
        assert_eq!(needs(b"#!/bin/sh\n"), None);
    }

    #[test]
    fn scripts() {
        assert_eq!(script_interpreter(b"#! /bin/sh -e\nfoo"), Some(b"/bin/sh".as_slice()));
        assert_eq!(script_interpreter(b"#!\n"), None);
        assert_eq!(script_interpreter(b"echo"), None);
    }
}
