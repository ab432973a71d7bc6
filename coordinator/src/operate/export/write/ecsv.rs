//! ECSV 1.0: a header of YAML in comments, then CSV (Astropy Proposal for Enhancement 6). A missing cell is empty, which astropy
//! reads as masked.

use std::io::{self, Write};

use domain::expression::Scalar;
use domain::product::ColumnKind;

use super::{TableField, WriteRows, text};

pub(super) struct Ecsv<'a>(csv::Writer<&'a mut (dyn Write + Send)>);

impl<'a> Ecsv<'a> {
    pub(super) fn start(fields: &[TableField], about: &str, out: &'a mut (dyn Write + Send)) -> io::Result<Self> {
        writeln!(out, "# %ECSV 1.0\n# ---\n# delimiter: ','")?;
        for line in header(fields, about).lines() {
            writeln!(out, "# {line}")?;
        }
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(fields.iter().map(|field| &field.name))?;
        Ok(Self(writer))
    }
}

impl WriteRows for Ecsv<'_> {
    fn row(&mut self, cells: &[Option<Scalar>]) -> io::Result<()> {
        Ok(self.0.write_record(
            cells.iter().map(|cell| cell.as_ref().map_or(String::new(), |cell| text(cell, ["True", "False"]))),
        )?)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.0.flush()
    }
}

/// What astropy keeps of a table besides its cells, as YAML; in Parquet files it is kept in the same words.
pub(super) fn header(fields: &[TableField], about: &str) -> String {
    let mut yaml = "datatype:\n".to_owned();
    for TableField { name, kind, unit, doc } in fields {
        let kind = match kind {
            ColumnKind::Float => "float64",
            ColumnKind::Int => "int64",
            ColumnKind::Bool => "bool",
            ColumnKind::String => "string",
        };
        let unit = if unit.is_empty() { String::new() } else { format!(", unit: {}", quoted(unit)) };
        yaml += &format!("- {{name: {}{unit}, datatype: {kind}, description: {}}}\n", quoted(name), quoted(doc));
    }
    yaml += &format!("meta: !!omap\n- {{description: {}}}\nschema: astropy-2.0\n", quoted(about));
    yaml
}

/// A text in double quotes, which YAML reads as JSON does.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
