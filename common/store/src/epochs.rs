//! Epochs: the lives of the state. A rebuild of a state that was lost begins the next.
//!
//! `control/epochs/<n>` is made by exclusive link, so that every process agrees on the newest, whatever became of Redis.

use domain::id::Epoch;

use super::durable::{self, Commit};
use super::{Store, StoreError, names_in, paths};

impl Store {
    /// The newest epoch that was begun; 0 when none was.
    pub fn newest_epoch(&self) -> Result<Epoch, StoreError> {
        let names = names_in(&self.at(paths::epochs()))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).max().unwrap_or(Epoch(0)))
    }

    /// Writes down that `epoch` begins; `Exists` when somebody else began it.
    pub fn begin_epoch(&self, epoch: Epoch) -> Result<Commit, StoreError> {
        durable::make_dir(&self.at(paths::epochs()))?;
        durable::create(&self.at(paths::epoch(epoch)), &self.beside(), b"")
    }
}
