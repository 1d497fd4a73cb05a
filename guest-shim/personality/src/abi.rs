//! Structures that programs and the kernel exchange in memory, x86-64 layout (Linux `include/uapi`, `arch/x86/include/uapi`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Declares wire structures of integers with their size checked.
macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident: $size:literal { $($field:ident: $type:ty),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
            #[expect(missing_docs, reason = "the field names are Linux' own")]
            pub struct $name { $(pub $field: $type),* }
            const _: () = assert!(size_of::<$name>() == $size);
        )*
    };
}

wire! {
    /// `struct timespec`.
    Timespec: 16 { tv_sec: i64, tv_nsec: i64 }
    /// `struct timeval`.
    Timeval: 16 { tv_sec: i64, tv_usec: i64 }
    /// `struct stat`.
    Stat: 144 {
        st_dev: u64, st_ino: u64, st_nlink: u64, st_mode: u32, st_uid: u32, st_gid: u32, pad0: u32, st_rdev: u64,
        st_size: i64, st_blksize: i64, st_blocks: i64, st_atime: i64, st_atime_nsec: u64, st_mtime: i64,
        st_mtime_nsec: u64, st_ctime: i64, st_ctime_nsec: u64, unused: [i64; 3],
    }
    /// `struct statx_timestamp`.
    StatxTime: 16 { tv_sec: i64, tv_nsec: u32, reserved: i32 }
    /// `struct statx`.
    Statx: 256 {
        stx_mask: u32, stx_blksize: u32, stx_attributes: u64, stx_nlink: u32, stx_uid: u32, stx_gid: u32, stx_mode: u16,
        spare0: u16, stx_ino: u64, stx_size: u64, stx_blocks: u64, stx_attributes_mask: u64, stx_atime: StatxTime,
        stx_btime: StatxTime, stx_ctime: StatxTime, stx_mtime: StatxTime, stx_rdev_major: u32, stx_rdev_minor: u32,
        stx_dev_major: u32, stx_dev_minor: u32, stx_mnt_id: u64, stx_dio_mem_align: u32, stx_dio_offset_align: u32,
        spare3: [u64; 12],
    }
    /// `struct statfs`.
    Statfs: 120 {
        f_type: i64, f_bsize: i64, f_blocks: u64, f_bfree: u64, f_bavail: u64, f_files: u64, f_ffree: u64,
        f_fsid: [i32; 2], f_namelen: i64, f_frsize: i64, f_flags: i64, f_spare: [i64; 4],
    }
    /// `struct iovec`.
    Iovec: 16 { base: u64, len: u64 }
    /// `struct msghdr`.
    Msghdr: 56 {
        msg_name: u64, msg_namelen: u32, pad0: u32, msg_iov: u64, msg_iovlen: u64, msg_control: u64, msg_controllen: u64,
        msg_flags: u32, pad1: u32,
    }
    /// `struct futex_waitv`.
    FutexWaiter: 24 { value: u64, address: u64, flags: u32, reserved: u32 }
    /// `struct pollfd`.
    PollFd: 8 { fd: i32, events: i16, revents: i16 }
    /// `struct epoll_event`, which is packed: its data is not aligned.
    EpollEvent: 12 { events: u32, data: [u32; 2] }
    /// `struct itimerspec`.
    Itimerspec: 32 { it_interval: Timespec, it_value: Timespec }
    /// `struct rlimit64`.
    Rlimit: 16 { rlim_cur: u64, rlim_max: u64 }
    /// `struct tms`.
    Tms: 32 { tms_utime: i64, tms_stime: i64, tms_cutime: i64, tms_cstime: i64 }
    /// `struct rusage`.
    Rusage: 144 {
        ru_utime: Timeval, ru_stime: Timeval, ru_maxrss: i64, ru_ixrss: i64, ru_idrss: i64, ru_isrss: i64,
        ru_minflt: i64, ru_majflt: i64, ru_nswap: i64, ru_inblock: i64, ru_oublock: i64, ru_msgsnd: i64,
        ru_msgrcv: i64, ru_nsignals: i64, ru_nvcsw: i64, ru_nivcsw: i64,
    }
    /// `struct sysinfo`.
    Sysinfo: 112 {
        uptime: i64, loads: [u64; 3], totalram: u64, freeram: u64, sharedram: u64, bufferram: u64, totalswap: u64,
        freeswap: u64, procs: u16, pad: u16, pad2: u32, totalhigh: u64, freehigh: u64, mem_unit: u32, pad3: u32,
    }
    /// `struct termios` of the kernel (TCGETS).
    Termios: 36 { c_iflag: u32, c_oflag: u32, c_cflag: u32, c_lflag: u32, c_line: u8, c_cc: [u8; 19] }
    /// `struct termios2` of the kernel (TCGETS2).
    Termios2: 44 { termios: Termios, c_ispeed: u32, c_ospeed: u32 }
    /// `struct winsize`.
    Winsize: 8 { ws_row: u16, ws_col: u16, ws_xpixel: u16, ws_ypixel: u16 }
    /// `struct sigaction` of the kernel (rt_sigaction).
    SigAction: 32 { handler: u64, flags: u64, restorer: u64, mask: u64 }
    /// `stack_t`.
    AltStack: 24 { ss_sp: u64, ss_flags: i32, pad: u32, ss_size: u64 }
    /// `struct linux_dirent64` without its name.
    DirentHead: 24 { d_ino: u64, d_off: u64, d_reclen: u16, d_type: u8, name: [u8; 5] }
    /// `struct flock`.
    Flock: 32 { l_type: i16, l_whence: i16, pad: u32, l_start: i64, l_len: i64, l_pid: i32, pad2: u32 }
    /// `struct ipc64_perm`.
    IpcPermissions: 48 {
        key: i32, uid: u32, gid: u32, cuid: u32, cgid: u32, mode: u32, sequence: u16, pad: u16, pad2: u32, unused: [u64; 2],
    }
    /// `struct semid64_ds`.
    SemaphoreSet: 104 {
        perm: IpcPermissions, operation_time: i64, unused1: u64, change_time: i64, unused2: u64, count: u64, unused3: [u64; 2],
    }
    /// `struct sembuf`.
    SemaphoreOperation: 6 { number: u16, change: i16, flags: i16 }
    /// `struct msqid64_ds`.
    MessageQueue: 120 {
        perm: IpcPermissions, send_time: i64, receive_time: i64, change_time: i64, bytes: u64, messages: u64, most_bytes: u64,
        sender: i32, receiver: i32, unused: [u64; 2],
    }
    /// `struct mq_attr`.
    MqAttributes: 64 { flags: i64, most: i64, longest: i64, now: i64, reserved: [i64; 4] }
    /// `struct shmid64_ds`.
    SharedSegment: 112 {
        perm: IpcPermissions, size: u64, attach_time: i64, detach_time: i64, change_time: i64, creator: i32, last: i32,
        attached: u64, unused: [u64; 2],
    }
}

/// `struct utsname`: six strings of 65 bytes.
pub const UTS_FIELD: usize = 65;
/// Where the name starts in `struct linux_dirent64`.
pub const DIRENT_NAME: usize = 19;

/// File type bits and the rest of `st_mode`.
pub mod mode {
    #![expect(missing_docs, reason = "the names are Linux' own")]
    pub const S_IFMT: u32 = 0o170_000;
    pub const S_IFSOCK: u32 = 0o140_000;
    pub const S_IFIFO: u32 = 0o010_000;
    pub const S_IFCHR: u32 = 0o020_000;
    pub const S_IFDIR: u32 = 0o040_000;
    pub const S_IFREG: u32 = 0o100_000;
    pub const S_IFLNK: u32 = 0o120_000;
}
