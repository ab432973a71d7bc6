//! What failed of the stars in a file of them, gathered by what the failures have in common.
//!
//! As bytes: a check of the rest, the length of the clusters, the clusters as JSON, then an entry of fixed width for each
//! task. What is alike is written once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::{Text, check};
use domain::id::{Attempt, ImageName, ModuleIndex, StarIndex};
use domain::outcome::{FailureFingerprint, FailureReason};

/// Bytes of a task: star, attempt, cluster, milliseconds.
const TASK: usize = 4 + 4 + 4 + 8;

/// What failures have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alike {
    /// The module.
    pub module: ModuleIndex,
    /// Why, in a word.
    pub reason: FailureReason,
    /// The image that ran, as operators named it.
    pub image: ImageName,
    /// The host that it ran on; none where no attempt is on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Of the words.
    pub fingerprint: FailureFingerprint,
}

/// A task that failed, or that the platform could not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedTask {
    /// Of which star.
    pub star: StarIndex,
    /// The attempt that was the last.
    pub attempt: Attempt,
    /// When it ended.
    pub at: Timestamp,
    /// The position of what it has in common with others in [`FailedTasks::clusters`].
    pub cluster: u32,
}

/// Tasks that failed, by what they have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailedTasks {
    /// What tasks have in common, and the words of one of them.
    pub clusters: Vec<(Alike, String)>,
    /// The tasks, in no particular order.
    pub tasks: Vec<FailedTask>,
    /// How many files of settled stars were not looked at, since there are too many; they are the oldest.
    pub not_looked_at: u64,
    positions: BTreeMap<Alike, u32>,
}

impl FailedTasks {
    /// The position of what tasks have in common; `words` are those of one of them.
    fn cluster(&mut self, alike: &Alike, words: &str) -> u32 {
        if let Some(position) = self.positions.get(alike) {
            return *position;
        }
        let position = self.clusters.len() as u32;
        self.positions.insert(alike.clone(), position);
        self.clusters.push((alike.clone(), words.to_owned()));
        position
    }

    /// Adds a task.
    pub fn add(&mut self, alike: &Alike, words: &str, (star, attempt, at): (StarIndex, Attempt, Timestamp)) {
        let cluster = self.cluster(alike, words);
        self.tasks.push(FailedTask { star, attempt, at, cluster });
    }

    /// Adds those of other tasks whose star is wanted.
    pub fn extend(&mut self, others: &Self, is_wanted: impl Fn(StarIndex) -> bool) {
        let mut known = vec![None; others.clusters.len()];
        for task in others.tasks.iter().filter(|task| is_wanted(task.star)) {
            let Some((alike, words)) = others.clusters.get(task.cluster as usize) else { continue };
            let place = &mut known[task.cluster as usize];
            let cluster = *place.get_or_insert_with(|| self.cluster(alike, words));
            self.tasks.push(FailedTask { cluster, ..*task });
        }
    }

    /// What a task has in common with others, and the words of one of them.
    pub fn cluster_of(&self, task: &FailedTask) -> Option<&(Alike, String)> {
        self.clusters.get(task.cluster as usize)
    }

    /// Nothing where no task failed.
    pub(super) fn encode(&self) -> Vec<u8> {
        if self.tasks.is_empty() {
            return Vec::new();
        }
        let clusters = serde_json::to_vec(&self.clusters).expect("clusters have names and numbers only");
        let mut text = Text::default();
        text.u32(clusters.len() as u32).bytes(&clusters);
        let mut tasks: Vec<&FailedTask> = self.tasks.iter().collect();
        tasks.sort_by_key(|task| (task.star, task.cluster));
        for task in tasks {
            text.u32(task.star.0).u32(task.attempt.0).u32(task.cluster).bytes(&task.at.as_millisecond().to_le_bytes());
        }
        [&check(&text.0)[..], &text.0].concat()
    }

    /// Reads what [`FailedTasks::encode`] wrote; `None` when it is something else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let (own_check, rest) = bytes.split_first_chunk::<4>()?;
        if check(rest) != *own_check {
            return None;
        }
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (clusters, tasks) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let clusters: Vec<(Alike, String)> = serde_json::from_slice(clusters).ok()?;
        let (tasks, []) = tasks.as_chunks::<TASK>() else { return None };
        let tasks = tasks.iter().map(task).collect::<Option<Vec<_>>>()?;
        let positions = (0..).zip(&clusters).map(|(at, (alike, _))| (alike.clone(), at)).collect();
        let is_whole = tasks.iter().all(|task| (task.cluster as usize) < clusters.len());
        is_whole.then_some(Self { clusters, tasks, positions, not_looked_at: 0 })
    }
}

fn task(bytes: &[u8; TASK]) -> Option<FailedTask> {
    let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (_, millis) = bytes.split_last_chunk::<8>()?;
    let at = Timestamp::from_millisecond(i64::from_le_bytes(*millis)).ok()?;
    Some(FailedTask { star: StarIndex(number(0)), attempt: Attempt(number(4)), at, cluster: number(8) })
}
