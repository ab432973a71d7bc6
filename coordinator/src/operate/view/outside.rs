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
        Ok(Self::count(store.stars_outside(run)?.into_values()))
    }

    /// So many by reason, most stars first.
    pub(crate) fn count(verdicts: impl Iterator<Item = QuarterVerdict>) -> Vec<Self> {
        let mut counts: BTreeMap<String, Self> = BTreeMap::new();
        for verdict in verdicts {
            counts.entry(waits_for(verdict, 1)).or_insert(Self { stars: 0, verdict }).stars += 1;
        }
        let mut all: Vec<Self> = counts.into_values().collect();
        all.sort_by_key(|outside| std::cmp::Reverse(outside.stars));
        all
    }

    /// Whether an operator must let them in.
    pub fn is_held(&self) -> bool {
        matches!(self.verdict, QuarterVerdict::Held { .. })
    }

    /// In words: how many wait, and for what.
    pub fn words(&self) -> String {
        let stars = if self.stars == 1 { "star waits" } else { "stars wait" };
        format!("{} {stars} for {}", self.stars, waits_for(self.verdict, self.stars))
    }
}

/// What so many such stars wait for, in words.
pub(crate) fn waits_for(verdict: QuarterVerdict, stars: u64) -> String {
    let whose = if stars == 1 { "its" } else { "their" };
    match verdict {
        QuarterVerdict::Waits { run } => format!("{whose} quarter before, which run {run} has not settled"),
        QuarterVerdict::Held { run, end, .. } => {
            format!("an operator: {whose} quarter before ended as {end} in run {run}")
        }
        QuarterVerdict::Without { .. } | QuarterVerdict::Enters => "nothing".to_owned(),
    }
}
