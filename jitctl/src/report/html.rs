//! The report as one HTML file: nothing in it is fetched, nothing in it runs, and it prints.

use std::collections::BTreeMap;

use jit_proto::audit::record::AuditEvent;
use jit_proto::escape::Escaped;
use jit_proto::time::format_duration;

use super::chart::{bars, by_hour, columns, over_time};
use super::{Denial, Report, Run, Window, command, counted, removed};

const STYLE: &str = include_str!("style.css");
/// What the page may do: show itself. Whoever put something into it by a way we have not thought of still runs nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
/// Bars of a chart.
const MAX_BARS: usize = 10;
/// A table with more rows is folded.
const MAX_OPEN_ROWS: usize = 30;
/// With more windows than this, they are folded, and gathered by person.
const MAX_OPEN_WINDOWS: usize = 20;
/// Of refusals of one kind the first and last so many are rows; the others are counted, and found by a search.
const MAX_ALIKE: usize = 20;
/// The parts of the page, by id.
const PARTS: [(&str, &str); 10] = [
    ("look", "To look at"),
    ("glance", "At a glance"),
    ("windows", "Windows"),
    ("refused", "Refused"),
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
        "<footer>Made {} by jitctl {} from the record of {host}. Times are local to where it was made.</footer>\n\
         </main>\n</body>\n</html>\n",
        safe(&report.about.made_at),
        report.about.version
    ));
    page.0
}

/// A text as HTML text or as the value of a quoted attribute.
pub(super) fn safe(text: &str) -> String {
    let escaped = Escaped(text).to_string();
    escaped.chars().fold(String::with_capacity(escaped.len()), |mut safe, c| {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
        safe
    })
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
    let people = {
        let mut names: Vec<&str> = report.windows.iter().map(|window| window.user.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names.len() as u64
    };
    let direct = report.direct().count() as u64;
    let rows: [(u64, &str, Option<AuditEvent>, &str); 10] = [
        (figure(AuditEvent::GrantStarted), "windows opened", Some(AuditEvent::GrantStarted), ""),
        (people, "people held one", None, ""),
        (figure(AuditEvent::AccessAllowed), "elevations allowed", Some(AuditEvent::AccessAllowed), ""),
        (figure(AuditEvent::AccessDenied), "elevations refused", Some(AuditEvent::AccessDenied), ""),
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
    page.put("<h2 id=\"look\">To look at</h2>\n");
    if report.attention.is_empty() {
        page.put("<p class=\"soft\">Nothing stands out: every window was asked for and approved, every session that was ended is gone, and the record is whole.</p>\n");
        return;
    }
    page.put("<ul class=\"look\">");
    report.attention.iter().for_each(|note| {
        page.put(&format!("<li><a href=\"#{}\">{}</a></li>", safe(&note.place), safe(note)));
    });
    page.put("</ul>\n");
}

fn charts(page: &mut Page, report: &Report) {
    let (over_time, width) = over_time(&report.moments, report.bounds);
    let mut roles: BTreeMap<&str, u64> = BTreeMap::new();
    let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
    for window in &report.windows {
        *roles.entry(&window.role).or_default() += 1;
        *ends.entry(window.ended.as_ref().map_or("still open", |ended| ended.how)).or_default() += 1;
    }
    let mut sessions: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, run) in report.runs() {
        *sessions.entry(run.ended_by.as_deref().unwrap_or("still open")).or_default() += 1;
    }
    let mut people: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for moment in &report.moments {
        let counts = people.entry(&moment.user).or_default();
        counts[usize::from(!moment.allowed)] += 1;
    }
    let single = |counts: BTreeMap<&str, u64>| {
        most(counts.into_iter().map(|(name, count)| (name.to_owned(), [count, 0])).collect())
    };
    let people = most(people.into_iter().map(|(name, counts)| (name.to_owned(), counts)).collect());
    let cut = |cut: Option<u64>| {
        let said = cut
            .map(|cut| format!("; the scale ends at {cut}, and longer bars are cut and have their number"));
        said.map(|said| format!("<span>{said}</span>")).unwrap_or_default()
    };
    let legend = "<span><i class=\"key allowed\"></i>allowed<i class=\"key denied\"></i>refused</span>";
    page.put("<h2 id=\"glance\">At a glance</h2>\n<div class=\"charts\">\n");
    let mut figure = |caption: &str, svg: String, empty: bool| {
        let body = if empty { "<p class=\"soft\">None in the period.</p>".to_owned() } else { svg };
        page.put(&format!("<figure><figcaption>{caption}</figcaption>{body}</figure>\n"));
    };
    let none = report.moments.is_empty();
    let (svg, ends_at) = columns("Elevations over the period", &over_time);
    figure(&format!("Elevations {width} {legend}{}", cut(ends_at)), svg, none);
    let (svg, ends_at) = columns("Elevations by hour of the day", &by_hour(&report.moments));
    figure(&format!("Elevations by hour of the day {legend}{}", cut(ends_at)), svg, none);
    let (svg, ends_at) = bars("Elevations by person", &people, ["allowed", "refused"]);
    figure(&format!("Elevations by person {legend}{}", cut(ends_at)), svg, people.is_empty());
    let (roles, ends, sessions) = (single(roles), single(ends), single(sessions));
    for (name, rows, what) in [
        ("How elevated sessions ended", &sessions, "sessions"),
        ("Windows by role", &roles, "windows"),
        ("How windows ended", &ends, "windows"),
    ] {
        let (svg, ends_at) = bars(name, rows, [what, ""]);
        figure(&format!("{name}{}", cut(ends_at)), svg, rows.is_empty());
    }
    page.put("</div>\n");
}

/// The longest bars first; what does not fit is gathered in a last one.
fn most(mut rows: Vec<(String, [u64; 2])>) -> Vec<(String, [u64; 2])> {
    rows.sort_by(|a, b| b.1.iter().sum::<u64>().cmp(&a.1.iter().sum()).then_with(|| a.0.cmp(&b.0)));
    if rows.len() > MAX_BARS {
        let rest = rows.split_off(MAX_BARS - 1);
        let sum = |kind: usize| rest.iter().map(|(_, counts)| counts[kind]).sum();
        rows.push((format!("{} others", rest.len()), [sum(0), sum(1)]));
    }
    rows
}

fn windows(page: &mut Page, report: &Report) {
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
    let from = window.started.as_deref().unwrap_or("before the record");
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
        // Let through, and then sudo had nothing to run: no such command, or sudoers says no.
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

fn refused(page: &mut Page, report: &Report) {
    page.put("<h2 id=\"refused\">Refused at the gate</h2>\n");
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
        page.put("<h3 style=\"margin-top:1.2rem\">Refused requests, approvals and other commands</h3>\n");
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

fn requests(page: &mut Page, report: &Report) {
    page.put("<h2 id=\"requests\">Requests that came to nothing</h2>\n");
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
    page.table(&["When", "Who", "Role", "Why", "Ticket", "What became of it", "Request"], rows);
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
        "<h2 id=\"standing\">Standing privilege</h2>\n<p class=\"soft\">Found on the host when this report was made; it is not in the record. \
         Where a service asks jitd, a sudoers rule is of use only while a window is open.</p>\n",
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
        page.table(&["sudoers rule for", "Who that is", "As", "Commands", "Password"], rows);
    }
}

fn who_that_is(rule: &super::standing::SudoRule) -> String {
    if rule.members.is_empty() && rule.who.starts_with('%') {
        "nobody".to_owned()
    } else {
        rule.members.join(", ")
    }
}

fn controls(page: &mut Page, report: &Report) {
    page.put(
        "<h2 id=\"controls\">Controls</h2>\n<p class=\"soft\">What each asks in short, what in this report speaks to it, and what neither it nor jitd \
         shows. No statement that a control is met.</p>\n",
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
         <p>The record itself: <code>jitctl audit verify</code>, and the copy that left the host through syslog.</p>\n",
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

/// A cell of a table: HTML, and the class it is set in.
struct Cell(String, &'static str);

impl From<String> for Cell {
    fn from(html: String) -> Self {
        Self(html, "")
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn plain(text: &str) -> Cell {
    Cell(safe(text), "")
}

fn time(text: &str) -> Cell {
    Cell(safe(text), "t")
}

fn code(text: &str) -> Cell {
    let html = if text.is_empty() { String::new() } else { format!("<code>{}</code>", safe(text)) };
    Cell(html, "")
}

fn number(number: u64) -> Cell {
    Cell(number.to_string(), "n")
}

struct Page(String);

impl Page {
    /// HTML as it is.
    fn put(&mut self, html: &str) {
        self.0.push_str(html);
    }

    /// A table; a sentence where there is no row.
    fn table(&mut self, heading: &[&str], rows: impl Iterator<Item = Vec<Cell>>) {
        let class =
            |class: &str| if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        let rows: Vec<Vec<Cell>> = rows.collect();
        let Some(first) = rows.first() else {
            self.put("<p class=\"soft\">None in the period.</p>\n");
            return;
        };
        let heading: String = heading
            .iter()
            .zip(first)
            .map(|(name, cell)| format!("<th{}>{name}</th>", class(if cell.1 == "n" { "n" } else { "" })))
            .collect();
        let folded = rows.len() > MAX_OPEN_ROWS;
        if folded {
            self.put(&format!("<details><summary>{} rows</summary>", rows.len()));
        }
        self.put(&format!("<div class=\"scroll\"><table><thead><tr>{heading}</tr></thead><tbody>"));
        for row in rows {
            let cells: String = row.iter().map(|cell| format!("<td{}>{cell}</td>", class(cell.1))).collect();
            self.put(&format!("<tr>{cells}</tr>"));
        }
        self.put("</tbody></table></div>\n");
        if folded {
            self.put("</details>\n");
        }
    }
}

#[cfg(test)]
mod tests {
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
        // Links lead to parts of the page itself, and each of these is there.
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
