//! The rows of a run as those who look at its matrix share them: where they come from, how they are ordered, what changed when.
//!
//! Nothing here grows with the number of stars but a view: it is made anew at most once a second, only when somebody asks, and
//! forgotten when nobody does.

mod kept;
mod look;
mod order;
mod rows;
mod view;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use kept::Matrices;
pub(super) use kept::SharedView;
pub(super) use order::StarPlaces;
pub(super) use rows::{BLOCK, MatrixRows};

/// Stars that are counted together at least: a line of counts is of this many, or of a multiple.
pub const FEWEST_COUNTED: u32 = 64;

/// How the stars of a matrix are ordered.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StarOrder {
    /// As the run's list has them, which is the order in which they are let in.
    #[default]
    Arrival,
    /// Those with failed tasks first, by the first module that failed; then those that lost tasks otherwise, those that go on,
    /// those that are complete, those that did not enter the run yet.
    State,
    /// Those of which most tasks have ended first.
    Progress,
}

#[cfg(test)]
mod tests;
