//! libseccomp judges what OCI profiles mean: the filter that it compiles and our policy must give the same verdicts.
use super::bpf::Program;
use super::profiles::Profile;
use super::reference;
use crate::exit::Failure;
use crate::{apt, policy, workspace};
use ::policy::{Action, Policy, Verdict};
use anyhow::Context;
use proto::syscalls::{self, SYSCALL_LIMIT};
use seeded::Random;
use serde::Deserialize;
use serde_json::json;
use std::io::Write;
use std::process::{Command, Stdio};

/// The script that asks libseccomp.
const SCRIPT: &str = "tests/judges/libseccomp.py";
/// Arguments that each call is judged with whose verdict depends on them, and how many `--all` tries.
const TUPLES: u32 = 1000;
const ALL_TUPLES: u32 = 1_000_000;
/// Numbers beyond the table that are tried as well. Those of x32, from 0x40000000 on, are left out: libseccomp ends a program for them, and the
/// gate refuses them before any policy is asked.
const BEYOND: [u32; 4] = [512, 1000, 0xffff, 0x3fff_ffff];

/// What libseccomp makes of a profile.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Compiled {
        bpf: String,
        /// Names that it does not know: newer ones than itself. Those of other processors are among them.
        unknown: Vec<String>,
    },
    Refused {
        refused: String,
    },
}

/// A verdict in both worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Allow,
    Log,
    KillProcess,
    KillThread,
    Trap,
    Errno(u32),
    Other(u32),
}

/// Compares verdicts on every call.
pub(super) fn judge(profile: &Profile, all: bool) -> Result<Result<(), String>, Failure> {
    let answer = ask(profile)?;
    let ours = policy::native_of_oci(&profile.text, &profile.container);
    let (ours, bpf, unknown) = match (ours, answer) {
        (Ok(ours), Answer::Compiled { bpf, unknown }) => (ours, bpf, unknown),
        (Err(why), Answer::Refused { refused }) => {
            println!("    both refuse it: {refused}; {why}");
            return Ok(Ok(()));
        }
        (Ok(_), Answer::Refused { refused }) => return Ok(Err(format!("only libseccomp refuses it: {refused}"))),
        (Err(why), Answer::Compiled { .. }) => return Ok(Err(format!("only we refuse it: {why}"))),
    };
    let ours = match ::policy::parse("profile", &ours) {
        Ok(policy) => policy,
        Err(error) => return Ok(Err(format!("{error}\n{ours}"))),
    };
    let theirs = Program::of_hex(&bpf).context("libseccomp's filter cannot be read")?;
    let is_unknown = |number: &u32| {
        syscalls::by_number((*number).into()).is_some_and(|call| unknown.iter().any(|name| name == call.name))
    };
    let table = 0..u32::try_from(SYSCALL_LIMIT).context("the table")?;
    let numbers: Vec<u32> = table.filter(|number| !is_unknown(number)).chain(BEYOND).collect();
    let tuples = if all { ALL_TUPLES } else { TUPLES };
    let mut comparison = Comparison {
        ours,
        theirs,
        reference: reference(profile)?,
        words: interesting(&profile.text),
        settled: 0,
        judged: 0,
        confused: 0,
        unjustified: 0,
    };
    let verdict = numbers.iter().try_for_each(|number| comparison.compare(*number, tuples));
    let Comparison { settled, judged, confused, unjustified, .. } = comparison;
    if all {
        println!("    {settled} calls whatever their arguments, {judged} verdicts on others");
    }
    if confused + unjustified > 0 {
        println!(
            "    libseccomp compared the wrong word in {confused} cases, and in {unjustified} no rule gives its verdict"
        );
    }
    Ok(verdict.map_err(|(number, why)| format!("{why}\n{}", about(&profile.text, number))))
}

/// The entries one by one, for a profile on which libseccomp may be wrong.
fn reference(profile: &Profile) -> Result<Option<reference::Profile>, Failure> {
    Ok(if profile.is_hard { Some(serde_json::from_str(&profile.text).context("the profile")?) } else { None })
}

/// Both opinions on one profile.
struct Comparison {
    ours: Policy,
    theirs: Program,
    reference: Option<reference::Profile>,
    /// Arguments worth trying.
    words: Vec<u64>,
    /// Calls on which neither verdict depends on arguments.
    settled: u64,
    /// Equal verdicts on the others.
    judged: u64,
    /// Differences where its filter compares the wrong half of an argument, and a rule gives our verdict.
    confused: u64,
    /// Differences where no rule gives its verdict, and one gives ours.
    unjustified: u64,
}

impl Comparison {
    /// Compares verdicts on one call.
    fn compare(&mut self, number: u32, count: u32) -> Result<(), (u32, String)> {
        let name = syscalls::by_number(number.into()).map_or("?", |call| call.name);
        let mut random = Random(number.into());
        let has_conditions = self.ours.about(number.into()).has_conditions();
        for done in 0..count {
            let args = arguments(&self.words, &mut random);
            let returned = self.theirs.run(number, &args);
            let expected = returned.map(|returned| of_filter(returned.value));
            let verdict = self.ours.judge(number.into(), &args);
            let found = of_ours(&verdict);
            if expected == Some(found) {
                if done == 0 && !has_conditions && returned.is_some_and(|returned| !returned.reads_arguments) {
                    // Neither looks at arguments: this is their verdict on all.
                    self.settled += 1;
                    return Ok(());
                }
                self.judged += 1;
                continue;
            }
            let justified = self.reference.as_ref().map(|reference| reference.justified(name, &args));
            let is_justified = |said: Option<Said>| {
                justified.as_ref().is_none_or(|actions| actions.iter().any(|action| said == Some(of_entry(*action))))
            };
            let is_confused = justified.is_some() && returned.is_some_and(|returned| returned.is_confused);
            if is_justified(Some(found)) && (is_confused || !is_justified(expected)) {
                *(if is_confused { &mut self.confused } else { &mut self.unjustified }) += 1;
                continue;
            }
            let rule = verdict.rule();
            return Err((
                number,
                format!("{name} {args:x?}: libseccomp says {expected:?}, we say {found:?} by {rule}"),
            ));
        }
        Ok(())
    }
}

/// Our verdict.
fn of_ours(verdict: &Verdict<'_>) -> Said {
    match verdict.action {
        Action::Allow if verdict.log => Said::Log,
        Action::Allow => Said::Allow,
        Action::KillProcess => Said::KillProcess,
        Action::KillThread => Said::KillThread,
        Action::Trap => Said::Trap,
        Action::Errno(errno) => Said::Errno(errno.number.into()),
        Action::Fake(value) => Said::Errno(u32::try_from(value.unsigned_abs()).unwrap_or(0)),
        _ => Said::Other(0),
    }
}

/// What an entry's action, with its error, comes to.
fn of_entry(action: (&str, Option<u32>)) -> Said {
    match action {
        ("SCMP_ACT_ALLOW", _) => Said::Allow,
        ("SCMP_ACT_LOG", _) => Said::Log,
        ("SCMP_ACT_ERRNO", errno) => Said::Errno(errno.unwrap_or(1)),
        ("SCMP_ACT_KILL_PROCESS", _) => Said::KillProcess,
        ("SCMP_ACT_TRAP", _) => Said::Trap,
        _ => Said::KillThread,
    }
}

/// A filter's verdict (seccomp(2)) as we carry it out.
fn of_filter(value: u32) -> Said {
    match (value & 0xffff_0000, value & 0xffff) {
        (0x7fff_0000, _) => Said::Allow,
        (0x7ffc_0000, _) => Said::Log,
        (0x8000_0000, _) => Said::KillProcess,
        (0x0003_0000, _) => Said::Trap,
        (0, _) => Said::KillThread,
        (0x0005_0000, errno) => Said::Errno(errno),
        // Without a tracer or listener the call gives ENOSYS.
        (0x7ff0_0000 | 0x7fc0_0000, _) => Said::Errno(38),
        _ => Said::Other(value),
    }
}

/// Asks libseccomp.
fn ask(profile: &Profile) -> Result<Answer, Failure> {
    let python = apt::require("python3", "python3")?;
    let mut script = Command::new(python)
        .arg(workspace::root().join(SCRIPT))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("python3")?;
    let content: serde_json::Value = serde_json::from_str(&profile.text).context("the profile")?;
    let container = &profile.container;
    let case =
        json!({"profile": content, "caps": container.capabilities, "kernel": [container.kernel.0, container.kernel.1]});
    let mut input = script.stdin.take().context("python3 reads nothing")?;
    writeln!(input, "{case}").context("python3")?;
    drop(input);
    let output = script.wait_with_output().context("python3")?;
    Ok(serde_json::from_slice(&output.stdout).context("libseccomp's answer cannot be read")?)
}

/// The entries of a profile that name a call.
fn about(profile: &str, number: u32) -> String {
    let content: serde_json::Value = serde_json::from_str(profile).unwrap_or_default();
    let name = syscalls::by_number(number.into()).map_or("?", |call| call.name);
    let entries = content["syscalls"].as_array().into_iter().flatten();
    let named =
        entries.filter(|entry| entry["names"].as_array().is_some_and(|names| names.iter().any(|one| one == name)));
    named.map(|entry| format!("{entry}\n")).collect()
}

/// The numbers in a profile: what its conditions compare with.
fn interesting(profile: &str) -> Vec<u64> {
    let numbers = profile.split(|character: char| !character.is_ascii_digit()).filter_map(|word| word.parse().ok());
    let mut words: Vec<u64> = numbers.chain([0, u64::MAX]).collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// Arguments to try: mostly what a condition compares with, and what is near it in either half.
fn arguments(words: &[u64], random: &mut Random) -> [u64; 6] {
    [(); 6].map(|()| {
        let word = words[random.below(words.len())];
        let choice = random.next();
        match choice % 8 {
            0 => choice >> 3,
            1 => word.wrapping_add(1),
            2 => word.wrapping_sub(1),
            3 => word ^ (1 << (choice >> 3 & 63)),
            4 => word.wrapping_add((choice >> 3) << 32),
            5 => choice >> 3 & 7,
            _ => word,
        }
    })
}
