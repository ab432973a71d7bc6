//! Epochs: the lives of the state. A rebuild of a state that was lost begins the next.
//!
//! `control/epochs/<n>` is made by exclusive link, so that every process agrees on the newest, whatever became of Redis.

use super::durable::{self, Commit};
use super::{Store, StoreError, names_in};

impl Store {
    /// The newest epoch that was begun; 0 when none was.
    pub fn newest_epoch(&self) -> Result<u64, StoreError> {
        let names = names_in(&self.at("control/epochs"))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).max().unwrap_or(0))
    }

    /// Writes down that `epoch` begins; `Exists` when somebody else began it.
    pub fn begin_epoch(&self, epoch: u64) -> Result<Commit, StoreError> {
        durable::make_dir(&self.at("control/epochs"))?;
        durable::create(&self.at(format!("control/epochs/{epoch}")), &self.beside(), b"")
    }
}
