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
