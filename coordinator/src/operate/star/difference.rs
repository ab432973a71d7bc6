//! Two generations of a star side by side.

use domain::expression::Scalar;
use domain::id::{Digest, Generation, ProductName, Quarter, StarId};
use domain::outcome::StandsFor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::agent::{At, ColumnChange, ColumnFacts, GenerationStatus, Manifest, ProductEntry};
use store::paths;

use super::{FoundQuarter, OneQuarter};
use crate::operate::{Context, OperateError};

/// Two generations of a star.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompareGenerations {
    /// The star.
    pub star: StarId,
    /// The quarter; the newest in which it has a generation unless given.
    #[serde(default)]
    pub quarter: Option<Quarter>,
    /// The one before; what the star file shows unless given, or where that is the other one, the one before that.
    #[serde(default)]
    pub from: Option<Generation>,
    /// The one after; the newest unless given.
    #[serde(default)]
    pub to: Option<Generation>,
}

/// How two generations of a star differ.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StarDifference {
    /// The star.
    pub star: StarId,
    /// The quarter.
    pub quarter: Quarter,
    /// The one before, and how whole it is.
    pub from: (Generation, Option<GenerationStatus>),
    /// The one after, and how whole it is.
    pub to: (Generation, Option<GenerationStatus>),
    /// Externals that are others, gone or new.
    pub externals: Vec<ProductName>,
    /// Products that only the one before has.
    pub lost: Vec<ProductName>,
    /// Products that only the one after has.
    pub gained: Vec<ProductName>,
    /// Products that both have, with other values.
    pub changed: Vec<ProductDifference>,
    /// How many products are the same in both.
    pub equal: usize,
}

/// A product with other values.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ProductDifference {
    /// The product.
    pub product: ProductName,
    /// The digests of its values, before and after.
    pub digests: (Digest, Digest),
    /// What the one after stands for, in its run: it differs from that by no more than was tolerated, and counts as that for what is
    /// downstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stands_for: Option<StandsFor>,
    /// What the one before stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stood_for: Option<StandsFor>,
    /// Why it had no values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_produced_before: Option<String>,
    /// Why it has no values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_produced_after: Option<String>,
    /// Its columns that differ; none where only attributes do.
    pub columns: Vec<ColumnDifference>,
}

/// A column that differs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ColumnDifference {
    /// The column.
    pub column: String,
    /// What it was.
    pub before: Option<ColumnFacts>,
    /// What it is.
    pub after: Option<ColumnFacts>,
    /// Of two numbers: the one after less the one before.
    pub difference: Option<f64>,
    /// The same in parts of the one before.
    pub relative: Option<f64>,
    /// Of two arrays of one shape: how many elements differ.
    pub differing: Option<u64>,
    /// Of two arrays of one shape: by how much at most.
    pub largest: Option<f64>,
}

impl ProductDifference {
    /// Whether both count as the same for what is downstream.
    pub fn counts_as_unchanged(&self) -> bool {
        let counting = |own: Digest, known: &Option<StandsFor>| known.as_ref().map_or(own, |known| known.digest);
        counting(self.digests.0, &self.stood_for) == counting(self.digests.1, &self.stands_for)
    }
}

/// How two generations of a star differ.
pub async fn difference(context: &Context, asked: CompareGenerations) -> Result<StarDifference, OperateError> {
    let found = FoundQuarter::find(context, OneQuarter { star: asked.star, quarter: asked.quarter }).await?;
    let mut agent = context.readers.lend().await?;
    let to = asked.to.or(found.numbers.last().copied()).unwrap_or_default();
    let from = match asked.from {
        Some(from) => from,
        None => {
            let open = found.open(context, &mut agent).await?;
            let before = found.numbers.iter().rev().find(|number| **number < to);
            let other = (open != to).then_some(open).or(before.copied());
            let alone =
                || OperateError::refused(format!("{} has no generation before {to} to compare with", found.star));
            other.ok_or_else(alone)?
        }
    };
    let (from, before) = found.read(context, &mut agent, Some(from)).await?;
    let (to, after) = found.read(context, &mut agent, Some(to)).await?;
    let common: Vec<(&ProductName, &ProductEntry, &ProductEntry)> =
        before.products.iter().filter_map(|(name, old)| Some((name, old, after.products.get(name)?))).collect();
    let differ = common.iter().filter(|(_, old, new)| old.digest != new.digest);
    let file = |number| context.store.at(paths::generation(found.star, found.quarter, number));
    let (old_file, new_file) = (file(from), file(to));
    let mut changed: Vec<ProductDifference> = differ
        .map(|(name, old, new)| ProductDifference {
            product: (*name).clone(),
            digests: (old.digest, new.digest),
            stands_for: new.stands_for.clone(),
            stood_for: old.stands_for.clone(),
            not_produced_before: old.not_produced.clone(),
            not_produced_after: new.not_produced.clone(),
            columns: Vec::new(),
        })
        .collect();
    let pair = |change: &ProductDifference| {
        let path = format!("/PRODUCTS/{}", change.product);
        [&old_file, &new_file].map(|file| At { file: file.clone(), path: path.clone() })
    };
    let columns = agent.compare(changed.iter().map(pair).collect()).await?;
    for (change, columns) in changed.iter_mut().zip(columns) {
        change.columns = columns.into_iter().map(|(column, change)| column_difference(column, change)).collect();
    }
    let only = |one: &Manifest, other: &Manifest| -> Vec<ProductName> {
        one.products.keys().filter(|product| !other.products.contains_key(*product)).cloned().collect()
    };
    Ok(StarDifference {
        star: found.star,
        quarter: found.quarter,
        from: (from, before.status()),
        to: (to, after.status()),
        externals: externals(&before, &after),
        lost: only(&before, &after),
        gained: only(&after, &before),
        equal: common.len() - changed.len(),
        changed,
    })
}

/// How a column differs.
pub fn column_difference(column: String, change: ColumnChange) -> ColumnDifference {
    let number = |facts: &Option<ColumnFacts>| facts.as_ref()?.value.as_ref().and_then(Scalar::as_f64);
    let numbers = number(&change.before).zip(number(&change.after));
    let difference = numbers.map(|(old, new)| new - old).filter(|difference| difference.is_finite());
    let relative = numbers.zip(difference).map(|((old, _), by)| by / old.abs()).filter(|part| part.is_finite());
    let ColumnChange { before, after, differing, largest } = change;
    ColumnDifference { column, before, after, difference, relative, differing, largest }
}

fn externals(before: &Manifest, after: &Manifest) -> Vec<ProductName> {
    let digest = |of: &Manifest, name: &ProductName| of.externals.get(name).map(|entry| entry.digest);
    let all =
        before.externals.keys().chain(after.externals.keys().filter(|name| !before.externals.contains_key(*name)));
    all.filter(|name| digest(before, name) != digest(after, name)).cloned().collect()
}
