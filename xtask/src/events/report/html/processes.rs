//! The processes, each below the one that made it.
use super::super::processes::{Process, Processes};
use super::table::{Narrow, table};
use super::text::{Number, Plain, Text, Time, code_with};

pub(super) fn processes(out: &mut String, processes: &Processes, several: bool) {
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
            Number(process.calls),
            Time(*first_ns),
            Time(took),
        )
    });
    out.push_str("<section><h2>Processes</h2>\n");
    let more = if processes.more > 0 { "There were more processes than are shown." } else { "" };
    table(out, Narrow::Blocks, &["process", "calls", "from", "for", "end"], rows, more);
    out.push_str("</section>\n");
}

fn command(process: &Process) -> String {
    match (process.parent, process.command.as_str()) {
        (Some(parent), "") => format!("<span class=\"none\">a copy of {parent}</span>"),
        (_, command) => code_with(&format!(" title=\"{}\"", Plain(&process.path)), command),
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
