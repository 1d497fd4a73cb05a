//! What was judged is what is carried out, whatever the program's memory says by then.

use super::*;
use crate::errno::Errno;
use crate::platform::Copied;
use proto::{COPY_LEN, Copies, CopyHead, MAX_COPIES};

impl Sandbox {
    /// Makes a call whose string at `address` was judged as `bytes`.
    fn judged(&mut self, number: u64, args: [u64; 6], address: u64, bytes: &[u8]) -> i64 {
        self.kernel.platform.copies = vec![Copied { address, bytes: bytes.to_vec() }];
        self.sequence += 1;
        self.kernel.platform.grant =
            Grant { sequence: self.sequence, number, args, flags: grant_flags::COPIES, fetch: 0 };
        self.regs.vector = SYSCALL_VECTOR;
        assert_eq!(self.kernel.system_call(&mut self.regs), Flow::Resume);
        self.regs.rax.cast_signed()
    }
}

#[test]
fn the_copy_counts() {
    let mut sandbox = Sandbox::new();
    let here = i64::from(raw::AT_FDCWD).cast_unsigned();
    let path = sandbox.string(0, b"/no/such/file");
    let args = [here, path, 0, 0, 0, 0];
    assert_eq!(sandbox.call(257, args), error(Errno::ENOENT));
    let fd = sandbox.judged(257, args, path, b"/bin/tiny");
    assert!(fd > 2, "{fd}");
    // Nothing of it is left for the next call.
    assert_eq!(sandbox.call(257, args), error(Errno::ENOENT));
    // A copy of another address is of no concern.
    assert_eq!(sandbox.judged(257, args, path + 1, b"/bin/tiny"), error(Errno::ENOENT));
    assert_eq!(sandbox.judged(257, args, path, &[b'x'; COPY_LEN]), error(Errno::ENAMETOOLONG));
}

#[test]
fn fetching_brings_a_page_in_and_makes_the_call_again() {
    let mut sandbox = Sandbox::new();
    let flags = u64::from(raw::MAP_PRIVATE | raw::MAP_ANONYMOUS);
    let page = sandbox.call(9, [0, 0x1000, 3, flags, u64::MAX, 0]).cast_unsigned();
    for fetch in [page + 5, 1, u64::MAX] {
        sandbox.sequence += 1;
        sandbox.kernel.platform.grant =
            Grant { sequence: sandbox.sequence, number: 257, args: [0; 6], flags: grant_flags::FETCH, fetch };
        sandbox.regs.vector = SYSCALL_VECTOR;
        sandbox.regs.rip = 0x1002;
        sandbox.regs.rax = 257;
        assert_eq!(sandbox.kernel.system_call(&mut sandbox.regs), Flow::Resume);
        assert_eq!((sandbox.regs.rip, sandbox.regs.rax), (0x1000, 257));
        assert!(sandbox.kernel.task.call.is_none());
    }
}

#[test]
fn entries_that_are_there() {
    let mut copies = Copies { heads: [CopyHead::default(); MAX_COPIES], bytes: [[b'a'; COPY_LEN]; MAX_COPIES] };
    assert_eq!(Copied::list(&copies), []);
    copies.heads = [CopyHead { address: 7, len: COPY_LEN as u64 + 1 }, CopyHead { address: 8, len: 3 }];
    assert_eq!(Copied::list(&copies), [Copied { address: 8, bytes: b"aaa".to_vec() }]);
}
