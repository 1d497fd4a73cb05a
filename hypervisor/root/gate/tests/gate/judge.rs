//! What becomes of a fault.

use crate::support::{BASE, Child, END, registers, site};
use gate::recognise::{Instruction, recognise};
use gate::{Action, CallSite, Counters, GENERAL_PROTECTION, INT_80_ERROR_CODE, INVALID_OPCODE};
use proto::{Grant, grant_flags};

const POLICY: &str = r#"version = 1
default = { errno = "EPERM" }
[[rule]]
calls = ["getpid", "write", "read"]
action = "allow"
[[rule]]
calls = ["socket"]
action = "kill"
reason = "no sockets"
[[rule]]
calls = ["close"]
action = "allow"
log = true
"#;

fn child() -> Child {
    Child::new(POLICY, false)
}

#[test]
fn allowed_calls_are_granted_in_sequence() {
    let mut child = child();
    for sequence in 1..4 {
        let action = child.call("write", [1, 2, 3, 4, 5, 6]);
        let grant = Grant { sequence, number: 1, args: [1, 2, 3, 4, 5, 6], flags: 0, fetch: 0, recall: 0 };
        assert_eq!(action, Action::Forward { grant, instruction_len: 2 });
    }
    assert_eq!(child.gate.counters(), Counters { calls: 3, ..Counters::default() });
    assert_eq!(child.lines, "", "nothing is written unless asked for");
}

#[test]
fn denied_calls_are_answered() {
    let mut child = child();
    assert_eq!(child.call("ptrace", [0; 6]), Action::Answer { value: -1, instruction_len: 2 });
    assert_eq!(child.gate.counters(), Counters { calls: 1, denied: 1, ..Counters::default() });
    let Action::Forward { grant, .. } = child.call("getpid", [0; 6]) else { panic!("allowed") };
    assert_eq!(grant.sequence, 1, "a denied call uses no sequence number");
}

#[test]
fn killing_calls_say_why() {
    let mut child = child();
    let action = child.call("socket", [1, 1, 0, 0, 0, 0]);
    let reason = "socket(AF_UNIX, SOCK_STREAM, 0): rule 2 test.toml:6: no sockets".to_string();
    assert_eq!(action, Action::Kill { reason });
    assert_eq!(child.gate.counters(), Counters { calls: 1, killed: 1, ..Counters::default() });
}

#[test]
fn processes_and_threads_are_ended_by_the_shim() {
    let rule = |call: &str, action: &str| format!("[[rule]]\ncalls = [\"{call}\"]\naction = {action}\n");
    let policy = "version = 1\n".to_owned()
        + &rule("getpid", "{ kill = \"process\" }")
        + &rule("gettid", "{ kill = \"thread\" }")
        + &rule("getuid", "\"trap\"")
        + &rule("getgid", "{ kill = \"sandbox\" }");
    let mut child = Child::new(&policy, true);
    let calls =
        [("getpid", grant_flags::KILL_PROCESS), ("gettid", grant_flags::KILL_THREAD), ("getuid", grant_flags::TRAP)];
    for (name, flags) in calls {
        let Action::Forward { grant, .. } = child.call(name, [0; 6]) else { panic!("{name} goes to the shim") };
        assert_eq!(grant.flags, flags, "and nothing else");
    }
    assert_eq!(child.gate.killed_for(), Some("gettid(): rule 2 test.toml:5"));
    assert!(matches!(child.call("getgid", [0; 6]), Action::Kill { .. }));
    assert_eq!(child.gate.counters(), Counters { calls: 4, denied: 1, killed: 3, ..Counters::default() });
    let lines: Vec<&str> = child.lines.lines().map(|line| line.trim_start_matches("   0.000000   1 ")).collect();
    assert_eq!(lines[0], "getpid() = ? [kill process, rule 1 test.toml:2]");
    assert_eq!(lines[2], "getuid() = ? [trap, rule 3 test.toml:8]");
    // A call of the other table, which only the default is about.
    let mut strict = Child::new("version = 1\ndefault = { kill = \"process\" }\n", false);
    let int80 = CallSite { vector: GENERAL_PROTECTION, error_code: INT_80_ERROR_CODE, ..site(&[0xcd, 0x80]) };
    let Action::Forward { grant, instruction_len: 2 } = strict.fault(&int80) else { panic!("it goes to the shim") };
    assert_eq!(grant.flags, grant_flags::KILL_PROCESS);
}

#[test]
fn made_up_results_are_answers() {
    let mut child = Child::new("version = 1\n[[rule]]\ncalls = [\"getuid\"]\naction = { fake = 1000 }\n", true);
    assert_eq!(child.call("getuid", [0; 6]), Action::Answer { value: 1000, instruction_len: 2 });
    assert_eq!(child.gate.counters(), Counters { calls: 1, denied: 1, ..Counters::default() });
    assert!(child.lines.ends_with("getuid() = 1000 [fake, rule 1 test.toml:2]\n"), "{}", child.lines);
}

#[test]
fn rewritten_arguments_are_granted() {
    let policy = "version = 1\n[[rule]]\ncalls = [\"dup3\"]\n\
         action = { rewrite = [{ arg = 0, value = 2 }, { arg = 2, mask = \"O_CLOEXEC\" }] }\n";
    let mut child = Child::new(policy, true);
    let Action::Forward { grant, .. } = child.call("dup3", [7, 8, u64::MAX, 1, 2, 3]) else { panic!("allowed") };
    assert_eq!(grant.args, [2, 8, 0o2_000_000, 1, 2, 3]);
    child.finish();
    let judged = "[rewrite oldfd := 0x2, flags & O_CLOEXEC, rule 1 test.toml:2]\n";
    assert!(child.lines.ends_with(judged), "{}", child.lines);
}

#[test]
fn only_eax_is_the_number() {
    let mut child = child();
    let Action::Forward { grant, .. } = child.call_number(0xffff_ffff_0000_0027, [0; 6]) else { panic!("getpid") };
    assert_eq!(grant.number, 39);
    for number in [0x4000_0027, 470, 335, u64::from(u32::MAX), u64::MAX] {
        assert_eq!(child.call_number(number, [0; 6]), Action::Answer { value: -1, instruction_len: 2 }, "{number:#x}");
    }
}

#[test]
fn log_rules_report_without_a_trace() {
    let mut child = child();
    let Action::Forward { grant, .. } = child.call("close", [7, 0, 0, 0, 0, 0]) else { panic!("allowed") };
    assert_eq!(grant.flags, grant_flags::REPORT);
    child.completed(1, 0, 0);
    assert_eq!(child.lines, "   0.000000   1 close(7) = 0 [allow, rule 3 test.toml:10]\n");
}

#[test]
fn prefixed_system_calls_are_system_calls() {
    for (bytes, len) in [
        (&[0x48, 0x0f, 0x05][..], 3),
        (&[0x66, 0x0f, 0x05], 3),
        (&[0x64, 0x0f, 0x05, 0x90], 3),
        (&[0xf3, 0x2e, 0x4f, 0x0f, 0x05], 5),
        (&[0x0f, 0x05, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 2),
    ] {
        assert_eq!(recognise(bytes), Instruction::Syscall { len }, "{bytes:x?}");
        let mut child = child();
        let action = child.fault(&CallSite { gprs: registers(39, [0; 6]), ..site(bytes) });
        assert!(matches!(action, Action::Forward { instruction_len, .. } if instruction_len == len), "{bytes:x?}");
    }
    let mut longest = [0x66; 16];
    longest[13..15].copy_from_slice(&[0x0f, 0x05]);
    assert_eq!(recognise(&longest), Instruction::Syscall { len: 15 });
    longest[13..16].copy_from_slice(&[0x66, 0x0f, 0x05]);
    assert_eq!(recognise(&longest), Instruction::Other, "16 bytes are no instruction");
}

#[test]
fn faults_of_the_program_go_back_to_it() {
    let ud = Action::Reflect { vector: INVALID_OPCODE, error_code: None };
    // ud2; lock syscall; sysret (which ring 3 may not); vmmcall; an unassigned opcode; syscall behind a nop.
    let others: [&[u8]; 6] =
        [&[0x0f, 0x0b], &[0xf0, 0x0f, 0x05], &[0x0f, 0x07], &[0x0f, 0x01, 0xd9], &[0x0f, 0x04], &[0x90, 0x0f, 0x05]];
    for bytes in others {
        let mut child = child();
        assert_eq!(child.fault(&CallSite { gprs: registers(39, [0; 6]), ..site(bytes) }), ud, "{bytes:x?}");
        assert_eq!(child.gate.counters(), Counters::default());
    }
    let gp = |error_code| CallSite { vector: GENERAL_PROTECTION, error_code, ..site(&[0xf4]) };
    assert_eq!(child().fault(&gp(0)), Action::Reflect { vector: 13, error_code: Some(0) });
    assert_eq!(child().fault(&gp(0x402)), Action::Reflect { vector: 13, error_code: Some(0x402) });
    let page_fault = CallSite { vector: 14, error_code: 6, ..site(&[0x0f, 0x05]) };
    assert_eq!(child().fault(&page_fault), Action::Reflect { vector: 14, error_code: Some(6) });
    let general = CallSite { vector: GENERAL_PROTECTION, ..site(&[0x0f, 0x05]) };
    assert_eq!(child().fault(&general), Action::Reflect { vector: 13, error_code: Some(0) });
}

#[test]
fn faults_outside_ring_3_are_the_shims() {
    for cpl in [0, 1, 2, 255] {
        let action = child().fault(&CallSite { cpl, gprs: registers(39, [0; 6]), ..site(&[0x0f, 0x05]) });
        let Action::ShimFailed { reason } = action else { panic!("{action:?}") };
        assert!(reason.contains("exception 6") && reason.contains("0x400000"), "{reason}");
    }
}

#[test]
fn missing_bytes_are_read_from_memory() {
    let syscall = [0x48, 0x0f, 0x05];
    for have in 0..3 {
        let mut child = child();
        child.put(BASE + 0xffe, &syscall);
        let split = CallSite { rip: BASE + 0xffe, gprs: registers(39, [0; 6]), ..site(&syscall[..have]) };
        assert!(matches!(child.fault(&split), Action::Forward { instruction_len: 3, .. }), "{have} bytes given");
    }
    // The last instruction before memory that is not there.
    let mut child = child();
    child.put(END - 2, &[0x0f, 0x05]);
    let last = CallSite { rip: END - 2, gprs: registers(39, [0; 6]), ..site(&[]) };
    assert!(matches!(child.fault(&last), Action::Forward { instruction_len: 2, .. }));
}

#[test]
fn bytes_that_cannot_be_read_are_no_system_call() {
    let ud = Action::Reflect { vector: INVALID_OPCODE, error_code: None };
    for (rip, bytes) in [(END, &[][..]), (END - 1, &[0x0f]), (u64::MAX, &[0x0f]), (1 << 63, &[])] {
        let fault = CallSite { rip, gprs: registers(39, [0; 6]), ..site(bytes) };
        let mut child = child();
        if rip == END - 1 {
            child.put(rip, &[0x0f]);
        }
        assert_eq!(child.fault(&fault), ud, "{rip:#x}");
    }
}

#[test]
fn nothing_goes_on_outside_the_address_space() {
    let gp = Action::Reflect { vector: GENERAL_PROTECTION, error_code: Some(0) };
    for (rip, number) in [(0x7fff_ffff_fffe, 39), (0x7fff_ffff_fffe, 101), (0xffff_7fff_ffff_fffc, 39)] {
        let mut child = child();
        assert_eq!(child.fault(&CallSite { rip, gprs: registers(number, [0; 6]), ..site(&[0x0f, 0x05]) }), gp);
        assert_eq!(child.gate.counters().calls, 0);
    }
    let wrapping = CallSite { rip: u64::MAX - 1, gprs: registers(39, [0; 6]), ..site(&[0x0f, 0x05]) };
    assert!(matches!(child().fault(&wrapping), Action::Forward { .. }), "address 0 is one to go on at");
}

#[test]
fn calls_of_the_i386_table() {
    let mut gprs = [0; 16];
    gprs[0] = 4;
    gprs[3] = 1;
    let int80 = CallSite { vector: GENERAL_PROTECTION, error_code: INT_80_ERROR_CODE, gprs, ..site(&[0xcd, 0x80]) };
    let sysenter = CallSite { gprs, ..site(&[0x0f, 0x34]) };
    let mut child = Child::new(POLICY, true);
    assert_eq!(child.fault(&int80), Action::Reflect { vector: 13, error_code: Some(0x402) });
    assert_eq!(child.fault(&sysenter), Action::Reflect { vector: 6, error_code: None });
    assert_eq!(
        child.lines,
        "   0.000000   1 i386:syscall_0x4(0x1, 0, 0, 0, 0, 0) = ? [errno EPERM, default] [not carried out yet: int 0x80 gives SIGSEGV]\n   \
         0.000000   1 i386:syscall_0x4(0x1, 0, 0, 0, 0, 0) = ? [errno EPERM, default] [not carried out yet: sysenter gives SIGILL]\n"
    );
    assert_eq!(child.gate.counters(), Counters { calls: 2, not_implemented: 2, ..Counters::default() });

    let mut strict = Child::new("version = 1\ndefault = \"kill\"\n", false);
    let reason = "i386:syscall_0x4(0x1, 0, 0, 0, 0, 0): default".to_string();
    assert_eq!(strict.fault(&int80), Action::Kill { reason });

    // QEMU 7.2 shifts the vector in the error code by one bit too far.
    let emulated = CallSite { error_code: 0x802, ..int80 };
    assert!(matches!(strict.fault(&emulated), Action::Kill { .. }));
    // Without the bit that names the IDT it was not the gate that refused.
    let other = CallSite { error_code: 0x800, ..int80 };
    assert_eq!(strict.fault(&other), Action::Reflect { vector: 13, error_code: Some(0x800) });

    // Another interrupt number is an ordinary fault.
    let int81 = CallSite { vector: GENERAL_PROTECTION, error_code: 0x40a, gprs, ..site(&[0xcd, 0x81]) };
    assert_eq!(child.fault(&int81), Action::Reflect { vector: 13, error_code: Some(0x40a) });
}

#[test]
fn reports_of_calls_that_were_never_granted_are_dropped() {
    let mut child = Child::new(POLICY, true);
    child.completed(1, 0, 1);
    child.call("getpid", [0; 6]);
    for sequence in [0, 2, u64::MAX] {
        child.completed(sequence, i64::MIN, u64::MAX);
    }
    assert_eq!(child.lines, "");
    assert_eq!(child.gate.counters().not_implemented, 0);
    child.completed(1, 1, 0);
    child.completed(1, 1, 0);
    assert_eq!(child.lines.lines().count(), 1, "and each is taken once");
}

#[test]
fn random_bytes_are_recognised_or_not() {
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let mut child = child();
    let mut found = 0;
    for _ in 0..50_000 {
        let mut bytes = [next().to_le_bytes(), next().to_le_bytes()].concat();
        // Bias towards the opcodes in question.
        match next() % 8 {
            0 => bytes[1..3].copy_from_slice(&[0x0f, 0x05]),
            1 => bytes[0..2].copy_from_slice(&[0xcd, 0x80]),
            2 => bytes[2..4].copy_from_slice(&[0x0f, 0x34]),
            _ => {}
        }
        bytes.truncate(usize::try_from(next() % 17).expect("small"));
        let instruction = recognise(&bytes);
        if let Instruction::Syscall { len } = instruction {
            let end = usize::from(len);
            assert_eq!(bytes[end - 2..end], [0x0f, 0x05], "{bytes:x?}");
            found += 1;
        }
        let (vector, error_code) = if next() % 2 == 0 { (6, 0) } else { (13, 0x402) };
        let rip = [BASE, END - 1, END - 8, u64::MAX - 3, next()][usize::try_from(next() % 5).expect("small")];
        let cr3 = [0x1000, 0, next()][usize::try_from(next() % 3).expect("small")];
        let fault = CallSite { vector, error_code, rip, cr3, gprs: [next(); 16], ..site(&bytes) };
        child.fault(&fault);
    }
    assert!(found > 200, "{found}");
}

#[test]
fn a_dry_run_carries_out_what_it_judges() {
    let policy = "version = 1\ndefault = \"kill\"\n[[rule]]\ncalls = [\"getuid\"]\naction = { errno = \"EACCES\" }\n\
                  [[rule]]\ncalls = [\"close\"]\naction = { rewrite = [{ arg = 0, value = 9 }] }\n";
    let mut child = Child::dry(policy);
    for (sequence, (name, judged)) in (1..).zip([("getuid", "errno EACCES"), ("getpid", "kill"), ("close", "rewrite")])
    {
        let Action::Forward { grant, .. } = child.call(name, [7, 0, 0, 0, 0, 0]) else { panic!("{name}") };
        assert_eq!((grant.sequence, grant.args[0]), (sequence, 7), "{name}");
        child.completed(sequence, 0, 0);
        let line = child.take_lines();
        assert!(line.contains(&format!(" = 0 [not done: {judged}")), "{line}");
    }
    assert_eq!(child.gate.counters().denied + child.gate.counters().killed, 0);
}
