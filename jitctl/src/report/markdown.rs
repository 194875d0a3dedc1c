//! The report as Markdown (CommonMark with tables), for a wiki or a ticket.

use std::fmt::Write as _;

use jit_proto::escape::Escaped;

use super::model::{Report, command, counted, removed};

/// The whole report.
pub(super) fn page(report: &Report) -> String {
    let mut page = Page(String::new());
    let about = &report.about;
    page.line(&format!("# Privileged access on {}", safe(&about.host)));
    page.line(&format!(
        "{} until {}. Made {} with jitctl {}.",
        about.since, about.until, about.made_at, about.version
    ));
    let chain = &report.chain;
    page.line(&if chain.whole {
        format!(
            "The audit log is **whole**: {}, head `{}`{}.",
            counted(chain.count(), "record", "records"),
            safe(&chain.head),
            removed(chain)
        )
    } else {
        format!("The audit log is **not whole**: record {} {}.", chain.bad_seq, safe(&chain.problem))
    });
    if !report.attention.is_empty() {
        page.line("## Needs attention");
        let notes: Vec<String> = report.attention.iter().map(|note| format!("- {}", safe(note))).collect();
        page.line(&notes.join("\n"));
    }
    page.line("## Figures");
    let figures = report.figures.iter().map(|(event, count)| vec![(*event).to_owned(), count.to_string()]);
    page.table(&["event", "records"], figures);
    page.line("Each is what `jitctl audit search --event EVENT --since ... --until ... --count` prints for the period.");

    page.line("## Who had what");
    page.table(
        &["grant", "who", "role", "from", "to", "why", "ticket", "approved by", "ended"],
        report.windows.iter().map(|window| {
            let ended = window.ended.as_ref();
            let by = window.given_by.as_ref().map(|by| format!("{by} (operator, no request)"));
            vec![
                window.grant.to_string(),
                window.user.clone(),
                window.role.clone(),
                window.started.clone().unwrap_or_default(),
                ended.map(|ended| ended.at.clone()).or_else(|| window.until.clone()).unwrap_or_default(),
                window.reason.clone(),
                window.ticket.clone(),
                by.unwrap_or_else(|| window.approvers.join(", ")),
                ended.map_or("open".to_owned(), |ended| match (&ended.by, &ended.why) {
                    (Some(by), Some(why)) => format!("{} by {by}: {why}", ended.how),
                    (Some(by), None) => format!("{} by {by}", ended.how),
                    _ => ended.how.to_owned(),
                }),
            ]
        }),
    );
    page.line("## What ran");
    page.table(
        &["record", "when", "who", "grant", "as", "command", "session ended", "ended by jitd"],
        report.runs().map(|(window, run)| {
            vec![
                run.seq.to_string(),
                run.at.clone(),
                window.user.clone(),
                window.grant.to_string(),
                run.run_as.clone(),
                command(&run.argv),
                [run.ended.clone(), run.ended_by.clone()]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(", "),
                run.killed
                    .map(|killed| format!("{killed} processes, {} left", run.left.unwrap_or(0)))
                    .unwrap_or_default(),
            ]
        }),
    );
    page.line("## Denied");
    page.table(
        &["record", "when", "who", "service", "command", "why"],
        report.denials.iter().map(|denial| {
            let Denied { seq, at, user, service, command, why } = Denied::of(denial);
            vec![seq, at, user, service, command, why]
        }),
    );
    page.table(
        &["record", "when", "who", "what was denied over the bus"],
        report.refused_commands.iter().map(|refused| {
            vec![refused.seq.to_string(), refused.at.clone(), refused.by.clone(), refused.what.clone()]
        }),
    );
    page.line("## Requests without a grant");
    page.table(
        &["request", "when", "who", "role", "why", "state", "by", "because"],
        report.requests.iter().map(|asked| {
            vec![
                asked.request.to_string(),
                asked.at.clone(),
                asked.user.clone(),
                asked.role.clone(),
                asked.reason.clone(),
                asked.state.to_owned(),
                asked.by.clone().unwrap_or_default(),
                asked.why.clone().unwrap_or_default(),
            ]
        }),
    );
    page.line("## Left behind");
    page.table(
        &["record", "when", "who", "grant", "what changed"],
        report.left_behind.iter().map(|finding| {
            vec![
                finding.seq.to_string(),
                finding.at.clone(),
                finding.user.clone(),
                finding.grant.map(|grant| grant.to_string()).unwrap_or_default(),
                finding.changes.join("; "),
            ]
        }),
    );
    page.line("## Policy, daemon, clock");
    page.table(
        &["record", "when", "event", "policy", "detail"],
        report.changes.iter().map(|change| {
            vec![
                change.seq.to_string(),
                change.at.clone(),
                change.event.to_owned(),
                change.policy.clone().unwrap_or_default(),
                change.detail.clone(),
            ]
        }),
    );
    page.line("## Standing privilege");
    page.line(&format!(
        "Read from the host when this report was written; it is not in the audit log. Accounts with uid 0: {}.",
        safe(&report.standing.uid_zero.join(", "))
    ));
    if let Some(gap) = &report.standing.gap {
        page.line(&safe(gap));
    }
    page.table(
        &["service", "asks jitd"],
        report
            .standing
            .gates
            .iter()
            .map(|gate| vec![gate.service.clone(), if gate.gated { "yes" } else { "no" }.into()]),
    );
    page.table(
        &["sudoers rule for", "members", "as", "commands", "password"],
        report.standing.rules.iter().flatten().map(|rule| {
            vec![
                rule.who.clone(),
                rule.members.join(", "),
                rule.run_as.clone(),
                rule.commands.join(", "),
                if rule.password { "yes" } else { "no" }.to_owned(),
            ]
        }),
    );
    page.line("## Controls");
    for control in &report.controls {
        page.line(&format!("### {}: {}", safe(control.id), control.name));
        page.line(control.asks);
        let shows: Vec<String> = control.shows.iter().map(|shows| format!("- {}", safe(shows))).collect();
        page.line(&shows.join("\n"));
        page.line(&format!("Not shown: {}", safe(control.not_shown)));
    }
    page.0
}

struct Denied {
    seq: String,
    at: String,
    user: String,
    service: String,
    command: String,
    why: String,
}

impl Denied {
    fn of(denial: &super::model::Denial) -> Self {
        Self {
            seq: denial.seq.to_string(),
            at: denial.at.clone(),
            user: denial.user.clone(),
            service: denial.service.clone(),
            command: command(&denial.argv),
            why: denial.why.clone(),
        }
    }
}

struct Page(String);

impl Page {
    /// A block of its own. Text from people in it is escaped already.
    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push_str("\n\n");
    }

    /// A table of plain texts; a sentence without rows.
    fn table(&mut self, heading: &[&str], rows: impl Iterator<Item = Vec<String>>) {
        let rows: Vec<Vec<String>> = rows.collect();
        if rows.is_empty() {
            self.line("None in the period.");
            return;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "| {} |", heading.join(" | "));
        let _ = writeln!(self.0, "|{}", " --- |".repeat(heading.len()));
        for row in rows {
            let cells: Vec<String> = row.iter().map(|cell| safe(cell)).collect();
            let _ = writeln!(self.0, "| {} |", cells.join(" | "));
        }
        self.0.push('\n');
    }
}

/// Escapes a text so that it is only text: marks of Markdown or HTML, and links (CommonMark 2.4; GitHub's tables and
/// autolinks).
fn safe(text: &str) -> String {
    let shown = Escaped(text).to_string();
    let mut safe = String::with_capacity(shown.len());
    let mut rest = shown.chars().peekable();
    while let Some(c) = rest.next() {
        let is_mark = match c {
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '#' | '!' | '|' | '~' | '&'
            | '$' | '@' | '^' | '=' => true,
            // A scheme with a host, and one without.
            ':' => rest.peek() == Some(&'/'),
            '.' | ')' => {
                safe.to_lowercase().ends_with("www") || safe.bytes().all(|byte| byte.is_ascii_digit())
            }
            // A list, at the beginning of a line.
            '-' | '+' => safe.is_empty(),
            _ => false,
        };
        if is_mark {
            safe.push('\\');
        }
        safe.push(c);
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::super::samples::a_report;
    use super::*;
    use jit_proto::escape::is_unsafe;
    use proptest::prelude::*;

    #[test]
    fn what_people_write_is_text() {
        let page = page(&a_report("<b>*x*</b> | [y](http://evil)\n# z"));
        assert!(page.contains(r"\<b\>\*x\*\</b\> \| \[y\](http\://evil)\\u\{a\}\# z"), "{page}");
        assert!(!page.contains("<b>") && !page.contains("http:"));
        for (text, shown) in [
            ("www.x.org", "www\\.x.org"),
            ("1. x", "1\\. x"),
            ("- x", "\\- x"),
            ("a@b.c", "a\\@b.c"),
            ("2026-11-25 09:53:43", "2026-11-25 09:53:43"),
        ] {
            assert_eq!(safe(text), shown);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn nobody_adds_a_line_or_a_cell(text in "\\PC{0,20}|[|`<>#\r\n\\\\-]{1,8}") {
            let page = page(&a_report(&text));
            let harmless = super::page(&a_report("x"));
            prop_assert_eq!(page.lines().count(), harmless.lines().count());
            prop_assert!(!page.chars().any(|c| c != '\n' && is_unsafe(c)));
            let cells = |page: &str| page.replace("\\\\", "").replace("\\|", "").matches('|').count();
            prop_assert_eq!(cells(&page), cells(&harmless));
        }
    }
}
