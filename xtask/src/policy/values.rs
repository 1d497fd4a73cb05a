//! A text of our language as values, for those who look at what it says instead of compiling it.
use toml::de::{DeArray, DeInteger, DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// A text's table, with its places.
pub(super) fn parse(text: &str) -> Result<Spanned<DeTable<'_>>, String> {
    DeTable::parse(text).map_err(|error| error.message().to_owned())
}

/// The same without its places.
pub(super) fn table(table: &DeTable<'_>) -> Result<Table, String> {
    table.iter().map(|(key, entry)| Ok((key.get_ref().to_string(), value(entry.get_ref())?))).collect()
}

/// One value.
pub(super) fn value(given: &DeValue<'_>) -> Result<Value, String> {
    Ok(match given {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => Value::Integer(integer(number)?),
        DeValue::Float(number) => Value::Float(number.as_str().parse().map_err(|_| "a bad number")?),
        DeValue::Boolean(truth) => Value::Boolean(*truth),
        DeValue::Datetime(time) => Value::Datetime(*time),
        DeValue::Array(entries) => Value::Array(array(entries)?),
        DeValue::Table(entries) => Value::Table(table(entries)?),
    })
}

fn array(entries: &DeArray<'_>) -> Result<Vec<Value>, String> {
    entries.iter().map(|entry| value(entry.get_ref())).collect()
}

/// The language knows numbers of 64 bits with a sign and without one, and [`Value`] only the former: the others get the same bits, which mean
/// the same wherever so large a number fits.
fn integer(number: &DeInteger<'_>) -> Result<i64, String> {
    let (text, radix) = (number.as_str(), number.radix());
    i64::from_str_radix(text, radix)
        .or_else(|_| u64::from_str_radix(text, radix).map(u64::cast_signed))
        .map_err(|_| format!("{text} has more than 64 bits"))
}

/// The bytes that these digits are; spaces may stand between them.
pub(crate) fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.split_ascii_whitespace().collect();
    let pairs = digits.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value() {
        let text = "a = [0xffff_ffff_ffff_fffe, -3, 0o17, 1.5, true]\n[b]\nc = \"d\"\n";
        let read = table(parse(text).unwrap().get_ref()).unwrap();
        assert_eq!(toml::to_string(&read).unwrap(), "a = [-2, -3, 15, 1.5, true]\n\n[b]\nc = \"d\"\n");
        assert!(table(parse("a = 18446744073709551616").unwrap().get_ref()).is_err());
    }
}
