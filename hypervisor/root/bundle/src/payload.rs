//! Reading a payload. It comes from the boot loader's file, so it is checked like any other file: every
//! number in it may be wrong.
use alloc::vec::Vec;
use core::fmt;

use serde::de::DeserializeOwned;
use zerocopy::FromBytes;

use crate::{
    ALIGN, MAX_BINDS, MAX_SANDBOXES, MAX_SECTIONS, PAYLOAD_MAGIC, PayloadHeader, PolicyFile, RunConfig, Section,
    TreeIndex, section_kind,
};

/// Why a payload cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// It does not start with [`PAYLOAD_MAGIC`].
    NotAPayload,
    /// More than [`MAX_SECTIONS`], or the table goes beyond the end.
    BadTable,
    /// This section (by position) is unaligned or goes beyond the end.
    BadSection(u32),
    /// There is no section of this kind.
    Missing(&'static str),
    /// There are two sections of this kind.
    Twice(&'static str),
    /// The section cannot be decoded.
    Undecodable(&'static str),
    /// The policy has no file.
    NoPolicy,
    /// No program, or more than [`MAX_SANDBOXES`].
    Programs(usize),
    /// More folders than [`MAX_BINDS`].
    Binds(usize),
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPayload => f.write_str("the boot module is not a Cordon payload"),
            Self::BadTable => f.write_str("the payload's section table is damaged"),
            Self::BadSection(index) => write!(f, "section {index} of the payload is damaged"),
            Self::Missing(name) => write!(f, "the payload has no {name} section"),
            Self::Twice(name) => write!(f, "the payload has two {name} sections"),
            Self::Undecodable(name) => write!(f, "the payload's {name} section cannot be decoded"),
            Self::NoPolicy => f.write_str("the payload's policy has no file"),
            Self::Binds(count) => write!(f, "the payload binds {count} folders; at most {MAX_BINDS} can be"),
            Self::Programs(count) => {
                write!(f, "the payload names {count} programs; there must be 1 to {MAX_SANDBOXES}")
            }
        }
    }
}

impl core::error::Error for PayloadError {}

/// What a payload holds. Bytes are left where they are, so that whole pages can be mapped from there.
#[derive(Clone, Debug)]
pub struct Payload<'p> {
    /// The flat shim image, page aligned relative to the payload.
    pub shim: &'p [u8],
    /// The policy's files: at least one.
    pub policy: Vec<PolicyFile>,
    /// What to run.
    pub run: RunConfig,
    /// The read-only tree.
    pub tree: TreeIndex,
    /// The bytes of its files, page aligned relative to the payload.
    pub tree_data: &'p [u8],
}

impl<'p> Payload<'p> {
    /// Takes a payload apart.
    ///
    /// # Errors
    /// [`PayloadError`]: the first thing that is wrong with it.
    pub fn parse(bytes: &'p [u8]) -> Result<Self, PayloadError> {
        let sections = Sections::read(bytes)?;
        let policy: Vec<PolicyFile> = decode(sections.get(section_kind::POLICY, "policy")?, "policy")?;
        if policy.is_empty() {
            return Err(PayloadError::NoPolicy);
        }
        let run: RunConfig = decode(sections.get(section_kind::RUN, "run")?, "run")?;
        if !(1..=MAX_SANDBOXES).contains(&run.programs.len()) {
            return Err(PayloadError::Programs(run.programs.len()));
        }
        if run.binds.len() > MAX_BINDS {
            return Err(PayloadError::Binds(run.binds.len()));
        }
        Ok(Self {
            shim: sections.get(section_kind::SHIM, "shim")?,
            policy,
            run,
            tree: decode(sections.get(section_kind::TREE_INDEX, "tree index")?, "tree index")?,
            tree_data: sections.get(section_kind::TREE_DATA, "tree data")?,
        })
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8], name: &'static str) -> Result<T, PayloadError> {
    postcard::from_bytes(bytes).map_err(|_| PayloadError::Undecodable(name))
}

/// The section table, checked: each section lies in the payload.
struct Sections<'p> {
    payload: &'p [u8],
    table: &'p [u8],
}

impl<'p> Sections<'p> {
    fn read(payload: &'p [u8]) -> Result<Self, PayloadError> {
        let (header, rest) = PayloadHeader::read_from_prefix(payload).map_err(|_| PayloadError::NotAPayload)?;
        if header.magic != PAYLOAD_MAGIC {
            return Err(PayloadError::NotAPayload);
        }
        if header.section_count > MAX_SECTIONS {
            return Err(PayloadError::BadTable);
        }
        let count = usize::try_from(header.section_count).map_err(|_| PayloadError::BadTable)?;
        let table = rest.get(..count * size_of::<Section>()).ok_or(PayloadError::BadTable)?;
        let sections = Self { payload, table };
        for (index, section) in (0..).zip(sections.iter()) {
            sections.bytes(&section).ok_or(PayloadError::BadSection(index))?;
        }
        Ok(sections)
    }

    fn iter(&self) -> impl Iterator<Item = Section> + use<'p> {
        self.table.chunks_exact(size_of::<Section>()).filter_map(|bytes| Section::read_from_bytes(bytes).ok())
    }

    fn bytes(&self, section: &Section) -> Option<&'p [u8]> {
        if !section.offset.is_multiple_of(ALIGN) {
            return None;
        }
        let start = usize::try_from(section.offset).ok()?;
        let end = start.checked_add(usize::try_from(section.len).ok()?)?;
        self.payload.get(start..end)
    }

    fn get(&self, kind: u32, name: &'static str) -> Result<&'p [u8], PayloadError> {
        let mut found = self.iter().filter(|section| section.kind == kind);
        let section = found.next().ok_or(PayloadError::Missing(name))?;
        if found.next().is_some() {
            return Err(PayloadError::Twice(name));
        }
        self.bytes(&section).ok_or(PayloadError::Missing(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Program;
    use alloc::vec;
    use zerocopy::IntoBytes;

    fn write(sections: &[(u32, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let header =
            PayloadHeader { magic: PAYLOAD_MAGIC, section_count: u32::try_from(sections.len()).unwrap(), reserved: 0 };
        bytes[..16].copy_from_slice(header.as_bytes());
        for (index, (kind, data)) in sections.iter().enumerate() {
            let offset = u64::try_from(bytes.len()).unwrap();
            let section = Section { kind: *kind, reserved: 0, offset, len: u64::try_from(data.len()).unwrap() };
            let at = 16 + index * size_of::<Section>();
            bytes[at..at + size_of::<Section>()].copy_from_slice(section.as_bytes());
            bytes.extend_from_slice(data);
            bytes.resize(bytes.len().next_multiple_of(4096), 0);
        }
        bytes
    }

    fn whole() -> Vec<u8> {
        running(1)
    }

    /// A payload that names so many programs.
    fn running(programs: usize) -> Vec<u8> {
        let program = Program { path: b"/bin/true".to_vec(), ..Program::default() };
        let run = RunConfig { programs: vec![program; programs], memory: 7, ..RunConfig::default() };
        let run = postcard::to_allocvec(&run).unwrap();
        let tree = postcard::to_allocvec(&TreeIndex::default()).unwrap();
        let policy = [PolicyFile { name: "p".into(), text: "version = 1".into(), ..PolicyFile::default() }];
        write(&[
            (section_kind::SHIM, b"shim"),
            (section_kind::POLICY, &postcard::to_allocvec(policy.as_slice()).unwrap()),
            (section_kind::RUN, &run),
            (section_kind::TREE_INDEX, &tree),
            (section_kind::TREE_DATA, b""),
        ])
    }

    #[test]
    fn takes_a_payload_apart() {
        let bytes = whole();
        let payload = Payload::parse(&bytes).unwrap();
        assert_eq!(payload.shim, b"shim");
        assert_eq!((payload.policy.len(), payload.policy[0].text.as_str()), (1, "version = 1"));
        assert_eq!(payload.run.programs[0].path, b"/bin/true");
        assert!(payload.tree_data.is_empty());
    }

    #[test]
    fn says_what_is_wrong() {
        let parse = |bytes: &[u8]| Payload::parse(bytes).err().unwrap();
        assert_eq!(parse(b""), PayloadError::NotAPayload);
        assert_eq!(parse(&[0; 64]), PayloadError::NotAPayload);
        assert_eq!(parse(&write(&[])), PayloadError::Missing("policy"));
        let twice = write(&[(section_kind::POLICY, b"a"), (section_kind::POLICY, b"b")]);
        assert_eq!(parse(&twice), PayloadError::Twice("policy"));
        let not_text = write(&[(section_kind::POLICY, b"\xff"), (section_kind::SHIM, b"")]);
        assert_eq!(parse(&not_text), PayloadError::Undecodable("policy"));
        let no_policy = write(&[(section_kind::POLICY, b"\0"), (section_kind::SHIM, b"")]);
        assert_eq!(parse(&no_policy), PayloadError::NoPolicy);
        for programs in [0, MAX_SANDBOXES + 1] {
            assert_eq!(parse(&running(programs)), PayloadError::Programs(programs));
        }
    }

    #[test]
    fn damaged_tables_are_refused() {
        let mut bytes = whole();
        bytes[8..12].copy_from_slice(&65_u32.to_le_bytes());
        assert_eq!(Payload::parse(&bytes).err(), Some(PayloadError::BadTable));
        for (offset, len) in [(1, 1), (!4095, 4096), (4096, u64::MAX), (1 << 40, 0)] {
            let mut bytes = whole();
            bytes[24..32].copy_from_slice(&u64::to_le_bytes(offset));
            bytes[32..40].copy_from_slice(&u64::to_le_bytes(len));
            assert_eq!(Payload::parse(&bytes).err(), Some(PayloadError::BadSection(0)));
        }
    }

    #[test]
    fn every_truncation_is_an_error_and_no_panic() {
        let bytes = whole();
        for len in 0..bytes.len() {
            let _ = Payload::parse(&bytes[..len]);
        }
        for at in 0..200 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0xff;
            let _ = Payload::parse(&bytes);
        }
    }
}
