//! `/dev`, which the shim answers itself: the devices that every program counts on.

/// A node of `/dev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The directory.
    Directory,
    /// Discards writes, reads as empty.
    Null,
    /// Discards writes, reads as zeros.
    Zero,
    /// Refuses writes (ENOSPC), reads as zeros.
    Full,
    /// Random bytes.
    Random,
    /// Random bytes.
    Urandom,
    /// The terminal of the process' session, if it has one.
    Tty,
    /// The console, if it is a terminal.
    Console,
    /// Where pseudoterminals come from.
    Ptmx,
    /// The directory of pseudoterminals.
    Terminals,
    /// A pseudoterminal.
    Terminal(u32),
    /// A symbolic link.
    Link(&'static str),
}

/// The names in `/dev`.
pub const NAMES: &[(&str, Device)] = &[
    ("console", Device::Console),
    ("fd", Device::Link("/proc/self/fd")),
    ("full", Device::Full),
    ("null", Device::Null),
    ("ptmx", Device::Ptmx),
    ("pts", Device::Terminals),
    ("random", Device::Random),
    // Memory that processes share by name lies with the temporary files, which are in memory as well.
    ("shm", Device::Link("/tmp")),
    ("stderr", Device::Link("/proc/self/fd/2")),
    ("stdin", Device::Link("/proc/self/fd/0")),
    ("stdout", Device::Link("/proc/self/fd/1")),
    ("tty", Device::Tty),
    ("urandom", Device::Urandom),
    ("zero", Device::Zero),
];

/// The device with this name.
#[must_use]
pub fn find(name: &[u8]) -> Option<Device> {
    NAMES.iter().find(|(known, _)| known.as_bytes() == name).map(|&(_, device)| device)
}

/// Major number of pseudoterminals.
const TERMINAL_MAJOR: u64 = 136;
/// The group that terminals belong to (`tty`).
pub const TTY_GROUP: u32 = 5;

impl Device {
    /// It is a directory.
    #[must_use]
    pub fn is_directory(self) -> bool {
        matches!(self, Self::Directory | Self::Terminals)
    }
}

/// Its device number, as Linux packs it.
#[must_use]
pub fn number(device: Device) -> u64 {
    match device {
        Device::Null => 0x103,
        Device::Zero => 0x105,
        Device::Full => 0x107,
        Device::Random => 0x108,
        Device::Urandom => 0x109,
        Device::Tty => 0x500,
        Device::Console => 0x501,
        Device::Ptmx => 0x502,
        // Bits 8 and up of a minor number stand above the major one.
        Device::Terminal(number) => {
            let number = u64::from(number);
            TERMINAL_MAJOR << 8 | number & 0xff | (number & !0xff) << 12
        }
        Device::Directory | Device::Terminals | Device::Link(_) => 0,
    }
}
