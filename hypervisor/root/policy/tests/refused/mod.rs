//! Policies that are refused.

use policy::parse;

/// Asserts that `text` is refused at `line:column` with a message that holds `words`.
pub(crate) fn refused(text: &str, line: u32, column: u32, words: &str) {
    let error = parse("dir/p.toml", text).expect_err(text);
    assert_eq!((error.line, error.column), (line, column), "{error}\n{text}");
    assert!(error.message.contains(words), "{error}\nis to say: {words}");
    assert_eq!(error.to_string(), format!("dir/p.toml:{line}:{column}: {}", error.message));
}
