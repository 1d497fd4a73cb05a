//! What the text says → the table that judges. Here conditions meet the calls' signatures.

mod arguments;
mod conditions;

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use proto::MAX_COPIES;
use proto::syscalls::SYSCALL_LIMIT;

use crate::Action;
use crate::action::ActionText;
use crate::action::{Change, RewriteText};
use crate::address::{AddressSet, Hosts};
use crate::budget;
use crate::contents::ContentSet;
use crate::errno::EPERM;
use crate::error::{PolicyError, Source};
use crate::events::Events;
use crate::files::FileRights;
use crate::glob::{GlobSet, Subject};
use crate::limits;
use crate::mounts::{MAX_BINDS, Mounts};
use crate::network::Network;
use crate::origin::{Labels, Spot};
use crate::parse::{CallText, ConditionText, PolicyText, RuleText, name_of};
use crate::pointed::{Form, Read};
use crate::process::Process;
use crate::question;
use crate::quotas::Quotas;
use crate::signature::{self, PlaceName};
use crate::table::{By, Clause, Condition, DEFAULT_RULE, Policy, Rule, Slot};
use crate::taint::{self, BRINGS};
use arguments::Seen;

/// A file that was read: its text, and what it says.
pub(crate) struct FileText<'t> {
    pub(crate) source: Source<'t>,
    pub(crate) text: PolicyText,
}

/// Compiles a whole policy: its files in the order in which their rules are tried.
pub(crate) fn compile(mut files: Vec<FileText<'_>>, labels: &Labels) -> Result<Policy, PolicyError> {
    let mut rules = vec![default_rule(&files)];
    let asks_by_default = rules.first().is_some_and(|default| default.action == Action::Ask);
    let mut compiler = Compiler::new(hosts(&files), asks_by_default);
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
    if asks_by_default {
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
    /// The same of taints: when the call brings them.
    triggers: Vec<Clause>,
    /// What their conditions look at in memory.
    reads: Vec<Read>,
    /// The arguments that rules make other numbers of, a bit for each.
    rewritten: u8,
    /// The same of those that become something else than NULL, where there is nothing.
    repointed: u8,
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
    /// The default asks about what no rule decides.
    asks_by_default: bool,
    pub(crate) budgets: Vec<budget::Compiled>,
    pub(crate) taints: Vec<taint::Compiled>,
}

impl Compiler {
    fn new(hosts: Hosts, asks_by_default: bool) -> Self {
        let calls = vec![Call::default(); SYSCALL_LIMIT];
        let (conditions, globs, addresses, contents) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (budgets, taints) = (Vec::new(), Vec::new());
        let (content_size, clause_count) = (0, 0);
        Self {
            hosts,
            calls,
            conditions,
            globs,
            addresses,
            contents,
            content_size,
            clause_count,
            asks_by_default,
            budgets,
            taints,
        }
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
            let rewrites = self.rewrites(&rule)?;
            self.rule(index, &rule)?;
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

    /// Puts a rule at the end of what is said about one call. `sets`: those of [`Self::sets`].
    fn add(&mut self, index: u16, rule: &RuleText, sets: &[Option<u16>], call: &CallText) -> Result<(), PolicyError> {
        let mut reads = self.rewritten(rule, call)?;
        let (numbers, pointers) = self.rewritten_numbers(rule, call)?;
        if let Some(entry) = usize::try_from(call.number).ok().and_then(|number| self.all.calls.get_mut(number)) {
            entry.rewritten |= numbers;
            entry.repointed |= pointers;
        }
        if rule.action.action == Action::Ask {
            reads.extend(question::shown_of(call.number));
        }
        if !rule.conditions.is_empty() {
            let (first, looked_at) = self.conditions(&rule.conditions, sets, call)?;
            reads.extend(looked_at);
            return self.push_clause(index, call, first, reads, |entry| &mut entry.clauses);
        }
        let line = self.source.spot(rule.span.start).line;
        let settled = Settled { rule: index, file: self.file, line };
        self.look_at(call, reads)?.settled = Some(settled);
        Ok(())
    }

    /// Has these calls bring the taint that rule `index` stands for, where all the conditions hold.
    pub(crate) fn triggers(
        &mut self,
        index: u16,
        calls: &[CallText],
        conditions: &[ConditionText],
    ) -> Result<(), PolicyError> {
        self.no_condition_twice(conditions)?;
        let sets = self.sets(conditions)?;
        for call in calls {
            let (first, reads) = self.conditions(conditions, &sets, call)?;
            self.push_clause(index, call, first, reads, |entry| &mut entry.triggers)?;
        }
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

    /// The arguments of a call that a rule makes other numbers of, a bit for each; and those of which it makes another than 0.
    fn rewritten_numbers(&self, rule: &RuleText, call: &CallText) -> Result<(u8, u8), PolicyError> {
        let (mut numbers, mut others) = (0, 0);
        for rewrite in &rule.action.rewrites {
            let seen = self.seen(&rewrite.argument, None, call.number)?;
            let bit = seen.argument().map_or(0, |argument| 1 << argument);
            let is_zero = match &rewrite.change {
                Change::Path(_) => continue,
                Change::Set(value) => self.operand(value, seen, call.number)? == 0,
                Change::Mask(_) => false,
            };
            numbers |= bit;
            others |= if is_zero { 0 } else { bit };
        }
        Ok((numbers, others))
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
        let asked = if self.all.asks_by_default { question::shown_of(call.number) } else { Vec::new() };
        let is_one = |bits: u8, argument: &u8| bits >> argument & 1 != 0;
        let places = entry.reads.iter().chain(&asked).flat_map(|read| {
            let pointer = Some(read.argument).filter(|argument| is_one(entry.repointed, argument));
            [pointer, read.form.sized_by().filter(|argument| is_one(entry.rewritten, argument))]
        });
        if let Some(argument) = places.flatten().next() {
            let of = PlaceName::argument(signature::of(call.number.into()), argument);
            let message = format!(
                "rules look at what `{of}` of `{}` stands for, and one makes another number of it: what is carried out would not be what was judged",
                name_of(call.number)
            );
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
        self.push_clause(index, &call, first, reads, |entry| &mut entry.clauses)
    }

    /// Lets the conditions from `first` on be one more clause among those that `list` has of a call.
    fn push_clause(
        &mut self,
        index: u16,
        call: &CallText,
        first: usize,
        reads: Vec<Read>,
        list: fn(&mut Call) -> &mut Vec<Clause>,
    ) -> Result<(), PolicyError> {
        self.all.clause_count += 1;
        let is_full =
            self.all.clause_count > limits::MAX_CLAUSES || self.all.conditions.len() > limits::MAX_TOTAL_CONDITIONS;
        let count = u16::try_from(self.all.conditions.len().saturating_sub(first)).ok();
        let clauses = list(self.look_at(call, reads)?);
        let too_many = is_full || clauses.len() >= limits::MAX_CLAUSES_PER_CALL;
        match (u32::try_from(first).ok(), count) {
            (Some(first_condition), Some(conditions)) if !too_many => {
                clauses.push(Clause { first_condition, conditions, rule: index });
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
            triggers: u16::try_from(call.triggers.len()).unwrap_or(u16::MAX),
            holds: call.holds | if call.triggers.is_empty() { 0 } else { BRINGS },
        };
        clauses.extend_from_slice(&call.clauses);
        clauses.extend_from_slice(&call.triggers);
        reads.extend_from_slice(&call.reads);
        slot
    });
    Table { slots: slots.collect(), clauses, reads }
}
