//! Policy files of minijail (minijail0(5), and what its `compile_seccomp_policy.py` adds): a line a call, `NAME: FILTER`.
//!
//! What no line names, and what a filter leaves, ends the process unless the file says otherwise. Whole registers are compared.
mod comments;
mod parse;

use super::includes::Includes;
use super::native::{self, Action, Condition, Origin, Rule, Translation};
use super::position::{Lines, Position};
use super::{Native, text_of_bytes};
use comments::Comments;
use parse::{Atom, Comparison, Filter, Group, Statement};
use policy::limits::MAX_RULES;
use std::collections::BTreeMap;

/// Most rules that one case of a filter may come to: `arg0 & X` is a rule for each bit of X.
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
pub(super) fn to_native(name: &str, text: &str, includes: &mut Includes) -> Result<Native, String> {
    let first = Origin::of(Position::of_offset(text, 0));
    let default = (Action::KillProcess, first);
    let mut policy = Policy { names: Vec::new(), default, denies: false, filters: BTreeMap::new() };
    policy.read(name, text, includes)?;
    let rules = policy.rules()?;
    let Policy { names, default, .. } = policy;
    let kind = "a policy of minijail's";
    Ok(Translation { kind, names: &names, default, rules: &rules, sections: &[] }.write())
}

/// What the files say.
struct Policy {
    /// What the files are called, the outermost first.
    names: Vec<String>,
    default: (Action, Origin),
    /// Whether calls are listed that may not be made.
    denies: bool,
    filters: BTreeMap<&'static str, Line>,
}

/// What lines say about a call.
struct Line {
    cases: Vec<Case>,
    /// What is done else, if that is not the default.
    otherwise: Option<Action>,
    /// The first of them, and the last.
    first: Origin,
    last: Origin,
    /// What the last one's comment says.
    reason: Option<String>,
}

/// What is done under conditions.
struct Case {
    atoms: Vec<Atom>,
    action: Action,
    origin: Origin,
    reason: Option<String>,
}

impl Policy {
    /// Reads a file, and those that it includes, where it does.
    fn read(&mut self, name: &str, text: &str, includes: &mut Includes) -> Result<(), String> {
        let file = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        // There are fewer files: `includes` counts them.
        let file = u16::try_from(file).unwrap_or(u16::MAX);
        let lines = Lines::new(text);
        let comments = Comments::of(&lines);
        for (at, statement) in parse::statements(text).map_err(|why| format!("{name}:{why}"))? {
            let place = lines.of_offset(at);
            let origin = Origin { file, ..Origin::of(place) };
            match statement {
                Statement::Default(action) => self.default = (action, origin),
                Statement::DenyList => (self.denies, self.default) = (true, (Action::Allow, origin)),
                Statement::Include(file) => {
                    let included = includes.enter(&file).map_err(|why| format!("{name}:{place}: {why}"))?;
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
                            "{name}:{place}: after `@denylist`, a line is `NAME: return ERROR` or `NAME: kill`"
                        ));
                    }
                    self.add(call, line(filter, origin, &lines, &comments))?;
                }
            }
        }
        Ok(())
    }

    /// Several lines about a call, in one file or several, are tried in their order; behind one that leaves nothing there is none.
    fn add(&mut self, call: &'static str, line: Line) -> Result<(), String> {
        let place = |Origin { file, place, .. }: Origin| {
            format!("{}:{place}", self.names.get(usize::from(file)).map_or("", String::as_str))
        };
        match self.filters.get_mut(call) {
            Some(Line { otherwise: Some(_), first, .. }) => {
                let (here, earlier) = (place(line.first), place(*first));
                return Err(format!("{here}: `{call}` has a line already, which leaves nothing of it: {earlier}"));
            }
            Some(known) => {
                known.cases.extend(line.cases);
                (known.otherwise, known.last, known.reason) = (line.otherwise, line.last, line.reason);
            }
            None => drop(self.filters.insert(call, line)),
        }
        Ok(())
    }

    fn rules(&self) -> Result<Vec<Rule>, String> {
        let mut filters: Vec<(&'static str, &Line)> = self.filters.iter().map(|(call, line)| (*call, line)).collect();
        filters.sort_by_key(|(_, line)| line.first);
        let mut rules: Vec<Rule> = Vec::new();
        for (call, line) in filters {
            rules.extend(line.rules(call, self.default.0).ok_or_else(|| {
                let Origin { file, place, .. } = line.first;
                let name = self.names.get(usize::from(file)).map_or("", String::as_str);
                format!("{name}:{place}: the filter of `{call}` comes to more than {MAX_ALTERNATIVES} rules for one case, or {MAX_RULES} for all; write it with fewer flags")
            })?);
        }
        Ok(rules)
    }
}

/// What a line says, with what its comments say of it.
fn line(filter: Filter, origin: Origin, lines: &Lines<'_>, comments: &Comments<'_, '_>) -> Line {
    let reason = comments.about(origin.place.line);
    let case = |Group { atoms, action, at }| {
        let place = lines.of_offset(at);
        // Of a list in braces each of its lines may say something.
        let own = if place.line == origin.place.line { None } else { comments.own(place.line) };
        Case { atoms, action, origin: Origin { place, ..origin }, reason: own.or_else(|| reason.clone()) }
    };
    let cases = filter.groups.into_iter().map(case).collect();
    Line { cases, otherwise: filter.otherwise, first: origin, last: origin, reason }
}

impl Line {
    /// The rules that decide about the call. None: there are too many.
    fn rules(&self, call: &'static str, default: Action) -> Option<Vec<Rule>> {
        let mut rules: Vec<Rule> = Vec::new();
        for Case { atoms, action, origin, reason } in &self.cases {
            rules.extend(alternatives(atoms)?.into_iter().map(|conditions| Rule {
                calls: vec![call],
                action: *action,
                conditions,
                origin: *origin,
                reason: reason.clone(),
            }));
            // What always holds decides the rest.
            if let Some(always) = rules.iter().position(|rule| rule.conditions.is_empty()) {
                rules.truncate(always + 1);
                return Some(rules);
            }
            if rules.len() > MAX_RULES {
                return None;
            }
        }
        let none_holds = (!self.cases.is_empty()).then_some("no condition holds");
        let reason = [self.reason.as_deref(), none_holds].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let action = self.otherwise.unwrap_or(default);
        let reason = native::reason(&reason);
        rules.push(Rule { calls: vec![call], action, conditions: Vec::new(), origin: self.last, reason });
        Some(rules)
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
    use std::fs;
    use std::path::Path;

    fn native(text: &str) -> Result<String, String> {
        to_native("p", text, &mut Includes::of_file(Path::new("p"), "p")).map(|native| native.text)
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

    /// Policies of files of which the first is `main`: what a verdict says of the rule.
    fn rules(files: &[(&str, &str)], calls: &[(u64, [u64; 6])]) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let text = files[0].1;
        let mut includes = Includes::of_file(&directory.path().join(files[0].0), files[0].0);
        let native = to_native(files[0].0, text, &mut includes).unwrap_or_else(|why| panic!("{why}"));
        let origins = policy::Origins { parts: &native.origins, files: &native.origin_files, translated: true };
        let file = policy::File { origins, ..policy::File::new(files[0].0, &native.text) };
        let policy = policy::parse_files(&[file]).unwrap_or_else(|error| panic!("{error}\n{}", native.text));
        calls.iter().map(|(call, args)| policy.judge(*call, args).rule().to_string()).collect()
    }

    #[test]
    fn verdicts_name_the_line_and_what_its_comment_says() {
        let main = "# what a reader needs\n@include ./sub/more # with more\n\nopen: arg1 == O_RDONLY || \\\n  arg1 == O_RDWR # for both\nsocket: { arg0 == AF_UNIX: allow,\n # none of the network\n arg0 == AF_INET: return EACCES, trap }\n";
        let more = "read: 1\nclose: 1 # at its end\nioctl: arg1 == 1; return ENOTTY\n";
        let args = |first, second| [first, second, 0, 0, 0, 0];
        let calls = [
            (2, args(0, 0)),
            (2, args(0, 2)),
            (2, args(0, 1)),
            (41, args(1, 0)),
            (41, args(2, 0)),
            (41, args(3, 0)),
            (0, args(0, 0)),
            (3, args(0, 0)),
            (16, args(0, 1)),
            (16, args(0, 2)),
            (39, args(0, 0)),
        ];
        let expected = [
            "rule main:4",
            "rule main:5: for both",
            "rule main:4: no condition holds",
            "rule main:6",
            "rule main:8: none of the network",
            "rule main:6: no condition holds",
            "rule sub/more:1",
            "rule sub/more:2: at its end",
            "rule sub/more:3",
            "rule sub/more:3: no condition holds",
            "default",
        ];
        assert_eq!(rules(&[("dir/main", main), ("dir/sub/more", more)], &calls), expected);
    }

    #[test]
    fn several_lines_about_a_call_are_each_named() {
        let main = "ioctl: arg1 == 1\n@include ./more\nioctl: arg1 == 3\n";
        let more = "read: 1\nioctl: arg1 == 2\n";
        let calls = [1, 2, 3, 4].map(|second| (16, [0, second, 0, 0, 0, 0]));
        let expected = ["rule main:1", "rule more:2", "rule main:3", "rule main:3: no condition holds"];
        assert_eq!(rules(&[("main", main), ("more", more)], &calls), expected);
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
        assert!(native(&format!("read: {}\n", ["arg0 & -1"; 16].join(" || "))).is_ok());
        assert!(
            error(&format!("read: {}\n", ["arg0 & -1"; 17].join(" || "))).starts_with("p:1:1: the filter of `read`")
        );
        assert!(error("read\n").starts_with("p:1:5: "));
        assert!(error("@include no-such-file\n").starts_with("p:1:1: cannot include no-such-file: "));
        assert!(error("@include a\u{1b}b\n").starts_with("p:1:10: the path of a file must be here"));
        assert!(error("@include\n").starts_with("p:1:9: the path of a file must be here"));
        assert!(error("@include a b\n").starts_with("p:1:12: the line should end here"));
        assert!(error("@what\n").starts_with("p:1:1: `@what` is no directive"));
    }

    #[test]
    fn such_files_are_known_by_their_content() {
        assert!(is_one("# x\n\nread: 1\n") && is_one("@include a\n") && is_one("open[arch=x86_64]: 1\n"));
        assert!(!is_one("version = 1\n") && !is_one("[[rule]]\n") && !is_one("") && !is_one("[Service]\n"));
    }
}
