//! `/etc/ld.so.cache` for the libraries that were packed. `ld.so` searches a few directories by itself; what lies in those that
//! `/etc/ld.so.conf` adds, it finds only through this file. (glibc: `sysdeps/generic/dl-cache.h`, format 1.1.)
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::slice::Iter;

/// Start of the file: format and version.
const MAGIC: &[u8; 20] = b"glibc-ld.so.cache1.1";
/// Length of the header.
const HEADER_LEN: usize = 48;
/// Length of an entry.
const ENTRY_LEN: usize = 24;
/// The file's numbers are little-endian.
const LITTLE_ENDIAN: u8 = 2;
/// An ELF library for glibc on x86-64.
const X86_64_GLIBC: u32 = 0x0303;

/// The file for these libraries: names as programs ask for them, and paths. `None`: too many for its 32-bit offsets.
pub(crate) fn build(libraries: &BTreeMap<Vec<u8>, Vec<u8>>) -> Option<Vec<u8>> {
    let mut sorted: Vec<_> = libraries.iter().collect();
    // ld.so searches by halves, largest first.
    sorted.sort_by(|a, b| compare(b.0, a.0));
    let strings_start = HEADER_LEN + sorted.len() * ENTRY_LEN;
    let mut strings = Vec::new();
    let mut entries = Vec::new();
    for (name, path) in sorted {
        entries.extend_from_slice(&X86_64_GLIBC.to_le_bytes());
        for text in [name, path] {
            let offset = u32::try_from(strings_start + strings.len()).ok()?;
            entries.extend_from_slice(&offset.to_le_bytes());
            strings.extend_from_slice(text);
            strings.push(0);
        }
        // Kernel version and hardware capabilities: none wanted.
        entries.extend_from_slice(&[0; 12]);
    }
    let mut file = MAGIC.to_vec();
    file.extend_from_slice(&u32::try_from(libraries.len()).ok()?.to_le_bytes());
    file.extend_from_slice(&u32::try_from(strings.len()).ok()?.to_le_bytes());
    file.push(LITTLE_ENDIAN);
    file.resize(HEADER_LEN, 0);
    file.extend_from_slice(&entries);
    file.extend_from_slice(&strings);
    Some(file)
}

/// The order of names in the file: runs of digits count as numbers, all else byte by byte.
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        let digits = |byte: Option<&&u8>| byte.is_some_and(|b| b.is_ascii_digit());
        let order = match (digits(a.peek()), digits(b.peek())) {
            (true, true) => number(&mut a).cmp(&number(&mut b)),
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => match (a.next(), b.next()) {
                (None, None) => return Ordering::Equal,
                (x, y) => x.cmp(&y),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Takes a run of digits.
fn number(bytes: &mut Peekable<Iter<'_, u8>>) -> u64 {
    let mut value = 0u64;
    while let Some(digit) = bytes.next_if(|b| b.is_ascii_digit()) {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_as_the_dynamic_linker_does() {
        for (less, more) in [("libc.so.6", "libc.so.10"), ("liba", "libb"), ("lib", "liba"), ("lib-", "lib1")] {
            assert_eq!(compare(less.as_bytes(), more.as_bytes()), Ordering::Less, "{less} {more}");
            assert_eq!(compare(more.as_bytes(), less.as_bytes()), Ordering::Greater, "{less} {more}");
        }
        assert_eq!(compare(b"libz.so.1", b"libz.so.1"), Ordering::Equal);
    }

    #[test]
    fn a_file_of_two() {
        let libraries = BTreeMap::from([
            (b"liba.so".to_vec(), b"/x/liba.so".to_vec()),
            (b"libb.so".to_vec(), b"/x/libb.so".to_vec()),
        ]);
        let file = build(&libraries).unwrap();
        assert_eq!(&file[..20], MAGIC);
        assert_eq!(file[20..24], 2u32.to_le_bytes());
        // The larger name comes first.
        let key = u32::from_le_bytes(file[52..56].try_into().unwrap());
        assert!(file[usize::try_from(key).unwrap()..].starts_with(b"libb.so\0/x/libb.so\0"));
    }
}
