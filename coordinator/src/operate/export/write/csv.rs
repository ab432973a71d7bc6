//! CSV, as RFC 4180 and spreadsheets have it. A missing cell is empty.

use std::io::{self, Write};

use domain::expression::Scalar;

use super::{TableField, WriteRows, text};

pub(super) struct Csv<'a>(csv::Writer<&'a mut (dyn Write + Send)>);

impl<'a> Csv<'a> {
    pub(super) fn start(fields: &[TableField], out: &'a mut (dyn Write + Send)) -> io::Result<Self> {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(fields.iter().map(|field| match field.unit.as_str() {
            "" => field.name.clone(),
            unit => format!("{} [{unit}]", field.name),
        }))?;
        Ok(Self(writer))
    }
}

impl WriteRows for Csv<'_> {
    fn row(&mut self, cells: &[Option<Scalar>]) -> io::Result<()> {
        Ok(self.0.write_record(
            cells.iter().map(|cell| cell.as_ref().map_or(String::new(), |cell| text(cell, ["true", "false"]))),
        )?)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.0.flush()
    }
}
