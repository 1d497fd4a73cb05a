//! Several files as one that says the same, without comments.
use super::files::Part;
use super::{model, values};
use std::collections::BTreeSet;
use toml::{Table, Value};

/// One text for all files: the only one as it is, or what they come to together.
pub(super) fn flatten(parts: &[Part]) -> Result<String, String> {
    if let [only] = parts {
        return Ok(only.text.clone());
    }
    let mut whole = Table::new();
    let mut decided = BTreeSet::new();
    for part in parts {
        let mut table = values::table(values::parse(&part.text)?.get_ref())?;
        table.remove("include");
        part.make_absolute(&mut table);
        if let Some(Value::Array(rules)) = table.get_mut("rule") {
            // What another file has decided is an error in one file.
            rules.retain_mut(|rule| leaves_something(rule, &decided));
            decided.extend(rules.iter().flat_map(decides));
        }
        lay_under(&mut whole, table);
    }
    if whole.get("rule").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        whole.remove("rule");
    }
    keep_first_default(&mut whole);
    let text = toml::to_string(&whole).map_err(|error| error.to_string())?;
    let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
    Ok(format!("# Made by `cargo xtask policy convert` from {}.\n{text}", names.join(", ")))
}

/// Of several entries of `files` that say what holds for all other paths the first one counts.
fn keep_first_default(whole: &mut Table) {
    let mut stated = false;
    if let Some(Value::Array(entries)) = whole.get_mut("files") {
        entries.retain(|entry| entry.get("default").is_none() || !std::mem::replace(&mut stated, true));
    }
}

/// Takes from a rule the calls that are decided. Whether any are left.
fn leaves_something(rule: &mut Value, decided: &BTreeSet<u32>) -> bool {
    let Some(Value::Array(calls)) = rule.get_mut("calls") else { return true };
    calls.retain(|entry| model::numbers(entry).iter().any(|call| !decided.contains(call)));
    !calls.is_empty()
}

/// The calls of which a rule leaves nothing.
fn decides(rule: &Value) -> Vec<u32> {
    match (rule.get("when"), rule.get("calls")) {
        (None, Some(Value::Array(calls))) => calls.iter().flat_map(model::numbers).collect(),
        _ => Vec::new(),
    }
}

/// Adds what an included file says to what is said: lists of tables grow, tables get the keys that they lack, and everything else stays as it
/// was stated first.
fn lay_under(whole: &mut Table, more: Table) {
    for (key, value) in more {
        match (whole.get_mut(&key), value) {
            (None, value) => drop(whole.insert(key, value)),
            (Some(Value::Table(table)), Value::Table(more)) if key != "default" && key != "network" => {
                lay_under(table, more)
            }
            (Some(Value::Array(all)), Value::Array(more)) if all.iter().chain(&more).all(Value::is_table) => {
                all.extend(more);
            }
            (Some(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_says_the_same() {
        let first = "version = 1\ninclude = [\"b\"]\n[[rule]]\ncalls = [\"read\"]\naction = \"kill\"\n[[rule]]\ncalls = [\"open\"]\nwhen = [{ arg = 1, op = \"==\", value = 1 }]\naction = { fake = 3 }\n";
        let second = "version = 1\ndefault = { errno = \"EIO\" }\n[[rule]]\ncalls = [\"read\", \"write\"]\naction = \"allow\"\n[[rule]]\ncalls = [\"read\"]\naction = \"allow\"\n[[rule]]\ncalls = [\"@basic-io\", \"open\"]\naction = \"log\"\n";
        let third = "version = 1\ndefault = \"kill\"\n";
        let parts = [("a", first), ("b", second), ("c", third)].map(|(name, text)| Part::native(name, text));
        let flat = flatten(&parts).unwrap();
        assert!(
            flat.starts_with("# Made by `cargo xtask policy convert` from a, b, c.\n") && !flat.contains("include")
        );
        let files = parts.each_ref().map(|part| policy::File { name: &part.name, text: &part.text });
        let (apart, together) = (policy::parse_files(&files).unwrap(), policy::parse("flat", &flat).unwrap());
        assert_eq!(together.rule_count(), 4);
        for call in 0..500 {
            for args in [[0; 6], [1; 6]] {
                let (one, other) = (apart.judge(call, &args), together.judge(call, &args));
                assert_eq!((one.action, one.log), (other.action, other.log), "{call}");
            }
        }
        assert_eq!(flatten(&[Part::native("x", "# as it is")]).unwrap(), "# as it is");
    }
}
