//! What the stars of a run ended with, by position: a question about one star of 300,000 reads a few hundred bytes.
//!
//! `settled/<n>.stars` is a batch as it was settled; a later word on a star counts before an earlier one.
//! `settled/whole/<n>.stars` is what the batches up to number n say of every star, in one file. Batches stay when they are in
//! one, so that whoever reads meanwhile misses nothing and no number is ever given twice.

mod batch;
mod failed;
mod record;
mod whole;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::{Store, StoreError, is_there, numbered, paths};
use batch::Batch;
use domain::id::{Fingerprint, Generation, Key, ModuleIndex, RunId, StarIndex};
use domain::run::{Row, TaskState};
pub use failed::{Alike, FailedTask, FailedTasks};

/// How files of settled stars end.
const STARS: &str = "stars";

/// How many files are looked at for what failed: as many as an answer has time for.
const MOST_FILES: usize = 10_000;

/// How a star ended in a run, the worst of its tasks deciding.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StarEnd {
    /// Every task succeeded or had nothing to do.
    Complete,
    /// A task was skipped since an external was not delivered.
    Incomplete,
    /// A task failed, or the platform could not run it.
    Failed,
    /// An operator cancelled the run, the star or a task of it before the star was done.
    Cancelled,
    /// A newer run took the star over.
    Superseded,
}

impl StarEnd {
    /// How a star with this row ended; `missing` says whether a task was skipped since an external was not delivered.
    pub fn of_row(row: &Row, missing: bool) -> Self {
        let any = |wanted: &[TaskState]| row.cells().any(|cell| wanted.contains(&cell.state));
        if any(&[TaskState::Superseded]) {
            Self::Superseded
        } else if any(&[TaskState::Cancelled]) {
            Self::Cancelled
        } else if any(&[TaskState::Failed, TaskState::Errored, TaskState::UpstreamFailed]) {
            Self::Failed
        } else if missing {
            Self::Incomplete
        } else {
            Self::Complete
        }
    }
}

/// What a star ended with in a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettledStar {
    /// Which star.
    pub star: StarIndex,
    /// Its row, a byte per module.
    pub row: Vec<u8>,
    /// Keys of its results.
    pub keys: BTreeMap<ModuleIndex, Key>,
    /// Its generation; `None` when the run left the star file as it was.
    pub generation: Option<Generation>,
    /// How it ended; `None` when it was reopened since, so that what earlier lines say of it holds no more.
    pub end: Option<StarEnd>,
    /// Why it ended so, where its tasks do not tell.
    pub reason: Option<String>,
    /// Of the definitions and inputs that determined it; `None` where not all of them are known for certain.
    pub fingerprint: Option<Fingerprint>,
}

/// What a star ended with, as passes over all stars of a run read it: without keys and reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledRow {
    /// Which star.
    pub star: StarIndex,
    /// Its row, a byte per module.
    pub row: Vec<u8>,
    /// Its generation, if the run made one.
    pub generation: Option<Generation>,
    /// How it ended; `None` when it was reopened since.
    pub end: Option<StarEnd>,
    /// Of the definitions and inputs that determined it.
    pub fingerprint: Option<Fingerprint>,
}

impl Store {
    /// Appends a batch of settled stars; of several lines about one star the last counts.
    pub fn append_settled(&self, run: RunId, batch: &[SettledStar]) -> Result<(), StoreError> {
        self.append_settled_with(run, batch, &FailedTasks::default())
    }

    /// The same, with what failed of these stars: what was on record of their failures before holds no more.
    pub fn append_settled_with(
        &self,
        run: RunId,
        batch: &[SettledStar],
        failed: &FailedTasks,
    ) -> Result<(), StoreError> {
        self.append(&self.at(paths::settled(run)), STARS, &batch::encode(batch, failed)).map(drop)
    }

    /// What failed of the settled stars of a run, by their newest lines. Reads a few bytes a star, and nothing of stars in
    /// the oldest file but what failed.
    pub fn failed_tasks(&self, run: RunId) -> Result<FailedTasks, StoreError> {
        self.settled_files(run)?.failed(MOST_FILES)
    }

    /// Creates the batch of this number; one that is there stays. For stores that are brought forward.
    pub(crate) fn create_batch(&self, run: RunId, number: u64, batch: &[SettledStar]) -> Result<(), StoreError> {
        let path = numbered::path(&self.at(paths::settled(run)), STARS, number);
        durable::create(&path, &self.beside(), &batch::encode(batch, &FailedTasks::default())).map(drop)
    }

    /// Whether stars of a run were ever settled.
    pub fn has_settled(&self, run: RunId) -> Result<bool, StoreError> {
        is_there(&numbered::path(&self.at(paths::settled(run)), STARS, 1))
    }

    /// What a star ended with; `None` when it is not settled, or was reopened since.
    pub fn settled_star(&self, run: RunId, star: StarIndex) -> Result<Option<SettledStar>, StoreError> {
        for path in self.settled_files(run)?.newest_first() {
            if let Some(line) = open(&path)?.find(star)? {
                return Ok(line.end.is_some().then_some(line));
            }
        }
        Ok(None)
    }

    /// Shows `visit` the newest word on every star that was ever settled, those that were reopened since included, in no
    /// particular order. One pass, without the keys.
    pub fn each_settled_row(&self, run: RunId, visit: impl FnMut(SettledRow)) -> Result<(), StoreError> {
        self.settled_files(run)?.each_row(visit)
    }

    /// The rows of stars that follow each other, `width` bytes each: what is settled of them, and zeros for those that are not,
    /// or were reopened since. Reads their records and no others.
    pub fn settled_rows(&self, run: RunId, stars: Range<u32>, width: usize) -> Result<Vec<u8>, StoreError> {
        let mut rows = vec![0; stars.len() * width];
        let mut seen = vec![false; stars.len()];
        for path in self.settled_files(run)?.newest_first() {
            for SettledRow { star, row, end, .. } in open(&path)?.between(&stars)? {
                let at = (star.0 - stars.start) as usize;
                if !std::mem::replace(&mut seen[at], true) && end.is_some() && row.len() == width {
                    rows[at * width..(at + 1) * width].copy_from_slice(&row);
                }
            }
        }
        Ok(rows)
    }

    /// What the stars of a run ended with; for runs of few stars, whose keys fit into memory.
    pub fn settled(&self, run: RunId) -> Result<BTreeMap<StarIndex, SettledStar>, StoreError> {
        let mut stars = BTreeMap::new();
        self.each_settled(run, |star| {
            match star.end {
                Some(_) => stars.insert(star.star, star),
                None => stars.remove(&star.star),
            };
        })?;
        Ok(stars)
    }

    /// Shows `visit` every line of every batch, oldest first: what was ever said of each star.
    pub fn each_settled(&self, run: RunId, mut visit: impl FnMut(SettledStar)) -> Result<(), StoreError> {
        let files = self.settled_files(run)?;
        for number in 1..=files.last {
            let batch = open(&numbered::path(&files.folder, STARS, number))?;
            let records = batch.records(0, batch.header.stars)?;
            batch.lines(records)?.into_iter().for_each(&mut visit);
        }
        Ok(())
    }

    /// How many batches of settled stars a run has; `known` of them were there before.
    pub fn settled_batches(&self, run: RunId, known: u64) -> Result<u64, StoreError> {
        numbered::last(&self.at(paths::settled(run)), STARS, known)
    }

    /// The stars of a batch, by its number counted from 1.
    pub fn settled_batch(&self, run: RunId, number: u64) -> Result<Vec<SettledStar>, StoreError> {
        let batch = open(&numbered::path(&self.at(paths::settled(run)), STARS, number))?;
        batch.lines(batch.records(0, batch.header.stars)?)
    }

    /// The files that count.
    fn settled_files(&self, run: RunId) -> Result<SettledFiles, StoreError> {
        let folder = self.at(paths::settled(run));
        let wholes = numbered::list(&paths::whole(&folder), STARS)?;
        let whole = wholes.last().map_or(0, |(number, _)| *number);
        Ok(SettledFiles { last: numbered::last(&folder, STARS, whole)?, whole, folder })
    }
}

/// Which files say what the stars of a run ended with.
struct SettledFiles {
    folder: PathBuf,
    /// The batch up to which all are in one file; 0 when none are.
    whole: u64,
    /// The last batch.
    last: u64,
}

impl SettledFiles {
    /// The files that are to be asked, until one knows.
    fn newest_first(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let batches = (self.whole + 1..=self.last).rev().map(|number| numbered::path(&self.folder, STARS, number));
        batches.chain((self.whole > 0).then(|| numbered::path(&paths::whole(&self.folder), STARS, self.whole)))
    }

    /// What failed of the stars, by the newest word on each.
    fn failed(&self, most: usize) -> Result<FailedTasks, StoreError> {
        let mut failed = FailedTasks::default();
        let mut newer = Met::default();
        let paths: Vec<PathBuf> = self.newest_first().collect();
        let oldest = paths.len().min(most).saturating_sub(1);
        for (at, path) in paths.iter().take(most).enumerate() {
            let batch = open(path)?;
            failed.extend(&batch.failed()?, |star| !newer.has(star));
            if at < oldest {
                batch.each_star(|star| _ = newer.add(star))?;
            }
        }
        failed.not_looked_at = paths.len().saturating_sub(most) as u64;
        Ok(failed)
    }

    /// Shows `visit` the newest word on every star.
    fn each_row(&self, mut visit: impl FnMut(SettledRow)) -> Result<(), StoreError> {
        let mut seen = Met::default();
        for path in self.newest_first() {
            open(&path)?.each(|row| {
                if seen.add(row.star) {
                    visit(row);
                }
            })?;
        }
        Ok(())
    }
}

/// Stars that were met.
#[derive(Default)]
struct Met(Vec<bool>);

impl Met {
    fn has(&self, star: StarIndex) -> bool {
        self.0.get(star.0 as usize).copied().unwrap_or(false)
    }

    /// Adds a star; whether it is new.
    fn add(&mut self, star: StarIndex) -> bool {
        let at = star.0 as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, false);
        }
        !std::mem::replace(&mut self.0[at], true)
    }
}

fn open(path: &Path) -> Result<Batch, StoreError> {
    Batch::open(path)?.ok_or_else(|| StoreError::NotFound { what: format!("`{}`", path.display()) })
}

#[cfg(test)]
mod tests;
