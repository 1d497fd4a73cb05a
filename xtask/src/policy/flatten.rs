//! Several files as one that says the same, without their comments.
use super::files::{FROM, Part};
use super::{model, native};
use policy::environment::stands_for;
use std::collections::BTreeSet;
use toml::{Table, Value};

/// One text for all files: the only one as it is, or what they come to together, with comments that say where rules come from.
pub(super) fn flatten(parts: &[Part]) -> Result<String, String> {
    if let [only] = parts {
        return Ok(only.text.clone());
    }
    let text = toml::to_string(&whole(parts)?).map_err(|error| error.to_string())?;
    let names: Vec<String> = parts.iter().map(|part| policy::shown(&part.name)).collect();
    with_comments(&format!("# Made by `cargo xtask policy convert` from {}.\n{text}", names.join(", ")))
}

/// What all files come to, each rule with where it comes from in its reason.
pub(super) fn with_reasons(parts: &[Part]) -> Result<Table, String> {
    let mut whole = whole(parts)?;
    for rule in
        whole.get_mut("rule").and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_table_mut)
    {
        let Some(Value::String(from)) = rule.remove(FROM) else { continue };
        let reason = rule.get("reason").and_then(Value::as_str);
        let text = reason.map_or_else(|| from.clone(), |reason| format!("{from}: {reason}"));
        rule.extend(native::reason(&text).map(|reason| ("reason".to_owned(), Value::String(reason))));
    }
    Ok(whole)
}

/// A text with comments for [`FROM`].
pub(super) fn with_comments(text: &str) -> Result<String, String> {
    let key = toml::to_string(&Table::from_iter([(FROM.to_owned(), Value::Boolean(true))]));
    let key = key.map_err(|error| error.to_string())?;
    let key = key.split(" = ").next().unwrap_or(FROM);
    let line = |line: &str| {
        let Some(value) = line.strip_prefix(key).filter(|value| value.starts_with(" = ")) else {
            return Ok(line.to_owned());
        };
        let from: Table = toml::from_str(&format!("from{value}")).map_err(|error| error.message().to_owned())?;
        Ok(format!("# {}\n", from.get("from").and_then(Value::as_str).unwrap_or("")))
    };
    text.split_inclusive('\n').map(line).collect()
}

/// What all files come to.
fn whole(parts: &[Part]) -> Result<Table, String> {
    let mut whole = Table::new();
    let mut decided = BTreeSet::new();
    for part in parts {
        let mut table = part.table()?;
        table.remove("include");
        if let Some(Value::Array(rules)) = table.get_mut("rule") {
            // What another file has decided is an error in one file.
            rules.retain_mut(|rule| leaves_something(rule, &decided));
            decided.extend(rules.iter().flat_map(decides));
        }
        keep_environment(&whole, &mut table).map_err(|why| format!("{}: {why}", part.name))?;
        lay_under(&mut whole, table);
    }
    if whole.get("rule").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        whole.remove("rule");
    }
    keep_first_default(&mut whole);
    Ok(whole)
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

/// The lists of names in `env` of `[process]`, in the order in which they decide in one file, and behind the values.
const NAMES: [&str; 2] = ["unset", "pass"];

/// Takes from the `env` of an included file the variables that are decided.
fn keep_environment(whole: &Table, more: &mut Table) -> Result<(), String> {
    let env = whole.get("process").and_then(|process| process.get("env")).and_then(Value::as_table);
    let more = more.get_mut("process").and_then(|process| process.get_mut("env")).and_then(Value::as_table_mut);
    let (Some(env), Some(more)) = (env, more) else { return Ok(()) };
    let values = env.get("set").and_then(Value::as_table).into_iter().flat_map(Table::keys).map(String::as_str);
    let known: Vec<&str> = values.chain(NAMES.iter().flat_map(|key| names(env, key))).collect();
    let is_decided = |name: &str| known.iter().any(|known| *known == name || stands_for(known, name.as_bytes()));
    if let Some(set) = more.get_mut("set").and_then(Value::as_table_mut) {
        set.retain(|name, _| !is_decided(name));
    }
    for key in NAMES {
        if let Some(Value::Array(list)) = more.get_mut(key) {
            list.retain(|name| name.as_str().is_none_or(|name| !is_decided(name)));
        }
    }
    // What is left out is so before what is passed on, in one file.
    let both = names(env, "pass").flat_map(|passed| names(more, "unset").map(move |unset| (passed, unset)));
    match both.into_iter().find(|(passed, unset)| may_meet(passed, unset)) {
        None => Ok(()),
        Some((passed, unset)) => Err(format!(
            "`unset` {unset:?} may be about variables that an earlier file passes on by {passed:?}; one file cannot say that: write the names out"
        )),
    }
}

/// The names in a list of `env`.
fn names<'t>(env: &'t Table, key: &str) -> impl Iterator<Item = &'t str> {
    env.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// Whether two lists of names, each with a `*`, may have a variable in common: what they begin with fits together, and what they end with.
fn may_meet(one: &str, other: &str) -> bool {
    let (Some((start, _)), Some((_, end))) = (one.split_once('*'), one.rsplit_once('*')) else {
        return stands_for(other, one.as_bytes());
    };
    let (Some((other_start, _)), Some((_, other_end))) = (other.split_once('*'), other.rsplit_once('*')) else {
        return stands_for(one, other.as_bytes());
    };
    let starts = start.starts_with(other_start) || other_start.starts_with(start);
    starts && (end.ends_with(other_end) || other_end.ends_with(end))
}

/// Adds what an included file says to what is said: lists of tables grow, tables get the keys that they lack, the lists of variables grow, and everything
/// else stays as it was stated first.
fn lay_under(whole: &mut Table, more: Table) {
    for (key, value) in more {
        match (whole.get_mut(&key), value) {
            (None, value) => drop(whole.insert(key, value)),
            (Some(Value::Table(table)), Value::Table(more)) if key != "default" && key != "network" => {
                lay_under(table, more)
            }
            (Some(Value::Array(all)), Value::Array(more))
                if NAMES.contains(&key.as_str()) || all.iter().chain(&more).all(Value::is_table) =>
            {
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
        let files = parts.each_ref().map(|part| policy::File::new(&part.name, &part.text));
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

    /// Both of two files, the second of which is included by the first, and the one that is made of them.
    fn environments(first: &str, second: &str) -> Result<[policy::Policy; 2], String> {
        let text = |more: &str, env: &str| format!("version = 1\n{more}[process]\nenv = {{ {env} }}\n");
        let texts = [text("include = [\"b\"]\n", first), text("", second)];
        let parts = [Part::native("a", &texts[0]), Part::native("b", &texts[1])];
        let flat = flatten(&parts)?;
        let files = parts.each_ref().map(|part| policy::File::new(&part.name, &part.text));
        Ok([policy::parse_files(&files).unwrap(), policy::parse("flat", &flat).unwrap()])
    }

    #[test]
    fn variables_are_as_in_the_files() {
        let first = "set = { A = \"1\" }, unset = [\"B\", \"*_KEY\"], pass = [\"C\", \"LC_*\"]";
        let second = "set = { A = \"2\", LC_C = \"2\", D_KEY = \"2\", E = \"2\" }, unset = [\"LC_ALL\", \"F*\", \"C\"], pass = [\"B\", \"*_KEY\", \"G\"], allow = [\"H\"]";
        let [apart, together] = environments(first, second).unwrap();
        for name in ["A", "B", "C", "D_KEY", "E", "F", "FX", "G", "H", "I", "LC_ALL", "LC_C", "LC_TIME", "X_KEY"] {
            assert_eq!(apart.process().env.of(name.as_bytes()), together.process().env.of(name.as_bytes()), "{name}");
        }
        assert!(environments("pass = [\"A*\"]", "unset = [\"B*\"]").is_ok());
        let error = environments("pass = [\"A*\"]", "unset = [\"*B\"]").unwrap_err();
        assert!(error.starts_with("b: `unset` \"*B\" may be about variables"), "{error}");
    }
}
