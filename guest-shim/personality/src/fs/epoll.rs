//! epoll: which of many files are ready.
//!
//! An entry observes the channels of its file. A wake-up puts the entry into the queue of those that are worth a look, and
//! only those are looked at. An entry that was found ready stays in the queue, unless it is edge-triggered; so does one
//! whose file can become ready without a wake-up, at a time or by the root's doing.
//!
//! An epoll may be in another one. What a look into such a nest can cost is bounded when it is built: by its depth, and by
//! the number of ways through it.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::cell::{Cell, RefCell};

use linux_raw_sys::general as raw;

use super::event::ANONYMOUS_MODE;
use super::file::{FileKind, OpenFile};
use super::special::{Caller, Sink, Special, Supply, ready};
use crate::errno::Errno;
use crate::wait::{Channel, Hub, Observer};

/// Epolls on the longest way through a nest.
const MAX_DEPTH: usize = 5;
/// Ways through a nest that one more entry may add.
const MAX_WAYS: usize = 64;
/// Entries below which nobody looks for those of closed files.
const FEW: usize = 64;

/// What an entry is for, as the program gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// EPOLL* bits.
    pub events: u32,
    /// Given back with each event.
    pub data: [u32; 2],
}

impl Interest {
    /// The events among them, as poll numbers them.
    #[must_use]
    pub fn wanted(self) -> i16 {
        let [low, high, ..] = self.events.to_le_bytes();
        i16::from_le_bytes([low, high]) | ready::ERR | ready::HUP
    }

    /// Only changes are reported.
    #[must_use]
    pub fn edges(self) -> bool {
        self.events & raw::EPOLLET != 0
    }
}

/// How it becomes known that a file's readiness has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// A channel is woken.
    Heard,
    /// The same, when somebody looks at a certain time.
    Timed,
    /// Only by looking.
    Unheard,
}

/// A file that is watched.
pub struct Entry {
    file: Weak<OpenFile>,
    epoll: Weak<Inner>,
    this: Weak<Entry>,
    interest: Cell<Interest>,
    /// What has changed since it was reported.
    changed: Cell<i16>,
    queued: Cell<bool>,
    /// EPOLLONESHOT has been reported.
    fired: Cell<bool>,
    /// It has been removed.
    removed: Cell<bool>,
    observed: RefCell<Vec<Channel>>,
}

impl Entry {
    /// The file, while it is open and the entry stands.
    #[must_use]
    pub fn file(&self) -> Option<Rc<OpenFile>> {
        if self.removed.get() { None } else { self.file.upgrade() }
    }

    /// What it is for.
    #[must_use]
    pub fn interest(&self) -> Interest {
        self.interest.get()
    }

    /// What of `found` is to be reported now.
    #[must_use]
    pub fn due(&self, found: i16, changes: Changes) -> i16 {
        let found = found & self.interest().wanted();
        let edges = self.interest().edges() && changes != Changes::Unheard;
        let unseen = !edges || found & self.changed.get() != 0;
        if unseen && !self.fired.get() { found } else { 0 }
    }

    /// It has been reported.
    fn reported(&self) {
        self.changed.set(0);
        self.fired.set(self.interest().events & raw::EPOLLONESHOT != 0);
    }

    /// Observes what its file has channels for.
    fn observe(&self, file: &OpenFile) {
        let FileKind::Special(special) = &file.kind else { return };
        let mut channels = Vec::new();
        special.channels(&mut channels);
        let mut observed = self.observed.borrow_mut();
        for channel in &channels {
            if !observed.contains(channel) {
                let this: Weak<dyn Observer> = self.this.clone();
                channel.observe(this);
            }
        }
        *observed = channels;
    }

    fn enqueue(&self) {
        let (Some(epoll), Some(this)) = (self.epoll.upgrade(), self.this.upgrade()) else { return };
        if !self.queued.replace(true) {
            epoll.queue.borrow_mut().push_back(this);
        }
        epoll.channel.wake_for(ready::IN);
    }
}

impl Observer for Entry {
    fn notify(&self, events: i16) -> bool {
        if self.removed.get() || (events != 0 && events & self.interest().wanted() == 0) {
            return false;
        }
        let waits = self.epoll.upgrade().is_some_and(|epoll| epoll.channel.waiters() > 0);
        self.changed.set(self.changed.get() | events);
        self.enqueue();
        // Who waits for input cannot be expected to see to an end of file, nor to more than it asked for: as Linux has it
        // (`ep_poll_callback`), a change that may be both input and output is everybody's.
        let both = ready::IN | ready::OUT;
        let kind = events & both;
        waits && kind != both && (kind == 0 || kind & self.interest().wanted() != 0)
    }

    fn exclusive(&self) -> bool {
        self.interest().events & raw::EPOLLEXCLUSIVE != 0
    }
}

/// Entries by descriptor and identity of the open file, as Linux tells them apart.
type Key = (i32, usize);

struct Inner {
    entries: RefCell<BTreeMap<Key, Rc<Entry>>>,
    queue: RefCell<VecDeque<Rc<Entry>>>,
    /// The epolls that this one is in, once for each entry.
    parents: RefCell<Vec<Weak<Inner>>>,
    /// Number of entries at which to look for those of closed files again.
    sweep_at: Cell<usize>,
    number: u64,
    channel: Channel,
}

/// An epoll instance.
pub struct Epoll(Rc<Inner>);

/// The epoll that a file is, if it is one.
#[must_use]
pub fn epoll_of(file: &OpenFile) -> Option<&Epoll> {
    match &file.kind {
        FileKind::Special(special) => special.as_any().downcast_ref(),
        _ => None,
    }
}

/// A file that can be waited for: not one of bytes on a disk, nor a device without a queue.
#[must_use]
pub fn can_be_waited_for(file: &OpenFile) -> bool {
    matches!(file.kind, FileKind::Special(_) | FileKind::Console(_) | FileKind::Signals(_))
}

fn key(fd: i32, file: &Rc<OpenFile>) -> Key {
    (fd, Rc::as_ptr(file).addr())
}

impl Epoll {
    /// Watches nothing.
    #[must_use]
    pub fn new(hub: &Hub, number: u64) -> Self {
        Self(Rc::new(Inner {
            entries: RefCell::default(),
            queue: RefCell::default(),
            parents: RefCell::default(),
            sweep_at: Cell::new(FEW),
            number,
            channel: hub.channel(),
        }))
    }

    /// Watches `file`, which the program calls `fd`.
    ///
    /// # Errors
    /// EPERM: the file cannot be waited for. EEXIST: it is watched already. ELOOP, EINVAL: too deep or too wide a nest.
    pub fn add(&self, fd: i32, file: &Rc<OpenFile>, interest: Interest) -> Result<(), Errno> {
        let key = key(fd, file);
        if !can_be_waited_for(file) {
            return Err(Errno::EPERM);
        }
        if self.0.entries.borrow().contains_key(&key) {
            return Err(Errno::EEXIST);
        }
        if let Some(child) = epoll_of(file) {
            self.check_nest(child)?;
            child.0.parents.borrow_mut().push(Rc::downgrade(&self.0));
        }
        self.sweep();
        let entry = Rc::new_cyclic(|this| Entry {
            file: Rc::downgrade(file),
            epoll: Rc::downgrade(&self.0),
            this: Weak::clone(this),
            interest: Cell::new(interest),
            changed: Cell::new(!0),
            queued: Cell::new(false),
            fired: Cell::new(false),
            removed: Cell::new(false),
            observed: RefCell::default(),
        });
        entry.observe(file);
        entry.enqueue();
        self.0.entries.borrow_mut().insert(key, entry);
        Ok(())
    }

    /// Changes what an entry is for.
    ///
    /// # Errors
    /// ENOENT; EINVAL for an exclusive one.
    pub fn modify(&self, fd: i32, file: &Rc<OpenFile>, interest: Interest) -> Result<(), Errno> {
        let entry = self.0.entries.borrow().get(&key(fd, file)).cloned().ok_or(Errno::ENOENT)?;
        if entry.interest().events & raw::EPOLLEXCLUSIVE != 0 {
            return Err(Errno::EINVAL);
        }
        entry.interest.set(interest);
        entry.changed.set(!0);
        entry.fired.set(false);
        entry.enqueue();
        Ok(())
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// ENOENT.
    pub fn remove(&self, fd: i32, file: &Rc<OpenFile>) -> Result<(), Errno> {
        let entry = self.0.entries.borrow_mut().remove(&key(fd, file)).ok_or(Errno::ENOENT)?;
        entry.removed.set(true);
        self.0.queue.borrow_mut().retain(|queued| !Rc::ptr_eq(queued, &entry));
        if let Some(child) = epoll_of(file) {
            let mut parents = child.0.parents.borrow_mut();
            if let Some(at) = parents.iter().position(|parent| parent.as_ptr() == Rc::as_ptr(&self.0)) {
                parents.swap_remove(at);
            }
        }
        Ok(())
    }

    /// Forgets the entries of closed files, now and then.
    fn sweep(&self) {
        let mut entries = self.0.entries.borrow_mut();
        if entries.len() >= self.0.sweep_at.get() {
            entries.retain(|_, entry| entry.file.strong_count() > 0);
            self.0.sweep_at.set(entries.len().saturating_mul(2).max(FEW));
        }
    }

    /// The channel that is woken when an entry is worth a look.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.0.channel
    }

    /// Takes all entries that are worth a look. Each goes back by [`Epoll::settle`] or [`Epoll::keep`].
    #[must_use]
    pub fn take_queue(&self) -> VecDeque<Rc<Entry>> {
        core::mem::take(&mut *self.0.queue.borrow_mut())
    }

    /// An entry out of the queue has been looked at, and reported or not.
    pub fn settle(&self, entry: Rc<Entry>, file: &OpenFile, reported: bool, changes: Changes) {
        entry.observe(file);
        let stays = changes != Changes::Heard || (reported && !entry.interest().edges());
        if reported {
            entry.reported();
        }
        if stays && !entry.fired.get() {
            self.0.queue.borrow_mut().push_back(entry);
        } else {
            entry.queued.set(false);
        }
    }

    /// Puts entries back in front that nobody has looked at.
    pub fn keep(&self, mut entries: VecDeque<Rc<Entry>>) {
        let mut queue = self.0.queue.borrow_mut();
        entries.append(&mut queue);
        *queue = entries;
    }

    /// Is an entry ready? `look` says what a file is ready for, and how that changes.
    pub fn any_ready(&self, mut look: impl FnMut(&Rc<OpenFile>, i16) -> (i16, Changes)) -> bool {
        let mut queue = self.take_queue();
        let mut found = false;
        while let Some(entry) = queue.pop_front() {
            let Some(file) = entry.file() else { continue };
            let (now, changes) = look(&file, entry.interest().wanted());
            if entry.due(now, changes) != 0 {
                queue.push_front(entry);
                found = true;
                break;
            }
            self.settle(entry, &file, false, changes);
        }
        self.keep(queue);
        found
    }

    /// Calls `each` with the open files of the queue and what is wanted of them.
    pub fn for_queued(&self, mut each: impl FnMut(&Rc<OpenFile>, i16)) {
        for entry in &*self.0.queue.borrow() {
            if let Some(file) = entry.file() {
                each(&file, entry.interest().wanted());
            }
        }
    }

    /// May `child` become an entry of this?
    fn check_nest(&self, child: &Self) -> Result<(), Errno> {
        let below = survey(&child.0, Inner::children);
        let above = survey(&self.0, Inner::parents);
        if below.known.contains_key(&Rc::as_ptr(&self.0).addr()) || below.depth + above.depth > MAX_DEPTH {
            return Err(Errno::ELOOP);
        }
        if below.ways.saturating_mul(above.ways) > MAX_WAYS {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}

impl Inner {
    fn children(&self) -> Vec<Rc<Inner>> {
        let entries = self.entries.borrow();
        let files = entries.values().filter_map(|entry| entry.file());
        files.filter_map(|file| epoll_of(&file).map(|epoll| Rc::clone(&epoll.0))).collect()
    }

    fn parents(&self) -> Vec<Rc<Inner>> {
        let mut parents = self.parents.borrow_mut();
        parents.retain(|parent| parent.strong_count() > 0);
        parents.iter().filter_map(Weak::upgrade).collect()
    }
}

/// What a nest looks like from one of its epolls.
struct Survey {
    /// Epolls on the longest way.
    depth: usize,
    /// Ways that start here, those that end early included.
    ways: usize,
    /// The same of each epoll that was met.
    known: BTreeMap<usize, (usize, usize)>,
}

/// Looks along `next`. What has been built already is at most [`MAX_DEPTH`] deep, and each epoll is met once.
fn survey(from: &Rc<Inner>, next: fn(&Inner) -> Vec<Rc<Inner>>) -> Survey {
    fn visit(
        here: &Rc<Inner>,
        next: fn(&Inner) -> Vec<Rc<Inner>>,
        known: &mut BTreeMap<usize, (usize, usize)>,
    ) -> (usize, usize) {
        let name = Rc::as_ptr(here).addr();
        if let Some(&found) = known.get(&name) {
            return found;
        }
        let (mut depth, mut ways) = (0, 1_usize);
        for other in next(here) {
            let (deeper, more) = visit(&other, next, known);
            depth = depth.max(deeper);
            ways = ways.saturating_add(more);
        }
        known.insert(name, (depth + 1, ways));
        (depth + 1, ways)
    }
    let mut known = BTreeMap::new();
    let (depth, ways) = visit(from, next, &mut known);
    Survey { depth, ways, known }
}

impl Special for Epoll {
    fn read(&self, _: &Caller, _: &mut dyn Sink) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn write(&self, _: &Caller, _: &mut dyn Supply) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    /// Without what only the kernel can ask for (`Kernel::readiness`): the console.
    fn poll(&self, caller: &Caller) -> i16 {
        let look = |file: &Rc<OpenFile>, _| match &file.kind {
            FileKind::Special(special) if special.deadline() == u64::MAX => (special.poll(caller), Changes::Heard),
            FileKind::Special(special) => (special.poll(caller), Changes::Timed),
            _ => (0, Changes::Unheard),
        };
        if self.any_ready(look) { ready::IN } else { 0 }
    }

    fn channels(&self, add: &mut Vec<Channel>) {
        add.push(self.0.channel.clone());
    }

    fn deadline(&self) -> u64 {
        let mut first = u64::MAX;
        self.for_queued(|file, _| {
            if let FileKind::Special(special) = &file.kind {
                first = first.min(special.deadline());
            }
        });
        first
    }

    fn mode(&self) -> u32 {
        ANONYMOUS_MODE
    }

    fn inode(&self) -> u64 {
        self.0.number
    }

    fn link(&self) -> Vec<u8> {
        b"anon_inode:[eventpoll]".into()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
