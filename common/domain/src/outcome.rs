//! How an attempt ended, and why: what completions carry, failures record and `explain` prints.
//!
//! Pure data. A module's mistake, the platform's trouble and a skip are different variants: nothing is ever blamed on
//! the wrong one.

mod alike;
mod used;

use std::collections::BTreeMap;
use std::fmt;

pub use alike::{FailureFingerprint, FailurePattern, FailureReason, FailureWords, NoReason};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use used::UsedResources;

use crate::id::{Digest, GroupName, Key, ProductName};
use crate::run::TaskState;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Success {
    /// Content address of the result; its file is `products/<module>-<key>.h5`.
    pub key: Key,
    /// The products that it made, each with the digest of its value; declared ones that are missing were not made.
    pub products: BTreeMap<ProductName, Digest>,
    /// Products that differ from what they were by no more than the pipeline tolerates: what is downstream reads that instead.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stands_for: BTreeMap<ProductName, StandsFor>,
    /// The module's reasons for products that it answered by `NOT_PRODUCED`; a declared product that is neither here nor among
    /// the products was not made without a word.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub not_made: BTreeMap<ProductName, String>,
    /// What is odd about the output but allowed, as another unit or an extra column: the first [`WARNINGS`], units first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// How many warnings there are besides; all are in the result's provenance.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_warnings: u64,
    /// True when the key was in the store before, so that no container ran.
    #[serde(default)]
    pub reused: bool,
    /// True when it ran although the key had a result by the time it ended, and made other values than that: the module is
    /// not deterministic. The first result counts, and is what this reports.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nondeterministic: bool,
}

/// What a product stands for that was made again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StandsFor {
    /// The digest of the value before.
    pub digest: Digest,
    /// The committed file that holds it, relative to the star's folder.
    pub file: String,
    /// The tolerance within which both are alike, in words.
    pub within: String,
}

/// How many results of a module gave cause for remarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Remarks {
    /// Results with warnings: another unit, an extra column.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warned: u64,
    /// Results without a product that must be answered, each with the module's reason.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unmade: u64,
}

/// Warnings that a success carries at most, for messages and rows stay small.
pub const WARNINGS: usize = 8;

/// Characters of a warning, or of a reason, that a success carries at most.
const LONGEST: usize = 300;

/// Why a module was skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::VariantArray,
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
    /// Its output holds values of a type that the store does not read; nothing is wrong with the file.
    UnsupportedType,
    /// An output does not have the columns, ranks or types of the data model.
    OutputViolates,
    /// It wrote more than it may.
    OutputTooLarge,
    /// An expression of the pipeline could not be evaluated on its inputs.
    Expression,
}

/// What the platform could not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlatformError {
    /// The kind of trouble.
    pub kind: PlatformErrorKind,
    /// One line with the causes, outermost first.
    pub message: String,
    /// The last lines of the program's log, where one ran.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log_tail: String,
}

impl PlatformError {
    /// Trouble without a program that could have said something.
    pub fn new(kind: PlatformErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), log_tail: String::new() }
    }
}

/// The kinds of platform trouble.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::VariantArray,
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
    /// SIGKILL ended the program, which nobody told the engine to send, and the host had memory: twice in a row it is the module's
    /// own doing.
    Killed,
}

impl Success {
    /// A result with these products, fresh from its container, about which there is nothing to say.
    pub fn new(key: Key, products: BTreeMap<ProductName, Digest>) -> Self {
        Self {
            key,
            products,
            stands_for: BTreeMap::new(),
            not_made: BTreeMap::new(),
            warnings: Vec::new(),
            more_warnings: 0,
            reused: false,
            nondeterministic: false,
        }
    }

    /// The same with what is odd about it.
    #[must_use]
    pub fn with_warnings(mut self, all: &[String]) -> Self {
        self.warnings = all.iter().take(WARNINGS).map(|warning| shortened(warning)).collect();
        self.more_warnings = (all.len() - self.warnings.len()) as u64;
        self
    }

    /// The same with the module's reason for a product that it did not make.
    #[must_use]
    pub fn without(mut self, product: ProductName, reason: &str) -> Self {
        self.not_made.insert(product, shortened(reason));
        self
    }

    /// What it counts as.
    pub fn remarks(&self) -> Remarks {
        Remarks { warned: (self.all_warnings() > 0).into(), unmade: (!self.not_made.is_empty()).into() }
    }

    /// How many warnings there are.
    pub fn all_warnings(&self) -> u64 {
        self.warnings.len() as u64 + self.more_warnings
    }
}

/// One line of bounded length.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
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
            Self::Succeeded(success) => success.fmt(f),
            Self::Skipped(skip) => skip.fmt(f),
            Self::UpstreamFailed { lost } => write!(f, "upstream failed: {lost}"),
            Self::Failed(failure) => write!(f, "failed ({}): {}", failure.kind, failure.message),
            Self::Errored(error) => write!(f, "errored ({}): {}", error.kind, error.message),
        }
    }
}

impl fmt::Display for Success {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.reused { "succeeded (was in the store)" } else { "succeeded" })?;
        match self.all_warnings() {
            0 => {}
            1 => f.write_str(", 1 warning")?,
            several => write!(f, ", {several} warnings")?,
        }
        for (at, (product, reason)) in self.not_made.iter().enumerate() {
            let before = if at == 0 { "; not made: " } else { ", " };
            write!(f, "{before}{product} ({reason})")?;
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_says_what_is_odd_about_it_and_stays_small() {
        let key = Key::from_bytes([1; 32]);
        let plain: Success = serde_json::from_str(&format!(r#"{{"key":"{key}","products":{{}}}}"#)).unwrap();
        assert_eq!((&plain, plain.to_string().as_str()), (&Success::new(key, BTreeMap::new()), "succeeded"));
        let many: Vec<String> = (0..100).map(|_| "wide ".repeat(1_000)).collect();
        let odd = plain.with_warnings(&many).without("X".parse().unwrap(), "too\nfaint");
        assert_eq!(odd.to_string(), "succeeded, 100 warnings; not made: X (too faint)");
        assert!(odd.warnings.len() == WARNINGS && odd.warnings[0].chars().count() == LONGEST + 1);
        assert!(serde_json::to_string(&odd).unwrap().len() < 4_000);
    }
}
