//! How a result was made, as it is told to people and programs.

use std::collections::BTreeMap;

use domain::id::{Attempt, WorkerName};
use domain::outcome::UsedResources;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use store::agent::Provenance;

/// How a result was made, besides by whom and of what.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct HowMade {
    /// The pipeline's version.
    pub version: String,
    /// The version of the module's contract; empty in files of older versions of this program.
    pub contract: String,
    /// The command.
    pub command: Vec<String>,
    /// Environment besides what the contract sets.
    pub environment: BTreeMap<String, String>,
    /// Parameters as the module saw them.
    pub parameters: BTreeMap<String, serde_json::Value>,
    /// The seed of its random numbers, as text: not all programs read numbers of 64 bits.
    pub seed: String,
    /// What its conditions read.
    pub conditions: BTreeMap<String, serde_json::Value>,
    /// The attempt, counted from 1.
    pub attempt: Attempt,
    /// The worker.
    pub worker: WorkerName,
    /// The host.
    pub host: String,
    /// Seconds by which the clock was ahead that showed these times, negative where it was behind; 0 where it was right.
    pub clock_ahead: i64,
    /// When the attempt began.
    pub began: Timestamp,
    /// The program's exit code; none in files of older versions of this program.
    pub exit_code: Option<i64>,
    /// What the program used, as far as that was measured.
    pub used: UsedResources,
    /// Where its log is, from the star's folder: a file, and where in it.
    pub log: String,
    /// What is odd about it but allowed.
    pub warnings: Vec<String>,
}

impl HowMade {
    /// Of a result that lies in this file of its star.
    pub(super) fn of(provenance: &Provenance, file: &str) -> Self {
        Self {
            version: provenance.version.clone(),
            contract: provenance.contract.clone(),
            command: provenance.command.clone(),
            environment: provenance.environment.clone(),
            parameters: provenance.parameters.clone(),
            seed: provenance.seed.to_string(),
            conditions: provenance.expressions.clone(),
            attempt: provenance.attempt,
            worker: provenance.worker.clone(),
            host: provenance.host.clone(),
            clock_ahead: provenance.clock_ahead.unwrap_or(0),
            began: provenance.started,
            exit_code: provenance.exit_code,
            used: provenance.used,
            log: format!("{file}:/LOG"),
            warnings: provenance.warnings.clone(),
        }
    }
}
