//! `[process]`: what the program is started as. It is said here so that whoever writes a policy says it, and not who starts the program.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use toml::de::{DeInteger, DeTable, DeValue};

use crate::environment::{Environment, Place};
use crate::error::PolicyError;
use crate::parse::{Reader, Value, unsigned};
use crate::suggest::did_you_mean;

/// Bytes of a host or domain name (`__NEW_UTS_LEN`, uname(2)).
pub const MAX_NAME: usize = 64;
/// Supplementary groups: as many as give rights to files.
pub const MAX_GROUPS: usize = 32;
/// Seconds by which the clock may differ, back and forth: a hundred years.
pub const MAX_OFFSET: i64 = 100 * 366 * 24 * 3600;

/// What a policy says of the process. What it does not say is left to whoever starts the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// The program and its arguments, for when none is named.
    pub args: Option<Vec<String>>,
    /// Working directory: absolute.
    pub cwd: Option<String>,
    /// User.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Supplementary groups, at most [`MAX_GROUPS`].
    pub groups: Option<Vec<u32>>,
    /// Permission bits that new files do not get (umask(2)).
    pub umask: Option<u32>,
    /// Host name: 1 to [`MAX_NAME`] bytes.
    pub hostname: Option<String>,
    /// NIS domain name, the same.
    pub domainname: Option<String>,
    /// No program gains rights by being started (PR_SET_NO_NEW_PRIVS).
    pub no_new_privileges: Option<bool>,
    /// Seconds that are added to CLOCK_REALTIME, at most [`MAX_OFFSET`] either way.
    pub clock_offset: Option<i64>,
    /// Resource limits, by RLIMIT_* (getrlimit(2)).
    pub limits: BTreeMap<u32, Limit>,
    /// Its variables.
    pub env: Environment,
    /// Where each key stands that was stated.
    places: BTreeMap<String, Place>,
}

/// A resource limit; `u64::MAX` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What holds at first.
    pub soft: u64,
    /// Up to which the program may raise it. Not below `soft`.
    pub hard: u64,
}

impl Process {
    /// Where a key stands, such as `cwd`: `FILE:LINE`.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<&str> {
        self.places.get(key).map(|place| place.0.as_str())
    }

    /// Takes from a file that is included what is not stated yet.
    pub(crate) fn lay_under(&mut self, other: Self) {
        macro_rules! first {
            ($($field:ident)*) => { $( self.$field = self.$field.take().or(other.$field); )* };
        }
        first!(args cwd uid gid groups umask hostname domainname no_new_privileges clock_offset);
        add_lacking(&mut self.limits, other.limits);
        self.env.lay_under(other.env);
        add_lacking(&mut self.places, other.places);
    }
}

/// Adds the entries whose keys are not there.
fn add_lacking<K: Ord, V>(map: &mut BTreeMap<K, V>, more: BTreeMap<K, V>) {
    let own = core::mem::replace(map, more);
    map.extend(own);
}

/// Names of resource limits (include/uapi/asm-generic/resource.h), by number.
pub const LIMITS: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];
const KEYS: &[&str] = &[
    "args",
    "cwd",
    "uid",
    "gid",
    "groups",
    "umask",
    "hostname",
    "domainname",
    "no_new_privileges",
    "clock",
    "env",
    "rlimit",
];
const UNITS: [(char, i64); 5] = [('s', 1), ('m', 60), ('h', 3600), ('d', 24 * 3600), ('w', 7 * 24 * 3600)];
const OFFSET: &str = "seconds, or a text such as \"-30d\" (units s, m, h, d, w)";
const LIMIT: &str = "a number, \"unlimited\", or [soft, hard]";

impl Reader<'_, '_> {
    pub(crate) fn process(&self, value: &Value<'_>) -> Result<Process, PolicyError> {
        let table = self.table(value, "process", "a table (`[process]`)")?;
        self.only_known_keys(table, KEYS, "`[process]`")?;
        let mut process = Process::default();
        for (key, value) in table.iter() {
            let key = key.get_ref().as_ref();
            process.places.insert(key.to_string(), self.line_of(value));
            match key {
                "args" => process.args = Some(self.words(value)?),
                "cwd" => process.cwd = Some(self.directory(value)?),
                "uid" => process.uid = Some(self.id(value, key)?),
                "gid" => process.gid = Some(self.id(value, key)?),
                "groups" => process.groups = Some(self.groups(value)?),
                "umask" => process.umask = Some(self.below(value, key, 0o777, "permission bits, 0 to 0o777")?),
                "hostname" => process.hostname = Some(self.host_name(value, key)?),
                "domainname" => process.domainname = Some(self.host_name(value, key)?),
                "no_new_privileges" => process.no_new_privileges = Some(self.boolean(value, key)?),
                "clock" => process.clock_offset = Some(self.clock(value)?),
                "rlimit" => process.limits = self.limits(value)?,
                _ => process.env = self.environment(value)?,
            }
        }
        Ok(process)
    }

    /// A text that a program can be given: without NULs.
    pub(crate) fn plain<'v>(&self, value: &'v Value<'_>, key: &str, wanted: &str) -> Result<&'v str, PolicyError> {
        let text = self.string(value, key, wanted)?;
        if text.contains('\0') {
            return Err(self.source.error(&value.span(), "no string of a program has a NUL in it"));
        }
        Ok(text)
    }

    fn words(&self, value: &Value<'_>) -> Result<Vec<String>, PolicyError> {
        let wanted = "the program and its arguments, such as [\"/bin/ls\", \"-l\"]";
        let words: Result<Vec<String>, PolicyError> = self
            .array(value, "args", wanted)?
            .iter()
            .map(|word| Ok(self.plain(word, "args", wanted)?.into()))
            .collect();
        let words = words?;
        match words.first() {
            Some(program) if !program.is_empty() => Ok(words),
            _ => Err(self.source.error(&value.span(), format!("`args` names no program; it must be {wanted}"))),
        }
    }

    fn directory(&self, value: &Value<'_>) -> Result<String, PolicyError> {
        let text = self.plain(value, "cwd", "an absolute path")?;
        if !text.starts_with('/') {
            return Err(self.source.error(&value.span(), "`cwd` must be an absolute path"));
        }
        Ok(text.into())
    }

    fn below(&self, value: &Value<'_>, key: &str, most: u32, wanted: &str) -> Result<u32, PolicyError> {
        let DeValue::Integer(number) = value.get_ref() else {
            return Err(self.wrong_type(value, key, wanted, value.get_ref()));
        };
        let number = unsigned(number).and_then(|number| u32::try_from(number).ok()).filter(|number| *number <= most);
        number.ok_or_else(|| self.source.error(&value.span(), format!("`{key}` must be {wanted}")))
    }

    /// A number of a user or group; the highest one means "none" to Linux.
    fn id(&self, value: &Value<'_>, key: &str) -> Result<u32, PolicyError> {
        self.below(value, key, u32::MAX - 1, "a number from 0 to 4294967294")
    }

    fn groups(&self, value: &Value<'_>) -> Result<Vec<u32>, PolicyError> {
        let array = self.array(value, "groups", "an array of numbers")?;
        if let Some(beyond) = array.get(MAX_GROUPS) {
            return Err(self.source.error(&beyond.span(), format!("more than {MAX_GROUPS} groups")));
        }
        array.iter().map(|group| self.id(group, "groups")).collect()
    }

    fn host_name(&self, value: &Value<'_>, key: &str) -> Result<String, PolicyError> {
        let text = self.string(value, key, "a name")?;
        if text.is_empty() || text.len() > MAX_NAME || text.chars().any(char::is_control) {
            let message = format!("`{key}` has 1 to {MAX_NAME} bytes and no control characters");
            return Err(self.source.error(&value.span(), message));
        }
        Ok(text.into())
    }

    fn clock(&self, value: &Value<'_>) -> Result<i64, PolicyError> {
        let table = self.table(value, "clock", "{ offset = \"-30d\" }")?;
        self.only_known_keys(table, &["offset"], "`clock`")?;
        let Some(value) = table.get("offset") else {
            return Err(self.source.error(&value.span(), "`clock` has no `offset`"));
        };
        let seconds = match value.get_ref() {
            DeValue::Integer(number) => whole_number(number),
            DeValue::String(text) => seconds(text),
            other => return Err(self.wrong_type(value, "offset", OFFSET, other)),
        };
        let seconds = seconds.ok_or_else(|| self.source.error(&value.span(), format!("`offset` must be {OFFSET}")))?;
        if seconds.unsigned_abs() > MAX_OFFSET.unsigned_abs() {
            return Err(self.source.error(&value.span(), "the clock may differ by a hundred years at most"));
        }
        Ok(seconds)
    }

    fn limits(&self, value: &Value<'_>) -> Result<BTreeMap<u32, Limit>, PolicyError> {
        let table = self.table(value, "rlimit", "a table such as { nofile = [256, 1024] }")?;
        let mut limits = BTreeMap::new();
        for (key, value) in table.iter() {
            let name = key.get_ref().as_ref();
            let number = (0..).zip(LIMITS).find(|(_, known)| *known == name).map(|(number, _)| number);
            let number = number.ok_or_else(|| {
                let suggestion = did_you_mean(name, LIMITS.into_iter());
                let message = format!("`{}` is no resource limit{suggestion}", name.escape_debug());
                self.source.error(&key.span(), message)
            })?;
            limits.insert(number, self.limit(value, name)?);
        }
        Ok(limits)
    }

    fn limit(&self, value: &Value<'_>, name: &str) -> Result<Limit, PolicyError> {
        let one = |value: &Value<'_>| match value.get_ref() {
            DeValue::String(text) if text.as_ref() == "unlimited" => Ok(u64::MAX),
            DeValue::Integer(number) => unsigned(number)
                .ok_or_else(|| self.source.error(&value.span(), format!("`{name}` must be {LIMIT}, not {number}"))),
            other => Err(self.wrong_type(value, name, LIMIT, other)),
        };
        let Some(pair) = value.get_ref().as_array() else {
            let both = one(value)?;
            return Ok(Limit { soft: both, hard: both });
        };
        let mut numbers = pair.iter();
        let (Some(soft), Some(hard), None) = (numbers.next(), numbers.next(), numbers.next()) else {
            return Err(self.source.error(&value.span(), format!("`{name}` must be {LIMIT}")));
        };
        let limit = Limit { soft: one(soft)?, hard: one(hard)? };
        if limit.soft > limit.hard {
            return Err(self.source.error(&value.span(), format!("the soft limit of `{name}` is above its hard one")));
        }
        Ok(limit)
    }

    pub(crate) fn table<'v, 't>(
        &self,
        value: &'v Value<'t>,
        key: &str,
        wanted: &str,
    ) -> Result<&'v DeTable<'t>, PolicyError> {
        value.get_ref().as_table().ok_or_else(|| self.wrong_type(value, key, wanted, value.get_ref()))
    }
}

/// An integer of the text, of either sign.
pub(crate) fn whole_number(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// The seconds that `-30d` stands for.
pub(crate) fn seconds(text: &str) -> Option<i64> {
    let (last, unit) = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit))?;
    text.strip_suffix(last)?.parse::<i64>().ok()?.checked_mul(unit)
}
