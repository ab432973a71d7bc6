//! A pipeline: the validated DAG of modules that a TOML file describes.
//!
//! Pure. [`load`] reads and checks a definition, all mistakes at once; what it returns cannot be wrong any more.

mod definition;
pub mod draw;
mod label;
mod load;
mod model;
mod module;
mod names;
mod order;
mod place;
mod publishes;
mod tolerance;
mod trigger;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use label::{CONTRACT_LABEL, ContractError};
pub use load::{Mistakes, data_model_name, load, load_after};
pub use place::{Mistake, Place};
pub use publishes::{Publishes, circles};
pub use trigger::{Arrival, InvalidTrigger, MOST_DATASETS, Trigger, TriggerExpression, Weighed};

use serde_json::Value;

use crate::expression::Expression;
use crate::id::{Attempt, ClassName, GroupName, ImageName, ModuleIndex, ModuleName, PipelineName, ProductName};
use crate::outcome::{Failure, FailureKind};
use crate::product::{Column, DataModel, Origin, Source, Tolerance};
use crate::run::{Graph, Node, Retry, Rule, StateNeeds, TriggerRule};
use crate::unit;

/// A pipeline that passed all checks.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Its name.
    pub name: PipelineName,
    /// Its version; with the name it names the definition.
    pub version: String,
    /// What starts it.
    pub trigger: Trigger,
    /// Whether another unit than the data model's is a violation, and not only a warning.
    pub strict_units: bool,
    /// Whether its runs make generations of the star file; false for what prepares or delivers, which would hide what others made.
    pub star_file: bool,
    /// What becomes of a star whose quarter before has not ended well; none: it takes what the star file shows when it enters.
    pub previous: Option<PreviousPolicy>,
    /// The dataset that its results are, if they start others.
    pub publishes: Option<Publishes>,
    /// Products that may differ a little from what they were and count as unchanged.
    pub tolerances: BTreeMap<ProductName, Tolerance>,
    /// Parameters that expressions see as `params.x`.
    pub params: BTreeMap<String, Value>,
    /// Externals that ingestion delivers per star.
    pub star_externals: BTreeSet<ProductName>,
    /// Externals that are the same for all stars.
    pub shared_externals: BTreeSet<ProductName>,
    /// Other spellings met in files, each with the name used here.
    pub aliases: BTreeMap<ProductName, ProductName>,
    /// Resource classes by name.
    pub classes: BTreeMap<ClassName, Class>,
    /// Modules in topological order (ties by name): `ModuleIndex` is the position.
    pub modules: Vec<Module>,
    /// Columns of the products, as far as the documents tell.
    pub model: DataModel,
    /// The text that it was loaded from: what a run keeps.
    pub definition: String,
    /// The text of the data model; empty when it has none.
    pub data_model: String,
}

/// What a slot of a class has.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// CPUs, as in `--cpus` of Docker.
    pub cpus: f64,
    /// Bytes of memory.
    pub memory: u64,
}

/// One step of a pipeline.
#[derive(Debug, Clone)]
pub struct Module {
    /// Its name.
    pub name: ModuleName,
    /// The group that it is drawn in, if any.
    pub group: Option<GroupName>,
    /// One line about it.
    pub doc: String,
    /// The image as the pipeline names it; its identity is resolved once per run.
    pub image: ImageName,
    /// What runs in the image.
    pub command: Vec<String>,
    /// Environment besides what the contract sets.
    pub environment: BTreeMap<String, String>,
    /// Reaches the module as JSON.
    pub parameters: BTreeMap<String, Value>,
    /// Its resource class.
    pub class: ClassName,
    /// Bytes of memory of its first attempt, at most what its class has; [`Pipeline::memory`] tells that of later ones.
    pub memory: u64,
    /// How long an attempt may run.
    pub time_limit: Duration,
    /// One container per attempt, or one that serves many.
    pub mode: Mode,
    /// False: shown, never run.
    pub enabled: bool,
    /// Where it is not run for that: the group that a run is limited to.
    pub outside_of: Option<GroupName>,
    /// The condition under which it runs.
    pub run_if: Option<Expression>,
    /// Order without data.
    pub after: Vec<ModuleIndex>,
    /// When it runs; `None` is the rule `contract`.
    pub trigger_rule: Option<TriggerRule>,
    /// How often it may be tried.
    pub retry: Retry,
    /// Exit codes that are worth another try; 75 always is.
    pub retry_on: BTreeSet<i64>,
    /// What it reads.
    pub inputs: Inputs,
    /// What it makes.
    pub outputs: Outputs,
    /// Producers of its inputs and of what its expressions name, and `after`; without modules that are switched off.
    pub upstream: Vec<ModuleIndex>,
}

/// How a module's container lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A container per attempt.
    Oneshot,
    /// A container per slot that takes one request per line.
    Serve,
}

/// What becomes of a star whose quarter before failed, was cancelled, or goes on in an open run of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PreviousPolicy {
    /// It enters when its quarter before has settled in every open run, in whatever way.
    Wait,
    /// It enters at once, as if there were no quarter before.
    Without,
    /// It waits as long as its quarter before goes on, and for an operator where that failed.
    Hold,
}

/// When the stars of a run are announced to other pipelines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PublishTime {
    /// All at once, when the run ends.
    #[default]
    Run,
    /// As they end.
    Star,
}

/// What a module reads.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Must be there.
    pub mandatory: Vec<Source>,
    /// Used when there.
    pub optional: Vec<Source>,
    /// Of each list the first that is there; one must be.
    pub one_of: Vec<Vec<Source>>,
    /// Must be there when the condition holds; not staged when it does not.
    pub conditional: Vec<ConditionalInput>,
}

/// An input that is needed under a condition.
#[derive(Debug, Clone)]
pub struct ConditionalInput {
    /// The input.
    pub source: Source,
    /// The condition.
    pub when: Expression,
}

/// What a module makes.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    /// Made in every success.
    pub mandatory: Vec<ProductName>,
    /// Made or not.
    pub optional: Vec<ProductName>,
    /// Answered in every success: by data, or by an empty group with the attribute `NOT_PRODUCED`.
    pub nullable: Vec<ProductName>,
    /// There exactly when the condition, over the module's own outputs, holds.
    pub conditional: Vec<ConditionalOutput>,
}

/// An output that is there exactly under a condition.
#[derive(Debug, Clone)]
pub struct ConditionalOutput {
    /// The output.
    pub product: ProductName,
    /// The condition over the module's own outputs.
    pub when: Expression,
}

impl Pipeline {
    /// Everything that its modules make and that ingestion delivers for it, with where it comes from.
    pub fn origins(&self) -> BTreeMap<ProductName, Origin> {
        let star = self.star_externals.iter().map(|product| (product, Origin::StarExternal));
        let shared = self.shared_externals.iter().map(|product| (product, Origin::SharedExternal));
        let made = self
            .indexed()
            .flat_map(|(index, module)| module.outputs.products().map(move |product| (product, Origin::Module(index))));
        star.chain(shared).chain(made).map(|(product, origin)| (product.clone(), origin)).collect()
    }

    /// The module at a position.
    pub fn module(&self, index: ModuleIndex) -> &Module {
        &self.modules[index.at()]
    }

    /// The position of a module.
    pub fn index_of(&self, name: &ModuleName) -> Option<ModuleIndex> {
        self.modules
            .iter()
            .position(|module| module.name == *name)
            .and_then(|at| u8::try_from(at).ok())
            .map(ModuleIndex)
    }

    /// Its modules with their positions.
    pub fn indexed(&self) -> impl Iterator<Item = (ModuleIndex, &Module)> {
        (0..=u8::MAX).map(ModuleIndex).zip(&self.modules)
    }

    /// Bytes of memory that an attempt (counted from 1) of a module has: twice as much as the one before, up to what its class
    /// has. A slot has that much anyway, so that an attempt which ran out of memory is worth another while there is more.
    pub fn memory(&self, module: &Module, attempt: Attempt) -> u64 {
        let most = self.classes.get(&module.class).map_or(module.memory, |class| class.memory);
        let doubled = 1_u64.checked_shl(attempt.0.saturating_sub(1)).unwrap_or(u64::MAX);
        module.memory.saturating_mul(doubled).min(most)
    }

    /// Whether a module whose attempt failed so is tried again while it has tries: only what may end differently, which is the
    /// module's own wish, exit codes that its policy lists, and out of memory where the next attempt has more of it.
    pub fn is_worth_another_try(&self, module: &Module, attempt: Attempt, failure: &Failure) -> bool {
        match failure.kind {
            FailureKind::TryAgain => true,
            FailureKind::Exit | FailureKind::Signal => {
                failure.exit_code.is_some_and(|code| module.retry_on.contains(&code))
            }
            FailureKind::OutOfMemory => self.memory(module, attempt.next()) > self.memory(module, attempt),
            FailureKind::TimeLimit
            | FailureKind::OutputMissing
            | FailureKind::OutputUndeclared
            | FailureKind::OutputCorrupt
            | FailureKind::UnsupportedType
            | FailureKind::OutputViolates
            | FailureKind::OutputTooLarge
            | FailureKind::Expression => false,
        }
    }

    /// Units of the data model that are not spelled as astropy reads them, a line each with product and column.
    pub fn odd_units(&self) -> Vec<String> {
        let columns =
            self.model.products.iter().flat_map(|(name, product)| product.columns.iter().map(move |at| (name, at)));
        let odd = |(name, (column, facts)): (&ProductName, (&String, &Column))| {
            let why = unit::oddity(facts.unit.as_deref()?)?;
            Some(format!("product {name}: column {column:?}: {why}"))
        };
        columns.filter_map(odd).collect()
    }

    /// The groups of its modules, sorted.
    pub fn groups(&self) -> BTreeSet<&GroupName> {
        self.modules.iter().filter_map(|module| module.group.as_ref()).collect()
    }

    /// The same pipeline with every module switched off that is neither of this group nor upstream of it, order without data
    /// included: so those that run decide and read as in a whole run.
    pub fn limited_to(mut self, group: &GroupName) -> Self {
        let is_meant = |module: &Module| module.enabled && module.group.as_ref() == Some(group);
        let mut wanted: Vec<bool> = self.modules.iter().map(is_meant).collect();
        // Upstream comes first in the order.
        for at in (0..wanted.len()).rev().filter(|at| self.modules[*at].enabled) {
            if wanted[at] {
                self.modules[at].upstream.iter().for_each(|up| wanted[up.at()] = true);
            }
        }
        for (module, _) in self.modules.iter_mut().zip(wanted).filter(|(module, wanted)| module.enabled && !wanted) {
            module.enabled = false;
            module.outside_of = Some(group.clone());
        }
        self
    }

    /// The same pipeline with other images for some of its modules.
    #[must_use]
    pub fn with_images(mut self, images: &BTreeMap<ModuleName, ImageName>) -> Self {
        for module in &mut self.modules {
            if let Some(image) = images.get(&module.name) {
                image.clone_into(&mut module.image);
            }
        }
        self
    }

    /// The graph as the core sees it.
    pub fn graph(&self) -> Graph {
        let rule = |module: &Module| match module.trigger_rule {
            Some(rule) => Rule::Airflow(rule, module.needed()),
            None => Rule::Contract(StateNeeds {
                run_if: module.run_if.as_ref().map(Expression::formula),
                mandatory: module.inputs.mandatory.iter().filter_map(Source::producer).collect(),
            }),
        };
        let node = |module: &Module| Node {
            upstream: module.upstream.clone(),
            rule: rule(module),
            enabled: module.enabled,
            retry: module.retry,
        };
        Graph { nodes: self.modules.iter().map(node).collect() }
    }
}

impl Module {
    /// Everything that its inputs and conditions name; a product may be named more than once.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        module::sources(&self.inputs, self.run_if.as_ref())
    }

    /// The modules upstream that make what it cannot do without.
    fn needed(&self) -> Vec<ModuleIndex> {
        let producers: BTreeSet<ModuleIndex> = module::needed(&self.inputs, self.run_if.as_ref()).collect();
        self.upstream.iter().copied().filter(|up| producers.contains(up)).collect()
    }
}

impl Inputs {
    /// All of them; a product may be named more than once.
    pub fn all(&self) -> impl Iterator<Item = &Source> {
        let conditional = self.conditional.iter().map(|input| &input.source);
        self.mandatory.iter().chain(&self.optional).chain(self.one_of.iter().flatten()).chain(conditional)
    }
}

impl Outputs {
    /// All products that may be made.
    pub fn products(&self) -> impl Iterator<Item = &ProductName> {
        let conditional = self.conditional.iter().map(|output| &output.product);
        self.mandatory.iter().chain(&self.optional).chain(&self.nullable).chain(conditional)
    }
}

#[cfg(test)]
mod tests;
