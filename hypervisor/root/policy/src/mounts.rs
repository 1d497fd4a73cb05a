//! `[root]` and `[[bind]]`: which files of the host the program sees. They are read here, with the rest of the text, and carried out
//! by whoever packs the policy: the root opens nothing of the host by its name.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use toml::de::DeValue;

use crate::error::PolicyError;
use crate::parse::{Reader, Value};

/// Most folders that are bound, as many as a run can have.
pub const MAX_BINDS: usize = 16;

/// What a policy says of the host's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    /// The folder whose content is all that the program sees.
    pub root: Option<HostPath>,
    /// Folders that it sees besides.
    pub binds: Vec<Bind>,
}

/// A folder of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPath {
    /// As it is written: relative to the folder of the file that it stands in.
    pub path: String,
    /// Which of the policy's files that is.
    pub file: usize,
}

/// A folder of the host, at a place in the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The folder.
    pub host: HostPath,
    /// The place: absolute, without `.` and `..`, and in none of the sandbox' own trees.
    pub at: String,
    /// What the program may do there.
    pub mode: BindMode,
    /// What the sandbox has there shows where the folder has nothing.
    pub merge: bool,
    /// Paths in the folder that are hidden: relative, without `.` and `..`.
    pub except: Vec<String>,
}

/// What a program may do with a folder of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BindMode {
    /// Read it.
    #[default]
    ReadOnly,
    /// Change it for itself.
    CopyOnWrite,
    /// Change it on the host.
    ReadWrite,
}

impl Mounts {
    /// Takes from file number `file` what is not stated yet: its root, and its binds after those that there are.
    pub(crate) fn lay_under(&mut self, mut other: Self, file: usize) {
        let paths = other.binds.iter_mut().map(|bind| &mut bind.host).chain(&mut other.root);
        paths.for_each(|path| path.file = file);
        self.root = self.root.take().or(other.root);
        self.binds.extend(other.binds);
    }
}

impl Reader<'_, '_> {
    /// The two keys of a file.
    pub(crate) fn mounts(&self, root: Option<&Value<'_>>, binds: Option<&Value<'_>>) -> Result<Mounts, PolicyError> {
        let root = root.map(|value| self.root(value)).transpose()?;
        let Some(binds) = binds else { return Ok(Mounts { root, binds: Vec::new() }) };
        let array = self.array(binds, "bind", "written as `[[bind]]`")?;
        if let Some(beyond) = array.get(MAX_BINDS) {
            return Err(self.source.error(&beyond.span(), format!("more than {MAX_BINDS} binds")));
        }
        let binds: Result<Vec<Bind>, PolicyError> = array.iter().map(|bind| self.bind(bind)).collect();
        Ok(Mounts { root, binds: binds? })
    }

    fn root(&self, value: &Value<'_>) -> Result<HostPath, PolicyError> {
        let table = self.table(value, "root", "a table (`[root]`)")?;
        self.only_known_keys(table, &["path"], "`[root]`")?;
        let path = table.get("path").ok_or_else(|| self.source.error(&value.span(), "`[root]` has no `path`"))?;
        self.host_path(path, "path")
    }

    fn bind(&self, value: &Value<'_>) -> Result<Bind, PolicyError> {
        let table = self.table(value, "bind", "a table (`[[bind]]`)")?;
        self.only_known_keys(table, &["host", "at", "mode", "merge", "except"], "a bind")?;
        let missing = |key: &str| self.source.error(&value.span(), format!("this bind has no `{key}`"));
        let host = table.get("host").ok_or_else(|| missing("host"))?;
        let at = table.get("at").ok_or_else(|| missing("at"))?;
        Ok(Bind {
            host: self.host_path(host, "host")?,
            at: self.place_in_sandbox(at)?,
            mode: table.get("mode").map_or(Ok(BindMode::default()), |value| self.mode(value))?,
            merge: table.get("merge").map_or(Ok(false), |value| self.boolean(value, "merge"))?,
            except: table.get("except").map_or(Ok(Vec::new()), |value| self.exceptions(value))?,
        })
    }

    fn host_path(&self, value: &Value<'_>, key: &str) -> Result<HostPath, PolicyError> {
        let path = self.plain(value, key, "a folder of the host")?;
        if path.is_empty() {
            return Err(self.source.error(&value.span(), format!("`{key}` names no folder")));
        }
        Ok(HostPath { path: path.into(), file: 0 })
    }

    fn place_in_sandbox(&self, value: &Value<'_>) -> Result<String, PolicyError> {
        let text = self.plain(value, "at", "an absolute path in the sandbox")?;
        let wrong = |why: &str| Err(self.source.error(&value.span(), why));
        let Some(relative) = text.strip_prefix('/').filter(|relative| is_straight(relative)) else {
            return wrong("`at` must be an absolute path without `.` and `..`");
        };
        match relative.split('/').find(|name| !name.is_empty()) {
            None | Some("dev" | "proc") => wrong("nothing can be bound over /, /dev and /proc"),
            Some(_) => Ok(text.into()),
        }
    }

    fn mode(&self, value: &Value<'_>) -> Result<BindMode, PolicyError> {
        let wanted = "\"ro\", \"cow\" or \"rw\"";
        match value.get_ref() {
            DeValue::String(text) => match text.as_ref() {
                "ro" => Ok(BindMode::ReadOnly),
                "cow" => Ok(BindMode::CopyOnWrite),
                "rw" => Ok(BindMode::ReadWrite),
                _ => Err(self.source.error(&value.span(), format!("`mode` must be {wanted}"))),
            },
            other => Err(self.wrong_type(value, "mode", wanted, other)),
        }
    }

    fn exceptions(&self, value: &Value<'_>) -> Result<Vec<String>, PolicyError> {
        let array = self.array(value, "except", "an array of paths in the folder")?;
        let one = |value: &Value<'_>| {
            let path = self.plain(value, "except", "an array of paths in the folder")?.trim_matches('/');
            if path.is_empty() || !is_straight(path) {
                return Err(self.source.error(&value.span(), "write a path in the folder, without `.` and `..`"));
            }
            Ok(path.to_string())
        };
        array.iter().map(one).collect()
    }
}

/// Whether a path goes nowhere but down.
fn is_straight(path: &str) -> bool {
    !path.split('/').any(|name| matches!(name, "." | ".."))
}
