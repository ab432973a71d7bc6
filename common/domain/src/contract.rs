//! What a module's contract says once the content of its inputs is known.
//!
//! Pure. The worker looks up what [`needs`] names, [`decide`] tells whether the module runs and on which inputs, and
//! [`key`] is the content address of what it will make. The order of the questions is that of the coordinator's decision
//! from states alone (`run::decide`), which never disagrees.

mod change;
mod compare;
mod fingerprint;
mod key;
mod version;

use std::collections::{BTreeMap, BTreeSet};

pub use change::{DefinitionChange, definition_change, makes};
pub use compare::{ChangedProduct, ConcernedModule, PipelineDifference, ProductChange, compare};
pub use fingerprint::{Definitions, Programs, StarInputs, ran};
pub use key::{key, seed};
use serde::{Deserialize, Serialize};
pub use version::contract_version;

use crate::expression::{EvaluationError, Expression, Known, Read, Scalar};
use crate::id::{Digest, ProductName};
use crate::outcome::{Failure, FailureKind, Skip};
use crate::pipeline::Module;
use crate::product::Source;

/// What is there of a source.
#[derive(Debug, Clone, PartialEq)]
pub enum Presence {
    /// It is there, with this digest.
    Made(Digest),
    /// Its producer was skipped, or succeeded without it, or answered that there is none; or there is no quarter before.
    NotMade,
    /// Ingestion did not deliver it.
    NotDelivered,
    /// Its producer failed.
    Lost,
}

/// What the worker found.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Everything that [`needs`] names; what is not here counts as not made.
    pub presence: BTreeMap<Source, Presence>,
    /// Scalar columns of the sources that conditions read, where they are there.
    pub columns: BTreeMap<Source, BTreeMap<String, Scalar>>,
    /// Where a column that conditions read is not among them: what else the source has, in words.
    pub others: BTreeMap<Source, BTreeMap<String, String>>,
}

/// What a module may look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Sources whose presence and digest matter.
    pub sources: BTreeSet<Source>,
    /// Those of them that conditions read, with the columns that they look at; `None`: all.
    pub read: BTreeMap<Source, Option<BTreeSet<String>>>,
}

/// What a contract says.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// Run it on these inputs.
    Run(Staging),
    /// It has nothing to do for this star.
    Skip(Skip),
    /// Something that it needs was lost to a failure.
    UpstreamFailed {
        /// The product, or the alternatives of a `one_of` joined by ` | `.
        lost: String,
    },
    /// A condition cannot be evaluated.
    Failed(Failure),
}

/// The inputs of one attempt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Staging {
    /// What is staged, in the order of the contract.
    pub staged: Vec<Staged>,
    /// What is declared and not staged, and why.
    pub absent: Vec<(Source, Absence)>,
    /// What conditions read, with its value.
    pub reads: Vec<(Read, Option<Scalar>)>,
}

/// An input that is staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// The product and where it comes from.
    pub source: Source,
    /// Digest of its value.
    pub digest: Digest,
    /// By which clause of the contract.
    pub role: InputRole,
}

/// The clause of a contract under which an input is staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputRole {
    /// `inputs.mandatory`.
    Mandatory,
    /// `inputs.conditional`, whose condition holds.
    Conditional,
    /// The alternative chosen from this list of `inputs.one_of`, counted from 0.
    OneOf(u32),
    /// `inputs.optional`.
    Optional,
}

/// Why a declared input is not staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Absence {
    /// It was not made.
    NotMade,
    /// It was not delivered.
    NotDelivered,
    /// It was lost to a failure.
    Lost,
    /// Its condition does not hold.
    Condition,
    /// An alternative before it in its list is there.
    Outranked,
}

/// What a module may look at: all declared inputs, and what its conditions name.
pub fn needs(module: &Module) -> Needs {
    let conditions = module.run_if.iter().chain(module.inputs.conditional.iter().map(|input| &input.when));
    Needs { sources: module.sources().cloned().collect(), read: read_by(conditions) }
}

/// Its own outputs that the conditions of others read, with the columns that they look at; `None`: all.
pub fn read_of_outputs(module: &Module) -> BTreeMap<ProductName, Option<BTreeSet<String>>> {
    let read = read_by(module.outputs.conditional.iter().map(|output| &output.when));
    read.into_iter().map(|(source, columns)| (source.product, columns)).collect()
}

/// What conditions read.
fn read_by<'a>(conditions: impl Iterator<Item = &'a Expression>) -> BTreeMap<Source, Option<BTreeSet<String>>> {
    let mut read: BTreeMap<Source, Option<BTreeSet<String>>> = BTreeMap::new();
    for condition in conditions {
        for source in condition.reads().iter().map(|read| &read.source) {
            let columns = condition.columns_of(source);
            let known = read.entry(source.clone()).or_insert_with(|| Some(BTreeSet::new()));
            *known = known.take().zip(columns).map(|(known, columns)| &known | &columns);
        }
    }
    read
}

/// Decides a task whose upstream is settled: `run_if`, then mandatory, conditional and one_of inputs, then optional ones.
pub fn decide(module: &Module, view: &View) -> Judgement {
    let mut staging = Staging::default();
    match module.run_if.as_ref().map_or(Ok(true), |condition| view.evaluate(condition, &mut staging)) {
        Ok(true) => {}
        Ok(false) => {
            let detail = module.run_if.as_ref().map(|condition| explain(condition, &staging.reads));
            return Judgement::Skip(Skip::Condition { detail: detail.unwrap_or_default() });
        }
        Err(error) => return broken("run_if", error),
    }
    match require(module, view, &mut staging) {
        Ok(()) => Judgement::Run(staging),
        Err(verdict) => *verdict,
    }
}

/// Of a success's conditional outputs, those that must be there; `columns` are the scalars of its own outputs, `others` what else
/// these have, in words.
pub fn conditional_outputs(
    module: &Module,
    columns: &BTreeMap<ProductName, BTreeMap<String, Scalar>>,
    others: &BTreeMap<ProductName, BTreeMap<String, String>>,
) -> Result<BTreeSet<ProductName>, Failure> {
    let mut due = BTreeSet::new();
    for output in &module.outputs.conditional {
        let known = |source: &Source| columns.get(&source.product).map_or(Known::Absent, Known::Made);
        let holds = output.when.evaluate_or_say(&known, &|source| others.get(&source.product));
        match holds {
            Ok(true) => drop(due.insert(output.product.clone())),
            Ok(false) => {}
            Err(error) => return Err(expression_failure(&format!("condition of output {}", output.product), &error)),
        }
    }
    Ok(due)
}

impl View {
    fn known(&self, source: &Source) -> Known<'_> {
        static NO_COLUMNS: BTreeMap<String, Scalar> = BTreeMap::new();
        match self.presence.get(source) {
            Some(Presence::Made(_)) => Known::Made(self.columns.get(source).unwrap_or(&NO_COLUMNS)),
            Some(Presence::Lost) => Known::Lost,
            Some(Presence::NotMade | Presence::NotDelivered) | None => Known::Absent,
        }
    }

    /// The value of a condition; what it read goes on record, whatever it is.
    fn evaluate(&self, condition: &Expression, staging: &mut Staging) -> Result<bool, EvaluationError> {
        for read in condition.values(&|source| self.known(source)) {
            if !staging.reads.contains(&read) {
                staging.reads.push(read);
            }
        }
        condition.evaluate_or_say(&|source| self.known(source), &|source| self.others.get(source))
    }

    /// The digest of a source that is there, or why it is not.
    fn find(&self, source: &Source) -> Result<Digest, Absence> {
        match self.presence.get(source) {
            Some(Presence::Made(digest)) => Ok(*digest),
            Some(Presence::Lost) => Err(Absence::Lost),
            Some(Presence::NotDelivered) => Err(Absence::NotDelivered),
            Some(Presence::NotMade) | None => Err(Absence::NotMade),
        }
    }
}

/// Stages inputs of all kinds. The first kind with something missing decides; in it a loss comes before what was not
/// made, and that before what was not delivered.
fn require(module: &Module, view: &View, staging: &mut Staging) -> Result<(), Box<Judgement>> {
    let mut missing = Vec::new();
    for source in &module.inputs.mandatory {
        stage(view, source, InputRole::Mandatory, staging, &mut missing);
    }
    settle(&missing)?;
    for input in &module.inputs.conditional {
        match view.evaluate(&input.when, staging) {
            Ok(true) => stage(view, &input.source, InputRole::Conditional, staging, &mut missing),
            Ok(false) => staging.absent.push((input.source.clone(), Absence::Condition)),
            Err(error) => {
                return Err(Box::new(broken(&format!("condition of input {}", input.source.product), error)));
            }
        }
    }
    settle(&missing)?;
    for (list, alternatives) in module.inputs.one_of.iter().enumerate() {
        choose(view, list, alternatives, staging, &mut missing);
    }
    settle(&missing)?;
    for source in &module.inputs.optional {
        stage(view, source, InputRole::Optional, staging, &mut Vec::new());
    }
    Ok(())
}

fn stage(view: &View, source: &Source, role: InputRole, staging: &mut Staging, missing: &mut Vec<(Absence, String)>) {
    match view.find(source) {
        Ok(digest) => staging.staged.push(Staged { source: source.clone(), digest, role }),
        Err(absence) => {
            staging.absent.push((source.clone(), absence));
            missing.push((absence, source.to_string()));
        }
    }
}

/// Stages the first alternative that is there. Where none is, a loss comes before what was not delivered, and that before
/// what was not made: with the external the module would have run, so its absence must not be silent.
fn choose(
    view: &View,
    list: usize,
    alternatives: &[Source],
    staging: &mut Staging,
    missing: &mut Vec<(Absence, String)>,
) {
    let role = InputRole::OneOf(u32::try_from(list).unwrap_or(u32::MAX));
    let mut chosen = false;
    let mut absences = Vec::new();
    for source in alternatives {
        match view.find(source) {
            // Whether it is there does not matter any more, and must not enter the key.
            _ if chosen => staging.absent.push((source.clone(), Absence::Outranked)),
            Ok(digest) => {
                chosen = true;
                staging.staged.push(Staged { source: source.clone(), digest, role });
            }
            Err(absence) => {
                staging.absent.push((source.clone(), absence));
                absences.push(absence);
            }
        }
    }
    if !chosen {
        let names = alternatives.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
        let first = [Absence::Lost, Absence::NotDelivered].into_iter().find(|absence| absences.contains(absence));
        missing.push((first.unwrap_or(Absence::NotMade), names));
    }
}

/// The verdict on what is missing, if anything is.
fn settle(missing: &[(Absence, String)]) -> Result<(), Box<Judgement>> {
    let Some((absence, product)) = missing.iter().min_by_key(|(absence, _)| rank(*absence)) else { return Ok(()) };
    let product = product.clone();
    Err(Box::new(match absence {
        Absence::Lost => Judgement::UpstreamFailed { lost: product },
        Absence::NotMade | Absence::Condition | Absence::Outranked => Judgement::Skip(Skip::NotMade { product }),
        Absence::NotDelivered => Judgement::Skip(Skip::MissingExternal { product }),
    }))
}

fn rank(absence: Absence) -> u8 {
    match absence {
        Absence::Lost => 0,
        Absence::NotMade | Absence::Condition | Absence::Outranked => 1,
        Absence::NotDelivered => 2,
    }
}

fn broken(what: &str, error: EvaluationError) -> Judgement {
    match error {
        EvaluationError::Lost(lost) => Judgement::UpstreamFailed { lost: lost.to_string() },
        EvaluationError::Broken(_) => Judgement::Failed(expression_failure(what, &error)),
    }
}

fn expression_failure(what: &str, error: &EvaluationError) -> Failure {
    let message = format!("{what}: {error}");
    Failure { kind: FailureKind::Expression, message, exit_code: None, log_tail: String::new() }
}

/// A condition with the values that it read, on one line.
fn explain(condition: &Expression, reads: &[(Read, Option<Scalar>)]) -> String {
    let text = condition.text().split_whitespace().collect::<Vec<_>>().join(" ");
    let read = |(read, value): &(Read, Option<Scalar>)| match value {
        Some(value) => format!("{read} = {value}"),
        None => format!("{read} is absent"),
    };
    let params = condition.params().iter().map(|(name, value)| format!("params.{name} = {value}"));
    let values: Vec<String> = reads.iter().map(read).chain(params).collect();
    if values.is_empty() { text } else { format!("{text}, where {}", values.join(", ")) }
}

#[cfg(test)]
mod tests;
