//! Numbers and their names, wherever they come from: `0x10`, `O_RDONLY`, `AF_UNIX`, `EPERM`.
use policy::errno::Errno;
use policy::signature::{self, Kind, Place};
use proto::syscalls::SYSCALLS;

/// The number that a name stands for: in this place of this call, or else in any argument of any call.
pub(super) fn named(name: &str, call: u32, place: Place) -> Option<u64> {
    let symbols = |number: u32, place: Place| signature::of(number.into())?.kind(place)?.symbols()?.value(name);
    let anywhere =
        || SYSCALLS.iter().find_map(|call| (0..6).find_map(|argument| symbols(call.number, Place::argument(argument))));
    symbols(call, place).or_else(anywhere)
}

/// A number as in C: decimal, hexadecimal or octal, with a sign or not.
pub(super) fn number(word: &str) -> Option<u64> {
    let (negative, digits) = word.strip_prefix('-').map_or((false, word), |digits| (true, digits));
    let value = match digits.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok()?,
        None if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(digits, 8).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { value.wrapping_neg() } else { value })
}

/// The number of an error, by name or as a number.
pub(super) fn errno(text: &str) -> Option<u16> {
    let number = Errno::by_name(text).map(|errno| errno.number).or_else(|| text.parse().ok());
    number.filter(|number| *number <= 4095)
}

/// The names of a number, joined by `|`, if all of it has some.
pub(crate) fn names(kind: Kind, value: u64) -> Option<String> {
    let (Kind::Named(symbols) | Kind::LongNamed(symbols)) = kind else { return None };
    let mut names = String::new();
    symbols.write(&mut names, value).ok()?;
    let is_named = !names.is_empty() && names.split('|').all(|name| symbols.value(name).is_some());
    is_named.then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_the_argument_first_and_then_anywhere() {
        assert_eq!(named("O_RDWR", 257, Place::argument(2)), Some(2));
        assert_eq!(named("PROT_NONE", 9, Place::argument(2)), Some(0));
        assert_eq!(named("AF_UNIX", 0, Place::argument(0)), Some(1));
        assert_eq!(named("NO_SUCH", 0, Place::argument(0)), None);
        assert_eq!(named("RESOLVE_BENEATH", 437, Place { argument: 2, field: Some(2) }), Some(8));
        assert_eq!((errno("EBADF"), errno("9"), errno("5000"), errno("EX")), (Some(9), Some(9), None, None));
    }
}
