//! The `SystemCallFilter=` lines of a systemd unit (systemd.exec(5)).
//!
//! The first line says whether calls are listed that may be made, or, with `~`, that may not. Later lines add to the list
//! or take from it. A list of what may be made always has `@default` in it.
use super::native::{self, Action, Rule};
use policy::errno::Errno;
use policy::groups::Group;
use std::collections::BTreeMap;

const FILTER: &str = "SystemCallFilter";
const ERROR: &str = "SystemCallErrorNumber";

/// What is known while the lines are read.
#[derive(Default)]
struct Lists {
    /// Whether the list is of what may be made; unknown before the first line.
    allows: Option<bool>,
    /// The calls, with the error that an entry names (`name:EPERM`).
    calls: BTreeMap<&'static str, Option<Action>>,
    /// What is not allowed ends with this; else the process ends (systemd.exec(5), SystemCallErrorNumber).
    error: Option<Action>,
}

/// Sections by which a unit is known that has no filter.
const SECTIONS: [&str; 6] = ["[Unit]", "[Service]", "[Socket]", "[Mount]", "[Swap]", "[Install]"];
/// Further settings by which a unit keeps its programs from something.
const OTHERS: [&str; 14] = [
    "SystemCallArchitectures",
    "SystemCallLog",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "RestrictFileSystems",
    "MemoryDenyWriteExecute",
    "LockPersonality",
    "CapabilityBoundingSet",
    "NoNewPrivileges",
    "IPAddressDeny",
    "IPAddressAllow",
    "ProtectKernelModules",
];

/// Whether a text looks like a unit file.
pub(super) fn is_one(text: &str) -> bool {
    let is_section = |line: &&str| SECTIONS.contains(&line.trim());
    has_filter(text) || text.lines().any(|line| is_section(&line))
}

fn has_filter(text: &str) -> bool {
    lines(text).iter().any(|(_, line)| assignment(line).is_some_and(|(key, _)| key == FILTER))
}

/// Translates the lines. Also says what of the file does not apply. Errors begin with line and column.
pub(super) fn to_native(text: &str) -> Result<(String, Vec<String>), String> {
    if !has_filter(text) {
        return Err(format!("1:1: this unit has no `{FILTER}=` line: there is no policy in it"));
    }
    let (mut lists, mut notes) = (Lists::default(), Vec::new());
    for (line, content) in lines(text) {
        let result = match assignment(&content) {
            Some((FILTER, value)) => lists.filter(value),
            Some((ERROR, value)) => lists.error_number(value),
            Some((other, _)) if OTHERS.contains(&other) => {
                notes.push(format!("line {line}: {other}: does not apply, and is ignored"));
                Ok(())
            }
            _ => Ok(()),
        };
        result.map_err(|error| format!("{line}:1: {error}"))?;
    }
    Ok((lists.native(), notes))
}

/// The lines with their numbers. One that ends with a backslash goes on in the next that is no comment (systemd.syntax(7)).
fn lines(text: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in (1..).zip(text.lines()) {
        if is_comment(line) {
            continue;
        }
        let (content, more) = line.strip_suffix('\\').map_or((line, false), |content| (content, true));
        match all.last_mut().filter(|_| goes_on) {
            Some((_, begun)) => *begun += &format!(" {content}"),
            None => all.push((number, content.to_owned())),
        }
        goes_on = more;
    }
    all
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with(['#', ';'])
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    line.split_once('=').map(|(key, value)| (key.trim(), value.trim()))
}

impl Lists {
    fn filter(&mut self, value: &str) -> Result<(), String> {
        if value.is_empty() {
            (self.allows, self.calls) = (None, BTreeMap::new());
            return Ok(());
        }
        let (inverted, names) = value.strip_prefix('~').map_or((false, value), |names| (true, names));
        if self.allows.is_none() {
            self.allows = Some(!inverted);
            if !inverted {
                self.add("@default", None)?;
            }
        }
        let adds = self.allows == Some(!inverted);
        for entry in names.split_whitespace() {
            let (name, action) = match entry.split_once(':') {
                Some((name, error)) => (name, Some(error_action(error)?)),
                None => (entry, None),
            };
            if adds || action.is_some() {
                self.add(name, action)?;
            } else {
                for call in members(name)? {
                    self.calls.remove(call);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str, action: Option<Action>) -> Result<(), String> {
        self.calls.extend(members(name)?.into_iter().map(|call| (call, action)));
        Ok(())
    }

    fn error_number(&mut self, value: &str) -> Result<(), String> {
        self.error = if value.is_empty() { None } else { Some(error_action(value)?) };
        Ok(())
    }

    fn native(self) -> String {
        let denied = self.error.unwrap_or(Action::KillProcess);
        let (default, listed) =
            if self.allows == Some(true) { (denied, Action::Allow) } else { (Action::Allow, denied) };
        let mut rules: Vec<Rule> = Vec::new();
        for (call, action) in self.calls {
            let action = action.unwrap_or(listed);
            match rules.iter_mut().find(|rule| rule.action == action) {
                Some(rule) => rule.calls.push(call),
                None => rules.push(Rule { calls: vec![call], action, conditions: Vec::new() }),
            }
        }
        native::write("Made by `cargo xtask policy convert` from a systemd unit's SystemCallFilter.", default, &rules)
    }
}

/// The error by name or number, or `kill`.
fn error_action(text: &str) -> Result<Action, String> {
    if text == "kill" {
        return Ok(Action::KillProcess);
    }
    let number = Errno::by_name(text).map(|errno| errno.number).or_else(|| text.parse().ok());
    let number = number.filter(|number| (1..=4095).contains(number));
    number.map(Action::Errno).ok_or_else(|| format!("`{text}` is no error of Linux"))
}

/// The calls that a name stands for. One that x86-64 does not have stands for none, as in systemd.
fn members(name: &str) -> Result<Vec<&'static str>, String> {
    if !name.starts_with('@') {
        return Ok(native::known(name).into_iter().collect());
    }
    let group = Group::by_name(name).ok_or_else(|| format!("`{name}` is no group of systemd's"))?;
    Ok(group.members().map(|call| call.name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::{Action as Verdict, parse};

    fn verdict(lines: &str, call: &str) -> String {
        let policy = parse("p", &to_native(lines).unwrap().0).unwrap();
        let number = proto::syscalls::by_name(call).unwrap().number;
        match policy.judge(number.into(), &[0; 6]).action {
            Verdict::Errno(errno) => errno.name.to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn lists_of_what_may_be_made() {
        let lines = "[Service]\nSystemCallFilter=@basic-io chown\nSystemCallFilter=~@chown dup:ENOSYS\nSystemCallErrorNumber=EPERM\n";
        for (call, expected) in
            [("read", "Allow"), ("execve", "Allow"), ("chown", "EPERM"), ("dup", "ENOSYS"), ("mount", "EPERM")]
        {
            assert_eq!(verdict(lines, call), expected, "{call}");
        }
        assert_eq!(verdict("SystemCallFilter=read\n", "mount"), "KillProcess");
    }

    #[test]
    fn lists_of_what_may_not() {
        let lines =
            "# SystemCallFilter=read\n SystemCallFilter = ~@mount vax_only chroot:13\nSystemCallFilter=chroot\n";
        assert_eq!(verdict(lines, "mount"), "KillProcess");
        assert_eq!(verdict(lines, "chroot"), "Allow", "taken from the list again");
        assert_eq!(verdict(lines, "read"), "Allow");
        assert_eq!(verdict("SystemCallFilter=~chroot:13\n", "chroot"), "EACCES");
        assert_eq!(verdict("SystemCallFilter=~chroot\nSystemCallFilter=\n", "chroot"), "Allow");
    }

    #[test]
    fn errors_have_a_place() {
        assert_eq!(to_native("\nSystemCallFilter=@nothing\n").unwrap_err(), "2:1: `@nothing` is no group of systemd's");
        let error = to_native("SystemCallFilter=x \\\n y\nSystemCallErrorNumber=ENO\n").unwrap_err();
        assert_eq!(error, "3:1: `ENO` is no error of Linux");
        assert!(is_one("SystemCallFilter=x") && !is_one("#SystemCallFilter=x") && is_one("[Unit]\n"));
        assert!(
            to_native("[Unit]\nDescription=x\n").unwrap_err().starts_with("1:1: this unit has no `SystemCallFilter=`")
        );
    }

    #[test]
    fn lines_go_on_behind_a_backslash() {
        let lines = "[Service]\nSystemCallFilter=~chroot \\\n# a comment between\n  mount:EACCES \\\n  reboot\nRestrictRealtime=yes\n";
        for (call, expected) in
            [("chroot", "KillProcess"), ("mount", "EACCES"), ("reboot", "KillProcess"), ("read", "Allow")]
        {
            assert_eq!(verdict(lines, call), expected, "{call}");
        }
        assert_eq!(to_native(lines).unwrap().1, ["line 6: RestrictRealtime: does not apply, and is ignored"]);
    }
}
