//! Waiting, and the ways in which a sandbox ends.
use alloc::string::String;
use alloc::vec::Vec;

use files::Errno;
use proto::op::{Exit, Listen, NotStarted, Question, Wait, wait_events};

use crate::Served;
use crate::request::Arguments;

/// Longest text of a shim that is passed on, in bytes.
const MAX_TEXT: usize = 1024;
/// Highest signal number of Linux.
const MAX_SIGNAL: u32 = 64;

pub(crate) fn wait(arguments: Arguments<'_>) -> Result<Wait, Errno> {
    let wait: Wait = arguments.only()?;
    if wait.events & !(wait_events::CONSOLE_INPUT | wait_events::WINDOW | wait_events::ANSWER) != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(wait)
}

pub(crate) fn listen(arguments: Arguments<'_>) -> Result<Listen, Errno> {
    let listen: Listen = arguments.only()?;
    let fits = usize::try_from(listen.len).is_ok_and(|len| len <= listen.address.len());
    if fits { Ok(listen) } else { Err(Errno::EINVAL) }
}

/// A question, and the path of the program whose call it is about.
pub(crate) fn question(mut arguments: Arguments<'_>) -> Result<(Question, Vec<u8>), Errno> {
    let question = arguments.take()?;
    Ok((question, arguments.rest().into()))
}

pub(crate) fn exit(arguments: Arguments<'_>) -> Result<Exit, Errno> {
    let exit: Exit = arguments.only()?;
    if exit.status > 255 || exit.signal > MAX_SIGNAL {
        return Err(Errno::EINVAL);
    }
    Ok(exit)
}

pub(crate) fn not_started(mut arguments: Arguments<'_>) -> Result<Served, Errno> {
    let NotStarted { code, errno } = arguments.take()?;
    let code = u8::try_from(code).ok().filter(|code| matches!(code, 2 | 126 | 127)).ok_or(Errno::EINVAL)?;
    Ok(Served::NotStarted { code, errno, reason: text(arguments.rest()) })
}

pub(crate) fn shim_panic(arguments: Arguments<'_>) -> Served {
    Served::ShimPanic { text: text(arguments.rest()) }
}

/// What a shim says, fit for a log: bounded, and without anything that a terminal would act on.
fn text(bytes: &[u8]) -> String {
    let bytes = bytes.get(..MAX_TEXT).unwrap_or(bytes);
    let clean = |c: char| {
        if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }
    };
    String::from_utf8_lossy(bytes).trim_end_matches(['\0', '\n']).chars().map(clean).collect()
}
