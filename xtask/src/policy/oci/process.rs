//! `process` of an OCI `config.json` as `[process]` of our language.
use policy::process::LIMITS;
use serde::Deserialize;
use toml::Table;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Process {
    args: Option<Vec<String>>,
    #[serde(default)]
    env: Vec<String>,
    cwd: Option<String>,
    user: Option<User>,
    #[serde(default)]
    rlimits: Vec<Rlimit>,
    #[serde(default)]
    no_new_privileges: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    umask: Option<u32>,
    #[serde(default)]
    additional_gids: Vec<u32>,
}

#[derive(Deserialize)]
struct Rlimit {
    #[serde(rename = "type")]
    name: String,
    soft: u64,
    hard: u64,
}

/// Keys that are carried out here, or say nothing about how the program runs. A terminal there is if standard input is one.
pub(super) const KEYS: [&str; 9] =
    ["args", "env", "cwd", "user", "rlimits", "noNewPrivileges", "terminal", "consoleSize", "commandLine"];

impl Process {
    /// What it says. The error: why it cannot be.
    pub(super) fn table(self) -> Result<Table, String> {
        let mut table = Table::new();
        if let Some(args) = self.args {
            table.insert("args".into(), args.into());
        }
        if let Some(cwd) = self.cwd {
            table.insert("cwd".into(), cwd.into());
        }
        table.insert("env".into(), environment(&self.env)?.into());
        let user = self.user.unwrap_or(User { uid: 0, gid: 0, umask: None, additional_gids: Vec::new() });
        table.insert("uid".into(), i64::from(user.uid).into());
        table.insert("gid".into(), i64::from(user.gid).into());
        let groups: Vec<i64> = user.additional_gids.into_iter().map(i64::from).collect();
        table.insert("groups".into(), groups.into());
        if let Some(umask) = user.umask {
            table.insert("umask".into(), i64::from(umask).into());
        }
        let limits = limits(&self.rlimits)?;
        table.insert("rlimit".into(), limits.into());
        table.insert("no_new_privileges".into(), self.no_new_privileges.into());
        Ok(table)
    }
}

/// The whole environment: nothing but these variables, of which the last of one name counts.
fn environment(pairs: &[String]) -> Result<Table, String> {
    let mut set = Table::new();
    for pair in pairs {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("`env`: {pair:?} has no `=`"))?;
        set.insert(name.to_owned(), value.into());
    }
    Ok(Table::from_iter([("allow".to_owned(), toml::Value::Array(Vec::new())), ("set".to_owned(), set.into())]))
}

fn limits(limits: &[Rlimit]) -> Result<Table, String> {
    let mut table = Table::new();
    for Rlimit { name, soft, hard } in limits {
        let known =
            name.strip_prefix("RLIMIT_").map(str::to_ascii_lowercase).filter(|name| LIMITS.contains(&name.as_str()));
        let known = known.ok_or_else(|| format!("`rlimits`: there is no {name:?}"))?;
        // What TOML's numbers do not hold is none; seccomp's and rlimit's own word for it is all bits set.
        let number = |limit: u64| i64::try_from(limit).map_or("unlimited".into(), toml::Value::from);
        if table.insert(known, vec![number(*soft), number(*hard)].into()).is_some() {
            return Err(format!("`rlimits`: {name} is there twice"));
        }
    }
    Ok(table)
}
