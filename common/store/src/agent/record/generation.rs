//! What is on record of a generation: the run, how whole it is, and how every module ended. Pure data.

use std::collections::BTreeSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use domain::id::{Attempt, Generation, ImageName, ModuleName, PipelineName, ProductName, RunId, Sequence, WorkerName};
use domain::outcome::{Outcome, Skip};
use domain::run::TaskState;

/// Of a generation: what it was built in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationInfo {
    /// Its number, counted from 1.
    pub number: Generation,
    /// The run.
    pub run: RunId,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The pipeline's version.
    pub version: String,
    /// The run's horizon.
    pub horizon: Sequence,
    /// The generation of the quarter before that `@previous` meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Generation>,
    /// The star's row, a byte per module, so that the same end is not built twice.
    #[serde(with = "hex")]
    pub row: Vec<u8>,
    /// What its modules ended with, as [`ends`] sums it up, for the same reason: other results may have the same row.
    #[serde(default)]
    pub ends: String,
    /// How whole it is; files of older versions do not say it, and [`Manifest::status`](super::Manifest::status) does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<GenerationStatus>,
    /// Products that the star file had when this was built, of the same pipeline, and this has not.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lost: BTreeSet<ProductName>,
    /// The last complete generation when this was built: itself, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_complete: Option<Generation>,
}

/// How whole a generation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum GenerationStatus {
    /// Every module did what its contract says, and no product is missing that the star file had before.
    Complete,
    /// Every module did what its contract says, and yet the star file had products before that this has not.
    Smaller,
    /// Externals were not delivered.
    Incomplete,
    /// Tasks were lost to failures.
    Failed,
    /// The run was cancelled.
    Cancelled,
}

impl GenerationStatus {
    /// How whole these ends of modules are; `lost` as in [`GenerationInfo::lost`].
    pub fn of(modules: &[ModuleEntry], lost: &BTreeSet<ProductName>) -> Self {
        let any = |wanted: &[TaskState]| modules.iter().any(|entry| wanted.contains(&entry.state));
        if any(&[TaskState::Cancelled, TaskState::Superseded]) {
            Self::Cancelled
        } else if any(&[TaskState::Failed, TaskState::Errored, TaskState::UpstreamFailed]) {
            Self::Failed
        } else if modules.iter().any(ModuleEntry::is_lost) {
            Self::Incomplete
        } else if !lost.is_empty() {
            Self::Smaller
        } else {
            Self::Complete
        }
    }
}

/// What a star ended with in one module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModuleEntry {
    /// The module.
    pub module: ModuleName,
    /// The group that it is drawn in.
    pub group: String,
    /// The task's state.
    pub state: TaskState,
    /// How it ended, where more is known than the state.
    pub outcome: Option<Outcome>,
    /// The newest attempt; 0 when it never ran.
    pub attempt: Attempt,
    /// The worker of the newest attempt.
    pub worker: Option<WorkerName>,
    /// When the newest attempt began.
    pub started: Option<Timestamp>,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// The image as the pipeline names it.
    pub image: ImageName,
    /// The products that its contract declares: whoever misses one finds here whose end explains it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declares: Vec<ProductName>,
}

impl ModuleEntry {
    /// Whether the star is not whole for it: its task was lost, or an external was not delivered.
    pub fn is_lost(&self) -> bool {
        self.state.is_lost() || matches!(self.outcome, Some(Outcome::Skipped(Skip::MissingExternal { .. })))
    }
}

/// A hash of what modules ended with: keys of results, reasons of all other ends. Not of who ran them when, nor of any text
/// that is shown to people.
pub fn ends(modules: &[ModuleEntry]) -> String {
    let mut hash = Sha256::new();
    for entry in modules {
        let end = entry.outcome.as_ref().map(end_of).unwrap_or_default();
        for text in [entry.module.as_str(), &entry.state.to_string(), &end] {
            hash.update(format!("{}:{text}", text.len()));
        }
    }
    hex::encode(hash.finalize())
}

/// What sets an end apart from others of its state. These words are in the hashes of old generations and never change,
/// whatever is shown to people; they leave out messages and details.
fn end_of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded(success) => success.key.to_string(),
        Outcome::Skipped(Skip::Condition { .. }) => "skipped (condition)".to_owned(),
        Outcome::Skipped(Skip::NotMade { product }) => format!("skipped (not_made): {product}"),
        Outcome::Skipped(Skip::MissingExternal { product }) => format!("skipped (missing_external): {product}"),
        Outcome::Skipped(Skip::TriggerRule { rule }) => format!("skipped (trigger_rule): {rule}"),
        Outcome::Skipped(Skip::Disabled) => "skipped (disabled)".to_owned(),
        Outcome::Skipped(Skip::NotOfGroup { group }) => format!("skipped (not of group {group})"),
        Outcome::UpstreamFailed { lost } => format!("upstream failed: {lost}"),
        Outcome::Failed(failure) => match failure.exit_code {
            Some(code) => format!("failed ({}, {code})", failure.kind),
            None => format!("failed ({})", failure.kind),
        },
        Outcome::Errored(error) => format!("errored ({})", error.kind),
    }
}

#[cfg(test)]
mod tests {
    use domain::outcome::{Failure, FailureKind, PlatformError, PlatformErrorKind};

    use super::*;

    fn end(outcome: Outcome) -> String {
        let entry = ModuleEntry {
            module: "M".parse().unwrap(),
            group: "G".to_owned(),
            state: outcome.state(),
            outcome: Some(outcome),
            attempt: Attempt(1),
            worker: None,
            started: None,
            millis: 0,
            image: "i".parse().unwrap(),
            declares: Vec::new(),
        };
        ends(&[entry])
    }

    fn failed(kind: FailureKind, exit_code: Option<i64>, message: &str) -> String {
        end(Outcome::Failed(Failure { kind, exit_code, message: message.to_owned(), log_tail: message.to_owned() }))
    }

    fn errored(kind: PlatformErrorKind, message: &str) -> String {
        end(Outcome::Errored(PlatformError::new(kind, message)))
    }

    #[test]
    fn another_message_is_the_same_end_and_another_kind_is_another() {
        let [one, two] =
            ["one", "two"].map(|detail| end(Outcome::Skipped(Skip::Condition { detail: detail.to_owned() })));
        assert_eq!(one, two);
        assert_eq!(failed(FailureKind::Exit, Some(3), "one"), failed(FailureKind::Exit, Some(3), "two"));
        assert_ne!(failed(FailureKind::Exit, Some(3), "one"), failed(FailureKind::Exit, Some(4), "one"));
        assert_ne!(failed(FailureKind::Signal, None, "one"), failed(FailureKind::TimeLimit, None, "one"));
        assert_eq!(errored(PlatformErrorKind::Engine, "one"), errored(PlatformErrorKind::Engine, "two"));
        assert_ne!(errored(PlatformErrorKind::Engine, "one"), errored(PlatformErrorKind::Store, "one"));
    }

    #[test]
    fn another_product_is_another_end() {
        let not_made = |product: &str| end(Outcome::Skipped(Skip::NotMade { product: product.to_owned() }));
        let missing = |product: &str| end(Outcome::Skipped(Skip::MissingExternal { product: product.to_owned() }));
        let lost = |lost: &str| end(Outcome::UpstreamFailed { lost: lost.to_owned() });
        let all = [not_made("X"), not_made("Y"), missing("X"), missing("Y"), lost("X"), lost("Y")];
        let different: BTreeSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn the_words_in_hashes_of_old_generations_stay() {
        for (skip, words) in [
            (Skip::NotMade { product: "X | Y".to_owned() }, "skipped (not_made): X | Y"),
            (Skip::MissingExternal { product: "X".to_owned() }, "skipped (missing_external): X"),
            (Skip::TriggerRule { rule: "all_done".to_owned() }, "skipped (trigger_rule): all_done"),
            (Skip::Disabled, "skipped (disabled)"),
            (Skip::NotOfGroup { group: "G".parse().unwrap() }, "skipped (not of group G)"),
        ] {
            assert_eq!(end_of(&Outcome::Skipped(skip)), words);
        }
        assert_eq!(end_of(&Outcome::UpstreamFailed { lost: "X".to_owned() }), "upstream failed: X");
    }
}
