//! Tables as files: rows go out as they come.

mod csv;
mod ecsv;
mod parquet;
mod votable;

use std::io::{self, Write};
use std::path::Path;

use domain::expression::Scalar;
use serde::Deserialize;

use super::fields::TableField;

/// The forms of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, strum::EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TableFormat {
    /// Comma-separated; units in brackets behind the names of columns.
    Csv,
    /// CSV with units and descriptions in a YAML header, as astropy has it.
    Ecsv,
    /// VOTable 1.4, as TOPCAT reads it.
    #[strum(serialize = "vot", serialize = "votable")]
    Vot,
    /// Columns in binary form, for many rows; units and descriptions where astropy looks for them.
    Parquet,
}

impl TableFormat {
    /// The form that a file's name asks for by its end.
    pub fn of_file(file: &Path) -> Option<Self> {
        file.extension()?.to_str()?.to_ascii_lowercase().parse().ok()
    }
}

/// Takes rows, each with a cell per field.
pub(super) trait WriteRows: Send {
    fn row(&mut self, cells: &[Option<Scalar>]) -> io::Result<()>;

    /// Writes what is left. Without it the table is not whole.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Begins a table; `about` is a line about the whole.
pub(super) fn start<'a>(
    format: TableFormat,
    fields: &[TableField],
    about: &str,
    out: &'a mut (dyn Write + Send),
) -> io::Result<Box<dyn WriteRows + 'a>> {
    Ok(match format {
        TableFormat::Csv => Box::new(csv::Csv::start(fields, out)?),
        TableFormat::Ecsv => Box::new(ecsv::Ecsv::start(fields, about, out)?),
        TableFormat::Vot => Box::new(votable::Votable::start(fields, about, out)?),
        TableFormat::Parquet => Box::new(parquet::Parquet::start(fields, about, out)?),
    })
}

/// A cell as text; floats so that reading them gives the same number.
fn text(cell: &Scalar, [yes, no]: [&str; 2]) -> String {
    match cell {
        Scalar::Bool(true) => yes.to_owned(),
        Scalar::Bool(false) => no.to_owned(),
        Scalar::Int(value) => value.to_string(),
        Scalar::Float(value) if value.is_nan() => "nan".to_owned(),
        Scalar::Float(value) => format!("{value:?}"),
        Scalar::Text(value) => value.clone(),
    }
}

#[cfg(test)]
mod tests;
