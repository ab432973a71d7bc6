//! Runs that go on, found without reading those that ended.
//!
//! `control/open/<run>` is there from before the run is until after it is over, and again from before a retry is asked for.
//! It is a hint that errs on the side of being there: what a run's own folder says counts. The comparison takes it away.

use crate::durable;
use crate::{Store, StoreError, names_in, paths};
use domain::id::RunId;

impl Store {
    /// Runs that go on, and some that are over or not quite there yet.
    pub fn open_runs(&self) -> Result<Vec<RunId>, StoreError> {
        Ok(names_in(&self.at(paths::open_runs()))?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Has a run looked at by every comparison.
    pub fn mark_open(&self, run: RunId) -> Result<(), StoreError> {
        durable::create(&self.at(paths::open_run(run)), &self.beside(), b"").map(drop)
    }

    /// Puts a run that is over away: its line into the index of runs, then its marker out. One that is not over stays.
    pub fn put_away(&self, run: RunId) -> Result<(), StoreError> {
        if !self.is_over(run)? {
            return Ok(());
        }
        self.index_run(run)?;
        durable::remove(&self.at(paths::open_run(run)))?;
        // A retry that was asked for meanwhile found the marker there. (A coordinator that dies just here finds the nudge.)
        if !self.is_over(run)? {
            self.mark_open(run)?;
        }
        Ok(())
    }
}
