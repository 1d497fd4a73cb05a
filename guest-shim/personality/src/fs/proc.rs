//! `/proc`, as far as start-up code counts on it: `self` with its links and a few texts.

/// A node of `/proc`. There is one process now; its number is part of the node, so that more can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcNode {
    /// `/proc`.
    Root,
    /// `/proc/self`.
    SelfLink,
    /// `/proc/N`.
    Process,
    /// `/proc/N/exe`.
    Exe,
    /// `/proc/N/cwd`.
    Cwd,
    /// `/proc/N/root`.
    RootLink,
    /// `/proc/N/cmdline`.
    CommandLine,
    /// `/proc/N/comm`.
    Name,
    /// `/proc/N/maps`.
    Maps,
    /// `/proc/N/fd`.
    Descriptors,
    /// `/proc/N/fd/M`.
    Descriptor(u32),
}

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
            Self::Root | Self::Process | Self::Descriptors => ProcKind::Directory,
            Self::SelfLink | Self::Exe | Self::Cwd | Self::RootLink | Self::Descriptor(_) => ProcKind::Link,
            Self::CommandLine | Self::Name | Self::Maps => ProcKind::Text,
        }
    }

    /// An inode number: distinct, and outside the root's range.
    #[must_use]
    pub fn inode(self) -> u64 {
        let low = match self {
            Self::Root => 1,
            Self::SelfLink => 2,
            Self::Process => 3,
            Self::Exe => 4,
            Self::Cwd => 5,
            Self::RootLink => 6,
            Self::CommandLine => 7,
            Self::Name => 8,
            Self::Descriptors => 9,
            Self::Maps => 10,
            Self::Descriptor(number) => 0x100 + u64::from(number),
        };
        0xf000_0000 + low
    }
}

/// Names in `/proc/N`, except the numbers in `fd`.
pub const NAMES: &[(&str, ProcNode)] = &[
    ("cmdline", ProcNode::CommandLine),
    ("comm", ProcNode::Name),
    ("cwd", ProcNode::Cwd),
    ("exe", ProcNode::Exe),
    ("fd", ProcNode::Descriptors),
    ("maps", ProcNode::Maps),
    ("root", ProcNode::RootLink),
];

/// A decimal number without sign or leading zero.
#[must_use]
pub fn parse_number(name: &[u8]) -> Option<u32> {
    if name.is_empty() || name.len() > 9 || (name.len() > 1 && name.first() == Some(&b'0')) {
        return None;
    }
    name.iter().try_fold(0_u32, |value, &byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))
}
