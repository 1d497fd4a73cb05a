//! What an OCI `config.json` says of paths that can be read and not written, or not even read: `root.readonly`, `linux.readonlyPaths`,
//! `linux.maskedPaths`, and files that are mounted read-only, as `[[files]]` of our language.
use super::super::position::Position;
use toml::Value;

/// Trees that the sandbox makes itself, of which the root's file service, and so `[[files]]`, knows nothing.
const OWN_TREES: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Rights in our language.
const ALL: &[&str] = &["read", "write", "create", "delete", "execute", "list"];
const READING: &[&str] = &["read", "execute", "list"];

/// A path, and where the file says it.
#[derive(Debug)]
pub(super) struct Stated {
    pub(super) path: String,
    pub(super) place: Position,
}

/// What is gathered while the file is read.
#[derive(Debug, Default)]
pub(super) struct Paths {
    pub(super) root_is_readonly: bool,
    /// Where something is mounted that can be written to.
    pub(super) writable: Vec<Stated>,
    /// What is mounted read-only and would not be so by itself.
    pub(super) readonly_mounts: Vec<Stated>,
    pub(super) readonly: Vec<Stated>,
    pub(super) masked: Vec<Stated>,
}

/// What is said of a path.
struct Said<'p> {
    path: &'p Stated,
    rights: &'static [&'static str],
    /// What in the file says it.
    by: &'static str,
}

impl Paths {
    /// The entries, the first that matches a path deciding, and where they come from; none if nothing was said. `root`: where the file says how the root
    /// is mounted.
    pub(super) fn entries(&self, root: Position) -> Vec<(Value, Position)> {
        // Masked and read-only paths are so after all mounts (`config-linux.md`), and a mount covers the root.
        let nothing: &[&str] = &[];
        let mut stated: Vec<Said<'_>> = Vec::new();
        let said = |rights, by| move |path| Said { path, rights, by };
        stated.extend(self.masked.iter().map(said(nothing, "maskedPaths")));
        stated.extend(self.readonly.iter().map(said(READING, "readonlyPaths")));
        stated.extend(self.readonly_mounts.iter().map(said(READING, "mounted read-only")));
        if self.root_is_readonly {
            stated.extend(self.writable.iter().map(said(ALL, "mounted to be written to")));
        }
        let mut entries: Vec<Said<'_>> = Vec::new();
        for said in stated {
            let path = said.path.path.trim_end_matches('/');
            // What lies in one that comes before never decides.
            let is_covered = |other: &Said<'_>| is_in(path, other.path.path.trim_end_matches('/'));
            if !is_own(path) && !path.is_empty() && !entries.iter().any(is_covered) {
                entries.push(said);
            }
        }
        if entries.is_empty() && !self.root_is_readonly {
            return Vec::new();
        }
        let list = |rights: &[&str]| Value::Array(rights.iter().map(|right| Value::from(*right)).collect());
        let entry = |Said { path: Stated { path, place }, rights, by }: &Said<'_>| {
            let pairs = [
                ("paths", Value::from(escaped(path.trim_end_matches('/')) + "/**")),
                ("rights", list(rights)),
                ("reason", Value::from(*by)),
            ];
            (table(pairs), *place)
        };
        let default = match self.root_is_readonly {
            true => table([("default", list(READING)), ("reason", Value::from("root.readonly"))]),
            false => table([("default", list(ALL))]),
        };
        entries.iter().map(entry).chain([(default, root)]).collect()
    }

    /// What is not as a runtime has it: a line each.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let refused = self.root_is_readonly || !self.readonly.is_empty() || !self.readonly_mounts.is_empty();
        if refused {
            notes.push("what is read-only is so by [[files]]: writing it is EACCES, and not EROFS".to_owned());
        }
        for (key, paths) in [("linux.maskedPaths", &self.masked), ("linux.readonlyPaths", &self.readonly)] {
            let paths = paths.iter().map(|stated| stated.path.as_str());
            let (own, others): (Vec<&str>, Vec<&str>) = paths.partition(|path| is_own(path));
            let list = |paths: &[&str]| paths.join(" ");
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

fn table<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Table(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
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
        let entries = paths.entries(NOWHERE).into_iter().map(|(entry, _)| entry).collect();
        let text = toml::to_string(&table([("files", Value::Array(entries))])).unwrap();
        let policy =
            policy::parse("p", &format!("version = 1\n{text}")).unwrap_or_else(|error| panic!("{error}: {text}"));
        of.iter().map(|path| policy.file_rights(path.as_bytes()).rights.to_string()).collect()
    }

    const NOWHERE: Position = Position { line: 1, column: 1 };

    fn list(paths: &[&str]) -> Vec<Stated> {
        paths.iter().map(|path| Stated { path: (*path).to_owned(), place: NOWHERE }).collect()
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
        assert!(paths.entries(NOWHERE).is_empty());
        let masked = Paths { masked: list(&["/x"]), ..Paths::default() };
        assert_eq!(rights(&masked, &["/x/y", "/y"]), ["none", "read write create delete execute list"]);
    }
}
