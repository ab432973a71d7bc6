//! What stars ended with: their generations, which of them scientists see, what is in them and where it came from.
//!
//! One star at a time. Whatever is read of HDF5 is read by a store agent that is lent for the question.

mod curves;
mod descent;
mod difference;
mod export;
mod failed;
mod generations;
mod lineage;
mod made;
mod products;
mod rollback;
mod without;

use domain::id::{Generation, Quarter, StarId};
use serde::Deserialize;
use store::Store;
use store::agent::{Agent, Manifest};
use store::paths;

pub use curves::{DrawnCurve, Measured, StarCurves, curves};
pub use descent::{Descendant, Descent, descent};
pub use difference::{
    ColumnDifference, CompareGenerations, ProductDifference, StarDifference, column_difference, difference,
};
pub use export::{ExportStar, Exported, export};
pub use failed::failed_attempts;
pub use generations::{GenerationSummary, StarGenerations, generations, list_generations};
pub use lineage::{AskLineage, Lineage, LineageNode, LineageOrigin, lineage};
pub use made::HowMade;
pub use products::{NoProduct, ProductSummary, StarProducts, products};
pub(super) use rollback::{Aim, point};
pub use rollback::{RollBack, RolledBack, roll_back};

use super::{Context, OperateError};
use crate::settle::StarQuarter;

/// A star in a quarter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneQuarter {
    /// The star.
    pub star: StarId,
    /// The quarter; the newest in which it has a generation unless given.
    #[serde(default)]
    pub quarter: Option<Quarter>,
}

/// A generation of a star.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneGeneration {
    /// The star.
    pub star: StarId,
    /// The quarter; the newest in which it has a generation unless given.
    #[serde(default)]
    pub quarter: Option<Quarter>,
    /// The generation; the one that the star file shows unless given.
    #[serde(default)]
    pub generation: Option<Generation>,
}

impl OneGeneration {
    pub(super) fn place(self) -> OneQuarter {
        OneQuarter { star: self.star, quarter: self.quarter }
    }
}

/// A star's quarter that has generations.
pub(super) struct FoundQuarter {
    pub(super) star: StarId,
    pub(super) quarter: Quarter,
    /// Oldest first; at least one.
    pub(super) numbers: Vec<Generation>,
}

impl FoundQuarter {
    pub(super) async fn find(context: &Context, asked: OneQuarter) -> Result<Self, OperateError> {
        context.ask(move |store| find(store, asked)).await
    }

    pub(super) fn place<'a>(&self, context: &'a Context) -> StarQuarter<'a> {
        StarQuarter { store: &context.store, star: self.star, quarter: self.quarter }
    }

    /// This number, if there is such a generation.
    fn require(&self, number: Generation) -> Result<Generation, OperateError> {
        if self.numbers.contains(&number) {
            return Ok(number);
        }
        let newest = self.numbers.last().copied().unwrap_or_default();
        Err(OperateError::not_found(format!(
            "{} has no generation {number} in {}: the newest is {newest}, and `sas star generations` lists them",
            self.star, self.quarter
        )))
    }

    /// The generation that was asked for, or the one that the star file shows, with what it holds.
    pub(super) async fn read(
        &self,
        context: &Context,
        agent: &mut Agent,
        number: Option<Generation>,
    ) -> Result<(Generation, Manifest), OperateError> {
        let number = match number {
            Some(number) => self.require(number)?,
            None => self.open(context, agent).await?,
        };
        let file = context.store.at(paths::generation(self.star, self.quarter, number));
        Ok((number, agent.manifest(&file).await?))
    }

    /// The generation that the star file is to show.
    pub(super) async fn open(&self, context: &Context, agent: &mut Agent) -> Result<Generation, OperateError> {
        let view = self.place(context).look(agent).await?;
        Ok(view.map(|view| view.choice.open).unwrap_or_default())
    }
}

fn find(store: &Store, asked: OneQuarter) -> Result<FoundQuarter, OperateError> {
    let OneQuarter { star, quarter } = asked;
    let quarters = match quarter {
        Some(quarter) => vec![quarter],
        None => store.quarters(star)?,
    };
    for quarter in quarters.into_iter().rev() {
        let numbers = store.generations(star, quarter)?;
        if !numbers.is_empty() {
            return Ok(FoundQuarter { star, quarter, numbers });
        }
    }
    let place = quarter.map(|quarter| format!(" in {quarter}")).unwrap_or_default();
    let reason = format!("no run has settled {star}{place} yet; `sas star show` tells how far it is");
    Err(OperateError::not_found(reason))
}
