//! Charts as inline SVG: no script, no colours of their own (the page's style has them), every value readable as text.

use std::fmt::Write as _;

use jit_proto::time::WallTime;

use super::escape::safe;
use crate::report::model::Moment;

const HOUR: u64 = 3_600_000_000;
/// Columns; more are merged into wider ones.
const MAX_COLUMNS: usize = 62;
/// A bar this many times as long as the common ones is cut.
const MAX_RATIO: u64 = 5;
/// Width of a digit, of the 11 pixels high text of the page's style.
const DIGIT: f64 = 6.6;
/// Space above the columns for the numbers of cut ones.
const ABOVE: f64 = 16.0;

/// A column over time: its label, and how many were allowed and denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) label: String,
    pub(super) allowed: u64,
    pub(super) denied: u64,
}

/// Elevations over the period: by minutes, hours or days, or by as many of them as fit.
pub(super) fn over_time(moments: &[Moment], (since, until): (u64, u64)) -> (Vec<Column>, String) {
    // The prefix of "2026-11-25 14:30:05" that names a unit, and the part of it that is shown.
    let (name, length, shown, step) = match until.saturating_sub(since) / HOUR {
        0..4 => ("minute", 16, 11, HOUR / 120),
        4..49 => ("hour", 13, 5, HOUR / 2),
        _ => ("day", 10, 5, HOUR * 12),
    };
    let unit = |at: u64| WallTime(at).to_local().chars().take(length).collect::<String>();
    let mut units: Vec<String> = Vec::new();
    // Half units, so that none is skipped where the clock changes. A century of days is more than enough.
    for at in (0..73_000).map(|n| since.saturating_add(n * step)).take_while(|at| *at < until) {
        let label = unit(at);
        if units.last() != Some(&label) {
            units.push(label);
        }
    }
    let last = unit(until.saturating_sub(1));
    if until > since && units.last() != Some(&last) {
        units.push(last);
    }
    let width = units.len().div_ceil(MAX_COLUMNS).max(1);
    let mut columns: Vec<Column> = units
        .chunks(width)
        .map(|units| Column { label: units.first().cloned().unwrap_or_default(), allowed: 0, denied: 0 })
        .collect();
    for moment in moments {
        if let Ok(place) = units.binary_search(&unit(moment.at))
            && let Some(column) = columns.get_mut(place / width)
        {
            if moment.allowed { column.allowed += 1 } else { column.denied += 1 }
        }
    }
    for column in &mut columns {
        let hour = if name == "hour" { ":00" } else { "" };
        column.label = format!("{}{hour}", column.label.get(shown..).unwrap_or_default());
    }
    let what = if width == 1 { format!("by the {name}") } else { format!("by {width} {name}s") };
    (columns, what)
}

/// Elevations by the hour of the day, so that work at odd hours is visible.
pub(super) fn by_hour(moments: &[Moment]) -> Vec<Column> {
    let mut columns: Vec<Column> =
        (0..24).map(|hour| Column { label: format!("{hour:02}"), allowed: 0, denied: 0 }).collect();
    for moment in moments {
        let hour = WallTime(moment.at).to_local().get(11..13).and_then(|hour| hour.parse::<usize>().ok());
        if let Some(column) = hour.and_then(|hour| columns.get_mut(hour)) {
            if moment.allowed { column.allowed += 1 } else { column.denied += 1 }
        }
    }
    columns
}

/// The end of a scale: after the longest bar, or, if a few bars are so long that the others could not be seen, after
/// the others; the number is then returned a second time, for the text.
fn end_of_scale(totals: impl Iterator<Item = u64>) -> (u64, Option<u64>) {
    let mut totals: Vec<u64> = totals.filter(|total| *total > 0).collect();
    totals.sort_unstable();
    let most = totals.last().copied().unwrap_or(0);
    // Nine of ten bars, and never the longest one alone.
    let common = totals.len().saturating_sub(1).min(totals.len() * 9 / 10).checked_sub(1);
    let common = common.and_then(|place| totals.get(place)).copied().unwrap_or(most);
    if most > common.saturating_mul(MAX_RATIO) {
        let top = round_up(common.saturating_mul(3) / 2);
        (top, Some(top))
    } else {
        (round_up(most), None)
    }
}

/// Columns with allowed below and denied above, and the end of the scale if columns are cut.
pub(super) fn columns(name: &str, columns: &[Column]) -> (String, Option<u64>) {
    const WIDTH: f64 = 440.0;
    const HEIGHT: f64 = 130.0;
    const BELOW: f64 = 24.0;
    let (top, cut) = end_of_scale(columns.iter().map(|column| column.allowed + column.denied));
    let left = 16.0 + DIGIT * top.to_string().len() as f64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">",
        WIDTH + left + 6.0,
        HEIGHT + BELOW + ABOVE,
        safe(name)
    );
    let y = |value: f64| ABOVE + HEIGHT - HEIGHT * value.min(top as f64) / (top as f64);
    for tick in [0, top / 2, top] {
        let at = y(tick as f64);
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            "<line class=\"rule\" x1=\"{left:.1}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            left + WIDTH,
            left - 6.0,
            at + 3.5
        );
    }
    let step = WIDTH / columns.len().max(1) as f64;
    let bar = (step * 0.72).min(44.0);
    // The distance between labels is two digits at least.
    let longest = columns.iter().map(|column| column.label.chars().count()).max().unwrap_or(0);
    let every = ((DIGIT * (longest + 2) as f64 / step).ceil() as usize).max(1);
    for (n, column) in columns.iter().enumerate() {
        let x = left + step * n as f64 + (step - bar) / 2.0;
        let (allowed, all) = (column.allowed as f64, (column.allowed + column.denied) as f64);
        let _ = write!(
            svg,
            "<g><title>{}: {} allowed, {} denied</title>",
            safe(&column.label),
            column.allowed,
            column.denied
        );
        for (class, from, to) in [("allowed", 0.0, allowed), ("denied", allowed, all)] {
            if to > from && from < top as f64 {
                let _ = write!(
                    svg,
                    "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{bar:.1}\" height=\"{:.1}\" rx=\"1.5\"/>",
                    y(to),
                    y(from) - y(to)
                );
            }
        }
        if all > top as f64 {
            // Cut: a gap in the column, and its number above it, inside the picture.
            let middle = (x + bar / 2.0).min(left + WIDTH - DIGIT * 3.0);
            let _ = write!(
                svg,
                "<rect class=\"cut\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"3\"/><text class=\"tick\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{all}</text>",
                x - 1.0,
                ABOVE + 9.0,
                bar + 2.0,
                ABOVE - 4.0
            );
        }
        svg.push_str("</g>");
        if n % every == 0 {
            let _ = write!(
                svg,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x + bar / 2.0,
                HEIGHT + ABOVE + 15.0,
                safe(&column.label)
            );
        }
    }
    svg.push_str("</svg>");
    (svg, cut)
}

/// Horizontal bars: a name, and counts of one or two kinds; and the end of the scale if bars are cut.
pub(super) fn bars(name: &str, rows: &[(String, [u64; 2])], kinds: [&str; 2]) -> (String, Option<u64>) {
    const NAMES: f64 = 130.0;
    const WIDTH: f64 = 230.0;
    const ROW: f64 = 23.0;
    let (top, cut) = end_of_scale(rows.iter().map(|(_, counts)| counts.iter().sum::<u64>()));
    let longest = rows.iter().map(|(_, counts)| counts.iter().sum::<u64>()).max().unwrap_or(0);
    // Without a cut, the longest bar takes all the space.
    let most = if cut.is_some() { top } else { longest.max(1) };
    let height = ROW * rows.len() as f64 + 4.0;
    let mut svg = format!("<svg viewBox=\"0 0 480 {height:.0}\" role=\"img\" aria-label=\"{}\">", safe(name));
    for (n, (label, counts)) in rows.iter().enumerate() {
        let y = ROW * n as f64 + 2.0;
        let shown: String = if label.chars().count() > 18 {
            label.chars().take(17).chain(['…']).collect()
        } else {
            label.clone()
        };
        let _ = write!(
            svg,
            "<g><title>{}: {}</title><text class=\"name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            safe(label),
            counts_text(counts, kinds),
            NAMES - 10.0,
            y + 14.0,
            safe(&shown)
        );
        let mut x = NAMES;
        let mut left = most;
        for (count, class) in counts.iter().zip(["allowed", "denied"]) {
            let shown = (*count).min(left);
            left -= shown;
            let width = WIDTH * shown as f64 / most as f64;
            if shown > 0 {
                let _ = write!(
                    svg,
                    "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" rx=\"1.5\"/>",
                    y + 2.0,
                    ROW - 6.0
                );
            }
            x += width;
        }
        if counts.iter().sum::<u64>() > most {
            let (x, y, height) = (x - 12.0, y + 1.0, ROW - 4.0);
            let _ = write!(
                svg,
                "<rect class=\"cut\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"3\" height=\"{height:.1}\"/>"
            );
        }
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
            x + 6.0,
            y + 14.0,
            counts_short(counts, kinds)
        );
    }
    svg.push_str("</svg>");
    (svg, cut)
}

fn counts_short(counts: &[u64; 2], kinds: [&str; 2]) -> String {
    if kinds[1].is_empty() { counts[0].to_string() } else { format!("{} / {}", counts[0], counts[1]) }
}

fn counts_text(counts: &[u64; 2], kinds: [&str; 2]) -> String {
    if kinds[1].is_empty() {
        format!("{} {}", counts[0], kinds[0])
    } else {
        format!("{} {}, {} {}", counts[0], kinds[0], counts[1], kinds[1])
    }
}

/// The next of 2, 4, 10, 20, 40, 100...: half of it is a whole number too.
fn round_up(most: u64) -> u64 {
    let mut unit = 1u64;
    loop {
        for factor in [2, 4, 10] {
            let top = unit.saturating_mul(factor);
            if top >= most {
                return top;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(at: impl IntoIterator<Item = u64>) -> Vec<Moment> {
        at.into_iter().map(|at| Moment { at, user: "alice".into(), allowed: !at.is_multiple_of(2) }).collect()
    }

    #[test]
    fn no_elevation_is_lost_on_the_way_into_columns() {
        for hours in [1, 3, 4, 5, 24, 48, 49, 72, 24 * 30, 24 * 365] {
            let since = 1_795_305_600_000_000;
            let until = since + hours * HOUR;
            let moments = moments((0..97).map(|n| since + n * (until - since) / 97));
            let (columns, _) = over_time(&moments, (since, until));
            assert!(columns.len() <= MAX_COLUMNS && !columns.is_empty(), "{hours}");
            assert_eq!(columns.iter().map(|c| c.allowed + c.denied).sum::<u64>(), 97, "{hours} hours");
            assert_eq!(by_hour(&moments).iter().map(|c| c.allowed + c.denied).sum::<u64>(), 97);
        }
        assert!(over_time(&[], (5, 5)).0.is_empty());
    }

    #[test]
    fn one_long_bar_is_cut_and_does_not_flatten_the_others() {
        assert_eq!(end_of_scale([5, 9, 8].into_iter()), (10, None));
        assert_eq!(end_of_scale([10_000].into_iter()), (10_000, None));
        assert_eq!(end_of_scale(std::iter::empty()), (2, None));
        let (top, cut) = end_of_scale([40, 50, 45, 200_000].into_iter());
        assert_eq!((top, cut), (100, Some(100)));
        let rows = [("a".to_owned(), [200_000, 3]), ("b".to_owned(), [40, 0]), ("c".to_owned(), [30, 9])];
        let (svg, cut) = bars("x", &rows, ["allowed", "denied"]);
        assert!(cut.is_some() && svg.contains("200000 / 3") && svg.contains("class=\"cut\""), "{svg}");
        let column = |allowed| Column { label: "11-25 14:00".into(), allowed, denied: 0 };
        let many: Vec<Column> = (0..48).map(|n| column(if n == 7 { 90_000 } else { 20 })).collect();
        let (svg, cut) = columns("x", &many);
        assert!(cut == Some(40) && svg.contains(">90000</text>"), "{cut:?} {svg}");
    }

    #[test]
    fn labels_do_not_run_into_each_other() {
        for (count, label) in [(62, "11-25 14:00"), (24, "07"), (30, "11-25")] {
            let columns: Vec<Column> =
                (0..count).map(|_| Column { label: label.into(), allowed: 1, denied: 0 }).collect();
            let (svg, _) = super::columns("x", &columns);
            let labels = svg.matches(&format!(">{label}</text>")).count();
            assert!(
                labels > 1 && labels as f64 * DIGIT * (label.len() + 1) as f64 <= 446.0,
                "{label}: {labels}"
            );
        }
    }

    #[test]
    fn an_axis_has_whole_numbers() {
        for (most, top) in [(0, 2), (1, 2), (3, 4), (5, 10), (11, 20), (99, 100), (101, 200)] {
            assert_eq!(round_up(most), top);
        }
        assert!(round_up(u64::MAX) >= u64::MAX / 2);
    }
}
