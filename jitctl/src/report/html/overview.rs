//! The charts at the head of the page.

use std::collections::BTreeMap;

use super::chart::{bars, by_hour, columns, over_time};
use super::elements::Page;
use crate::report::model::Report;

/// Bars of a chart.
const MAX_BARS: usize = 10;

/// The part of the page with all charts.
pub(super) fn charts(page: &mut Page, report: &Report) {
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
    let legend = "<span><i class=\"key allowed\"></i>allowed<i class=\"key denied\"></i>denied</span>";
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
    let (svg, ends_at) = bars("Elevations by person", &people, ["allowed", "denied"]);
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

/// The longest bars first; the others are merged into a last one.
fn most(mut rows: Vec<(String, [u64; 2])>) -> Vec<(String, [u64; 2])> {
    rows.sort_by(|a, b| b.1.iter().sum::<u64>().cmp(&a.1.iter().sum()).then_with(|| a.0.cmp(&b.0)));
    if rows.len() > MAX_BARS {
        let rest = rows.split_off(MAX_BARS - 1);
        let sum = |kind: usize| rest.iter().map(|(_, counts)| counts[kind]).sum();
        rows.push((format!("{} others", rest.len()), [sum(0), sum(1)]));
    }
    rows
}
