//! The place where rules on objects are asked: every file request passes [`Authority::allow`] with the objects
//! that it resolved to, before anything is done.
//!
//! The program's call was judged before the shim saw it. This second check holds against a shim that has been taken over: it
//! does not rely on what the shim says it is doing, only on what the request would do.
use files::{Errno, Ino, Stack};

use crate::names::Names;

/// What a request is about to do with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Learn that a name exists, and its attributes.
    Look,
    /// Read a file's bytes, a link's target or a directory's names.
    Read,
    /// Change a file's bytes or length.
    Write,
    /// Open a file in order to execute it.
    Execute,
    /// Change attributes.
    SetAttributes,
    /// Make a name; for an inode: make a file without a name in this directory.
    Create,
    /// Take a name away.
    Remove,
}

/// The object, by what the request names.
#[derive(Clone, Copy, Debug)]
pub enum Object<'a> {
    /// A name in a directory; [`Stack::directory_path`] gives the directory's path.
    Entry {
        /// The directory.
        dir: Ino,
        /// The name in it. Not checked yet: it may be one that cannot exist.
        name: &'a [u8],
    },
    /// An inode that was looked up before.
    Inode(Ino),
}

/// A name in a directory, of which something is known by now.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    /// The directory.
    pub dir: Ino,
    /// The name in it.
    pub name: &'a [u8],
}

/// What is there to look at: the files, and the names by which the shim knows them.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'s, 't> {
    /// The files.
    pub stack: &'s Stack<'t>,
    /// Their names, if [`Authority::wants_names`].
    pub names: &'s Names,
}

/// Decides on resolved objects.
pub trait Authority {
    /// Whether it looks at the names of files.
    fn wants_names(&self) -> bool {
        false
    }

    /// Whether the request may do this.
    ///
    /// # Errors
    /// The error that the shim gets instead.
    fn allow(&mut self, seen: Seen<'_, '_>, right: Right, object: Object<'_>) -> Result<(), Errno>;

    /// Whether a directory's reader may learn of this name.
    fn shows(&self, _seen: Seen<'_, '_>, _name: Name<'_>) -> bool {
        true
    }

    /// Whether what is called `from` may be called `to` instead, if it may be made and removed there.
    ///
    /// # Errors
    /// The error that the shim gets instead.
    fn allow_move(&mut self, _seen: Seen<'_, '_>, _ino: Ino, _from: Name<'_>, _to: Name<'_>) -> Result<(), Errno> {
        Ok(())
    }

    /// Whether a file may be called `to`, too, if it may be made there.
    ///
    /// # Errors
    /// The error that the shim gets instead.
    fn allow_link(&mut self, _seen: Seen<'_, '_>, _ino: Ino, _to: Name<'_>) -> Result<(), Errno> {
        Ok(())
    }

    /// The request, about which all was asked by now, has come to this.
    fn concluded(&mut self, _result: Result<(), Errno>) {}
}

/// Allows everything: what is in the stack is all there is to protect.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Authority for AllowAll {
    fn allow(&mut self, _seen: Seen<'_, '_>, _right: Right, _object: Object<'_>) -> Result<(), Errno> {
        Ok(())
    }
}
