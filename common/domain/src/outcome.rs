//! How an attempt ended, and why: what completions carry, failures record and `explain` prints.
//!
//! Pure data. A module's mistake, the platform's trouble and a skip are different variants: nothing is ever blamed on
//! the wrong one.

mod alike;

use std::collections::BTreeMap;
use std::fmt;

pub use alike::{FailureFingerprint, FailurePattern, FailureReason, FailureWords, NoReason};
use serde::{Deserialize, Serialize};

use crate::id::{Digest, GroupName, Key, ProductName};
use crate::run::TaskState;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The products are committed under this key.
    Succeeded(Success),
    /// The contract says that the module has nothing to do for this star.
    Skipped(Skip),
    /// Something that it needs was lost to a failure upstream.
    UpstreamFailed {
        /// The product that was lost, or the expression that named it.
        lost: String,
    },
    /// The module said no or broke its contract.
    Failed(Failure),
    /// The platform could not run it; never blamed on the module.
    Errored(PlatformError),
}

/// A committed result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Success {
    /// Content address of the result; its file is `products/<module>-<key>.h5`.
    pub key: Key,
    /// The products that it made, each with the digest of its value; declared ones that are missing were not made.
    pub products: BTreeMap<ProductName, Digest>,
    /// True when the key was in the store before, so that no container ran.
    #[serde(default)]
    pub reused: bool,
    /// True when it ran although the key had a result by the time it ended, and made other values than that: the module is
    /// not deterministic. The first result counts, and is what this reports.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nondeterministic: bool,
}

/// Why a module was skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Skip {
    /// Its `run_if` is false.
    Condition {
        /// The expression, with the values that it read.
        detail: String,
    },
    /// A product that it needs was not made: its producer was skipped, or succeeded without it.
    NotMade {
        /// The product, or the alternatives of a `one_of` joined by ` | `.
        product: String,
    },
    /// An external that it needs was not delivered: the star is incomplete.
    MissingExternal {
        /// The external, or the alternatives of a `one_of` joined by ` | `.
        product: String,
    },
    /// Its trigger rule can no longer hold.
    TriggerRule {
        /// The rule's name.
        rule: String,
    },
    /// The pipeline has it switched off.
    Disabled,
    /// The run is limited to a group that can do without it.
    NotOfGroup {
        /// The group.
        group: GroupName,
    },
}

/// What a module did wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of mistake.
    pub kind: FailureKind,
    /// One line that names file, product or column, what was expected and what was found.
    pub message: String,
    /// Exit code of the container, where it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// The last lines of its log.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log_tail: String,
}

/// The kinds of a module's mistakes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display, strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum FailureKind {
    /// A non-zero exit code.
    Exit,
    /// Exit code 75: it asks to be tried again later.
    TryAgain,
    /// It was killed for using more memory than its class has.
    OutOfMemory,
    /// It ran longer than its time limit.
    TimeLimit,
    /// A signal ended it.
    Signal,
    /// A mandatory output is not there.
    OutputMissing,
    /// It wrote something that its contract does not declare.
    OutputUndeclared,
    /// Its output cannot be read, or holds links or filters that are not allowed.
    OutputCorrupt,
    /// An output does not have the columns, ranks or types of the data model.
    OutputViolates,
    /// It wrote more than it may.
    OutputTooLarge,
    /// An expression of the pipeline could not be evaluated on its inputs.
    Expression,
}

/// What the platform could not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformError {
    /// The kind of trouble.
    pub kind: PlatformErrorKind,
    /// One line with the causes, outermost first.
    pub message: String,
}

/// The kinds of platform trouble.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display, strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PlatformErrorKind {
    /// The image is not on this host and cannot be pulled.
    ImageMissing,
    /// No container can be made as the module's image or definition want it.
    Refused,
    /// The container engine did not do what it was asked to.
    Engine,
    /// The store could not be read or written.
    Store,
    /// A committed input is missing or damaged.
    InputLost,
    /// The worker stopped, its lease ran out, or somebody killed the program, before the attempt ended.
    Interrupted,
}

impl Outcome {
    /// The task's state that this outcome leads to when nothing is tried again.
    pub const fn state(&self) -> TaskState {
        match self {
            Self::Succeeded(_) => TaskState::Succeeded,
            Self::Skipped(_) => TaskState::Skipped,
            Self::UpstreamFailed { .. } => TaskState::UpstreamFailed,
            Self::Failed(_) => TaskState::Failed,
            Self::Errored(_) => TaskState::Errored,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded(success) if success.reused => write!(f, "succeeded (was in the store)"),
            Self::Succeeded(_) => write!(f, "succeeded"),
            Self::Skipped(skip) => skip.fmt(f),
            Self::UpstreamFailed { lost } => write!(f, "upstream failed: {lost}"),
            Self::Failed(failure) => write!(f, "failed ({}): {}", failure.kind, failure.message),
            Self::Errored(error) => write!(f, "errored ({}): {}", error.kind, error.message),
        }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Condition { detail } => write!(f, "skipped (condition): {detail}"),
            Self::NotMade { product } => write!(f, "skipped (not_made): {product}"),
            Self::MissingExternal { product } => write!(f, "skipped (missing_external): {product}"),
            Self::TriggerRule { rule } => write!(f, "skipped (trigger_rule): {rule}"),
            Self::Disabled => write!(f, "skipped (disabled)"),
            Self::NotOfGroup { group } => write!(f, "skipped (not of group {group})"),
        }
    }
}
