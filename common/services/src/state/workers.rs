//! Workers as they show themselves: who they are, what they run now, how what they ran ended, and why they take nothing.
//!
//! What a worker of an older version does not say has a default.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::id::{Attempt, ClassName, ModuleName, RunId, StarId, WorkerName};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// For how long a worker is remembered that shows itself no more, and did not take leave.
pub const REMEMBERED: Duration = Duration::from_secs(3600);

/// Most running attempts that a worker names.
pub const MOST_SHOWN: usize = 64;

/// A worker that shows itself from time to time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Its name, unique to the process.
    pub worker: WorkerName,
    /// The host that it runs on, as it is configured to call it.
    #[serde(default)]
    pub host: String,
    /// The version of its program.
    #[serde(default)]
    pub version: String,
    /// Its slots per class.
    pub slots: BTreeMap<ClassName, u32>,
    /// How many of them run something, per class.
    #[serde(default)]
    pub busy: BTreeMap<ClassName, u32>,
    /// How many attempts it runs now.
    pub running: u32,
    /// When it last showed itself.
    pub seen: Timestamp,
    /// When it began.
    #[serde(default)]
    pub began: Option<Timestamp>,
    /// How the attempts ended that it ran.
    #[serde(default)]
    pub ended: AttemptCounts,
    /// Whether operators drain its host: it ends what runs and takes nothing new.
    #[serde(default)]
    pub drained: bool,
    /// Why it takes no tasks now; `None` while it does.
    #[serde(default)]
    pub waits_for: Option<String>,
    /// Seconds by which its host's clock is ahead of the state's, negative where it is behind; `None` where it is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead: Option<i64>,
    /// The attempts that it runs now, oldest first, at most [`MOST_SHOWN`].
    #[serde(default)]
    pub attempts: Vec<RunningAttempt>,
}

/// How many attempts of a worker ended in which way, since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AttemptCounts {
    /// In any way, the ones below included.
    pub all: u64,
    /// By the module's fault.
    pub failed: u64,
    /// By the platform's.
    pub errored: u64,
    /// Stopped, since their lease was lost: the task was cancelled, or the worker was away for too long.
    pub lost: u64,
    /// Given back, since the worker was told to end.
    pub given_back: u64,
}

/// An attempt that a worker runs now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunningAttempt {
    /// The run.
    pub run: RunId,
    /// The star.
    pub star: StarId,
    /// The module.
    pub module: ModuleName,
    /// The attempt, counted from 1.
    pub attempt: Attempt,
    /// When it was claimed.
    pub since: Timestamp,
    /// How far it is.
    pub phase: AttemptPhase,
    /// The newest line of its log; empty where it said nothing yet.
    #[serde(default)]
    pub last_line: String,
}

/// How far an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AttemptPhase {
    /// Inputs are read, and image and files are brought into place.
    #[default]
    Staging,
    /// The module runs.
    Running,
    /// What it made is checked and committed.
    Committing,
}

impl WorkerInfo {
    /// A worker that runs nothing and of which no more is known.
    pub fn new(worker: WorkerName, slots: BTreeMap<ClassName, u32>, seen: Timestamp) -> Self {
        Self {
            worker,
            host: String::new(),
            version: String::new(),
            slots,
            busy: BTreeMap::new(),
            running: 0,
            seen,
            began: None,
            ended: AttemptCounts::default(),
            drained: false,
            waits_for: None,
            clock_ahead: None,
            attempts: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_of_an_older_version_shows_is_read() {
        let old = r#"{"worker":"a-1","slots":{"default":2},"running":1,"seen":"2026-01-01T00:00:00Z"}"#;
        let read: WorkerInfo = serde_json::from_str(old).unwrap();
        let slots = [("default".parse().unwrap(), 2)].into();
        let new = WorkerInfo::new("a-1".parse().unwrap(), slots, "2026-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(read, WorkerInfo { running: 1, ..new });
    }
}
