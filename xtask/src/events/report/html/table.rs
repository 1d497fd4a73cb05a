//! Tables of any number of rows, of which the page keeps what a reader can bear.
use super::text::Number;
use std::fmt::Write as _;

/// Rows of a table that are shown at once; the rest is behind a fold.
const MAX_ROWS: usize = 25;
/// Bytes of a table. There are a dozen in a page, which a browser should open at once.
const MAX_BYTES: usize = 1 << 20;

/// How a table is seen in a narrow window.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Narrow {
    /// As it is: its cells are short.
    Same,
    /// Each row a block of its own, with names and calls over the whole width.
    Blocks,
}

/// A table; rows beyond the first are behind a fold, and those for which there is no room are counted. `more`: what was not kept, and is told as well.
pub(super) fn table(
    out: &mut String,
    narrow: Narrow,
    columns: &[&str],
    rows: impl Iterator<Item = String>,
    more: &str,
) {
    let rows: Vec<String> = rows.collect();
    let mut bytes = 0_usize;
    let fits = rows.iter().take_while(|row| {
        bytes = bytes.saturating_add(row.len());
        bytes <= MAX_BYTES
    });
    let kept = &rows[..fits.count()];
    let class = if narrow == Narrow::Blocks { " class=\"blocks\"" } else { "" };
    let head: String = columns.iter().map(|column| format!("<th>{column}</th>")).collect();
    let (shown, folded) = kept.split_at(kept.len().min(MAX_ROWS));
    let one = |rows: &[String]| {
        format!("<table{class}><thead><tr>{head}</tr></thead><tbody>\n{}</tbody></table>\n", rows.concat())
    };
    out.push_str(&one(shown));
    // Writing to a string cannot fail.
    if !folded.is_empty() {
        let more = Number(folded.len() as u64);
        let _ = writeln!(out, "<details><summary>{more} more</summary>\n{}</details>", one(folded));
    }
    if kept.len() < rows.len() {
        let left = Number((rows.len() - kept.len()) as u64);
        let _ = writeln!(out, "<p class=\"none\">{left} more rows are left out: the page would become too large.</p>");
    }
    if !more.is_empty() {
        let _ = writeln!(out, "<p class=\"none\">{more}</p>");
    }
}

/// What is told of things that are not shown; nothing, if there are none. `what`: as in `uses of further names are`.
pub(super) fn not_shown(number: u64, what: &str) -> String {
    if number == 0 { String::new() } else { format!("{} {what} not shown.", Number(number)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let rows: Vec<String> = (0..5000).map(|row| format!("<tr><td>{row}{}</td></tr>\n", "x".repeat(1000))).collect();
        let mut out = String::new();
        table(&mut out, Narrow::Same, &["x"], rows.into_iter(), &not_shown(1234, "others are"));
        let kept = out.matches("<tr><td>").count();
        assert!(out.len() < MAX_BYTES + 1000 && kept > 900, "{} bytes, {kept} rows", out.len());
        assert!(out.contains(&format!("<summary>{} more</summary>", Number((kept - MAX_ROWS) as u64))));
        assert!(out.contains(&format!(">{} more rows are left out", Number(5000 - kept as u64))));
        assert!(out.contains("<p class=\"none\">1,234 others are not shown.</p>"));
    }
}
