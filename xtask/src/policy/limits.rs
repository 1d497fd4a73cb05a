//! What `[limits]` comes to in words, for those who look at policies without running anything.
use policy::Policy;
use policy::quotas::Quota;
use proto::syscalls;

/// Descriptors that a program starts with.
const STREAMS: u64 = 3;

/// Calls that make a process or a thread.
const STARTING: &[&str] = &["clone", "clone3", "fork", "vfork"];
/// Calls that may give a process one more descriptor.
const OPENING: &[&str] = &[
    "accept",
    "accept4",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "epoll_create",
    "epoll_create1",
    "eventfd",
    "eventfd2",
    "fcntl",
    "inotify_init",
    "inotify_init1",
    "memfd_create",
    "mq_open",
    "open",
    "open_by_handle_at",
    "openat",
    "openat2",
    "pidfd_getfd",
    "pidfd_open",
    "pipe",
    "pipe2",
    "recvmmsg",
    "recvmsg",
    "signalfd",
    "signalfd4",
    "socket",
    "socketpair",
    "timerfd_create",
];
/// Calls that write into files and streams.
const WRITING: &[&str] =
    &["copy_file_range", "pwrite64", "pwritev", "pwritev2", "sendfile", "splice", "write", "writev"];
/// Calls that ask for memory as such. Files that are written, tables and all else that the system keeps count as well.
const TAKING: &[&str] = &["brk", "clone", "clone3", "execve", "execveat", "fork", "mmap", "mremap", "shmget", "vfork"];

/// The lines of `policy check`.
pub(super) fn check(policy: &Policy) -> Vec<String> {
    let quotas = policy.quotas();
    let stated = |(quota, _)| Some(format!("{}; {}", quotas.describe(quota)?, quota.consequence()));
    let mut lines: Vec<String> = quotas.all().filter_map(stated).collect();
    let mut odd = |quota: Quota, why: String| {
        lines.extend(quotas.place(quota).map(|place| format!("{place}: {} {why}", quota.key())));
    };
    let amount = |quota: Quota| quotas.get(quota).map(|stated| (stated, quota.amount(stated)));
    if let (Some((processes, _)), Some((threads, stated))) = (amount(Quota::Processes), amount(Quota::Threads))
        && processes > threads
    {
        odd(Quota::Processes, format!("is never reached: each process has a thread, of which there are {stated}"));
    }
    if let (Some((cpu, _)), Some((wall, stated))) = (amount(Quota::Cpu), amount(Quota::Wall))
        && cpu >= wall
    {
        odd(
            Quota::Cpu,
            format!("is never reached: there is one processor, and `wall` ends the sandbox after {stated}"),
        );
    }
    if let Some((open, _)) = amount(Quota::OpenFiles)
        && open <= STREAMS
    {
        odd(
            Quota::OpenFiles,
            format!("leaves nothing to open beside the {STREAMS} streams that a program starts with"),
        );
    }
    lines
}

/// The lines of `policy explain` about a call: all count as calls, and those that are carried out may take of what else there is.
pub(super) fn explain(policy: &Policy, call: u64, is_carried_out: bool) -> Vec<String> {
    let name = syscalls::by_number(call).map_or("", |call| call.name);
    let takes = |quota: Quota| match quota {
        Quota::CallsPerSecond => true,
        Quota::Processes | Quota::Threads => is_carried_out && STARTING.contains(&name),
        Quota::OpenFiles => is_carried_out && OPENING.contains(&name),
        Quota::BytesWritten => is_carried_out && WRITING.contains(&name),
        Quota::Memory => is_carried_out && TAKING.contains(&name),
        // They are about the whole run, whatever it calls.
        Quota::Cpu | Quota::Wall => false,
    };
    let line = |(quota, _)| Some(format!("counts for {}; {}", policy.quotas().describe(quota)?, quota.consequence()));
    policy.quotas().all().filter(|(quota, _)| takes(*quota)).filter_map(line).collect()
}

/// What `policy diff` compares: a limit and how much there may be.
pub(super) fn stated(policy: &Policy) -> [(Quota, String); Quota::ALL.len()] {
    Quota::ALL.map(|quota| (quota, policy.quotas().get(quota).map_or("none".to_owned(), |own| quota.amount(own))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(text: &str) -> Policy {
        policy::parse("f", &format!("version = 1\n[limits]\n{text}\n")).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn what_is_never_reached_is_said() {
        let odd = |text: &str| check(&limits(text)).split_off(text.lines().count());
        assert!(odd("processes = 4\nthreads = 4\nopen_files = 4\ncpu = 1\nwall = 2").is_empty());
        assert_eq!(
            odd("processes = 5\nthreads = 4"),
            ["[limits] f:3: processes is never reached: each process has a thread, of which there are 4"]
        );
        assert_eq!(
            odd("cpu = 2\nwall = 2"),
            ["[limits] f:3: cpu is never reached: there is one processor, and `wall` ends the sandbox after 2s"]
        );
        assert!(odd("open_files = 3")[0].starts_with("[limits] f:3: open_files leaves nothing to open"));
    }

    #[test]
    fn calls_have_the_limits_that_they_count_for() {
        let all = limits(
            "memory = \"8M\"\nprocesses = 2\nthreads = 3\nopen_files = 4\nbytes_written = 5\ncpu = 6\nwall = 7\ncalls_per_second = 8",
        );
        let explained = |name: &str, done| {
            let call = syscalls::by_name(name).unwrap().number;
            explain(&all, call.into(), done)
                .iter()
                .map(|line| line.split_once(';').unwrap().0.to_owned())
                .collect::<Vec<_>>()
        };
        let rate = "counts for [limits] f:10: calls_per_second 8";
        assert_eq!(explained("getpid", true), [rate]);
        assert_eq!(explained("write", true), ["counts for [limits] f:7: bytes_written 5", rate]);
        assert_eq!(explained("write", false), [rate]);
        assert_eq!(explained("fork", true).len(), 4);
    }

    #[test]
    fn the_lists_name_calls() {
        for name in [STARTING, OPENING, WRITING, TAKING].concat() {
            assert!(syscalls::by_name(name).is_some(), "{name}");
        }
    }
}
