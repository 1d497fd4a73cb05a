//! The table of system calls: number · name · function · support level · note. What is not in it is not carried out yet:
//! −ENOSYS, and the trace says so.

use super::{
    Args, advice, clone, credentials, dirs, event, exec, fd, futex, inotify, io, memfd, memory, message, names, open,
    poll, process, sched, shm, signal, socket, sockopt, splice, stat, system, time, timer, tty, wait, xattr,
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
        16 ioctl tty::ioctl, Partial, "terminals (TIOCSTI is refused), FIONREAD, FIONBIO, FIOASYNC (without SIGIO), FIOCLEX, FIONCLEX";
        17 pread64 io::pread64, Full, "";
        18 pwrite64 io::pwrite64, Full, "";
        19 readv io::readv, Full, "";
        20 writev io::writev, Full, "";
        21 access names::access, Full, "";
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
        40 sendfile io::sendfile, Full, "";
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
        54 setsockopt sockopt::setsockopt, Partial, "many options are recorded without effect; time limits hold for send and recv calls, not for read and write";
        55 getsockopt sockopt::getsockopt, Partial, "no TCP_INFO";
        56 clone clone::clone, Partial, "no name spaces (EPERM), no CLONE_PIDFD";
        57 fork clone::fork, Full, "";
        58 vfork clone::vfork, Full, "";
        59 execve exec::execve, Full, "";
        60 exit process::exit, Full, "";
        61 wait4 wait::wait4, Full, "";
        62 kill signal::kill, Full, "";
        63 uname system::uname, Full, "";
        67 shmdt shm::shmdt, Full, "";
        72 fcntl fd::fcntl, Partial, "no leases, signals or open-file-description locks; owners are taken without effect";
        73 flock splice::flock, Full, "";
        74 fsync fd::fsync, Full, "";
        75 fdatasync fd::fsync, Full, "";
        76 truncate names::truncate, Full, "";
        77 ftruncate names::ftruncate, Full, "";
        79 getcwd names::getcwd, Full, "";
        80 chdir names::chdir, Full, "";
        81 fchdir names::fchdir, Full, "";
        82 rename names::rename, Full, "";
        83 mkdir names::mkdir, Full, "";
        84 rmdir names::rmdir, Full, "";
        85 creat open::creat, Full, "";
        86 link names::link, Full, "";
        87 unlink names::unlink, Full, "";
        88 symlink names::symlink, Full, "";
        89 readlink names::readlink, Full, "";
        90 chmod names::chmod, Full, "";
        91 fchmod names::fchmod, Full, "";
        92 chown names::chown, Full, "";
        93 fchown names::fchown, Full, "";
        94 lchown names::lchown, Full, "";
        95 umask names::umask, Full, "";
        96 gettimeofday time::gettimeofday, Full, "";
        97 getrlimit process::getrlimit, Full, "";
        98 getrusage process::getrusage, Partial, "processor time and peak memory only";
        99 sysinfo system::sysinfo, Partial, "no load averages";
        100 times process::times, Partial, "system time is part of user time";
        102 getuid process::getuid, Full, "";
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
        132 utime names::utime, Full, "";
        135 personality process::personality, Partial, "recorded, without effect";
        137 statfs stat::statfs, Full, "";
        138 fstatfs stat::fstatfs, Full, "";
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
        157 prctl process::prctl, Partial, "the options that programs use; the others are ENOSYS";
        158 arch_prctl process::arch_prctl, Partial, "FS and GS base";
        159 adjtimex time::not_settable, Refused, "EPERM: the sandbox has no say about the time";
        160 setrlimit process::setrlimit, Full, "";
        162 sync fd::sync, Full, "";
        164 settimeofday time::not_settable, Refused, "EPERM: the sandbox has no say about the time";
        186 gettid process::gettid, Full, "";
        188 setxattr xattr::of_path, Full, "no file system here has extended attributes: EOPNOTSUPP";
        189 lsetxattr xattr::of_link, Full, "no file system here has extended attributes: EOPNOTSUPP";
        190 fsetxattr xattr::of_file, Full, "no file system here has extended attributes: EOPNOTSUPP";
        191 getxattr xattr::of_path, Full, "no file system here has extended attributes: EOPNOTSUPP";
        192 lgetxattr xattr::of_link, Full, "no file system here has extended attributes: EOPNOTSUPP";
        193 fgetxattr xattr::of_file, Full, "no file system here has extended attributes: EOPNOTSUPP";
        194 listxattr xattr::list_path, Full, "";
        195 llistxattr xattr::list_link, Full, "";
        196 flistxattr xattr::list_file, Full, "";
        197 removexattr xattr::of_path, Full, "no file system here has extended attributes: EOPNOTSUPP";
        198 lremovexattr xattr::of_link, Full, "no file system here has extended attributes: EOPNOTSUPP";
        199 fremovexattr xattr::of_file, Full, "no file system here has extended attributes: EOPNOTSUPP";
        200 tkill signal::tkill, Full, "";
        201 time time::time, Full, "";
        202 futex futex::futex, Partial, "no priority inheritance: ENOSYS";
        203 sched_setaffinity sched::sched_setaffinity, Full, "";
        204 sched_getaffinity sched::sched_getaffinity, Full, "";
        206 io_setup event::refused, Refused, "ENOSYS, as a kernel without CONFIG_AIO: programs use threads or plain calls";
        207 io_destroy event::refused, Refused, "ENOSYS, as a kernel without CONFIG_AIO";
        208 io_getevents event::refused, Refused, "ENOSYS, as a kernel without CONFIG_AIO";
        209 io_submit event::refused, Refused, "ENOSYS, as a kernel without CONFIG_AIO";
        210 io_cancel event::refused, Refused, "ENOSYS, as a kernel without CONFIG_AIO";
        213 epoll_create event::epoll_create, Full, "";
        216 remap_file_pages advice::remap_file_pages, Refused, "deprecated, and only emulated by Linux itself: EINVAL";
        217 getdents64 dirs::getdents64, Full, "";
        218 set_tid_address process::set_tid_address, Full, "";
        221 fadvise64 fd::fadvise64, Full, "advice changes nothing";
        222 timer_create timer::timer_create, Partial, "no timers by the processor time of a process: they go by the real time";
        223 timer_settime timer::timer_settime, Full, "";
        224 timer_gettime timer::timer_gettime, Full, "";
        225 timer_getoverrun timer::timer_getoverrun, Full, "";
        226 timer_delete timer::timer_delete, Full, "";
        227 clock_settime time::not_settable, Refused, "EPERM: the sandbox has no say about the time";
        228 clock_gettime time::clock_gettime, Full, "";
        229 clock_getres time::clock_getres, Full, "";
        230 clock_nanosleep time::clock_nanosleep, Partial, "not by processor time";
        231 exit_group process::exit_group, Full, "";
        232 epoll_wait event::epoll_wait, Full, "";
        233 epoll_ctl event::epoll_ctl, Full, "EPOLLEXCLUSIVE and EPOLLWAKEUP change nothing";
        234 tgkill signal::tgkill, Full, "";
        235 utimes names::utimes, Full, "";
        237 mbind advice::mbind, Full, "there is one node";
        238 set_mempolicy advice::set_mempolicy, Full, "there is one node";
        239 get_mempolicy advice::get_mempolicy, Full, "there is one node; the policy is always the default";
        247 waitid wait::waitid, Partial, "no P_PIDFD";
        253 inotify_init inotify::inotify_init, Full, "";
        254 inotify_add_watch inotify::inotify_add_watch, Full, "nothing happens to what the shim has of its own (/dev, /proc)";
        255 inotify_rm_watch inotify::inotify_rm_watch, Full, "";
        257 openat open::openat, Full, "";
        258 mkdirat names::mkdirat, Full, "";
        259 mknodat names::mknodat, Partial, "regular files, fifos, sockets";
        260 fchownat names::fchownat, Full, "";
        262 newfstatat stat::newfstatat, Full, "";
        263 unlinkat names::unlinkat, Full, "";
        264 renameat names::renameat, Full, "";
        265 linkat names::linkat, Full, "";
        266 symlinkat names::symlinkat, Full, "";
        267 readlinkat names::readlinkat, Full, "";
        268 fchmodat names::fchmodat, Full, "";
        269 faccessat names::faccessat, Full, "";
        270 pselect6 poll::pselect6, Full, "";
        271 ppoll poll::ppoll, Full, "";
        273 set_robust_list process::set_robust_list, Full, "";
        275 splice splice::splice, Partial, "copies; a few KiB at a time into pipes and sockets";
        280 utimensat names::utimensat, Full, "";
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
        299 recvmmsg message::recvmmsg, Partial, "waits for the first message only";
        300 fanotify_init event::refused_to_users, Refused, "EPERM, as without CAP_SYS_ADMIN";
        301 fanotify_mark event::refused_to_users, Refused, "EPERM, as without CAP_SYS_ADMIN";
        302 prlimit64 process::prlimit64, Full, "";
        305 clock_adjtime time::not_settable, Refused, "EPERM: the sandbox has no say about the time";
        307 sendmmsg message::sendmmsg, Partial, "waits for the first message only";
        309 getcpu system::getcpu, Full, "";
        316 renameat2 names::renameat2, Partial, "no RENAME_WHITEOUT";
        318 getrandom system::getrandom, Full, "";
        319 memfd_create memfd::memfd_create, Full, "there are no huge pages: ENOMEM";
        322 execveat exec::execveat, Full, "";
        324 membarrier advice::membarrier, Full, "without the commands for rseq";
        325 mlock2 advice::mlock2, Full, "";
        326 copy_file_range io::copy_file_range, Full, "";
        329 pkey_mprotect advice::pkey_mprotect, Full, "key -1 only: there are no keys";
        330 pkey_alloc advice::pkey_alloc, Refused, "the processor has no protection keys: ENOSPC";
        331 pkey_free advice::pkey_free, Refused, "there are no keys: EINVAL";
        332 statx stat::statx, Full, "";
        333 io_pgetevents event::refused, Refused, "ENOSYS, as a kernel without CONFIG_AIO";
        334 rseq process::rseq, Refused, "ENOSYS: programs go on without; there is one processor";
        425 io_uring_setup event::refused_to_users, Refused, "EPERM, as with io_uring_disabled=2: programs use epoll";
        426 io_uring_enter event::refused_to_users, Refused, "EPERM, as with io_uring_disabled=2";
        427 io_uring_register event::refused_to_users, Refused, "EPERM, as with io_uring_disabled=2";
        435 clone3 clone::clone3, Partial, "no name spaces (EPERM), no CLONE_PIDFD, CLONE_INTO_CGROUP or set_tid";
        439 faccessat2 names::faccessat2, Full, "";
        441 epoll_pwait2 event::epoll_pwait2, Full, "";
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
