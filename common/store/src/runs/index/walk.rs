//! Runs newest first, read no further than somebody asks: a question about one of the newest costs a few reads, however many
//! there are.
//!
//! The file of the whole index is sorted so, and read a line at a time beside what is newer than it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::iter::Peekable;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{ListedRun, whole_path, wholes};
use crate::runs::RunRecord;
use crate::{Store, StoreError, io_error, numbered, paths, read_json};
use domain::id::{RunId, Sequence};

/// What is read of an entry: all of it, or as much as a question needs.
pub(super) trait Line: DeserializeOwned {
    /// The entry of a run that goes on.
    fn of_open(record: RunRecord) -> Self;
    /// The run's record.
    fn record(&self) -> &RunRecord;

    /// The newest first.
    fn rank(&self) -> (Reverse<Sequence>, RunId) {
        let record = self.record();
        (Reverse(record.horizon), record.run)
    }
}

impl Line for ListedRun {
    fn of_open(record: RunRecord) -> Self {
        Self { record, end: None }
    }

    fn record(&self) -> &RunRecord {
        &self.record
    }
}

/// An entry without the run's end, which is most of it.
#[derive(Debug, Deserialize)]
pub(super) struct Head {
    pub(super) record: RunRecord,
}

impl Line for Head {
    fn of_open(record: RunRecord) -> Self {
        Self { record }
    }

    fn record(&self) -> &RunRecord {
        &self.record
    }
}

impl Store {
    /// Shows `visit` runs, newest first and each once, until it breaks. Returns what cannot be read of what was looked at.
    pub(super) fn walk<L: Line>(
        &self,
        mut visit: impl FnMut(L) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<Vec<StoreError>, StoreError> {
        let (mut open, mut shown, mut damaged) = (Vec::new(), BTreeSet::new(), Vec::new());
        // What is open first: a run that is put away meanwhile is in the index by then.
        for run in self.open_runs()? {
            match self.plain_record(run) {
                Ok(Some(record)) => open.push(record),
                // What the index has of it may be of an end before.
                Ok(None) => drop(shown.insert(run)),
                Err(error @ StoreError::Damaged { .. }) => {
                    shown.insert(run);
                    damaged.push(error);
                }
                Err(error) => return Err(error),
            }
        }
        let folder = self.at(paths::run_index());
        // Where a file of the whole index is damaged, the one before and the single entries say the same.
        for whole in wholes(&folder)?.into_iter().chain([0]) {
            let mut sorted = Sorted::<L>::open(&folder, whole, &open)?;
            let broken = loop {
                match sorted.next() {
                    Ok(Some(line)) => {
                        if shown.insert(line.record().run) && visit(line)?.is_break() {
                            break None;
                        }
                    }
                    Ok(None) => break None,
                    Err(error @ StoreError::Damaged { .. }) => break Some(error),
                    Err(error) => return Err(error),
                }
            };
            match broken {
                Some(error) => damaged.push(error),
                None => {
                    damaged.append(&mut sorted.damaged);
                    break;
                }
            }
        }
        Ok(damaged)
    }
}

/// Runs that go on, single entries, and the file of the whole index, merged: of two about one run the newer comes first.
struct Sorted<L: Line> {
    newer: Peekable<std::vec::IntoIter<L>>,
    older: Option<Peekable<Lines<L>>>,
    /// Single entries that cannot be read.
    damaged: Vec<StoreError>,
}

impl<L: Line> Sorted<L> {
    fn open(folder: &Path, whole: u64, open: &[RunRecord]) -> Result<Self, StoreError> {
        let mut damaged = Vec::new();
        let mut lines = BTreeMap::new();
        read_singles::<L>(folder, whole, &mut damaged, |line| drop(lines.insert(line.record().run, line)))?;
        lines.extend(open.iter().map(|record| (record.run, L::of_open(record.clone()))));
        let mut newer: Vec<L> = lines.into_values().collect();
        newer.sort_by_key(L::rank);
        let older = if whole > 0 { Some(Lines::open(&whole_path(folder, whole))?.peekable()) } else { None };
        Ok(Self { newer: newer.into_iter().peekable(), older, damaged })
    }

    fn next(&mut self) -> Result<Option<L>, StoreError> {
        let Some(older) = &mut self.older else { return Ok(self.newer.next()) };
        let is_newer = match (self.newer.peek(), older.peek()) {
            (Some(newer), Some(Ok(older))) => newer.rank() <= older.rank(),
            (Some(_), None) => true,
            (None, _) | (_, Some(Err(_))) => false,
        };
        if is_newer { Ok(self.newer.next()) } else { older.next().transpose() }
    }
}

/// Shows `visit` the single entries after this number, oldest first; returns the number of the last.
pub(super) fn read_singles<L: Line>(
    folder: &Path,
    after: u64,
    damaged: &mut Vec<StoreError>,
    mut visit: impl FnMut(L),
) -> Result<u64, StoreError> {
    let mut last = after;
    loop {
        match read_json(&numbered::path(folder, "json", last + 1)) {
            Ok(Some(line)) => visit(line),
            Ok(None) => return Ok(last),
            Err(error @ StoreError::Damaged { .. }) => damaged.push(error),
            Err(error) => return Err(error),
        }
        last += 1;
    }
}

/// The lines of a file of the whole index, newest run first, each read when it is asked for. What comes after an error is not to be used.
pub(super) struct Lines<L> {
    path: PathBuf,
    file: BufReader<File>,
    /// The last line, and its rank.
    line: Vec<u8>,
    last: Option<(Reverse<Sequence>, RunId)>,
    of: PhantomData<L>,
}

impl<L: Line> Lines<L> {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(|source| io_error("open", path, source))?;
        Ok(Self { path: path.to_owned(), file: BufReader::new(file), line: Vec::new(), last: None, of: PhantomData })
    }

    fn read(&mut self) -> Result<Option<L>, StoreError> {
        self.line.clear();
        let count =
            self.file.read_until(b'\n', &mut self.line).map_err(|source| io_error("read", &self.path, source))?;
        if count == 0 {
            return Ok(None);
        }
        let damaged = |reason: String| StoreError::Damaged { path: self.path.clone(), reason };
        let line: L = serde_json::from_slice(&self.line).map_err(|error| damaged(error.to_string()))?;
        let rank = line.rank();
        if self.last.replace(rank).is_some_and(|last| last >= rank) {
            return Err(damaged("its runs are not in order".to_owned()));
        }
        Ok(Some(line))
    }
}

impl<L: Line> Iterator for Lines<L> {
    type Item = Result<L, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
