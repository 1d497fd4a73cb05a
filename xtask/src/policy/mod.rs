//! `cargo xtask policy`: what a policy says, without running anything; and other programs' formats made to ours.
//!
//! The root reads one language, ours. What is written for others is translated here, on the host, and the translation
//! is what the root gets: [`text_of`].
mod answered;
mod cases;
mod check;
mod constants;
mod diff;
mod explain;
mod fields;
mod files;
mod flatten;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod headers;
mod includes;
mod json;
mod limits;
mod minijail;
mod model;
mod native;
mod oci;
mod options;
mod paths;
mod position;
mod probes;
mod process;
mod resolve;
mod samples;
mod sections;
pub(crate) mod sockaddr;
mod source;
mod steps;
mod systemd;
mod taints;
mod values;
mod written;

pub(crate) use answered::Answered;
pub(crate) use constants::names;
pub(crate) use explain::action;
pub(crate) use files::PolicyFiles;
pub(crate) use oci::Container;
use options::Format;
pub(crate) use options::{ContainerOptions, PolicyCommand};
pub(crate) use paths::refusal;
use position::Position;
pub(crate) use values::hexadecimal;

use crate::exit::Failure;
use includes::Includes;
use std::path::Path;
use std::process::ExitCode;

/// Exit code when policies differ or a case failed.
const DIFFERENT: u8 = 1;

/// Does what was asked for.
pub(crate) fn policy(command: &PolicyCommand) -> Result<ExitCode, Failure> {
    let (lines, is_good) = match command {
        PolicyCommand::Check { file, container } => (check::check(&read(file, container)?)?, true),
        PolicyCommand::Explain { file, call, tainted, path, right, container } => {
            let policy = read(file, container)?.compiled()?;
            let on_path = path.as_ref().map(|path| paths::explain(&policy, path, right.as_deref())).transpose()?;
            let on_call = call.as_ref().map(|call| explain::explain(&policy, call, *tainted)).transpose()?;
            (on_path.or(on_call).unwrap_or_default(), true)
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
            let text = text_of_bytes(&name, &bytes_of("cases", cases, &name)?).map_err(Failure::early)?.to_owned();
            let (lines, failed) = cases::test(&policy, &name, &text).map_err(Failure::early)?;
            (lines, failed == 0)
        }
    };
    print!("{lines}");
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

/// A policy in another format. Warnings go to standard error.
fn convert(policy: &PolicyFiles, to: Format) -> Result<String, Failure> {
    match to {
        Format::Toml => policy.flat(),
        Format::Json => policy.json(),
        Format::Oci => {
            let written = oci::write::write(&policy.model()?).map_err(Failure::early)?;
            for warning in &written.warnings {
                eprintln!("cordon: {warning}");
            }
            Ok(written.profile)
        }
    }
}

/// Reads a file under its own name.
pub(crate) fn read(file: &Path, container: &ContainerOptions) -> Result<PolicyFiles, Failure> {
    PolicyFiles::read(file, &file.display().to_string(), &Container::with(container))
}

/// An OCI profile in our language, for such a container. Errors begin with line and column.
pub(crate) fn native_of_oci(text: &str, container: &Container) -> Result<String, String> {
    oci::to_native("profile", text, container, Path::new("")).map(|native| native.text)
}

/// The bytes of a file of this kind.
fn bytes_of(what: &str, path: &Path, name: &str) -> Result<Vec<u8>, Failure> {
    source::bytes(path).map_err(|error| Failure::early(format!("cannot read the {what} {name}: {error}")))
}

/// The text of a file, without a mark of its encoding.
fn text_of_bytes<'b>(name: &str, bytes: &'b [u8]) -> Result<&'b str, String> {
    if bytes.len() > policy::limits::MAX_TEXT {
        let most = policy::limits::MAX_TEXT;
        return Err(format!("{name}:1:1: the policy has more than {most} bytes"));
    }
    let text = policy::text(name, bytes).map_err(|error| error.to_string())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(at) = text.find('\0') {
        let Position { line, column } = Position::of_offset(text, at);
        return Err(format!("{name}:{line}:{column}: a NUL byte; a policy is a text file"));
    }
    Ok(text)
}

/// A text in our language.
#[derive(Debug, Default)]
struct Native {
    text: String,
    /// Where its parts come from, and the further files that it was made of, if the file holds something else.
    origins: Vec<policy::Origin>,
    origin_files: Vec<String>,
    /// It is of another format.
    translated: bool,
    /// What of the file does not apply.
    notes: Vec<String>,
}

/// The policy that a file's content stands for, in our language. `includes` has the file as its innermost. Errors have a place.
fn in_native(name: &str, text: &str, container: &Container, includes: &mut Includes) -> Result<Native, String> {
    let placed = |error: String| format!("{name}:{error}");
    if text.trim().is_empty() {
        return Err(placed("1:1: the file is empty: there is no policy in it; one begins with `version = 1`".into()));
    }
    if text.trim_start().starts_with('{') {
        return match is_own(text) {
            true => json::to_native(text).map_err(placed),
            false => oci::to_native(name, text, container, includes.folder()).map_err(placed),
        };
    }
    if minijail::is_one(text) {
        return minijail::to_native(name, text, includes);
    }
    if systemd::is_one(text) {
        return systemd::to_native(name, text);
    }
    if name.ends_with(".json") && text.trim_start().starts_with('[') {
        return Err(placed("1:1: a policy in JSON is an object; begin it with {".into()));
    }
    Ok(Native { text: text.to_owned(), ..Native::default() })
}

/// Whether JSON is of our language, which says so by its `version`, and not OCI's.
fn is_own(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text).is_ok_and(|whole| {
        whole.get("version").is_some() && whole.get("defaultAction").is_none() && whole.get("ociVersion").is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Result<PolicyFiles, String> {
        PolicyFiles::of_bytes(Path::new("f"), "f", bytes, &Container::default())
    }

    fn read(text: &str) -> Result<String, String> {
        of(text.as_bytes()).map(|policy| policy.text())
    }

    #[test]
    fn what_is_no_text_is_told_as_that() {
        assert_eq!(of("\u{feff}version = 1\n".as_bytes()).unwrap().text(), "version = 1\n");
        assert!(of("\u{feff}{\"version\": 1}".as_bytes()).is_ok());
        assert!(of(b"version = 1\nx\0").unwrap_err().starts_with("f:2:2: a NUL byte"));
        let json = PolicyFiles::of_bytes(Path::new("f.json"), "f.json", b"[[]]", &Container::default());
        assert!(json.unwrap_err().starts_with("f.json:1:1: a policy in JSON is an object"));
    }

    #[test]
    fn formats_are_known_by_their_content() {
        assert_eq!(read("version = 1\n").unwrap(), "version = 1\n");
        assert!(read(r#" {"defaultAction": "SCMP_ACT_ALLOW"}"#).unwrap().contains("default = \"allow\""));
        assert!(read("[Service]\nSystemCallFilter=@basic-io\n").unwrap().contains("\"read\""));
    }

    #[test]
    fn what_is_no_policy_is_refused_with_its_place() {
        let refused = |bytes: &[u8]| of(bytes).unwrap_err();
        assert_eq!(refused(b"version = 1\n# \xff"), "f:2:3: not UTF-8 from here on; a policy is a text file");
        assert!(refused(&vec![b'#'; policy::limits::MAX_TEXT + 1]).starts_with("f:1:1: the policy has more than"));
        assert!(refused(b" \n").starts_with("f:1:1: the file is empty"));
        assert!(refused(b"{\n \"defaultAction\": }").starts_with("f:2:19: "));
        assert!(refused("{\"a\":".repeat(9000).as_bytes()).contains("recursion limit"));
    }
}
