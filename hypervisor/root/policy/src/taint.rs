//! `[[taint]]`: calls that are denied once the program has used a file, or has made a call.
//!
//! ```toml
//! [[taint]]
//! paths = ["/etc/secret*"]           # globs on resolved paths, as those of `[[files]]`
//! rights = ["read", "execute"]       # which uses taint, in the words of `[[files]]`; this is also what holds if it is left out
//! calls = ["connect"]                # calls that taint when they are carried out
//! when = [{ address = "10.0.0.0/8" }] # only where these conditions hold, which are those of `[[rule]]`
//! deny = ["@network-io"]             # calls that are carried out no more from then on
//! action = { errno = "EPERM" }       # what is done with them; this is also what holds if it is left out
//! reason = "it has seen a secret"
//! ```
//! One of `paths` and `calls` has to be there; where both are, each taints by itself.
//!
//! The whole sandbox is tainted, and stays so: what one of its processes has read gets to the others by pipes, files and memory that
//! they share, which nobody follows. Opening a file is using it, whatever is read of it then: the root's file service taints when it grants the right, before
//! the program can see a byte. Executing a file shows it, too, so that only both together keep it from being seen without a taint.
//!
//! A call is first judged by the rules; one that would be carried out gets the action of the first taint in force that denies it, and is charged to no
//! budget. What is carried out then brings the taints that follow from it, before anything of it is done and whatever comes of it: the next call is judged with
//! them, and the one that brings a taint is not denied by it. Conditions look at what is carried out, which rules may have changed.
//!
//! A file is used by those of its names that the program has looked up, as with rights on files, and no name may be given to it that would
//! taint less: such a rename or link is EXDEV, upon which programs copy, and reading taints.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::Action;
use crate::action::ActionText;
use crate::budget::MAX_HOLDS;
use crate::compile::FileCompiler;
use crate::errno::EPERM;
use crate::error::PolicyError;
use crate::files::Rights;
use crate::glob::GlobSet;
use crate::parse::{CallText, ConditionText, Placed, Reader, Value};
use crate::pointed::Pointed;
use crate::table::{By, Policy, Rule, Rules, Verdict};

/// The section's name.
pub(crate) const KEY: &str = "taint";
const KEYS: &[&str] = &["paths", "rights", "calls", "when", "deny", "action", "reason"];

/// Among what may hold a call back ([`Rules::holds`]), and beside it: it may bring taints.
pub const BRINGS: u64 = 1 << MAX_HOLDS;

/// The bit of the first taint among what holds a call back; the others go down from there.
const FIRST_BIT: usize = MAX_HOLDS - 1;

/// The uses that taint where that is not said.
const SEEING: Rights = Rights::READ.and(Rights::EXECUTE);

/// What a file has to be called to taint, and how it has to be used.
#[derive(Clone, Debug)]
struct FileTrigger {
    paths: GlobSet,
    /// The patterns as they are written.
    patterns: Vec<Placed<String>>,
    rights: Rights,
}

/// Which calls taint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CallTrigger {
    /// Their numbers, ascending.
    calls: Vec<u32>,
    /// The conditions as they are written.
    when: Vec<String>,
}

/// What has to be done for a taint to be in force.
#[derive(Clone, Debug)]
pub(crate) struct Trigger {
    files: Option<FileTrigger>,
    calls: CallTrigger,
}

/// A taint as the table has it.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    trigger: Trigger,
    /// The rule that it is when it is in force.
    pub(crate) rule: u16,
}

/// One `[[taint]]`.
pub(crate) struct TaintText {
    span: Range<usize>,
    trigger: Trigger,
    calls: Vec<CallText>,
    conditions: Vec<ConditionText>,
    deny: Vec<CallText>,
    action: ActionText,
    reason: Option<String>,
}

impl Reader<'_, '_> {
    pub(crate) fn taints(&self, value: &Value<'_>) -> Result<Vec<TaintText>, PolicyError> {
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.wrong_type(value, KEY, "written as `[[taint]]`", value.get_ref()));
        };
        array.iter().map(|taint| self.taint(taint)).collect()
    }

    fn taint(&self, value: &Value<'_>) -> Result<TaintText, PolicyError> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong_type(value, KEY, "a table (`[[taint]]`)", value.get_ref()));
        };
        self.only_known_keys(table, KEYS, "a taint")?;
        let missing = |keys: &str, examples: &str| {
            self.source.error(&value.span(), format!("this taint has no {keys}; add, for example, {examples}"))
        };
        for (key, of) in [("rights", "paths"), ("when", "calls")] {
            if let (Some(value), None) = (table.get(key), table.get(of)) {
                return Err(self
                    .source
                    .error(&value.span(), format!("`{key}` goes with `{of}`, of which there is none")));
            }
        }
        if table.get("paths").is_none() && table.get("calls").is_none() {
            return Err(missing("`paths` and no `calls`", r#"`paths = ["/etc/secret*"]` or `calls = ["ptrace"]`"#));
        }
        let deny = table.get("deny").ok_or_else(|| missing("`deny`", r#"`deny = ["@network-io"]`"#))?;
        let calls = table.get("calls").map_or(Ok(Vec::new()), |value| self.calls(value))?;
        let conditions = table.get("when").map_or(Ok(Vec::new()), |value| self.conditions(value))?;
        let trigger = Trigger { files: self.tainting_files(table)?, calls: tainting_calls(&calls, table) };
        let action = match table.get("action") {
            Some(value) => self.denial(value)?,
            None => ActionText::plain(Action::Errno(EPERM)),
        };
        let reason = table.get("reason").map(|value| self.reason(value)).transpose()?;
        let (span, deny) = (value.span(), self.calls_in(deny, "deny")?);
        Ok(TaintText { span, trigger, calls, conditions, deny, action, reason })
    }

    fn tainting_files(&self, table: &DeTable<'_>) -> Result<Option<FileTrigger>, PolicyError> {
        let Some(paths) = table.get("paths") else { return Ok(None) };
        let (paths, patterns) = self.absolute_paths(paths)?;
        Ok(Some(FileTrigger { paths, patterns, rights: self.tainting_rights(table)? }))
    }

    fn tainting_rights(&self, table: &DeTable<'_>) -> Result<Rights, PolicyError> {
        let Some(value) = table.get("rights") else { return Ok(SEEING) };
        let rights = self.rights(value, "rights")?;
        match rights {
            Rights::NONE => Err(self.source.error(&value.span(), "no use would taint; name one, such as `read`")),
            Rights::HIDE => Err(self.source.error(&value.span(), "`hide` is no use of a file; hide it by `[[files]]`")),
            rights => Ok(rights),
        }
    }
}

/// What a taint says of calls that bring it, for those who look at it.
fn tainting_calls(calls: &[CallText], table: &DeTable<'_>) -> CallTrigger {
    let mut calls: Vec<u32> = calls.iter().map(|call| call.number).collect();
    calls.sort_unstable();
    let when = table.get("when").and_then(|when| when.get_ref().as_array());
    let when = when.into_iter().flat_map(|when| when.iter()).map(|condition| written(condition.get_ref()));
    CallTrigger { calls, when: when.collect() }
}

/// A value in one line, always in the same way.
fn written(value: &DeValue<'_>) -> String {
    let list = |parts: Vec<String>| parts.join(", ");
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Array(array) => format!("[{}]", list(array.iter().map(|value| written(value.get_ref())).collect())),
        DeValue::Table(table) => {
            let entry = |(key, value): (&Spanned<DeString<'_>>, &Value<'_>)| {
                format!("{} = {}", key.get_ref(), written(value.get_ref()))
            };
            format!("{{ {} }}", list(table.iter().map(entry).collect()))
        }
        // No condition has such a value.
        DeValue::Float(_) | DeValue::Datetime(_) => String::new(),
    }
}

impl FileCompiler<'_, '_, '_> {
    /// Adds a file's taints to those of the files before it.
    pub(crate) fn taints(&mut self, texts: Vec<TaintText>, rules: &mut Vec<Rule>) -> Result<(), PolicyError> {
        for text in texts {
            self.check_room_to_hold(&text.span)?;
            let bit = FIRST_BIT.saturating_sub(self.all.taints.len());
            self.hold(bit, &text.deny);
            let rule = u16::try_from(rules.len()).unwrap_or(u16::MAX);
            self.triggers(rule, &text.calls, &text.conditions)?;
            self.all.taints.push(Compiled { trigger: text.trigger, rule });
            rules.push(Rule { reason: text.reason, ..self.section(By::Taint, text.action, &text.span) });
        }
        Ok(())
    }
}

/// Of taints that deny a call the one that decides: the first.
#[inline]
#[must_use]
pub fn deciding(bits: u64) -> Option<usize> {
    bits.checked_ilog2().and_then(|bit| usize::try_from(bit).ok())
}

/// A taint, for those who look at policies without running anything.
#[derive(Clone, Copy, Debug)]
pub struct Taint<'p> {
    /// Its bit in [`Rules::holds`].
    pub bit: usize,
    /// What is said to a call that it denies.
    pub verdict: Verdict<'p>,
    trigger: &'p Trigger,
}

impl<'p> Taint<'p> {
    /// The uses of files that taint.
    #[must_use]
    pub fn rights(&self) -> Rights {
        self.trigger.files.as_ref().map_or(Rights::NONE, |files| files.rights)
    }

    /// The patterns of the paths that taint, as they are written.
    pub fn patterns(&self) -> impl Iterator<Item = &'p str> + use<'p> {
        self.trigger.files.iter().flat_map(|files| &files.patterns).map(|pattern| pattern.value.as_str())
    }

    /// The numbers of the calls that taint, ascending.
    #[must_use]
    pub fn calls(&self) -> &'p [u32] {
        &self.trigger.calls.calls
    }

    /// The conditions under which they do, as they are written.
    #[must_use]
    pub fn when(&self) -> &'p [String] {
        &self.trigger.calls.when
    }
}

impl Policy {
    /// Its taints, in their order.
    pub fn taints(&self) -> impl Iterator<Item = Taint<'_>> {
        self.taints.iter().enumerate().map(|(index, compiled)| {
            let bit = FIRST_BIT.saturating_sub(index);
            let Compiled { trigger, rule } = compiled;
            Taint { bit, verdict: self.verdict(*rule), trigger }
        })
    }

    /// Whether the use of a file taints.
    #[must_use]
    pub fn has_tainting_files(&self) -> bool {
        self.taints.iter().any(|taint| taint.trigger.files.is_some())
    }

    /// The taints that follow from this use of a file with this path, a bit for each ([`Rules::holds`]).
    #[must_use]
    pub fn tainted_by(&self, path: &[u8], used: Rights) -> u64 {
        self.bits_of_files(|files| files.rights.share(used) && files.paths.matches(path))
    }

    /// Of the taints that some use of `from` leads to, those that the same use of `to` does not.
    #[must_use]
    pub fn taints_lost(&self, from: &[u8], to: &[u8]) -> u64 {
        self.bits_of_files(|files| files.paths.matches(from) && !files.paths.matches(to))
    }

    /// The taints that what lies below these two directories may differ in. May name others.
    #[must_use]
    pub fn taints_changed_below(&self, one: &[u8], other: &[u8]) -> u64 {
        let everything = |paths: &GlobSet| paths.matches_all_below(one) && paths.matches_all_below(other);
        self.bits_of_files(|files| !everything(&files.paths) && !files.paths.same_below(one, other))
    }

    /// Whether another policy has the same uses of files and the same calls taint, whatever they deny.
    #[must_use]
    pub fn same_triggers(&self, other: &Self) -> bool {
        let stated = |taint: &Compiled| {
            let files = taint.trigger.files.as_ref().map(|files| (files.patterns.clone(), files.rights));
            (files, taint.trigger.calls.clone())
        };
        self.taints.iter().map(stated).eq(other.taints.iter().map(stated))
    }

    fn bits_of_files(&self, is_meant: impl Fn(&FileTrigger) -> bool) -> u64 {
        self.bits_of(|taint| taint.trigger.files.as_ref().is_some_and(&is_meant))
    }

    fn bits_of(&self, is_meant: impl Fn(&Compiled) -> bool) -> u64 {
        let meant = self.taints.iter().enumerate().filter(|(_, taint)| is_meant(taint));
        meant.fold(0, |bits, (index, _)| bits | 1 << FIRST_BIT.saturating_sub(index))
    }

    /// The verdict of a taint by its bit.
    pub(crate) fn taint_verdict(&self, bit: usize) -> Verdict<'_> {
        let taint = FIRST_BIT.checked_sub(bit).and_then(|index| self.taints.get(index));
        // A bit that there is not is a damaged table, which ends the program.
        self.verdict(taint.map_or(u16::MAX, |compiled| compiled.rule))
    }
}

impl<'p> Rules<'p> {
    /// The taints that the call with these arguments brings when it is carried out by this verdict, be it once somebody has allowed it: a bit for each.
    /// `pointed` is what [`Rules::reads`] asks for, and is asked only if there are any.
    #[inline]
    #[must_use]
    pub fn brings<'a>(&self, verdict: &Verdict<'p>, args: &[u64; 6], pointed: impl FnOnce() -> Pointed<'a>) -> u64
    where
        'p: 'a,
    {
        let may_come = verdict.action.carries_out() || matches!(verdict.action, Action::Ask | Action::Stop);
        if self.holds() & BRINGS == 0 || !may_come {
            return 0;
        }
        let (args, pointed) = (self.bounded(verdict.rewritten(*args)), verdict.redirected(pointed()));
        let brought = self.triggers().iter().filter(|clause| self.policy().applies(clause, &args, &pointed));
        brought.fold(0, |bits, clause| bits | self.policy().bits_of(|taint| taint.rule == clause.rule))
    }
}
