//! Rules that look at what pointers lead to: what is copied, what is fetched first, what is answered.

use crate::support::{BASE, Child, END, granted, registers, site};
use gate::{Action, CallSite, Counters};
use guestmem::double::VecMemory;
use guestmem::{GuestMemory, NotMapped};
use proto::{CopyHead, REWRITTEN, copy_forms, grant_flags};
use std::cell::Cell;
use tlfs::addr::Gpa;
use trace::Record;

const OPENAT: u64 = 257;
const EFAULT: i64 = -14;
const ENAMETOOLONG: i64 = -36;

const POLICY: &str = r#"version = 1
default = { errno = "EPERM" }
[[rule]]
calls = ["openat"]
when = [{ arg = 1, path = ["/etc/shadow", "/root/**"] }]
action = { errno = "EACCES" }
[[rule]]
calls = ["openat", "getpid"]
action = "allow"
[[rule]]
calls = ["renameat"]
when = [{ arg = 1, path = "/a/*" }, { arg = 3, path = "/b/*", not = true }]
action = "allow"
"#;

fn child() -> Child {
    Child::new(POLICY, true)
}

fn refused(value: i64) -> Action {
    Action::Answer { value, instruction_len: 2 }
}

fn copies(child: &Child) -> Vec<(CopyHead, Vec<u8>)> {
    child.gate.copies().map(|(head, bytes)| (head, bytes.to_vec())).collect()
}

#[test]
fn another_policy_holds_from_the_next_call_on() {
    let policy = |action: &str| format!("version = 1\n[[rule]]\ncalls = [\"getppid\"]\naction = {action}\n");
    let mut child = Child::new(&policy("{ fake = 1 }"), true);
    assert_eq!(child.call("getppid", [0; 6]), Action::Answer { value: 1, instruction_len: 2 });
    // The new one looks at memory, for which there was no room before.
    let path = "[[rule]]\ncalls = [\"open\"]\nwhen = [{ arg = 0, path = \"/x\" }]\naction = { fake = 3 }\n";
    child.change_policy(&(policy("{ fake = 2 }") + path), 7);
    assert_eq!(child.call("getppid", [0; 6]), Action::Answer { value: 2, instruction_len: 2 });
    let name = child.put(BASE, b"/x\0");
    assert_eq!(child.call("open", [name, 0, 0, 0, 0, 0]), Action::Answer { value: 3, instruction_len: 2 });
    let lines: Vec<&str> = child.lines.lines().map(|line| line.trim_start_matches("   0.000000 ")).collect();
    assert_eq!(lines[0], "  1 getppid() = 1 [fake, rule 1 test.toml:2]");
    assert_eq!(lines[1], "   policy 7: new.toml");
    assert_eq!(lines[2], "  1 getppid() = 2 [fake, policy 7: rule 1 new.toml:2]");
    assert_eq!(child.gate.counters().calls, 3);
}

#[test]
fn the_copy_is_what_is_judged_and_handed_over() {
    let mut child = child();
    let path = child.put(BASE + 100, b"/etc/shadow\0");
    assert_eq!(child.call("openat", [0, path, 0, 0, 0, 0]), refused(-13));
    child.put(path, b"/etc/passwd\0");
    let grant = granted(child.call("openat", [0, path, 0, 0, 0, 0]));
    assert_eq!((grant.number, grant.flags), (OPENAT, grant_flags::REPORT | grant_flags::COPIES));
    let whole = (CopyHead { address: path, len: 11, form: copy_forms::STRING }, b"/etc/passwd".to_vec());
    assert_eq!(copies(&child)[..2], [whole, (CopyHead::default(), Vec::new())]);
    assert_eq!(granted(child.call("getpid", [0; 6])).flags, grant_flags::REPORT, "nothing is read for other calls");
}

const REWRITING: &str = r#"version = 1
default = "allow"
[[rule]]
calls = ["openat"]
when = [{ arg = 1, path = "/etc/*" }]
action = { rewrite = [{ arg = 1, path = "/srv/fake" }, { arg = 2, value = 0 }] }
[[rule]]
calls = ["rename"]
action = { rewrite = [{ arg = 1, path = "/b" }] }
"#;

#[test]
fn another_path_stands_in_the_place_of_the_programs() {
    let mut child = Child::new(REWRITING, true);
    let path = child.put(BASE, b"/etc/passwd\0");
    let grant = granted(child.call("openat", [7, path, 2, 0, 0, 0]));
    assert_eq!(grant.args, [7, REWRITTEN | 1, 0, 0, 0, 0]);
    let replaced = (CopyHead { address: REWRITTEN | 1, len: 9, form: copy_forms::STRING }, b"/srv/fake".to_vec());
    assert_eq!(copies(&child)[..2], [replaced, (CopyHead::default(), Vec::new())]);
    child.finish();
    let told = "openat(7, \"/etc/passwd\", O_RDWR) = ? [rewrite pathname := \"/srv/fake\", flags := O_RDONLY, rule 1";
    assert!(child.lines.contains(&told.replace(" = ?", " <unfinished ...>")), "{}", child.lines);
    // What no rule changes is handed over as it came.
    child.put(path, b"/usr\0");
    assert_eq!(granted(child.call("openat", [7, path, 2, 0, 0, 0])).args, [7, path, 2, 0, 0, 0]);
    assert_eq!(copies(&child)[0].1, b"/usr");
}

#[test]
fn of_two_paths_at_one_address_one_is_replaced() {
    let mut child = Child::new(REWRITING, true);
    let path = child.put(BASE, b"/a\0");
    assert_eq!(granted(child.call("rename", [path, path, 0, 0, 0, 0])).args[..2], [path, REWRITTEN | 1]);
    let pieces: Vec<(u64, Vec<u8>)> =
        copies(&child).iter().map(|(head, bytes)| (head.address, bytes.clone())).collect();
    // Only the second string is looked at.
    assert_eq!(pieces[..2], [(REWRITTEN | 1, b"/b".to_vec()), (0, Vec::new())]);
    // Where there is no path there is none to replace.
    assert_eq!(granted(child.call("rename", [path, 0, 0, 0, 0, 0])).args[..2], [path, 0]);
    let missing = child.call("rename", [path, END, 0, 0, 0, 0]);
    assert_eq!(granted(missing).flags & grant_flags::FETCH, grant_flags::FETCH);
}

#[test]
fn a_dry_run_replaces_nothing() {
    let mut child = Child::dry(REWRITING);
    let path = child.put(BASE, b"/etc/passwd\0");
    assert_eq!(granted(child.call("openat", [7, path, 2, 0, 0, 0])).args, [7, path, 2, 0, 0, 0]);
    assert_eq!(copies(&child)[0].1, b"/etc/passwd");
}

/// Memory in which a name is another one from its second reading on.
struct Changing {
    memory: VecMemory,
    read: Cell<bool>,
}

impl GuestMemory for Changing {
    fn read(&self, gpa: Gpa, buf: &mut [u8]) -> Result<(), NotMapped> {
        self.memory.read(gpa, buf)?;
        if let Some(name) = buf.get_mut(..11).filter(|name| *name == b"/etc/passwd")
            && self.read.replace(true)
        {
            name.copy_from_slice(b"/etc/shadow");
        }
        Ok(())
    }

    fn write(&mut self, gpa: Gpa, data: &[u8]) -> Result<(), NotMapped> {
        self.memory.write(gpa, data)
    }
}

#[test]
fn the_copy_is_what_is_recorded() {
    let mut child = child();
    let path = child.put(BASE + 128, b"/etc/passwd\0");
    let memory = Changing { memory: std::mem::replace(&mut child.memory, VecMemory::new(0)), read: Cell::new(false) };
    let site = CallSite { gprs: registers(OPENAT, [0, path, 0, 0, 0, 0]), ..site(&[0x0f, 0x05]) };
    let mut records = Vec::new();
    granted(child.gate.judge(&site, &memory, 0, &mut |record| records.push(record)));
    let [Record::Call(call)] = records.as_slice() else { panic!("{records:?}") };
    assert!(trace::call_text(call).contains("\"/etc/passwd\""), "{}", trace::call_text(call));
}

#[test]
fn two_strings_across_pages() {
    let mut child = child();
    let from = child.put(BASE + 0x1000 - 3, b"/a/x\0");
    let to = child.put(BASE + 0x2000, b"/c/y\0");
    granted(child.call("renameat", [0, from, 0, to, 0, 0]));
    let entries = copies(&child);
    assert_eq!(entries[0], (CopyHead { address: from, len: 4, form: copy_forms::STRING }, b"/a/x".to_vec()));
    assert_eq!(entries[1], (CopyHead { address: to, len: 4, form: copy_forms::STRING }, b"/c/y".to_vec()));
    child.put(to, b"/b/y\0");
    assert_eq!(child.call("renameat", [0, from, 0, to, 0, 0]), refused(-1));
    // No string: no condition holds, whatever it says.
    assert_eq!(child.call("renameat", [0, from, 0, 0, 0, 0]), refused(-1));
}

#[test]
fn a_page_that_is_not_there_is_fetched_once() {
    let mut child = child();
    let path = child.put(END - 4, b"/etc");
    let fetch = granted(child.call("openat", [0, path, 0, 0, 0, 0]));
    assert_eq!((fetch.flags, fetch.fetch), (grant_flags::FETCH, END), "the first byte that cannot be read");
    assert_eq!(child.take_lines(), "", "it is not judged yet");
    assert_eq!(child.gate.counters(), Counters::default());
    assert_eq!(child.call("openat", [0, path, 0, 0, 0, 0]), refused(EFAULT));
    let line = child.take_lines();
    assert!(line.contains("= -1 EFAULT (Bad address) [errno EFAULT, default: what its arguments point to"), "{line}");
    // Only another call can have changed that.
    assert_eq!(child.call("openat", [0, path, 0, 0, 0, 0]), refused(EFAULT));
    granted(child.call("getpid", [0; 6]));
    assert_eq!(granted(child.call("openat", [0, path, 0, 0, 0, 0])).flags, grant_flags::FETCH);
    for nowhere in [1, u64::MAX, 1 << 47, 0xffff_8000_0000_0000] {
        assert_eq!(granted(child.call("openat", [0, nowhere, 0, 0, 0, 0])).fetch, nowhere);
        assert_eq!(child.call("openat", [0, nowhere, 0, 0, 0, 0]), refused(EFAULT));
    }
}

#[test]
fn what_arrives_is_judged_anew() {
    let mut child = child();
    let path = child.put(END - 5, b"/root");
    granted(child.call("openat", [0, path, 0, 0, 0, 0]));
    let path = child.put(BASE, b"/root/x\0");
    assert_eq!(child.call("openat", [0, path, 0, 0, 0, 0]), refused(-13));
}

#[test]
fn strings_without_an_end() {
    let mut child = child();
    let path = child.put(BASE, &[b'x'; 4096]);
    assert_eq!(child.call("openat", [0, path, 0, 0, 0, 0]), refused(ENAMETOOLONG));
    child.put(BASE + 4095, b"\0");
    let grant = granted(child.call("openat", [0, path, 0, 0, 0, 0]));
    assert_eq!((grant.flags & grant_flags::COPIES, copies(&child)[0].1.len()), (grant_flags::COPIES, 4095));
}
