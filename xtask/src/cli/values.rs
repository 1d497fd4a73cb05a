//! What options say: sizes of memory, times, commands.
use policy::quotas::{MAX_MEMORY, MIN_MEMORY};
use std::ffi::OsString;

/// Memory of a sandbox for which none is asked, in bytes, where this machine has twice as much.
const DEFAULT_MEMORY: u64 = 1 << 30;

/// The words of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words(pub(crate) Vec<OsString>);

/// The default for each of so many sandboxes, where this machine has `host` bytes of memory.
pub(super) fn default_memory(host: u64, sandboxes: usize) -> u64 {
    let share = host / 2 / u64::try_from(sandboxes).unwrap_or(u64::MAX).max(1);
    DEFAULT_MEMORY.min(share - share % (1 << 20)).max(MIN_MEMORY)
}

/// Splits a command as a shell does.
pub(super) fn parse_command(text: &str) -> Result<Words, String> {
    let words = shlex::split(text).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| format!("`{text}` is no command: a quote is not closed, or it is empty"))?;
    Ok(Words(words.into_iter().map(OsString::from).collect()))
}

/// Memory of this machine, in bytes.
pub(super) fn host_memory() -> u64 {
    let info = rustix::system::sysinfo();
    let unit = u64::from(info.mem_unit.max(1));
    info.totalram.saturating_mul(unit)
}

/// Reads a memory size: MiB, or bytes with a suffix.
pub(super) fn parse_memory(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((i, 'k' | 'K')) => (&text[..i], 1u64 << 10),
        Some((i, 'm' | 'M')) => (&text[..i], 1 << 20),
        Some((i, 'g' | 'G')) => (&text[..i], 1 << 30),
        _ => (text, 1 << 20),
    };
    let bytes = digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(unit))
        .ok_or_else(|| format!("`{text}` is not a memory size; write for example 64M or 1G"))?;
    if !(MIN_MEMORY..=MAX_MEMORY).contains(&bytes) {
        return Err(format!("{text} is out of range; a sandbox has 4M to 256G of memory"));
    }
    Ok(bytes / 4096 * 4096)
}

/// Reads a number of seconds, with a fraction or without, as milliseconds.
pub(super) fn parse_seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a time; write seconds above 0, for example 10 or 0.5");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return Err(wrong());
    }
    let millis: u64 = format!("{whole}{fraction:0<3}").parse().map_err(|_| wrong())?;
    // A day is far beyond any use and keeps all later arithmetic small.
    if millis == 0 || millis > 86_400_000 {
        return Err(wrong());
    }
    Ok(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_memory_is_no_more_than_half_of_what_there_is() {
        assert_eq!(default_memory(64 << 30, 1), 1 << 30);
        assert_eq!(default_memory((1 << 30) + 4097, 1), 512 << 20);
        assert_eq!(default_memory(8 << 30, 200), 20 << 20);
        assert_eq!(default_memory(0, 0), MIN_MEMORY);
        assert!(host_memory() > MIN_MEMORY);
    }

    #[test]
    fn memory_sizes() {
        assert_eq!(parse_memory("64"), Ok(64 << 20));
        assert_eq!(parse_memory("64M"), Ok(64 << 20));
        assert_eq!(parse_memory("1g"), Ok(1 << 30));
        assert_eq!(parse_memory("8192K"), Ok(8 << 20));
        for bad in ["", "M", "x", "1", "-5M", "99999G", "18446744073709551615G"] {
            assert!(parse_memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(parse_seconds("10"), Ok(10_000));
        assert_eq!(parse_seconds("0.5"), Ok(500));
        assert_eq!(parse_seconds("1.25"), Ok(1_250));
        for bad in ["", "0", "0.0", "-1", "1e3", "1.2345", "x", "999999999999999999999"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }
}
