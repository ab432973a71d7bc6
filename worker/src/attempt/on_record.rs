//! On record: a failure for good that the store knows is not brought about again. Where the state was lost, attempts begin at 1
//! again; of those that failed the store has the outcomes, as it has the results of those that succeeded.

use domain::id::{Attempt, Key, ModuleIndex, StarId};
use domain::outcome::Outcome;
use store::failures::FailureRecord;
use store::runs::Decided;
use store::{Store, StoreError};

use crate::run::RunHere;

/// How this task failed for good with exactly these inputs in this run, or, where a replay lets failures stand, in any, if
/// that is on record; nothing of what failed before operators decided that tasks are to be tried again. What the module's policy
/// tries again is not for good, whoever tried it how often: not every failure on record was one that counted.
pub(super) fn failure(
    store: &Store,
    run: &RunHere,
    star: StarId,
    key: Key,
    task: (ModuleIndex, Attempt),
) -> Result<Option<FailureRecord>, StoreError> {
    match look(store, run, star, key, task) {
        // What cannot be read says nothing: the module runs.
        Err(error @ (StoreError::Damaged { .. } | StoreError::Newer { .. })) => {
            tracing::warn!(error = domain::error::chain(&error), "a failure on record cannot be read");
            Ok(None)
        }
        looked => looked,
    }
}

fn look(
    store: &Store,
    run: &RunHere,
    star: StarId,
    key: Key,
    (at, attempt): (ModuleIndex, Attempt),
) -> Result<Option<FailureRecord>, StoreError> {
    let course = &run.course;
    let (id, quarter, module) = (course.record.run, course.record.quarter, course.pipeline.module(at));
    let is_it = |known: &FailureRecord| {
        let counts_here = if known.run == id {
            known.attempt >= attempt
        } else {
            course.record.replay.as_ref().is_some_and(|replay| replay.failures_stand.contains(&module.name))
        };
        (&known.module, known.key) == (&module.name, Some(key))
            && counts_here
            && matches!(&known.outcome, Outcome::Failed(failure)
                if !course.pipeline.is_worth_another_try(module, known.attempt, failure))
    };
    let Some(found) = store.failures(star, quarter)?.into_iter().rfind(is_it) else { return Ok(None) };
    let decisions = store.decisions(id)?;
    let is_to_be_tried = decisions
        .iter()
        .any(|(_, decision)| matches!(decision.what, Decided::Retry { .. }) && decision.at > found.started);
    Ok(Some(found).filter(|_| !is_to_be_tried))
}
