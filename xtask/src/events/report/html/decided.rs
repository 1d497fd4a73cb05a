//! What was not carried out as it came: limits that were reached, questions, and what was denied.
use super::super::super::event::Limit;
use super::super::questions::{Asked, Questions};
use super::super::{Denied, Report};
use super::table::{Narrow, not_shown, table};
use super::text::{Number, Text, Time, code};

/// Nothing, where none was reached.
pub(super) fn limits(out: &mut String, report: &Report) {
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
    let columns = ["first at", "thread", "limit, and what becomes of it", "where it stands"];
    table(out, Narrow::Blocks, &columns, rows, "");
    out.push_str("</section>\n");
}

pub(super) fn questions(out: &mut String, questions: &Questions) {
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
            "<tr><td class=\"n\">{number}</td><td class=\"n\">{}</td><td class=\"n\">{sandbox}·{thread}</td><td>{}</td><td>{}</td>\
             <td><span class=\"badge {kind}\">{by}: {}</span></td><td class=\"n\">{}</td><td>{}</td></tr>\n",
            Time(*ns),
            Text(program),
            code(call),
            Text(done),
            Time(*took),
            Text(rule)
        )
    });
    let columns = ["", "at", "thread", "program", "call", "settled", "after", "rule"];
    let more = not_shown(questions.count.saturating_sub(questions.settled.len() as u64), "more are");
    table(out, Narrow::Blocks, &columns, rows, &more);
    out.push_str("</section>\n");
}

pub(super) fn denied(out: &mut String, report: &Report) {
    out.push_str("<section><h2>Denied, faked, rewritten</h2>\n");
    if report.denied.is_empty() {
        out.push_str("<p class=\"none\">Nothing: every call was carried out as it came.</p></section>\n");
        return;
    }
    let is_summed_up = by_rule(out, report);
    let rows = report.denied.iter().map(|one| {
        let Denied { sandbox, ns, thread, text, verdict, effect, rule, ignored } = one;
        let effect =
            if effect.is_empty() { String::new() } else { format!("<code class=\"effect\">{}</code>", Text(effect)) };
        let done = if *ignored { " (not done)" } else { "" };
        format!(
            "<tr><td class=\"n\">{}</td><td class=\"n\">{sandbox}·{thread}</td><td>{}</td>\
             <td><span class=\"badge bad\">{}{done}</span>{effect}</td><td>{}</td></tr>\n",
            Time(*ns),
            code(text),
            Text(verdict),
            Text(if is_summed_up { without_reason(rule) } else { rule })
        )
    });
    let more = not_shown(report.denied_count.saturating_sub(report.denied.len() as u64), "more are");
    table(out, Narrow::Blocks, &["at", "thread", "call", "verdict", "rule"], rows, &more);
    out.push_str("</section>\n");
}

/// How often each rule did, and why, if one did so more than once.
fn by_rule(out: &mut String, report: &Report) -> bool {
    if report.by_rule.values().all(|times| *times == 1) {
        return false;
    }
    let mut rules: Vec<_> = report.by_rule.iter().collect();
    rules.sort_by_key(|(key, times)| (std::cmp::Reverse(**times), *key));
    let rows = rules.iter().map(|((rule, verdict), times)| {
        format!(
            "<tr><td class=\"n\">{}</td><td><span class=\"badge bad\">{}</span></td><td>{}</td></tr>\n",
            Number(**times),
            Text(verdict),
            Text(rule)
        )
    });
    table(out, Narrow::Same, &["times", "verdict", "rule"], rows, "");
    out.push_str("<h3>One by one</h3>\n");
    true
}

/// A rule without its reason.
fn without_reason(rule: &str) -> &str {
    rule.split_once(": ").map_or(rule, |(rule, _)| rule)
}
