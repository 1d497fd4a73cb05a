//! `[[budget]]`: which calls it names, and what is wrong with one.

mod refused;

use policy::{Action, Budget, File, parse, parse_files};

fn refused(text: &str, line: u32, column: u32, words: &str) {
    refused::refused(&format!("version = 1\n[[budget]]\n{text}\n"), line, column, words);
}

#[test]
fn budgets_of_all_files_hold() {
    let files = [
        (
            "d/a",
            "version = 1\n[[budget]]\ncalls = [\"read\", 1]\ncount = 7\n[[budget]]\ncalls = [\"@sync\"]\nbytes = 0\naction = \"kill\"\n",
        ),
        (
            "d/b",
            "version = 1\n[[budget]]\ncalls = [\"read\"]\ncount = 1\nbytes = 2\n[[rule]]\ncalls = [\"read\"]\naction = \"allow\"\n",
        ),
    ];
    let policy =
        parse_files(&files.map(|(name, text)| File::new(name, text))).unwrap_or_else(|error| panic!("{error}"));
    let budgets: Vec<(u64, u64)> = policy.budgets().map(|Budget { count, bytes }| (count, bytes)).collect();
    assert_eq!(budgets, [(7, u64::MAX), (u64::MAX, 0), (1, 2)]);
    let bits = |name| policy.about(proto::syscalls::by_name(name).expect("a call").number.into()).holds();
    assert_eq!([bits("read"), bits("write"), bits("fsync"), bits("close")], [0b101, 0b001, 0b010, 0]);
    let said = |index| (policy.held(index).action, policy.held(index).rule().to_string());
    assert!(
        matches!(said(0), (Action::Errno(errno), rule) if errno.name == "EDQUOT" && rule.starts_with("[[budget]] "))
    );
    assert_eq!(said(1).0, Action::Kill);
    assert_eq!(said(64).0, Action::Kill, "there is none");
    assert_eq!(policy.rule_count(), 1);
}

#[test]
fn places_of_mistakes() {
    refused("count = 1", 2, 1, "has no `calls`");
    refused("calls = [\"read\"]", 2, 1, "never spent");
    refused("calls = [\"raed\"]\ncount = 1", 3, 10, "did you mean `read`?");
    refused("calls = [\"read\"]\ncount = -1", 4, 9, "no amount");
    refused("calls = [\"read\"]\nbytes = \"1M\"", 4, 9, "`bytes` must be a number");
    refused("calls = [\"read\"]\ncount = 1\naction = \"allow\"", 5, 10, "can only fail");
    refused("calls = [\"read\"]\ncuont = 1", 4, 1, "did you mean `count`?");
    let error = parse("p", "version = 1\nbudget = 3\n").unwrap_err();
    assert_eq!((error.line, error.column), (2, 10), "{error}");
    let many = "[[budget]]\ncalls = [\"read\"]\ncount = 1\n".repeat(65);
    let error = parse("p", &format!("version = 1\n{many}")).unwrap_err();
    assert_eq!((error.line, error.message.as_str()), (191, "more than 63 budgets and taints"));
}
