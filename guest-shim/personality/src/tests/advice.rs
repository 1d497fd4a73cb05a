//! Advice, residence, locks, limits, and moves of mappings.

use super::*;
use crate::errno::Errno;

const PAGE: u64 = 0x1000;
const PRIVATE: u64 = (raw::MAP_PRIVATE | raw::MAP_ANONYMOUS) as u64;
const SHARED: u64 = (raw::MAP_SHARED | raw::MAP_ANONYMOUS) as u64;

impl Sandbox {
    fn pages(&mut self, count: u64, flags: u64) -> u64 {
        self.call(9, [0, count * PAGE, 3, flags, u64::MAX, 0]).cast_unsigned()
    }

    fn advise(&mut self, at: u64, count: u64, advice: u32) -> i64 {
        self.call(28, [at, count * PAGE, u64::from(advice), 0, 0, 0])
    }

    fn byte(&mut self, at: u64) -> Option<u8> {
        let mut byte = [0];
        self.kernel.copy_in(at, &mut byte).ok().map(|()| byte[0])
    }

    fn set_byte(&mut self, at: u64, value: u8) {
        self.kernel.copy_out(at, &[value]).expect("writable");
    }

    fn set_limit(&mut self, kind: u32, value: u64) {
        let at = self.scratch;
        self.kernel.put(at, &[value, value]).expect("scratch");
        assert_eq!(self.call(160, [u64::from(kind), at, 0, 0, 0, 0]), 0);
    }
}

#[test]
fn advice_reaches_over_gaps_and_tells_of_them() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.pages(4, PRIVATE);
    sandbox.set_byte(at, 1);
    sandbox.set_byte(at + 3 * PAGE, 1);
    assert_eq!(sandbox.call(11, [at + PAGE, PAGE, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.advise(at, 4, raw::MADV_DONTNEED), error(Errno::ENOMEM));
    assert_eq!((sandbox.byte(at), sandbox.byte(at + 3 * PAGE)), (Some(0), Some(0)));
    assert_eq!(sandbox.advise(at, 1, 12345), error(Errno::EINVAL));
    assert_eq!(sandbox.advise(at, 0, raw::MADV_DONTNEED), 0);
    let shared = sandbox.pages(2, SHARED);
    sandbox.set_byte(shared, 3);
    assert_eq!(sandbox.advise(shared, 2, raw::MADV_DONTNEED), 0);
    assert_eq!(sandbox.byte(shared), Some(3), "shared memory stays");
    assert_eq!(sandbox.advise(shared, 2, raw::MADV_FREE), error(Errno::EINVAL));
    assert_eq!(sandbox.advise(shared, 2, raw::MADV_WIPEONFORK), error(Errno::EINVAL));
    assert_eq!(sandbox.advise(shared, 2, raw::MADV_REMOVE), 0);
    assert_eq!(sandbox.byte(shared), Some(0));
    assert_eq!(sandbox.advise(at, 1, raw::MADV_REMOVE), error(Errno::EINVAL));
    assert_eq!(sandbox.advise(at, 1, raw::MADV_POPULATE_WRITE), 0);
}

#[test]
fn residence_is_told_page_by_page() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.pages(3, PRIVATE);
    sandbox.set_byte(at + PAGE, 1);
    let out = sandbox.scratch;
    assert_eq!(sandbox.call(27, [at, 3 * PAGE, out, 0, 0, 0]), 0);
    assert_eq!(sandbox.bytes(out, 3), [0, 1, 0]);
    assert_eq!(sandbox.call(27, [at, 99 * PAGE, out, 0, 0, 0]), error(Errno::ENOMEM));
    assert_eq!(sandbox.call(27, [at + 1, PAGE, out, 0, 0, 0]), error(Errno::EINVAL));
}

#[test]
fn locks_bring_pages_in_and_have_a_limit() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.pages(4, PRIVATE);
    let out = sandbox.scratch;
    assert_eq!(sandbox.call(149, [at + 5, 2 * PAGE, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(27, [at, 4 * PAGE, out, 0, 0, 0]), 0);
    assert_eq!(sandbox.bytes(out, 4), [1, 1, 1, 0]);
    assert_eq!(sandbox.advise(at, 1, raw::MADV_DONTNEED), error(Errno::EINVAL));
    assert_eq!(sandbox.call(150, [at, 4 * PAGE, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.advise(at, 1, raw::MADV_DONTNEED), 0);
    sandbox.kernel.task.process.borrow_mut().uid = [5; 3];
    sandbox.set_limit(raw::RLIMIT_MEMLOCK, 2 * PAGE);
    assert_eq!(sandbox.call(149, [at, 3 * PAGE, 0, 0, 0, 0]), error(Errno::ENOMEM));
    assert_eq!(sandbox.call(325, [at, 2 * PAGE, 1, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(325, [at, PAGE, 2, 0, 0, 0]), error(Errno::EINVAL));
    assert_eq!(sandbox.call(151, [1, 0, 0, 0, 0, 0]), error(Errno::ENOMEM));
    assert_eq!(sandbox.call(152, [0; 6]), 0);
}

#[test]
fn limits_of_address_space_and_data_hold() {
    let mut sandbox = Sandbox::new();
    let total = sandbox.kernel.task.space.borrow().sum(|_| true);
    sandbox.set_limit(raw::RLIMIT_AS, total + 4 * PAGE);
    assert_eq!(sandbox.call(9, [0, 5 * PAGE, 3, PRIVATE, u64::MAX, 0]), error(Errno::ENOMEM));
    let at = sandbox.pages(4, PRIVATE);
    assert_eq!(sandbox.call(25, [at, 4 * PAGE, 5 * PAGE, 1, 0, 0]), error(Errno::ENOMEM));
    let heap = sandbox.call(12, [0; 6]).cast_unsigned();
    assert_eq!(sandbox.call(12, [heap + PAGE, 0, 0, 0, 0, 0]).cast_unsigned(), heap);
}

#[test]
fn huge_reservations_cost_nothing() {
    let mut sandbox = Sandbox::new();
    let used = sandbox.kernel.frames.used();
    let at = sandbox.call(9, [0, 64 << 30, 0, PRIVATE | u64::from(raw::MAP_NORESERVE), u64::MAX, 0]).cast_unsigned();
    assert!(at < 1 << 47);
    assert_eq!(sandbox.call(10, [at + (1 << 30), PAGE, 3, 0, 0, 0]), 0);
    sandbox.set_byte(at + (1 << 30), 1);
    assert_eq!(sandbox.call(11, [at, 64 << 30, 0, 0, 0, 0]), 0);
    assert!(sandbox.kernel.frames.used() <= used + 4 * PAGE);
}

#[test]
fn a_move_can_leave_the_mapping_behind() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.pages(2, PRIVATE);
    sandbox.set_byte(at, 6);
    let (move_only, keep) = (u64::from(raw::MREMAP_MAYMOVE), u64::from(raw::MREMAP_DONTUNMAP));
    assert_eq!(sandbox.call(25, [at, 2 * PAGE, PAGE, move_only | keep, 0, 0]), error(Errno::EINVAL));
    assert_eq!(sandbox.call(25, [at, 0, PAGE, move_only, 0, 0]), error(Errno::EINVAL));
    let moved = sandbox.call(25, [at, 2 * PAGE, 2 * PAGE, move_only | keep, 0, 0]).cast_unsigned();
    assert_eq!((sandbox.byte(moved), sandbox.byte(at)), (Some(6), Some(0)));
    let shared = sandbox.pages(2, SHARED);
    sandbox.set_byte(shared + PAGE, 8);
    let copy = sandbox.call(25, [shared + PAGE, 0, PAGE, move_only, 0, 0]).cast_unsigned();
    assert_eq!(sandbox.byte(copy), Some(8));
    sandbox.set_byte(copy, 9);
    assert_eq!(sandbox.byte(shared + PAGE), Some(9));
}

#[test]
fn rights_are_given_up_to_the_first_gap() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.pages(3, PRIVATE);
    assert_eq!(sandbox.call(11, [at + 2 * PAGE, PAGE, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(10, [at, 3 * PAGE, 1, 0, 0, 0]), error(Errno::ENOMEM));
    assert!(sandbox.kernel.copy_out(at + PAGE, &[1]).is_err());
    let down = u64::from(raw::PROT_GROWSDOWN);
    assert_eq!(sandbox.call(10, [at, PAGE, down | 3, 0, 0, 0]), error(Errno::EINVAL));
    let sp = sandbox.regs.rsp & !0xfff;
    assert_eq!(sandbox.call(10, [sp, PAGE, down | 7, 0, 0, 0]), 0);
}

#[test]
fn barriers_are_registered_first() {
    let mut sandbox = Sandbox::new();
    let offered = sandbox.call(324, [0; 6]);
    assert_eq!(offered & 0b11_1001, 0b11_1001);
    assert_eq!(sandbox.call(324, [8, 0, 0, 0, 0, 0]), error(Errno::EPERM));
    assert_eq!(sandbox.call(324, [16, 0, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(324, [8, 0, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(324, [32, 0, 0, 0, 0, 0]), error(Errno::EPERM));
    assert_eq!(sandbox.call(324, [1 << 20, 0, 0, 0, 0, 0]), error(Errno::EINVAL));
}

#[test]
fn there_is_one_node_and_no_key() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch;
    sandbox.kernel.put(at, &1_u64).expect("scratch");
    assert_eq!(sandbox.call(238, [2, at, 64, 0, 0, 0]), 0);
    sandbox.kernel.put(at, &2_u64).expect("scratch");
    assert_eq!(sandbox.call(238, [2, at, 64, 0, 0, 0]), error(Errno::EINVAL));
    assert_eq!(sandbox.call(239, [at, at + 8, 64, 0, 4, 0]), 0);
    assert_eq!(sandbox.bytes(at + 8, 8), 1_u64.to_le_bytes());
    assert_eq!(sandbox.call(330, [0; 6]), error(Errno::ENOSPC));
    assert_eq!(sandbox.call(331, [1, 0, 0, 0, 0, 0]), error(Errno::EINVAL));
    let page = sandbox.pages(1, PRIVATE);
    assert_eq!(sandbox.call(329, [page, PAGE, 1, u64::from(u32::MAX), 0, 0]), 0);
    assert_eq!(sandbox.call(329, [page, PAGE, 1, 1, 0, 0]), error(Errno::EINVAL));
}
