//! Policies: that of the bundle, and those that the host sends while programs run.
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use bundle::PolicyFile;
use control::policy::{MAX_POLICY, Sent};
use policy::{Origins, Policy};
use sandbox::{Failure, RootMemory};
use tlfs::addr::PAGE_SIZE;

use crate::memory::Pages;

/// Reads the policy, as the host did before.
pub(crate) fn compile(files: &[PolicyFile]) -> Result<Policy, Failure> {
    let files: Vec<policy::File<'_>> = files.iter().map(named).collect();
    policy::parse_files(&files).map_err(|error| Failure::new(error.to_string()))
}

fn named(PolicyFile { name, text, origins, origin_files, translated }: &PolicyFile) -> policy::File<'_> {
    let origins = Origins { parts: origins, files: origin_files, translated: *translated };
    policy::File { name, text, origins }
}

/// Memory that reading and compiling a policy may take for each byte of its text, and beside that: more than was ever seen.
const COMPILE_COST: u64 = 192;
const COMPILE_BASE: u64 = 4 << 20;

/// Reads a policy that the host has sent, for programs that were started under `first`.
pub(crate) fn recompile(sent: Sent, first: &Policy) -> Result<Policy, Failure> {
    let bytes = sent.bytes.ok_or_else(|| Failure::new(format!("it has more than {MAX_POLICY} bytes")))?;
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let cost = len.saturating_mul(COMPILE_COST).saturating_add(COMPILE_BASE);
    if Pages.free_pages().saturating_mul(PAGE_SIZE) < cost {
        return Err(Failure::new("there is no memory to read it"));
    }
    let files = PolicyFile::decode(&bytes).map_err(|_| Failure::new("it came damaged"))?;
    let policy = compile(&files)?;
    match policy.fixed_part_unlike(first) {
        Some(part) => Err(Failure::new(format!("`{part}` has changed, and programs are running already"))),
        None => Ok(policy),
    }
}
