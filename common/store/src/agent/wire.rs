//! What is asked of the store agent and what it answers: JSON, one line each way.
//!
//! Pure data. File paths are absolute; paths inside HDF5 files start with a slash.

mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::record::{GenerationInfo, ModuleEntry, ProductEntry, Provenance};
pub use crate::digest::OutputLimits;
pub use domain::expression::Scalar;
use domain::id::{DatasetName, ProductName, Quarter, StarId};
use domain::outcome::{FailureKind, Outcome, StandsFor};
use domain::product::{ProductModel, Tolerance};
pub use shown::*;

/// A request; the child answers each with one line that holds what the arrow says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", content = "of", rename_all = "snake_case")]
pub(super) enum Request {
    /// → `Manifest`
    Manifest {
        /// A file that we made.
        file: PathBuf,
    },
    /// → `Vec<ReadScalars>`
    Scalars {
        /// Columns of products.
        wants: Vec<WantedScalars>,
    },
    /// → `()`
    Stage(Stage),
    /// → `Checked`
    Seal(Box<Seal>),
    /// → `Manifest`
    Assemble(Box<Assemble>),
    /// → `Manifest`
    Import(Import),
    /// → `Inspected`
    Inspect {
        /// Any file.
        file: PathBuf,
    },
    /// → `ProductEntry`
    Digest {
        /// A product, or any other object.
        at: At,
    },
    /// → `()`
    Show(Show),
    /// → `Vec<BTreeMap<String, ColumnFacts>>`
    Columns {
        /// Products by file and path.
        wants: Vec<At>,
    },
    /// → `Vec<BTreeMap<String, ColumnChange>>`
    Compare {
        /// Products, before and after.
        pairs: Vec<[At; 2]>,
    },
    /// → `bool`
    Within(AskWithin),
    /// → `()`
    Mark(MarkSealed),
    /// → `Option<Curve>`
    Curve(AskCurve),
    /// → `()`
    Export(Export),
    /// → `Vec<RecordedReads>`
    Recorded {
        /// A generation, or a copy of one.
        file: PathBuf,
    },
}

impl Request {
    /// Whether it reads what somebody else wrote, who may mean harm: then it costs what those files hold and declare.
    pub(super) fn is_of_strangers(&self) -> bool {
        match self {
            Self::Seal(_) | Self::Import(_) | Self::Inspect { .. } | Self::Digest { .. } => true,
            Self::Manifest { .. }
            | Self::Scalars { .. }
            | Self::Stage(_)
            | Self::Assemble(_)
            | Self::Show(_)
            | Self::Columns { .. }
            | Self::Compare { .. }
            | Self::Within(_)
            | Self::Mark(_)
            | Self::Curve(_)
            | Self::Export(_)
            | Self::Recorded { .. } => false,
        }
    }

    /// The files that are read as a whole for it.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        match self {
            // Once for its digest, once for its copy.
            Self::Seal(seal) => vec![seal.check.output.clone(); 2],
            Self::Import(import) => [&import.sources[..], &import.bases].concat(),
            Self::Curve(ask) => vec![ask.product.file.clone()],
            Self::Digest { at } => vec![at.file.clone()],
            Self::Compare { pairs } => pairs.iter().flatten().map(|at| at.file.clone()).collect(),
            Self::Within(ask) => [&ask.reference, &ask.made].map(|at| at.file.clone()).to_vec(),
            Self::Export(export) => export.reads.clone(),
            Self::Manifest { .. }
            | Self::Scalars { .. }
            | Self::Stage(_)
            | Self::Assemble(_)
            | Self::Show(_)
            | Self::Mark(_)
            | Self::Columns { .. }
            | Self::Recorded { .. }
            | Self::Inspect { .. } => Vec::new(),
        }
    }
}

/// One line of the child's stdout after a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct AnswerLine<T> {
    /// The number of the request.
    pub(super) id: u64,
    /// The reply, or why there is none.
    pub(super) result: Result<T, Refusal>,
}

/// Why the agent did not do what it was asked to; it lives on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of trouble.
    pub kind: RefusalKind,
    /// One line that names file and object.
    pub message: String,
}

/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RefusalKind {
    /// A file, or an object in it, is not there.
    Missing,
    /// A file cannot be read as what it should be.
    Damaged,
    /// A file is of a later format than this program reads: nothing is wrong with it.
    Newer,
    /// A value is of a type that is not read: nothing is wrong with it.
    Unsupported,
    /// A file holds or declares more than is read of it.
    TooLarge,
    /// Two sources contradict each other, or what was expected.
    Conflict,
    /// What should be written could not be: disk full, size limit, no permission.
    Write,
}

/// A product in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// The file.
    pub file: PathBuf,
    /// Where in it, for example `/PRODUCTS/DP3_SAS_NU_MAX`.
    pub path: String,
}

/// Columns of a product that are wanted where they are scalars.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedScalars {
    /// The product.
    pub at: At,
    /// The columns; `None`: all.
    pub columns: Option<BTreeSet<String>>,
}

/// What was read of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReadScalars {
    /// Scalars, columns of one element among them; of long texts the beginning.
    pub scalars: BTreeMap<String, Scalar>,
    /// Where a wanted column is not among them: what else the product has, in words like `float64 of shape [5]`.
    pub others: BTreeMap<String, String>,
}

/// Whether a product is as good as another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AskWithin {
    /// What it is compared with.
    pub reference: At,
    /// The product.
    pub made: At,
    /// By how much its numbers may differ.
    pub tolerance: Tolerance,
}

/// Writes into a sealed result, which nobody else has yet, what its products stand for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarkSealed {
    /// The result, in the agent's own directory.
    pub file: PathBuf,
    /// What each of these products stands for.
    pub stands_for: BTreeMap<ProductName, StandsFor>,
}

/// Builds a module's `input.h5` of links.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// The file to write; it must not be there.
    pub input: PathBuf,
    /// Text attributes of the root besides `STAGED`, `PLATO_ID` and `QUARTER_NUMBER`.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Root attribute `PLATO_ID`.
    pub star: StarId,
    /// Root attribute `QUARTER_NUMBER`.
    pub quarter: Quarter,
    /// Root attributes `OBS_START_DATE` and `OBS_END_DATE`, as `Manifest::observed` of an external has them.
    #[serde(default)]
    pub observed: Option<[f64; 2]>,
    /// What is linked.
    pub items: Vec<StageItem>,
    /// The root attribute `STAGED`: JSON of what was staged and which alternative of each one_of.
    pub staged: String,
}

/// One external link of an `input.h5`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageItem {
    /// Where it appears: `/PRODUCTS/<P>`, `/EXTERNALS/<P>` or `/PREVIOUS/PRODUCTS/<P>`.
    pub at: String,
    /// The file, relative to the directory of `input.h5`: `files/0.h5`.
    pub file: String,
    /// Where it is in that file.
    pub path: String,
}

/// What a module's `output.h5` is checked against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The file that the module wrote.
    pub output: PathBuf,
    /// Products that must be there.
    pub mandatory: Vec<ProductName>,
    /// Products that may be there.
    pub optional: Vec<ProductName>,
    /// Products that must be answered, by data or by `NOT_PRODUCED`.
    pub nullable: Vec<ProductName>,
    /// Products whose condition the caller decides from [`Checked::scalars`].
    pub conditional: Vec<ProductName>,
    /// Other spellings of these products that the file may use, each with the one that counts.
    pub aliases: BTreeMap<ProductName, ProductName>,
    /// Known columns of these products.
    pub model: BTreeMap<ProductName, ProductModel>,
    /// Whether another unit than the model's breaks the contract.
    #[serde(default)]
    pub strict_units: bool,
    /// Products whose scalar columns the caller wants, with those that it looks at; `None`: all.
    pub scalars_of: BTreeMap<ProductName, Option<BTreeSet<String>>>,
    /// How large it may be.
    pub limits: OutputLimits,
}

/// What a module wrote.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// The products that are there, those not produced included.
    pub products: BTreeMap<ProductName, ProductEntry>,
    /// How the file spells those that it has under another name.
    #[serde(default)]
    pub spelled: BTreeMap<ProductName, ProductName>,
    /// Scalar columns of the products that were asked for and are there.
    pub scalars: BTreeMap<ProductName, ReadScalars>,
    /// What is odd but allowed: an extra column, another unit.
    pub warnings: Vec<String>,
    /// How it breaks the contract; the first thing found.
    pub violation: Option<Violation>,
}

/// How an output breaks its contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The kind of mistake.
    pub kind: FailureKind,
    /// One line that names product and column, what was expected and what was found.
    pub message: String,
}

/// Checks a module's output, and copies the products of one that keeps its contract into a fresh file, with manifest, provenance
/// and log. All three are of one copy of the output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seal {
    /// What it is checked against.
    pub check: Check,
    /// Whether something of the module may still write to its output.
    pub is_in_reach: bool,
    /// How the products were made; what is odd about them is added.
    pub provenance: Provenance,
    /// The attempt's log, bounded.
    pub log: String,
    /// The file to write, in the agent's own directory; it must not be there. A violation leaves none.
    pub dest: PathBuf,
}

/// Builds a star file from committed files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assemble {
    /// The file to write, in the agent's own directory; it must not be there.
    pub dest: PathBuf,
    /// Root of the store.
    pub store: PathBuf,
    /// The star.
    pub star: StarId,
    /// The quarter.
    pub quarter: Quarter,
    /// Externals that the run uses, as admission named them.
    pub externals: Vec<String>,
    /// Every module of the pipeline, those without result included.
    pub modules: Vec<ModuleEntry>,
    /// The rest of what is recorded.
    pub generation: GenerationInfo,
}

impl Assemble {
    /// The products that modules made, or answered that there is none.
    pub fn answered(&self) -> impl Iterator<Item = &ProductName> {
        let successes = self.modules.iter().filter_map(|entry| match &entry.outcome {
            Some(Outcome::Succeeded(success)) => Some(success),
            Some(Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } | Outcome::Failed(_) | Outcome::Errored(_))
            | None => None,
        });
        successes.flat_map(|success| success.products.keys().chain(success.not_made.keys()))
    }
}

/// Copies externals of one star, or of all stars, from delivered files into one fresh file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Import {
    /// The delivered files.
    pub sources: Vec<PathBuf>,
    /// Older versions, newest first: what is not delivered again is taken from them.
    pub bases: Vec<PathBuf>,
    /// The file to write, in the agent's own directory; it must not be there.
    pub dest: PathBuf,
    /// The dataset that it becomes a version of.
    pub dataset: DatasetName,
    /// The star that every source must be of; `None`: externals that are the same for all stars.
    pub star: Option<StarId>,
    /// The quarter that every source that names one must name.
    pub quarter: Option<Quarter>,
    /// Other spellings of products, each with the one to write.
    pub aliases: BTreeMap<ProductName, ProductName>,
    /// Sources are results of ours, of which these products are taken; none: deliveries, of which the externals are.
    pub results: BTreeSet<ProductName>,
}

/// What a file is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inspected {
    /// Its star, if it names one.
    pub star: Option<StarId>,
    /// How the file spells its star.
    pub star_as_written: Option<String>,
    /// Its quarter, if it names one.
    pub quarter: Option<Quarter>,
    /// Names below `/EXTERNALS`.
    pub externals: Vec<String>,
    /// Names below `/PRODUCTS`.
    pub products: Vec<String>,
    /// Why it cannot be ingested, in one line; `None` when it can.
    pub problem: Option<String>,
}
