//! VOTable 1.4 with its cells as text (TABLEDATA). A missing cell is empty, which is what 1.3 and later mean by null.

use std::io::{self, Write};

use domain::expression::Scalar;
use domain::product::ColumnKind;
use quick_xml::escape::escape;

use super::{TableField, WriteRows, text};

pub(super) struct Votable<'a>(&'a mut (dyn Write + Send));

/// Units that the VO spells in its own way.
const OF_THE_VO: [(&str, &str); 3] = [("Rsun", "solRad"), ("Msun", "solMass"), ("Lsun", "solLum")];

impl<'a> Votable<'a> {
    pub(super) fn start(fields: &[TableField], about: &str, out: &'a mut (dyn Write + Send)) -> io::Result<Self> {
        writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
        writeln!(out, r#"<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">"#)?;
        writeln!(out, r#"<RESOURCE type="results">"#)?;
        writeln!(out, "<TABLE>\n<DESCRIPTION>{}</DESCRIPTION>", clean(about))?;
        for TableField { name, kind, unit, doc } in fields {
            let kind = match kind {
                ColumnKind::Float => r#"datatype="double""#,
                ColumnKind::Int => r#"datatype="long""#,
                ColumnKind::Bool => r#"datatype="boolean""#,
                ColumnKind::String => r#"datatype="unicodeChar" arraysize="*""#,
            };
            let unit = if unit.is_empty() { String::new() } else { format!(r#" unit="{}""#, clean(&of_the_vo(unit))) };
            let (name, doc) = (clean(name), clean(doc));
            writeln!(out, r#"<FIELD name="{name}" {kind}{unit}><DESCRIPTION>{doc}</DESCRIPTION></FIELD>"#)?;
        }
        writeln!(out, "<DATA><TABLEDATA>")?;
        Ok(Self(out))
    }
}

impl WriteRows for Votable<'_> {
    fn row(&mut self, cells: &[Option<Scalar>]) -> io::Result<()> {
        let mut line = "<TR>".to_owned();
        for cell in cells {
            match cell {
                None => line += "<TD/>",
                Some(Scalar::Float(value)) if value.is_nan() => line += "<TD>NaN</TD>",
                Some(Scalar::Float(value)) if value.is_infinite() => {
                    line += if *value > 0.0 { "<TD>+Inf</TD>" } else { "<TD>-Inf</TD>" };
                }
                Some(cell) => line += &format!("<TD>{}</TD>", clean(&text(cell, ["true", "false"]))),
            }
        }
        writeln!(self.0, "{line}</TR>")
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        writeln!(self.0, "</TABLEDATA></DATA>\n</TABLE>\n</RESOURCE>\n</VOTABLE>")?;
        self.0.flush()
    }
}

/// Text for XML, which has no control characters.
fn clean(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    escape(&plain).into_owned()
}

fn of_the_vo(unit: &str) -> String {
    OF_THE_VO.iter().fold(unit.to_owned(), |unit, (ours, theirs)| unit.replace(ours, theirs))
}
