//! `[network]`: which addresses a program may connect to, bind and listen at. What the section does not list is denied, whatever rules say; what it
//! lists goes on to the rules.
//!
//! ```toml
//! [network]
//! connect = ["127.0.0.0/8:80", "unix:/run/**"]   # patterns of addresses; a list that is left out is empty
//! bind = ["127.0.0.1:8000-8999"]
//! listen = ["127.0.0.1:8000-8999"]
//! action = { errno = "EACCES" }                  # what is done with the others; this is also what holds if it is left out
//! ```
//! `connect` is also for what is sent to an address (`sendto`, `sendmsg`, `sendmmsg`). To undo a connection (AF_UNSPEC) is always allowed, and so are calls
//! that name no address: they go where an earlier one was allowed to. A pair of sockets (`socketpair`) leads nowhere else.
//!
//! `listen` names no address: without a list it is denied, and with one the root is asked about the address that the socket has
//! ([`Policy::may_listen`]), or, if it has none yet, about 0.0.0.0 or `::` with the port 0.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use linux_raw_sys::general::{__NR_bind, __NR_connect, __NR_listen, __NR_sendmmsg, __NR_sendmsg, __NR_sendto};
use toml::de::DeValue;

use crate::Action;
use crate::action::ActionText;
use crate::address::{AddressSet, SocketAddress};
use crate::compile::FileCompiler;
use crate::errno::EACCES;
use crate::error::PolicyError;
use crate::parse::{Placed, Reader, Value};
use crate::table::{By, Condition, Policy, Rule, Rules, Verdict};

/// The section's name.
pub(crate) const KEY: &str = "network";

const KEYS: &[&str] = &["connect", "bind", "listen", "action"];
const UNCONNECT: &str = "AF_UNSPEC";
const DESTINATIONS: [u32; 4] = [__NR_connect, __NR_sendto, __NR_sendmsg, __NR_sendmmsg];

/// The section's text.
pub(crate) struct NetworkText {
    pub(crate) span: Range<usize>,
    pub(crate) connect: Vec<Placed<String>>,
    pub(crate) bind: Vec<Placed<String>>,
    pub(crate) listen: Vec<Placed<String>>,
    pub(crate) action: ActionText,
}

/// What is left of the section for calls that name no address.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// The rule that it is.
    rule: u16,
    /// Where a socket may listen.
    listen: AddressSet,
}

impl NetworkText {
    /// All its patterns.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = &Placed<String>> {
        self.connect.iter().chain(&self.bind).chain(&self.listen)
    }
}

impl Reader<'_, '_> {
    pub(crate) fn network(&self, value: &Value<'_>) -> Result<NetworkText, PolicyError> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.wrong_type(value, KEY, "a section (`[network]`)", value.get_ref()));
        };
        self.only_known_keys(table, KEYS, "`[network]`")?;
        let list = |key: &str| match table.get(key) {
            Some(value) if value.get_ref().as_array().is_some_and(|array| array.is_empty()) => Ok(Vec::new()),
            Some(value) => self.patterns(value, key),
            None => Ok(Vec::new()),
        };
        let action = match table.get("action") {
            Some(value) => self.denial(value)?,
            None => ActionText::plain(Action::Errno(EACCES)),
        };
        Ok(NetworkText {
            span: value.span(),
            connect: list("connect")?,
            bind: list("bind")?,
            listen: list("listen")?,
            action,
        })
    }

    /// An action that does not carry the call out.
    pub(crate) fn denial(&self, value: &Value<'_>) -> Result<ActionText, PolicyError> {
        let action = self.action(value, "action")?;
        match action.action {
            Action::Errno(_) | Action::Kill => Ok(action),
            _ => Err(self
                .source
                .error(&value.span(), "what is not allowed here can only fail ({ errno = \"EACCES\" }) or \"kill\"")),
        }
    }
}

impl FileCompiler<'_, '_, '_> {
    /// Adds the section to the rules, before all that a file says.
    pub(crate) fn network(&mut self, text: NetworkText, rules: &mut Vec<Rule>) -> Result<Network, PolicyError> {
        let index = u16::try_from(rules.len()).unwrap_or(u16::MAX);
        let (everywhere, connected) =
            (self.addresses(&text.connect, &[])?, self.addresses(&text.connect, &[UNCONNECT])?);
        for call in DESTINATIONS {
            let set = if call == __NR_connect { connected } else { everywhere };
            let elsewhere = Condition::Address { set, negated: true, destination: true };
            self.clause(index, (call, &text.span), &[elsewhere])?;
        }
        let set = self.addresses(&text.bind, &[])?;
        let elsewhere = Condition::Address { set, negated: true, destination: false };
        self.clause(index, (__NR_bind, &text.span), &[elsewhere])?;
        if text.listen.is_empty() {
            self.clause(index, (__NR_listen, &text.span), &[])?;
        }
        let listen = self.address_set(&text.listen, &[])?;
        rules.push(self.section(By::Network, text.action, &text.span));
        Ok(Network { rule: index, listen })
    }
}

/// Whether this is the call upon which [`Policy::may_listen`] is asked.
#[must_use]
pub fn is_listen(number: u64) -> bool {
    number == u64::from(__NR_listen)
}

impl Policy {
    /// The rules about the call upon which [`Policy::may_listen`] is asked.
    #[must_use]
    pub fn about_listen(&self) -> Rules<'_> {
        self.about(__NR_listen.into())
    }

    /// What the policy says to a socket that is to listen at this `struct sockaddr`. `None`: it may.
    #[must_use]
    pub fn may_listen(&self, address: &[u8]) -> Option<Verdict<'_>> {
        let network = self.network.as_ref()?;
        let is_listed = SocketAddress::read(address).is_some_and(|address| network.listen.matches(address));
        (!is_listed).then(|| self.verdict(network.rule))
    }
}
