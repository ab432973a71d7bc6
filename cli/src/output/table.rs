//! Tables: as wide as the terminal at most, and with no blanks at the ends of lines; or as comma-separated rows.

use std::fmt;

use console::{measure_text_width, truncate_str};
use domain::text::shown;

use super::{paint, width};

/// Blanks between columns.
const GAP: usize = 2;

/// The last column is broken into lines where it has this much room; where it has less, lines are cut.
const LEAST: usize = 20;

/// Digits of an id that is shown short.
const SHORT: usize = 8;

/// Rows below headings. Cells are escaped: none of them can leave its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Columns whose ids are shown short on a terminal.
    ids: Vec<usize>,
}

/// A table with these headings.
pub(crate) fn table<const N: usize>(headings: [&str; N]) -> Table {
    Table::new(headings)
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(headings: impl IntoIterator<Item: ToString>) -> Self {
        Self { headings: cells(headings), rows: Vec::new(), ids: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn add_row(&mut self, row: impl IntoIterator<Item: ToString>) -> &mut Self {
        self.rows.push(cells(row));
        self
    }

    /// Shows the ids of a column, UUIDs, by their first digits where the table goes to a terminal; commands take these.
    pub(crate) fn short_ids(&mut self, column: usize) -> &mut Self {
        self.ids.push(column);
        self
    }

    /// As comma-separated rows.
    pub(super) fn csv(&self) -> String {
        let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
        for row in std::iter::once(&self.headings).chain(&self.rows) {
            writer.write_record(row).expect("memory takes all rows");
        }
        String::from_utf8_lossy(&writer.into_inner().expect("memory takes all rows")).into_owned()
    }

    /// As text in colours.
    pub(super) fn painted(&self) -> String {
        self.text(width(), paint)
    }

    /// As text, at most so wide.
    fn text(&self, most: Option<usize>, paint: impl Fn(&str) -> String) -> String {
        let rows: Vec<Vec<String>> = std::iter::once(&self.headings)
            .chain(&self.rows)
            .map(|row| row.iter().enumerate().map(|(at, cell)| self.cell(at, cell, most.is_some())).collect())
            .collect();
        let mut widths = vec![0; rows.iter().map(Vec::len).max().unwrap_or(0)];
        for (at, cell) in rows.iter().flat_map(|row| row.iter().enumerate()) {
            widths[at] = widths[at].max(measure_text_width(cell));
        }
        let before: usize = widths.iter().rev().skip(1).map(|width| width + GAP).sum();
        let room = most.map(|most| most.saturating_sub(before)).filter(|room| *room >= LEAST);
        let mut lines = Vec::new();
        for row in &rows {
            for line in broken(row, widths.len(), room) {
                let painted: String = lay_out(&line, &widths, &paint);
                let line = painted.trim_end();
                lines.push(most.map_or_else(|| line.to_owned(), |most| truncate_str(line, most, "…").into_owned()));
            }
        }
        lines.join("\n")
    }

    fn cell(&self, column: usize, cell: &str, on_terminal: bool) -> String {
        let is_long = cell.len() == 36 && cell.is_char_boundary(SHORT);
        if on_terminal && is_long && self.ids.contains(&column) {
            return cell[..SHORT].to_owned();
        }
        cell.to_owned()
    }
}

/// As text without colours, as wide as the terminal.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(width(), str::to_owned))
    }
}

fn cells(row: impl IntoIterator<Item: ToString>) -> Vec<String> {
    row.into_iter().map(|cell| shown(&cell.to_string()).into_owned()).collect()
}

/// A row as lines: its last column broken where it is wider than its room.
fn broken(row: &[String], columns: usize, room: Option<usize>) -> Vec<Vec<String>> {
    let Some((last, others)) = row.split_last().filter(|_| row.len() == columns) else { return vec![row.to_vec()] };
    let Some(room) = room.filter(|room| measure_text_width(last) > *room) else { return vec![row.to_vec()] };
    let mut lines = Vec::new();
    for (number, part) in textwrap::wrap(last, room).into_iter().enumerate() {
        let mut line = if number == 0 { others.to_vec() } else { vec![String::new(); others.len()] };
        line.push(part.into_owned());
        lines.push(line);
    }
    lines
}

fn lay_out(row: &[String], widths: &[usize], paint: &impl Fn(&str) -> String) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        line += &paint(cell);
        line += &" ".repeat(width.saturating_sub(measure_text_width(cell)) + GAP);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = table(["RUN", "STATE", "WHY"]);
        table.add_row(["3f2a1b2c-0000-5000-8000-000000000000", "failed", "exit code 3 of a program with much to say"]);
        table.add_row(["b\u{1b}[2J", "ok", "two\nlines"]);
        table
    }

    #[test]
    fn a_table_in_a_pipe_is_whole_and_has_no_blanks_at_its_ends() {
        let text = sample().text(None, str::to_owned);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "RUN                                   STATE   WHY");
        assert_eq!(lines[2], "b\\u{1b}[2J                            ok      two\\nlines");
        assert!(lines.len() == 3 && lines[1].ends_with("to say"), "{text}");
    }

    #[test]
    fn on_a_terminal_ids_are_short_the_last_column_is_broken_and_nothing_is_wider() {
        let mut table = sample();
        table.short_ids(0);
        let text = table
            .text(Some(42), |cell| if cell == "ok" { format!("\u{1b}[32m{cell}\u{1b}[0m") } else { cell.to_owned() });
        let expected = [
            "RUN         STATE   WHY",
            "3f2a1b2c    failed  exit code 3 of a",
            "                    program with much to",
            "                    say",
            "b\\u{1b}[2J  \u{1b}[32mok\u{1b}[0m      two\\nlines",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        let narrow = table.text(Some(12), str::to_owned);
        assert!(narrow.lines().all(|line| measure_text_width(line) <= 12), "{narrow}");
    }

    #[test]
    fn rows_are_quoted_where_they_must_be() {
        let mut table = table(["A", "B"]);
        table.add_row(["x, y", "1"]);
        assert_eq!(table.csv(), "A,B\n\"x, y\",1\n");
    }
}
