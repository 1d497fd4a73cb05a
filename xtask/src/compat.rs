//! `cargo xtask compat`: the compatibility page, made from the personality's table so that it cannot say anything else.
use crate::exit::Failure;
use crate::workspace;
use personality::syscalls::table::{Level, SUPPORT, Support};
use proto::syscalls::{SYSCALLS, Syscall};
use std::fmt::Write;
use std::fs;
use std::process::ExitCode;

/// The page, from the top of the repository.
const PAGE: &str = "COMPATIBILITY.md";
/// The last call of Linux 6.1, Debian 12's kernel: `set_mempolicy_home_node`.
const LAST_CALL: u32 = 450;

/// Writes the page.
pub(crate) fn compat() -> Result<ExitCode, Failure> {
    let path = workspace::root().join(PAGE);
    fs::write(&path, page()).map_err(|e| Failure::early(format!("{}: {e}", path.display())))?;
    eprintln!("cordon: {PAGE} written");
    Ok(ExitCode::SUCCESS)
}

/// Whether the page in the repository is what [`compat`] would write.
pub(crate) fn is_fresh() -> anyhow::Result<()> {
    let present = fs::read_to_string(workspace::root().join(PAGE))?;
    anyhow::ensure!(present == page(), "{PAGE} is stale: run `cargo xtask compat` and commit it");
    Ok(())
}

fn page() -> String {
    let calls: Vec<(&Syscall, Option<&Support>)> =
        SYSCALLS.iter().filter(|call| call.number <= LAST_CALL).map(|call| (call, support(call.number))).collect();
    let count = |level| calls.iter().filter(|(_, row)| row.map(|row| row.level) == level).count();
    let mut page = String::from(
        "# Compatibility\n\nWhat becomes of each x86-64 system call of Linux 6.1 that the policy allows. Made by \
         `cargo xtask compat` from `guest-shim/personality/src/syscalls/table.rs`.\n\n",
    );
    let _ = writeln!(
        page,
        "{} done, {} partial, {} refused on purpose, {} not yet (ENOSYS, and the trace says so), of {}.\n",
        count(Some(Level::Full)),
        count(Some(Level::Partial)),
        count(Some(Level::Refused)),
        count(None),
        calls.len()
    );
    page.push_str("| number | call | support | note |\n|---|---|---|---|\n");
    for (call, row) in &calls {
        let (level, note) = row.map_or(("not yet", ""), |row| (word(row.level), row.note));
        let _ = writeln!(page, "| {} | {} | {level} | {note} |", call.number, call.name);
    }
    page
}

fn support(number: u32) -> Option<&'static Support> {
    SUPPORT.iter().find(|row| row.number == number)
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Full => "done",
        Level::Partial => "partial",
        Level::Refused => "refused",
    }
}
