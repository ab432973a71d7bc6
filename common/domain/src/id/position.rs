//! Positions in a run: what queues and state use in the place of names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Position of a module in its pipeline's topological order; a star's row has one byte at this position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ModuleIndex(pub u8);

impl ModuleIndex {
    /// As an index into a slice of modules.
    pub const fn at(self) -> usize {
        self.0 as usize
    }
}

/// Position of a star in its run's sorted list of stars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct StarIndex(pub u32);

/// A task of a run, by position: the form that queues and state use. Its full name is `run/star/module`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Task {
    /// Which star.
    pub star: StarIndex,
    /// Which module.
    pub module: ModuleIndex,
}
