//! `cargo xtask check`: what a reviewer should not have to look for. Formatting, lints, which crate may use which,
//! where `unsafe` may stand, and that `Cargo.lock` is what the manifests say.
use crate::compat;
use crate::exit::Failure;
use crate::workspace;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Packages that build for the host; linted with their tests.
const HOST: &[&str] = &["--all-targets"];
/// The freestanding ones, in groups that share features as their builds do (see `images`).
const FREESTANDING: [&[&str]; 6] = [
    &[
        "--package",
        "hv-image",
        "--package",
        "root-image",
        "--package",
        "platform",
        "--package",
        "svm",
        "--package",
        "hvclient",
    ],
    &["--package", "shim-image", "--package", "vdso"],
    &["--package", "kernels"],
    &["--package", "guests"],
    &["--package", "families"],
    &["--package", "hostile-shim"],
];

/// Directories of the crates that may contain `unsafe`, [U] in the README's map. All others forbid it.
const UNSAFE_ALLOWED: [&str; 13] = [
    "guest-shim/image",
    "guest-shim/vdso",
    "hypervisor/image",
    "hypervisor/platform",
    "hypervisor/root/hvclient",
    "hypervisor/root/image",
    "hypervisor/rt",
    "hypervisor/svm",
    "hypervisor/vmx",
    "tests/guests",
    "tests/guests/families",
    "tests/hostile-shim",
    "tests/kernels",
];

/// One line of the dependency rule: crates of `who` use nothing of `never`, but for `except`.
/// Names are directories; one that ends in `/` stands for all below it.
struct Rule {
    who: &'static [&'static str],
    never: &'static [&'static str],
    except: &'static [&'static str],
    why: &'static str,
}

/// The dependency rule.
const RULES: [Rule; 7] = [
    Rule { who: &["tlfs"], never: &[""], except: &[], why: "tlfs depends on nothing local" },
    Rule {
        who: &["hypervisor/hypercall", "hypervisor/partition", "hypervisor/paging"],
        never: &["hypervisor/svm", "hypervisor/vmx", "hypervisor/platform"],
        except: &[],
        why: "hypercall, partition and paging never name an engine",
    },
    Rule {
        who: &["hypervisor/svm", "hypervisor/vmx", "hypervisor/engine"],
        never: &["hypervisor/hypercall", "hypervisor/partition"],
        except: &[],
        why: "engines never name hypercalls",
    },
    Rule {
        who: &["hypervisor/root/"],
        never: &["guest-shim/"],
        except: &["guest-shim/proto"],
        why: "root and guest-shim meet only in proto and tlfs",
    },
    Rule {
        who: &["guest-shim/"],
        never: &["hypervisor/"],
        except: &["hypervisor/rt"],
        why: "root and guest-shim meet only in proto and tlfs",
    },
    Rule {
        who: &["hypervisor/root/"],
        never: &[
            "hypervisor/engine",
            "hypervisor/svm",
            "hypervisor/vmx",
            "hypervisor/paging",
            "hypervisor/hypercall",
            "hypervisor/partition",
        ],
        except: &[],
        why: "the root speaks to the hypervisor by the TLFS alone",
    },
    Rule {
        who: &[""],
        never: &["hypervisor/image", "hypervisor/root/image", "guest-shim/image"],
        except: &[],
        why: "only image crates compose, and nothing uses them",
    },
];

/// Runs all checks and says which failed.
pub(crate) fn check() -> Result<ExitCode, Failure> {
    let members = members()?;
    let mut good = true;
    good &= verdict("formatting", cargo(&["fmt", "--all", "--", "--check", "-l"]));
    good &= verdict("Cargo.lock", lock_file());
    good &= verdict("compatibility page", compat::is_fresh());
    good &= verdict("dependency rule", dependency_rule(&members));
    good &= verdict("unsafe rule", unsafe_rule(&members));
    good &= verdict("clippy on the host's crates", clippy(HOST));
    for group in FREESTANDING {
        let names: Vec<&str> = group.iter().copied().filter(|w| !w.starts_with("--")).collect();
        good &= verdict(&format!("clippy on {}", names.join(", ")), clippy(group));
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints a check's line.
fn verdict(name: &str, result: Result<()>) -> bool {
    match result {
        Ok(()) => {
            println!("{name} ... ok");
            true
        }
        Err(error) => {
            println!("{name} ... FAILED");
            for line in format!("{error:#}").lines() {
                println!("    {line}");
            }
            false
        }
    }
}

/// Runs cargo with its output shown.
fn cargo(arguments: &[&str]) -> Result<()> {
    let status = workspace::cargo().args(arguments).stdin(Stdio::null()).status().context("cargo cannot be started")?;
    ensure!(status.success(), "cargo {} failed", arguments.join(" "));
    Ok(())
}

/// Runs clippy, warnings being errors.
fn clippy(what: &[&str]) -> Result<()> {
    let start = ["clippy", "--quiet"];
    let end = ["--", "-D", "warnings"];
    cargo(&[&start, what, &end].concat())
}

/// `Cargo.lock` is committed and up to date.
fn lock_file() -> Result<()> {
    cargo_metadata(&["--locked"]).context("Cargo.lock is not up to date")?;
    let listed = Command::new("git")
        .args(["ls-files", "--error-unmatch", "Cargo.lock"])
        .current_dir(workspace::root())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    // Without git there is nothing to ask.
    ensure!(listed.map_or(true, |status| status.success()), "Cargo.lock is not committed");
    Ok(())
}

/// A crate of the workspace.
struct Member {
    /// Its directory, from the top of the workspace.
    directory: PathBuf,
    /// The files that its library and its programs start from.
    roots: Vec<PathBuf>,
    /// The directories of the local crates that it uses.
    uses: Vec<PathBuf>,
}

/// What cargo knows about the workspace.
fn cargo_metadata(extra: &[&str]) -> Result<Value> {
    let output = workspace::cargo()
        .args(["metadata", "--format-version", "1"])
        .args(extra)
        .stdin(Stdio::null())
        .output()
        .context("cargo cannot be started")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Reads the crates of the workspace.
fn members() -> Result<Vec<Member>> {
    let metadata = cargo_metadata(&["--no-deps"])?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    packages.iter().map(member).collect()
}

fn member(package: &Value) -> Result<Member> {
    let manifest = package["manifest_path"].as_str().context("no manifest")?;
    let directory = Path::new(manifest).parent().context("no directory")?;
    let list = |value: &Value, key: &str| -> Vec<PathBuf> {
        let entries = value.as_array().map_or(&[][..], Vec::as_slice);
        entries.iter().filter_map(|e| e[key].as_str()).map(PathBuf::from).collect()
    };
    let targets = package["targets"].as_array().map_or(&[][..], Vec::as_slice);
    let is_crate = |target: &&Value| {
        let kinds = target["kind"].as_array().map_or(&[][..], Vec::as_slice);
        kinds.iter().any(|kind| kind == "lib" || kind == "bin")
    };
    let root = |target: &Value| target["src_path"].as_str().map(PathBuf::from);
    Ok(Member {
        directory: local(directory),
        roots: targets.iter().filter(is_crate).filter_map(root).collect(),
        uses: list(&package["dependencies"], "path").iter().map(|path| local(path)).collect(),
    })
}

/// A path from the top of the workspace.
fn local(path: &Path) -> PathBuf {
    path.strip_prefix(workspace::root()).unwrap_or(path).to_owned()
}

/// Whether a crate's directory is one of `names`.
fn is_in(directory: &Path, names: &[&str]) -> bool {
    names.iter().any(|name| {
        if name.is_empty() || name.ends_with('/') { directory.starts_with(name) } else { directory == Path::new(name) }
    })
}

/// No crate uses what it must not.
fn dependency_rule(members: &[Member]) -> Result<()> {
    let mut broken = Vec::new();
    for member in members {
        for rule in RULES.iter().filter(|rule| is_in(&member.directory, rule.who)) {
            for used in &member.uses {
                if is_in(used, rule.never) && !is_in(used, rule.except) {
                    broken.push(format!("{} uses {}: {}", member.directory.display(), used.display(), rule.why));
                }
            }
        }
    }
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

/// Crates forbid `unsafe` unless they are listed, and all take the workspace's lints, which want a reason for each block.
fn unsafe_rule(members: &[Member]) -> Result<()> {
    let mut broken = Vec::new();
    for member in members {
        let name = member.directory.display();
        let manifest = read(&member.directory.join("Cargo.toml"))?;
        if !manifest.contains("[lints]\nworkspace = true") {
            broken.push(format!("{name}/Cargo.toml does not take the workspace's lints"));
        }
        if is_in(&member.directory, &UNSAFE_ALLOWED) {
            continue;
        }
        for root in &member.roots {
            if !read(root)?.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]") {
                broken.push(format!("{} lacks #![forbid(unsafe_code)]", local(root).display()));
            }
        }
    }
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

/// Reads a file of the workspace.
fn read(path: &Path) -> Result<String> {
    let path = workspace::root().join(path);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(directory: &str, uses: &[&str]) -> Member {
        Member { directory: directory.into(), roots: Vec::new(), uses: uses.iter().map(PathBuf::from).collect() }
    }

    #[test]
    fn the_rule_finds_what_breaks_it() {
        let fine = [
            member("tlfs", &[]),
            member("hypervisor/partition", &["tlfs", "hypervisor/engine"]),
            member("hypervisor/root/gate", &["guest-shim/proto", "hypervisor/root/policy"]),
            member("guest-shim/image", &["hypervisor/rt", "guest-shim/personality"]),
        ];
        assert!(dependency_rule(&fine).is_ok());
        for (who, used) in [
            ("tlfs", "hypervisor/engine"),
            ("hypervisor/paging", "hypervisor/svm"),
            ("hypervisor/svm", "hypervisor/hypercall"),
            ("hypervisor/root/gate", "guest-shim/personality"),
            ("guest-shim/personality", "hypervisor/root/policy"),
            ("hypervisor/root/image", "hypervisor/partition"),
            ("xtask", "hypervisor/image"),
        ] {
            assert!(dependency_rule(&[member(who, &[used])]).is_err(), "{who} {used}");
        }
    }
}
