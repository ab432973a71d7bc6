//! Numbers that order events and ingests of a store: each is given once, and a later one is larger.
//!
//! `control/sequence/<n / 1000>/<n>` is made by exclusive link. The largest is found by listing the shards and the last
//! shard, so the cost does not grow with the age of the store and there is no hint that could be wrong.

use domain::id::Sequence;

use super::durable::{self, Commit};
use super::{Store, StoreError, names_in, paths};

impl Store {
    /// A number that nobody else gets, larger than all that were given before.
    pub fn next_sequence(&self) -> Result<Sequence, StoreError> {
        loop {
            let number = self.newest_sequence()?.next();
            match durable::create(&self.at(paths::sequence(number)), &self.beside(), b"")? {
                Commit::Created => return Ok(number),
                Commit::Exists => {}
            }
        }
    }

    /// The largest number that was given; 0 when none was.
    pub fn newest_sequence(&self) -> Result<Sequence, StoreError> {
        let largest = |names: Vec<String>| names.iter().filter_map(|name| name.parse::<u64>().ok()).max();
        let Some(shard) = largest(names_in(&self.at(paths::sequences()))?) else { return Ok(Sequence(0)) };
        let given = largest(names_in(&self.at(paths::sequence_shard(shard)))?);
        // A shard that was made but got no number yet (a crash in between) continues the one before.
        Ok(Sequence(given.unwrap_or((shard * paths::SEQUENCE_SHARD).saturating_sub(1))))
    }
}
