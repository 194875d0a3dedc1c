//! The windows: who had which role, when and why, and what ran in it.

use std::collections::BTreeMap;

use jit_proto::time::format_duration;

use super::elements::{Page, code, number, plain, time};
use super::escape::safe;
use crate::report::model::{Report, Run, Window, command, counted};

/// The number of windows above which they are folded, and grouped by person.
const MAX_OPEN_WINDOWS: usize = 20;

/// The section; many windows are grouped by person.
pub(super) fn windows(page: &mut Page, report: &Report) {
    page.put("<h2 id=\"windows\">Who had what, when and why</h2>\n");
    if report.windows.is_empty() {
        page.put("<p class=\"soft\">Nobody held a window in the period.</p>\n");
    }
    if report.windows.len() <= MAX_OPEN_WINDOWS {
        report.windows.iter().for_each(|window| self::window(page, window, true));
        return;
    }
    let mut people: BTreeMap<&str, Vec<&Window>> = BTreeMap::new();
    for window in &report.windows {
        people.entry(&window.user).or_default().push(window);
    }
    for (user, windows) in people {
        let commands: u64 = windows.iter().map(|window| window.runs.len() as u64).sum();
        page.put(&format!(
            "<details class=\"person\"><summary><b>{}</b><span>{}, {}</span></summary>",
            safe(user),
            counted(windows.len() as u64, "window", "windows"),
            counted(commands, "command", "commands")
        ));
        windows.into_iter().for_each(|window| self::window(page, window, false));
        page.put("</details>\n");
    }
}

fn window(page: &mut Page, window: &Window, open: bool) {
    let ended = window.ended.as_ref();
    let (class, how) = match ended.map(|ended| ended.how) {
        None => ("warn", "still open"),
        Some(how @ ("revoked" | "withdrawn")) => ("bad", how),
        Some(how) => ("good", how),
    };
    let from = window.started.as_deref().unwrap_or("before the audit log");
    let to = ended.map(|ended| ended.at.as_str()).or(window.until.as_deref()).unwrap_or_default();
    let to = match (from.split_once(' '), to.split_once(' ')) {
        (Some((day, _)), Some((same, time))) if day == same => time,
        _ => to,
    };
    let held = match (window.started_us, window.ended_us) {
        (Some(from), Some(to)) => {
            format!(
                ", {}",
                format_duration(std::time::Duration::from_secs(to.saturating_sub(from) / 1_000_000))
            )
        }
        _ => String::new(),
    };
    page.put(&format!(
        "<article class=\"window\" id=\"grant-{}\" data-grant=\"{}\"><details{}><summary><b>{}</b><span>{}</span><span class=\"soft\">grant {}</span>\
         <span class=\"pill {class}\">{how}</span><span class=\"soft\">{}</span><span class=\"when\">{} – {}{held}</span></summary><div class=\"body\"><dl class=\"facts\">",
        window.grant,
        window.grant,
        if open { " open=\"\"" } else { "" },
        safe(&window.user),
        safe(&window.role),
        window.grant,
        counted(window.runs.len() as u64, "command", "commands"),
        safe(from),
        safe(to)
    ));
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            page.put(&format!("<dt>{name}</dt><dd>{value}</dd>"));
        }
    };
    fact("Why", safe(&window.reason));
    fact("Ticket", safe(&window.ticket));
    fact("Asked", window.requested.as_deref().map(safe).unwrap_or_default());
    match &window.given_by {
        Some(operator) => fact(
            "Given by",
            format!("{} <span class=\"pill warn\">operator, no request</span>", safe(operator)),
        ),
        None if window.approvals.is_empty() => fact("Approved by", safe(&window.approvers.join(", "))),
        None => {
            let each = window.approvals.iter().map(|approval| {
                let comment = if approval.comment.is_empty() {
                    String::new()
                } else {
                    format!(" “{}”", safe(&approval.comment))
                };
                format!("{} <span class=\"soft\">{}</span>{comment}", safe(&approval.by), safe(&approval.at))
            });
            fact("Approved by", each.collect::<Vec<_>>().join("<br>"));
        }
    }
    fact("Made longer", window.extensions.iter().map(|text| safe(text)).collect::<Vec<_>>().join("<br>"));
    if let Some(ended) = ended.filter(|ended| ended.by.is_some() || ended.why.is_some()) {
        let by = ended.by.as_deref().map(|by| format!(" by {}", safe(by))).unwrap_or_default();
        let why = ended.why.as_deref().map(|why| format!(": {}", safe(why))).unwrap_or_default();
        fact("Ended", format!("{}{by}{why}", ended.how));
    }
    page.put("</dl>");
    if window.runs.is_empty() {
        page.put("<p class=\"soft\">Nothing was run under it in the period.</p>");
    } else {
        let rows = window.runs.iter().map(|run| {
            vec![
                time(if run.at.is_empty() { "before" } else { &run.at }),
                code(&command(&run.argv)),
                plain(&run.run_as),
                time(run.ended.as_deref().unwrap_or_default()),
                plain(&how_it_ended(run)),
                number(run.seq),
            ]
        });
        page.table(&["When", "What ran", "As", "Ended", "How it ended", "Record"], rows);
    }
    page.put("</div></details></article>\n");
}

fn how_it_ended(run: &Run) -> String {
    let mut text = match run.ended_by.as_deref() {
        // Allowed, and then sudo ran nothing: no such command, or denied by sudoers.
        Some("exited") if run.run_as.is_empty() => "sudo ran nothing".to_owned(),
        Some("exited") => "its processes were done".to_owned(),
        Some("expired") => "the window closed".to_owned(),
        Some(by) => by.to_owned(),
        None => "open when the period ended".to_owned(),
    };
    if let Some(killed) = run.killed.filter(|_| run.ended_by.as_deref() != Some("exited")) {
        text.push_str(&format!(": {} ended", counted(killed, "process", "processes")));
        if let Some(escaped) = run.escaped.filter(|escaped| *escaped > 0) {
            text.push_str(&format!(", {escaped} of them had left the cgroup"));
        }
        text.push_str(&format!(", {} left", run.left.unwrap_or(0)));
    }
    if run.stuck {
        text.push_str("; could not be ended at once");
    }
    text
}
