//! Calls as traces write them, ours and strace's: their numbers, and what they point to.
//!
//! `openat(AT_FDCWD, "/etc/shadow", O_RDONLY) = 3`: what stands behind the call does not count, nor do comments, and what a structure or an
//! array holds counts as far as a policy can ask for it: fields, socket addresses, and bytes that are written.
use super::constants::number;
use super::fields;
use super::probes::SOME_ADDRESS;
use super::sockaddr;
use policy::network::is_listen;
use policy::signature::{self, Kind, Signature};
use policy::{Pointed, did_you_mean};
use proto::syscalls::{self, SYSCALLS};
use std::borrow::Cow;

/// A call as it is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) args: [u64; 6],
    /// What is written as a string, or as a structure that policies know, by argument.
    pub(super) pieces: Vec<(u8, Vec<u8>)>,
    /// The socket address, as the program would pass it.
    pub(super) address: Option<Vec<u8>>,
    /// What it writes or sends.
    pub(super) content: Option<Vec<u8>>,
    /// Arguments that policies can look behind, and of which only the address is written.
    pub(super) addresses: Vec<u8>,
}

/// A call. Arguments that are left out are 0.
pub(super) fn read(text: &str) -> Result<Call, String> {
    let text = without_comments(text);
    let (name, list) = outer(&text)?;
    let number = number_of(name)?;
    let mut call =
        Call { number, args: [0; 6], pieces: Vec::new(), address: None, content: None, addresses: Vec::new() };
    let signature = signature::of(number);
    let words = parts(list)?;
    let most = signature.map_or(6, |signature| signature.arguments.len());
    if words.len() > most {
        return Err(match signature.map_or(&[][..], |signature| signature.names) {
            [] if signature.is_some() => format!("`{name}` has no arguments"),
            [] => "a call has six arguments at most".to_owned(),
            names => format!("`{name}` has {most} of these arguments: {}; here are {}", names.join(", "), words.len()),
        });
    }
    for (position, word) in words.iter().enumerate() {
        let (index, word) = named(word, position, signature)?;
        call.take(index, word, signature).map_err(|why| format!("{}: {why}", argument_text(index, signature)))?;
    }
    Ok(call)
}

/// The text with blanks in place of `/* … */`.
fn without_comments(text: &str) -> Cow<'_, str> {
    let mut found = Vec::new();
    let mut scan = Scan::new(text);
    while let Some((at, _)) = scan.next() {
        let comment = text.get(at..).filter(|rest| rest.starts_with("/*") && !scan.quoted);
        if let Some(length) = comment.and_then(|rest| rest.find("*/")) {
            found.push(at..at + length + 2);
        }
    }
    let mut whole = Cow::Borrowed(text);
    for range in found.into_iter().rev() {
        whole.to_mut().replace_range(range, "");
    }
    whole
}

/// The name and the arguments of the call that the text begins with.
fn outer(text: &str) -> Result<(&str, &str), String> {
    let (name, rest) = text.split_once('(').ok_or("write it as a call, for example read(0)")?;
    let mut scan = Scan::new(rest);
    let end = loop {
        match scan.next() {
            Some((at, ')')) if !scan.quoted && scan.depth < 0 => break at,
            Some(_) => {}
            None if scan.quoted => return Err("a string does not end: its second \" is missing".into()),
            None => return Err("write it as a call, for example read(0): the last ) is missing".into()),
        }
    };
    let (list, after) = rest.split_at(end);
    let after = after.get(1..).unwrap_or("").trim_start();
    match after.is_empty() || after.starts_with(['=', '<']) {
        true => Ok((without_place(name.trim()), list)),
        false => Err(format!("`{after}` stands behind the call")),
    }
}

/// The name behind what a trace says of when and where a call was made: `[2]    0.146071   3 `, or strace's `[pid  12] 10:30:12.146071 `.
fn without_place(name: &str) -> &str {
    let is_place = |word: &str| {
        let word = word.trim_start_matches("[pid").trim_matches(['[', ']']);
        word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b':'))
    };
    match name.rsplit_once(char::is_whitespace) {
        Some((before, last)) if before.split_whitespace().all(is_place) => last,
        _ => name,
    }
}

/// A call's number: by name, as `syscall_0x1b3`, or as such.
fn number_of(name: &str) -> Result<u64, String> {
    if let Some(call) = syscalls::by_name(name) {
        return Ok(call.number.into());
    }
    number(name.strip_prefix("syscall_").unwrap_or(name)).ok_or_else(|| {
        let suggestion = did_you_mean(name, SYSCALLS.iter().map(|call| call.name));
        format!("`{name}` is no x86-64 system call{suggestion}")
    })
}

/// Goes over a text by characters, and knows whether it is in a string and how many brackets are open.
pub(super) struct Scan<'t> {
    characters: std::str::CharIndices<'t>,
    pub(super) quoted: bool,
    escaped: bool,
    pub(super) depth: i32,
}

impl<'t> Scan<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { characters: text.char_indices(), quoted: false, escaped: false, depth: 0 }
    }
}

impl Iterator for Scan<'_> {
    type Item = (usize, char);

    fn next(&mut self) -> Option<Self::Item> {
        let (at, character) = self.characters.next()?;
        match character {
            _ if self.escaped => self.escaped = false,
            '\\' if self.quoted => self.escaped = true,
            '"' => self.quoted = !self.quoted,
            _ if self.quoted => {}
            '(' | '[' | '{' => self.depth = self.depth.saturating_add(1),
            ')' | ']' | '}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        Some((at, character))
    }
}

/// The parts of a list, without the blanks around them. Commas in strings and brackets do not count.
pub(super) fn parts(list: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut start, mut lowest, mut scan) = (Vec::new(), 0, 0, Scan::new(list));
    while let Some((at, character)) = scan.next() {
        lowest = lowest.min(scan.depth);
        if character == ',' && !scan.quoted && scan.depth == 0 {
            parts.push(list.get(start..at).unwrap_or("").trim());
            start = at + 1;
        }
    }
    if scan.depth != 0 || lowest != 0 {
        return Err(format!("brackets are not closed in `{list}`"));
    }
    let last = list.get(start..).unwrap_or("").trim();
    if !(last.is_empty() && parts.is_empty()) {
        parts.push(last);
    }
    Ok(parts)
}

/// The argument that a word is for, and what it says: strace writes `flags=CLONE_VM` where it is not the one in that place.
fn named<'w>(word: &'w str, position: usize, known: Option<&Signature>) -> Result<(u8, &'w str), String> {
    let position = u8::try_from(position).unwrap_or(u8::MAX);
    let is_name = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let Some((name, value)) = word.split_once('=').map(|(name, value)| (name.trim(), value.trim())) else {
        return Ok((position, word));
    };
    if !is_name(&name) {
        return Ok((position, word));
    }
    // What strace calls the arguments of `clone`.
    let name = match name {
        "child_stack" => "stack",
        "child_tidptr" => "child_tid",
        "parent_tidptr" | "parent_tid" => "parent_tid",
        other => other,
    };
    let index = known.and_then(|known| known.argument(name));
    index.map(|index| (index, value)).ok_or_else(|| {
        let names = known.map_or(&[][..], |known| known.names);
        format!(
            "there is no argument `{name}`{} (they are {})",
            did_you_mean(name, names.iter().copied()),
            names.join(", ")
        )
    })
}

/// How messages call an argument.
fn argument_text(index: u8, signature: Option<&Signature>) -> String {
    match signature.and_then(|signature| signature.names.get(usize::from(index))) {
        Some(name) => format!("argument {index} ({name})"),
        None => format!("argument {index}"),
    }
}

impl Call {
    /// What its arguments point to.
    pub(super) fn pointed(&self) -> Pointed<'_> {
        let mut pointed = Pointed::NOTHING;
        self.pieces.iter().for_each(|(argument, piece)| pointed.set(*argument, piece));
        self.address.iter().for_each(|address| pointed.set_address(address));
        self.content.iter().for_each(|content| pointed.set_content(content));
        pointed
    }

    fn take(&mut self, index: u8, word: &str, signature: Option<&Signature>) -> Result<(), String> {
        let kinds = signature.map_or(signature::UNKNOWN, |signature| signature.arguments);
        let kind = kinds.get(usize::from(index)).copied().unwrap_or(Kind::Hex);
        let points = word.starts_with(['"', '{', '[', '&']);
        let value = if points { SOME_ADDRESS } else { register(word, kind)? };
        let is_socket = is_listen(self.number) && index == 0;
        if !points && value != 0 && is_looked_behind(kind) {
            self.addresses.push(index);
        }
        if points {
            match kind {
                _ if is_socket => self.address = Some(address(word)?),
                Kind::Address(_) => self.address = Some(address(word)?),
                Kind::Message | Kind::Messages(_) => self.message(word)?,
                Kind::Buffer(_) => self.content = Some(string(word)?),
                Kind::Ranges(_) => self.content = Some(ranges(word)?),
                Kind::Structure(structure) => self.pieces.push((index, fields::read(word, structure)?)),
                _ if word.starts_with('"') => self.pieces.push((index, string(word)?)),
                _ => {}
            }
        }
        if let Some(slot) = self.args.get_mut(usize::from(index)) {
            *slot = value;
        }
        Ok(())
    }

    /// Of a `struct msghdr` its address, and what is sent; or only the address.
    fn message(&mut self, word: &str) -> Result<(), String> {
        if word.starts_with('"') {
            self.address = Some(address(word)?);
            return Ok(());
        }
        if let Some(name) = field(word, "msg_name").filter(|name| *name != "NULL") {
            self.address = Some(address(name)?);
        }
        if let Some(sent) = field(word, "msg_iov") {
            self.content = Some(ranges(if sent.starts_with('"') { sent } else { word })?);
        }
        Ok(())
    }
}

/// Whether a policy can ask for what such an argument points to.
fn is_looked_behind(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Path
            | Kind::Text
            | Kind::Buffer(_)
            | Kind::Ranges(_)
            | Kind::Address(_)
            | Kind::Message
            | Kind::Messages(_)
            | Kind::Structure(_)
    )
}

/// What an argument stands for that points to nothing that is shown: a number, or names joined by `|`.
pub(super) fn register(word: &str, kind: Kind) -> Result<u64, String> {
    // strace shows what a descriptor stands for: `3</etc/passwd>`.
    let word = match kind {
        Kind::Fd | Kind::DirFd => word.split_once('<').map_or(word, |(word, _)| word),
        _ => word,
    };
    if word == "NULL" {
        return Ok(0);
    }
    if word == "AT_FDCWD" {
        return Ok((-100i64).cast_unsigned());
    }
    let one = |name: &str| number(name).or_else(|| kind.symbols()?.value(name));
    word.split('|').map(str::trim).try_fold(0, |all, name| match one(name) {
        Some(value) => Ok(all | value),
        None => Err(unknown(name, kind)),
    })
}

fn unknown(name: &str, kind: Kind) -> String {
    if name.starts_with(|character: char| character.is_ascii_digit() || character == '-') {
        return format!("`{name}` is no number of 64 bits");
    }
    match kind.symbols() {
        Some(symbols) => {
            format!("`{name}` is no number, and no name that is known here{}", did_you_mean(name, symbols.names()))
        }
        None => format!("`{name}` is no number"),
    }
}

/// The value of a field of a structure, at any depth.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut scan = Scan::new(text);
    let mut before = ' ';
    while let Some((at, character)) = scan.next() {
        let begins = !scan.quoted && !before.is_ascii_alphanumeric() && before != '_';
        before = character;
        let value = text.get(at..).filter(|_| begins).and_then(|rest| rest.strip_prefix(name)?.strip_prefix('='));
        let Some(value) = value else { continue };
        let mut inner = Scan::new(value);
        while let Some((at, character)) = inner.next() {
            if !inner.quoted && (inner.depth < 0 || (inner.depth == 0 && character == ',')) {
                return value.get(..at).map(str::trim);
            }
        }
        return Some(value.trim());
    }
    None
}

/// A socket address: in the words of policies, or as the structure that strace shows.
fn address(word: &str) -> Result<Vec<u8>, String> {
    let wrong = || {
        format!(
            "`{word}` is no socket address; write \"127.0.0.1:80\", \"[::1]:80\", \"unix:/path\" or {{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr(\"127.0.0.1\")}}"
        )
    };
    if word.starts_with('"') {
        return sockaddr::of_text(&string(word)?).ok_or_else(wrong);
    }
    address_text(word).and_then(|text| sockaddr::of_text(&text)).ok_or_else(wrong)
}

/// The same in the words of policies.
fn address_text(word: &str) -> Option<Vec<u8>> {
    let family = field(word, "sa_family")?;
    let port = |name: &str| {
        let port = field(word, name)?;
        let port = port.strip_prefix("htons(").and_then(|port| port.strip_suffix(')')).unwrap_or(port);
        port.parse::<u16>().ok()
    };
    Some(match family {
        "AF_INET" => {
            let host = field(word, "sin_addr")?;
            format!("{}:{}", quoted_in(host)?, port("sin_port")?).into_bytes()
        }
        "AF_INET6" => {
            let host = field(word, "sin6_addr").or_else(|| word.split_once("inet_pton(").map(|(_, host)| host))?;
            format!("[{}]:{}", quoted_in(host)?, port("sin6_port")?).into_bytes()
        }
        "AF_UNIX" | "AF_LOCAL" => {
            let path = field(word, "sun_path")?;
            let (begin, path) = path.strip_prefix('@').map_or(("unix:", path), |path| ("unix:@", path));
            [begin.as_bytes().to_vec(), string(path).ok()?].concat()
        }
        other => other.as_bytes().to_vec(),
    })
}

/// The text between the first two `"`.
fn quoted_in(text: &str) -> Option<&str> {
    text.split('"').nth(1)
}

/// The bytes of an array of ranges, one behind the other: as one string, or as strace shows the array.
fn ranges(word: &str) -> Result<Vec<u8>, String> {
    if word.starts_with('"') {
        return string(word);
    }
    let mut bytes = Vec::new();
    let mut rest = word;
    while let Some((_, after)) = rest.split_once("iov_base=") {
        let base = field(rest, "iov_base").unwrap_or("");
        if base.starts_with('"') {
            bytes.extend(string(base)?);
        }
        rest = after;
    }
    Ok(bytes)
}

/// The bytes of a string constant as C and traces have it; one that was cut ends with `...`.
fn string(word: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("`{word}` is no string");
    let whole = word.strip_suffix("...").unwrap_or(word).trim_end();
    let inner = whole.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).ok_or_else(wrong)?;
    let mut rest = inner.bytes().peekable();
    let mut bytes = Vec::new();
    while let Some(byte) = rest.next() {
        let escaped = match byte {
            b'\\' => rest.next().ok_or_else(wrong)?,
            b'"' => return Err(wrong()),
            _ => {
                bytes.push(byte);
                continue;
            }
        };
        let mut digits = |first: u32, radix: u32, most: usize| {
            let mut value = first;
            for _ in 0..most {
                let digit = rest.peek().and_then(|digit| char::from(*digit).to_digit(radix));
                let Some(digit) = digit else { break };
                rest.next();
                value = value * radix + digit;
            }
            u8::try_from(value).map_err(|_| format!("`{word}` has an escape that is no byte"))
        };
        bytes.push(match escaped {
            b'a' => 0x07,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'0'..=b'7' => digits(u32::from(escaped - b'0'), 8, 2)?,
            b'x' => digits(0, 16, 2)?,
            b'"' | b'\\' | b'\'' | b'?' => escaped,
            other => return Err(format!("`\\{}` is no escape of C's, in {word}", char::from(other))),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: u64 = (-100i64).cast_unsigned();

    fn plain(number: u64, args: [u64; 6]) -> Call {
        Call { number, args, ..read("getpid()").unwrap() }
    }

    #[test]
    fn calls_are_read_as_traces_write_them() {
        let read = |call: &str| read(call).unwrap();
        let opened = Call {
            pieces: vec![(1, b"/a, \"b\n\n\x019)".to_vec())],
            ..plain(257, [HERE, SOME_ADDRESS, 0o101, 0o644, 0, 0])
        };
        assert_eq!(read(r#"openat(AT_FDCWD, "/a, \"b\n\12\0019)", O_WRONLY|O_CREAT, 0644)"#), opened);
        assert_eq!(
            read(r#"openat(AT_FDCWD</root>, "\x2fa, \"b\n\12\0019)"..., O_WRONLY|0100, 0644) = -1 EPERM (Ope)"#),
            opened
        );
        assert_eq!(read("getpid()"), plain(39, [0; 6]));
        assert_eq!(read(" write ( 1 , NULL, 0x10 ) "), plain(1, [1, 0, 16, 0, 0, 0]));
        assert_eq!(read("39()"), plain(39, [0; 6]));
        for place in ["   0.146071   2 ", "[12]    0.146071   2 ", "[pid  4711] 10:30:12.146071 ", "4711  ", "[pid 7] "]
        {
            for end in
                ["= 2 [allow, rule 1 p.toml:2]", "<ask: 5 s, else allow> [default]", "<unfinished ...> [kill, default]"]
            {
                assert_eq!(read(&format!("{place}getpid() {end}")), plain(39, [0; 6]));
            }
        }
        assert_eq!(read("syscall_0x3e7(1, 2)"), plain(999, [1, 2, 0, 0, 0, 0]));
        assert_eq!(
            read("clone(child_stack=NULL, flags=CLONE_VM|SIGCHLD, child_tidptr=0x7f)"),
            plain(56, [0x111, 0, 0, 0x7f, 0, 0])
        );
        assert_eq!(read("ioctl(1, TCGETS, {B38400 opost, echo ...})").args, [1, 0x5401, SOME_ADDRESS, 0, 0, 0]);
        let executed = read(r#"execve("/bin/sh", ["sh", "-c", "ls, (x)"], 0x7ffd /* 20 vars */)"#);
        assert_eq!(executed.args, [SOME_ADDRESS, SOME_ADDRESS, 0x7ffd, 0, 0, 0]);
        assert_eq!(executed.pieces, [(0, b"/bin/sh".to_vec())]);
    }

    #[test]
    fn addresses_are_those_of_policies_or_of_strace() {
        let address = |text: &str| read(&format!("connect(3, {text}, 16)")).unwrap().address;
        let same = [
            (r#"{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("1.2.3.4")}"#, "1.2.3.4:80"),
            (
                r#"{sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}"#,
                "[::1]:443",
            ),
            (r#"{sa_family=AF_UNIX, sun_path="/run/x"}"#, "unix:/run/x"),
            (r#"{sa_family=AF_UNIX, sun_path=@"abs"}"#, "unix:@abs"),
            ("{sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000}", "AF_NETLINK"),
        ];
        for (structure, words) in same {
            assert_eq!(address(structure), address(&format!("\"{words}\"")), "{words}");
            assert!(address(structure).is_some());
        }
        let sent = read(r#"sendmsg(3, {msg_name={sa_family=AF_UNIX, sun_path="/x"}, msg_namelen=4, msg_iov=[{iov_base="ab", iov_len=2}, {iov_base="c"..., iov_len=9}], msg_iovlen=2}, 0)"#).unwrap();
        assert_eq!((&sent.address, &sent.content), (&sockaddr::of_text(b"unix:/x"), &Some(b"abc".to_vec())));
        let ours = read(r#"sendmsg(3, {msg_name="unix:/x", msg_iov="abc"...}, 0)"#).unwrap();
        assert_eq!((ours.address, ours.content), (sent.address, sent.content));
        assert_eq!(read(r#"writev(1, [{iov_base="GET", iov_len=3}], 1)"#).unwrap().content, Some(b"GET".to_vec()));
        assert_eq!(read(r#"listen("127.0.0.1:80", 5)"#).unwrap().address, sockaddr::of_text(b"127.0.0.1:80"));
    }

    #[test]
    fn what_is_no_call_is_said() {
        let refused = |call: &str, why: &str| {
            let error = read(call).unwrap_err();
            assert!(error.contains(why), "{call}: {error}");
        };
        refused("", "write it as a call");
        refused("read", "write it as a call");
        refused("read(0", "the last ) is missing");
        refused("read(0) and more", "`and more` stands behind the call");
        refused("raed(0)", "`raed` is no x86-64 system call; did you mean `read`?");
        refused("read(zero)", "argument 0 (fd): `zero` is no number");
        refused("read(,)", "argument 0 (fd): `` is no number");
        refused("read(08)", "argument 0 (fd): `08` is no number of 64 bits");
        refused("read(18446744073709551616)", "is no number of 64 bits");
        refused("read(\")", "a string does not end");
        refused("read({)", "the last ) is missing");
        refused("read({})}", "`}` stands behind the call");
        refused("read(}, {)", "brackets are not closed");
        refused(r#"open("\777")"#, "an escape that is no byte");
        refused(r#"open("\q")"#, "`\\q` is no escape of C's");
        refused(r#"open("a"b")"#, "a string does not end");
        refused(r#"open("a"b"c")"#, "is no string");
        refused(
            r#"open("x", O_RDNOLY)"#,
            "argument 1 (flags): `O_RDNOLY` is no number, and no name that is known here; did you mean `O_RDONLY`?",
        );
        refused("read(0,0,0,0)", "`read` has 3 of these arguments: fd, buf, count; here are 4");
        refused("getpid(1)", "`getpid` has no arguments");
        refused("clone(flag=1)", "there is no argument `flag`; did you mean `flags`?");
        refused(r#"connect(3, "127.0.0.1", 16)"#, "argument 1 (addr): `\"127.0.0.1\"` is no socket address");
        refused(r#"connect(3, {sa_family=AF_INET}, 16)"#, "is no socket address");
    }
}
