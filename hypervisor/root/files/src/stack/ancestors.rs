//! Following the parents of a directory.
//!
//! Directories of the sandbox' own make no circles: a renaming that would is refused. Those of a folder of the host lie where its server
//! says, and some of them may have been moved here into others; a server that wants to can then say that the first lie in the second.
//! So whoever follows parents ends when it goes round.
use super::Stack;
use crate::attr::Ino;

/// A directory, the one that it is in, and so on up to the root; or for a while, if it goes round (Brent's algorithm).
pub(super) struct Ancestors<'s, 't> {
    stack: &'s Stack<'t>,
    next: Option<Ino>,
    /// One that was passed: who comes back to it goes round.
    mark: Ino,
    /// Steps until the mark is set anew, and how many they were the last time.
    left: u64,
    stride: u64,
}

impl Iterator for Ancestors<'_, '_> {
    type Item = Ino;

    fn next(&mut self) -> Option<Ino> {
        let at = self.next?;
        let parent = self.stack.parent(at);
        self.next = (at != Ino::ROOT && parent != self.mark).then_some(parent);
        self.left -= 1;
        if self.left == 0 {
            self.stride = self.stride.saturating_mul(2);
            (self.mark, self.left) = (parent, self.stride);
        }
        Some(at)
    }
}

impl<'t> Stack<'t> {
    pub(super) const fn ancestors(&self, dir: Ino) -> Ancestors<'_, 't> {
        Ancestors { stack: self, next: Some(dir), mark: dir, left: 1, stride: 1 }
    }

    /// Whether a directory is `ancestor` or lies below it. One that lies in itself lies in everything: nothing can be moved there.
    pub(super) fn lies_in(&self, dir: Ino, ancestor: Ino) -> bool {
        let mut last = dir;
        for at in self.ancestors(dir) {
            if at == ancestor {
                return true;
            }
            last = at;
        }
        last != Ino::ROOT
    }
}
