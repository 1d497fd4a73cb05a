//! The compiled form: one slot a call, found by its number. Judging neither allocates nor recurses, and looks
//! at nothing but the clauses of the call in question.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::Action;
use crate::address::AddressSet;
use crate::budget;
use crate::contents::ContentSet;
use crate::errno::Errno;
use crate::events::Events;
use crate::files::FileRights;
use crate::glob::GlobSet;
use crate::mounts::Mounts;
use crate::network::Network;
use crate::numbers::Comparison;
use crate::origin::{Labels, Place, Spot};
use crate::pointed::{Pointed, Read};
use crate::process::Process;
use crate::question::Question;
use crate::quotas::Quotas;
use crate::signature;
use crate::structures::Field;
use crate::taint;

/// One condition of a clause.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Condition {
    Number {
        argument: u8,
        comparison: Comparison,
    },
    /// The same of a number in the structure that an argument points to.
    Field {
        place: signature::Place,
        field: &'static Field,
        comparison: Comparison,
    },
    /// What the argument points to is matched by one of the patterns in [`Policy::globs`] with this index, or, if negated, by none.
    Glob {
        argument: u8,
        set: u16,
        negated: bool,
    },
    /// The same of the call's socket address, by [`Policy::addresses`].
    Address {
        set: u16,
        negated: bool,
        /// The call goes there, instead of being there.
        destination: bool,
    },
    /// One of the patterns in [`Policy::contents`] with this index, or, if negated, none, is in what the call writes.
    Content {
        set: u16,
        negated: bool,
    },
}

impl Condition {
    /// What number it compares, and how.
    pub(crate) fn number(&self) -> Option<(signature::Place, Comparison)> {
        match *self {
            Self::Number { argument, comparison } => Some((signature::Place::argument(argument), comparison)),
            Self::Field { place, comparison, .. } => Some((place, comparison)),
            _ => None,
        }
    }
}

/// A rule as it concerns one call: if all its conditions hold, it decides. Or a taint, by the rule that it is when in force: if they hold, the call brings it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clause {
    pub(crate) first_condition: u32,
    pub(crate) conditions: u16,
    pub(crate) rule: u16,
}

/// What is known about one call number.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slot {
    pub(crate) first_clause: u32,
    /// Clauses to try in order; 0 for a call that no condition concerns.
    pub(crate) clauses: u16,
    /// The rule that decides when none of them does.
    pub(crate) otherwise: u16,
    /// What they look at in memory.
    pub(crate) first_read: u32,
    pub(crate) reads: u8,
    /// Clauses behind the others that say which taints it brings; where there are any, `holds` has [`taint::BRINGS`].
    pub(crate) triggers: u16,
    /// What may hold it back though the rules carry it out, a bit for each: budgets from the lowest up, taints down from the one below [`taint::BRINGS`].
    pub(crate) holds: u64,
}

/// A rule's effect and where it stands. Number 0 is the default.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) action: Action,
    pub(crate) log: bool,
    pub(crate) by: By,
    pub(crate) spot: Spot,
    pub(crate) reason: Option<String>,
    /// For [`Action::Rewrite`].
    pub(crate) rewrites: Vec<Rewrite>,
    /// For [`Action::Ask`] and [`Action::Stop`].
    pub(crate) question: Option<Question>,
}

/// A change to one argument, or to a field of the structure that it points to: of the program's value only the bits in `keep` are left, and those in
/// `set` are added; or the path that it points to becomes another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Where.
    pub place: signature::Place,
    /// What is left of it.
    pub keep: u64,
    /// What is added.
    pub set: u64,
    /// The path that stands in the place of the program's. An argument that points to none has none.
    pub path: Option<String>,
}

/// Index of the default in the list of rules.
pub(crate) const DEFAULT_RULE: u16 = 0;

/// A policy, ready to judge.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What the files are called, that which was asked for first.
    pub(crate) labels: Labels,
    pub(crate) rules: Vec<Rule>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) clauses: Vec<Clause>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) globs: Vec<GlobSet>,
    pub(crate) addresses: Vec<AddressSet>,
    pub(crate) contents: Vec<ContentSet>,
    pub(crate) reads: Vec<Read>,
    pub(crate) process: Process,
    pub(crate) quotas: Quotas,
    pub(crate) mounts: Mounts,
    pub(crate) network: Option<Network>,
    pub(crate) budgets: Vec<budget::Compiled>,
    pub(crate) taints: Vec<taint::Compiled>,
    /// `[[files]]`, if there is such a thing.
    pub(crate) rights: Option<FileRights>,
    /// `[events]`, if it says something.
    pub(crate) events: Option<Events>,
}

/// What a policy says about one call: what to do, and on request by which rule, so that a call about which nobody asks costs no more than
/// a look at the rule.
#[derive(Clone, Copy, Debug)]
pub struct Verdict<'p> {
    /// What to do.
    pub action: Action,
    /// Whether the call is to be written to the trace even when nothing else is.
    pub log: bool,
    policy: &'p Policy,
    source: Result<&'p Rule, &'static str>,
}

impl<'p> Verdict<'p> {
    /// Which rule said so.
    #[must_use]
    pub fn rule(&self) -> RuleRef<'p> {
        match self.source {
            Ok(rule) => RuleRef { by: rule.by, place: self.policy.place(rule.spot), reason: rule.reason.as_deref() },
            Err(reason) => RuleRef { by: By::Default, place: self.policy.place(Spot::default()), reason: Some(reason) },
        }
    }

    /// For [`Action::Rewrite`]: the changes, at most one for each argument and field.
    #[must_use]
    pub fn rewrites(&self) -> &'p [Rewrite] {
        self.source.map_or(&[], |rule| &rule.rewrites)
    }

    /// For [`Action::Ask`] and [`Action::Stop`]: what is asked, and what holds without an answer.
    #[must_use]
    pub fn question(&self) -> Option<Question> {
        self.source.ok().and_then(|rule| rule.question)
    }

    /// The same where nobody can be asked: what holds without an answer.
    #[must_use]
    pub fn unasked(self) -> Self {
        let action = self.question().map_or(self.action, |question| question.otherwise.into());
        Self { action, ..self }
    }

    /// The arguments that the call is carried out with, when the program gave `args`.
    #[must_use]
    pub fn rewritten(&self, mut args: [u64; 6]) -> [u64; 6] {
        for rewrite in self.rewrites().iter().filter(|rewrite| rewrite.place.field.is_none()) {
            if let Some(argument) = args.get_mut(usize::from(rewrite.place.argument)) {
                *argument = *argument & rewrite.keep | rewrite.set;
            }
        }
        args
    }

    /// What its arguments point to then, when the program's point to `pointed`.
    #[must_use]
    pub fn redirected<'a>(&self, mut pointed: Pointed<'a>) -> Pointed<'a>
    where
        'p: 'a,
    {
        pointed.set_changes(self.rewrites());
        for Rewrite { place, path, .. } in self.rewrites() {
            if let (Some(path), Some(_)) = (path, pointed.get(place.argument)) {
                pointed.set(place.argument, path.as_bytes());
            }
        }
        pointed
    }
}

/// What of a policy decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The default.
    Default,
    /// A rule; which one of its file, from 1.
    Rule(u16),
    /// A rule of a translation, which has no number in the file that was translated.
    Translated,
    /// `[network]`.
    Network,
    /// A `[[budget]]` that is spent.
    Budget,
    /// A `[[taint]]` in force.
    Taint,
}

/// The rule behind a verdict. Prints as `rule 3 default.toml:41`, `rule docker.json:412` (of a translation), `[network] default.toml:7`, or `default`, and the reason if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleRef<'p> {
    /// What of the file it is.
    pub by: By,
    /// Where it starts.
    pub place: Place<'p>,
    /// The rule's own words.
    pub reason: Option<&'p str>,
}

impl fmt::Display for RuleRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place;
        match self.by {
            By::Default => f.write_str("default")?,
            By::Rule(index) => write!(f, "rule {index} {place}")?,
            By::Translated => write!(f, "rule {place}")?,
            By::Network => write!(f, "[network] {place}")?,
            By::Budget => write!(f, "[[budget]] {place}")?,
            By::Taint => write!(f, "[[taint]] {place}")?,
        }
        match self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl Policy {
    /// The rules about call `number` (x86-64 table). What the table does not hold is judged by the default.
    #[inline]
    #[must_use]
    pub fn about(&self, number: u64) -> Rules<'_> {
        const NO_RULES: Slot = Slot {
            first_clause: 0,
            clauses: 0,
            otherwise: DEFAULT_RULE,
            first_read: 0,
            reads: 0,
            triggers: 0,
            holds: 0,
        };
        let slot = usize::try_from(number).ok().and_then(|number| self.slots.get(number));
        Rules { policy: self, slot: slot.copied().unwrap_or(NO_RULES) }
    }

    /// The verdict on call `number` with these arguments, whose pointers lead nowhere: no condition on memory holds.
    #[must_use]
    pub fn judge(&self, number: u64, args: &[u64; 6]) -> Verdict<'_> {
        self.about(number).judge(args, &Pointed::NOTHING)
    }

    /// What is said of a call that was not judged, as its memory cannot be read: it gets this error.
    #[must_use]
    pub fn unreadable(&self, errno: Errno) -> Verdict<'_> {
        let source = Err("what its arguments point to cannot be read, and a rule needs it");
        Verdict { action: Action::Errno(errno), log: false, policy: self, source }
    }

    /// The verdict of the default alone: for calls that are not in the x86-64 table at all.
    #[must_use]
    pub fn judge_unknown(&self) -> Verdict<'_> {
        self.verdict(DEFAULT_RULE)
    }

    /// Whether a rule looks at what arguments point to.
    #[must_use]
    pub fn reads_memory(&self) -> bool {
        !self.reads.is_empty()
    }

    /// Whether a rule asks.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.rules.iter().any(|rule| rule.question.is_some())
    }

    /// What the program is started as.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// How much a sandbox may use.
    #[must_use]
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// Which files of the host it sees.
    #[must_use]
    pub fn mounts(&self) -> &Mounts {
        &self.mounts
    }

    /// What the file that was asked for is called in verdicts.
    #[must_use]
    pub fn name(&self) -> &str {
        self.place(Spot::default()).file
    }

    /// How many rules its files have, the default not counted.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.rules.iter().filter(|rule| matches!(rule.by, By::Rule(_) | By::Translated)).count()
    }

    fn decide(&self, slot: &Slot, args: &[u64; 6], pointed: &Pointed<'_>) -> u16 {
        let clauses = run(&self.clauses, slot.first_clause, slot.clauses);
        let deciding = clauses.iter().find(|clause| self.applies(clause, args, pointed));
        deciding.map_or(slot.otherwise, |clause| clause.rule)
    }

    /// Whether all conditions of a clause hold.
    pub(crate) fn applies(&self, clause: &Clause, args: &[u64; 6], pointed: &Pointed<'_>) -> bool {
        let conditions = run(&self.conditions, clause.first_condition, clause.conditions);
        conditions.iter().all(|condition| self.holds(condition, args, pointed))
    }

    fn holds(&self, condition: &Condition, args: &[u64; 6], pointed: &Pointed<'_>) -> bool {
        match *condition {
            Condition::Number { argument, comparison } => {
                args.get(usize::from(argument)).is_some_and(|argument| comparison.holds(*argument))
            }
            Condition::Field { place, field, comparison } => {
                pointed.field(place, field).is_some_and(|value| comparison.holds(value))
            }
            Condition::Glob { argument, set, negated } => {
                match (self.globs.get(usize::from(set)), pointed.get(argument)) {
                    (Some(set), Some(bytes)) => set.matches(bytes) != negated,
                    _ => false,
                }
            }
            Condition::Content { set, negated } => match (self.contents.get(usize::from(set)), pointed.content()) {
                (Some(set), Some(bytes)) => set.matches(bytes) != negated,
                _ => false,
            },
            Condition::Address { set, negated, destination } => {
                match (self.addresses.get(usize::from(set)), pointed.address()) {
                    (Some(set), Some(address)) => {
                        set.matches(if destination { address.destination() } else { address }) != negated
                    }
                    _ => false,
                }
            }
        }
    }

    pub(crate) fn place(&self, spot: Spot) -> Place<'_> {
        self.labels.place(spot)
    }

    pub(crate) fn verdict(&self, index: u16) -> Verdict<'_> {
        match self.rules.get(usize::from(index)) {
            Some(rule) => Verdict { action: rule.action, log: rule.log, policy: self, source: Ok(rule) },
            // The compiler makes no such index; if it did, the safe answer is the last one.
            None => {
                Verdict { action: Action::Kill, log: true, policy: self, source: Err("the policy's table is damaged") }
            }
        }
    }
}

/// The rules of a policy about one call.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'p> {
    policy: &'p Policy,
    slot: Slot,
}

impl<'p> Rules<'p> {
    /// The policy that they are of.
    #[must_use]
    pub const fn policy(&self) -> &'p Policy {
        self.policy
    }

    /// What has to be read of the program's memory before the call can be judged: of most calls nothing.
    #[inline]
    #[must_use]
    pub fn reads(&self) -> &'p [Read] {
        match self.slot.reads {
            0 => &[],
            count => run(&self.policy.reads, self.slot.first_read, count.into()),
        }
    }

    /// Whether the verdict depends on arguments.
    #[must_use]
    pub fn has_conditions(&self) -> bool {
        self.slot.clauses != 0
    }

    /// Whether there is a rule by which it may be carried out, be it with other arguments or after a question.
    #[must_use]
    pub fn may_be_carried_out(&self) -> bool {
        let clauses = run(&self.policy.clauses, self.slot.first_clause, self.slot.clauses);
        let rules = clauses.iter().map(|clause| clause.rule).chain([self.slot.otherwise]);
        rules
            .map(|rule| self.policy.verdict(rule).action)
            .any(|action| action.carries_out() || matches!(action, Action::Ask | Action::Stop))
    }

    /// The budgets that the call is charged to if it is carried out ([`Policy::budgets`], from the lowest bit up), the taints that deny it
    /// ([`Policy::taints`], from the highest down), and [`taint::BRINGS`] if it may bring some.
    #[inline]
    #[must_use]
    pub fn holds(&self) -> u64 {
        self.slot.holds
    }

    /// The arguments by which it is judged and carried out, when the program gave `args`: no more is carried out than is looked at. Of several messages that is
    /// the first, and of bytes what a copy holds; Linux lets these calls do less than they are asked for.
    #[must_use]
    pub fn bounded(&self, mut args: [u64; 6]) -> [u64; 6] {
        for read in self.reads() {
            if let Some((argument, mask, most)) = read.form.bound()
                && let Some(argument) = args.get_mut(usize::from(argument))
            {
                *argument = (*argument & mask).min(most);
            }
        }
        args
    }

    /// The clauses by which it brings taints.
    pub(crate) fn triggers(&self) -> &'p [Clause] {
        let first = self.slot.first_clause.saturating_add(self.slot.clauses.into());
        run(&self.policy.clauses, first, self.slot.triggers)
    }

    /// The verdict on the call with these arguments. `pointed` is what [`Rules::reads`] asks for.
    #[inline]
    #[must_use]
    pub fn judge(&self, args: &[u64; 6], pointed: &Pointed<'_>) -> Verdict<'p> {
        let rule = match self.slot.clauses {
            0 => self.slot.otherwise,
            _ if self.slot.reads == 0 => self.policy.decide(&self.slot, args, pointed),
            _ => self.policy.decide(&self.slot, &self.bounded(*args), pointed),
        };
        self.policy.verdict(rule)
    }
}

/// `count` elements from `first` on; none if the list is shorter.
fn run<T>(list: &[T], first: u32, count: u16) -> &[T] {
    let range = usize::try_from(first).ok().map(|first| first..first.saturating_add(usize::from(count)));
    range.and_then(|range| list.get(range)).unwrap_or(&[])
}
