//! Modules that operators hold: their ready tasks are not handed to workers, in any run of the pipeline.
//!
//! `control/holds/<pipeline>/<module>/<n>.json` is every decision about a module in order; the newest counts.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, names_in, numbered, paths, read_json, to_json};
use domain::id::{ModuleName, PipelineName};

/// What an operator decided about a module, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HoldDecision {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What.
    #[serde(rename = "decision")]
    pub what: Grip,
}

/// Whether a module's tasks are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Grip {
    /// They are not.
    Hold,
    /// They are again.
    Release,
}

/// A module that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Held {
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// The module.
    pub module: ModuleName,
    /// Since when.
    pub since: Timestamp,
    /// Who held it.
    pub by: String,
}

impl Store {
    /// Writes down that a module is held or released, before anything follows it; returns the decision's number.
    pub fn decide_hold(
        &self,
        pipeline: &PipelineName,
        module: &ModuleName,
        decision: &HoldDecision,
    ) -> Result<u64, StoreError> {
        let folder = self.at(paths::hold(pipeline, module));
        super::durable::make_dir(&folder)?;
        self.append(&folder, "json", &to_json(decision))
    }

    /// The modules of a pipeline that are held, by name.
    pub fn held(&self, pipeline: &PipelineName) -> Result<Vec<Held>, StoreError> {
        let mut held = Vec::new();
        for name in names_in(&self.at(paths::holds(pipeline)))? {
            let Ok(module) = name.parse::<ModuleName>() else { continue };
            let folder = self.at(paths::hold(pipeline, &module));
            let Some((_, newest)) = numbered::list(&folder, "json")?.pop() else { continue };
            match read_json::<HoldDecision>(&folder.join(newest))? {
                Some(HoldDecision { at, by, what: Grip::Hold }) => {
                    held.push(Held { pipeline: pipeline.clone(), module, since: at, by });
                }
                Some(HoldDecision { what: Grip::Release, .. }) | None => {}
            }
        }
        Ok(held)
    }

    /// All modules that are held, by pipeline and name.
    pub fn all_held(&self) -> Result<Vec<Held>, StoreError> {
        let mut all = Vec::new();
        for name in names_in(&self.at(paths::all_holds()))? {
            if let Ok(pipeline) = name.parse() {
                all.extend(self.held(&pipeline)?);
            }
        }
        Ok(all)
    }
}
