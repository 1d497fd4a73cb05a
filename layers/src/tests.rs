//! Archives made here, well and badly, and what becomes of them.
mod archives;
mod compressed;
mod exports;
mod fuzz;
mod images;
mod written;

use std::io::Cursor;
use tar::{Builder, EntryType, Header};

/// An archive in the making.
struct Made(Builder<Vec<u8>>);

impl Made {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// Adds an entry. The name is written as it is, whatever it is.
    fn entry(mut self, kind: EntryType, name: &[u8], link: &[u8], bytes: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_500_000_000);
        header.set_size(bytes.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_cksum();
        self.0.append(&header, bytes).unwrap();
        self
    }

    fn file(self, name: &str, bytes: &[u8]) -> Self {
        self.entry(EntryType::Regular, name.as_bytes(), b"", bytes)
    }

    fn directory(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name.as_bytes(), b"", b"")
    }

    /// Adds an extended header for the next entry.
    fn pax(self, records: &[(&str, &str)]) -> Self {
        let mut bytes = Vec::new();
        for (key, value) in records {
            // The length counts itself.
            let rest = key.len() + value.len() + 3;
            let len = (1..).map(|digits| rest + digits).find(|len| len.to_string().len() == len - rest).unwrap();
            bytes.extend_from_slice(format!("{len} {key}={value}\n").as_bytes());
        }
        self.entry(EntryType::XHeader, b"PaxHeaders/x", b"", &bytes)
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    fn read(self) -> crate::Result<crate::Layer> {
        crate::archive::read(Cursor::new(self.bytes()))
    }
}

/// The entry and the reason of a refusal.
fn refusal<T: std::fmt::Debug>(result: crate::Result<T>) -> (String, &'static str) {
    match result {
        Err(crate::Error::Refused(crate::Refused { entry, reason })) => (entry, reason),
        other => panic!("not refused: {other:?}"),
    }
}
