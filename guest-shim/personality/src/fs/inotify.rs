//! inotify: what happens to files and names, told to who watches them.
//!
//! A watch stands with the node that it is for ([`Marks`]), so what happens to a node that nobody watches costs one look. What
//! happens here are the calls of this sandbox: nobody else changes its files.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::cell::{Cell, RefCell};

use linux_raw_sys::general as raw;

use super::dentry::{Node, Place};
use super::event::ANONYMOUS_MODE;
use super::inode::Inode;
use super::special::{Caller, Sink, Special, Supply, ready};
use crate::errno::Errno;
use crate::num::len32;
use crate::wait::{Channel, Hub};

/// Events that wait to be read (fs.inotify.max_queued_events).
const MAX_QUEUED: usize = 16384;
/// Instances of a sandbox (fs.inotify.max_user_instances).
const MAX_INSTANCES: usize = 128;
/// Watches of one instance (fs.inotify.max_user_watches as it was for long).
const MAX_WATCHES: usize = 8192;
/// Bytes of `struct inotify_event` without its name; names take a multiple of it.
const HEAD: usize = 16;
/// What is reported of a watch, whatever it asked for.
const ALWAYS: u32 = raw::IN_IGNORED | raw::IN_UNMOUNT | raw::IN_Q_OVERFLOW;

/// Something that has happened.
#[derive(Clone, PartialEq, Eq)]
struct Event {
    watch: i32,
    mask: u32,
    cookie: u32,
    name: Rc<[u8]>,
}

impl Event {
    /// Bytes of the name as it is read, with its NULs.
    fn name_room(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(HEAD) }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.name_room());
        bytes.extend(self.watch.to_le_bytes());
        for word in [self.mask, self.cookie, len32(self.name_room())] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(&*self.name);
        bytes.resize(HEAD + self.name_room(), 0);
        bytes
    }
}

/// A watch on a node.
pub struct Watch {
    descriptor: i32,
    owner: Weak<Inner>,
    mask: Cell<u32>,
    /// Kept, so that it stays the same node; `None`: something of the shim's own, to which nothing happens.
    inode: Option<Rc<Inode>>,
}

impl Watch {
    fn tell(&self, mask: u32, cookie: u32, name: &[u8]) {
        let Some(owner) = self.owner.upgrade() else { return };
        let wanted = mask & self.mask.get() & raw::IN_ALL_EVENTS;
        if wanted == 0 && mask & ALWAYS == 0 {
            return;
        }
        owner.queue(Event { watch: self.descriptor, mask, cookie, name: name.into() });
        if mask & raw::IN_IGNORED == 0 && self.mask.get() & raw::IN_ONESHOT != 0 {
            owner.end(self.descriptor);
        }
    }
}

/// The watches on a node, and what has to be known of it for their sake.
#[derive(Default)]
pub struct Marks {
    watches: RefCell<Vec<Weak<Watch>>>,
    /// Open files.
    opened: Cell<u32>,
    /// It has no name any more.
    unlinked: Cell<bool>,
}

impl Marks {
    /// Somebody watches.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        !self.watches.borrow().is_empty()
    }

    fn tell(&self, mask: u32, cookie: u32, name: &[u8]) {
        if !self.is_watched() {
            return;
        }
        let watches: Vec<Rc<Watch>> = {
            let mut watches = self.watches.borrow_mut();
            watches.retain(|watch| watch.strong_count() > 0);
            watches.iter().filter_map(Weak::upgrade).collect()
        };
        for watch in watches {
            watch.tell(mask, cookie, name);
        }
    }

    /// An open file of it comes.
    pub fn opens(&self) {
        self.opened.set(self.opened.get().saturating_add(1));
    }

    /// An open file of it goes.
    pub fn closes(&self) {
        self.opened.set(self.opened.get().saturating_sub(1));
        self.end_if_gone();
    }

    /// Its last name has gone.
    pub fn unlinks(&self) {
        self.unlinked.set(true);
        self.end_if_gone();
    }

    fn end_if_gone(&self) {
        if self.unlinked.get() && self.opened.get() == 0 && self.is_watched() {
            self.tell(raw::IN_DELETE_SELF, 0, b"");
            let watches = core::mem::take(&mut *self.watches.borrow_mut());
            for watch in watches.iter().filter_map(Weak::upgrade) {
                if let Some(owner) = watch.owner.upgrade() {
                    owner.end(watch.descriptor);
                }
            }
        }
    }
}

fn inode_of(place: &Place) -> Option<&Rc<Inode>> {
    match &place.node {
        Node::File(inode) => Some(inode),
        _ => None,
    }
}

fn kind_bit(inode: &Inode) -> u32 {
    if inode.is_directory() { raw::IN_ISDIR } else { 0 }
}

/// `mask` has happened to what is at `place`: who watches it hears of it, and who watches its directory.
pub fn happened(place: &Place, mask: u32) {
    let Some(inode) = inode_of(place) else { return };
    let mask = mask | kind_bit(inode);
    inode.marks().tell(mask, 0, b"");
    place.with_position(|parent, name| {
        if let Some(parent) = parent.and_then(inode_of)
            && parent.marks().is_watched()
        {
            let strict = |watch: &Watch| watch.mask.get() & raw::IN_EXCL_UNLINK != 0 && place.is_removed();
            parent.marks().tell_unless(mask, name, strict);
        }
    });
}

/// `mask` has happened to the node itself, whatever its names are.
pub fn happened_to(inode: &Inode, mask: u32) {
    inode.marks().tell(mask | kind_bit(inode), 0, b"");
}

/// `mask` has happened to the name of `inode` in `directory`. `cookie` joins the two halves of a rename.
pub fn name_happened(directory: &Place, name: &[u8], inode: &Inode, mask: u32, cookie: u32) {
    if let Some(parent) = inode_of(directory) {
        parent.marks().tell(mask | kind_bit(inode), cookie, name);
    }
}

impl Marks {
    fn tell_unless(&self, mask: u32, name: &[u8], silent: impl Fn(&Watch) -> bool) {
        let watches: Vec<Rc<Watch>> = self.watches.borrow().iter().filter_map(Weak::upgrade).collect();
        for watch in watches.iter().filter(|watch| !silent(watch)) {
            watch.tell(mask, 0, name);
        }
    }
}

struct Inner {
    events: RefCell<VecDeque<Event>>,
    watches: RefCell<BTreeMap<i32, Rc<Watch>>>,
    /// The watch descriptor given last.
    last: Cell<i32>,
    number: u64,
    channel: Channel,
    _counted: Rc<()>,
}

impl Inner {
    fn queue(&self, event: Event) {
        let mut events = self.events.borrow_mut();
        if events.back() == Some(&event) {
            return;
        }
        if events.len() >= MAX_QUEUED {
            if events.back().is_some_and(|last| last.mask == raw::IN_Q_OVERFLOW) {
                return;
            }
            events.push_back(Event { watch: -1, mask: raw::IN_Q_OVERFLOW, cookie: 0, name: Rc::default() });
        } else {
            events.push_back(event);
        }
        drop(events);
        self.channel.wake_for(ready::IN);
    }

    /// A watch is no more: its last event says so.
    fn end(&self, descriptor: i32) {
        let Some(watch) = self.watches.borrow_mut().remove(&descriptor) else { return };
        watch.tell(raw::IN_IGNORED, 0, b"");
    }
}

/// An inotify instance.
pub struct Inotify(Rc<Inner>);

impl Inotify {
    /// Watches nothing.
    ///
    /// # Errors
    /// EMFILE: there are too many, as the clones of `counted` tell.
    pub fn new(hub: &Hub, number: u64, counted: &Rc<()>) -> Result<Self, Errno> {
        if Rc::strong_count(counted) > MAX_INSTANCES {
            return Err(Errno::EMFILE);
        }
        Ok(Self(Rc::new(Inner {
            events: RefCell::default(),
            watches: RefCell::default(),
            last: Cell::new(0),
            number,
            channel: hub.channel(),
            _counted: Rc::clone(counted),
        })))
    }

    /// Watches what is at `place`, or changes the watch that is there.
    ///
    /// # Errors
    /// EEXIST with IN_MASK_CREATE; ENOSPC when there are too many.
    pub fn add(&self, place: &Place, mask: u32) -> Result<i32, Errno> {
        let inode = inode_of(place);
        let kept = mask & (raw::IN_ALL_EVENTS | raw::IN_ONESHOT | raw::IN_EXCL_UNLINK);
        if let Some(watch) = inode.and_then(|inode| self.watch_of(inode)) {
            if mask & raw::IN_MASK_CREATE != 0 {
                return Err(Errno::EEXIST);
            }
            watch.mask.set(if mask & raw::IN_MASK_ADD != 0 { watch.mask.get() | kept } else { kept });
            return Ok(watch.descriptor);
        }
        let mut watches = self.0.watches.borrow_mut();
        if watches.len() >= MAX_WATCHES {
            return Err(Errno::ENOSPC);
        }
        let descriptor = self.0.last.get().checked_add(1).ok_or(Errno::ENOSPC)?;
        self.0.last.set(descriptor);
        let watch =
            Rc::new(Watch { descriptor, owner: Rc::downgrade(&self.0), mask: Cell::new(kept), inode: inode.cloned() });
        if let Some(inode) = inode {
            let mut marks = inode.marks().watches.borrow_mut();
            marks.retain(|known| known.strong_count() > 0);
            marks.push(Rc::downgrade(&watch));
        }
        watches.insert(descriptor, watch);
        Ok(descriptor)
    }

    fn watch_of(&self, inode: &Rc<Inode>) -> Option<Rc<Watch>> {
        let own = |watch: &Rc<Watch>| watch.owner.as_ptr() == Rc::as_ptr(&self.0);
        let marks = inode.marks().watches.borrow();
        let found = marks.iter().filter_map(Weak::upgrade).find(own)?;
        // One that has ended is nobody's any more.
        let watches = self.0.watches.borrow();
        watches.get(&found.descriptor).cloned()
    }

    /// Ends a watch.
    ///
    /// # Errors
    /// EINVAL: there is no such watch.
    pub fn remove(&self, descriptor: i32) -> Result<(), Errno> {
        let watch = self.0.watches.borrow().get(&descriptor).cloned().ok_or(Errno::EINVAL)?;
        self.0.end(descriptor);
        if let Some(inode) = &watch.inode {
            inode.marks().watches.borrow_mut().retain(|mark| mark.as_ptr() != Rc::as_ptr(&watch));
        }
        Ok(())
    }
}

impl Special for Inotify {
    fn read(&self, _: &Caller, out: &mut dyn Sink) -> Result<usize, Errno> {
        let mut events = self.0.events.borrow_mut();
        let mut done = 0;
        while let Some(event) = events.front() {
            let bytes = event.bytes();
            if out.room() < bytes.len() {
                break;
            }
            if out.put(&bytes) < bytes.len() {
                return if done > 0 { Ok(done) } else { Err(Errno::EFAULT) };
            }
            done += bytes.len();
            events.pop_front();
        }
        match (done, events.is_empty()) {
            (0, true) => Err(Errno::EAGAIN),
            (0, false) => Err(Errno::EINVAL),
            _ => Ok(done),
        }
    }

    fn write(&self, _: &Caller, _: &mut dyn Supply) -> Result<usize, Errno> {
        Err(Errno::EBADF)
    }

    fn poll(&self, _: &Caller) -> i16 {
        if self.0.events.borrow().is_empty() { 0 } else { ready::IN }
    }

    fn channels(&self, add: &mut Vec<Channel>) {
        add.push(self.0.channel.clone());
    }

    fn mode(&self) -> u32 {
        ANONYMOUS_MODE
    }

    fn inode(&self) -> u64 {
        self.0.number
    }

    fn link(&self) -> Vec<u8> {
        b"anon_inode:inotify".into()
    }

    fn readable_bytes(&self) -> Option<usize> {
        Some(self.0.events.borrow().iter().map(|event| HEAD + event.name_room()).sum())
    }

    fn signals(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
