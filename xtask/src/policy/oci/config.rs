//! An OCI `config.json` (runtime-spec 1.x, `config.md` and `config-linux.md`) beside its seccomp profile: process, root, mounts and names,
//! in our language. [`super::paths`] makes rights of what is read-only or masked. What a sandbox has in its own way, or not at all, is noted; what would have to be there and is not, is refused.
use super::super::native::{Origin, Section};
use super::super::position::{Lines, Position};
use super::paths::{Paths, Stated};
use super::process::{self, Process};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;
use toml::Table;

/// What is made of a file.
#[derive(Debug, Default)]
pub(super) struct Translated {
    /// `[process]`, `[root]`, `[[bind]]`, `[limits]` and `[[files]]`.
    pub(super) sections: Vec<Section>,
    /// What does not apply, and why: a line each.
    pub(super) notes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config<'t> {
    oci_version: String,
    #[serde(borrow)]
    process: Option<&'t RawValue>,
    #[serde(borrow)]
    root: Option<&'t RawValue>,
    #[serde(borrow, default)]
    mounts: Vec<&'t RawValue>,
    hostname: Option<String>,
    domainname: Option<String>,
    #[serde(borrow)]
    hooks: Option<&'t RawValue>,
    #[serde(borrow)]
    linux: Option<&'t RawValue>,
}

#[derive(Deserialize)]
struct Root {
    path: String,
    #[serde(default)]
    readonly: bool,
}

#[derive(Deserialize)]
struct Mount {
    destination: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    source: Option<String>,
    #[serde(default)]
    options: Vec<String>,
}

/// Keys of the whole that are carried out here, or say nothing about how the program runs.
const TOP: [&str; 9] =
    ["ociVersion", "process", "root", "mounts", "hostname", "domainname", "linux", "annotations", "hooks"];
/// Of `linux`. Namespaces are looked at: those that are made anew are what a sandbox is.
const LINUX: [&str; 5] = ["seccomp", "namespaces", "resources", "maskedPaths", "readonlyPaths"];
/// Of `linux.resources`, those that mean what a limit of ours does: memory with what is written to files in it, and tasks.
const RESOURCES: [&str; 2] = ["memory", "pids"];
/// Platforms that are not this one.
const OTHERS: [&str; 5] = ["windows", "solaris", "vm", "zos", "freebsd"];
/// File systems of the kernel, which a sandbox has in its own way.
const OWN: [&str; 10] =
    ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "devtmpfs", "securityfs", "shm"];

/// File systems of the kernel that a program can write to.
const WRITABLE: [&str; 2] = ["tmpfs", "shm"];

/// Translates what stands beside the profile. `folder` is where the file is. Errors begin with line and column.
pub(super) fn translate(text: &str, folder: &Path) -> Result<Translated, String> {
    let config: Config<'_> = read(text, text)?;
    let whole: Map<String, Value> = read(text, text)?;
    if !config.oci_version.starts_with("1.") {
        return Err(format!("1:1: version {} of the format is not known; 1.x is", config.oci_version));
    }
    if let Some(other) = OTHERS.iter().find(|key| whole.contains_key(**key)) {
        return Err(format!("1:1: the file is for another platform: it has `{other}`"));
    }
    let lines = Lines::new(text);
    let mut reader = Reader { text, lines, folder, out: Translated::default(), paths: Paths::default() };
    reader.note_unknown("", &whole, &TOP);
    if let Some(hooks) = config.hooks.filter(|hooks| hooks.get().contains('[')) {
        let hooks_lists: Map<String, Value> = reader.part(hooks)?;
        if hooks_lists.values().any(|list| list.as_array().is_some_and(|list| !list.is_empty())) {
            return Err(reader.at(hooks, "hooks are not run; remove them"));
        }
    }
    let mut process = match config.process {
        Some(raw) => reader.process(raw)?,
        None => Table::new(),
    };
    let names = [("hostname", config.hostname), ("domainname", config.domainname)];
    process.extend(names.into_iter().filter_map(|(key, name)| Some((key.to_owned(), name?.into()))));
    reader.add("process", process.into(), config.process)?;
    if let Some(raw) = config.root {
        reader.root(raw)?;
    }
    for raw in config.mounts {
        reader.mount(raw)?;
    }
    if let Some(raw) = config.linux {
        reader.linux(raw)?;
    }
    reader.files(config.root.or(config.linux))?;
    Ok(reader.out)
}

/// Reads a part of a text. Errors have the place in the whole.
fn read<'t, T: Deserialize<'t>>(text: &str, part: &'t str) -> Result<T, String> {
    serde_json::from_str(part).map_err(|error| {
        let place = Position::of_part(text, part).then(Position::of_json(&error));
        // The message repeats the place, relative to the part.
        let message = error.to_string();
        format!("{place}: {}", message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message))
    })
}

struct Reader<'t> {
    text: &'t str,
    lines: Lines<'t>,
    folder: &'t Path,
    out: Translated,
    paths: Paths,
}

impl<'t> Reader<'t> {
    fn part<'p, T: Deserialize<'p>>(&self, raw: &'p RawValue) -> Result<T, String> {
        read(self.text, raw.get())
    }

    fn at(&self, raw: &RawValue, why: &str) -> String {
        format!("{}: {why}", self.place(Some(raw)))
    }

    /// Where a part stands; the whole, if it is none.
    fn place(&self, raw: Option<&RawValue>) -> Position {
        raw.map_or(self.lines.of_offset(0), |raw| self.lines.of_part(raw.get()))
    }

    fn note(&mut self, what: impl Into<String>) {
        self.out.notes.push(what.into());
    }

    /// Notes the keys that nobody here carries out.
    fn note_unknown(&mut self, path: &str, table: &Map<String, Value>, known: &[&str]) {
        let is_empty = |value: &Value| match value {
            Value::Null => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(table) => table.is_empty(),
            _ => false,
        };
        for (key, _) in table.iter().filter(|(key, value)| !known.contains(&key.as_str()) && !is_empty(value)) {
            self.note(format!("{path}{key}: does not apply, and is ignored"));
        }
    }

    /// Adds a key of our language, once our reader finds it good. `from`: what it is made from.
    fn add(&mut self, key: &str, value: toml::Value, from: Option<&RawValue>) -> Result<(), String> {
        if value.as_table().is_some_and(Table::is_empty) || value.as_array().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        let (text, place) = (written(key, value)?, self.place(from));
        check(&text).map_err(|why| format!("{place}: {why}"))?;
        self.out.sections.push(Section { text, origin: Origin::of(place) });
        Ok(())
    }

    fn process(&mut self, raw: &'t RawValue) -> Result<Table, String> {
        let process: Process = self.part(raw)?;
        let whole: Map<String, Value> = self.part(raw)?;
        self.note_unknown("process.", &whole, &process::KEYS);
        process.table().map_err(|why| self.at(raw, &why))
    }

    fn root(&mut self, raw: &RawValue) -> Result<(), String> {
        let root: Root = self.part(raw)?;
        self.paths.root_is_readonly = root.readonly;
        self.add("root", Table::from_iter([("path".to_owned(), root.path.into())]).into(), Some(raw))
    }

    fn mount(&mut self, raw: &RawValue) -> Result<(), String> {
        let Mount { destination, kind, source, options } = self.part(raw)?;
        let has = |name: &str| options.iter().any(|option| option == name);
        let kind = kind.unwrap_or_default();
        if !(kind == "bind" || has("bind") || has("rbind")) {
            if OWN.contains(&kind.as_str()) {
                if WRITABLE.contains(&kind.as_str()) && !has("ro") {
                    self.paths.writable.push(Stated { path: destination.clone(), place: self.place(Some(raw)) });
                }
                self.note(format!("mounts: {destination} ({kind}) is as the sandbox has it"));
                return Ok(());
            }
            return Err(self.at(raw, &format!("a mount of type {kind:?} cannot be made")));
        }
        let source = source.ok_or_else(|| self.at(raw, "this mount has no `source`"))?;
        let is_file = self.folder.join(&source).is_file();
        let mode = match (has("ro"), is_file) {
            // A copy, which `[[files]]` keeps as it is.
            (true, true) => "cow",
            (true, false) => "ro",
            (false, true) => return Err(self.at(raw, "a single file can only be mounted read-only (`ro`)")),
            (false, false) => "rw",
        };
        match mode {
            "cow" => {
                self.note(format!("mounts: {destination}: the file is as it was at the start"));
                self.paths.readonly_mounts.push(Stated { path: destination.clone(), place: self.place(Some(raw)) });
            }
            "rw" => self.paths.writable.push(Stated { path: destination.clone(), place: self.place(Some(raw)) }),
            _ => {}
        }
        let (known, others): (Vec<&String>, Vec<&String>) =
            options.iter().partition(|option| ["bind", "rbind", "ro", "rw"].contains(&option.as_str()));
        if known.iter().filter(|option| ["ro", "rw"].contains(&option.as_str())).count() > 1 {
            return Err(self.at(raw, "one of ro and rw is enough"));
        }
        for option in others {
            self.note(format!("mounts: {destination}: {option} does not apply, and is ignored"));
        }
        let bind = [("host", source), ("at", destination), ("mode", mode.to_owned())];
        let bind = Table::from_iter(bind.map(|(key, value)| (key.to_owned(), value.into())));
        self.add("bind", vec![bind].into(), Some(raw))
    }

    fn linux(&mut self, raw: &RawValue) -> Result<(), String> {
        let linux: Map<String, Value> = self.part(raw)?;
        self.note_unknown("linux.", &linux, &LINUX);
        let parts: BTreeMap<&str, &RawValue> = self.part(raw)?;
        self.paths.masked = self.listed(&parts, "maskedPaths")?;
        self.paths.readonly = self.listed(&parts, "readonlyPaths")?;
        let namespaces = linux.get("namespaces").and_then(Value::as_array).into_iter().flatten();
        if let Some(joined) = namespaces.filter_map(|namespace| namespace.get("path")).find(|path| !path.is_null()) {
            return Err(self.at(raw, &format!("the namespace {joined} cannot be joined: a sandbox has its own")));
        }
        if let Some(resources) = linux.get("resources").and_then(Value::as_object) {
            self.resources(resources, parts.get("resources").copied().unwrap_or(raw))?;
        }
        match linux.get("personality").and_then(|personality| personality.get("domain")) {
            Some(domain) if domain != "LINUX" => Err(self.at(raw, &format!("there is no personality {domain}"))),
            _ => Ok(()),
        }
    }
}

impl Reader<'_> {
    /// A list of paths, each with its place.
    fn listed(&self, parts: &BTreeMap<&str, &RawValue>, key: &str) -> Result<Vec<Stated>, String> {
        let Some(list) = parts.get(key) else { return Ok(Vec::new()) };
        let refuse = |_| self.at(list, &format!("`{key}` is a list of absolute paths"));
        let entries: Option<Vec<&RawValue>> = serde_json::from_str(list.get()).map_err(refuse)?;
        let path = |raw: &RawValue| {
            let path = serde_json::from_str(raw.get()).ok().filter(|path: &String| path.starts_with('/'));
            let path = path.ok_or_else(|| self.at(raw, &format!("`{key}` is a list of absolute paths")))?;
            Ok(Stated { path, place: self.place(Some(raw)) })
        };
        entries.into_iter().flatten().map(path).collect()
    }

    /// Limits of memory and of tasks; numbers that are not above 0 are none (runtime-spec, config-linux.md).
    fn resources(&mut self, resources: &Map<String, Value>, raw: &RawValue) -> Result<(), String> {
        self.note_unknown("linux.resources.", resources, &RESOURCES);
        let mut limits = Table::new();
        for (part, key) in [("memory", "memory"), ("pids", "threads")] {
            let Some(table) = resources.get(part).and_then(Value::as_object) else { continue };
            self.note_unknown(&format!("linux.resources.{part}."), table, &["limit"]);
            match table.get("limit") {
                None | Some(Value::Null) => {}
                Some(limit) => match limit.as_i64() {
                    Some(limit) if limit > 0 => drop(limits.insert(key.to_owned(), limit.into())),
                    Some(_) => {}
                    None => {
                        return Err(self.at(raw, &format!("`resources.{part}.limit` must be a number, not {limit}")));
                    }
                },
            }
        }
        self.add("limits", limits.into(), Some(raw))
    }

    /// Rights on what is read-only or masked.
    fn files(&mut self, from: Option<&RawValue>) -> Result<(), String> {
        self.out.notes.extend(self.paths.notes());
        let entries = self.paths.entries(self.place(from));
        let all: Vec<toml::Value> = entries.iter().map(|(entry, _)| entry.clone()).collect();
        if all.is_empty() {
            return Ok(());
        }
        check(&written("files", all.into())?).map_err(|why| format!("{}: {why}", self.place(from)))?;
        for (entry, place) in entries {
            let text = written("files", vec![entry].into())?;
            self.out.sections.push(Section { text, origin: Origin::of(place) });
        }
        Ok(())
    }
}

/// A key of our language.
fn written(key: &str, value: toml::Value) -> Result<String, String> {
    toml::to_string(&Table::from_iter([(key.to_owned(), value)])).map_err(|error| format!("1:1: {error}"))
}

/// Whether our reader finds such a text good.
fn check(text: &str) -> Result<(), String> {
    policy::parse("", &format!("version = 1\n{text}")).map(drop).map_err(|error| error.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::environment::Said;
    use policy::quotas::Quota;

    const CONFIG: &str = r#"{
 "ociVersion": "1.0.2",
 "process": {"terminal": true, "args": ["/bin/sh", "-c", "id"], "cwd": "/srv", "env": ["A=1", "A=2=3", "B="],
   "user": {"uid": 5, "gid": 6, "umask": 63, "additionalGids": [9, 8]}, "noNewPrivileges": true,
   "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 18446744073709551615, "soft": 99}],
   "capabilities": {"bounding": ["CAP_KILL"]}, "oomScoreAdj": 100},
 "root": {"path": "rootfs", "readonly": true},
 "hostname": "box",
 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
  {"destination": "/data", "source": "/tmp", "options": ["rbind", "ro", "nosuid"]},
  {"destination": "/mine", "type": "bind", "source": "mine"}],
 "hooks": {"prestart": []},
 "linux": {"namespaces": [{"type": "pid"}], "maskedPaths": ["/proc/kcore", "/mine/key"], "devices": null, "resources": {"memory": {"limit": 67108864, "swap": 1}, "pids": {"limit": 32}, "cpu": {"shares": 2}},
  "readonlyPaths": null, "cgroupsPath": "/x"},
 "vendorKey": 1}"#;

    fn text_of(sections: &[Section]) -> String {
        sections.iter().map(|section| format!("{}\n", section.text)).collect()
    }

    #[test]
    fn each_section_has_its_place() {
        let Translated { sections, .. } = translate(CONFIG, Path::new("/nonexistent")).unwrap();
        let of = |start: &str| {
            let found = sections.iter().filter(|section| section.text.starts_with(start));
            found.map(|section| section.origin.place.to_string()).collect::<Vec<_>>()
        };
        assert_eq!([of("[process]"), of("[root]"), of("[limits]")], [["3:13"], ["7:10"], ["13:120"]]);
        assert_eq!(of("[[bind]]"), ["10:3", "11:3"]);
        // The masked path, what is mounted writable, and the root for all others.
        assert_eq!(of("[[files]]"), ["13:76", "11:3", "7:10"]);
    }

    #[test]
    fn what_applies_is_translated_and_what_does_not_is_noted() {
        let Translated { sections, notes } = translate(CONFIG, Path::new("/nonexistent")).unwrap();
        let text = text_of(&sections);
        let policy = policy::parse("p", &format!("version = 1\n{text}")).unwrap();
        let process = policy.process();
        assert_eq!(process.args.as_ref().map(Vec::len), Some(3));
        assert_eq!((process.uid, process.gid, process.umask), (Some(5), Some(6), Some(0o77)));
        assert_eq!((process.groups.as_deref(), process.hostname.as_deref()), (Some([9, 8].as_slice()), Some("box")));
        assert_eq!((process.limits[&7].soft, process.limits[&7].hard), (99, u64::MAX));
        assert_eq!((process.env.of(b"A"), process.env.of(b"B")), (Said::Set("2=3"), Said::Set("")));
        assert_eq!((process.env.of(b"HOME"), process.no_new_privileges), (Said::NotAllowed, Some(true)));
        let limits: Vec<(Quota, u64)> = policy.quotas().all().collect();
        assert_eq!(limits, [(Quota::Memory, 64 << 20), (Quota::Threads, 32)]);
        let mounts = policy.mounts();
        assert_eq!(mounts.root.as_ref().map(|root| root.path.as_str()), Some("rootfs"));
        let binds: Vec<_> =
            mounts.binds.iter().map(|bind| (bind.host.path.as_str(), bind.at.as_str(), bind.mode)).collect();
        use policy::mounts::BindMode::{ReadOnly, ReadWrite};
        assert_eq!(binds, [("/tmp", "/data", ReadOnly), ("mine", "/mine", ReadWrite)]);
        let starts = [
            "vendorKey:",
            "process.capabilities:",
            "process.oomScoreAdj:",
            "mounts: /proc (proc)",
            "mounts: /data: nosuid",
            "linux.cgroupsPath:",
            "linux.resources.cpu:",
            "linux.resources.memory.swap:",
            "what is read-only is so by [[files]]",
            "linux.maskedPaths: /proc/kcore: as the sandbox has it",
            "linux.maskedPaths: /mine/key: reading it is EACCES",
        ];
        assert_eq!(notes.len(), starts.len(), "{notes:?}");
        for (note, start) in notes.iter().zip(starts) {
            assert!(note.starts_with(start), "{note}");
        }
        let rights = |path: &str| policy.file_rights(path.as_bytes()).rights.to_string();
        assert_eq!([rights("/etc/x"), rights("/mine/key")], ["read execute list", "none"]);
        assert_eq!(rights("/mine/x"), "read write create delete execute list");
    }

    #[test]
    fn a_file_is_mounted_as_a_copy_that_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("hosts"), "").unwrap();
        let config = |options: &str| {
            let mount =
                format!("{{\"destination\": \"/etc/hosts\", \"type\": \"bind\", \"source\": \"hosts\"{options}}}");
            let text = format!("{{\"ociVersion\": \"1.0.2\",\n\"mounts\": [{mount}]}}");
            translate(&text, folder.path())
        };
        let Translated { sections, notes } = config(", \"options\": [\"ro\"]").unwrap();
        let text = text_of(&sections);
        let policy = policy::parse("p", &format!("version = 1\n{text}")).unwrap();
        assert_eq!(policy.mounts().binds[0].mode, policy::mounts::BindMode::CopyOnWrite);
        assert_eq!(policy.file_rights(b"/etc/hosts").rights.to_string(), "read execute list");
        assert!(policy.file_rights(b"/etc/other").rights.contain(policy::Rights::WRITE));
        assert!(notes[0].starts_with("mounts: /etc/hosts: the file is as it was at the start"), "{notes:?}");
        assert_eq!(config("").unwrap_err(), "2:12: a single file can only be mounted read-only (`ro`)");
    }

    #[test]
    fn what_would_have_to_be_there_is_refused_with_its_place() {
        for (from, to, error) in [
            ("1.0.2", "2.0.0", "1:1: version 2.0.0 of the format is not known"),
            ("vendorKey", "windows", "1:1: the file is for another platform: it has `windows`"),
            ("\"prestart\": []", "\"poststop\": [{\"path\": \"/x\"}]", "12:11: hooks are not run"),
            ("\"cwd\": \"/srv\"", "\"cwd\": 3", "3:72: invalid type: integer `3`"),
            ("\"cwd\": \"/srv\"", "\"cwd\": \"srv\"", "3:13: `cwd` must be an absolute path"),
            ("\"B=\"", "\"B\"", "3:13: `env`: \"B\" has no `=`"),
            ("\"box\"", "\"\"", "3:13: `hostname` has 1 to 64 bytes"),
            ("RLIMIT_NOFILE", "RLIMIT_FILES", "3:13: `rlimits`: there is no \"RLIMIT_FILES\""),
            ("\"soft\": 99", "\"soft\": 18446744073709551615", ""),
            ("\"hard\": 18446744073709551615", "\"hard\": 9", "3:13: the soft limit of `nofile` is above"),
            ("\"rootfs\"", "\"\"", "7:10: `path` names no folder"),
            ("\"proc\", \"source\"", "\"nfs\", \"source\"", "9:13: a mount of type \"nfs\" cannot be made"),
            ("\"/data\"", "\"/dev/x\"", "10:3: nothing can be bound over"),
            ("\"nosuid\"", "\"rw\"", "10:3: one of ro and rw is enough"),
            (
                "\"type\": \"pid\"",
                "\"type\": \"pid\", \"path\": \"/proc/1/ns/pid\"",
                "13:11: the namespace \"/proc/1/ns/pid\"",
            ),
            ("\"limit\": 67108864", "\"limit\": 4095", "13:120: `memory` must be from 4M"),
            ("\"limit\": 67108864", "\"limit\": \"64M\"", "13:120: `resources.memory.limit` must be a number"),
            ("\"limit\": 32", "\"limit\": -1", ""),
            ("[\"/proc/kcore\", \"/mine/key\"]", "[\"x\"]", "13:61: `maskedPaths` is a list of absolute paths"),
            ("\"readonlyPaths\": null", "\"readonlyPaths\": 3", "14:20: `readonlyPaths` is a list of absolute paths"),
            ("\"devices\": null", "\"personality\": {\"domain\": \"LINUX32\"}", "13:11: there is no personality"),
        ] {
            let text = CONFIG.replacen(from, to, 1);
            assert_ne!(text, CONFIG, "{from}");
            match translate(&text, Path::new("/nonexistent")) {
                Ok(_) => assert_eq!(error, "", "{to}"),
                Err(why) => assert!(!error.is_empty() && why.starts_with(error), "{to}: {why}"),
            }
        }
    }
}
