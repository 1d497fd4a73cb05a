//! What a policy denies: the program sees the error, or ends with the code for it.
use crate::{Bench, Case, Sandbox};
use std::fs;

/// The example of a policy under which no memory is writable and executable.
const WRITE_XOR_EXECUTE: &str = include_str!("../../../../policies/write-xor-execute.toml");

/// Tries to get code into memory: at once, without a file, and by changing memory that was written to; which can still be made read-only.
const MAKE_CODE: &str = "
import ctypes, mmap
for rights in 7, 5:
    try: print(len(mmap.mmap(-1, 4096, prot=rights)))
    except OSError as why: print(why)
libc = ctypes.CDLL(None, use_errno=True)
page = mmap.mmap(-1, 4096)
address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page)))
print(libc.mprotect(address, 4096, 5), ctypes.get_errno())
print(libc.mprotect(address, 4096, 1))
";

/// Tests of denials.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("a denied open in busybox's words", |bench| {
            // The dynamic linker opens with O_CLOEXEC, busybox without.
            let policy = "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"openat\"]\nwhen = [{ arg = 2, op = \"==\", value = 0 }]\naction = { errno = \"EPERM\" }\n";
            with_policy(bench, policy, bench.busybox(&["cat", "fruit"]), |sandbox| {
                sandbox.run()?.exits(1)?.complains("cat: can't open 'fruit': Operation not permitted")?.done()
            })
        }),
        Case::new("an errno rule", |bench| {
            let policy =
                "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"getppid\"]\naction = { errno = \"EXDEV\" }\n";
            with_policy(bench, policy, bench.guest("probe", &["110"]), |sandbox| {
                sandbox.run()?.exits(0)?.prints("-18\n")?.done()
            })
        }),
        Case::new("a kill rule", |bench| {
            let policy = "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"getppid\"]\naction = \"kill\"\nreason = \"nobody asks\"\n";
            with_policy(bench, policy, bench.guest("probe", &["110"]), |sandbox| {
                sandbox.run()?.exits(120)?.prints("")?.says("killed by policy: getppid")?.done()
            })
        }),
        Case::new("a made-up result", |bench| {
            let policy =
                "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"getppid\"]\naction = { fake = 4242 }\n";
            with_policy(bench, policy, bench.guest("probe", &["110"]).options(["--trace"]), |sandbox| {
                sandbox.run()?.exits(0)?.prints("4242\n")?.complains("getppid() = 4242 [fake, rule 1")?.done()
            })
        }),
        Case::new("a rewritten argument", |bench| {
            let policy = "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"umask\"]\naction = { rewrite = [{ arg = 0, value = 0o123 }] }\n";
            // Each umask gives back what the one before has set.
            with_policy(bench, policy, bench.busybox(&["sh", "-c", "umask 7; umask"]), |sandbox| {
                sandbox.run()?.exits(0)?.prints("0123\n")?.done()
            })
        }),
        Case::new("a rule on a path", |bench| {
            let policy = "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"openat\"]\nwhen = [{ arg = 1, path = [\"*.txt\", \"fru[a-j]t\"] }]\naction = { errno = \"EXDEV\" }\nreason = \"no fruit\"\n";
            with_policy(bench, policy, bench.busybox(&["cat", "fruit", "./fruit"]).options(["--trace"]), |sandbox| {
                sandbox
                    .run()?
                    .exits(1)?
                    .prints("pear 3\napple 10\nfig 7\napple 2\n")?
                    .complains("cat: can't open 'fruit': Invalid cross-device link")?
                    .complains("[errno EXDEV, rule 1 policy.toml:3: no fruit]")?
                    .done()
            })
        }),
        Case::new("rules that name a group of calls", |bench| {
            let policy =
                "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"@setuid\"]\naction = { errno = \"EXDEV\" }\n";
            with_policy(bench, policy, bench.guest("probe", &["105", "0"]), |sandbox| {
                sandbox.run()?.exits(0)?.prints("-18\n")?.done()
            })
        }),
        Case::new("a comparison of an argument", |bench| {
            let policy = "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"getpgid\"]\nwhen = [{ arg = 0, op = \"==\", value = 7 }]\naction = { errno = \"EACCES\" }\n";
            with_policy(bench, policy, bench.guest("probe", &["121", "7"]), |sandbox| {
                sandbox.run()?.exits(0)?.prints("-13\n")?.done()
            })?;
            with_policy(bench, policy, bench.guest("probe", &["121", "0"]), |sandbox| {
                let outcome = sandbox.run()?;
                outcome.exits(0)?.wants(outcome.stdout != b"-13\n", "another answer than -13")?.done()
            })
        }),
        Case::new("no memory is writable and executable, if the policy says so", |bench| {
            let sandbox = bench.in_tree("python", ["/usr/bin/python3", "-c", MAKE_CODE]);
            // Without the policy it is as on plain Linux.
            sandbox.same_as_here()?;
            with_policy(bench, WRITE_XOR_EXECUTE, sandbox, |sandbox| {
                let denied = "[Errno 13] Permission denied\n".repeat(2) + "-1 13\n0\n";
                sandbox.run()?.exits(0)?.prints(&denied)?.done()
            })
        })
        .needs("python"),
        Case::new("a program whose code is writable, if the policy does not allow it", |bench| {
            let mut bytes = fs::read(bench.path_of_busybox()).map_err(|e| e.to_string())?;
            make_code_writable(&mut bytes)?;
            let scratch = bench.fixture.scratch()?;
            let path = super::bad_input::write_program(&scratch, &bytes)?;
            bench.sandbox([path.as_os_str(), "echo".as_ref(), "x".as_ref()]).same_as_here()?;
            with_policy(bench, WRITE_XOR_EXECUTE, bench.sandbox([path]), |sandbox| {
                let outcome = sandbox.run()?;
                outcome
                    .exits(126)?
                    .says("a segment is writable and executable, which the policy does not allow")?
                    .done()
            })
        }),
        Case::new("a seccomp profile as containers have it", |bench| {
            let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
                {"names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 18,
                 "args": [{"index": 0, "value": 7, "op": "SCMP_CMP_EQ"}]}]}"#;
            with_policy(bench, profile, bench.busybox(&["mkdir", "new"]), |sandbox| {
                sandbox.run()?.exits(1)?.complains("mkdir: can't create directory 'new': Permission denied")?.done()
            })?;
            with_policy(bench, profile, bench.guest("probe", &["121", "7"]), |sandbox| {
                sandbox.run()?.exits(0)?.prints("-18\n")?.done()
            })
        }),
        Case::new("the calls of a systemd unit", |bench| {
            let unit = "[Service]\nSystemCallFilter=@system-service\nSystemCallFilter=~@file-system\nSystemCallErrorNumber=EXDEV\n";
            with_policy(bench, unit, bench.guest("probe", &["80"]), |sandbox| {
                sandbox.run()?.exits(0)?.prints("-18\n")?.done()
            })
        }),
        Case::new("an unknown call is denied by the default policy", |bench| {
            bench.guest("probe", &["9999"]).run()?.exits(0)?.prints("-1\n")?.done()
        }),
        Case::new("sysenter is judged as a call", |bench| other_entry(bench, "sysenter", 132)),
        Case::new("int 0x80 is judged as a call", |bench| other_entry(bench, "int80", 139)),
        Case::new("denied calls are counted and traced with their rule", |bench| {
            let policy =
                "version = 1\ndefault = \"allow\"\n[[rule]]\ncalls = [\"getppid\"]\naction = { errno = \"EPERM\" }\n";
            with_policy(bench, policy, bench.guest("probe", &["110"]).options(["--trace"]), |sandbox| {
                let outcome = sandbox.run()?;
                outcome.exits(0)?.complains("getppid(")?.complains("rule 1")?.says("1 denied")?.done()
            })
        }),
    ]
}

/// A system call by another instruction than `syscall`: it goes through the gate like any other, and ends as on a kernel
/// without 32-bit calls.
fn other_entry(bench: &Bench<'_>, kind: &str, code: i32) -> crate::Verdict {
    let outcome = bench.guest("fault", &[kind]).options(["--trace"]).run()?;
    outcome.exits(code)?.complains("i386:")?.says("1 calls")?.done()
}

/// Runs a test with a policy of its own.
pub(super) fn with_policy(
    bench: &Bench<'_>,
    text: &str,
    sandbox: Sandbox,
    test: impl FnOnce(Sandbox) -> crate::Verdict,
) -> crate::Verdict {
    let scratch = bench.fixture.scratch()?;
    let file = scratch.path().join("policy.toml");
    fs::write(&file, text).map_err(|e| e.to_string())?;
    test(sandbox.options(["--policy".as_ref(), file.as_os_str()]))
}

/// Marks the segment of a program's code as writable as well.
fn make_code_writable(elf: &mut [u8]) -> Result<(), String> {
    const EXECUTE: u8 = 1;
    const WRITE: u8 = 2;
    let half =
        |elf: &[u8], at: usize| elf.get(at..at + 2).map(|bytes| usize::from(bytes[0]) | usize::from(bytes[1]) << 8);
    // Program headers of a 64-bit ELF file stand behind its header, 56 bytes each: type, flags, ...
    let count = half(elf, 56).ok_or("a short file")?;
    let headers = elf.get_mut(64..64 + 56 * count).ok_or("a short file")?;
    let mut loads = headers.chunks_exact_mut(56).filter(|header| header[0] == 1);
    let code = loads.find(|header| header[4] & EXECUTE != 0).ok_or("no code")?;
    code[4] |= WRITE;
    Ok(())
}
