//! What was judged is what is carried out, whatever the program's memory says by then.

use super::*;
use crate::errno::Errno;
use crate::platform::Copied;
use proto::{COPY_LEN, Copies, CopyHead, MAX_COPIES, copy_forms};

impl Sandbox {
    /// Makes a call whose string at `address` was judged as `bytes`.
    fn judged(&mut self, number: u64, args: [u64; 6], address: u64, bytes: &[u8]) -> i64 {
        let copy = Copied { address, form: copy_forms::STRING, bytes: bytes.to_vec() };
        self.carry_out(number, args, vec![copy])
    }

    /// Makes a call of whose memory these pieces were judged.
    fn carry_out(&mut self, number: u64, args: [u64; 6], copies: Vec<Copied>) -> i64 {
        self.kernel.platform.copies = copies;
        self.sequence += 1;
        self.kernel.platform.grant =
            Grant { sequence: self.sequence, number, args, flags: grant_flags::COPIES, fetch: 0, recall: 0 };
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

/// A call that waits is granted by what was known when it was made.
#[test]
fn calls_are_judged_once_more_when_more_is_known() {
    let mut sandbox = Sandbox::new();
    let ends = sandbox.scratch + 0x100;
    assert_eq!(sandbox.call(22, [ends, 0, 0, 0, 0, 0]), 0);
    let [from, to] = [0, 4].map(|at| sandbox.kernel.get::<u32>(ends + at).map(u64::from).expect("a number"));
    sandbox.string(4, &vec![b'x'; 0x1_0001]);
    let data = sandbox.scratch + 0x4000;
    // Whatever it may be denied by, nothing happens as long as that is not in force.
    let granted = |sandbox: &mut Sandbox, number, args, recall| {
        sandbox.sequence += 1;
        sandbox.kernel.platform.grant = Grant { sequence: sandbox.sequence, number, args, flags: 0, fetch: 0, recall };
        sandbox.regs.vector = SYSCALL_VECTOR;
        assert_eq!(sandbox.kernel.system_call(&mut sandbox.regs), Flow::Resume);
        sandbox.regs.rax.cast_signed()
    };
    assert_eq!(granted(&mut sandbox, 1, [to, data, 1, 0, 0, 0], 6), 1);
    assert_eq!(sandbox.call(0, [from, data, 1, 0, 0, 0]), 1);
    for (recall, tainted, calls_again) in [(0, 1, false), (4, 2, false), (4, 4, true)] {
        assert!(sandbox.call(57, [0; 6]) > 2);
        sandbox.regs.rip = 0x40_0110;
        // The parent waits for a byte; the child gives it one.
        granted(&mut sandbox, 0, [from, data, 1, 0, 0, 0], recall);
        sandbox.regs.rip = 0x40_0200;
        sandbox.kernel.platform.tainted |= tainted;
        let rest = 6 & !sandbox.kernel.platform.tainted;
        assert_eq!(granted(&mut sandbox, 1, [to, data, 1, 0, 0, 0], rest), 1, "begun since");
        sandbox.call(231, [0; 6]);
        if calls_again {
            assert_eq!((sandbox.regs.rip, sandbox.regs.rax), (0x40_010e, 0), "to make the call again");
        } else {
            assert_eq!((sandbox.regs.rip, sandbox.regs.rax), (0x40_0110, 1));
        }
    }
    assert_eq!(sandbox.call(0, [from, data, 9, 0, 0, 0]), 1, "nobody has taken it");
    // What has been written before it had to wait is told.
    assert!(sandbox.call(57, [0; 6]) > 2);
    sandbox.regs.rip = 0x40_0110;
    granted(&mut sandbox, 1, [to, data, 0x1_0001, 0, 0, 0], 24);
    sandbox.kernel.platform.tainted |= 8;
    assert_eq!(sandbox.call(0, [from, data, 0x1_0000, 0, 0, 0]), 0x1_0000);
    sandbox.call(231, [0; 6]);
    assert_eq!((sandbox.regs.rip, sandbox.regs.rax), (0x40_0110, 0x1_0000));
}

/// `struct sockaddr_in` of 127.0.0.1.
fn internet(port: u16) -> Vec<u8> {
    [&[2, 0][..], &port.to_be_bytes(), &[127, 0, 0, 1], &[0; 8]].concat()
}

#[test]
fn the_address_that_was_judged_counts() {
    let mut sandbox = Sandbox::new();
    let datagram = |sandbox: &mut Sandbox| sandbox.call(41, [2, 2 | 0x800, 0, 0, 0, 0]).cast_unsigned();
    let (from, to) = (datagram(&mut sandbox), datagram(&mut sandbox));
    let (name, header, data) = (sandbox.scratch, sandbox.scratch + 0x100, sandbox.scratch + 0x200);
    let copy = |form, address, bytes: &[u8]| Copied { address, form, bytes: bytes.to_vec() };
    // Bound to what was judged, and not to what is there.
    sandbox.kernel.copy_out(name, &internet(7001)).expect("scratch memory");
    let judged = internet(7002);
    assert_eq!(sandbox.carry_out(49, [to, name, 16, 0, 0, 0], vec![copy(copy_forms::ADDRESS, name, &judged)]), 0);
    sandbox.kernel.copy_out(data, b"to").expect("scratch memory");
    let address = vec![copy(copy_forms::ADDRESS, name, &judged)];
    assert_eq!(sandbox.carry_out(44, [from, data, 2, 0, name, 16], address.clone()), 2);
    assert_eq!(sandbox.read(to.cast_signed(), 9), Ok(b"to".to_vec()));
    // A message whose header says otherwise by now.
    sandbox.kernel.copy_out(header, &[0xff; 56]).expect("scratch memory");
    let iovec = sandbox.scratch + 0x300;
    sandbox.kernel.put(iovec, &[data, 1]).expect("scratch memory");
    let words = [name, 16, iovec, 1, 0, 0, 0];
    let message: Vec<u8> = words.iter().flat_map(|word: &u64| word.to_le_bytes()).collect();
    let both = [address, vec![copy(copy_forms::MESSAGE, header, &message)]].concat();
    for (number, result) in [(46, 1), (307, 1)] {
        assert_eq!(sandbox.carry_out(number, [from, header, u64::from(number == 307), 0, 0, 0], both.clone()), result);
        assert_eq!(sandbox.read(to.cast_signed(), 9), Ok(b"t".to_vec()));
    }
    // A string at the same address is something else.
    let string = vec![copy(copy_forms::STRING, name, &judged)];
    assert_eq!(sandbox.carry_out(44, [from, data, 2, 0, name, 16], string), 2);
    assert_eq!(sandbox.read(to.cast_signed(), 9), Err(error(Errno::EAGAIN)));
}

#[test]
fn the_structure_that_was_judged_counts() {
    let mut sandbox = Sandbox::new();
    let here = i64::from(raw::AT_FDCWD).cast_unsigned();
    let path = sandbox.string(0, b"/etc/text");
    let at = sandbox.scratch + 0x2000;
    let structure = |words: &[u64]| {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        vec![Copied { address: at, form: copy_forms::STRUCTURE, bytes }]
    };
    // What is there by now is refused: flags that there are not, and bytes behind it.
    sandbox.kernel.put(at, &[u64::MAX; 12]).expect("scratch memory");
    let args = [here, path, at, 32, 0, 0];
    assert_eq!(sandbox.call(437, args), error(Errno::E2BIG));
    assert!(sandbox.carry_out(437, args, structure(&[0, 0, 0])) > 2);
    assert_eq!(sandbox.carry_out(437, [here, path, at + 8, 24, 0, 0], structure(&[0, 0, 0])), error(Errno::EINVAL));
    assert_eq!(sandbox.carry_out(437, [here, path, at, 23, 0, 0], structure(&[0, 0, 0])), error(Errno::EINVAL));
    assert_eq!(sandbox.carry_out(437, args, structure(&[0])), error(Errno::EINVAL), "half of one is none");
    // A limit, for this process and for one by its number; and a priority.
    for (number, args) in [(160, [7, at, 0, 0, 0, 0]), (302, [0, 7, at, 0, 0, 0])] {
        assert_eq!(sandbox.carry_out(number, args, structure(&[number, 1024])), 0);
        assert_eq!(sandbox.kernel.limit(7), number);
    }
    for (number, args) in [(142, [0, at, 0, 0, 0, 0]), (144, [0, 0, at, 0, 0, 0])] {
        let mut copies = structure(&[0]);
        copies[0].bytes.truncate(4);
        assert_eq!(sandbox.call(number, args), error(Errno::EINVAL));
        assert_eq!(sandbox.carry_out(number, args, copies), 0);
    }
    assert!(sandbox.carry_out(435, [at, 88, 0, 0, 0, 0], structure(&[0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0])) > 2);
}

/// A parent of vfork that goes on takes what it was given then, whatever the child has left there.
#[test]
fn vfork_by_clone3_reads_its_arguments_once() {
    let mut sandbox = Sandbox::new();
    let at = sandbox.scratch;
    let flags = u64::from(raw::CLONE_VM | raw::CLONE_VFORK);
    sandbox.kernel.put(at, &[flags, 0, 0, 0, 17, 0, 0, 0]).expect("scratch memory");
    sandbox.regs.rip = 0x40_0110;
    assert_eq!(sandbox.call(435, [at, 64, 0, 0, 0, 0]), 0, "in the child");
    sandbox.kernel.put(at, &[u64::MAX; 8]).expect("scratch memory");
    sandbox.call(231, [0; 6]);
    assert!(sandbox.regs.rax.cast_signed() > 2, "{}", sandbox.regs.rax.cast_signed());
}

#[test]
fn the_bytes_that_were_judged_are_written() {
    let mut sandbox = Sandbox::new();
    let data = sandbox.scratch;
    sandbox.kernel.copy_out(data, b"secret").expect("scratch memory");
    let copy = |form, bytes: &[u8]| vec![Copied { address: data, form, bytes: bytes.to_vec() }];
    let judged = copy(copy_forms::CONTENT, b"good");
    // A pipe, a file in memory, and a stream and messages of sockets.
    assert_eq!(sandbox.call(22, [data + 0x100, 0, 0, 0, 0, 0]), 0);
    let [from, to]: [u32; 2] = sandbox.kernel.get(data + 0x100).expect("scratch memory");
    for number in [1, 20] {
        assert_eq!(sandbox.carry_out(number, [to.into(), data, 6, 0, 0, 0], judged.clone()), 4);
        assert_eq!(sandbox.read(from.into(), 9), Ok(b"good".to_vec()));
    }
    let name = sandbox.string(1, b"m");
    let memory = sandbox.call(319, [name, 0, 0, 0, 0, 0]);
    let file = memory.cast_unsigned();
    let cut = copy(copy_forms::CONTENT_CUT, b"gone");
    assert_eq!(sandbox.carry_out(1, [file, data, 6, 0, 0, 0], cut.clone()), 4, "a short write");
    assert_eq!(sandbox.carry_out(18, [file, data, 6, 2, 0, 0], judged.clone()), 4);
    assert_eq!(sandbox.call(8, [file, 0, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.read(memory, 9), Ok(b"gogood".to_vec()));
    for (kind, whole) in [(1, false), (2, true), (5, true)] {
        assert_eq!(sandbox.call(53, [1, kind, 0, data + 0x100, 0, 0]), 0);
        let [to, from]: [u32; 2] = sandbox.kernel.get(data + 0x100).expect("scratch memory");
        for number in [1, 44] {
            let args = [to.into(), data, 6, 0, 0, 0];
            assert_eq!(sandbox.carry_out(number, args, judged.clone()), 4);
            assert_eq!(sandbox.read(from.into(), 9), Ok(b"good".to_vec()));
            let result = if whole { error(Errno::EMSGSIZE) } else { 4 };
            assert_eq!(sandbox.carry_out(number, args, cut.clone()), result, "kind {kind}");
            if !whole {
                assert_eq!(sandbox.read(from.into(), 9), Ok(b"gone".to_vec()));
            }
        }
    }
}

#[test]
fn fetching_brings_a_page_in_and_makes_the_call_again() {
    let mut sandbox = Sandbox::new();
    let flags = u64::from(raw::MAP_PRIVATE | raw::MAP_ANONYMOUS);
    let page = sandbox.call(9, [0, 0x1000, 3, flags, u64::MAX, 0]).cast_unsigned();
    for fetch in [page + 5, 1, u64::MAX] {
        sandbox.sequence += 1;
        sandbox.kernel.platform.grant = Grant {
            sequence: sandbox.sequence,
            number: 257,
            args: [0; 6],
            flags: grant_flags::FETCH,
            fetch,
            recall: 0,
        };
        sandbox.regs.vector = SYSCALL_VECTOR;
        sandbox.regs.rip = 0x1002;
        sandbox.regs.rax = 257;
        assert_eq!(sandbox.kernel.system_call(&mut sandbox.regs), Flow::Resume);
        assert_eq!((sandbox.regs.rip, sandbox.regs.rax), (0x1000, 257));
        assert!(sandbox.kernel.task.call.is_none());
    }
}

impl Sandbox {
    /// A call that was refused in this way.
    fn refused(&mut self, number: u64, flags: u64) -> Flow {
        self.sequence += 1;
        self.kernel.platform.grant =
            Grant { sequence: self.sequence, number, args: [0; 6], flags, fetch: 0, recall: 0 };
        self.regs.vector = SYSCALL_VECTOR;
        self.kernel.system_call(&mut self.regs)
    }
}

#[test]
fn refused_calls_end_their_process() {
    for flags in [grant_flags::KILL_PROCESS, grant_flags::KILL_THREAD, grant_flags::TRAP] {
        let mut sandbox = Sandbox::new();
        if flags != grant_flags::TRAP {
            sandbox.kernel.task.blocked = u64::MAX;
        }
        assert_eq!(sandbox.refused(110, flags), Flow::Ended);
        assert_eq!(sandbox.kernel.platform.exit.map(|exit| exit.signal), Some(31), "{flags:#x}");
    }
}

#[test]
fn entries_that_are_there() {
    let mut copies = Copies { heads: [CopyHead::default(); MAX_COPIES], bytes: [[b'a'; COPY_LEN]; MAX_COPIES] };
    assert_eq!(Copied::list(&copies), []);
    let head = |address, len| CopyHead { address, len, form: copy_forms::ADDRESS };
    copies.heads[..2].copy_from_slice(&[head(7, COPY_LEN as u64 + 1), head(8, 3)]);
    assert_eq!(Copied::list(&copies), [Copied { address: 8, form: copy_forms::ADDRESS, bytes: b"aaa".to_vec() }]);
}
