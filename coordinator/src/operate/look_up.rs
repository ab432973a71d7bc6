//! Questions about the past of a store. All block on the disk.
//!
//! Whatever costs more than one look is here and nowhere else in this room: an index in the store answers these by position.

use std::collections::BTreeSet;

use domain::id::{PipelineName, Quarter, RunId, StarId, StarIndex};
use domain::pipeline::Pipeline;
use store::runs::{RunEnd, RunList, RunRank, RunRecord, SettledStar};
use store::{Store, StoreError, paths};

use super::OperateError;
use crate::standing;

/// The newest run.
pub(super) fn newest_run(store: &Store) -> Result<Option<RunId>, StoreError> {
    store.find_run(|record| Ok(Some(record.run)))
}

/// So many of the newest runs, newest first, each with its end where it is over, and what cannot be read of others.
pub(super) fn runs(store: &Store, most: usize) -> Result<RunList, StoreError> {
    runs_after(store, most, None)
}

/// The same of those that come after this one in the list of all.
pub(super) fn runs_after(store: &Store, most: usize, after: Option<RunRank>) -> Result<RunList, StoreError> {
    let RunList { runs, mut damaged } = store.runs_before(most, after)?;
    let mut known = Vec::with_capacity(runs.len());
    for mut listed in runs {
        if listed.end.is_none() {
            match end_of(store, listed.record.run) {
                Ok(end) => listed.end = end,
                Err(error @ (StoreError::Damaged { .. } | StoreError::Newer { .. })) => {
                    damaged.push(error);
                    continue;
                }
                Err(error) => return Err(error),
            }
        }
        known.push(listed);
    }
    Ok(RunList { runs: known, damaged })
}

/// The newest run of a pipeline.
pub(super) fn newest_run_of(store: &Store, pipeline: &PipelineName) -> Result<Option<RunId>, StoreError> {
    store.find_run(|record| Ok((record.pipeline == *pipeline).then_some(record.run)))
}

/// Asks the newest run of each version of a pipeline, newest first, until one answers; older runs of a version are the same.
/// Also tells whether there was any.
pub(super) fn ask_versions<T>(
    store: &Store,
    pipeline: &PipelineName,
    mut ask: impl FnMut(RunId) -> Result<Option<T>, OperateError>,
) -> Result<(Option<T>, bool), OperateError> {
    let mut versions = BTreeSet::new();
    let found = store.find_run(|record| {
        let is_new = record.pipeline == *pipeline && versions.insert(record.version.clone());
        Ok(if is_new { ask(record.run).transpose() } else { None })
    })?;
    Ok((found.transpose()?, !versions.is_empty()))
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
    store.run(run)?.ok_or_else(|| no_run(run))
}

/// That there is no such run.
pub(super) fn no_run(run: RunId) -> OperateError {
    OperateError::not_found(format!("run {run} is not in the store; `sas run list` shows all"))
}

/// The pipeline of a run, as it was when the run was accepted; `record` has the definition's text.
pub(super) fn pipeline_of(store: &Store, record: &RunRecord) -> Result<Pipeline, StoreError> {
    let path = store.at(paths::definition(record.run));
    record.load_pipeline().map_err(|mistakes| StoreError::Damaged { path, reason: mistakes.to_string() })
}
