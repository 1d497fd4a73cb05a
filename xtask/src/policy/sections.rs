//! What `[network]`, `[limits]`, `[[budget]]` and `[events]` come to in words, for those who look at policies without running anything.
use super::files::Part;
use super::model::Model;
use super::values;
use super::{explain, limits};
use policy::{Budget, Policy, WhenFull};
use proto::syscalls::{self, SYSCALLS};
use toml::de::DeValue;
use toml::{Table, Value};

/// Calls that the lists of `[network]` are about, by their keys.
const LISTS: [(&str, List); 3] =
    [("connect", |network| &network.connect), ("bind", |network| &network.bind), ("listen", |network| &network.listen)];

type List = fn(&Network) -> &Vec<String>;

/// The `[network]` that holds.
pub(super) struct Network {
    /// File and line.
    pub(super) place: String,
    connect: Vec<String>,
    bind: Vec<String>,
    listen: Vec<String>,
    /// What is done with the others, as the text has it or would have it.
    pub(super) action: Value,
}

impl Network {
    /// That of a file that is known to be good, if it has one.
    pub(super) fn read(part: &Part) -> Result<Option<Self>, String> {
        let document = values::parse(&part.text)?;
        let Some(section) = document.get_ref().get("network") else { return Ok(None) };
        let mut table = match values::value(section.get_ref())? {
            Value::Table(table) => table,
            _ => Table::new(),
        };
        let mut list = |key: &str| match table.remove(key) {
            Some(Value::String(pattern)) => vec![pattern],
            Some(Value::Array(patterns)) => {
                patterns.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        };
        let (connect, bind, listen) = (list("connect"), list("bind"), list("listen"));
        let place = part.place(section.span().start);
        Ok(Some(Self { place, connect, bind, listen, action: table.remove("action").unwrap_or_else(denied) }))
    }

    /// Whether it denies this call wherever it goes.
    pub(super) fn lists_nothing_for(&self, call: &str) -> bool {
        LISTS.iter().any(|(key, list)| *key == call && list(self).is_empty())
    }
}

/// What holds where nothing is stated.
fn denied() -> Value {
    failure("EACCES")
}

/// The action that lets calls fail with this error.
pub(super) fn failure(errno: &str) -> Value {
    Value::Table(Table::from_iter([("errno".to_owned(), Value::String(errno.to_owned()))]))
}

/// The lines of `policy check` about them.
pub(super) fn check(policy: &Policy, model: &Model) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(network) = &model.network {
        let lists = LISTS.map(|(key, list)| format!("{key}: {}", addresses(list(network))));
        lines.push(format!("{}: [network] {}; others: {}", network.place, lists.join("; "), others(policy)));
        let unnamed = |(key, list): &(&str, List)| {
            let is_named = syscalls::by_name(key).is_some_and(|call| model.about(call.number).next().is_some());
            !list(network).is_empty() && !is_named
        };
        let left = LISTS.iter().filter(|list| unnamed(list));
        lines.extend(left.map(|(key, _)| {
            let place = &network.place;
            format!("{place}: no rule is about `{key}`: what the list lets through is decided by the default")
        }));
    }
    lines.extend(limits::check(policy));
    if let Some(place) = policy.events_place() {
        lines.push(format!("{place}: [events] when_full: {}", when_full(policy)));
    }
    let budgets = budgets(policy);
    for (index, budget) in budgets.iter().enumerate() {
        let Described { place, calls, terms, budget: own } = budget;
        lines.push(format!("{place}: {terms}, of {}", names(calls)));
        if !calls.iter().any(|call| may_be_carried_out(policy, call)) {
            lines.push(format!("{place}: never charged: no rule lets any of these calls be carried out"));
        }
        // Whatever is charged to this one is charged to that one too, which gives no more.
        let covers = |earlier: &&Described| {
            let Budget { count, bytes } = earlier.budget;
            count <= own.count && bytes <= own.bytes && calls.iter().all(|call| earlier.calls.contains(call))
        };
        if let Some(earlier) = budgets.iter().take(index).find(covers) {
            lines.push(format!("{place}: never decides: {} counts the same calls and gives no more", earlier.place));
        }
    }
    lines
}

/// The lines of `policy explain` about a call that is carried out.
pub(super) fn explain(policy: &Policy, call: u64) -> Vec<String> {
    let bits = policy.about(call).holds();
    let charged = budgets(policy).into_iter().enumerate().filter(|(index, _)| bits >> index & 1 != 0);
    charged.map(|(_, Described { place, terms, .. })| format!("charged to {place}: {terms}")).collect()
}

/// The lines of `policy diff` about them.
pub(super) fn diff(before: (&Policy, &Model), after: (&Policy, &Model)) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, list) in LISTS {
        let stated = |model: &Model| match &model.network {
            None => "any address".to_owned(),
            Some(network) => addresses(&sorted(list(network).clone())),
        };
        lines.extend(change(&format!("[network] {key}"), &stated(before.1), &stated(after.1)));
    }
    if before.1.network.is_some() && after.1.network.is_some() {
        lines.extend(change("[network] others", &others(before.0), &others(after.0)));
    }
    for ((quota, then), (_, now)) in limits::stated(before.0).into_iter().zip(limits::stated(after.0)) {
        lines.extend(change(&format!("[limits] {}", quota.key()), &then, &now));
    }
    lines.extend(change("[events] when_full", when_full(before.0), when_full(after.0)));
    let (before, after) = (budgets(before.0), budgets(after.0));
    let mut known: Vec<&[&str]> = Vec::new();
    for budget in before.iter().chain(&after) {
        if known.contains(&budget.calls.as_slice()) {
            continue;
        }
        known.push(&budget.calls);
        let of = |budgets: &[Described]| {
            let same = budgets.iter().filter(|other| other.calls == budget.calls);
            let terms: Vec<&str> = same.map(|budget| budget.terms.as_str()).collect();
            if terms.is_empty() { "none".to_owned() } else { terms.join("; ") }
        };
        lines.extend(change(&format!("[[budget]] of {}", names(&budget.calls)), &of(&before), &of(&after)));
    }
    let order = |budgets: &[Described]| -> Vec<Vec<&'static str>> {
        budgets.iter().map(|budget| budget.calls.clone()).collect()
    };
    if lines.is_empty() && order(&before) != order(&after) {
        lines.push("[[budget]]: tried in another order".to_owned());
    }
    lines
}

/// Whether a rule, or the default, lets a call be carried out.
pub(super) fn may_be_carried_out(policy: &Policy, call: &str) -> bool {
    syscalls::by_name(call).is_some_and(|call| policy.about(call.number.into()).may_be_carried_out())
}

fn change(what: &str, before: &str, after: &str) -> Option<String> {
    (before != after).then(|| format!("{what}: {before} -> {after}"))
}

/// What is done with addresses that are not listed.
fn others(policy: &Policy) -> String {
    // No list has this address, which is none.
    policy.may_listen(&[]).map_or_else(String::new, |verdict| explain::action(&verdict))
}

fn addresses(patterns: &[String]) -> String {
    if patterns.is_empty() { "nowhere".to_owned() } else { patterns.join(" ") }
}

fn sorted(mut patterns: Vec<String>) -> Vec<String> {
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

fn names(calls: &[&str]) -> String {
    if calls.is_empty() { "no known call".to_owned() } else { calls.join(" ") }
}

/// What happens when events cannot be written as fast as they are made.
fn when_full(policy: &Policy) -> &'static str {
    match policy.when_full() {
        WhenFull::Slow => "the program waits",
        WhenFull::Drop => "events are dropped and counted",
    }
}

/// A budget in words.
struct Described {
    /// Section, file and line, and the reason.
    place: String,
    /// The calls that are charged to it.
    calls: Vec<&'static str>,
    /// What there is to spend, and what is said then.
    terms: String,
    budget: Budget,
}

fn budgets(policy: &Policy) -> Vec<Described> {
    let described = policy.budgets().enumerate().map(|(index, budget)| {
        let is_charged = |call: u32| policy.about(call.into()).holds() >> index & 1 != 0;
        let calls = SYSCALLS.iter().filter(|call| is_charged(call.number)).map(|call| call.name).collect();
        let spent = policy.held(index);
        let amounts = [(budget.count, "calls"), (budget.bytes, "bytes")];
        let amounts = amounts.iter().filter(|(amount, _)| *amount != u64::MAX);
        let amounts: Vec<String> = amounts.map(|(amount, unit)| format!("{amount} {unit}")).collect();
        let terms = format!("{}, then {}", amounts.join(" and "), explain::action(&spent));
        Described { place: spent.rule().to_string(), calls, terms, budget }
    });
    described.collect()
}

/// Sections that a seccomp profile has no place for, and what is said of each entry of them.
const LEFT_OUT: [(&str, &str); 7] = [
    ("budget", "seccomp counts nothing; this budget is left out"),
    ("files", "seccomp sees no files; this entry of [[files]] is left out, and what it denies is allowed"),
    ("process", "a seccomp profile says nothing about the process; [process] is left out: it belongs into config.json"),
    ("root", "a seccomp profile says nothing about files; [root] is left out: it belongs into config.json"),
    ("bind", "a seccomp profile says nothing about mounts; this [[bind]] is left out: it belongs into config.json"),
    ("events", "seccomp writes no events; [events] is left out"),
    ("taint", "seccomp sees no files, and remembers no calls; this taint is left out"),
];

/// What `convert --to oci` leaves out.
pub(super) fn warnings(parts: &[Part], network: Option<&Network>) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    if let Some(network) = network {
        lines.push(format!(
            "{}: seccomp sees no addresses; of [network] only this is kept, that calls whose list is empty are denied",
            network.place
        ));
    }
    for part in parts {
        let document = values::parse(&part.text)?;
        if let Some(limits) = document.get_ref().get("limits") {
            let place = part.place(limits.span().start);
            let keys = limits.get_ref().as_table().into_iter().flat_map(|table| table.keys());
            let keys: Vec<&str> = keys.map(|key| key.get_ref().as_ref()).collect();
            lines.push(format!("{place}: seccomp has no limits; left out of [limits]: {}", keys.join(" ")));
        }
        for (key, why) in LEFT_OUT {
            let Some(section) = document.get_ref().get(key) else { continue };
            let entries: Vec<usize> = match section.get_ref() {
                DeValue::Array(entries) => entries.iter().map(|entry| entry.span().start).collect(),
                _ => vec![section.span().start],
            };
            lines.push(format!("{}: {why}", part.places(&entries)));
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::super::PolicyFiles;
    use super::super::diff::diff;
    use super::super::explain::explain;
    use super::*;

    const TEXT: &str = "version = 1
[network]
connect = [\"127.0.0.0/8:80\", \"unix:/run/**\"]
listen = \"127.0.0.1:8000-8999\"
action = \"kill\"
[[budget]]
calls = [\"read\", \"write\"]
count = 100
bytes = 1_000
reason = \"enough\"
[[budget]]
calls = [\"read\"]
count = 100
bytes = 2_000
[[rule]]
calls = [\"connect\", \"bind\", \"listen\", \"read\"]
action = \"allow\"
";

    fn differences(before: &str, after: &str) -> Vec<String> {
        let [before, after] = [before, after].map(|text| PolicyFiles::native("f", text));
        let models = (before.model().unwrap(), after.model().unwrap());
        diff((&before.compiled().unwrap(), &models.0), (&after.compiled().unwrap(), &models.1))
    }

    #[test]
    fn check_says_what_they_come_to() {
        let files = PolicyFiles::native("f", TEXT);
        let lines = check(&files.compiled().unwrap(), &files.model().unwrap());
        let network =
            "[network] connect: 127.0.0.0/8:80 unix:/run/**; bind: nowhere; listen: 127.0.0.1:8000-8999; others: kill";
        let expected = [
            format!("f:2: {network}"),
            "[[budget]] f:6: enough: 100 calls and 1000 bytes, then errno EDQUOT, of read write".to_owned(),
            "[[budget]] f:11: 100 calls and 2000 bytes, then errno EDQUOT, of read".to_owned(),
            "[[budget]] f:11: never decides: [[budget]] f:6: enough counts the same calls and gives no more".to_owned(),
        ];
        assert_eq!(lines, expected);
        let text = "version = 1\n[[budget]]\ncalls = [\"fsync\", \"read\"]\ncount = 1\n[[rule]]\ncalls = [\"read\"]\n";
        let lines = |action: &str| {
            let files = PolicyFiles::native("f", &format!("{text}{action}\n"));
            check(&files.compiled().unwrap(), &files.model().unwrap())
        };
        let asked = "when = [{ arg = 0, op = \"==\", value = 1 }]\naction = \"ask\"";
        assert_eq!((lines("action = \"allow\"").len(), lines(asked).len()), (1, 1));
        assert!(lines("action = { fake = 1 }")[1].starts_with("[[budget]] f:2: never charged"));
        let files = PolicyFiles::native("f", "version = 1\n[network]\nbind = [\"*\"]\n");
        let lines = check(&files.compiled().unwrap(), &files.model().unwrap());
        assert!(lines[1].starts_with("f:2: no rule is about `bind`") && lines.len() == 2, "{lines:?}");
    }

    #[test]
    fn limits_are_listed_compared_and_left_out_of_profiles() {
        let text = "version = 1\n[limits]\nmemory = \"64M\"\ncpu = \"90s\"\n";
        let files = PolicyFiles::native("f", text);
        let model = files.model().unwrap();
        let expected = [
            "[limits] f:3: memory 64M; what takes more fails with ENOMEM or ENOSPC",
            "[limits] f:4: cpu 90s; the sandbox ends",
        ];
        assert_eq!(check(&files.compiled().unwrap(), &model), expected);
        assert_eq!(model.unexpressed, ["f:2: seccomp has no limits; left out of [limits]: cpu memory"]);
        let other = "version = 1\n[limits]\nmemory = 67_108_864\ncpu = \"2m\"\nthreads = 3\n";
        assert_eq!(differences(text, other), ["[limits] threads: none -> 3", "[limits] cpu: 90s -> 2m"]);
    }

    #[test]
    fn what_a_profile_has_no_place_for_is_named() {
        let text = "version = 1
[process]
cwd = \"/\"
[root]
path = \"x\"
[[bind]]
host = \"a\"
at = \"/a\"
mode = \"ro\"
[[files]]
paths = \"/b\"
rights = []
[[files]]
default = []
[[budget]]
calls = [\"read\"]
count = 1
[[taint]]
calls = [\"ptrace\"]
deny = [\"read\"]
";
        let lines = PolicyFiles::native("f", text).model().unwrap().unexpressed;
        let places: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(places, ["f:15:", "f:10,13:", "f:2:", "f:4:", "f:6:", "f:18:"], "{lines:?}");
        assert!(lines[1].contains("[[files]] is left out"));
    }

    #[test]
    fn what_becomes_of_events_is_told() {
        let text = "version = 1\n[events]\nwhen_full = \"drop\"\n";
        let files = PolicyFiles::native("f", text);
        let model = files.model().unwrap();
        let lines = check(&files.compiled().unwrap(), &model);
        assert_eq!(lines, ["f:2: [events] when_full: events are dropped and counted"]);
        assert_eq!(model.unexpressed, ["f:2: seccomp writes no events; [events] is left out"]);
        let told = differences("version = 1\n", text);
        assert_eq!(told, ["[events] when_full: the program waits -> events are dropped and counted"]);
        assert!(differences("version = 1\n", &text.replace("drop", "slow")).is_empty());
    }

    #[test]
    fn explain_names_budgets_and_asks_where_a_socket_listens() {
        let policy = policy::parse("f", TEXT).unwrap();
        let explained = |call: &str| explain(&policy, call, false).unwrap();
        let read = explained("read(0)");
        assert!(read.starts_with("allow, by rule 1 f:15\ncharged to [[budget]] f:6: enough: 100 calls"), "{read}");
        assert_eq!(read.lines().count(), 3);
        assert_eq!(explained("write(0)"), "errno EPERM, by default\n");
        assert_eq!(explained("connect(3, \"127.0.0.1:81\")"), "kill, by [network] f:2\n");
        assert_eq!(explained("listen(\"127.0.0.1:8000\", 5)"), "allow, by rule 1 f:15\n");
        assert_eq!(explained("listen(\"127.0.0.1:9000\", 5)"), "kill, by [network] f:2\n");
        let open = explained("listen(3, 5)");
        assert!(open.starts_with("allow, by rule 1 f:15\n[network] f:2 then asks"), "{open}");
    }

    #[test]
    fn changes_of_both_are_differences() {
        assert!(differences(TEXT, TEXT).is_empty());
        let replaced = |from: &str, to: &str| {
            assert!(TEXT.contains(from));
            differences(TEXT, &TEXT.replace(from, to))
        };
        assert_eq!(
            replaced("\"127.0.0.0/8:80\"", "\"*\""),
            ["[network] connect: 127.0.0.0/8:80 unix:/run/** -> * unix:/run/**"]
        );
        assert_eq!(replaced("action = \"kill\"\n", ""), ["[network] others: kill -> errno EACCES"]);
        assert_eq!(
            replaced("count = 100\nbytes = 1_000", "count = 99"),
            ["[[budget]] of read write: 100 calls and 1000 bytes, then errno EDQUOT -> 99 calls, then errno EDQUOT"]
        );
        let none = differences(
            TEXT,
            "version = 1\n[[rule]]\ncalls = [\"connect\", \"bind\", \"listen\", \"read\"]\naction = \"allow\"\n",
        );
        assert_eq!(none[2], "[network] listen: 127.0.0.1:8000-8999 -> any address");
        assert!(none[4].ends_with("errno EDQUOT -> none") && none.len() == 5, "{none:?}");
        let budget = |call: &str| format!("[[budget]]\ncalls = [\"{call}\", \"dup\"]\ncount = 1\n");
        let both = |one: &str, other: &str| format!("version = 1\n{}{}", budget(one), budget(other));
        assert_eq!(differences(&both("read", "write"), &both("write", "read")), ["[[budget]]: tried in another order"]);
    }
}
