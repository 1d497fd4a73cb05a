//! `[events]`: what is read, and what is refused with its place.

use policy::{File, WhenFull, parse, parse_files};

const DROP: &str = "version = 1\n[events]\nwhen_full = \"drop\"\n";

#[test]
fn the_first_file_that_says_something_holds() {
    let of = |texts: &[&str]| {
        let files: Vec<File<'_>> = texts.iter().map(|text| File::new("p.toml", text)).collect();
        parse_files(&files).unwrap_or_else(|error| panic!("{error}"))
    };
    assert_eq!(of(&["version = 1\n"]).when_full(), WhenFull::Slow);
    assert_eq!(of(&["version = 1\n"]).events_place(), None);
    let slow = DROP.replace("drop", "slow");
    assert_eq!(of(&[&slow]).when_full(), WhenFull::Slow);
    assert_eq!(of(&["version = 1\n", DROP, &slow]).when_full(), WhenFull::Drop);
    assert_eq!(
        of(&["version = 1\n[events]\n", DROP]).events_place().map(|place| place.to_string()).as_deref(),
        Some("p.toml:2")
    );
    assert_eq!(of(&[&slow, DROP]).when_full(), WhenFull::Slow);
}

#[test]
fn what_it_does_not_know_is_refused_with_its_place() {
    let refused = |text: &str, place: (u32, u32), words: &str| {
        let error = parse("p.toml", text).expect_err(text);
        assert_eq!((error.line, error.column), place, "{error}");
        assert!(error.message.contains(words), "{error}");
    };
    refused("version = 1\n[events]\nwhen-full = \"drop\"\n", (3, 1), "did you mean `when_full`?");
    refused("version = 1\n[events]\nwhen_full = \"lose\"\n", (3, 13), "is \"slow\" (the program waits) or \"drop\"");
    refused("version = 1\n[events]\nwhen_full = 3\n", (3, 13), "\"slow\" or \"drop\"");
    refused("version = 1\nevents = 3\n", (2, 10), "a section (`[events]`)");
    refused("version = 1\n[[events]]\n", (2, 1), "a section (`[events]`)");
}
