//! Tasks that failed for good, each with its attempts and the end of its log: what `explain` reads.
//!
//! A product wins over a failure: readers look for the result first.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::durable::{self, Commit};
use super::{Store, StoreError, names_in, paths, read_json, to_json};
use domain::id::{Attempt, Key, ModuleName, Quarter, RunId, StarId, WorkerName};
use domain::outcome::{Outcome, UsedResources};

/// A task that failed for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FailureRecord {
    /// The run.
    pub run: RunId,
    /// The module.
    pub module: ModuleName,
    /// The key that its result would have had, where it got so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// The attempt that was the last, counted from 1.
    pub attempt: Attempt,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The worker that ran it.
    pub worker: WorkerName,
    /// When the attempt began.
    pub started: Timestamp,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// The attempt's log, bounded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
    /// What its program used, as far as that was measured.
    #[serde(default, skip_serializing_if = "UsedResources::is_unknown")]
    pub used: UsedResources,
}

impl Store {
    /// Records a task that failed for good.
    pub fn record_failure(
        &self,
        star: StarId,
        quarter: Quarter,
        failure: &FailureRecord,
    ) -> Result<Commit, StoreError> {
        let path = paths::failure(star, quarter, &failure.module, failure.key.as_ref(), failure.run, failure.attempt);
        durable::create(&self.at(path), &self.beside(), &to_json(failure))
    }

    /// What failed for a star, newest last.
    pub fn failures(&self, star: StarId, quarter: Quarter) -> Result<Vec<FailureRecord>, StoreError> {
        let folder = self.at(paths::failures(star, quarter));
        let mut records: Vec<FailureRecord> = Vec::new();
        for name in names_in(&folder)?.iter().filter(|name| name.ends_with(".json")) {
            records.extend(read_json::<FailureRecord>(&folder.join(name))?);
        }
        records.sort_by_key(|record| record.started);
        Ok(records)
    }
}
