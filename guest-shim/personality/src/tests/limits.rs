//! What a sandbox may have of processes, threads, descriptors and memory, as the root says it.

use super::*;
use crate::errno::Errno;
use proto::{Limits, reached};

const FORK: u64 = 57;
const CLONE: u64 = 56;
const DUP: u64 = 32;
const CLOSE: u64 = 3;
const PIPE: u64 = 22;
const UNSHARE: u64 = 272;
const MMAP: u64 = 9;
/// CLONE_VM, _FS, _FILES, _SIGHAND, _THREAD.
const THREAD: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000;
const FILES: u64 = 0x400;

fn limited(limits: Limits) -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.kernel.platform.limits = limits;
    sandbox
}

impl Sandbox {
    fn clone(&mut self, flags: u64) -> i64 {
        self.call(CLONE, [flags, 0, 0, 0, 0, 0])
    }

    fn told(&mut self) -> u32 {
        core::mem::take(&mut self.kernel.platform.reached)
    }
}

#[test]
fn processes_and_threads_are_counted_apart() {
    let mut sandbox = limited(Limits { processes: 3, threads: 4, ..Limits::NONE });
    assert!(sandbox.call(FORK, [0; 6]) > 0 && sandbox.call(FORK, [0; 6]) > 0);
    assert_eq!((sandbox.call(FORK, [0; 6]), sandbox.told()), (error(Errno::EAGAIN), reached::PROCESSES));
    // A thread is no process, and a process is a thread.
    assert!(sandbox.clone(THREAD) > 0);
    assert_eq!((sandbox.clone(THREAD), sandbox.told()), (error(Errno::EAGAIN), reached::THREADS));
    sandbox.kernel.platform.limits.threads = 5;
    assert!(sandbox.clone(THREAD) > 0);
    assert_eq!(sandbox.told(), 0);
}

#[test]
fn descriptors_of_all_processes_are_counted_together() {
    // Three are there at the start.
    let mut sandbox = limited(Limits { open_files: 8, ..Limits::NONE });
    let at = sandbox.scratch;
    assert_eq!((0..4).map(|_| sandbox.call(DUP, [0; 6])).collect::<Vec<_>>(), [3, 4, 5, 6]);
    // Of a pipe, no end is left.
    assert_eq!((sandbox.call(PIPE, [at, 0, 0, 0, 0, 0]), sandbox.told()), (error(Errno::ENFILE), reached::OPEN_FILES));
    assert_eq!(sandbox.call(DUP, [0; 6]), 7);
    assert_eq!(sandbox.call(DUP, [0; 6]), error(Errno::ENFILE));
    // What is replaced makes room for what replaces it.
    assert_eq!(sandbox.call(33, [0, 7, 0, 0, 0, 0]), 7);
    assert_eq!(sandbox.call(FORK, [0; 6]), error(Errno::EAGAIN));
    assert!(sandbox.clone(FILES) > 0, "shared ones count once");
    assert_eq!(sandbox.call(UNSHARE, [FILES, 0, 0, 0, 0, 0]), error(Errno::ENFILE));
    for fd in 4..8 {
        assert_eq!(sandbox.call(CLOSE, [fd, 0, 0, 0, 0, 0]), 0);
    }
    assert_eq!(sandbox.call(UNSHARE, [FILES, 0, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(DUP, [0; 6]), error(Errno::ENFILE), "twice four");
}

#[test]
fn memory_ends_where_the_root_says() {
    let mut sandbox = Sandbox::new();
    let heap = sandbox.kernel.platform.spare_heap().total as u64;
    let used = sandbox.kernel.frames.used();
    let limit = (used + heap).next_multiple_of(64 << 10) + (128 << 10);
    sandbox.kernel.platform.limits = Limits { memory: limit, ..Limits::NONE };
    let at = sandbox.call(MMAP, [0, 1 << 20, 3, 0x22, u64::MAX, 0]);
    let start = u64::try_from(at).expect("an address");
    let touched = (0..256).take_while(|page| sandbox.kernel.copy_out(start + page * 4096, b"x").is_ok()).count();
    assert!((16..=48).contains(&touched), "{touched}");
    assert_eq!(sandbox.told(), reached::MEMORY);
    assert!(sandbox.kernel.frames.used() + heap <= limit);
    sandbox.kernel.platform.limits.memory += 64 << 10;
    assert_eq!(sandbox.kernel.copy_out(start + (200 << 12), b"x"), Ok(()));
}
