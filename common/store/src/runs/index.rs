//! The index of runs: a line for every run that was over, so that a list of all is a few reads.
//!
//! `control/index/<n>.json` is what one run ended with; `control/index/whole/<n>.jsonl` is the newest of those up to number
//! n, a line a run, newest first. All single entries stay and the last two files of all, so that whoever reads meanwhile
//! misses nothing. Runs with a marker of open ones are read from their own folders: what the index has of them may be of an
//! end before.

mod walk;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{RunEnd, RunRecord, is_over};
use crate::durable;
use crate::{Store, StoreError, is_there, names_in, numbered, paths, to_json};
use domain::id::{RunId, Sequence, StarId, StarIndex};
use walk::{Head, Line, Lines, read_singles};

/// How many single entries there may be before they are made one file.
const SINGLES: u64 = 16;

/// Files of all runs that are kept: the newest, and the one before it for whoever reads it now, or if the newest is damaged.
const KEPT: usize = 2;

/// A run in a list of runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedRun {
    /// The run, without the texts of its definition.
    pub record: RunRecord,
    /// How it ended; `None` when it goes on, or nobody put it away yet.
    pub end: Option<RunEnd>,
}

/// All runs.
#[derive(Debug, Default)]
pub struct RunList {
    /// Newest first.
    pub runs: Vec<ListedRun>,
    /// What cannot be read, by its path: records of runs that go on (of others the index has a copy), entries of the index.
    pub damaged: Vec<StoreError>,
}

/// The place of a run in a list of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunRank {
    /// The horizon of the run.
    pub horizon: Sequence,
    /// The run.
    pub run: RunId,
}

impl RunRank {
    fn key(self) -> (Reverse<Sequence>, RunId) {
        (Reverse(self.horizon), self.run)
    }
}

impl Store {
    /// All runs, newest first. Costs few reads, however many ended; damage of one leaves the others.
    pub fn list_runs(&self) -> Result<RunList, StoreError> {
        self.newest_runs(usize::MAX)
    }

    /// So many of the newest runs, newest first; older ones are not read.
    pub fn newest_runs(&self, most: usize) -> Result<RunList, StoreError> {
        self.runs_before(most, None)
    }

    /// The same of those that come after this one in the list.
    pub fn runs_before(&self, most: usize, before: Option<RunRank>) -> Result<RunList, StoreError> {
        let mut runs = Vec::new();
        let damaged = self.walk(|listed: ListedRun| {
            if runs.len() < most && before.is_none_or(|before| listed.rank() > before.key()) {
                runs.push(listed);
            }
            Ok(if runs.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(RunList { runs, damaged })
    }

    /// All runs whose record can be read, newest first, without the texts of their definitions.
    pub fn runs(&self) -> Result<Vec<RunRecord>, StoreError> {
        let mut records = Vec::new();
        self.find_run(|record| {
            records.push(record.clone());
            Ok(None::<()>)
        })?;
        Ok(records)
    }

    /// Asks about runs, newest first, until there is an answer; what is older than that run is not read. Runs whose record
    /// cannot be read are passed over.
    pub fn find_run<T>(
        &self,
        mut ask: impl FnMut(&RunRecord) -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut found = None;
        self.walk(|head: Head| {
            found = ask(&head.record)?;
            Ok(if found.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(found)
    }

    /// Runs whose ids begin with these digits, in their order.
    pub fn runs_beginning(&self, digits: &str) -> Result<Vec<RunId>, StoreError> {
        let names = names_in(&self.at(paths::runs()))?;
        Ok(names.iter().filter(|name| name.starts_with(digits)).filter_map(|name| name.parse().ok()).collect())
    }

    /// The newest run that has the star, and where it is in it.
    pub fn newest_run_of(&self, star: StarId) -> Result<Option<(RunId, StarIndex)>, StoreError> {
        self.find_run(|record| Ok(self.stars(record.run)?.position(star)?.map(|index| (record.run, index))))
    }

    /// Whether there is an index; where there is none, [`Store::index_all_runs`] makes it.
    pub fn has_run_index(&self) -> Result<bool, StoreError> {
        is_there(&self.at(paths::run_index()))
    }

    /// Puts every run into the index that is over, and every other among the open ones. Reads all runs there are; may be
    /// repeated. Runs that cannot be read are among the open ones. Returns how many there are.
    pub fn index_all_runs(&self) -> Result<usize, StoreError> {
        let known = self.indexed()?.runs;
        let mut count = 0;
        for run in names_in(&self.at(paths::runs()))?.iter().filter_map(|name| name.parse::<RunId>().ok()) {
            match self.over_run(run) {
                Ok(Some(listed)) if known.get(&run) == Some(&listed) => {}
                Ok(Some(listed)) => self.index(&listed)?,
                Ok(None) | Err(StoreError::Damaged { .. }) => self.mark_open(run)?,
                Err(error) => return Err(error),
            }
            count += 1;
        }
        // The sign that all are in.
        durable::make_dir(&self.at(paths::run_index()))?;
        Ok(count)
    }

    /// Writes down how a run ended last, unless that is written; nothing where it is not over.
    pub(super) fn index_run(&self, run: RunId) -> Result<(), StoreError> {
        match self.over_run(run)? {
            Some(listed) if self.indexed()?.runs.get(&run) != Some(&listed) => self.index(&listed),
            Some(_) | None => Ok(()),
        }
    }

    /// A run that is over, from its own folder.
    fn over_run(&self, run: RunId) -> Result<Option<ListedRun>, StoreError> {
        let end = self.run_end(run)?;
        if !is_over(&self.decisions(run)?, end.as_ref()) {
            return Ok(None);
        }
        Ok(self.plain_record(run)?.map(|record| ListedRun { record, end }))
    }

    fn index(&self, listed: &ListedRun) -> Result<(), StoreError> {
        let folder = self.at(paths::run_index());
        let number = self.append(&folder, "json", &to_json(listed))?;
        if number < wholes(&folder)?.first().copied().unwrap_or(0) + SINGLES {
            return Ok(());
        }
        let all = self.indexed()?;
        let mut lines: Vec<ListedRun> = all.runs.into_values().collect();
        lines.sort_by_key(Line::rank);
        let mut body = Vec::new();
        for line in &lines {
            serde_json::to_writer(&mut body, line).expect("records have string keys");
            body.push(b'\n');
        }
        durable::create(&whole_path(&folder, all.upto), &self.beside(), &body)?;
        for number in wholes(&folder)?.into_iter().skip(KEPT) {
            durable::remove(&whole_path(&folder, number))?;
        }
        Ok(())
    }

    /// What the index has, the newest of each run.
    fn indexed(&self) -> Result<Indexed, StoreError> {
        let folder = self.at(paths::run_index());
        let mut all = Indexed::default();
        for whole in wholes(&folder)? {
            match Lines::open(&whole_path(&folder, whole))
                .and_then(|lines| lines.collect::<Result<Vec<ListedRun>, _>>())
            {
                Ok(lines) => {
                    all.runs = lines.into_iter().map(|listed| (listed.record.run, listed)).collect();
                    all.upto = whole;
                    break;
                }
                // The one before, and the single ones, say the same; whoever lists runs says that it is damaged.
                Err(StoreError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let runs = &mut all.runs;
        let visit = |listed: ListedRun| drop(runs.insert(listed.record.run, listed));
        all.upto = read_singles(&folder, all.upto, &mut Vec::new(), visit)?;
        Ok(all)
    }
}

/// What an index holds.
#[derive(Default)]
struct Indexed {
    runs: BTreeMap<RunId, ListedRun>,
    /// Number of the last entry.
    upto: u64,
}

/// Numbers up to which entries are in one file, largest first.
fn wholes(folder: &Path) -> Result<Vec<u64>, StoreError> {
    Ok(numbered::list(&paths::whole(folder), "jsonl")?.into_iter().rev().map(|(number, _)| number).collect())
}

fn whole_path(folder: &Path, number: u64) -> PathBuf {
    numbered::path(&paths::whole(folder), "jsonl", number)
}

#[cfg(test)]
mod tests;
