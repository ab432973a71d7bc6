//! What is asked of generations once they are there: to be shown, looked into, compared, and taken along.
//!
//! Pure data.

use std::collections::BTreeMap;
use std::path::PathBuf;

use domain::expression::Scalar;
use domain::id::{Digest, Generation, ModuleName, ProductName, StarId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::At;
use crate::generations::Rollback;

/// Copies a generation for the star file's place, with what is to be said of newer ones in its root attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Show {
    /// The generation that is shown.
    pub open: PathBuf,
    /// The newest generation.
    pub newest: PathBuf,
    /// The last complete one.
    pub last_complete: Option<Generation>,
    /// The operators' decision that it follows.
    pub rollback: Option<Rollback>,
    /// The file to write, in the agent's own directory; it must not be there.
    pub dest: PathBuf,
}

/// Copies a generation with everything that it links to, so that it opens wherever it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// Root of the store.
    pub store: PathBuf,
    /// The star.
    pub star: StarId,
    /// The generation.
    pub generation: PathBuf,
    /// The newest generation, which the root attributes name.
    pub newest: PathBuf,
    /// The last complete one.
    pub last_complete: Option<Generation>,
    /// Files that large products are in, which are read as a whole.
    pub reads: Vec<PathBuf>,
    /// Text attributes of the root that say where it comes from.
    pub attributes: BTreeMap<String, String>,
    /// The file to write, in the agent's own directory; it must not be there.
    pub dest: PathBuf,
}

/// What a column of a product is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ColumnFacts {
    /// Kind and size of its elements in a word.
    #[serde(rename = "type")]
    pub dtype: String,
    /// Its dimensions; none for a scalar.
    pub shape: Vec<u64>,
    /// The text of its attribute `unit`.
    pub unit: Option<String>,
    /// The value of a scalar, or of a column of one element.
    pub value: Option<Scalar>,
    /// The first values of a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<Scalar>,
}

/// How a column differs between two files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnChange {
    /// What it was; `None` when it was not there.
    pub before: Option<ColumnFacts>,
    /// What it is; `None` when it is not there.
    pub after: Option<ColumnFacts>,
    /// Elements that differ, of arrays of one shape.
    pub differing: Option<u64>,
    /// The largest difference of two finite numbers in the same place, of arrays of one shape.
    pub largest: Option<f64>,
}

/// Two columns of a product, to be drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AskCurve {
    /// The product.
    pub product: At,
    /// The column along the axis.
    pub along: String,
    /// The column of values.
    pub values: String,
    /// What the axis is.
    pub axis: CurveAxis,
    /// In how many parts the axis is divided at most.
    pub parts: u32,
    /// Only from here to there on the axis.
    pub within: Option<[f64; 2]>,
}

/// What the axis of a curve is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CurveAxis {
    /// The column as it is.
    Plain,
    /// Its logarithm to the base of ten.
    Logarithmic,
    /// Its phase, from −0.5 to 0.5.
    Folded {
        /// One turn, in the column's unit.
        period: f64,
        /// Where the phase is 0.
        epoch: f64,
    },
}

/// Two columns thinned out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Curve {
    /// How many pairs of finite numbers there are.
    pub points: u64,
    /// Unit of the column along the axis.
    pub along_unit: String,
    /// Unit of the values.
    pub unit: String,
    /// Parts of the axis that have any, in order.
    pub parts: Vec<CurvePart>,
}

/// What is in a part of the axis.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CurvePart {
    /// Its middle.
    pub at: f64,
    /// The smallest value.
    pub least: f64,
    /// The mean.
    pub mean: f64,
    /// The largest value.
    pub most: f64,
}

/// What a module of a generation read of this star and quarter, by what the file itself says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedReads {
    /// The module.
    pub module: ModuleName,
    /// Digests of the products that it read.
    pub digests: BTreeMap<ProductName, Digest>,
}
