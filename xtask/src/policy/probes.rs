//! Calls to ask two policies about: their arguments stand at and beside every number that a condition compares with, and what the arguments
//! point to is what a pattern matches, or what none does.
use super::constants::names;
use super::model::{Comparison, Model};
use super::samples;
use policy::Pointed;
use policy::address::SocketAddress;
use policy::glob::Subject;
use policy::signature::{self, Kind, Place, Signature};
use std::collections::BTreeMap;
use toml::Value;

/// Most calls of one number that are tried.
const MAX_PROBES: usize = 1 << 16;
/// What arguments that point to something are given as in registers.
pub(super) const SOME_ADDRESS: u64 = 0x1000;
/// Strings, bytes and an address of which most patterns know nothing.
const OTHER_TEXT: &[u8] = b"/-";
const OTHER_ADDRESS: &str = "198.51.100.7:7";

/// What an argument may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Choice {
    Word(u64),
    String(Vec<u8>),
}

/// All that is tried of one call.
pub(super) struct Probes {
    signature: Option<&'static Signature>,
    kinds: &'static [Kind],
    args: [Vec<Choice>; 6],
    /// Fields of structures, with what they may hold.
    fields: BTreeMap<Place, Vec<u64>>,
    addresses: Vec<Option<Vec<u8>>>,
    contents: Vec<Option<Vec<u8>>>,
    /// How many arguments are shown.
    width: usize,
}

/// One call.
pub(super) struct Probe<'p> {
    probes: &'p Probes,
    pub(super) args: [u64; 6],
    strings: Vec<(u8, &'p [u8])>,
    structures: Vec<(u8, Vec<u8>)>,
    address: Option<&'p [u8]>,
    content: Option<&'p [u8]>,
}

impl Probes {
    /// Those for what the rules and taints of these policies ask about a call.
    pub(super) fn new(call: u32, models: &[&Model]) -> Self {
        let signature = signature::of(call.into());
        let kinds = signature.map_or(signature::UNKNOWN, |signature| signature.arguments);
        let (args, fields) = (std::array::from_fn(|_| vec![Choice::Word(0)]), BTreeMap::new());
        let (addresses, contents) = (vec![None], vec![None]);
        let mut probes = Self { signature, kinds, args, fields, addresses, contents, width: 0 };
        for model in models {
            for rule in model.asking_about(call) {
                rule.comparisons(call).iter().for_each(|comparison| probes.compare(comparison));
                for (key, argument, patterns) in rule.pointed(call) {
                    probes.point(key, argument, &patterns, &model.hosts);
                }
            }
        }
        for list in &mut probes.args {
            list.sort_unstable();
            list.dedup();
        }
        for list in probes.fields.values_mut() {
            list.sort_unstable();
            list.dedup();
        }
        for list in [&mut probes.addresses, &mut probes.contents] {
            list.sort_unstable();
            list.dedup();
        }
        probes
    }

    fn compare(&mut self, &Comparison { place, value, mask, .. }: &Comparison) {
        let near = [value, value.wrapping_add(1), value.wrapping_sub(1), value ^ mask, value | !mask];
        match self.signature.and_then(|signature| signature.field(place)) {
            Some(field) => {
                // And with no structure at all.
                self.add(place.argument, [Choice::Word(SOME_ADDRESS)]);
                let values = self.fields.entry(place).or_insert_with(|| vec![0]);
                values.extend(near.map(|value| value & field.mask()));
            }
            None => self.add(place.argument, near.map(Choice::Word)),
        }
    }

    fn point(&mut self, key: &str, argument: Option<u8>, patterns: &[&Value], hosts: &samples::Hosts) {
        let texts = || patterns.iter().filter_map(|pattern| pattern.as_str());
        match (key, argument) {
            ("path" | "string", Some(argument)) => {
                let subject = if key == "path" { Subject::Path } else { Subject::Text };
                let strings = texts().flat_map(|pattern| samples::of_glob(pattern, subject));
                self.add(argument, strings.chain([OTHER_TEXT.to_vec()]).map(Choice::String));
            }
            ("address", _) => {
                let addresses = texts().chain([OTHER_ADDRESS]);
                self.addresses.extend(addresses.flat_map(|text| samples::of_address(text, hosts)).map(Some));
                self.show(|kind| matches!(kind, Kind::Address(_) | Kind::Message | Kind::Messages(_)));
            }
            _ => {
                let bytes = patterns.iter().flat_map(|pattern| samples::of_content(pattern));
                self.contents.extend(bytes.chain([OTHER_TEXT.to_vec()]).map(Some));
                self.show(is_written);
            }
        }
    }

    fn add(&mut self, argument: u8, choices: impl IntoIterator<Item = Choice>) {
        let index = usize::from(argument);
        self.width = self.width.max(index + 1);
        if let Some(list) = self.args.get_mut(index) {
            list.extend(choices);
        }
    }

    /// Lets the calls be shown with their first argument of this kind.
    fn show(&mut self, is_it: impl Fn(&Kind) -> bool) {
        self.width = self.width.max(self.kinds.iter().position(is_it).map_or(0, |index| index + 1));
    }

    /// The calls: all combinations, or some of all where there are too many.
    pub(super) fn all(&self) -> impl Iterator<Item = Probe<'_>> {
        let fields = self.fields.values().map(Vec::len);
        let lengths = self.args.iter().map(Vec::len).chain(fields).chain([self.addresses.len(), self.contents.len()]);
        let all = lengths.fold(1, usize::saturating_mul);
        // An odd step takes some of all.
        let step = (all / MAX_PROBES) | 1;
        (0..all).step_by(step).map(|index| self.at(index))
    }

    fn at(&self, mut index: usize) -> Probe<'_> {
        let mut next = |count: usize| {
            let at = index % count.max(1);
            index /= count.max(1);
            at
        };
        let (mut args, mut strings) = ([0; 6], Vec::new());
        for ((argument, choices), arg) in (0..).zip(&self.args).zip(&mut args) {
            match choices.get(next(choices.len())) {
                Some(Choice::Word(word)) => *arg = *word,
                Some(Choice::String(string)) => {
                    *arg = SOME_ADDRESS;
                    strings.push((argument, string.as_slice()));
                }
                None => {}
            }
        }
        let mut structures: Vec<(u8, Vec<u8>)> = Vec::new();
        for (place, choices) in &self.fields {
            let value = choices.get(next(choices.len())).copied().unwrap_or(0);
            let is_there = args.get(usize::from(place.argument)).is_some_and(|address| *address != 0);
            let Some(signature) = self.signature.filter(|_| is_there) else { continue };
            let Some((structure, field)) = signature.structure(place.argument).zip(signature.field(*place)) else {
                continue;
            };
            if structures.last().is_none_or(|(argument, _)| *argument != place.argument) {
                structures.push((place.argument, vec![0; structure.size()]));
            }
            if let Some((_, bytes)) = structures.last_mut() {
                field.write(bytes, value);
            }
        }
        let address = self.addresses.get(next(self.addresses.len())).and_then(Option::as_deref);
        let content = self.contents.get(next(self.contents.len())).and_then(Option::as_deref);
        Probe { probes: self, args, strings, structures, address, content }
    }
}

impl Probe<'_> {
    /// What its arguments point to.
    pub(super) fn pointed(&self) -> Pointed<'_> {
        let mut pointed = Pointed::NOTHING;
        self.strings.iter().for_each(|(argument, string)| pointed.set(*argument, string));
        self.structures.iter().for_each(|(argument, structure)| pointed.set(*argument, structure));
        self.address.iter().for_each(|address| pointed.set_address(address));
        self.content.iter().for_each(|content| pointed.set_content(content));
        pointed
    }

    /// Its arguments, as far as a condition asks for them.
    pub(super) fn text(&self) -> String {
        let shown = (0..).zip(self.args).take(self.probes.width).map(|(argument, word): (u8, u64)| {
            let kind = self.probes.kinds.get(usize::from(argument));
            if let Some(fields) = self.fields(argument) {
                return fields;
            }
            let mut quoted = Vec::new();
            quoted.extend(self.strings.iter().filter(|(index, _)| *index == argument).map(|(_, text)| text.to_vec()));
            let is_message = matches!(kind, Some(Kind::Message | Kind::Messages(_)));
            if kind.is_some_and(is_written) {
                quoted.extend(self.content.map(<[u8]>::to_vec));
            }
            if is_message || matches!(kind, Some(Kind::Address(_))) {
                quoted.extend(self.address.and_then(SocketAddress::read).map(|address| address.text()));
            }
            let quoted: Vec<String> = quoted.iter().map(|text| format!("\"{}\"", text.escape_ascii())).collect();
            if quoted.is_empty() { number(kind, word) } else { quoted.join(" to ") }
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// The structure that an argument points to, as far as a condition asks for it.
    fn fields(&self, argument: u8) -> Option<String> {
        let (_, bytes) = self.structures.iter().find(|(index, _)| *index == argument)?;
        let asked = self.probes.fields.keys().filter(|place| place.argument == argument);
        let fields = asked.filter_map(|place| self.probes.signature?.field(*place));
        let texts =
            fields.map(|field| format!("{}={}", field.name, number(Some(&field.kind), field.read(bytes).unwrap_or(0))));
        Some(format!("{{{}}}", texts.collect::<Vec<_>>().join(", ")))
    }
}

/// By names, if all of it has some.
fn number(kind: Option<&Kind>, value: u64) -> String {
    kind.and_then(|kind| names(*kind, value)).unwrap_or_else(|| format!("{value:#x}"))
}

fn is_written(kind: &Kind) -> bool {
    matches!(kind, Kind::Buffer(_) | Kind::Ranges(_) | Kind::Message | Kind::Messages(_))
}

#[cfg(test)]
mod tests {
    use super::super::files::Part;
    use super::*;

    fn count(conditions: &str) -> usize {
        let text = format!("version = 1\n[[rule]]\ncalls = [\"prctl\"]\nwhen = [{conditions}]\naction = \"allow\"\n");
        let model = Model::read(&[Part::native("f", &text)]).unwrap();
        Probes::new(157, &[&model]).all().count()
    }

    #[test]
    fn probes_are_bounded() {
        assert_eq!(Probes::new(157, &[]).all().count(), 1);
        let one = "{ arg = 0, op = \"==\", value = 9 }";
        // 9, its neighbours, all other bits of 32, and all bits of the other half.
        assert_eq!(count(one), 6);
        let many: Vec<String> = (0..100).map(|n| format!("{{ arg = {}, op = \"==\", value = {n} }}", n % 5)).collect();
        assert!(count(&many.join(", ")) <= MAX_PROBES + 1);
    }
}
