//! What the policy says of the process: it holds, whatever the command line or an image says.
use super::launch::Launch;
use crate::cli::RunOptions;
use crate::exit::Failure;
use anyhow::Context;
use bundle::Setting;
use policy::process::Process;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Refuses a command line that asks for something else than the policy says. `here` is what a relative `--cwd` starts from.
pub(super) fn contradictions(options: &RunOptions, process: &Process, here: &Path) -> Result<(), Failure> {
    let place = |key: &str| process.place(key).unwrap_or("the policy").to_owned();
    if let (Some(asked), Some(stated)) = (&options.cwd, &process.cwd)
        && here.join(asked) != Path::new(stated)
    {
        let (asked, place) = (asked.display(), place("cwd"));
        return Err(Failure::early(format!("--cwd {asked}: the working directory is {stated:?} by {place}")));
    }
    for pair in &options.env {
        let (name, value) = split(pair.as_bytes());
        let shown = String::from_utf8_lossy(name);
        let of_name = || place(&format!("env.{shown}"));
        match process.env.iter().find(|(known, _)| known.as_bytes() == name) {
            Some((_, Some(stated))) if stated.as_bytes() != value => {
                return Err(Failure::early(format!("--env {shown}: its value is {stated:?} by {}", of_name())));
            }
            Some((_, None)) => {
                return Err(Failure::early(format!("--env {shown}: the variable is left out by {}", of_name())));
            }
            None if !process.lets_in(name) => {
                return Err(Failure::early(format!("--env {shown}: the variable is not allowed by {}", place("env"))));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Name and value of a variable.
fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
    (pair.get(..end).unwrap_or(pair), pair.get(end + 1..).unwrap_or_default())
}

/// Makes of a launch what the policy says.
pub(super) fn obey(launch: &mut Launch, process: &Process) {
    if let Some(cwd) = &process.cwd {
        launch.cwd = cwd.into();
    }
    launch.user = (process.uid.unwrap_or(launch.user.0), process.gid.unwrap_or(launch.user.1));
    launch.terminal_type &= process.lets_in(b"TERM");
    launch.env.retain(|pair| {
        let (name, _) = split(pair);
        process.lets_in(name) && !process.env.keys().any(|known| known.as_bytes() == name)
    });
    let set = process.env.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
    launch.env.extend(set.map(String::into_bytes));
}

/// What else the process is like.
pub(super) fn setting(process: &Process) -> Setting {
    let usual = Setting::default();
    let limits = process.limits.iter().map(|(kind, limit)| (*kind, limit.soft, limit.hard));
    Setting {
        groups: process.groups.clone().unwrap_or_default(),
        umask: process.umask.unwrap_or(usual.umask),
        hostname: process.hostname.clone().unwrap_or(usual.hostname),
        domainname: process.domainname.clone().unwrap_or(usual.domainname),
        no_new_privileges: process.no_new_privileges.unwrap_or_default(),
        limits: limits.collect(),
    }
}

/// What the sandbox' clock shows when this machine's shows `now`, in ns since the epoch.
pub(super) fn clock(process: &Process, now: SystemTime) -> Result<u64, Failure> {
    let offset = process.clock_offset.unwrap_or_default();
    let distance = Duration::from_secs(offset.unsigned_abs());
    let shown = if offset < 0 { now.checked_sub(distance) } else { now.checked_add(distance) };
    let since = shown.and_then(|shown| shown.duration_since(UNIX_EPOCH).ok());
    let since = since.context("the clock would stand before 1970")?;
    Ok(u64::try_from(since.as_nanos()).context("the clock stands too late")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::path::PathBuf;

    const POLICY: &str = "version = 1\n[process]\ncwd = \"/srv\"\nuid = 7\nclock = { offset = \"-1d\" }\nenv = { allow = [\"LC_*\", \"A\"], set = { A = \"1\" }, unset = [\"LC_ALL\"] }\n";

    fn options(words: &[&str]) -> RunOptions {
        let words = ["xtask", "run"].iter().chain(words).chain(&["--", "x"]);
        match crate::cli::Cli::try_parse_from(words).unwrap().command {
            crate::cli::Command::Run(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_does_not_contradict_the_policy() {
        let policy = policy::parse("p.toml", POLICY).unwrap();
        let refused = |words: &[&str]| {
            contradictions(&options(words), policy.process(), Path::new("/")).err().map(|error| error.to_string())
        };
        assert_eq!(refused(&["--cwd", "srv", "--env", "A=1", "--env", "LC_TIME=C"]), None);
        for (words, why) in [
            (["--cwd", "/tmp"], "--cwd /tmp: the working directory is \"/srv\" by p.toml:3"),
            (["--env", "A=2"], "--env A: its value is \"1\" by p.toml:6"),
            (["--env", "LC_ALL=C"], "--env LC_ALL: the variable is left out by p.toml:6"),
            (["--env", "HOME=/"], "--env HOME: the variable is not allowed by p.toml:6"),
        ] {
            assert_eq!(refused(&words).as_deref(), Some(why));
        }
    }

    #[test]
    fn what_the_policy_says_replaces_what_else_would_be() {
        let policy = policy::parse("p.toml", POLICY).unwrap();
        let mut launch = Launch {
            commands: Vec::new(),
            cwd: "/".into(),
            search_path: "/bin".into(),
            user: (1, 2),
            terminal_type: true,
            env: ["HOME=/", "A=0", "LC_ALL=C", "LC_TIME=x"].map(|pair| pair.as_bytes().to_vec()).into(),
        };
        obey(&mut launch, policy.process());
        assert_eq!((launch.cwd, launch.user, launch.terminal_type), (PathBuf::from("/srv"), (7, 2), false));
        assert_eq!(launch.env, [b"LC_TIME=x".as_slice(), b"A=1"]);
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(clock(policy.process(), UNIX_EPOCH + day + day).ok(), u64::try_from(day.as_nanos()).ok());
        assert!(clock(policy.process(), UNIX_EPOCH).is_err());
        assert_eq!(setting(policy.process()), Setting::default());
    }
}
