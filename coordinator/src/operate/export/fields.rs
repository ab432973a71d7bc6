//! The columns of a table, and a star's cells in them. Pure.

use std::collections::BTreeMap;

use domain::expression::Scalar;
use domain::id::ProductName;
use domain::product::ColumnKind;
use domain::text::is_dangerous;
use store::agent::ColumnFacts;

use super::choice::{ChosenColumn, ProductColumns};
use super::row::{ProductRow, StarRow};

/// Characters of a text in a cell, and of a reason.
const LONGEST: usize = 1_000;

/// A column of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableField {
    pub(super) name: String,
    pub(super) kind: ColumnKind,
    /// Empty where it has none.
    pub(super) unit: String,
    pub(super) doc: String,
}

/// All columns, and the products that they are of.
pub(super) struct Fields {
    pub(super) all: Vec<TableField>,
    pub(super) products: Vec<ProductColumns>,
}

/// The kinds hold for cells: `Float` cells are floats, and so on; `None` is missing.
pub(super) type Cells = Vec<Option<Scalar>>;

impl Fields {
    pub(super) fn new(products: Vec<ProductColumns>) -> Self {
        let field = |name: &str, kind, unit: &str, doc: &str| TableField {
            name: name.to_owned(),
            kind,
            unit: unit.to_owned(),
            doc: doc.to_owned(),
        };
        let mut all = vec![
            field("star", ColumnKind::String, "", "The star"),
            field("quarter", ColumnKind::Int, "", "Quarter of its data"),
            field("run", ColumnKind::String, "", "Run that its file is of"),
            field("generation", ColumnKind::Int, "", "Generation of its file"),
            field("end", ColumnKind::String, "", "How the star ended in that run"),
        ];
        for ProductColumns { product, columns, .. } in &products {
            for ChosenColumn { name, kind, unit, doc } in columns {
                let unit = unit.as_deref().unwrap_or_default();
                all.push(field(&format!("{product}.{name}"), *kind, unit, doc));
            }
            let doc = format!("Why something of {product} is missing");
            all.push(field(&why(product, columns), ColumnKind::String, "", &doc));
        }
        Self { all, products }
    }

    /// A star's cells; counts products of which something is missing.
    pub(super) fn cells(&self, row: &StarRow, missing: &mut BTreeMap<ProductName, u64>) -> Cells {
        let text = |text: &str| Some(Scalar::Text(text.to_owned()));
        let mut cells = vec![
            text(&row.star.to_string()),
            Some(Scalar::Int(u32::from(row.quarter).into())),
            row.run.as_ref().and_then(|run| text(&run.to_string())),
            row.generation.map(|generation| Scalar::Int(generation.0.into())),
            row.end.as_deref().and_then(text),
        ];
        for ProductColumns { product, columns, .. } in &self.products {
            let why = match row.products.get(product) {
                Some(ProductRow::There(found)) => there(columns, found, &mut cells),
                Some(ProductRow::Missing(why)) => nothing(columns, why, &mut cells),
                None => nothing(columns, &row.nothing, &mut cells),
            };
            if why.is_some() {
                *missing.entry(product.clone()).or_default() += 1;
            }
            cells.push(why.map(Scalar::Text));
        }
        cells
    }
}

/// The name of a product's column of reasons, which no column of the product itself has.
fn why(product: &ProductName, columns: &[ChosenColumn]) -> String {
    let is_taken = columns.iter().any(|column| column.name == "why");
    format!("{product}.{}", if is_taken { "why missing" } else { "why" })
}

fn nothing(columns: &[ChosenColumn], why: &str, cells: &mut Cells) -> Option<String> {
    cells.extend(columns.iter().map(|_| None));
    Some(one_line(why))
}

/// The cells of a product that is there; why some are missing nevertheless.
fn there(columns: &[ChosenColumn], found: &BTreeMap<String, ColumnFacts>, cells: &mut Cells) -> Option<String> {
    let mut odd = Vec::new();
    for column in columns {
        let cell = match found.get(&column.name) {
            None => Err("is not in it".to_owned()),
            Some(facts) => cell(column, facts),
        };
        cells.push(match cell {
            Ok(value) => Some(value),
            Err(why) => {
                odd.push(format!("{} {why}", column.name));
                None
            }
        });
    }
    (!odd.is_empty()).then(|| one_line(&odd.join(", ")))
}

/// A value as the data model has it: in another unit it would be another number.
fn cell(column: &ChosenColumn, facts: &ColumnFacts) -> Result<Scalar, String> {
    let Some(value) = &facts.value else {
        return Err(format!("is no scalar, but {} of shape {:?}", facts.dtype, facts.shape));
    };
    let unit = facts.unit.as_deref().unwrap_or_default();
    if let Some(expected) = column.unit.as_ref().filter(|expected| *expected != unit) {
        let of = |unit: &str| if unit.is_empty() { "no unit".to_owned() } else { unit.to_owned() };
        return Err(format!("is {value} in {}, not in {}", of(unit), of(expected)));
    }
    let fitting = match (column.kind, value) {
        (ColumnKind::Float, value) => value.as_f64().map(Scalar::Float),
        (ColumnKind::Int, Scalar::Int(_)) | (ColumnKind::Bool, Scalar::Bool(_)) => Some(value.clone()),
        (ColumnKind::Bool, Scalar::Int(flag @ (0 | 1))) => Some(Scalar::Bool(*flag == 1)),
        (ColumnKind::String, Scalar::Text(text)) => Some(Scalar::Text(one_line(text))),
        (ColumnKind::Int | ColumnKind::Bool | ColumnKind::String, _) => None,
    };
    fitting.ok_or_else(|| format!("is {value}, no {}", column.kind))
}

/// One line, of bounded length, without what a terminal would obey.
pub(super) fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: String = line.chars().map(|c| if is_dangerous(c) { '\u{fffd}' } else { c }).take(LONGEST).collect();
    if shown.len() < line.len() && line.chars().count() > LONGEST { shown + "…" } else { shown }
}
