//! `cargo xtask tree`: small root file systems of Debian 12, for `--layer`.
//!
//! A tree is made of what packages contain, without their maintainer scripts and so without any privilege: [`recipes`] names the
//! packages, [`packages`] has apt choose and fetch them with their dependencies ([`sources`] likewise a test suite), [`unpack`] lays them out and does by hand the little
//! that scripts would have done. Only the image that [`debian`] makes is set up by others' tools, and [`perfetto`] is of PyPI. Trees live in `target/trees`; a stamp beside each says what it was made of.
mod debian;
mod files;
mod packages;
mod perfetto;
mod recipes;
mod sources;
mod unpack;

use crate::cli::TreeOptions;
use crate::exit::Failure;
use crate::workspace;
use anyhow::{Context, Result, anyhow};
use files::FILES;
use packages::Apt;
use recipes::{RECIPES, Recipe};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

/// Raised when trees are made differently from the same packages.
const FORMAT: u32 = 1;

/// Where trees are.
pub(crate) fn directory() -> PathBuf {
    workspace::target_dir("trees")
}

/// Makes the trees that are named, or lists those that can be made.
pub(crate) fn tree(options: &TreeOptions) -> Result<ExitCode, Failure> {
    if options.names.is_empty() && !options.all {
        for recipe in RECIPES {
            println!("{:8} {}", recipe.name, recipe.about);
        }
        for files in FILES {
            println!("{:8} {}", files.name, files.about);
        }
        println!("{:8} {}", debian::NAME, debian::ABOUT);
        println!("{:8} {}", perfetto::NAME, perfetto::ABOUT);
        return Ok(ExitCode::SUCCESS);
    }
    let wanted: Vec<&str> = match options.all {
        true => all().collect(),
        false => options.names.iter().map(String::as_str).collect(),
    };
    ensure(&wanted, options.refresh)?;
    for name in wanted {
        println!("{}", directory().join(name).display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The names of all trees.
fn all() -> impl Iterator<Item = &'static str> {
    let recipes = RECIPES.iter().map(|recipe| recipe.name);
    recipes.chain(FILES.iter().map(|files| files.name)).chain([debian::NAME, perfetto::NAME])
}

/// Makes those of the named trees that are missing, or made by another recipe; all of them if `refresh`.
pub(crate) fn ensure(names: &[&str], refresh: bool) -> Result<(), Failure> {
    let (mut wanted, mut wanted_files) = (Vec::new(), Vec::new());
    let is_other = |name: &&&str| [debian::NAME, perfetto::NAME].contains(*name);
    for name in names.iter().filter(|name| !is_other(name)) {
        if let Some(files) = FILES.iter().find(|files| files.name == *name) {
            wanted_files.push(files);
            continue;
        }
        let recipe = RECIPES.iter().find(|recipe| recipe.name == *name);
        wanted.push(recipe.ok_or_else(|| Failure::early(format!("there is no recipe for a tree named {name}")))?);
    }
    let directory = directory();
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    // One at a time: two would write into the same directories. Unlocked when the file is closed.
    let lock = File::create(directory.join("lock")).context("target/trees/lock")?;
    lock.lock().context("target/trees/lock")?;
    for files in wanted_files {
        files::ensure(&directory, files, refresh)?;
    }
    if names.contains(&debian::NAME) {
        debian::ensure(&directory, refresh)?;
    }
    if names.contains(&perfetto::NAME) {
        perfetto::ensure(&directory, refresh)?;
    }
    wanted.retain(|recipe| refresh || !is_fresh(&directory, recipe));
    if wanted.is_empty() {
        return Ok(());
    }
    make(&directory, &wanted, refresh)
}

/// Fetches everything first, one tree after the other; then unpacks them side by side.
fn make(directory: &Path, wanted: &[&Recipe], refresh: bool) -> Result<(), Failure> {
    let start = Instant::now();
    let names: Vec<&str> = wanted.iter().map(|recipe| recipe.name).collect();
    eprintln!("cordon: making Debian trees: {}", names.join(", "));
    let apt = Apt::new(&directory.join("apt"), refresh)?;
    let mut work = Vec::new();
    for recipe in wanted {
        let files = apt.fetch(recipe)?;
        eprintln!("cordon: {}: {} packages", recipe.name, files.len());
        let archive = recipe.source.map(|source| apt.fetch_source(source.package)).transpose()?;
        work.push((*recipe, files, archive));
    }
    let work = Mutex::new(work);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<Result<()>> = thread::scope(|scope| {
        let work = &work;
        let worker = move || -> Result<()> {
            loop {
                let next = work.lock().map_err(|_| anyhow!("another worker failed"))?.pop();
                let Some((recipe, files, archive)) = next else {
                    return Ok(());
                };
                unpack_one(directory, recipe, &files, archive.as_deref())
                    .with_context(|| format!("the tree {}", recipe.name))?;
            }
        };
        let all: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        all.into_iter().map(|one| one.join().unwrap_or_else(|_| Err(anyhow!("a worker panicked")))).collect()
    });
    results.into_iter().collect::<Result<()>>()?;
    eprintln!("cordon: the trees are made ({:.0} s)", start.elapsed().as_secs_f64());
    Ok(())
}

/// Unpacks beside the place and moves it there when it is whole.
fn unpack_one(directory: &Path, recipe: &Recipe, files: &[PathBuf], archive: Option<&Path>) -> Result<()> {
    let (tree, new) = (directory.join(recipe.name), directory.join(format!("{}.new", recipe.name)));
    let stamp = stamp(directory, recipe);
    remove(&new)?;
    unpack::unpack(&new, recipe, files)?;
    if let (Some(source), Some(archive)) = (recipe.source, archive) {
        unpack::lay_out_source(&new, &source, archive)?;
    }
    if stamp.exists() {
        fs::remove_file(&stamp).with_context(|| stamp.display().to_string())?;
    }
    remove(&tree)?;
    fs::rename(&new, &tree).with_context(|| tree.display().to_string())?;
    let mut text = description(recipe);
    for name in files.iter().filter_map(|file| file.file_name()) {
        text.push_str(&name.to_string_lossy());
        text.push('\n');
    }
    fs::write(&stamp, text).with_context(|| stamp.display().to_string())
}

/// Removes a directory with all that is in it, if it is there.
fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    Ok(())
}

/// The file that says what a tree was made of.
fn stamp(directory: &Path, recipe: &Recipe) -> PathBuf {
    directory.join(format!("{}.stamp", recipe.name))
}

/// The first line of a stamp: changes when the recipe or the way of making does. The packages' versions follow it.
fn description(recipe: &Recipe) -> String {
    format!("{FORMAT} {recipe:?}\n")
}

/// Whether the tree is there and made as it would be made now, whatever newer versions Debian has since.
fn is_fresh(directory: &Path, recipe: &Recipe) -> bool {
    let text = fs::read_to_string(stamp(directory, recipe)).unwrap_or_default();
    directory.join(recipe.name).is_dir() && text.starts_with(&description(recipe))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_fresh_until_its_recipe_changes() {
        let dir = tempfile::tempdir().unwrap();
        let recipe = &RECIPES[0];
        assert!(!is_fresh(dir.path(), recipe));
        fs::create_dir(dir.path().join(recipe.name)).unwrap();
        fs::write(stamp(dir.path(), recipe), format!("{}libc6_1_amd64.deb\n", description(recipe))).unwrap();
        assert!(is_fresh(dir.path(), recipe));
        let other = Recipe { packages: &["hello"], ..*recipe };
        assert!(!is_fresh(dir.path(), &other));
    }

    #[test]
    fn unknown_trees_are_refused() {
        assert!(ensure(&["no-such-tree"], false).is_err());
    }
}
