//! The elements of the page: text, cells and tables.

use super::escape::safe;

/// The number of rows above which a table is folded.
pub(super) const MAX_OPEN_ROWS: usize = 30;

/// A cell of a table: HTML, and its class.
pub(super) struct Cell(pub(super) String, pub(super) &'static str);

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

pub(super) fn plain(text: &str) -> Cell {
    Cell(safe(text), "")
}

pub(super) fn time(text: &str) -> Cell {
    Cell(safe(text), "t")
}

pub(super) fn code(text: &str) -> Cell {
    let html = if text.is_empty() { String::new() } else { format!("<code>{}</code>", safe(text)) };
    Cell(html, "")
}

pub(super) fn number(number: u64) -> Cell {
    Cell(number.to_string(), "n")
}

/// The page so far.
pub(super) struct Page(pub(super) String);

impl Page {
    /// Adds HTML unchanged.
    pub(super) fn put(&mut self, html: &str) {
        self.0.push_str(html);
    }

    /// A table; a sentence without rows.
    pub(super) fn table(&mut self, heading: &[&str], rows: impl Iterator<Item = Vec<Cell>>) {
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
