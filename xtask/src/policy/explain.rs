//! `policy explain`: which rule decides a call that is written as in a trace.
use super::constants::number;
use super::probes::SOME_ADDRESS;
use super::{sections, sockaddr, taints};
use crate::exit::Failure;
use policy::signature::{self, Kind};
use policy::symbols::Symbols;
use policy::{Action, Pointed, Policy, Rewrite, Verdict};
use proto::syscalls;

/// A call as it is written.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    number: u64,
    args: [u64; 6],
    /// What is written as a string, by argument.
    strings: Vec<(u8, Vec<u8>)>,
    /// The socket address, as the program would pass it.
    address: Option<Vec<u8>>,
    /// What it writes or sends.
    content: Option<Vec<u8>>,
}

/// The verdict on `call`, such as `openat(AT_FDCWD, "/etc/shadow", O_RDONLY)`, and why. `tainted`: with all taints in force.
pub(super) fn explain(policy: &Policy, call: &str, tainted: bool) -> Result<String, Failure> {
    let Call { number, args, strings, address, content } =
        read(call).map_err(|why| Failure::early(format!("--call {call}: {why}")))?;
    let mut pointed = Pointed::NOTHING;
    for (argument, string) in &strings {
        pointed.set(*argument, string);
    }
    if let Some(address) = &address {
        pointed.set_address(address);
    }
    if let Some(content) = &content {
        pointed.set_content(content);
    }
    let mut verdict = policy.about(number).judge(&args, &pointed);
    if let Some(denied) = taints::verdict(policy, number).filter(|_| tainted && is_carried_out(&verdict)) {
        verdict = denied;
    }
    let mut lines = Vec::new();
    if is_listen(number) && is_carried_out(&verdict) {
        match &address {
            Some(address) => verdict = policy.may_listen(address).unwrap_or(verdict),
            // This address is none: whatever `[network]` says denies it.
            None => lines.extend(policy.may_listen(&[]).map(|verdict| {
                format!(
                    "{} then asks about the socket's address; name that in place of the descriptor: listen(\"127.0.0.1:80\", 5)",
                    verdict.rule()
                )
            })),
        }
    }
    if is_carried_out(&verdict) {
        lines.extend(sections::explain(policy, number));
        lines.extend(taints::explain(policy, number));
    }
    lines.splice(0..0, changes(&verdict));
    lines.insert(0, format!("{}, by {}", action(&verdict), verdict.rule()));
    Ok(lines.join("\n") + "\n")
}

/// The call whose address is its socket's, which no argument names: here it may stand in place of the descriptor.
fn is_listen(number: u64) -> bool {
    syscalls::by_number(number).is_some_and(|call| call.name == "listen")
}

fn is_carried_out(verdict: &Verdict<'_>) -> bool {
    matches!(verdict.action, Action::Allow | Action::Rewrite | Action::Ask | Action::Stop)
}

/// What a rewrite changes, a text for each.
pub(super) fn changes(verdict: &Verdict<'_>) -> Vec<String> {
    let text = |Rewrite { argument, keep, set, path }: &Rewrite| match (path, keep) {
        (Some(path), _) => format!("argument {argument} := \"{path}\""),
        (None, 0) => format!("argument {argument} := {set:#x}"),
        (None, keep) => format!("argument {argument} & {keep:#x}"),
    };
    verdict.rewrites().iter().map(text).collect()
}

/// The action in words.
pub(crate) fn action(verdict: &Verdict<'_>) -> String {
    match verdict.action {
        Action::Allow if verdict.log => "log".to_owned(),
        asking @ (Action::Ask | Action::Stop) => {
            let question = verdict.question().unwrap_or_default();
            format!("{} ({} s, else {})", plain(asking), question.limit, plain(question.otherwise))
        }
        action => plain(action),
    }
}

fn plain(action: Action) -> String {
    match action {
        Action::Allow => "allow".to_owned(),
        Action::Errno(errno) => format!("errno {}", errno.name),
        Action::Kill => "kill".to_owned(),
        Action::KillProcess => "kill process".to_owned(),
        Action::KillThread => "kill thread".to_owned(),
        Action::Trap => "trap".to_owned(),
        Action::Fake(value) => format!("fake {value}"),
        Action::Rewrite => "rewrite".to_owned(),
        Action::Ask => "ask".to_owned(),
        Action::Stop => "stop".to_owned(),
    }
}

/// A call. Arguments that are left out are 0.
fn read(call: &str) -> Result<Call, String> {
    let call = call.trim();
    let inner = call.split_once('(').and_then(|(name, rest)| Some((name, rest.strip_suffix(')')?)));
    let (name, list) = inner.ok_or("write it as a call, for example read(0)")?;
    let number = syscalls::by_name(name.trim()).ok_or_else(|| format!("`{name}` is no x86-64 system call"))?.number;
    let kinds = signature::of(number.into()).map_or(signature::UNKNOWN, |signature| signature.arguments);
    let mut args = [0; 6];
    let (mut strings, mut address, mut content) = (Vec::new(), None, None);
    let words = split(list);
    if words.len() > args.len() {
        return Err("a call has six arguments at most".into());
    }
    for ((index, slot), word) in (0_u8..).zip(&mut args).zip(&words) {
        let unknown = || format!("`{word}` is no value for argument {index}");
        let kind = kinds.get(usize::from(index)).copied();
        if !word.starts_with('"') {
            *slot = value(word, kind).ok_or_else(unknown)?;
            continue;
        }
        *slot = SOME_ADDRESS;
        let text = string(word).ok_or_else(unknown)?;
        let is_socket = is_listen(number.into()) && index == 0;
        if is_socket || matches!(kind, Some(Kind::Address(_) | Kind::Message | Kind::Messages(_))) {
            address = Some(sockaddr::of_text(&text).ok_or_else(unknown)?);
        } else if matches!(kind, Some(Kind::Buffer(_) | Kind::Ranges(_))) {
            content = Some(text);
        } else {
            strings.push((index, text));
        }
    }
    Ok(Call { number: number.into(), args, strings, address, content })
}

/// The bytes of a string constant as C and traces have it.
fn string(word: &str) -> Option<Vec<u8>> {
    let mut rest = word.strip_prefix('"')?.strip_suffix('"')?.bytes().peekable();
    let mut bytes = Vec::new();
    while let Some(byte) = rest.next() {
        let escaped = match byte {
            b'\\' => rest.next()?,
            b'"' => return None,
            _ => {
                bytes.push(byte);
                continue;
            }
        };
        bytes.push(match escaped {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'f' => 0x0c,
            b'0'..=b'7' => {
                let mut value = u32::from(escaped - b'0');
                for _ in 0..2 {
                    let Some(digit) = rest.next_if(|digit| matches!(digit, b'0'..=b'7')) else { break };
                    value = value * 8 + u32::from(digit - b'0');
                }
                u8::try_from(value).ok()?
            }
            other => other,
        });
    }
    Some(bytes)
}

/// The arguments of a list, without the spaces around them. Commas in strings do not count.
fn split(list: &str) -> Vec<&str> {
    let (mut words, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, character) in list.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                words.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    let last = list[start..].trim();
    if !last.is_empty() || !words.is_empty() {
        words.push(last);
    }
    words
}

/// What an argument stands for that is no string: a number, or names joined by `|`.
fn value(word: &str, kind: Option<Kind>) -> Option<u64> {
    match word {
        "NULL" => return Some(0),
        "AT_FDCWD" => return Some((-100i64).cast_unsigned()),
        _ => {}
    }
    number(word).or_else(|| match kind {
        Some(Kind::Named(symbols) | Kind::LongNamed(symbols)) => names(word, symbols),
        _ => None,
    })
}

fn names(word: &str, symbols: &Symbols) -> Option<u64> {
    word.split('|')
        .map(|name| symbols.value(name.trim()).or_else(|| number(name.trim())))
        .try_fold(0, |all, one| Some(all | one?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_as_traces_write_them() {
        let read = |call: &str| read(call).unwrap();
        let fdcwd = (-100i64).cast_unsigned();
        let plain = |number, args| Call { number, args, strings: Vec::new(), address: None, content: None };
        assert_eq!(
            read(r#"openat(AT_FDCWD, "/a, \"b\n\12\0019", O_WRONLY|O_CREAT, 0644)"#),
            Call {
                strings: vec![(1, b"/a, \"b\n\n\x019".to_vec())],
                ..plain(257, [fdcwd, SOME_ADDRESS, 0o101, 0o644, 0, 0])
            }
        );
        assert_eq!(read("getpid()"), plain(39, [0; 6]));
        assert_eq!(read(" write ( 1 , NULL, 0x10 ) "), plain(1, [1, 0, 16, 0, 0, 0]));
    }

    #[test]
    fn what_is_no_call_is_said() {
        let refused = |call: &str| read(call).unwrap_err();
        assert!(refused("read").contains("write it as a call"));
        assert!(refused("raed(0)").contains("`raed` is no x86-64 system call"));
        assert!(refused("read(zero)").contains("`zero` is no value for argument 0"));
        assert!(refused("read(,)").contains("`` is no value for argument 0"));
        assert!(refused("read(\")").contains("no value for argument 0"));
        assert!(refused(r#"open("\777")"#).contains("no value for argument 0"));
        assert!(refused("read(0,0,0,0,0,0,0)").contains("six arguments"));
        assert!(refused(r#"connect(3, "127.0.0.1", 16)"#).contains("no value for argument 1"));
    }

    #[test]
    fn the_rule_is_named() {
        let text = "version = 1\n[[rule]]\ncalls = [\"openat\"]\nwhen = [{ arg = 2, op = \"==\", value = \"O_RDONLY\" }]\naction = \"log\"\nreason = \"only reading\"\n";
        let policy = policy::parse("p.toml", text).unwrap();
        let explained = |call: &str| explain(&policy, call, false).unwrap();
        assert_eq!(explained("openat(3, \"x\", O_RDONLY)"), "log, by rule 1 p.toml:2: only reading\n");
        assert_eq!(explained("openat(3, \"x\", O_WRONLY)"), "errno EPERM, by default\n");
        assert!(explain(&policy, "nothing", false).is_err());
        let text = "version = 1\n[[rule]]\ncalls = [\"connect\", \"sendmsg\"]\nwhen = [{ address = \"127.0.0.0/8:80\" }]\naction = \"kill\"\n";
        let policy = policy::parse("p.toml", text).unwrap();
        let explained = |call: &str| explain(&policy, call, false).unwrap();
        assert_eq!(explained(r#"connect(3, "127.0.0.1:80", 16)"#), "kill, by rule 1 p.toml:2\n");
        assert_eq!(explained(r#"sendmsg(3, "127.0.0.1:81", 0)"#), "errno EPERM, by default\n");
        let text = "version = 1\n[[rule]]\ncalls = [\"write\", \"writev\"]\nwhen = [{ prefix = \"GET \" }]\naction = \"kill\"\n";
        let policy = policy::parse("p.toml", text).unwrap();
        let explained = |call: &str| explain(&policy, call, false).unwrap();
        assert_eq!(explained(r#"write(1, "GET /", 5)"#), "kill, by rule 1 p.toml:2\n");
        assert_eq!(explained(r#"writev(1, "GET /", 1)"#), "kill, by rule 1 p.toml:2\n");
        assert_eq!(explained(r#"write(1, "PUT /", 5)"#), "errno EPERM, by default\n");
        let text = "version = 1\n[[rule]]\ncalls = [\"openat\"]\naction = { rewrite = [{ arg = 1, path = \"/b\" }, { arg = 2, value = 0 }] }\n";
        let policy = policy::parse("p.toml", text).unwrap();
        assert_eq!(
            explain(&policy, r#"openat(AT_FDCWD, "/a", O_RDWR)"#, false).unwrap(),
            "rewrite, by rule 1 p.toml:2\nargument 1 := \"/b\"\nargument 2 := 0x0\n"
        );
        let text = "version = 1\n[[rule]]\ncalls = [\"openat\"]\nwhen = [{ arg = 1, path = \"/etc/shadow\" }]\naction = \"kill\"\n";
        let policy = policy::parse("p.toml", text).unwrap();
        let explained = |call: &str| explain(&policy, call, false).unwrap();
        assert_eq!(explained("openat(AT_FDCWD, \"/etc/shadow\", O_RDONLY)"), "kill, by rule 1 p.toml:2\n");
        assert_eq!(explained("openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY)"), "errno EPERM, by default\n");
        assert_eq!(explained("openat(AT_FDCWD, NULL, O_RDONLY)"), "errno EPERM, by default\n");
        let text = "version = 1\ndefault = \"ask\"\n[[rule]]\ncalls = [\"openat\"]\nwhen = [{ arg = 1, path = \"/etc/**\" }]\naction = { ask = { limit = 5, otherwise = \"allow\" } }\n";
        let policy = policy::parse("p.toml", text).unwrap();
        let explained = |call: &str| explain(&policy, call, false).unwrap();
        assert_eq!(explained("openat(3, \"/etc/shadow\")"), "ask (5 s, else allow), by rule 1 p.toml:3\n");
        assert_eq!(explained("getpid()"), "ask (60 s, else errno EPERM), by default\n");
    }
}
