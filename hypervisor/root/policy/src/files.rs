//! `[[files]]`: rights on files by their resolved paths, which the root's file service asks for at every request.
//!
//! Entries are tried in order; the first with a pattern that matches decides. One entry says what holds where none does, so that nobody has
//! to guess whether silence means yes or no.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use toml::de::{DeTable, DeValue};

use crate::error::{PolicyError, Source};
use crate::glob::{GlobSet, Subject};
use crate::limits;
use crate::origin::{Place, Spot};
use crate::parse::{Placed, Reader, Value};
use crate::suggest::did_you_mean;
use crate::table::Policy;

/// A set of rights on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rights(u8);

impl Rights {
    /// Nothing, but the name can be seen.
    pub const NONE: Self = Self(0);
    /// Read a file.
    pub const READ: Self = Self(1 << 0);
    /// Change a file's content, and the attributes of anything.
    pub const WRITE: Self = Self(1 << 1);
    /// Make the name.
    pub const CREATE: Self = Self(1 << 2);
    /// Take the name away.
    pub const DELETE: Self = Self(1 << 3);
    /// Open a file in order to execute it.
    pub const EXECUTE: Self = Self(1 << 4);
    /// Read a directory's names.
    pub const LIST: Self = Self(1 << 5);
    /// The opposite of a right: the name does not exist.
    pub const HIDE: Self = Self(1 << 6);
    /// All that can be granted.
    pub const ALL: Self = Self(0b11_1111);

    /// The right with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, right)| *right)
    }

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn contain(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is among these.
    #[must_use]
    pub const fn share(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Rights {
    /// The names as in a policy, or `none`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = NAMES.iter().filter(|(_, right)| self.contain(*right)).map(|(name, _)| *name);
        f.write_str(names.next().unwrap_or("none"))?;
        names.try_for_each(|name| write!(f, " {name}"))
    }
}

const NAMES: [(&str, Rights); 7] = [
    ("read", Rights::READ),
    ("write", Rights::WRITE),
    ("create", Rights::CREATE),
    ("delete", Rights::DELETE),
    ("execute", Rights::EXECUTE),
    ("list", Rights::LIST),
    ("hide", Rights::HIDE),
];

/// One entry, or what holds without one.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    paths: GlobSet,
    /// The patterns of `paths` as they are written.
    patterns: Vec<Placed<String>>,
    rights: Rights,
    spot: Spot,
    /// Which entry of its file it is, from 1; 0 in a translation, where nobody has counted them.
    number: u16,
    reason: Option<String>,
}

/// The patterns of an entry, as they are written, and its rights.
type Statement<'e> = (Vec<&'e str>, Rights);

impl Entry {
    fn statement(&self) -> Statement<'_> {
        (self.patterns.iter().map(|pattern| pattern.value.as_str()).collect(), self.rights)
    }
}

/// What one file says about files.
#[derive(Clone, Debug, Default)]
pub(crate) struct FilesText {
    entries: Vec<Entry>,
    default: Option<Entry>,
    /// Where the first entry begins.
    start: usize,
}

/// All that a policy says about files.
#[derive(Clone, Debug)]
pub(crate) struct FileRights {
    entries: Vec<Entry>,
    default: Entry,
}

impl FileRights {
    /// Puts together what the files of a policy say, in the order in which their rules are tried. None: they say nothing.
    ///
    /// # Errors
    /// Too many entries, or none that says what holds for other paths.
    pub(crate) fn gather(texts: Vec<(FilesText, Source<'_>)>) -> Result<Option<Self>, PolicyError> {
        let (mut entries, mut default, mut first) = (Vec::new(), None, None);
        for (text, source) in texts {
            if text.entries.is_empty() && text.default.is_none() {
                continue;
            }
            let start = text.start..text.start;
            entries.extend(text.entries);
            default = default.or(text.default);
            if entries.len() > limits::MAX_FILE_RULES {
                let message = format!("more than {} entries in all files together", limits::MAX_FILE_RULES);
                return Err(source.error(&start, message));
            }
            first.get_or_insert((source, start));
        }
        match (first, default) {
            (None, _) => Ok(None),
            (Some(_), Some(default)) => Ok(Some(Self { entries, default })),
            (Some((source, start)), None) => {
                let message = "no entry of `files` says what holds for all other paths; add one with `default`, for example `default = [\"read\", \"execute\", \"list\"]`, or `default = []`";
                Err(source.error(&start, message))
            }
        }
    }

    /// What each entry says; the last is what holds for other paths.
    fn statements(&self) -> impl Iterator<Item = Statement<'_>> {
        self.entries.iter().chain([&self.default]).map(Entry::statement)
    }

    fn entry(&self, path: &[u8]) -> &Entry {
        self.entries.iter().find(|entry| entry.paths.matches(path)).unwrap_or(&self.default)
    }

    /// Whether the rights on all that lies below one directory are those on what lies as deep below the other. May say no where they are.
    fn same_below(&self, one: &[u8], other: &[u8]) -> bool {
        for entry in &self.entries {
            if entry.paths.matches_all_below(one) && entry.paths.matches_all_below(other) {
                return true;
            }
            if !entry.paths.same_below(one, other) {
                return false;
            }
        }
        true
    }
}

/// What a policy says about one path.
#[derive(Clone, Copy, Debug)]
pub struct FileVerdict<'p> {
    /// What may be done.
    pub rights: Rights,
    entry: Option<(&'p Entry, Place<'p>)>,
}

impl fmt::Display for FileVerdict<'_> {
    /// The entry that says so: `files entry 2 p.toml:9: reason`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((entry, place)) = self.entry else { return f.write_str("no entry of files") };
        match (entry.patterns.is_empty(), entry.number) {
            (true, _) => write!(f, "files default {place}")?,
            (false, 0) => write!(f, "files entry {place}")?,
            (false, number) => write!(f, "files entry {number} {place}")?,
        }
        entry.reason.iter().try_for_each(|reason| write!(f, ": {reason}"))
    }
}

impl Policy {
    /// Whether the policy says anything about files: if not, all rights are there.
    #[must_use]
    pub fn restricts_files(&self) -> bool {
        self.rights.is_some()
    }

    /// What may be done with an absolute path without `.`, `..` and links.
    #[must_use]
    pub fn file_rights(&self, path: &[u8]) -> FileVerdict<'_> {
        match &self.rights {
            None => FileVerdict { rights: Rights::ALL, entry: None },
            Some(rights) => {
                let entry = rights.entry(path);
                FileVerdict { rights: entry.rights, entry: Some((entry, self.place(entry.spot))) }
            }
        }
    }

    /// What may be done with a path that no entry matches.
    #[must_use]
    pub fn other_files(&self) -> FileVerdict<'_> {
        let default = self.rights.as_ref().map(|rights| &rights.default);
        let rights = default.map_or(Rights::ALL, |default| default.rights);
        FileVerdict { rights, entry: default.map(|default| (default, self.place(default.spot))) }
    }

    /// The patterns of all entries, as they are written, in the order in which they are tried.
    pub fn file_patterns(&self) -> impl Iterator<Item = &str> {
        let entries = self.rights.iter().flat_map(|rights| &rights.entries);
        entries.flat_map(|entry| entry.patterns.iter().map(|pattern| pattern.value.as_str()))
    }

    /// Whether a directory can be called otherwise without anything below it getting other rights. May say no where it could.
    #[must_use]
    pub fn same_rights_below(&self, one: &[u8], other: &[u8]) -> bool {
        self.rights.as_ref().is_none_or(|rights| rights.same_below(one, other))
    }

    /// Whether another policy says the same about files, whatever its reasons are.
    #[must_use]
    pub fn same_file_rights(&self, other: &Self) -> bool {
        match (&self.rights, &other.rights) {
            (None, None) => true,
            (Some(one), Some(other)) => one.statements().eq(other.statements()),
            _ => false,
        }
    }
}

impl Reader<'_, '_> {
    /// The value of `files`.
    pub(crate) fn files(&self, value: &Value<'_>) -> Result<FilesText, PolicyError> {
        let array = self.array(value, "files", "written as `[[files]]`")?;
        if let Some(beyond) = array.get(limits::MAX_FILE_RULES) {
            let message = format!("more than {} entries; join those with the same rights", limits::MAX_FILE_RULES);
            return Err(self.source.error(&beyond.span(), message));
        }
        let start = array.first().map_or(value.span().start, |first| first.span().start);
        let mut text = FilesText { start, ..FilesText::default() };
        let mut patterns = 0;
        for (number, value) in (1..).zip(array.iter()) {
            let number = if self.source.is_translated() { 0 } else { number };
            let DeValue::Table(table) = value.get_ref() else {
                return Err(self.wrong_type(value, "files", "a table (`[[files]]`)", value.get_ref()));
            };
            if table.get("default").is_some() {
                let default = self.files_default(value, table, number)?;
                if text.default.replace(default).is_some() {
                    return Err(self.source.error(&value.span(), "`default` is stated twice; remove one"));
                }
            } else {
                let entry = self.files_entry(value, table, number)?;
                patterns += entry.patterns.len();
                if patterns > limits::MAX_FILE_PATTERNS {
                    let message = format!("more than {} patterns in `files`", limits::MAX_FILE_PATTERNS);
                    return Err(self.source.error(&value.span(), message));
                }
                self.check_reached(&text.entries, &entry)?;
                text.entries.push(entry);
            }
        }
        Ok(text)
    }

    fn files_entry(&self, value: &Value<'_>, table: &DeTable<'_>, number: u16) -> Result<Entry, PolicyError> {
        self.only_known_keys(table, &["paths", "rights", "reason", "default"], "an entry of `files`")?;
        let missing = |key: &str, example: &str| {
            self.source.error(&value.span(), format!("this entry has no `{key}`; add, for example, `{example}`"))
        };
        let paths = table.get("paths").ok_or_else(|| missing("paths", r#"paths = ["/usr/**"]"#))?;
        let rights = table.get("rights").ok_or_else(|| missing("rights", r#"rights = ["read", "list"]"#))?;
        let (paths, patterns) = self.absolute_paths(paths)?;
        let rights = self.rights(rights, "rights")?;
        let reason = table.get("reason").map(|value| self.reason(value)).transpose()?;
        Ok(Entry { paths, patterns, rights, spot: self.source.spot(value.span().start), number, reason })
    }

    fn files_default(&self, value: &Value<'_>, table: &DeTable<'_>, number: u16) -> Result<Entry, PolicyError> {
        self.only_known_keys(table, &["default", "reason"], "the entry of `files` with `default`")?;
        let rights = table.get("default").map_or(Ok(Rights::NONE), |value| self.rights(value, "default"))?;
        if rights == Rights::HIDE {
            let message = "nothing would be there, not even `/`; hide paths by name, or write `default = []`";
            return Err(self.source.error(&value.span(), message));
        }
        let reason = table.get("reason").map(|value| self.reason(value)).transpose()?;
        let (paths, patterns) = (GlobSet::none(), Vec::new());
        Ok(Entry { paths, patterns, rights, spot: self.source.spot(value.span().start), number, reason })
    }

    /// Patterns that begin where paths do.
    pub(crate) fn absolute_paths(&self, value: &Value<'_>) -> Result<(GlobSet, Vec<Placed<String>>), PolicyError> {
        let patterns = self.patterns(value, "paths")?;
        if let Some(relative) = patterns.iter().find(|pattern| !pattern.value.starts_with(['/', '*'])) {
            let message = "resolved paths begin with `/`: this never matches";
            return Err(self.source.error(&relative.span, message));
        }
        if let Some(unresolved) = patterns.iter().find(|pattern| is_unresolved(&pattern.value)) {
            let message = "resolved paths have no `.`, no `..`, no `//` and no `/` at the end: this never matches";
            return Err(self.source.error(&unresolved.span, message));
        }
        let set = GlobSet::new(patterns.iter().map(|pattern| pattern.value.as_str()), Subject::Path);
        let set = set.map_err(|(index, error)| {
            let span = patterns.get(index).map_or(0..0, |pattern| pattern.span.clone());
            self.source.error(&span, error.text())
        })?;
        Ok((set, patterns))
    }

    pub(crate) fn rights(&self, value: &Value<'_>, key: &str) -> Result<Rights, PolicyError> {
        let array = self.array(value, key, "an array of rights")?;
        let mut all = Rights::NONE;
        for entry in array.iter() {
            let name = self.string(entry, key, "an array of rights")?;
            let Some(right) = Rights::by_name(name) else {
                let suggestion = did_you_mean(name, NAMES.iter().map(|(known, _)| *known));
                let known = NAMES.map(|(known, _)| known).join(" ");
                let message = format!("`{}` is no right{suggestion}; the rights are {known}", name.escape_debug());
                return Err(self.source.error(&entry.span(), message));
            };
            if all.contain(right) {
                return Err(self.source.error(&entry.span(), "this right stands here twice; remove one"));
            }
            all = all.and(right);
        }
        if all.contain(Rights::HIDE) && all != Rights::HIDE {
            return Err(self.source.error(&value.span(), "what is hidden has no rights; leave the others out"));
        }
        Ok(all)
    }

    /// A pattern that one of an earlier entry says all of never decides.
    fn check_reached(&self, earlier: &[Entry], entry: &Entry) -> Result<(), PolicyError> {
        for pattern in &entry.patterns {
            let covering = |other: &&Entry| other.patterns.iter().any(|wide| covers(&wide.value, &pattern.value));
            if let Some(other) = earlier.iter().find(covering) {
                let message = format!(
                    "this pattern never decides: the entry in line {} matches all that it does; remove it or move this entry up",
                    other.spot.line
                );
                return Err(self.source.error(&pattern.span, message));
            }
        }
        Ok(())
    }
}

/// Whether a pattern has a component that no resolved path has.
fn is_unresolved(pattern: &str) -> bool {
    pattern != "/" && pattern.split('/').skip(1).any(|component| matches!(component, "" | "." | ".."))
}

/// Whether all that `narrow` matches is matched by `wide`, as far as it can be told from the two as text.
fn covers(wide: &str, narrow: &str) -> bool {
    const SPECIAL: [char; 4] = ['*', '?', '[', '\\'];
    if wide == narrow || wide == "**" || (wide == "/**" && narrow.starts_with('/')) {
        return true;
    }
    let Some(folder) = wide.strip_suffix("/**").filter(|folder| !folder.contains(SPECIAL)) else { return false };
    narrow.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
