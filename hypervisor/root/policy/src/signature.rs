//! What the arguments of each system call are: how wide, and how a person reads them.
//!
//! Conditions need the width: the kernel's prototypes take many arguments as `int`, and ignore what a program
//! leaves in the register's upper half; a rule that compared all 64 bits could be walked around. The trace
//! needs the rest. Facts only, one row a call, from the prototypes in Linux' `include/linux/syscalls.h`.

use crate::symbols::{self, Symbols};

/// What one argument is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A file descriptor.
    Fd,
    /// A directory's descriptor, or AT_FDCWD.
    DirFd,
    /// A signed number of 32 bits.
    Int,
    /// An unsigned number of 32 bits.
    Uint,
    /// 32 bits best read in hexadecimal.
    Hex32,
    /// A signed number of 64 bits.
    Long,
    /// An unsigned number of 64 bits: sizes and counts.
    Size,
    /// 64 bits best read in hexadecimal.
    Hex,
    /// An address.
    Pointer,
    /// The address of a string that names a file.
    Path,
    /// The address of another string.
    Text,
    /// The address of bytes that the call reads; the argument with this index is their number.
    Buffer(u8),
    /// The address of an array of `struct iovec` with bytes that the call reads; the argument with this index is how many of them there are.
    Ranges(u8),
    /// The address of a `struct sockaddr` that the call reads; the argument with this index is its length.
    Address(u8),
    /// The address of a `struct msghdr` that the call reads.
    Message,
    /// The address of an array of `struct mmsghdr` that the call reads; the argument with this index is their number.
    Messages(u8),
    /// The address of an array of strings, ended by NULL.
    Strings,
    /// File permissions, 16 bits.
    Mode,
    /// File permissions that count only if the open flags in the argument with this index create a file.
    CreateMode(u8),
    /// A user or group, or -1.
    Id,
    /// One of, or a set of, named numbers in 32 bits.
    Named(&'static Symbols),
    /// The same in 64 bits.
    LongNamed(&'static Symbols),
    /// The third argument of `fcntl`, which depends on the second.
    FcntlArgument,
}

impl Kind {
    /// How many low bits of the register the kernel looks at.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Mode | Self::CreateMode(_) => 16,
            Self::Fd | Self::DirFd | Self::Int | Self::Uint | Self::Hex32 | Self::Id | Self::Named(_) => 32,
            _ => 64,
        }
    }

    /// Those bits, set.
    #[must_use]
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }
}

/// What a call's result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A number.
    Decimal,
    /// An address.
    Address,
    /// File permissions.
    Octal,
    /// The call does not return.
    Nothing,
}

/// A call's arguments and result.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// The call's number.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// Its arguments, at most six.
    pub arguments: &'static [Kind],
    /// Its result.
    pub output: Output,
}

/// The signature of the call with this number. A call that is not listed takes six words of 64 bits.
#[must_use]
pub fn of(number: u64) -> Option<&'static Signature> {
    let number = u32::try_from(number).ok()?;
    let index = SIGNATURES.binary_search_by_key(&number, |signature| signature.number).ok()?;
    SIGNATURES.get(index)
}

/// The arguments of a call that [`of`] does not know.
pub const UNKNOWN: &[Kind] = &[Kind::Hex; 6];

macro_rules! signatures {
    ($( $number:literal $name:ident ( $($kind:expr),* ) $( -> $output:ident )? ; )*) => {
        /// All signatures, by rising number. Calls that never did anything on x86-64 are left out.
        #[rustfmt::skip]
        pub static SIGNATURES: &[Signature] = &[
            $( Signature {
                number: $number,
                name: stringify!($name),
                arguments: &[$($kind),*],
                output: signatures!(@output $($output)?),
            }, )*
        ];
    };
    (@output) => { Output::Decimal };
    (@output $output:ident) => { Output::$output };
}

use Kind::{
    Address, Buffer, CreateMode, DirFd, FcntlArgument, Fd, Hex, Hex32, Id, Int, Long, LongNamed, Message, Messages,
    Mode, Named, Path, Pointer, Ranges, Size, Strings, Text, Uint,
};

signatures! {
    0 read(Fd, Pointer, Size);
    1 write(Fd, Buffer(2), Size);
    2 open(Path, Named(&symbols::OPEN), CreateMode(1));
    3 close(Fd);
    4 stat(Path, Pointer);
    5 fstat(Fd, Pointer);
    6 lstat(Path, Pointer);
    7 poll(Pointer, Uint, Int);
    8 lseek(Fd, Long, Named(&symbols::WHENCE));
    9 mmap(Pointer, Size, LongNamed(&symbols::PROT), LongNamed(&symbols::MAP), Fd, Hex) -> Address;
    10 mprotect(Pointer, Size, LongNamed(&symbols::PROT));
    11 munmap(Pointer, Size);
    12 brk(Pointer) -> Address;
    13 rt_sigaction(Named(&symbols::SIGNAL), Pointer, Pointer, Size);
    14 rt_sigprocmask(Named(&symbols::SIGMASK), Pointer, Pointer, Size);
    15 rt_sigreturn();
    16 ioctl(Fd, Named(&symbols::IOCTL), Hex);
    17 pread64(Fd, Pointer, Size, Long);
    18 pwrite64(Fd, Buffer(2), Size, Long);
    19 readv(Fd, Pointer, Size);
    20 writev(Fd, Ranges(2), Size);
    21 access(Path, Named(&symbols::ACCESS));
    22 pipe(Pointer);
    23 select(Int, Pointer, Pointer, Pointer, Pointer);
    24 sched_yield();
    25 mremap(Pointer, Size, Size, LongNamed(&symbols::MREMAP), Pointer) -> Address;
    26 msync(Pointer, Size, Named(&symbols::MSYNC));
    27 mincore(Pointer, Size, Pointer);
    28 madvise(Pointer, Size, Named(&symbols::MADVICE));
    29 shmget(Hex32, Size, Hex32);
    30 shmat(Int, Pointer, Hex32) -> Address;
    31 shmctl(Int, Int, Pointer);
    32 dup(Fd);
    33 dup2(Fd, Fd);
    34 pause();
    35 nanosleep(Pointer, Pointer);
    36 getitimer(Named(&symbols::ITIMER), Pointer);
    37 alarm(Uint);
    38 setitimer(Named(&symbols::ITIMER), Pointer, Pointer);
    39 getpid();
    40 sendfile(Fd, Fd, Pointer, Size);
    41 socket(Named(&symbols::FAMILY), Named(&symbols::SOCKET), Int);
    42 connect(Fd, Address(2), Int);
    43 accept(Fd, Pointer, Pointer);
    44 sendto(Fd, Buffer(2), Size, Hex32, Address(5), Int);
    45 recvfrom(Fd, Pointer, Size, Hex32, Pointer, Pointer);
    46 sendmsg(Fd, Message, Hex32);
    47 recvmsg(Fd, Pointer, Hex32);
    48 shutdown(Fd, Named(&symbols::SHUTDOWN));
    49 bind(Fd, Address(2), Int);
    50 listen(Fd, Int);
    51 getsockname(Fd, Pointer, Pointer);
    52 getpeername(Fd, Pointer, Pointer);
    53 socketpair(Named(&symbols::FAMILY), Named(&symbols::SOCKET), Int, Pointer);
    54 setsockopt(Fd, Int, Int, Pointer, Int);
    55 getsockopt(Fd, Int, Int, Pointer, Pointer);
    56 clone(LongNamed(&symbols::CLONE), Pointer, Pointer, Pointer, Hex);
    57 fork();
    58 vfork();
    59 execve(Path, Strings, Pointer);
    60 exit(Int) -> Nothing;
    61 wait4(Int, Pointer, Named(&symbols::WAIT), Pointer);
    62 kill(Int, Named(&symbols::SIGNAL));
    63 uname(Pointer);
    64 semget(Hex32, Int, Hex32);
    65 semop(Int, Pointer, Uint);
    66 semctl(Int, Int, Int, Hex);
    67 shmdt(Pointer);
    68 msgget(Hex32, Hex32);
    69 msgsnd(Int, Pointer, Size, Hex32);
    70 msgrcv(Int, Pointer, Size, Long, Hex32);
    71 msgctl(Int, Int, Pointer);
    72 fcntl(Fd, Named(&symbols::FCNTL), FcntlArgument);
    73 flock(Fd, Named(&symbols::FLOCK));
    74 fsync(Fd);
    75 fdatasync(Fd);
    76 truncate(Path, Long);
    77 ftruncate(Fd, Long);
    78 getdents(Fd, Pointer, Uint);
    79 getcwd(Pointer, Size);
    80 chdir(Path);
    81 fchdir(Fd);
    82 rename(Path, Path);
    83 mkdir(Path, Mode);
    84 rmdir(Path);
    85 creat(Path, Mode);
    86 link(Path, Path);
    87 unlink(Path);
    88 symlink(Text, Path);
    89 readlink(Path, Pointer, Int);
    90 chmod(Path, Mode);
    91 fchmod(Fd, Mode);
    92 chown(Path, Id, Id);
    93 fchown(Fd, Id, Id);
    94 lchown(Path, Id, Id);
    95 umask(Mode) -> Octal;
    96 gettimeofday(Pointer, Pointer);
    97 getrlimit(Named(&symbols::RLIMIT), Pointer);
    98 getrusage(Named(&symbols::RUSAGE), Pointer);
    99 sysinfo(Pointer);
    100 times(Pointer);
    101 ptrace(Long, Long, Hex, Hex);
    102 getuid();
    103 syslog(Named(&symbols::SYSLOG), Pointer, Int);
    104 getgid();
    105 setuid(Id);
    106 setgid(Id);
    107 geteuid();
    108 getegid();
    109 setpgid(Int, Int);
    110 getppid();
    111 getpgrp();
    112 setsid();
    113 setreuid(Id, Id);
    114 setregid(Id, Id);
    115 getgroups(Int, Pointer);
    116 setgroups(Int, Pointer);
    117 setresuid(Id, Id, Id);
    118 getresuid(Pointer, Pointer, Pointer);
    119 setresgid(Id, Id, Id);
    120 getresgid(Pointer, Pointer, Pointer);
    121 getpgid(Int);
    122 setfsuid(Id);
    123 setfsgid(Id);
    124 getsid(Int);
    125 capget(Pointer, Pointer);
    126 capset(Pointer, Pointer);
    127 rt_sigpending(Pointer, Size);
    128 rt_sigtimedwait(Pointer, Pointer, Pointer, Size);
    129 rt_sigqueueinfo(Int, Named(&symbols::SIGNAL), Pointer);
    130 rt_sigsuspend(Pointer, Size);
    131 sigaltstack(Pointer, Pointer);
    132 utime(Path, Pointer);
    133 mknod(Path, Mode, Hex32);
    134 uselib(Path);
    135 personality(Hex32);
    136 ustat(Hex32, Pointer);
    137 statfs(Path, Pointer);
    138 fstatfs(Fd, Pointer);
    139 sysfs(Int, Hex, Hex);
    140 getpriority(Int, Int);
    141 setpriority(Int, Int, Int);
    142 sched_setparam(Int, Pointer);
    143 sched_getparam(Int, Pointer);
    144 sched_setscheduler(Int, Int, Pointer);
    145 sched_getscheduler(Int);
    146 sched_get_priority_max(Int);
    147 sched_get_priority_min(Int);
    148 sched_rr_get_interval(Int, Pointer);
    149 mlock(Pointer, Size);
    150 munlock(Pointer, Size);
    151 mlockall(Named(&symbols::MLOCKALL));
    152 munlockall();
    153 vhangup();
    154 modify_ldt(Int, Pointer, Size);
    155 pivot_root(Path, Path);
    156 _sysctl(Pointer);
    157 prctl(Named(&symbols::PRCTL), Hex, Hex, Hex, Hex);
    158 arch_prctl(Named(&symbols::ARCH_PRCTL), Hex);
    159 adjtimex(Pointer);
    160 setrlimit(Named(&symbols::RLIMIT), Pointer);
    161 chroot(Path);
    162 sync();
    163 acct(Path);
    164 settimeofday(Pointer, Pointer);
    165 mount(Text, Path, Text, LongNamed(&symbols::MOUNT), Pointer);
    166 umount2(Path, Hex32);
    167 swapon(Path, Hex32);
    168 swapoff(Path);
    169 reboot(Hex32, Hex32, Hex32, Pointer);
    170 sethostname(Buffer(1), Int);
    171 setdomainname(Buffer(1), Int);
    172 iopl(Uint);
    173 ioperm(Size, Size, Int);
    175 init_module(Pointer, Size, Text);
    176 delete_module(Text, Hex32);
    179 quotactl(Hex32, Text, Hex32, Pointer);
    186 gettid();
    187 readahead(Fd, Long, Size);
    188 setxattr(Path, Text, Buffer(3), Size, Named(&symbols::XATTR));
    189 lsetxattr(Path, Text, Buffer(3), Size, Named(&symbols::XATTR));
    190 fsetxattr(Fd, Text, Buffer(3), Size, Named(&symbols::XATTR));
    191 getxattr(Path, Text, Pointer, Size);
    192 lgetxattr(Path, Text, Pointer, Size);
    193 fgetxattr(Fd, Text, Pointer, Size);
    194 listxattr(Path, Pointer, Size);
    195 llistxattr(Path, Pointer, Size);
    196 flistxattr(Fd, Pointer, Size);
    197 removexattr(Path, Text);
    198 lremovexattr(Path, Text);
    199 fremovexattr(Fd, Text);
    200 tkill(Int, Named(&symbols::SIGNAL));
    201 time(Pointer);
    202 futex(Pointer, Named(&symbols::FUTEX), Uint, Hex, Pointer, Hex32);
    203 sched_setaffinity(Int, Uint, Pointer);
    204 sched_getaffinity(Int, Uint, Pointer);
    205 set_thread_area(Pointer);
    206 io_setup(Uint, Pointer);
    207 io_destroy(Hex);
    208 io_getevents(Hex, Long, Long, Pointer, Pointer);
    209 io_submit(Hex, Long, Pointer);
    210 io_cancel(Hex, Pointer, Pointer);
    211 get_thread_area(Pointer);
    212 lookup_dcookie(Hex, Pointer, Size);
    213 epoll_create(Int);
    216 remap_file_pages(Pointer, Size, Hex, Size, Hex);
    217 getdents64(Fd, Pointer, Uint);
    218 set_tid_address(Pointer);
    219 restart_syscall();
    220 semtimedop(Int, Pointer, Uint, Pointer);
    221 fadvise64(Fd, Long, Size, Named(&symbols::FADVISE));
    222 timer_create(Named(&symbols::CLOCK), Pointer, Pointer);
    223 timer_settime(Int, Named(&symbols::TIMER), Pointer, Pointer);
    224 timer_gettime(Int, Pointer);
    225 timer_getoverrun(Int);
    226 timer_delete(Int);
    227 clock_settime(Named(&symbols::CLOCK), Pointer);
    228 clock_gettime(Named(&symbols::CLOCK), Pointer);
    229 clock_getres(Named(&symbols::CLOCK), Pointer);
    230 clock_nanosleep(Named(&symbols::CLOCK), Named(&symbols::TIMER), Pointer, Pointer);
    231 exit_group(Int) -> Nothing;
    232 epoll_wait(Fd, Pointer, Int, Int);
    233 epoll_ctl(Fd, Named(&symbols::EPOLL_OP), Fd, Pointer);
    234 tgkill(Int, Int, Named(&symbols::SIGNAL));
    235 utimes(Path, Pointer);
    237 mbind(Pointer, Size, Hex, Pointer, Size, Hex32);
    238 set_mempolicy(Int, Pointer, Size);
    239 get_mempolicy(Pointer, Pointer, Size, Pointer, Hex);
    240 mq_open(Text, Named(&symbols::OPEN), CreateMode(1), Pointer);
    241 mq_unlink(Text);
    242 mq_timedsend(Fd, Buffer(2), Size, Uint, Pointer);
    243 mq_timedreceive(Fd, Pointer, Size, Pointer, Pointer);
    244 mq_notify(Fd, Pointer);
    245 mq_getsetattr(Fd, Pointer, Pointer);
    246 kexec_load(Hex, Size, Pointer, Hex);
    247 waitid(Named(&symbols::WAIT_ID), Int, Pointer, Named(&symbols::WAIT), Pointer);
    248 add_key(Text, Text, Pointer, Size, Int);
    249 request_key(Text, Text, Text, Int);
    250 keyctl(Int, Hex, Hex, Hex, Hex);
    251 ioprio_set(Int, Int, Hex32);
    252 ioprio_get(Int, Int);
    253 inotify_init();
    254 inotify_add_watch(Fd, Path, Hex32);
    255 inotify_rm_watch(Fd, Int);
    256 migrate_pages(Int, Size, Pointer, Pointer);
    257 openat(DirFd, Path, Named(&symbols::OPEN), CreateMode(2));
    258 mkdirat(DirFd, Path, Mode);
    259 mknodat(DirFd, Path, Mode, Hex32);
    260 fchownat(DirFd, Path, Id, Id, Named(&symbols::AT));
    261 futimesat(DirFd, Path, Pointer);
    262 newfstatat(DirFd, Path, Pointer, Named(&symbols::AT));
    263 unlinkat(DirFd, Path, Named(&symbols::AT_UNLINK));
    264 renameat(DirFd, Path, DirFd, Path);
    265 linkat(DirFd, Path, DirFd, Path, Named(&symbols::AT));
    266 symlinkat(Text, DirFd, Path);
    267 readlinkat(DirFd, Path, Pointer, Int);
    268 fchmodat(DirFd, Path, Mode);
    269 faccessat(DirFd, Path, Named(&symbols::ACCESS));
    270 pselect6(Int, Pointer, Pointer, Pointer, Pointer, Pointer);
    271 ppoll(Pointer, Uint, Pointer, Pointer, Size);
    272 unshare(LongNamed(&symbols::CLONE));
    273 set_robust_list(Pointer, Size);
    274 get_robust_list(Int, Pointer, Pointer);
    275 splice(Fd, Pointer, Fd, Pointer, Size, Named(&symbols::SPLICE));
    276 tee(Fd, Fd, Size, Named(&symbols::SPLICE));
    277 sync_file_range(Fd, Long, Long, Hex32);
    278 vmsplice(Fd, Pointer, Size, Named(&symbols::SPLICE));
    279 move_pages(Int, Size, Pointer, Pointer, Pointer, Hex32);
    280 utimensat(DirFd, Path, Pointer, Named(&symbols::AT));
    281 epoll_pwait(Fd, Pointer, Int, Int, Pointer, Size);
    282 signalfd(Fd, Pointer, Size);
    283 timerfd_create(Named(&symbols::CLOCK), Named(&symbols::FD_FLAGS));
    284 eventfd(Uint);
    285 fallocate(Fd, Named(&symbols::FALLOCATE), Long, Long);
    286 timerfd_settime(Fd, Named(&symbols::TIMER), Pointer, Pointer);
    287 timerfd_gettime(Fd, Pointer);
    288 accept4(Fd, Pointer, Pointer, Named(&symbols::SOCKET));
    289 signalfd4(Fd, Pointer, Size, Named(&symbols::FD_FLAGS));
    290 eventfd2(Uint, Named(&symbols::FD_FLAGS));
    291 epoll_create1(Named(&symbols::FD_FLAGS));
    292 dup3(Fd, Fd, Named(&symbols::FD_FLAGS));
    293 pipe2(Pointer, Named(&symbols::FD_FLAGS));
    294 inotify_init1(Named(&symbols::FD_FLAGS));
    295 preadv(Fd, Pointer, Size, Long, Hex);
    296 pwritev(Fd, Ranges(2), Size, Long, Hex);
    297 rt_tgsigqueueinfo(Int, Int, Named(&symbols::SIGNAL), Pointer);
    298 perf_event_open(Pointer, Int, Int, Fd, Hex);
    299 recvmmsg(Fd, Pointer, Uint, Hex32, Pointer);
    300 fanotify_init(Hex32, Hex32);
    301 fanotify_mark(Fd, Hex32, Hex, DirFd, Path);
    302 prlimit64(Int, Named(&symbols::RLIMIT), Pointer, Pointer);
    303 name_to_handle_at(DirFd, Path, Pointer, Pointer, Named(&symbols::AT));
    304 open_by_handle_at(DirFd, Pointer, Named(&symbols::OPEN));
    305 clock_adjtime(Named(&symbols::CLOCK), Pointer);
    306 syncfs(Fd);
    307 sendmmsg(Fd, Messages(2), Uint, Hex32);
    308 setns(Fd, Named(&symbols::CLONE));
    309 getcpu(Pointer, Pointer, Pointer);
    310 process_vm_readv(Int, Pointer, Size, Pointer, Size, Hex);
    311 process_vm_writev(Int, Pointer, Size, Pointer, Size, Hex);
    312 kcmp(Int, Int, Int, Hex, Hex);
    313 finit_module(Fd, Text, Hex32);
    314 sched_setattr(Int, Pointer, Hex32);
    315 sched_getattr(Int, Pointer, Uint, Hex32);
    316 renameat2(DirFd, Path, DirFd, Path, Named(&symbols::RENAME));
    317 seccomp(Uint, Hex32, Pointer);
    318 getrandom(Pointer, Size, Named(&symbols::RANDOM));
    319 memfd_create(Text, Named(&symbols::MEMFD));
    320 kexec_file_load(Fd, Fd, Size, Text, Hex);
    321 bpf(Int, Pointer, Uint);
    322 execveat(DirFd, Path, Strings, Pointer, Named(&symbols::AT));
    323 userfaultfd(Named(&symbols::FD_FLAGS));
    324 membarrier(Int, Hex32, Int);
    325 mlock2(Pointer, Size, Hex32);
    326 copy_file_range(Fd, Pointer, Fd, Pointer, Size, Hex32);
    327 preadv2(Fd, Pointer, Size, Long, Hex, Named(&symbols::RWF));
    328 pwritev2(Fd, Ranges(2), Size, Long, Hex, Named(&symbols::RWF));
    329 pkey_mprotect(Pointer, Size, LongNamed(&symbols::PROT), Int);
    330 pkey_alloc(Hex, Hex);
    331 pkey_free(Int);
    332 statx(DirFd, Path, Named(&symbols::AT), Named(&symbols::STATX), Pointer);
    333 io_pgetevents(Hex, Long, Long, Pointer, Pointer, Pointer);
    334 rseq(Pointer, Uint, Hex32, Hex32);
    424 pidfd_send_signal(Fd, Named(&symbols::SIGNAL), Pointer, Hex32);
    425 io_uring_setup(Uint, Pointer);
    426 io_uring_enter(Fd, Uint, Uint, Hex32, Pointer, Size);
    427 io_uring_register(Fd, Uint, Pointer, Uint);
    428 open_tree(DirFd, Path, Hex32);
    429 move_mount(DirFd, Path, DirFd, Path, Hex32);
    430 fsopen(Text, Hex32);
    431 fsconfig(Fd, Uint, Text, Pointer, Int);
    432 fsmount(Fd, Hex32, Hex32);
    433 fspick(DirFd, Path, Hex32);
    434 pidfd_open(Int, Named(&symbols::FD_FLAGS));
    435 clone3(Pointer, Size);
    436 close_range(Fd, Uint, Named(&symbols::CLOSE_RANGE));
    437 openat2(DirFd, Path, Pointer, Size);
    438 pidfd_getfd(Fd, Fd, Hex32);
    439 faccessat2(DirFd, Path, Named(&symbols::ACCESS), Named(&symbols::AT_ACCESS));
    440 process_madvise(Fd, Pointer, Size, Named(&symbols::MADVICE), Hex32);
    441 epoll_pwait2(Fd, Pointer, Int, Pointer, Pointer, Size);
    442 mount_setattr(DirFd, Path, Hex32, Pointer, Size);
    443 quotactl_fd(Fd, Hex32, Hex32, Pointer);
    444 landlock_create_ruleset(Pointer, Size, Hex32);
    445 landlock_add_rule(Fd, Int, Pointer, Hex32);
    446 landlock_restrict_self(Fd, Hex32);
    447 memfd_secret(Named(&symbols::FD_FLAGS));
    448 process_mrelease(Fd, Hex32);
    449 futex_waitv(Pointer, Uint, Hex32, Pointer, Named(&symbols::CLOCK));
    450 set_mempolicy_home_node(Pointer, Size, Size, Hex);
    451 cachestat(Fd, Pointer, Pointer, Hex32);
    452 fchmodat2(DirFd, Path, Mode, Named(&symbols::AT));
    453 map_shadow_stack(Pointer, Size, Hex32) -> Address;
    454 futex_wake(Pointer, Hex, Int, Hex32);
    455 futex_wait(Pointer, Hex, Hex, Hex32, Pointer, Named(&symbols::CLOCK));
    456 futex_requeue(Pointer, Hex32, Int, Int);
    457 statmount(Pointer, Pointer, Size, Hex32);
    458 listmount(Pointer, Pointer, Size, Hex32);
    459 lsm_get_self_attr(Uint, Pointer, Pointer, Hex32);
    460 lsm_set_self_attr(Uint, Pointer, Uint, Hex32);
    461 lsm_list_modules(Pointer, Pointer, Hex32);
    462 mseal(Pointer, Size, Hex);
    463 setxattrat(DirFd, Path, Hex32, Text, Pointer, Size);
    464 getxattrat(DirFd, Path, Hex32, Text, Pointer, Size);
    465 listxattrat(DirFd, Path, Hex32, Pointer, Size);
    466 removexattrat(DirFd, Path, Hex32, Text);
    467 open_tree_attr(DirFd, Path, Hex32, Pointer, Size);
    468 file_getattr(DirFd, Path, Pointer, Size, Hex32);
    469 file_setattr(DirFd, Path, Pointer, Size, Hex32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_agree_with_the_table_of_calls() {
        assert!(SIGNATURES.is_sorted_by(|a, b| a.number < b.number));
        for row in SIGNATURES {
            let call = proto::syscalls::by_number(u64::from(row.number)).expect("a known number");
            assert_eq!(call.name, row.name);
            assert!(row.arguments.len() <= 6, "{}", row.name);
        }
    }

    #[test]
    fn widths() {
        let kind = |number, index: usize| of(number).expect("known").arguments[index];
        assert_eq!(kind(16, 1).mask(), 0xffff_ffff, "ioctl's command");
        assert_eq!(kind(16, 2).mask(), u64::MAX, "ioctl's argument");
        assert_eq!(kind(257, 3).mask(), 0xffff, "openat's mode");
        assert!(of(335).is_none());
        assert!(of(u64::MAX).is_none());
    }

    #[test]
    fn references_to_other_arguments_hold() {
        for row in SIGNATURES {
            for kind in row.arguments {
                if let Buffer(other) | CreateMode(other) | Address(other) | Messages(other) = kind {
                    assert!(usize::from(*other) < row.arguments.len(), "{}", row.name);
                }
            }
        }
    }
}
