//! What is on record in our files: manifests, provenance, how a star ended.
//!
//! Pure data, written as JSON and kept for ever: fields are added with a default, and never change their meaning.

mod generation;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use domain::id::{
    Attempt, Digest, ImageIdentity, ImageName, Key, ModuleName, PipelineName, ProductName, Quarter, RunId, Sequence,
    StarId, WorkerName,
};
use domain::outcome::{StandsFor, UsedResources};
pub use generation::*;

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
    /// What it stands for, where it differs from what it was by no more than was tolerated; in a generation: by the pipeline of
    /// its run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_for: Option<StandsFor>,
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
    /// The version of the module's contract, as [`contract_version`](domain::contract::contract_version) tells it; empty in files
    /// of older versions of this program.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub contract: String,
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
    /// Seconds by which the clock was ahead that showed these times, negative where it was behind; `None` where it was right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead: Option<i64>,
    /// The program's exit code; `None` in files of older versions of this program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// What the program used, as far as that was measured.
    #[serde(default, skip_serializing_if = "UsedResources::is_unknown")]
    pub used: UsedResources,
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
    /// The digest of what the producer made in this star, where that stands for what was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<Digest>,
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

impl Manifest {
    /// How whole a generation is; `None` of other files.
    pub fn status(&self) -> Option<GenerationStatus> {
        let info = self.generation.as_ref()?;
        Some(info.status.unwrap_or_else(|| GenerationStatus::of(&self.modules, &info.lost)))
    }
}
