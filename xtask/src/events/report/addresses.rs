//! The socket addresses that a run named.
use crate::events::data::Bytes;
use crate::events::event::Call;
use std::collections::BTreeMap;

/// Different addresses that are kept.
const MAX_ADDRESSES: usize = 1000;

/// What was done with which address.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// By address in the words of policies, and by call: how often it went well, and how often not.
    pub(super) uses: BTreeMap<String, BTreeMap<String, (u64, u64)>>,
    /// Uses of addresses for which there was no room.
    pub(super) more: u64,
}

impl Addresses {
    /// Takes notice of a call that has come back.
    pub(super) fn call(&mut self, call: &Call, failed: bool) {
        for data in &call.data {
            let [Bytes::Address(address)] = data.bytes.as_slice() else { continue };
            if self.uses.len() >= MAX_ADDRESSES && !self.uses.contains_key(address) {
                self.more += 1;
                continue;
            }
            let (well, not) = self.uses.entry(address.clone()).or_default().entry(call.title()).or_default();
            *(if failed { not } else { well }) += 1;
        }
    }
}
