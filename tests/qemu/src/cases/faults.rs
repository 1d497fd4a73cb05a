//! What a program may not do: each ends it with a signal, as on plain Linux, and never the machine.
use crate::{Bench, Case, Verdict};

const SIGILL: i32 = 132;
const SIGTRAP: i32 = 133;
const SIGFPE: i32 = 136;
const SIGSEGV: i32 = 139;

/// Kinds of `fault` with the exit code that a shell shows. `true`: plain Linux ends them with the same.
///
/// The processor of the machine that runs the tests may itself be virtual: what ring 3 gets for `vmmcall` there is that
/// hypervisor's choice, and so is not compared. EFER.SVME is set while a guest runs under SVM, so SVM's own instructions
/// are no unknown ones in ring 3 but forbidden ones.
const KINDS: [(&str, &str, i32, bool); 47] = [
    ("ud2", "", SIGILL, true),
    ("int3", "", SIGTRAP, true),
    ("divide", "", SIGFPE, true),
    ("hlt", "", SIGSEGV, true),
    ("cli", "", SIGSEGV, true),
    ("sti", "", SIGSEGV, true),
    ("in", "", SIGSEGV, true),
    ("out", "", SIGSEGV, true),
    ("debug-exit", "", SIGSEGV, true),
    ("doorbell", "", SIGSEGV, true),
    ("rdmsr", "", SIGSEGV, true),
    ("wrmsr", "", SIGSEGV, true),
    ("read-cr0", "", SIGSEGV, true),
    ("write-cr0", "", SIGSEGV, true),
    ("read-cr3", "", SIGSEGV, true),
    ("write-cr3", "", SIGSEGV, true),
    ("write-dr7", "", SIGSEGV, true),
    ("swapgs", "", SIGSEGV, true),
    ("invlpg", "", SIGSEGV, true),
    ("invd", "", SIGSEGV, true),
    ("wbinvd", "", SIGSEGV, true),
    ("clts", "", SIGSEGV, true),
    ("lmsw", "", SIGSEGV, true),
    ("ltr", "", SIGSEGV, true),
    ("int-page-fault", "", SIGSEGV, true),
    ("vmmcall", "", SIGILL, false),
    ("vmcall", "", SIGILL, false),
    ("vmrun", "", SIGSEGV, false),
    ("vmsave", "", SIGSEGV, false),
    ("stgi", "", SIGSEGV, false),
    ("clgi", "", SIGSEGV, false),
    ("sysret", "", SIGILL, false),
    ("sysenter", "", SIGILL, false),
    ("int80", "", SIGSEGV, false),
    ("overflow", "", SIGSEGV, true),
    ("bad-stack", "", SIGSEGV, true),
    ("run-stack", "", SIGSEGV, true),
    ("write-code", "", SIGSEGV, true),
    ("jump", "0", SIGSEGV, true),
    ("jump", "0xdead0000", SIGSEGV, true),
    ("jump", "0x8000000000000000", SIGSEGV, true),
    ("jump", "0xffffffff80001000", SIGSEGV, true),
    ("read", "0", SIGSEGV, true),
    ("read", "0xffffffff80000000", SIGSEGV, true),
    ("read", "0xffff880000000000", SIGSEGV, true),
    ("write", "0xffffffff80000000", SIGSEGV, true),
    ("write", "0xffff880000100000", SIGSEGV, true),
];

/// Tests of faults.
pub(crate) fn cases() -> Vec<Case> {
    KINDS
        .iter()
        .map(|&(kind, address, code, compare)| {
            let name = format!("fault {kind} {address}");
            Case::new(name.trim_end(), move |bench| fault(bench, kind, address, code, compare))
        })
        .collect()
}

/// Runs one.
fn fault(bench: &Bench<'_>, kind: &str, address: &str, code: i32, compare: bool) -> Verdict {
    let words = [kind, address];
    let count = if address.is_empty() { 1 } else { 2 };
    let sandbox = bench.guest("fault", &words[..count]);
    if compare {
        let here = sandbox.run_here()?;
        here.exits(code).map_err(|why| format!("on plain Linux: {why}"))?;
    }
    sandbox.run()?.exits(code)?.prints("")?.says("program ended by SIG")?.done()
}
