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
    /// A listing told of it ahead, and nobody has looked for it yet.
    ahead: Cell<bool>,
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
        Rc::new(Self {
            position: RefCell::new((parent, name.into())),
            removed: Cell::new(false),
            ahead: Cell::new(false),
            node,
        })
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

impl Remembered {
    fn is(&self, directory: u64, name: &[u8]) -> bool {
        self.directory == directory && *self.name == *name
    }

    /// Whether a listing told of it ahead, and nobody had looked for it until now.
    fn take_ahead(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.ahead.take())
    }
}

/// What directories hold, as far as it was asked. A few slots a hash value, the latest answers first: one more forgets the oldest.
///
/// A listing can have each name's node told with it, which is worth it for programs that look at what they list. Whether they do is learned: a look
/// that a listing has spared, or could have spared, makes up for several names that were told in vain.
pub struct NameCache {
    sets: Vec<[Option<Remembered>; WAYS]>,
    /// Slots in use.
    used: usize,
    /// Names that were told ahead and not looked for yet.
    ahead: usize,
    /// What telling ahead has saved, or would have, less what it has cost, in names told.
    worth: u32,
}

/// Slots of a hash value.
const WAYS: usize = 4;
/// Number of hash values at first, and at most (powers of two).
const SETS: [usize; 2] = [64, 128];
/// Names that are told ahead at most before one of them has been looked for.
const MAX_AHEAD: usize = SETS[1] * WAYS / 2;
/// How many names it costs as much to be told ahead as to ask for one.
const LOOK: u32 = 4;
/// The most that counts of what was saved.
const MAX_WORTH: u32 = 1024;

impl NameCache {
    /// Knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { sets: Vec::new(), used: 0, ahead: 0, worth: 0 }
    }

    /// Whether anything is known of this name.
    #[must_use]
    pub fn knows(&self, directory: u64, name: &[u8]) -> bool {
        let set = self.sets.get(position(directory, name, self.sets.len()));
        set.is_some_and(|set| set.iter().flatten().any(|one| one.is(directory, name)))
    }

    /// What is known of `name` in the directory with this node number: `Some(None)` if it is not there.
    pub fn get(&mut self, directory: u64, name: &[u8]) -> Option<Option<Place>> {
        let count = self.sets.len();
        let set = self.sets.get_mut(position(directory, name, count))?;
        let way = set.iter().position(|one| one.as_ref().is_some_and(|one| one.is(directory, name)))?;
        if way > 0 {
            set.get_mut(..=way)?.rotate_right(1);
        }
        let found = set.first()?.as_ref()?;
        let place = found.place.clone();
        if found.take_ahead() {
            self.ahead = self.ahead.saturating_sub(1);
            self.could_be_spared();
        }
        Some(place)
    }

    /// Remembers an answer.
    pub fn put(&mut self, directory: u64, name: &[u8], place: Option<Place>) {
        if self.used >= self.sets.len() * WAYS / 2 && self.sets.len() < SETS[1] {
            self.grow();
        }
        self.place(Remembered { directory, name: name.into(), place });
    }

    /// Remembers what a listing told of a name of which nothing was known.
    pub fn put_ahead(&mut self, directory: u64, name: &[u8], place: Place) {
        place.ahead.set(true);
        self.put(directory, name, Some(place));
        self.ahead += 1;
        self.worth = self.worth.saturating_sub(1);
    }

    /// The root was asked for a name that a listing could have told.
    pub fn could_be_spared(&mut self) {
        self.worth = (self.worth + LOOK).min(MAX_WORTH);
    }

    /// Whether listings are to tell nodes ahead.
    #[must_use]
    pub fn wants_ahead(&self) -> bool {
        self.worth > 0 && self.ahead < MAX_AHEAD
    }

    fn place(&mut self, one: Remembered) {
        let at = position(one.directory, &one.name, self.sets.len());
        let Some(set) = self.sets.get_mut(at) else { return };
        let same = |old: &Option<Remembered>| old.as_ref().is_none_or(|old| old.is(one.directory, &one.name));
        let way = set.iter().position(same).unwrap_or(WAYS - 1);
        set[..=way].rotate_right(1);
        match set[0].replace(one) {
            Some(old) => self.ahead = self.ahead.saturating_sub(usize::from(old.take_ahead())),
            None => self.used += 1,
        }
    }

    /// Takes more slots.
    fn grow(&mut self) {
        let len = (self.sets.len() * 2).max(SETS[0]);
        let old = core::mem::take(&mut self.sets);
        self.sets.resize_with(len, <[_; WAYS]>::default);
        self.used = 0;
        // The oldest of each first.
        old.into_iter().flat_map(|set| set.into_iter().rev()).flatten().for_each(|one| self.place(one));
    }
}

impl Default for NameCache {
    fn default() -> Self {
        Self::new()
    }
}

/// The set of a name, of so many: FNV-1a, with what the last bytes have come to, which stands in its lowest bits, spread over those that count.
fn position(directory: u64, name: &[u8], sets: usize) -> usize {
    let bytes = directory.to_le_bytes().into_iter().chain(name.iter().copied());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    index(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) & sets.wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::format;
    use alloc::string::String;

    use super::*;

    /// A node of the shim's own: its number does not matter here.
    fn place(name: &str) -> Place {
        Dentry::new(None, name.as_bytes(), Node::Device(Device::Directory))
    }

    fn name(number: usize) -> String {
        format!("{number:02}")
    }

    #[test]
    fn names_that_differ_in_one_byte_have_sets_of_their_own() {
        for directory in [1, 77, 1 << 40] {
            let sets: BTreeSet<usize> = (0..100).map(|n| position(directory, name(n).as_bytes(), 512)).collect();
            assert!(sets.len() >= 80, "{} sets for 100 names", sets.len());
        }
    }

    #[test]
    fn a_few_hundred_names_are_kept_and_there_are_not_ever_more() {
        let mut cache = NameCache::new();
        assert!(!cache.knows(1, b"a") && cache.get(1, b"a").is_none());
        for number in 0..10_000 {
            cache.put(1, name(number).as_bytes(), Some(place("x")));
            assert!(cache.knows(1, name(number).as_bytes()), "the latest is kept");
        }
        let known = (0..10_000).filter(|&number| cache.knows(1, name(number).as_bytes())).count();
        assert_eq!((known, cache.used), (SETS[1] * WAYS, SETS[1] * WAYS));
        let mut cache = NameCache::new();
        (0..300).for_each(|number| cache.put(1, name(number).as_bytes(), None));
        let known = (0..300).filter(|&number| matches!(cache.get(1, name(number).as_bytes()), Some(None))).count();
        assert!(known >= 280, "{known} of 300 names are known");
    }

    #[test]
    fn what_is_looked_for_stays_longest() {
        let mut cache = NameCache::new();
        cache.put(1, b"kept", None);
        for number in 0..5000 {
            assert!(cache.get(1, b"kept").is_some());
            cache.put(1, name(number).as_bytes(), None);
        }
    }

    #[test]
    fn names_are_told_ahead_while_that_is_worth_it() {
        let mut cache = NameCache::new();
        assert!(!cache.wants_ahead());
        (0..1000).for_each(|_| cache.could_be_spared());
        let mut told = 0;
        while cache.wants_ahead() {
            cache.put_ahead(1, name(told).as_bytes(), place("x"));
            told += 1;
        }
        assert!(told <= MAX_AHEAD + MAX_AHEAD / 4, "{told} names were told and not looked for");
        // Each look makes room for what comes next; it counts once.
        let unused = cache.ahead;
        let last = name(told - 1);
        (0..5).for_each(|_| assert!(cache.get(1, last.as_bytes()).is_some()));
        assert_eq!(cache.ahead, unused - 1);
        // So does what is forgotten or replaced.
        for number in 0..told {
            cache.put(1, name(number).as_bytes(), None);
        }
        (0..10_000).for_each(|number| cache.put(2, name(number).as_bytes(), None));
        assert_eq!(cache.ahead, 0);
    }
}
