//! Names for the numbers in arguments: flags, commands, kinds. Numbers come from Linux' own headers.

use core::fmt;

use linux_raw_sys::{general as g, ioctl as io, prctl as p};

// Beneath the macro that they use.
pub use control::*;
pub use network::*;

/// A set of named numbers that one argument takes.
///
/// A value is one of `choices` in the bits of `choice_mask`, and any of `flags` in the others.
#[derive(Debug)]
pub struct Symbols {
    /// The bits that hold one of `choices`; 0 if there are only flags.
    pub choice_mask: u64,
    /// Names of the values in those bits.
    pub choices: &'static [(u64, &'static str)],
    /// Names of the other bits; a flag of several bits stands before the flags that it includes.
    pub flags: &'static [(u64, &'static str)],
    /// Further names, which are taken and never written: other names of the same numbers, or those of which an argument's neighbour says
    /// whether they are meant.
    pub aliases: &'static [(u64, &'static str)],
    /// How a value without any bit is written, when no choice names it.
    pub zero: &'static str,
}

impl Symbols {
    /// The value that a name stands for.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<u64> {
        let mut all = self.choices.iter().chain(self.flags).chain(self.aliases);
        let zero = || (self.zero == name && name != "0").then_some(0);
        all.find(|(_, known)| *known == name).map(|(value, _)| *value).or_else(zero)
    }

    /// The name of a choice.
    fn value_name(&self, value: u64) -> Option<&'static str> {
        self.choices.iter().find(|(known, _)| *known == value).map(|(_, name)| *name)
    }

    /// Whether all of a value is written by names.
    #[must_use]
    pub fn covers(&self, value: u64) -> bool {
        let chosen = self.choices.iter().find(|(chosen, _)| *chosen == value & self.choice_mask).map_or(0, |one| one.0);
        self.flags
            .iter()
            .fold(value & !chosen, |rest, (bits, _)| if rest & bits == *bits { rest & !bits } else { rest })
            == 0
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.choices.iter().chain(self.flags).chain(self.aliases).map(|(_, name)| *name)
    }

    /// With these names, too.
    const fn also(self, aliases: &'static [(u64, &'static str)]) -> Self {
        Self { aliases, ..self }
    }

    /// Writes `value` by names, as `A|B|0x8000`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn fmt::Write, value: u64) -> fmt::Result {
        let mut separator = "";
        let mut part = |text: fmt::Arguments<'_>| {
            let result = out.write_str(separator).and_then(|()| out.write_fmt(text));
            separator = "|";
            result
        };
        let mut rest = value;
        if let Some((chosen, name)) = self.choices.iter().find(|(chosen, _)| *chosen == value & self.choice_mask) {
            rest &= !chosen;
            part(format_args!("{name}"))?;
        }
        for (bits, name) in self.flags {
            if rest & bits == *bits {
                rest &= !bits;
                part(format_args!("{name}"))?;
            }
        }
        if rest != 0 {
            part(format_args!("{rest:#x}"))?;
        }
        if separator.is_empty() { out.write_str(self.zero) } else { Ok(()) }
    }
}

/// Names of constants of one header, as pairs.
macro_rules! named {
    ($header:ident: $( $name:ident ),* $(,)?) => { &[ $( ($header::$name as u64, stringify!($name)) ),* ] };
}

mod control;
mod ioctl;
mod network;

/// A set of which every value is one choice.
const fn choices(choices: &'static [(u64, &'static str)]) -> Symbols {
    Symbols { choice_mask: u64::MAX, choices, flags: &[], aliases: &[], zero: "0" }
}

/// A set of flags only.
const fn flags(flags: &'static [(u64, &'static str)]) -> Symbols {
    Symbols { choice_mask: 0, choices: &[], flags, aliases: &[], zero: "0" }
}

/// `open`: an access mode and flags. O_SYNC includes O_DSYNC, O_TMPFILE includes O_DIRECTORY.
pub static OPEN: Symbols = Symbols {
    choice_mask: g::O_ACCMODE as u64,
    choices: named!(g: O_RDONLY, O_WRONLY, O_RDWR),
    flags: named!(g: O_CREAT, O_EXCL, O_NOCTTY, O_TRUNC, O_APPEND, O_NONBLOCK, O_SYNC, O_DSYNC, FASYNC, O_DIRECT,
        O_LARGEFILE, O_TMPFILE, O_DIRECTORY, O_NOFOLLOW, O_NOATIME, O_CLOEXEC, O_PATH),
    aliases: &[
        (g::O_NONBLOCK as u64, "O_NDELAY"),
        (g::FASYNC as u64, "O_ASYNC"),
        (g::O_SYNC as u64, "O_RSYNC"),
        (g::O_ACCMODE as u64, "O_ACCMODE"),
    ],
    zero: "0",
};

/// `pipe2`, `dup3`, `signalfd4`, `eventfd2`, `inotify_init1` and their like.
pub static FD_FLAGS: Symbols = flags(named!(g: O_NONBLOCK, O_CLOEXEC, O_DIRECT, EFD_SEMAPHORE)).also(&[
    (g::O_NONBLOCK as u64, "EFD_NONBLOCK"),
    (g::O_CLOEXEC as u64, "EFD_CLOEXEC"),
    (g::O_NONBLOCK as u64, "SFD_NONBLOCK"),
    (g::O_CLOEXEC as u64, "SFD_CLOEXEC"),
    (g::O_NONBLOCK as u64, "TFD_NONBLOCK"),
    (g::O_CLOEXEC as u64, "TFD_CLOEXEC"),
    (g::O_NONBLOCK as u64, "IN_NONBLOCK"),
    (g::O_CLOEXEC as u64, "IN_CLOEXEC"),
    (g::O_CLOEXEC as u64, "EPOLL_CLOEXEC"),
]);

/// `pidfd_open`.
pub static PIDFD: Symbols = flags(named!(g: O_NONBLOCK, O_EXCL))
    .also(&[(g::O_NONBLOCK as u64, "PIDFD_NONBLOCK"), (g::O_EXCL as u64, "PIDFD_THREAD")]);

/// `userfaultfd`.
pub static USERFAULTFD: Symbols = flags(named!(g: O_NONBLOCK, O_CLOEXEC, UFFD_USER_MODE_ONLY));

/// `mmap` and `mprotect`: protection.
pub static PROT: Symbols = Symbols {
    choice_mask: 0,
    choices: &[],
    flags: named!(g: PROT_READ, PROT_WRITE, PROT_EXEC, PROT_SEM, PROT_GROWSDOWN, PROT_GROWSUP),
    aliases: &[],
    zero: "PROT_NONE",
};

/// `mmap`: kind and flags.
pub static MAP: Symbols = Symbols {
    choice_mask: g::MAP_TYPE as u64,
    choices: named!(g: MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE),
    flags: named!(g: MAP_FIXED, MAP_ANONYMOUS, MAP_32BIT, MAP_GROWSDOWN, MAP_DENYWRITE, MAP_EXECUTABLE, MAP_LOCKED,
        MAP_NORESERVE, MAP_POPULATE, MAP_NONBLOCK, MAP_STACK, MAP_HUGETLB, MAP_SYNC, MAP_FIXED_NOREPLACE),
    aliases: &[
        (g::MAP_ANONYMOUS as u64, "MAP_ANON"),
        (0, "MAP_FILE"),
        (g::MAP_HUGE_2MB as u64, "MAP_HUGE_2MB"),
        (g::MAP_HUGE_1GB as u64, "MAP_HUGE_1GB"),
        (g::MAP_TYPE as u64, "MAP_TYPE"),
        (g::MAP_UNINITIALIZED as u64, "MAP_UNINITIALIZED"),
    ],
    zero: "0",
};

/// `mremap`.
pub static MREMAP: Symbols = flags(named!(g: MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP));

/// `madvise`.
pub static MADVICE: Symbols = choices(
    named!(g: MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED,
    MADV_FREE, MADV_REMOVE, MADV_DONTFORK, MADV_DOFORK, MADV_HWPOISON, MADV_SOFT_OFFLINE, MADV_MERGEABLE,
    MADV_UNMERGEABLE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_DODUMP, MADV_WIPEONFORK, MADV_KEEPONFORK,
    MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_DONTNEED_LOCKED, MADV_COLLAPSE, MADV_GUARD_INSTALL, MADV_GUARD_REMOVE),
);

/// `msync`.
pub static MSYNC: Symbols = flags(named!(g: MS_ASYNC, MS_INVALIDATE, MS_SYNC));

/// `mlockall`.
pub static MLOCKALL: Symbols = flags(named!(g: MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT));

/// `access`.
pub static ACCESS: Symbols =
    Symbols { choice_mask: 0, choices: &[], flags: named!(g: R_OK, W_OK, X_OK), aliases: &[], zero: "F_OK" };

/// The `AT_…` flags of the `…at` calls (not `faccessat2` and `unlinkat`, which give one bit another meaning).
pub static AT: Symbols = flags(named!(g: AT_SYMLINK_NOFOLLOW, AT_SYMLINK_FOLLOW, AT_NO_AUTOMOUNT, AT_EMPTY_PATH,
    AT_STATX_FORCE_SYNC, AT_STATX_DONT_SYNC, AT_RECURSIVE));

/// A directory's descriptor.
pub static DIRFD: Symbols = flags(&[]).also(&[(0xffff_ff9c, "AT_FDCWD")]);

/// `faccessat2`.
pub static AT_ACCESS: Symbols = flags(named!(g: AT_SYMLINK_NOFOLLOW, AT_EACCESS, AT_EMPTY_PATH));

/// `unlinkat`.
pub static AT_UNLINK: Symbols = flags(named!(g: AT_REMOVEDIR));

/// `statx`: what is asked for.
pub static STATX: Symbols =
    flags(named!(g: STATX_ALL, STATX_BASIC_STATS, STATX_TYPE, STATX_MODE, STATX_NLINK, STATX_UID,
    STATX_GID, STATX_ATIME, STATX_MTIME, STATX_CTIME, STATX_INO, STATX_SIZE, STATX_BLOCKS, STATX_BTIME, STATX_MNT_ID));

/// `renameat2`.
pub static RENAME: Symbols = flags(named!(g: RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT));

/// `lseek`.
pub static WHENCE: Symbols = choices(named!(g: SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE));

/// Clocks.
pub static CLOCK: Symbols = choices(named!(g: CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID,
    CLOCK_THREAD_CPUTIME_ID, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME,
    CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM, CLOCK_TAI));

/// `clock_nanosleep`, `timer_settime` and `timerfd_settime`.
pub static TIMER: Symbols = flags(named!(g: TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET)).also(named!(g: TFD_TIMER_ABSTIME));

/// Interval timers.
pub static ITIMER: Symbols = choices(named!(g: ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF));

/// Signals.
pub static SIGNAL: Symbols = choices(
    named!(g: SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL,
    SIGUSR1, SIGSEGV, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU,
    SIGURG, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGWINCH, SIGIO, SIGPWR, SIGSYS),
)
.also(named!(g: SIGIOT, SIGPOLL));

/// `rt_sigprocmask`.
pub static SIGMASK: Symbols = choices(named!(g: SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK));

/// `fcntl`.
pub static FCNTL: Symbols = choices(named!(g: F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW,
    F_SETOWN, F_GETOWN, F_SETSIG, F_GETSIG, F_SETOWN_EX, F_GETOWN_EX, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_SETLEASE,
    F_GETLEASE, F_NOTIFY, F_DUPFD_CLOEXEC, F_SETPIPE_SZ, F_GETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS, F_GETOWNER_UIDS,
    F_GET_RW_HINT, F_SET_RW_HINT, F_GET_FILE_RW_HINT, F_SET_FILE_RW_HINT));

/// `fcntl` F_SETFD.
pub static FD_CLOEXEC: Symbols = flags(named!(g: FD_CLOEXEC));

/// `fcntl` F_ADD_SEALS.
pub static SEALS: Symbols =
    flags(named!(g: F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE));

/// `fcntl`: the argument of all commands.
pub static FCNTL_ARGUMENT: Symbols =
    flags(&[]).also(named!(g: O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_NONBLOCK, O_DIRECT,
    O_NOATIME, FASYNC, FD_CLOEXEC, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_RDLCK,
    F_WRLCK, F_UNLCK, DN_ACCESS, DN_MODIFY, DN_CREATE, DN_DELETE, DN_RENAME, DN_ATTRIB, DN_MULTISHOT));

/// Permissions and kinds of files.
pub static MODE: Symbols =
    flags(&[]).also(named!(g: S_ISUID, S_ISGID, S_ISVTX, S_IRWXU, S_IRUSR, S_IWUSR, S_IXUSR, S_IRWXG,
    S_IRGRP, S_IWGRP, S_IXGRP, S_IRWXO, S_IROTH, S_IWOTH, S_IXOTH, S_IFMT, S_IFSOCK, S_IFLNK, S_IFREG, S_IFBLK, S_IFDIR,
    S_IFCHR, S_IFIFO));

/// `ioctl`: terminals and descriptors.
pub static IOCTL: Symbols =
    choices(named!(io: TCGETS, TCSETS, TCSETSW, TCSETSF, TCGETS2, TCSETS2, TCSBRK, TCXONC, TCFLSH,
    TIOCEXCL, TIOCNXCL, TIOCSCTTY, TIOCGPGRP, TIOCSPGRP, TIOCOUTQ, TIOCSTI, TIOCGWINSZ, TIOCSWINSZ, TIOCCONS, TIOCLINUX,
    FIONREAD, FIONBIO, FIOASYNC, TIOCNOTTY, TIOCSETD, TIOCGETD, TCSBRKP, TIOCGSID, TIOCGPTN, TIOCSPTLCK, TIOCGPTPEER,
    FIONCLEX, FIOCLEX, FIOQSIZE))
    .also(ioctl::MORE);

/// `futex`.
pub static FUTEX: Symbols = Symbols {
    choice_mask: !((g::FUTEX_PRIVATE_FLAG | g::FUTEX_CLOCK_REALTIME) as u64),
    choices: named!(g: FUTEX_WAIT, FUTEX_WAKE, FUTEX_FD, FUTEX_REQUEUE, FUTEX_CMP_REQUEUE, FUTEX_WAKE_OP, FUTEX_LOCK_PI,
        FUTEX_UNLOCK_PI, FUTEX_TRYLOCK_PI, FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET, FUTEX_WAIT_REQUEUE_PI,
        FUTEX_CMP_REQUEUE_PI, FUTEX_LOCK_PI2),
    flags: named!(g: FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME),
    aliases: named!(g: FUTEX_WAIT_PRIVATE, FUTEX_WAKE_PRIVATE, FUTEX_REQUEUE_PRIVATE, FUTEX_CMP_REQUEUE_PRIVATE,
        FUTEX_WAKE_OP_PRIVATE, FUTEX_LOCK_PI_PRIVATE, FUTEX_UNLOCK_PI_PRIVATE, FUTEX_TRYLOCK_PI_PRIVATE,
        FUTEX_WAIT_BITSET_PRIVATE, FUTEX_WAKE_BITSET_PRIVATE, FUTEX_WAIT_REQUEUE_PI_PRIVATE,
        FUTEX_CMP_REQUEUE_PI_PRIVATE, FUTEX_LOCK_PI2_PRIVATE),
    zero: "0",
};

/// The flags of `clone`, and `more`.
macro_rules! clone_flags {
    ($( $more:ident ),*) => {
        flags(named!(g: CLONE_NEWTIME, CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND, CLONE_PIDFD,
            CLONE_PTRACE, CLONE_VFORK, CLONE_PARENT, CLONE_THREAD, CLONE_NEWNS, CLONE_SYSVSEM, CLONE_SETTLS, CLONE_PARENT_SETTID,
            CLONE_CHILD_CLEARTID, CLONE_DETACHED, CLONE_UNTRACED, CLONE_CHILD_SETTID, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
            CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_IO, $( $more ),*))
    };
}

/// `clone` and `unshare`; the signal in the low byte is named when it is SIGCHLD.
pub static CLONE: Symbols = clone_flags!(SIGCHLD);

/// `clone3`, which takes the signal apart from them.
pub static CLONE3: Symbols = clone_flags!(CLONE_CLEAR_SIGHAND, CLONE_INTO_CGROUP);

/// `openat2`: how far the path may lead.
pub static RESOLVE: Symbols =
    flags(named!(g: RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH,
    RESOLVE_IN_ROOT, RESOLVE_CACHED));

/// Values of resource limits.
pub static RLIM: Symbols = choices(&[(u64::MAX, "RLIM_INFINITY")]).also(&[(u64::MAX, "RLIM64_INFINITY")]);

/// `wait4` and `waitid`.
pub static WAIT: Symbols =
    flags(named!(g: WNOHANG, WUNTRACED, WEXITED, WCONTINUED, WNOWAIT, __WNOTHREAD, __WALL, __WCLONE))
        .also(named!(g: WSTOPPED));

/// `waitid`: what is waited for.
pub static WAIT_ID: Symbols = choices(named!(g: P_ALL, P_PID, P_PGID, P_PIDFD));

/// Resource limits.
pub static RLIMIT: Symbols = choices(
    named!(g: RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_DATA, RLIMIT_STACK, RLIMIT_CORE, RLIMIT_RSS,
    RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_MEMLOCK, RLIMIT_AS, RLIMIT_LOCKS, RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_NICE,
    RLIMIT_RTPRIO, RLIMIT_RTTIME),
);

/// `getrusage`.
pub static RUSAGE: Symbols = choices(&[(0, "RUSAGE_SELF"), (0xffff_ffff, "RUSAGE_CHILDREN"), (1, "RUSAGE_THREAD")]);

/// `prctl`.
pub static PRCTL: Symbols = choices(named!(p: PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE,
    PR_GET_KEEPCAPS, PR_SET_KEEPCAPS, PR_SET_NAME, PR_GET_NAME, PR_GET_SECCOMP, PR_SET_SECCOMP, PR_CAPBSET_READ,
    PR_CAPBSET_DROP, PR_GET_TSC, PR_SET_TSC, PR_GET_SECUREBITS, PR_SET_SECUREBITS, PR_SET_TIMERSLACK, PR_GET_TIMERSLACK,
    PR_SET_MM, PR_SET_PTRACER, PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS,
    PR_GET_TID_ADDRESS, PR_SET_THP_DISABLE, PR_GET_THP_DISABLE, PR_CAP_AMBIENT, PR_SET_VMA,
    PR_GET_AUXV, PR_GET_ENDIAN, PR_GET_FPEMU, PR_GET_FPEXC, PR_GET_IO_FLUSHER, PR_GET_MDWE, PR_GET_MEMORY_MERGE, PR_GET_SPECULATION_CTRL, PR_GET_TIMING, PR_GET_UNALIGN, PR_MCE_KILL, PR_MCE_KILL_GET, PR_MPX_DISABLE_MANAGEMENT, PR_MPX_ENABLE_MANAGEMENT, PR_SCHED_CORE, PR_SET_ENDIAN, PR_SET_FPEMU, PR_SET_FPEXC, PR_SET_IO_FLUSHER, PR_SET_MDWE, PR_SET_MEMORY_MERGE, PR_SET_SPECULATION_CTRL, PR_SET_SYSCALL_USER_DISPATCH, PR_SET_TIMING, PR_SET_UNALIGN, PR_TASK_PERF_EVENTS_DISABLE, PR_TASK_PERF_EVENTS_ENABLE));

/// `arch_prctl` (`arch/x86/include/uapi/asm/prctl.h`; 0x3001 is what the C library still asks about shadow stacks).
pub static ARCH_PRCTL: Symbols = choices(&[
    (0x1001, "ARCH_SET_GS"),
    (0x1002, "ARCH_SET_FS"),
    (0x1003, "ARCH_GET_FS"),
    (0x1004, "ARCH_GET_GS"),
    (0x1011, "ARCH_GET_CPUID"),
    (0x1012, "ARCH_SET_CPUID"),
    (0x1021, "ARCH_GET_XCOMP_SUPP"),
    (0x1022, "ARCH_GET_XCOMP_PERM"),
    (0x1023, "ARCH_REQ_XCOMP_PERM"),
    (0x2003, "ARCH_MAP_VDSO_64"),
    (0x3001, "ARCH_CET_STATUS"),
]);

/// `getrandom`.
pub static RANDOM: Symbols = flags(named!(g: GRND_NONBLOCK, GRND_RANDOM, GRND_INSECURE));

/// `memfd_create`.
pub static MEMFD: Symbols = flags(named!(g: MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_HUGETLB, MFD_NOEXEC_SEAL, MFD_EXEC));

/// `flock`.
pub static FLOCK: Symbols = flags(named!(g: LOCK_SH, LOCK_EX, LOCK_NB, LOCK_UN));

/// `fallocate`.
pub static FALLOCATE: Symbols = flags(named!(g: FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_COLLAPSE_RANGE,
    FALLOC_FL_ZERO_RANGE, FALLOC_FL_INSERT_RANGE, FALLOC_FL_UNSHARE_RANGE));

/// `fadvise64`.
pub static FADVISE: Symbols = choices(named!(g: POSIX_FADV_NORMAL, POSIX_FADV_RANDOM, POSIX_FADV_SEQUENTIAL,
    POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED, POSIX_FADV_NOREUSE));

/// `epoll_ctl`.
pub static EPOLL_OP: Symbols = choices(named!(g: EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD));

/// `setxattr`.
pub static XATTR: Symbols = flags(named!(g: XATTR_CREATE, XATTR_REPLACE));

/// `splice`, `tee` and `vmsplice`.
pub static SPLICE: Symbols = flags(named!(g: SPLICE_F_MOVE, SPLICE_F_NONBLOCK, SPLICE_F_MORE, SPLICE_F_GIFT));

/// `preadv2` and `pwritev2`.
pub static RWF: Symbols = flags(named!(g: RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_NOWAIT, RWF_APPEND));

/// `mount`.
pub static MOUNT: Symbols = flags(
    named!(g: MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_NOATIME, MS_BIND,
    MS_MOVE, MS_REC, MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE, MS_SYNCHRONOUS, MS_MANDLOCK, MS_DIRSYNC, MS_NOSYMFOLLOW,
    MS_NODIRATIME, MS_SILENT, MS_RELATIME, MS_STRICTATIME, MS_LAZYTIME),
);

/// `close_range`.
pub static CLOSE_RANGE: Symbols = flags(&[(2, "CLOSE_RANGE_UNSHARE"), (4, "CLOSE_RANGE_CLOEXEC")]);

#[cfg(test)]
mod tests {
    extern crate alloc;
    use alloc::string::String;

    use super::*;

    fn written(symbols: &Symbols, value: u64) -> String {
        let mut out = String::new();
        symbols.write(&mut out, value).expect("a string takes it");
        out
    }

    #[test]
    fn flags_by_name() {
        assert_eq!(written(&OPEN, 0), "O_RDONLY");
        assert_eq!(written(&OPEN, 0o2_000_101), "O_WRONLY|O_CREAT|O_CLOEXEC");
        assert_eq!(written(&OPEN, 3), "0x3");
        assert_eq!(written(&OPEN, u64::from(g::O_TMPFILE | g::O_RDWR)), "O_RDWR|O_TMPFILE");
        assert_eq!(written(&OPEN, 0x8000_0000_0000_0000), "O_RDONLY|0x8000000000000000");
        assert_eq!(written(&PROT, 0), "PROT_NONE");
        assert_eq!(written(&PROT, 5), "PROT_READ|PROT_EXEC");
        assert_eq!(written(&MAP, 0x22), "MAP_PRIVATE|MAP_ANONYMOUS");
        assert_eq!(written(&ACCESS, 0), "F_OK");
        assert_eq!(written(&FUTEX, 128), "FUTEX_WAIT|FUTEX_PRIVATE_FLAG");
        assert_eq!(written(&WHENCE, 9), "0x9");
        assert_eq!(written(&CLONE, 0x0120_0011), "CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD");
        assert_eq!(written(&CLONE3, 0x2_0000_0100), "CLONE_VM|CLONE_INTO_CGROUP");
        assert_eq!(written(&AT, 0), "0");
        assert_eq!(OPEN.value("O_CREAT"), Some(0o100));
        assert_eq!(OPEN.value("O_WHATEVER"), None);
        assert_eq!((PROT.value("PROT_NONE"), OPEN.value("0")), (Some(0), None));
        assert_eq!(
            (FD_FLAGS.value("EPOLL_CLOEXEC"), written(&FD_FLAGS, 0o2_000_000)),
            (Some(0o2_000_000), "O_CLOEXEC".into())
        );
        assert_eq!(written(&PERSONALITY, 0xffff_ffff), "0xffffffff");
        assert_eq!(written(&PERSONALITY, 0x004_0000), "ADDR_NO_RANDOMIZE");
        assert_eq!((socket_option(1, 2), socket_option(6, 1)), (Some("SO_REUSEADDR"), Some("TCP_NODELAY")));
        assert_eq!((socket_option(6, 999), socket_option(999, 1)), (None, None));
    }

    #[test]
    fn flags_of_several_bits_come_first() {
        for set in [
            &OPEN, &PROT, &MAP, &STATX, &AT, &CLONE, &CLONE3, &RESOLVE, &FALLOCATE, &WAIT, &FD_FLAGS, &MSG, &INOTIFY,
            &FAN_INIT,
        ] {
            for (index, (bits, name)) in set.flags.iter().enumerate() {
                let hides = |(earlier, _): &&(u64, &str)| earlier & bits == *earlier;
                assert!(!set.flags[..index].iter().any(|flag| hides(&flag)), "{name} can never be written");
            }
        }
    }
}
