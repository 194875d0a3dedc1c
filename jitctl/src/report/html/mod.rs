//! The report as one HTML file: it loads nothing, runs nothing, and can be printed.

mod escape;

mod elements;

mod chart;

mod overview;

mod windows;

mod denials;

use jit_proto::audit::record::AuditEvent;

use self::denials::refused;
use self::elements::{Cell, Page, code, number, plain, time};
use self::escape::safe;
use self::overview::charts;
use self::windows::windows;
use super::model::{Report, counted, removed};

const STYLE: &str = include_str!("style.css");
/// The Content-Security-Policy of the page. Injected code would not run.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
/// The parts of the page, by id.
const PARTS: [(&str, &str); 10] = [
    ("look", "Needs attention"),
    ("glance", "At a glance"),
    ("windows", "Windows"),
    ("refused", "Denied"),
    ("requests", "Requests"),
    ("left-behind", "Left behind"),
    ("changes", "Policy, daemon, clock"),
    ("standing", "Standing privilege"),
    ("controls", "Controls"),
    ("figures", "Figures"),
];

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let mut page = Page(String::new());
    let host = safe(&report.about.host);
    page.put(&format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Privileged access on {host}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    ));
    head(&mut page, report);
    attention(&mut page, report);
    tiles(&mut page, report);
    charts(&mut page, report);
    windows(&mut page, report);
    refused(&mut page, report);
    requests(&mut page, report);
    left_behind(&mut page, report);
    changes(&mut page, report);
    standing(&mut page, report);
    controls(&mut page, report);
    figures(&mut page, report);
    page.put(&format!(
        "<footer>Written {} by jitctl {} from the audit log of {host}. Times are in the local time zone of that host.</footer>\n\
         </main>\n</body>\n</html>\n",
        safe(&report.about.made_at),
        report.about.version
    ));
    page.0
}

fn head(page: &mut Page, report: &Report) {
    let (about, chain, records) = (&report.about, &report.chain, &report.records);
    page.put(&format!("<header>\n<h1>Privileged access on {}</h1>\n", safe(&about.host)));
    page.put(&format!(
        "<p class=\"period\">{} to {}</p>\n",
        day_and_time(&about.since),
        day_and_time(&about.until)
    ));
    let whole = if chain.whole {
        format!(
            "<span class=\"pill good\">whole</span> {} from the first to the last, head <code>{}</code>{}",
            counted(chain.count(), "record", "records"),
            safe(&chain.head),
            removed(chain)
        )
    } else {
        format!("<span class=\"pill bad\">broken</span> record {} {}", chain.bad_seq, safe(&chain.problem))
    };
    let of_period = match records.count {
        0 => "none".to_owned(),
        count => format!("{count}, numbers {} to {}", records.first, records.last),
    };
    page.put(&format!(
        "<dl class=\"facts\" id=\"chain\"><dt>Chain</dt><dd>{whole}</dd><dt>Records of the period</dt><dd>{of_period}</dd></dl>\n"
    ));
    let links = PARTS.iter().map(|(id, name)| format!("<a href=\"#{id}\">{name}</a>"));
    page.put(&format!("<nav>{}</nav>\n</header>\n", links.collect::<Vec<_>>().join(" ")));
}

/// RFC 3339 without the fraction.
fn day_and_time(moment: &str) -> String {
    let Some((day, rest)) = moment.split_once('T') else { return safe(moment) };
    let time: String = rest.chars().take(5).collect();
    let zone = rest.find(['+', '-', 'Z']).map_or("", |at| &rest[at..]);
    safe(&format!("{day} {time} {zone}"))
}

fn tiles(page: &mut Page, report: &Report) {
    let figure = |event: AuditEvent| report.figure(event);
    let people = report.people();
    let direct = report.direct().count() as u64;
    let rows: [(u64, &str, Option<AuditEvent>, &str); 10] = [
        (figure(AuditEvent::GrantStarted), "windows opened", Some(AuditEvent::GrantStarted), ""),
        (people, "people held one", None, ""),
        (figure(AuditEvent::AccessAllowed), "elevations allowed", Some(AuditEvent::AccessAllowed), ""),
        (figure(AuditEvent::AccessDenied), "elevations denied", Some(AuditEvent::AccessDenied), ""),
        (figure(AuditEvent::AccessRoot), "elevations by root itself", Some(AuditEvent::AccessRoot), ""),
        (figure(AuditEvent::RequestMade), "requests made", Some(AuditEvent::RequestMade), ""),
        (figure(AuditEvent::RequestDenied), "requests denied", Some(AuditEvent::RequestDenied), ""),
        (direct, "given without a request", None, if direct > 0 { "warn" } else { "" }),
        (report.killed(), "processes ended by jitd", None, ""),
        (
            figure(AuditEvent::GrantLeftBehind),
            "changes left behind",
            Some(AuditEvent::GrantLeftBehind),
            if figure(AuditEvent::GrantLeftBehind) > 0 { "bad" } else { "" },
        ),
    ];
    page.put("<div class=\"tiles\">");
    for (count, what, event, class) in rows {
        let event = event.map(|event| format!(" data-event=\"{}\"", event.name())).unwrap_or_default();
        page.put(&format!("<div class=\"tile {class}\"{event}><b>{count}</b><span>{what}</span></div>"));
    }
    page.put("</div>\n");
}

fn attention(page: &mut Page, report: &Report) {
    page.put("<h2 id=\"look\">Needs attention</h2>\n");
    if report.attention.is_empty() {
        page.put("<p class=\"soft\">Nothing stands out: every window was requested and approved, every session that was ended is gone, and the audit log is whole.</p>\n");
        return;
    }
    page.put("<ul class=\"look\">");
    report.attention.iter().for_each(|note| {
        page.put(&format!("<li><a href=\"#{}\">{}</a></li>", safe(&note.place), safe(note)));
    });
    page.put("</ul>\n");
}

fn requests(page: &mut Page, report: &Report) {
    page.put("<h2 id=\"requests\">Requests without a grant</h2>\n");
    let rows = report.requests.iter().map(|asked| {
        let by = asked.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
        let why = asked.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        vec![
            time(&asked.at),
            plain(&asked.user),
            plain(&asked.role),
            plain(&asked.reason),
            plain(&asked.ticket),
            plain(&format!("{}{by}{why}", asked.state)),
            number(asked.request),
        ]
    });
    page.table(&["When", "Who", "Role", "Why", "Ticket", "Result", "Request"], rows);
}

fn left_behind(page: &mut Page, report: &Report) {
    page.put("<h2 id=\"left-behind\">Left behind</h2>\n<p class=\"soft\">Changes to the places where privilege is kept, found after a session. They came while it was open or shortly after; who made them is not known.</p>\n");
    let rows = report.left_behind.iter().map(|finding| {
        vec![
            time(&finding.at),
            plain(&finding.user),
            plain(&finding.role),
            Cell(finding.changes.iter().map(|change| code(change).0).collect::<Vec<_>>().join("<br>"), ""),
            number(finding.seq),
        ]
    });
    page.table(&["When", "Who", "Role", "What changed", "Record"], rows);
}

fn changes(page: &mut Page, report: &Report) {
    page.put("<h2 id=\"changes\">Policy, daemon and clock</h2>\n");
    let rows = report.changes.iter().map(|change| {
        let digest: String = change.policy.as_deref().unwrap_or_default().chars().take(12).collect();
        vec![time(&change.at), plain(change.event), code(&digest), plain(&change.detail), number(change.seq)]
    });
    page.table(&["When", "Event", "Policy", "Detail", "Record"], rows);
}

fn standing(page: &mut Page, report: &Report) {
    let standing = &report.standing;
    page.put(
        "<h2 id=\"standing\">Standing privilege</h2>\n<p class=\"soft\">Read from the host when this report was written; it is not in the audit log. \
         Where a service asks jitd, a sudoers rule takes effect only while a window is open.</p>\n",
    );
    if let Some(gap) = &standing.gap {
        page.put(&format!("<p><span class=\"pill warn\">not shown</span> {}</p>\n", safe(gap)));
    }
    let gates = standing.gates.iter().map(|gate| {
        let (class, mark) = if gate.gated { ("good", "asks jitd") } else { ("warn", "does not ask") };
        format!("<span class=\"pill {class}\">{} {mark}</span>", safe(&gate.service))
    });
    page.put(&format!("<p>{}</p>\n", gates.collect::<Vec<_>>().join(" ")));
    page.put(&format!("<p>Accounts with uid 0: {}</p>\n", safe(&standing.uid_zero.join(", "))));
    if let Some(rules) = &standing.rules {
        let rows = rules.iter().map(|rule| {
            vec![
                plain(&rule.who),
                plain(&who_that_is(rule)),
                plain(&rule.run_as),
                code(&rule.commands.join(", ")),
                if rule.password {
                    plain("yes")
                } else {
                    "<span class=\"pill warn\">no</span>".to_owned().into()
                },
            ]
        });
        page.table(&["sudoers rule for", "Members", "As", "Commands", "Password"], rows);
    }
}

fn who_that_is(rule: &jit_host::sudoers::SudoRule) -> String {
    if rule.members.is_empty() && rule.who.starts_with('%') {
        "nobody".to_owned()
    } else {
        rule.members.join(", ")
    }
}

fn controls(page: &mut Page, report: &Report) {
    page.put(
        "<h2 id=\"controls\">Controls</h2>\n<p class=\"soft\">What each control requires in short, what in this report relates to it, and what neither the report nor jitd \
         shows. This does not state that a control is met.</p>\n",
    );
    for control in &report.controls {
        let shows: String = control.shows.iter().map(|shows| format!("<li>{}</li>", safe(shows))).collect();
        page.put(&format!(
            "<section class=\"control\"><h3>{}<span>{}</span></h3><div><p>{}</p><ul>{shows}</ul><p class=\"gap\"><b>Not shown:</b> {}</p></div></section>\n",
            safe(control.id),
            safe(control.name),
            safe(control.asks),
            safe(control.not_shown)
        ));
    }
}

fn figures(page: &mut Page, report: &Report) {
    page.put(&format!(
        "<h2 id=\"figures\">How to check the figures</h2>\n<p>Each is the number of records of an event in the period:\
         <br><code>jitctl audit search --since {} --until {} --event EVENT --count</code></p>\n\
         <p>The audit log itself: <code>jitctl audit verify</code>, and the copy that left the host through syslog.</p>\n",
        safe(&report.about.since),
        safe(&report.about.until)
    ));
    let rows = AuditEvent::ALL.iter().map(|event| {
        vec![
            code(event.name()),
            Cell(format!("<span data-figure=\"{}\">{}</span>", event.name(), report.figure(*event)), "n"),
        ]
    });
    page.table(&["Event", "Records"], rows);
}

#[cfg(test)]
mod tests {
    use super::super::model::Denial;
    use super::super::samples::a_report;
    use super::*;
    use jit_proto::escape::is_unsafe;
    use proptest::prelude::*;

    #[test]
    fn the_page_needs_nothing_and_runs_nothing() {
        let page = page(&a_report("x"));
        for word in ["http://", "https://", "<script", "@import", "url(", " src=", "onload", "onclick"] {
            assert!(!page.contains(word), "{word}");
        }
        // Links lead to sections of the page itself, and each of these exists.
        for link in page.split(" href=\"").skip(1) {
            let id = link.split('"').next().and_then(|link| link.strip_prefix('#')).unwrap();
            assert!(page.contains(&format!(" id=\"{id}\"")), "{id}");
        }
        assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<svg"));
    }

    #[test]
    fn figures_stand_in_it_as_they_are() {
        let page = page(&a_report("x"));
        for (event, count) in [("access.allowed", 1), ("grant.started", 2), ("session.stuck", 0)] {
            assert!(page.contains(&format!("<span data-figure=\"{event}\">{count}</span>")), "{event}");
        }
        assert!(page.contains("<div class=\"tile \" data-event=\"access.allowed\"><b>1</b>"), "{page}");
        assert!(page.contains("the window closed: 3 processes ended, 0 left"));
    }

    #[test]
    fn what_needs_attention_comes_first_and_many_refusals_are_folded() {
        let mut report = a_report("x");
        let denial = report.denials[0].clone();
        report.denials = (0..1000)
            .map(|n| Denial {
                user: if n % 10 == 0 { "eve" } else { "mallory" }.to_owned(),
                seq: n,
                ..denial.clone()
            })
            .collect();
        let page = page(&report);
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}"));
        assert!(at("id=\"look\"") < at("class=\"tiles\"") && at("id=\"look\"") < at("id=\"glance\""));
        assert!(at("<span class=\"pill\">900 times</span>") < at("<span class=\"pill\">100 times</span>"));
        assert_eq!(page.matches("<details class=\"alike\">").count(), 2);
        assert!(
            page.contains("860 more between these") && page.matches("<tr>").count() < 250,
            "{}",
            page.len()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn nobody_writes_html(text in "\\PC{1,20}|[<>&\"'`=/ \r\n]{1,12}|<script>alert\\(1\\)</script>|\" onload=\"x") {
            let page = page(&a_report(&text));
            let harmless = super::page(&a_report("x"));
            for mark in ['<', '>', '"', '\''] {
                prop_assert_eq!(page.matches(mark).count(), harmless.matches(mark).count(), "{}", mark);
            }
            prop_assert!(!page.chars().any(|c| c != '\n' && is_unsafe(c)));
        }
    }
}
