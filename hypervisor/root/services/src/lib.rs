//! What the root does for a guest-shim: files, console, random bytes, waiting, ending.
//!
//! [`Services::serve`] takes one [`proto::ServiceRequest`] out of the child's memory, carries it out and puts the reply
//! back. The shim may be hostile. Every byte of a request is copied once and then checked; what is refused gets an error
//! reply or, where not even the frame is right, [`Served::Malformed`]. Nothing a request says makes this crate panic,
//! loop or hold memory beyond the limits of [`files::Limits`] and [`Limits`].
//!
//! # The protocol, exactly
//!
//! A request's message is a `fuse_in_header` (`len` = the message's length), the opcode's arguments, names, each ended by a NUL, and at
//! most one extension (`total_extlen`): FUSE_EXT_GROUPS, with any request. Structures are Linux' `uapi/linux/fuse.h`, protocol 7.40.
//! `uid` and `gid` of the header and the extension's groups, at most [`proto::MAX_GROUPS`], are those that mode bits are checked against. The reply is a `fuse_out_header` (`len` of the reply, `error` 0 or
//! −errno, the request's `unique`) and, if `error` is 0, the body below. **Every** opcode has a reply, FORGET too.
//!
//! *Segments* carry bulk data. Those of a request are filled or read in order, as one run of bytes. A request whose
//! `size` is larger than its segments gets EINVAL. Where a segment is not the child's memory, the transfer ends: with the
//! bytes that went before, or EFAULT. Requests that use no segments ignore them.
//!
//! | opcode | arguments | reply | segments and remarks |
//! |---|---|---|---|
//! | INIT | `fuse_init_in` | `fuse_init_out` | optional; tells limits and flags |
//! | LOOKUP | name | `fuse_entry_out` | `.` and `..` allowed; counts one lookup of the node. A missing name is ENOENT, not node 0 |
//! | FORGET | `fuse_forget_in` | nothing | |
//! | BATCH_FORGET | `fuse_batch_forget_in`, `fuse_forget_one` × count | nothing | |
//! | GETATTR | `fuse_getattr_in` | `fuse_attr_out` | with FUSE_GETATTR_FH of the handle's file |
//! | SETATTR | `fuse_setattr_in` | `fuse_attr_out` | FATTR_FH with a handle open for writing: no further check to cut. FATTR_CTIME is ignored; FATTR_KILL_SUIDGID stands for a change of owner that keeps the owner |
//! | READLINK | none | the target, no NUL | |
//! | SYMLINK | name, target | `fuse_entry_out` | counts one lookup |
//! | MKNOD | `fuse_mknod_in`, name | `fuse_entry_out` | regular files, fifos, sockets; devices are EPERM. `mode` has the umask applied already (`umask` is ignored, here and below). Counts one lookup |
//! | MKDIR | `fuse_mkdir_in`, name | `fuse_entry_out` | counts one lookup |
//! | UNLINK, RMDIR | name | nothing | |
//! | RENAME | `fuse_rename_in`, old name, new name | nothing | |
//! | RENAME2 | `fuse_rename2_in`, old name, new name | nothing | RENAME_NOREPLACE or RENAME_EXCHANGE; others (RENAME_WHITEOUT) are EINVAL |
//! | LINK | `fuse_link_in`, name | `fuse_entry_out` | the header's node is the directory; counts one lookup |
//! | OPEN | `fuse_open_in` | `fuse_open_out` | `flags`: access mode, O_TRUNC, O_DIRECTORY; bit 0x20 (`__FMODE_EXEC`): opened to be executed, which asks for X instead of R. Others, O_CREAT too, are ignored. A directory is EISDIR |
//! | CREATE | `fuse_create_in`, name | `fuse_entry_out`, `fuse_open_out` | opens what exists unless O_EXCL; counts one lookup |
//! | READ | `fuse_read_in` | `fuse_write_out`: bytes read | to segments; 0 at the end |
//! | WRITE | `fuse_write_in` | `fuse_write_out`: bytes written | from segments; no data behind the arguments. O_APPEND in `flags`: at the end, `offset` is ignored |
//! | LSEEK | `fuse_lseek_in` | `fuse_lseek_out` | SEEK_DATA, SEEK_HOLE; the others need no server |
//! | FALLOCATE | `fuse_fallocate_in` | nothing | mode 0, KEEP_SIZE, PUNCH_HOLE with KEEP_SIZE, ZERO_RANGE |
//! | SETUPMAPPING | `fuse_setupmapping_in` | nothing | shows whole pages of a file that is as the lower layer has it, read-only: `flags` FUSE_SETUPMAPPING_FLAG_READ alone, else EACCES; `moffset` a free slot of the window, `len` a slot at most, `foffset` and `len` whole pages within the file. EOPNOTSUPP for other files, EEXIST for a slot in use, EINVAL |
//! | REMOVEMAPPING | `fuse_removemapping_in`, `fuse_removemapping_one` × count | nothing | each a slot that is in use, with the `len` that it was set up with, else EINVAL: those before it are gone |
//! | FLUSH, FSYNC, FSYNCDIR | `fuse_flush_in`, `fuse_fsync_in` | nothing | there is nothing to write back, but for FSYNC of a file that is the host's |
//! | RELEASE, RELEASEDIR | `fuse_release_in` | nothing | |
//! | OPENDIR | `fuse_open_in` | `fuse_open_out` | |
//! | READDIR | `fuse_read_in` | `fuse_dirent`s, each padded to 8 bytes | in the reply body: at most `size` bytes, at most [`MAX_BODY`]; nothing at the end; EINVAL if not even one entry fits. `offset`: 0 or the `off` of the last entry |
//! | READDIRPLUS | `fuse_read_in` | `fuse_direntplus`, likewise | counts one lookup of each entry but `.` and `..` (which have node 0) |
//! | ACCESS | `fuse_access_in` | nothing | |
//! | STATFS | none | `fuse_statfs_out` | of a node in a folder that is the host's: the host's file system; else the writable layer |
//! | TMPFILE | `fuse_create_in`, anything | `fuse_entry_out`, `fuse_open_out` | a regular file without a name in the header's directory; LINK gives it one, unless O_EXCL. EINVAL if not opened for writing. Counts one lookup |
//! | SETXATTR | `fuse_setxattr_in` (16 bytes), name, value | nothing | the value stands behind the name, or in the segments if there are any. `user.*` only: EPERM for `trusted.*`, else EOPNOTSUPP |
//! | GETXATTR | `fuse_getxattr_in`, name | the value; `fuse_getxattr_out` if `size` is 0 or there are segments | to segments if there are any. ERANGE if `size` is too small |
//! | LISTXATTR | `fuse_getxattr_in` | the names, each with its NUL, likewise | likewise |
//! | REMOVEXATTR | name | nothing | |
//! | others | | ENOSYS | |
//!
//! Nodes: the root is 1, others must have been looked up and not forgotten, else ESTALE. `generation` is always 0: no number
//! is used twice. Validity times are `u64::MAX` seconds, since nobody but the shim itself changes the files: it may keep what
//! it was told until its own requests change it. They are 0 for what is in a bound folder, which the host may change; there names that are
//! not there may come, too. `nodeid` of handle requests is ignored; the handle counts.
//!
//! With any request handles are closed, before it is carried out: those of [`proto::ServiceRequest::closed`], each as RELEASE would. What of
//! them is not open is passed over.
//!
//! Cordon's own opcodes and their structures are in [`proto::op`]:
//!
//! | opcode | arguments | reply | segments and remarks |
//! |---|---|---|---|
//! | CONSOLE_WRITE | `ConsoleIo` (stream 1 or 2) | `Count` | from segments, all of them |
//! | CONSOLE_READ | `ConsoleIo` (stream 0) | `Count` | to segments, as much as is there; EAGAIN if nothing, 0 at the end |
//! | WINDOW_SIZE | none | `WindowSize` | ENOTTY without a terminal |
//! | RANDOM | none | `Count` | fills all segments |
//! | WAIT | `Wait` | `Woken` | the reply is written by [`Services::finish_wait`]; unknown event bits are EINVAL |
//! | LISTEN | `Listen` | nothing | the reply is written by [`Services::finish_listen`]; a length beyond the address is EINVAL |
//! | QUESTION | `Question`, path | `Settled` | the reply is written by [`Services::finish_question`] |
//! | WITHDRAW | `Question` | nothing | replied at once |
//! | STARTED | none | nothing | |
//! | NOT_STARTED | `NotStarted`, text | nothing | `code` 2, 126 or 127, else EINVAL |
//! | EXIT | `Exit` | nothing | `status` at most 255, `signal` at most 64, else EINVAL |
//! | THREAD_STARTED | `ThreadStarted` | nothing | for the trace, as the two that follow |
//! | EXECUTED | `Executed`, arguments | nothing | at most `MAX_TOLD_ARGUMENTS`, else EINVAL; the header's node is the program's file |
//! | ENDED | `Ended` | nothing | |
//! | SHIM_PANIC | text | nothing | |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod authorise;
mod changes;
mod console;
mod entropy;
mod fuse;
mod grants;
mod names;
mod process;
mod request;
mod rules;
mod segments;
mod tasks;
#[cfg(test)]
mod tests;
mod window;
mod written;

use alloc::string::String;
use alloc::vec::Vec;

use files::{Errno, Stack, Timestamp};
use fuse_abi::linux::fuse_in_header;
use guestmem::GuestMemory;
use proto::op;
use tlfs::addr::Gpa;

pub use authorise::{AllowAll, Authority, Name, Object, Right, Seen};
pub use changes::{Change, Changed};
pub use console::{Console, ConsoleRead, Stream};
pub use entropy::Entropy;
pub use grants::Grant;
pub use names::Names;
pub use request::MAX_BODY;
pub use rules::{FileRules, Refusal, Used};
pub use tasks::Told;
pub use window::Window;

use fuse::FileService;
use request::Exchange;

/// Bounds of what a shim may hold, beside those of [`files::Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files and directories open at a time.
    pub handles: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { handles: 1 << 16 }
    }
}

/// What came of a request. In the cases other than `Replied`, `Wait` and `Started` the VP is not run again.
#[derive(Clone, Debug)]
pub enum Served {
    /// The reply is in place, be it an error: the shim goes on.
    Replied,
    /// The shim waits: run it again when this is due, after [`Services::finish_wait`].
    Wait(op::Wait),
    /// A socket is to listen: say by [`Services::finish_listen`] whether it may, and run the shim again.
    Listens(op::Listen),
    /// A call waits for an answer: say by [`Services::finish_question`] what has become of that, and run the shim again.
    Asks(op::Question, Vec<u8>),
    /// Nobody waits for this answer any more; replied.
    Withdraws(op::Question),
    /// The program has ended.
    Exited(op::Exit),
    /// The program's first instruction comes next; replied.
    Started,
    /// The program could not be started.
    NotStarted {
        /// What the run exits with: 126 or 127 as a shell, or 2.
        code: u8,
        /// The errno that execve would have given.
        errno: u32,
        /// The shim's words, cleaned of control characters.
        reason: String,
    },
    /// The shim gave up by itself.
    ShimPanic {
        /// Its words, cleaned of control characters.
        text: String,
    },
    /// The request broke the frame that an honest shim always keeps; `reply_len` is 0, if it could be written.
    Malformed {
        /// What was wrong.
        reason: String,
    },
}

/// What the caller lends for one request.
struct Lent<'a, M> {
    memory: &'a mut M,
    console: &'a mut dyn Console,
    entropy: &'a mut dyn Entropy,
}

/// How a request that was understood ended.
enum Outcome {
    /// With so many bytes of reply body.
    Reply(usize),
    /// Without a reply yet, or for good.
    Ended(Served),
}

/// The services for one sandbox.
#[derive(Debug)]
pub struct Services<'t, A = AllowAll> {
    files: FileService<'t, A>,
    exchange: Exchange,
    /// `unique` of the wait, or of the question, that is not answered yet.
    waiting: Option<u64>,
    /// What the last request told of a thread or a process.
    told: Option<Told>,
}

impl<'t> Services<'t> {
    /// Services over these files that allow whatever they can do.
    #[must_use]
    pub fn new(stack: Stack<'t>, limits: Limits) -> Self {
        Self::with_authority(stack, limits, AllowAll)
    }
}

impl<'t, A: Authority> Services<'t, A> {
    /// Services over these files, each request subject to `authority`.
    #[must_use]
    pub fn with_authority(stack: Stack<'t>, limits: Limits, authority: A) -> Self {
        Self {
            files: FileService::new(stack, limits.handles, authority),
            exchange: Exchange::new(),
            waiting: None,
            told: None,
        }
    }

    /// The same, and what each request changes of the files is kept until the next one.
    #[must_use]
    pub fn recording(self) -> Self {
        Self { files: self.files.recording(), ..self }
    }

    /// What the last request changed of the files.
    pub fn take_changes(&mut self) -> impl Iterator<Item = Change> + '_ {
        self.files.take_changes()
    }

    /// What the last request told of a thread or a process.
    pub const fn take_told(&mut self) -> Option<Told> {
        self.told.take()
    }

    /// Nobody asks for services any more: [`Services::take_changes`] gives what was written to the next file that is open still. False: there is no
    /// other, or nobody wants to know. One at a time, for there can be many, and each has a path.
    pub fn conclude(&mut self) -> bool {
        self.files.conclude()
    }

    /// The files as they are.
    #[must_use]
    pub fn stack(&self) -> &Stack<'t> {
        self.files.stack()
    }

    /// The same, to change what may be in them.
    pub const fn stack_mut(&mut self) -> &mut Stack<'t> {
        self.files.stack_mut()
    }

    /// Lets so many bytes be written to files and standard streams, those included that were written before.
    pub fn allow_written(&mut self, most: u64) {
        self.files.written_mut().allow(most);
    }

    /// Whether a write was refused or cut for that since this was asked last.
    pub fn take_written_up(&mut self) -> bool {
        self.files.written_mut().take_reached()
    }

    /// Who decides about the files.
    pub const fn authority_mut(&mut self) -> &mut A {
        self.files.authority_mut()
    }

    /// The files, once nobody asks for services any more.
    #[must_use]
    pub fn into_stack(self) -> Stack<'t> {
        self.files.into_stack()
    }

    /// Carries out the request in the service pages at `service_gpa`. `now` is CLOCK_REALTIME.
    pub fn serve<M: GuestMemory + Window<'t>>(
        &mut self,
        service_gpa: Gpa,
        memory: &mut M,
        console: &mut dyn Console,
        entropy: &mut dyn Entropy,
        now: Timestamp,
    ) -> Served {
        if let Err(reason) = self.exchange.read(service_gpa, memory) {
            return request::refuse(service_gpa, memory, reason);
        }
        self.files.begin(self.exchange.closed());
        let fuse_in_header { opcode, unique, .. } = *self.exchange.header();
        let mut lent = Lent { memory, console, entropy };
        let result = match self.dispatch(&mut lent, now) {
            Ok(Outcome::Ended(served)) => return served,
            Ok(Outcome::Reply(body_len)) => Ok(body_len),
            Err(errno) => Err(errno),
        };
        let withdrawn = (opcode == op::WITHDRAW).then(|| self.exchange.arguments().only().ok()).flatten();
        match self.exchange.reply(service_gpa, lent.memory, unique, result) {
            Ok(()) if opcode == op::STARTED => Served::Started,
            Ok(()) if let Some(question) = withdrawn => Served::Withdraws(question),
            Ok(()) => Served::Replied,
            Err(reason) => Served::Malformed { reason: reason.into() },
        }
    }

    /// Answers the [`Served::Wait`] that `serve` gave last. Does nothing if there is none.
    pub fn finish_wait<M: GuestMemory>(&mut self, service_gpa: Gpa, memory: &mut M, woken: op::Woken) {
        let Some(unique) = self.waiting.take() else {
            return;
        };
        let len = self.exchange.put(&woken);
        // The service pages were readable when the wait began; if the shim took them away, it never sees its answer.
        let _ = self.exchange.reply(service_gpa, memory, unique, len);
    }

    /// Answers the [`Served::Listens`] that `serve` gave last. Does nothing if there is none.
    pub fn finish_listen<M: GuestMemory>(&mut self, service_gpa: Gpa, memory: &mut M, allowed: Result<(), Errno>) {
        let Some(unique) = self.waiting.take() else {
            return;
        };
        // As above.
        let _ = self.exchange.reply(service_gpa, memory, unique, allowed.map(|()| 0));
    }

    /// Keeps it until the next one. The reply is empty.
    fn tells(&mut self, told: Told) -> usize {
        self.told = Some(told);
        0
    }

    /// Answers the [`Served::Asks`] that `serve` gave last. Does nothing if there is none.
    pub fn finish_question<M: GuestMemory>(&mut self, service_gpa: Gpa, memory: &mut M, settled: op::Settled) {
        let Some(unique) = self.waiting.take() else {
            return;
        };
        let len = self.exchange.put(&settled);
        // As above.
        let _ = self.exchange.reply(service_gpa, memory, unique, len);
    }

    fn dispatch<M: GuestMemory + Window<'t>>(
        &mut self,
        lent: &mut Lent<'_, M>,
        now: Timestamp,
    ) -> Result<Outcome, Errno> {
        let exchange = &mut self.exchange;
        let ended = |served| Ok(Outcome::Ended(served));
        match exchange.header().opcode {
            op::CONSOLE_WRITE => console::write(exchange, lent.memory, lent.console, self.files.written_mut()),
            op::CONSOLE_READ => console::read(exchange, lent.memory, lent.console),
            op::WINDOW_SIZE => console::window(exchange, lent.console),
            op::RANDOM => entropy::random(exchange, lent.memory, lent.entropy),
            op::WAIT => {
                let wait = process::wait(exchange.arguments())?;
                self.waiting = Some(exchange.header().unique);
                return ended(Served::Wait(wait));
            }
            op::LISTEN => {
                let listen = process::listen(exchange.arguments())?;
                self.waiting = Some(exchange.header().unique);
                return ended(Served::Listens(listen));
            }
            op::QUESTION => {
                let (question, program) = process::question(exchange.arguments())?;
                self.waiting = Some(exchange.header().unique);
                return ended(Served::Asks(question, program));
            }
            op::WITHDRAW => exchange.arguments().only::<op::Question>().map(|_| 0),
            op::STARTED => Ok(0),
            op::THREAD_STARTED => tasks::started(exchange.arguments()).map(|told| self.tells(told)),
            op::EXECUTED => {
                let path = self.files.path_of(exchange.header().nodeid);
                tasks::executed(exchange.arguments(), path).map(|told| self.tells(told))
            }
            op::ENDED => tasks::ended(exchange.arguments()).map(|told| self.tells(told)),
            op::EXIT => return ended(Served::Exited(process::exit(exchange.arguments())?)),
            op::NOT_STARTED => return ended(process::not_started(exchange.arguments())?),
            op::SHIM_PANIC => return ended(process::shim_panic(exchange.arguments())),
            _ => self.files.serve(exchange, lent.memory, now),
        }
        .map(Outcome::Reply)
    }
}
