//! Files in memory: memfd_create, seals, and what changes the size of a memory object.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::ops::Range;

use linux_raw_sys::general as raw;

use super::Args;
use crate::errno::{Errno, Outcome};
use crate::fs::file::{FileKind, MemoryFile, OpenFile};
use crate::fs::inode::Inode;
use crate::kernel::Kernel;
use crate::mm::area::BadTouch;
use crate::mm::object::Object;
use crate::platform::{PAGE, Platform};

/// Longest name, without NUL (MFD_NAME_MAX_LEN).
const MAX_NAME: usize = 249;
/// Shift of the huge page size in the flags.
const HUGE_MASK: u32 = 0x3f << 26;

pub(super) fn memfd_create<P: Platform>(kernel: &mut Kernel<P>, args: &Args) -> Outcome {
    let flags = args.uint(1);
    let known = raw::MFD_CLOEXEC | raw::MFD_ALLOW_SEALING;
    let huge = raw::MFD_HUGETLB | HUGE_MASK;
    if flags & !(known | huge) != 0 || (flags & HUGE_MASK != 0 && flags & raw::MFD_HUGETLB == 0) {
        return Err(Errno::EINVAL.into());
    }
    let name = kernel.string(args.get(0), MAX_NAME + 1, Errno::EINVAL)?;
    if flags & raw::MFD_HUGETLB != 0 {
        // There are no huge pages to make it of.
        return Err(Errno::ENOMEM.into());
    }
    let mut full = Vec::from(b"/memfd:");
    full.extend_from_slice(&name);
    full.extend_from_slice(b" (deleted)");
    let object = Object::zeros(0, &full, &kernel.frames);
    if flags & raw::MFD_ALLOW_SEALING != 0 {
        object.set_seals(0);
    }
    let memory = MemoryFile { number: kernel.random.below(1 << 32), mode: Cell::new(0o777), object };
    let file = OpenFile::new(FileKind::Memory(Rc::new(memory)), None, raw::O_RDWR, kernel.fuse.leftovers());
    kernel.install(file, flags & raw::MFD_CLOEXEC != 0)
}

/// F_ADD_SEALS and F_GET_SEALS.
pub(super) fn seals<P: Platform>(kernel: &mut Kernel<P>, file: &OpenFile, command: u32, wanted: u32) -> Outcome {
    let FileKind::Memory(memory) = &file.kind else { return Err(Errno::EINVAL.into()) };
    let object = &memory.object;
    if command == raw::F_GET_SEALS {
        return Ok(u64::from(object.seals()));
    }
    let known = raw::F_SEAL_SEAL | raw::F_SEAL_SHRINK | raw::F_SEAL_GROW | raw::F_SEAL_WRITE | raw::F_SEAL_FUTURE_WRITE;
    if !file.writable() {
        return Err(Errno::EPERM.into());
    }
    if wanted & !known != 0 {
        return Err(Errno::EINVAL.into());
    }
    if object.seals() & raw::F_SEAL_SEAL != 0 {
        return Err(Errno::EPERM.into());
    }
    let new = wanted & !object.seals();
    if new & raw::F_SEAL_WRITE != 0 && kernel.spaces().iter().any(|space| space.borrow().can_write_to(object)) {
        return Err(Errno::EBUSY.into());
    }
    object.set_seals(object.seals() | wanted);
    Ok(0)
}

/// ftruncate of a file in memory.
pub(super) fn truncate<P: Platform>(kernel: &mut Kernel<P>, object: &Rc<Object>, size: u64) -> Outcome {
    let (old, seals) = (object.size(), object.seals());
    if (size < old && seals & raw::F_SEAL_SHRINK != 0) || (size > old && seals & raw::F_SEAL_GROW != 0) {
        return Err(Errno::EPERM.into());
    }
    kernel.resize_object(object, size);
    Ok(0)
}

/// fallocate of a file in memory: allocation, or a hole.
pub(super) fn allocate<P: Platform>(
    kernel: &mut Kernel<P>,
    object: &Rc<Object>,
    mode: u32,
    bytes: Range<u64>,
) -> Outcome {
    let hole = raw::FALLOC_FL_PUNCH_HOLE | raw::FALLOC_FL_KEEP_SIZE;
    if mode == hole {
        if object.seals() & (raw::F_SEAL_WRITE | raw::F_SEAL_FUTURE_WRITE) != 0 {
            return Err(Errno::EPERM.into());
        }
        kernel.punch_object(object, bytes);
        return Ok(0);
    }
    if mode & !raw::FALLOC_FL_KEEP_SIZE != 0 {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let grows = bytes.end > object.size();
    if grows && object.seals() & raw::F_SEAL_GROW != 0 {
        return Err(Errno::EPERM.into());
    }
    if bytes.end - bytes.start > kernel.frames.available() {
        return Err(Errno::ENOSPC.into());
    }
    let size = object.size();
    kernel.resize_object(object, bytes.end.max(size));
    for number in bytes.start / PAGE..bytes.end.div_ceil(PAGE) {
        if let Err(BadTouch::NoMemory) = object.bring(&mut kernel.source(), number) {
            kernel.resize_object(object, size);
            return Err(Errno::ENOSPC.into());
        }
    }
    if grows && mode != 0 {
        object.keep_size(size);
    }
    Ok(0)
}

/// SEEK_DATA and SEEK_HOLE.
pub(super) fn seek(object: &Object, offset: i64, whence: u32) -> Result<u64, Errno> {
    let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
    if offset >= object.size() {
        return Err(Errno::ENXIO);
    }
    let data = object.next_page(offset / PAGE).map_or(u64::MAX, |number| number * PAGE).max(offset);
    if whence == raw::SEEK_DATA {
        return if data < object.size() { Ok(data) } else { Err(Errno::ENXIO) };
    }
    if data > offset {
        return Ok(offset);
    }
    let mut number = offset / PAGE;
    while object.frame(number).is_some() {
        number += 1;
    }
    Ok((number * PAGE).min(object.size()))
}

impl<P: Platform> Kernel<P> {
    /// Changes the size of an object; pages that are lost disappear from all spaces.
    pub(crate) fn resize_object(&mut self, object: &Rc<Object>, size: u64) {
        object.resize(&mut self.source(), size);
        self.forget_pages(object, size.div_ceil(PAGE)..u64::MAX / PAGE);
    }

    /// Zeros in `bytes` of an object; whole pages go.
    pub(crate) fn punch_object(&mut self, object: &Rc<Object>, bytes: Range<u64>) {
        let pages = bytes.start.div_ceil(PAGE)..bytes.end / PAGE;
        if pages.start >= pages.end {
            object.clear(&mut self.platform, bytes);
            return;
        }
        object.clear(&mut self.platform, bytes.start..pages.start * PAGE);
        object.clear(&mut self.platform, pages.end * PAGE..bytes.end);
        object.remove(&mut self.source(), pages.clone());
        self.forget_pages(object, pages);
    }

    fn forget_pages(&mut self, object: &Rc<Object>, numbers: Range<u64>) {
        for space in self.spaces() {
            space.borrow_mut().forget_pages(&mut self.source(), object, numbers.clone());
        }
    }

    /// A file of the root's has this size now.
    pub(crate) fn file_resized(&mut self, inode: &Inode, size: u64) {
        self.fuse.content_changes(inode);
        if let Some(object) = inode.cache() {
            self.resize_object(&object, size);
        }
    }

    /// A file of the root's was changed by the root itself: pages that are mapped shared show it.
    pub(crate) fn file_changed(&mut self, inode: &Inode) -> Result<(), Errno> {
        self.fuse.content_changes(inode);
        match inode.cache() {
            Some(object) => object.read_again(&mut self.fuse, &mut self.platform, &(0..u64::MAX)),
            None => Ok(()),
        }
    }

    /// Writes what was changed by way of mappings to the file.
    pub(crate) fn write_back(&mut self, file: &OpenFile) -> Result<(), Errno> {
        match file.inode().and_then(|inode| inode.cache()) {
            Some(object) => object.write_back(&mut self.fuse, &mut self.platform, &(0..u64::MAX)),
            None => Ok(()),
        }
    }
}
