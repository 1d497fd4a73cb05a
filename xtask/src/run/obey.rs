//! What the policy says of the process: it holds, whatever the command line or an image says.
use super::launch::Launch;
use crate::cli::RunOptions;
use crate::exit::Failure;
use bundle::Setting;
use policy::environment::Said;
use policy::process::Process;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Refuses a command line that asks for something else than the policy says. `here` is what a relative `--cwd` starts from.
pub(super) fn contradictions(options: &RunOptions, process: &Process, here: &Path) -> Result<(), Failure> {
    if let (Some(asked), Some(stated)) = (&options.cwd, &process.cwd)
        && here.join(asked) != Path::new(stated)
    {
        let (asked, place) = (asked.display(), process.place("cwd").unwrap_or("the policy"));
        return Err(Failure::early(format!("--cwd {asked}: the working directory is {stated:?} by {place}")));
    }
    for pair in &options.env {
        let (name, value) = split(pair.as_bytes());
        let shown = String::from_utf8_lossy(name);
        let place = process.env.place(name).unwrap_or("the policy");
        let why = match process.env.of(name) {
            Said::Set(stated) if stated.as_bytes() != value => format!("its value is {stated:?} by {place}"),
            Said::Unset => format!("the variable is left out by {place}"),
            Said::NotAllowed => format!("the variable is not allowed by {place}"),
            Said::Set(_) | Said::Passed | Said::Allowed => continue,
        };
        return Err(Failure::early(format!("--env {shown}: {why}")));
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
    launch.terminal_type &= may_be_given(process, b"TERM");
    launch.env.retain(|pair| may_be_given(process, split(pair).0));
    let set = process.env.values().map(|(name, value)| format!("{name}={value}"));
    launch.env.extend(set.map(String::into_bytes));
}

/// Whether a variable can have a value that the policy does not state.
fn may_be_given(process: &Process, name: &[u8]) -> bool {
    matches!(process.env.of(name), Said::Passed | Said::Allowed)
}

/// Of the variables `here` those that the policy passes on.
pub(super) fn passed(process: &Process, here: impl Iterator<Item = (OsString, OsString)>) -> Vec<OsString> {
    let is_passed = |(name, _): &(OsString, OsString)| process.env.of(name.as_bytes()) == Said::Passed;
    let pair = |(name, value)| {
        let mut pair: OsString = name;
        pair.push("=");
        pair.push::<OsString>(value);
        pair
    };
    here.filter(is_passed).map(pair).collect()
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
    let of_policy = |why: &str| match process.place("clock") {
        Some(place) => Failure::early(format!("{place}: {why}")),
        None => Failure::early(why),
    };
    let since = since.ok_or_else(|| of_policy("the clock would stand before 1970"))?;
    u64::try_from(since.as_nanos()).map_err(|_| of_policy("the clock would stand after 2554"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const POLICY: &str = "version = 1\n[process]\ncwd = \"/srv\"\nuid = 7\nclock = { offset = \"-1d\" }\nenv = { allow = [\"LC_*\", \"A\"], set = { A = \"1\" }, unset = [\"LC_ALL\"], pass = [\"T*\"] }\n";

    fn options(words: &[&str]) -> RunOptions {
        crate::cli::parsed_run(words.iter().chain(&["--", "x"]).map(ToString::to_string))
    }

    #[test]
    fn the_command_line_does_not_contradict_the_policy() {
        let policy = policy::parse("p.toml", POLICY).unwrap();
        let refused = |words: &[&str]| {
            contradictions(&options(words), policy.process(), Path::new("/")).err().map(|error| error.to_string())
        };
        assert_eq!(refused(&["--cwd", "srv", "--env", "A=1", "--env", "LC_TIME=C", "--env", "TZ=UTC"]), None);
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
            env: ["HOME=/", "TZ=UTC", "A=0", "LC_ALL=C", "LC_TIME=x"].map(|pair| pair.as_bytes().to_vec()).into(),
        };
        obey(&mut launch, policy.process());
        assert_eq!((launch.cwd, launch.user, launch.terminal_type), (PathBuf::from("/srv"), (7, 2), true));
        assert_eq!(launch.env, [b"TZ=UTC".as_slice(), b"LC_TIME=x", b"A=1"]);
        let here = [("TZ", "CET"), ("A", "2"), ("LC_TIME", "x"), ("TERM", "vt=100")];
        let passed = passed(policy.process(), here.into_iter().map(|(name, value)| (name.into(), value.into())));
        assert_eq!(passed, ["TZ=CET", "TERM=vt=100"]);
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(clock(policy.process(), UNIX_EPOCH + day + day).ok(), u64::try_from(day.as_nanos()).ok());
        let before = clock(policy.process(), UNIX_EPOCH).unwrap_err().to_string();
        assert_eq!(before, "p.toml:5: the clock would stand before 1970");
        assert_eq!(setting(policy.process()), Setting::default());
    }
}
