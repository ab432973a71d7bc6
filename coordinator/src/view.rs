//! What operators see of runs and stars: the state for what is in flight, the store for what is over.
//!
//! Reads only. Everything here serializes as the command line and the API show it.

mod star;

use std::collections::{BTreeMap, BTreeSet};

use domain::id::{ClassName, ModuleIndex, ModuleName, PipelineName, ProductName, Quarter, RunId, StarId};
use domain::outcome::Outcome;
use domain::pipeline::Pipeline;
use domain::run::TaskState;
use jiff::Timestamp;
use serde::Serialize;
use services::state::{Phase, RunView, SharedState, StateError, WorkerInfo};
pub use star::star;
use store::agent::AgentError;
use store::runs::{Decision, RunEnd, RunRecord, StarEnd};
use store::{Store, StoreError, paths};

use crate::runs::standing;

/// Why there is nothing to see.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// It is not there.
    #[error("{0}")]
    NotFound(String),
    /// The state is out of reach.
    #[error(transparent)]
    State(#[from] StateError),
    /// The store is out of reach or damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A star file could not be read.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::Display)]
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
    /// Every star is settled.
    Ended,
}

/// A run as a whole.
#[derive(Debug, Clone, Serialize)]
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
    pub only_group: Option<String>,
    /// Where it is.
    pub phase: RunPhase,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How many stars it has.
    pub stars: u32,
    /// Stars that were not admitted yet.
    pub to_come: u32,
    /// Stars that are admitted and not closed.
    pub in_flight: u32,
    /// Stars by how they ended; known when the run has ended.
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
    /// What operators decided about it, oldest first; of one run alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decision>,
    /// Tasks by module, in topological order, and state.
    pub modules: Vec<ModuleSummary>,
}

/// A module in a run as a whole.
#[derive(Debug, Clone, Serialize)]
pub struct ModuleSummary {
    /// The module.
    pub module: ModuleName,
    /// Its tasks by state.
    pub tasks: BTreeMap<TaskState, u64>,
}

/// A star in one run.
#[derive(Debug, Clone, Serialize)]
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
    /// The newest star file, relative to the store's root.
    pub file: Option<String>,
    /// The generation that it settled with in this run.
    pub generation: Option<u32>,
    /// Externals that it uses.
    pub externals: Vec<String>,
    /// Its tasks in topological order.
    pub tasks: Vec<TaskSummary>,
}

/// A task, and why it is as it is.
#[derive(Debug, Clone, Serialize)]
pub struct TaskSummary {
    /// The module.
    pub module: ModuleName,
    /// The group that it is drawn in.
    pub group: String,
    /// Its state.
    pub state: TaskState,
    /// Whether a worker has it now.
    pub running: bool,
    /// Modules upstream that are not settled.
    pub waits_for: Vec<ModuleName>,
    /// How its newest attempt ended, or why there was none.
    pub outcome: Option<Outcome>,
    /// One line for people: why it is in this state.
    pub reason: String,
    /// The newest attempt, counted from 1; 0 when it never ran.
    pub attempt: u32,
    /// The worker that has it, or had it last.
    pub worker: Option<String>,
    /// When the newest attempt began.
    pub started: Option<Timestamp>,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// The last lines of its log, where it failed.
    pub log_tail: String,
    /// Products that it made.
    pub products: Vec<ProductName>,
}

/// All runs, newest first.
pub async fn runs(store: &Store, state: &SharedState) -> Result<Vec<RunSummary>, ViewError> {
    let mut summaries = Vec::new();
    let list = read(store, Store::list_runs).await?;
    for damaged in &list.damaged {
        tracing::warn!(error = %damaged, "the list of runs is not whole");
    }
    for listed in list.runs {
        summaries.push(match listed.end {
            Some(end) => shown(listed.record, None, Some(end), None, Vec::new()),
            None => summary(store, state, listed.record, None).await?,
        });
    }
    Ok(summaries)
}

/// One run.
pub async fn run(store: &Store, state: &SharedState, run: RunId) -> Result<RunSummary, ViewError> {
    let record = record(store, run).await?;
    let pipeline = pipeline_of(store, &record)?;
    let decisions = read(store, move |store| store.decisions(run)).await?;
    let summary = summary(store, state, record, Some(&pipeline)).await?;
    Ok(RunSummary { decisions: decisions.into_iter().map(|(_, decision)| decision).collect(), ..summary })
}

/// A run from the state while it is there, from its end in the store afterwards; `pipeline` gives the order of modules
/// of one that ended.
async fn summary(
    store: &Store,
    state: &SharedState,
    record: RunRecord,
    pipeline: Option<&Pipeline>,
) -> Result<RunSummary, ViewError> {
    let run = record.run;
    let view = state.run(run).await?;
    let end = if view.is_none() { read(store, move |store| end_of(store, run)).await? } else { None };
    let unserved = match &view {
        Some(view) if view.info.phase == Phase::Active => unserved(view, &state.workers().await?),
        Some(_) | None => Vec::new(),
    };
    Ok(shown(record, view, end, pipeline, unserved))
}

/// A run as it is shown.
fn shown(
    record: RunRecord,
    view: Option<RunView>,
    end: Option<RunEnd>,
    pipeline: Option<&Pipeline>,
    unserved: Vec<ClassName>,
) -> RunSummary {
    let phase = match (&view, &end) {
        (Some(view), _) => match view.info.phase {
            Phase::Active => RunPhase::Active,
            Phase::Paused => RunPhase::Paused,
            Phase::Cancelling => RunPhase::Cancelling,
        },
        (None, Some(_)) => RunPhase::Ended,
        (None, None) => RunPhase::Accepted,
    };
    let modules: Vec<ModuleSummary> = match (&view, &end) {
        (Some(view), _) => modules_in_flight(view),
        (None, Some(end)) => modules_at_end(end, pipeline),
        (None, None) => Vec::new(),
    };
    let mut tasks = BTreeMap::new();
    for (state, count) in modules.iter().flat_map(|module| &module.tasks) {
        *tasks.entry(*state).or_default() += count;
    }
    let to_come = match (&view, &end) {
        (Some(view), _) => view.info.stars.saturating_sub(view.info.cursor),
        (None, Some(_)) => 0,
        (None, None) => record.stars,
    };
    RunSummary {
        run: record.run,
        pipeline: record.pipeline,
        version: record.version,
        quarter: record.quarter,
        only_group: record.only_group,
        phase,
        accepted: record.accepted,
        ended: end.as_ref().map(|end| end.ended),
        stars: record.stars,
        to_come,
        in_flight: view.as_ref().map_or(0, |view| view.in_flight),
        ends: end.map(|end| end.stars).unwrap_or_default(),
        tasks,
        running: view.as_ref().map_or(0, |view| view.running),
        held: view.iter().flat_map(held_in).collect(),
        on_hold: view.as_ref().map_or(0, |view| view.on_hold),
        unserved,
        ready: view.map(|view| view.ready).unwrap_or_default(),
        decisions: Vec::new(),
        modules,
    }
}

/// Classes of tasks that are not settled, or may come with the first star, and that no worker serves.
fn unserved(view: &RunView, workers: &[WorkerInfo]) -> Vec<ClassName> {
    let is_served = |class: &ClassName| workers.iter().any(|worker| worker.slots.get(class).is_some_and(|n| *n > 0));
    let is_to_come = |module: ModuleIndex| {
        let states = view.counts.get(&module);
        view.info.cursor == 0 || states.into_iter().flatten().any(|(state, count)| *count > 0 && !state.is_settled())
    };
    let modules = (0..=u8::MAX).map(ModuleIndex).zip(&view.info.modules);
    let asked = modules.filter(|(index, _)| is_to_come(*index)).map(|(_, (_, class))| class);
    let unserved: BTreeSet<&ClassName> = asked.filter(|class| !is_served(class)).collect();
    unserved.into_iter().cloned().collect()
}

/// How a run ended, unless operators opened it again since.
fn end_of(store: &Store, run: RunId) -> Result<Option<RunEnd>, StoreError> {
    let end = store.run_end(run)?;
    Ok(if end.is_some() && standing::read(store, run)?.is_over { end } else { None })
}

fn held_in(view: &RunView) -> impl Iterator<Item = ModuleName> {
    view.info.held.iter().filter_map(|module| Some(view.info.modules.get(module.at())?.0.clone()))
}

fn modules_in_flight(view: &RunView) -> Vec<ModuleSummary> {
    let modules = (0..=u8::MAX).map(ModuleIndex).zip(&view.info.modules);
    modules
        .map(|(index, (module, _))| ModuleSummary {
            module: module.clone(),
            tasks: view.counts.get(&index).cloned().unwrap_or_default(),
        })
        .collect()
}

fn modules_at_end(end: &RunEnd, pipeline: Option<&Pipeline>) -> Vec<ModuleSummary> {
    let mut modules: Vec<ModuleSummary> = end
        .counts
        .iter()
        .map(|(module, tasks)| ModuleSummary { module: module.clone(), tasks: tasks.clone() })
        .collect();
    if let Some(pipeline) = pipeline {
        modules.sort_by_key(|summary| pipeline.index_of(&summary.module));
    }
    modules
}

async fn record(store: &Store, run: RunId) -> Result<RunRecord, ViewError> {
    let record = read(store, move |store| store.run(run)).await?;
    record.ok_or_else(|| ViewError::NotFound(format!("run {run} is not in the store")))
}

/// The pipeline of a run, as it was when the run was accepted; `record` has the definition's text.
fn pipeline_of(store: &Store, record: &RunRecord) -> Result<Pipeline, ViewError> {
    let path = store.at(paths::run(record.run)).join("pipeline.toml");
    Ok(record.load_pipeline().map_err(|mistakes| StoreError::Damaged { path, reason: mistakes.to_string() })?)
}

/// Reads from the store where it disturbs nobody.
async fn read<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ViewError> {
    let store = store.clone();
    match tokio::task::spawn_blocking(move || work(&store)).await {
        Ok(done) => Ok(done?),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => std::future::pending().await,
    }
}
