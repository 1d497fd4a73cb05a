//! What the rules on files have granted, told once each: from this a policy is learned that grants the same and no more.
//!
//! What a request was refused for other reasons is not told where the same error would come of a missing right, or comes before it is missed.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use files::Errno;
use policy::Rights;

/// Bytes of what is remembered as told. Beyond them all of it is forgotten, and may be told again.
const MAX_TOLD: usize = 256 * 1024;
/// Bytes that one of them costs beside its paths.
const OVERHEAD: usize = 128;

/// Something that was granted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The right; none for another name of what there is.
    pub rights: Rights,
    /// The resolved path.
    pub path: Vec<u8>,
    /// Where what is linked or renamed to `path` was: that path must have all rights of this one.
    pub from: Option<Vec<u8>>,
    /// It is a directory that was renamed: so must all that is below it.
    pub directory: bool,
}

/// The grants of a sandbox.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    told: BTreeSet<Grant>,
    /// Bytes of them.
    size: usize,
    /// Of the request under way.
    asked: Vec<Grant>,
    /// Those that are to be told.
    ready: Vec<Grant>,
}

impl Grants {
    /// Notes what a request was granted.
    pub(crate) fn add(&mut self, grant: Grant) {
        self.asked.push(grant);
    }

    /// The request has come to this.
    pub(crate) fn concluded(&mut self, result: Result<(), Errno>) {
        // These come whether the right is there or not.
        let is_told_anyway = matches!(result, Err(Errno::EACCES | Errno::EEXIST | Errno::ENOENT));
        for grant in self.asked.drain(..).filter(|_| !is_told_anyway) {
            if self.told.contains(&grant) {
                continue;
            }
            if self.size > MAX_TOLD {
                self.told.clear();
                self.size = 0;
            }
            self.size += OVERHEAD + grant.path.len() + grant.from.as_ref().map_or(0, Vec::len);
            self.told.insert(grant.clone());
            self.ready.push(grant);
        }
    }

    /// What is to be told of the last request.
    pub(crate) fn take(&mut self) -> Vec<Grant> {
        core::mem::take(&mut self.ready)
    }
}
