//! Policies of one rule and more, for tests of conditions.

use policy::{Policy, parse};

/// A good policy with these rules.
pub(crate) fn compiled(rules: &str) -> Policy {
    parse("p.toml", &format!("version = 1\n{rules}")).unwrap_or_else(|error| panic!("{error}\n{rules}"))
}

/// A rule that kills these calls under this condition.
pub(crate) fn rule(calls: &str, condition: &str) -> String {
    format!("[[rule]]\ncalls = [{calls}]\naction = \"kill\"\nwhen = [{condition}]\n")
}

/// The number of a call.
pub(crate) fn number(name: &str) -> u64 {
    u64::from(proto::syscalls::by_name(name).expect("a call").number)
}
