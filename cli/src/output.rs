//! What goes to standard output: a table for people, JSON with `-o json`, rows for spreadsheets with `-o csv`. Notes and errors
//! go to standard error.

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use console::Term;
use serde::Serialize;

/// The form of a command's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// Tables and lines.
    #[default]
    #[value(alias = "text")]
    Table,
    /// One JSON document; `run watch` and `local` print one per line of progress.
    Json,
    /// The rows of a list, comma-separated, below the names of the columns.
    Csv,
}

impl Format {
    /// Prints an answer: as JSON, or as the text that `text` makes of it.
    pub(crate) fn print<T: Serialize>(self, answer: &T, text: impl FnOnce(&T) -> String) {
        match self {
            Self::Json => {
                line(&serde_json::to_string_pretty(answer).expect("answers have string keys and finite numbers"));
            }
            Self::Table | Self::Csv => line(text(answer).trim_end()),
        }
    }

    /// Prints a list: as JSON, as a table, or as its rows.
    pub(crate) fn print_list<T: Serialize>(self, answer: &T, table: impl FnOnce(&T) -> Table) {
        match self {
            Self::Json | Self::Table => self.print(answer, |answer| table(answer).to_string()),
            Self::Csv => line(rows(&table(answer)).trim_end()),
        }
    }
}

/// Prints a line; a reader that went away, as `head` does, is no error.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The cells of a table, comma-separated.
fn rows(table: &Table) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in table.header().into_iter().chain(table.row_iter()) {
        writer.write_record(row.cell_iter().map(comfy_table::Cell::content)).expect("memory takes all rows");
    }
    let bytes = writer.into_inner().expect("memory takes all rows");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A table with these headings, as wide as the terminal if it goes to one; rows are added with `add_row`.
pub(crate) fn table<const N: usize>(headings: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(headings);
    if let Some((_, columns)) = Term::stdout().size_checked() {
        table.set_width(columns);
    }
    table
}

/// Says something to the person at the terminal, beside the answer.
#[expect(clippy::print_stderr, reason = "the one place that talks to standard error")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}
