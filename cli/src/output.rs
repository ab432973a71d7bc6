//! What goes to standard output: a table for people, or JSON with `-o json`. Notes and errors go to standard error.

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use console::Term;
use serde::Serialize;

/// The form of a command's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// Tables and lines.
    #[default]
    Text,
    /// One JSON document; `run watch` and `local` print one per line of progress.
    Json,
}

impl Format {
    /// Prints an answer: as JSON, or as the text that `text` makes of it.
    pub(crate) fn print<T: Serialize>(self, answer: &T, text: impl FnOnce(&T) -> String) {
        match self {
            Self::Json => {
                line(&serde_json::to_string_pretty(answer).expect("answers have string keys and finite numbers"));
            }
            Self::Text => line(text(answer).trim_end()),
        }
    }
}

/// Prints a line; a reader that went away, as `head` does, is no error.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
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
