//! What a run used of what can be limited.
use super::super::super::usage::{Told, told};
use super::super::Report;
use super::table::{Narrow, table};
use super::text::Text;
use policy::quotas::Quota;

/// What a sandbox used at most, beside what the policy grants.
pub(super) fn used(out: &mut String, report: &Report) {
    let row = |quota: Quota| {
        let (most, granted) = (report.usage.most(quota), report.granted.get(quota));
        if most.is_none() && granted.is_none() {
            return None;
        }
        let note = match told(quota) {
            Told::Whole => "",
            Told::Part(why) | Told::Nothing(why) => why,
        };
        let amount = |amount: Option<u64>| amount.map_or("–".to_owned(), |amount| quota.amount(amount));
        Some(format!(
            "<tr><td><code>{}</code></td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>\n",
            quota.key(),
            amount(most),
            amount(granted),
            Text(note)
        ))
    };
    let rows: Vec<String> = Quota::ALL.into_iter().filter_map(row).collect();
    if !rows.is_empty() {
        out.push_str("<section><h2>Used of what can be limited</h2>\n");
        table(out, Narrow::Same, &["of a sandbox", "used at most", "granted", ""], rows.into_iter(), "");
        out.push_str("</section>\n");
    }
}
