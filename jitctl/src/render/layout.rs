//! Lays out tables: columns are left out by rank and free text is cut, but no name is ever broken.

use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, Row, Table, Width, presets};
use jiff::tz::TimeZone;
use jit_proto::time::WallTime;

/// Free text is cut to this length at least before a column is left out.
const MIN_TEXT: u16 = 14;
/// Spaces between columns.
const GAP: u16 = 2;

/// The width, time zone and time of a table.
#[derive(Debug, Clone)]
pub(crate) struct Sheet {
    /// Columns of the terminal; `None` without a terminal or with `--wide`: lines are then as long as they are.
    pub(crate) width: Option<u16>,
    /// The reader's time zone.
    pub(crate) zone: TimeZone,
    /// The present time: times of today are shown without their date.
    pub(crate) now: WallTime,
}

/// A column.
#[derive(Debug)]
pub(crate) struct Column {
    title: String,
    /// 0: always shown; of the others the highest is left out first.
    rank: u8,
    /// Whether it has free text, which may be cut.
    text: bool,
}

impl Column {
    /// A column of names, numbers or times.
    pub(crate) fn new(title: impl Into<String>, rank: u8) -> Self {
        Self { title: title.into(), rank, text: false }
    }

    /// A column of free text.
    pub(crate) fn text(title: &str, rank: u8) -> Self {
        Self { text: true, ..Self::new(title, rank) }
    }
}

/// Rows under a heading. With a width, the last line names the columns that are left out.
pub(crate) fn table(columns: &[Column], rows: Vec<Vec<String>>, sheet: &Sheet) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let titles = columns.iter().map(|column| column.title.as_str());
    if sheet.width.is_some() {
        table.enforce_styling();
        table.set_header(titles.map(|title| Cell::new(title).add_attribute(Attribute::Bold)));
    } else {
        table.force_no_tty().set_header(titles);
    }
    for cells in rows {
        let mut row = Row::from(cells);
        row.max_height(1);
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    let mut hidden = Vec::new();
    if let Some(width) = sheet.width {
        let wanted = table.column_max_content_widths();
        let widths = fitted(columns, &wanted, width);
        table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_truncation_indicator("…");
        let last = widths.iter().rposition(Option::is_some);
        for (n, (column, about)) in table.column_iter_mut().zip(columns).enumerate() {
            let width = widths.get(n).copied().flatten();
            let gap = if last == Some(n) { 0 } else { GAP };
            column.set_padding((0, gap));
            column.set_constraint(match width {
                Some(width) => ColumnConstraint::Absolute(Width::Fixed(width + gap)),
                None => ColumnConstraint::Hidden,
            });
            if width.is_none() {
                hidden.push(about.title.as_str());
            }
        }
    }
    let mut text: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    if !hidden.is_empty() {
        let line = format!("columns not shown: {} (--full shows all)", hidden.join(", "));
        let fits = sheet.width.is_none_or(|width| line.len() <= usize::from(width));
        text += &if fits { line } else { line.replace(" (--full", "\n(--full") };
        text.push('\n');
    }
    text
}

/// The width of each column; `None` where it is left out.
fn fitted(columns: &[Column], wanted: &[u16], width: u16) -> Vec<Option<u16>> {
    let mut widths: Vec<Option<u16>> = wanted.iter().map(|width| Some(*width)).collect();
    let needed = |widths: &[Option<u16>], least: bool| {
        let each = widths.iter().zip(columns).filter_map(|(width, column)| {
            width.map(|width| if least && column.text { width.min(MIN_TEXT) } else { width })
        });
        each.map(|width| u32::from(width + GAP)).sum::<u32>().saturating_sub(u32::from(GAP))
    };
    while needed(&widths, true) > u32::from(width) {
        let shown = columns.iter().enumerate().filter(|(n, column)| column.rank > 0 && widths[*n].is_some());
        let Some((last, _)) = shown.max_by_key(|(_, column)| column.rank) else { break };
        widths[last] = None;
    }
    // The excess is taken from the widest text, down to the minimum of each.
    while needed(&widths, false) > u32::from(width) {
        let texts = columns
            .iter()
            .enumerate()
            .filter(|(n, column)| column.text && widths[*n].is_some_and(|width| width > MIN_TEXT));
        let Some((widest, _)) = texts.max_by_key(|(n, _)| widths[*n]) else { break };
        let over = needed(&widths, false) - u32::from(width);
        widths[widest] = widths[widest]
            .map(|width| width.saturating_sub(u16::try_from(over).unwrap_or(u16::MAX)).max(MIN_TEXT));
    }
    widths
}

/// Times as cells, and the heading with their offset from UTC. If all have the same offset, the heading names it; if
/// the clocks change between them, each has its own. 0 is no time.
pub(crate) fn times(moments: &[u64], title: &str, sheet: &Sheet) -> (String, Vec<String>) {
    let none = || "-".to_owned();
    let told = |at: &u64| if *at == 0 { none() } else { WallTime(*at).to_local_in(&sheet.zone) };
    let whole: Vec<String> = moments.iter().map(told).collect();
    if sheet.width.is_none() {
        return (title.to_owned(), whole);
    }
    let today = sheet.now.to_local_in(&sheet.zone);
    let (today, year) = (today.get(..10).unwrap_or_default(), today.get(..4).unwrap_or_default());
    let short = |text: &str| {
        let (Some(day), Some(time)) = (text.get(..10), text.get(11..16)) else { return none() };
        if day == today {
            time.to_owned()
        } else if day.starts_with(year) {
            format!("{} {time}", day.get(5..).unwrap_or_default())
        } else {
            format!("{day} {time}")
        }
    };
    let offset = |text: &str| text.get(20..).map(str::to_owned);
    let offsets: std::collections::BTreeSet<String> = whole.iter().filter_map(|text| offset(text)).collect();
    match offsets.first() {
        Some(only) if offsets.len() == 1 => {
            (format!("{title} ({only})"), whole.iter().map(|text| short(text)).collect())
        }
        _ => {
            let each = whole.iter().map(|text| match offset(text) {
                Some(offset) => format!("{} {offset}", short(text)),
                None => none(),
            });
            (title.to_owned(), each.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-01 00:50 in New York, 70 minutes before its clocks go back.
    const EVE: u64 = 1_793_508_600_000_000;

    fn new_york(width: Option<u16>) -> Sheet {
        let zone = TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap();
        Sheet { width, zone, now: WallTime(EVE) }
    }

    fn columns() -> Vec<Column> {
        vec![
            Column::new("ID", 0),
            Column::new("USER", 0),
            Column::new("TICKET", 2),
            Column::text("REASON", 1),
        ]
    }

    fn plain(text: &str) -> String {
        text.replace("\x1b[1m", "").replace("\x1b[0m", "")
    }

    #[test]
    fn columns_go_by_rank_and_text_is_cut_but_no_name_is_broken() {
        let row = || {
            vec![["7", "christopher-long-name", "INC-4711", &"word ".repeat(20)].map(str::to_owned).to_vec()]
        };
        let wide = plain(&table(&columns(), row(), &new_york(Some(80))));
        assert!(wide.contains("christopher-long-name  INC-4711  word word"), "{wide}");
        assert!(wide.lines().all(|line| line.chars().count() <= 80) && wide.contains('…'), "{wide}");
        assert_eq!(wide.lines().count(), 2, "{wide}");
        let narrow = plain(&table(&columns(), row(), &new_york(Some(44))));
        assert!(narrow.contains("christopher-long-name  word"), "{narrow}");
        assert!(narrow.ends_with("columns not shown: TICKET (--full shows all)\n"), "{narrow}");
        // Too narrow even for the names: they stay whole.
        let least = plain(&table(&columns(), row(), &new_york(Some(20))));
        assert!(least.contains("christopher-long-name"), "{least}");
        let full = table(&columns(), row(), &new_york(None));
        assert!(full.contains("INC-4711") && full.trim_end().ends_with("word"), "{full}");
    }

    #[test]
    fn times_are_short_and_name_their_offset() {
        let minutes = |minutes: u64| EVE + minutes * 60_000_000;
        let (title, cells) = times(&[minutes(0), minutes(60 * 24)], "ENDS", &new_york(Some(80)));
        assert_eq!(
            (title.as_str(), cells[0].as_str(), cells[1].as_str()),
            ("ENDS", "00:50 -04:00", "23:50 -05:00")
        );
        let (title, cells) = times(&[minutes(0), minutes(60)], "ENDS", &new_york(Some(80)));
        assert_eq!((title.as_str(), cells), ("ENDS (-04:00)", vec!["00:50".to_owned(), "01:50".to_owned()]));
        let (_, cells) = times(&[minutes(60), minutes(120)], "ENDS", &new_york(Some(80)));
        assert_eq!(cells, ["01:50 -04:00", "01:50 -05:00"]);
        let (_, cells) = times(&[minutes(60 * 48)], "ENDS", &new_york(Some(80)));
        assert_eq!(cells, ["11-02 23:50"]);
        let (title, cells) = times(&[0, minutes(0)], "ENDS", &new_york(Some(80)));
        assert_eq!((title.as_str(), cells[0].as_str()), ("ENDS (-04:00)", "-"), "0 is no moment");
        assert_eq!(times(&[0], "ENDS", &new_york(None)).1, ["-"]);
        let (title, cells) = times(&[minutes(0)], "ENDS", &new_york(None));
        assert_eq!((title.as_str(), cells[0].as_str()), ("ENDS", "2026-11-01 00:50:00 -04:00"));
    }

    proptest! {
        #[test]
        fn a_row_is_one_line_and_its_names_are_whole(
            name in "[a-z][a-z0-9-]{0,30}", reason in "[ -~é日]{0,90}", width in 40u16..200
        ) {
            let row = vec![vec!["7".to_owned(), name.clone(), "T-1".to_owned(), reason]];
            let text = plain(&table(&columns(), row, &new_york(Some(width))));
            let line = text.lines().nth(1).unwrap_or_default();
            prop_assert!(line.contains(&name), "{}", text);
            let rows = text.lines().filter(|line| !line.starts_with("columns not shown") && !line.starts_with("(--full")).count();
            prop_assert_eq!(rows, 2, "{}", text);
        }
    }
}
