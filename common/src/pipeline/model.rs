//! The data model: which columns a product has, of which kind and rank.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::definition::{Reader, place};
use crate::id::ProductName;

/// Columns of products.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataModel {
    /// Products with known columns; nested columns have slashes in their names.
    pub products: BTreeMap<ProductName, ProductModel>,
}

/// The columns of one product.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductModel {
    /// By column name.
    #[serde(default)]
    pub columns: BTreeMap<String, Column>,
}

/// A column of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The kind of its values.
    #[serde(rename = "type")]
    pub kind: ColumnKind,
    /// Number of dimensions.
    pub ndim: u32,
    /// Its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Whether it may be missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// Kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ColumnKind {
    /// Floating point; integers are accepted.
    Float,
    /// Integer.
    Int,
    /// Boolean, stored as HDF5 enum, bitfield or 8-bit integer.
    Bool,
    /// Text of fixed or variable length.
    String,
}

impl DataModel {
    /// Reads a data model product by product; what has a wrong shape goes to the mistakes and is left out.
    pub(crate) fn read(text: &str, mistakes: &mut Vec<String>) -> Self {
        let mut model = Self::default();
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            mistakes.extend(errors.iter().map(|error| place(text, error)));
            return model;
        }
        let mut reader = Reader { text, mistakes };
        for (section, products) in document.into_inner() {
            match (section.get_ref().as_ref(), products.into_inner()) {
                ("products", DeValue::Table(products)) => {
                    products.into_iter().for_each(|(name, product)| model.add(&mut reader, name.get_ref(), product));
                }
                (name, _) => reader.mistakes.push(format!("{name}: expected tables `[products.NAME.columns]` only")),
            }
        }
        model
    }

    fn add(&mut self, reader: &mut Reader<'_>, name: &str, product: Spanned<DeValue<'_>>) {
        let DeValue::Table(fields) = product.into_inner() else {
            reader.mistakes.push(format!("product {name}: expected a table `[products.{name:?}.columns]`"));
            return;
        };
        let columns = reader.fields(format!("product {name}: "), fields, &["columns"]);
        match name.parse() {
            Ok(name) => drop(self.products.insert(name, columns)),
            Err(error) => reader.mistakes.push(format!("products: {error}")),
        }
    }
}
