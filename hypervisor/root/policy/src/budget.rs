//! `[[budget]]`: how often, and for how many bytes, calls are carried out.
//!
//! ```toml
//! [[budget]]
//! calls = ["@network-io"]            # what these calls do together counts
//! count = 100                        # so many of them are carried out
//! bytes = 1_000_000                  # and so many bytes are moved by them: what they returned
//! action = { errno = "EDQUOT" }      # what is done with all others; this is also what holds if it is left out
//! reason = "enough"
//! ```
//! One of `count` and `bytes` has to be there. A call is first judged by the rules; one that would be carried out is charged to every budget that names it, and gets
//! the action of the first of them that is spent. `bytes` is for calls that return a number of bytes, or of which the shim tells it; the one that spends the last of them may go beyond.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::Action;
use crate::action::ActionText;
use crate::compile::FileCompiler;
use crate::errno::EDQUOT;
use crate::error::PolicyError;
use crate::parse::{CallText, Reader, Value, unsigned};
use crate::question::Settlement;
use crate::table::{By, Policy, Rule, Verdict};

/// Budgets and taints of a policy: as many as bits in a word, but for [`crate::taint::BRINGS`].
pub(crate) const MAX_HOLDS: usize = 63;

/// The section's name.
pub(crate) const KEY: &str = "budget";
const KEYS: &[&str] = &["calls", "count", "bytes", "action", "reason"];

/// What may be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Calls; `u64::MAX`: any number.
    pub count: u64,
    /// Bytes; `u64::MAX`: any number.
    pub bytes: u64,
}

/// A budget as the table has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compiled {
    pub(crate) budget: Budget,
    /// The rule that it is when it is spent.
    pub(crate) rule: u16,
}

/// One `[[budget]]`.
pub(crate) struct BudgetText {
    pub(crate) span: Range<usize>,
    calls: Vec<CallText>,
    budget: Budget,
    action: ActionText,
    reason: Option<String>,
}

impl Reader<'_, '_> {
    pub(crate) fn budgets(&self, value: &Value<'_>) -> Result<Vec<BudgetText>, PolicyError> {
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.wrong_type(value, KEY, "written as `[[budget]]`", value.get_ref()));
        };
        array.iter().map(|budget| self.budget(budget)).collect()
    }

    fn budget(&self, value: &Value<'_>) -> Result<BudgetText, PolicyError> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong_type(value, KEY, "a table (`[[budget]]`)", value.get_ref()));
        };
        self.only_known_keys(table, KEYS, "a budget")?;
        let missing = |text: &str| self.source.error(&value.span(), text);
        let calls = table.get("calls").ok_or_else(|| missing("this budget has no `calls`"))?;
        let budget = Budget { count: self.amount(table, "count")?, bytes: self.amount(table, "bytes")? };
        if budget == (Budget { count: u64::MAX, bytes: u64::MAX }) {
            return Err(missing("this budget has no `count` and no `bytes`, so that it is never spent"));
        }
        let action = match table.get("action") {
            Some(value) => self.denial(value)?,
            None => ActionText::plain(Action::Errno(EDQUOT)),
        };
        let reason = table.get("reason").map(|value| self.reason(value)).transpose()?;
        Ok(BudgetText { span: value.span(), calls: self.calls(calls)?, budget, action, reason })
    }

    /// A number of things; `u64::MAX` where it is left out.
    fn amount(&self, table: &DeTable<'_>, key: &str) -> Result<u64, PolicyError> {
        let Some(value) = table.get(key) else { return Ok(u64::MAX) };
        let DeValue::Integer(number) = value.get_ref() else {
            return Err(self.wrong_type(value, key, "a number", value.get_ref()));
        };
        let fits = unsigned(number).filter(|number| *number <= i64::MAX.cast_unsigned());
        fits.ok_or_else(|| self.source.error(&value.span(), "this is no amount; write a number from 0 on"))
    }
}

impl FileCompiler<'_, '_, '_> {
    /// Adds a file's budgets to those of the files before it.
    pub(crate) fn budgets(&mut self, texts: Vec<BudgetText>, rules: &mut Vec<Rule>) -> Result<(), PolicyError> {
        for text in texts {
            self.check_room_to_hold(&text.span)?;
            self.hold(self.all.budgets.len(), &text.calls);
            let rule = u16::try_from(rules.len()).unwrap_or(u16::MAX);
            self.all.budgets.push(Compiled { budget: text.budget, rule });
            rules.push(Rule { reason: text.reason, ..self.section(By::Budget, text.action, &text.span) });
        }
        Ok(())
    }

    /// One more budget or taint.
    pub(crate) fn check_room_to_hold(&self, span: &Range<usize>) -> Result<(), PolicyError> {
        if self.all.budgets.len() + self.all.taints.len() < MAX_HOLDS {
            return Ok(());
        }
        Err(self.source.error(span, alloc::format!("more than {MAX_HOLDS} budgets and taints")))
    }

    /// Lets these calls be held back by the budget or taint with this bit.
    pub(crate) fn hold(&mut self, bit: usize, calls: &[CallText]) {
        for call in calls {
            let entry = usize::try_from(call.number).ok().and_then(|number| self.all.calls.get_mut(number));
            if let Some(entry) = entry {
                entry.holds |= 1 << bit;
            }
        }
    }
}

impl Policy {
    /// What there is to spend.
    pub fn budgets(&self) -> impl Iterator<Item = Budget> {
        self.budgets.iter().map(|compiled| compiled.budget)
    }

    /// What is said to a call when it is held back by the budget or taint with this bit ([`crate::Rules::holds`]).
    #[must_use]
    pub fn held(&self, bit: usize) -> Verdict<'_> {
        match self.budgets.get(bit) {
            Some(compiled) => self.verdict(compiled.rule),
            None => self.taint_verdict(bit),
        }
    }

    /// What is done with a call that somebody has allowed and that is held back so.
    #[must_use]
    pub fn denial(&self, bit: usize) -> Settlement {
        match self.held(bit).action {
            Action::Errno(errno) => Settlement::Errno(errno),
            // These sections have no other actions.
            _ => Settlement::Kill,
        }
    }
}
