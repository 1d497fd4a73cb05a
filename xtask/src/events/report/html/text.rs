//! What stands in the page: text that cannot leave its place, numbers, times.
use policy::steers;
use std::fmt::{self, Display, Write as _};

/// Characters of a text up to which it is shown as it is.
const SHORT: usize = 300;
/// Of a longer one: how many of its beginning and of its end are shown, and how many behind a fold.
const BEGINNING: usize = 160;
const END: usize = 60;
const MAX_TEXT: usize = 8192;

/// Text as HTML has it between its tags; what could not be seen is shown by an escape, which differs by its style from the same characters.
pub(super) struct Text<'t>(pub(super) &'t str);

/// Text as HTML has it in attributes and titles, where there are no styles.
pub(super) struct Plain<'t>(pub(super) &'t str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut escaped = false;
        for character in self.0.chars() {
            if steers(character) != escaped {
                escaped = !escaped;
                f.write_str(if escaped { "<i>" } else { "</i>" })?;
            }
            plain(f, character)?;
        }
        if escaped { f.write_str("</i>") } else { Ok(()) }
    }
}

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| plain(f, character))
    }
}

fn plain(f: &mut fmt::Formatter<'_>, character: char) -> fmt::Result {
    match character {
        '&' => f.write_str("&amp;"),
        '<' => f.write_str("&lt;"),
        '>' => f.write_str("&gt;"),
        '"' => f.write_str("&quot;"),
        '\'' => f.write_str("&#39;"),
        unseen if steers(unseen) => write!(f, "{}", unseen.escape_default()),
        other => f.write_char(other),
    }
}

/// A name or a command. `attributes`: of its element, with a space in front. Of a long one the beginning and the end are shown, and the rest is behind a fold.
pub(super) fn code_with(attributes: &str, text: &str) -> String {
    let length = text.chars().count();
    if length <= SHORT {
        return format!("<code{attributes}>{}</code>", Text(text));
    }
    let end = &text[at(text, length - END)..];
    let whole = &text[..at(text, MAX_TEXT)];
    let more = match length.saturating_sub(MAX_TEXT) {
        0 => String::new(),
        more => format!(" <span class=\"none\">and {} characters more</span>", Number(more as u64)),
    };
    format!(
        "<details class=\"long\"><summary><code{attributes}>{}<b>…</b>{}</code> <span class=\"badge\">{} characters</span></summary>\
         <code>{}</code>{more}</details>",
        Text(&text[..at(text, BEGINNING)]),
        Text(end),
        Number(length as u64),
        Text(whole)
    )
}

/// The same without attributes.
pub(super) fn code(text: &str) -> String {
    code_with("", text)
}

/// Where a character begins, or the text ends.
fn at(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(at, _)| at)
}

/// A number, its thousands apart.
pub(super) struct Number(pub(super) u64);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// A time, in the unit that suits it.
pub(super) struct Time(pub(super) u64);

impl Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ns if ns < 1_000_000 => write!(f, "{:.0} µs", ns as f64 / 1e3),
            ns if ns < 1_000_000_000 => write!(f, "{:.1} ms", ns as f64 / 1e6),
            ns => write!(f, "{:.2} s", ns as f64 / 1e9),
        }
    }
}

/// A number of bytes, in the unit that suits it.
pub(super) struct Bytes(pub(super) u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes < 10_000 => write!(f, "{} B", Number(bytes)),
            bytes if bytes < 1 << 20 => write!(f, "{:.1} KiB", bytes as f64 / f64::from(1 << 10)),
            bytes => write!(f, "{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        }
    }
}

/// A number that is shown only if there is something to count.
pub(super) fn count(number: u64) -> String {
    if number == 0 { String::new() } else { Number(number).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        let text = "<script>\"a' & b\n\u{1b}[0m\u{202e}\\n</script>";
        let safe = "&lt;script&gt;&quot;a&#39; &amp; b<i>\\n\\u{1b}</i>[0m<i>\\u{202e}</i>\\n&lt;/script&gt;";
        assert_eq!(Text(text).to_string(), safe);
        assert_eq!(Plain(text).to_string(), safe.replace("<i>", "").replace("</i>", ""));
        assert_eq!(Text("\n").to_string(), "<i>\\n</i>");
    }

    #[test]
    fn long_text_is_folded_and_has_an_end() {
        assert_eq!(code(&"é".repeat(SHORT)), format!("<code>{}</code>", "é".repeat(SHORT)));
        let folded = code(&format!("{}<end>", "é".repeat(MAX_TEXT)));
        let (seen, rest) = folded.split_once("</summary>").unwrap();
        assert!(seen.matches('é').count() == BEGINNING + END - 5 && seen.contains("&lt;end&gt;"), "{seen}");
        assert!(rest.matches('é').count() == MAX_TEXT && rest.contains("and 5 characters more"), "{rest}");
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        let shown = [0, 999, 1000, 21_271, 1_234_567].map(|number| Number(number).to_string());
        assert_eq!(shown, ["0", "999", "1,000", "21,271", "1,234,567"]);
    }
}
