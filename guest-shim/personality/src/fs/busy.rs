//! A file that runs is not written to, and one that is written to does not run (ETXTBSY; Linux' `i_writecount`).
use alloc::rc::Rc;

use super::inode::Inode;
use crate::errno::Errno;

/// A process runs a file. As long as this exists, the file cannot be opened for writing or cut.
pub struct Running(Rc<Inode>);

impl Running {
    /// One more process runs it.
    #[must_use]
    pub fn new(inode: &Rc<Inode>) -> Self {
        inode.runs.set(inode.runs.get().saturating_add(1));
        Self(Rc::clone(inode))
    }
}

impl Clone for Running {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.runs.set(self.0.runs.get().saturating_sub(1));
    }
}

impl Inode {
    /// It is open for writing once more.
    pub fn opened_to_write(&self) {
        self.writers.set(self.writers.get().saturating_add(1));
    }

    /// It is open for writing once less.
    pub fn closed_to_write(&self) {
        self.writers.set(self.writers.get().saturating_sub(1));
    }

    /// Whether it may run.
    ///
    /// # Errors
    /// ETXTBSY: it is open for writing.
    pub fn check_run(&self) -> Result<(), Errno> {
        if self.writers.get() > 0 { Err(Errno::ETXTBSY) } else { Ok(()) }
    }

    /// Whether it may be written to.
    ///
    /// # Errors
    /// ETXTBSY: a process runs it.
    pub fn check_write(&self) -> Result<(), Errno> {
        if self.runs.get() > 0 { Err(Errno::ETXTBSY) } else { Ok(()) }
    }
}
