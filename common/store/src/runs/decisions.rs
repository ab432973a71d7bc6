//! What operators decided about a run, and how it ended.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Selection, StarEnd};
use crate::durable::{self, Commit};
use crate::{Store, StoreError, names_in, numbered, paths, read_json, to_json};
use domain::id::{ImageIdentity, ImageName, ModuleName, RunId, StarId};
use domain::outcome::Remarks;
use domain::run::TaskState;

/// What an operator decided about a run, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What.
    #[serde(flatten)]
    pub what: Decided,
}

/// What can be decided about a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decided {
    /// Nothing new is admitted or claimed.
    Pause,
    /// It goes on.
    Resume,
    /// It ends here.
    Cancel,
    /// Its weight in the choice of the next star.
    Priority {
        /// 1 or more.
        weight: u32,
    },
    /// Settled tasks are run again.
    Retry {
        /// Which.
        selection: Selection,
    },
    /// Tasks that have not ended are cancelled; what cannot do without them is given up.
    CancelTasks {
        /// Which.
        selection: Selection,
    },
    /// Tasks that have not started run another image.
    Amend {
        /// The new image of each of these modules.
        images: BTreeMap<ModuleName, Amendment>,
    },
}

/// Another image for a module's tasks that have not started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Amendment {
    /// The image as the operator named it.
    pub image: ImageName,
    /// What it stands for: exactly this is run, and enters the keys.
    pub identity: ImageIdentity,
    /// The image before.
    pub was: ImageName,
    /// What that stood for; not there when no worker had resolved it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was_identity: Option<ImageIdentity>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// When.
    pub ended: Timestamp,
    /// How many of the operators' decisions were followed until then: a later retry opens the run again.
    pub decisions: u64,
    /// Tasks by module and state; states with none are left out.
    pub counts: BTreeMap<ModuleName, BTreeMap<TaskState, u64>>,
    /// Stars by how they ended; ends of no star are left out.
    pub stars: BTreeMap<StarEnd, u64>,
    /// Results that gave cause for remarks, by module, as far as the state knew them when the run ended: what was counted before
    /// the state was lost is not among them, and one that was made again counts twice.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub remarks: BTreeMap<ModuleName, Remarks>,
    /// What results took that were made, by module, as far as the state knew: ends of earlier versions do not say it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub took: BTreeMap<ModuleName, Took>,
}

/// What results of a module took that were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Took {
    /// How many there were.
    pub tasks: u64,
    /// How long they took in all, in milliseconds.
    pub millis: u64,
}

/// Whether a run is over: it has ended, and no retry was asked for since. Pure.
pub fn is_over(decisions: &[(u64, Decision)], end: Option<&RunEnd>) -> bool {
    let is_retry = |decision: &Decision| matches!(decision.what, Decided::Retry { .. });
    end.is_some_and(|end| !decisions.iter().any(|(number, decision)| *number > end.decisions && is_retry(decision)))
}

/// Whether an attempt that began then is wanted no more: since then its task, or the run, was cancelled, or the run ended, for
/// which its task was settled. Pure.
pub fn is_called_off(
    decisions: &[(u64, Decision)],
    end: Option<&RunEnd>,
    began: Timestamp,
    (star, module): (StarId, &ModuleName),
) -> bool {
    let is_later = |decision: &Decision| decision.at >= began;
    let cancels = |decision: &Decision| match &decision.what {
        Decided::Cancel => true,
        Decided::CancelTasks { selection } => selection.may_mean(star, module),
        Decided::Pause | Decided::Resume | Decided::Priority { .. } | Decided::Retry { .. } | Decided::Amend { .. } => {
            false
        }
    };
    end.is_some_and(|end| end.ended >= began)
        || decisions.iter().any(|(_, decision)| is_later(decision) && cancels(decision))
}

impl Store {
    /// Writes an operator's decision down, before anything follows it; returns its number.
    pub fn decide(&self, run: RunId, decision: &Decision) -> Result<u64, StoreError> {
        if matches!(decision.what, Decided::Retry { .. }) {
            self.mark_open(run)?;
        }
        // One may be decided before the run is there.
        durable::make_dir(&self.at(paths::decisions(run)))?;
        self.append(&self.at(paths::decisions(run)), "json", &to_json(decision))
    }

    /// Operators' decisions about a run in their order, each with its number, counted from 1.
    pub fn decisions(&self, run: RunId) -> Result<Vec<(u64, Decision)>, StoreError> {
        let folder = self.at(paths::decisions(run));
        let mut decisions = Vec::new();
        for (number, name) in numbered::list(&folder, "json")? {
            decisions.extend(read_json(&folder.join(name))?.map(|decision| (number, decision)));
        }
        Ok(decisions)
    }

    /// The names of all files that say how a run stands by its operators: decisions, those that were followed, ends. None of
    /// them ever changes or goes: where the names are those of before, so is everything that the files say.
    pub fn decision_files(&self, run: RunId) -> Result<Vec<String>, StoreError> {
        let mut names = names_in(&self.at(paths::decisions(run)))?;
        names.extend(names_in(&self.at(paths::ends(run)))?.into_iter().map(|name| format!("end/{name}")));
        Ok(names)
    }

    /// Notes that a decision was followed to its end, so that nobody follows it again.
    pub fn mark_followed(&self, run: RunId, number: u64) -> Result<Commit, StoreError> {
        let path = numbered::path(&self.at(paths::decisions(run)), "followed", number);
        durable::create(&path, &self.beside(), b"")
    }

    /// Numbers of the decisions that were followed to their end.
    pub fn followed(&self, run: RunId) -> Result<BTreeSet<u64>, StoreError> {
        let files = numbered::list(&self.at(paths::decisions(run)), "followed")?;
        Ok(files.into_iter().map(|(number, _)| number).collect())
    }

    /// Records how a run ended.
    pub fn end_run(&self, run: RunId, end: &RunEnd) -> Result<Commit, StoreError> {
        durable::create(&self.at(paths::run_end(run, end.decisions)), &self.beside(), &to_json(end))
    }

    /// How a run ended last; `None` when it never did.
    pub fn run_end(&self, run: RunId) -> Result<Option<RunEnd>, StoreError> {
        let folder = self.at(paths::ends(run));
        match numbered::list(&folder, "json")?.last() {
            Some((_, name)) => read_json(&folder.join(name)),
            None => Ok(None),
        }
    }

    /// Whether a run has ended and no retry was asked for since.
    pub fn is_over(&self, run: RunId) -> Result<bool, StoreError> {
        let end = self.run_end(run)?;
        Ok(end.is_some() && is_over(&self.decisions(run)?, end.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cancelled_or_left_behind_since_it_began_is_called_off_and_nothing_else() {
        let (star, other) = (StarId::of_simulator(1), StarId::of_simulator(2));
        let module: ModuleName = "A".parse().unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let decided = |second, what| vec![(1, Decision { at: at(second), by: "ada".to_owned(), what })];
        let is = |decisions: &[(u64, Decision)], began| is_called_off(decisions, None, at(began), (star, &module));
        assert!(is(&decided(5, Decided::Cancel), 4) && !is(&decided(5, Decided::Cancel), 6));
        assert!(!is(&decided(5, Decided::Pause), 4));
        let tasks = |star| Selection { tasks: Some([(star, [module.clone()].into())].into()), ..Selection::default() };
        assert!(is(&decided(5, Decided::CancelTasks { selection: tasks(star) }), 4));
        assert!(!is(&decided(5, Decided::CancelTasks { selection: tasks(other) }), 4));
        let whole = |star| Selection { stars: [star].into(), ..Selection::default() };
        assert!(is(&decided(5, Decided::CancelTasks { selection: whole(star) }), 4));
        assert!(!is(&decided(5, Decided::CancelTasks { selection: whole(other) }), 4));
        let end = RunEnd {
            ended: at(5),
            decisions: 0,
            counts: BTreeMap::new(),
            stars: BTreeMap::new(),
            remarks: BTreeMap::new(),
            took: BTreeMap::new(),
        };
        let ended = |began| is_called_off(&[], Some(&end), at(began), (star, &module));
        assert!(ended(4) && !ended(6));
    }
}
