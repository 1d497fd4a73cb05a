//! What the programs named and changed: files and addresses.
use super::super::addresses::Addresses;
use super::super::changes::{Changed, Changes};
use super::super::files::{Files, Use};
use super::table::{Narrow, not_shown, table};
use super::text::{Bytes, Number, Text, code};
use std::fmt::Write as _;

/// `several`: there are several sandboxes, each with files of its own.
pub(super) fn changes(out: &mut String, changes: &Changes, several: bool) {
    let rows = changes.paths.iter().map(|((sandbox, path), changed)| {
        let Changed { times, bytes, from } = changed;
        let mut badges = String::new();
        for (what, times) in times {
            badges.push_str(&counted(what, if *what == "delete" { "bad" } else { "warn" }, (*times, 0)));
        }
        let from = from.as_ref().map_or(String::new(), |from| format!("from {}", code(from)));
        let of = if several { format!("<td class=\"n\">{sandbox}</td>") } else { String::new() };
        let bytes = if *bytes == 0 { String::new() } else { Bytes(*bytes).to_string() };
        format!("<tr>{of}<td>{}</td><td class=\"n\">{bytes}</td><td>{badges}{from}</td></tr>\n", code(path))
    });
    out.push_str("<section><h2>Files that it changed</h2>\n");
    if changes.paths.is_empty() {
        out.push_str("<p class=\"none\">None.</p></section>\n");
        return;
    }
    let columns: &[&str] =
        if several { &["sandbox", "path", "written", "change"] } else { &["path", "written", "change"] };
    let more = not_shown(changes.more, "changes of further paths are");
    table(out, Narrow::Blocks, columns, rows, &more);
    out.push_str("</section>\n");
}

pub(super) fn files(out: &mut String, files: &Files) {
    let mut names: Vec<_> = files.names.iter().collect();
    // What was altered first.
    names.sort_by_key(|(name, uses)| (!uses.of.keys().any(|what| what.alters()), name.as_str()));
    let rows = names.iter().map(|(name, uses)| {
        let mut badges = String::new();
        for (what, (well, not)) in &uses.of {
            badges.push_str(&badge(*what, *well, *not));
        }
        format!("<tr><td>{}</td><td>{badges}</td></tr>\n", code(name))
    });
    out.push_str("<section><h2>Files, as the programs named them</h2>\n");
    let more = not_shown(files.more, "uses of further names are");
    table(out, Narrow::Blocks, &["name", "use, and how often"], rows, &more);
    out.push_str("</section>\n");
}

/// Nothing, where no program named any.
pub(super) fn addresses(out: &mut String, addresses: &Addresses) {
    if addresses.uses.is_empty() {
        return;
    }
    let rows = addresses.uses.iter().map(|(address, uses)| {
        let badges: String = uses.iter().map(|(call, times)| counted(call, "warn", *times)).collect();
        format!("<tr><td>{}</td><td>{badges}</td></tr>\n", code(address))
    });
    out.push_str("<section><h2>Addresses, as the programs named them</h2>\n");
    let more = not_shown(addresses.more, "uses of further addresses are");
    table(out, Narrow::Blocks, &["address", "call, and how often"], rows, &more);
    out.push_str("</section>\n");
}

fn badge(what: Use, well: u64, not: u64) -> String {
    counted(what.name(), if what.alters() { "warn" } else { "" }, (well, not))
}

/// How often something went well, and how often not.
fn counted(name: &str, class: &str, (well, not): (u64, u64)) -> String {
    let mut text = String::new();
    if well > 0 {
        let _ = write!(text, "<span class=\"badge {class}\">{} {}</span> ", Text(name), Number(well));
    }
    if not > 0 {
        let _ = write!(text, "<span class=\"badge faint\">{} failed {}</span> ", Text(name), Number(not));
    }
    text
}
