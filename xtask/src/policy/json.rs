//! Our own language as JSON: the same keys and values.
//!
//! A JSON text is made to TOML byte for byte: the outermost braces become blanks, the commas between outermost members ends of lines, and colons
//! equals signs. So every byte of the one is in the same place in the other, by which errors of our reader name the place in the JSON text. For each
//! line that begins where the JSON text has none, the next that it does have is left out: what begins a line there is in the same line here.
use super::position::{Lines, Position};
use super::{Native, values};
use serde::Serialize;
use toml::de::{DeArray, DeTable, DeValue};

/// Objects and arrays within one another, at most.
const MAX_DEPTH: usize = 32;

/// The TOML text that a JSON text stands for: as many bytes. Errors begin with line and column.
pub(super) fn to_toml(text: &str) -> Result<String, String> {
    // The JSON is known to be good after this, so that what follows need not look for its errors.
    let whole: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("{}: {error}", Position::of_json(&error)))?;
    if !whole.is_object() {
        return Err("1:1: a policy is an object".into());
    }
    let refuse = |at: usize, why: &str| Err(format!("{}: {why}", Position::of_offset(text, at)));
    let (mut toml, mut depth, mut quoted, mut escaped) = (Vec::with_capacity(text.len()), 0_usize, false, false);
    let mut lines_ahead = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        let opens = matches!(byte, b'{' | b'[') && !quoted;
        let closes = matches!(byte, b'}' | b']') && !quoted;
        depth += usize::from(opens);
        if depth > MAX_DEPTH {
            return refuse(at, "this is nested too deeply");
        }
        let is_outermost = depth == 1;
        depth -= usize::from(closes);
        toml.push(match byte {
            _ if escaped => {
                escaped = false;
                if byte == b'/' {
                    return refuse(at, "write `/` without a backslash");
                }
                byte
            }
            b'\\' if quoted => {
                escaped = true;
                byte
            }
            b'"' => {
                quoted = !quoted;
                byte
            }
            _ if quoted => byte,
            b'{' | b'}' if is_outermost => b' ',
            b',' if is_outermost => {
                lines_ahead += 1;
                b'\n'
            }
            b'\n' if lines_ahead > 0 => {
                lines_ahead -= 1;
                b' '
            }
            b':' => b'=',
            // TOML knows this end of a line only together with the other one.
            b'\r' => b' ',
            b'n' if text.get(at..).is_some_and(|rest| rest.starts_with("null")) => {
                return refuse(at, "there is no null in a policy; leave the key out");
            }
            other => other,
        });
    }
    String::from_utf8(toml).map_err(|_| "1:1: not UTF-8".to_owned())
}

/// The TOML text, and where in the JSON text that stands of which verdicts name the place.
pub(super) fn to_native(json: &str) -> Result<Native, String> {
    let text = to_toml(json)?;
    let mut found = Values { lines: Lines::new(json), origins: Vec::new() };
    // What is no TOML is refused where it is read.
    if let Ok(document) = values::parse(&text) {
        found.table(document.get_ref());
    }
    let mut origins = found.origins;
    origins.sort_by_key(|origin| origin.at);
    Ok(Native { text, origins, ..Native::default() })
}

/// The places of values, in a text that has the same bytes in the same places.
struct Values<'t> {
    lines: Lines<'t>,
    origins: Vec<policy::Origin>,
}

impl Values<'_> {
    fn table(&mut self, table: &DeTable<'_>) {
        for value in table.values() {
            self.add(value.span().start, false);
            match value.get_ref() {
                DeValue::Table(table) => self.table(table),
                DeValue::Array(entries) => self.entries(entries),
                _ => {}
            }
        }
    }

    /// Rules and the like: with a column where one begins in a line in which there is another.
    fn entries(&mut self, entries: &DeArray<'_>) {
        let starts: Vec<usize> =
            entries.iter().filter(|entry| entry.get_ref().is_table()).map(|entry| entry.span().start).collect();
        let lines: Vec<usize> = starts.iter().map(|start| self.lines.of_offset(*start).line).collect();
        for (index, start) in starts.iter().enumerate() {
            let beside = [index.checked_sub(1), Some(index + 1)].map(|index| index.and_then(|index| lines.get(index)));
            self.add(*start, beside.contains(&lines.get(index)));
        }
    }

    fn add(&mut self, at: usize, narrow: bool) {
        let place = self.lines.of_offset(at);
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (line, column) = (number(place.line), number(place.column));
        self.origins.push(policy::Origin { at: number(at), file: 0, line, column, narrow });
    }
}

/// A policy of our language as JSON.
pub(super) fn of_toml(text: &str) -> Result<String, String> {
    let value: serde_json::Value = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    of(&value)
}

/// The same of what says it.
pub(super) fn of(value: &impl Serialize) -> Result<String, String> {
    serde_json::to_string_pretty(value).map(|json| json + "\n").map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "{\"version\": 1, \"default\": {\"errno\": \"EACCES\"},\r\n \"rule\": [\n  {\"calls\": [\"read\", 1], \"action\": \"allow\", \"reason\": \"a, {b}: \\\"c\\\"\",\n   \"when\": [{\"arg\": 0, \"op\": \"==\", \"value\": 3}]}]\n}\n";

    #[test]
    fn both_forms_mean_the_same() {
        let toml = to_toml(JSON).unwrap();
        assert_eq!(toml.len(), JSON.len());
        let policy = policy::parse("p", &toml).unwrap();
        let verdict = policy.judge(0, &[3, 0, 0, 0, 0, 0]);
        assert_eq!((verdict.action, verdict.rule().reason), (policy::Action::Allow, Some("a, {b}: \"c\"")));
        let again = to_toml(&of_toml(&toml).unwrap()).unwrap();
        assert_eq!(policy::parse("p", &again).unwrap().judge(0, &[3, 0, 0, 0, 0, 0]).action, policy::Action::Allow);
        assert!(matches!(policy.judge(0, &[0; 6]).action, policy::Action::Errno(errno) if errno.name == "EACCES"));
    }

    #[test]
    fn places_are_those_of_the_json_text() {
        let json = "{\"version\": 1, \"rule\": [\n  {\"calls\": [\"raed\"], \"action\": \"allow\"}]}";
        let error = policy::parse("p", &to_toml(json).unwrap()).unwrap_err();
        assert_eq!(Position::of_offset(json, error.at), Position { line: 2, column: 14 });
    }

    #[test]
    fn what_cannot_be_a_policy_is_refused() {
        let error = |text: &str| to_toml(text).unwrap_err();
        assert!(error("{\"version\": 1,}").starts_with("1:15: "));
        assert_eq!(error("[]"), "1:1: a policy is an object");
        assert!(error("{\"a\": null}").starts_with("1:7: there is no null"));
        assert!(error("{\"a\": \"\\/\"}").starts_with("1:9: write `/`"));
        assert!(error(&format!("{{\"a\": {}1{}}}", "[".repeat(40), "]".repeat(40))).contains("too deeply"));
    }
}
