//! What came of laying two stores side by side.

use std::collections::BTreeMap;

use domain::id::{ModuleName, ProductName, Quarter, StarId};
use schemars::JsonSchema;
use serde::Serialize;

/// How many of the star files that one store has alone are named.
const FIRST: usize = 20;

/// Two stores side by side.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct StoresCompared {
    /// Star files that both have.
    pub compared: u64,
    /// Those of them that hold the same.
    pub same: u64,
    /// Star files that only this store has.
    pub only_here: u64,
    /// Star files that only the other store has.
    pub only_there: u64,
    /// The first of those that only this store has: star and quarter.
    pub first_here: Vec<String>,
    /// The first of those that only the other store has.
    pub first_there: Vec<String>,
    /// What modules made otherwise from the same: they are not deterministic.
    pub differing: Vec<DifferingColumn>,
    /// Modules that were others, or ended otherwise, while what they read was the same; and products that count as other ones.
    pub otherwise: Vec<MadeOtherwise>,
    /// Results that differ, for what they were made from does.
    pub follow: u64,
    /// Externals that were delivered otherwise, with the number of star files.
    pub externals: BTreeMap<ProductName, u64>,
    /// Stars of which not all that both stores have can be read, each with the reason.
    pub unreadable: Vec<String>,
}

/// A column that differs though everything is the same that it was made from.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DifferingColumn {
    /// The module.
    pub module: ModuleName,
    /// The product.
    pub product: ProductName,
    /// The column; none where the product is there in one store alone, or only its attributes differ.
    pub column: Option<String>,
    /// In how many star files.
    pub stars: u64,
    /// By how much at most, of numbers.
    pub largest: Option<f64>,
    /// The first star.
    pub first: StarId,
    /// The first star's quarter.
    pub quarter: Quarter,
}

/// A module that was another one, or ended otherwise; or a product of it that stands for another one than there.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MadeOtherwise {
    /// The module.
    pub module: ModuleName,
    /// The product; none where it is the module as a whole.
    pub product: Option<ProductName>,
    /// In which way, here and there.
    pub what: String,
    /// In how many star files.
    pub stars: u64,
    /// The first star.
    pub first: StarId,
    /// The first star's quarter.
    pub quarter: Quarter,
}

impl StoresCompared {
    /// Whether nothing differs, all can be read, and neither store has a star file that the other has not.
    pub fn is_same(&self) -> bool {
        self.compared == self.same && self.only_here + self.only_there == 0 && self.unreadable.is_empty()
    }

    /// Whether a cause is named for what differs; what it follows from may be in a quarter that was not compared.
    pub fn names_a_cause(&self) -> bool {
        !self.differing.is_empty() || !self.otherwise.is_empty() || !self.externals.is_empty()
    }

    /// Takes a star file that not both stores have, if one has it; the first are named.
    pub(super) fn lone(&mut self, (star, quarter): (StarId, Quarter), is_here: bool, is_there: bool) {
        for (is_in, count, first) in [
            (is_here, &mut self.only_here, &mut self.first_here),
            (is_there, &mut self.only_there, &mut self.first_there),
        ] {
            if is_in {
                *count += 1;
                if first.len() < FIRST {
                    first.push(format!("{star} {quarter}"));
                }
            }
        }
    }
}
