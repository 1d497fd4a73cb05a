//! A shim that has been taken over (tests/hostile-shim): what it tries is refused, or ends the sandbox with a reason; the
//! root lives on in either case and reports.
use crate::{Bench, Case, Outcome, Verdict};

/// Cases that go on after what they try, with a variant. They print a line for each thing, and exit with 0 if all went well.
const REFUSED: [(&str, &str); 20] = [
    ("alarm", ""),
    ("hypercalls", ""),
    ("processor", ""),
    ("overlay", ""),
    ("memory", ""),
    ("requests", ""),
    ("files", ""),
    ("window", ""),
    ("floods", "lookups"),
    ("floods", "handles"),
    ("floods", "files"),
    ("floods", "deep"),
    ("floods", "links"),
    ("floods", "bytes"),
    ("floods", "holes"),
    ("floods", "console"),
    ("fuzz", "1"),
    ("fuzz", "2"),
    ("fuzz", "3"),
    ("fuzz", "4"),
];

const MALFORMED: &str = "sandbox failed: the shim's request was malformed";
const NO_MEMORY: &str = "where it has no memory";
const PROTECTED: &str = "protected guest physical address";
const IN_RING_0: &str = "in ring 0";
const PORT: &str = "in a way that means nothing";

/// Things after which nothing can go on: exit code, and words of the reason.
const ENDINGS: [(&str, i32, &str); 59] = [
    ("message-empty", 125, MALFORMED),
    ("message-short", 125, MALFORMED),
    ("message-long", 125, MALFORMED),
    ("message-huge", 125, MALFORMED),
    ("header-disagrees", 125, MALFORMED),
    ("header-huge", 125, MALFORMED),
    ("extensions", 125, MALFORMED),
    ("frame-closed", 125, MALFORMED),
    ("segments-65", 125, MALFORMED),
    ("segments-huge", 125, MALFORMED),
    ("segment-empty", 125, MALFORMED),
    ("segment-crosses", 125, MALFORMED),
    ("segment-huge", 125, MALFORMED),
    ("segment-wraps", 125, MALFORMED),
    ("segment-reserved", 125, MALFORMED),
    ("frame-noise", 125, MALFORMED),
    ("write-code", 125, PROTECTED),
    ("write-constants", 125, PROTECTED),
    ("read-header", 125, NO_MEMORY),
    ("read-page-0", 125, NO_MEMORY),
    ("read-behind-the-end", 125, NO_MEMORY),
    ("read-far-away", 125, NO_MEMORY),
    ("read-device", 125, NO_MEMORY),
    ("write-device", 125, NO_MEMORY),
    ("execute-data", 125, PROTECTED),
    ("execute-constants", 125, PROTECTED),
    ("table-behind-the-end", 125, NO_MEMORY),
    ("table-in-constants", 125, PROTECTED),
    ("tables-behind-the-end", 125, NO_MEMORY),
    ("tables-at-0", 125, NO_MEMORY),
    ("window-write", 125, PROTECTED),
    ("window-empty", 125, NO_MEMORY),
    ("window-behind", 125, NO_MEMORY),
    ("window-removed", 125, NO_MEMORY),
    ("efer-sce", 125, "the shim wrote MSR 0xc0000080"),
    ("efer-same", 125, "the shim wrote MSR 0xc0000080"),
    ("xsetbv", 125, IN_RING_0),
    ("halt", 125, "nothing can wake it"),
    ("halt-interruptible", 125, "nothing can wake it"),
    ("spin", 124, "timed out"),
    ("illegal-instruction", 125, IN_RING_0),
    ("string-out-c0d0", 125, PORT),
    ("triple-fault", 125, "triple fault"),
    ("syscall-in-ring-0", 125, IN_RING_0),
    ("non-canonical", 125, IN_RING_0),
    ("cr0-nw", 125, IN_RING_0),
    ("cr4-la57", 125, IN_RING_0),
    ("cr4-reserved", 125, IN_RING_0),
    ("no-paging", 125, "sandbox failed: "),
    ("doorbell-straddled", 125, PORT),
    ("doorbell-string", 125, PORT),
    ("doorbell-in-ring-3", 125, PORT),
    ("fault-without-table", 125, "triple fault"),
    ("panic-noise", 125, "the shim gave up: noise"),
    ("panic-long", 125, "the shim gave up: www"),
    ("panic-empty", 125, "the shim gave up"),
    ("not-started", 126, "no "),
    ("exit-signal", 192, "program ended by signal 64"),
    ("wait-for-ever", 124, "timed out"),
];

/// Of these, what is tried beside a sandbox that goes on.
const NEIGHBOURS: [(&str, &str); 6] = [
    ("frame-noise", MALFORMED),
    ("write-device", NO_MEMORY),
    ("halt", "nothing can wake it"),
    ("triple-fault", "triple fault"),
    ("no-paging", "sandbox failed: "),
    ("panic-noise", "the shim gave up: noise"),
];

/// What a child does not have: to the shim it is an exception, and with that its sandbox ends. Calls, MSRs and ports by their
/// numbers in hexadecimal.
const ABSENT: [&str; 54] = [
    "hypercall-1",
    "hypercall-40",
    "fast-hypercall-41",
    "fast-hypercall-42",
    "fast-hypercall-43",
    "hypercall-44",
    "hypercall-45",
    "hypercall-46",
    "rep-hypercall-48",
    "rep-hypercall-49",
    "hypercall-4a",
    "rep-hypercall-4b",
    "rep-hypercall-4c",
    "hypercall-4d",
    "hypercall-4e",
    "hypercall-4f",
    "rep-hypercall-50",
    "rep-hypercall-51",
    "hypercall-52",
    "hypercall-5c",
    "hypercall-94",
    "hypercall-c2",
    "hypercall-e1",
    "fast-hypercall-e2",
    "fast-hypercall-8001",
    "hypercall-ffff",
    "write-msr-40000000",
    "write-msr-40000001",
    "read-msr-40000002",
    "write-msr-40000003",
    "write-msr-40000020",
    "write-msr-40000083",
    "write-msr-10",
    "write-msr-1b",
    "read-msr-c0010114",
    "write-msr-c0010117",
    "string-out-f4",
    "string-in-3f8",
    "overlay-written",
    "overlay-beyond",
    "overlay-far",
    "vmcall",
    "vmrun",
    "vmload",
    "vmsave",
    "stgi",
    "clgi",
    "skinit",
    "invlpga",
    "invd",
    "wbinvd",
    "rdpmc",
    "mwait",
    "xsetbv",
];

/// Words that stand in no report of a root that lives on.
const ROOT_IS_GONE: [&str; 5] =
    ["the hypervisor stopped", "the root panicked", "without a report", "QEMU ended", "the machine was"];

/// Memory of the sandboxes: floods end sooner in little.
const MEMORY: [&str; 2] = ["--memory", "48M"];

/// Allows every call: what is tried at the gate is to come through.
const ALLOW_ALL: &str = "version = 1\ndefault = \"allow\"\n";

/// What a call denies from then on.
const TAINT: &str =
    "version = 1\ndefault = \"allow\"\n[[taint]]\ncalls = [\"ptrace\"]\ndeny = [\"getpid\", \"listen\"]\n";

/// Tests with the hostile shim.
pub(crate) fn cases() -> Vec<Case> {
    let refused = REFUSED.iter().map(|&(case, variant)| {
        let name = format!("hostile shim: {case} {variant}");
        Case::new(name.trim_end(), move |bench| all_refused(bench, &[case, variant], &[]))
    });
    let absent = ABSENT.iter().map(|&variant| (variant, 125, IN_RING_0));
    let endings = ENDINGS.iter().copied().chain(absent).map(|(variant, code, words)| {
        Case::new(format!("hostile shim: end by {variant}"), move |bench| {
            let outcome = run(bench, &["end", variant], &["--timeout", "2"])?;
            outcome.exits(code)?.says(words)?.done()
        })
    });
    let mut all: Vec<Case> = refused.chain(endings).collect();
    all.push(Case::new("hostile shim: end by exit-status", |bench| {
        run(bench, &["end", "exit-status"], &["--timeout", "2"])?.exits(255)?.done()
    }));
    all.push(Case::new("hostile shim: gate", gate));
    all.push(Case::new("hostile shim: taints", |bench| {
        let scratch = bench.fixture.scratch()?;
        let policy = scratch.path().join("taint.toml");
        std::fs::write(&policy, TAINT).map_err(|e| e.to_string())?;
        all_refused(bench, &["taints"], &["--policy", &policy.display().to_string()])
    }));
    all.push(Case::new("hostile shim: what ends some leaves their neighbour alone", neighbours));
    all
}

/// A sandbox lives on beside others whose shims end theirs.
fn neighbours(bench: &Bench<'_>) -> Verdict {
    let beside: Vec<String> = NEIGHBOURS.iter().map(|(name, _)| format!("/bin/true end {name}")).collect();
    let options: Vec<&str> = beside.iter().flat_map(|command| ["--beside", command]).collect();
    let outcome = run(bench, &["files"], &[&["--timeout", "60"], &options[..]].concat())?;
    outcome.exits(0)?;
    for (number, (_, words)) in (2..).zip(NEIGHBOURS) {
        let found = outcome.said.iter().any(|line| line.starts_with(&format!("[{number}] ")) && line.contains(words));
        outcome.wants(found, &format!("a line of sandbox {number} with {words:?}"))?;
    }
    Ok(())
}

/// Lies at the gate, with the trace on: the root follows the pointers of each call.
fn gate(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let policy = scratch.path().join("allow.toml");
    std::fs::write(&policy, ALLOW_ALL).map_err(|e| e.to_string())?;
    let trace = format!("--trace={}", scratch.path().join("trace").display());
    all_refused(bench, &["gate"], &["--policy", &policy.display().to_string(), &trace])
}

/// Runs the hostile shim; the root must have lived to report its end.
pub(super) fn run(bench: &Bench<'_>, arguments: &[&str], options: &[&str]) -> Result<Outcome, String> {
    let mut command = vec!["/bin/true"];
    command.extend(arguments);
    let shim = bench.setup.hostile_shim.display().to_string();
    let outcome = bench.sandbox(command).options(["--shim", &shim]).options(MEMORY).options(options).run()?;
    let gone = outcome.said.iter().any(|line| ROOT_IS_GONE.iter().any(|words| line.contains(words)));
    outcome.wants(!gone, "a report of the root")?;
    Ok(outcome)
}

/// Runs a case that goes on; shows only its failures if there are any.
fn all_refused(bench: &Bench<'_>, arguments: &[&str], options: &[&str]) -> Verdict {
    all_pass(&run(bench, arguments, &[&["--timeout", "60"], options].concat())?)
}

/// Whether all went well with all sandboxes of a run.
pub(super) fn all_pass(outcome: &Outcome) -> Verdict {
    let output = String::from_utf8_lossy(&outcome.stdout);
    let failures: Vec<&str> = output.lines().filter(|line| line.contains("FAIL ")).collect();
    if outcome.code == 0 && failures.is_empty() && output.contains("PASS") {
        return Ok(());
    }
    Err(format!("{}\nexit code {}, {}", failures.join("\n"), outcome.code, outcome.said.join("; ")))
}
