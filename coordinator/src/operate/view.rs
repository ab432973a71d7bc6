//! What operators see of runs and stars: the store for what is over, the state for what goes on.
//!
//! Reads only. Everything here serializes as the command line and the API show it.

mod expected;
mod modules;
mod outside;
mod run;
mod star;
mod stored;

use std::collections::BTreeMap;

use domain::id::{
    Attempt, ClassName, Generation, GroupName, ModuleName, PipelineName, ProductName, Quarter, RunId, StarId,
    WorkerName,
};
use domain::outcome::{Outcome, Remarks};
use domain::run::TaskState;
pub use expected::Expected;
pub(crate) use expected::expected;
pub(super) use expected::to_do;
use jiff::Timestamp;
pub use modules::{EdgeKind, ModuleInRun, RunModules, UpstreamModule, modules, shown_states};
pub use outside::StarsOutside;
pub(crate) use outside::waits_for;
pub use run::{known_run, newest_run, newest_runs, run, runs, runs_after};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use star::star;
use store::runs::{Decision, StarEnd};

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RunPhase {
    /// It is in the store, and no coordinator took it up yet, or took it up again, or the state was lost.
    Accepted,
    /// Stars are admitted, tasks are claimed.
    Active,
    /// Nothing new is admitted or claimed.
    Paused,
    /// It is being cancelled.
    Cancelling,
    /// It has not ended, and the state, which knows how it goes on, is out of reach.
    Open,
    /// Every star is settled.
    Ended,
}

/// That no worker takes tasks of these classes; nothing where there are none.
pub fn unserved_words(classes: &[ClassName]) -> Option<String> {
    let names: Vec<&str> = classes.iter().map(ClassName::as_str).collect();
    (!names.is_empty()).then(|| format!("no worker has slots of class {}", names.join(", ")))
}

/// A run as a whole.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunSummary {
    /// The run.
    pub run: RunId,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// The pipeline's version.
    pub version: String,
    /// The quarter of its data.
    pub quarter: Quarter,
    /// The group that it is limited to.
    pub only_group: Option<GroupName>,
    /// Where it is.
    pub phase: RunPhase,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// When a task of it was settled last, while it goes on.
    pub moved: Option<Timestamp>,
    /// How many stars it has.
    pub stars: u32,
    /// Stars that were not admitted yet.
    pub to_come: u32,
    /// Stars that are admitted and not closed.
    pub in_flight: u32,
    /// That the state could not be asked, with the reason: all numbers are those of stars that the store has as settled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_only: Option<String>,
    /// Stars by how they ended; known when the run has ended, and of what the store alone tells.
    pub ends: BTreeMap<StarEnd, u64>,
    /// Tasks by state; queued ones with a live lease count as queued.
    pub tasks: BTreeMap<TaskState, u64>,
    /// Attempts that run now.
    pub running: u32,
    /// Tasks that are ready and not claimed, by class.
    pub ready: BTreeMap<ClassName, u64>,
    /// Classes of tasks that are to come and that no worker has slots of: they wait until one is started.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unserved: Vec<ClassName>,
    /// Modules that operators hold; their tasks are not handed out.
    pub held: Vec<ModuleName>,
    /// Tasks that are queued and not handed out for that.
    pub on_hold: u64,
    /// Stars that have not entered for the sake of their quarter before, by why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outside: Vec<StarsOutside>,
    /// How far it is, and when it may be done; while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
    /// What operators decided about it, oldest first; of one run alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decision>,
    /// Tasks by module, in topological order, and state.
    pub modules: Vec<ModuleSummary>,
}

/// The runs of a store.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AllRuns {
    /// Newest first.
    pub runs: Vec<RunSummary>,
    /// What cannot be read of others, a line each.
    pub damaged: Vec<String>,
}

/// A module in a run as a whole.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ModuleSummary {
    /// The module.
    pub module: ModuleName,
    /// Its tasks by state.
    pub tasks: BTreeMap<TaskState, u64>,
    /// How many of its results gave cause for remarks, as far as the state knows: one that was lost begins at nothing.
    #[serde(flatten)]
    pub remarks: Remarks,
}

/// A star to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneStar {
    /// The star.
    pub star: StarId,
    /// In this run; in the newest that has the star unless given.
    #[serde(default)]
    pub run: Option<RunId>,
}

/// A star in one run.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StarSummary {
    /// The star.
    pub star: StarId,
    /// The run.
    pub run: RunId,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// The quarter.
    pub quarter: Quarter,
    /// Whether it entered the run.
    pub admitted: bool,
    /// How it ended; `None` while it is in flight.
    pub end: Option<StarEnd>,
    /// Why it ended so, where its tasks do not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<String>,
    /// That the state could not be asked, with the reason: only tasks whose end is on record are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_only: Option<String>,
    /// The star file, relative to the store's root.
    pub file: Option<String>,
    /// The generation that the star file shows, where there is one.
    pub open: Option<Generation>,
    /// The newest generation; the star file shows another one while this is not whole, or an operator wants it so.
    pub newest: Option<Generation>,
    /// The generation that it settled with in this run.
    pub generation: Option<Generation>,
    /// Externals that it uses.
    pub externals: Vec<String>,
    /// Its tasks in topological order.
    pub tasks: Vec<TaskSummary>,
}

/// A task, and why it is as it is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TaskSummary {
    /// The module.
    pub module: ModuleName,
    /// The group that it is drawn in.
    pub group: String,
    /// Its state.
    pub state: TaskState,
    /// Whether a worker has it now.
    pub running: bool,
    /// Modules upstream: what it needs comes from them, or it waits for their end.
    pub upstream: Vec<ModuleName>,
    /// Modules upstream that are not settled.
    pub waits_for: Vec<ModuleName>,
    /// How its newest attempt ended, or why there was none.
    pub outcome: Option<Outcome>,
    /// One line for people: why it is in this state.
    pub reason: String,
    /// The newest attempt, counted from 1; 0 when it never ran.
    pub attempt: Attempt,
    /// The worker that has it, or had it last.
    pub worker: Option<WorkerName>,
    /// When the newest attempt began.
    pub started: Option<Timestamp>,
    /// When the next try of a task that waits is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// How long it took, or has run until now, in milliseconds.
    pub millis: u64,
    /// The last lines of its log, where it did not end well; the newest line, while it runs.
    pub log_tail: String,
    /// Products that it made.
    pub products: Vec<ProductName>,
    /// Optional products that it did not make, and gave no reason for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without_reason: Vec<ProductName>,
}
