//! What `[process]`, `[root]` and `[[bind]]` come to in words, for those who look at policies without running anything.
use policy::Policy;
use policy::environment::Said;
use policy::mounts::{Bind, BindMode};
use policy::process::{LIMITS, Limit, Process};

/// Something that is stated: what it is about, and what is said about it.
type Stated = (String, String);

/// The lines of `policy check`.
pub(super) fn check(policy: &Policy) -> Vec<String> {
    let place = |key: &str| {
        // Variables and limits stand together, and more than one file may have some.
        let key = key.split(['.', ',']).next().unwrap_or(key);
        policy.process().place(key).map_or_else(String::new, |place| format!("{place}: "))
    };
    let of_process = process(policy.process()).into_iter();
    let of_process = of_process.map(|(key, value)| format!("{}[process] {key}: {value}", place(&key)));
    of_process.chain(mounts(policy).into_iter().map(|(what, value)| format!("{what}: {value}"))).collect()
}

/// The lines of `policy diff`.
pub(super) fn diff(before: &Policy, after: &Policy) -> Vec<String> {
    let of_process = |policy: &Policy| {
        let stated = process(policy.process()).into_iter();
        stated.map(|(key, value)| (format!("[process] {key}"), value)).chain(mounts(policy)).collect::<Vec<_>>()
    };
    changes(&of_process(before), &of_process(after))
}

/// What differs, in the order of the first, and then of the second.
fn changes(before: &[Stated], after: &[Stated]) -> Vec<String> {
    let of = |stated: &[Stated], what: &str| {
        let value = stated.iter().find(|(known, _)| known == what).map(|(_, value)| value.clone());
        value.unwrap_or_else(|| "not stated".to_owned())
    };
    let is_new = |(what, _): &&Stated| !before.iter().any(|(known, _)| known == what);
    let all = before.iter().chain(after.iter().filter(is_new)).map(|(what, _)| what);
    let change = |what: &String| {
        let (then, now) = (of(before, what), of(after, what));
        (then != now).then(|| format!("{what}: {then} -> {now}"))
    };
    all.filter_map(change).collect()
}

fn process(process: &Process) -> Vec<Stated> {
    let Process { args, cwd, uid, gid, groups, umask, hostname, domainname, no_new_privileges, clock_offset, .. } =
        process;
    let number = |number: &Option<u32>| number.map(|number| number.to_string());
    let text = |text: &Option<String>| text.as_ref().map(|text| format!("{text:?}"));
    let list = |list: &[u32]| list.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    let words = |words: &Vec<String>| words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" ");
    let named = [
        ("args", args.as_ref().map(words)),
        ("cwd", text(cwd)),
        ("uid", number(uid)),
        ("gid", number(gid)),
        ("groups", groups.as_ref().map(|groups| if groups.is_empty() { "none".to_owned() } else { list(groups) })),
        ("umask", umask.map(|umask| format!("{umask:#05o}"))),
        ("hostname", text(hostname)),
        ("domainname", text(domainname)),
        ("no_new_privileges", no_new_privileges.map(|stated| stated.to_string())),
        ("clock", clock_offset.map(|seconds| format!("{seconds:+} s"))),
    ];
    let named = named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    let limits = process.limits.iter().map(|(kind, limit)| {
        let name = usize::try_from(*kind).ok().and_then(|kind| LIMITS.get(kind)).copied().unwrap_or("?");
        (format!("rlimit.{name}"), limit_in_words(*limit))
    });
    named.chain(limits).chain(environment(process)).collect()
}

fn environment(process: &Process) -> Vec<Stated> {
    let of_name = |(name, said): (&str, Said<'_>)| {
        let said = match said {
            Said::Set(value) => format!("{value:?}"),
            Said::Unset => "left out".to_owned(),
            _ => "passed on".to_owned(),
        };
        (format!("env.{name}"), said)
    };
    let others = process.env.allowed().map(|names| {
        let said = if names.is_empty() { "left out".to_owned() } else { format!("only {}", names.join(" ")) };
        ("env, others".to_owned(), said)
    });
    process.env.entries().map(of_name).chain(others).collect()
}

fn limit_in_words(Limit { soft, hard }: Limit) -> String {
    let one = |limit: u64| if limit == u64::MAX { "unlimited".to_owned() } else { limit.to_string() };
    if soft == hard { one(soft) } else { format!("{}, and {} at most", one(soft), one(hard)) }
}

fn mounts(policy: &Policy) -> Vec<Stated> {
    let root = policy.mounts().root.iter().map(|root| ("[root]".to_owned(), root.path.clone()));
    let bind = |bind: &Bind| {
        let mode = match bind.mode {
            BindMode::ReadOnly => "ro",
            BindMode::CopyOnWrite => "cow",
            BindMode::ReadWrite => "rw",
        };
        let merge = if bind.merge { ", merged" } else { "" };
        let except: Vec<&str> = bind.except.iter().map(String::as_str).collect();
        let except = if except.is_empty() { String::new() } else { format!(", except {}", except.join(" ")) };
        (format!("[[bind]] {}", bind.at), format!("{} ({mode}{merge}{except})", bind.host.path))
    };
    root.chain(policy.mounts().binds.iter().map(bind)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "version = 1
[process]
args = [\"/bin/a\", \"b c\"]
uid = 5
groups = []
umask = 0o27
clock = { offset = \"-1d\" }
rlimit = { nofile = [256, \"unlimited\"], core = 0 }
env = { set = { A = \"1\" }, unset = [\"*_KEY\"], pass = [\"TZ\"], allow = [\"B\", \"C*\"] }
[root]
path = \"rootfs\"
[[bind]]
host = \"data\"
at = \"/data\"
mode = \"cow\"
except = [\"x\", \"y\"]
";

    fn parsed(text: &str) -> Policy {
        policy::parse("p", text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn everything_that_is_stated_is_listed() {
        let expected = [
            "p:3: [process] args: \"/bin/a\" \"b c\"",
            "p:4: [process] uid: 5",
            "p:5: [process] groups: none",
            "p:6: [process] umask: 0o027",
            "p:7: [process] clock: -86400 s",
            "p:8: [process] rlimit.core: 0",
            "p:8: [process] rlimit.nofile: 256, and unlimited at most",
            "p:9: [process] env.A: \"1\"",
            "p:9: [process] env.*_KEY: left out",
            "p:9: [process] env.TZ: passed on",
            "p:9: [process] env, others: only B C*",
            "[root]: rootfs",
            "[[bind]] /data: data (cow, except x y)",
        ];
        assert_eq!(check(&parsed(TEXT)), expected);
        assert!(check(&parsed("version = 1\n")).is_empty());
    }

    #[test]
    fn what_differs_is_named() {
        assert!(diff(&parsed(TEXT), &parsed(&TEXT.replace("[process]", "\n[process]"))).is_empty());
        let other = TEXT
            .replace("uid = 5", "cwd = \"/\"")
            .replace("\"TZ\"", "\"TX\"")
            .replace("\"cow\"", "\"rw\"")
            .replace("[\"B\", \"C*\"]", "[]");
        let expected = [
            "[process] uid: 5 -> not stated",
            "[process] env.TZ: passed on -> not stated",
            "[process] env, others: only B C* -> left out",
            "[[bind]] /data: data (cow, except x y) -> data (rw, except x y)",
            "[process] cwd: not stated -> \"/\"",
            "[process] env.TX: not stated -> passed on",
        ];
        assert_eq!(diff(&parsed(TEXT), &parsed(&other)), expected);
    }
}
