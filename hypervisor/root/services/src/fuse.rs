//! The file service: FUSE requests on the sandbox's files. [`wire`] decodes and encodes, [`handles`] keeps what is open; the
//! requests are in [`tree`] (names and attributes), [`io`] (open files), [`dirs`] (reading directories) and
//! [`xattr`] (extended attributes).
use files::{Context, Errno, Ino, Stack, Timestamp};
use fuse_abi::linux::fuse_in_header;
use guestmem::GuestMemory;

use crate::authorise::{Authority, Name, Object, Right};
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
    pub(crate) const fn new(stack: Stack<'t>, handles: usize, authority: A) -> Self {
        Self { stack, handles: Handles::new(handles), authority, written: Written::NOTHING }
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

    /// Carries out one request; the length of the reply's body.
    pub(crate) fn serve<M: GuestMemory + Window<'t>>(
        &mut self,
        exchange: &mut Exchange,
        memory: &mut M,
        now: Timestamp,
    ) -> Result<usize, Errno> {
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
        self.authority.allow(&self.stack, right, object)
    }

    /// Whether a name may be made. What is there already is told as Linux does, before rights are.
    fn allow_create(&mut self, ctx: &Context<'_>, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        self.allow(Right::Create, Object::Entry { dir, name }).map_err(|refused| {
            let seen = self.authority.shows(&self.stack, Name { dir, name });
            if seen && self.stack.lookup(ctx, dir, name).is_ok() { Errno::EEXIST } else { refused }
        })
    }

    /// Whether a name may be taken away. What is not there is told as Linux does, before rights are.
    fn allow_remove(&mut self, ctx: &Context<'_>, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        let allowed = self.allow(Right::Remove, Object::Entry { dir, name });
        allowed.map_err(|refused| self.stack.lookup(ctx, dir, name).err().unwrap_or(refused))
    }

    /// The shim learns that this name leads to this inode.
    fn found(&mut self, dir: Ino, name: &[u8], ino: Ino) {
        self.authority.found(&self.stack, Name { dir, name }, ino);
    }

    /// The authority has to know what is remembered, and no more.
    fn drop_if_forgotten(&mut self, ino: Ino) {
        if !self.stack.is_remembered(ino) {
            self.authority.forgotten(ino);
        }
    }
}
