//! Conversions that Rust has no infallible form for, although this target makes them so.

/// `u64` to `usize`: the same width here; saturates anywhere else.
#[must_use]
pub fn index(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The low 32 bits.
#[must_use]
pub const fn low32(value: u64) -> u32 {
    (value & 0xffff_ffff) as u32
}

/// A length as the `u32` of a wire format; saturates.
#[must_use]
pub fn len32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Rounds down to a page.
#[must_use]
pub const fn page_down(value: u64) -> u64 {
    value & !(crate::platform::PAGE - 1)
}

/// Rounds up to a page; `None` when that overflows.
#[must_use]
pub const fn page_up(value: u64) -> Option<u64> {
    match value.checked_add(crate::platform::PAGE - 1) {
        Some(sum) => Some(page_down(sum)),
        None => None,
    }
}
