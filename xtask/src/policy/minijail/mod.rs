//! Policy files of minijail (minijail0(5), and what its `compile_seccomp_policy.py` adds): a line a call, `NAME: FILTER`.
//!
//! What no line names, and what a filter leaves, ends the process unless the file says otherwise. Whole registers are compared.
mod parse;

use super::includes::Includes;
use super::native::{self, Action, Condition, Rule};
use super::text_of_bytes;
use parse::{Atom, Comparison, Filter, Statement};
use std::collections::BTreeMap;

/// Most rules that one filter may come to: `arg0 & X` is a rule for each bit of X.
const MAX_ALTERNATIVES: usize = 64;

/// Whether a text looks like such a file: its first line that says something is `NAME:` or a directive.
pub(super) fn is_one(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(first) = lines.next() else { return false };
    let name = first.split(|character: char| !character.is_ascii_alphanumeric() && character != '_').next();
    let rest = name.map_or("", |name| &first[name.len()..]).trim_start();
    let is_call = name.is_some_and(|name| !name.is_empty()) && rest.starts_with([':', '[']);
    is_call || ["@include", "@frequency", "@default", "@denylist"].iter().any(|word| first.starts_with(word))
}

/// Translates a file. Errors begin with file, line and column.
pub(super) fn to_native(name: &str, text: &str, includes: &mut Includes) -> Result<String, String> {
    let mut policy = Policy { default: Action::KillProcess, denies: false, filters: BTreeMap::new() };
    policy.read(name, text, includes)?;
    let rules = policy.rules()?;
    Ok(native::write("Made by `cargo xtask policy convert` from a policy of minijail's.", policy.default, &rules))
}

/// What the files say.
struct Policy {
    default: Action,
    /// Whether calls are listed that may not be made.
    denies: bool,
    /// By call; with the place of the line.
    filters: BTreeMap<&'static str, (Filter, String)>,
}

impl Policy {
    fn read(&mut self, name: &str, text: &str, includes: &mut Includes) -> Result<(), String> {
        for (place, statement) in parse::statements(text).map_err(|why| format!("{name}:{why}"))? {
            let place = format!("{name}:{place}");
            match statement {
                Statement::Default(action) => self.default = action,
                Statement::DenyList => (self.denies, self.default) = (true, Action::Allow),
                Statement::Include(file) => {
                    let included = includes.enter(&file).map_err(|why| format!("{place}: {why}"))?;
                    let text = text_of_bytes(&included.name, &included.bytes)?;
                    self.read(&included.name, text, includes)?;
                    includes.leave();
                }
                Statement::Call(call, filter) => {
                    if self.denies
                        && !(filter.groups.is_empty()
                            && matches!(filter.otherwise, Some(Action::Errno(_) | Action::KillProcess)))
                    {
                        return Err(format!(
                            "{place}: after `@denylist`, a line is `NAME: return ERROR` or `NAME: kill`"
                        ));
                    }
                    self.add(call, filter, place)?;
                }
            }
        }
        Ok(())
    }

    /// Several lines about a call, in one file or several, are tried in their order; behind one that leaves nothing there is none.
    fn add(&mut self, call: &'static str, filter: Filter, place: String) -> Result<(), String> {
        match self.filters.get_mut(call) {
            Some((Filter { otherwise: Some(_), .. }, earlier)) => {
                return Err(format!("{place}: `{call}` has a line already, which leaves nothing of it: {earlier}"));
            }
            Some((known, _)) => {
                known.groups.extend(filter.groups);
                known.otherwise = filter.otherwise;
            }
            None => drop(self.filters.insert(call, (filter, place))),
        }
        Ok(())
    }

    fn rules(&self) -> Result<Vec<Rule>, String> {
        let mut plain: Vec<Rule> = Vec::new();
        let mut conditional = Vec::new();
        for (call, (filter, place)) in &self.filters {
            let otherwise = filter.otherwise.unwrap_or(self.default);
            let mut conditions = Vec::new();
            for (group, action) in &filter.groups {
                let alternatives = alternatives(group).ok_or_else(|| {
                    format!("{place}: the filter of `{call}` comes to more than {MAX_ALTERNATIVES} rules; write it with fewer flags")
                })?;
                conditions.extend(alternatives.into_iter().map(|all| Rule {
                    calls: vec![*call],
                    action: *action,
                    conditions: all,
                }));
            }
            // What always holds decides the rest.
            let always = conditions.iter().position(|rule| rule.conditions.is_empty());
            let last = always.and_then(|at| conditions.get(at)).map_or(otherwise, |rule| rule.action);
            conditions.truncate(always.unwrap_or(conditions.len()));
            let is_conditional = !conditions.is_empty();
            conditional.extend(conditions);
            match plain.iter_mut().find(|rule| rule.action == last) {
                Some(rule) if !is_conditional => rule.calls.push(call),
                _ if is_conditional => {
                    conditional.push(Rule { calls: vec![*call], action: last, conditions: Vec::new() })
                }
                _ => plain.push(Rule { calls: vec![*call], action: last, conditions: Vec::new() }),
            }
        }
        plain.extend(conditional);
        Ok(plain)
    }
}

/// The sets of conditions of which one must hold so that all atoms do. None: there are too many.
fn alternatives(atoms: &[Atom]) -> Option<Vec<Vec<Condition>>> {
    let mut all: Vec<Vec<Condition>> = vec![Vec::new()];
    for atom in atoms {
        let choices = choices(atom);
        if all.len() * choices.len() > MAX_ALTERNATIVES {
            return None;
        }
        all = all
            .iter()
            .flat_map(|conditions| {
                choices.iter().map(|choice| {
                    let mut conditions = conditions.clone();
                    let is_new = choice.constant().is_none() && !conditions.contains(choice);
                    conditions.extend(is_new.then(|| choice.clone()));
                    conditions
                })
            })
            .collect();
    }
    all.retain(|conditions| !native::never_hold(conditions));
    Some(all)
}

/// The conditions of which one must hold; none if it never does.
fn choices(atom: &Atom) -> Vec<Condition> {
    let condition = |op, value, mask| Condition { argument: atom.argument, op, value, mask };
    let all = match atom.comparison {
        Comparison::Plain(op) => vec![condition(op, atom.value, None)],
        // Any of the flags is set.
        Comparison::AnyOf => {
            let bits = (0..64).map(|bit| 1 << bit).filter(|bit| atom.value & bit != 0);
            bits.map(|bit| condition("masked_eq", bit, Some(bit))).collect()
        }
        // No flag but these is set.
        Comparison::Within => vec![condition("masked_eq", 0, Some(!atom.value))],
    };
    all.into_iter().filter(|condition| condition.constant() != Some(false)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::{Action as Verdict, parse};
    use std::path::Path;

    fn native(text: &str) -> Result<String, String> {
        to_native("p", text, &mut Includes::of_file(Path::new("p"), "p"))
    }

    fn verdict(text: &str, number: u64, args: [u64; 6]) -> String {
        let policy = parse("p", &native(text).unwrap()).unwrap();
        match policy.judge(number, &args).action {
            Verdict::Errno(errno) => errno.name.to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_manuals_examples() {
        let text = "# open with some flags\nread: 1\nopen: arg1 == 32768 || arg1 == 0 || arg1 == O_LARGEFILE|O_NONBLOCK\nmmap: arg3 in MAP_PRIVATE|MAP_ANONYMOUS\nmprotect: arg2 in ~PROT_EXEC || arg2 in ~PROT_WRITE\nfcntl: return EBADF\nwrite: arg0 == 0; return EBADF\n";
        assert_eq!(verdict(text, 0, [7; 6]), "Allow");
        assert_eq!(verdict(text, 1, [0; 6]), "Allow");
        assert_eq!(verdict(text, 1, [1; 6]), "EBADF");
        assert_eq!((verdict(text, 72, [1; 6]), verdict(text, 39, [0; 6])), ("EBADF".into(), "KillProcess".into()));
        for (flags, expected) in [
            (0x22, "Allow"),
            (2, "Allow"),
            (0, "Allow"),
            (1, "KillProcess"),
            (0x122, "KillProcess"),
            (0x22 | 1 << 40, "KillProcess"),
        ] {
            assert_eq!(verdict(text, 9, [0, 0, 0, flags, 0, 0]), expected, "{flags:#x}");
        }
        for (protection, expected) in [(3, "Allow"), (5, "Allow"), (7, "KillProcess"), (6, "KillProcess")] {
            assert_eq!(verdict(text, 10, [0, 0, protection, 0, 0, 0]), expected, "{protection}");
        }
    }

    #[test]
    fn flags_lists_and_several_actions() {
        let text = "open: arg1 & O_CREAT|O_TRUNC && arg2 != 0 \\\n  || arg1 == -1\nsocket[arch=x86_64]: { arg0 == AF_UNIX: allow, arg0 == (AF_INET): return EACCES, arg1 > 0x5: trap,\n # comment\n return 1 }\ngetpid: allow\n@default log\n";
        assert_eq!(verdict(text, 2, [0, 0o100, 1, 0, 0, 0]), "Allow");
        assert_eq!(verdict(text, 2, [0, 0o1100, 0, 0, 0, 0]), "Allow", "the default, which is to log");
        assert_eq!(verdict(text, 2, [0, u64::MAX, 0, 0, 0, 0]), "Allow");
        let never = "read: arg0 == 1 && arg0 == 2 || arg0 == 3\nwrite: arg0 > 3 && arg0 < 2\n";
        assert_eq!((verdict(never, 0, [3; 6]), verdict(never, 0, [1; 6])), ("Allow".into(), "KillProcess".into()));
        assert_eq!(verdict(never, 1, [1; 6]), "KillProcess");
        for (args, expected) in [([1, 0], "Allow"), ([2, 0], "EACCES"), ([3, 6], "Trap"), ([3, 5], "EPERM")] {
            assert_eq!(verdict(text, 41, [args[0], args[1], 0, 0, 0, 0]), expected);
        }
    }

    #[test]
    fn several_lines_about_a_call_are_tried_in_their_order() {
        // As crosvm's policies for graphics and video have them.
        let text = "ioctl: arg1 == FIONBIO || arg1 & 0x6400\nread: 1\nioctl: arg1 == 0xc018aa3f || arg1 == 0xaa00 # more\nmadvise: arg2 == MADV_GUARD_INSTALL\nmadvise: return ENOSYS\n";
        for (request, expected) in
            [(0x5421, "Allow"), (0x400, "Allow"), (0xaa00, "Allow"), (0xc018_aa3f, "Allow"), (1, "KillProcess")]
        {
            assert_eq!(verdict(text, 16, [0, request, 0, 0, 0, 0]), expected, "{request:#x}");
        }
        assert_eq!((verdict(text, 28, [102; 6]), verdict(text, 28, [4; 6])), ("Allow".into(), "ENOSYS".into()));
    }

    #[test]
    fn lists_of_what_may_not_be_called() {
        assert_eq!(verdict("@denylist\nptrace: return EPERM\n", 101, [0; 6]), "EPERM");
        assert_eq!(verdict("@denylist\nptrace: return EPERM\n", 0, [0; 6]), "Allow");
        assert!(native("@denylist\nptrace: 1\n").unwrap_err().starts_with("p:2:1: after `@denylist`"));
    }

    #[test]
    fn errors_have_a_place() {
        let error = |text: &str| native(text).unwrap_err();
        assert!(error("read: 1\nraed: 1\n").starts_with("p:2:1: `raed` is no x86-64 system call"));
        assert_eq!(error("read: 1\nread: 1\n"), "p:2:1: `read` has a line already, which leaves nothing of it: p:1:1");
        assert!(error("read: arg6 == 1\n").starts_with("p:1:7: there is no argument 6"));
        assert!(error("read: arg0 = 1\n").starts_with("p:1:12: "));
        assert!(error("read: arg0 == WHAT\n").starts_with("p:1:15: `WHAT` is no"));
        assert!(error("read: arg0 == 1; return ENO\n").starts_with("p:1:25: `ENO` is no error"));
        assert!(error("read: arg0 == 99999999999999999999\n").starts_with("p:1:15: "));
        assert!(error(&format!("read: arg0 == {}1\n", "(".repeat(1000))).contains("deep"));
        assert!(error("read: arg0 & -1 && arg1 & -1\n").contains("more than 64 rules"));
        assert!(error("read\n").starts_with("p:1:5: "));
        assert!(error("@include no-such-file\n").starts_with("p:1:1: cannot include no-such-file: "));
        assert!(error("@what\n").starts_with("p:1:1: `@what` is no directive"));
    }

    #[test]
    fn such_files_are_known_by_their_content() {
        assert!(is_one("# x\n\nread: 1\n") && is_one("@include a\n") && is_one("open[arch=x86_64]: 1\n"));
        assert!(!is_one("version = 1\n") && !is_one("[[rule]]\n") && !is_one("") && !is_one("[Service]\n"));
    }
}
