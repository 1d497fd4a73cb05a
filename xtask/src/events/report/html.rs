//! The page: HTML with everything in it, and nothing that is loaded or run.
//!
//! Names, arguments and reasons come from programs and policies: each goes through [`Text`] or [`Plain`].
mod decided;
mod kinds;
mod names;
mod processes;
mod table;
mod text;
mod used;

use super::Report;
use super::rate::BARS;
use decided::{denied, limits, questions};
use kinds::kinds;
use names::{addresses, changes, files};
use processes::processes;
use std::fmt::Write as _;
use text::{Bytes, Number, Plain, Text, Time, code};
use used::used;

const STYLE: &str = include_str!("style.css");

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
        Plain(title)
    );
    head(&mut out, report);
    tiles(&mut out, report);
    chart(&mut out, report);
    questions(&mut out, &report.questions);
    limits(&mut out, report);
    used(&mut out, report);
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
            "<li>{} <span class=\"badge {class}\">{}</span></li>",
            code(&sandbox.program),
            Text(if sandbox.outcome.is_empty() { "no end was told" } else { &sandbox.outcome })
        );
    }
    out.push_str("</ol></header>\n");
}

fn tiles(out: &mut String, report: &Report) {
    let figures = || report.sandboxes.iter().filter_map(|sandbox| sandbox.figures.as_ref());
    let longest = figures().map(|figures| figures.wall_us).max().unwrap_or(0);
    let memory: u64 = figures().map(|figures| figures.memory_bytes).sum();
    let names = report.files.names.len() as u64;
    let tile = |value: String, label: &str, class: &str| {
        format!("<div class=\"tile {class}\"><b>{value}</b><span>{label}</span></div>\n")
    };
    let bad = |count: u64| if count > 0 { "bad" } else { "" };
    out.push_str("<section class=\"tiles\">\n");
    for (value, label, class) in [
        (Number(report.calls).to_string(), "system calls judged", ""),
        (Number(report.denied_count).to_string(), "denied, faked, rewritten", bad(report.denied_count)),
        (Number(names).to_string(), "names of files", ""),
        (Number(report.changes.paths.len() as u64).to_string(), "files changed", ""),
        (Bytes(report.changes.bytes()).to_string(), "written to files", ""),
        (Number(report.processes.of.len() as u64).to_string(), "processes", ""),
        (Time(longest.saturating_mul(1000)).to_string(), "the longest sandbox", ""),
        (Bytes(memory).to_string(), "memory in all", ""),
    ] {
        out.push_str(&tile(value, label, class));
    }
    if report.faults > 0 {
        out.push_str(&tile(Number(report.faults).to_string(), "faults", "bad"));
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
        "</svg><p class=\"axis\"><span>0</span><span>most: {} calls in {}</span><span>{}</span></p></section>",
        Number(most),
        Time(report.rate.width_ns),
        Time(end)
    );
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
}
