//! Events of what programs change of files, against the layer that is taken out of the same run.
use super::events::{wants, xtask};
use crate::{Bench, Case, Verdict};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Tests of events of files.
pub(crate) fn cases() -> Vec<Case> {
    let same = |name: &str, tree: &'static str, command: [&'static str; 3]| {
        Case::new(format!("file events: what {name} changes is what the diff holds"), move |bench| {
            same_as_diff(bench, tree, command)
        })
        .needs(tree)
    };
    vec![
        same("bash", "shell", ["/bin/bash", "-c", include_str!("diff_changes.sh")]),
        same("git", "git", ["/bin/sh", "-c", include_str!("../../real/git.sh")]),
        same("python", "python", ["/usr/bin/python3", "-c", include_str!("file_events.py")]),
        Case::new("file events: one for each open file, however it is written", sums).needs("shell"),
    ]
}

/// A tree of files, as far as changes go.
#[derive(Debug, Default)]
struct Model {
    paths: BTreeMap<String, Entry>,
}

/// Something at a path.
#[derive(Clone, Copy, Debug)]
struct Entry {
    changed: bool,
    /// It was there before the run.
    base: bool,
}

const NEW: Entry = Entry { changed: true, base: false };

impl Model {
    /// The tree at `root`.
    fn of(root: &Path) -> Result<Self, String> {
        let mut model = Self::default();
        model.gather(root, "")?;
        Ok(model)
    }

    fn gather(&mut self, directory: &Path, path: &str) -> Result<(), String> {
        for entry in fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))? {
            let entry = entry.map_err(|error| error.to_string())?;
            let name = format!("{path}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.gather(&entry.path(), &name)?;
            }
            self.paths.insert(name, Entry { changed: false, base: true });
        }
        Ok(())
    }

    /// Does what an event says.
    fn apply(&mut self, event: &Value) -> Result<(), String> {
        let text =
            |member: &str| event[member]["text"].as_str().map(ToOwned::to_owned).ok_or_else(|| event.to_string());
        if event["nameless"] == true {
            return Ok(());
        }
        let path = text("path")?;
        match event["change"].as_str() {
            // Which no layer can hold.
            Some("create") if event["kind"] == "socket" => {}
            Some("create") => drop(self.paths.insert(path, NEW)),
            Some("link") => {
                wants(self.paths.contains_key(&text("from")?), &format!("what is linked: {event}"))?;
                self.paths.insert(path, NEW);
            }
            Some("delete") => wants(self.paths.remove(&path).is_some(), &format!("what is deleted: {event}"))?,
            Some("rename") if event["exchanged"] == true => {
                let (one, other) = (self.take(&path), self.take(&text("from")?));
                self.put(&path, other);
                self.put(&text("from")?, one);
            }
            Some("rename") => {
                let moved = self.take(&text("from")?);
                wants(!moved.is_empty(), &format!("what is renamed: {event}"))?;
                self.take(&path);
                self.put(&path, moved);
            }
            // A change of what has a path that the tree on disk has not is one of what the run itself brings along.
            Some("write" | "truncate" | "attributes" | "xattr") => {
                self.paths.entry(path).or_insert(NEW).changed = true;
            }
            _ => return Err(format!("no change: {event}")),
        }
        Ok(())
    }

    /// Takes a path and all below it away: what stood there, by what follows the path.
    fn take(&mut self, path: &str) -> BTreeMap<String, Entry> {
        let names: Vec<String> = self.paths.keys().filter(|other| below(other, path).is_some()).cloned().collect();
        let taken = names.iter().filter_map(|name| Some((below(name, path)?.to_owned(), self.paths.remove(name)?)));
        taken.collect()
    }

    fn put(&mut self, path: &str, what: BTreeMap<String, Entry>) {
        self.paths.extend(what.into_keys().map(|rest| (format!("{path}{rest}"), NEW)));
    }

    /// What a layer of the difference holds: paths that are there, and names that are deleted from directories that the base has.
    fn difference(&self, base: &Self) -> (BTreeSet<String>, BTreeSet<String>) {
        let there = self.paths.iter().filter(|(_, entry)| entry.changed).map(|(path, _)| path.clone()).collect();
        let gone = base.paths.keys().filter(|path| {
            let parent = parent(path);
            let in_base = parent.is_empty() || self.paths.get(parent).is_some_and(|entry| entry.base);
            in_base && !self.paths.contains_key(*path)
        });
        (there, gone.cloned().collect())
    }
}

/// What follows `above` in a path that is there or below it.
fn below<'p>(path: &'p str, above: &str) -> Option<&'p str> {
    path.strip_prefix(above).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The names in a layer: files, directories, and names that are deleted.
fn layer(diff: &Path) -> Result<[BTreeSet<String>; 3], String> {
    let output = Command::new("tar").args(["--quoting-style=literal", "-tf"]).arg(diff).output();
    let output = output.map_err(|error| error.to_string())?;
    let mut found = [const { BTreeSet::new() }; 3];
    for name in String::from_utf8_lossy(&output.stdout).lines() {
        let (path, kind) = match name.strip_suffix('/') {
            Some(".") => continue,
            Some(directory) => (format!("/{directory}"), 1),
            None if name.ends_with(".wh..wh..opq") => continue,
            None if name.contains(".wh.") => (format!("/{}", name.replacen(".wh.", "", 1)), 2),
            None => (format!("/{name}"), 0),
        };
        found[kind].insert(path);
    }
    Ok(found)
}

fn changes(file: &Path) -> Result<Vec<Value>, String> {
    let events = super::events::read(file)?;
    Ok(events.into_iter().filter(|event| event["type"] == "file-changed").collect())
}

fn same_as_diff(bench: &Bench<'_>, tree: &str, command: [&str; 3]) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let at = |name: &str| scratch.path().join(name);
    let run = bench.in_tree(tree, command).options(["--diff".as_ref(), at("diff.tar").as_os_str()]);
    run.options(["--events".as_ref(), at("events").as_os_str()]).run()?.exits(0)?;
    let (code, said) = xtask(bench, &["trace", "verify", &at("events").display().to_string()])?;
    wants(code == Some(0), &said)?;
    let base = Model::of(&bench.setup.trees.join(tree))?;
    let mut now = Model::of(&bench.setup.trees.join(tree))?;
    changes(&at("events"))?.iter().try_for_each(|event| now.apply(event))?;
    let (there, gone) = now.difference(&base);
    let [files, directories, deleted] = layer(&at("diff.tar"))?;
    let (told, held) = (&there - &directories, files);
    wants(told == held, &format!("in both:\nevents: {:?}\ndiff: {:?}", &told - &held, &held - &told))?;
    wants(gone == deleted, &format!("gone in both:\nevents: {:?}\ndiff: {:?}", &gone - &deleted, &deleted - &gone))?;
    // A directory in which a name has come or gone has changed, too.
    let mut touched: BTreeSet<&str> = BTreeSet::new();
    for path in there.iter().chain(&gone) {
        let mut above = parent(path);
        while !above.is_empty() && touched.insert(above) {
            above = parent(above);
        }
    }
    let unexplained: Vec<&String> = directories
        .iter()
        .filter(|directory| !there.contains(*directory) && !touched.contains(directory.as_str()))
        .collect();
    wants(unexplained.is_empty(), &format!("events of {unexplained:?}"))?;
    wants(held.len() > 10, "a program that changes something")
}

fn sums(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let file = scratch.path().join("events");
    let program = "for n in $(seq 500); do echo $n; done >/tmp/lines; exec 5>/tmp/gone; rm /tmp/gone; echo x >&5; \
                   exec 5>&-; exec 6>/tmp/open; echo open >&6; chmod 600 /tmp/lines; chmod 600 /tmp/lines; kill -9 $$";
    let run = bench.in_tree("shell", ["/bin/bash", "-c", program]);
    run.options(["--events".as_ref(), file.as_os_str()]).run()?.exits(137)?;
    let told: Vec<String> = changes(&file)?.iter().filter_map(|event| Some(event["text"].as_str()?.into())).collect();
    let expected = [
        "files: create file \"/tmp/lines\"",
        "files: write 1892 bytes to \"/tmp/lines\"",
        "files: create file \"/tmp/gone\"",
        "files: delete file \"/tmp/gone\"",
        "files: write 2 bytes to \"/tmp/gone\", which has no name",
        "files: create file \"/tmp/open\"",
        "files: set mode 0600 of \"/tmp/lines\"",
        "files: write 5 bytes to \"/tmp/open\"",
    ];
    wants(told == expected, &format!("other changes than {told:#?}"))
}
