//! Answers that are to hold for always, as rules of a policy: each stands right before the rule that asked, so that what earlier rules say still comes first.
use super::files::{Part, PolicyFiles};
use super::flatten;
use toml::{Table, Value};

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// The rule that asked, as verdicts name it.
    pub(crate) asker: String,
    /// The rule that answers, as TOML.
    pub(crate) rule: Table,
}

/// A rule: its file and its place among that file's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    part: usize,
    index: usize,
}

impl PolicyFiles {
    /// One text that says what this policy says, but for the answers.
    pub(crate) fn answered(&self, answers: &[Answered]) -> Result<String, String> {
        let parts = self.parts();
        let mut tables = Vec::new();
        for part in parts {
            tables.push(part.table()?);
        }
        let mut placed: Vec<(Place, &Table)> = Vec::new();
        for Answered { asker, rule } in answers {
            let place = place(parts, asker).ok_or_else(|| format!("there is no {asker} in the policy"))?;
            placed.push((place, rule));
        }
        // From behind, so that places stay what they are.
        placed.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
        for (Place { part, index }, rule) in placed {
            let Some(table) = tables.get_mut(part) else { continue };
            let rules = table.entry("rule").or_insert_with(|| Value::Array(Vec::new()));
            let rules = rules.as_array_mut().ok_or("`rule` is no array")?;
            rules.insert(index.min(rules.len()), Value::Table(rule.clone()));
        }
        let mut changed = Vec::new();
        for (part, table) in parts.iter().zip(tables) {
            let text = toml::to_string(&table).map_err(|error| error.to_string())?;
            changed.push(part.with_text(text));
        }
        flatten::flatten(&changed).and_then(|text| flatten::with_comments(&text))
    }
}

/// Where the rule stands that is named so. What is left to the default comes behind all rules.
fn place(parts: &[Part], asker: &str) -> Option<Place> {
    let Some((number, file)) = asker.strip_prefix("rule ").and_then(|rest| rest.split_once(' ')) else {
        return Some(Place { part: parts.len().checked_sub(1)?, index: usize::MAX });
    };
    let folder = parts.first().map_or("", |part| &part.name).rfind(['/', '\\']).map_or(0, |end| end + 1);
    let folder = parts.first().and_then(|part| part.name.get(..folder)).unwrap_or("");
    let is_it = |part: &Part| {
        let label = part.name.strip_prefix(folder).unwrap_or(&part.name);
        file.strip_prefix(label).is_some_and(|rest| rest.starts_with(':'))
    };
    Some(Place { part: parts.iter().position(is_it)?, index: number.parse::<usize>().ok()?.checked_sub(1)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::errno::{EACCES, EPERM};
    use policy::{Action, Pointed, Settlement};

    const MAIN: &str = "version = 1\ninclude = [\"more.toml\"]\n[[rule]]\ncalls = [\"write\"]\nwhen = [{ prefix = \"secret\" }]\naction = { errno = \"EACCES\" }\n[[rule]]\ncalls = [\"write\"]\naction = \"ask\"\n";
    const MORE: &str = "version = 1\ndefault = \"ask\"\n[[rule]]\ncalls = [\"read\"]\naction = \"ask\"\n[[rule]]\ncalls = [\"close\"]\naction = \"allow\"\n";

    fn answer(asker: &str, rule: &str) -> Answered {
        Answered { asker: asker.to_owned(), rule: rule.parse().unwrap() }
    }

    #[test]
    fn answers_stand_before_the_rules_that_asked() {
        let parts = [Part::native("dir/main.toml", MAIN), Part::native("dir/more.toml", MORE)];
        let files = PolicyFiles::of_parts(parts.to_vec());
        let one = "when = [{ arg = 0, op = \"==\", value = 1 }]\naction = \"allow\"";
        let text = files
            .answered(&[
                answer("rule 2 main.toml:7", &format!("calls = [\"write\"]\n{one}")),
                answer("rule 1 more.toml:3: why", &format!("calls = [\"read\"]\n{one}")),
                answer("default", "calls = [\"getpid\"]\naction = \"allow\""),
            ])
            .unwrap();
        let policy = policy::parse("p", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let judged = |call: u64, first: u64, content: &'static [u8]| {
            let mut pointed = Pointed::NOTHING;
            pointed.set_content(content);
            policy.about(call).judge(&[first, 0, 0, 0, 0, 0], &pointed).action
        };
        assert_eq!(judged(1, 1, b"hello"), Action::Allow);
        assert_eq!(judged(1, 2, b"hello"), Action::Ask);
        assert_eq!(judged(1, 1, b"secret"), Action::Errno(EACCES), "what stood before still does");
        assert_eq!([judged(0, 1, b""), judged(0, 2, b"")], [Action::Allow, Action::Ask]);
        assert_eq!([judged(39, 0, b""), judged(3, 0, b"")], [Action::Allow; 2]);
        assert_eq!(policy.judge(2, &[0; 6]).question().map(|asked| asked.otherwise), Some(Settlement::Errno(EPERM)));
        assert!(files.answered(&[answer("rule 1 other.toml:3", one)]).is_err());
    }
}
