//! `/proc` and `/sys`: which nodes there are. What their texts say is in [`super::proc_text`].
//!
//! Nodes that are always there are a table of paths ([`FIXED`]); directories are what their paths go through. Those of
//! processes and threads are made from what runs.

/// A node of `/proc` or `/sys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcNode {
    /// A path of [`FIXED`], or a directory on the way to some.
    Fixed(&'static str),
    /// `/proc/self`.
    SelfLink,
    /// `/proc/thread-self`.
    ThreadSelf,
    /// `/proc/N`, or `/proc/N/task/M`: the process, and the thread if it is about one.
    Process(u32, Option<u32>),
    /// `/proc/N/task`.
    Threads(u32),
    /// Something in `/proc/N` or `/proc/N/task/M`.
    Entry(u32, Option<u32>, Entry),
    /// `/proc/N/fd`.
    Descriptors(u32),
    /// `/proc/N/fd/M`.
    Descriptor(u32, u32),
    /// `/proc/N/fdinfo`.
    DescriptorInfos(u32),
    /// `/proc/N/fdinfo/M`.
    DescriptorInfo(u32, u32),
}

/// What `/proc/N` has beside directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the files' own")]
pub enum Entry {
    Auxv,
    Cgroup,
    Cmdline,
    Comm,
    CoredumpFilter,
    Cwd,
    Environ,
    Exe,
    GidMap,
    Io,
    Limits,
    Loginuid,
    Maps,
    Mountinfo,
    Mounts,
    OomScore,
    OomScoreAdj,
    Personality,
    Root,
    Schedstat,
    Sessionid,
    Setgroups,
    Smaps,
    SmapsRollup,
    Stat,
    Statm,
    Status,
    TimerslackNs,
    UidMap,
    Wchan,
}

/// The names in `/proc/N`, without its directories.
pub const ENTRIES: &[(&str, Entry)] = &[
    ("auxv", Entry::Auxv),
    ("cgroup", Entry::Cgroup),
    ("cmdline", Entry::Cmdline),
    ("comm", Entry::Comm),
    ("coredump_filter", Entry::CoredumpFilter),
    ("cwd", Entry::Cwd),
    ("environ", Entry::Environ),
    ("exe", Entry::Exe),
    ("gid_map", Entry::GidMap),
    ("io", Entry::Io),
    ("limits", Entry::Limits),
    ("loginuid", Entry::Loginuid),
    ("maps", Entry::Maps),
    ("mountinfo", Entry::Mountinfo),
    ("mounts", Entry::Mounts),
    ("oom_score", Entry::OomScore),
    ("oom_score_adj", Entry::OomScoreAdj),
    ("personality", Entry::Personality),
    ("root", Entry::Root),
    ("schedstat", Entry::Schedstat),
    ("sessionid", Entry::Sessionid),
    ("setgroups", Entry::Setgroups),
    ("smaps", Entry::Smaps),
    ("smaps_rollup", Entry::SmapsRollup),
    ("stat", Entry::Stat),
    ("statm", Entry::Statm),
    ("status", Entry::Status),
    ("timerslack_ns", Entry::TimerslackNs),
    ("uid_map", Entry::UidMap),
    ("wchan", Entry::Wchan),
];

/// `/proc/mounts`: a link to the process' own.
pub const MOUNTS: &str = "proc/mounts";

/// The files that are always there, sorted. What a text says is either here or made by [`super::proc_text`].
#[rustfmt::skip]
pub const FIXED: &[(&str, &str)] = &[
    ("proc/cmdline", "cordon\n"),
    ("proc/cpuinfo", ""),
    ("proc/devices", "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n136 pts\n\nBlock devices:\n"),
    ("proc/filesystems", "nodev\tproc\nnodev\tsysfs\nnodev\tdevtmpfs\nnodev\tdevpts\nnodev\ttmpfs\n"),
    ("proc/loadavg", ""),
    ("proc/meminfo", ""),
    ("proc/modules", ""),
    (MOUNTS, ""),
    ("proc/net/dev", "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n"),
    ("proc/net/if_inet6", "00000000000000000000000000000001 01 80 10 80       lo\n"),
    ("proc/net/route", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"),
    ("proc/net/tcp", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"),
    ("proc/net/tcp6", "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"),
    ("proc/net/udp", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"),
    ("proc/net/udp6", "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"),
    ("proc/net/unix", "Num       RefCount Protocol Flags    Type St Inode Path\n"),
    ("proc/partitions", "major minor  #blocks  name\n\n"),
    ("proc/stat", ""),
    ("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
    ("proc/sys/fs/file-max", "65536\n"),
    ("proc/sys/fs/inotify/max_queued_events", "16384\n"),
    ("proc/sys/fs/inotify/max_user_instances", "128\n"),
    ("proc/sys/fs/inotify/max_user_watches", "65536\n"),
    ("proc/sys/fs/nr_open", "65536\n"),
    ("proc/sys/fs/pipe-max-size", "1048576\n"),
    ("proc/sys/kernel/cap_last_cap", "40\n"),
    ("proc/sys/kernel/domainname", ""),
    ("proc/sys/kernel/hostname", ""),
    ("proc/sys/kernel/ngroups_max", "65536\n"),
    ("proc/sys/kernel/osrelease", ""),
    ("proc/sys/kernel/ostype", "Linux\n"),
    ("proc/sys/kernel/overflowgid", "65534\n"),
    ("proc/sys/kernel/overflowuid", "65534\n"),
    ("proc/sys/kernel/pid_max", "32768\n"),
    ("proc/sys/kernel/random/boot_id", ""),
    ("proc/sys/kernel/random/entropy_avail", "256\n"),
    ("proc/sys/kernel/random/poolsize", "256\n"),
    ("proc/sys/kernel/random/uuid", ""),
    ("proc/sys/kernel/randomize_va_space", "2\n"),
    ("proc/sys/kernel/sched_rr_timeslice_ms", "10\n"),
    ("proc/sys/kernel/shmmax", "18446744073692774399\n"),
    ("proc/sys/kernel/shmmni", "4096\n"),
    ("proc/sys/kernel/threads-max", "8192\n"),
    ("proc/sys/kernel/version", ""),
    ("proc/sys/kernel/yama/ptrace_scope", "3\n"),
    ("proc/sys/net/core/somaxconn", "4096\n"),
    ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
    ("proc/sys/net/ipv4/tcp_fin_timeout", "60\n"),
    ("proc/sys/net/ipv4/tcp_keepalive_time", "7200\n"),
    ("proc/sys/net/ipv6/conf/all/disable_ipv6", "0\n"),
    ("proc/sys/vm/max_map_count", "65530\n"),
    ("proc/sys/vm/mmap_min_addr", "65536\n"),
    ("proc/sys/vm/overcommit_memory", "1\n"),
    ("proc/sys/vm/overcommit_ratio", "50\n"),
    ("proc/sys/vm/swappiness", "0\n"),
    ("proc/uptime", ""),
    ("proc/version", ""),
    ("sys/class/net/lo/address", "00:00:00:00:00:00\n"),
    ("sys/class/net/lo/flags", "0x9\n"),
    ("sys/class/net/lo/ifindex", "1\n"),
    ("sys/class/net/lo/mtu", "65536\n"),
    ("sys/class/net/lo/operstate", "unknown\n"),
    ("sys/class/net/lo/type", "772\n"),
    ("sys/devices/system/cpu/cpu0/topology/core_cpus_list", "0\n"),
    ("sys/devices/system/cpu/cpu0/topology/core_id", "0\n"),
    ("sys/devices/system/cpu/cpu0/topology/core_siblings_list", "0\n"),
    ("sys/devices/system/cpu/cpu0/topology/physical_package_id", "0\n"),
    ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0\n"),
    ("sys/devices/system/cpu/kernel_max", "0\n"),
    ("sys/devices/system/cpu/offline", "\n"),
    ("sys/devices/system/cpu/online", "0\n"),
    ("sys/devices/system/cpu/possible", "0\n"),
    ("sys/devices/system/cpu/present", "0\n"),
    ("sys/devices/system/node/node0/cpulist", "0\n"),
    ("sys/devices/system/node/node0/cpumap", "1\n"),
    ("sys/devices/system/node/node0/meminfo", ""),
    ("sys/devices/system/node/online", "0\n"),
    ("sys/devices/system/node/possible", "0\n"),
    ("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n"),
    ("sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152\n"),
];

/// The root of `/proc`, and of `/sys`.
pub const PROC: ProcNode = ProcNode::Fixed("proc");
/// See [`PROC`].
pub const SYS: ProcNode = ProcNode::Fixed("sys");

/// What kind of file a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcKind {
    /// A directory.
    Directory,
    /// A link, followed to an object rather than by its text.
    Link,
    /// A text made when it is opened.
    Text,
}

impl ProcNode {
    /// What kind of file it is.
    #[must_use]
    pub fn kind(self) -> ProcKind {
        match self {
            Self::Fixed(MOUNTS) | Self::SelfLink | Self::ThreadSelf | Self::Descriptor(..) => ProcKind::Link,
            Self::Fixed(path) if is_text(path) => ProcKind::Text,
            Self::Entry(_, _, Entry::Cwd | Entry::Exe | Entry::Root) => ProcKind::Link,
            Self::Entry(..) | Self::DescriptorInfo(..) => ProcKind::Text,
            Self::Fixed(_) | Self::Process(..) | Self::Threads(_) | Self::Descriptors(_) | Self::DescriptorInfos(_) => {
                ProcKind::Directory
            }
        }
    }

    /// May its text be written to?
    #[must_use]
    pub fn is_writable(self) -> bool {
        matches!(self, Self::Entry(_, _, Entry::Comm))
    }

    /// An inode number, outside the root's range.
    #[must_use]
    pub fn inode(self) -> u64 {
        let hash = |parts: [u64; 4]| {
            parts.iter().fold(0xcbf2_9ce4_u64, |hash, part| (hash ^ part).wrapping_mul(0x0100_0193) & 0xfff_ffff)
        };
        let thread = |thread: Option<u32>| u64::from(thread.unwrap_or(0));
        let low = match self {
            Self::Fixed(path) => path.bytes().fold(1, |sum, byte| hash([sum, u64::from(byte), 0, 0])),
            Self::SelfLink => 2,
            Self::ThreadSelf => 3,
            Self::Process(pid, tid) => hash([4, u64::from(pid), thread(tid), 0]),
            Self::Threads(pid) => hash([5, u64::from(pid), 0, 0]),
            Self::Entry(pid, tid, entry) => hash([6, u64::from(pid), thread(tid), entry as u64]),
            Self::Descriptors(pid) => hash([7, u64::from(pid), 0, 0]),
            Self::Descriptor(pid, number) => hash([8, u64::from(pid), u64::from(number), 0]),
            Self::DescriptorInfos(pid) => hash([9, u64::from(pid), 0, 0]),
            Self::DescriptorInfo(pid, number) => hash([10, u64::from(pid), u64::from(number), 0]),
        };
        0xf000_0000 + low
    }
}

fn is_text(path: &str) -> bool {
    FIXED.binary_search_by_key(&path, |&(path, _)| path).is_ok()
}

/// What a fixed text says, if that never changes.
#[must_use]
pub fn fixed_text(path: &str) -> Option<&'static str> {
    let at = FIXED.binary_search_by_key(&path, |&(path, _)| path).ok()?;
    FIXED.get(at).map(|&(_, text)| text)
}

/// The fixed node `name` in the fixed directory `directory`.
#[must_use]
pub fn fixed_child(directory: &str, name: &[u8]) -> Option<ProcNode> {
    let name = core::str::from_utf8(name).ok()?;
    fixed_children(directory).find(|&(known, _)| known == name).map(|(_, node)| node)
}

/// All fixed nodes in a fixed directory, each once.
pub fn fixed_children(directory: &str) -> impl Iterator<Item = (&'static str, ProcNode)> + '_ {
    let mut last = "";
    FIXED.iter().filter_map(move |&(path, _)| {
        let rest = path.strip_prefix(directory)?.strip_prefix('/')?;
        let name = rest.split('/').next()?;
        if name == last {
            return None;
        }
        last = name;
        let len = directory.len() + 1 + name.len();
        path.get(..len).map(|path| (name, ProcNode::Fixed(path)))
    })
}

/// A decimal number without sign or leading zero.
#[must_use]
pub fn parse_number(name: &[u8]) -> Option<u32> {
    if name.is_empty() || name.len() > 9 || (name.len() > 1 && name.first() == Some(&b'0')) {
        return None;
    }
    name.iter().try_fold(0_u32, |value, &byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        assert!(FIXED.is_sorted_by_key(|&(path, _)| path));
        assert!(ENTRIES.is_sorted_by_key(|&(name, _)| name));
    }

    #[test]
    fn directories_are_what_paths_go_through() {
        assert_eq!(fixed_child("proc", b"sys"), Some(ProcNode::Fixed("proc/sys")));
        assert_eq!(ProcNode::Fixed("proc/sys").kind(), ProcKind::Directory);
        assert_eq!(ProcNode::Fixed("proc/net").kind(), ProcKind::Directory);
        assert_eq!(fixed_child("proc/sys/kernel", b"ostype").map(ProcNode::kind), Some(ProcKind::Text));
        assert_eq!(fixed_child("proc/sys/kernel", b"no"), None);
        assert_eq!(fixed_child("proc/sys/kernel/ostype", b"x"), None);
        let vm: alloc::vec::Vec<&str> = fixed_children("proc/sys").map(|(name, _)| name).collect();
        assert_eq!(vm, ["fs", "kernel", "net", "vm"]);
    }
}
