//! Groups of system calls: `@file-system`, `@network-io` and the others that systemd's `SystemCallFilter=` knows.
//!
//! Facts from `systemd-analyze syscall-filter` of Debian 12 (systemd 252), reduced to the calls that x86-64 has.
//! `cargo xtask test judges` compares them with the installed systemd. A group may hold groups, which hold none.

use proto::syscalls::{self, Syscall};

/// A named set of system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name, with its `@`.
    pub name: &'static str,
    groups: &'static [&'static str],
    calls: &'static [&'static str],
}

impl Group {
    /// The group with this name (`@` included).
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        GROUPS.iter().find(|group| group.name == name)
    }

    /// Its calls, those of the groups in it included. A call can come twice.
    pub fn members(&self) -> impl Iterator<Item = &'static Syscall> + use<> {
        let inner = self.groups.iter().filter_map(|name| Self::by_name(name)).flat_map(|group| group.calls);
        self.calls.iter().chain(inner).filter_map(|name| syscalls::by_name(name))
    }
}

/// All groups.
#[rustfmt::skip]
pub static GROUPS: &[Group] = &[
    Group {
        name: "@default",
        groups: &[],
        calls: &[
            "arch_prctl", "brk", "clock_getres", "clock_gettime", "clock_nanosleep", "execve", "exit", "exit_group",
            "futex", "futex_waitv", "get_robust_list", "get_thread_area", "getegid", "geteuid", "getgid", "getgroups",
            "getpgid", "getpgrp", "getpid", "getppid", "getrandom", "getresgid", "getresuid", "getrlimit", "getsid",
            "gettid", "gettimeofday", "getuid", "membarrier", "mmap", "mprotect", "munmap", "nanosleep", "pause",
            "prlimit64", "restart_syscall", "rseq", "rt_sigreturn", "sched_getaffinity", "sched_yield",
            "set_robust_list", "set_thread_area", "set_tid_address", "time", "uretprobe",
        ],
    },
    Group {
        name: "@aio",
        groups: &[],
        calls: &[
            "io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit", "io_uring_enter",
            "io_uring_register", "io_uring_setup",
        ],
    },
    Group {
        name: "@basic-io",
        groups: &[],
        calls: &[
            "close", "close_range", "dup", "dup2", "dup3", "lseek", "pread64", "preadv", "preadv2", "pwrite64",
            "pwritev", "pwritev2", "read", "readv", "write", "writev",
        ],
    },
    Group {
        name: "@chown",
        groups: &[],
        calls: &["chown", "fchown", "fchownat", "lchown"],
    },
    Group {
        name: "@clock",
        groups: &[],
        calls: &["adjtimex", "clock_adjtime", "clock_settime", "settimeofday"],
    },
    Group {
        name: "@cpu-emulation",
        groups: &[],
        calls: &["modify_ldt"],
    },
    Group {
        name: "@debug",
        groups: &[],
        calls: &["lookup_dcookie", "perf_event_open", "pidfd_getfd", "ptrace"],
    },
    Group {
        name: "@file-system",
        groups: &[],
        calls: &[
            "access", "chdir", "chmod", "close", "creat", "faccessat", "faccessat2", "fallocate", "fchdir", "fchmod",
            "fchmodat", "fchmodat2", "fcntl", "fgetxattr", "flistxattr", "fremovexattr", "fsetxattr", "fstat",
            "fstatfs", "ftruncate", "futimesat", "getcwd", "getdents", "getdents64", "getxattr", "inotify_add_watch",
            "inotify_init", "inotify_init1", "inotify_rm_watch", "lgetxattr", "link", "linkat", "listxattr",
            "llistxattr", "lremovexattr", "lsetxattr", "lstat", "mkdir", "mkdirat", "mknod", "mknodat", "newfstatat",
            "open", "openat", "openat2", "readlink", "readlinkat", "removexattr", "rename", "renameat", "renameat2",
            "rmdir", "setxattr", "stat", "statfs", "statx", "symlink", "symlinkat", "truncate", "unlink", "unlinkat",
            "utime", "utimensat", "utimes",
        ],
    },
    Group {
        name: "@io-event",
        groups: &[],
        calls: &[
            "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2",
            "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "poll", "ppoll", "pselect6", "select",
        ],
    },
    Group {
        name: "@ipc",
        groups: &[],
        calls: &[
            "memfd_create", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink",
            "msgctl", "msgget", "msgrcv", "msgsnd", "pipe", "pipe2", "process_madvise", "process_vm_readv",
            "process_vm_writev", "semctl", "semget", "semop", "semtimedop", "shmat", "shmctl", "shmdt", "shmget",
        ],
    },
    Group {
        name: "@keyring",
        groups: &[],
        calls: &["add_key", "keyctl", "request_key"],
    },
    Group {
        name: "@memlock",
        groups: &[],
        calls: &["mlock", "mlock2", "mlockall", "munlock", "munlockall"],
    },
    Group {
        name: "@module",
        groups: &[],
        calls: &["delete_module", "finit_module", "init_module"],
    },
    Group {
        name: "@mount",
        groups: &[],
        calls: &[
            "chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree",
            "pivot_root", "umount2",
        ],
    },
    Group {
        name: "@network-io",
        groups: &[],
        calls: &[
            "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom",
            "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown", "socket", "socketpair",
        ],
    },
    Group {
        name: "@obsolete",
        groups: &[],
        calls: &[
            "_sysctl", "afs_syscall", "create_module", "get_kernel_syms", "getpmsg", "putpmsg", "query_module",
            "security", "sysfs", "tuxcall", "uselib", "ustat", "vserver",
        ],
    },
    Group {
        name: "@pkey",
        groups: &[],
        calls: &["pkey_alloc", "pkey_free", "pkey_mprotect"],
    },
    Group {
        name: "@privileged",
        groups: &["@chown", "@clock", "@module", "@raw-io", "@reboot", "@swap"],
        calls: &[
            "_sysctl", "acct", "bpf", "capset", "chroot", "fanotify_init", "fanotify_mark", "nfsservctl",
            "open_by_handle_at", "pivot_root", "quotactl", "quotactl_fd", "setdomainname", "setfsuid", "setgroups",
            "sethostname", "setresuid", "setreuid", "setuid", "vhangup",
        ],
    },
    Group {
        name: "@process",
        groups: &[],
        calls: &[
            "capget", "clone", "clone3", "execveat", "fork", "getrusage", "kill", "pidfd_open", "pidfd_send_signal",
            "prctl", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "setns", "tgkill", "times", "tkill", "unshare", "vfork",
            "wait4", "waitid",
        ],
    },
    Group {
        name: "@raw-io",
        groups: &[],
        calls: &["ioperm", "iopl"],
    },
    Group {
        name: "@reboot",
        groups: &[],
        calls: &["kexec_file_load", "kexec_load", "reboot"],
    },
    Group {
        name: "@resources",
        groups: &[],
        calls: &[
            "ioprio_set", "mbind", "migrate_pages", "move_pages", "sched_setaffinity", "sched_setattr",
            "sched_setparam", "sched_setscheduler", "set_mempolicy", "set_mempolicy_home_node", "setpriority",
            "setrlimit",
        ],
    },
    Group {
        name: "@setuid",
        groups: &[],
        calls: &["setgid", "setgroups", "setregid", "setresgid", "setresuid", "setreuid", "setuid"],
    },
    Group {
        name: "@signal",
        groups: &[],
        calls: &[
            "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigsuspend", "rt_sigtimedwait", "sigaltstack",
            "signalfd", "signalfd4",
        ],
    },
    Group {
        name: "@swap",
        groups: &[],
        calls: &["swapoff", "swapon"],
    },
    Group {
        name: "@sync",
        groups: &[],
        calls: &["fdatasync", "fsync", "msync", "sync", "sync_file_range", "syncfs"],
    },
    Group {
        name: "@system-service",
        groups: &[
            "@aio", "@basic-io", "@chown", "@default", "@file-system", "@io-event", "@ipc", "@keyring", "@memlock",
            "@network-io", "@process", "@resources", "@setuid", "@signal", "@sync", "@timer",
        ],
        calls: &[
            "capget", "capset", "copy_file_range", "fadvise64", "flock", "get_mempolicy", "getcpu", "getpriority",
            "ioctl", "ioprio_get", "kcmp", "madvise", "mremap", "name_to_handle_at", "personality", "readahead",
            "remap_file_pages", "sched_get_priority_max", "sched_get_priority_min", "sched_getattr", "sched_getparam",
            "sched_getscheduler", "sched_rr_get_interval", "sched_yield", "sendfile", "setfsgid", "setfsuid",
            "setpgid", "setsid", "splice", "sysinfo", "tee", "umask", "uname", "userfaultfd", "vmsplice",
        ],
    },
    Group {
        name: "@timer",
        groups: &[],
        calls: &[
            "alarm", "getitimer", "setitimer", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
            "timer_settime", "timerfd_create", "timerfd_gettime", "timerfd_settime", "times",
        ],
    },
    Group {
        name: "@known",
        groups: &["@obsolete"],
        calls: &[
            "accept", "accept4", "access", "acct", "add_key", "adjtimex", "alarm", "arch_prctl", "bind", "bpf", "brk",
            "capget", "capset", "chdir", "chmod", "chown", "chroot", "clock_adjtime", "clock_getres", "clock_gettime",
            "clock_nanosleep", "clock_settime", "clone", "clone3", "close", "close_range", "connect",
            "copy_file_range", "creat", "delete_module", "dup", "dup2", "dup3", "epoll_create", "epoll_create1",
            "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd",
            "eventfd2", "execve", "execveat", "exit", "exit_group", "faccessat", "faccessat2", "fadvise64",
            "fallocate", "fanotify_init", "fanotify_mark", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown",
            "fchownat", "fcntl", "fdatasync", "fgetxattr", "finit_module", "flistxattr", "flock", "fork",
            "fremovexattr", "fsconfig", "fsetxattr", "fsmount", "fsopen", "fspick", "fstat", "fstatfs", "fsync",
            "ftruncate", "futex", "futex_requeue", "futex_wait", "futex_waitv", "futex_wake", "futimesat",
            "get_mempolicy", "get_robust_list", "get_thread_area", "getcpu", "getcwd", "getdents", "getdents64",
            "getegid", "geteuid", "getgid", "getgroups", "getitimer", "getpeername", "getpgid", "getpgrp", "getpid",
            "getppid", "getpriority", "getrandom", "getresgid", "getresuid", "getrlimit", "getrusage", "getsid",
            "getsockname", "getsockopt", "gettid", "gettimeofday", "getuid", "getxattr", "init_module",
            "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "io_cancel", "io_destroy",
            "io_getevents", "io_pgetevents", "io_setup", "io_submit", "io_uring_enter", "io_uring_register",
            "io_uring_setup", "ioctl", "ioperm", "iopl", "ioprio_get", "ioprio_set", "kcmp", "kexec_file_load",
            "kexec_load", "keyctl", "kill", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self",
            "lchown", "lgetxattr", "link", "linkat", "listen", "listxattr", "llistxattr", "lookup_dcookie",
            "lremovexattr", "lseek", "lsetxattr", "lstat", "madvise", "map_shadow_stack", "mbind", "membarrier",
            "memfd_create", "memfd_secret", "migrate_pages", "mincore", "mkdir", "mkdirat", "mknod", "mknodat",
            "mlock", "mlock2", "mlockall", "mmap", "modify_ldt", "mount", "mount_setattr", "move_mount", "move_pages",
            "mprotect", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink",
            "mremap", "msgctl", "msgget", "msgrcv", "msgsnd", "msync", "munlock", "munlockall", "munmap",
            "name_to_handle_at", "nanosleep", "newfstatat", "open", "open_by_handle_at", "open_tree", "openat",
            "openat2", "pause", "perf_event_open", "personality", "pidfd_getfd", "pidfd_open", "pidfd_send_signal",
            "pipe", "pipe2", "pivot_root", "pkey_alloc", "pkey_free", "pkey_mprotect", "poll", "ppoll", "prctl",
            "pread64", "preadv", "preadv2", "prlimit64", "process_madvise", "process_mrelease", "process_vm_readv",
            "process_vm_writev", "pselect6", "ptrace", "pwrite64", "pwritev", "pwritev2", "quotactl", "quotactl_fd",
            "read", "readahead", "readlink", "readlinkat", "readv", "reboot", "recvfrom", "recvmmsg", "recvmsg",
            "remap_file_pages", "removexattr", "rename", "renameat", "renameat2", "request_key", "restart_syscall",
            "rmdir", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn",
            "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo", "sched_get_priority_max",
            "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler",
            "sched_rr_get_interval", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler",
            "sched_yield", "seccomp", "select", "semctl", "semget", "semop", "semtimedop", "sendfile", "sendmmsg",
            "sendmsg", "sendto", "set_mempolicy", "set_mempolicy_home_node", "set_robust_list", "set_thread_area",
            "set_tid_address", "setdomainname", "setfsgid", "setfsuid", "setgid", "setgroups", "sethostname",
            "setitimer", "setns", "setpgid", "setpriority", "setregid", "setresgid", "setresuid", "setreuid",
            "setrlimit", "setsid", "setsockopt", "settimeofday", "setuid", "setxattr", "shmat", "shmctl", "shmdt",
            "shmget", "shutdown", "sigaltstack", "signalfd", "signalfd4", "socket", "socketpair", "splice", "stat",
            "statfs", "statx", "swapoff", "swapon", "symlink", "symlinkat", "sync", "sync_file_range", "syncfs",
            "sysfs", "sysinfo", "syslog", "tee", "tgkill", "time", "timer_create", "timer_delete", "timer_getoverrun",
            "timer_gettime", "timer_settime", "timerfd_create", "timerfd_gettime", "timerfd_settime", "times",
            "tkill", "truncate", "umask", "umount2", "uname", "unlink", "unlinkat", "unshare", "userfaultfd", "ustat",
            "utime", "utimensat", "utimes", "vfork", "vhangup", "vmsplice", "wait4", "waitid", "write", "writev",
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_and_nesting_ends() {
        for group in GROUPS {
            assert!(group.calls.iter().all(|name| syscalls::by_name(name).is_some()), "{}", group.name);
            for inner in group.groups {
                assert!(Group::by_name(inner).is_some_and(|inner| inner.groups.is_empty()), "{inner}");
            }
        }
    }

    #[test]
    fn members_of_inner_groups_are_members() {
        let privileged = Group::by_name("@privileged").expect("a group");
        assert!(privileged.members().any(|call| call.name == "fchown"), "from @chown");
        assert!(privileged.members().any(|call| call.name == "chroot"), "its own");
        assert!(Group::by_name("privileged").is_none() && Group::by_name("@nothing").is_none());
    }
}
