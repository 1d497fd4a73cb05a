//! `[[taint]]`: calls that are denied once the program has used a file.
//!
//! ```toml
//! [[taint]]
//! paths = ["/etc/secret*"]           # globs on resolved paths, as those of `[[files]]`
//! rights = ["read", "execute"]       # which uses taint, in the words of `[[files]]`; this is also what holds if it is left out
//! deny = ["@network-io"]             # calls that are carried out no more from then on
//! action = { errno = "EPERM" }       # what is done with them; this is also what holds if it is left out
//! reason = "it has seen a secret"
//! ```
//! The whole sandbox is tainted, and stays so: what one of its processes has read gets to the others by pipes, files and memory that
//! they share, which nobody follows. Opening a file is using it, whatever is read of it then: the root's file service taints when it grants the right, before
//! the program can see a byte. Executing a file shows it, too, so that only both together keep it from being seen without a taint.
//!
//! A call is first judged by the rules; one that would be carried out gets the action of the first taint in force that denies it, and is charged to no
//! budget. A file is used by those of its names that the program has looked up, as with rights on files, and no name may be given to it that would
//! taint less: such a rename or link is EXDEV, upon which programs copy, and reading taints.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::Action;
use crate::action::ActionText;
use crate::budget::MAX_HOLDS;
use crate::compile::FileCompiler;
use crate::errno::EPERM;
use crate::error::PolicyError;
use crate::files::Rights;
use crate::glob::GlobSet;
use crate::parse::{CallText, Placed, Reader, Value};
use crate::table::{By, Policy, Rule, Verdict};

/// The section's name.
pub(crate) const KEY: &str = "taint";
const KEYS: &[&str] = &["paths", "rights", "deny", "action", "reason"];

/// The bit of the first taint among what holds a call back; the others go down from there.
const FIRST_BIT: usize = MAX_HOLDS - 1;

/// The uses that taint where that is not said.
const SEEING: Rights = Rights::READ.and(Rights::EXECUTE);

/// What a file has to be called to taint, and how it has to be used.
#[derive(Clone, Debug)]
pub(crate) struct Trigger {
    paths: GlobSet,
    /// The patterns as they are written.
    patterns: Vec<Placed<String>>,
    rights: Rights,
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
        let missing = |key: &str, example: &str| {
            self.source.error(&value.span(), format!("this taint has no `{key}`; add, for example, `{example}`"))
        };
        let paths = table.get("paths").ok_or_else(|| missing("paths", r#"paths = ["/etc/secret*"]"#))?;
        let deny = table.get("deny").ok_or_else(|| missing("deny", r#"deny = ["@network-io"]"#))?;
        let (paths, patterns) = self.absolute_paths(paths)?;
        let trigger = Trigger { paths, patterns, rights: self.tainting_rights(table)? };
        let action = match table.get("action") {
            Some(value) => self.denial(value)?,
            None => ActionText::plain(Action::Errno(EPERM)),
        };
        let reason = table.get("reason").map(|value| self.reason(value)).transpose()?;
        Ok(TaintText { span: value.span(), trigger, deny: self.calls_in(deny, "deny")?, action, reason })
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

impl FileCompiler<'_, '_, '_> {
    /// Adds a file's taints to those of the files before it.
    pub(crate) fn taints(&mut self, texts: Vec<TaintText>, rules: &mut Vec<Rule>) -> Result<(), PolicyError> {
        for text in texts {
            self.check_room_to_hold(&text.span)?;
            let bit = FIRST_BIT.saturating_sub(self.all.taints.len());
            self.hold(bit, &text.deny);
            let rule = u16::try_from(rules.len()).unwrap_or(u16::MAX);
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
    /// Its bit in [`crate::Rules::holds`].
    pub bit: usize,
    /// What is said to a call that it denies.
    pub verdict: Verdict<'p>,
    /// The uses that taint.
    pub rights: Rights,
    trigger: &'p Trigger,
}

impl<'p> Taint<'p> {
    /// The patterns of the paths that taint, as they are written.
    pub fn patterns(&self) -> impl Iterator<Item = &'p str> + use<'p> {
        self.trigger.patterns.iter().map(|pattern| pattern.value.as_str())
    }
}

impl Policy {
    /// Its taints, in their order.
    pub fn taints(&self) -> impl Iterator<Item = Taint<'_>> {
        self.taints.iter().enumerate().map(|(index, compiled)| {
            let bit = FIRST_BIT.saturating_sub(index);
            let Compiled { trigger, rule } = compiled;
            Taint { bit, verdict: self.verdict(*rule), rights: trigger.rights, trigger }
        })
    }

    /// Whether anything taints.
    #[must_use]
    pub fn has_taints(&self) -> bool {
        !self.taints.is_empty()
    }

    /// The taints that follow from this use of a file with this path, a bit for each ([`crate::Rules::holds`]).
    #[must_use]
    pub fn tainted_by(&self, path: &[u8], used: Rights) -> u64 {
        self.bits_of(|trigger| trigger.rights.share(used) && trigger.paths.matches(path))
    }

    /// Of the taints that some use of `from` leads to, those that the same use of `to` does not.
    #[must_use]
    pub fn taints_lost(&self, from: &[u8], to: &[u8]) -> u64 {
        self.bits_of(|trigger| trigger.paths.matches(from) && !trigger.paths.matches(to))
    }

    /// The taints that what lies below these two directories may differ in. May name others.
    #[must_use]
    pub fn taints_changed_below(&self, one: &[u8], other: &[u8]) -> u64 {
        let everything = |paths: &GlobSet| paths.matches_all_below(one) && paths.matches_all_below(other);
        self.bits_of(|trigger| !everything(&trigger.paths) && !trigger.paths.same_below(one, other))
    }

    /// Whether another policy has the same uses of files taint, whatever they deny.
    #[must_use]
    pub fn same_triggers(&self, other: &Self) -> bool {
        let stated = |taint: &Compiled| (taint.trigger.patterns.clone(), taint.trigger.rights);
        self.taints.iter().map(stated).eq(other.taints.iter().map(stated))
    }

    fn bits_of(&self, is_meant: impl Fn(&Trigger) -> bool) -> u64 {
        let meant = self.taints.iter().enumerate().filter(|(_, taint)| is_meant(&taint.trigger));
        meant.fold(0, |bits, (index, _)| bits | 1 << FIRST_BIT.saturating_sub(index))
    }

    /// The verdict of a taint by its bit.
    pub(crate) fn taint_verdict(&self, bit: usize) -> Verdict<'_> {
        let taint = FIRST_BIT.checked_sub(bit).and_then(|index| self.taints.get(index));
        // A bit that there is not is a damaged table, which ends the program.
        self.verdict(taint.map_or(u16::MAX, |compiled| compiled.rule))
    }
}
