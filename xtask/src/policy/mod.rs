//! `cargo xtask policy`: what a policy says, without running anything; and other programs' formats made to ours.
//!
//! The root reads one language, ours. What is written for others is translated here, on the host, and the translation
//! is what the root gets: [`text_of`].
mod cases;
mod check;
mod constants;
mod diff;
mod explain;
#[cfg(test)]
mod fuzz;
mod includes;
mod json;
mod minijail;
mod model;
mod native;
mod oci;
mod options;
mod position;
mod systemd;

pub(crate) use oci::Container;
use options::Format;
pub(crate) use options::{ContainerOptions, PolicyCommand};

use crate::exit::Failure;
use includes::Includes;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

/// Exit code when policies differ or a case failed.
const DIFFERENT: u8 = 1;

/// Does what was asked for.
pub(crate) fn policy(command: &PolicyCommand) -> Result<ExitCode, Failure> {
    let (lines, is_good) = match command {
        PolicyCommand::Check { file, container } => (check::check(&read(file, container)?)?, true),
        PolicyCommand::Explain { file, call, container } => {
            (explain::explain(&read(file, container)?.compiled()?, call)?, true)
        }
        PolicyCommand::Convert { file, to, container } => (convert(&read(file, container)?.checked()?, *to)?, true),
        PolicyCommand::Diff { before, after, container } => {
            let (before, after) = (read(before, container)?, read(after, container)?);
            let lines = diff::diff((&before.compiled()?, &before.model()?), (&after.compiled()?, &after.model()?));
            (lines.iter().map(|line| format!("{line}\n")).collect(), lines.is_empty())
        }
        PolicyCommand::Test { file, cases, container } => {
            let policy = read(file, container)?.compiled()?;
            let name = cases.display().to_string();
            let text = text_of_bytes(&name, &bytes_of(cases, &name)?).map_err(Failure::early)?.to_owned();
            let (lines, failed) = cases::test(&policy, &name, &text).map_err(Failure::early)?;
            (lines, failed == 0)
        }
    };
    std::io::stdout().write_all(lines.as_bytes()).map_err(|error| Failure::early(error.to_string()))?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

/// A policy in another format. Warnings go to standard error.
fn convert(file: &PolicyFile, to: Format) -> Result<String, Failure> {
    let failed = |why: String| Failure::early(format!("{}: {why}", file.name));
    match to {
        Format::Toml => Ok(file.text.clone()),
        Format::Json => json::of_toml(&file.text).map_err(failed),
        Format::Oci => {
            let written = oci::write::write(&file.model()?).map_err(failed)?;
            for warning in &written.warnings {
                eprintln!("cordon: {}: {warning}", file.name);
            }
            Ok(written.profile)
        }
    }
}

/// Reads a file under its own name.
pub(crate) fn read(file: &Path, container: &ContainerOptions) -> Result<PolicyFile, Failure> {
    PolicyFile::read(file, file.display().to_string(), &Container::with(container))
}

/// A policy's text in our language, under the name of the file that it comes from.
pub(crate) struct PolicyFile {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl PolicyFile {
    /// Reads a policy file of any format that is known; the content says which it is. `name` is for messages.
    pub(crate) fn read(path: &Path, name: String, container: &Container) -> Result<Self, Failure> {
        let bytes = bytes_of(path, &name)?;
        let text = text_of(path, &name, &bytes, container).map_err(Failure::early)?;
        Ok(Self { name, text })
    }

    /// The compiled policy.
    pub(crate) fn compiled(&self) -> Result<policy::Policy, Failure> {
        policy::parse(&self.name, &self.text).map_err(|error| Failure::early(error.to_string()))
    }

    /// Its rules one by one.
    fn model(&self) -> Result<model::Model, Failure> {
        model::Model::read(&self.text).map_err(|why| Failure::early(format!("{}: {why}", self.name)))
    }

    /// The same, once it has been found good.
    pub(crate) fn checked(self) -> Result<Self, Failure> {
        self.compiled().map(|_| self)
    }
}

/// An OCI profile in our language, for such a container. Errors begin with line and column.
pub(crate) fn native_of_oci(text: &str, container: &Container) -> Result<String, String> {
    oci::to_native(text, container)
}

/// The bytes of a file: one more, if there are more than a policy may have, whose reader says so.
fn bytes_of(path: &Path, name: &str) -> Result<Vec<u8>, Failure> {
    let most = policy::limits::MAX_TEXT as u64 + 1;
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(|error| Failure::early(format!("cannot read the policy {name}: {error}")))?;
    Ok(bytes)
}

/// The text of a file.
fn text_of_bytes<'b>(name: &str, bytes: &'b [u8]) -> Result<&'b str, String> {
    if bytes.len() > policy::limits::MAX_TEXT {
        let most = policy::limits::MAX_TEXT;
        return Err(format!("{name}:1:1: the policy has more than {most} bytes"));
    }
    policy::text(name, bytes).map_err(|error| error.to_string())
}

/// The policy that a file's content stands for, in our language.
fn text_of(path: &Path, name: &str, bytes: &[u8], container: &Container) -> Result<String, String> {
    let text = text_of_bytes(name, bytes)?;
    if text.trim_start().starts_with('{') {
        return of_json(name, text, container);
    }
    if minijail::is_one(text) {
        return minijail::to_native(name, text, &mut Includes::of_file(path));
    }
    if systemd::is_one(text) {
        return systemd::to_native(text).map_err(|error| format!("{name}:{error}"));
    }
    Ok(text.to_owned())
}

/// A policy in JSON: ours, which says so by its `version`, or OCI's.
fn of_json(name: &str, text: &str, container: &Container) -> Result<String, String> {
    let is_ours = serde_json::from_str::<serde_json::Value>(text).is_ok_and(|whole| {
        whole.get("version").is_some() && whole.get("defaultAction").is_none() && whole.get("ociVersion").is_none()
    });
    if !is_ours {
        return oci::to_native(text, container).map_err(|error| format!("{name}:{error}"));
    }
    let toml = json::to_toml(text).map_err(|error| format!("{name}:{error}"))?;
    match policy::parse(name, &toml) {
        Ok(_) => Ok(toml),
        Err(error) => Err(format!("{name}:{}: {}", json::place(text, &toml, error.line, error.column), error.message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        text_of(Path::new("f"), "f", text.as_bytes(), &Container::default())
    }

    #[test]
    fn formats_are_known_by_their_content() {
        assert_eq!(read("version = 1\n").unwrap(), "version = 1\n");
        assert!(read(r#" {"defaultAction": "SCMP_ACT_ALLOW"}"#).unwrap().contains("default = \"allow\""));
        assert!(read("[Service]\nSystemCallFilter=@basic-io\n").unwrap().contains("\"read\""));
    }

    #[test]
    fn what_is_no_policy_is_refused_with_its_place() {
        let refused = |bytes: &[u8]| text_of(Path::new("f"), "f", bytes, &Container::default()).unwrap_err();
        assert_eq!(refused(b"version = 1\n# \xff"), "f:2:3: not UTF-8 from here on; a policy is a text file");
        assert!(refused(&vec![b'#'; policy::limits::MAX_TEXT + 1]).starts_with("f:1:1: the policy has more than"));
        assert!(refused(b"{\n \"defaultAction\": }").starts_with("f:2:19: "));
        assert!(refused("{\"a\":".repeat(9000).as_bytes()).contains("recursion limit"));
    }
}
