//! Nudges: "somebody decided something about this run". A coordinator that finds one looks at the run at once.
//!
//! What was decided is in the run's own folder, and found there sooner or later by the comparison: a nudge that is lost
//! costs seconds.

use super::durable::{self, Commit};
use super::{Store, StoreError, names_in, paths};
use domain::id::RunId;

impl Store {
    /// Leaves a nudge; `Exists` when one is there.
    pub fn nudge(&self, run: RunId) -> Result<Commit, StoreError> {
        durable::make_dir(&self.at(paths::nudges()))?;
        durable::create(&self.at(paths::nudge(run)), &self.beside(), b"")
    }

    /// Runs that somebody decided something about.
    pub fn nudges(&self) -> Result<Vec<RunId>, StoreError> {
        Ok(names_in(&self.at(paths::nudges()))?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Takes a nudge away, before the run is looked at. Harmless when it is gone.
    pub fn take_nudge(&self, run: RunId) -> Result<(), StoreError> {
        durable::remove(&self.at(paths::nudge(run)))
    }
}
