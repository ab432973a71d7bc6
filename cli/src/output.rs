//! What goes to standard output: text for people, JSON with `-o json`, rows for spreadsheets with `-o csv`. Notes and errors
//! go to standard error, with `-o json` as a JSON object a line.
//!
//! The one place that writes to a terminal: whatever comes from outside passes through it and is escaped here.

mod colour;
mod table;

use std::io::Write;
use std::sync::OnceLock;

use colour::paint;
use console::Term;
use domain::text::{shown_json, shown_lines};
use serde::Serialize;
use serde_json::json;

pub(crate) use colour::ColourWhen;
pub(crate) use table::{Table, table};

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

/// The form that the command line asks for; notes and errors have it, too.
static FORM: OnceLock<Format> = OnceLock::new();

/// Says once which form is asked for, and when there are colours.
pub(crate) fn set_up(format: Format, colours: ColourWhen) {
    _ = FORM.set(format);
    colours.set_up();
}

impl Format {
    /// Prints an answer: as JSON, or as the text that `text` makes of it.
    pub(crate) fn print<T: Serialize>(self, answer: &T, text: impl FnOnce(&T) -> String) {
        match self {
            Self::Json => print_json(answer),
            Self::Table | Self::Csv => line(text(answer).trim_end()),
        }
    }

    /// Prints a list: as JSON, as a table, or as its rows.
    pub(crate) fn print_list<T: Serialize>(self, answer: &T, table: impl FnOnce(&T) -> Table) {
        self.print_page(answer, |answer| (String::new(), table(answer)));
    }

    /// Prints a few lines and a table below them: as JSON, as they are, or the rows of the table alone.
    pub(crate) fn print_page<T: Serialize>(self, answer: &T, page: impl FnOnce(&T) -> (String, Table)) {
        match self {
            Self::Json => print_json(answer),
            Self::Csv => line(page(answer).1.csv().trim_end()),
            Self::Table => {
                let (head, table) = page(answer);
                if !head.is_empty() {
                    line(&format!("{}\n", head.trim_end()));
                }
                write_line(table.painted().trim_end());
            }
        }
    }
}

fn print_json<T: Serialize>(answer: &T) {
    match serde_json::to_string_pretty(answer) {
        Ok(json) => write_line(&shown_json(&json)),
        Err(error) => note(&format!("the answer cannot be written as JSON: {error}")),
    }
}

/// Prints a document of JSON on one line.
pub(crate) fn json_line<T: Serialize>(answer: &T) {
    if let Ok(json) = serde_json::to_string(answer) {
        write_line(&shown_json(&json));
    }
}

/// Prints text; no line ends in blanks.
pub(crate) fn line(text: &str) {
    let lines: Vec<&str> = text.split('\n').map(str::trim_end).collect();
    write_line(&shown_lines(&lines.join("\n")));
}

/// A reader that went away, as `head` does, is no error.
fn write_line(safe: &str) {
    _ = writeln!(std::io::stdout(), "{safe}");
}

/// Columns of the terminal that answers go to, if they go to one.
fn width() -> Option<usize> {
    Term::stdout().size_checked().map(|(_, columns)| columns.into())
}

/// Says something to the person at the terminal, beside the answer.
pub(crate) fn note(text: &str) {
    if FORM.get() == Some(&Format::Json) {
        return say(&shown_json(&json!({ "note": text }).to_string()));
    }
    say(&shown_lines(text));
}

/// Says why there is no answer, or not the whole of it: last, and once.
pub(crate) fn error<T: Serialize>(answer: &T, text: &str) {
    if FORM.get() == Some(&Format::Json) {
        return say(&shown_json(&json!({ "error": answer }).to_string()));
    }
    say(&format!("{} {}", colour::error_word(), shown_lines(text)));
}

#[expect(clippy::print_stderr, reason = "the one place that talks to standard error")]
fn say(safe: &str) {
    eprintln!("{safe}");
}
