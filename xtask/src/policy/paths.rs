//! What `[[files]]` comes to in words: rights on resolved paths, for those who look at policies without running anything.
use super::samples::{self, is_literal};
use crate::exit::Failure;
use policy::glob::Subject;
use policy::{FileVerdict, Policy, Rights};

/// What may be done with a path, or whether one right is granted, and which entry says so.
pub(super) fn explain(policy: &Policy, path: &str, right: Option<&str>) -> Result<String, Failure> {
    check(path).map_err(|why| Failure::early(format!("--path {path}: {why}")))?;
    let verdict = policy.file_rights(path.as_bytes());
    let Some(name) = right else { return Ok(format!("{}, by {verdict}\n", stated(verdict.rights))) };
    let asked = Rights::by_name(name).filter(|asked| *asked != Rights::HIDE);
    let asked = asked.ok_or_else(|| {
        Failure::early(format!(
            "--right {name}: no right to ask for; these are {}",
            Rights::ALL.to_string().replace(' ', ", ")
        ))
    })?;
    let answer = refusal(&verdict, asked).map_or_else(|| "granted".to_owned(), |errno| format!("errno {errno}"));
    Ok(format!("{asked}: {answer}, by {verdict}\n"))
}

/// The error that a use of a path with such rights gets that takes this one.
pub(crate) fn refusal(verdict: &FileVerdict<'_>, asked: Rights) -> Option<&'static str> {
    match verdict.rights {
        Rights::HIDE if asked != Rights::CREATE => Some("ENOENT"),
        rights if rights != Rights::HIDE && rights.contain(asked) => None,
        _ => Some("EACCES"),
    }
}

/// The line of `policy check`.
pub(super) fn summary(policy: &Policy) -> Option<String> {
    let count = policy.file_patterns().count();
    let others = policy.other_files();
    policy.restricts_files().then(|| {
        format!(
            "[[files]] has {count} pattern{}; other paths: {}, by {others}",
            if count == 1 { "" } else { "s" },
            stated(others.rights)
        )
    })
}

/// The lines of `policy diff`: paths whose rights change. Asked about are the patterns of both that are no globs, and for those that are, paths
/// that they match; and what holds for the paths that no entry matches.
pub(super) fn diff(before: &Policy, after: &Policy) -> Vec<String> {
    if before.same_file_rights(after) {
        return Vec::new();
    }
    let mut lines: Vec<String> = Vec::new();
    for pattern in before.file_patterns().chain(after.file_patterns()) {
        let paths = samples::of_glob(pattern, Subject::Path);
        let changed = paths.iter().find_map(|path| Some((path, changed(before, after, path)?)));
        let Some((path, change)) = changed else { continue };
        let line = match is_literal(pattern) {
            true => format!("[[files]] {pattern}: {change}"),
            false => format!("[[files]] {pattern}, such as {}: {change}", path.escape_ascii()),
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let (one, other) = (before.other_files().rights, after.other_files().rights);
    if one != other {
        lines.push(format!("[[files]] other paths: {} -> {}", stated(one), stated(other)));
    }
    lines
}

fn changed(before: &Policy, after: &Policy, path: &[u8]) -> Option<String> {
    let (one, other) = (before.file_rights(path).rights, after.file_rights(path).rights);
    (one != other).then(|| format!("{} -> {}", stated(one), stated(other)))
}

/// A set of rights as it is shown, and as cases of `policy test` have it.
pub(super) fn stated(rights: Rights) -> String {
    if rights == Rights::ALL { "everything".to_owned() } else { rights.to_string() }
}

/// Whether it is a path as requests resolve to.
pub(super) fn check(path: &str) -> Result<(), &'static str> {
    let Some(components) = path.strip_prefix('/') else { return Err("a resolved path begins with `/`") };
    if !components.is_empty() && components.split('/').any(|component| matches!(component, "" | "." | "..")) {
        return Err("a resolved path has no `.`, no `..`, no `//` and no `/` at the end");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::PolicyFiles;
    use super::super::json;
    use super::*;

    const TEXT: &str = "version = 1
[[files]]
paths = [\"/etc/shadow*\", \"/root/**\"]
rights = [\"hide\"]
reason = \"secrets\"
[[files]]
paths = \"/tmp/*\"
rights = [\"read\", \"write\", \"create\", \"delete\", \"execute\", \"list\"]
[[files]]
default = [\"read\", \"list\"]
";

    fn parsed(text: &str) -> Policy {
        policy::parse("f", text).unwrap()
    }

    #[test]
    fn explain_names_the_entry_and_the_rights() {
        let policy = parsed(TEXT);
        let says = |path: &str, right: Option<&str>| explain(&policy, path, right).map_err(|why| why.to_string());
        assert_eq!(says("/etc/shadow", None).unwrap(), "hide, by files entry 1 f:2: secrets\n");
        assert_eq!(says("/tmp/x", None).unwrap(), "everything, by files entry 2 f:6\n");
        assert_eq!(says("/tmp", None).unwrap(), "read list, by files default f:9\n");
        assert_eq!(says("/tmp", Some("write")).unwrap(), "write: errno EACCES, by files default f:9\n");
        assert_eq!(says("/tmp", Some("list")).unwrap(), "list: granted, by files default f:9\n");
        assert_eq!(says("/root/x", Some("read")).unwrap(), "read: errno ENOENT, by files entry 1 f:2: secrets\n");
        assert_eq!(says("/root/x", Some("create")).unwrap(), "create: errno EACCES, by files entry 1 f:2: secrets\n");
        assert!(says("/x", Some("hide")).unwrap_err().contains("these are read, write, create"));
        for path in ["x", "/x/", "/x/../y", "//x", ""] {
            assert!(says(path, None).unwrap_err().contains("a resolved path"), "{path}");
        }
        let nothing = parsed("version = 1\n");
        assert_eq!(explain(&nothing, "/", None).unwrap(), "everything, by no entry of files\n");
        assert_eq!(summary(&nothing), None);
        assert!(summary(&policy).unwrap().ends_with("3 patterns; other paths: read list, by files default f:9"));
    }

    #[test]
    fn paths_whose_rights_change_are_differences() {
        let differences = |from: &str, to: &str| {
            assert!(TEXT.contains(from));
            diff(&parsed(TEXT), &parsed(&TEXT.replace(from, to)))
        };
        assert!(differences("secrets", "other words").is_empty());
        assert_eq!(
            differences("shadow*", "shadow"),
            ["[[files]] /etc/shadow*, such as /etc/shadowx: hide -> read list"]
        );
        assert_eq!(differences("/tmp/*", "/tmp/**"), ["[[files]] /tmp/**, such as /tmp/x/y: read list -> everything",]);
        assert_eq!(
            differences("\"/root/**\"", "\"/root\""),
            ["[[files]] /root/**, such as /root/x: hide -> read list"]
        );
        assert_eq!(differences("[\"read\", \"list\"]", "[]"), ["[[files]] other paths: read list -> none"]);
        let none = diff(&parsed(TEXT), &parsed("version = 1\n"));
        assert_eq!(none.last().unwrap(), "[[files]] other paths: read list -> everything");
        // An exception of the second alone, in the middle of what both grant.
        let exception = "[[files]]\npaths = \"/tmp/key\"\nrights = []\n[[files]]\npaths = \"/tmp/*\"";
        assert_eq!(differences("[[files]]\npaths = \"/tmp/*\"", exception), ["[[files]] /tmp/key: everything -> none"]);
    }

    #[test]
    fn json_says_the_same() {
        let json = json::of_toml(TEXT).unwrap();
        let again = json::to_toml(&json).unwrap();
        assert!(parsed(TEXT).same_file_rights(&parsed(&again)), "{json}");
        let verdict = parsed(&again).file_rights(b"/root").to_string();
        assert!(verdict.ends_with(": secrets"), "{verdict}");
    }

    #[test]
    fn several_files_as_one_grant_the_same() {
        let files = PolicyFiles::native("f", TEXT);
        assert!(parsed(&files.flat().unwrap()).same_file_rights(&parsed(TEXT)));
    }
}
