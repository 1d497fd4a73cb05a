//! Conditions on fields of the structures that calls pass by pointer.

mod rules;

use policy::structures::{BadSize, Extent, MAX_STATED, OPEN_HOW, SCHED_PARAM, Structure};
use policy::{Action, Form, Pointed, Policy, Read, Verdict, parse};
use rules::{compiled, number, rule};
use seeded::Random;

fn refused(rules: &str, words: &str) {
    let error = parse("p.toml", &format!("version = 1\n{rules}")).expect_err(rules);
    assert!(error.line > 1 && error.message.contains(words), "{error}");
}

/// A structure with these fields.
fn bytes(structure: &Structure, values: &[u64]) -> Vec<u8> {
    let mut bytes = vec![0; structure.size()];
    structure.fields.iter().zip(values).for_each(|(field, value)| field.write(&mut bytes, *value));
    bytes
}

fn judged<'p>(policy: &'p Policy, call: &str, args: [u64; 6], structure: Option<(u8, &[u8])>) -> Verdict<'p> {
    let mut pointed = Pointed::NOTHING;
    if let Some((argument, bytes)) = structure {
        pointed.set(argument, bytes);
    }
    policy.about(number(call)).judge(&args, &pointed)
}

fn killed(policy: &Policy, call: &str, args: [u64; 6], structure: Option<(u8, &[u8])>) -> bool {
    judged(policy, call, args, structure).action == Action::Kill
}

#[test]
fn every_structure_is_read_and_compared_by_its_fields() {
    for call in policy::signature::SIGNATURES {
        for (argument, structure) in call.structures() {
            let form = Form::Structure { size: structure.size(), extent: structure.extent };
            for (index, field) in structure.fields.iter().enumerate() {
                let name = format!("{}.{}", call.names[usize::from(argument)], field.name);
                let condition = format!("{{ arg = {name:?}, op = \"==\", value = 5 }}");
                let policy = compiled(&rule(&format!("{:?}", call.name), &condition));
                assert_eq!(policy.about(call.number.into()).reads(), [Read { argument, form }], "{name}");
                for (value, holds) in [(5, true), (4, false), (5 | 1 << (field.bits() - 1), false)] {
                    let mut values = vec![u64::MAX; structure.fields.len()];
                    values[index] = value;
                    let structure = bytes(structure, &values);
                    assert_eq!(killed(&policy, call.name, [5; 6], Some((argument, &structure))), holds, "{name}");
                }
                assert!(!killed(&policy, call.name, [5; 6], None), "without a structure nothing holds");
            }
        }
    }
}

#[test]
fn one_rule_is_about_the_flags_of_all_ways_to_open() {
    let condition = r#"{ arg = "flags", op = "masked_eq", mask = "O_WRONLY|O_RDWR", value = "O_RDONLY" }"#;
    let policy = compiled(&rule(r#""open", "openat", "openat2""#, condition));
    for (flags, holds) in [(0o100, true), (0o101, false), (2, false), (1 << 40, true)] {
        assert_eq!(killed(&policy, "open", [9, flags, 9, 9, 9, 9], None), holds);
        assert_eq!(killed(&policy, "openat", [9, 9, flags, 9, 9, 9], None), holds);
        let how = bytes(&OPEN_HOW, &[flags]);
        assert_eq!(killed(&policy, "openat2", [9, 9, 1, 24, 9, 9], Some((2, &how))), holds);
    }
    let namespaces = r#"{ arg = "flags", op = "masked_eq", mask = "CLONE_NEWUSER", value = "CLONE_NEWUSER" }"#;
    let policy = compiled(&rule(r#""clone", "clone3", "unshare""#, namespaces));
    let clone = bytes(&policy::structures::CLONE_ARGS, &[0x1000_0000]);
    assert!(killed(&policy, "clone", [0x1000_0011, 0, 0, 0, 0, 0], None));
    assert!(killed(&policy, "unshare", [0x1000_0000, 0, 0, 0, 0, 0], None));
    assert!(killed(&policy, "clone3", [1, 88, 0, 0, 0, 0], Some((0, &clone))));
}

#[test]
fn fields_are_as_wide_as_they_are() {
    let policy = compiled(&rule("\"openat2\"", r#"{ arg = "how.flags", op = "==", value = 0x1_0000_0000 }"#));
    assert!(killed(&policy, "openat2", [1; 6], Some((2, &bytes(&OPEN_HOW, &[1 << 32])))));
    assert!(!killed(&policy, "openat2", [1; 6], Some((2, &bytes(&OPEN_HOW, &[0])))));
    let policy = compiled(&rule("\"sched_setparam\"", r#"{ arg = "param.sched_priority", op = "==", value = -1 }"#));
    assert!(killed(&policy, "sched_setparam", [1; 6], Some((1, &[0xff; 4]))));
    let field = r#"{ arg = "param.sched_priority", op = "==", value = 0x1_0000_0000 }"#;
    refused(&rule("\"sched_setparam\"", field), "looks at 32 bits");
    // What is cut off has no such field.
    assert_eq!((SCHED_PARAM.fields[0].read(&[1, 0, 0, 0]), SCHED_PARAM.fields[0].read(&[1, 0, 0])), (Some(1), None));
}

/// Every operator on random fields, against the comparison itself.
#[test]
fn comparisons_are_those_of_registers() {
    let mut random = Random(7);
    for _ in 0..2000 {
        let mut small = || (random.next() % 4) | ((random.next() % 3) << 32);
        let (value, mask, values) = (small(), small() | 1, [small(), small(), small()]);
        let field = ["flags", "mode", "resolve"][(values[0] % 3) as usize];
        let found = values[(values[0] % 3) as usize];
        let how = bytes(&OPEN_HOW, &values);
        for (op, holds) in [
            ("==", found == value),
            ("!=", found != value),
            ("<", found < value),
            ("<=", found <= value),
            (">", found > value),
            (">=", found >= value),
            ("masked_eq", found & mask == value & mask),
        ] {
            let operand =
                if op == "masked_eq" { format!("{}, mask = {mask}", value & mask) } else { value.to_string() };
            let condition = format!("{{ arg = \"how.{field}\", op = {op:?}, value = {operand} }}");
            let rules = rule("\"openat2\"", &condition);
            // What always or never holds is refused.
            let Ok(policy) = parse("p.toml", &format!("version = 1\n{rules}")) else { continue };
            assert_eq!(
                killed(&policy, "openat2", [3, 3, 3, 3, 0, 0], Some((2, &how))),
                holds,
                "{condition} {values:?}"
            );
        }
    }
}

#[test]
fn sizes_are_those_that_linux_takes() {
    let given = |size| OPEN_HOW.extent.given(24, &[0, 0, 0, size, 0, 0]);
    assert_eq!([0, 8, 23].map(given), [Err(BadSize::TooSmall); 3]);
    assert_eq!([24, 25, MAX_STATED as u64].map(given), [Ok(24), Ok(25), Ok(4096)]);
    assert_eq!([4097, u64::MAX].map(given), [Err(BadSize::TooLarge); 2]);
    assert_eq!(Extent::Whole.given(16, &[0; 6]), Ok(16));
}

#[test]
fn fields_are_rewritten() {
    let rewrites = |text: &str| {
        let rules = format!("[[rule]]\ncalls = [\"openat2\"]\naction = {{ rewrite = [{text}] }}\n");
        parse("p.toml", &format!("version = 1\n{rules}"))
    };
    let policy = rewrites(
        r#"{ arg = "how.flags", mask = "O_CLOEXEC" }, { arg = "resolve", value = "RESOLVE_BENEATH" }, { arg = 0, value = 3 }"#,
    );
    let policy = policy.unwrap_or_else(|error| panic!("{error}"));
    let rules = policy.about(number("openat2"));
    assert!(matches!(rules.reads(), [Read { argument: 2, form: Form::Structure { .. } }]), "{:?}", rules.reads());
    let verdict = judged(&policy, "openat2", [9; 6], None);
    assert_eq!(verdict.rewritten([9; 6]), [3, 9, 9, 9, 9, 9], "the pointer stays what it is");
    let changes: Vec<_> =
        verdict.rewrites().iter().map(|one| (one.place.argument, one.place.field, one.keep, one.set)).collect();
    assert_eq!(changes, [(2, Some(0), 0o2_000_000, 0), (2, Some(2), 0, 8), (0, None, 0, 3)]);
    for (text, words) in [
        (r#"{ arg = "how.flags", value = 0 }, { arg = "flags", value = 1 }"#, "rewritten twice"),
        (r#"{ arg = "how.flags", value = 0 }, { arg = 2, value = 0 }"#, "rewritten twice"),
        (r#"{ arg = "how.flags", path = "/x" }"#, "is a number: no string, and no path"),
    ] {
        let error = rewrites(text).expect_err(text);
        assert!(error.message.contains(words), "{error}");
    }
}

#[test]
fn structures_are_read_before_strings() {
    let condition = r#"{ arg = "pathname", path = "/x" }, { arg = "how.resolve", op = "==", value = 0 }"#;
    let policy = compiled(&rule("\"openat2\"", condition));
    assert!(matches!(policy.about(number("openat2")).reads(), [Read { argument: 2, .. }, Read { argument: 1, .. }]));
    // What is asked about is shown.
    let policy = compiled("[[rule]]\ncalls = [\"openat2\"]\naction = \"ask\"\n");
    assert!(matches!(policy.about(number("openat2")).reads(), [Read { argument: 2, .. }, Read { argument: 1, .. }]));
}

#[test]
fn what_is_no_such_condition() {
    let field = |name: &str| format!("{{ arg = {name:?}, op = \"==\", value = 0 }}");
    refused(
        &rule("\"openat2\"", &field("how.flag")),
        "`openat2` has no argument `how.flag`; did you mean `how.flags`?",
    );
    refused(&rule("\"openat2\"", &field("how.")), "no argument `how.`");
    refused(&rule("\"openat2\"", &field("pathname.flags")), "no argument `pathname.flags`");
    refused(&rule("\"openat2\"", &field("hwo.flags")), "`how.resolve`");
    refused(&rule("\"openat\"", &field("resolve")), "`openat` has no argument `resolve`");
    refused(&rule("\"openat2\"", r#"{ arg = "how.flags", op = "==", value = 0, bits = 32 }"#), "about registers");
    refused(&rule("\"openat2\"", r#"{ arg = "how.flags", op = "==", value = "RESOLVE_BENEATH" }"#), "no name for this");
    refused(&rule("\"openat2\"", &format!("{}, {}", field("how.flags"), field("how.flags"))), "twice");
    let two = r#"{ arg = "how.flags", op = "==", value = 1 }, { arg = "flags", op = "==", value = 2 }"#;
    refused(&rule("\"openat2\"", two), "never holds");
    refused(&rule("\"openat2\"", r#"{ arg = "how.flags", path = "/x" }"#), "a field of a structure is a number");
    // Of different fields both may hold, and of a field and its pointer.
    let both = format!(
        "{}, {}, {}",
        field("how.flags"),
        r#"{ arg = "mode", op = "==", value = 1 }"#,
        r#"{ arg = 2, op = "!=", value = 0 }"#
    );
    assert_eq!(compiled(&rule("\"openat2\"", &both)).rule_count(), 1);
}
