//! Which tasks of a star run again when something is other than it was: what a replay's plan counts.
//!
//! Pure. From states and names alone, without any product's content: so it tells what runs again for certain, and what may,
//! if what it reads turns out to differ. Nobody can know digests before they are made.

use std::collections::BTreeSet;

use crate::contract::DefinitionChange;
use crate::expression::Expression;
use crate::id::{ModuleIndex, ProductName};
use crate::pipeline::{Module, Pipeline};
use crate::product::{Origin, Source};
use crate::run::TaskState;

/// Whether a task runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Again {
    /// For certain: its key is another one.
    Will,
    /// If its inputs turn out to be others, or conditions decide otherwise.
    May,
}

/// What is other of one module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct ModuleChange {
    /// Of its definition.
    pub definition: Option<DefinitionChange>,
    /// Of its image.
    pub image: ImageChange,
    /// Its new definition and image were at work in a run before: results may be in the store.
    pub was_at_work: bool,
    /// Failures of it are not tried again.
    pub failures_stand: bool,
}

/// What is known of a module's image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum ImageChange {
    /// It is the one that ran.
    #[default]
    Same,
    /// It is another one.
    Other,
    /// Nobody knows what ran, or what will run.
    Unknown,
}

/// What is other for one star than when it last settled.
#[derive(Debug, Clone, Copy)]
pub struct StarChanges<'a> {
    /// Of each module of the pipeline that is to run.
    pub modules: &'a [ModuleChange],
    /// Externals that have other values, or are there for the first time.
    pub externals: &'a BTreeSet<ProductName>,
    /// Whether all of these have other values; else any of them may have.
    pub is_certain: bool,
    /// Whether the star has another generation of the quarter before.
    pub previous: bool,
    /// Modules whose lost tasks are to be tried again in these states, whatever has changed.
    pub asked: &'a [BTreeSet<TaskState>],
}

/// How each task of a star ends up in a run of `pipeline`; `None`: it is taken as it is. `states` are those in which the star
/// last settled, by module of this pipeline; `None` where the module was not there or switched off. A star of which nothing
/// is other has nothing to run; where something has, what was lost to the platform or to operators is tried again, too.
pub fn again(pipeline: &Pipeline, states: &[Option<TaskState>], changes: StarChanges<'_>) -> Vec<Option<Again>> {
    let first = spread(pipeline, states, changes, false);
    if first.iter().any(Option::is_some) { spread(pipeline, states, changes, true) } else { first }
}

fn spread(
    pipeline: &Pipeline,
    states: &[Option<TaskState>],
    changes: StarChanges<'_>,
    takes_lost: bool,
) -> Vec<Option<Again>> {
    let mut marks: Vec<Option<Again>> = Vec::with_capacity(pipeline.modules.len());
    for (index, module) in pipeline.indexed() {
        let task = TaskToReplay { pipeline, module, at: index, states, changes, marks: &marks, takes_lost };
        let mark = module.enabled.then(|| task.mark()).flatten();
        marks.push(mark);
    }
    marks
}

/// A task whose upstream is marked.
struct TaskToReplay<'a> {
    pipeline: &'a Pipeline,
    module: &'a Module,
    at: ModuleIndex,
    states: &'a [Option<TaskState>],
    changes: StarChanges<'a>,
    marks: &'a [Option<Again>],
    takes_lost: bool,
}

impl TaskToReplay<'_> {
    fn mark(&self) -> Option<Again> {
        let own = self.changes.modules[self.at.at()];
        // What another tolerance makes of it is known when it is looked at: then what is below it reads another value, or the same.
        let is_decided_anew = matches!(own.definition, Some(DefinitionChange::Decides | DefinitionChange::Tolerates));
        let is_open = self.is_below() || is_decided_anew || self.lost_a_producer();
        let Some(state) = self.states[self.at.at()] else {
            return Some(if self.is_bound_to_run() { Again::Will } else { Again::May });
        };
        let is_other = own.definition == Some(DefinitionChange::Makes) || own.image != ImageChange::Same;
        let is_certain = !is_open && !own.was_at_work && !self.decides_anew();
        let is_asked = self.changes.asked[self.at.at()].contains(&state);
        let will = |certain: bool| Some(if certain { Again::Will } else { Again::May });
        match state {
            TaskState::Succeeded | TaskState::Failed if is_other => {
                will(is_certain && (own.definition.is_some() || own.image == ImageChange::Other))
            }
            TaskState::Succeeded | TaskState::Failed if self.reads_other() => {
                will(is_certain && self.changes.is_certain && self.needs_other())
            }
            TaskState::Failed if is_asked || self.takes_lost && !own.failures_stand => will(is_certain),
            TaskState::Errored if is_asked || self.takes_lost => will(is_certain),
            TaskState::Cancelled | TaskState::Superseded if is_asked || self.takes_lost => Some(Again::May),
            TaskState::Skipped | TaskState::UpstreamFailed if is_asked => Some(Again::May),
            TaskState::Blocked | TaskState::Queued | TaskState::Waiting => Some(Again::May),
            TaskState::Succeeded
            | TaskState::Failed
            | TaskState::Errored
            | TaskState::Skipped
            | TaskState::UpstreamFailed
            | TaskState::Cancelled
            | TaskState::Superseded => (is_open || self.reads_other()).then_some(Again::May),
        }
    }

    /// Whether something that it reads, or that its trigger rule looks at, may come out otherwise.
    fn is_below(&self) -> bool {
        let is_marked = |index: ModuleIndex| self.marks.get(index.at()).is_some_and(Option::is_some);
        let reads = self.module.sources().filter_map(Source::producer).any(is_marked);
        reads || self.module.trigger_rule.is_some() && self.module.upstream.iter().copied().any(is_marked)
    }

    /// Whether a module that made something for it is switched off now.
    fn lost_a_producer(&self) -> bool {
        let producers = self.module.sources().filter_map(Source::producer);
        let mut off = producers.filter(|index| !self.pipeline.module(*index).enabled);
        off.any(|index| self.changes.modules[index.at()].definition.is_some())
    }

    fn is_other(&self, source: &Source) -> bool {
        match source.origin {
            Origin::StarExternal | Origin::SharedExternal => self.changes.externals.contains(&source.product),
            Origin::Previous => self.changes.previous,
            Origin::Module(_) => false,
        }
    }

    fn conditions(&self) -> impl Iterator<Item = &Source> {
        let conditional = self.module.inputs.conditional.iter().map(|input| &input.when);
        let conditions = self.module.run_if.iter().chain(conditional);
        conditions.flat_map(Expression::reads).map(|read| &read.source)
    }

    /// Whether a condition looks at what came anew.
    fn decides_anew(&self) -> bool {
        self.conditions().any(|source| self.is_other(source))
    }

    fn reads_other(&self) -> bool {
        self.module.sources().any(|source| self.is_other(source))
    }

    /// Whether what came anew is among what it is given whenever it runs.
    fn needs_other(&self) -> bool {
        let inputs = &self.module.inputs;
        let given = inputs.mandatory.iter().chain(&inputs.optional);
        let mut given = given.filter(|source| source.origin != Origin::Previous);
        given.any(|source| self.is_other(source))
    }

    /// Whether a module that is new is bound to run: nothing but products that are there decides.
    fn is_bound_to_run(&self) -> bool {
        let (module, inputs) = (self.module, &self.module.inputs);
        // A module that runs anew may fail: what is below it may then not run.
        let is_there = |source: &Source| {
            source.producer().is_some_and(|producer| {
                self.pipeline.module(producer).outputs.mandatory.contains(&source.product)
                    && self.marks[producer.at()].is_none()
                    && self.states[producer.at()] == Some(TaskState::Succeeded)
            })
        };
        module.run_if.is_none()
            && module.trigger_rule.is_none()
            && inputs.one_of.is_empty()
            && inputs.conditional.is_empty()
            && inputs.mandatory.iter().all(is_there)
            && !self.changes.modules[self.at.at()].was_at_work
    }
}

#[cfg(test)]
mod tests;
