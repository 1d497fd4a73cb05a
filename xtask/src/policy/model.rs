//! What the rules of a policy in our language say, read once more for those who look at rules instead of verdicts. The text has been
//! found good before.
use super::constants;
use super::files::Part;
use super::samples::Hosts;
use super::sections::{self, Network};
use super::values;
use policy::groups::Group;
use policy::numbers;
pub(super) use policy::numbers::Op;
use policy::signature::{self, Kind, Place};
use policy::structures::Field;
use proto::syscalls;
use std::net::IpAddr;
use toml::de::DeValue;
use toml::{Spanned, Value};

/// Keys of conditions on memory.
const POINTED: [&str; 5] = ["path", "string", "address", "prefix", "contains"];

/// A policy.
pub(super) struct Model {
    /// The action as the text has it.
    pub(super) default: Option<Value>,
    pub(super) rules: Vec<Rule>,
    /// The rules that taints are, with the calls that bring them.
    taints: Vec<Rule>,
    pub(super) network: Option<Network>,
    /// What names of hosts stand for.
    pub(super) hosts: Hosts,
    /// What of the sections seccomp cannot express.
    pub(super) unexpressed: Vec<String>,
}

/// One `[[rule]]`.
pub(super) struct Rule {
    /// File and line.
    pub(super) place: String,
    /// Numbers of calls.
    pub(super) calls: Vec<u32>,
    /// The action as the text has it.
    pub(super) action: Value,
    when: Vec<toml::Table>,
}

/// A comparison as it concerns one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    /// The argument, or a field of the structure that it points to.
    pub(super) place: Place,
    pub(super) op: Op,
    pub(super) value: u64,
    /// The bits that count.
    pub(super) mask: u64,
}

impl Comparison {
    /// The same without its place.
    pub(super) fn number(&self) -> numbers::Comparison {
        numbers::Comparison { mask: self.mask, value: self.value, op: self.op }
    }
}

impl Model {
    /// Reads a policy that is known to be good.
    pub(super) fn read(parts: &[Part]) -> Result<Self, String> {
        let (hosts, unexpressed) = (Hosts::new(), Vec::new());
        let (rules, taints) = (Vec::new(), Vec::new());
        let mut model = Self { default: None, rules, taints, network: None, hosts, unexpressed };
        for part in parts {
            model.add(part).map_err(|why| format!("{}: {why}", part.name))?;
            if model.network.is_none() {
                model.network = Network::read(part)?;
            }
        }
        model.unexpressed = sections::warnings(parts, model.network.as_ref())?;
        Ok(model)
    }

    fn add(&mut self, part: &Part) -> Result<(), String> {
        let document = values::parse(&part.text)?;
        if let (None, Some(default)) = (&self.default, document.get_ref().get("default")) {
            self.default = Some(values::value(default.get_ref())?);
        }
        if let Some(hosts) = document.get_ref().get("hosts").and_then(|hosts| hosts.get_ref().as_table()) {
            self.hosts.extend(values::table(hosts)?.into_iter().map(|(name, addresses)| (name, texts(&addresses))));
        }
        for (key, list) in [("rule", &mut self.rules), ("taint", &mut self.taints)] {
            let rules = document.get_ref().get(key).and_then(|rules| rules.get_ref().as_array());
            for rule in rules.into_iter().flat_map(|rules| rules.iter()) {
                list.push(Rule::read(part, rule)?);
            }
        }
        Ok(())
    }

    /// What has conditions on a call: rules, and taints that it may bring.
    pub(super) fn asking_about(&self, call: u32) -> impl Iterator<Item = &Rule> {
        self.about(call).chain(self.taints.iter().filter(move |taint| taint.calls.contains(&call)))
    }

    /// The rules that name a call, in their order.
    pub(super) fn about(&self, call: u32) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.calls.contains(&call))
    }
}

impl Rule {
    fn read(part: &Part, rule: &Spanned<DeValue<'_>>) -> Result<Self, String> {
        let mut table = match values::value(rule.get_ref())? {
            Value::Table(table) => table,
            _ => return Err("a rule is a table".to_owned()),
        };
        let mut list = |key: &str| match table.remove(key) {
            Some(Value::Array(entries)) => entries,
            _ => Vec::new(),
        };
        let calls = list("calls").iter().flat_map(numbers).collect();
        let when = list("when").into_iter().filter_map(|entry| entry.try_into().ok()).collect();
        // Only taints may leave it out.
        let action = table.remove("action").unwrap_or_else(|| sections::failure("EPERM"));
        Ok(Self { place: part.place(rule.span().start), calls, action, when })
    }

    /// The comparisons of numbers among its conditions, as they concern this call.
    pub(super) fn comparisons(&self, call: u32) -> Vec<Comparison> {
        self.when.iter().filter_map(|table| comparison(table, call)).collect()
    }

    /// Those of them that are about registers.
    pub(super) fn of_registers(&self, call: u32) -> Vec<Comparison> {
        self.comparisons(call).into_iter().filter(|comparison| comparison.place.field.is_none()).collect()
    }

    /// What its conditions ask of memory: the key, the argument if they name one, and the patterns.
    pub(super) fn pointed(&self, call: u32) -> impl Iterator<Item = (&str, Option<u8>, Vec<&Value>)> {
        self.when.iter().filter_map(move |table| pointed(table, call))
    }

    /// Whether it has conditions on something else than numbers.
    pub(super) fn looks_further(&self, call: u32) -> bool {
        self.comparisons(call).len() < self.when.len()
    }

    /// Whether it has conditions on something else than registers.
    pub(super) fn looks_into_memory(&self, call: u32) -> bool {
        self.of_registers(call).len() < self.when.len()
    }
}

/// The calls that an entry of `calls` stands for.
pub(super) fn numbers(entry: &Value) -> Vec<u32> {
    match entry {
        Value::String(name) if name.starts_with('@') => {
            Group::by_name(name).into_iter().flat_map(Group::members).map(|call| call.number).collect()
        }
        Value::String(name) => syscalls::by_name(name).map(|call| call.number).into_iter().collect(),
        Value::Integer(number) => u32::try_from(*number).ok().into_iter().collect(),
        _ => Vec::new(),
    }
}

fn pointed(condition: &toml::Table, call: u32) -> Option<(&str, Option<u8>, Vec<&Value>)> {
    let (key, value) = condition.iter().find(|(key, _)| POINTED.contains(&key.as_str()))?;
    let argument = condition.get("arg").and_then(|argument| place(argument, call)).map(|place| place.argument);
    let patterns = value.as_array().map_or_else(|| vec![value], |patterns| patterns.iter().collect());
    Some((key.as_str(), argument, patterns))
}

/// Which argument or field of a call that is.
fn place(argument: &Value, call: u32) -> Option<Place> {
    match argument {
        Value::Integer(index) => u8::try_from(*index).ok().map(Place::argument),
        Value::String(name) => signature::of(call.into())?.place(name),
        _ => None,
    }
}

/// Addresses of a host.
fn texts(addresses: &Value) -> Vec<IpAddr> {
    let texts = addresses.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.filter_map(|text| text.parse().ok()).collect()
}

fn comparison(table: &toml::Table, call: u32) -> Option<Comparison> {
    let place = place(table.get("arg")?, call)?;
    let number = |key: &str| operand(table.get(key)?, call, place);
    let signature = signature::of(call.into());
    let field = signature.and_then(|signature| signature.field(place)).map(Field::bits);
    let kind = || signature.and_then(|signature| signature.arguments.get(usize::from(place.argument)));
    let bits = table.get("bits").and_then(Value::as_integer).and_then(|bits| u32::try_from(bits).ok());
    let bits = bits.or(field).or_else(|| kind().map(|kind| Kind::bits(*kind))).unwrap_or(64);
    let seen = u64::MAX >> 64_u32.saturating_sub(bits).min(63);
    let (op, mask) = match table.get("op")?.as_str()? {
        "==" => (Op::Equal, seen),
        "!=" => (Op::NotEqual, seen),
        "<" => (Op::Less, seen),
        "<=" => (Op::LessOrEqual, seen),
        ">" => (Op::Greater, seen),
        ">=" => (Op::GreaterOrEqual, seen),
        "masked_eq" => (Op::Equal, number("mask")? & seen),
        _ => return None,
    };
    Some(Comparison { place, op, value: number("value")? & seen, mask })
}

fn operand(value: &Value, call: u32, place: Place) -> Option<u64> {
    match value {
        Value::Integer(number) => Some(number.cast_unsigned()),
        Value::String(names) => names
            .split('|')
            .map(|name| constants::named(name.trim(), call, place))
            .try_fold(0, |all, one| Some(all | one?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_with_their_lines_and_what_counts_of_each_argument() {
        let text = "version = 1\n\n[[rule]]\ncalls = [\"openat\", \"mq_open\", 3]\naction = \"allow\"\nwhen = [{ arg = \"flags\", op = \"masked_eq\", value = \"O_RDWR|O_CREAT\", mask = -1 }, { arg = \"pathname\", path = \"x\" }]\n";
        let model = Model::read(&[Part::native("f", text)]).unwrap();
        let rule = &model.rules[0];
        assert_eq!((rule.place.as_str(), rule.calls.len(), &rule.calls[2]), ("f:3", 3, &3));
        let comparison = Comparison { place: Place::argument(2), op: Op::Equal, value: 0o102, mask: 0xffff_ffff };
        assert_eq!(rule.comparisons(257), [comparison]);
        assert!(rule.looks_further(257));
        assert_eq!(rule.pointed(257).next().unwrap().1, Some(1));
        assert_eq!(model.about(257).count(), 1);
        let text = "version = 1\n[[rule]]\ncalls = [\"openat2\"]\naction = \"allow\"\nwhen = [{ arg = \"resolve\", op = \"!=\", value = \"RESOLVE_BENEATH\" }]\n";
        let rule = &Model::read(&[Part::native("f", text)]).unwrap().rules[0];
        let place = Place { argument: 2, field: Some(2) };
        assert_eq!(rule.comparisons(437), [Comparison { place, op: Op::NotEqual, value: 8, mask: u64::MAX }]);
        assert!(rule.of_registers(437).is_empty() && rule.looks_into_memory(437) && !rule.looks_further(437));
    }
}
