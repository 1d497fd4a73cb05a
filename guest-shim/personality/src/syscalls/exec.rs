//! execve and execveat.

use alloc::vec::Vec;

use linux_raw_sys::general as raw;

use super::Args;
use crate::errno::{Errno, Outcome};
use crate::kernel::Kernel;
use crate::num::index;
use crate::platform::{PAGE, Platform};

/// Bytes of all arguments and environment strings together (a quarter of the largest stack that counts).
const MAX_STRINGS: usize = 6 << 20;
/// Longest single string, with its NUL.
const MAX_STRING: u64 = 32 * PAGE;

/// The calls that execute a program, and where their lists of strings are.
const EXECVE: u64 = 59;
const EXECVEAT: u64 = 322;
const EXECVE_LISTS: (usize, usize) = (1, 2);
const EXECVEAT_LISTS: (usize, usize) = (2, 3);

/// What a program is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strings {
    arguments: Vec<Vec<u8>>,
    environment: Vec<Vec<u8>>,
}

/// Keeps the strings of a call that executes a program, for another thread may change them until it is carried out. To be called before any has run since the
/// call was made.
pub(crate) fn keep<P: Platform>(kernel: &mut Kernel<P>, number: u64, args: &Args) {
    let lists = match number {
        EXECVE => EXECVE_LISTS,
        EXECVEAT => EXECVEAT_LISTS,
        _ => return,
    };
    if kernel.task.strings.is_none() {
        kernel.task.strings = Some(read(kernel, args, lists));
    }
}

pub(super) fn execve<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let path = kernel.path(args.get(0))?;
    if path.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    execute(kernel, &path, args, EXECVE_LISTS)
}

/// Where descriptors have names.
const BY_DESCRIPTOR: &[u8] = b"/proc/self/fd/";

/// The program by directory and name; by descriptor alone with AT_EMPTY_PATH. It is found by the path that leads there.
pub(super) fn execveat<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let (fd, flags) = (args.int(0), args.uint(4));
    if flags & !(raw::AT_EMPTY_PATH | raw::AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut path = kernel.path(args.get(1))?;
    if path.is_empty() && flags & raw::AT_EMPTY_PATH == 0 {
        return Err(Errno::ENOENT.into());
    }
    if path.is_empty() {
        kernel.file(fd)?;
        path = [BY_DESCRIPTOR, alloc::format!("{fd}").as_bytes()].concat();
    } else if path.first() != Some(&b'/') && fd != raw::AT_FDCWD {
        let directory = kernel.file(fd)?.place.clone().ok_or(Errno::ENOTDIR)?;
        let mut whole = directory.path();
        whole.push(b'/');
        whole.extend_from_slice(&path);
        path = whole;
    }
    if flags & raw::AT_SYMLINK_NOFOLLOW != 0 && !path.starts_with(BY_DESCRIPTOR) {
        let place = kernel.target_of(&path, false)?.existing()?;
        if kernel.is_link(&place)? {
            return Err(Errno::ELOOP.into());
        }
    }
    execute(kernel, &path, args, EXECVEAT_LISTS)
}

fn execute<P: Platform>(kernel: &mut Kernel<P>, path: &[u8], args: &Args, lists: (usize, usize)) -> Outcome {
    let kept = kernel.task.strings.take();
    let Strings { mut arguments, environment } = kept.unwrap_or_else(|| read(kernel, args, lists))?;
    if arguments.is_empty() {
        arguments.push(Vec::new());
    }
    let regs = kernel.exec(path, &arguments, &environment).map_err(|error| error.errno)?;
    kernel.new_regs = Some(regs);
    Ok(0)
}

fn read<P: Platform>(
    kernel: &mut Kernel<P>,
    args: &Args,
    (arguments, environment): (usize, usize),
) -> Result<Strings, Errno> {
    // The strings are held twice while the new stack is made.
    let mut room = MAX_STRINGS.min(kernel.platform.spare_heap().left / 4);
    let arguments = strings(kernel, args.get(arguments), &mut room)?;
    let environment = strings(kernel, args.get(environment), &mut room)?;
    Ok(Strings { arguments, environment })
}

/// The strings of a list of pointers that ends with a null pointer. A null list is an empty one.
fn strings<P: Platform>(kernel: &mut Kernel<P>, list: u64, room: &mut usize) -> Result<Vec<Vec<u8>>, Errno> {
    let mut found = Vec::new();
    if list == 0 {
        return Ok(found);
    }
    for at in (0..).step_by(8) {
        let string: u64 = kernel.get(list.wrapping_add(at))?;
        if string == 0 {
            break;
        }
        let string = kernel.string(string, index(MAX_STRING), Errno::E2BIG)?;
        *room = room.checked_sub(string.len() + 1 + size_of::<u64>()).ok_or(Errno::E2BIG)?;
        found.push(string);
    }
    Ok(found)
}
