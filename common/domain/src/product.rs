//! Products: where a module gets one from, and which columns the data model knows of it.
//!
//! Below expressions and pipelines, which both speak of them.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{ModuleIndex, ProductName};

/// A product as an input, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The product, under the name used in this pipeline.
    pub product: ProductName,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where an input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Ingestion delivers it for the star.
    StarExternal,
    /// Ingestion delivers it once for all stars.
    SharedExternal,
    /// This module makes it.
    Module(ModuleIndex),
    /// The same star's generation of the quarter before (`@previous`).
    Previous,
}

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
    /// Its unit, as [`crate::unit`] has it; empty: it must have none. Without a word here any will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Whether it may be missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// What it is, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
}

/// Kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
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

/// By how much the numbers of a product may differ from what they were, and count as unchanged.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tolerance {
    /// Of floating numbers, in parts of what they were.
    pub rtol: f64,
    /// Of floating numbers, besides that.
    pub atol: f64,
    /// Of these columns instead; integers may differ only where their column is named.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, ColumnTolerance>,
}

/// By how much the numbers of a column may differ from what they were.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnTolerance {
    /// In parts of what they were.
    pub rtol: f64,
    /// Besides that.
    pub atol: f64,
}

impl Tolerance {
    /// What a column of floating numbers may differ by.
    pub fn of(&self, column: &str) -> ColumnTolerance {
        self.columns.get(column).copied().unwrap_or(ColumnTolerance { rtol: self.rtol, atol: self.atol })
    }

    /// What a column of integers may differ by: nothing, unless it is named.
    pub fn of_integers(&self, column: &str) -> ColumnTolerance {
        let atol = self.columns.get(column).map_or(0.0, |named| named.atol);
        ColumnTolerance { rtol: 0.0, atol }
    }
}

impl ColumnTolerance {
    /// Whether a number is as good as what it was. NaN is as good as NaN, and infinities only as themselves.
    pub fn allows(self, was: f64, is: f64) -> bool {
        was == is
            || (was.is_nan() && is.is_nan())
            || (is - was).abs() <= self.atol + self.rtol * was.abs() && was.is_finite()
    }
}

/// In words that say all of it.
impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = ColumnTolerance { rtol: self.rtol, atol: self.atol };
        own.fmt(f)?;
        self.columns.iter().try_for_each(|(column, numbers)| write!(f, "; {column}: {numbers}"))
    }
}

impl fmt::Display for ColumnTolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rtol {:e}, atol {:e}", self.rtol, self.atol)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            Origin::Previous => write!(f, "{}@previous", self.product),
            Origin::StarExternal | Origin::SharedExternal | Origin::Module(_) => self.product.fmt(f),
        }
    }
}

impl Source {
    /// The module that makes it in this quarter, if one does.
    pub fn producer(&self) -> Option<ModuleIndex> {
        match self.origin {
            Origin::Module(module) => Some(module),
            Origin::StarExternal | Origin::SharedExternal | Origin::Previous => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_number_may_differ_by_is_a_part_of_what_it_was_and_an_amount() {
        let of = |rtol, atol| ColumnTolerance { rtol, atol };
        for (was, is, within) in [
            (100.0, 100.1, true),
            (100.0, 99.8, false),
            (0.0, 1e-12, false),
            (f64::NAN, f64::NAN, true),
            (1.0, f64::NAN, false),
            (f64::NAN, 1.0, false),
            (f64::INFINITY, f64::INFINITY, true),
            (f64::INFINITY, 1.0, false),
            (1.0, f64::INFINITY, false),
        ] {
            assert_eq!(of(1e-3, 0.0).allows(was, is), within, "{was} {is}");
        }
        assert!(of(0.0, 0.5).allows(0.0, 0.5) && !of(0.0, 0.5).allows(0.0, 0.6) && of(1e-3, 0.5).allows(100.0, 100.55));
    }

    #[test]
    fn columns_have_their_own_tolerance_and_integers_only_where_they_are_named() {
        let named = ColumnTolerance { rtol: 0.0, atol: 2.0 };
        let tolerance = Tolerance { rtol: 1e-6, atol: 1.0, columns: BTreeMap::from([("n".to_owned(), named)]) };
        assert_eq!((tolerance.of("x").atol, tolerance.of("n").atol), (1.0, 2.0));
        assert_eq!((tolerance.of_integers("x").atol, tolerance.of_integers("n").atol), (0.0, 2.0));
        assert_eq!(tolerance.to_string(), "rtol 1e-6, atol 1e0; n: rtol 0e0, atol 2e0");
    }
}
