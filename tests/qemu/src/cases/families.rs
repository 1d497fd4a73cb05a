//! The programs of the system call families (tests/guests/families): each section must print in a sandbox what it prints here.
use crate::Case;

/// Programs and those of their sections that sandboxes carry out as Linux does.
const SAME: [(&str, &[&str]); 5] = [
    ("processes", &["codes"]),
    ("threads", &["join"]),
    ("futexes", &["wait"]),
    ("signals", &["actions"]),
    ("memory", &["map"]),
];

/// A test for each section.
pub(crate) fn cases() -> Vec<Case> {
    let sections = SAME.iter().flat_map(|(program, sections)| sections.iter().map(move |section| (*program, *section)));
    sections
        .map(|(program, section)| {
            Case::new(format!("family {program}: {section}"), move |bench| {
                let outcome = bench.guest(program, &[section]);
                outcome.run_here()?.exits(0)?;
                outcome.same_as_here()
            })
        })
        .collect()
}
