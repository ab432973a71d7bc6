//! Stars that have not entered a run for the sake of their quarter before.

use std::collections::BTreeMap;

use domain::id::RunId;
use schemars::JsonSchema;
use serde::Serialize;
use store::runs::QuarterVerdict;
use store::{Store, StoreError};

/// Stars of a run that stay outside for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StarsOutside {
    /// How many there are.
    pub stars: u64,
    /// Why.
    #[serde(flatten)]
    pub verdict: QuarterVerdict,
}

impl StarsOutside {
    /// Those of a run, most stars first. Blocks on the disk.
    pub(super) fn of(store: &Store, run: RunId) -> Result<Vec<Self>, StoreError> {
        let mut counts: BTreeMap<String, Self> = BTreeMap::new();
        for verdict in store.stars_outside(run)?.into_values() {
            counts.entry(waits_for(verdict)).or_insert(Self { stars: 0, verdict }).stars += 1;
        }
        let mut all: Vec<Self> = counts.into_values().collect();
        all.sort_by_key(|outside| std::cmp::Reverse(outside.stars));
        Ok(all)
    }

    /// In words: how many wait, and for what.
    pub fn words(&self) -> String {
        let stars = if self.stars == 1 { "star waits" } else { "stars wait" };
        format!("{} {stars} for {}", self.stars, waits_for(self.verdict))
    }
}

/// What such a star waits for, in words.
pub(crate) fn waits_for(verdict: QuarterVerdict) -> String {
    match verdict {
        QuarterVerdict::Waits { run } => format!("its quarter before, which run {run} has not settled"),
        QuarterVerdict::Held { run, end, .. } => {
            format!("an operator: its quarter before ended as {end} in run {run}")
        }
        QuarterVerdict::Without { .. } | QuarterVerdict::Enters => "nothing".to_owned(),
    }
}
