//! flock and splice.

use super::*;
use crate::errno::Errno;
use zerocopy::FromBytes;

impl Sandbox {
    fn flock(&mut self, fd: i64, operation: u64) -> i64 {
        self.call(73, [fd.cast_unsigned(), operation, 0, 0, 0, 0])
    }

    fn new_pipe(&mut self) -> (i64, i64) {
        let at = self.scratch;
        assert_eq!(self.call(293, [at, 0o4000, 0, 0, 0, 0]), 0);
        let ends = <[i32; 2]>::read_from_bytes(&self.bytes(at, 8)).expect("two numbers");
        (ends[0].into(), ends[1].into())
    }

    fn splice(&mut self, from: i64, to: i64, count: u64) -> i64 {
        self.call(275, [from.cast_unsigned(), 0, to.cast_unsigned(), 0, count, 0])
    }
}

#[test]
fn a_lock_is_its_open_files_and_ends_with_it() {
    let mut sandbox = Sandbox::new();
    let (one, two) = (sandbox.open(b"/etc/text", 0, 0), sandbox.open(b"/etc/text", 0, 0));
    assert_eq!(sandbox.flock(one, 2), 0);
    assert_eq!(sandbox.flock(one, 2), 0);
    assert_eq!(sandbox.flock(two, 2 | 4), error(Errno::EAGAIN));
    assert_eq!(sandbox.flock(two, 1 | 4), error(Errno::EAGAIN));
    assert_eq!(sandbox.flock(one, 1), 0);
    assert_eq!(sandbox.flock(two, 1 | 4), 0);
    assert_eq!(sandbox.flock(two, 2 | 4), error(Errno::EAGAIN));
    assert_eq!(sandbox.call(3, [one.cast_unsigned(), 0, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.flock(two, 2 | 4), 0);
    assert_eq!(sandbox.flock(two, 8), 0);
    assert_eq!(sandbox.flock(two, 3), error(Errno::EINVAL));
}

#[test]
fn splice_moves_between_a_pipe_and_something_else() {
    let mut sandbox = Sandbox::new();
    let ((read, write), file) = (sandbox.new_pipe(), sandbox.open(b"/etc/text", 0, 0));
    assert_eq!(sandbox.splice(read, write, 10), error(Errno::EINVAL));
    assert_eq!(sandbox.splice(file, write, 4), 4);
    assert_eq!(sandbox.splice(file, write, 100), 6);
    assert_eq!(sandbox.splice(file, write, 100), 0);
    let null = sandbox.open(b"/dev/null", raw::O_WRONLY, 0);
    assert_eq!(sandbox.splice(read, null, 4), 4);
    assert_eq!(sandbox.read(read, 100), Ok(b" text\n"[..].to_vec()));
    assert_eq!(sandbox.splice(file, null, 4), error(Errno::EINVAL));
    assert_eq!(sandbox.splice(read, null, 4), error(Errno::EAGAIN));
}
