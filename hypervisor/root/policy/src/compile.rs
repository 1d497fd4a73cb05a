//! What the text says → the table that judges. Here conditions meet the calls' signatures.

mod arguments;

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use linux_raw_sys::general::__NR_bind;
use proto::MAX_COPIES;
use proto::syscalls::SYSCALL_LIMIT;

use crate::Action;
use crate::action::ActionText;
use crate::action::{Change, RewriteText};
use crate::address::{AddressSet, Hosts};
use crate::budget;
use crate::contents::{ContentSet, ContentText};
use crate::errno::EPERM;
use crate::error::{PolicyError, Source};
use crate::events::Events;
use crate::files::FileRights;
use crate::glob::{GlobSet, Subject};
use crate::limits;
use crate::mounts::{MAX_BINDS, Mounts};
use crate::network::Network;
use crate::numbers::{Comparison, contradict};
use crate::origin::{Labels, Spot};
use crate::parse::{CallText, ConditionText, Placed, PolicyText, RuleText, TestText, name_of};
use crate::pointed::{Form, PointedText, Read};
use crate::process::Process;
use crate::question;
use crate::quotas::Quotas;
use crate::table::{By, Clause, Condition, DEFAULT_RULE, Policy, Rule, Slot};
use crate::taint;
use arguments::Seen;

/// A file that was read: its text, and what it says.
pub(crate) struct FileText<'t> {
    pub(crate) source: Source<'t>,
    pub(crate) text: PolicyText,
}

/// Compiles a whole policy: its files in the order in which their rules are tried.
pub(crate) fn compile(mut files: Vec<FileText<'_>>, labels: &Labels) -> Result<Policy, PolicyError> {
    let mut rules = vec![default_rule(&files)];
    let mut compiler = Compiler::new(hosts(&files));
    let (mut process, mut quotas, mut mounts) = (Process::default(), Quotas::default(), Mounts::default());
    let network = network(&mut files, &mut compiler, &mut rules)?;
    let events = events(&files);
    let mut rights = Vec::new();
    for (file, FileText { source, text }) in (0..).zip(files) {
        let mut compiling = FileCompiler { file, source: &source, all: &mut compiler };
        compiling.rules(text.rules, &mut rules)?;
        compiling.budgets(text.budgets, &mut rules)?;
        compiling.taints(text.taints, &mut rules)?;
        process.lay_under(text.process);
        quotas.lay_under(text.quotas);
        mounts.lay_under(text.mounts, file.into());
        if mounts.binds.len() > MAX_BINDS {
            return Err(source.error(&(0..0), format!("more than {MAX_BINDS} binds in all files together")));
        }
        rights.push((text.files, source));
    }
    let rights = FileRights::gather(rights)?;
    if rules.first().is_some_and(|default| default.action == Action::Ask) {
        compiler.ask_by_default();
    }
    let Table { slots, clauses, reads } = flatten(&compiler.calls);
    let Compiler { conditions, globs, addresses, contents, budgets, taints, .. } = compiler;
    Ok(Policy {
        labels: labels.clone(),
        rules,
        slots,
        clauses,
        conditions,
        globs,
        addresses,
        contents,
        reads,
        process,
        quotas,
        mounts,
        network,
        budgets,
        taints,
        rights,
        events,
    })
}

/// The first `[events]` that says something.
fn events(files: &[FileText<'_>]) -> Option<Events> {
    files.iter().find_map(|FileText { text, .. }| {
        let stated = text.events?;
        Some(Events { when_full: stated.when_full?, spot: stated.spot })
    })
}

/// The first `[network]` that is stated.
fn network(
    files: &mut [FileText<'_>],
    all: &mut Compiler,
    rules: &mut Vec<Rule>,
) -> Result<Option<Network>, PolicyError> {
    let stated = (0..).zip(files).find_map(|(file, known)| Some((file, known.text.network.take()?, &known.source)));
    let Some((file, text, source)) = stated else { return Ok(None) };
    FileCompiler { file, source, all }.network(text, rules).map(Some)
}

/// What names of hosts stand for. Of several statements the first one holds, as it is what is found first.
fn hosts(files: &[FileText<'_>]) -> Hosts {
    files.iter().filter_map(|file| file.text.hosts.as_ref()).flatten().cloned().collect()
}

/// The first one that is stated, or that of a policy that states none.
fn default_rule(files: &[FileText<'_>]) -> Rule {
    let stated = files.iter().find_map(|known| known.text.default.as_ref());
    let usual = (ActionText::plain(Action::Errno(EPERM)), Spot::default());
    let (text, spot) = stated.unwrap_or(&usual);
    let ActionText { action, log, question, .. } = *text;
    Rule { action, log, by: By::Default, spot: *spot, reason: None, rewrites: Vec::new(), question }
}

/// What is gathered about one call while the rules are read in order.
#[derive(Clone, Default)]
pub(crate) struct Call {
    /// The budgets and taints that name it, a bit for each.
    pub(crate) holds: u64,
    clauses: Vec<Clause>,
    /// What their conditions look at in memory.
    reads: Vec<Read>,
    /// The rule without conditions that decides what the clauses leave.
    settled: Option<Settled>,
}

impl Call {
    /// Whether rules leave something of it to the default.
    pub(crate) fn is_left(&self) -> bool {
        self.settled.is_none()
    }

    /// Adds to what has to be read. The error: it is more than the copies of a call hold.
    pub(crate) fn looks_at(&mut self, reads: impl IntoIterator<Item = Read>) -> Result<(), ()> {
        for read in reads {
            match read.form {
                _ if self.reads.contains(&read) => {}
                // Linux looks at structures before it looks at strings: so comes the error of one that cannot be read.
                Form::Structure { .. } => self.reads.insert(0, read),
                _ => self.reads.push(read),
            }
        }
        let copies: usize = self.reads.iter().map(|read| read.form.copies()).sum();
        if copies > MAX_COPIES { Err(()) } else { Ok(()) }
    }
}

/// A rule that leaves nothing of a call.
#[derive(Clone, Copy)]
struct Settled {
    rule: u16,
    file: u8,
    line: u32,
}

/// What all files together have come to.
pub(crate) struct Compiler {
    hosts: Hosts,
    pub(crate) calls: Vec<Call>,
    conditions: Vec<Condition>,
    globs: Vec<GlobSet>,
    addresses: Vec<AddressSet>,
    contents: Vec<ContentSet>,
    /// Bytes of their texts.
    content_size: usize,
    clause_count: usize,
    pub(crate) budgets: Vec<budget::Compiled>,
    pub(crate) taints: Vec<taint::Compiled>,
}

impl Compiler {
    fn new(hosts: Hosts) -> Self {
        let calls = vec![Call::default(); SYSCALL_LIMIT];
        let (conditions, globs, addresses, contents) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (budgets, taints) = (Vec::new(), Vec::new());
        Self { hosts, calls, conditions, globs, addresses, contents, content_size: 0, clause_count: 0, budgets, taints }
    }
}

/// Compiles one file after those that stand before it.
pub(crate) struct FileCompiler<'s, 't, 'c> {
    /// Its index.
    file: u8,
    pub(crate) source: &'s Source<'t>,
    pub(crate) all: &'c mut Compiler,
}

impl FileCompiler<'_, '_, '_> {
    fn rules(&mut self, texts: Vec<RuleText>, rules: &mut Vec<Rule>) -> Result<(), PolicyError> {
        for (number, rule) in (1..).zip(texts) {
            let index = u16::try_from(rules.len()).ok().filter(|index| usize::from(*index) <= limits::MAX_RULES);
            let index = index.ok_or_else(|| {
                let message = format!("more than {} rules in all files together", limits::MAX_RULES);
                self.source.error(&rule.span, message)
            })?;
            self.rule(index, &rule)?;
            let rewrites = self.rewrites(&rule)?;
            let spot = self.source.spot(rule.span.start);
            let log = rule.log.unwrap_or(rule.action.log);
            let RuleText { action, reason, .. } = rule;
            rules.push(Rule {
                action: action.action,
                log,
                by: if self.source.is_translated() { By::Translated } else { By::Rule(number) },
                spot,
                reason,
                rewrites,
                question: action.question,
            });
        }
        Ok(())
    }

    fn rule(&mut self, index: u16, rule: &RuleText) -> Result<(), PolicyError> {
        self.no_condition_twice(&rule.conditions)?;
        let sets = self.sets(&rule.conditions)?;
        let mut decides_or_yields = false;
        for call in &rule.calls {
            let settled = usize::try_from(call.number).ok().and_then(|number| self.all.calls.get(number)?.settled);
            match settled {
                None => {
                    self.add(index, rule, &sets, call)?;
                    decides_or_yields = true;
                }
                // Who includes a file may have decided already what that would have.
                Some(settled) if settled.file != self.file => decides_or_yields = true,
                Some(_) if call.grouped => {}
                Some(Settled { line, .. }) => {
                    let message = format!(
                        "`{}` never gets here: the rule in line {line} already decides it without conditions; remove it here or move this rule up",
                        name_of(call.number)
                    );
                    return Err(self.source.error(&call.span, message));
                }
            }
        }
        if decides_or_yields {
            return Ok(());
        }
        let message = "no call gets here: earlier rules already decide all of them without conditions; remove this rule or move it up";
        Err(self.source.error(&rule.span, message))
    }

    /// The sets of patterns of a rule's conditions, which are the same for every call: of those on memory.
    fn sets(&mut self, conditions: &[ConditionText]) -> Result<Vec<Option<u16>>, PolicyError> {
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

    /// Puts a rule at the end of what is said about one call. `sets`: those of [`Self::sets`].
    fn add(&mut self, index: u16, rule: &RuleText, sets: &[Option<u16>], call: &CallText) -> Result<(), PolicyError> {
        let first_condition = self.all.conditions.len();
        let mut reads = self.rewritten(rule, call)?;
        if rule.action.action == Action::Ask {
            reads.extend(question::shown_of(call.number));
        }
        for (condition, set) in rule.conditions.iter().zip(sets) {
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
        self.no_contradiction(rule, first_condition)?;
        if !rule.conditions.is_empty() {
            return self.push_clause(index, call, first_condition, reads);
        }
        let line = self.source.spot(rule.span.start).line;
        let settled = Settled { rule: index, file: self.file, line };
        self.look_at(call, reads)?.settled = Some(settled);
        Ok(())
    }

    /// What has to be read of a call's memory for a rule to put something else into its place.
    fn rewritten(&self, rule: &RuleText, call: &CallText) -> Result<Vec<Read>, PolicyError> {
        let read = |rewrite: &RewriteText| match rewrite.change {
            Change::Path(_) => Some(self.read_string(&rewrite.argument, Subject::Path, call)),
            _ => self.seen(&rewrite.argument, None, call.number).map(Seen::read).transpose(),
        };
        rule.action.rewrites.iter().filter_map(read).collect()
    }

    /// Has so much of a call's memory read before it is judged.
    fn look_at(&mut self, call: &CallText, reads: Vec<Read>) -> Result<&mut Call, PolicyError> {
        let entry = usize::try_from(call.number).ok().and_then(|number| self.all.calls.get_mut(number));
        let Some(entry) = entry else {
            return Err(self.source.error(&call.span, "this call is beyond the table"));
        };
        if entry.looks_at(reads).is_err() {
            let message =
                format!("rules look at more than {MAX_COPIES} pieces of memory of `{}`", name_of(call.number));
            return Err(self.source.error(&call.span, message));
        }
        Ok(entry)
    }

    /// A rule that a section stands for.
    pub(crate) fn section(&self, by: By, action: ActionText, span: &Range<usize>) -> Rule {
        let spot = self.source.spot(span.start);
        let ActionText { action, log, question, .. } = action;
        Rule { action, log, by, spot, reason: None, rewrites: Vec::new(), question }
    }

    /// Adds conditions under which rule `index` decides a call, to those that are there.
    pub(crate) fn clause(
        &mut self,
        index: u16,
        (call, span): (u32, &Range<usize>),
        conditions: &[Condition],
    ) -> Result<(), PolicyError> {
        let first = self.all.conditions.len();
        self.all.conditions.extend_from_slice(conditions);
        let call = CallText { number: call, span: span.clone(), grouped: false };
        let reads = match conditions {
            [] => Vec::new(),
            _ => Vec::from([self.read_address(span, &call)?]),
        };
        self.push_clause(index, &call, first, reads)
    }

    /// Lets the conditions from `first` on be a clause of a call.
    fn push_clause(&mut self, index: u16, call: &CallText, first: usize, reads: Vec<Read>) -> Result<(), PolicyError> {
        self.all.clause_count += 1;
        let is_full =
            self.all.clause_count > limits::MAX_CLAUSES || self.all.conditions.len() > limits::MAX_TOTAL_CONDITIONS;
        let count = u16::try_from(self.all.conditions.len().saturating_sub(first)).ok();
        let entry = self.look_at(call, reads)?;
        let too_many = is_full || entry.clauses.len() >= limits::MAX_CLAUSES_PER_CALL;
        match (u32::try_from(first).ok(), count) {
            (Some(first_condition), Some(conditions)) if !too_many => {
                entry.clauses.push(Clause { first_condition, conditions, rule: index });
                Ok(())
            }
            _ => {
                let message = format!(
                    "too many rules with conditions at `{}`; a call may have {}, a policy {} and {} conditions",
                    name_of(call.number),
                    limits::MAX_CLAUSES_PER_CALL,
                    limits::MAX_CLAUSES,
                    limits::MAX_TOTAL_CONDITIONS
                );
                Err(self.source.error(&call.span, message))
            }
        }
    }

    /// The conditions from `first` on are those of `rule`.
    fn no_contradiction(&self, rule: &RuleText, first: usize) -> Result<(), PolicyError> {
        let compiled = self.all.conditions.get(first..).unwrap_or(&[]);
        for (index, (condition, text)) in compiled.iter().zip(&rule.conditions).enumerate() {
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

    fn no_condition_twice(&self, conditions: &[ConditionText]) -> Result<(), PolicyError> {
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

/// The compiled calls.
struct Table {
    slots: Vec<Slot>,
    clauses: Vec<Clause>,
    reads: Vec<Read>,
}

/// Lays the calls' clauses out one behind the other.
fn flatten(calls: &[Call]) -> Table {
    let mut clauses = Vec::new();
    let mut reads = Vec::new();
    let slots = calls.iter().map(|call| {
        // The numbers of clauses and reads are bounded far below what the slot's fields hold.
        let slot = Slot {
            first_clause: u32::try_from(clauses.len()).unwrap_or(u32::MAX),
            clauses: u16::try_from(call.clauses.len()).unwrap_or(u16::MAX),
            otherwise: call.settled.map_or(DEFAULT_RULE, |settled| settled.rule),
            first_read: u32::try_from(reads.len()).unwrap_or(u32::MAX),
            reads: u8::try_from(call.reads.len()).unwrap_or(u8::MAX),
            holds: call.holds,
        };
        clauses.extend_from_slice(&call.clauses);
        reads.extend_from_slice(&call.reads);
        slot
    });
    Table { slots: slots.collect(), clauses, reads }
}
