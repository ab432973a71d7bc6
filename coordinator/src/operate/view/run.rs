//! Runs as a whole: from their end in the store, or from the state while they go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::error::chain;
use domain::id::{ClassName, ModuleIndex, ModuleName, RunId};
use domain::pipeline::Pipeline;
use jiff::Timestamp;
use services::state::{Phase, RunView, WorkerInfo};
use store::course::Course;
use store::runs::{Decision, RunEnd, RunList, RunRank, RunRecord};
use store::{Store, StoreError};

use super::expected::expected;
use super::{AllRuns, ModuleSummary, RunPhase, RunSummary, StarsOutside, stored};
use crate::operate::look_up::{self, end_of};
use crate::operate::{Context, ErrorKind, OperateError};

/// All runs, newest first; one that is damaged keeps no other from being seen.
pub async fn runs(context: &Context) -> Result<AllRuns, OperateError> {
    newest_runs(context, usize::MAX).await
}

/// So many of the newest runs, newest first; older ones are not read.
pub async fn newest_runs(context: &Context, most: usize) -> Result<AllRuns, OperateError> {
    let list = context.ask(move |store| look_up::runs(store, most)).await?;
    summaries(context, list).await
}

async fn summaries(context: &Context, list: RunList) -> Result<AllRuns, OperateError> {
    let mut all = AllRuns { runs: Vec::new(), damaged: list.damaged.iter().map(|error| chain(error)).collect() };
    let mut away = None;
    for listed in list.runs {
        match known(context, listed.record, listed.end, None, &mut away).await {
            Ok(summary) => all.runs.push(summary),
            Err(error) if error.kind == ErrorKind::Failed => all.damaged.push(error.message),
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// So many runs after this one in the list of all, newest first; the place of the last one where there are more.
pub async fn runs_after(
    context: &Context,
    most: usize,
    after: Option<RunRank>,
) -> Result<(AllRuns, Option<RunRank>), OperateError> {
    let list = context.ask(move |store| look_up::runs_after(store, most + 1, after)).await?;
    let more = list.runs.len() > most;
    let mut list = list;
    list.runs.truncate(most);
    let last = list.runs.last().map(|last| RunRank { horizon: last.record.horizon, run: last.record.run });
    Ok((summaries(context, list).await?, last.filter(|_| more)))
}

/// One run, whether the state can be asked or not: where it cannot, what the store has of it.
pub async fn known_run(context: &Context, run: RunId) -> Result<RunSummary, OperateError> {
    let RunOnRecord { course, end, decisions } = on_record(context, run).await?;
    let summary = known(context, course.record.clone(), end, Some(&*course.pipeline), &mut None).await?;
    Ok(RunSummary { decisions, ..summary })
}

/// One run as it goes on; an error where the state that knows it is out of reach.
pub async fn run(context: &Context, run: RunId) -> Result<RunSummary, OperateError> {
    let RunOnRecord { course, end, decisions } = on_record(context, run).await?;
    let summary = summary(context, course.record.clone(), end, Some(&*course.pipeline)).await?;
    Ok(RunSummary { decisions, ..summary })
}

/// What the store has of one run.
struct RunOnRecord {
    course: Arc<Course>,
    end: Option<RunEnd>,
    decisions: Vec<Decision>,
}

async fn on_record(context: &Context, run: RunId) -> Result<RunOnRecord, OperateError> {
    let course = context.course(run).await?;
    let look = move |store: &Store| Ok::<_, StoreError>((end_of(store, run)?, store.decisions(run)?));
    let (end, decisions) = context.ask(look).await?;
    Ok(RunOnRecord { course, end, decisions: decisions.into_iter().map(|(_, decision)| decision).collect() })
}

/// The newest run.
pub async fn newest_run(context: &Context) -> Result<RunId, OperateError> {
    context
        .ask(look_up::newest_run)
        .await?
        .ok_or_else(|| OperateError::not_found("the store has no run; publish an event with `sas ingest --publish`"))
}

/// A run, from the store alone where the state cannot be asked; why not is kept in `away`, so that of many runs one waits.
async fn known(
    context: &Context,
    record: RunRecord,
    end: Option<RunEnd>,
    pipeline: Option<&Pipeline>,
    away: &mut Option<String>,
) -> Result<RunSummary, OperateError> {
    if end.is_none() && away.is_none() {
        *away = context.installation.state().await.err().map(|error| error.message);
    }
    if let (None, Some(reason)) = (&end, &away) {
        return stored::run(context, record, RunPhase::Open, reason).await;
    }
    match summary(context, record.clone(), end, pipeline).await {
        Ok(summary) if summary.phase == RunPhase::Accepted => {
            stored::run(context, record, RunPhase::Accepted, "Redis does not have the run").await
        }
        Err(error) if error.kind == ErrorKind::OutOfReach => {
            let reason = away.insert(error.message);
            stored::run(context, record, RunPhase::Open, reason).await
        }
        answer => answer,
    }
}

/// A run from its end, if it is over, so that this needs no state; `pipeline` gives the order of modules of one that ended.
async fn summary(
    context: &Context,
    record: RunRecord,
    end: Option<RunEnd>,
    pipeline: Option<&Pipeline>,
) -> Result<RunSummary, OperateError> {
    if let Some(end) = end {
        return Ok(RunSummary::ended(record, end, pipeline));
    }
    let run = record.run;
    let state = context.installation.state().await?;
    if let Some(view) = state.run(run).await? {
        let workers = state.workers().await?;
        let outside = context.ask(move |store| StarsOutside::of(store, run)).await?;
        return Ok(RunSummary { outside, ..RunSummary::in_flight(record, view, &workers) });
    }
    // It may have ended in between.
    Ok(match context.ask(move |store| end_of(store, run)).await? {
        Some(end) => RunSummary::ended(record, end, pipeline),
        None => RunSummary { to_come: record.stars, ..RunSummary::of(record, RunPhase::Accepted) },
    })
}

impl RunSummary {
    /// What the record says.
    pub(super) fn of(record: RunRecord, phase: RunPhase) -> Self {
        Self {
            run: record.run,
            pipeline: record.pipeline,
            version: record.version,
            quarter: record.quarter,
            only_group: record.only_group,
            phase,
            accepted: record.accepted,
            ended: None,
            stars: record.stars,
            to_come: 0,
            in_flight: 0,
            stored_only: None,
            ends: BTreeMap::new(),
            tasks: BTreeMap::new(),
            running: 0,
            ready: BTreeMap::new(),
            unserved: Vec::new(),
            held: Vec::new(),
            on_hold: 0,
            outside: Vec::new(),
            expected: None,
            moved: None,
            decisions: Vec::new(),
            modules: Vec::new(),
        }
    }

    fn in_flight(record: RunRecord, view: RunView, workers: &[WorkerInfo]) -> Self {
        let phase = match view.info.phase {
            Phase::Active => RunPhase::Active,
            Phase::Paused => RunPhase::Paused,
            Phase::Cancelling => RunPhase::Cancelling,
        };
        let summary = Self {
            to_come: view.to_come(),
            in_flight: view.in_flight,
            running: view.running,
            held: held_in(&view).collect(),
            on_hold: view.on_hold,
            expected: Some(expected(&view, workers, Timestamp::now())),
            moved: view.moved,
            unserved: if phase == RunPhase::Active { unserved(&view, workers) } else { Vec::new() },
            ..Self::of(record, phase)
        };
        let modules = modules_in_flight(&view);
        Self { ready: view.ready, ..summary.with_modules(modules) }
    }

    fn ended(record: RunRecord, end: RunEnd, pipeline: Option<&Pipeline>) -> Self {
        let modules = modules_at_end(&end, pipeline);
        let summary = Self { ended: Some(end.ended), ends: end.stars, ..Self::of(record, RunPhase::Ended) };
        summary.with_modules(modules)
    }

    pub(super) fn with_modules(mut self, modules: Vec<ModuleSummary>) -> Self {
        for (state, count) in modules.iter().flat_map(|module| &module.tasks) {
            *self.tasks.entry(*state).or_default() += count;
        }
        Self { modules, ..self }
    }
}

/// Classes of tasks that are not settled, or may come with the first star, and that no worker serves.
fn unserved(view: &RunView, workers: &[WorkerInfo]) -> Vec<ClassName> {
    let serves =
        |worker: &WorkerInfo, class: &ClassName| !worker.drained && worker.slots.get(class).is_some_and(|n| *n > 0);
    let is_served = |class: &ClassName| workers.iter().any(|worker| serves(worker, class));
    let is_to_come = |module: ModuleIndex| {
        let states = view.counts.get(&module);
        view.info.cursor == 0 || states.into_iter().flatten().any(|(state, count)| *count > 0 && !state.is_settled())
    };
    let modules = (0..=u8::MAX).map(ModuleIndex).zip(&view.info.modules);
    let asked = modules.filter(|(index, _)| is_to_come(*index)).map(|(_, (_, class))| class);
    let unserved: BTreeSet<&ClassName> = asked.filter(|class| !is_served(class)).collect();
    unserved.into_iter().cloned().collect()
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
            remarks: view.spent.get(&index).map(|spent| spent.remarks).unwrap_or_default(),
        })
        .collect()
}

fn modules_at_end(end: &RunEnd, pipeline: Option<&Pipeline>) -> Vec<ModuleSummary> {
    let mut modules: Vec<ModuleSummary> = end
        .counts
        .iter()
        .map(|(module, tasks)| ModuleSummary {
            module: module.clone(),
            tasks: tasks.clone(),
            remarks: end.remarks.get(module).copied().unwrap_or_default(),
        })
        .collect();
    if let Some(pipeline) = pipeline {
        modules.sort_by_key(|summary| pipeline.index_of(&summary.module));
    }
    modules
}
