//! What a run did with which paths, as `[[files]]` of the policy that is learned from it.
//!
//! Each path gets the rights that were used of it. Names differ from run to run, and what reads one file of a library reads others the next time;
//! so paths are generalised, where the following says so:
//!
//! - *Rooms*: a folder that was there before, and in which the program made names. What it made in a room of everybody's ([`SHARED`]), or more than
//!   [`MADE`] names in any other, is `folder/*`; or `folder/**`, if it made folders in it. Else each name stays as it is, but for what looks
//!   like a random part or a number of a process (`out.AbC1dE` → `out.AbC*`), and what it made below a folder of its own is `folder/**`.
//! - *Folders*: where [`SYSTEM_SIBLINGS`] files of a folder of the system's were read, or [`SIBLINGS`] paths of any other were treated alike, that is
//!   `folder/*`.
//! - What would still be more than a policy holds is `folder/**` for all that is in the system's folders, and at last for each folder of the root.
//!
//! All that no entry names has no rights. A rename may not give rights: what was renamed gets those of its new name as well, and both names of a
//! folder that was renamed are one entry. What comes out is compiled and asked about all that was seen before it is written.
use super::super::event::Granted;
use super::names::{above, below, child, escaped, guessed, is_below, parent};
use policy::{Policy, Rights};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use toml::Value;

/// Rooms whose names are nobody's in particular.
const SHARED: [&str; 2] = ["/tmp", "/var/tmp"];
/// Names that are made in another room before it is taken as a whole.
const MADE: usize = 3;
/// Folders of the system's.
const SYSTEM: [&str; 8] = ["/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/opt"];
/// Files of one of them that were read before the folder is.
const SYSTEM_SIBLINGS: usize = 4;
/// The same of other folders, and for other rights.
const SIBLINGS: usize = 32;
/// Rounds in which rights are added to what was renamed.
const ROUNDS: usize = 16;
/// Bytes that the entries may have: the calls' rules need room, too.
const MAX_TEXT: usize = policy::limits::MAX_TEXT / 2;

/// Paths of a run so far.
#[derive(Debug, Default)]
pub(super) struct Paths {
    used: BTreeMap<Vec<u8>, Use>,
    /// From, to, and whether it is a folder.
    moves: BTreeSet<(Vec<u8>, Vec<u8>, bool)>,
}

/// What was done with a path.
#[derive(Clone, Copy, Debug)]
struct Use {
    rights: Rights,
    first_ns: u64,
}

impl Use {
    fn add(&mut self, other: Self) {
        self.rights = self.rights.and(other.rights);
        self.first_ns = self.first_ns.min(other.first_ns);
    }
}

/// How much is taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    /// As described.
    Usual,
    /// All that is in the system's folders.
    System,
    /// All that is in a folder of the root.
    Top,
}

/// What was made in a room, and for each of it the paths at and below it.
type Room = BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

/// One entry.
#[derive(Debug)]
struct Entry {
    patterns: Vec<String>,
    all: Use,
    /// What it is for; behind it stands when that was first.
    reason: String,
}

impl Paths {
    pub(super) fn add(&mut self, granted: &Granted, ns: u64) {
        let Some(path) = granted.path.bytes() else { return };
        if let Some(from) = granted.from.as_ref().and_then(super::super::data::Bytes::bytes) {
            self.moves.insert((from, path, granted.directory));
            return;
        }
        let rights = granted.rights.split(' ').filter_map(Rights::by_name).fold(Rights::NONE, Rights::and);
        let used = Use { rights, first_ns: ns };
        self.used.entry(path).and_modify(|known| known.add(used)).or_insert(used);
    }

    /// How many paths there are.
    pub(super) fn len(&self) -> usize {
        self.used.len()
    }

    /// The pattern for the path of a socket, which is generalised as that of a file that was made here: `made`, if it was surely.
    pub(super) fn of_socket(&self, path: &[u8], made: bool) -> String {
        let is_made = |name: &&[u8]| self.used.get(*name).is_some_and(|used| used.rights.contain(Rights::CREATE));
        let Some(outermost) = above(path).into_iter().find(|name| is_made(name) || (made && *name == path)) else {
            return escaped(path);
        };
        let (room, is_deep) = (parent(outermost), outermost != path);
        match (is_shared(room), is_deep) {
            (true, true) => below(room),
            (true, false) => child(room),
            (false, deep) => guessed(outermost) + if deep { "/**" } else { "" },
        }
    }

    /// The entries of `[[files]]`, the narrowest that hold all that was seen.
    pub(super) fn policy(&self) -> String {
        let widths = [Width::Usual, Width::System, Width::Top];
        let entries = widths.into_iter().find_map(|width| self.fitting(width)).unwrap_or_default();
        let default = "\n[[files]]\ndefault = []\nreason = \"this was not used\"\n";
        if self.used.is_empty() { String::new() } else { entries + default }
    }

    /// The entries, if they are a policy and hold what was seen.
    fn fitting(&self, width: Width) -> Option<String> {
        let (mut used, mut together) = (self.used.clone(), BTreeSet::new());
        for _ in 0..ROUNDS {
            let text = written(&entries(&used, &together, width));
            if text.len() > MAX_TEXT {
                return None;
            }
            let policy = policy::parse("learned", &format!("version = 1\n{text}[[files]]\ndefault = []\n")).ok()?;
            if self.adjust(&policy, &mut used, &mut together) {
                return Some(text);
            }
        }
        None
    }

    /// Whether the policy holds what was seen. If not, what it lacks is added.
    fn adjust(
        &self,
        policy: &Policy,
        used: &mut BTreeMap<Vec<u8>, Use>,
        together: &mut BTreeSet<(Vec<u8>, Vec<u8>)>,
    ) -> bool {
        let mut holds = self.used.iter().all(|(path, seen)| policy.file_rights(path).rights.contain(seen.rights));
        for (from, to, directory) in &self.moves {
            let needed = policy.file_rights(to).rights;
            if !policy.file_rights(from).rights.contain(needed) {
                let more = Use { rights: needed, first_ns: u64::MAX };
                used.entry(from.clone()).and_modify(|known| known.add(more)).or_insert(more);
                holds = false;
            }
            if *directory && !policy.same_rights_below(from, to) {
                together.insert((from.clone(), to.clone()));
                holds = false;
            }
        }
        holds
    }
}

/// The entries for these paths, in the order in which they are tried.
fn entries(used: &BTreeMap<Vec<u8>, Use>, together: &BTreeSet<(Vec<u8>, Vec<u8>)>, width: Width) -> Vec<Entry> {
    let mut left = used.clone();
    let mut first: Vec<Entry> = together.iter().map(|(from, to)| renamed(from, to, &mut left)).collect();
    let mut wide = Globs::default();
    if width >= Width::System {
        wide.add_tops(&mut left, width);
    }
    wide.add_rooms(&mut left);
    wide.add_folders(&mut left);
    first.extend(exact(&left));
    first.extend(wide.entries());
    first
}

/// One entry for both names of a folder that was renamed.
fn renamed(from: &[u8], to: &[u8], left: &mut BTreeMap<Vec<u8>, Use>) -> Entry {
    let (mut all, mut count) = (Use { rights: Rights::NONE, first_ns: u64::MAX }, 0);
    left.retain(|path, used| {
        let is_in = is_below(path, from) || is_below(path, to);
        if is_in {
            all.add(*used);
            count += 1;
        }
        !is_in
    });
    let patterns = vec![below(from), below(to)];
    Entry { patterns, all, reason: format!("a folder that was renamed, {}", paths(count)) }
}

/// Entries for paths as they are: one for each set of rights.
fn exact(left: &BTreeMap<Vec<u8>, Use>) -> Vec<Entry> {
    let mut by_rights: BTreeMap<Rights, Entry> = BTreeMap::new();
    for (path, used) in left {
        let entry =
            by_rights.entry(used.rights).or_insert(Entry { patterns: Vec::new(), all: *used, reason: String::new() });
        entry.patterns.push(escaped(path));
        entry.all.add(*used);
    }
    let reasoned = |entry: Entry| Entry { reason: paths(entry.patterns.len()), ..entry };
    by_rights.into_values().map(reasoned).collect()
}

/// Patterns for many paths each, and what was done with these.
#[derive(Default)]
struct Globs(BTreeMap<String, (Use, usize, &'static str)>);

impl Globs {
    fn add(&mut self, pattern: String, used: Use, reason: &'static str) {
        let (all, count, _) = self.0.entry(pattern).or_insert((used, 0, reason));
        all.add(used);
        *count += 1;
    }

    /// All of the system's folders, or of all folders, as wholes.
    fn add_tops(&mut self, left: &mut BTreeMap<Vec<u8>, Use>, width: Width) {
        left.retain(|path, used| {
            let top = path.iter().skip(1).position(|byte| *byte == b'/').map_or(path.as_slice(), |at| &path[..=at]);
            let is_taken = top.len() > 1 && (width == Width::Top || is_system(path) && is_read_only(used.rights));
            if is_taken {
                self.add(below(top), *used, "too many paths to name");
            }
            !is_taken
        });
    }

    /// What was made, by the rooms that it was made in.
    fn add_rooms(&mut self, left: &mut BTreeMap<Vec<u8>, Use>) {
        let is_made = |path: &[u8]| left.get(path).is_some_and(|used| used.rights.contain(Rights::CREATE));
        let mut rooms: BTreeMap<Vec<u8>, Room> = BTreeMap::new();
        for path in left.keys() {
            // The outermost name on the way to the path that was made.
            let Some(made) = above(path).into_iter().find(|name| is_made(name)) else { continue };
            let room = rooms.entry(parent(made).to_vec()).or_default();
            room.entry(made.to_vec()).or_default().push(path.clone());
        }
        for (room, made) in &rooms {
            let is_whole = is_shared(room) || made.len() > MADE;
            let is_deep = |paths: &[Vec<u8>]| paths.len() > 1;
            let any_deep = made.values().any(|paths| is_deep(paths));
            for (name, paths) in made {
                let pattern = match (is_whole, if is_whole { any_deep } else { is_deep(paths) }) {
                    (true, true) => below(room),
                    (true, false) => child(room),
                    (false, deep) => guessed(name) + if deep { "/**" } else { "" },
                };
                for path in paths {
                    if let Some(used) = left.remove(path) {
                        self.add(pattern.clone(), used, "what was made here");
                    }
                }
            }
        }
    }

    /// Folders of which much was used alike.
    fn add_folders(&mut self, left: &mut BTreeMap<Vec<u8>, Use>) {
        let mut alike: BTreeMap<(Vec<u8>, Rights), Vec<Vec<u8>>> = BTreeMap::new();
        for (path, used) in left.iter() {
            alike.entry((parent(path).to_vec(), used.rights)).or_default().push(path.clone());
        }
        // Of one folder those that are most.
        let mut chosen: BTreeMap<Vec<u8>, (Rights, Vec<Vec<u8>>)> = BTreeMap::new();
        for ((folder, rights), paths) in alike {
            let is_system = is_system(&folder) && is_read_only(rights);
            if paths.len() < if is_system { SYSTEM_SIBLINGS } else { SIBLINGS } {
                continue;
            }
            match chosen.get(&folder) {
                Some((_, others)) if others.len() >= paths.len() => {}
                _ => drop(chosen.insert(folder, (rights, paths))),
            }
        }
        for (folder, (_, paths)) in chosen {
            for path in paths {
                if let Some(used) = left.remove(&path) {
                    self.add(child(&folder), used, "many of a folder");
                }
            }
        }
    }

    /// An entry for each, those that lie deeper first.
    fn entries(self) -> Vec<Entry> {
        let mut globs: Vec<_> = self.0.into_iter().collect();
        globs.sort_by_key(|(pattern, _)| std::cmp::Reverse((pattern.matches('/').count(), !pattern.ends_with("**"))));
        let entry = |(pattern, (all, count, reason)): (String, (Use, usize, &str))| Entry {
            patterns: vec![pattern],
            all,
            reason: format!("{reason}, {}", paths(count)),
        };
        globs.into_iter().map(entry).collect()
    }
}

fn written(entries: &[Entry]) -> String {
    let mut text = String::new();
    for Entry { patterns, all, reason } in entries {
        let patterns: Vec<String> = patterns.iter().map(|pattern| Value::from(pattern.as_str()).to_string()).collect();
        let patterns = if let [only] = patterns.as_slice() {
            only.clone()
        } else {
            format!("[\n    {},\n]", patterns.join(",\n    "))
        };
        let rights: Vec<String> =
            all.rights.to_string().split(' ').filter(|name| *name != "none").map(|name| format!("{name:?}")).collect();
        let when = if all.first_ns == u64::MAX {
            String::new()
        } else {
            format!(", first at {}", super::seconds(all.first_ns))
        };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n[[files]]\npaths = {patterns}\nrights = [{}]\nreason = \"{reason}{when}\"\n",
            rights.join(", ")
        );
    }
    text
}

fn paths(count: usize) -> String {
    if count == 1 { "1 path".to_owned() } else { format!("{count} paths") }
}

fn is_read_only(rights: Rights) -> bool {
    Rights::READ.and(Rights::LIST).contain(rights)
}

fn is_shared(room: &[u8]) -> bool {
    SHARED.iter().any(|shared| shared.as_bytes() == room)
}

fn is_system(path: &[u8]) -> bool {
    SYSTEM.iter().any(|folder| is_below(path, folder.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::super::data::Bytes;
    use super::*;

    fn granted(rights: &str, path: &str) -> Granted {
        let (path, text) = (Bytes::Text(path.into()), String::new());
        Granted { thread: 1, rights: rights.into(), path, from: None, directory: false, text }
    }

    fn moved(from: &str, to: &str, directory: bool) -> Granted {
        Granted { from: Some(Bytes::Text(from.into())), directory, ..granted("none", to) }
    }

    fn learned(seen: &[Granted]) -> (Paths, Policy, String) {
        let mut paths = Paths::default();
        seen.iter().for_each(|granted| paths.add(granted, 1_500_000_000));
        let text = paths.policy();
        let policy =
            policy::parse("p", &format!("version = 1\n{text}")).unwrap_or_else(|error| panic!("{error}:\n{text}"));
        (paths, policy, text)
    }

    fn rights(policy: &Policy, path: &str) -> String {
        policy.file_rights(path.as_bytes()).rights.to_string()
    }

    #[test]
    fn what_was_used_is_granted_and_nothing_else() {
        let (_, policy, text) = learned(&[
            granted("read", "/etc/passwd"),
            granted("read", "/etc/group"),
            granted("execute", "/bin/x"),
            granted("read", "/bin/x"),
            granted("list", "/srv"),
            granted("write", "/srv/odd [1]*"),
        ]);
        for (path, wanted) in [
            ("/etc/passwd", "read"),
            ("/bin/x", "read execute"),
            ("/srv", "list"),
            ("/srv/odd [1]*", "write"),
            ("/srv/odd 1", "none"),
            ("/etc/shadow", "none"),
            ("/etc", "none"),
        ] {
            assert_eq!(rights(&policy, path), wanted, "{path}:\n{text}");
        }
        assert!(text.contains("reason = \"2 paths, first at 1.500 s\""), "{text}");
        assert!(text.ends_with("default = []\nreason = \"this was not used\"\n"));
        assert_eq!(learned(&[]).2, "");
    }

    #[test]
    fn folders_of_which_much_was_used_are_taken_as_wholes() {
        let many = |folder: &str, rights: &str, count: usize| -> Vec<Granted> {
            (0..count).map(|n| granted(rights, &format!("{folder}/f{n}"))).collect()
        };
        let (_, policy, _) = learned(
            &[
                many("/usr/lib/python3", "read", SYSTEM_SIBLINGS),
                many("/usr/bin", "execute", SYSTEM_SIBLINGS),
                many("/etc", "read", SIBLINGS - 1),
                many("/data", "read", SIBLINGS),
                vec![granted("execute", "/usr/lib/python3/tool")],
            ]
            .concat(),
        );
        for (path, wanted) in [
            ("/usr/lib/python3/other", "read"),
            ("/usr/lib/python3/tool", "execute"),
            ("/usr/lib/python3/x/y", "none"),
            ("/usr/bin/other", "none"),
            ("/etc/other", "none"),
            ("/data/other", "read"),
        ] {
            assert_eq!(rights(&policy, path), wanted, "{path}");
        }
    }

    #[test]
    fn what_a_program_makes_may_have_another_name_the_next_time() {
        let (_, policy, text) = learned(&[
            granted("create", "/tmp/tmpab12cd"),
            granted("write", "/tmp/tmpab12cd"),
            granted("read", "/tmp/there"),
            granted("create", "/srv/out.txt"),
            granted("create", "/srv/out.AbC1dE"),
            granted("create", "/srv/lock.4711"),
            granted("create", "/var/a"),
            granted("create", "/var/b"),
            granted("create", "/var/c"),
            granted("create", "/var/d"),
            granted("create", "/home/new"),
            granted("create", "/home/new/in"),
            granted("read", "/home/new/in"),
        ]);
        for (path, wanted) in [
            ("/tmp/any", "write create"),
            ("/tmp/there", "read"),
            ("/srv/out.txt", "create"),
            ("/srv/out.AbCxyz", "create"),
            ("/srv/out.c", "none"),
            ("/srv/lock.1", "create"),
            ("/var/z", "create"),
            ("/home/new/else/where", "read create"),
            ("/home/other", "none"),
        ] {
            assert_eq!(rights(&policy, path), wanted, "{path}:\n{text}");
        }
    }

    #[test]
    fn renames_are_possible_again() {
        let seen = [
            granted("create", "/srv/x.tmp"),
            granted("write", "/srv/x.tmp"),
            granted("delete", "/srv/x.tmp"),
            granted("create", "/out/x"),
            granted("read", "/out/x"),
            moved("/srv/x.tmp", "/out/x", false),
            granted("create", "/a/dir"),
            granted("delete", "/a/dir"),
            granted("create", "/a/dir/f"),
            granted("create", "/b/dir"),
            granted("read", "/b/dir/f"),
            moved("/a/dir", "/b/dir", true),
        ];
        let (paths, policy, text) = learned(&seen);
        for (from, to, directory) in &paths.moves {
            let (from_rights, to_rights) = (policy.file_rights(from).rights, policy.file_rights(to).rights);
            assert!(from_rights.contain(to_rights), "{text}");
            assert!(!directory || policy.same_rights_below(from, to), "{text}");
        }
        assert!(rights(&policy, "/b/dir/f").contains("read") && rights(&policy, "/b/other") == "none", "{text}");
    }

    #[test]
    fn whatever_was_seen_is_a_policy() {
        // More paths than a policy can name, all over the place.
        let many: Vec<Granted> =
            (0..9000).map(|n| granted("read", &format!("/d{}/e{}/f{n}/{}", n % 7, n % 900, "x".repeat(60)))).collect();
        let (_, policy, text) = learned(&many);
        assert_eq!(rights(&policy, "/d1/e1/f1"), "read", "{}", text.len());
        assert_eq!(rights(&policy, "/other"), "none");
        let (_, policy, _) = learned(&[granted("read", "/\u{1}\"\\\n")]);
        assert_eq!(rights(&policy, "/\u{1}\"\\\n"), "read");
        let mut paths = Paths::default();
        paths.add(&Granted { path: Bytes::Hex("2fff".into()), ..granted("read", "") }, 0);
        assert!(paths.policy().contains("paths = \"/?\""), "{}", paths.policy());
        // The root itself, and what is in it.
        let (_, policy, _) = learned(&[granted("list", "/"), granted("create", "/new"), granted("create", "/new/x")]);
        assert_eq!(rights(&policy, "/new/y"), "create");
    }
}
