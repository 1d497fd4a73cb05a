//! Tests in which a program that others wrote is the judge of what our policies mean.
mod bpf;
mod libseccomp;
mod profiles;
mod reference;
mod systemd;

use crate::exit::Failure;
use qemu_tests::Tally;

/// Runs those whose names hold `filter`; with `all`, as thoroughly as was promised.
pub(super) fn run(filter: Option<&str>, all: bool, tally: &mut Tally) -> Result<(), Failure> {
    let is_wanted = |name: &str| filter.is_none_or(|filter| name.contains(filter));
    if is_wanted(systemd::NAME) {
        tally.add(systemd::NAME, systemd::judge()?);
    }
    for profile in profiles::all(is_wanted)? {
        tally.add(&profile.name, libseccomp::judge(&profile, all)?);
    }
    Ok(())
}
