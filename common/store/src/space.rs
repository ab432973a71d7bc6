//! How much room the file system of the store has.

use rustix::fs::statvfs;

use crate::{Store, StoreError, io_error};

/// Room on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What may still be written.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

impl Store {
    /// How much room there is.
    pub fn space(&self) -> Result<Space, StoreError> {
        let facts = statvfs(self.root()).map_err(|error| io_error("look at", self.root(), error.into()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(facts.f_frsize);
        Ok(Space { free: bytes(facts.f_bavail), total: bytes(facts.f_blocks) })
    }
}
