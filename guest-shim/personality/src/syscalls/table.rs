//! The table of system calls: number · name · function · support level · note. What is not in it is not carried out yet:
//! −ENOSYS, and the trace says so.

use super::{
    Args, advice, attributes, clone, copy, credentials, directories, dirs, event, exec, fd, futex, inotify, io, memfd,
    memory, message, mqueue, msgqueue, names, open, peer, pidfd, poll, process, refused, sched, semaphore, shm, signal,
    socket, sockopt, splice, stat, system, time, timer, tty, wait, xattr,
};
use crate::errno::{Outcome, Stop};
use crate::kernel::Kernel;
use crate::platform::Platform;

/// How far a call is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As Linux does.
    Full,
    /// With the limits that the note names.
    Partial,
    /// Refused on purpose with the errno that the note explains.
    Refused,
}

/// A row of the table, without its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    /// Number in RAX.
    pub number: u32,
    /// Linux' name.
    pub name: &'static str,
    /// How far it goes.
    pub level: Level,
    /// What is missing or special; empty when nothing is.
    pub note: &'static str,
}

/// Makes the list of rows and the dispatcher out of the same lines.
macro_rules! calls {
    ($($number:literal $name:ident $function:path, $level:ident, $note:literal;)*) => {
        /// All rows, by rising number.
        pub static SUPPORT: &[Support] = &[
            $(Support { number: $number, name: stringify!($name), level: Level::$level, note: $note },)*
        ];

        /// Carries out call `number`.
        ///
        /// # Errors
        /// The call's own, or [`Stop::NotImplemented`].
        pub fn dispatch<P: Platform>(kernel: &mut Kernel<P>, number: u64, args: &Args) -> Outcome {
            match number {
                $($number => $function(kernel, args),)*
                _ => Err(Stop::NotImplemented),
            }
        }
    };
}

#[rustfmt::skip]
mod rows {
    use super::*;

    calls! {
        0 read io::read, Full, "";
        1 write io::write, Full, "";
        2 open open::open, Full, "";
        3 close fd::close, Full, "";
        4 stat stat::stat, Full, "";
        5 fstat stat::fstat, Full, "";
        6 lstat stat::lstat, Full, "";
        7 poll poll::poll, Full, "";
        8 lseek io::lseek, Full, "";
        9 mmap memory::mmap, Full, "there are no huge pages: ENOMEM";
        10 mprotect memory::mprotect, Full, "";
        11 munmap memory::munmap, Full, "";
        12 brk memory::brk, Full, "";
        13 rt_sigaction signal::rt_sigaction, Full, "";
        14 rt_sigprocmask signal::rt_sigprocmask, Full, "";
        15 rt_sigreturn signal::rt_sigreturn, Full, "";
        16 ioctl tty::ioctl, Partial, "terminals (TIOCSTI is refused), FIONREAD, FIONBIO, FIOASYNC, FIOCLEX, FIONCLEX";
        17 pread64 io::pread64, Full, "";
        18 pwrite64 io::pwrite64, Full, "";
        19 readv io::readv, Full, "";
        20 writev io::writev, Full, "";
        21 access directories::access, Full, "";
        22 pipe fd::pipe, Full, "";
        23 select poll::select, Full, "";
        24 sched_yield sched::sched_yield, Full, "";
        25 mremap memory::mremap, Full, "";
        26 msync advice::msync, Full, "";
        27 mincore advice::mincore, Full, "";
        28 madvise advice::madvise, Partial, "no HWPOISON, SOFT_OFFLINE, COLLAPSE; FREE acts at once; REMOVE on memory only";
        29 shmget shm::shmget, Full, "there are no huge pages: ENOMEM";
        30 shmat shm::shmat, Full, "";
        31 shmctl shm::shmctl, Partial, "no IPC_INFO, SHM_INFO, SHM_STAT";
        32 dup fd::dup, Full, "";
        33 dup2 fd::dup2, Full, "";
        34 pause signal::pause, Full, "";
        35 nanosleep time::nanosleep, Full, "";
        36 getitimer timer::getitimer, Full, "";
        37 alarm timer::alarm, Full, "";
        38 setitimer timer::setitimer, Partial, "ITIMER_VIRTUAL and ITIMER_PROF count all processor time alike";
        39 getpid process::getpid, Full, "";
        40 sendfile copy::sendfile, Full, "";
        41 socket socket::socket, Partial, "AF_UNIX, AF_INET and AF_INET6 (loopback) with streams and datagrams; AF_UNIX seqpacket";
        42 connect socket::connect, Full, "";
        43 accept socket::accept, Full, "";
        44 sendto message::sendto, Partial, "no out-of-band data";
        45 recvfrom message::recvfrom, Partial, "no out-of-band data, no error queue";
        46 sendmsg message::sendmsg, Partial, "SCM_RIGHTS and SCM_CREDENTIALS (the sender as it is)";
        47 recvmsg message::recvmsg, Partial, "as sendmsg and recvfrom";
        48 shutdown socket::shutdown, Full, "";
        49 bind socket::bind, Partial, "Internet sockets to addresses of the loopback interface";
        50 listen socket::listen, Full, "";
        51 getsockname socket::getsockname, Full, "";
        52 getpeername socket::getpeername, Full, "";
        53 socketpair socket::socketpair, Full, "";
        54 setsockopt sockopt::setsockopt, Partial, "many options are recorded without effect";
        55 getsockopt sockopt::getsockopt, Partial, "of TCP_INFO the state only";
        56 clone clone::clone, Partial, "no name spaces (EPERM)";
        57 fork clone::fork, Full, "";
        58 vfork clone::vfork, Full, "";
        59 execve exec::execve, Full, "";
        60 exit process::exit, Full, "";
        61 wait4 wait::wait4, Full, "";
        62 kill signal::kill, Full, "";
        63 uname system::uname, Full, "";
        64 semget semaphore::semget, Full, "at most 1024 sets and 32000 semaphores in all";
        65 semop semaphore::semop, Full, "";
        66 semctl semaphore::semctl, Partial, "no IPC_INFO, SEM_INFO, SEM_STAT";
        67 shmdt shm::shmdt, Full, "";
        68 msgget msgqueue::msgget, Full, "at most 1024 queues";
        69 msgsnd msgqueue::msgsnd, Full, "";
        70 msgrcv msgqueue::msgrcv, Partial, "no MSG_COPY: ENOSYS";
        71 msgctl msgqueue::msgctl, Partial, "no IPC_INFO, MSG_INFO, MSG_STAT";
        72 fcntl fd::fcntl, Partial, "no leases; no signals of the console";
        73 flock splice::flock, Full, "";
        74 fsync fd::fsync, Full, "";
        75 fdatasync fd::fsync, Full, "";
        76 truncate attributes::truncate, Full, "";
        77 ftruncate attributes::ftruncate, Full, "";
        78 getdents dirs::getdents, Full, "";
        79 getcwd directories::getcwd, Full, "";
        80 chdir directories::chdir, Full, "";
        81 fchdir directories::fchdir, Full, "";
        82 rename names::rename, Full, "";
        83 mkdir names::mkdir, Full, "";
        84 rmdir names::rmdir, Full, "";
        85 creat open::creat, Full, "";
        86 link names::link, Full, "";
        87 unlink names::unlink, Full, "";
        88 symlink names::symlink, Full, "";
        89 readlink names::readlink, Full, "";
        90 chmod attributes::chmod, Full, "";
        91 fchmod attributes::fchmod, Full, "";
        92 chown attributes::chown, Full, "";
        93 fchown attributes::fchown, Full, "";
        94 lchown attributes::lchown, Full, "";
        95 umask directories::umask, Full, "";
        96 gettimeofday time::gettimeofday, Full, "";
        97 getrlimit process::getrlimit, Full, "";
        98 getrusage process::getrusage, Partial, "processor time and peak memory only";
        99 sysinfo system::sysinfo, Partial, "no load averages";
        100 times process::times, Partial, "system time is part of user time";
        101 ptrace refused::privileged, Refused, "EPERM: programs in a sandbox do not trace each other";
        102 getuid process::getuid, Full, "";
        103 syslog refused::privileged, Refused, "EPERM: the log is not the program's";
        104 getgid process::getgid, Full, "";
        105 setuid credentials::setuid, Full, "";
        106 setgid credentials::setgid, Full, "";
        107 geteuid process::geteuid, Full, "";
        108 getegid process::getegid, Full, "";
        109 setpgid process::setpgid, Full, "";
        110 getppid process::getppid, Full, "";
        111 getpgrp process::getpgrp, Full, "";
        112 setsid process::setsid, Full, "";
        113 setreuid credentials::setreuid, Full, "";
        114 setregid credentials::setregid, Full, "";
        115 getgroups credentials::getgroups, Full, "";
        116 setgroups credentials::setgroups, Full, "";
        117 setresuid credentials::setresuid, Full, "";
        118 getresuid process::getresuid, Full, "";
        119 setresgid credentials::setresgid, Full, "";
        120 getresgid process::getresgid, Full, "";
        121 getpgid process::getpgid, Full, "";
        122 setfsuid credentials::setfsuid, Full, "";
        123 setfsgid credentials::setfsgid, Full, "";
        124 getsid process::getsid, Full, "";
        125 capget credentials::capget, Full, "";
        126 capset credentials::capset, Partial, "what is dropped is not remembered";
        127 rt_sigpending signal::rt_sigpending, Full, "";
        128 rt_sigtimedwait signal::rt_sigtimedwait, Full, "";
        129 rt_sigqueueinfo signal::rt_sigqueueinfo, Full, "";
        130 rt_sigsuspend signal::rt_sigsuspend, Full, "";
        131 sigaltstack signal::sigaltstack, Full, "";
        132 utime attributes::utime, Full, "";
        133 mknod names::mknod, Partial, "regular files, fifos, sockets";
        134 uselib refused::absent, Refused, "ENOSYS, as on Linux";
        135 personality process::personality, Partial, "recorded, without effect";
        136 ustat refused::invalid, Refused, "EINVAL, as for a device without a mounted file system";
        137 statfs stat::statfs, Full, "";
        138 fstatfs stat::fstatfs, Full, "";
        139 sysfs refused::absent, Refused, "ENOSYS: obsolete";
        140 getpriority sched::getpriority, Partial, "groups and users: the first process of them";
        141 setpriority sched::setpriority, Partial, "recorded, without effect";
        142 sched_setparam sched::sched_setparam, Partial, "no real-time policies: EPERM";
        143 sched_getparam sched::sched_getparam, Full, "";
        144 sched_setscheduler sched::sched_setscheduler, Partial, "no real-time policies: EPERM";
        145 sched_getscheduler sched::sched_getscheduler, Full, "";
        146 sched_get_priority_max sched::sched_get_priority_max, Full, "";
        147 sched_get_priority_min sched::sched_get_priority_min, Full, "";
        148 sched_rr_get_interval sched::sched_rr_get_interval, Full, "";
        149 mlock advice::mlock, Full, "";
        150 munlock advice::munlock, Full, "";
        151 mlockall advice::mlockall, Full, "";
        152 munlockall advice::munlockall, Full, "";
        153 vhangup refused::privileged, Refused, "EPERM, as without CAP_SYS_TTY_CONFIG";
        154 modify_ldt refused::absent, Refused, "ENOSYS, as a kernel without CONFIG_MODIFY_LDT_SYSCALL";
        155 pivot_root refused::privileged, Refused, "EPERM, as without CAP_SYS_ADMIN";
        156 _sysctl refused::absent, Refused, "ENOSYS, as on Linux";
        157 prctl process::prctl, Partial, "the options that programs use; the others are EINVAL";
        158 arch_prctl process::arch_prctl, Partial, "FS and GS base";
        159 adjtimex time::not_settable, Refused, "EPERM: the sandbox has no say about the time";
        160 setrlimit process::setrlimit, Full, "";
        161 chroot directories::chroot, Full, "";
        162 sync fd::sync, Full, "";
        163 acct refused::privileged, Refused, "EPERM, as without CAP_SYS_PACCT";
        164 settimeofday time::not_settable, Refused, "EPERM: the sandbox has no say about the time";
        165 mount refused::privileged, Refused, "EPERM, as without CAP_SYS_ADMIN";
        166 umount2 refused::privileged, Refused, "EPERM, as without CAP_SYS_ADMIN";
        167 swapon refused::privileged, Refused, "EPERM, as without CAP_SYS_ADMIN";
        168 swapoff refused::privileged, Refused, "EPERM, as without CAP_SYS_ADMIN";
        169 reboot refused::privileged, Refused, "EPERM, as without CAP_SYS_BOOT";
        170 sethostname refused::privileged, Refused, "EPERM, as without CAP_SYS_ADMIN";
        171 setdomainname refused::privileged, Refused, "EPERM, as without CAP_SYS_ADMIN";
        172 iopl refused::privileged, Refused, "EPERM: no port is the program's";
        173 ioperm refused::privileged, Refused, "EPERM: no port is the program's";
        174 create_module refused::absent, Refused, "ENOSYS, as on Linux";
        175 init_module refused::privileged, Refused, "EPERM, as without CAP_SYS_MODULE";
        176 delete_module refused::privileged, Refused, "EPERM, as without CAP_SYS_MODULE";
        177 get_kernel_syms refused::absent, Refused, "ENOSYS, as on Linux";
        178 query_module refused::absent, Refused, "ENOSYS, as on Linux";
        179 quotactl refused::absent, Refused, "ENOSYS, as a kernel without CONFIG_QUOTACTL";
        180 nfsservctl refused::absent, Refused, "ENOSYS, as on Linux";
        181 getpmsg refused::absent, Refused, "ENOSYS, as on Linux";
        182 putpmsg refused::absent, Refused, "ENOSYS, as on Linux";
        183 afs_syscall refused::absent, Refused, "ENOSYS, as on Linux";
        184 tuxcall refused::absent, Refused, "ENOSYS, as on Linux";
        185 security refused::absent, Refused, "ENOSYS, as on Linux";
        186 gettid process::gettid, Full, "";
        187 readahead fd::nothing_to_do, Full, "advice changes nothing";
        188 setxattr xattr::setxattr, Partial, "user.* only";
        189 lsetxattr xattr::lsetxattr, Partial, "user.* only";
        190 fsetxattr xattr::fsetxattr, Partial, "user.* only";
        191 getxattr xattr::getxattr, Full, "";
        192 lgetxattr xattr::lgetxattr, Full, "";
        193 fgetxattr xattr::fgetxattr, Full, "";
        194 listxattr xattr::listxattr, Full, "";
        195 llistxattr xattr::llistxattr, Full, "";
        196 flistxattr xattr::flistxattr, Full, "";
        197 removexattr xattr::removexattr, Full, "";
        198 lremovexattr xattr::lremovexattr, Full, "";
        199 fremovexattr xattr::fremovexattr, Full, "";
        200 tkill signal::tkill, Full, "";
        201 time time::time, Full, "";
        202 futex futex::futex, Partial, "no priority inheritance: ENOSYS";
        203 sched_setaffinity sched::sched_setaffinity, Full, "";
        204 sched_getaffinity sched::sched_getaffinity, Full, "";
        205 set_thread_area refused::absent, Refused, "ENOSYS, as on Linux";
        206 io_setup refused::absent, Refused, "ENOSYS, as a kernel without CONFIG_AIO: programs use threads or plain calls";
        207 io_destroy refused::absent, Refused, "ENOSYS, as a kernel without CONFIG_AIO";
        208 io_getevents refused::absent, Refused, "ENOSYS, as a kernel without CONFIG_AIO";
        209 io_submit refused::absent, Refused, "ENOSYS, as a kernel without CONFIG_AIO";
        210 io_cancel refused::absent, Refused, "ENOSYS, as a kernel without CONFIG_AIO";
        211 get_thread_area refused::absent, Refused, "ENOSYS, as on Linux";
        212 lookup_dcookie refused::privileged, Refused, "EPERM, as without CAP_SYS_ADMIN";
        213 epoll_create event::epoll_create, Full, "";
        214 epoll_ctl_old refused::absent, Refused, "ENOSYS, as on Linux";
        215 epoll_wait_old refused::absent, Refused, "ENOSYS, as on Linux";
        216 remap_file_pages advice::remap_file_pages, Refused, "deprecated, and only emulated by Linux itself: EINVAL";
        217 getdents64 dirs::getdents64, Full, "";
        218 set_tid_address process::set_tid_address, Full, "";
        220 semtimedop semaphore::semtimedop, Full, "";
        221 fadvise64 fd::fadvise64, Full, "advice changes nothing";
        222 timer_create timer::timer_create, Partial, "no timers by the processor time of another process";
        223 timer_settime timer::timer_settime, Full, "";
        224 timer_gettime timer::timer_gettime, Full, "";
        225 timer_getoverrun timer::timer_getoverrun, Full, "";
        226 timer_delete timer::timer_delete, Full, "";
        227 clock_settime time::not_settable, Refused, "EPERM: the sandbox has no say about the time";
        228 clock_gettime time::clock_gettime, Full, "";
        229 clock_getres time::clock_getres, Full, "";
        230 clock_nanosleep time::clock_nanosleep, Full, "";
        231 exit_group process::exit_group, Full, "";
        232 epoll_wait event::epoll_wait, Full, "";
        233 epoll_ctl event::epoll_ctl, Full, "EPOLLWAKEUP changes nothing";
        234 tgkill signal::tgkill, Full, "";
        235 utimes attributes::utimes, Full, "";
        236 vserver refused::absent, Refused, "ENOSYS, as on Linux";
        237 mbind advice::mbind, Full, "there is one node";
        238 set_mempolicy advice::set_mempolicy, Full, "there is one node";
        239 get_mempolicy advice::get_mempolicy, Full, "there is one node; the policy is always the default";
        240 mq_open mqueue::mq_open, Full, "no file system of queues: they have no paths";
        241 mq_unlink mqueue::mq_unlink, Full, "";
        242 mq_timedsend mqueue::mq_timedsend, Full, "";
        243 mq_timedreceive mqueue::mq_timedreceive, Full, "";
        244 mq_notify mqueue::mq_notify, Partial, "no SIGEV_THREAD: EINVAL";
        245 mq_getsetattr mqueue::mq_getsetattr, Full, "";
        246 kexec_load refused::privileged, Refused, "EPERM, as without CAP_SYS_BOOT";
        247 waitid wait::waitid, Full, "";
        248 add_key refused::absent, Refused, "ENOSYS, as a kernel without CONFIG_KEYS";
        249 request_key refused::absent, Refused, "ENOSYS, as a kernel without CONFIG_KEYS";
        250 keyctl refused::absent, Refused, "ENOSYS, as a kernel without CONFIG_KEYS";
        251 ioprio_set sched::ioprio_set, Partial, "without effect";
        252 ioprio_get sched::ioprio_get, Partial, "always the default class";
        253 inotify_init inotify::inotify_init, Full, "";
        254 inotify_add_watch inotify::inotify_add_watch, Full, "nothing happens to what the shim has of its own (/dev, /proc)";
        255 inotify_rm_watch inotify::inotify_rm_watch, Full, "";
        256 migrate_pages refused::privileged, Refused, "EPERM, as without CAP_SYS_NICE";
        257 openat open::openat, Full, "";
        258 mkdirat names::mkdirat, Full, "";
        259 mknodat names::mknodat, Partial, "regular files, fifos, sockets";
        260 fchownat attributes::fchownat, Full, "";
        261 futimesat attributes::futimesat, Full, "";
        262 newfstatat stat::newfstatat, Full, "";
        263 unlinkat names::unlinkat, Full, "";
        264 renameat names::renameat, Full, "";
        265 linkat names::linkat, Full, "";
        266 symlinkat names::symlinkat, Full, "";
        267 readlinkat names::readlinkat, Full, "";
        268 fchmodat attributes::fchmodat, Full, "";
        269 faccessat directories::faccessat, Full, "";
        270 pselect6 poll::pselect6, Full, "";
        271 ppoll poll::ppoll, Full, "";
        272 unshare process::unshare, Partial, "no name spaces: EPERM";
        273 set_robust_list process::set_robust_list, Full, "";
        274 get_robust_list process::get_robust_list, Full, "";
        275 splice splice::splice, Partial, "copies; a few KiB at a time into pipes and sockets";
        276 tee splice::tee, Full, "";
        277 sync_file_range fd::nothing_to_do, Full, "there is nothing to write back";
        278 vmsplice splice::vmsplice, Partial, "copies";
        280 utimensat attributes::utimensat, Full, "";
        281 epoll_pwait event::epoll_pwait, Full, "";
        282 signalfd signal::signalfd, Full, "";
        283 timerfd_create event::timerfd_create, Full, "";
        284 eventfd event::eventfd, Full, "";
        285 fallocate fd::fallocate, Full, "";
        286 timerfd_settime event::timerfd_settime, Full, "the clock is never set: TFD_TIMER_CANCEL_ON_SET changes nothing";
        287 timerfd_gettime event::timerfd_gettime, Full, "";
        288 accept4 socket::accept4, Full, "";
        289 signalfd4 signal::signalfd4, Full, "";
        290 eventfd2 event::eventfd2, Full, "";
        291 epoll_create1 event::epoll_create1, Full, "";
        292 dup3 fd::dup3, Full, "";
        293 pipe2 fd::pipe2, Full, "";
        294 inotify_init1 inotify::inotify_init1, Full, "";
        295 preadv io::preadv, Full, "";
        296 pwritev io::pwritev, Full, "";
        297 rt_tgsigqueueinfo signal::rt_tgsigqueueinfo, Full, "";
        298 perf_event_open refused::privileged, Refused, "EPERM, as with kernel.perf_event_paranoid at 3";
        299 recvmmsg message::recvmmsg, Partial, "waits for the first message only";
        300 fanotify_init refused::privileged, Refused, "EPERM, as without CAP_SYS_ADMIN";
        301 fanotify_mark refused::privileged, Refused, "EPERM, as without CAP_SYS_ADMIN";
        302 prlimit64 process::prlimit64, Full, "";
        303 name_to_handle_at refused::unsupported, Refused, "EOPNOTSUPP, as a file system that cannot be exported";
        304 open_by_handle_at refused::privileged, Refused, "EPERM, as without CAP_DAC_READ_SEARCH";
        305 clock_adjtime time::not_settable, Refused, "EPERM: the sandbox has no say about the time";
        306 syncfs fd::nothing_to_do, Full, "there is nothing to write back";
        307 sendmmsg message::sendmmsg, Partial, "waits for the first message only";
        308 setns refused::privileged, Refused, "EPERM: there are no name spaces";
        309 getcpu system::getcpu, Full, "";
        310 process_vm_readv peer::process_vm_readv, Full, "";
        311 process_vm_writev peer::process_vm_writev, Full, "";
        312 kcmp refused::privileged, Refused, "EPERM, as without PTRACE_MODE_READ";
        313 finit_module refused::privileged, Refused, "EPERM, as without CAP_SYS_MODULE";
        314 sched_setattr sched::sched_setattr, Partial, "no real-time policies: EPERM";
        315 sched_getattr sched::sched_getattr, Partial, "policies change nothing";
        316 renameat2 names::renameat2, Partial, "no RENAME_WHITEOUT";
        317 seccomp refused::invalid, Refused, "EINVAL: the policy of the sandbox judges, and cannot be added to from inside";
        318 getrandom system::getrandom, Full, "";
        319 memfd_create memfd::memfd_create, Full, "there are no huge pages: ENOMEM";
        320 kexec_file_load refused::privileged, Refused, "EPERM, as without CAP_SYS_BOOT";
        321 bpf refused::privileged, Refused, "EPERM, as with kernel.unprivileged_bpf_disabled";
        322 execveat exec::execveat, Full, "";
        323 userfaultfd refused::privileged, Refused, "EPERM, as with vm.unprivileged_userfaultfd at 0";
        324 membarrier advice::membarrier, Full, "without the commands for rseq";
        325 mlock2 advice::mlock2, Full, "";
        326 copy_file_range copy::copy_file_range, Full, "";
        327 preadv2 io::preadv2, Partial, "no RWF_NOWAIT, RWF_APPEND: EOPNOTSUPP";
        328 pwritev2 io::pwritev2, Partial, "no RWF_NOWAIT, RWF_APPEND: EOPNOTSUPP";
        329 pkey_mprotect advice::pkey_mprotect, Full, "key -1 only: there are no keys";
        330 pkey_alloc advice::pkey_alloc, Refused, "the processor has no protection keys: ENOSPC";
        331 pkey_free advice::pkey_free, Refused, "there are no keys: EINVAL";
        332 statx stat::statx, Full, "";
        333 io_pgetevents refused::absent, Refused, "ENOSYS, as a kernel without CONFIG_AIO";
        334 rseq process::rseq, Refused, "ENOSYS: programs go on without; there is one processor";
        424 pidfd_send_signal pidfd::pidfd_send_signal, Partial, "not by a descriptor of /proc/N";
        425 io_uring_setup refused::privileged, Refused, "EPERM, as with io_uring_disabled=2: programs use epoll";
        426 io_uring_enter refused::privileged, Refused, "EPERM, as with io_uring_disabled=2";
        427 io_uring_register refused::privileged, Refused, "EPERM, as with io_uring_disabled=2";
        428 open_tree refused::privileged, Refused, "EPERM, as without CAP_SYS_ADMIN";
        429 move_mount refused::privileged, Refused, "EPERM, as without CAP_SYS_ADMIN";
        430 fsopen refused::privileged, Refused, "EPERM, as without CAP_SYS_ADMIN";
        431 fsconfig refused::privileged, Refused, "EPERM, as without CAP_SYS_ADMIN";
        432 fsmount refused::privileged, Refused, "EPERM, as without CAP_SYS_ADMIN";
        433 fspick refused::privileged, Refused, "EPERM, as without CAP_SYS_ADMIN";
        434 pidfd_open pidfd::pidfd_open, Full, "";
        435 clone3 clone::clone3, Partial, "no name spaces (EPERM), no CLONE_INTO_CGROUP or set_tid";
        436 close_range fd::close_range, Full, "";
        437 openat2 open::openat2, Full, "";
        438 pidfd_getfd pidfd::pidfd_getfd, Full, "";
        439 faccessat2 directories::faccessat2, Full, "";
        441 epoll_pwait2 event::epoll_pwait2, Full, "";
        442 mount_setattr refused::privileged, Refused, "EPERM, as without CAP_SYS_ADMIN";
        443 quotactl_fd refused::absent, Refused, "ENOSYS, as a kernel without CONFIG_QUOTACTL";
        444 landlock_create_ruleset refused::unsupported, Refused, "EOPNOTSUPP, as a kernel that was booted without it";
        445 landlock_add_rule refused::unsupported, Refused, "EOPNOTSUPP, as a kernel that was booted without it";
        446 landlock_restrict_self refused::unsupported, Refused, "EOPNOTSUPP, as a kernel that was booted without it";
        447 memfd_secret refused::absent, Refused, "ENOSYS, as a kernel without CONFIG_SECRETMEM";
        448 process_mrelease refused::absent, Refused, "ENOSYS, as a kernel without it";
        449 futex_waitv futex::futex_waitv, Full, "";
    }
}

pub use rows::{SUPPORT, dispatch};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_rise_and_bear_the_names_of_linux() {
        for pair in SUPPORT.windows(2) {
            assert!(pair[0].number < pair[1].number, "{} stands before {}", pair[0].name, pair[1].name);
        }
        for row in SUPPORT {
            let known = proto::syscalls::by_number(u64::from(row.number)).expect("a number of Linux");
            assert_eq!(known.name, row.name);
        }
    }

    #[test]
    fn what_is_not_full_says_why() {
        for row in SUPPORT {
            assert!(row.level == Level::Full || !row.note.is_empty(), "{}", row.name);
        }
    }
}
