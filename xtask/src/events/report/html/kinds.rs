//! How often which call was made.
use super::super::{Kind, Report};
use super::table::{Narrow, table};
use super::text::{Number, Text, Time, count};

pub(super) fn kinds(out: &mut String, report: &Report) {
    let mut kinds: Vec<(&String, &Kind)> = report.kinds.iter().collect();
    kinds.sort_by_key(|(name, kind)| (std::cmp::Reverse(kind.times), name.as_str()));
    let most = kinds.first().map_or(1, |(_, kind)| kind.times.max(1));
    let rows = kinds.iter().map(|(name, kind)| {
        let share = kind.times as f64 / most as f64 * 100.0;
        let Kind { times, failed, denied, ns } = kind;
        format!(
            "<tr><td><code>{}</code></td><td class=\"n\">{}</td><td class=\"bar\"><i style=\"width:{share:.1}%\"></i></td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
            Text(name),
            Number(*times),
            count(*failed),
            count(*denied),
            Time(*ns)
        )
    });
    out.push_str("<section><h2>Calls by kind</h2>\n");
    table(out, Narrow::Same, &["call", "times", "", "failed", "denied", "time from verdict to result"], rows, "");
    out.push_str("</section>\n");
}
