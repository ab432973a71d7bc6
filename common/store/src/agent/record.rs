//! What is on record in our files: manifests, provenance, how a star ended.
//!
//! Pure data, written as JSON and kept for ever: fields are added with a default, and never change their meaning.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use domain::id::{
    Attempt, Digest, Generation, ImageIdentity, ImageName, Key, ModuleName, PipelineName, ProductName, Quarter, RunId,
    Sequence, StarId, WorkerName,
};
use domain::outcome::{Outcome, Skip};
use domain::run::TaskState;

/// A product as manifests list it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductEntry {
    /// Digest of its value.
    pub digest: Digest,
    /// Bytes of its values.
    pub bytes: u64,
    /// The module's reason where it answered that there is no such product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_produced: Option<String>,
    /// In a generation: the committed file that holds it, relative to the star's folder, or `shared/…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// In a generation: the module that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<ModuleName>,
}

impl ProductEntry {
    /// Whether a star file links to it instead of holding a copy.
    pub fn is_linked(&self) -> bool {
        self.bytes > COPIED
    }
}

/// Products of more bytes are linked in star files, not copied.
const COPIED: u64 = 1 << 20;

/// What one of our files holds (`/MANIFEST`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    /// What the file is.
    pub kind: FileKind,
    /// The star; `None` for externals that are the same for all.
    pub star: Option<StarId>,
    /// The quarter; `None` for externals of no quarter in particular.
    pub quarter: Option<Quarter>,
    /// Start and end of the observations in days, where a delivered file says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<[f64; 2]>,
    /// What is below `/PRODUCTS`.
    pub products: BTreeMap<ProductName, ProductEntry>,
    /// What is below `/EXTERNALS`.
    pub externals: BTreeMap<ProductName, ProductEntry>,
    /// Of a result: how it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Box<Provenance>>,
    /// Of a generation: the run that the star settled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Box<GenerationInfo>>,
    /// Of a generation: how every module of the pipeline ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<ModuleEntry>,
}

/// The version of `/MANIFEST` and of the digests in it.
pub const MANIFEST_FORMAT: u32 = 1;

/// The kinds of files that we make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum FileKind {
    /// A version of a dataset.
    External,
    /// A module's committed result.
    Result,
    /// A star file.
    Generation,
}

/// How a result was made (`/PROVENANCE`): everything that a task read is on record with what it made (S3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The module.
    pub module: ModuleName,
    /// Its key.
    pub key: Key,
    /// The star.
    pub star: StarId,
    /// The quarter.
    pub quarter: Quarter,
    /// The run in which it was made; later runs may use it again.
    pub run: RunId,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The pipeline's version.
    pub version: String,
    /// The run's horizon.
    pub horizon: Sequence,
    /// The attempt, counted from 1.
    pub attempt: Attempt,
    /// The image as the pipeline names it.
    pub image: ImageName,
    /// What the name stood for.
    pub image_identity: ImageIdentity,
    /// The command.
    pub command: Vec<String>,
    /// Environment besides what the contract sets.
    pub environment: BTreeMap<String, String>,
    /// Parameters as the module saw them.
    pub parameters: BTreeMap<String, serde_json::Value>,
    /// `SAS_SEED`.
    pub seed: u64,
    /// What it could read, in the order of the contract.
    pub inputs: Vec<InputRecord>,
    /// Values that its expressions read, by expression.
    pub expressions: BTreeMap<String, serde_json::Value>,
    /// The worker's name.
    pub worker: WorkerName,
    /// The host.
    pub host: String,
    /// When the attempt began.
    pub started: Timestamp,
    /// When the container ended.
    pub ended: Timestamp,
    /// What is odd about its output but allowed.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// One declared input of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRecord {
    /// The product; for a one_of the alternative that was chosen, or the first when none is there.
    pub product: ProductName,
    /// Where it comes from.
    pub source: InputSource,
    /// The digest of its value; `None` = absent.
    pub digest: Option<Digest>,
    /// Why it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<String>,
    /// The committed file, relative to the star's folder, or `shared/…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputSource {
    /// Ingestion, for this star.
    External,
    /// Ingestion, for all stars.
    Shared,
    /// The star's generation of the quarter before.
    Previous,
    /// A module of the same run.
    Module {
        /// The group that it is drawn in.
        group: String,
        /// Its name.
        module: ModuleName,
    },
}

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
    /// How whole it is; files of older versions do not say it, and [`Manifest::status`] does.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
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

impl Manifest {
    /// How whole a generation is; `None` of other files.
    pub fn status(&self) -> Option<GenerationStatus> {
        let info = self.generation.as_ref()?;
        Some(info.status.unwrap_or_else(|| GenerationStatus::of(&self.modules, &info.lost)))
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
        end(Outcome::Errored(PlatformError { kind, message: message.to_owned() }))
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
