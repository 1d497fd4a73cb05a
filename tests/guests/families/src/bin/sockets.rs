//! Sockets: of a Unix kind, and TCP and UDP over the loopback.
#![allow(unsafe_code)]

use families::events::{poll, ready};
use families::files::{Scratch, close, file_in_memory, path, pipe, read, read_len, text, write};
use families::tasks::{child, ending, pause_ms, wait};
use families::{Report, Sys, c, libc, must, say, sys, zeroed};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::ptr;
use std::time::Duration;

fn main() -> ExitCode {
    families::run(&[
        ("pair", pair),
        ("seqpacket", seqpacket),
        ("datagram", datagram),
        ("stream", stream),
        ("abstract", in_the_abstract),
        ("errors", errors),
        ("descriptors", descriptors),
        ("credentials", credentials),
        ("flags", flags),
        ("shutdown", shutdown),
        ("backlog", backlog),
        ("tcp", tcp),
        ("tcp-options", tcp_options),
        ("tcp-refused", tcp_refused),
        ("tcp-nonblocking", tcp_nonblocking),
        ("tcp-large", tcp_large),
        ("tcp-half", tcp_half),
        ("tcp-six", tcp_six),
        ("udp", udp),
        ("reuse", reuse),
        ("tcp-late", tcp_late),
        ("tcp-reset", tcp_reset),
        ("tcp-state", tcp_state),
        ("wait-for-all", wait_for_all),
        ("buffers", buffers),
        ("time-limits", time_limits),
        ("in-flight", in_flight),
        ("interfaces", interfaces),
    ])
}

fn socket(domain: i32, kind: i32) -> Sys {
    sys!(libc::socket(domain, kind, 0))
}

fn socketpair(kind: i32) -> (i32, i32) {
    let mut ends = [0; 2];
    must(sys!(libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr())));
    (ends[0], ends[1])
}

/// An address of a Unix socket and its length; a name that begins with `@` is abstract.
fn address(name: &str) -> (libc::sockaddr_un, u32) {
    let mut address = zeroed!(libc::sockaddr_un);
    address.sun_family = 1;
    for (place, byte) in address.sun_path.iter_mut().zip(name.bytes()) {
        *place = byte.cast_signed();
    }
    let hidden = name.starts_with('@');
    if hidden {
        address.sun_path[0] = 0;
    }
    (address, u32::try_from(2 + name.len() + usize::from(!hidden)).unwrap_or(0))
}

fn bind(fd: i32, name: &str) -> Sys {
    let (address, len) = address(name);
    sys!(libc::bind(fd, (&raw const address).cast(), len))
}

fn connect(fd: i32, name: &str) -> Sys {
    let (address, len) = address(name);
    sys!(libc::connect(fd, (&raw const address).cast(), len))
}

fn accept(fd: i32) -> Sys {
    sys!(libc::accept(fd, ptr::null_mut(), ptr::null_mut()))
}

fn recv(fd: i32, len: usize, flags: i32) -> String {
    let mut bytes = vec![0u8; len];
    match sys!(libc::recv(fd, bytes.as_mut_ptr().cast(), len, flags)) {
        Ok(got) => format!("{got} {}", text(&bytes[..usize::try_from(got).unwrap_or(0).min(len)])),
        Err(errno) => errno.to_string(),
    }
}

fn send(fd: i32, bytes: &[u8], flags: i32) -> Sys {
    sys!(libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags))
}

fn option(fd: i32, level: i32, name: i32) -> Sys {
    let (mut value, mut len) = (0i32, 4u32);
    sys!(libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut len))?;
    Ok(value.into())
}

fn set_option(fd: i32, level: i32, name: i32, value: i32) -> Sys {
    sys!(libc::setsockopt(fd, level, name, (&raw const value).cast(), 4))
}

fn pair(t: &mut Report) {
    let (one, two) = socketpair(libc::SOCK_STREAM);
    t.show("ready", format!("{} {}", ready(one), ready(two)));
    t.ret("write", write(one, b"to two"));
    t.ret("write", write(two, b"to one"));
    t.show("read", format!("{} {}", read(one, 10), read(two, 3)));
    t.show("the rest", read(two, 10));
    t.show("joined", {
        must(write(one, b"a"));
        must(write(one, b"b"));
        read(two, 10)
    });
    must(close(one));
    t.show("closed", ready(two));
    t.show("the end", read(two, 10));
    t.show("a write kills", ending(|| write(two, b"x").map_or(1, |_| 0)));
    t.ret("MSG_NOSIGNAL", send(two, b"x", libc::MSG_NOSIGNAL));
    t.ret("not Unix", sys!(libc::socketpair(libc::AF_INET, libc::SOCK_STREAM, 0, [0; 2].as_mut_ptr())));
    let (one, two) = socketpair(libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
    t.ret("not blocking", read_len(one, 1));
    t.ret("flags", sys!(libc::fcntl(two, libc::F_GETFD)));
    let pid = child(|| write(two, b"from a child").map_or(1, |_| 0));
    t.show("across fork", poll(one, libc::POLLIN, 10_000) + &read(one, 20));
    t.show("child", wait(pid));
    t.show("kind", families::files::mode_text(families::files::stat(one).st_mode));
    t.ret("lseek", sys!(libc::lseek(one, 0, 0)));
    t.ret("SO_TYPE", option(one, libc::SOL_SOCKET, libc::SO_TYPE));
    t.ret("SO_DOMAIN", option(one, libc::SOL_SOCKET, libc::SO_DOMAIN));
    t.ret("SO_ERROR", option(one, libc::SOL_SOCKET, libc::SO_ERROR));
    t.ret("SO_ACCEPTCONN", option(one, libc::SOL_SOCKET, libc::SO_ACCEPTCONN));
}

fn seqpacket(t: &mut Report) {
    let (one, two) = socketpair(libc::SOCK_SEQPACKET);
    must(write(one, b"first"));
    must(write(one, b"second"));
    t.show("one message", recv(two, 100, 0));
    t.show("cut short", recv(two, 3, 0));
    t.ret("nothing is left", send(one, b"", 0));
    t.show("an empty message", recv(two, 10, 0));
    must(close(one));
    t.show("the end", recv(two, 10, 0));
}

fn datagram(t: &mut Report) {
    let _scratch = Scratch::new();
    let (one, two) = (must(socket(libc::AF_UNIX, libc::SOCK_DGRAM)), must(socket(libc::AF_UNIX, libc::SOCK_DGRAM)));
    t.ret("bind", bind(one, "s"));
    t.ret("not connected", send(two, b"x", 0));
    let (to, len) = address("s");
    let send_to = |fd: i32, bytes: &[u8]| {
        sys!(libc::sendto(fd, bytes.as_ptr().cast(), bytes.len(), 0, (&raw const to).cast(), len))
    };
    t.ret("sendto", send_to(two, b"hello"));
    t.ret("sendto", send_to(two, b"again"));
    t.show("received", recv(one, 100, 0));
    t.show("MSG_TRUNC", recv(one, 2, libc::MSG_TRUNC));
    must(bind(two, "other"));
    must(send_to(two, b"named"));
    let (mut from, mut len) = (zeroed!(libc::sockaddr_un), 110u32);
    let mut buffer = [0u8; 10];
    t.ret(
        "recvfrom",
        sys!(libc::recvfrom(one, buffer.as_mut_ptr().cast(), 10, 0, (&raw mut from).cast(), &raw mut len)),
    );
    t.show(
        "from",
        format!("{len} {:?}", from.sun_path[..6].iter().map(|b| char::from(b.cast_unsigned())).collect::<String>()),
    );
    t.ret("connect", connect(two, "s"));
    t.ret("send", send(two, b"connected", 0));
    t.show("received", recv(one, 100, 0));
    must(close(one));
    t.ret("nobody is there", send(two, b"x", 0));
    t.ret("connect to it", connect(two, "s"));
}

fn stream(t: &mut Report) {
    let _scratch = Scratch::new();
    let server = must(socket(libc::AF_UNIX, libc::SOCK_STREAM));
    t.ret("connect to nothing", connect(must(socket(libc::AF_UNIX, libc::SOCK_STREAM)), "s"));
    t.ret("bind", bind(server, "s"));
    t.ret("again", bind(server, "s2"));
    t.ret("another at the same name", bind(must(socket(libc::AF_UNIX, libc::SOCK_STREAM)), "s"));
    t.ret("connect before listen", connect(must(socket(libc::AF_UNIX, libc::SOCK_STREAM)), "s"));
    t.ret("accept before listen", accept(server));
    t.ret("listen", sys!(libc::listen(server, 5)));
    t.ret("SO_ACCEPTCONN", option(server, libc::SOL_SOCKET, libc::SO_ACCEPTCONN));
    let pid = child(|| {
        let fd = must(socket(libc::AF_UNIX, libc::SOCK_STREAM));
        must(connect(fd, "s"));
        must(write(fd, b"question"));
        say!("  answer {}", read(fd, 20));
        0
    });
    let fd = must(accept(server));
    t.show("question", read(fd, 20));
    must(write(fd, b"answer"));
    t.show("client", wait(pid));
    t.show("the end", read(fd, 20));
    let mut found = zeroed!(libc::stat);
    must(sys!(libc::stat(path("s").as_ptr(), &raw mut found)));
    t.show("in the file system", families::files::mode_text(found.st_mode).starts_with("socket"));
    t.ret("open", families::files::open("s", libc::O_RDWR));
    let (mut name, mut len) = (zeroed!(libc::sockaddr_un), 110u32);
    t.ret("getsockname", sys!(libc::getsockname(fd, (&raw mut name).cast(), &raw mut len)));
    t.show("length", len);
    let mut len = 110u32;
    t.ret("getpeername", sys!(libc::getpeername(fd, (&raw mut name).cast(), &raw mut len)));
    t.show("length", len);
    must(sys!(libc::unlink(path("s").as_ptr())));
    t.ret("connect when the name is gone", connect(must(socket(libc::AF_UNIX, libc::SOCK_STREAM)), "s"));
}

fn in_the_abstract(t: &mut Report) {
    let server = must(socket(libc::AF_UNIX, libc::SOCK_STREAM));
    let name = format!("@family-{}", std::process::id());
    t.ret("bind", bind(server, &name));
    t.ret("again", bind(must(socket(libc::AF_UNIX, libc::SOCK_STREAM)), &name));
    must(sys!(libc::listen(server, 1)));
    let client = must(socket(libc::AF_UNIX, libc::SOCK_STREAM));
    t.ret("connect", connect(client, &name));
    t.ret("connect again", connect(client, &name));
    let fd = must(accept(server));
    must(write(client, b"hidden"));
    t.show("read", read(fd, 20));
    must(close(server));
    t.ret("gone with the socket", connect(must(socket(libc::AF_UNIX, libc::SOCK_STREAM)), &name));
    let any = must(socket(libc::AF_UNIX, libc::SOCK_STREAM));
    t.ret("a name of the kernel's choice", sys!(libc::bind(any, ptr::from_ref(&address("").0).cast(), 2)));
    let (mut found, mut len) = (zeroed!(libc::sockaddr_un), 110u32);
    must(sys!(libc::getsockname(any, (&raw mut found).cast(), &raw mut len)));
    t.show("its length", len);
}

fn errors(t: &mut Report) {
    t.ret("no such domain", socket(99, libc::SOCK_STREAM));
    t.ret("no such kind", socket(libc::AF_UNIX, 9));
    t.ret("no such protocol", sys!(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 99)));
    t.ret("not a socket", sys!(libc::listen(pipe().0, 1)));
    t.ret("no descriptor", sys!(libc::listen(99, 1)));
    let fd = must(socket(libc::AF_UNIX, libc::SOCK_STREAM));
    t.ret("send unconnected", send(fd, b"x", libc::MSG_NOSIGNAL));
    t.show("receive unconnected", recv(fd, 1, 0));
    t.ret(
        "getpeername",
        sys!(libc::getpeername(fd, zeroed!([u8; 110]).as_mut_ptr().cast(), ptr::from_mut(&mut 110u32))),
    );
    t.ret("shutdown", sys!(libc::shutdown(fd, libc::SHUT_RDWR)));
    t.ret("a family that does not fit", {
        let mut address = address("x");
        address.0.sun_family = 2;
        sys!(libc::bind(fd, (&raw const address.0).cast(), address.1))
    });
    t.ret("too long a name", sys!(libc::bind(fd, ptr::from_ref(&address("x").0).cast(), 200)));
    t.ret("no such option", option(fd, libc::SOL_SOCKET, 999));
    t.ret("no such level", option(fd, 777, 1));
    t.ret("accept of a datagram socket", accept(must(socket(libc::AF_UNIX, libc::SOCK_DGRAM))));
    t.ret("listen of one", sys!(libc::listen(must(socket(libc::AF_UNIX, libc::SOCK_DGRAM)), 1)));
}

/// Sends a byte with descriptors or credentials beside it.
fn send_beside(fd: i32, kind: i32, data: &[u8]) -> Sys {
    let byte = *b"x";
    let vector = libc::iovec { iov_base: byte.as_ptr().cast_mut().cast(), iov_len: 1 };
    let mut space = [0u64; 32];
    let mut message = zeroed!(libc::msghdr);
    message.msg_iov = (&raw const vector).cast_mut();
    message.msg_iovlen = 1;
    message.msg_control = space.as_mut_ptr().cast();
    let len = u32::try_from(data.len()).unwrap_or(0);
    message.msg_controllen = c!(libc::CMSG_SPACE(len)) as usize;
    c!({
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = libc::CMSG_LEN(len) as usize;
        ptr::copy_nonoverlapping(data.as_ptr(), libc::CMSG_DATA(header), data.len());
    });
    sys!(libc::sendmsg(fd, &raw const message, libc::MSG_NOSIGNAL))
}

/// Receives a byte and what is beside it: its kind and bytes, and the flags of the message.
fn receive_beside(fd: i32, room: usize, flags: i32) -> (Sys, i32, Vec<(i32, Vec<u8>)>) {
    let mut byte = [0u8; 8];
    let vector = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 8 };
    let mut space = [0u64; 32];
    let mut message = zeroed!(libc::msghdr);
    message.msg_iov = (&raw const vector).cast_mut();
    message.msg_iovlen = 1;
    message.msg_control = space.as_mut_ptr().cast();
    message.msg_controllen = room;
    let got = sys!(libc::recvmsg(fd, &raw mut message, flags));
    let mut found = Vec::new();
    c!({
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            let len = ((*header).cmsg_len).saturating_sub(16);
            found.push(((*header).cmsg_type, std::slice::from_raw_parts(libc::CMSG_DATA(header), len).to_vec()));
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    });
    (got, message.msg_flags, found)
}

fn numbers(bytes: &[u8]) -> Vec<i32> {
    bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn descriptors(t: &mut Report) {
    let (one, two) = socketpair(libc::SOCK_STREAM);
    let file = file_in_memory(b"shared content");
    let (from, to) = pipe();
    let both: Vec<u8> = [file, to].iter().flat_map(|fd| fd.to_le_bytes()).collect();
    t.ret("send two", send_beside(one, libc::SCM_RIGHTS, &both));
    must(close(to));
    let (got, flags, found) = receive_beside(two, 200, 0);
    t.ret("received", got);
    t.show("flags", flags);
    let fds = found.first().map(|(_, bytes)| numbers(bytes)).unwrap_or_default();
    t.show("descriptors", fds.len());
    if let [copy, pipe_end] = fds[..] {
        t.show("the file", read(copy, 6));
        t.show("one position", read(file, 20));
        must(write(pipe_end, b"by another number"));
        t.show("the pipe", read(from, 30));
        t.ret("close on exec", sys!(libc::fcntl(copy, libc::F_GETFD)));
        must(close(pipe_end));
    }
    t.show("the end of the pipe", read(from, 10));
    must(send_beside(one, libc::SCM_RIGHTS, &file.to_le_bytes()));
    let (_, _, found) = receive_beside(two, 200, libc::MSG_CMSG_CLOEXEC);
    let fd = found.first().and_then(|(_, bytes)| numbers(bytes).first().copied()).unwrap_or(-1);
    t.ret("MSG_CMSG_CLOEXEC", sys!(libc::fcntl(fd, libc::F_GETFD)));
    must(send_beside(one, libc::SCM_RIGHTS, &file.to_le_bytes()));
    let (got, flags, found) = receive_beside(two, 8, 0);
    t.show("no room", format!("{got:?} {} {}", flags & libc::MSG_CTRUNC != 0, found.len()));
    t.ret("a bad descriptor", send_beside(one, libc::SCM_RIGHTS, &99i32.to_le_bytes()));
    must(send_beside(one, libc::SCM_RIGHTS, &file.to_le_bytes()));
    t.show("thrown away by a plain read", read(two, 10));
    let (read_end, write_end) = pipe();
    must(send_beside(one, libc::SCM_RIGHTS, &write_end.to_le_bytes()));
    must(close(write_end));
    must(close(one));
    must(close(two));
    t.show("one in flight is closed with its socket", read(read_end, 10));
}

fn credentials(t: &mut Report) {
    let (one, two) = socketpair(libc::SOCK_STREAM);
    let mut peer = zeroed!(libc::ucred);
    t.ret(
        "SO_PEERCRED",
        sys!(libc::getsockopt(
            one,
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            ptr::from_mut(&mut 12u32)
        )),
    );
    t.show("is us", peer.pid == c!(libc::getpid()) && peer.uid == c!(libc::getuid()));
    t.ret("SO_PASSCRED", set_option(two, libc::SOL_SOCKET, libc::SO_PASSCRED, 1));
    must(write(one, b"x"));
    let (_, _, found) = receive_beside(two, 200, 0);
    let ours = |found: &[(i32, Vec<u8>)]| {
        found
            .iter()
            .any(|(kind, bytes)| *kind == libc::SCM_CREDENTIALS && numbers(bytes).first() == Some(&c!(libc::getpid())))
    };
    t.show("with each message", ours(&found));
    let own: Vec<u8> = [c!(libc::getpid()).cast_unsigned(), c!(libc::getuid()), c!(libc::getgid())]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    t.ret("sent", send_beside(one, libc::SCM_CREDENTIALS, &own));
    t.show("received", ours(&receive_beside(two, 200, 0).2));
    let pid = child(|| write(one, b"y").map_or(1, |_| 0));
    wait(pid);
    let (_, _, found) = receive_beside(two, 200, 0);
    t.show("a child's", found.iter().any(|(_, bytes)| numbers(bytes).first() == Some(&pid)));
}

fn flags(t: &mut Report) {
    let (one, two) = socketpair(libc::SOCK_STREAM);
    must(write(one, b"abcdef"));
    t.show("MSG_PEEK", recv(two, 3, libc::MSG_PEEK));
    t.show("again", recv(two, 3, libc::MSG_PEEK));
    t.show("taken", recv(two, 10, 0));
    t.show("MSG_DONTWAIT", recv(two, 10, libc::MSG_DONTWAIT));
    let pid = child(|| {
        for piece in [b"one", b"two", b"end"] {
            must(write(one, piece));
            pause_ms(20);
        }
        0
    });
    t.show("MSG_WAITALL", recv(two, 9, libc::MSG_WAITALL));
    wait(pid);
    must(set_option(two, libc::SOL_SOCKET, libc::SO_RCVTIMEO, 0).or(Ok(0)));
    let time = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
    t.ret(
        "SO_RCVTIMEO",
        sys!(libc::setsockopt(two, libc::SOL_SOCKET, libc::SO_RCVTIMEO, (&raw const time).cast(), 16)),
    );
    t.show("time is up", recv(two, 1, 0));
    t.ret(
        "MSG_OOB",
        send(one, b"x", libc::MSG_OOB).or_else(|errno| if errno.0 == libc::EOPNOTSUPP { Ok(1) } else { Err(errno) }),
    );
    let large = vec![0u8; 1 << 22];
    let sent = send(one, &large, libc::MSG_DONTWAIT);
    t.show("more than fits", sent.is_ok_and(|n| n > 1000 && n < 1 << 22));
    t.ret("full", send(one, b"x", libc::MSG_DONTWAIT));
    t.show("not ready to write", ready(one));
}

fn shutdown(t: &mut Report) {
    let (one, two) = socketpair(libc::SOCK_STREAM);
    must(write(one, b"last"));
    t.ret("no more writing", sys!(libc::shutdown(one, libc::SHUT_WR)));
    t.show("ready", format!("{} {}", ready(one), ready(two)));
    t.show("what was sent", read(two, 10));
    t.show("the end", read(two, 10));
    t.ret("write", send(one, b"x", libc::MSG_NOSIGNAL));
    t.ret("the other way", write(two, b"back"));
    t.show("read", read(one, 10));
    t.ret("no more reading", sys!(libc::shutdown(one, libc::SHUT_RD)));
    t.show("read", read(one, 10));
    t.ret("write to it", send(two, b"x", libc::MSG_NOSIGNAL));
    t.show("ready", format!("{} {}", ready(one), ready(two)));
    t.ret("how = 9", sys!(libc::shutdown(one, 9)));
}

fn backlog(t: &mut Report) {
    let _scratch = Scratch::new();
    let server = must(socket(libc::AF_UNIX, libc::SOCK_STREAM));
    must(bind(server, "s"));
    must(sys!(libc::listen(server, 1)));
    let mut clients = Vec::new();
    let refused = (0..10).find_map(|_| {
        let fd = must(socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK));
        clients.push(fd);
        connect(fd, "s").err()
    });
    t.show("refused", refused.map_or("never".to_owned(), |e| e.to_string()));
    t.show("ready", ready(server));
    must(write(clients[0], b"before accept"));
    let fd = must(accept(server));
    t.show("read", read(fd, 20));
    must(close(clients[1]));
    let fd = must(accept(server));
    t.show("one that has gone", read(fd, 20));
    must(sys!(libc::fcntl(server, libc::F_SETFL, libc::O_NONBLOCK)));
    t.ret("accept4 flags", sys!(libc::accept4(server, ptr::null_mut(), ptr::null_mut(), 1)));
    t.ret("nobody", accept(server));
}

fn tcp(t: &mut Report) {
    let server = TcpListener::bind("127.0.0.1:0").expect("bind");
    let place = server.local_addr().expect("address");
    t.check("a port was chosen", place.port() != 0);
    let pid = child(|| {
        let mut client = TcpStream::connect(place).expect("connect");
        client.write_all(b"question").expect("write");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("read");
        say!("  answer {answer}");
        i32::from(client.peer_addr().is_ok_and(|peer| peer != place))
    });
    let (mut stream, peer) = server.accept().expect("accept");
    t.check("peer is on this machine", peer.ip().is_loopback() && stream.peer_addr().is_ok_and(|p| p == peer));
    let mut buffer = [0u8; 8];
    stream.read_exact(&mut buffer).expect("read");
    t.show("question", text(&buffer));
    stream.write_all(b"42").expect("write");
    drop(stream);
    t.show("client", wait(pid));
    let stream = std::thread::scope(|scope| {
        scope.spawn(|| TcpStream::connect(place).map(|s| s.set_nodelay(true)));
        server.accept().expect("accept").0
    });
    t.show("by a thread", stream.nodelay().is_ok());
}

fn tcp_options(t: &mut Report) {
    let fd = must(socket(libc::AF_INET, libc::SOCK_STREAM));
    for (what, level, name) in [
        ("SO_TYPE", libc::SOL_SOCKET, libc::SO_TYPE),
        ("SO_DOMAIN", libc::SOL_SOCKET, libc::SO_DOMAIN),
        ("SO_PROTOCOL", libc::SOL_SOCKET, libc::SO_PROTOCOL),
        ("SO_ERROR", libc::SOL_SOCKET, libc::SO_ERROR),
        ("SO_REUSEADDR", libc::SOL_SOCKET, libc::SO_REUSEADDR),
        ("SO_KEEPALIVE", libc::SOL_SOCKET, libc::SO_KEEPALIVE),
        ("TCP_NODELAY", libc::IPPROTO_TCP, libc::TCP_NODELAY),
    ] {
        t.ret(what, option(fd, level, name));
    }
    for (what, level, name) in [
        ("SO_REUSEADDR", libc::SOL_SOCKET, libc::SO_REUSEADDR),
        ("SO_KEEPALIVE", libc::SOL_SOCKET, libc::SO_KEEPALIVE),
        ("TCP_NODELAY", libc::IPPROTO_TCP, libc::TCP_NODELAY),
    ] {
        t.ret(what, set_option(fd, level, name, 1));
        t.ret("  now", option(fd, level, name));
    }
    t.ret("SO_SNDBUF", set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, 50_000));
    t.ret("  now", option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF));
    t.ret("no such option", option(fd, libc::SOL_SOCKET, 9999));
    t.ret(
        "too short",
        sys!(libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, ptr::from_ref(&1i32).cast(), 2)),
    );
}

fn tcp_refused(t: &mut Report) {
    let place = TcpListener::bind("127.0.0.1:0").and_then(|server| server.local_addr()).expect("an address");
    let error = TcpStream::connect(place).err().and_then(|e| e.raw_os_error());
    t.show("nobody listens", error.map_or("ok".to_owned(), |e| families::Errno(e).to_string()));
    let fd = must(socket(libc::AF_INET, libc::SOCK_STREAM));
    t.ret("send unconnected", send(fd, b"x", libc::MSG_NOSIGNAL));
    t.show("receive unconnected", recv(fd, 1, 0));
    t.ret("accept unlistened", accept(fd));
    t.show("ready", ready(fd));
    let server = TcpListener::bind("127.0.0.1:0").expect("bind");
    let again = TcpListener::bind(server.local_addr().expect("address"));
    t.show(
        "an address in use",
        again.err().and_then(|e| e.raw_os_error()).map_or("ok".to_owned(), |e| families::Errno(e).to_string()),
    );
    let away = TcpListener::bind("192.0.2.1:0").err().and_then(|e| e.raw_os_error());
    t.show("an address of another machine", away.map_or("ok".to_owned(), |e| families::Errno(e).to_string()));
}

fn tcp_nonblocking(t: &mut Report) {
    use std::os::fd::AsRawFd;
    let server = TcpListener::bind("127.0.0.1:0").expect("bind");
    server.set_nonblocking(true).expect("nonblocking");
    t.ret("nobody", accept(server.as_raw_fd()));
    t.show("ready", ready(server.as_raw_fd()));
    let fd = must(socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK));
    let mut place = zeroed!(libc::sockaddr_in);
    place.sin_family = 2;
    place.sin_port = server.local_addr().expect("address").port().to_be();
    place.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
    let connected = sys!(libc::connect(fd, (&raw const place).cast(), 16));
    t.show("connect", connected.is_ok() || connected == Err(families::Errno(libc::EINPROGRESS)));
    t.show("then", poll(fd, libc::POLLOUT, 10_000));
    t.ret("error", option(fd, libc::SOL_SOCKET, libc::SO_ERROR));
    t.ret("again", sys!(libc::connect(fd, (&raw const place).cast(), 16)));
    t.show("the server", poll(server.as_raw_fd(), libc::POLLIN, 10_000));
    let (stream, _) = server.accept().expect("accept");
    t.ret("nothing yet", read_len(fd, 1));
    must(write(stream.as_raw_fd(), b"x"));
    t.show("something", poll(fd, libc::POLLIN, 10_000));
    drop(stream);
    t.show("read", read(fd, 10));
    t.show("the end", poll(fd, libc::POLLIN | libc::POLLRDHUP, 10_000) + &read(fd, 10));
}

fn tcp_large(t: &mut Report) {
    let server = TcpListener::bind("127.0.0.1:0").expect("bind");
    let place = server.local_addr().expect("address");
    let sum = |bytes: &[u8]| bytes.iter().fold(0u32, |sum, b| sum.wrapping_mul(31).wrapping_add((*b).into()));
    let data: Vec<u8> = (0..4_000_000u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let pid = child(|| {
        let mut client = TcpStream::connect(place).expect("connect");
        client.write_all(&data).expect("write");
        client.shutdown(Shutdown::Write).expect("shutdown");
        let mut echo = Vec::new();
        client.read_to_end(&mut echo).expect("read");
        say!("  echo {} {}", echo.len(), sum(&echo) == sum(&data));
        0
    });
    let (mut stream, _) = server.accept().expect("accept");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("read");
    t.show("received", format!("{} {}", all.len(), all == data));
    stream.write_all(&all).expect("write");
    drop(stream);
    t.show("client", wait(pid));
}

fn tcp_half(t: &mut Report) {
    let server = TcpListener::bind("127.0.0.1:0").expect("bind");
    let mut client = TcpStream::connect(server.local_addr().expect("address")).expect("connect");
    let (mut stream, _) = server.accept().expect("accept");
    client.write_all(b"last words").expect("write");
    client.shutdown(Shutdown::Write).expect("shutdown");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read");
    t.show("read", &text);
    stream.write_all(b"still open").expect("write");
    drop(stream);
    text.clear();
    client.read_to_string(&mut text).expect("read");
    t.show("back", &text);
    client.set_read_timeout(Some(Duration::from_millis(10))).expect("timeout");
    t.show("the end", client.read(&mut [0; 4]).map_or_else(|e| e.to_string(), |n| n.to_string()));
}

fn tcp_six(t: &mut Report) {
    let Ok(server) = TcpListener::bind("[::1]:0") else {
        t.show("bind", families::errno());
        return;
    };
    let mut client = TcpStream::connect(server.local_addr().expect("address")).expect("connect");
    let (mut stream, peer) = server.accept().expect("accept");
    t.show("peer", peer.ip());
    client.write_all(b"six").expect("write");
    let mut bytes = [0u8; 3];
    stream.read_exact(&mut bytes).expect("read");
    t.show("read", text(&bytes));
}

fn udp(t: &mut Report) {
    let one = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let two = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let place = one.local_addr().expect("address");
    t.show("sent", two.send_to(b"datagram", place).unwrap_or(0));
    two.send_to(b"second", place).expect("send");
    let mut buffer = [0u8; 100];
    let (len, from) = one.recv_from(&mut buffer).expect("receive");
    t.show("received", format!("{} {}", text(&buffer[..len]), from == two.local_addr().expect("address")));
    let (len, _) = one.recv_from(&mut buffer[..3]).expect("receive");
    t.show("cut short", text(&buffer[..len]));
    one.set_nonblocking(true).expect("nonblocking");
    t.show(
        "nothing",
        one.recv(&mut buffer)
            .err()
            .and_then(|e| e.raw_os_error())
            .map_or("ok".to_owned(), |e| families::Errno(e).to_string()),
    );
    two.connect(place).expect("connect");
    t.show("connected", two.send(b"x").unwrap_or(0));
    t.show("an empty one", two.send(b"").map_or_else(|e| e.to_string(), |n| n.to_string()));
    drop(one);
    two.send(b"to nobody").ok();
    two.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
    t.show(
        "refused later",
        two.recv(&mut buffer)
            .err()
            .and_then(|e| e.raw_os_error())
            .map_or("ok".to_owned(), |e| families::Errno(e).to_string()),
    );
    t.show(
        "too large",
        two.send(&[0; 70_000])
            .err()
            .and_then(|e| e.raw_os_error())
            .map_or("ok".to_owned(), |e| families::Errno(e).to_string()),
    );
}

fn reuse(t: &mut Report) {
    let server = TcpListener::bind("127.0.0.1:0").expect("bind");
    let place = server.local_addr().expect("address");
    let client = TcpStream::connect(place).expect("connect");
    let (stream, _) = server.accept().expect("accept");
    // Closed by the server first: its side stays for a while.
    drop(stream);
    drop(client);
    drop(server);
    t.show("bound again with SO_REUSEADDR", TcpListener::bind(place).is_ok());
}

/// The address of an Internet socket that is bound to this machine.
fn place_of(fd: i32) -> libc::sockaddr_in {
    let mut place = zeroed!(libc::sockaddr_in);
    let mut len = 16u32;
    must(sys!(libc::getsockname(fd, (&raw mut place).cast(), &raw mut len)));
    place
}

/// A TCP socket that listens on a port of its own, for `backlog` connections.
fn tcp_listener(backlog: i32) -> (i32, libc::sockaddr_in) {
    let fd = must(socket(libc::AF_INET, libc::SOCK_STREAM));
    let mut place = zeroed!(libc::sockaddr_in);
    place.sin_family = 2;
    place.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
    must(sys!(libc::bind(fd, (&raw const place).cast(), 16)));
    must(sys!(libc::listen(fd, backlog)));
    (fd, place_of(fd))
}

/// A TCP connection over the loopback.
fn tcp_pair() -> (i32, i32) {
    let (server, place) = tcp_listener(5);
    let client = must(socket(libc::AF_INET, libc::SOCK_STREAM));
    must(sys!(libc::connect(client, (&raw const place).cast(), 16)));
    (client, must(accept(server)))
}

fn tcp_late(t: &mut Report) {
    let (server, place) = tcp_listener(0);
    let connect = || {
        let fd = must(socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK));
        (fd, sys!(libc::connect(fd, (&raw const place).cast(), 16)))
    };
    let (first, said) = connect();
    t.ret("the first", said);
    t.show("ready", poll(first, libc::POLLOUT, 10_000));
    let (second, said) = connect();
    t.ret("one too many", said);
    t.show("not ready", poll(second, libc::POLLOUT, 50));
    t.ret("again", sys!(libc::connect(second, (&raw const place).cast(), 16)));
    t.show("receive", recv(second, 1, 0));
    must(accept(server));
    t.show("its turn", poll(second, libc::POLLOUT, 30_000));
    t.ret("error", option(second, libc::SOL_SOCKET, libc::SO_ERROR));
    let stream = must(accept(server));
    t.ret("sent", send(second, b"late", 0));
    t.show("received", recv(stream, 10, 0));
}

fn tcp_reset(t: &mut Report) {
    let (client, stream) = tcp_pair();
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    must(sys!(libc::setsockopt(client, libc::SOL_SOCKET, libc::SO_LINGER, ptr::from_ref(&linger).cast(), 8)));
    must(close(client));
    t.show("ready", poll(stream, libc::POLLIN | libc::POLLRDHUP, 10_000));
    t.show("receive", recv(stream, 10, 0));
    t.show("again", recv(stream, 10, 0));
    t.ret("send", send(stream, b"x", libc::MSG_NOSIGNAL));
}

fn tcp_state(t: &mut Report) {
    let state = |fd: i32| {
        let mut info = [0u8; 232];
        let mut len = 232u32;
        let asked = sys!(libc::getsockopt(fd, 6, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut len));
        format!("{} {}", asked.map_or_else(|e| e.to_string(), |n| n.to_string()), info[0])
    };
    let fd = must(socket(libc::AF_INET, libc::SOCK_STREAM));
    t.show("new", state(fd));
    t.show("listening", state(tcp_listener(1).0));
    let (client, stream) = tcp_pair();
    t.show("connected", state(client));
    must(sys!(libc::shutdown(client, libc::SHUT_WR)));
    t.show("the end", poll(stream, libc::POLLIN, 10_000));
    t.show("the other end has ended", state(stream));
    t.show("UDP has none", state(must(socket(libc::AF_INET, libc::SOCK_DGRAM))));
}

fn wait_for_all(t: &mut Report) {
    const LEN: usize = 500_000;
    for (what, (one, two)) in [("unix", socketpair(libc::SOCK_STREAM)), ("TCP", tcp_pair())] {
        let pid = child(|| {
            let bytes = vec![7u8; 1000];
            for _ in 0..LEN / 1000 {
                if send(one, &bytes, 0) != Ok(1000) {
                    return 1;
                }
            }
            0
        });
        let mut bytes = vec![0u8; LEN];
        t.ret(what, sys!(libc::recv(two, bytes.as_mut_ptr().cast(), LEN, libc::MSG_WAITALL)));
        t.show("all of it", bytes.iter().all(|byte| *byte == 7));
        t.show("sender", wait(pid));
        must(send(one, b"the end", 0));
        must(sys!(libc::shutdown(one, libc::SHUT_WR)));
        t.show("less before the end", recv(two, 100, libc::MSG_WAITALL));
    }
    let (one, two) = socketpair(libc::SOCK_STREAM);
    must(send(one, b"some", 0));
    t.show("without waiting", recv(two, 100, libc::MSG_WAITALL | libc::MSG_DONTWAIT));
}

fn buffers(t: &mut Report) {
    for (what, domain, kind) in [
        ("unix stream", libc::AF_UNIX, libc::SOCK_STREAM),
        ("unix datagram", libc::AF_UNIX, libc::SOCK_DGRAM),
        ("TCP", libc::AF_INET, libc::SOCK_STREAM),
        ("UDP", libc::AF_INET, libc::SOCK_DGRAM),
    ] {
        let fd = must(socket(domain, kind));
        t.ret(what, set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, 10_000));
        t.ret("  sends", option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF));
        must(set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, 1));
        t.ret("  at least", option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF));
        must(set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, 1));
        t.ret("  receives at least", option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF));
    }
    let sent_until_full = |fd: i32| {
        let mut sent = 0;
        while let Ok(count) = send(fd, &[0; 1000], libc::MSG_DONTWAIT) {
            sent += count;
        }
        sent
    };
    let (one, _two) = socketpair(libc::SOCK_STREAM);
    must(set_option(one, libc::SOL_SOCKET, libc::SO_SNDBUF, 10_000));
    let small = sent_until_full(one);
    t.check("a small buffer fills soon", (1000..=20_000).contains(&small));
    let (one, _two) = socketpair(libc::SOCK_STREAM);
    t.check("a usual one later", sent_until_full(one) > 20_000);
    let (one, _two) = socketpair(libc::SOCK_SEQPACKET);
    must(set_option(one, libc::SOL_SOCKET, libc::SO_SNDBUF, 10_000));
    t.ret("too long a message for it", send(one, &vec![0; 30_000], libc::MSG_DONTWAIT));
}

fn time_limits(t: &mut Report) {
    let limit = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
    let (one, _two) = socketpair(libc::SOCK_STREAM);
    for name in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
        let len = u32::try_from(size_of::<libc::timeval>()).unwrap_or(0);
        must(sys!(libc::setsockopt(one, libc::SOL_SOCKET, name, ptr::from_ref(&limit).cast(), len)));
    }
    t.show("recv", recv(one, 1, 0));
    t.ret("read", read_len(one, 1));
    let block = vec![0u8; 1 << 20];
    t.check("a write of more than fits comes to its end", write(one, &block).is_ok_and(|sent| sent < 1 << 20));
    t.ret("one more", write(one, &block));
    t.ret("send", send(one, &block, 0));
}

fn in_flight(t: &mut Report) {
    t.show(
        "descriptors on the way",
        ending(|| {
            must(sys!(libc::setresuid(12_345, 12_345, 12_345)));
            let limit = libc::rlimit { rlim_cur: 20, rlim_max: 20 };
            must(sys!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)));
            let (one, _two) = socketpair(libc::SOCK_STREAM);
            let fds: Vec<u8> = [one; 8].iter().flat_map(|fd| fd.to_ne_bytes()).collect();
            let refused = (0..10).find_map(|_| send_beside(one, libc::SCM_RIGHTS, &fds).err());
            say!("  {}", refused.map_or("never".to_owned(), |e| e.to_string()));
            0
        }),
    );
}

fn interfaces(t: &mut Report) {
    let fd = must(socket(libc::AF_INET, libc::SOCK_DGRAM));
    let request = |name: &str, number: u64| {
        let mut request = [0u8; 40];
        request[..name.len()].copy_from_slice(name.as_bytes());
        let said = sys!(libc::ioctl(fd, number, request.as_mut_ptr()));
        (said, request)
    };
    let number = |what: &str, code: u64| {
        let (said, request) = request("lo", code);
        t.show(what, format!("{said:?} {}", i32::from_ne_bytes([request[16], request[17], request[18], request[19]])));
    };
    number("index", libc::SIOCGIFINDEX);
    number("MTU", libc::SIOCGIFMTU);
    let (said, flags) = request("lo", libc::SIOCGIFFLAGS);
    t.ret("flags", said);
    t.show("up, loopback, running", i32::from(u16::from_ne_bytes([flags[16], flags[17]])) & 0x49);
    for (what, code) in [("address", libc::SIOCGIFADDR), ("mask", libc::SIOCGIFNETMASK)] {
        let (said, request) = request("lo", code);
        t.show(what, format!("{said:?} {:?}", &request[16..24]));
    }
    let (said, hardware) = request("lo", libc::SIOCGIFHWADDR);
    t.show("hardware", format!("{said:?} {:?}", &hardware[16..24]));
    t.ret("no such interface", request("nothing9", libc::SIOCGIFINDEX).0);
    let mut by_number = [0u8; 40];
    by_number[16] = 1;
    t.ret("name", sys!(libc::ioctl(fd, libc::SIOCGIFNAME, by_number.as_mut_ptr())));
    t.show("is", text(&by_number[..2]));
    let mut place = [0u8; 400];
    let mut list = [0u64; 2];
    t.ret("room needed", sys!(libc::ioctl(fd, libc::SIOCGIFCONF, list.as_mut_ptr())));
    t.check("some", (list[0] & 0xffff_ffff) >= 40);
    list = [400, place.as_mut_ptr().expose_provenance() as u64];
    t.ret("list", sys!(libc::ioctl(fd, libc::SIOCGIFCONF, list.as_mut_ptr())));
    t.show("first", format!("{} {:?}", text(&place[..2]), &place[16..24]));
    t.ret("not of a pipe", sys!(libc::ioctl(pipe().0, libc::SIOCGIFINDEX, place.as_mut_ptr())));
}
