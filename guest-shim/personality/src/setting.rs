//! What the first process is like beside its program: what a policy says of it.

use alloc::vec::Vec;

use linux_raw_sys::general as raw;
use proto::ProgramParams;

use crate::abi::Rlimit;
use crate::task::{LIMITS, MAX_FILES, MAX_PENDING, MAX_TASKS};

/// Groups, limits and names.
pub struct Setting {
    /// Supplementary groups, in ascending order.
    pub groups: Vec<u32>,
    /// Permission bits that new files do not get.
    pub umask: u32,
    /// Resource limits, by RLIMIT_*.
    pub limits: [Rlimit; LIMITS],
    /// Host name and domain name, as uname(2) says them.
    pub names: [Vec<u8>; 2],
    /// Folders of the host that are shown.
    pub folders: Vec<Folder>,
}

/// A folder of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its place: absolute.
    pub place: Vec<u8>,
    /// Whether there is something in it that may be changed.
    pub writable: bool,
}

impl Folder {
    /// As the root says it ([`ProgramParams`]).
    fn read(text: &[u8]) -> Option<Self> {
        let (mode, place) = text.split_first()?;
        Some(Self { place: place.into(), writable: *mode == proto::WRITABLE_FOLDER })
    }
}

impl Default for Setting {
    /// That of a Debian login.
    fn default() -> Self {
        let names = [b"cordon".into(), b"(none)".into()];
        Self { groups: Vec::new(), umask: 0o022, limits: default_limits(), names, folders: Vec::new() }
    }
}

impl Setting {
    /// What the root says, with its host name and domain name and the folders that follow. Limits are no higher than what there is.
    #[must_use]
    pub fn new(params: &ProgramParams, names: [Vec<u8>; 2], folders: impl Iterator<Item = Vec<u8>>) -> Self {
        let count = usize::try_from(params.group_count).unwrap_or(usize::MAX);
        let mut groups: Vec<u32> = params.groups.iter().take(count).copied().collect();
        groups.sort_unstable();
        let mut limits = default_limits();
        for (kind, (limit, &[soft, hard])) in limits.iter_mut().zip(&params.limits).enumerate() {
            if params.stated_limits >> kind & 1 != 0 {
                let hard = hard.min(limit.rlim_max);
                *limit = Rlimit { rlim_cur: soft.min(hard), rlim_max: hard };
            }
        }
        let folders = folders.filter_map(|text| Folder::read(&text)).collect();
        Self { groups, umask: params.umask & 0o777, limits, names, folders }
    }
}

/// The limits that a process starts with: those of a Debian login.
fn default_limits() -> [Rlimit; LIMITS] {
    let mut limits = [Rlimit { rlim_cur: u64::MAX, rlim_max: u64::MAX }; LIMITS];
    for (kind, now, max) in [
        (raw::RLIMIT_STACK, 8 << 20, u64::MAX),
        (raw::RLIMIT_CORE, 0, u64::MAX),
        (raw::RLIMIT_NOFILE, 1024, MAX_FILES),
        (raw::RLIMIT_NPROC, MAX_TASKS, MAX_TASKS),
        (raw::RLIMIT_SIGPENDING, MAX_PENDING, MAX_PENDING),
        (raw::RLIMIT_MEMLOCK, 8 << 20, 8 << 20),
        (raw::RLIMIT_MSGQUEUE, 819_200, 819_200),
        (raw::RLIMIT_NICE, 0, 0),
        (raw::RLIMIT_RTPRIO, 0, 0),
    ] {
        if let Some(limit) = limits.get_mut(kind as usize) {
            *limit = Rlimit { rlim_cur: now, rlim_max: max };
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn what_is_stated_holds_as_far_as_there_is_so_much() {
        let mut params = ProgramParams { umask: 0o1077, group_count: 2, ..ProgramParams::new_zeroed() };
        params.groups[..3].copy_from_slice(&[9, 4, 3]);
        (params.stated_limits, params.limits[7], params.limits[4]) = (0b1001_0000, [99, u64::MAX], [7, 7]);
        let folders = [b"r/a".to_vec(), b"w/b".to_vec(), Vec::new()].into_iter();
        let setting = Setting::new(&params, [b"box".to_vec(), b"dom".to_vec()], folders);
        let told: Vec<(&[u8], bool)> =
            setting.folders.iter().map(|folder| (folder.place.as_slice(), folder.writable)).collect();
        assert_eq!(told, [(b"/a".as_slice(), false), (b"/b", true)]);
        assert_eq!((setting.groups.as_slice(), setting.umask), ([4, 9].as_slice(), 0o77));
        let limit = |kind: usize| (setting.limits[kind].rlim_cur, setting.limits[kind].rlim_max);
        assert_eq!((limit(7), limit(4), limit(3)), ((99, MAX_FILES), (7, 7), (8 << 20, u64::MAX)));
        params.limits[7] = [u64::MAX, u64::MAX];
        let setting = Setting::new(&params, [Vec::new(), Vec::new()], core::iter::empty());
        assert_eq!(setting.limits[7].rlim_cur, MAX_FILES);
    }
}
