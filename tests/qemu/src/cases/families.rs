//! The programs of the system call families (tests/guests/families): each section must print in a sandbox what it prints here.
use crate::Case;

/// Programs and those of their sections that sandboxes carry out as Linux does.
const SAME: [(&str, &[&str]); 11] = [
    (
        "futexes",
        &["wait", "errors", "wake", "requeue", "bitset", "wake-op", "times", "shared", "file", "priority", "exit"],
    ),
    (
        "memory",
        &[
            "map",
            "errors",
            "fixed",
            "file",
            "shared-file",
            "end-of-file",
            "protect",
            "remap",
            "advise",
            "resident",
            "fork",
            "shared",
            "seals",
            "break",
            "reserve",
            "lock",
            "sync",
            "large",
            "stack",
            "bad-pointers",
        ],
    ),
    (
        "paths",
        &[
            "directories",
            "links",
            "loops",
            "rename",
            "long",
            "openat",
            "umask",
            "modes",
            "owners",
            "times",
            "statx",
            "list",
            "deep",
            "statfs",
        ],
    ),
    ("pipes", &["pipe", "capacity", "blocking", "positions", "vectors", "append", "holes", "limits"]),
    (
        "processes",
        &[
            "fork",
            "codes",
            "vfork",
            "wait4",
            "orphans",
            "subreaper",
            "groups",
            "sessions",
            "exec",
            "exec-errors",
            "exec-state",
            "scripts",
            "too-big",
            "parent-death",
            "tree",
        ],
    ),
    (
        "readiness",
        &[
            "timerfd",
            "poll",
            "ppoll",
            "select",
            "epoll",
            "edges",
            "nested",
            "epoll-errors",
            "epoll-mask",
            "many",
            "inotify",
        ],
    ),
    (
        "signals",
        &[
            "actions",
            "masks",
            "pending",
            "info",
            "alternate-stack",
            "interrupted",
            "flags",
            "nested",
            "suspend",
            "timed-wait",
            "defaults",
            "core",
            "children",
            "registers",
            "permission",
            "broken-pipe",
            "stack-overflow",
            "storm",
        ],
    ),
    (
        "sockets",
        &[
            "pair",
            "seqpacket",
            "datagram",
            "stream",
            "abstract",
            "descriptors",
            "credentials",
            "flags",
            "backlog",
            "tcp",
            "tcp-options",
            "tcp-refused",
            "tcp-large",
            "tcp-half",
            "tcp-six",
            "reuse",
        ],
    ),
    (
        "system",
        &[
            "sleeping",
            "interval-timers",
            "posix-timers",
            "timer-threads",
            "users",
            "groups",
            "capabilities",
            "limits",
            "usage",
            "personality",
            "names",
            "proc-maps",
        ],
    ),
    (
        "terminals",
        &["open", "canonical", "raw", "echo", "output", "interrupt", "size", "background", "hang-up", "none"],
    ),
    (
        "threads",
        &[
            "join", "mutex", "condvar", "barrier", "channels", "locals", "rwlock", "numbers", "exit", "signals",
            "spinning", "errno", "limits", "fault", "chain",
        ],
    ),
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
