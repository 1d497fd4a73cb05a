//! The page: HTML with everything in it, and nothing that is loaded or run.
//!
//! Names, arguments and reasons come from programs and policies: each goes through [`Text`].
mod used;

use super::super::event::Limit;
use super::addresses::Addresses;
use super::changes::{Changed, Changes};
use super::files::{Files, Use};
use super::processes::{Process, Processes};
use super::questions::{Asked, Questions};
use super::rate::BARS;
use super::{Denied, Kind, Report};
use crate::run::steers;
use std::fmt::{self, Display, Write as _};

/// Rows of a table that are shown at once; the rest is behind a fold.
const MAX_ROWS: usize = 25;

const STYLE: &str = include_str!("style.css");

/// Text as HTML has it.
struct Text<'t>(&'t str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                unseen if steers(unseen) => f.write_str("\u{fffd}")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A time, in the unit that suits it.
struct Time(u64);

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
struct Bytes(u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes < 10_000 => write!(f, "{bytes} B"),
            bytes if bytes < 1 << 20 => write!(f, "{:.1} KiB", bytes as f64 / f64::from(1 << 10)),
            bytes => write!(f, "{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        }
    }
}

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let title = report.sandboxes.first().map_or("", |sandbox| sandbox.program.as_str());
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Cordon: {}</title>\n<style>{STYLE}</style></head><body><main>\n",
        Text(title)
    );
    head(&mut out, report);
    tiles(&mut out, report);
    chart(&mut out, report);
    questions(&mut out, &report.questions);
    limits(&mut out, report);
    used::used(&mut out, report);
    denied(&mut out, report);
    kinds(&mut out, report);
    processes(&mut out, &report.processes, report.sandboxes.len() > 1);
    changes(&mut out, &report.changes, report.sandboxes.len() > 1);
    files(&mut out, &report.files);
    addresses(&mut out, &report.addresses);
    out.push_str("</main></body></html>\n");
    out
}

fn head(out: &mut String, report: &Report) {
    let dry = if report.dry_run { " <span class=\"badge warn\">dry run: nothing was enforced</span>" } else { "" };
    let changed = match report.generation {
        ..=1 => String::new(),
        last => format!(" <span class=\"badge warn\">changed while it ran, {} times</span>", last - 1),
    };
    let missing = match report.dropped {
        0 => String::new(),
        dropped => {
            format!(" <span class=\"badge bad\">{dropped} events are missing: this page does not know of them</span>")
        }
    };
    let _ = write!(
        out,
        "<header><p class=\"brand\">Cordon · report of a run</p>\n<p class=\"policy\">policy <b>{}</b> <code>{}</code>{dry}{changed}{missing}</p>\n<ol class=\"programs\">\n",
        Text(&report.policy),
        Text(report.policy_sha256.get(..16).unwrap_or(&report.policy_sha256))
    );
    for sandbox in &report.sandboxes {
        let good = sandbox.outcome == "exited 0";
        let class = if good { "good" } else { "bad" };
        let _ = writeln!(
            out,
            "<li><code>{}</code> <span class=\"badge {class}\">{}</span></li>",
            Text(&sandbox.program),
            Text(if sandbox.outcome.is_empty() { "no end was told" } else { &sandbox.outcome })
        );
    }
    out.push_str("</ol></header>\n");
}

fn tiles(out: &mut String, report: &Report) {
    let figures = || report.sandboxes.iter().filter_map(|sandbox| sandbox.figures.as_ref());
    let longest = figures().map(|figures| figures.wall_us).max().unwrap_or(0);
    let memory: u64 = figures().map(|figures| figures.memory_bytes).sum();
    let names = report.files.names.len();
    let tile = |value: String, label: &str, class: &str| {
        format!("<div class=\"tile {class}\"><b>{value}</b><span>{label}</span></div>\n")
    };
    let bad = |count: u64| if count > 0 { "bad" } else { "" };
    out.push_str("<section class=\"tiles\">\n");
    for (value, label, class) in [
        (report.calls.to_string(), "system calls judged", ""),
        (report.denied_count.to_string(), "denied, faked, rewritten", bad(report.denied_count)),
        (names.to_string(), "names of files", ""),
        (report.changes.paths.len().to_string(), "files changed", ""),
        (Bytes(report.changes.bytes()).to_string(), "written to files", ""),
        (report.processes.of.len().to_string(), "processes", ""),
        (Time(longest.saturating_mul(1000)).to_string(), "the longest sandbox", ""),
        (Bytes(memory).to_string(), "memory in all", ""),
    ] {
        out.push_str(&tile(value, label, class));
    }
    if report.faults > 0 {
        out.push_str(&tile(report.faults.to_string(), "faults", "bad"));
    }
    out.push_str("</section>\n");
}

/// Calls over time; what was denied stands out.
fn chart(out: &mut String, report: &Report) {
    const HEIGHT: f64 = 120.0;
    let bars = &report.rate.bars;
    let used = bars.iter().rposition(|(calls, _)| *calls > 0).map_or(1, |last| last + 1);
    let most = bars.iter().map(|(calls, _)| *calls).max().unwrap_or(0).max(1);
    let width = 960.0 / used as f64;
    out.push_str("<section><h2>Calls over time</h2>\n");
    let _ = writeln!(
        out,
        "<svg viewBox=\"0 0 960 {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"calls over time\">"
    );
    for (index, (calls, denied)) in bars.iter().enumerate().take(used.min(BARS)) {
        let x = index as f64 * width;
        let mut bar = |count: u64, class: &str| {
            if count > 0 {
                let height = (count as f64 / most as f64 * HEIGHT).max(1.5);
                let y = HEIGHT - height;
                let _ = writeln!(
                    out,
                    "<rect class=\"{class}\" x=\"{x:.2}\" y=\"{y:.2}\" width=\"{:.2}\" height=\"{height:.2}\"/>",
                    (width - 0.6).max(0.4)
                );
            }
        };
        bar(*calls, "calls");
        bar(*denied, "denied");
    }
    let end = report.rate.width_ns.saturating_mul(used as u64);
    let _ = writeln!(
        out,
        "</svg><p class=\"axis\"><span>0</span><span>most: {most} calls in {}</span><span>{}</span></p></section>",
        Time(report.rate.width_ns),
        Time(end)
    );
}

/// Nothing, where none was reached.
fn limits(out: &mut String, report: &Report) {
    if report.limits.is_empty() {
        return;
    }
    let rows = report.limits.iter().map(|(ns, sandbox, limit)| {
        let Limit { thread, text, rule, .. } = limit;
        format!(
            "<tr><td class=\"n\">{}</td><td class=\"n\">{sandbox}·{thread}</td><td><span class=\"badge bad\">{}</span></td><td>{}</td></tr>\n",
            Time(*ns),
            Text(text.strip_prefix("limit: ").unwrap_or(text)),
            Text(rule)
        )
    });
    out.push_str("<section><h2>Limits that were reached</h2>\n");
    table(out, &["first at", "thread", "limit, and what becomes of it", "where it stands"], rows.collect());
    out.push_str("</section>\n");
}

fn questions(out: &mut String, questions: &Questions) {
    if questions.settled.is_empty() {
        return;
    }
    out.push_str("<section><h2>Asked</h2>\n");
    let rows = questions.settled.iter().map(|asked| {
        let Asked { ns, sandbox, thread, program, call, by, done, took, rule, .. } = asked;
        let number = asked.question.map(|number| number.to_string()).unwrap_or_default();
        let (by, kind) = match by.as_str() {
            "answer" if done == "allow" => ("answered", "good"),
            "answer" => ("answered", "bad"),
            "limit" => ("no answer", "warn"),
            _ => ("its thread ended", "warn"),
        };
        format!(
            "<tr><td class=\"n\">{number}</td><td class=\"n\">{}</td><td class=\"n\">{sandbox}·{thread}</td><td>{}</td><td><code>{}</code></td>\
             <td><span class=\"badge {kind}\">{by}: {}</span></td><td class=\"n\">{}</td><td>{}</td></tr>\n",
            Time(*ns),
            Text(program),
            Text(call),
            Text(done),
            Time(*took),
            Text(rule)
        )
    });
    table(out, &["", "at", "thread", "program", "call", "settled", "after", "rule"], rows.collect());
    let shown = questions.settled.len() as u64;
    if questions.count > shown {
        let _ = writeln!(out, "<p class=\"none\">{} more are not shown.</p>", questions.count - shown);
    }
    out.push_str("</section>\n");
}

fn denied(out: &mut String, report: &Report) {
    out.push_str("<section><h2>Denied, faked, rewritten</h2>\n");
    if report.denied.is_empty() {
        out.push_str("<p class=\"none\">Nothing: every call was carried out as it came.</p></section>\n");
        return;
    }
    by_rule(out, report);
    let rows = report.denied.iter().map(|one| {
        let Denied { sandbox, ns, thread, text, verdict, effect, rule, ignored } = one;
        let effect =
            if effect.is_empty() { String::new() } else { format!("<code class=\"effect\">{}</code>", Text(effect)) };
        let done = if *ignored { " (not done)" } else { "" };
        format!(
            "<tr><td class=\"n\">{}</td><td class=\"n\">{sandbox}·{thread}</td><td><code>{}</code></td>\
             <td><span class=\"badge bad\">{}{done}</span>{effect}</td><td>{}</td></tr>\n",
            Time(*ns),
            Text(text),
            Text(verdict),
            Text(rule)
        )
    });
    table(out, &["at", "thread", "call", "verdict", "rule"], rows.collect());
    let shown = report.denied.len() as u64;
    if report.denied_count > shown {
        let _ = writeln!(out, "<p class=\"none\">{} more are not shown.</p>", report.denied_count - shown);
    }
    out.push_str("</section>\n");
}

/// How often each rule did, if one did so more than once.
fn by_rule(out: &mut String, report: &Report) {
    if report.by_rule.values().all(|times| *times == 1) {
        return;
    }
    let mut rules: Vec<_> = report.by_rule.iter().collect();
    rules.sort_by_key(|(key, times)| (std::cmp::Reverse(**times), *key));
    let rows = rules.iter().map(|((rule, verdict), times)| {
        format!(
            "<tr><td class=\"n\">{times}</td><td><span class=\"badge bad\">{}</span></td><td>{}</td></tr>\n",
            Text(verdict),
            Text(rule)
        )
    });
    table(out, &["times", "verdict", "rule"], rows.collect());
    out.push_str("<h3>One by one</h3>\n");
}

fn kinds(out: &mut String, report: &Report) {
    let mut kinds: Vec<(&String, &Kind)> = report.kinds.iter().collect();
    kinds.sort_by_key(|(name, kind)| (std::cmp::Reverse(kind.times), name.as_str()));
    let most = kinds.first().map_or(1, |(_, kind)| kind.times.max(1));
    let rows = kinds.iter().map(|(name, kind)| {
        let share = kind.times as f64 / most as f64 * 100.0;
        let Kind { times, failed, denied, ns } = kind;
        format!(
            "<tr><td class=\"name\"><code>{}</code></td><td class=\"n\">{times}</td><td class=\"bar\"><i style=\"width:{share:.1}%\"></i></td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
            Text(name),
            count(*failed),
            count(*denied),
            Time(*ns)
        )
    });
    out.push_str("<section><h2>Calls by kind</h2>\n");
    table(out, &["call", "times", "", "failed", "denied", "time from verdict to result"], rows.collect());
    out.push_str("</section>\n");
}

/// `several`: there are several sandboxes, each with files of its own.
fn changes(out: &mut String, changes: &Changes, several: bool) {
    let rows = changes.paths.iter().map(|((sandbox, path), changed)| {
        let Changed { times, bytes, from } = changed;
        let mut badges = String::new();
        for (what, times) in times {
            badges.push_str(&counted(what, if *what == "delete" { "bad" } else { "warn" }, (*times, 0)));
        }
        let from = from.as_ref().map_or(String::new(), |from| format!("from <code>{}</code>", Text(from)));
        let of = if several { format!("<td class=\"n\">{sandbox}</td>") } else { String::new() };
        let bytes = if *bytes == 0 { String::new() } else { Bytes(*bytes).to_string() };
        format!(
            "<tr>{of}<td><code>{}</code></td><td class=\"n\">{bytes}</td><td>{badges}{from}</td></tr>\n",
            Text(path)
        )
    });
    out.push_str("<section><h2>Files that it changed</h2>\n");
    if changes.paths.is_empty() {
        out.push_str("<p class=\"none\">None.</p></section>\n");
        return;
    }
    let columns: &[&str] =
        if several { &["sandbox", "path", "written", "change"] } else { &["path", "written", "change"] };
    table(out, columns, rows.collect());
    if changes.more > 0 {
        let _ = writeln!(out, "<p class=\"none\">{} changes of further paths are not shown.</p>", changes.more);
    }
    out.push_str("</section>\n");
}

fn files(out: &mut String, files: &Files) {
    let mut names: Vec<_> = files.names.iter().collect();
    // What was altered first.
    names.sort_by_key(|(name, uses)| (!uses.of.keys().any(|what| what.alters()), name.as_str()));
    let rows = names.iter().map(|(name, uses)| {
        let mut badges = String::new();
        for (what, (well, not)) in &uses.of {
            badges.push_str(&badge(*what, *well, *not));
        }
        format!("<tr><td><code>{}</code></td><td>{badges}</td></tr>\n", Text(name))
    });
    out.push_str("<section><h2>Files, as the programs named them</h2>\n");
    table(out, &["name", "use, and how often"], rows.collect());
    if files.more > 0 {
        let _ = writeln!(out, "<p class=\"none\">{} uses of further names are not shown.</p>", files.more);
    }
    out.push_str("</section>\n");
}

fn badge(what: Use, well: u64, not: u64) -> String {
    counted(what.name(), if what.alters() { "warn" } else { "" }, (well, not))
}

/// How often something went well, and how often not.
fn counted(name: &str, class: &str, (well, not): (u64, u64)) -> String {
    let mut text = String::new();
    if well > 0 {
        let _ = write!(text, "<span class=\"badge {class}\">{} {well}</span> ", Text(name));
    }
    if not > 0 {
        let _ = write!(text, "<span class=\"badge faint\">{} failed {not}</span> ", Text(name));
    }
    text
}

/// Nothing, where no program named any.
fn addresses(out: &mut String, addresses: &Addresses) {
    if addresses.uses.is_empty() {
        return;
    }
    let rows = addresses.uses.iter().map(|(address, uses)| {
        let badges: String = uses.iter().map(|(call, times)| counted(call, "warn", *times)).collect();
        format!("<tr><td><code>{}</code></td><td>{badges}</td></tr>\n", Text(address))
    });
    out.push_str("<section><h2>Addresses, as the programs named them</h2>\n");
    table(out, &["address", "call, and how often"], rows.collect());
    if addresses.more > 0 {
        let _ = writeln!(out, "<p class=\"none\">{} uses of further addresses are not shown.</p>", addresses.more);
    }
    out.push_str("</section>\n");
}

/// Characters of a command that are shown.
const MAX_COMMAND: usize = 200;

fn processes(out: &mut String, processes: &Processes, several: bool) {
    let whole = processes.of.values().map(|process| process.last_ns).max().unwrap_or(0).max(1) as f64;
    let rows = processes.tree().into_iter().map(|(depth, (sandbox, number), process)| {
        let Process { first_ns, last_ns, threads, .. } = process;
        let number = if several { format!("{sandbox}·{number}") } else { number.to_string() };
        let threads = match threads {
            0 => String::new(),
            more => format!(" <span class=\"badge\">{} threads</span>", more + 1),
        };
        let (command, end) = (command(process), end(process));
        let (indent, took) = (depth.min(20) * 22, last_ns.saturating_sub(*first_ns));
        let (from, width) = (*first_ns as f64 / whole * 100.0, took as f64 / whole * 100.0);
        format!(
            "<tr><td><div style=\"padding-left:{indent}px\"><span class=\"pid\">{number}</span> {command}{threads}</div>\
             <div class=\"life\"><i style=\"margin-left:{from:.2}%;width:{width:.2}%\"></i></div></td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{end}</td></tr>\n",
            process.calls,
            Time(*first_ns),
            Time(took),
        )
    });
    out.push_str("<section><h2>Processes</h2>\n");
    table(out, &["process", "calls", "from", "for", "end"], rows.collect());
    if processes.more > 0 {
        out.push_str("<p class=\"none\">There were more processes than are shown.</p>\n");
    }
    out.push_str("</section>\n");
}

fn command(process: &Process) -> String {
    match (process.parent, process.command.as_str()) {
        (Some(parent), "") => format!("<span class=\"none\">a copy of {parent}</span>"),
        (_, command) => format!("<code title=\"{}\">{}</code>", Text(&process.path), Text(&beginning(command))),
    }
}

fn end(process: &Process) -> String {
    match process.end.as_deref() {
        None => String::new(),
        Some(end) => {
            let class = if end == "exited 0" { "faint" } else { "warn" };
            format!("<span class=\"badge {class}\">{}</span>", Text(end))
        }
    }
}

fn beginning(command: &str) -> String {
    let mut shown: String = command.chars().take(MAX_COMMAND).collect();
    if shown.len() < command.len() {
        shown.push('…');
    }
    shown
}

fn count(number: u64) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

/// A table; rows beyond the first are behind a fold.
fn table(out: &mut String, columns: &[&str], rows: Vec<String>) {
    let head: String = columns.iter().map(|column| format!("<th>{column}</th>")).collect();
    let (shown, rest) = rows.split_at(rows.len().min(MAX_ROWS));
    let mut one = |rows: &[String]| {
        let _ = writeln!(out, "<table><thead><tr>{head}</tr></thead><tbody>\n{}</tbody></table>", rows.concat());
    };
    one(shown);
    if !rest.is_empty() {
        let fold = format!("<details><summary>{} more</summary>\n", rest.len());
        out.push_str(&fold);
        let _ =
            writeln!(out, "<table><thead><tr>{head}</tr></thead><tbody>\n{}</tbody></table></details>", rest.concat());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::quotas::Quotas;

    #[test]
    fn what_became_of_a_call_is_shown() {
        let call = |verdict: &str, rest: &str| {
            let text = format!(
                r#"{{"thread":1,"abi":"x86-64","number":257,"name":"openat","args":["0x0","0x0","0x0","0x0","0x0","0x0"],"text":"openat()","verdict":"{verdict}","rule":"rule 1"{rest}}}"#
            );
            serde_json::from_str::<super::super::Call>(&text).unwrap()
        };
        let directory = tempfile::tempdir().unwrap();
        let mut report = Report::create(&directory.path().join("r"), &Quotas::default()).unwrap();
        report.call(1, 0, &call("errno", r#","value":-13"#));
        report.call(1, 0, &call("fake", r#","value":4242"#));
        let rewritten = r#","rewritten":[{"argument":1,"path":{"text":"/<b>"}},{"argument":2,"mask":"0x80002"}]"#;
        report.call(1, 0, &call("rewrite", rewritten));
        assert!(!page(&report).contains("One by one"), "each rule decided once");
        report.call(1, 0, &call("fake", r#","value":4242"#));
        let page = page(&report);
        assert!(page.contains("<td class=\"n\">2</td><td><span class=\"badge bad\">fake</span></td><td>rule 1</td>"));
        for shown in ["= -1 EACCES", "= 4242", "pathname := &quot;/&lt;b&gt;&quot;, flags &amp; O_RDWR|O_CLOEXEC"] {
            assert!(page.contains(&format!("<code class=\"effect\">{shown}</code>")), "{shown}: {page}");
        }
    }

    #[test]
    fn text_cannot_leave_its_place() {
        let text = Text("<script>\"a' & b\u{1b}[0m</script>").to_string();
        assert_eq!(text, "&lt;script&gt;&quot;a&#39; &amp; b\u{fffd}[0m&lt;/script&gt;");
    }
}
