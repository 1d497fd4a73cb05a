//! What of a policy cannot change while programs run under it.

use crate::Policy;
use crate::quotas::Quota;

impl Policy {
    /// The part in which this policy cannot take the place of the one that programs were started under: what they are, what they have of the host and of memory, what of files'
    /// names is kept, and by which bits taints are in force. As a message names it.
    #[must_use]
    pub fn fixed_part_unlike(&self, first: &Self) -> Option<&'static str> {
        let keeps_names = first.restricts_files() || first.has_tainting_files();
        let memory = |policy: &Self| policy.quotas().get(Quota::Memory);
        let changed = [
            ("[process]", self.process() != first.process()),
            ("[root]` or `[[bind]]", self.mounts() != first.mounts()),
            ("memory` in `[limits]", memory(self) != memory(first)),
            ("[[files]]", self.restricts_files() && !keeps_names),
            ("paths`, `rights`, `calls` or `when` of a `[[taint]]", !self.same_triggers(first)),
        ];
        changed.into_iter().find(|(_, changed)| *changed).map(|(part, _)| part)
    }
}
