//! Records of PAX extended headers (POSIX.1-2017, pax, "pax Extended Header"): `LENGTH KEY=VALUE\n`, with the length counting all of it.
//! Values are bytes: they may hold newlines and NULs, as extended attributes and names do.

/// A record: key and value.
pub(crate) type Record<'a> = (&'a [u8], &'a [u8]);

/// Most digits of a length.
const MAX_DIGITS: usize = 10;

/// Appends a record.
pub(crate) fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // A blank, the equals sign and the newline.
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    records.extend_from_slice(len.to_string().as_bytes());
    for part in [b" ", key, b"=", value, b"\n"] {
        records.extend_from_slice(part);
    }
}

/// Takes the first record, and what follows it. `None`: it is none.
pub(crate) fn split_first(records: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let digits = records.iter().take(MAX_DIGITS + 1).position(|&byte| byte == b' ')?;
    let len: usize = std::str::from_utf8(records.get(..digits)?).ok()?.parse().ok()?;
    let (record, rest) = records.split_at_checked(len)?;
    let record = record.get(digits + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    Some(((record.get(..equals)?, record.get(equals + 1..)?), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_their_own_digits() {
        for len in (0..200).chain([985, 990, 995, 9_990, 100_000]) {
            let value = vec![b'\n'; len];
            let mut records = Vec::new();
            push(&mut records, b"key", &value);
            push(&mut records, b"x", b"=");
            let (first, rest) = split_first(&records).unwrap();
            assert_eq!(first, (&b"key"[..], value.as_slice()));
            assert_eq!(split_first(rest), Some(((&b"x"[..], &b"="[..]), &b""[..])));
        }
    }

    #[test]
    fn what_is_no_record() {
        for bad in
            ["", "5", "6 a=b", "5 a=b\n", "7 a=b\n", "6 a b\n", "-6 a=b\n", "2 a=b\n", "99999999999 a=b\n", "x a=b\n"]
        {
            assert_eq!(split_first(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
