//! Texts that were made of other files: what verdicts and errors name is a place there.
use policy::{File, Origin, Origins, Policy, PolicyError, parse_files};

const TEXT: &str = "version = 1\ndefault = \"kill\"\n[[rule]]\ncalls = [\"read\"]\naction = \"allow\"\n[[rule]]\ncalls = [\"write\"]\naction = \"allow\"\nreason = \"why\"\n[limits]\nthreads = 3\n[[files]]\npaths = \"/x\"\nrights = []\n[[files]]\ndefault = []\n";

/// What comes from line `line`, column 7 from the first byte of `what` on.
fn origin(what: &str, file: u16, line: u32, narrow: bool) -> Origin {
    let at = TEXT.find(what).unwrap().try_into().unwrap();
    Origin { at, file, line, column: 7, narrow }
}

fn parts() -> Vec<Origin> {
    let second = TEXT.find("[[rule]]\ncalls = [\"write").unwrap().try_into().unwrap();
    vec![
        origin("[[rule]]", 0, 70, false),
        Origin { at: second, ..origin("version", 2, 80, true) },
        origin("[limits]", 1, 90, false),
        origin("[[files]]", 1, u32::MAX, true),
    ]
}

fn compiled(text: &str, parts: &[Origin], files: &[String], translated: bool) -> Result<Policy, PolicyError> {
    parse_files(&[File { name: "dir/p", text, origins: Origins { parts, files, translated } }])
}

fn names() -> Vec<String> {
    vec!["dir/sub/a".to_owned(), "/b\u{1b}[31m\n".to_owned()]
}

#[test]
fn places_are_those_of_the_files_that_a_text_was_made_of() {
    let rules = |policy: &Policy| [0, 1].map(|call| policy.judge(call, &[0; 6]).rule().to_string());
    let policy = compiled(TEXT, &parts(), &names(), false).unwrap();
    assert_eq!(rules(&policy), ["rule 1 p:70", "rule 2 /b\\u{1b}[31m\\u{a}:80:7: why"]);
    let translated = compiled(TEXT, &parts(), &names(), true).unwrap();
    assert_eq!(rules(&translated), ["rule p:70", "rule /b\\u{1b}[31m\\u{a}:80:7: why"]);
    assert_eq!(translated.file_rights(b"/x").to_string(), format!("files entry sub/a:{}:7", u32::MAX));
    assert_eq!(policy.file_rights(b"/x").to_string(), format!("files entry 1 sub/a:{}:7", u32::MAX));
    assert_eq!(policy.rule_count(), translated.rule_count());
    assert_eq!(policy.name(), "p");
}

#[test]
fn errors_are_where_it_was_written() {
    let error = |from: &str, to: &str| {
        let text = TEXT.replacen(from, to, 1);
        assert_eq!(text.len(), TEXT.len());
        compiled(&text, &parts(), &names(), true).unwrap_err().to_string()
    };
    assert!(error("\"read\"", "\"raed\"").starts_with("dir/p:70:7: `raed` is no"));
    assert!(error("threads", "threats").starts_with("dir/sub/a:90:7: unknown key"));
    assert!(error("\"write\"", "\"wriet\"").starts_with("/b\\u{1b}[31m\\u{a}:80:7: `wriet`"));
    assert!(error("version", "versoin").starts_with("dir/p:1:1: "), "before all of them it is its own");
}

#[test]
fn what_is_damaged_or_too_much_is_refused() {
    let refused = |parts: &[Origin], files: &[String]| compiled(TEXT, parts, files, true).unwrap_err().message;
    let good = parts();
    assert!(refused(&good, &[]).contains("damaged"), "files that are not there");
    let reversed: Vec<Origin> = good.iter().rev().copied().collect();
    assert!(refused(&reversed, &names()).contains("damaged"));
    for bad in [Origin { line: 0, ..good[0] }, Origin { column: 0, ..good[0] }] {
        assert!(refused(&[bad], &names()).contains("damaged"));
    }
    let many = vec![good[0]; policy::limits::MAX_ORIGINS + 1];
    assert!(refused(&many, &names()).contains("more than 4096 parts"));
    let files = vec!["x".repeat(100_000); policy::limits::MAX_ORIGIN_FILES + 1];
    assert!(refused(&good, &files).contains("more than 256 files"));
    let policy = compiled(TEXT, &good, &files[1..], true).unwrap();
    assert!(policy.judge(1, &[0; 6]).rule().to_string().len() < 600);
}
