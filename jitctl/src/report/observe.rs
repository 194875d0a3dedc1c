//! `report --observe`: what switching on would have denied, for whom, and which roles would have covered it.

use jit_proto::audit::filter::Filter;
use jit_proto::audit::observation::{Observation, Observed, ObservedCommand, ObservedPerson, ObservedRole};
use jit_proto::time::WallTime;
use serde::Serialize;

use super::compute::parse;
use super::model::{About, Span};
use super::progress::Progress;
use super::{ReportArgs, WALK};
use crate::audit::pages::{Pages, tell_beginning};
use crate::client::Daemon;
use crate::clock;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::render::layout::{Column, Sheet, table};
use crate::render::{counted, detail, list, or_dash};
use crate::target::Target;

/// A table of the text has no more rows than this; `--json` has all of them.
const MAX_ROWS: usize = 50;

/// The report, as it is written as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct ObserveReport {
    #[serde(flatten)]
    pub(super) about: About,
    pub(super) records: Span,
    #[serde(flatten)]
    pub(super) observation: Observation,
}

/// `report --observe`.
pub(super) async fn made(args: ReportArgs, output: &Output) -> Result<Exit, Failure> {
    let daemon = Daemon::reach_for_search().await?;
    let until = args.until.unwrap_or_else(clock::now);
    let shown = args.output.is_some() || !output.is_terminal();
    let last = daemon.read(0, 1).await?.last().map_or(0, |record| record.seq);
    let progress = Progress::new(last, shown.then_some(output));
    let filter = Filter {
        since: args.since.map(|since| since.0),
        until: Some(until.0),
        walk: WALK,
        ..Filter::default()
    };
    let mut observed = Observed::default();
    let mut records = Span::default();
    let mut pages = Pages::of(&daemon, filter, 1);
    let mut begins = None;
    while let Some(page) = pages.next().await? {
        progress.read(&page);
        for stored in &page {
            records.count += 1;
            records.last = stored.seq;
            if records.first == 0 {
                records.first = stored.seq;
            }
            match parse(stored) {
                Some(record) => {
                    begins = begins.or_else(|| WallTime::from_rfc3339(&record.time));
                    observed.take(&record);
                }
                None => records.unreadable += 1,
            }
        }
    }
    drop(progress);
    tell_beginning(&daemon, 1, args.since, output).await?;
    let about = About {
        host: daemon.host().await?,
        version: env!("CARGO_PKG_VERSION"),
        made_at: clock::now().to_local_rfc3339(),
        since: args.since.or(begins).map_or_else(String::new, WallTime::to_local_rfc3339),
        until: until.to_local_rfc3339(),
    };
    let unreadable = records.unreadable;
    let report = ObserveReport { about, records, observation: observed.finish() };
    let text = if output.is_json() {
        let written = crate::json::document(&report);
        written.map_err(|why| Failure::strange_answer("the report", &why))? + "\n"
    } else {
        let mut sheet = output.sheet(args.output.is_some());
        sheet.width = sheet.width.filter(|_| args.output.is_none());
        text(&report, &sheet)
    };
    if args.output.is_none() {
        output.page();
    }
    let mut to = Target::of(args.output.as_deref(), output)?;
    to.put(&text)?;
    to.finish()?;
    if unreadable > 0 {
        let records = counted(unreadable, "record", "records");
        output.talk(&format!("{records} cannot be read and are in no figure: jitctl audit verify"));
        return Ok(Exit::ChainBroken);
    }
    Ok(Exit::Done)
}

/// The report for people.
pub(crate) fn text(report: &ObserveReport, sheet: &Sheet) -> String {
    let ObserveReport { about, observation: all, .. } = report;
    let mut text = format!(
        "observe mode on {}, {} to {}\n",
        or_dash(&about.host),
        or_dash(&about.since),
        or_dash(&about.until)
    );
    let calls = |count| counted(count, "call", "calls");
    if all.calls == 0 {
        text += "no call passed that enforcing would have denied\n";
    } else {
        text += &format!("{} passed that enforcing would have denied\n", calls(all.calls));
        text += &detail("own roles", &format!("{} a role of the caller would have covered", all.covered));
        text += &detail(
            "other roles",
            &format!(
                "{} only a role would have covered that the caller may not request",
                all.covered_by_other_roles
            ),
        );
        text += &detail("no role", &format!("{} no role would have covered", all.uncovered));
        if all.not_recorded > 0 {
            text += &detail(
                "counted only",
                &format!("{} were not recorded one by one: their commands are not known", all.not_recorded),
            );
        }
        let by: Vec<String> = all.observed_by.iter().map(|(by, count)| format!("{by} {count}")).collect();
        text += &detail("passed by", &list(&by));
    }
    text += &detail("denied", &calls(all.denied));
    text += &part("who", &all.people, sheet, &PERSON, |it: &ObservedPerson| {
        vec![
            name(it.user.as_deref(), it.uid),
            it.calls.to_string(),
            it.covered.to_string(),
            it.covered_by_other_roles.to_string(),
            it.uncovered.to_string(),
            it.not_recorded.to_string(),
        ]
    });
    text += &part("roles that would have covered calls", &all.roles, sheet, &ROLE, |it: &ObservedRole| {
        vec![or_dash(&it.role), it.calls.to_string(), list(&it.people), it.calls_of_others.to_string()]
    });
    let (covered, not): (Vec<_>, Vec<_>) =
        all.commands.iter().cloned().partition(|it| !it.eligible_roles.is_empty());
    let command = |it: &ObservedCommand| {
        let roles = if it.eligible_roles.is_empty() { &it.other_roles } else { &it.eligible_roles };
        vec![
            name(it.user.as_deref(), it.uid),
            it.calls.to_string(),
            or_dash(&it.service),
            or_dash(it.run_as.as_deref().unwrap_or_default()),
            list(roles),
            or_dash(&it.command),
            or_dash(&it.why),
        ]
    };
    text += &part("calls that no role of the caller would have covered", &not, sheet, &COMMAND, command);
    text += &part("calls that a role of the caller would have covered", &covered, sheet, &COMMAND, command);
    text
}

/// The title of a column, its rank, and whether it holds free text.
type Heading = (&'static str, u8, bool);
const PERSON: [Heading; 6] = [
    ("USER", 0, false),
    ("CALLS", 0, false),
    ("OWN ROLES", 1, false),
    ("OTHER ROLES", 2, false),
    ("NO ROLE", 1, false),
    ("COUNTED ONLY", 3, false),
];
const ROLE: [Heading; 4] =
    [("ROLE", 0, false), ("CALLS", 0, false), ("PEOPLE", 1, true), ("CALLS OF OTHERS", 2, false)];
const COMMAND: [Heading; 7] = [
    ("USER", 0, false),
    ("CALLS", 0, false),
    ("SERVICE", 3, false),
    ("AS", 2, false),
    ("ROLES", 1, true),
    ("COMMAND", 0, true),
    ("WHY", 4, true),
];

/// A heading and its table; nothing where there are no rows.
fn part<T>(
    title: &str,
    rows: &[T],
    sheet: &Sheet,
    columns: &[Heading],
    cells: impl Fn(&T) -> Vec<String>,
) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let columns: Vec<Column> = columns
        .iter()
        .map(
            |&(title, rank, is_text)| {
                if is_text { Column::text(title, rank) } else { Column::new(title, rank) }
            },
        )
        .collect();
    let shown = rows.iter().take(MAX_ROWS).map(cells).collect();
    let mut text = format!("\n{title}\n{}", table(&columns, shown, sheet));
    if let Some(more) = rows.len().checked_sub(MAX_ROWS).filter(|more| *more > 0) {
        text += &format!("and {more} more: --json has all of them\n");
    }
    text
}

fn name(user: Option<&str>, uid: Option<u32>) -> String {
    match (user, uid) {
        (Some(user), _) => or_dash(user),
        (None, Some(uid)) => format!("uid {uid}"),
        (None, None) => "others".to_owned(),
    }
}

/// A report in which this text is everywhere where people can put one.
#[cfg(test)]
pub(crate) fn a_report(text: &str) -> ObserveReport {
    let own = || text.to_owned();
    let person = ObservedPerson {
        user: Some(own()),
        uid: Some(2004),
        calls: 3,
        not_recorded: 1,
        covered: 1,
        uncovered: 1,
        ..ObservedPerson::default()
    };
    let command = |eligible_roles: Vec<String>| ObservedCommand {
        user: Some(own()),
        uid: Some(2004),
        service: own(),
        run_as: Some(own()),
        run_as_group: None,
        command: own(),
        why: own(),
        eligible_roles,
        other_roles: Vec::new(),
        calls: 1,
    };
    let role = ObservedRole { role: own(), calls: 1, people: vec![own()], calls_of_others: 0 };
    ObserveReport {
        about: About { host: own(), version: "0", made_at: own(), since: own(), until: own() },
        records: Span::default(),
        observation: Observation {
            calls: 3,
            not_recorded: 1,
            covered: 1,
            uncovered: 1,
            denied: 2,
            observed_by: [(own(), 2)].into(),
            people: vec![person],
            commands: vec![command(vec![own()]), command(Vec::new())],
            roles: vec![role],
            ..Observation::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::a_sheet;

    #[test]
    fn the_figures_stand_first_and_what_no_role_covers_before_the_rest() {
        let text = text(&a_report("dave"), &a_sheet(None));
        assert!(text.contains("3 calls passed that enforcing would have denied\n"), "{text}");
        assert!(text.contains("1 were not recorded one by one"), "{text}");
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
        assert!(at("calls that no role of the caller") < at("calls that a role of the caller"));
        assert!(at("USER") > at("denied") && text.contains("2 calls"), "{text}");
    }

    #[test]
    fn a_period_without_calls_says_so() {
        let nothing = ObserveReport { observation: Observation::default(), ..a_report("x") };
        let text = text(&nothing, &a_sheet(None));
        assert!(text.contains("no call passed that enforcing would have denied"), "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn a_long_table_is_cut_and_says_so() {
        let mut report = a_report("x");
        report.observation.people = vec![report.observation.people[0].clone(); 60];
        assert!(text(&report, &a_sheet(Some(80))).contains("and 10 more: --json has all of them\n"));
    }
}
