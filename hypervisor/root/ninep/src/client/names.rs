//! Requests that find, make, move and remove names.
use super::{Client, Fid, NONE, Transport, kind};
use crate::stat::Qid;
use crate::wire::Reader;
use crate::{Error, open};

/// `AT_REMOVEDIR`.
const REMOVE_DIRECTORY: u32 = 0x200;

impl<T: Transport> Client<T> {
    /// The folder itself (`Tattach`).
    ///
    /// # Errors
    /// [`Error`].
    pub fn attach(&mut self) -> Result<(Fid, Qid), Error> {
        let fid = self.take_fid()?;
        self.start(kind::ATTACH).u32(fid).u32(NONE).string(b"").string(b"").u32(NONE);
        let found = self.ask(kind::ATTACH, |mut answer| {
            let qid = Qid::read(&mut answer)?;
            answer.end().map(|()| qid)
        });
        self.settle(fid, found)
    }

    /// The entry of a directory with this name (`Twalk` by one step).
    ///
    /// # Errors
    /// [`Error`].
    pub fn walk(&mut self, from: &Fid, name: &[u8]) -> Result<(Fid, Qid), Error> {
        let fid = self.take_fid()?;
        self.start(kind::WALK).u32(from.0).u32(fid).bytes(&1_u16.to_le_bytes()).string(name);
        let found = self.ask(kind::WALK, |mut answer| {
            if answer.u16()? != 1 {
                return Err(Error::Nonsense("it walked another number of steps than one"));
            }
            let qid = Qid::read(&mut answer)?;
            answer.end().map(|()| qid)
        });
        self.settle(fid, found)
    }

    /// One more number for the same file (`Twalk` by no step).
    ///
    /// # Errors
    /// [`Error`].
    pub fn duplicate(&mut self, from: &Fid) -> Result<Fid, Error> {
        let fid = self.take_fid()?;
        self.start(kind::WALK).u32(from.0).u32(fid).bytes(&0_u16.to_le_bytes());
        let found = self.ask(kind::WALK, |mut answer| match answer.u16()? {
            0 => answer.end(),
            _ => Err(Error::Nonsense("it walked where it was not asked to")),
        });
        self.settle(fid, found).map(|(fid, ())| fid)
    }

    /// Gives a number back (`Tclunk`). Whatever the server says, it is not used any more.
    pub fn clunk(&mut self, fid: Fid) {
        self.start(kind::CLUNK).u32(fid.0);
        // Where it is unsure whether the server has let go of it, the number is never used again.
        if self.ask(kind::CLUNK, Reader::end).is_ok() {
            self.free_fids.push(fid.0);
        }
    }

    /// Makes a file and opens it for reading and writing (`Tlcreate`); `directory` becomes the file's number.
    ///
    /// # Errors
    /// [`Error`]; the number is given back then.
    pub fn create(&mut self, directory: Fid, name: &[u8], mode: u32) -> Result<(Fid, Qid), Error> {
        let flags = open::READ_WRITE | open::CREATE_NEW | open::LARGE_FILE | open::NO_FOLLOW;
        self.start(kind::LCREATE).u32(directory.0).string(name).u32(flags).u32(mode).u32(NONE);
        match self.ask(kind::LCREATE, opened) {
            Ok(qid) => Ok((directory, qid)),
            Err(error) => {
                self.clunk(directory);
                Err(error)
            }
        }
    }

    /// Makes a directory (`Tmkdir`).
    ///
    /// # Errors
    /// [`Error`].
    pub fn make_directory(&mut self, directory: &Fid, name: &[u8], mode: u32) -> Result<(), Error> {
        self.start(kind::MKDIR).u32(directory.0).string(name).u32(mode).u32(NONE);
        self.ask(kind::MKDIR, only_qid)
    }

    /// Makes a fifo or socket (`Tmknod`); `mode` has its type.
    ///
    /// # Errors
    /// [`Error`].
    pub fn make_node(&mut self, directory: &Fid, name: &[u8], mode: u32) -> Result<(), Error> {
        self.start(kind::MKNOD).u32(directory.0).string(name).u32(mode).u32(0).u32(0).u32(NONE);
        self.ask(kind::MKNOD, only_qid)
    }

    /// Makes a symbolic link (`Tsymlink`).
    ///
    /// # Errors
    /// [`Error`].
    pub fn make_symlink(&mut self, directory: &Fid, name: &[u8], target: &[u8]) -> Result<(), Error> {
        self.start(kind::SYMLINK).u32(directory.0).string(name).string(target).u32(NONE);
        self.ask(kind::SYMLINK, only_qid)
    }

    /// Gives a file one more name (`Tlink`).
    ///
    /// # Errors
    /// [`Error`].
    pub fn link(&mut self, file: &Fid, directory: &Fid, name: &[u8]) -> Result<(), Error> {
        self.start(kind::LINK).u32(directory.0).u32(file.0).string(name);
        self.ask(kind::LINK, Reader::end)
    }

    /// Moves an entry (`Trenameat`), over what is there.
    ///
    /// # Errors
    /// [`Error`].
    pub fn rename(&mut self, from: (&Fid, &[u8]), to: (&Fid, &[u8])) -> Result<(), Error> {
        self.start(kind::RENAMEAT).u32(from.0.0).string(from.1).u32(to.0.0).string(to.1);
        self.ask(kind::RENAMEAT, Reader::end)
    }

    /// Takes a name away (`Tunlinkat`).
    ///
    /// # Errors
    /// [`Error`].
    pub fn remove(&mut self, directory: &Fid, name: &[u8], is_directory: bool) -> Result<(), Error> {
        let flags = if is_directory { REMOVE_DIRECTORY } else { 0 };
        self.start(kind::UNLINKAT).u32(directory.0).string(name).u32(flags);
        self.ask(kind::UNLINKAT, Reader::end)
    }
}

fn only_qid(mut answer: Reader<'_>) -> Result<(), Error> {
    Qid::read(&mut answer)?;
    answer.end()
}

/// A body of `Rlopen` or `Rlcreate`.
pub(super) fn opened(mut answer: Reader<'_>) -> Result<Qid, Error> {
    let qid = Qid::read(&mut answer)?;
    let _io_unit = answer.u32()?;
    answer.end().map(|()| qid)
}
