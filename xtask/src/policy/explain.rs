//! `policy explain`: which rule decides a call that is written as in a trace.
use super::fields::example;
use super::written::{Call, read};
use super::{limits, paths, sections, taints};
use crate::exit::Failure;
use policy::network::is_listen;
use policy::signature::{self, Kind, NumberChange, PlaceName};
use policy::{Action, Form, Policy, Read, Rewrite, Verdict};

/// The verdict on `call`, such as `openat(AT_FDCWD, "/etc/shadow", O_RDONLY)`, and why. `tainted`: with all taints in force.
pub(super) fn explain(policy: &Policy, call: &str, tainted: bool) -> Result<String, Failure> {
    let call = read(call).map_err(|why| Failure::early(format!("--call {call}: {why}")))?;
    let (Call { number, args, address, .. }, pointed) = (&call, call.pointed());
    let (number, rules) = (*number, policy.about(*number));
    let mut verdict = rules.judge(args, &pointed);
    let brings = rules.brings(&verdict, args, || pointed);
    if let Some(denied) = taints::verdict(policy, number).filter(|_| tainted && is_carried_out(&verdict)) {
        verdict = denied;
    }
    let mut lines = Vec::new();
    if is_listen(number) && is_carried_out(&verdict) {
        match address {
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
        lines.extend(taints::brought(policy, brings).filter(|_| !tainted));
        lines.extend(files(policy, &call));
    }
    lines.extend(limits::explain(policy, number, is_carried_out(&verdict)));
    lines.extend(unknown(&call, rules.reads()));
    lines.splice(0..0, changes(&verdict, number));
    lines.insert(0, format!("{}, by {}", action(&verdict), verdict.rule()));
    Ok(lines.join("\n") + "\n")
}

/// What `[[files]]` says of the paths that a call names, if that is where they lead.
fn files(policy: &Policy, call: &Call) -> Vec<String> {
    let kinds = signature::of(call.number).map_or(&[][..], |signature| signature.arguments);
    let is_path = |argument: u8| matches!(kinds.get(usize::from(argument)), Some(Kind::Path));
    let named = call.pieces.iter().filter(|(argument, _)| policy.restricts_files() && is_path(*argument));
    let line = |path: &[u8]| {
        let shown = path.escape_ascii();
        match std::str::from_utf8(path).is_ok_and(|path| paths::check(path).is_ok()) {
            true => {
                let verdict = policy.file_rights(path);
                format!(
                    "then, if \"{shown}\" is where it leads, its rights: {}, by {verdict}",
                    paths::stated(verdict.rights)
                )
            }
            false => format!("then [[files]] says what may be done with where \"{shown}\" leads: --path asks for that"),
        }
    };
    named.map(|(_, path)| line(path)).collect()
}

/// What the rules ask for that only an address stands for, a line for each argument.
fn unknown(call: &Call, reads: &[Read]) -> Vec<String> {
    let signature = signature::of(call.number);
    let line = |argument: &u8| {
        let read = reads.iter().find(|read| read.argument == *argument)?;
        let name = PlaceName::argument(signature, *argument);
        let example = match read.form {
            Form::String => "\"/a/path\"".to_owned(),
            Form::Address { .. } | Form::Message { .. } => "\"127.0.0.1:80\"".to_owned(),
            Form::Buffer { .. } | Form::Ranges { .. } | Form::MessageBytes { .. } => "\"a text\"".to_owned(),
            Form::Structure { .. } => signature.and_then(|signature| signature.structure(*argument)).map(example)?,
        };
        Some(format!(
            "what {name} points to is not known, and conditions on it are taken not to hold; write it in place of the address, as in {example}"
        ))
    };
    call.addresses.iter().filter_map(line).collect()
}

/// Whether it is carried out, or would be after a question.
pub(super) fn is_carried_out(verdict: &Verdict<'_>) -> bool {
    matches!(verdict.action, Action::Allow | Action::Rewrite | Action::Ask | Action::Stop)
}

/// What a rewrite changes of this call, a text for each.
pub(super) fn changes(verdict: &Verdict<'_>, call: u64) -> Vec<String> {
    let signature = signature::of(call);
    let text = |Rewrite { place, keep, set, path }: &Rewrite| {
        let of = PlaceName { signature, place: *place };
        match path {
            Some(path) => format!("{of} := \"{path}\""),
            None => NumberChange { of, keep: *keep, set: *set }.to_string(),
        }
    };
    verdict.rewrites().iter().map(text).collect()
}

/// The action in words.
pub(crate) fn action(verdict: &Verdict<'_>) -> String {
    match verdict.action {
        Action::Allow if verdict.log => "log".to_owned(),
        asking @ (Action::Ask | Action::Stop) => {
            let question = verdict.question().unwrap_or_default();
            format!("{} ({} s, else {})", plain(asking), question.limit, plain(question.otherwise.into()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_say_of_a_path_is_told_with_the_call() {
        let text = "version = 1\ndefault = \"allow\"\n[[files]]\npaths = \"/etc/shadow*\"\nrights = [\"hide\"]\nreason = \"secrets\"\n[[files]]\ndefault = [\"read\"]\n[[rule]]\ncalls = [\"rmdir\"]\naction = \"kill\"\n";
        let policy = policy::parse("p.toml", text).unwrap();
        let explained = |call: &str| explain(&policy, call, false).unwrap();
        assert_eq!(
            explained("openat(AT_FDCWD, \"/etc/shadow\", O_RDONLY)"),
            "allow, by default\nthen, if \"/etc/shadow\" is where it leads, its rights: hide, by files entry 1 p.toml:3: secrets\n"
        );
        assert_eq!(
            explained("rename(\"/a\", \"../b\")"),
            "allow, by default\nthen, if \"/a\" is where it leads, its rights: read, by files default p.toml:7\n\
             then [[files]] says what may be done with where \"../b\" leads: --path asks for that\n"
        );
        assert_eq!(explained("rmdir(\"/etc/shadow\")"), "kill, by rule 1 p.toml:9\n");
        assert_eq!(explained("write(1, \"/etc/shadow\", 11)"), "allow, by default\n");
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
            "rewrite, by rule 1 p.toml:2\npathname := \"/b\"\nflags := O_RDONLY\n"
        );
        let text = "version = 1\n[[rule]]\ncalls = [\"openat\"]\nwhen = [{ arg = 1, path = \"/etc/shadow\" }]\naction = \"kill\"\n";
        let policy = policy::parse("p.toml", text).unwrap();
        let explained = |call: &str| explain(&policy, call, false).unwrap();
        assert_eq!(explained("openat(AT_FDCWD, \"/etc/shadow\", O_RDONLY)"), "kill, by rule 1 p.toml:2\n");
        assert_eq!(explained("openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY)"), "errno EPERM, by default\n");
        assert_eq!(explained("openat(AT_FDCWD, NULL, O_RDONLY)"), "errno EPERM, by default\n");
        let text = "version = 1\n[[rule]]\ncalls = [\"openat\", \"openat2\"]\nwhen = [{ arg = \"flags\", op = \"==\", value = 0 }]\naction = \"kill\"\n[[rule]]\ncalls = [\"openat2\"]\naction = { rewrite = [{ arg = \"how.flags\", value = 0 }] }\n";
        let policy = policy::parse("p.toml", text).unwrap();
        let explained = |call: &str| explain(&policy, call, false).unwrap();
        assert_eq!(
            explained(r#"openat2(AT_FDCWD, "/x", {flags=O_RDONLY, resolve=0}, 24)"#),
            "kill, by rule 1 p.toml:2\n"
        );
        assert_eq!(
            explained(r#"openat2(AT_FDCWD, "/x", {flags=O_RDWR, resolve=0}, 24) = 3"#),
            "rewrite, by rule 2 p.toml:6\nhow.flags := O_RDONLY\n"
        );
        assert_eq!(
            explained(r#"openat2(AT_FDCWD, "/x", NULL, 24)"#).lines().next(),
            Some("rewrite, by rule 2 p.toml:6")
        );
        assert_eq!(
            explained("openat2(AT_FDCWD, 0x7ffd0, 0x7ffe0, 24)"),
            "rewrite, by rule 2 p.toml:6\nhow.flags := O_RDONLY\nwhat how points to is not known, and conditions on it are taken not to hold; write it in place of the address, as in {flags=0, mode=0}\n"
        );
        let text = "version = 1\ndefault = \"ask\"\n[[rule]]\ncalls = [\"openat\"]\nwhen = [{ arg = 1, path = \"/etc/**\" }]\naction = { ask = { limit = 5, otherwise = \"allow\" } }\n";
        let policy = policy::parse("p.toml", text).unwrap();
        let explained = |call: &str| explain(&policy, call, false).unwrap();
        assert_eq!(explained("openat(3, \"/etc/shadow\")"), "ask (5 s, else allow), by rule 1 p.toml:3\n");
        assert_eq!(explained("getpid()"), "ask (60 s, else errno EPERM), by default\n");
    }
}
