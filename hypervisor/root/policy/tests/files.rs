//! `[[files]]`: which entry decides, and what is refused with which place.

use policy::{Policy, Rights};

fn parsed(entries: &str) -> Policy {
    policy::parse("p.toml", &format!("version = 1\n{entries}")).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(entries: &str) -> String {
    policy::parse("p.toml", &format!("version = 1\n{entries}")).expect_err("a bad policy").to_string()
}

const REST: &str = "[[files]]\ndefault = [\"read\"]\n";

#[test]
fn the_first_entry_that_matches_decides() {
    let policy = parsed(
        "[[files]]\npaths = [\"/etc/shadow*\", \"/root/**\"]\nrights = [\"hide\"]\nreason = \"secrets\"\n\
         [[files]]\npaths = \"/etc/**\"\nrights = [\"read\", \"list\"]\n[[files]]\ndefault = []\nreason = \"the rest\"\n",
    );
    let says = |path: &str| {
        let verdict = policy.file_rights(path.as_bytes());
        format!("{}, {verdict}", verdict.rights)
    };
    assert!(policy.restricts_files());
    assert_eq!(says("/etc/shadow-"), "hide, files entry 1 p.toml:2: secrets");
    assert_eq!(says("/root"), "hide, files entry 1 p.toml:2: secrets");
    assert_eq!(says("/etc/passwd"), "read list, files entry 2 p.toml:6");
    assert_eq!(says("/"), "none, files default p.toml:9: the rest");
    assert_eq!(says("/rooted"), "none, files default p.toml:9: the rest");
}

#[test]
fn without_entries_everything_is_granted() {
    let policy = parsed("");
    assert!(!policy.restricts_files());
    assert_eq!(policy.file_rights(b"/x").rights, Rights::ALL);
}

#[test]
fn of_several_files_the_including_one_comes_first() {
    let file = |name, text| policy::File::new(name, text);
    let first = "version = 1\ninclude = [\"b.toml\"]\n[[files]]\npaths = \"/a\"\nrights = [\"read\"]\n";
    let second = "version = 1\n[[files]]\npaths = \"/**\"\nrights = [\"write\"]\n[[files]]\ndefault = []\n";
    let policy = policy::parse_files(&[file("a.toml", first), file("b.toml", second)]).expect("a policy");
    assert_eq!(policy.file_rights(b"/a").to_string(), "files entry 1 a.toml:3");
    assert_eq!(policy.file_rights(b"/b").to_string(), "files entry 1 b.toml:2");
}

#[test]
fn directories_that_are_treated_alike() {
    let entry = |paths: &str, rights: &str| format!("[[files]]\npaths = {paths}\nrights = [{rights}]\n");
    let hidden = entry(r#"["/home/*/.ssh/**", "**/*.key"]"#, r#""hide""#);
    let open = entry(r#"["/tmp/**", "/var/tmp/**"]"#, r#""read", "write""#);
    let policy = parsed(&(hidden + &open + REST));
    let same = |one: &str, other: &str| policy.same_rights_below(one.as_bytes(), other.as_bytes());
    assert!(same("/tmp/a", "/tmp/b/c") && same("/tmp/a", "/var/tmp/x") && same("/srv/a", "/opt/b/c"));
    assert!(same("/home/a", "/home/b"));
    assert!(!same("/tmp/a", "/srv/a") && !same("/home/a", "/srv/a") && !same("/home/a/x", "/home/a"));
    assert!(!same("/", "/tmp") && same("/", "/"));
}

/// What [`Policy::same_rights_below`] promises, for all short paths.
#[test]
fn alike_means_alike() {
    let components = ["a", "b", "k"];
    let mut tails = vec![String::new()];
    for _ in 0..3 {
        let longer = |tail: &String| components.map(|component| format!("{tail}/{component}"));
        let more: Vec<String> = tails.iter().flat_map(longer).collect();
        tails.extend(more);
    }
    let dirs = ["/a", "/b", "/a/b", "/b/a", "/k", "/a/a/k"];
    let mut alike = 0;
    for patterns in ["/a/*/k", "/a/b/**", "**/k", "/a/**/b/*", "/?/a", "/[ab]/**/k", "/a/b/k", "/b/k/**"] {
        for wide in ["/b/**", "/*/b", "/a/a/**"] {
            let entry =
                |pattern: &str, right: &str| format!("[[files]]\npaths = \"{pattern}\"\nrights = [\"{right}\"]\n");
            let policy = parsed(&(entry(patterns, "hide") + &entry(wide, "write") + REST));
            for (one, other) in dirs.iter().flat_map(|one| dirs.iter().map(move |other| (one, other))) {
                if !policy.same_rights_below(one.as_bytes(), other.as_bytes()) {
                    continue;
                }
                alike += usize::from(one != other);
                for tail in tails.iter().filter(|tail| !tail.is_empty()) {
                    let rights = |dir: &str| policy.file_rights(format!("{dir}{tail}").as_bytes()).rights;
                    assert_eq!(rights(one), rights(other), "{patterns} {wide}: {one} {other} {tail}");
                }
            }
        }
    }
    assert!(alike > 50, "{alike} pairs were found alike");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let entry = |paths: &str, rights: &str| format!("[[files]]\npaths = {paths}\nrights = {rights}\n{REST}");
    for (text, message) in [
        (
            entry("\"/a\"", "[\"raed\"]"),
            "p.toml:4:11: `raed` is no right; did you mean `read`?; the rights are read write create delete execute list hide",
        ),
        (entry("\"/a\"", "[\"read\", \"read\"]"), "p.toml:4:19: this right stands here twice; remove one"),
        (entry("\"/a\"", "[\"read\", \"hide\"]"), "p.toml:4:10: what is hidden has no rights; leave the others out"),
        (entry("\"/a\"", "\"read\""), "p.toml:4:10: `rights` "),
        (entry("\"etc/x\"", "[]"), "p.toml:3:9: resolved paths begin with `/`: this never matches"),
        (
            entry("[\"/a\", \"/a/../b\"]", "[]"),
            "p.toml:3:16: resolved paths have no `.`, no `..`, no `//` and no `/` at the end",
        ),
        (entry("\"/a/\"", "[]"), "p.toml:3:9: resolved paths have no"),
        (entry("\"/a[\"", "[]"), "p.toml:3:9: `[` begins a set"),
        (entry("[]", "[]"), "p.toml:3:9: `paths` is empty"),
        (entry("7", "[]"), "p.toml:3:9: `paths` "),
        (format!("[[files]]\nrights = []\n{REST}"), "p.toml:2:1: this entry has no `paths`"),
        (format!("[[files]]\npaths = \"/a\"\n{REST}"), "p.toml:2:1: this entry has no `rights`"),
        (format!("[[files]]\npaths = \"/a\"\nrigths = []\n{REST}"), "p.toml:4:1: unknown key `rigths`"),
        (format!("{REST}{REST}"), "p.toml:4:1: `default` is stated twice; remove one"),
        ("[[files]]\ndefault = [\"hide\"]\n".into(), "p.toml:2:1: nothing would be there"),
        ("[[files]]\ndefault = []\npaths = \"/a\"\n".into(), "p.toml:4:1: unknown key `paths`"),
        (
            "[[files]]\npaths = \"/a\"\nrights = []\n".into(),
            "p.toml:2:1: no entry of `files` says what holds for all other paths",
        ),
        ("files = 3\n".into(), "p.toml:2:9: `files` "),
        ("files = [3]\n".into(), "p.toml:2:10: `files` "),
        (
            entry("[\"/usr/**\", \"/b\"]", "[]") + "[[files]]\npaths = [\"/c\", \"/usr/lib/*.so\"]\nrights = []\n",
            "p.toml:8:16: this pattern never decides: the entry in line 2 matches all that it does",
        ),
    ] {
        let said = refused(&text);
        assert!(said.starts_with(message), "{said}\nnot\n{message}");
    }
    let many = "[[files]]\npaths = \"/a\"\nrights = []\n".repeat(257);
    assert!(refused(&many).contains("more than 256 entries"));
}

#[test]
fn the_same_rights_are_recognised() {
    let one = "[[files]]\npaths = [\"/a\", \"/b\"]\nrights = [\"read\"]\n";
    let policy = parsed(&format!("{one}{REST}"));
    let reasoned = parsed(&format!("{one}reason = \"why\"\n{REST}"));
    assert!(policy.same_file_rights(&reasoned));
    for other in
        ["", REST, &format!("{}{REST}", one.replace("/b", "/c")), &format!("{}{REST}", one.replace("read", "list"))]
    {
        assert!(!policy.same_file_rights(&parsed(other)), "{other}");
    }
}
