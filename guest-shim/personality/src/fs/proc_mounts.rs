//! What is mounted, as `/proc/N/mounts` and `/proc/N/mountinfo` have it: the sandbox' own trees, and the folders of the host that the root says there are.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use crate::setting::Folder;

/// Source, place, type and device of the sandbox' own.
const OWN: [(&str, &str, &str, u64); 4] = [
    ("cordon", "/", "tmpfs", crate::syscalls::FILE_DEVICE),
    ("proc", "/proc", "proc", crate::syscalls::PROC_DEVICE),
    ("sysfs", "/sys", "sysfs", crate::syscalls::PROC_DEVICE),
    ("dev", "/dev", "devtmpfs", crate::syscalls::DEV_DEVICE),
];
/// How a folder of the host is told of.
const OF_HOST: (&str, &str) = ("host", "9p");

/// A line of the listings.
struct Mount<'m> {
    source: &'m str,
    place: Vec<u8>,
    kind: &'m str,
    device: u64,
    writable: bool,
}

fn all(folders: &[Folder]) -> impl Iterator<Item = Mount<'_>> {
    let own = OWN.into_iter().map(|(source, place, kind, device)| {
        let place = Vec::from(place);
        Mount { source, place, kind, device, writable: true }
    });
    let of_host = folders.iter().map(|Folder { place, writable }| {
        let (source, kind) = OF_HOST;
        Mount { source, place: escaped(place), kind, device: crate::syscalls::FILE_DEVICE, writable: *writable }
    });
    own.chain(of_host)
}

impl Mount<'_> {
    fn options(&self) -> String {
        format!("{},nosuid,nodev,relatime", self.rights())
    }

    const fn rights(&self) -> &'static str {
        if self.writable { "rw" } else { "ro" }
    }
}

/// `/proc/N/mounts`.
pub(super) fn mounts(folders: &[Folder]) -> Vec<u8> {
    let mut text = Vec::new();
    for mount in all(folders) {
        text.extend_from_slice(mount.source.as_bytes());
        text.push(b' ');
        text.extend_from_slice(&mount.place);
        text.extend_from_slice(format!(" {} {} 0 0\n", mount.kind, mount.options()).as_bytes());
    }
    text
}

/// `/proc/N/mountinfo`.
pub(super) fn mount_info(folders: &[Folder]) -> Vec<u8> {
    let mut text = Vec::new();
    for (number, mount) in (1_u32..).zip(all(folders)) {
        let parent = u32::from(number > 1);
        let Mount { source, kind, device, .. } = mount;
        text.extend_from_slice(format!("{number} {parent} 0:{device} / ").as_bytes());
        text.extend_from_slice(&mount.place);
        let rights = mount.rights();
        text.extend_from_slice(format!(" {} - {kind} {source} {rights}\n", mount.options()).as_bytes());
    }
    text
}

/// A path as the listings write it: what would end a field is octal (Linux, fs/proc_namespace.c).
fn escaped(path: &[u8]) -> Vec<u8> {
    let mut text = String::new();
    let mut all = Vec::new();
    for &byte in path {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\\' | b'#') {
            text.clear();
            // A string takes whatever is written.
            let _ = write!(text, "\\{byte:03o}");
            all.extend_from_slice(text.as_bytes());
        } else {
            all.push(byte);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_host_stand_behind_the_sandbox_own_trees() {
        let folders = [
            Folder { place: b"/a b\\".to_vec(), writable: false },
            Folder { place: b"/\xff".to_vec(), writable: true },
        ];
        let listed = mounts(&folders);
        let lines: Vec<&[u8]> = listed.split(|byte| *byte == b'\n').collect();
        let expected = [
            b"cordon / tmpfs rw,nosuid,nodev,relatime 0 0".as_slice(),
            b"host /a\\040b\\134 9p ro,nosuid,nodev,relatime 0 0",
            b"host /\xff 9p rw,nosuid,nodev,relatime 0 0",
        ];
        assert_eq!([lines[0], lines[4], lines[5]], expected);
        assert_eq!((lines.len(), lines[6]), (7, b"".as_slice()));
        let listed = mount_info(&folders);
        let lines: Vec<&[u8]> = listed.split(|byte| *byte == b'\n').collect();
        assert!(lines[4].starts_with(b"5 1 0:") && lines[4].ends_with(b" - 9p host ro"));
        assert_eq!(mounts(&[]).iter().filter(|byte| **byte == b'\n').count(), OWN.len());
    }
}
