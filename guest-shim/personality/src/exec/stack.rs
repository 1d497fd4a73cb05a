//! The first stack of a program: arguments, environment and the auxiliary vector, as the System V ABI for x86-64 wants them.

use alloc::vec::Vec;
use core::ops::Range;

use linux_raw_sys::auxvec as at;

use crate::errno::Errno;
use crate::platform::{PAGE, PAGE_SIZE};

/// What the auxiliary vector says beside constants and ids.
pub(super) struct Auxiliary {
    /// Program headers in memory.
    pub headers: u64,
    /// Their number.
    pub header_count: u64,
    /// Where the interpreter is; 0 without one.
    pub interpreter: u64,
    /// The program's own entry.
    pub entry: u64,
    /// The vDSO; 0 without one.
    pub vdso: u64,
    /// AT_HWCAP.
    pub capabilities: u64,
    /// AT_RANDOM's bytes.
    pub random: [u8; 16],
}

/// The bytes of the stack, from the stack pointer up.
pub(super) struct StackImage {
    /// The stack pointer.
    pub pointer: u64,
    /// What stands from there to the top.
    pub bytes: Vec<u8>,
    /// Where in it the auxiliary vector is.
    pub auxiliary: Range<usize>,
}

/// Longest single argument (MAX_ARG_STRLEN).
const MAX_STRING: usize = 32 * PAGE_SIZE;
/// Arguments and environment may take at least this (ARG_MAX), and at most a quarter of the stack.
const MIN_ARGUMENTS: u64 = 128 << 10;
/// Clock ticks in a second, for `times` (USER_HZ).
const CLOCK_TICKS: u64 = 100;
/// Least signal stack (MINSIGSTKSZ; the frame with an FXSAVE area fits).
const MIN_SIGNAL_STACK: u64 = 2048;

/// Strings, placed from `start` up.
struct Strings {
    start: u64,
    bytes: Vec<u8>,
}

impl Strings {
    /// Appends with a NUL; its address.
    fn push(&mut self, string: &[u8]) -> Result<u64, Errno> {
        if string.len() >= MAX_STRING {
            return Err(Errno::E2BIG);
        }
        let at = self.start + self.bytes.len() as u64;
        self.bytes.extend_from_slice(string);
        self.bytes.push(0);
        Ok(at)
    }
}

/// The stack below `top` for these arguments. `ids`: uid, effective uid, gid, effective gid. `limit`: RLIMIT_STACK.
pub(super) fn build(
    top: u64,
    arguments: &[Vec<u8>],
    environment: &[Vec<u8>],
    path: &[u8],
    auxiliary: &Auxiliary,
    ids: [u32; 4],
    limit: u64,
) -> Result<StackImage, Errno> {
    let platform = b"x86_64";
    let listed = arguments.iter().chain(environment).map(|string| string.len() + 1).sum::<usize>();
    let len = (listed + path.len() + 1 + platform.len() + 1 + 16) as u64;
    let pointers = (arguments.len() + environment.len()) as u64 * 8;
    if len + pointers > (limit / 4).clamp(MIN_ARGUMENTS, 6 << 20) {
        return Err(Errno::E2BIG);
    }
    // The last eight bytes are zero, as on Linux; the strings end right below them.
    let start = top - 8 - len;
    let mut strings = Strings { start, bytes: Vec::with_capacity(crate::num::index(len + 8)) };
    let random = start;
    strings.bytes.extend_from_slice(&auxiliary.random);
    let platform = strings.push(platform)?;
    let mut vector = Vec::new();
    vector.push(arguments.len() as u64);
    for list in [arguments, environment] {
        for string in list {
            vector.push(strings.push(string)?);
        }
        vector.push(0);
    }
    let path = strings.push(path)?;
    let auxiliary_start = vector.len() * 8;
    push_auxiliary(&mut vector, auxiliary, [random, platform, path], ids);
    let auxiliary = auxiliary_start..vector.len() * 8;
    let pointer = (start - vector.len() as u64 * 8) & !15;
    let mut bytes: Vec<u8> = vector.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.resize(crate::num::index(start - pointer), 0);
    bytes.extend_from_slice(&strings.bytes);
    Ok(StackImage { pointer, bytes, auxiliary })
}

fn push_auxiliary(vector: &mut Vec<u64>, auxiliary: &Auxiliary, addresses: [u64; 3], ids: [u32; 4]) {
    let [random, platform, path] = addresses;
    let [uid, euid, gid, egid] = ids.map(u64::from);
    if auxiliary.vdso != 0 {
        vector.extend([u64::from(at::AT_SYSINFO_EHDR), auxiliary.vdso]);
    }
    for (key, value) in [
        (at::AT_HWCAP, auxiliary.capabilities),
        (at::AT_PAGESZ, PAGE),
        (at::AT_CLKTCK, CLOCK_TICKS),
        (at::AT_PHDR, auxiliary.headers),
        (at::AT_PHENT, 56),
        (at::AT_PHNUM, auxiliary.header_count),
        (at::AT_BASE, auxiliary.interpreter),
        (at::AT_FLAGS, 0),
        (at::AT_ENTRY, auxiliary.entry),
        (at::AT_UID, uid),
        (at::AT_EUID, euid),
        (at::AT_GID, gid),
        (at::AT_EGID, egid),
        (at::AT_SECURE, 0),
        (at::AT_RANDOM, random),
        (at::AT_HWCAP2, 0),
        (at::AT_EXECFN, path),
        (at::AT_PLATFORM, platform),
        (at::AT_MINSIGSTKSZ, MIN_SIGNAL_STACK),
        (at::AT_NULL, 0),
    ] {
        vector.extend([u64::from(key), value]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn auxiliary() -> Auxiliary {
        Auxiliary {
            headers: 0x40_0040,
            header_count: 9,
            interpreter: 0,
            entry: 0x40_1000,
            vdso: 0,
            capabilities: 5,
            random: [7; 16],
        }
    }

    fn word(image: &StackImage, slot: usize) -> u64 {
        u64::from_le_bytes(image.bytes[slot * 8..slot * 8 + 8].try_into().expect("eight bytes"))
    }

    #[test]
    fn the_vectors_point_at_the_strings() {
        let top = 0x7fff_0000_0000;
        let arguments = vec![b"prog".to_vec(), b"x".to_vec()];
        let environment = vec![b"A=b".to_vec()];
        let image = build(top, &arguments, &environment, b"/bin/prog", &auxiliary(), [0; 4], 8 << 20).expect("fits");
        assert_eq!(image.pointer % 16, 0);
        assert_eq!(image.pointer + image.bytes.len() as u64, top - 8);
        assert_eq!(word(&image, 0), 2);
        let at = |address: u64| &image.bytes[usize::try_from(address - image.pointer).expect("inside")..];
        assert!(at(word(&image, 1)).starts_with(b"prog\0"));
        assert!(at(word(&image, 2)).starts_with(b"x\0"));
        assert_eq!(word(&image, 3), 0);
        assert!(at(word(&image, 4)).starts_with(b"A=b\0"));
        assert_eq!(word(&image, 5), 0);
        assert_eq!((word(&image, 6), word(&image, 7)), (16, 5));
        assert_eq!(image.auxiliary.start, 6 * 8);
        assert_eq!(image.bytes[image.auxiliary][..8], 16_u64.to_le_bytes());
    }

    #[test]
    fn too_many_arguments_are_refused() {
        let arguments = vec![vec![b'x'; 100_000]; 30];
        let built = build(0x7fff_0000_0000, &arguments, &[], b"/p", &auxiliary(), [0; 4], 8 << 20);
        assert_eq!(built.err(), Some(Errno::E2BIG));
        let long = vec![vec![b'x'; MAX_STRING]];
        let built = build(0x7fff_0000_0000, &long, &[], b"/p", &auxiliary(), [0; 4], 8 << 20);
        assert_eq!(built.err(), Some(Errno::E2BIG));
    }
}
