//! systemd judges whether our groups of calls are its own.
use crate::apt;
use crate::exit::Failure;
use policy::groups::{GROUPS, Group};
use proto::syscalls;
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

/// What the test is called.
pub(super) const NAME: &str = "judge: systemd's groups of calls are ours";

/// Compares the groups.
pub(super) fn judge() -> Result<Result<(), String>, Failure> {
    let systemd = apt::require("systemd-analyze", "systemd")?;
    let listing = Command::new(systemd).arg("syscall-filter").stdin(Stdio::null()).output();
    let verdict = listing.map_err(|error| error.to_string());
    Ok(verdict.and_then(|output| same_groups(&String::from_utf8_lossy(&output.stdout))))
}

/// Whether the groups that `systemd-analyze syscall-filter` prints hold the same calls of x86-64 as ours.
fn same_groups(listing: &str) -> Result<(), String> {
    let theirs = groups_of(listing);
    let names: BTreeSet<&str> = theirs.keys().copied().collect();
    let ours: BTreeSet<&str> = GROUPS.iter().map(|group| group.name).collect();
    if names != ours {
        return Err(format!("systemd has the groups {names:?}"));
    }
    for (name, entries) in &theirs {
        let expected = members(entries, &theirs);
        let found = Group::by_name(name).into_iter().flat_map(Group::members).map(|call| call.name).collect();
        if expected != found {
            let difference: Vec<&&str> = expected.symmetric_difference(&found).collect();
            return Err(format!("{name}: only one of both has {difference:?}"));
        }
    }
    Ok(())
}

/// The listing's groups with their entries. A group's name stands at the start of a line, its entries are indented.
fn groups_of(listing: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut current = "";
    for line in listing.lines().filter(|line| !line.trim_start().starts_with('#')) {
        if line.starts_with('@') {
            current = line.trim_end();
            groups.insert(current, Vec::new());
        } else if let Some(entries) = groups.get_mut(current)
            && !line.trim().is_empty()
        {
            entries.push(line.trim());
        }
    }
    groups
}

/// The calls of x86-64 among the entries and those of the groups among them.
fn members<'l>(entries: &[&'l str], groups: &BTreeMap<&str, Vec<&'l str>>) -> BTreeSet<&'l str> {
    let inner = entries.iter().filter_map(|entry| groups.get(entry)).flatten();
    entries.iter().chain(inner).copied().filter(|name| syscalls::by_name(name).is_some()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings() {
        let groups =
            groups_of("@a\n    # Help\n    read\n    @b\n\n@b\n    # Help\n    write\n    vax_only\n# Rest:\n#   x\n");
        assert_eq!(groups["@a"], ["read", "@b"]);
        assert_eq!(members(&groups["@a"], &groups), BTreeSet::from(["read", "write"]));
        assert!(same_groups("").is_err());
    }
}
