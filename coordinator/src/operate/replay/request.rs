//! What is to be replayed: the words in which somebody asks, and the same with everything fixed that a plan rests on.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::{ImageIdentity, ImageName, ModuleIndex, ModuleName, PipelineName, Quarter, StarId};
use domain::pipeline::Pipeline;
use domain::run::TaskState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operate::pipelines::module_of;
use crate::operate::{ErrorKind, OperateError};

/// What is to be replayed; what is not named does not narrow. Without any selection: everything whose input changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// Its version, as the coordinator or a run before had it; what the coordinator has now unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The definition itself, in the place of a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<DefinitionText>,
    /// Of this quarter; of all unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarter: Option<Quarter>,
    /// Of these stars; of all unless given.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub stars: BTreeSet<StarId>,
    /// Only stars in which one of these modules runs again, or may.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub modules: BTreeSet<ModuleName>,
    /// The modules below these are meant, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub downstream: bool,
    /// Only stars with tasks (of these modules) that ended so; these tasks are tried again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub states: BTreeSet<TaskState>,
    /// What failed is tried again, besides everything whose input changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// Other images for some modules.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<ModuleName, ImageName>,
    /// Look again what every image stands for; else those that ran before stay what they were.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resolve: bool,
    /// What the modules' programs are, as a plan fixed it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<ModuleName, PlannedProgram>,
}

/// The texts of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DefinitionText {
    /// The pipeline file.
    pub pipeline: String,
    /// The data model that it names; empty when it names none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub data_model: String,
}

/// What a module's program is in the runs of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlannedProgram {
    /// What the runner calls it.
    pub subject: String,
    /// What it is.
    pub identity: ImageIdentity,
}

impl ReplayRequest {
    /// Everything of a pipeline whose input changed.
    pub fn of(pipeline: PipelineName) -> Self {
        Self {
            pipeline,
            version: None,
            definition: None,
            quarter: None,
            stars: BTreeSet::new(),
            modules: BTreeSet::new(),
            downstream: false,
            states: BTreeSet::new(),
            failed: false,
            images: BTreeMap::new(),
            resolve: false,
            programs: BTreeMap::new(),
        }
    }
}

/// The selection with its names found in the pipeline.
pub(super) struct Selected {
    /// By module: whether it is selected; all are where none is named.
    modules: Vec<bool>,
    narrows: bool,
    states: BTreeSet<TaskState>,
    /// By module: the states in which its tasks are tried again.
    pub(super) asked: Vec<BTreeSet<TaskState>>,
}

impl Selected {
    pub(super) fn of(request: &ReplayRequest, pipeline: &Pipeline) -> Result<Self, OperateError> {
        if let Some(state) = request.states.iter().find(|state| !state.is_settled() || **state == TaskState::Succeeded)
        {
            let reason = format!(
                "tasks that are {state} are not tried again: what succeeded is made anew when its inputs change; name failed, \
                 errored, upstream_failed, skipped, cancelled or superseded"
            );
            return Err(OperateError::new(ErrorKind::Invalid, reason));
        }
        let mut modules = vec![request.modules.is_empty(); pipeline.modules.len()];
        for name in &request.modules {
            modules[module_of(pipeline, name)?.at()] = true;
        }
        if request.downstream {
            for (index, module) in pipeline.indexed() {
                let is_below = |up: &ModuleIndex| modules[up.at()];
                modules[index.at()] = modules[index.at()] || module.upstream.iter().any(is_below);
            }
        }
        let mut tried: BTreeSet<TaskState> = request.states.clone();
        if request.failed {
            tried.extend([TaskState::Failed, TaskState::Errored]);
        }
        let asked = modules.iter().map(|is_meant| if *is_meant { tried.clone() } else { BTreeSet::new() }).collect();
        Ok(Self { modules, narrows: !request.modules.is_empty(), states: request.states.clone(), asked })
    }

    /// Whether a star is meant whose tasks ended so, and are marked so.
    pub(super) fn is_meant<T>(&self, states: &[Option<TaskState>], marks: &[Option<T>]) -> bool {
        let any = |is: &dyn Fn(usize) -> bool| (0..self.modules.len()).any(|at| self.modules[at] && is(at));
        let ended_so = |at: usize| states[at].is_some_and(|state| self.states.contains(&state));
        (!self.narrows || any(&|at| marks[at].is_some())) && (self.states.is_empty() || any(&ended_so))
    }
}
