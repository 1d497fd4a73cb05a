//! The names of constants, errors and calls that policies know, against the headers of the system that the tests run on: those of Linux, and for names that only the C
//! library has, its own.
use policy::errno::ERRNOS;
use policy::signature::{self, Signature};
use policy::symbols::Symbols;
use proto::syscalls::SYSCALLS;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

const LINUX: &str = "asm/fcntl.h asm/termbits.h asm/ioctls.h asm/sockios.h linux/sockios.h linux/if_tun.h asm/mman.h asm/prctl.h asm/signal.h asm/errno.h asm/resource.h linux/aio_abi.h linux/close_range.h linux/eventfd.h linux/eventpoll.h linux/fadvise.h linux/falloc.h linux/fcntl.h linux/fs.h linux/blkzoned.h linux/blktrace_api.h linux/blkpg.h linux/fsverity.h linux/fscrypt.h linux/fiemap.h linux/fsmap.h linux/nsfs.h linux/futex.h linux/magic.h linux/membarrier.h linux/memfd.h linux/mman.h linux/mount.h linux/prctl.h linux/random.h linux/resource.h linux/sched.h linux/seccomp.h linux/stat.h linux/time.h linux/timerfd.h linux/types.h linux/unistd.h linux/wait.h linux/xattr.h linux/ptrace.h linux/net.h linux/in.h linux/tcp.h linux/capability.h linux/inotify.h linux/fanotify.h linux/ipc.h linux/shm.h linux/sem.h linux/msg.h linux/personality.h linux/ioprio.h linux/keyctl.h linux/perf_event.h linux/kcmp.h linux/module.h linux/bpf.h linux/landlock.h linux/mempolicy.h linux/reboot.h linux/userfaultfd.h linux/netlink.h linux/openat2.h";
const LIBRARY: &str = "errno.h fcntl.h signal.h sys/eventfd.h sys/klog.h sys/mman.h sys/mount.h sys/resource.h sys/socket.h sys/stat.h sys/time.h sys/timerfd.h sys/wait.h unistd.h time.h poll.h sys/epoll.h sys/ptrace.h sys/xattr.h sys/signalfd.h sys/pidfd.h sys/swap.h sys/ipc.h sys/shm.h sys/sem.h sys/msg.h netinet/in.h netinet/tcp.h netinet/udp.h sched.h sys/ioctl.h sys/vt.h";
const DEVICES: &str = "linux/fs.h linux/in6.h linux/kd.h linux/vt.h linux/loop.h linux/input.h linux/usbdevice_fs.h linux/serial.h linux/if.h linux/ipv6.h";

/// Names that no header for programs has, or none of Debian 12's: what they are is known by the sources of Linux and of the C library alone.
const IN_NO_HEADER: [&str; 14] = [
    "ARCH_CET_STATUS",
    "MADV_GUARD_INSTALL",
    "MADV_GUARD_REMOVE",
    "MFD_EXEC",
    "MFD_NOEXEC_SEAL",
    "PIDFD_THREAD",
    "PR_GET_AUXV",
    "PR_GET_MDWE",
    "PR_GET_MEMORY_MERGE",
    "PR_SET_MDWE",
    "PR_SET_MEMORY_MERGE",
    "SOL_SCTP",
    "SOL_UDPLITE",
    "__NR_uretprobe",
];
/// Names like that, of which the manual page tells.
const IN_NO_HEADER_EITHER: &str = "SYSLOG_ACTION_";
/// Calls from this number on may be newer than the headers: it is the last one of Debian 12's.
const LAST_CALL: u64 = 450;

/// Names, what our tables have for them, and the bits of their arguments that count.
fn ours() -> BTreeMap<String, (u64, u64)> {
    let errors = ERRNOS.iter().map(|errno| (errno.name.to_owned(), (errno.number.into(), u64::MAX)));
    let calls = SYSCALLS.iter().map(|call| (format!("__NR_{}", call.name), (call.number.into(), u64::MAX)));
    let mut known: BTreeMap<String, (u64, u64)> = errors.chain(calls).collect();
    let calls = || SYSCALLS.iter().filter_map(|call| signature::of(call.number.into()));
    let fields = calls().flat_map(Signature::structures).flat_map(|(_, structure)| structure.fields);
    let fields = fields.map(|field| (field.kind, field.mask()));
    for (kind, width) in calls().flat_map(|call| call.arguments).map(|kind| (*kind, kind.mask())).chain(fields) {
        let Some(Symbols { choices, flags, aliases, zero, .. }) = kind.symbols() else { continue };
        let zero = (*zero != "0").then_some((0, *zero));
        let named = choices.iter().chain(*flags).chain(*aliases).copied().chain(zero);
        for (value, name) in named.filter(|(_, name)| !name.starts_with("0x")) {
            let (other, mask) = known.entry(name.to_owned()).or_insert((value, width));
            *mask &= width;
            assert_eq!(*other, value, "{name} has two values");
        }
    }
    known
}

/// What the headers that are there have for these names.
fn theirs(headers: &str, names: &BTreeSet<&str>) -> BTreeMap<String, u64> {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut names = names.clone();
    loop {
        let mut text = String::from("#define _GNU_SOURCE\nint printf(const char *, ...);\n");
        for header in headers.split(' ') {
            text += &format!("#if __has_include(<{header}>)\n#include <{header}>\n#endif\n");
        }
        text += "int main(void) {\n";
        for name in &names {
            text += &format!("printf(\"%s %llu\\n\", \"{name}\", (unsigned long long)({name}));\n");
        }
        fs::write(at("names.c"), text + "return 0; }\n").unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-w", "-fmax-errors=0", "-o"]).arg(at("names")).arg(at("names.c")).env("LC_ALL", "C");
        let said = compiler.output().expect("a C compiler");
        if said.status.success() {
            break;
        }
        let errors = String::from_utf8_lossy(&said.stderr).into_owned();
        let unknown: Vec<&str> = errors
            .lines()
            .filter(|line| line.contains("undeclared"))
            .filter_map(|line| line.split(['\'', '‘', '’']).nth(1))
            .collect();
        assert!(names.iter().any(|name| unknown.contains(name)), "{errors}");
        names.retain(|name| !unknown.contains(name));
    }
    let said = Command::new(at("names")).output().unwrap();
    let lines = String::from_utf8(said.stdout).unwrap();
    let pair = |line: &str| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap()));
    lines.lines().filter_map(pair).collect()
}

#[test]
fn names_of_constants_are_those_of_the_systems_headers() {
    let ours = ours();
    let names: BTreeSet<&str> = ours.keys().map(String::as_str).collect();
    let mut headers = theirs(LINUX, &names);
    for more in [LIBRARY, DEVICES] {
        let left = names.iter().copied().filter(|name| !headers.contains_key(*name)).collect();
        headers.extend(theirs(more, &left));
    }
    let differing = ours.iter().filter_map(|(name, (value, mask))| {
        let theirs = *headers.get(name)?;
        ((value ^ theirs) & mask != 0).then_some((name, value, theirs))
    });
    let differing: Vec<_> = differing.collect();
    assert!(differing.is_empty(), "name, ours, the headers': {differing:x?}");
    let is_new = |name: &str, value: u64| name.starts_with("__NR_") && value >= LAST_CALL;
    let known = |name: &str, value: u64| headers.contains_key(name) || is_new(name, value);
    let missing = ours.iter().filter(|(name, (value, _))| !known(name, *value)).map(|(name, _)| name.as_str());
    let missing: Vec<&str> =
        missing.filter(|name| !IN_NO_HEADER.contains(name) && !name.starts_with(IN_NO_HEADER_EITHER)).collect();
    assert!(missing.is_empty(), "no header has {missing:?}");
    assert!(headers.len() > 1400, "only {} names were compared", headers.len());
}

/// Where a field stands, and how wide it is, as C has it.
fn place(structure: &str, field: &str) -> (String, String) {
    let of = format!("((struct {structure} *)0)->{field}");
    (format!("(unsigned long)&{of}"), format!("sizeof({of})"))
}

#[test]
fn fields_are_where_the_systems_headers_have_them() {
    let headers = "linux/openat2.h linux/sched.h linux/resource.h sched.h";
    let structures =
        SYSCALLS.iter().filter_map(|call| signature::of(call.number.into())).flat_map(Signature::structures);
    let mut ours: BTreeMap<String, u64> = BTreeMap::new();
    for (_, structure) in structures {
        for field in structure.fields {
            let (offset, width) = place(structure.name, field.name);
            ours.extend([(offset, field.offset as u64), (width, field.width as u64)]);
        }
        ours.insert(format!("sizeof(struct {})", structure.name), structure.size() as u64);
    }
    let theirs = theirs(headers, &ours.keys().map(String::as_str).collect());
    assert_eq!(theirs, ours);
    assert!(ours.len() > 30, "{ours:?}");
}
