//! On record: a failure that the store knows already is not brought about again. Where the state was lost, attempts begin at 1
//! again; of those that failed the store has the outcomes, as it has the results of those that succeeded.

use store::failures::FailureRecord;
use store::runs::Decided;
use store::{Store, StoreError};

use super::desk::{Desk, Order};
use super::resolve::Plan;

/// How this attempt, or the next one that is on record, failed in this run with exactly these inputs; nothing once operators
/// decided that tasks are to be tried again.
pub(super) async fn failure(desk: &Desk, order: &Order, plan: &Plan) -> Result<Option<FailureRecord>, StoreError> {
    let record = &order.run.course.record;
    let (run, quarter, star) = (record.run, record.quarter, order.star);
    let (module, key, attempt) = (order.module().name.clone(), plan.key, order.attempt);
    let look = move |store: &Store| {
        let alike = |known: &FailureRecord| {
            (known.run, &known.module, known.key) == (run, &module, Some(key)) && known.attempt >= attempt
        };
        let found = store.failures(star, quarter)?.into_iter().filter(alike).min_by_key(|known| known.attempt);
        let Some(found) = found else { return Ok(None) };
        let decisions = store.decisions(run)?;
        let is_to_be_tried = decisions
            .iter()
            .any(|(_, decision)| matches!(decision.what, Decided::Retry { .. }) && decision.at > found.started);
        Ok(Some(found).filter(|_| !is_to_be_tried))
    };
    desk.store.ask(look).await
}
