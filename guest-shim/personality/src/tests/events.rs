//! eventfd, timerfd, epoll.

use super::*;
use crate::abi::{EpollEvent, Itimerspec, Timespec};
use crate::errno::Errno;
use zerocopy::{FromBytes, IntoBytes};

const IN: u32 = raw::EPOLLIN;
const OUT: u32 = raw::EPOLLOUT;
const ET: u32 = raw::EPOLLET;

impl Sandbox {
    fn eventfd(&mut self, count: u64, flags: u32) -> i64 {
        self.call(290, [count, u64::from(flags), 0, 0, 0, 0])
    }

    fn pipe(&mut self) -> (i64, i64) {
        let at = self.scratch;
        assert_eq!(self.call(293, [at, 0o4000, 0, 0, 0, 0]), 0);
        let ends = <[i32; 2]>::read_from_bytes(&self.bytes(at, 8)).expect("two numbers");
        (ends[0].into(), ends[1].into())
    }

    fn epoll(&mut self) -> i64 {
        self.call(291, [0; 6])
    }

    fn watch(&mut self, epoll: i64, operation: u32, fd: i64, events: u32) -> i64 {
        let event = EpollEvent { events, data: [u32::try_from(fd).expect("a descriptor"), 77] };
        let at = self.scratch + 0x100;
        self.kernel.copy_out(at, event.as_bytes()).expect("scratch memory");
        self.call(233, [epoll.cast_unsigned(), operation.into(), fd.cast_unsigned(), at, 0, 0])
    }

    fn add(&mut self, epoll: i64, fd: i64, events: u32) -> i64 {
        self.watch(epoll, raw::EPOLL_CTL_ADD, fd, events)
    }

    /// What is ready now: descriptor and events.
    fn ready(&mut self, epoll: i64) -> Vec<(i64, u32)> {
        self.ready_within(epoll, 8, 0)
    }

    fn ready_within(&mut self, epoll: i64, most: u64, milliseconds: u64) -> Vec<(i64, u32)> {
        let at = self.scratch + 0x200;
        let count = self.call(232, [epoll.cast_unsigned(), at, most, milliseconds, 0, 0]);
        let bytes = self.bytes(at, usize::try_from(count).expect("no error") * 12);
        let events = bytes.chunks(12).map(|bytes| EpollEvent::read_from_bytes(bytes).expect("an event"));
        events
            .map(|event| {
                assert_eq!(event.data[1], 77);
                (event.data[0].into(), event.events)
            })
            .collect()
    }

    fn count(&mut self, fd: i64) -> Result<u64, i64> {
        self.read(fd, 8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    }

    fn set_timer(&mut self, fd: i64, flags: u32, value: (i64, i64), interval: (i64, i64)) -> i64 {
        let time = |(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec };
        let setting = Itimerspec { it_interval: time(interval), it_value: time(value) };
        let at = self.scratch + 0x400;
        self.kernel.copy_out(at, setting.as_bytes()).expect("scratch memory");
        self.call(286, [fd.cast_unsigned(), flags.into(), at, at + 32, 0, 0])
    }
}

#[test]
fn eventfds_count() {
    let mut sandbox = Sandbox::new();
    let fd = sandbox.eventfd(3, 0o4000);
    assert_eq!(sandbox.write(fd, &4_u64.to_le_bytes()), 8);
    assert_eq!(sandbox.count(fd), Ok(7));
    assert_eq!(sandbox.count(fd), Err(error(Errno::EAGAIN)));
    assert_eq!(sandbox.read(fd, 7), Err(error(Errno::EINVAL)));
    assert_eq!(sandbox.write(fd, &u64::MAX.to_le_bytes()), error(Errno::EINVAL));
    assert_eq!(sandbox.write(fd, &[1; 7]), error(Errno::EINVAL));
    assert_eq!(sandbox.write(fd, &(u64::MAX - 1).to_le_bytes()), 8);
    assert_eq!(sandbox.write(fd, &1_u64.to_le_bytes()), error(Errno::EAGAIN));
    assert_eq!(sandbox.write(fd, &[0; 16]), 8);
    assert_eq!(sandbox.count(fd), Ok(u64::MAX - 1));
    let fd = sandbox.eventfd(2, 0o4000 | raw::EFD_SEMAPHORE);
    assert_eq!([sandbox.count(fd), sandbox.count(fd), sandbox.count(fd)], [Ok(1), Ok(1), Err(error(Errno::EAGAIN))]);
    assert_eq!(sandbox.eventfd(0, 2), error(Errno::EINVAL));
}

#[test]
fn a_read_into_bad_memory_takes_nothing() {
    let mut sandbox = Sandbox::new();
    let fd = sandbox.eventfd(3, 0);
    assert_eq!(sandbox.call(0, [fd.cast_unsigned(), 8, 8, 0, 0, 0]), error(Errno::EFAULT));
    let end = sandbox.scratch + 0x4_0000;
    assert_eq!(sandbox.call(0, [fd.cast_unsigned(), end - 4, 8, 0, 0, 0]), error(Errno::EFAULT));
    assert_eq!(sandbox.count(fd), Ok(3));
}

#[test]
fn levels_are_reported_while_they_last() {
    let mut sandbox = Sandbox::new();
    let (epoll, (reader, writer)) = (sandbox.epoll(), sandbox.pipe());
    assert_eq!(sandbox.add(epoll, reader, IN), 0);
    assert_eq!(sandbox.add(epoll, writer, OUT), 0);
    assert_eq!(sandbox.ready(epoll), [(writer, OUT)]);
    sandbox.write(writer, b"ab");
    assert_eq!(sandbox.ready(epoll), [(writer, OUT), (reader, IN)]);
    assert_eq!(sandbox.ready_within(epoll, 1, 0), [(writer, OUT)]);
    assert_eq!(sandbox.ready_within(epoll, 1, 0), [(reader, IN)]);
    sandbox.read(reader, 2).expect("two bytes");
    assert_eq!(sandbox.ready(epoll), [(writer, OUT)]);
    assert_eq!(sandbox.watch(epoll, raw::EPOLL_CTL_MOD, writer, IN), 0);
    assert_eq!(sandbox.ready(epoll), []);
    sandbox.close(writer);
    assert_eq!(sandbox.ready(epoll), [(reader, raw::EPOLLHUP)]);
    assert_eq!(sandbox.watch(epoll, raw::EPOLL_CTL_DEL, reader, 0), 0);
    assert_eq!(sandbox.ready(epoll), []);
}

#[test]
fn edges_are_reported_once() {
    let mut sandbox = Sandbox::new();
    let (epoll, (reader, writer)) = (sandbox.epoll(), sandbox.pipe());
    assert_eq!(sandbox.add(epoll, reader, IN | ET), 0);
    sandbox.write(writer, b"ab");
    assert_eq!(sandbox.ready(epoll), [(reader, IN)]);
    assert_eq!(sandbox.ready(epoll), []);
    sandbox.read(reader, 1).expect("a byte");
    assert_eq!(sandbox.ready(epoll), []);
    sandbox.write(writer, b"c");
    assert_eq!(sandbox.ready(epoll), [(reader, IN)]);
    assert_eq!(sandbox.watch(epoll, raw::EPOLL_CTL_MOD, reader, IN | ET), 0);
    assert_eq!(sandbox.ready(epoll), [(reader, IN)]);
    assert_eq!(sandbox.ready(epoll), []);
}

#[test]
fn one_shots_rest_until_they_are_set_again() {
    let mut sandbox = Sandbox::new();
    let (epoll, event) = (sandbox.epoll(), sandbox.eventfd(1, 0));
    assert_eq!(sandbox.add(epoll, event, IN | raw::EPOLLONESHOT), 0);
    assert_eq!(sandbox.ready(epoll), [(event, IN)]);
    sandbox.write(event, &1_u64.to_le_bytes());
    assert_eq!(sandbox.ready(epoll), []);
    assert_eq!(sandbox.watch(epoll, raw::EPOLL_CTL_MOD, event, IN | raw::EPOLLONESHOT), 0);
    assert_eq!(sandbox.ready(epoll), [(event, IN)]);
}

#[test]
fn what_cannot_be_watched_says_why() {
    let mut sandbox = Sandbox::new();
    let (epoll, event) = (sandbox.epoll(), sandbox.eventfd(0, 0));
    let text = sandbox.open(b"/etc/text", raw::O_RDONLY, 0);
    let directory = sandbox.open(b"/etc", raw::O_RDONLY, 0);
    let null = sandbox.open(b"/dev/null", raw::O_RDONLY, 0);
    for fd in [text, directory, null] {
        assert_eq!(sandbox.add(epoll, fd, IN), error(Errno::EPERM));
    }
    assert_eq!(sandbox.add(epoll, 99, IN), error(Errno::EBADF));
    assert_eq!(sandbox.add(99, event, IN), error(Errno::EBADF));
    assert_eq!(sandbox.add(event, epoll, IN), error(Errno::EINVAL));
    assert_eq!(sandbox.add(epoll, epoll, IN), error(Errno::EINVAL));
    assert_eq!(sandbox.watch(epoll, raw::EPOLL_CTL_MOD, event, IN), error(Errno::ENOENT));
    assert_eq!(sandbox.watch(epoll, raw::EPOLL_CTL_DEL, event, IN), error(Errno::ENOENT));
    assert_eq!(sandbox.watch(epoll, 9, event, IN), error(Errno::EINVAL));
    assert_eq!(sandbox.add(epoll, event, IN), 0);
    assert_eq!(sandbox.add(epoll, event, IN), error(Errno::EEXIST));
    let other = sandbox.epoll();
    assert_eq!(sandbox.add(other, event, IN | raw::EPOLLEXCLUSIVE | raw::EPOLLRDHUP), error(Errno::EINVAL));
    assert_eq!(sandbox.add(other, event, IN | raw::EPOLLEXCLUSIVE), 0);
    assert_eq!(sandbox.watch(other, raw::EPOLL_CTL_MOD, event, IN), error(Errno::EINVAL));
    let call = |sandbox: &mut Sandbox, at, most: i64| {
        sandbox.call(232, [epoll.cast_unsigned(), at, most.cast_unsigned(), 0, 0, 0])
    };
    let at = sandbox.scratch;
    assert_eq!(call(&mut sandbox, at, 0), error(Errno::EINVAL));
    assert_eq!(call(&mut sandbox, at, -1), error(Errno::EINVAL));
    sandbox.write(event, &1_u64.to_le_bytes());
    assert_eq!(call(&mut sandbox, 8, 1), error(Errno::EFAULT));
    assert_eq!(sandbox.ready(epoll), [(event, IN)]);
    assert_eq!(sandbox.read(epoll, 8), Err(error(Errno::EINVAL)));
}

#[test]
fn entries_live_as_long_as_their_files() {
    let mut sandbox = Sandbox::new();
    let (epoll, event) = (sandbox.epoll(), sandbox.eventfd(1, 0));
    let copy = sandbox.call(32, [event.cast_unsigned(), 0, 0, 0, 0, 0]);
    assert_eq!(sandbox.add(epoll, event, IN), 0);
    assert_eq!(sandbox.add(epoll, copy, IN), 0);
    sandbox.close(event);
    assert_eq!(sandbox.ready(epoll), [(event, IN), (copy, IN)]);
    sandbox.close(copy);
    assert_eq!(sandbox.ready(epoll), []);
    for _ in 0..1000 {
        let event = sandbox.eventfd(0, 0);
        assert_eq!(sandbox.add(epoll, event, IN), 0);
        sandbox.close(event);
    }
    assert_eq!(sandbox.ready(epoll), []);
}

#[test]
fn epolls_nest_within_bounds() {
    let mut sandbox = Sandbox::new();
    let event = sandbox.eventfd(0, 0);
    let chain: Vec<i64> = (0..6).map(|_| sandbox.epoll()).collect();
    assert_eq!(sandbox.add(chain[0], event, IN), 0);
    for pair in chain[..5].windows(2) {
        assert_eq!(sandbox.add(pair[1], pair[0], IN), 0);
    }
    assert_eq!(sandbox.add(chain[5], chain[4], IN), error(Errno::ELOOP));
    assert_eq!(sandbox.add(chain[0], chain[4], IN), error(Errno::ELOOP));
    assert_eq!(sandbox.ready(chain[4]), []);
    sandbox.write(event, &1_u64.to_le_bytes());
    assert_eq!(sandbox.ready(chain[4]), [(chain[3], IN)]);
    sandbox.count(event).expect("one");
    assert_eq!(sandbox.ready(chain[4]), []);
    assert_eq!(sandbox.watch(chain[4], raw::EPOLL_CTL_DEL, chain[3], 0), 0);
    assert_eq!(sandbox.add(chain[5], chain[3], IN), 0);
}

#[test]
fn ways_through_a_nest_are_few() {
    let mut sandbox = Sandbox::new();
    let (top, middle, bottom) = (sandbox.epoll(), sandbox.epoll(), sandbox.epoll());
    let copies: Vec<i64> = (0..80).map(|_| sandbox.call(32, [bottom.cast_unsigned(), 0, 0, 0, 0, 0])).collect();
    for copy in copies {
        assert_eq!(sandbox.add(middle, copy, IN), 0);
    }
    assert_eq!(sandbox.add(top, middle, IN), error(Errno::EINVAL));
}

#[test]
fn timers_expire_and_count() {
    let mut sandbox = Sandbox::new();
    let timer = sandbox.call(283, [1, 0o4000, 0, 0, 0, 0]);
    assert_eq!(sandbox.count(timer), Err(error(Errno::EAGAIN)));
    assert_eq!(sandbox.set_timer(timer, 0, (1, 0), (0, 500_000_000)), 0);
    sandbox.kernel.platform.time += 21_000_000;
    assert_eq!(sandbox.count(timer), Ok(3));
    let at = sandbox.scratch;
    assert_eq!(sandbox.call(287, [timer.cast_unsigned(), at, 0, 0, 0, 0]), 0);
    let left = Itimerspec::read_from_bytes(&sandbox.bytes(at, 32)).expect("an itimerspec");
    assert_eq!(left.it_interval, Timespec { tv_sec: 0, tv_nsec: 500_000_000 });
    assert!((399_000_000..=400_000_000).contains(&left.it_value.tv_nsec), "{left:?}");
    assert_eq!(sandbox.set_timer(timer, 0, (0, 0), (0, 0)), 0);
    let old = Itimerspec::read_from_bytes(&sandbox.bytes(at + 0x420, 32)).expect("an itimerspec");
    assert_eq!(old.it_interval, left.it_interval);
    sandbox.kernel.platform.time += 100_000_000;
    assert_eq!(sandbox.count(timer), Err(error(Errno::EAGAIN)));
    assert_eq!(sandbox.set_timer(timer, 0, (0, 1_000_000_000), (0, 0)), error(Errno::EINVAL));
    assert_eq!(sandbox.set_timer(timer, 4, (1, 0), (0, 0)), error(Errno::EINVAL));
    assert_eq!(sandbox.set_timer(1, 0, (1, 0), (0, 0)), error(Errno::EINVAL));
}

#[test]
fn absolute_times_are_by_the_timers_own_clock() {
    let mut sandbox = Sandbox::new();
    let realtime = sandbox.call(283, [0, 0o4000, 0, 0, 0, 0]);
    assert_eq!(sandbox.set_timer(realtime, 1, (1_700_000_002, 0), (0, 0)), 0);
    sandbox.kernel.platform.time = 19_999_000;
    assert_eq!(sandbox.count(realtime), Err(error(Errno::EAGAIN)));
    sandbox.kernel.platform.time = 20_000_000;
    assert_eq!(sandbox.count(realtime), Ok(1));
    assert_eq!(sandbox.count(realtime), Err(error(Errno::EAGAIN)));
    assert_eq!(sandbox.set_timer(realtime, 1, (5, 0), (1, 0)), 0);
    assert_eq!(sandbox.count(realtime), Ok(1_699_999_998));
    assert_eq!(sandbox.call(283, [4, 0, 0, 0, 0, 0]), error(Errno::EINVAL));
}

#[test]
fn a_wait_ends_when_a_timer_does() {
    let mut sandbox = Sandbox::new();
    let (inner, outer) = (sandbox.epoll(), sandbox.epoll());
    let timer = sandbox.call(283, [1, 0, 0, 0, 0, 0]);
    assert_eq!(sandbox.add(inner, timer, IN | ET), 0);
    assert_eq!(sandbox.add(outer, inner, IN), 0);
    assert_eq!(sandbox.set_timer(timer, 0, (1, 0), (1, 0)), 0);
    let started = sandbox.kernel.platform.time;
    assert_eq!(sandbox.ready_within(outer, 8, u64::from(u32::MAX)), [(inner, IN)]);
    assert!(sandbox.kernel.platform.time >= started + 9_999_000);
    assert_eq!(sandbox.ready_within(inner, 8, u64::from(u32::MAX)), [(timer, IN)]);
    assert_eq!(sandbox.ready(inner), []);
    assert_eq!(sandbox.ready_within(inner, 8, u64::from(u32::MAX)), [(timer, IN)]);
    assert!(sandbox.kernel.platform.time >= started + 19_999_000);
    assert_eq!(sandbox.count(timer), Ok(2));
    let started = sandbox.kernel.platform.time;
    assert_eq!(sandbox.ready_within(inner, 8, 300), []);
    assert!(sandbox.kernel.platform.time >= started + 3_000_000);
    let waits = sandbox.kernel.platform.waits.len();
    assert!(waits < 20, "{waits} waits");
}

#[test]
fn the_console_is_watched_by_looking() {
    let mut sandbox = Sandbox::new();
    sandbox.kernel.platform.input_ended = false;
    let epoll = sandbox.epoll();
    assert_eq!(sandbox.add(epoll, 0, IN | ET), 0);
    assert_eq!(sandbox.ready(epoll), []);
    sandbox.kernel.platform.input = b"x".to_vec();
    assert_eq!(sandbox.ready(epoll), [(0, IN)]);
    assert_eq!(sandbox.read(0, 1), Ok(b"x".to_vec()));
    assert_eq!(sandbox.ready(epoll), []);
    assert_eq!(sandbox.ready_within(epoll, 8, u64::from(u32::MAX)), [(0, IN)]);
}

#[test]
fn polling_sees_an_epoll() {
    let mut sandbox = Sandbox::new();
    let (epoll, event) = (sandbox.epoll(), sandbox.eventfd(0, 0));
    assert_eq!(sandbox.add(epoll, event, IN), 0);
    let at = sandbox.scratch;
    let list = [u8::try_from(epoll).expect("small"), 0, 0, 0, 1, 0, 0, 0];
    sandbox.kernel.copy_out(at, &list).expect("scratch memory");
    assert_eq!(sandbox.call(7, [at, 1, 0, 0, 0, 0]), 0);
    sandbox.write(event, &1_u64.to_le_bytes());
    sandbox.kernel.copy_out(at, &list).expect("scratch memory");
    assert_eq!(sandbox.call(7, [at, 1, 0, 0, 0, 0]), 1);
}
