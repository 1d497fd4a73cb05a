//! What the shim tells of its threads and processes, for whoever records it. It is the shim's word, but for the path of what is executed:
//! that is by the file's number, as every request is.
use alloc::vec::Vec;

use files::Errno;
use proto::op::{Ended, Executed, MAX_TOLD_ARGUMENTS, ThreadStarted};

use crate::request::Arguments;

/// Something that the shim told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A thread has been made.
    Started(ThreadStarted),
    /// A process executes another program.
    Executed {
        /// The process, and how many arguments there are.
        executed: Executed,
        /// The resolved path.
        path: Vec<u8>,
        /// The first arguments, each up to one byte more than [`proto::op::MAX_TOLD`].
        arguments: Vec<Vec<u8>>,
    },
    /// A thread or a process has ended.
    Ended(Ended),
}

pub(crate) fn started(arguments: Arguments<'_>) -> Result<Told, Errno> {
    arguments.only().map(Told::Started)
}

pub(crate) fn executed(mut arguments: Arguments<'_>, path: Vec<u8>) -> Result<Told, Errno> {
    let executed: Executed = arguments.take()?;
    let strings = arguments.rest();
    let mut found = Vec::new();
    if let Some(strings) = strings.strip_suffix(&[0]) {
        found = strings.split(|byte| *byte == 0).take(MAX_TOLD_ARGUMENTS + 1).map(Vec::from).collect();
    } else if !strings.is_empty() {
        return Err(Errno::EINVAL);
    }
    if found.len() > MAX_TOLD_ARGUMENTS {
        Err(Errno::EINVAL)
    } else {
        Ok(Told::Executed { executed, path, arguments: found })
    }
}

pub(crate) fn ended(arguments: Arguments<'_>) -> Result<Told, Errno> {
    arguments.only().map(Told::Ended)
}
