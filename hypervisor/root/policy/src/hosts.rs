//! `[hosts]`: what names of hosts in address patterns stand for.
//!
//! ```toml
//! [hosts]
//! "example.org" = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]
//! ```
//! The root resolves no names. A policy either has this section, and then every name has to be in it; or whoever reads the policy for
//! the root asks its own resolver for [`names`] and adds the section.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use toml::de::DeValue;

use crate::address::{Hosts, host_of};
use crate::error::{PolicyError, Source};
use crate::limits;
use crate::network::NetworkText;
use crate::parse::{self, PolicyText, Reader, TestText, Value};

/// The section's name.
pub(crate) const KEY: &str = "hosts";

impl Reader<'_, '_> {
    pub(crate) fn hosts(&self, value: &Value<'_>) -> Result<Hosts, PolicyError> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong_type(value, KEY, "a section (`[hosts]`)", value.get_ref()));
        };
        if table.len() > limits::MAX_HOSTS {
            let message = format!("more than {} names of hosts", limits::MAX_HOSTS);
            return Err(self.source.error(&value.span(), message));
        }
        let host = |name: &str, list: &Value<'_>| {
            let array = self.array(list, name, "an array of addresses")?;
            if let Some(beyond) = array.get(limits::MAX_HOST_ADDRESSES) {
                let message = format!("more than {} addresses of one host", limits::MAX_HOST_ADDRESSES);
                return Err(self.source.error(&beyond.span(), message));
            }
            let addresses = array.iter().map(|entry| {
                let text = self.string(entry, name, "an array of addresses")?;
                let wrong = |_| self.source.error(&entry.span(), "this is no address of IPv4 or IPv6");
                text.parse::<IpAddr>().map_err(wrong)
            });
            Ok((name.to_string(), addresses.collect::<Result<Vec<_>, _>>()?))
        };
        table.iter().map(|(name, list)| host(name.get_ref(), list)).collect()
    }
}

/// The names of hosts in a policy's patterns that it does not say the addresses of itself: each once. None of a text that is no policy, whose
/// error [`crate::parse`] gives.
#[must_use]
pub fn names(text: &str) -> Vec<String> {
    let source = Source::new("", text.as_bytes());
    match parse::read(&source, text) {
        Ok(PolicyText { hosts: None, rules, network, .. }) => {
            let conditions = rules.iter().flat_map(|rule| &rule.conditions);
            let patterns = conditions.flat_map(|condition| match &condition.test {
                TestText::Address(text) => text.patterns.as_slice(),
                _ => &[],
            });
            let patterns = patterns.chain(network.iter().flat_map(NetworkText::patterns));
            let mut names: Vec<String> =
                patterns.filter_map(|pattern| host_of(&pattern.value)).map(str::to_ascii_lowercase).collect();
            names.sort_unstable();
            names.dedup();
            names
        }
        _ => Vec::new(),
    }
}

/// A policy's text with `[hosts]` at its end: for what [`names`] asks for.
#[must_use]
pub fn with(text: &str, hosts: &[(String, Vec<IpAddr>)]) -> String {
    let mut text = format!("{text}\n[{KEY}]\n");
    for (name, addresses) in hosts {
        let addresses: Vec<String> =
            addresses.iter().take(limits::MAX_HOST_ADDRESSES).map(|address| format!("\"{address}\"")).collect();
        text.push_str(&format!("\"{name}\" = [{}]\n", addresses.join(", ")));
    }
    text
}
