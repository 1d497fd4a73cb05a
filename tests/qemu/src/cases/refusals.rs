//! Machines on which Cordon cannot run, and images started where they do not belong: one clear line, and a failing exit code.
use crate::{Bench, Case, Verdict};

/// What is changed about the machine (QEMU takes the last of repeated options), and words of the reason.
const MACHINES: [(&str, &[&str], &str); 5] = [
    ("no SVM", &["-cpu", "max,-svm"], "refused: this processor has no SVM"),
    ("no nested paging", &["-cpu", "max,+svm,-npt"], "refused: this processor's SVM has no nested paging"),
    ("too little memory", &["-m", "9"], "refused: too little memory"),
    ("two processors", &["-smp", "2"], "refused: this machine has more than one processor"),
    ("a bundle that is none", &["-initrd", "/bin/true"], "refused: the module given is not a bundle"),
];

/// Processors without the hypervisor below the root, and words of the root's complaint.
const WITHOUT: [(&str, &str, &str); 2] = [
    ("no hypervisor", "max,-hypervisor", "no hypervisor: CPUID leaf 1 says that there is none"),
    ("another hypervisor", "max", "does not offer the Hyper-V interface"),
];

/// Tests of refusals.
pub(crate) fn cases() -> Vec<Case> {
    let machines = MACHINES.map(|(name, change, reason)| {
        Case::new(format!("refused: {name}"), move |bench| refused(bench, change, reason))
    });
    let without = WITHOUT.map(|(name, processor, reason)| {
        Case::new(format!("the root started with {name}"), move |bench| {
            let root = bench.setup.hostile_shim.with_file_name("cordon-root");
            refused(bench, &["-kernel", &root.to_string_lossy(), "-cpu", processor], reason)
        })
    });
    machines.into_iter().chain(without).collect()
}

fn refused(bench: &Bench<'_>, change: &[&str], reason: &str) -> Verdict {
    let options = change.iter().flat_map(|word| ["--qemu-arg".to_owned(), (*word).to_owned()]);
    let run = bench.busybox(&["true"]).options(options).run()?;
    run.exits(125)?.prints("")?.says(reason)?.done()
}
