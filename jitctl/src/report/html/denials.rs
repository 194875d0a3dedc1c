//! Denials, at the gate and over the bus.

use std::collections::BTreeMap;

use super::elements::{MAX_OPEN_ROWS, Page, code, number, plain, time};
use super::escape::safe;
use crate::report::model::{Denial, Report, command, counted};

/// Denials of one kind that are rows, the first and the last ones; the others are counted, and found by a search.
const MAX_ALIKE: usize = 20;

/// The section; denials of one kind are merged.
pub(super) fn refused(page: &mut Page, report: &Report) {
    page.put("<h2 id=\"refused\">Denied elevations</h2>\n");
    if report.denials.is_empty() {
        page.put("<p class=\"soft\">None in the period.</p>\n");
    }
    for ((user, service, why), denials) in alike(&report.denials) {
        let (first, last) = match denials.as_slice() {
            [only] => (&only.at, &only.at),
            [first, .., last] => (&first.at, &last.at),
            [] => continue,
        };
        let when = if first == last { safe(first) } else { format!("{} to {}", safe(first), safe(last)) };
        page.put(&format!(
            "<details class=\"alike\"{}><summary><b>{}</b><span>{}</span><span class=\"pill\">{}</span><span>{}</span>\
             <span class=\"when\">{when}</span></summary>",
            if report.denials.len() <= MAX_OPEN_ROWS { " open=\"\"" } else { "" },
            safe(user),
            safe(service),
            counted(denials.len() as u64, "time", "times"),
            safe(why)
        ));
        let hidden = denials.len().saturating_sub(2 * MAX_ALIKE);
        let shown = denials.iter().enumerate();
        let shown = shown.filter(|(n, _)| hidden == 0 || *n < MAX_ALIKE || *n >= MAX_ALIKE + hidden);
        let rows = shown.map(|(_, denial)| {
            vec![time(&denial.at), code(&command(&denial.argv)), plain(&denial.tty), number(denial.seq)]
        });
        page.table(&["When", "What", "Terminal", "Record"], rows);
        if hidden > 0 {
            page.put(&format!(
                "<p class=\"soft\">{hidden} more between these. All of them: <code>jitctl audit search --event access.denied \
                 --user USER --since {} --until {}</code></p>\n",
                safe(&report.about.since),
                safe(&report.about.until)
            ));
        }
        page.put("</details>\n");
    }
    if !report.refused_commands.is_empty() {
        page.put("<h3 style=\"margin-top:1.2rem\">Denied requests, approvals and other commands</h3>\n");
        let rows = report.refused_commands.iter().map(|refused| {
            vec![time(&refused.at), plain(&refused.by), plain(&refused.what), number(refused.seq)]
        });
        page.table(&["When", "Who", "What and why", "Record"], rows);
    }
}

/// A person, a service and a reason.
type Kind<'a> = (&'a str, &'a str, &'a str);

/// Refusals of one person at one service for one reason, the most frequent first.
fn alike(denials: &[Denial]) -> Vec<(Kind<'_>, Vec<&Denial>)> {
    let mut groups: BTreeMap<Kind<'_>, Vec<&Denial>> = BTreeMap::new();
    for denial in denials {
        groups.entry((&denial.user, &denial.service, &denial.why)).or_default().push(denial);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, denials)| std::cmp::Reverse(denials.len()));
    groups
}
