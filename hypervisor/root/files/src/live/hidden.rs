//! Paths of a folder that a bind hides.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;

/// Names that a bind hides, as a tree: a leaf is hidden with all that is in it.
#[derive(Debug, Default)]
pub(super) struct Hidden(BTreeMap<Box<[u8]>, Rc<Hidden>>);

impl Hidden {
    pub(super) fn new(paths: &[Vec<u8>]) -> Self {
        let mut below: BTreeMap<&[u8], Option<Vec<Vec<u8>>>> = BTreeMap::new();
        for path in paths {
            let mut parts = path.splitn(2, |byte| *byte == b'/');
            let (name, rest) = (parts.next().unwrap_or_default(), parts.next());
            let entry = below.entry(name).or_insert_with(|| Some(Vec::new()));
            match (rest.filter(|rest| !rest.is_empty()), entry) {
                (Some(rest), Some(list)) => list.push(rest.to_vec()),
                (Some(_), None) => {}
                (None, entry) => *entry = None,
            }
        }
        let below =
            below.into_iter().map(|(name, paths)| (name.into(), Rc::new(Self::new(&paths.unwrap_or_default()))));
        Self(below.collect())
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn hides(&self, name: &[u8]) -> bool {
        self.0.get(name).is_some_and(|found| found.is_leaf())
    }

    /// What is hidden in the directory of this name.
    pub(super) fn below(&self, name: &[u8]) -> Option<Rc<Self>> {
        self.0.get(name).map(Rc::clone)
    }
}
