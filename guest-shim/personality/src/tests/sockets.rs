//! Sockets: pairs, connections, datagrams, what goes beside the bytes.

use super::*;
use crate::errno::Errno;
use proto::result_flags;
use zerocopy::{FromBytes, IntoBytes};

const UNIX: u64 = 1;
const INET: u64 = 2;
const STREAM: u64 = 1 | 0x800;
const DATAGRAM: u64 = 2 | 0x800;

impl Sandbox {
    fn socket(&mut self, domain: u64, kind: u64) -> i64 {
        self.call(41, [domain, kind, 0, 0, 0, 0])
    }

    fn socket_pair(&mut self, kind: u64) -> (i64, i64) {
        let at = self.scratch;
        assert_eq!(self.call(53, [UNIX, kind, 0, at, 0, 0]), 0);
        let ends = <[i32; 2]>::read_from_bytes(&self.bytes(at, 8)).expect("two numbers");
        (ends[0].into(), ends[1].into())
    }

    /// Makes a call that takes a descriptor and an address.
    fn address_call(&mut self, number: u64, fd: i64, address: &[u8]) -> i64 {
        let at = self.scratch + 0x300;
        self.kernel.copy_out(at, address).expect("scratch memory");
        self.call(number, [fd.cast_unsigned(), at, address.len() as u64, 0, 0, 0])
    }

    /// The port of an Internet socket.
    fn port(&mut self, fd: i64) -> u16 {
        let at = self.scratch + 0x400;
        self.kernel.put(at, &16_u32).expect("scratch memory");
        assert_eq!(self.call(51, [fd.cast_unsigned(), at + 8, at, 0, 0, 0]), 0);
        let bytes = self.bytes(at + 8, 16);
        u16::from_be_bytes([bytes[2], bytes[3]])
    }

    /// A socket that listens at 127.0.0.1, and its port.
    fn listener(&mut self) -> (i64, u16) {
        let fd = self.socket(INET, STREAM);
        assert_eq!(self.address_call(49, fd, &internet(0)), 0);
        assert_eq!(self.call(50, [fd.cast_unsigned(), 5, 0, 0, 0, 0]), 0);
        let port = self.port(fd);
        (fd, port)
    }

    fn shut(&mut self, fd: i64) {
        assert_eq!(self.call(3, [fd.cast_unsigned(), 0, 0, 0, 0, 0]), 0);
    }

    /// A message header with one range and room beside it, at a fixed place.
    fn header(&mut self, data: u64, len: u64, control: &[u8]) -> u64 {
        let at = self.scratch + 0x1_0000;
        self.kernel.copy_out(at + 0x200, control).expect("scratch memory");
        self.kernel.copy_out(at + 0x100, [data, len].as_bytes()).expect("scratch memory");
        let header = [0, 0, at + 0x100, 1, at + 0x200, control.len() as u64, 0];
        self.kernel.copy_out(at, header.as_bytes()).expect("scratch memory");
        at
    }
}

/// `struct sockaddr_in` of 127.0.0.1.
fn internet(port: u16) -> [u8; 16] {
    let [high, low] = port.to_be_bytes();
    [2, 0, high, low, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
}

#[test]
fn a_pair_carries_bytes_both_ways_and_ends() {
    let mut sandbox = Sandbox::new();
    let (a, b) = sandbox.socket_pair(STREAM);
    assert_eq!(sandbox.read(b, 10), Err(error(Errno::EAGAIN)));
    assert_eq!(sandbox.write(a, b"one"), 3);
    assert_eq!(sandbox.write(a, b"two"), 3);
    assert_eq!(sandbox.read(b, 4), Ok(b"onet".to_vec()));
    assert_eq!(sandbox.write(b, b"back"), 4);
    assert_eq!(sandbox.read(a, 10), Ok(b"back".to_vec()));
    sandbox.shut(a);
    assert_eq!(sandbox.read(b, 10), Ok(b"wo".to_vec()));
    assert_eq!(sandbox.read(b, 10), Ok(Vec::new()));
}

#[test]
fn messages_keep_their_bounds() {
    let mut sandbox = Sandbox::new();
    let (a, b) = sandbox.socket_pair(DATAGRAM);
    assert_eq!(sandbox.write(a, b"one"), 3);
    assert_eq!(sandbox.write(a, b""), 0);
    assert_eq!(sandbox.write(a, b"three"), 5);
    assert_eq!(sandbox.read(b, 2), Ok(b"on".to_vec()));
    assert_eq!(sandbox.read(b, 9), Ok(Vec::new()));
    assert_eq!(sandbox.read(b, 9), Ok(b"three".to_vec()));
}

#[test]
fn a_connection_over_loopback() {
    let mut sandbox = Sandbox::new();
    let (listener, port) = sandbox.listener();
    assert_eq!(sandbox.call(43, [listener.cast_unsigned(), 0, 0, 0, 0, 0]), error(Errno::EAGAIN));
    let client = sandbox.socket(INET, STREAM);
    assert_eq!(sandbox.address_call(42, client, &internet(port)), error(Errno::EINPROGRESS));
    assert_eq!(sandbox.address_call(42, client, &internet(port)), 0);
    assert_eq!(sandbox.address_call(42, client, &internet(port)), error(Errno::EISCONN));
    let server = sandbox.call(43, [listener.cast_unsigned(), 0, 0, 0, 0, 0]);
    assert_eq!(sandbox.port(server), port);
    assert_eq!(sandbox.write(client, b"question"), 8);
    assert_eq!(sandbox.read(server, 100), Ok(b"question".to_vec()));
    assert_eq!(sandbox.call(48, [server.cast_unsigned(), 1, 0, 0, 0, 0]), 0);
    assert_eq!(sandbox.read(client, 100), Ok(Vec::new()));
    // What the server does not read is a reset for the client.
    assert_eq!(sandbox.write(client, b"unread"), 6);
    sandbox.shut(server);
    assert_eq!(sandbox.read(client, 100), Err(error(Errno::ECONNRESET)));
}

#[test]
fn ports_are_one_sockets_until_it_is_closed() {
    let mut sandbox = Sandbox::new();
    let (listener, port) = sandbox.listener();
    let other = sandbox.socket(INET, STREAM);
    assert_eq!(sandbox.address_call(49, other, &internet(port)), error(Errno::EADDRINUSE));
    sandbox.shut(listener);
    let refused = sandbox.socket(INET, STREAM);
    assert_eq!(sandbox.address_call(42, refused, &internet(port)), error(Errno::EINPROGRESS));
    assert_eq!(sandbox.address_call(42, refused, &internet(port)), error(Errno::ECONNREFUSED));
    assert_eq!(sandbox.address_call(49, other, &internet(port)), 0);
    let far = [2, 0, 0, 80, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let third = sandbox.socket(INET, STREAM);
    assert_eq!(sandbox.address_call(42, third, &far), error(Errno::ENETUNREACH));
    assert_eq!(sandbox.address_call(49, third, &far), error(Errno::EADDRNOTAVAIL));
}

#[test]
fn datagrams_find_their_port_or_are_lost() {
    let mut sandbox = Sandbox::new();
    let (a, b) = (sandbox.socket(INET, DATAGRAM), sandbox.socket(INET, DATAGRAM));
    assert_eq!(sandbox.address_call(49, a, &internet(0)), 0);
    let port = sandbox.port(a);
    assert_eq!(sandbox.address_call(42, b, &internet(port)), 0);
    assert_eq!(sandbox.write(b, b"datagram"), 8);
    assert_eq!(sandbox.read(a, 100), Ok(b"datagram".to_vec()));
    sandbox.shut(a);
    assert_eq!(sandbox.write(b, b"nobody"), 6);
    assert_eq!(sandbox.write(b, b"nobody"), error(Errno::ECONNREFUSED));
}

#[test]
fn descriptors_pass_and_those_on_the_way_are_closed_with_the_socket() {
    let mut sandbox = Sandbox::new();
    let (a, b) = sandbox.socket_pair(STREAM);
    let (inner, other) = sandbox.socket_pair(STREAM);
    let data = sandbox.string(1, b"x");
    let rights = |fd: i64| {
        let mut control = Vec::new();
        control.extend_from_slice(&20_u64.to_le_bytes());
        control.extend_from_slice([1_u32, 1].as_bytes());
        control.extend_from_slice(&i32::try_from(fd).expect("a descriptor").to_le_bytes());
        control.extend_from_slice(&[0; 4]);
        control
    };
    let header = sandbox.header(data, 1, &rights(inner));
    assert_eq!(sandbox.call(46, [a.cast_unsigned(), header, 0, 0, 0, 0]), 1);
    sandbox.shut(inner);
    assert_eq!(sandbox.write(other, b"to the one on its way"), 21);
    let header = sandbox.header(data, 1, &[0; 24]);
    assert_eq!(sandbox.call(47, [b.cast_unsigned(), header, 0, 0, 0, 0]), 1);
    let control = sandbox.bytes(header + 0x200, 24);
    let passed = i64::from(i32::from_le_bytes([control[16], control[17], control[18], control[19]]));
    assert_eq!(sandbox.read(passed, 100), Ok(b"to the one on its way".to_vec()));
    let header = sandbox.header(data, 1, &rights(passed));
    assert_eq!(sandbox.call(46, [a.cast_unsigned(), header, 0, 0, 0, 0]), 1);
    sandbox.shut(passed);
    sandbox.shut(a);
    sandbox.shut(b);
    // With MSG_NOSIGNAL: SIGPIPE would end the program.
    assert_eq!(sandbox.call(44, [other.cast_unsigned(), data, 1, 0x4000, 0, 0]), error(Errno::EPIPE));
}

#[test]
fn what_is_no_socket_is_refused() {
    let mut sandbox = Sandbox::new();
    let file = sandbox.open(b"/etc/text", 0, 0);
    assert_eq!(sandbox.address_call(42, file, &internet(1)), error(Errno::ENOTSOCK));
    assert_eq!(sandbox.socket(16, 3), error(Errno::EAFNOSUPPORT));
    assert_eq!(sandbox.socket(17, 3), error(Errno::EPERM));
    assert_eq!(sandbox.socket(INET, 3), error(Errno::EPERM));
    assert_eq!(sandbox.socket(INET, 4), error(Errno::ESOCKTNOSUPPORT));
    assert_eq!(sandbox.socket(UNIX, 11), error(Errno::EINVAL));
    assert_eq!(sandbox.call(41, [INET, 1, 17, 0, 0, 0]), error(Errno::EPROTONOSUPPORT));
    let socket = sandbox.socket(INET, STREAM);
    assert_eq!(sandbox.read(socket, 1), Err(error(Errno::ENOTCONN)));
    assert_eq!(sandbox.address_call(49, socket, &[2, 0]), error(Errno::EINVAL));
}

#[test]
fn where_a_socket_may_listen_is_asked() {
    let mut sandbox = Sandbox::new();
    sandbox.kernel.platform.may_listen = Some(Vec::new());
    let bound = sandbox.socket(INET, STREAM);
    assert_eq!(sandbox.address_call(49, bound, &internet(9000)), 0);
    let listen = |sandbox: &mut Sandbox, fd: i64| sandbox.call(50, [fd.cast_unsigned(), 5, 0, 0, 0, 0]);
    assert_eq!(listen(&mut sandbox, bound), error(Errno::EACCES));
    sandbox.kernel.platform.may_listen = Some(vec![internet(9000).to_vec()]);
    assert_eq!(listen(&mut sandbox, bound), 0);
    // One without an address is asked about before it gets one.
    let unbound = sandbox.socket(INET, STREAM);
    assert_eq!(listen(&mut sandbox, unbound), error(Errno::EACCES));
    assert_eq!(sandbox.port(unbound), 0);
    let mut any = [0; 16];
    any[0] = 2;
    sandbox.kernel.platform.may_listen = Some(vec![any.to_vec()]);
    assert_eq!(listen(&mut sandbox, unbound), 0);
    assert_ne!(sandbox.port(unbound), 0);
}

/// What moves bytes and returns something else tells how many, for budgets: before its result.
#[test]
fn bytes_are_told_that_no_result_tells() {
    let mut sandbox = Sandbox::new();
    let (one, other) = sandbox.socket_pair(DATAGRAM);
    let (headers, ranges, data) = (sandbox.scratch + 0x1000, sandbox.scratch + 0x1100, sandbox.scratch + 0x1200);
    let mut words = [0_u64; 16];
    (words[2], words[3], words[10], words[11]) = (ranges, 1, ranges + 16, 1);
    sandbox.kernel.put(headers, &words).expect("scratch memory");
    sandbox.kernel.put(ranges, &[data, 5, data, 7]).expect("scratch memory");
    let told = |sandbox: &mut Sandbox, number, args, wanted: &[i64]| {
        sandbox.kernel.platform.reports.clear();
        sandbox.call(number, args);
        let told: Vec<i64> = sandbox.kernel.platform.reports.iter().map(|report| report.value).collect();
        assert_eq!(told, wanted, "{number}");
        assert!(sandbox.kernel.platform.reports.iter().rev().skip(1).all(|report| report.flags == result_flags::MOVED));
    };
    told(&mut sandbox, 299, [other.cast_unsigned(), headers, 2, 0x40, 0, 0], &[error(Errno::EAGAIN)]);
    told(&mut sandbox, 307, [one.cast_unsigned(), headers, 2, 0, 0, 0], &[12, 2]);
    told(&mut sandbox, 299, [other.cast_unsigned(), headers, 2, 0x40, 0, 0], &[12, 2]);
    let queue = sandbox.call(68, [0, 0o600, 0, 0, 0, 0]).cast_unsigned();
    sandbox.kernel.put(data, &1_u64).expect("scratch memory");
    told(&mut sandbox, 69, [queue, data, 9, 0, 0, 0], &[9, 0]);
    told(&mut sandbox, 70, [queue, data, 9, 0, 0, 0], &[9]);
    let name = sandbox.string(2, b"q");
    let queue = sandbox.call(240, [name, u64::from(raw::O_CREAT | raw::O_RDWR), 0o600, 0, 0, 0]).cast_unsigned();
    told(&mut sandbox, 242, [queue, data, 3, 0, 0, 0], &[3, 0]);
}
