//! Numbers that order events and ingests of a store: each is given once, and a later one is larger.
//!
//! `control/sequence/<n / 1000>/<n>` is made by exclusive link. The largest is found by listing the shards and the last
//! shard, so the cost does not grow with the age of the store and there is no hint that could be wrong.

use super::durable::{self, Commit};
use super::{Store, StoreError, names_in};

const SHARD: u64 = 1000;

impl Store {
    /// A number that nobody else gets, larger than all that were given before.
    pub fn next_sequence(&self) -> Result<u64, StoreError> {
        loop {
            let number = self.newest_sequence()? + 1;
            let name = format!("control/sequence/{}/{number}", number / SHARD);
            match durable::create(&self.at(name), &self.beside(), b"")? {
                Commit::Created => return Ok(number),
                Commit::Exists => {}
            }
        }
    }

    /// The largest number that was given; 0 when none was.
    pub fn newest_sequence(&self) -> Result<u64, StoreError> {
        let top = self.at("control/sequence");
        let largest = |names: Vec<String>| names.iter().filter_map(|name| name.parse::<u64>().ok()).max();
        let Some(shard) = largest(names_in(&top)?) else { return Ok(0) };
        let first = shard * SHARD;
        // A shard that was made but got no number yet (a crash in between) continues the one before.
        Ok(largest(names_in(&top.join(shard.to_string()))?).unwrap_or(first.saturating_sub(1)))
    }
}
