//! Names: where a node was found, and a bounded cache of what directories hold.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::dev::Device;
use super::inode::Inode;
use super::proc::ProcNode;
use crate::num::index;

/// What a name stands for.
#[derive(Clone)]
pub enum Node {
    /// Something in the root's file system.
    File(Rc<Inode>),
    /// Something of the shim's own `/dev`.
    Device(Device),
    /// Something of the shim's own `/proc`.
    Proc(ProcNode),
}

/// A name in a directory, with what it stands for. The parents form a chain up to the root, so `..` and getcwd need
/// nobody's help.
pub struct Dentry {
    position: RefCell<(Option<Place>, Box<[u8]>)>,
    removed: Cell<bool>,
    /// What is there.
    pub node: Node,
}

/// A place in the tree of names.
pub type Place = Rc<Dentry>;

/// Longest chain of directories that a path is made of.
const MAX_DEPTH: usize = 2048;

impl Dentry {
    /// `node` under `name` in `parent`; without a parent it is a root.
    #[must_use]
    pub fn new(parent: Option<Place>, name: &[u8], node: Node) -> Place {
        Rc::new(Self { position: RefCell::new((parent, name.into())), removed: Cell::new(false), node })
    }

    /// `inode` under `name` in `parent`. A directory has one name at a time, so it has one dentry, whatever paths led to it: a rename
    /// by one of them is seen by all.
    #[must_use]
    pub fn of_file(parent: &Place, name: &[u8], inode: Rc<Inode>) -> Place {
        if !inode.is_directory() {
            return Self::new(Some(Rc::clone(parent)), name, Node::File(inode));
        }
        if let Some(known) = inode.place() {
            known.moved(parent, name);
            return known;
        }
        let place = Self::new(Some(Rc::clone(parent)), name, Node::File(Rc::clone(&inode)));
        inode.set_place(&place);
        place
    }

    /// The directory that it is in; `None` for a root.
    #[must_use]
    pub fn parent(&self) -> Option<Place> {
        self.position.borrow().0.clone()
    }

    /// Calls `look` with the directory that it is in and its name there.
    pub fn with_position<T>(&self, look: impl FnOnce(Option<&Place>, &[u8]) -> T) -> T {
        let position = self.position.borrow();
        look(position.0.as_ref(), &position.1)
    }

    /// It has another name now.
    pub fn moved(&self, parent: &Place, name: &[u8]) {
        self.position.replace((Some(Rc::clone(parent)), name.into()));
    }

    /// Its name is gone.
    pub fn set_removed(&self) {
        self.removed.set(true);
    }

    /// Was its name removed?
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removed.get()
    }

    /// Is the other the same directory, whatever names led to them?
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.node, &other.node) {
            (Node::File(one), Node::File(two)) => one.number() == two.number(),
            (Node::Device(one), Node::Device(two)) => one == two,
            (Node::Proc(one), Node::Proc(two)) => one == two,
            _ => false,
        }
    }

    /// Its path as `/proc` shows it: with a remark when the name is gone.
    #[must_use]
    pub fn shown_path(self: &Rc<Self>) -> Vec<u8> {
        let mut path = self.path();
        if self.is_removed() {
            path.extend_from_slice(b" (deleted)");
        }
        path
    }

    /// Its absolute path.
    #[must_use]
    pub fn path(self: &Rc<Self>) -> Vec<u8> {
        self.names_up_to(None)
    }

    /// Its path as seen by somebody whose root is `root`: what is not below that is marked as on Linux.
    #[must_use]
    pub fn path_below(self: &Rc<Self>, root: &Self) -> Vec<u8> {
        self.names_up_to(Some(root))
    }

    fn names_up_to(self: &Rc<Self>, root: Option<&Self>) -> Vec<u8> {
        let mut names: Vec<Box<[u8]>> = Vec::new();
        let mut here = Rc::clone(self);
        let is_root = |here: &Self| root.is_some_and(|root| root.is_same(here));
        while names.len() < MAX_DEPTH && !is_root(&here) {
            let Some(parent) = here.parent() else { break };
            names.push(here.position.borrow().1.clone());
            here = parent;
        }
        let mut path = Vec::new();
        if root.is_some() && !is_root(&here) {
            path.extend_from_slice(b"(unreachable)");
        }
        if names.is_empty() {
            path.push(b'/');
        }
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        path
    }
}

impl Drop for Dentry {
    /// Lets a long chain of parents go one by one: the stack here is small.
    fn drop(&mut self) {
        let mut next = self.position.get_mut().0.take();
        while let Some(parent) = next {
            next = Rc::try_unwrap(parent).ok().and_then(|mut parent| parent.position.get_mut().0.take());
        }
    }
}

/// A remembered answer: `None` when there is no such name.
struct Remembered {
    directory: u64,
    name: Box<[u8]>,
    place: Option<Place>,
}

/// What directories hold, as far as it was asked. One slot a hash value: a collision forgets the older answer.
pub struct NameCache {
    slots: Vec<Option<Remembered>>,
}

/// Number of slots (a power of two).
const SLOTS: u64 = 512;

impl NameCache {
    /// Knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { slots: Vec::new() }
    }

    /// What is known of `name` in the directory with this node number: `Some(None)` if it is not there.
    #[must_use]
    pub fn get(&self, directory: u64, name: &[u8]) -> Option<Option<Place>> {
        let slot = self.slots.get(position(directory, name))?.as_ref()?;
        (slot.directory == directory && *slot.name == *name).then(|| slot.place.clone())
    }

    /// Remembers an answer.
    pub fn put(&mut self, directory: u64, name: &[u8], place: Option<Place>) {
        if self.slots.is_empty() {
            self.slots.resize_with(index(SLOTS), || None);
        }
        if let Some(slot) = self.slots.get_mut(position(directory, name)) {
            *slot = Some(Remembered { directory, name: name.into(), place });
        }
    }
}

impl Default for NameCache {
    fn default() -> Self {
        Self::new()
    }
}

/// The slot of a name (FNV-1a).
fn position(directory: u64, name: &[u8]) -> usize {
    let bytes = directory.to_le_bytes().into_iter().chain(name.iter().copied());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    index((hash >> 20) % SLOTS)
}
