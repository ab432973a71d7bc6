//! Tolerate: what a module made again, and differs from what it was by no more than the pipeline tolerates, stands for that. What
//! is downstream goes on with what was before, under the same keys.
//!
//! A product is compared with what its predecessor in the star's current generation stands for, not with that one itself, so that
//! small differences never add up. What came of it is written into the result before that is committed: whoever finds the result
//! finds this, too.

use std::collections::BTreeMap;

use domain::error::chain;
use domain::id::ProductName;
use domain::outcome::StandsFor;
use domain::product::Tolerance;
use store::agent::{AskWithin, At, Manifest, MarkSealed};
use store::paths;
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, Order};
use super::ending::Ending;
use super::look::{place, whole};
use super::seal::SealedResult;

/// Marks what of a sealed result stands for something that was before. Where that cannot be compared nothing does.
pub(super) async fn tolerate(
    desk: &mut Desk,
    order: &Order,
    mut sealed: SealedResult,
    cancel: &CancellationToken,
) -> Result<SealedResult, Ending> {
    let declared: BTreeMap<ProductName, Tolerance> = {
        let tolerances = &order.run.course.pipeline.tolerances;
        let made = sealed.success.products.keys();
        made.filter_map(|product| Some((product.clone(), tolerances.get(product)?.clone()))).collect()
    };
    if declared.is_empty() {
        return Ok(sealed);
    }
    let stands_for = match compared(desk, order, &sealed, &declared, cancel).await {
        Ok(stands_for) => stands_for,
        Err(ending) => {
            sealed.discard(&desk.store).await;
            return Err(ending);
        }
    };
    if stands_for.is_empty() {
        return Ok(sealed);
    }
    let mark = MarkSealed { file: sealed.file.clone(), stands_for: stands_for.clone() };
    if let Err(error) = desk.agent.mark(mark).await {
        sealed.discard(&desk.store).await;
        return Err(Ending::store(&error));
    }
    sealed.success.stands_for = stands_for;
    Ok(sealed)
}

/// Which products differ from what was before by no more than is declared.
async fn compared(
    desk: &mut Desk,
    order: &Order,
    sealed: &SealedResult,
    declared: &BTreeMap<ProductName, Tolerance>,
    cancel: &CancellationToken,
) -> Result<BTreeMap<ProductName, StandsFor>, Ending> {
    let Some(current) = current(desk, order, cancel).await? else { return Ok(BTreeMap::new()) };
    let mut stands_for = BTreeMap::new();
    for (product, tolerance) in declared {
        let Some(reference) = reference(&current, product, tolerance) else { continue };
        if sealed.success.products.get(product) == Some(&reference.digest) {
            continue;
        }
        let path = format!("/PRODUCTS/{product}");
        let Ok(before) = place(desk, order, reference.file.clone(), path.clone()) else { continue };
        let ask = AskWithin {
            reference: At { file: before.file, path: path.clone() },
            made: At { file: sealed.file.clone(), path },
            tolerance: tolerance.clone(),
        };
        match desk.agent.within(ask).await {
            Ok(true) => drop(stands_for.insert(product.clone(), reference)),
            Ok(false) => {}
            // As good as another one: what is downstream is made of what there is.
            Err(error) => {
                tracing::warn!(%product, file = reference.file, error = chain(&error), "what was before cannot be compared");
                desk.agent.end();
            }
        }
    }
    Ok(stands_for)
}

/// What a product is compared with: what counts of it now.
fn reference(current: &Manifest, product: &ProductName, tolerance: &Tolerance) -> Option<StandsFor> {
    let entry = current.products.get(product).filter(|entry| entry.not_produced.is_none())?;
    let within = tolerance.to_string();
    match entry.stands_for.clone().filter(|stands_for| stands_for.within == within) {
        Some(stands_for) => Some(stands_for),
        None => Some(StandsFor { digest: entry.digest, file: entry.file.clone()?, within }),
    }
}

/// The star's current generation, where there is one that can be read.
async fn current(desk: &mut Desk, order: &Order, cancel: &CancellationToken) -> Result<Option<Manifest>, Ending> {
    let (star, quarter) = (order.star, order.run.course.record.quarter);
    let Some(open) = desk.store.ask(move |store| store.open_generation(star, quarter)).await? else { return Ok(None) };
    let place = place(desk, order, paths::name_of_generation(quarter, open), "/".to_owned())?;
    match whole(desk, order, &place, cancel).await {
        Ok(manifest) => Ok(Some(Manifest::clone(&manifest))),
        Err(Ending::Cancelled) => Err(Ending::Cancelled),
        Err(Ending::Outcome(_) | Ending::Damaged(_)) => {
            tracing::warn!(file = %place.file.display(), "the current generation cannot be read: nothing is compared with it");
            Ok(None)
        }
    }
}
