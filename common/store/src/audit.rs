//! The audit: a line for every change that somebody asked for, in the order in which they were made.
//!
//! `audit/<n>.json`, numbered from 1, each made by first link and never changed. What was decided is in a file of its own, where
//! coordinators follow it; here stands who did it, through which door, to how many, and why.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, numbered, paths, read_json, to_json};
use domain::id::{EventId, HostName, ModuleName, PipelineName, Quarter, RunId, StarId};

/// The way by which a change came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Door {
    /// The command line.
    Cli,
    /// The HTTP API.
    Http,
    /// A page.
    Page,
    /// None: a coordinator did what a setting of its own says.
    Setting,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Verb {
    /// A dataset event was published.
    Publish,
    /// A run was started.
    Start,
    /// A run was paused.
    Pause,
    /// A paused run, or a drained host, goes on.
    Resume,
    /// A run, or tasks of one, were cancelled.
    Cancel,
    /// A run got another weight.
    Priority,
    /// Tasks of a run are tried again.
    Retry,
    /// Modules of a run got other images.
    Amend,
    /// A module, or stars of a run, are held.
    Hold,
    /// A held module is released.
    Release,
    /// A host is drained.
    Drain,
    /// A star file shows another generation.
    Rollback,
    /// Files that nobody refers to were removed.
    Collect,
}

/// What it was done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "target", rename_all = "snake_case")]
pub enum Target {
    /// A dataset event.
    Event {
        /// The event.
        event: EventId,
    },
    /// A run.
    Run {
        /// The run.
        run: RunId,
    },
    /// A module, in all runs of its pipeline.
    Module {
        /// The pipeline.
        pipeline: PipelineName,
        /// The module.
        module: ModuleName,
    },
    /// A host.
    Host {
        /// The host.
        host: HostName,
    },
    /// The store as a whole.
    Store,
    /// A star file.
    Star {
        /// The star.
        star: StarId,
        /// The quarter.
        quarter: Quarter,
    },
}

/// A change, as it is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// Through which door.
    pub door: Door,
    /// What was done.
    pub verb: Verb,
    /// To what.
    #[serde(flatten)]
    pub target: Target,
    /// To how many tasks or stars, where that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Why, as whoever did it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The number of the decision that came of it, among those about the same target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<u64>,
    /// What comes of it, in words.
    pub effect: String,
}

/// Lines of the audit, newest first.
#[derive(Debug, Default)]
pub struct AuditLines {
    /// By number.
    pub lines: BTreeMap<u64, AuditRecord>,
    /// The number below which there may be more.
    pub older: Option<u64>,
    /// Lines that cannot be read.
    pub damaged: Vec<StoreError>,
}

impl Store {
    /// Writes a change down; returns its number in the audit.
    pub fn audit(&self, record: &AuditRecord) -> Result<u64, StoreError> {
        self.append(&self.at(paths::audit()), "json", &to_json(record))
    }

    /// So many of the newest lines below this number, of all where there is none. Older ones are not read.
    pub fn audit_lines(&self, most: usize, before: Option<u64>) -> Result<AuditLines, StoreError> {
        let folder = self.at(paths::audit());
        let last = numbered::last(&folder, "json", 0)?;
        let newest = before.map_or(last, |before| last.min(before.saturating_sub(1)));
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        let oldest = newest.saturating_sub(most) + 1;
        let mut found = AuditLines { older: (oldest > 1 && newest > 0).then_some(oldest), ..AuditLines::default() };
        for number in oldest..=newest {
            match read_json(&numbered::path(&folder, "json", number)) {
                Ok(Some(line)) => drop(found.lines.insert(number, line)),
                Ok(None) => {}
                Err(error @ (StoreError::Damaged { .. } | StoreError::Newer { .. })) => found.damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_read_and_no_older_ones() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path()).unwrap();
        assert!(store.audit_lines(5, None).unwrap().lines.is_empty());
        let target = Target::Host { host: "a".parse().unwrap() };
        let line = |reason: &str| AuditRecord {
            at: Timestamp::UNIX_EPOCH,
            who: "somebody".to_owned(),
            door: Door::Cli,
            verb: Verb::Drain,
            target: target.clone(),
            count: None,
            reason: Some(reason.to_owned()),
            decision: Some(1),
            effect: "it is drained".to_owned(),
        };
        for number in 1..=7 {
            assert_eq!(store.audit(&line(&number.to_string())).unwrap(), number);
        }
        std::fs::remove_file(store.at(paths::audit()).join("000003.json")).unwrap();
        std::fs::write(store.at(paths::audit()).join("000003.json"), "{").unwrap();
        let numbers = |most, before| {
            let found = store.audit_lines(most, before).unwrap();
            (found.lines.keys().copied().collect::<Vec<_>>(), found.older, found.damaged.len())
        };
        assert_eq!(numbers(3, None), (vec![5, 6, 7], Some(5), 0));
        assert_eq!(numbers(3, Some(5)), (vec![2, 4], Some(2), 1));
        assert_eq!(numbers(3, Some(2)), (vec![1], None, 0));
        assert_eq!(numbers(3, Some(1)), (vec![], None, 0));
        assert_eq!(store.audit_lines(1, None).unwrap().lines[&7], line("7"));
    }
}
