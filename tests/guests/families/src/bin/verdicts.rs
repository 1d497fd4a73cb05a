//! What a verdict costs: `verdicts POLICY CALLS` judges each call of a list by a policy, as the gate does with what it has read, and prints
//! a row as `costs` does.
//!
//! A line of CALLS is a number and six arguments, in hexadecimal, and behind them, if a rule is to look at one, the string that its
//! pointers lead to. `cargo xtask bench` runs it where each instruction is one tick.
use families::cost::measure;
use policy::{Pointed, Policy};
use std::hint::black_box;

/// Rounds of which the best counts: others were interrupted.
const ROUNDS: u32 = 20;

/// A call as the gate has it.
struct Call {
    number: u64,
    args: [u64; 6],
    string: Option<String>,
}

fn main() -> Result<(), String> {
    let [policy, calls]: [String; 2] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "usage: verdicts POLICY CALLS")?;
    let policy = policy::parse(&policy, &read(&policy)?).map_err(|error| error.to_string())?;
    let calls: Option<Vec<Call>> = read(&calls)?.lines().map(Call::read).collect();
    let calls = calls.ok_or("a line of CALLS is: NUMBER A0 A1 A2 A3 A4 A5 [STRING], in hexadecimal")?;
    let count = u32::try_from(calls.len()).map_err(|_| "too many calls")?;
    measure("verdicts", count, ROUNDS, || calls.iter().for_each(|call| call.judge(&policy)));
    Ok(())
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

impl Call {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.splitn(8, ' ');
        let mut number = || u64::from_str_radix(words.next()?, 16).ok();
        let (number, args) = (number()?, [number()?, number()?, number()?, number()?, number()?, number()?]);
        Some(Self { number, args, string: words.next().map(str::to_owned) })
    }

    fn judge(&self, policy: &Policy) {
        let rules = policy.about(self.number);
        let verdict = match &self.string {
            None => rules.judge(&self.args, &Pointed::NOTHING),
            Some(string) => {
                let mut pointed = Pointed::NOTHING;
                rules.reads().iter().for_each(|read| pointed.set(read.argument, string.as_bytes()));
                rules.judge(&self.args, &pointed)
            }
        };
        black_box(verdict);
    }
}
