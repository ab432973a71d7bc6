//! Orders of replays: what somebody planned and lets run, laid into the store before the event that names it.
//!
//! An order is called by the hash of its content, so that the same one twice is one, and nobody can change it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::durable;
use crate::{Store, StoreError, is_there, paths, read_json, to_json};
use domain::id::{ImageIdentity, ImageName, ModuleName, ReplayId, RunId, Sequence};

/// What the runs of a replay are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayOrder {
    /// Text of the pipeline file.
    pub definition: String,
    /// Text of the data model; empty when the pipeline has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub data_model: String,
    /// What of it the run's record keeps.
    #[serde(flatten)]
    pub replayed: Replayed,
    /// What programs are in these runs, by the subjects under which runners fix them.
    pub identities: BTreeMap<String, ImageIdentity>,
}

/// What a run of a replay has besides its definition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Replayed {
    /// Images in the place of those of the definition.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<ModuleName, ImageName>,
    /// Modules whose failures in other runs stand: what failed for good with the same key is not tried again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub failures_stand: BTreeSet<ModuleName>,
}

impl Store {
    /// Lays an order into the store.
    pub fn keep_replay_order(&self, order: &ReplayOrder) -> Result<ReplayId, StoreError> {
        let body = to_json(order);
        let id = ReplayId::from_bytes(Sha256::digest(&body).into());
        durable::make_dir(&self.at(paths::replay_orders()))?;
        durable::create(&self.at(paths::replay_order(id)), &self.beside(), &body)?;
        Ok(id)
    }

    /// An order; `None` when there is none of this name.
    pub fn replay_order(&self, id: ReplayId) -> Result<Option<ReplayOrder>, StoreError> {
        read_json(&self.at(paths::replay_order(id)))
    }

    /// Fixes for a run what its programs are, before any worker asks; what is fixed stays.
    pub fn fix_identities(&self, run: RunId, identities: &BTreeMap<String, ImageIdentity>) -> Result<(), StoreError> {
        durable::make_dir(&self.at(paths::images(run)))?;
        for (subject, identity) in identities {
            self.fix_image_identity(run, subject, identity)?;
        }
        Ok(())
    }

    /// Whether every number that was given after this one is an event's: then nothing was delivered since. Looks at numbers
    /// from the newest on, until one is not.
    pub fn only_events_since(&self, since: Sequence) -> Result<bool, StoreError> {
        let newest = self.newest_sequence()?;
        for number in (since.0 + 1..=newest.0).rev() {
            if !is_there(&self.at(paths::event_by_number(Sequence(number))))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
