//! Conditions as they concern one call, and the sets of patterns that those on memory ask for.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use linux_raw_sys::general::__NR_bind;

use crate::address::AddressSet;
use crate::contents::ContentText;
use crate::error::PolicyError;
use crate::glob::GlobSet;
use crate::limits;
use crate::numbers::{Comparison, contradict};
use crate::parse::{CallText, ConditionText, Placed, TestText};
use crate::pointed::{PointedText, Read};
use crate::table::Condition;

use super::FileCompiler;

impl FileCompiler<'_, '_, '_> {
    /// The sets of patterns of a rule's conditions, which are the same for every call: of those on memory.
    pub(super) fn sets(&mut self, conditions: &[ConditionText]) -> Result<Vec<Option<u16>>, PolicyError> {
        let sets = conditions.iter().map(|condition| match &condition.test {
            TestText::Number(_) => Ok(None),
            TestText::Pointed(text) => self.globs(text).map(Some),
            TestText::Address(text) => self.addresses(&text.patterns, &[]).map(Some),
            TestText::Content(text) => self.contents(condition, text).map(Some),
        });
        sets.collect()
    }

    /// Compiles patterns of strings.
    fn globs(&mut self, text: &PointedText) -> Result<u16, PolicyError> {
        let PointedText { subject, patterns, .. } = text;
        let set = GlobSet::new(patterns.iter().map(|pattern| pattern.value.as_str()), *subject);
        let set = set.map_err(|(index, error)| {
            let span = patterns.get(index).map_or(0..0, |pattern| pattern.span.clone());
            self.source.error(&span, error.text())
        })?;
        // There are fewer sets than conditions, whose number is bounded for a rule, as is that of the rules.
        let index = u16::try_from(self.all.globs.len()).unwrap_or(u16::MAX);
        self.all.globs.push(set);
        Ok(index)
    }

    /// Compiles patterns of socket addresses, and `more`.
    pub(crate) fn addresses(&mut self, patterns: &[Placed<String>], more: &[&str]) -> Result<u16, PolicyError> {
        let set = self.address_set(patterns, more)?;
        // As above.
        let index = u16::try_from(self.all.addresses.len()).unwrap_or(u16::MAX);
        self.all.addresses.push(set);
        Ok(index)
    }

    /// Compiles what is looked for in what is written.
    fn contents(&mut self, condition: &ConditionText, text: &ContentText) -> Result<u16, PolicyError> {
        self.all.content_size = self.all.content_size.saturating_add(text.size());
        if self.all.content_size > limits::MAX_TOTAL_CONTENT {
            let message = format!(
                "what `prefix` and `contains` look for has more than {} bytes in all files together",
                limits::MAX_TOTAL_CONTENT
            );
            return Err(self.source.error(&condition.span, message));
        }
        let set = text.set().map_err(|why| self.source.error(&condition.span, why))?;
        // As above.
        let index = u16::try_from(self.all.contents.len()).unwrap_or(u16::MAX);
        self.all.contents.push(set);
        Ok(index)
    }

    pub(crate) fn address_set(&self, patterns: &[Placed<String>], more: &[&str]) -> Result<AddressSet, PolicyError> {
        let texts = patterns.iter().map(|pattern| pattern.value.as_str()).chain(more.iter().copied());
        let texts: Vec<&str> = texts.collect();
        AddressSet::new(&texts, &self.all.hosts).map_err(|(index, why)| {
            let span = patterns.get(index).map_or(0..0, |pattern| pattern.span.clone());
            self.source.error(&span, why.text())
        })
    }

    /// Adds conditions as they concern one call to those that are there: at which place, and what of its memory they look at. `sets`: those of [`Self::sets`].
    pub(super) fn conditions(
        &mut self,
        conditions: &[ConditionText],
        sets: &[Option<u16>],
        call: &CallText,
    ) -> Result<(usize, Vec<Read>), PolicyError> {
        let first = self.all.conditions.len();
        let mut reads = Vec::new();
        for (condition, set) in conditions.iter().zip(sets) {
            let set = set.unwrap_or(u16::MAX);
            let condition = match &condition.test {
                TestText::Number(text) => self.condition(condition, text, call.number, &mut reads)?,
                TestText::Pointed(text) => {
                    let read = self.read_string(&text.argument, text.subject, call)?;
                    reads.push(read);
                    Condition::Glob { argument: read.argument, set, negated: text.negated }
                }
                TestText::Address(text) => {
                    reads.push(self.read_address(&condition.span, call)?);
                    let destination = call.number != __NR_bind;
                    Condition::Address { set, negated: text.negated, destination }
                }
                TestText::Content(text) => {
                    reads.push(self.read_content(condition, call)?);
                    Condition::Content { set, negated: text.negated }
                }
            };
            self.all.conditions.push(condition);
        }
        self.no_contradiction(conditions, first)?;
        Ok((first, reads))
    }

    /// The conditions from `first` on are these.
    fn no_contradiction(&self, conditions: &[ConditionText], first: usize) -> Result<(), PolicyError> {
        let compiled = self.all.conditions.get(first..).unwrap_or(&[]);
        for (index, (condition, text)) in compiled.iter().zip(conditions).enumerate() {
            let Some((compared, _)) = condition.number() else { continue };
            let before = compiled.iter().take(index + 1).filter_map(Condition::number);
            let together: Vec<Comparison> =
                before.filter(|(other, _)| *other == compared).map(|(_, comparison)| comparison).collect();
            if together.len() > 1 && contradict(&together) {
                let message = "this never holds where the conditions before it do; remove one of them, or the rule";
                return Err(self.source.error(&text.span, message));
            }
        }
        Ok(())
    }

    pub(super) fn no_condition_twice(&self, conditions: &[ConditionText]) -> Result<(), PolicyError> {
        for (index, condition) in conditions.iter().enumerate() {
            let earlier = conditions.get(..index).unwrap_or(&[]);
            let same = |other: &ConditionText| other.test == condition.test;
            if earlier.iter().any(same) {
                return Err(self.source.error(&condition.span, "this condition stands in the rule twice; remove one"));
            }
        }
        Ok(())
    }
}
