//! What the entries of a profile say one by one: a verdict is justified if an entry that holds has its action, or if none holds and it
//! is the default.
//!
//! libseccomp 2.5.4 gives verdicts that are not: where several rules of a call compare one argument by order, its filter may go on with
//! the lower half of the register in the accumulator where the upper one is meant, and steps that rules share may lead from one rule's first
//! condition to another's second. Where its verdict is not justified it is no judge.
use serde::Deserialize;

/// A profile without includes and excludes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Profile {
    default_action: String,
    syscalls: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Vec<Argument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: usize,
    value: u64,
    value_two: u64,
    op: String,
}

impl Profile {
    /// The actions, with their errors, of which one must be the verdict.
    pub(super) fn justified(&self, call: &str, args: &[u64; 6]) -> Vec<(&str, Option<u32>)> {
        let holds = |entry: &&Entry| {
            entry.names.iter().any(|name| name == call) && entry.args.iter().all(|argument| argument.holds(args))
        };
        let mut actions: Vec<_> =
            self.syscalls.iter().filter(holds).map(|entry| (&*entry.action, entry.errno_ret)).collect();
        if actions.is_empty() {
            actions.push((&self.default_action, None));
        }
        actions
    }
}

impl Argument {
    fn holds(&self, args: &[u64; 6]) -> bool {
        let argument = args[self.index];
        match self.op.as_str() {
            "SCMP_CMP_EQ" => argument == self.value,
            "SCMP_CMP_NE" => argument != self.value,
            "SCMP_CMP_LT" => argument < self.value,
            "SCMP_CMP_LE" => argument <= self.value,
            "SCMP_CMP_GE" => argument >= self.value,
            "SCMP_CMP_GT" => argument > self.value,
            _ => argument & self.value == self.value_two,
        }
    }
}
