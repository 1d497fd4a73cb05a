//! `[limits]`: how much a sandbox may use of what there is.
//!
//! ```toml
//! [limits]                    # every key may be left out: then there is no such limit
//! memory = "64M"              # of the whole sandbox: programs, tables, files that are written
//! processes = 16              # alive at once, those that nobody has waited for included
//! threads = 32                # alive at once, in all processes together
//! open_files = 64             # descriptors, in all processes together, and those on their way in messages
//! bytes_written = "10M"       # into files and the standard streams, in all
//! cpu = "5s"                  # processor time of all together
//! wall = "30s"                # time from the start
//! calls_per_second = 10_000   # calls that come faster wait
//! ```
//! Sizes are bytes, or a text with K, M or G; times seconds, or a text with ms, s, m, h, d or w. None can be 0.

use alloc::format;
use alloc::string::{String, ToString};

use toml::de::DeValue;

use crate::error::PolicyError;
use crate::parse::{Reader, Value, unsigned};

/// The section's name.
pub(crate) const KEY: &str = "limits";

/// Least memory of a sandbox, in bytes.
pub const MIN_MEMORY: u64 = 4 << 20;
/// Most memory of a sandbox, in bytes.
pub const MAX_MEMORY: u64 = 256 << 30;
/// Most of what is counted: beyond all that a sandbox can have.
const MAX_COUNT: u64 = 1_000_000_000;
/// Longest time, in milliseconds: a hundred years.
const MAX_TIME: u64 = 100 * 366 * 24 * 3600 * 1000;

const SIZES: [(&str, u64); 3] = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)];
/// Longer ones first where one ends as another does.
const TIMES: [(&str, u64); 6] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quota {
    /// Memory of the whole sandbox, in bytes.
    Memory,
    /// Processes alive at once.
    Processes,
    /// Threads alive at once.
    Threads,
    /// Descriptors of all processes.
    OpenFiles,
    /// Bytes written to files and standard streams.
    BytesWritten,
    /// Processor time, in milliseconds.
    Cpu,
    /// Time from the start, in milliseconds.
    Wall,
    /// System calls in each second.
    CallsPerSecond,
}

/// What a quota counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Bytes,
    Things,
    Time,
}

impl Quota {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Memory,
        Self::Processes,
        Self::Threads,
        Self::OpenFiles,
        Self::BytesWritten,
        Self::Cpu,
        Self::Wall,
        Self::CallsPerSecond,
    ];

    /// Its key in a policy.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Threads => "threads",
            Self::OpenFiles => "open_files",
            Self::BytesWritten => "bytes_written",
            Self::Cpu => "cpu",
            Self::Wall => "wall",
            Self::CallsPerSecond => "calls_per_second",
        }
    }

    /// The one with this key.
    #[must_use]
    pub fn by_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quota| quota.key() == key)
    }

    /// What a program sees of the limit when it has been reached.
    #[must_use]
    pub const fn consequence(self) -> &'static str {
        match self {
            Self::Memory => "what takes more fails with ENOMEM or ENOSPC",
            Self::Processes | Self::Threads => "further ones fail with EAGAIN",
            Self::OpenFiles => "further ones fail with ENFILE",
            Self::BytesWritten => "further ones fail with EDQUOT",
            Self::Cpu | Self::Wall => "the sandbox ends",
            Self::CallsPerSecond => "what comes faster waits",
        }
    }

    /// An amount with its unit, as people read it and policies write it.
    #[must_use]
    pub fn amount(self, amount: u64) -> String {
        let units: &[(&str, u64)] = match self.unit() {
            Unit::Things => return format!("{amount}"),
            Unit::Bytes => &SIZES,
            Unit::Time => &TIMES,
        };
        let whole = units.iter().rev().find(|(_, unit)| amount >= *unit && amount.is_multiple_of(*unit));
        whole.map_or_else(|| format!("{amount}"), |(name, unit)| format!("{}{name}", amount / unit))
    }

    /// Its line in `[limits]`.
    #[must_use]
    pub fn setting(self, amount: u64) -> String {
        let (key, stated) = (self.key(), self.amount(amount));
        if stated.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("{key} = {stated}")
        } else {
            format!("{key} = \"{stated}\"")
        }
    }

    const fn unit(self) -> Unit {
        match self {
            Self::Memory | Self::BytesWritten => Unit::Bytes,
            Self::Cpu | Self::Wall => Unit::Time,
            Self::Processes | Self::Threads | Self::OpenFiles | Self::CallsPerSecond => Unit::Things,
        }
    }

    const fn wanted(self) -> &'static str {
        match self.unit() {
            Unit::Bytes => "a number of bytes, or a text such as \"64M\" (K, M, G)",
            Unit::Things => "a number",
            Unit::Time => "seconds, or a text such as \"30s\" (units ms, s, m, h, d, w)",
        }
    }

    const fn range(self) -> (u64, u64) {
        match self {
            Self::Memory => (MIN_MEMORY, MAX_MEMORY),
            Self::BytesWritten => (1, i64::MAX.cast_unsigned()),
            Self::Cpu | Self::Wall => (1, MAX_TIME),
            Self::Processes | Self::Threads | Self::OpenFiles | Self::CallsPerSecond => (1, MAX_COUNT),
        }
    }
}

/// The limits of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// By the order of [`Quota::ALL`]: the amount, and where it stands (file and line).
    stated: [Option<(u64, String)>; Quota::ALL.len()],
}

impl Quotas {
    /// A limit, if there is one.
    #[must_use]
    pub fn get(&self, quota: Quota) -> Option<u64> {
        self.slot(quota).map(|(amount, _)| *amount)
    }

    /// Where a limit stands, as `[limits] p.toml:3`.
    #[must_use]
    pub fn place(&self, quota: Quota) -> Option<String> {
        self.slot(quota).map(|(_, place)| format!("[limits] {place}"))
    }

    /// A limit in a policy's words with its place, as `[limits] p.toml:3: processes 16`.
    #[must_use]
    pub fn describe(&self, quota: Quota) -> Option<String> {
        let amount = quota.amount(self.get(quota)?);
        Some(format!("{}: {} {amount}", self.place(quota)?, quota.key()))
    }

    /// Those that are stated.
    pub fn all(&self) -> impl Iterator<Item = (Quota, u64)> {
        Quota::ALL.into_iter().filter_map(|quota| Some((quota, self.get(quota)?)))
    }

    fn slot(&self, quota: Quota) -> Option<&(u64, String)> {
        Quota::ALL.into_iter().zip(&self.stated).find(|(known, _)| *known == quota)?.1.as_ref()
    }

    /// Takes from a file that is included what is not stated yet.
    pub(crate) fn lay_under(&mut self, other: Self) {
        for (own, other) in self.stated.iter_mut().zip(other.stated) {
            *own = own.take().or(other);
        }
    }
}

impl Reader<'_, '_> {
    pub(crate) fn quotas(&self, value: &Value<'_>) -> Result<Quotas, PolicyError> {
        let table = self.table(value, KEY, "a table (`[limits]`)")?;
        self.only_known_keys(table, &Quota::ALL.map(Quota::key), "`[limits]`")?;
        let mut quotas = Quotas::default();
        for (quota, slot) in Quota::ALL.into_iter().zip(&mut quotas.stated) {
            if let Some(value) = table.get(quota.key()) {
                let place = self.source.shown(value.span().start).to_string();
                *slot = Some((self.quota(value, quota)?, place));
            }
        }
        Ok(quotas)
    }

    fn quota(&self, value: &Value<'_>, quota: Quota) -> Result<u64, PolicyError> {
        let (key, wanted, (least, most)) = (quota.key(), quota.wanted(), quota.range());
        let refuse = |why: String| self.source.error(&value.span(), why);
        let amount = match (value.get_ref(), quota.unit()) {
            (DeValue::Integer(number), Unit::Time) => unsigned(number).map(|number| number.saturating_mul(1000)),
            (DeValue::Integer(number), _) => unsigned(number),
            (DeValue::String(text), Unit::Bytes) => with_unit(text, &SIZES),
            (DeValue::String(text), Unit::Time) => with_unit(text, &TIMES),
            (other, _) => return Err(self.wrong_type(value, key, wanted, other)),
        };
        let amount = amount.ok_or_else(|| refuse(format!("`{key}` must be {wanted}")))?;
        match amount {
            0 => Err(refuse(format!("`{key}` cannot be 0; leave it out if there is to be no limit"))),
            amount if amount < least || amount > most => {
                let (least, most) = (quota.amount(least), quota.amount(most));
                Err(refuse(format!("`{key}` must be from {least} to {most}")))
            }
            amount => Ok(amount),
        }
    }
}

/// A time as policies write it: digits and a unit.
#[must_use]
pub fn milliseconds(text: &str) -> Option<u64> {
    with_unit(text, &TIMES)
}

/// The number that digits with a unit behind them stand for.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, unit) = units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok())??;
    number.checked_mul(unit)
}
