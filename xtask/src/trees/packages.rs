//! Packages: chosen and fetched by apt in a state of its own, so that neither this machine's packages nor its user's rights matter.
//!
//! The sources are those that this machine has configured; only Debian 12's are used of them.
use super::recipes::{EVERYWHERE, LEFT_OUT_PACKAGES, Recipe};
use crate::apt;
use crate::exit::Failure;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Which sources apt may choose from.
const PREFERENCES: &str = "\
Package: *
Pin: release o=Debian,n=bookworm*
Pin-Priority: 990

Package: *
Pin: release *
Pin-Priority: -1
";

/// Where packages are kept. Not the directory of apt's cache: apt lists nothing that it finds there.
const FETCHED: &str = "fetched";

/// Names given to apt at a time: its command line stays short.
const BATCH: usize = 40;

/// apt with its own state.
#[derive(Debug)]
pub(super) struct Apt {
    state: PathBuf,
}

impl Apt {
    /// Prepares the state; the lists of packages are fetched if there are none, or if `refresh`.
    pub(super) fn new(state: &Path, refresh: bool) -> Result<Self, Failure> {
        apt::require("apt-get", "apt")?;
        apt::require("dpkg-deb", "dpkg")?;
        // apt takes relative names as below its usual directories.
        let state = std::path::absolute(state).context("the directory of apt's state")?;
        let made = || -> std::io::Result<bool> {
            for directory in ["lists/partial", "source-lists/partial", "archives/partial", "preferences.d", FETCHED] {
                fs::create_dir_all(state.join(directory))?;
            }
            // No package is installed as far as this state knows: every dependency is fetched.
            fs::write(state.join("status"), "")?;
            fs::write(state.join("preferences"), PREFERENCES)?;
            Ok(fs::read_dir(state.join("lists"))?.count() > 1)
        };
        let has_lists = made().with_context(|| state.display().to_string())?;
        let this = Self { state };
        if refresh || !has_lists {
            this.update()?;
        }
        Ok(this)
    }

    /// Fetches the lists of packages.
    fn update(&self) -> Result<(), Failure> {
        let updated = self.command("apt-get").arg("update").status().context("apt-get")?;
        if updated.success() {
            return Ok(());
        }
        Err(Failure::early("apt-get cannot fetch the lists of packages; trees are made from Debian 12's packages"))
    }

    /// Fetches the packages of a recipe with what they depend on. Returns the files, in the order in which apt would unpack them.
    pub(super) fn fetch(&self, recipe: &Recipe) -> Result<Vec<PathBuf>, Failure> {
        if let Some(files) = self.try_fetch(recipe)? {
            return Ok(files);
        }
        // Lists that are out of date name files that the mirror has no more.
        self.update()?;
        let none = || format!("apt-get cannot fetch the packages of the tree {}: {:?}", recipe.name, recipe.packages);
        self.try_fetch(recipe)?.ok_or_else(|| Failure::early(none()))
    }

    /// The same with the lists as they are. `None`: apt cannot, and has said why.
    fn try_fetch(&self, recipe: &Recipe) -> Result<Option<Vec<PathBuf>>> {
        let Some(names) = self.resolve(recipe)? else {
            return Ok(None);
        };
        let archives = self.state.join(FETCHED);
        let missing: Vec<&str> = names
            .iter()
            .filter(|name| !archives.join(name).exists())
            .filter_map(|name| name.split('_').next())
            .collect();
        for batch in missing.chunks(BATCH) {
            let fetched = self.command("apt-get").arg("download").args(batch).current_dir(&archives).status();
            if !fetched.context("apt-get")?.success() {
                return Ok(None);
            }
        }
        Ok(Some(names.iter().map(|name| archives.join(name)).collect()))
    }

    /// Fetches one package without what it depends on, unless it was fetched before.
    pub(super) fn fetch_alone(&self, package: &str) -> Result<PathBuf, Failure> {
        let archives = self.state.join(FETCHED);
        let find = || -> Result<Option<PathBuf>> {
            let entries = fs::read_dir(&archives).with_context(|| archives.display().to_string())?;
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            let mut of_package = names.filter(|name| name.split_once('_').is_some_and(|(start, _)| start == package));
            Ok(of_package.next().map(|name| archives.join(name)))
        };
        if let Some(found) = find()? {
            return Ok(found);
        }
        let download = || self.command("apt-get").args(["download", package]).current_dir(&archives).status();
        if !download().context("apt-get")?.success() {
            // Lists that are out of date name files that the mirror has no more.
            self.update()?;
            download().context("apt-get")?;
        }
        find()?.ok_or_else(|| Failure::early(format!("apt-get cannot fetch Debian's package {package}")))
    }

    /// The names of the files that the recipe comes to.
    fn resolve(&self, recipe: &Recipe) -> Result<Option<Vec<String>>> {
        let packages: BTreeSet<&str> = EVERYWHERE.iter().chain(recipe.packages).copied().collect();
        let output = self
            .command("apt-get")
            .args(["--print-uris", "install"])
            .args(packages)
            .stdout(Stdio::piped())
            .output()
            .context("apt-get")?;
        if !output.status.success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(Some(text.lines().filter_map(file_name).filter(|name| is_wanted(name)).map(str::to_owned).collect()))
    }

    /// A file or directory of the state.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    /// A quiet apt command that knows nothing of this machine but its sources.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(Stdio::null()).args(["-qq", "--yes"]);
        let mut set = |option: &str, value: &str| {
            command.arg("-o").arg(format!("{option}={value}"));
        };
        let path = |name: &str| self.state.join(name).display().to_string();
        set("Dir::State", &path(""));
        set("Dir::State::status", &path("status"));
        set("Dir::State::lists", &path("lists"));
        set("Dir::Cache", &path(""));
        set("Dir::Cache::archives", &path("archives"));
        set("Dir::Cache::pkgcache", &path("pkgcache.bin"));
        set("Dir::Cache::srcpkgcache", "");
        set("Dir::Etc::preferences", &path("preferences"));
        set("Dir::Etc::preferencesparts", &path("preferences.d"));
        set("APT::Install-Recommends", "false");
        set("APT::Architecture", "amd64");
        set("APT::Sandbox::User", "");
        set("Acquire::Languages", "none");
        set("Debug::NoLocking", "true");
        command
    }
}

/// The name of the file in a line `'URI' NAME SIZE HASH` of `--print-uris`.
fn file_name(line: &str) -> Option<&str> {
    let mut words = line.split(' ');
    let uri = words.next()?;
    let name = words.next()?;
    (uri.starts_with('\'') && name.ends_with(".deb") && !name.contains('/')).then_some(name)
}

/// Whether the package in this file belongs into a tree.
fn is_wanted(name: &str) -> bool {
    name.split('_').next().is_some_and(|package| !LEFT_OUT_PACKAGES.contains(&package))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_apt() {
        let line = "'http://m/d/zlib1g_1.2.13.dfsg-1_amd64.deb' zlib1g_1%3a1.2.13.dfsg-1_amd64.deb 86684 MD5Sum:ec42";
        assert_eq!(file_name(line), Some("zlib1g_1%3a1.2.13.dfsg-1_amd64.deb"));
        assert_eq!(file_name("'http://m/x' ../../x.deb 1 "), None);
        assert_eq!(file_name("Reading package lists..."), None);
        assert_eq!(file_name(""), None);
    }

    #[test]
    fn what_only_sets_packages_up_is_left_out() {
        assert!(is_wanted("libc6_2.36-9_amd64.deb"));
        assert!(!is_wanted("debconf_1.5.82_all.deb"));
    }
}
