//! What an OCI `config.json` says of paths that can be read and not written, or not even read: `root.readonly`, `linux.readonlyPaths`,
//! `linux.maskedPaths`, and files that are mounted read-only, as `[[files]]` of our language.
use toml::{Table, Value};

/// Trees that the sandbox makes itself, of which the root's file service, and so `[[files]]`, knows nothing.
const OWN_TREES: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Rights in our language.
const ALL: &[&str] = &["read", "write", "create", "delete", "execute", "list"];
const READING: &[&str] = &["read", "execute", "list"];

/// What is gathered while the file is read.
#[derive(Debug, Default)]
pub(super) struct Paths {
    pub(super) root_is_readonly: bool,
    /// Where something is mounted that can be written to.
    pub(super) writable: Vec<String>,
    /// What is mounted read-only and would not be so by itself.
    pub(super) readonly_mounts: Vec<String>,
    pub(super) readonly: Vec<String>,
    pub(super) masked: Vec<String>,
}

impl Paths {
    /// The entries, the first that matches a path deciding; none if nothing was said.
    pub(super) fn entries(&self) -> Vec<Value> {
        // Masked and read-only paths are so after all mounts (`config-linux.md`), and a mount covers the root.
        let nothing: &[&str] = &[];
        let mut stated: Vec<(&String, &[&str])> = Vec::new();
        stated.extend(self.masked.iter().map(|path| (path, nothing)));
        stated.extend(self.readonly.iter().chain(&self.readonly_mounts).map(|path| (path, READING)));
        if self.root_is_readonly {
            stated.extend(self.writable.iter().map(|path| (path, ALL)));
        }
        let mut entries: Vec<(String, &[&str])> = Vec::new();
        for (path, rights) in stated {
            let path = path.trim_end_matches('/');
            // What lies in one that comes before never decides.
            let is_covered = |(other, _): &(String, &[&str])| is_in(path, other);
            if !is_own(path) && !path.is_empty() && !entries.iter().any(is_covered) {
                entries.push((path.to_owned(), rights));
            }
        }
        if entries.is_empty() && !self.root_is_readonly {
            return Vec::new();
        }
        let list = |rights: &[&str]| Value::Array(rights.iter().map(|right| Value::from(*right)).collect());
        let entry = |(path, rights): &(String, &[&str])| {
            Value::Table(Table::from_iter([
                ("paths".to_owned(), Value::from(escaped(path) + "/**")),
                ("rights".to_owned(), list(rights)),
            ]))
        };
        let default = list(if self.root_is_readonly { READING } else { ALL });
        let default = Value::Table(Table::from_iter([("default".to_owned(), default)]));
        entries.iter().map(entry).chain([default]).collect()
    }

    /// What is not as a runtime has it: a line each.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let refused = self.root_is_readonly || !self.readonly.is_empty() || !self.readonly_mounts.is_empty();
        if refused {
            notes.push("what is read-only is so by [[files]]: writing it is EACCES, and not EROFS".to_owned());
        }
        for (key, paths) in [("linux.maskedPaths", &self.masked), ("linux.readonlyPaths", &self.readonly)] {
            let (own, others): (Vec<&String>, Vec<&String>) = paths.iter().partition(|path| is_own(path));
            let list = |paths: &[&String]| paths.iter().map(|path| path.as_str()).collect::<Vec<_>>().join(" ");
            if !own.is_empty() {
                notes.push(format!(
                    "{key}: {}: as the sandbox has it, which shows nothing of the host there",
                    list(&own)
                ));
            }
            if key == "linux.maskedPaths" && !others.is_empty() {
                notes.push(format!("{key}: {}: reading it is EACCES, and not empty", list(&others)));
            }
        }
        notes
    }
}

fn is_own(path: &str) -> bool {
    OWN_TREES.iter().any(|own| is_in(path, own))
}

/// Whether a path is another one, or below it.
fn is_in(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A path as a pattern that matches nothing else.
fn escaped(path: &str) -> String {
    let mut text = String::new();
    for character in path.chars() {
        if matches!(character, '*' | '?' | '[' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(paths: &Paths, of: &[&str]) -> Vec<String> {
        let text = toml::to_string(&Table::from_iter([("files".to_owned(), Value::Array(paths.entries()))])).unwrap();
        let policy =
            policy::parse("p", &format!("version = 1\n{text}")).unwrap_or_else(|error| panic!("{error}: {text}"));
        of.iter().map(|path| policy.file_rights(path.as_bytes()).rights.to_string()).collect()
    }

    fn list(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn the_last_that_a_runtime_does_decides() {
        let paths = Paths {
            root_is_readonly: true,
            writable: list(&["/data", "/run/", "/data/more", "/dev/shm", "/a[b]"]),
            readonly_mounts: list(&["/etc/hosts"]),
            readonly: list(&["/data/fixed", "/proc/sys", "/data/secret/x"]),
            masked: list(&["/data/secret", "/sys/firmware"]),
        };
        let (all, reading) = ("read write create delete execute list", "read execute list");
        let of =
            ["/data", "/data/more/x", "/run/x", "/a[b]/c", "/data/fixed/x", "/etc/hosts", "/etc", "/data/secret/x"];
        assert_eq!(rights(&paths, &of), [all, all, all, all, reading, reading, reading, "none"]);
        assert_eq!(rights(&paths, &["/datax", "/ab", "/"]), [reading; 3]);
        let notes = paths.notes();
        assert!(notes[1].starts_with("linux.maskedPaths: /sys/firmware: as the sandbox has it"), "{notes:?}");
        assert!(notes[2].starts_with("linux.maskedPaths: /data/secret: reading it is EACCES"), "{notes:?}");
        assert!(notes[3].starts_with("linux.readonlyPaths: /proc/sys: as the") && notes.len() == 4, "{notes:?}");
    }

    #[test]
    fn nothing_is_said_of_what_is_the_sandboxs_own() {
        let paths = Paths { masked: list(&["/proc/kcore"]), writable: list(&["/data"]), ..Paths::default() };
        assert!(paths.entries().is_empty());
        let masked = Paths { masked: list(&["/x"]), ..Paths::default() };
        assert_eq!(rights(&masked, &["/x/y", "/y"]), ["none", "read write create delete execute list"]);
    }
}
