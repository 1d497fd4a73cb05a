//! Mappings.

use super::*;
use crate::errno::Errno;
use crate::mm::area::Access;

const PRIVATE: u64 = (raw::MAP_PRIVATE | raw::MAP_ANONYMOUS) as u64;
const FIXED: u64 = raw::MAP_FIXED as u64;
const PAGE: u64 = 0x1000;

impl Sandbox {
    fn map(&mut self, hint: u64, len: u64, prot: u64, flags: u64) -> i64 {
        self.call(9, [hint, len, prot, flags, u64::MAX, 0])
    }

    fn poke(&mut self, at: u64) -> bool {
        self.kernel.copy_out(at, &[1]).is_ok()
    }

    fn peek(&mut self, at: u64) -> Option<u8> {
        let mut byte = [0];
        self.kernel.copy_in(at, &mut byte).ok().map(|()| byte[0])
    }
}

#[test]
fn the_heap_grows_and_shrinks() {
    let mut sandbox = Sandbox::new();
    let start = sandbox.call(12, [0; 6]).cast_unsigned();
    assert_eq!(sandbox.call(12, [start + 0x5001, 0, 0, 0, 0, 0]).cast_unsigned(), start + 0x5001);
    assert!(sandbox.poke(start + 0x5fff));
    assert!(!sandbox.poke(start + 0x6000));
    assert_eq!(sandbox.call(12, [start + 1, 0, 0, 0, 0, 0]).cast_unsigned(), start + 1);
    assert!(!sandbox.poke(start + 0x1000));
    assert_eq!(sandbox.call(12, [start + (1 << 40), 0, 0, 0, 0, 0]).cast_unsigned(), start + 1);
    assert_eq!(sandbox.call(12, [1, 0, 0, 0, 0, 0]).cast_unsigned(), start + 1);
}

#[test]
fn mappings_are_zero_and_cut_in_the_middle() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.map(0, 8 * PAGE, 3, PRIVATE).cast_unsigned();
    assert_eq!(sandbox.peek(at + 5), Some(0));
    for page in 0..8 {
        assert!(sandbox.poke(at + page * PAGE));
    }
    let used = sandbox.kernel.frames.used();
    assert_eq!(sandbox.call(11, [at + 2 * PAGE, 3 * PAGE, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.kernel.frames.used(), used - 3 * PAGE);
    assert!(sandbox.poke(at + PAGE) && sandbox.poke(at + 5 * PAGE));
    assert!(!sandbox.poke(at + 2 * PAGE) && !sandbox.poke(at + 4 * PAGE));
    let again = sandbox.map(at + 2 * PAGE, PAGE, 3, PRIVATE | FIXED);
    assert_eq!(again.cast_unsigned(), at + 2 * PAGE);
    assert_eq!(sandbox.peek(at + 2 * PAGE), Some(0));
    let taken = sandbox.map(at, PAGE, 3, PRIVATE | u64::from(raw::MAP_FIXED_NOREPLACE));
    assert_eq!(taken, error(Errno::EEXIST));
}

#[test]
fn rights_are_kept_and_changed() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.map(0, 3 * PAGE, 3, PRIVATE).cast_unsigned();
    assert!(sandbox.poke(at + PAGE));
    assert_eq!(sandbox.call(10, [at + PAGE, PAGE, 1, 0, 0, 0]), 0);
    assert!(!sandbox.poke(at + PAGE));
    assert_eq!(sandbox.peek(at + PAGE), Some(1));
    assert!(sandbox.poke(at) && sandbox.poke(at + 2 * PAGE));
    assert_eq!(sandbox.call(10, [at + PAGE, PAGE, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.peek(at + PAGE), None);
    assert_eq!(sandbox.call(10, [at, 3 * PAGE, 3, 0, 0, 0]), 0);
    assert_eq!(sandbox.peek(at + PAGE), Some(1));
    assert!(sandbox.kernel.touch(at, Access::Execute).is_err());
    assert_eq!(sandbox.call(10, [at, PAGE, 5, 0, 0, 0]), 0);
    assert!(sandbox.kernel.touch(at, Access::Execute).is_ok());
    assert_eq!(sandbox.call(10, [at, 99 * PAGE, 1, 0, 0, 0]), error(Errno::ENOMEM));
    assert_eq!(sandbox.call(10, [at + 1, PAGE, 1, 0, 0, 0]), error(Errno::EINVAL));
}

/// What a rule on all 64 bits of an argument takes for another number is another one here, too.
#[test]
fn bits_beyond_the_low_half_are_seen() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.map(0, 2 * PAGE, 3, PRIVATE).cast_unsigned();
    let high = 1 << 32;
    let invalid = error(Errno::EINVAL);
    for number in [10, 329] {
        assert_eq!(sandbox.call(number, [at, PAGE, high | 7, u64::MAX, 0, 0]), invalid);
        assert_eq!(sandbox.call(number, [at, 0, high | 7, u64::MAX, 0, 0]), 0, "nothing is looked at");
    }
    assert!(sandbox.kernel.touch(at, Access::Execute).is_err());
    assert_eq!(sandbox.call(25, [at, 2 * PAGE, PAGE, high | 1, 0, 0]), invalid);
    assert_eq!(sandbox.call(272, [high, 0, 0, 0, 0, 0]), invalid);
    assert_eq!(sandbox.call(239, [0, 0, 0, 0, high, 0]), invalid);
    // What Linux does not look at is not looked at.
    assert!(sandbox.map(0, PAGE, high | 3, high | PRIVATE) > 0);
    let mask = sandbox.map(0, PAGE, 3, PRIVATE).cast_unsigned();
    assert!(sandbox.poke(mask));
    assert_eq!(sandbox.call(203, [0, high | 8, mask, 0, 0, 0]), 0);
    assert_eq!(sandbox.call(203, [0, high, mask, 0, 0, 0]), invalid);
    assert_eq!(sandbox.call(204, [0, high | 8, mask, 0, 0, 0]), 8);
}

#[test]
fn rights_that_are_equal_again_join_the_areas() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.map(0, 8 * PAGE, 3, PRIVATE).cast_unsigned();
    let count = sandbox.kernel.task.space.borrow().areas().len();
    for _ in 0..50 {
        assert_eq!(sandbox.call(10, [at + 2 * PAGE, PAGE, 1, 0, 0, 0]), 0);
        assert_eq!(sandbox.call(10, [at + 2 * PAGE, PAGE, 3, 0, 0, 0]), 0);
    }
    assert_eq!(sandbox.kernel.task.space.borrow().areas().len(), count);
}

#[test]
fn a_file_is_mapped_page_by_page() {
    let mut server = ordinary_server();
    let data: Vec<u8> = (0..0x2800_u32).map(|n| (n / 0x1000 + 1).to_le_bytes()[0]).collect();
    server.file("/etc/data", &data, 0o644);
    let mut sandbox = Sandbox::with(server);
    let fd = sandbox.open(b"/etc/data", raw::O_RDONLY, 0).cast_unsigned();
    let private = u64::from(raw::MAP_PRIVATE);
    let at = sandbox.call(9, [0, 5 * PAGE, 3, private, fd, PAGE]).cast_unsigned();
    sandbox.call(3, [fd, 0, 0, 0, 0, 0]);
    assert_eq!(sandbox.peek(at), Some(2));
    assert_eq!(sandbox.peek(at + PAGE), Some(3));
    assert_eq!(sandbox.peek(at + PAGE + 0x7ff), Some(3));
    assert_eq!(sandbox.peek(at + PAGE + 0x800), Some(0));
    assert_eq!(sandbox.peek(at + 2 * PAGE), None);
    assert!(sandbox.poke(at));
    assert_eq!(sandbox.fault(14, 4, at + 2 * PAGE), Flow::Ended);
    assert_eq!(sandbox.kernel.platform.exit.map(|exit| exit.signal), Some(7));
}

#[test]
fn mappings_move_with_what_is_in_them() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.map(0, 4 * PAGE, 3, PRIVATE).cast_unsigned();
    assert!(sandbox.poke(at) && sandbox.poke(at + 3 * PAGE));
    sandbox.map(at + 4 * PAGE, PAGE, 3, PRIVATE | FIXED);
    assert_eq!(sandbox.call(25, [at, 4 * PAGE, 8 * PAGE, 0, 0, 0]), error(Errno::ENOMEM));
    let moved = sandbox.call(25, [at, 4 * PAGE, 8 * PAGE, 1, 0, 0]).cast_unsigned();
    assert_ne!(moved, at);
    assert_eq!((sandbox.peek(moved), sandbox.peek(moved + 3 * PAGE)), (Some(1), Some(1)));
    assert_eq!(sandbox.peek(moved + 7 * PAGE), Some(0));
    assert_eq!(sandbox.peek(at), None);
    assert_eq!(sandbox.call(25, [moved, 8 * PAGE, 2 * PAGE, 0, 0, 0]).cast_unsigned(), moved);
    assert_eq!(sandbox.peek(moved + 2 * PAGE), None);
}

#[test]
fn a_move_that_fails_half_way_leaves_nothing_at_the_target() {
    const BORDER: u64 = 0x5000_0000_0000;
    let mut sandbox = Sandbox::new();
    let at = sandbox.map(0, 2 * PAGE, 3, PRIVATE).cast_unsigned();
    assert!(sandbox.poke(at) && sandbox.poke(at + PAGE));
    // The target's first page has a leaf table already, its second would need one.
    assert_eq!(sandbox.map(BORDER - 2 * PAGE, PAGE, 3, PRIVATE | FIXED).cast_unsigned(), BORDER - 2 * PAGE);
    assert!(sandbox.poke(BORDER - 2 * PAGE));
    let hogs = [(); 2].map(|()| sandbox.map(0, 7 << 20, 3, PRIVATE).cast_unsigned());
    let pages = hogs.iter().flat_map(|hog| (0..(7 << 20) / PAGE).map(move |page| hog + page * PAGE));
    assert!(pages.into_iter().any(|page| !sandbox.poke(page)), "the frames are used up");
    let (move_fixed, target) = (3, BORDER - PAGE);
    assert_eq!(sandbox.call(25, [at, 2 * PAGE, 2 * PAGE, move_fixed, target, 0]), error(Errno::ENOMEM));
    assert_eq!(sandbox.peek(target), None, "a frame that is still the source's");
    assert_eq!((sandbox.peek(at), sandbox.peek(at + PAGE)), (Some(1), Some(1)));
}

#[test]
fn discarded_pages_are_zero_again() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.map(0, 2 * PAGE, 3, PRIVATE).cast_unsigned();
    assert!(sandbox.poke(at));
    assert_eq!(sandbox.call(28, [at, 2 * PAGE, 4, 0, 0, 0]), 0);
    assert_eq!(sandbox.peek(at), Some(0));
    assert_eq!(sandbox.call(28, [at, 99 * PAGE, 4, 0, 0, 0]), error(Errno::ENOMEM));
    assert_eq!(sandbox.call(28, [at, PAGE, 9999, 0, 0, 0]), error(Errno::EINVAL));
}

#[test]
fn the_stack_grows_down_to_its_limit() {
    let mut sandbox = Sandbox::new();
    let sp = sandbox.regs.rsp;
    assert_eq!(sandbox.fault(14, 6, sp - (4 << 20)), Flow::Resume);
    assert_eq!(sandbox.fault(14, 6, sp - (9 << 20)), Flow::Ended);
    assert_eq!(sandbox.kernel.platform.exit.map(|exit| exit.signal), Some(11));
}

#[test]
fn memory_that_is_used_up_ends_the_program_only() {
    let mut sandbox = Sandbox::new();
    assert_eq!(sandbox.map(0, 1 << 40, 3, PRIVATE), error(Errno::ENOMEM));
    let at = sandbox.map(0, 7 << 20, 3, PRIVATE).cast_unsigned();
    let more = sandbox.map(0, 7 << 20, 3, PRIVATE).cast_unsigned();
    let mut flow = Flow::Resume;
    for page in 0..(14 << 20) / PAGE {
        let base = if page < (7 << 20) / PAGE { at + page * PAGE } else { more + page * PAGE - (7 << 20) };
        flow = sandbox.fault(14, 6, base);
        if flow == Flow::Ended {
            break;
        }
    }
    assert_eq!(flow, Flow::Ended);
    assert_eq!(sandbox.kernel.platform.exit.map(|exit| exit.signal), Some(9));
}

#[test]
fn frames_come_back() {
    let mut sandbox = Sandbox::new();
    let mut used = 0;
    for round in 0..50 {
        let at = sandbox.map(0, 64 * PAGE, 3, PRIVATE).cast_unsigned();
        for page in 0..64 {
            assert!(sandbox.poke(at + page * PAGE));
            assert_eq!(sandbox.peek(at + page * PAGE + 1), Some(0));
        }
        assert_eq!(sandbox.call(11, [at, 64 * PAGE, 0, 0, 0, 0]), 0);
        if round == 0 {
            used = sandbox.kernel.frames.used();
        }
    }
    assert_eq!(sandbox.kernel.frames.used(), used);
}
