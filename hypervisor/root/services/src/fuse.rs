//! The file service: FUSE requests on the sandbox's files. [`wire`] decodes and encodes, [`handles`] keeps what is open; the
//! requests are in [`tree`] (names and attributes), [`io`] (open files), [`dirs`] (reading directories) and
//! [`xattr`] (extended attributes).
use alloc::vec::Vec;

use files::{Attr, Context, Errno, Ino, Stack, Timestamp};
use fuse_abi::linux::fuse_in_header;
use guestmem::GuestMemory;

use crate::authorise::{Authority, Name, Object, Right, Seen};
use crate::changes::{Change, ChangeLog, Changed};
use crate::names::{Names, path};
use crate::request::{Arguments, Exchange, Parts};
use crate::window::Window;
use crate::written::Written;

mod dirs;
mod handles;
mod io;
mod mapping;
mod tree;
mod wire;
mod xattr;

use handles::Handles;
use mapping::remove_mappings;
use wire::opcode;

/// The files, who holds what of them, and who may.
#[derive(Debug)]
pub(crate) struct FileService<'t, A> {
    stack: Stack<'t>,
    handles: Handles,
    authority: A,
    written: Written,
    names: Names,
    changes: ChangeLog,
}

/// One request on the way to its handler.
struct Call<'a> {
    ctx: Context<'a>,
    /// The header's node; not checked yet.
    node: Ino,
    arguments: Arguments<'a>,
    /// Where the reply's body goes.
    body: &'a mut [u8],
}

impl<'t, A: Authority> FileService<'t, A> {
    pub(crate) fn new(stack: Stack<'t>, handles: usize, authority: A) -> Self {
        let names = Names::new(authority.wants_names());
        Self {
            stack,
            handles: Handles::new(handles),
            authority,
            names,
            changes: ChangeLog::new(false),
            written: Written::NOTHING,
        }
    }

    /// Keeps what each request changes, until the next one.
    pub(crate) fn recording(self) -> Self {
        Self { names: Names::new(true), changes: ChangeLog::new(true), ..self }
    }

    /// What the last request changed.
    pub(crate) fn take_changes(&mut self) -> impl Iterator<Item = Change> + '_ {
        self.changes.take()
    }

    /// The path by which this node is known, as far as names are kept.
    pub(crate) fn path_of(&self, node: u64) -> Vec<u8> {
        self.names.path_of(&self.stack, Ino(node))
    }

    /// Nobody asks any more: what was written to the next file that is open still. False: to no other.
    pub(crate) fn conclude(&mut self) -> bool {
        self.changes.begin();
        if !self.changes.is_on() {
            return false;
        }
        let Some((ino, bytes)) = self.handles.take_written() else { return false };
        self.changed_inode(ino, Changed::Written(bytes));
        true
    }

    pub(crate) const fn stack(&self) -> &Stack<'t> {
        &self.stack
    }

    pub(crate) const fn stack_mut(&mut self) -> &mut Stack<'t> {
        &mut self.stack
    }

    pub(crate) fn into_stack(self) -> Stack<'t> {
        self.stack
    }

    pub(crate) const fn authority_mut(&mut self) -> &mut A {
        &mut self.authority
    }

    pub(crate) const fn written_mut(&mut self) -> &mut Written {
        &mut self.written
    }

    /// A request of any kind comes, with which these handles are closed.
    pub(crate) fn begin(&mut self, closed: &[u64]) {
        self.changes.begin();
        for &handle in closed {
            // What is not open needs no closing.
            let _ = self.close(handle);
        }
    }

    /// Carries out one request; the length of the reply's body.
    pub(crate) fn serve<M: GuestMemory + Window<'t>>(
        &mut self,
        exchange: &mut Exchange,
        memory: &mut M,
        now: Timestamp,
    ) -> Result<usize, Errno> {
        // Another policy may want them.
        if self.authority.wants_names() {
            self.names.keep();
        }
        let result = self.carry_out(exchange, memory, now);
        self.authority.concluded(result.map(|_| ()));
        result
    }

    fn carry_out<M: GuestMemory + Window<'t>>(
        &mut self,
        exchange: &mut Exchange,
        memory: &mut M,
        now: Timestamp,
    ) -> Result<usize, Errno> {
        let fuse_in_header { opcode, nodeid, uid, gid, .. } = *exchange.header();
        let Parts { arguments, groups, segments, body } = exchange.parts();
        let call = Call { ctx: Context { uid, gid, groups, now }, node: Ino(nodeid), arguments, body };
        self.stack.tidy();
        match opcode {
            // The most frequent first: open files, by handle.
            opcode::READ => self.read(call, segments, memory),
            opcode::WRITE => self.write(call, segments, memory),
            opcode::LSEEK => self.lseek(call),
            opcode::FALLOCATE => self.fallocate(&call),
            opcode::SETUPMAPPING => self.setup_mapping(&call, memory),
            opcode::REMOVEMAPPING => remove_mappings(call, memory),
            opcode::FLUSH => self.flush(&call),
            opcode::FSYNC | opcode::FSYNCDIR => self.fsync(&call),
            opcode::RELEASE | opcode::RELEASEDIR => self.release(&call),
            opcode::READDIR => self.readdir(call),
            opcode::READDIRPLUS => self.readdirplus(call),
            // By node or handle.
            opcode::GETATTR => self.getattr(call),
            opcode::SETATTR => self.setattr(call),
            // By node, which must be known.
            opcode::LOOKUP => self.lookup(self.known(call)?),
            opcode::READLINK => self.readlink(self.known(call)?),
            opcode::SYMLINK => self.symlink(self.known(call)?),
            opcode::MKNOD => self.mknod(self.known(call)?),
            opcode::MKDIR => self.mkdir(self.known(call)?),
            opcode::UNLINK => self.unlink(&self.known(call)?),
            opcode::RMDIR => self.rmdir(&self.known(call)?),
            opcode::RENAME => self.rename(self.known(call)?),
            opcode::RENAME2 => self.rename2(self.known(call)?),
            opcode::LINK => self.link(self.known(call)?),
            opcode::ACCESS => self.access(&self.known(call)?),
            opcode::OPEN => self.open(self.known(call)?),
            opcode::OPENDIR => self.opendir(self.known(call)?),
            opcode::CREATE => self.create(self.known(call)?),
            opcode::TMPFILE => self.tmpfile(self.known(call)?),
            opcode::SETXATTR => self.setxattr(self.known(call)?, segments, memory),
            opcode::GETXATTR => self.getxattr(self.known(call)?, segments, memory),
            opcode::LISTXATTR => self.listxattr(self.known(call)?, segments, memory),
            opcode::REMOVEXATTR => self.removexattr(&self.known(call)?),
            // Without an object.
            opcode::INIT => wire::init(call),
            opcode::FORGET => self.forget(&call),
            opcode::BATCH_FORGET => self.batch_forget(call),
            opcode::STATFS => wire::statfs(&self.stack, call),
            _ => Err(Errno::ENOSYS),
        }
    }

    /// Only what was looked up, and not forgotten since, can be named by number.
    fn known<'a>(&self, call: Call<'a>) -> Result<Call<'a>, Errno> {
        self.check_known(call.node)?;
        Ok(call)
    }

    fn check_known(&self, ino: Ino) -> Result<(), Errno> {
        if self.stack.is_remembered(ino) { Ok(()) } else { Err(Errno::ESTALE) }
    }

    fn allow(&mut self, right: Right, object: Object<'_>) -> Result<(), Errno> {
        let seen = Seen { stack: &self.stack, names: &self.names };
        self.authority.allow(seen, right, object)
    }

    /// Whether the shim may learn of this name.
    fn shows(&self, dir: Ino, name: &[u8]) -> bool {
        self.authority.shows(Seen { stack: &self.stack, names: &self.names }, Name { dir, name })
    }

    /// Whether a name may be made. What is there already is told as Linux does, before rights are.
    fn allow_create(&mut self, ctx: &Context<'_>, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        self.allow(Right::Create, Object::Entry { dir, name }).map_err(|refused| {
            if self.shows(dir, name) && self.stack.lookup(ctx, dir, name).is_ok() { Errno::EEXIST } else { refused }
        })
    }

    /// Whether a name may be taken away. What is not there is told as Linux does, before rights are.
    fn allow_remove(&mut self, ctx: &Context<'_>, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        let allowed = self.allow(Right::Remove, Object::Entry { dir, name });
        allowed.map_err(|refused| self.stack.lookup(ctx, dir, name).err().unwrap_or(refused))
    }

    /// The shim learns that this name leads to this inode.
    fn found(&mut self, dir: Ino, name: &[u8], ino: Ino) {
        self.names.found(&self.stack, Name { dir, name }, ino);
    }

    /// Records a change of what this name leads to.
    fn changed_name(&mut self, name: Name<'_>, what: impl FnOnce(Seen<'_, '_>) -> Changed) {
        if self.changes.is_on() {
            let what = what(Seen { stack: &self.stack, names: &self.names });
            let path = path(&self.stack, name);
            self.changes.add(Change { path, nameless: false, what });
        }
    }

    /// Attributes before they change, if that is recorded.
    fn before(&self, ino: Ino) -> Option<Attr> {
        if self.changes.is_on() { self.stack.attr(ino).ok() } else { None }
    }

    /// Records a change of an inode.
    fn changed_inode(&mut self, ino: Ino, what: Changed) {
        if self.changes.is_on() {
            let nameless = self.stack.attr(ino).is_ok_and(|attr| attr.nlink == 0);
            self.changes.add(Change { path: self.names.path_of(&self.stack, ino), nameless, what });
        }
    }

    /// Names are kept of what is remembered, and no more.
    fn drop_if_forgotten(&mut self, ino: Ino) {
        if !self.stack.is_remembered(ino) {
            self.names.forgotten(ino);
        }
    }
}
