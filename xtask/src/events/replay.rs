//! `cargo xtask replay`: what another policy would have said to a run.
mod files;

use super::data::Bytes;
use super::event::{Call, Cause, Event, Tainted, What};
use super::usage::{Told, Usage, told};
use super::verify::Events;
use crate::cli::ReplayOptions;
use crate::exit::Failure;
use crate::policy::{hexadecimal, sockaddr};
use files::Files;
use gate::{Budgets, Rate};
use policy::quotas::Quota;
use policy::signature::{self, Kind};
use policy::{Pointed, Policy, Rights};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Blocked calls that are shown one by one.
const MAX_SHOWN: usize = 20;

/// Exit code when something would have been blocked.
const BLOCKED: u8 = 1;

/// Ticks of 100 ns in a second.
const TICKS: u64 = 10_000_000;

/// Judges the recorded calls by the policy and prints what it would have blocked.
pub(crate) fn replay(options: &ReplayOptions) -> Result<ExitCode, Failure> {
    let policy = crate::policy::read(&options.policy, &options.container)?.compiled()?;
    let mut events = Events::open(&options.events)?;
    let mut replay = Replay::new(&policy);
    while let Some(event) = events.next_event().map_err(Failure::early)? {
        for line in replay.add(&event) {
            println!("{line}");
        }
    }
    let (lines, is_good) = replay.finish();
    lines.iter().for_each(|line| println!("{line}"));
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(BLOCKED) })
}

/// A run under another policy.
struct Replay<'p> {
    policy: &'p Policy,
    sandboxes: BTreeMap<u32, Sandbox>,
    usage: Usage,
    calls: u64,
    blocked: usize,
    files: Files,
    /// Uses of files that `[[files]]` would have refused.
    refused: usize,
    waits: Waits,
}

/// One of its sandboxes, with the gate's own book-keeping.
struct Sandbox {
    budgets: Budgets,
    rate: Rate,
    /// How much later its calls would come, in 100 ns.
    late: u64,
}

/// Calls that would have waited for `calls_per_second`.
#[derive(Default)]
struct Waits {
    count: u64,
    /// The first: when, in which sandbox.
    first: Option<(u64, u32)>,
    /// The longest that a sandbox would have waited in all, in 100 ns.
    longest: u64,
}

impl<'p> Replay<'p> {
    fn new(policy: &'p Policy) -> Self {
        let usage = Usage::under(policy.quotas());
        let (files, waits) = (Files::default(), Waits::default());
        Self { policy, sandboxes: BTreeMap::new(), usage, calls: 0, blocked: 0, files, refused: 0, waits }
    }

    /// The lines about what is blocked of an event.
    fn add(&mut self, event: &Event) -> Vec<String> {
        self.usage.add(event);
        let Self { policy, .. } = *self;
        let sandbox = self.sandboxes.entry(event.sandbox).or_insert_with(|| Sandbox {
            budgets: Budgets::new(policy, 0),
            rate: Rate::new(policy.quotas().get(Quota::CallsPerSecond), 0),
            late: 0,
        });
        let call = match &event.what {
            What::Call(call) => call,
            What::Taint(taint) => {
                sandbox.budgets.taint(taints(policy, taint));
                return Vec::new();
            }
            What::Result { call, value, .. } => {
                sandbox.budgets.returned(*call, *value);
                return Vec::new();
            }
            other => {
                let refused = self.files.add(policy, event.sandbox, other);
                return refused.into_iter().flat_map(|line| self.shown(event, line, true)).collect();
            }
        };
        self.calls += 1;
        self.waits.call(event, sandbox);
        let Some(verdict) = judged(policy, call, &mut sandbox.budgets) else { return Vec::new() };
        self.shown(event, format!("thread {}: {} {verdict}", call.thread, call.text), false)
    }

    /// The lines about something that is blocked: the first ones are shown.
    fn shown(&mut self, event: &Event, line: String, is_file: bool) -> Vec<String> {
        *(if is_file { &mut self.refused } else { &mut self.blocked }) += 1;
        let count = self.blocked + self.refused;
        let first = (count == 1).then(|| format!("first at {} in sandbox {}:", seconds(event.ns), event.sandbox));
        let shown = (count <= MAX_SHOWN).then(|| format!("  {line}"));
        first.into_iter().chain(shown).collect()
    }

    /// What there is to say at the end, and whether nothing would have been blocked.
    fn finish(&self) -> (Vec<String>, bool) {
        let Self { policy, calls, blocked, refused, .. } = self;
        let mut lines = Vec::new();
        if blocked + refused > MAX_SHOWN {
            lines.push(format!("  and {} more", blocked + refused - MAX_SHOWN));
        }
        lines.push(format!("{calls} calls, {blocked} of them blocked"));
        lines.extend(self.files.finish(policy, *refused));
        if policy.has_tainting_files() {
            lines.push("taints: only files that tainted in the recorded run are known to have been used".to_owned());
        }
        let mut is_good = blocked + refused == 0;
        for (quota, limit) in policy.quotas().all() {
            let (line, is_kept) = self.limit(quota, limit);
            lines.push(format!("{}: {line}", policy.quotas().describe(quota).unwrap_or_default()));
            is_good &= is_kept;
        }
        (lines, is_good)
    }

    /// What a limit would have done, and whether that is nothing as far as events tell.
    fn limit(&self, quota: Quota, limit: u64) -> (String, bool) {
        if quota == Quota::CallsPerSecond {
            return self.waits.told();
        }
        if let Some((sandbox, ns)) = self.usage.first_beyond(quota) {
            let consequence = quota.consequence();
            return (format!("reached at {} in sandbox {sandbox}: {consequence}", seconds(ns)), false);
        }
        let used = self.usage.most(quota).map(|most| quota.amount(most));
        let wall = self.usage.most(Quota::Wall).unwrap_or(u64::MAX);
        let line = match (told(quota), used) {
            (Told::Nothing(_), _) if quota == Quota::Cpu && wall <= limit => {
                format!("not reached: the run took {} in all", quota.amount(wall))
            }
            (Told::Nothing(why), _) => format!("cannot be told: {why}"),
            (_, None) => "cannot be told: the recorded run says nothing of it".to_owned(),
            (Told::Whole, Some(used)) => format!("not reached, {used} at most"),
            (Told::Part(why), Some(used)) => format!("not reached as far as is known, {used} at most: {why}"),
        };
        (line, true)
    }
}

impl Waits {
    fn call(&mut self, event: &Event, sandbox: &mut Sandbox) {
        let now = (event.ns / 100).saturating_add(sandbox.late);
        let Err(at) = sandbox.rate.take(now) else { return };
        self.count += 1;
        self.first.get_or_insert((event.ns, event.sandbox));
        sandbox.late = sandbox.late.saturating_add(at.saturating_sub(now));
        self.longest = self.longest.max(sandbox.late);
        // There is enough by then.
        let _ = sandbox.rate.take(at);
    }

    fn told(&self) -> (String, bool) {
        let Some((ns, sandbox)) = self.first else { return ("nothing would have waited".to_owned(), true) };
        let (count, longest) = (self.count, seconds(self.longest.saturating_mul(1_000_000_000 / TICKS)));
        let line = format!(
            "{count} calls would have waited, the first at {} in sandbox {sandbox}; {longest} in all, if nothing else had waited meanwhile",
            seconds(ns)
        );
        (line, true)
    }
}

/// A time since the start, for people.
fn seconds(ns: u64) -> String {
    format!("{:.6} s", ns as f64 / 1e9)
}

/// What a call's arguments point to, as far as all of it was recorded.
struct Memory {
    /// Strings and structures.
    pieces: Vec<(u8, Vec<u8>)>,
    address: Option<Vec<u8>>,
    /// What the call writes.
    content: Option<Vec<u8>>,
}

impl Memory {
    fn of(call: &Call) -> Self {
        let (mut pieces, mut address, mut content) = (Vec::new(), None, None);
        let signature = signature::of(call.number);
        let kinds = signature.map_or(&[][..], |signature| signature.arguments);
        let is_written =
            |argument: u8| matches!(kinds.get(usize::from(argument)), Some(Kind::Buffer(_) | Kind::Ranges(_)));
        for data in call.data.iter().filter(|data| data.whole) {
            let is_written = data.sent || is_written(data.argument);
            match data.bytes.as_slice() {
                [Bytes::Text(text)] if is_written => content = Some(text.clone().into_bytes()),
                [Bytes::Hex(bytes)] if is_written => content = hexadecimal(bytes),
                [Bytes::Text(text)] => pieces.push((data.argument, text.clone().into_bytes())),
                [fields @ Bytes::Fields(_)] => {
                    let structure = signature.and_then(|signature| signature.structure(data.argument));
                    let bytes = structure.and_then(|structure| fields.structure(structure));
                    pieces.extend(bytes.map(|bytes| (data.argument, bytes)));
                }
                [Bytes::Address(text)] => address = sockaddr::of_text(text.as_bytes()),
                _ => {}
            }
        }
        Self { pieces, address, content }
    }

    fn pointed(&self) -> Pointed<'_> {
        let mut pointed = Pointed::NOTHING;
        self.pieces.iter().for_each(|(argument, bytes)| pointed.set(*argument, bytes));
        if let Some(address) = &self.address {
            pointed.set_address(address);
        }
        if let Some(content) = &self.content {
            pointed.set_content(content);
        }
        pointed
    }
}

/// The taints of the policy that follow from the file that tainted in the recorded run. Those that calls bring are known by the calls.
fn taints(policy: &Policy, taint: &Tainted) -> u64 {
    let Cause::File { rights, path, whole: true } = &taint.cause else { return 0 };
    let used = rights.split(' ').filter_map(Rights::by_name).fold(Rights::NONE, Rights::and);
    path.bytes().map_or(0, |path| policy.tainted_by(&path, used))
}

/// What the policy says to a call when so much is left of its budgets and these taints are in force, unless it is carried out: then it is charged.
fn judged(policy: &Policy, call: &Call, budgets: &mut Budgets) -> Option<String> {
    let verdict = match call.abi.as_str() {
        "x86-64" => {
            let read = Memory::of(call);
            let (rules, args, pointed) = (policy.about(call.number), call.args.map(|word| word.0), read.pointed());
            let verdict = budgets.decide(rules, rules.judge(&args, &pointed));
            if verdict.action.carries_out() {
                budgets.taint(rules.brings(&verdict, &args, || pointed));
            }
            verdict
        }
        _ => policy.judge_unknown(),
    };
    if verdict.action.carries_out() {
        if let Some(number) = call.call {
            budgets.begun(number, policy.about(call.number).holds());
        }
        return None;
    }
    Some(format!("[{}, {}]", crate::policy::action(&verdict), verdict.rule()))
}

#[cfg(test)]
mod tests {
    use super::super::usage::tests::exit;
    use super::*;
    use trace::{Abi, Answer, CallRecord, Content, Judged, Piece, Verdict};

    /// `write`, or `writev`, of these bytes as the events of a run have it.
    fn writes(name: &str, bytes: &[u8], whole: bool) -> Call {
        let verdict =
            Verdict { judged: Judged::Allow, rule: String::new(), logged: false, ignored: false, generation: 1 };
        let content = Content::Bytes(Piece::Read { bytes: bytes.to_vec(), whole });
        let record = CallRecord {
            time: 0,
            thread: 1,
            abi: Abi::X86_64,
            number: proto::syscalls::by_name(name).unwrap().number.into(),
            args: [1, 0x1000, 5, 0, 0, 0],
            data: vec![trace::Data { argument: 1, content }],
            verdict,
            answer: Answer::None,
        };
        // By way of the text that a file of events has.
        serde_json::from_str(&serde_json::to_string(&Call::from(record)).unwrap()).unwrap()
    }

    #[test]
    fn what_was_written_is_judged() {
        let rule = |when: &str| {
            let text = format!(
                "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"write\", \"writev\", \"sendmsg\"]\nwhen = [{{ {when} }}]\naction = \"kill\"\n"
            );
            policy::parse("p", &text).unwrap()
        };
        let (prefix, contains) = (rule("prefix = \"GET \""), rule("contains = { hex = \"ff 00\" }"));
        let is_blocked = |policy: &Policy, call: &Call| judged(policy, call, &mut Budgets::new(policy, 0)).is_some();
        for name in ["write", "writev", "sendmsg"] {
            assert!(is_blocked(&prefix, &writes(name, b"GET /", true)));
            assert!(!is_blocked(&prefix, &writes(name, b"POST GET /", true)));
            // Bytes that are no text stand in the file in hexadecimal.
            assert!(is_blocked(&contains, &writes(name, b"a\xff\x00b", true)));
            assert!(!is_blocked(&contains, &writes(name, b"a\xff\x01b", true)));
        }
        // Of what was cut nobody knows the rest: conditions on it do not hold.
        assert!(!is_blocked(&prefix, &writes("write", b"GET /", false)));
        let negated = rule("prefix = \"GET \", not = true");
        assert!(is_blocked(&negated, &writes("write", b"PUT /", true)));
        assert!(!is_blocked(&negated, &writes("write", b"GET /", true)));
        assert_eq!(
            judged(&prefix, &writes("write", b"GET /", true), &mut Budgets::new(&prefix, 0)).unwrap(),
            "[kill, rule 1 p:3]"
        );
    }

    #[test]
    fn what_lies_in_structures_is_judged() {
        let text = "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"openat\", \"openat2\"]\nwhen = [{ arg = \"flags\", op = \"masked_eq\", mask = 3, value = \"O_RDWR\" }]\naction = \"kill\"\n";
        let policy = policy::parse("p", text).unwrap();
        let opens = |content| {
            let plain = writes("openat2", b"", true);
            let number = 437;
            let data = trace::Data { argument: 2, content };
            let verdict =
                Verdict { judged: Judged::Allow, rule: String::new(), logged: false, ignored: false, generation: 1 };
            let record = CallRecord {
                time: 0,
                thread: 1,
                abi: Abi::X86_64,
                number,
                args: plain.args.map(|word| word.0),
                data: vec![data],
                verdict,
                answer: Answer::None,
            };
            let text = serde_json::to_string(&Call::from(record)).unwrap();
            (serde_json::from_str::<Call>(&text).unwrap(), text)
        };
        let how = |flags: u8| {
            let mut bytes = vec![0; 24];
            (bytes[0], bytes[16]) = (flags, 8);
            opens(Content::Structure(Piece::Read { bytes, whole: true }))
        };
        let is_blocked = |call: &Call| judged(&policy, call, &mut Budgets::new(&policy, 0)).is_some();
        let (reading, text) = how(0);
        assert!(
            text.contains(r#""bytes":[{"fields":{"flags":"0x0","mode":"0x0","resolve":"0x8"}}],"whole":true"#),
            "{text}"
        );
        assert!(text.contains("{flags=O_RDONLY, mode=000, resolve=RESOLVE_BENEATH}"), "{text}");
        assert!(!is_blocked(&reading) && is_blocked(&how(2).0));
        // What could not be read is not known, and no condition holds.
        assert!(!is_blocked(&opens(Content::Structure(Piece::Unreadable(8))).0));
    }

    #[test]
    fn calls_taint_as_in_the_gate() {
        let text = "version = 1\ndefault = \"allow\"\n[[taint]]\ncalls = [\"write\"]\nwhen = [{ prefix = \"GET \" }]\ndeny = [\"writev\", \"write\"]\n\
                    [[taint]]\npaths = \"/secret\"\ndeny = [\"writev\"]\naction = \"kill\"\n";
        let policy = policy::parse("p", text).unwrap();
        let mut replay = Replay::new(&policy);
        let mut told = |sandbox, what: What| {
            let lines = replay.add(&Event { sandbox, ns: 0, what });
            lines.last().and_then(|line| line.rsplit_once('[')).map(|(_, verdict)| verdict.to_owned())
        };
        let mut call = |sandbox, name, bytes: &[u8], whole| told(sandbox, What::Call(writes(name, bytes, whole)));
        assert_eq!(
            [call(1, "writev", b"x", true), call(1, "write", b"GET /", false)],
            [None, None],
            "as far as is known"
        );
        assert_eq!([call(1, "write", b"PUT", true), call(1, "write", b"GET /", true)], [None, None]);
        assert_eq!(
            [call(1, "writev", b"x", true), call(2, "writev", b"x", true)],
            [Some("taint]] p:3]".to_owned()), None]
        );
        // What tainted in the recorded run was a call by another policy, or a file.
        let cause = |json: &str| {
            let json = format!("{{\"thread\": 1, {json}, \"text\": \"\", \"rule\": \"\"}}");
            What::Taint(serde_json::from_str(&json).unwrap())
        };
        assert_eq!(told(2, cause("\"call\": 3, \"number\": 20, \"name\": \"writev\"")), None);
        assert_eq!(told(2, What::Call(writes("writev", b"x", true))), None);
        let used = "\"rights\": \"read\", \"path\": {\"text\": \"/secret\"}, \"whole\": true";
        assert_eq!(told(2, cause(used)), None);
        assert_eq!(told(2, What::Call(writes("writev", b"x", true))), Some("taint]] p:7]".to_owned()));
    }

    #[test]
    fn budgets_and_limits_are_spent_as_the_gate_spends_them() {
        let text = "version = 1\ndefault = \"allow\"\n[limits]\nmemory = \"4M\"\nopen_files = 9\ncpu = 9\nwall = 1\ncalls_per_second = 20\nthreads = 5\n\
                    [[budget]]\ncalls = [\"write\"]\ncount = 3\nbytes = 12\n";
        let policy = policy::parse("p", text).unwrap();
        let mut replay = Replay::new(&policy);
        let at = |ns: u64, what: What| Event { sandbox: 1, ns, what };
        let mut lines = Vec::new();
        for (number, value) in [(1, 7), (2, 5), (3, 0)] {
            let call = Call { call: Some(number), ..writes("write", b"x", true) };
            lines.extend(replay.add(&at(number * 1_000_000, What::Call(call))));
            lines.extend(
                replay.add(&at(number * 1_000_001, What::Result { call: number, value, errno: None, missing: false })),
            );
        }
        replay.add(&at(4_000_000, What::Call(writes("writev", b"x", true))));
        replay.add(&exit(1, 5 << 20, 999_000));
        let expected = ["first at 0.003000 s in sandbox 1:", "errno EDQUOT, [[budget]] p:10]"];
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines.iter().zip(expected).all(|(line, expected)| line.ends_with(expected)), "{lines:?}");
        let (lines, is_good) = replay.finish();
        let expected = [
            "4 calls, 1 of them blocked",
            "[limits] p:4: memory 4M: reached at 0.999000 s in sandbox 1: what takes more fails with ENOMEM or ENOSPC",
            "[limits] p:9: threads 5: cannot be told: the recorded run says nothing of it",
            "[limits] p:5: open_files 9: cannot be told: descriptors are not told",
            "[limits] p:6: cpu 9s: not reached: the run took 999ms in all",
            "[limits] p:7: wall 1s: not reached, 999ms at most",
            "[limits] p:8: calls_per_second 20: 3 calls would have waited, the first at 0.002000 s in sandbox 1; 0.147000 s in all, if nothing else had waited meanwhile",
        ];
        assert_eq!((lines.as_slice(), is_good), (expected.map(str::to_owned).as_slice(), false));
    }
}
