//! Questions about the past of a store. All block on the disk.
//!
//! Whatever costs more than one look is here and nowhere else in this room: an index in the store answers these by position.

use std::collections::BTreeSet;

use domain::id::{PipelineName, Quarter, RunId, StarId, StarIndex};
use domain::pipeline::Pipeline;
use store::runs::{RunEnd, RunList, RunRecord, SettledStar};
use store::{Store, StoreError, paths};

use super::OperateError;
use crate::runs::standing;

/// The newest run.
pub(super) fn newest_run(store: &Store) -> Result<Option<RunId>, StoreError> {
    Ok(store.runs()?.first().map(|record| record.run))
}

/// All runs, newest first, each with its end where it is over, and what cannot be read of others.
pub(super) fn runs(store: &Store) -> Result<RunList, StoreError> {
    let mut list = store.list_runs()?;
    for listed in &mut list.runs {
        if listed.end.is_none() {
            match end_of(store, listed.record.run) {
                Ok(end) => listed.end = end,
                Err(error @ (StoreError::Damaged { .. } | StoreError::Newer { .. })) => list.damaged.push(error),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(list)
}

/// The newest run of each version of a pipeline, newest first; older runs of a version are the same.
pub(super) fn newest_of_versions(store: &Store, pipeline: &PipelineName) -> Result<Vec<RunId>, StoreError> {
    let mut versions = BTreeSet::new();
    let mut runs = store.runs()?;
    runs.retain(|record| record.pipeline == *pipeline && versions.insert(record.version.clone()));
    Ok(runs.into_iter().map(|record| record.run).collect())
}

/// The newest run that has a star, and where the star is in it.
pub(super) fn newest_with(store: &Store, star: StarId) -> Result<Option<(RunId, StarIndex)>, StoreError> {
    store.newest_run_of(star)
}

/// Runs of a pipeline over the whole of a quarter that go on.
pub(super) fn open_runs(
    store: &Store,
    pipeline: &PipelineName,
    quarter: Quarter,
) -> Result<Vec<RunRecord>, StoreError> {
    let mut open = Vec::new();
    for run in store.open_runs()? {
        let Some(record) = store.run(run)? else { continue };
        let is_meant = record.pipeline == *pipeline && record.quarter == quarter && record.only_group.is_none();
        if is_meant && !standing::read(store, run)?.is_over {
            open.push(record);
        }
    }
    Ok(open)
}

/// The newest line about a star in the settled batches of a run.
pub(super) fn settled_line(store: &Store, run: RunId, star: StarIndex) -> Result<Option<SettledStar>, StoreError> {
    store.settled_star(run, star)
}

/// How a run ended, unless operators opened it again since.
pub(super) fn end_of(store: &Store, run: RunId) -> Result<Option<RunEnd>, StoreError> {
    let end = store.run_end(run)?;
    Ok(if end.is_some() && standing::read(store, run)?.is_over { end } else { None })
}

/// The record of a run, with the texts of its definition.
pub(super) fn record(store: &Store, run: RunId) -> Result<RunRecord, OperateError> {
    store
        .run(run)?
        .ok_or_else(|| OperateError::not_found(format!("run {run} is not in the store; `sas run list` shows all")))
}

/// The pipeline of a run, as it was when the run was accepted; `record` has the definition's text.
pub(super) fn pipeline_of(store: &Store, record: &RunRecord) -> Result<Pipeline, StoreError> {
    let path = store.at(paths::definition(record.run));
    record.load_pipeline().map_err(|mistakes| StoreError::Damaged { path, reason: mistakes.to_string() })
}
