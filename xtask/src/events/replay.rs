//! `cargo xtask replay`: what another policy would have said to a run.
use super::event::{Bytes, Call, Tainted, What};
use super::verify::Events;
use crate::cli::ReplayOptions;
use crate::exit::Failure;
use crate::policy::{hexadecimal, sockaddr};
use policy::signature::{self, Kind};
use policy::{Pointed, Policy, Rights};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Blocked calls that are shown one by one.
const MAX_SHOWN: usize = 20;

/// Exit code when something would have been blocked.
const BLOCKED: u8 = 1;

/// Judges the recorded calls by the policy and prints what it would have blocked.
pub(crate) fn replay(options: &ReplayOptions) -> Result<ExitCode, Failure> {
    let policy = crate::policy::read(&options.policy, &options.container)?.compiled()?;
    let mut events = Events::open(&options.events)?;
    let (mut calls, mut blocked) = (0_u64, 0_usize);
    let mut tainted = BTreeMap::new();
    while let Some(event) = events.next_event().map_err(Failure::early)? {
        let in_force: &mut u64 = tainted.entry(event.sandbox).or_default();
        let call = match &event.what {
            What::Call(call) => call,
            What::Taint(taint) => {
                *in_force |= taints(&policy, taint);
                continue;
            }
            _ => continue,
        };
        calls += 1;
        let Some(verdict) = judged(&policy, call, *in_force) else { continue };
        blocked += 1;
        if blocked == 1 {
            println!("first at {:.6} s in sandbox {}:", event.ns as f64 / 1e9, event.sandbox);
        }
        if blocked <= MAX_SHOWN {
            println!("  thread {}: {} {verdict}", call.thread, call.text);
        }
    }
    if blocked > MAX_SHOWN {
        println!("  and {} more", blocked - MAX_SHOWN);
    }
    println!("{calls} calls, {blocked} of them blocked");
    if policy.has_taints() {
        println!("taints: only files that tainted in the recorded run are known to have been used");
    }
    Ok(if blocked == 0 { ExitCode::SUCCESS } else { ExitCode::from(BLOCKED) })
}

/// What a call's arguments point to, as far as all of it was recorded.
struct Memory {
    strings: Vec<(u8, Vec<u8>)>,
    address: Option<Vec<u8>>,
    /// What the call writes.
    content: Option<Vec<u8>>,
}

impl Memory {
    fn of(call: &Call) -> Self {
        let (mut strings, mut address, mut content) = (Vec::new(), None, None);
        let kinds = signature::of(call.number).map_or(&[][..], |signature| signature.arguments);
        let is_written =
            |argument: u8| matches!(kinds.get(usize::from(argument)), Some(Kind::Buffer(_) | Kind::Ranges(_)));
        for data in call.data.iter().filter(|data| data.whole) {
            match data.bytes.as_slice() {
                [Bytes::Text(text)] if is_written(data.argument) => content = Some(text.clone().into_bytes()),
                [Bytes::Hex(bytes)] if is_written(data.argument) => content = hexadecimal(bytes),
                [Bytes::Text(text)] => strings.push((data.argument, text.clone().into_bytes())),
                [Bytes::Address(text)] => address = sockaddr::of_text(text.as_bytes()),
                _ => {}
            }
        }
        Self { strings, address, content }
    }

    fn pointed(&self) -> Pointed<'_> {
        let mut pointed = Pointed::NOTHING;
        self.strings.iter().for_each(|(argument, bytes)| pointed.set(*argument, bytes));
        if let Some(address) = &self.address {
            pointed.set_address(address);
        }
        if let Some(content) = &self.content {
            pointed.set_content(content);
        }
        pointed
    }
}

/// The taints of the policy that follow from what tainted in the recorded run.
fn taints(policy: &Policy, taint: &Tainted) -> u64 {
    let path = taint.path.bytes();
    let used = taint.rights.split(' ').filter_map(Rights::by_name).fold(Rights::NONE, Rights::and);
    path.filter(|_| taint.whole).map_or(0, |path| policy.tainted_by(&path, used))
}

/// What the policy says to a call with these taints in force, unless it is carried out.
fn judged(policy: &Policy, call: &Call, tainted: u64) -> Option<String> {
    let verdict = match call.abi.as_str() {
        "x86-64" => {
            let read = Memory::of(call);
            let rules = policy.about(call.number);
            let verdict = rules.judge(&call.args.map(|word| word.0), &read.pointed());
            let denying = policy::taint::deciding(rules.holds() & tainted).filter(|_| verdict.action.carries_out());
            denying.map_or(verdict, |bit| policy.held(bit))
        }
        _ => policy.judge_unknown(),
    };
    (!verdict.action.carries_out()).then(|| format!("[{}, {}]", crate::policy::action(&verdict), verdict.rule()))
}

#[cfg(test)]
mod tests {
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
                "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"write\", \"writev\"]\nwhen = [{{ {when} }}]\naction = \"kill\"\n"
            );
            policy::parse("p", &text).unwrap()
        };
        let (prefix, contains) = (rule("prefix = \"GET \""), rule("contains = { hex = \"ff 00\" }"));
        let is_blocked = |policy: &Policy, call: &Call| judged(policy, call, 0).is_some();
        for name in ["write", "writev"] {
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
        assert_eq!(judged(&prefix, &writes("write", b"GET /", true), 0).unwrap(), "[kill, rule 1 p:3]");
    }
}
