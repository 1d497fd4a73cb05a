//! A container image that others made, mmdebstrap and umoci: what is seen of it in the sandbox is what umoci unpacks.
use super::images::layer;
use super::layers::succeed;
use crate::{Bench, Case, SHOW_TREE, Verdict};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Tests of the image.
pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("an image of Debian is what umoci unpacks of it", debian).needs("debian")]
}

/// How long the digests of a thousand files may take, on a busy machine.
const LIMIT: Duration = Duration::from_secs(600);
/// Lines that are shown of each side if both differ.
const SHOWN: usize = 10;

/// As it was made, and in each form that skopeo writes.
fn debian(bench: &Bench<'_>) -> Verdict {
    let place = bench.setup.trees.join("debian");
    let expected = fs::read_to_string(place.join("expected")).map_err(|error| error.to_string())?;
    let image = place.join("image");
    let run = bench.sandbox(["-c", SHOW_TREE]).options(["--image".as_ref(), image.as_os_str()]).limit(LIMIT);
    let outcome = run.run()?;
    outcome.exits(0)?.says_nothing()?;
    same(&lines(&expected), &lines(&String::from_utf8_lossy(&outcome.stdout)))?;
    let id = read_whole(bench, &image)?;
    let scratch = bench.fixture.scratch()?;
    for (form, name) in [("oci-archive", ":demo"), ("docker-archive", ":cordon-test/debian:1"), ("dir", "")] {
        let copy = scratch.path().join(form);
        let from = format!("oci:{}:demo", image.display());
        let to = format!("{form}:{}{name}", copy.display());
        succeed(Command::new("skopeo").args(["--tmpdir"]).arg(scratch.path()).args(["copy", "--quiet", &from, &to]))?;
        if read_whole(bench, &copy)? != id {
            return Err(format!("as {form} it is another image"));
        }
    }
    Ok(())
}

/// The digest of an image, which stands for those of its layers, all of which are read: none is kept before or behind this.
fn read_whole(bench: &Bench<'_>, image: &Path) -> Result<String, String> {
    let import = || layer(bench, &["import".as_ref(), image.as_os_str()]);
    let destroy = |id: &str| layer(bench, &["destroy".as_ref(), id.trim().as_ref()]);
    destroy(&import()?)?;
    let id = import()?;
    destroy(&id)?;
    Ok(id)
}

/// The lines of a listing, without the times of directories: umoci leaves those that it changes itself as they come.
fn lines(listing: &str) -> BTreeSet<String> {
    let without_time = |line: &str| {
        let mut words: Vec<&str> = line.split(' ').collect();
        if words.first() == Some(&"d") && words.len() > 5 {
            words.remove(4);
        }
        words.join(" ")
    };
    listing.lines().map(without_time).collect()
}

/// What only one of both has.
fn same(expected: &BTreeSet<String>, seen: &BTreeSet<String>) -> Verdict {
    if seen == expected && !seen.is_empty() {
        return Ok(());
    }
    let mut difference = String::new();
    for (sign, only) in [("- ", expected.difference(seen)), ("+ ", seen.difference(expected))] {
        only.take(SHOWN).for_each(|line| difference.extend([sign, line, "\n"]));
    }
    Err(format!("it is not what umoci unpacked (-) that is seen (+):\n{difference}"))
}
