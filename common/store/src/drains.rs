//! Hosts that operators drain: their workers end what runs and take nothing new, until they are resumed.
//!
//! `control/drains/<host>/<n>.json` is every decision about a host in order; the newest counts.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, names_in, numbered, paths, read_json, to_json};
use domain::id::HostName;

/// What an operator decided about a host, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrainDecision {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What.
    #[serde(rename = "decision")]
    pub what: Drain,
}

/// Whether workers of a host take tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Drain {
    /// They do not.
    Drain,
    /// They do again.
    Resume,
}

/// A host that is drained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DrainedHost {
    /// The host.
    pub host: HostName,
    /// Since when.
    pub since: Timestamp,
    /// Who drained it.
    pub by: String,
}

impl Store {
    /// Writes down that a host is drained or resumed, before anything follows it; returns the decision's number.
    pub fn decide_drain(&self, host: &HostName, decision: &DrainDecision) -> Result<u64, StoreError> {
        let folder = self.at(paths::drain(host));
        super::durable::make_dir(&folder)?;
        self.append(&folder, "json", &to_json(decision))
    }

    /// The hosts that are drained, by name.
    pub fn drained_hosts(&self) -> Result<Vec<DrainedHost>, StoreError> {
        let mut drained = Vec::new();
        for name in names_in(&self.at(paths::drains()))? {
            let Ok(host) = name.parse::<HostName>() else { continue };
            let folder = self.at(paths::drain(&host));
            let Some((_, newest)) = numbered::list(&folder, "json")?.pop() else { continue };
            match read_json::<DrainDecision>(&folder.join(newest))? {
                Some(DrainDecision { at, by, what: Drain::Drain }) => {
                    drained.push(DrainedHost { host, since: at, by });
                }
                Some(DrainDecision { what: Drain::Resume, .. }) | None => {}
            }
        }
        Ok(drained)
    }
}
