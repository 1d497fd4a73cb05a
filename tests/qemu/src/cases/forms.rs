//! What a policy is made of beside rules: other files, and what is said about the program's process.
use crate::{Bench, Case, Verdict};
use std::fs;

/// Tests of the forms of a policy.
pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("a policy of several files", several_files)]
}

/// The rules of a file that another includes decide what that leaves, and are named with their file.
fn several_files(bench: &Bench<'_>) -> Verdict {
    let scratch = bench.fixture.scratch()?;
    let write = |name: &str, text: &str| fs::write(scratch.path().join(name), text).map_err(|error| error.to_string());
    fs::create_dir(scratch.path().join("lib")).map_err(|error| error.to_string())?;
    let rule = |call: &str, result: u32| format!("[[rule]]\ncalls = [\"{call}\"]\naction = {{ fake = {result} }}\n");
    write("main.toml", &format!("version = 1\ninclude = [\"lib/base.toml\"]\n{}", rule("umask", 7)))?;
    write("lib/base.toml", &format!("version = 1\ndefault = \"allow\"\n\n{}{}", rule("umask", 8), rule("chdir", 0)))?;
    let policy = scratch.path().join("main.toml").display().to_string();
    let shell = bench.busybox(&["sh", "-c", "umask 1; umask; cd /nowhere; echo $?"]);
    let outcome = shell.options(["--trace", "--policy", &policy]).run()?;
    let (own, included) =
        ("umask(01) = 07 [fake, rule 1 main.toml:3]", "chdir(\"/nowhere\") = 0 [fake, rule 2 lib/base.toml:7]");
    outcome.exits(0)?.prints("0007\n0\n")?.complains(own)?.complains(included)?.done()
}
