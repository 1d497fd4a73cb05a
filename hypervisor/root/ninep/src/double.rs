//! A 9P server in memory, for tests: a small folder, and answers that can be spoiled or left out.
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

use crate::stat::GENERATION;
use crate::wire::{HEADER_LEN, Reader, Writer};
use crate::{Error, Lost, Transport};

const ENOENT: u32 = 2;
const EEXIST: u32 = 17;
const ENOTSUP: u32 = 95;
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const LINK: u32 = 0o120_777;
/// Bit of what `Tsetattr` changes: the size; and the most that this server makes of it.
const SIZE: u32 = 8;
const SIZE_MAX: usize = 1 << 20;

/// What goes wrong with an answer, given the message: `None` is no answer at all.
pub type Spoil = alloc::boxed::Box<dyn FnMut(Vec<u8>) -> Option<Vec<u8>>>;

#[derive(Clone, Debug)]
struct File {
    mode: u32,
    number: u64,
    generation: u64,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Inner {
    files: BTreeMap<String, File>,
    given: u64,
    fids: BTreeMap<u32, String>,
    spoil: Option<Spoil>,
}

/// The folder and its server. Clones are the same folder.
#[derive(Clone, Default)]
pub struct Folder(Rc<RefCell<Inner>>);

impl core::fmt::Debug for Folder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Folder")
    }
}

impl Inner {
    fn put(&mut self, path: &str, mode: u32, bytes: &[u8]) {
        self.given += 1;
        self.files.insert(path.into(), File { mode, number: self.given, generation: 1, bytes: bytes.into() });
    }
}

impl Folder {
    /// An empty folder.
    #[must_use]
    pub fn new() -> Self {
        let folder = Self::default();
        folder.0.borrow_mut().put("", DIRECTORY, b"");
        folder
    }

    /// Makes a file, or another in its place.
    pub fn file(&self, path: &str, bytes: &[u8]) {
        self.0.borrow_mut().put(path, FILE, bytes);
    }

    /// Makes a directory.
    pub fn directory(&self, path: &str) {
        self.0.borrow_mut().put(path, DIRECTORY, b"");
    }

    /// Makes a symbolic link.
    pub fn link(&self, path: &str, target: &str) {
        self.0.borrow_mut().put(path, LINK, target.as_bytes());
    }

    /// Gives a file one more name. The bytes are each name's own.
    pub fn hard_link(&self, path: &str, other: &str) {
        let mut inner = self.0.borrow_mut();
        if let Some(file) = inner.files.get(path).cloned() {
            inner.files.insert(other.into(), file);
        }
    }

    /// Takes a file or directory away and makes another, which gets its number, as file systems do.
    pub fn reuse(&self, path: &str, other: &str, bytes: &[u8]) {
        let mut inner = self.0.borrow_mut();
        if let Some(file) = inner.files.remove(path) {
            inner.files.insert(other.into(), File { generation: file.generation + 1, bytes: bytes.into(), ..file });
        }
    }

    /// Another folder that holds the same, for another client.
    #[must_use]
    pub fn again(&self) -> Self {
        let inner = self.0.borrow();
        Self(Rc::new(RefCell::new(Inner { files: inner.files.clone(), given: inner.given, ..Inner::default() })))
    }

    /// Takes a file or directory away, with all in it.
    pub fn remove(&self, path: &str) {
        let below = alloc::format!("{path}/");
        self.0.borrow_mut().files.retain(|known, _| known != path && !known.starts_with(&below));
    }

    /// The bytes of a file, if there is one.
    #[must_use]
    pub fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        self.0.borrow().files.get(path).map(|file| file.bytes.clone())
    }

    /// All paths in the folder.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.0.borrow().files.keys().filter(|path| !path.is_empty()).cloned().collect()
    }

    /// How many fids the client holds.
    #[must_use]
    pub fn fids(&self) -> usize {
        self.0.borrow().fids.len()
    }

    /// From now on answers go through `spoil`.
    pub fn spoil(&self, spoil: Spoil) {
        self.0.borrow_mut().spoil = Some(spoil);
    }

    /// From now on the server answers as it should.
    pub fn behave(&self) {
        self.0.borrow_mut().spoil = None;
    }
}

impl Transport for Folder {
    fn exchange(&mut self, request: &[u8], answer: &mut [u8]) -> Result<usize, Lost> {
        let mut inner = self.0.borrow_mut();
        let kind = request.get(4).copied().unwrap_or_default();
        let tag = request.get(5..HEADER_LEN).unwrap_or(&[0, 0]);
        let tag = tag.try_into().map_or(0, u16::from_le_bytes);
        let mut writer = Writer::default();
        writer.start(kind + 1, tag);
        let served = inner.serve(kind, Reader::new(request.get(HEADER_LEN..).unwrap_or(&[])), &mut writer);
        if let Err(errno) = served.unwrap_or(Err(ENOTSUP)) {
            writer.start(7, tag).u32(errno);
        }
        let mut message = writer.message().to_vec();
        if let Some(spoil) = &mut inner.spoil {
            message = spoil(message).ok_or(Lost)?;
        }
        answer.get_mut(..message.len()).ok_or(Lost)?.copy_from_slice(&message);
        Ok(message.len())
    }
}

type Served = Result<Result<(), u32>, Error>;

impl Inner {
    fn serve(&mut self, kind: u8, mut from: Reader<'_>, to: &mut Writer) -> Served {
        match kind {
            100 => {
                to.u32(from.u32()?).string(from.string()?);
                return Ok(Ok(()));
            }
            104 => {
                self.fids.insert(from.u32()?, String::new());
                return Ok(self.qid("", to));
            }
            _ => {}
        }
        let fid = from.u32()?;
        let Some(path) = self.fids.get(&fid).cloned() else { return Ok(Err(ENOENT)) };
        match kind {
            8 => {
                to.u32(1).u32(4096).u64(100).u64(50).u64(50).u64(1000).u64(900).u64(0).u32(255);
                Ok(Ok(()))
            }
            12 => Ok(self.opened(&path, to)),
            14 => {
                let path = join(&path, from.string()?);
                if self.files.contains_key(&path) {
                    return Ok(Err(EEXIST));
                }
                self.put(&path, FILE, b"");
                self.fids.insert(fid, path.clone());
                Ok(self.opened(&path, to))
            }
            16 | 18 => {
                let (path, target) = (join(&path, from.string()?), if kind == 16 { from.string()? } else { b"" });
                if self.files.contains_key(&path) {
                    return Ok(Err(EEXIST));
                }
                self.put(&path, if kind == 16 { LINK } else { FILE }, target);
                Ok(self.qid(&path, to))
            }
            22 => Ok(self.look(&path).map(|file| {
                to.string(&file.bytes);
            })),
            24 => Ok(self.stat(&path, to)),
            26 => {
                let (valid, _mode, _uid, _gid, size) =
                    (from.u32()?, from.u32()?, from.u32()?, from.u32()?, from.u64()?);
                let Some(file) = self.files.get_mut(&path) else { return Ok(Err(ENOENT)) };
                if valid & SIZE != 0 {
                    file.bytes.resize(usize::try_from(size).unwrap_or(0).min(SIZE_MAX), 0);
                }
                Ok(Ok(()))
            }
            40 => Ok(self.list(&path, from.u64()?, to)),
            50 => Ok(Ok(())),
            70 | 74 => self.link_or_rename(kind, &path, from),
            72 => {
                let path = join(&path, from.string()?);
                self.put(&path, DIRECTORY, b"");
                Ok(self.qid(&path, to))
            }
            76 => Ok(self.files.remove(&join(&path, from.string()?)).map(drop).ok_or(ENOENT)),
            110 => self.walk(&path, from, to),
            116 => {
                let (offset, len) = (from.u64()?, from.u32()?);
                Ok(self.look(&path).map(|file| {
                    let rest = file.bytes.iter().skip(usize::try_from(offset).unwrap_or(usize::MAX));
                    let bytes: Vec<u8> = rest.take(len as usize).copied().collect();
                    to.u32(u32::try_from(bytes.len()).unwrap_or(0)).bytes(&bytes);
                }))
            }
            118 => {
                let (offset, len) = (usize::try_from(from.u64()?).unwrap_or(0), from.u32()?);
                let bytes = from.take(len as usize)?;
                let Some(file) = self.files.get_mut(&path) else { return Ok(Err(ENOENT)) };
                file.bytes.resize(file.bytes.len().max(offset + bytes.len()), 0);
                file.bytes.splice(offset..offset + bytes.len(), bytes.iter().copied()).for_each(drop);
                to.u32(len);
                Ok(Ok(()))
            }
            120 => {
                self.fids.remove(&fid);
                Ok(Ok(()))
            }
            _ => Ok(Err(ENOTSUP)),
        }
    }

    /// `Tlink` and `Trenameat`, of which `directory` is what the first fid stands for.
    fn link_or_rename(&mut self, kind: u8, directory: &str, mut from: Reader<'_>) -> Served {
        let old = if kind == 74 { Some(join(directory, from.string()?)) } else { None };
        let Some(other) = self.fids.get(&from.u32()?).cloned() else { return Ok(Err(ENOENT)) };
        let (old, new) = match old {
            Some(old) => (old, join(&other, from.string()?)),
            None => (other, join(directory, from.string()?)),
        };
        let Some(file) = self.files.get(&old).cloned() else { return Ok(Err(ENOENT)) };
        if kind == 70 {
            self.files.insert(new, file);
            return Ok(Ok(()));
        }
        let now = |path: &str| {
            let rest = path.strip_prefix(&old).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
            Some(alloc::format!("{new}{rest}"))
        };
        let paths: Vec<String> = self.files.keys().filter(|path| now(path).is_some()).cloned().collect();
        for path in paths {
            if let (Some(file), Some(new)) = (self.files.remove(&path), now(&path)) {
                self.files.insert(new, file);
            }
        }
        for path in self.fids.values_mut() {
            if let Some(new) = now(path) {
                *path = new;
            }
        }
        Ok(Ok(()))
    }

    fn walk(&mut self, path: &str, mut from: Reader<'_>, to: &mut Writer) -> Served {
        let (new, steps) = (from.u32()?, from.u16()?);
        to.bytes(&steps.to_le_bytes());
        let path = if steps == 0 { path.into() } else { join(path, from.string()?) };
        let found = if steps == 0 { Ok(()) } else { self.qid(&path, to) };
        if found.is_ok() {
            self.fids.insert(new, path);
        }
        Ok(found)
    }

    fn look(&self, path: &str) -> Result<&File, u32> {
        self.files.get(path).ok_or(ENOENT)
    }

    fn qid(&self, path: &str, to: &mut Writer) -> Result<(), u32> {
        let file = self.look(path)?;
        let kind = match file.mode {
            DIRECTORY => 0x80,
            LINK => 0x02,
            _ => 0,
        };
        to.bytes(&[kind]).u32(0).u64(file.number);
        Ok(())
    }

    fn opened(&self, path: &str, to: &mut Writer) -> Result<(), u32> {
        self.qid(path, to)?;
        to.u32(0);
        Ok(())
    }

    fn stat(&self, path: &str, to: &mut Writer) -> Result<(), u32> {
        let file = self.look(path)?;
        to.u64(0x7ff | GENERATION);
        self.qid(path, to)?;
        let names = self.files.values().filter(|other| other.number == file.number).count();
        to.u32(file.mode).u32(0).u32(0).u64(names as u64).u64(0).u64(file.bytes.len() as u64).u64(4096).u64(8);
        // Eight numbers of its times.
        to.bytes(&[0; 64]).u64(file.generation).u64(0);
        Ok(())
    }

    fn list(&self, path: &str, offset: u64, to: &mut Writer) -> Result<(), u32> {
        let mut entries = Writer::default();
        let below = self.files.keys().filter(|known| !known.is_empty() && parent(known) == path);
        for (number, known) in (1_u64..).zip(below).filter(|(number, _)| *number > offset).take(3) {
            self.qid(known, &mut entries)?;
            let kind = u8::try_from(self.look(known)?.mode >> 12).unwrap_or(0);
            let name = known.rsplit('/').next().unwrap_or(known);
            entries.u64(number).bytes(&[kind]).string(name.as_bytes());
        }
        let bytes = entries.into_bytes();
        to.u32(u32::try_from(bytes.len()).unwrap_or(0)).bytes(&bytes);
        Ok(())
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn join(directory: &str, name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    if directory.is_empty() { name.into() } else { alloc::format!("{directory}/{name}") }
}
