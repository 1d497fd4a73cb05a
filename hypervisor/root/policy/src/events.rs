//! `[events]`: what happens where what is recorded of a program cannot be written as fast as it is made.
//! ```toml
//! [events]
//! when_full = "slow"      # the program waits; "drop": it goes on, and what is missing is counted and told
//! ```
//! Of several files the first that says so holds. Without, it is `"slow"`.

use alloc::format;

use toml::de::DeValue;

use crate::error::PolicyError;
use crate::origin::{Place, Spot};
use crate::parse::{Reader, Value};
use crate::table::Policy;

pub(crate) const KEY: &str = "events";

const KEYS: &[&str] = &["when_full"];

/// What happens when the way of the events to the host is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The program waits.
    #[default]
    Slow,
    /// Events are left out, and their number is told.
    Drop,
}

impl WhenFull {
    /// As a policy has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Drop => "drop",
        }
    }
}

/// The section's text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventsText {
    pub(crate) when_full: Option<WhenFull>,
    pub(crate) spot: Spot,
}

/// The section that holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Events {
    pub(crate) when_full: WhenFull,
    pub(crate) spot: Spot,
}

impl Reader<'_, '_> {
    pub(crate) fn events(&self, value: &Value<'_>) -> Result<EventsText, PolicyError> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong_type(value, KEY, "a section (`[events]`)", value.get_ref()));
        };
        self.only_known_keys(table, KEYS, "`[events]`")?;
        let when_full = table.get("when_full").map(|value| self.when_full(value)).transpose()?;
        Ok(EventsText { when_full, spot: self.source.spot(value.span().start) })
    }

    fn when_full(&self, value: &Value<'_>) -> Result<WhenFull, PolicyError> {
        let text = self.string(value, "when_full", "\"slow\" or \"drop\"")?;
        let all = [WhenFull::Slow, WhenFull::Drop];
        all.into_iter().find(|known| known.name() == text).ok_or_else(|| {
            let message = format!("`when_full` is \"slow\" (the program waits) or \"drop\" (events are left out and counted), not \"{text}\"");
            self.source.error(&value.span(), message)
        })
    }
}

impl Policy {
    /// What happens when the way of the events to the host is full.
    #[must_use]
    pub fn when_full(&self) -> WhenFull {
        self.events.map_or(WhenFull::default(), |events| events.when_full)
    }

    /// Where the `[events]` stands that says so, if one does.
    #[must_use]
    pub fn events_place(&self) -> Option<Place<'_>> {
        self.events.map(|events| self.place(events.spot))
    }
}
