//! What the user is told at the end: one line for anything but a normal exit, the figures, the exit code.
use super::outputs::{label, numbered};
use super::session::{End, Ended};
use crate::cli::{Accel, RunOptions};
use crate::exit::{POLICY_KILLED, SANDBOX_FAILED, SIGNAL_BASE, TIMED_OUT};
use crate::qemu::{self, code};
use control::{ExitReport, Outcome, RunStats};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::{fmt, fs};

/// Lines of each log that are shown after a failure.
const TAIL: usize = 15;
/// SIGPIPE's number: what a program gets whose reader has gone.
const SIGPIPE: u8 = 13;

/// Tells the user how it ended and gives the exit code.
pub(crate) fn report(ended: &Ended, options: &RunOptions, accel: Accel, directory: &Path) -> ExitCode {
    let ends = verdicts(&ended.end);
    for (sandbox, end) in (0u16..).zip(&ends) {
        if let Some(message) = end.message(sandbox) {
            eprintln!("cordon: {}{}", label(sandbox), printable(&message));
        }
    }
    for missing in &ended.missing {
        eprintln!("cordon: {}{}", label(missing.sandbox), printable(&missing.reason));
    }
    for complaint in &ended.unwritten {
        eprintln!("cordon: {}", printable(complaint));
    }
    // Of the host's trouble they know nothing.
    if ends.iter().any(|end| end.code == SANDBOX_FAILED) && !matches!(ended.end, End::Unwritable(_)) {
        show_logs(directory);
    }
    if let End::Reported(reports) = &ended.end
        && (options.stats || options.trace.is_some())
    {
        show_figures(reports, ended, options, accel, directory);
    }
    // The first copy that did not end well speaks for all. What runs beside them is not asked.
    let copies = ends.iter().take(options.copies.into()).map(|end| end.code);
    let all_written = ended.missing.is_empty() && ended.unwritten.is_empty();
    let otherwise = if all_written { 0 } else { SANDBOX_FAILED };
    ExitCode::from(copies.into_iter().find(|code| *code != 0).unwrap_or(otherwise))
}

/// Figures of the run, as far as they were asked for.
fn show_figures(reports: &[Option<ExitReport>], ended: &Ended, options: &RunOptions, accel: Accel, directory: &Path) {
    let exits = Exits::read(directory);
    if let [Some(report)] = reports {
        eprintln!("{}", summary(report, ended, accel, exits));
        if options.stats {
            eprint!("{}", figures(report, ended, exits));
        }
    } else if options.stats {
        let told = (0u16..).zip(reports).filter_map(|(sandbox, report)| Some((sandbox, report.as_ref()?)));
        for (sandbox, report) in told {
            eprintln!("cordon: {}{}", numbered(sandbox), own_figures(&report.stats));
            eprintln!("cordon: {}{}", numbered(sandbox), root_figures(&report.stats));
        }
        eprint!("{}", figures_of_all(reports, ended, accel, exits));
    }
    if let Some(ticks) = raw_switch(directory).filter(|_| options.stats) {
        eprintln!("cordon: raw world switch: {ticks} ticks");
    }
}

/// The name of an accelerator.
pub(crate) fn accel_name(accel: Accel) -> &'static str {
    match accel {
        Accel::Auto => "auto",
        Accel::Tcg => "tcg",
        Accel::Kvm => "kvm",
        Accel::Whpx => "whpx",
    }
}

/// How a program ended: its exit code, and the line for the user if it is not a plain exit.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    code: u8,
    message: Option<String>,
}

impl Verdict {
    /// The line for the user. The first program's code is seen anyway.
    fn message(&self, sandbox: u16) -> Option<String> {
        let exited = || format!("program ended with exit code {}", self.code);
        self.message.clone().or_else(|| (sandbox > 0 && self.code != 0).then(exited))
    }
}

/// How each program ended. Where the run as a whole came to an end, that is told of the first.
fn verdicts(end: &End) -> Vec<Verdict> {
    let (code, message) = match end {
        End::Reported(reports) => return reports.iter().map(|report| told(report.as_ref())).collect(),
        End::Unread(outcomes) => return outcomes.iter().map(verdict).collect(),
        End::Lost { status, root_was_up } => (SANDBOX_FAILED, Some(lost(*status, *root_was_up))),
        End::Hung { root_was_up: true } => {
            (TIMED_OUT, Some("timed out, and the root did not end the program: the machine was stopped".into()))
        }
        End::Hung { root_was_up: false } => {
            (SANDBOX_FAILED, Some("sandbox failed: the machine did not come up".into()))
        }
        End::Interrupted(signal) => {
            let number = u8::try_from(*signal).unwrap_or(0);
            (SIGNAL_BASE.saturating_add(number), Some(format!("stopped by {}", signal_name(number))))
        }
        End::OutputClosed => (SIGNAL_BASE + SIGPIPE, None),
        End::Protocol(what) => (SANDBOX_FAILED, Some(format!("sandbox failed: the root sent nonsense: {what}"))),
        End::Unwritable(why) => (SANDBOX_FAILED, Some(format!("the run was stopped: {why}"))),
    };
    vec![Verdict { code, message }]
}

/// How a program ended, by the root's report.
fn told(report: Option<&ExitReport>) -> Verdict {
    match report {
        Some(report) => verdict(&report.outcome),
        None => {
            let message = Some("sandbox failed: the root did not tell its end".into());
            Verdict { code: SANDBOX_FAILED, message }
        }
    }
}

fn verdict(end: &Outcome) -> Verdict {
    let (code, message) = outcome(end);
    Verdict { code, message }
}

/// The exit code, and the line for the user if it is not a plain exit.
fn outcome(outcome: &Outcome) -> (u8, Option<String>) {
    match outcome {
        Outcome::Exited { status } => (*status, None),
        Outcome::Signaled { signal, detail } => {
            let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
            (SIGNAL_BASE.saturating_add(*signal), Some(format!("program ended by {}{detail}", signal_name(*signal))))
        }
        Outcome::PolicyKilled { reason } => (POLICY_KILLED, Some(format!("killed by policy: {reason}"))),
        Outcome::NotStarted { code, reason } => (*code, Some(reason.clone())),
        Outcome::TimedOut { reason } => {
            let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
            (TIMED_OUT, Some(format!("timed out: the program was ended at its time limit{reason}")))
        }
        Outcome::SandboxFailed { reason } => (SANDBOX_FAILED, Some(format!("sandbox failed: {reason}"))),
    }
}

/// Why QEMU ended without a report, as far as its exit code tells.
fn lost(status: ExitStatus, root_was_up: bool) -> String {
    let what = match status.code() {
        Some(code::HYPERVISOR_FAILED) => "the hypervisor stopped the machine".to_owned(),
        Some(code::ROOT_PANIC) => "the root panicked".to_owned(),
        Some(code::ROOT_FAILED | code::SUCCESS) => "the root ended without a report".to_owned(),
        Some(0) => "the machine was reset or switched off".to_owned(),
        _ => format!("QEMU ended unexpectedly ({status})"),
    };
    let when = if root_was_up { "" } else { " before the root was up" };
    format!("sandbox failed: {what}{when}")
}

/// Shows the ends of the logs.
fn show_logs(directory: &Path) {
    for (name, file) in [("hypervisor", qemu::HYPERVISOR_LOG), ("root", qemu::ROOT_LOG), ("QEMU", qemu::QEMU_LOG)] {
        let bytes = fs::read(directory.join(file)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(TAIL)) {
            eprintln!("cordon: {name}: {}", printable(line));
        }
    }
}

/// A line without characters that are not to be seen: what a sandbox says of itself must not steer the terminal.
pub(crate) fn printable(line: &str) -> String {
    line.chars().filter(|c| !policy::steers(*c)).collect()
}

/// A line of our own for the user while the programs run, whose terminal may take bytes as they are.
pub(crate) fn say(text: &str) {
    let mut stderr = io::stderr();
    let end = if stderr.is_terminal() { "\r\n" } else { "\n" };
    // A closed standard error stops neither a program nor us.
    let _ = stderr.write_all(format!("cordon: {}{end}", printable(text)).as_bytes());
}

/// The hypervisor's own count of exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exits {
    root: u64,
    child: u64,
}

impl fmt::Display for Exits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cordon: exits, as the hypervisor counts: {} of the root, {} of the children", self.root, self.child)
    }
}

impl Exits {
    /// From the hypervisor's last words, `cordon-hv: exits root=<n> child=<n>`.
    fn read(directory: &Path) -> Option<Self> {
        let log = fs::read(directory.join(qemu::HYPERVISOR_LOG)).ok()?;
        Self::parse(&String::from_utf8_lossy(&log))
    }

    fn parse(log: &str) -> Option<Self> {
        let mut numbers = log.lines().rev().find_map(|line| line.split_once("cordon-hv: exits "))?.1.split_whitespace();
        let mut number = |key: &str| -> Option<u64> { numbers.next()?.strip_prefix(key)?.parse().ok() };
        Some(Self { root: number("root=")?, child: number("child=")? })
    }
}

/// The ticks of a raw world switch, if the hypervisor was told to measure it (`bench=switch`).
fn raw_switch(directory: &Path) -> Option<u64> {
    let log = fs::read(directory.join(qemu::HYPERVISOR_LOG)).ok()?;
    let log = String::from_utf8_lossy(&log);
    let (_, after) = log.split_once("cordon-hv: raw world switch ")?;
    after.split_whitespace().next()?.parse().ok()
}

/// The line at the end.
fn summary(report: &ExitReport, ended: &Ended, accel: Accel, exits: Option<Exits>) -> String {
    let stats = &report.stats;
    let switches = match exits {
        Some(exits) => exits.root.saturating_add(exits.child),
        None => stats.dispatches.saturating_mul(2).saturating_add(stats.other_hypercalls),
    };
    let files = match stats.files_refused {
        0 => String::new(),
        1 => ", 1 use of files refused".to_owned(),
        uses => format!(", {uses} uses of files refused"),
    };
    format!(
        "cordon: {} calls, {} denied, {} killed, {} not carried out{files}, {switches} world switches, {:.3} s ({:.3} s with the boot, {})",
        stats.calls,
        stats.denied,
        stats.killed,
        stats.not_implemented,
        seconds(stats.wall_us),
        ended.wall.as_secs_f64(),
        accel_name(accel),
    )
}

/// One sandbox' figures among several, in a line.
fn own_figures(stats: &RunStats) -> String {
    format!(
        "{} calls, {} denied, {} killed, {} dispatches, {:.3} s, {} KiB in all, {} KiB beyond the program's own pages",
        stats.calls,
        stats.denied,
        stats.killed,
        stats.dispatches,
        seconds(stats.wall_us),
        stats.memory_bytes / 1024,
        stats.memory_bytes.saturating_sub(stats.program_bytes) / 1024,
    )
}

/// What several sandboxes took together.
fn figures_of_all(reports: &[Option<ExitReport>], ended: &Ended, accel: Accel, exits: Option<Exits>) -> String {
    let all = || reports.iter().flatten().map(|report| &report.stats);
    let mut lines = format!(
        "cordon: {} sandboxes: {} calls, {} KiB of memory of their own, {:.3} s with the boot, {}\n",
        reports.len(),
        all().map(|stats| stats.calls).sum::<u64>(),
        all().map(|stats| stats.memory_bytes).sum::<u64>() / 1024,
        ended.wall.as_secs_f64(),
        accel_name(accel),
    );
    if let Some(exits) = exits {
        lines += &format!("{exits}\n");
    }
    lines
}

/// The further figures of `--stats`, a line each.
fn figures(report: &ExitReport, ended: &Ended, exits: Option<Exits>) -> String {
    let stats = &report.stats;
    let beyond = stats.memory_bytes.saturating_sub(stats.program_bytes);
    let mut lines = vec![
        format!(
            "cordon: start: {:.3} ms from the partition's creation to the first instruction",
            stats.start_us as f64 / 1e3
        ),
        format!(
            "cordon: memory: {} KiB in all, {} KiB of them the program's own pages, {} KiB beyond",
            stats.memory_bytes / 1024,
            stats.program_bytes / 1024,
            beyond / 1024
        ),
        format!(
            "cordon: work: {} dispatches, {} other hypercalls, {} service requests, {} wake-ups of the root while it waited",
            stats.dispatches, stats.other_hypercalls, stats.service_requests, stats.wake_ups
        ),
    ];
    lines.push(format!("cordon: {}", root_figures(stats)));
    lines.extend(exits.map(|exits| exits.to_string()));
    if let Some(boot) = ended.boot {
        lines.push(format!("cordon: boot: {:.3} s from QEMU's start until the root was up", boot.as_secs_f64()));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// What a sandbox took of the root.
fn root_figures(stats: &RunStats) -> String {
    format!(
        "root: {} KiB of heap, {} events made, at most {} bytes of them waiting",
        stats.root_heap_bytes / 1024,
        stats.records,
        stats.most_waiting
    )
}

/// Microseconds as seconds.
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// The name of a Linux signal.
fn signal_name(number: u8) -> String {
    signal_hook::low_level::signal_name(i32::from(number)).map_or_else(|| format!("signal {number}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hypervisors_count() {
        let log = "boot\ncordon-hv: exits root=12 child=7\r\n";
        assert_eq!(Exits::parse(log), Some(Exits { root: 12, child: 7 }));
        assert_eq!(Exits::parse("cordon-hv: exits root=x"), None);
        assert_eq!(Exits::parse(""), None);
    }

    #[test]
    fn exit_codes() {
        assert_eq!(outcome(&Outcome::Exited { status: 7 }), (7, None));
        let (code, line) = outcome(&Outcome::Signaled { signal: 11, detail: "at 0x0".into() });
        assert_eq!(code, 139);
        assert_eq!(line.as_deref(), Some("program ended by SIGSEGV (at 0x0)"));
        let killed = Outcome::PolicyKilled { reason: "x".into() };
        assert_eq!(outcome(&killed).0, POLICY_KILLED);
        assert_eq!(outcome(&Outcome::TimedOut { reason: String::new() }).0, TIMED_OUT);
    }
}
