//! The `SystemCallFilter=` lines of a systemd unit (systemd.exec(5)).
//!
//! The first line says whether calls are listed that may be made, or, with `~`, that may not. Later lines add to the list
//! or take from it. A list of what may be made always has `@default` in it.
mod unit;

use super::Native;
use super::native::{self, Action, Origin, Rule, Translation};
use policy::errno::Errno;
use policy::groups::Group;
use std::collections::BTreeMap;
use unit::{Assignment, Files, Places};

const FILTER: &str = "SystemCallFilter";
const ERROR: &str = "SystemCallErrorNumber";

/// What is known while the lines are read.
#[derive(Default)]
struct Lists {
    /// Whether the list is of what may be made; unknown before the first line.
    allows: Option<bool>,
    /// What was said last about each call.
    calls: BTreeMap<&'static str, Said>,
    /// What is not allowed ends with this; else the process ends (systemd.exec(5), SystemCallErrorNumber).
    error: Option<Action>,
}

/// What an entry of a line says about a call.
#[derive(Clone)]
struct Said {
    is_listed: bool,
    /// The error that the entry names (`name:EPERM`).
    error: Option<Action>,
    origin: Origin,
    /// The group that the call is of, if the entry is one.
    reason: Option<String>,
}

/// Sections by which a unit is known that has no filter.
const SECTIONS: [&str; 6] = ["[Unit]", "[Service]", "[Socket]", "[Mount]", "[Swap]", "[Install]"];
/// What settings begin with by which a unit keeps its programs from something, or says as whom and where they run (systemd.exec(5), systemd.resource-control(5)).
const OTHERS: [&str; 38] = [
    "AmbientCapabilities",
    "AppArmorProfile",
    "BindPaths",
    "BindReadOnlyPaths",
    "CPUQuota",
    "CapabilityBoundingSet",
    "Device",
    "DynamicUser",
    "Environment",
    "ExecPaths",
    "Group",
    "IPAddress",
    "InaccessiblePaths",
    "KeyringMode",
    "Limit",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "MemoryHigh",
    "MemoryMax",
    "NoExecPaths",
    "NoNewPrivileges",
    "Private",
    "Protect",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "RemoveIPC",
    "Restrict",
    "RootDirectory",
    "RootImage",
    "SELinuxContext",
    "SecureBits",
    "SocketBind",
    "SupplementaryGroups",
    "SystemCallArchitectures",
    "SystemCallLog",
    "TasksMax",
    "TemporaryFileSystem",
    "UMask",
];
/// The same, as whole names.
const WORDS: [&str; 2] = ["User", "WorkingDirectory"];

/// Whether somebody may count on a setting that does not apply here.
fn is_missed(key: &str) -> bool {
    WORDS.contains(&key) || OTHERS.iter().any(|begin| key.starts_with(begin))
}

/// Whether a text looks like a unit file.
pub(super) fn is_one(text: &str) -> bool {
    let is_section = |line: &&str| SECTIONS.contains(&line.trim());
    has_filter(text) || text.lines().any(|line| is_section(&line))
}

fn has_filter(text: &str) -> bool {
    unit::assignments(text, &Files::of("", text)).iter().any(|assignment| assignment.key == FILTER)
}

/// Translates the lines. Errors begin with file, line and column.
pub(super) fn to_native(name: &str, text: &str) -> Result<Native, String> {
    let files = Files::of(name, text);
    let assignments = unit::assignments(text, &files);
    let Some(first) = assignments.iter().find(|assignment| assignment.key == FILTER) else {
        return Err(format!("{name}:1:1: this unit has no `{FILTER}=` line: there is no policy in it"));
    };
    let places = Places::of(files, text);
    let (mut lists, mut notes, mut named, mut missed) = (Lists::default(), Vec::new(), Vec::new(), Vec::new());
    if places.files.are_named() {
        notes.push("this is what `systemctl cat` prints: lines are those of the files that it names".to_owned());
    }
    for assignment in &assignments {
        let place = || places.shown(assignment.key);
        match assignment.key {
            FILTER => lists.filter(assignment, &places)?,
            ERROR => lists.error_number(&assignment.value()).map_err(|why| format!("{}: {why}", place()))?,
            other if is_missed(other) && !named.contains(&other) => {
                named.push(other);
                missed.push(format!("{other} ({})", places.line(other)));
            }
            _ => {}
        }
    }
    if !missed.is_empty() {
        notes.push(format!("of a unit only {FILTER} and {ERROR} count; these are ignored: {}", missed.join(", ")));
    }
    let (default, rules) = lists.rules();
    let names = &places.files.names;
    let default = (default, places.origin(first.key));
    let kind = "a systemd unit's SystemCallFilter";
    let native = Translation { kind, names, default, rules: &rules, sections: &[] }.write();
    Ok(Native { notes, ..native })
}

impl Lists {
    fn filter(&mut self, assignment: &Assignment<'_>, places: &Places<'_>) -> Result<(), String> {
        let mut words = assignment.words().peekable();
        let Some(first) = words.peek().copied() else {
            (self.allows, self.calls) = (None, BTreeMap::new());
            return Ok(());
        };
        let inverted = first.starts_with('~');
        if self.allows.is_none() {
            self.allows = Some(!inverted);
            if !inverted {
                let reason = Some("@default, which is in every list of what is allowed".to_owned());
                let said = Said { is_listed: true, error: None, origin: places.origin(assignment.key), reason };
                self.add("@default", &said)?;
            }
        }
        let adds = self.allows == Some(!inverted);
        for word in words {
            let entry = if std::ptr::eq(word, first) { word.strip_prefix('~').unwrap_or(word) } else { word };
            let refuse = |why: String| format!("{}: {why}", places.shown(entry));
            let (name, error) = match entry.split_once(':') {
                Some((name, error)) => (name, Some(error_action(error).map_err(refuse)?)),
                None => (entry, None),
            };
            let sign = if inverted { "~" } else { "" };
            let reason = name.starts_with('@').then(|| format!("{sign}{name}"));
            let said = Said { is_listed: adds || error.is_some(), error, origin: places.origin(entry), reason };
            self.add(name, &said).map_err(refuse)?;
        }
        Ok(())
    }

    fn add(&mut self, name: &str, said: &Said) -> Result<(), String> {
        self.calls.extend(members(name)?.into_iter().map(|call| (call, said.clone())));
        Ok(())
    }

    fn error_number(&mut self, value: &str) -> Result<(), String> {
        self.error = if value.is_empty() { None } else { Some(error_action(value)?) };
        Ok(())
    }

    /// What is done with calls that no line names, and the rules about the others: calls of one line and group share theirs.
    fn rules(self) -> (Action, Vec<Rule>) {
        let denied = self.error.unwrap_or(Action::KillProcess);
        let (default, listed) =
            if self.allows == Some(true) { (denied, Action::Allow) } else { (Action::Allow, denied) };
        let mut rules: Vec<Rule> = Vec::new();
        for (call, Said { is_listed, error, origin, reason }) in self.calls {
            let action = error.unwrap_or(if is_listed { listed } else { default });
            let line = |origin: Origin| (origin.file, origin.place.line);
            let is_same =
                |rule: &&mut Rule| rule.action == action && line(rule.origin) == line(origin) && rule.reason == reason;
            match rules.iter_mut().find(is_same) {
                Some(rule) => rule.calls.push(call),
                None => rules.push(Rule { calls: vec![call], action, conditions: Vec::new(), origin, reason }),
            }
        }
        rules.sort_by_key(|rule| rule.origin);
        (default, rules)
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
        let policy = parse("p", &to_native("u", lines).unwrap().text).unwrap();
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
        let nothing = to_native("u", "\nSystemCallFilter=@nothing\n").unwrap_err();
        assert_eq!(nothing, "u:2:18: `@nothing` is no group of systemd's");
        let error = to_native("u", "SystemCallFilter=x \\\n y\nSystemCallErrorNumber=ENO\n").unwrap_err();
        assert_eq!(error, "u:3:1: `ENO` is no error of Linux");
        assert!(is_one("SystemCallFilter=x") && !is_one("#SystemCallFilter=x") && is_one("[Unit]\n"));
        assert!(
            to_native("u", "[Unit]\nDescription=x\n")
                .unwrap_err()
                .starts_with("u:1:1: this unit has no `SystemCallFilter=`")
        );
    }

    #[test]
    fn lines_go_on_behind_a_backslash() {
        let lines = "[Service]\nSystemCallFilter=~chroot \\\n# a comment between\n  mount:EACCES \\\n  reboot\nRestrictRealtime=yes\nExecStart=/x\nProtectSystem=strict\nUser=a\nUser=b\n";
        for (call, expected) in
            [("chroot", "KillProcess"), ("mount", "EACCES"), ("reboot", "KillProcess"), ("read", "Allow")]
        {
            assert_eq!(verdict(lines, call), expected, "{call}");
        }
        assert_eq!(
            to_native("u", lines).unwrap().notes,
            [
                "of a unit only SystemCallFilter and SystemCallErrorNumber count; these are ignored: RestrictRealtime (line 6), ProtectSystem (line 8), User (line 9)"
            ]
        );
    }

    /// What a verdict says of the rule.
    fn rules(name: &str, text: &str, calls: &[&str]) -> Vec<String> {
        let native = to_native(name, text).unwrap_or_else(|why| panic!("{why}"));
        let origins = policy::Origins { parts: &native.origins, files: &native.origin_files, translated: true };
        let file = policy::File { origins, ..policy::File::new(name, &native.text) };
        let policy = policy::parse_files(&[file]).unwrap_or_else(|error| panic!("{error}\n{}", native.text));
        let number = |call: &str| proto::syscalls::by_name(call).unwrap().number.into();
        calls.iter().map(|call| policy.judge(number(call), &[0; 6]).rule().to_string()).collect()
    }

    #[test]
    fn verdicts_name_the_line_and_the_group() {
        let unit = "[Service]\nSystemCallFilter=@basic-io chown \\\n mount\nSystemCallFilter=~@chown dup:ENOSYS\n";
        let found = rules("x/u.service", unit, &["read", "mount", "chown", "dup", "execve", "ptrace"]);
        let expected = [
            "rule u.service:2: @basic-io",
            "rule u.service:3",
            "rule u.service:4: ~@chown",
            "rule u.service:4",
            "rule u.service:2: @default, which is in every list of what is allowed",
            "default",
        ];
        assert_eq!(found, expected);
        let found = rules("u", "SystemCallFilter=~@chown\nSystemCallFilter=chown\n", &["fchown", "chown", "read"]);
        assert_eq!(found, ["rule u:1: ~@chown", "rule u:2", "default"]);
    }

    const PRINTED: &str = "# /lib/systemd/system/x.service
[Service]
# /etc/systemd/system/x.service
SystemCallFilter=@system-service \\

# /etc/systemd/system/x.service.d/a.conf
# /etc/hosts
[Service]
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
";

    #[test]
    fn lines_of_what_systemctl_cat_prints_are_those_of_its_files() {
        let calls = ["read", "chroot", "dup"];
        let found = rules("dir/printed", PRINTED, &calls);
        let drop_in = "/etc/systemd/system/x.service.d/a.conf";
        assert_eq!(found[1], format!("rule {drop_in}:3: ~@privileged"));
        assert_eq!(found[0], "rule /lib/systemd/system/x.service:3: @system-service");
        let notes = to_native("printed", PRINTED).unwrap().notes;
        assert!(notes[0].starts_with("this is what `systemctl cat` prints"), "{notes:?}");
        let error = to_native("printed", &PRINTED.replace("~@", "@x")).unwrap_err();
        assert!(error.starts_with(&format!("{drop_in}:3:18: ")), "{error}");
        // A unit that only has such comments is a file of its own.
        let found = rules("dir/x.service", &PRINTED.replacen("# /lib", "#  /lib", 1), &calls);
        assert_eq!(found[1], "rule x.service:9: ~@privileged");
    }

    #[test]
    fn files_that_are_more_than_can_be_named_are_lines_of_the_whole() {
        let mut text = String::from("# /a/x.service\n[Service]\nSystemCallFilter=read\n");
        for number in 0..300 {
            text += &format!("\n# /a/x.service.d/{number}.conf\nSystemCallFilter=write\n");
        }
        assert_eq!(rules("u", &text, &["read", "write"]), ["rule /a/x.service:2", "rule u:903"]);
        let named = text.replace("299.conf", "x\u{1b}[31m.conf");
        assert_eq!(rules("u", &named, &["write"]), ["rule u:903"]);
    }
}
