//! The client side of the file protocol: FUSE messages in the service pages, one doorbell each.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use fuse_abi::linux::FATTR_SIZE;
use fuse_abi::linux::{
    FUSE_ROOT_ID, fuse_attr_out, fuse_batch_forget_in, fuse_entry_out, fuse_ext_header, fuse_ext_type, fuse_forget_one,
    fuse_fsync_in, fuse_getattr_in, fuse_in_header, fuse_opcode, fuse_out_header, fuse_release_in, fuse_setattr_in,
};
use proto::{MAX_CLOSED, MAX_GROUPS, MESSAGE_LEN, MESSAGE_OFFSET, Segment, ServiceRequest, op};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::file::OpenFile;
use super::inode::{Inode, Inodes};
use crate::errno::Errno;
use crate::mm::frames::Bin;
use crate::mm::object::{Pages, write_pages};
use crate::num::{index, len32};
use crate::platform::Platform;

/// Bytes that the length of a request's extension is counted in.
const EXTENSION_UNIT: usize = 8;

/// Something of the root's that nothing here refers to any more, to be told to it.
pub enum Gone {
    /// An open file or directory.
    Handle {
        /// Its node.
        node: u64,
        /// Its handle.
        handle: u64,
        /// FUSE_RELEASEDIR rather than FUSE_RELEASE.
        directory: bool,
        /// It was open for writing.
        written: bool,
        /// The root is to be told at once.
        soon: bool,
    },
    /// A node, with the number of times that a reply named it.
    Node {
        /// Its number.
        node: u64,
        /// How often it was looked up.
        lookups: u64,
        /// It may have lost its last name: its bytes are free once it is forgotten.
        urgent: bool,
    },
    /// Pages of a file that may differ from it.
    Dirty {
        /// The file, open for writing.
        file: Rc<OpenFile>,
        /// The pages.
        pages: Pages,
        /// Where they go afterwards.
        bin: Bin,
    },
}

/// Where destructors leave what is gone; [`Fuse::settle`] tells the root.
pub type Leftovers = Rc<RefCell<Vec<Gone>>>;

/// Nodes are forgotten in batches: nothing waits for it.
const FORGET_BATCH: usize = 64;

/// The connection to the root's services.
pub struct Fuse {
    unique: u64,
    /// Handles that are closed with the next request.
    closing: Vec<u64>,
    /// Nodes that are to be forgotten.
    forgetting: Vec<fuse_forget_one>,
    /// The root records what was written to a file when that is closed.
    records: bool,
    uid: u32,
    gid: u32,
    /// Further groups of the user.
    groups: Rc<[u32]>,
    leftovers: Leftovers,
    inodes: Inodes,
}

impl Fuse {
    /// A client that acts for this user. `records`: the root records what was written to a file when that is closed.
    #[must_use]
    pub fn new(uid: u32, gid: u32, records: bool) -> Self {
        let leftovers = Leftovers::default();
        let inodes = Inodes::new(Rc::clone(&leftovers));
        Self {
            unique: 0,
            closing: Vec::new(),
            forgetting: Vec::new(),
            records,
            uid,
            gid,
            groups: Rc::default(),
            leftovers,
            inodes,
        }
    }

    /// From now on it acts for another user, a member of these groups too.
    pub fn act_for(&mut self, [uid, gid]: [u32; 2], groups: &Rc<[u32]>) {
        (self.uid, self.gid) = (uid, gid);
        if !Rc::ptr_eq(&self.groups, groups) {
            self.groups = Rc::clone(groups);
        }
    }

    /// The root directory.
    pub fn root(&mut self) -> Rc<Inode> {
        self.inodes.get(FUSE_ROOT_ID, None)
    }

    /// Sends one request: header, `args`, `names` with a NUL each; bulk data by `segments`. The length of the reply's body.
    ///
    /// # Errors
    /// What the root answered, or EIO when it could make nothing of the request.
    pub fn request<P: Platform, A: IntoBytes + Immutable + ?Sized>(
        &mut self,
        platform: &mut P,
        opcode: u32,
        node: u64,
        args: &A,
        names: &[&[u8]],
        segments: &[Segment],
    ) -> Result<usize, Errno> {
        self.unique += 2;
        let args = args.as_bytes();
        let tail: usize = names.iter().map(|name| name.len() + 1).sum();
        let groups = self.groups.get(..MAX_GROUPS).unwrap_or(&self.groups);
        let extension = extension_len(groups);
        let len = size_of::<fuse_in_header>() + args.len() + tail + extension;
        if len > MESSAGE_LEN {
            return Err(Errno::ENAMETOOLONG);
        }
        let header = fuse_in_header {
            len: len32(len),
            opcode,
            unique: self.unique,
            nodeid: node,
            uid: self.uid,
            gid: self.gid,
            pid: 1,
            total_extlen: u16::try_from(extension / EXTENSION_UNIT).unwrap_or(0),
            ..Default::default()
        };
        let area = platform.service();
        put_request(area, len, segments, &self.closing).ok_or(Errno::EIO)?;
        self.closing.clear();
        let mut at = put(area, MESSAGE_OFFSET, header.as_bytes()).ok_or(Errno::EIO)?;
        at = put(area, at, args).ok_or(Errno::EIO)?;
        for name in names {
            at = put(area, at, name).ok_or(Errno::EIO)?;
            at = put(area, at, &[0]).ok_or(Errno::EIO)?;
        }
        if extension > 0 {
            put_groups(area, at, groups).ok_or(Errno::EIO)?;
        }
        platform.doorbell();
        self.reply_len(platform)
    }

    fn reply_len<P: Platform>(&self, platform: &mut P) -> Result<usize, Errno> {
        let area = platform.service();
        let (request, _) = ServiceRequest::ref_from_prefix(area).map_err(|_| Errno::EIO)?;
        let len = index(u64::from(request.reply_len));
        let message = area.get(MESSAGE_OFFSET..).and_then(|area| area.get(..len)).ok_or(Errno::EIO)?;
        let (header, body) = fuse_out_header::read_from_prefix(message).map_err(|_| Errno::EIO)?;
        match header.error {
            0 => Ok(body.len()),
            error => Err(Errno(error.saturating_neg().clamp(1, 4095))),
        }
    }

    /// The body of the last reply, as a structure; what the root left out is EIO.
    ///
    /// # Errors
    /// EIO when the body is shorter.
    pub fn reply<P: Platform, T: FromBytes>(platform: &mut P, len: usize) -> Result<T, Errno> {
        let (value, _) = T::read_from_prefix(Self::body(platform, len)).map_err(|_| Errno::EIO)?;
        Ok(value)
    }

    /// The bytes of the last reply's body.
    pub fn body<P: Platform>(platform: &mut P, len: usize) -> &[u8] {
        let start = MESSAGE_OFFSET + size_of::<fuse_out_header>();
        platform.service().get(start..).and_then(|area| area.get(..len)).unwrap_or(&[])
    }

    /// A request whose reply names a node (FUSE_LOOKUP, FUSE_MKDIR …). `None`: a negative answer (node 0).
    ///
    /// # Errors
    /// As [`Fuse::request`].
    pub fn entry<P: Platform, A: IntoBytes + Immutable>(
        &mut self,
        platform: &mut P,
        opcode: fuse_opcode,
        parent: &Inode,
        args: &A,
        names: &[&[u8]],
    ) -> Result<Option<Rc<Inode>>, Errno> {
        let len = self.request(platform, opcode as u32, parent.number(), args, names, &[])?;
        let entry: fuse_entry_out = Self::reply(platform, len)?;
        Ok(self.adopt(&entry))
    }

    /// The node that a reply named.
    pub fn adopt(&mut self, entry: &fuse_entry_out) -> Option<Rc<Inode>> {
        (entry.nodeid != 0).then(|| self.inodes.get(entry.nodeid, Some((entry.attr, entry.attr_valid))))
    }

    /// The attributes of a node: from its cache, or by FUSE_GETATTR.
    ///
    /// # Errors
    /// As [`Fuse::request`].
    pub fn attributes<P: Platform>(
        &mut self,
        platform: &mut P,
        inode: &Inode,
    ) -> Result<fuse_abi::linux::fuse_attr, Errno> {
        match inode.attributes_in(self.inodes.call()) {
            Some(attr) => Ok(attr),
            None => self.ask_attributes(platform, inode),
        }
    }

    /// The same, of which only type, owner, and who may do what are needed.
    ///
    /// # Errors
    /// As [`Fuse::request`].
    pub fn lasting_attributes<P: Platform>(
        &mut self,
        platform: &mut P,
        inode: &Inode,
    ) -> Result<fuse_abi::linux::fuse_attr, Errno> {
        match inode.lasting_in(self.inodes.call()) {
            Some(attr) => Ok(attr),
            None => self.ask_attributes(platform, inode),
        }
    }

    fn ask_attributes<P: Platform>(
        &mut self,
        platform: &mut P,
        inode: &Inode,
    ) -> Result<fuse_abi::linux::fuse_attr, Errno> {
        let args = fuse_getattr_in::default();
        let len = self.request(platform, fuse_opcode::FUSE_GETATTR as u32, inode.number(), &args, &[], &[])?;
        let out: fuse_attr_out = Self::reply(platform, len)?;
        inode.learn(out.attr, self.inodes.call());
        Ok(out.attr)
    }

    /// Has the host write a file through that is the host's.
    ///
    /// # Errors
    /// As [`Fuse::request`].
    pub fn sync<P: Platform>(&mut self, platform: &mut P, inode: &Inode, handle: u64) -> Result<(), Errno> {
        if !inode.is_volatile() {
            return Ok(());
        }
        let args = fuse_fsync_in { fh: handle, ..Default::default() };
        self.request(platform, fuse_opcode::FUSE_FSYNC as u32, inode.number(), &args, &[], &[]).map(|_| ())
    }

    /// Changes attributes of a node.
    ///
    /// # Errors
    /// As [`Fuse::request`].
    pub fn change<P: Platform>(
        &mut self,
        platform: &mut P,
        inode: &Inode,
        change: &fuse_setattr_in,
    ) -> Result<(), Errno> {
        if change.valid & FATTR_SIZE != 0 {
            self.content_changes(inode);
        }
        let len = self.request(platform, fuse_opcode::FUSE_SETATTR as u32, inode.number(), change, &[], &[])?;
        let out: fuse_attr_out = Self::reply(platform, len)?;
        inode.learn(out.attr, self.inodes.call());
        Ok(())
    }

    /// Where a symbolic link points: from its cache, or by FUSE_READLINK.
    ///
    /// # Errors
    /// As [`Fuse::request`].
    pub fn link_target<P: Platform>(&mut self, platform: &mut P, inode: &Inode) -> Result<Rc<[u8]>, Errno> {
        if let Some(target) = inode.target() {
            return Ok(target);
        }
        let len = self.request(platform, fuse_opcode::FUSE_READLINK as u32, inode.number(), &(), &[], &[])?;
        let target: Box<[u8]> = Self::body(platform, len).into();
        let target: Rc<[u8]> = target.into();
        inode.learn_target(&target);
        Ok(target)
    }

    /// Where destructors of handles leave them.
    #[must_use]
    pub fn leftovers(&self) -> Leftovers {
        Rc::clone(&self.leftovers)
    }

    /// At the end of a call: tells the root what nothing refers to any more. What makes no difference until then is left to the next request, as
    /// handles are, or until there is enough of it, as nodes are.
    pub fn settle<P: Platform>(&mut self, platform: &mut P) {
        self.inodes.next_call();
        // Written pages leave their file behind: a second round closes it.
        for _ in 0..2 {
            if !self.leftovers.borrow().is_empty() {
                self.settle_once(platform);
            }
        }
    }

    fn settle_once<P: Platform>(&mut self, platform: &mut P) {
        let gone = self.leftovers.take();
        let mut forget = false;
        for one in gone {
            match one {
                Gone::Node { node, lookups, urgent } => {
                    self.forgetting.push(fuse_forget_one { nodeid: node, nlookup: lookups });
                    forget |= urgent;
                }
                Gone::Handle { node, handle, directory, written, soon } => {
                    let soon = soon || (written && self.records);
                    if soon || self.closing.len() >= MAX_CLOSED {
                        self.release(platform, node, handle, directory);
                    } else {
                        self.closing.push(handle);
                    }
                }
                Gone::Dirty { file, pages, bin } => {
                    // There is nobody left to tell of an error.
                    let _ = write_pages(self, platform, &file, &pages, &(0..u64::MAX));
                    bin.borrow_mut().push(pages);
                }
            }
        }
        if forget || self.forgetting.len() >= FORGET_BATCH {
            self.forget(platform);
        }
    }

    /// Gives nodes back, many by one request.
    fn forget<P: Platform>(&mut self, platform: &mut P) {
        let nodes = core::mem::take(&mut self.forgetting);
        for batch in nodes.chunks(FORGET_BATCH) {
            batch.iter().for_each(|one| self.inodes.sweep(one.nodeid));
            let head = fuse_batch_forget_in { count: len32(batch.len()), dummy: 0 };
            let args: Vec<u8> = [head.as_bytes(), batch.as_bytes()].concat();
            let _ = self.request(platform, fuse_opcode::FUSE_BATCH_FORGET as u32, 0, args.as_slice(), &[], &[]);
        }
    }

    /// Closes a handle. What cannot be given back is the root's to clean up when the sandbox ends.
    fn release<P: Platform>(&mut self, platform: &mut P, node: u64, handle: u64, directory: bool) {
        let opcode = if directory { fuse_opcode::FUSE_RELEASEDIR } else { fuse_opcode::FUSE_RELEASE };
        let args = fuse_release_in { fh: handle, ..Default::default() };
        let _ = self.request(platform, opcode as u32, node, &args, &[], &[]);
    }

    /// The bytes of a file change: what the root shows of it is no longer the file.
    pub fn content_changes(&mut self, inode: &Inode) {
        self.inodes.content_changes(inode);
    }

    /// One of Cordon's own requests; its reply structure.
    ///
    /// # Errors
    /// As [`Fuse::request`].
    pub fn own<P: Platform, A: IntoBytes + Immutable, T: FromBytes>(
        &mut self,
        platform: &mut P,
        opcode: u32,
        args: &A,
        segments: &[Segment],
    ) -> Result<T, Errno> {
        let len = self.request(platform, opcode, 0, args, &[], segments)?;
        Self::reply(platform, len)
    }

    /// What has become of the question about a call of `program`.
    pub fn question<P: Platform>(&mut self, platform: &mut P, question: op::Question, program: &[u8]) -> op::Settled {
        let args = [question.as_bytes(), program].concat();
        let reply = self.request(platform, op::QUESTION, 0, args.as_slice(), &[], &[]);
        // Without a reply nothing is permitted.
        let failed = op::Settled { state: op::settled::FAILED, errno: Errno::EPERM.0.unsigned_abs() };
        reply.and_then(|len| Self::reply(platform, len)).unwrap_or(failed)
    }

    /// Waits until `deadline` or one of `events`; which events there were.
    pub fn wait<P: Platform>(&mut self, platform: &mut P, deadline: u64, events: u64) -> u64 {
        self.own(platform, op::WAIT, &op::Wait { deadline, events }, &[]).map_or(0, |woken: op::Woken| woken.events)
    }
}

/// Bytes of the extension that tells these groups.
fn extension_len(groups: &[u32]) -> usize {
    match groups.len() {
        0 => 0,
        count => (size_of::<fuse_ext_header>() + size_of::<u32>() * (1 + count)).next_multiple_of(EXTENSION_UNIT),
    }
}

/// Writes the extension (FUSE_EXT_GROUPS): its header, the number of groups, the groups, zeros up to its end.
fn put_groups(area: &mut [u8], at: usize, groups: &[u32]) -> Option<()> {
    let len = extension_len(groups);
    let header = fuse_ext_header { size: len32(len), type_: fuse_ext_type::FUSE_EXT_GROUPS as u32 };
    area.get_mut(at..at.checked_add(len)?)?.fill(0);
    let at = put(area, at, header.as_bytes())?;
    let at = put(area, at, len32(groups.len()).as_bytes())?;
    put(area, at, groups.as_bytes()).map(|_| ())
}

fn put_request(area: &mut [u8], len: usize, segments: &[Segment], closing: &[u64]) -> Option<()> {
    let (request, _) = ServiceRequest::mut_from_prefix(area).ok()?;
    request.message_len = len32(len);
    request.reply_len = 0;
    request.closed_count = len32(closing.len());
    request.closed.get_mut(..closing.len())?.copy_from_slice(closing);
    request.segment_count = len32(segments.len());
    request.segments.get_mut(..segments.len())?.copy_from_slice(segments);
    Some(())
}

/// Copies `bytes` to `area` at `at`; where the next goes.
fn put(area: &mut [u8], at: usize, bytes: &[u8]) -> Option<usize> {
    let end = at.checked_add(bytes.len())?;
    area.get_mut(at..end)?.copy_from_slice(bytes);
    Some(end)
}
