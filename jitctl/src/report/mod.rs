//! The report for auditors: computed from the records of a period, then written as HTML, Markdown, CSV or JSON.
//!
//! Computing and writing are pure; `made` asks the daemon and, for root, looks at what privilege stands on the host.

pub(crate) mod standing;

mod gaps;

mod attention;

mod progress;

mod controls;

mod chart;

mod html;

mod markdown;

mod table;

#[cfg(test)]
mod samples;

use std::collections::{BTreeMap, BTreeSet};

use jit_proto::audit::filter::Filter;
use jit_proto::audit::record::{AuditEvent, Record};
use jit_proto::audit::render::words;
use jit_proto::bus::view::{RecordView, VerifyView};
use jit_proto::time::WallTime;
use serde::Serialize;

use crate::args::{ReportArgs, ReportFormat};
use crate::call::Daemon;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::record::{Pages, Target};
use crate::{absent, clock};
use attention::Note;
use progress::Progress;
use standing::Standing;
pub(crate) use standing::{said_by, sudoers_names};

/// The period's records are read one and all: what somebody did to the index hides nothing from the report.
const WALK: Option<bool> = Some(true);
/// No window is longer than this, so that one that was open when the period began started no earlier.
const MAX_WINDOW: u64 = 366 * 86_400_000_000;

/// `report`.
pub(crate) async fn made(args: ReportArgs, output: &Output) -> Result<Exit, Failure> {
    absent::check_bounds(Some(args.since), args.until, clock::now(), output)?;
    let daemon = Daemon::reach_for_search().await?;
    let (since, until) = (args.since.0, args.until.unwrap_or_else(clock::now).0);
    // Where the report itself goes to the terminal, nothing else does.
    let shown = args.output.is_some() || !output.is_terminal();
    let last = daemon.read(0, 1).await?.last().map_or(0, |record| record.seq);
    let progress = Progress::new(last, shown.then_some(output));
    let mut records = Vec::new();
    let mut pages = Pages::of(&daemon, period(since, until), 1);
    while let Some(mut page) = pages.next().await? {
        records.append(&mut page);
        progress.read(&records);
    }
    progress.tells("looking for what explains the windows");
    let before = context(&daemon, &records, since).await?;
    progress.tells("verifying the record");
    let chain = Daemon::reach_for_verification().await?.verify().await?;
    let about = About {
        host: daemon.host().await?,
        version: env!("CARGO_PKG_VERSION"),
        made_at: clock::now().to_local_rfc3339(),
        since: WallTime(since).to_local_rfc3339(),
        until: WallTime(until).to_local_rfc3339(),
    };
    let report = compute(about, (since, until), &before, &records, chain, standing::found());
    progress.tells("writing the report");
    let format = if output.is_json() { ReportFormat::Json } else { args.format };
    let text = match format {
        ReportFormat::Html => html::page(&report),
        ReportFormat::Md => markdown::page(&report),
        ReportFormat::Csv => table::rows(&report),
        ReportFormat::Json => {
            let written = crate::json::document(&report);
            written.map_err(|why| Failure::strange_answer("the report", &why))? + "\n"
        }
    };
    drop(progress);
    let mut to = Target::of(args.output.as_deref(), output)?;
    to.put(&text)?;
    to.finish()?;
    if let Some(path) = &args.output {
        output.talk(&format!("the report is in {}", path.display()));
    }
    Ok(if report.chain.whole { Exit::Done } else { Exit::ChainBroken })
}

fn period(since: u64, until: u64) -> Filter {
    Filter { since: Some(since), until: Some(until), walk: WALK, ..Filter::default() }
}

/// What was recorded before the period about windows that reached into it.
async fn context(daemon: &Daemon, records: &[RecordView], since: u64) -> Result<Vec<RecordView>, Failure> {
    // Nothing is before the first record there ever was, and looking for each grant in it would take long.
    if records.first().is_some_and(|record| record.seq == 1) {
        return Ok(Vec::new());
    }
    let parsed: Vec<Record> = records.iter().filter_map(parse).collect();
    let started: BTreeSet<u64> = parsed
        .iter()
        .filter(|record| record.event == AuditEvent::GrantStarted)
        .filter_map(|r| r.facts.grant)
        .collect();
    let mut wanted: BTreeSet<u64> = parsed.iter().filter_map(|record| record.facts.grant).collect();
    let earlier = Filter {
        event: Some(AuditEvent::GrantStarted.name().to_owned()),
        ..period(since.saturating_sub(MAX_WINDOW), since)
    };
    for record in Pages::of(daemon, earlier, 1).all().await?.iter().filter_map(parse) {
        let end = record.facts.until.as_deref().and_then(WallTime::from_rfc3339);
        if end.is_none_or(|end| end.0 > since) {
            wanted.extend(record.facts.grant);
        }
    }
    let mut before = Vec::new();
    for id in wanted.difference(&started) {
        let known_before = Filter { until: Some(since), ..Filter::default() };
        for filter in [
            Filter { grant: Some(*id), ..known_before.clone() },
            Filter { request: Some(*id), grant: None, ..known_before },
        ] {
            before.append(&mut Pages::of(daemon, filter, 1).all().await?);
        }
    }
    // A stack that did not ask when the period began; the daemon's starts say when it looked anew.
    for event in [AuditEvent::StackBroken, AuditEvent::StackRestored, AuditEvent::DaemonStarted] {
        let earlier =
            Filter { event: Some(event.name().to_owned()), until: Some(since), ..Filter::default() };
        before.append(&mut Pages::of(daemon, earlier, 1).all().await?);
    }
    before.sort_by_key(|record| record.seq);
    before.dedup_by_key(|record| record.seq);
    Ok(before)
}

fn parse(stored: &RecordView) -> Option<Record> {
    serde_json::from_str(&stored.line).ok()
}

/// What the report is about.
#[derive(Debug, Clone, Serialize)]
struct About {
    host: String,
    /// Of jitctl.
    version: &'static str,
    made_at: String,
    since: String,
    until: String,
}

/// Everything that the report says.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    about: About,
    records: Span,
    chain: VerifyView,
    /// How often each event is in the period; what `audit search --count` says for it.
    figures: BTreeMap<&'static str, u64>,
    attention: Vec<Note>,
    windows: Vec<Window>,
    /// Requests of the period that came to no window in it.
    requests: Vec<Asked>,
    denials: Vec<Denial>,
    refused_commands: Vec<Refused>,
    left_behind: Vec<Finding>,
    changes: Vec<Change>,
    standing: Standing,
    controls: Vec<controls::Control>,
    #[serde(skip)]
    bounds: (u64, u64),
    /// Allowed and denied, for the charts.
    #[serde(skip)]
    moments: Vec<Moment>,
}

/// The records that the report was made from.
#[derive(Debug, Default, Serialize)]
struct Span {
    count: u64,
    first: u64,
    last: u64,
    /// Records of the period that cannot be read; the chain's result says which is the first bad one.
    unreadable: u64,
}

/// A role held for a while.
#[derive(Debug, Default, Clone, Serialize)]
struct Window {
    grant: u64,
    user: String,
    uid: Option<u32>,
    role: String,
    reason: String,
    ticket: String,
    approvers: Vec<String>,
    approvals: Vec<Approval>,
    /// The operator who gave it without a request.
    given_by: Option<String>,
    requested: Option<String>,
    started: Option<String>,
    until: Option<String>,
    extensions: Vec<String>,
    ended: Option<Ended>,
    runs: Vec<Run>,
    #[serde(skip)]
    started_us: Option<u64>,
    #[serde(skip)]
    ended_us: Option<u64>,
}

#[derive(Debug, Clone, Serialize)]
struct Approval {
    by: String,
    at: String,
    comment: String,
}

/// How a window ended.
#[derive(Debug, Clone, Serialize)]
struct Ended {
    at: String,
    how: &'static str,
    by: Option<String>,
    why: Option<String>,
}

/// A call of sudo that was let through, and what became of it.
#[derive(Debug, Default, Clone, Serialize)]
struct Run {
    seq: u64,
    at: String,
    session: Option<u64>,
    service: String,
    run_as: String,
    argv: Vec<String>,
    tty: String,
    audit_session: Option<u32>,
    ended: Option<String>,
    ended_by: Option<String>,
    killed: Option<u64>,
    escaped: Option<u64>,
    left: Option<u64>,
    stuck: bool,
}

/// A request and what became of it.
#[derive(Debug, Default, Clone, Serialize)]
struct Asked {
    request: u64,
    at: String,
    user: String,
    role: String,
    reason: String,
    ticket: String,
    state: &'static str,
    by: Option<String>,
    why: Option<String>,
}

/// A call of sudo that was refused.
#[derive(Debug, Clone, Serialize)]
struct Denial {
    seq: u64,
    at: String,
    user: String,
    uid: Option<u32>,
    service: String,
    tty: String,
    argv: Vec<String>,
    why: String,
}

/// A command of people or scripts that was refused.
#[derive(Debug, Clone, Serialize)]
struct Refused {
    seq: u64,
    at: String,
    by: String,
    what: String,
}

/// Privilege that somebody left for later.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    seq: u64,
    at: String,
    user: String,
    role: String,
    grant: Option<u64>,
    changes: Vec<String>,
}

/// Something about policy, daemon or clock.
#[derive(Debug, Clone, Serialize)]
struct Change {
    seq: u64,
    at: String,
    event: &'static str,
    by: Option<String>,
    policy: Option<String>,
    detail: String,
}

/// An elevation for the charts.
#[derive(Debug, Clone)]
struct Moment {
    at: u64,
    user: String,
    allowed: bool,
}

/// Everything from the records of a period, and from those before it that explain its windows.
fn compute(
    about: About,
    bounds: (u64, u64),
    before: &[RecordView],
    records: &[RecordView],
    chain: VerifyView,
    standing: Standing,
) -> Report {
    let mut gathered = Gathered::default();
    for record in before.iter().filter_map(parse) {
        // What ran before the period is no part of it.
        if matches!(record.event.name().split('.').next(), Some("grant" | "request")) {
            gathered.take(&record);
        }
    }
    // From here on what comes counts.
    gathered.requests.clear();
    gathered.left_behind.clear();
    let mut span = Span {
        count: records.len() as u64,
        first: records.first().map_or(0, |record| record.seq),
        last: records.last().map_or(0, |record| record.seq),
        unreadable: 0,
    };
    let mut figures: BTreeMap<&'static str, u64> =
        AuditEvent::ALL.iter().map(|event| (event.name(), 0)).collect();
    for stored in records {
        match parse(stored) {
            Some(record) => {
                *figures.entry(record.event.name()).or_default() += 1;
                gathered.take(&record);
            }
            None => span.unreadable += 1,
        }
    }
    let windows: BTreeMap<u64, Window> = gathered
        .windows
        .into_iter()
        .filter(|(_, window)| window.ended_us.is_none_or(|ended| ended >= bounds.0))
        .collect();
    let requests =
        gathered.requests.into_values().filter(|asked| !windows.contains_key(&asked.request)).collect();
    let stacks: Vec<Record> = before.iter().chain(records).filter_map(parse).collect();
    let gaps = gaps::gaps(stacks.iter()).into_iter().filter(|gap| !gap.ends_before(span.first));
    let gaps: Vec<String> = gaps.map(|gap| gap.sentence()).collect();
    let mut report = Report {
        about,
        records: span,
        chain,
        figures,
        attention: Vec::new(),
        windows: windows.into_values().collect(),
        requests,
        denials: gathered.denials,
        refused_commands: gathered.refused,
        left_behind: gathered.left_behind,
        changes: gathered.changes,
        standing,
        controls: Vec::new(),
        bounds,
        moments: gathered.moments,
    };
    report.attention = attention::notes(&report);
    report.attention.extend(gaps.into_iter().map(|gap| attention::note("changes", gap)));
    report.controls = controls::of(&report);
    report
}

/// What was taken from the records so far.
#[derive(Debug, Default)]
struct Gathered {
    windows: BTreeMap<u64, Window>,
    /// Of each session, its window and its place there.
    sessions: BTreeMap<u64, (u64, usize)>,
    requests: BTreeMap<u64, Asked>,
    approvals: BTreeMap<u64, Vec<Approval>>,
    requested: BTreeMap<u64, String>,
    denials: Vec<Denial>,
    refused: Vec<Refused>,
    left_behind: Vec<Finding>,
    changes: Vec<Change>,
    moments: Vec<Moment>,
}

impl Gathered {
    fn take(&mut self, record: &Record) {
        let facts = &record.facts;
        let at = local(&record.time);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        match record.event {
            AuditEvent::RequestMade
            | AuditEvent::RequestApproved
            | AuditEvent::RequestDenied
            | AuditEvent::RequestCancelled
            | AuditEvent::RequestExpired => self.take_request(record, &at),
            AuditEvent::GrantStarted => {
                let Some(id) = facts.grant else { return };
                let window = self.window(record);
                window.started_us = micros(&record.time);
                window.started = Some(at);
                window.given_by = facts.actor.clone();
                let requested = self.requested.get(&id).cloned();
                let approvals = self.approvals.get(&id).cloned().unwrap_or_default();
                let window = self.window(record);
                window.requested = requested;
                window.approvals = approvals;
            }
            AuditEvent::GrantExtended => {
                let by = text(&facts.actor);
                let why = facts.detail.as_ref().or(facts.reason.as_ref()).cloned().unwrap_or_default();
                let window = self.window(record);
                let until = window.until.clone().unwrap_or_default();
                let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
                window.extensions.push(format!("{at}{by}, until {until}: {why}"));
            }
            AuditEvent::GrantWarned | AuditEvent::GrantShortened => drop(self.window(record)),
            AuditEvent::GrantExpired => self.end(record, "expired"),
            AuditEvent::GrantReleased => self.end(record, "released"),
            AuditEvent::GrantUnused => self.end(record, "unused"),
            AuditEvent::GrantRevoked => self.end(record, "revoked"),
            AuditEvent::GrantWithdrawn => self.end(record, "withdrawn"),
            AuditEvent::GrantLeftBehind => self.left_behind.push(Finding {
                seq: record.seq,
                at,
                user: text(&facts.user),
                role: text(&facts.role),
                grant: facts.grant,
                changes: facts.left_behind.clone().unwrap_or_else(|| facts.detail.iter().cloned().collect()),
            }),
            AuditEvent::CommandRefused => self.refused.push(Refused {
                seq: record.seq,
                at,
                by: text(&facts.actor),
                what: text(&facts.detail),
            }),
            AuditEvent::AccessAllowed => {
                self.moments.extend(moment(record, true));
                let run = Run {
                    seq: record.seq,
                    at,
                    session: facts.session,
                    service: text(&facts.service),
                    run_as: text(&facts.run_as),
                    argv: facts.argv.clone().unwrap_or_default(),
                    tty: text(&facts.tty),
                    audit_session: facts.audit_session,
                    ..Run::default()
                };
                self.run(record, run);
            }
            AuditEvent::AccessDenied => {
                self.moments.extend(moment(record, false));
                self.denials.push(Denial {
                    seq: record.seq,
                    at,
                    user: text(&facts.user),
                    uid: facts.uid,
                    service: text(&facts.service),
                    tty: text(&facts.tty),
                    argv: facts.argv.clone().unwrap_or_default(),
                    why: text(&facts.detail),
                });
            }
            AuditEvent::SessionOpened => {
                let run_as = text(&facts.run_as);
                self.session(record).run_as = run_as;
            }
            AuditEvent::SessionEnded => {
                let run = self.session(record);
                run.ended = Some(at);
                run.ended_by = facts.ended_by.clone();
                (run.killed, run.escaped, run.left) = (facts.killed, facts.escaped, facts.left);
            }
            AuditEvent::SessionStuck => {
                let run = self.session(record);
                run.stuck = true;
                run.left = facts.left;
            }
            // They are in the figures, and say nothing that is not said elsewhere.
            AuditEvent::AccessRoot
            | AuditEvent::SessionMoved
            | AuditEvent::SessionWarned
            | AuditEvent::AlertRaised
            | AuditEvent::NotifyFailed => {}
            AuditEvent::DaemonStarted
            | AuditEvent::DaemonStopped
            | AuditEvent::PolicyLoaded
            | AuditEvent::PolicyRefused
            | AuditEvent::ClockStepped
            | AuditEvent::SessionGroup
            | AuditEvent::ScopeTampered
            | AuditEvent::HostChanged
            | AuditEvent::StackBroken
            | AuditEvent::StackRestored
            | AuditEvent::LimitReached
            | AuditEvent::SinkDown
            | AuditEvent::SinkBack
            | AuditEvent::AuditSealed
            | AuditEvent::AuditResealed
            | AuditEvent::AuditUnsealed
            | AuditEvent::AuditBroken
            | AuditEvent::AuditRolledBack
            | AuditEvent::AuditRecovered
            | AuditEvent::AuditPruned => self.changes.push(Change {
                seq: record.seq,
                at,
                event: record.event.name(),
                by: facts.actor.clone(),
                policy: facts.policy.clone(),
                detail: text(&facts.detail),
            }),
        }
    }

    fn take_request(&mut self, record: &Record, at: &str) {
        let facts = &record.facts;
        let Some(id) = facts.request else { return };
        let asked = self.requests.entry(id).or_insert_with(|| Asked {
            request: id,
            at: at.to_owned(),
            user: facts.user.clone().unwrap_or_default(),
            role: facts.role.clone().unwrap_or_default(),
            reason: facts.reason.clone().unwrap_or_default(),
            ticket: facts.ticket.clone().unwrap_or_default(),
            state: "pending",
            ..Asked::default()
        });
        match record.event {
            AuditEvent::RequestApproved => {
                self.approvals.entry(id).or_default().push(Approval {
                    by: facts.actor.clone().unwrap_or_default(),
                    at: at.to_owned(),
                    comment: facts.detail.clone().unwrap_or_default(),
                });
            }
            AuditEvent::RequestDenied => {
                asked.state = "denied";
                asked.by = facts.actor.clone();
                asked.why = facts.detail.clone();
            }
            AuditEvent::RequestCancelled => asked.state = "cancelled",
            AuditEvent::RequestExpired => asked.state = "expired",
            _ => drop(self.requested.insert(id, at.to_owned())),
        }
    }

    /// The window of a record of its grant.
    fn window(&mut self, record: &Record) -> &mut Window {
        let facts = &record.facts;
        let id = facts.grant.unwrap_or(0);
        let window = self.windows.entry(id).or_default();
        window.grant = id;
        let known = [
            (&mut window.user, &facts.user),
            (&mut window.role, &facts.role),
            (&mut window.reason, &facts.reason),
            (&mut window.ticket, &facts.ticket),
        ];
        for (known, said) in known {
            if let (true, Some(said)) = (known.is_empty(), said) {
                known.clone_from(said);
            }
        }
        window.uid = window.uid.or(facts.uid);
        if let Some(approvers) = &facts.approvers {
            window.approvers.clone_from(approvers);
        }
        if let Some(until) = &facts.until {
            window.until = Some(local(until));
        }
        window
    }

    fn end(&mut self, record: &Record, how: &'static str) {
        let facts = &record.facts;
        let window = self.window(record);
        let (by, why) = (facts.actor.clone(), facts.detail.clone());
        window.ended = Some(Ended { at: local(&record.time), how, by, why });
        window.ended_us = micros(&record.time);
    }

    fn run(&mut self, record: &Record, run: Run) {
        let session = run.session;
        let window = self.window(record);
        window.runs.push(run);
        let place = (window.grant, window.runs.len() - 1);
        if let Some(session) = session {
            self.sessions.insert(session, place);
        }
    }

    /// The run of a session; one that began before the period has no beginning here.
    fn session(&mut self, record: &Record) -> &mut Run {
        let id = record.facts.session.unwrap_or(0);
        if !self.sessions.contains_key(&id) {
            let run = Run {
                session: Some(id),
                service: record.facts.service.clone().unwrap_or_default(),
                run_as: record.facts.run_as.clone().unwrap_or_default(),
                ..Run::default()
            };
            self.run(record, run);
        }
        let (grant, place) = self.sessions.get(&id).copied().unwrap_or_default();
        let runs = &mut self.windows.entry(grant).or_default().runs;
        if runs.len() <= place {
            runs.resize(place + 1, Run::default());
        }
        &mut runs[place]
    }
}

fn moment(record: &Record, allowed: bool) -> Option<Moment> {
    let user = record.facts.user.clone().unwrap_or_else(|| "(no account)".to_owned());
    Some(Moment { at: micros(&record.time)?, user, allowed })
}

fn micros(time: &str) -> Option<u64> {
    WallTime::from_rfc3339(time).map(|at| at.0)
}

/// A moment of the record for people; as it is where it is none.
fn local(time: &str) -> String {
    WallTime::from_rfc3339(time).map_or_else(|| time.to_owned(), WallTime::to_local)
}

impl Report {
    /// How often an event is in the period.
    fn figure(&self, event: AuditEvent) -> u64 {
        self.figures.get(event.name()).copied().unwrap_or(0)
    }

    /// Windows that an operator opened without a request.
    fn direct(&self) -> impl Iterator<Item = &Window> {
        self.windows.iter().filter(|window| window.given_by.is_some())
    }

    /// Everything that ran, with its window.
    fn runs(&self) -> impl Iterator<Item = (&Window, &Run)> {
        self.windows.iter().flat_map(|window| window.runs.iter().map(move |run| (window, run)))
    }

    /// Processes that were ended because their session was.
    fn killed(&self) -> u64 {
        self.runs().filter_map(|(_, run)| run.killed).sum()
    }
}

/// What is said of records that are no longer there, behind how many are; empty if all are.
fn removed(chain: &VerifyView) -> String {
    match (chain.pruned_by_record, chain.first) {
        (0, _) => String::new(),
        (by, 2) => format!("; record 1 was removed earlier, as record {by} says"),
        (by, first) => format!("; records 1 to {} were removed earlier, as record {by} says", first - 1),
    }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A command line as one text.
fn command(argv: &[String]) -> String {
    words(argv.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::samples::{a_report, stored};
    use super::*;
    use jit_proto::audit::record::Facts;

    #[test]
    fn who_had_what_and_why_and_how_it_ended() {
        let report = a_report("dave");
        assert_eq!(report.windows.len(), 2, "{:#?}", report.windows);
        let window = &report.windows[0];
        assert_eq!((window.grant, window.user.as_str(), window.role.as_str()), (7, "dave", "ops"));
        assert_eq!((window.approvers.as_slice(), window.approvals.len()), (["bob".to_owned()].as_slice(), 1));
        assert_eq!(window.approvals[0].comment, "restart only");
        assert_eq!(window.ended.as_ref().map(|ended| ended.how), Some("expired"));
        assert_eq!(window.runs.len(), 1);
        let run = &window.runs[0];
        assert_eq!((run.run_as.as_str(), run.killed, run.left), ("root", Some(3), Some(0)));
        assert_eq!(run.ended_by.as_deref(), Some("expired"));
        assert_eq!(command(&run.argv), "sudo systemctl restart nginx");
        assert_eq!(report.windows[1].given_by.as_deref(), Some("oscar"));
        assert_eq!(report.requests.len(), 1);
        assert_eq!(
            (report.requests[0].state, report.requests[0].why.as_deref()),
            ("denied", Some("not today"))
        );
        assert_eq!(report.denials.len(), 1);
        assert_eq!(report.figure(AuditEvent::AccessAllowed), 1);
        assert_eq!(report.figures.values().sum::<u64>(), report.records.count);
        assert_eq!(report.killed(), 3);
        assert!(
            report.attention.iter().any(|note| note.contains("oscar without a request")),
            "{:?}",
            report.attention
        );
    }

    #[test]
    fn a_window_from_before_the_period_is_there_and_not_counted() {
        let about = a_report("x").about;
        let grant = |event, at| {
            let facts = Facts {
                user: Some("alice".into()),
                role: Some("ops".into()),
                grant: Some(3),
                ..Facts::default()
            };
            stored(1, at, event, facts)
        };
        let before = [grant(AuditEvent::GrantStarted, 100)];
        let ended =
            Facts { session: Some(9), ended_by: Some("exited".into()), grant: Some(3), ..Facts::default() };
        let inside = [stored(2, 2_000_000, AuditEvent::SessionEnded, ended)];
        let whole = a_report("x").chain;
        let report = compute(
            about.clone(),
            (1_000_000, 3_000_000),
            &before,
            &inside,
            whole.clone(),
            Standing::default(),
        );
        assert_eq!(report.windows.len(), 1);
        assert_eq!(report.windows[0].user, "alice");
        assert_eq!(report.windows[0].runs[0].ended_by.as_deref(), Some("exited"));
        assert_eq!(report.figure(AuditEvent::GrantStarted), 0);
        // Over before the period began: no part of it.
        let before = [grant(AuditEvent::GrantStarted, 100), grant(AuditEvent::GrantExpired, 200)];
        let report = compute(about, (1_000_000, 3_000_000), &before, &[], whole, Standing::default());
        assert!(report.windows.is_empty());
    }

    #[test]
    fn a_period_that_begins_before_the_record_does_is_told() {
        let sample = a_report("x");
        let chain =
            VerifyView { first: 12, records: 40, pruned_by_record: 30, pruned_to: 11, ..sample.chain };
        let about = |seq| [stored(seq, 5, AuditEvent::DaemonStarted, Facts::default())];
        let report =
            |seq| compute(sample.about.clone(), (0, 9), &[], &about(seq), chain.clone(), Standing::default());
        let notes = report(12).attention;
        assert!(notes[0].contains("begins with 12") && notes[0].contains("record 30"), "{notes:?}");
        assert!(!report(13).attention.iter().any(|note| note.contains("begins with")));
        assert_eq!(removed(&chain), "; records 1 to 11 were removed earlier, as record 30 says");
    }

    #[test]
    fn a_broken_record_is_the_first_thing_to_look_at() {
        let sample = a_report("x");
        let chain = VerifyView {
            whole: false,
            bad_seq: 4,
            problem: "its content does not match its hash".into(),
            ..sample.chain
        };
        let broken = RecordView { seq: 4, hash: String::new(), seal: String::new(), line: "{".into() };
        let report = compute(sample.about, (0, 1), &[], &[broken], chain, Standing::default());
        assert!(report.attention[0].contains("record 4 its content"), "{:?}", report.attention);
        assert_eq!(report.records.unreadable, 1);
    }
}
