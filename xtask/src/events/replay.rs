//! `cargo xtask replay`: what another policy would have said to a run.
use super::event::{Bytes, Call, Tainted, What};
use super::verify::Events;
use crate::cli::ReplayOptions;
use crate::exit::Failure;
use crate::policy::sockaddr;
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

/// Bytes as events have those that are no text.
fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

/// The taints of the policy that follow from what tainted in the recorded run.
fn taints(policy: &Policy, taint: &Tainted) -> u64 {
    let path = match &taint.path {
        Bytes::Text(text) => Some(text.clone().into_bytes()),
        Bytes::Hex(digits) => hexadecimal(digits),
        _ => None,
    };
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
