//! Tables: for a terminal, as CSV and as HTML.

use crate::number;

/// Rows under headings. Numbers are rounded for people and whole in CSV.
#[derive(Clone, Debug)]
pub struct Table {
    title: String,
    headings: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// One cell of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A text, flush left.
    Text(String),
    /// A whole number, with separators for people.
    Count(u64),
    /// A measured number, with three digits for people.
    Number(f64),
    /// A share, from 0 to 1.
    Share(f64),
    /// A value that was not measured.
    Missing,
}

/// The things that the rows of a table are about, before its columns are known.
pub(crate) struct Rows<R> {
    title: String,
    about: Vec<R>,
}

/// Begins a table with a row for each of these things.
pub(crate) fn rows<R>(title: impl Into<String>, about: impl IntoIterator<Item = R>) -> Rows<R> {
    Rows { title: title.into(), about: about.into_iter().collect() }
}

impl<R> Rows<R> {
    /// Makes the table. A column is its heading, and the cell in the row of each thing.
    pub(crate) fn columns<const N: usize>(self, columns: [(&'static str, &dyn Fn(&R) -> Cell); N]) -> Table {
        let row = |about: &R| columns.iter().map(|(_, cell)| cell(about)).collect();
        Table {
            title: self.title,
            headings: columns.iter().map(|(heading, _)| *heading).collect(),
            rows: self.about.iter().map(row).collect(),
        }
    }
}

impl Table {
    /// Columns side by side, numbers flush right, under the title.
    pub fn text(&self) -> String {
        let shown: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(Cell::shown).collect()).collect();
        let width = |column: usize| {
            let cells = shown.iter().map(|row| row[column].chars().count());
            cells.chain([self.headings[column].chars().count()]).max().unwrap_or(0)
        };
        let columns: Vec<(usize, bool)> =
            (0..self.headings.len()).map(|column| (width(column), self.is_numeric(column))).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let cells = cells.zip(&columns).map(|(cell, &(width, right))| match right {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let mut lines = Vec::new();
        if !self.title.is_empty() {
            lines.push(self.title.clone());
        }
        lines.push(line(&mut self.headings.iter().copied()));
        lines.extend(shown.iter().map(|row| line(&mut row.iter().map(String::as_str))));
        lines.join("\n")
    }

    /// Returns the table as CSV (RFC 4180, with line feeds), the headings first, without the title.
    pub fn csv(&self) -> String {
        let headings = self.headings.iter().map(|heading| quoted(&heading.replace(' ', "_")));
        let mut text = headings.collect::<Vec<_>>().join(",") + "\n";
        for row in &self.rows {
            text += &row.iter().map(|cell| quoted(&cell.exact())).collect::<Vec<_>>().join(",");
            text.push('\n');
        }
        text
    }

    /// Returns the table as HTML, in a box that scrolls where the screen is narrow.
    pub fn html(&self) -> String {
        let class = |column: usize| if self.is_numeric(column) { " class=n" } else { "" };
        let mut text = "<div class=wide><table>".to_owned();
        if !self.title.is_empty() {
            text += &format!("<caption>{}</caption>", escaped(&self.title));
        }
        text += "<tr>";
        for (column, heading) in self.headings.iter().enumerate() {
            text += &format!("<th{}>{}", class(column), escaped(heading));
        }
        for row in &self.rows {
            text += "\n<tr>";
            for (column, cell) in row.iter().enumerate() {
                text += &format!("<td{}>{}", class(column), escaped(&cell.shown()));
            }
        }
        text + "</table></div>\n"
    }

    /// Whether no cell of a column is a text.
    fn is_numeric(&self, column: usize) -> bool {
        self.rows.iter().all(|row| !matches!(row[column], Cell::Text(_)))
    }
}

impl Cell {
    fn shown(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Count(count) => number::count(*count),
            Cell::Number(value) => number::measured(*value),
            Cell::Share(value) => number::share(*value),
            Cell::Missing => "-".to_owned(),
        }
    }

    fn exact(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Count(count) => count.to_string(),
            Cell::Number(value) | Cell::Share(value) if value.is_finite() => value.to_string(),
            Cell::Number(_) | Cell::Share(_) | Cell::Missing => String::new(),
        }
    }

    /// Anything as the text it is printed as.
    pub fn of(value: impl ToString) -> Cell {
        Cell::Text(value.to_string())
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Cell::Count(count as u64)
    }
}

impl From<u64> for Cell {
    fn from(count: u64) -> Self {
        Cell::Count(count)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Cell::Number(value)
    }
}

impl From<Option<f64>> for Cell {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Cell::Missing, Cell::Number)
    }
}

/// A CSV cell in quotation marks where it needs them.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

/// Returns a text in which the signs of HTML are replaced, so that it can stand inside a page.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let taps = [("block-1", 4_498_500_u64, Some(0.74127)), ("a, \"b\" <c>", 1, None)];
        rows("Distances", taps).columns([
            ("tap", &|(tap, _, _)| Cell::of(tap)),
            ("pairs", &|&(_, pairs, _)| pairs.into()),
            ("least margin", &|&(_, _, margin)| margin.into()),
        ])
    }

    #[test]
    fn numbers_stand_flush_right_and_are_rounded() {
        let lines = [
            "Distances",
            "tap             pairs  least margin",
            "block-1     4,498,500         0.741",
            "a, \"b\" <c>          1             -",
        ];
        assert_eq!(table().text(), lines.join("\n"));
    }

    #[test]
    fn csv_has_whole_numbers_and_quotes_what_needs_it() {
        assert_eq!(
            table().csv(),
            "tap,pairs,least_margin\nblock-1,4498500,0.74127\n\"a, \"\"b\"\" <c>\",1,\n"
        );
    }

    #[test]
    fn html_is_escaped() {
        let html = table().html();
        assert!(html.contains("<td>a, \"b\" &lt;c&gt;<td class=n>1<td class=n>-"), "{html}");
    }
}
