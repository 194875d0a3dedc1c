//! The report as CSV: each event on a line, for a spreadsheet.

use jit_proto::audit::render::csv::row;

use super::model::{Report, command, removed};

const COLUMNS: [&str; 18] = [
    "what", "seq", "from", "to", "user", "role", "grant", "request", "by", "reason", "ticket", "service",
    "run_as", "command", "ended_by", "killed", "left", "detail",
];

/// A heading and the rows; lines end in CR LF (RFC 4180).
pub(super) fn rows(report: &Report) -> String {
    let mut text = row(COLUMNS) + "\r\n";
    let mut put = |what: &str, cells: &[(&str, String)]| {
        let of = |column: &&str| match *column {
            "what" => what.to_owned(),
            column => cells
                .iter()
                .find(|(name, _)| *name == column)
                .map(|(_, text)| text.clone())
                .unwrap_or_default(),
        };
        text.push_str(&row(COLUMNS.iter().map(of)));
        text.push_str("\r\n");
    };
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    for (event, count) in &report.figures {
        put("figure", &[("detail", (*event).to_owned()), ("seq", count.to_string())]);
    }
    for window in &report.windows {
        let by = window.given_by.clone().unwrap_or_else(|| window.approvers.join(" "));
        let ended = window.ended.as_ref();
        let whose = [
            ("user", window.user.clone()),
            ("role", window.role.clone()),
            ("grant", window.grant.to_string()),
            ("reason", window.reason.clone()),
            ("ticket", window.ticket.clone()),
        ];
        let mut cells = whose.to_vec();
        cells.extend([
            ("from", window.started.clone().unwrap_or_default()),
            ("to", ended.map(|ended| ended.at.clone()).or_else(|| window.until.clone()).unwrap_or_default()),
            ("by", by),
            ("ended_by", ended.map_or("open", |ended| ended.how).to_owned()),
            ("detail", ended.and_then(|ended| ended.why.clone()).unwrap_or_default()),
        ]);
        put("window", &cells);
        for run in &window.runs {
            let mut cells = whose.to_vec();
            cells.extend([
                ("seq", run.seq.to_string()),
                ("from", run.at.clone()),
                ("to", run.ended.clone().unwrap_or_default()),
                ("service", run.service.clone()),
                ("run_as", run.run_as.clone()),
                ("command", command(&run.argv)),
                ("ended_by", run.ended_by.clone().unwrap_or_default()),
                ("killed", number(run.killed)),
                ("left", number(run.left)),
            ]);
            put("command", &cells);
        }
    }
    for asked in &report.requests {
        put(
            "request",
            &[
                ("from", asked.at.clone()),
                ("user", asked.user.clone()),
                ("role", asked.role.clone()),
                ("request", asked.request.to_string()),
                ("reason", asked.reason.clone()),
                ("ticket", asked.ticket.clone()),
                ("ended_by", asked.state.to_owned()),
                ("by", asked.by.clone().unwrap_or_default()),
                ("detail", asked.why.clone().unwrap_or_default()),
            ],
        );
    }
    for denial in &report.denials {
        put(
            "denial",
            &[
                ("seq", denial.seq.to_string()),
                ("from", denial.at.clone()),
                ("user", denial.user.clone()),
                ("service", denial.service.clone()),
                ("command", command(&denial.argv)),
                ("detail", denial.why.clone()),
            ],
        );
    }
    for refused in &report.refused_commands {
        put(
            "refused command",
            &[
                ("seq", refused.seq.to_string()),
                ("from", refused.at.clone()),
                ("user", refused.by.clone()),
                ("detail", refused.what.clone()),
            ],
        );
    }
    for finding in &report.left_behind {
        put(
            "left behind",
            &[
                ("seq", finding.seq.to_string()),
                ("from", finding.at.clone()),
                ("user", finding.user.clone()),
                ("role", finding.role.clone()),
                ("grant", number(finding.grant)),
                ("detail", finding.changes.join("; ")),
            ],
        );
    }
    for change in &report.changes {
        let detail = [change.detail.as_str(), change.policy.as_deref().unwrap_or_default()].join(" ");
        put(
            change.event,
            &[
                ("seq", change.seq.to_string()),
                ("from", change.at.clone()),
                ("by", change.by.clone().unwrap_or_default()),
                ("detail", detail.trim().to_owned()),
            ],
        );
    }
    for rule in report.standing.rules.iter().flatten() {
        put(
            "sudoers rule",
            &[
                ("user", rule.who.clone()),
                ("run_as", rule.run_as.clone()),
                ("command", rule.commands.join(", ")),
                ("detail", rule.members.join(" ")),
            ],
        );
    }
    let chain = &report.chain;
    let result = if chain.whole {
        format!("whole{}", removed(chain))
    } else {
        format!("record {}: {}", chain.bad_seq, chain.problem)
    };
    put("chain", &[("seq", chain.records.to_string()), ("detail", result)]);
    text
}

#[cfg(test)]
mod tests {
    use super::super::samples::a_report;
    use super::*;
    use jit_proto::escape::is_unsafe;
    use proptest::prelude::*;

    /// The cells of a line, by RFC 4180.
    fn cells(line: &str) -> Vec<String> {
        let mut cells = vec![String::new()];
        let mut quoted = false;
        let mut marks = line.chars().peekable();
        while let Some(mark) = marks.next() {
            match mark {
                '"' if quoted && marks.peek() == Some(&'"') => cells.last_mut().unwrap().extend(marks.next()),
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(String::new()),
                other => cells.last_mut().unwrap().push(other),
            }
        }
        cells
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn nobody_adds_a_line_or_a_formula(text in "\\PC{0,20}|[=+@'\",\r\n\t -]{1,8}") {
            let rows = rows(&a_report(&text));
            let harmless = super::rows(&a_report("x"));
            prop_assert_eq!(rows.matches("\r\n").count(), harmless.matches("\r\n").count());
            for line in rows.split("\r\n") {
                prop_assert!(!line.chars().any(is_unsafe), "{line:?}");
                for cell in cells(line) {
                    prop_assert!(!cell.starts_with(['=', '@']), "{line:?}");
                }
            }
        }
    }
}
