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
    /// The terminal, if there is one.
    Tty,
    /// A symbolic link.
    Link(&'static str),
}

/// The names in `/dev`.
pub const NAMES: &[(&str, Device)] = &[
    ("fd", Device::Link("/proc/self/fd")),
    ("full", Device::Full),
    ("null", Device::Null),
    ("random", Device::Random),
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
        Device::Directory | Device::Link(_) => 0,
    }
}
