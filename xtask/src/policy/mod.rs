//! `cargo xtask policy`: what a policy says, without running anything; and other programs' formats made to ours.
//!
//! The root reads one language, ours. What is written for others is translated here, on the host, and the translation
//! is what the root gets: [`text_of`].
mod constants;
mod explain;
mod includes;
mod minijail;
mod native;
mod oci;
mod options;
mod position;
mod systemd;

pub(crate) use oci::Container;
pub(crate) use options::{ContainerOptions, PolicyCommand};

use crate::exit::Failure;
use includes::Includes;
use proto::syscalls::SYSCALLS;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

/// Does what was asked for.
pub(crate) fn policy(command: &PolicyCommand) -> Result<ExitCode, Failure> {
    let lines = match command {
        PolicyCommand::Check { file, container } => check(&read(file, container)?)?,
        PolicyCommand::Explain { file, call, container } => {
            explain::explain(&read(file, container)?.compiled()?, call)?
        }
        PolicyCommand::Convert { file, container } => read(file, container)?.checked()?.text,
    };
    std::io::stdout().write_all(lines.as_bytes()).map_err(|error| Failure::early(error.to_string()))?;
    Ok(ExitCode::SUCCESS)
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
        // One byte more than a policy may have: its reader says so.
        let most = policy::limits::MAX_TEXT as u64 + 1;
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(most).read_to_end(&mut bytes))
            .map_err(|error| Failure::early(format!("cannot read the policy {name}: {error}")))?;
        let text = text_of(path, &name, &bytes, container).map_err(Failure::early)?;
        Ok(Self { name, text })
    }

    /// The compiled policy.
    pub(crate) fn compiled(&self) -> Result<policy::Policy, Failure> {
        policy::parse(&self.name, &self.text).map_err(|error| Failure::early(error.to_string()))
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

/// The policy that a file's content stands for, in our language.
fn text_of(path: &Path, name: &str, bytes: &[u8], container: &Container) -> Result<String, String> {
    if bytes.len() > policy::limits::MAX_TEXT {
        let most = policy::limits::MAX_TEXT;
        return Err(format!("{name}:1:1: the policy has more than {most} bytes"));
    }
    let text = policy::text(name, bytes).map_err(|error| error.to_string())?;
    if text.trim_start().starts_with('{') {
        return oci::to_native(text, container).map_err(|error| format!("{name}:{error}"));
    }
    if minijail::is_one(text) {
        return minijail::to_native(name, text, &mut Includes::of_file(path));
    }
    if systemd::is_one(text) {
        return systemd::to_native(text).map_err(|error| format!("{name}:{error}"));
    }
    Ok(text.to_owned())
}

/// What `policy check` prints.
fn check(named: &PolicyFile) -> Result<String, Failure> {
    let policy = named.compiled()?;
    let by_default = |call: &&proto::syscalls::Syscall| !policy.is_named(call.number.into());
    let left: Vec<&str> = SYSCALLS.iter().filter(by_default).map(|call| call.name).collect();
    let default = explain::action(&policy.judge_unknown());
    let mut lines = format!("{}: {} rules; the default is {default}\n", named.name, policy.rule_count());
    lines += &match left.as_slice() {
        [] => "every known call is named by a rule\n".to_owned(),
        calls => format!("{} calls are left to the default: {}\n", calls.len(), calls.join(" ")),
    };
    Ok(lines)
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

    #[test]
    fn checks_name_what_is_left_to_the_default() {
        let named = PolicyFile {
            name: "f".into(),
            text: "version = 1\n[[rule]]\ncalls = [\"@known\"]\naction = \"allow\"\n".into(),
        };
        let lines = check(&named).unwrap();
        assert!(lines.starts_with("f: 1 rules; the default is errno EPERM\n"), "{lines}");
        assert!(lines.contains(" statmount") && !lines.contains(" read "), "{lines}");
    }
}
