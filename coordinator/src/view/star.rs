//! One star in one run: from the state while it is in flight, from its generation afterwards.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::{ModuleIndex, RunId, StarId, StarIndex};
use domain::outcome::{Outcome, Skip};
use domain::pipeline::Pipeline;
use domain::run::{Row, TaskState};
use jiff::Timestamp;
use services::state::{Phase, SharedState, StarView, StateError};
use store::agent::{Agent, AgentError, Manifest};
use store::runs::{RunRecord, SettledStar, StarEnd};
use store::{Store, paths};

use super::{StarSummary, TaskSummary, ViewError, pipeline_of, read, record};
use crate::runs::standing;
use crate::settle::end_of_row;

/// A star in one run; without a run in the newest that has it.
pub async fn star(
    store: &Store,
    state: &SharedState,
    agent: &mut Agent,
    run: Option<RunId>,
    star: StarId,
) -> Result<StarSummary, ViewError> {
    let (record, index) = place(store, run, star).await?;
    let pipeline = pipeline_of(store, &record)?;
    let name = record.pipeline.clone();
    let held = read(store, move |store| store.held(&name)).await?;
    let held = held.iter().filter_map(|held| pipeline.index_of(&held.module)).collect();
    let id = record.run;
    let is_paused = read(store, move |store| standing::read(store, id)).await?.phase == Phase::Paused;
    let mut known = Known { row: Row::fresh(pipeline.modules.len()), held, is_paused, ..Known::default() };
    let is_in_flight = match state.star(record.run, index).await {
        Ok(view) => known.take_view(view),
        Err(StateError::NoRun(_)) => false,
        Err(error) => return Err(error.into()),
    };
    if !is_in_flight {
        known.look_into_store(store, agent, &record, index, star).await?;
    }
    let file = paths::star_file(star, record.quarter);
    Ok(StarSummary {
        star,
        run: record.run,
        pipeline: record.pipeline.clone(),
        quarter: record.quarter,
        admitted: !known.row.is_fresh(),
        end: known.end,
        end_reason: known.end_reason.clone(),
        file: store.at(&file).exists().then(|| file.display().to_string()),
        generation: known.generation,
        tasks: pipeline.indexed().map(|(module, _)| known.task(&pipeline, module)).collect(),
        externals: known.externals,
    })
}

/// The run to show, and where the star is in it.
async fn place(store: &Store, run: Option<RunId>, star: StarId) -> Result<(RunRecord, StarIndex), ViewError> {
    if let Some(run) = run {
        let record = record(store, run).await?;
        let index = read(store, move |store| store.stars(run)?.position(star)).await?;
        return match index {
            Some(index) => Ok((record, index)),
            None => Err(ViewError::NotFound(format!("{star} is not a star of run {run}"))),
        };
    }
    match read(store, move |store| store.newest_run_of(star)).await? {
        Some((run, index)) => Ok((record(store, run).await?, index)),
        None => Err(ViewError::NotFound(format!("no run has star {star}"))),
    }
}

/// What is known of a star, wherever it comes from.
#[derive(Default)]
struct Known {
    row: Row,
    /// Modules that operators hold.
    held: BTreeSet<ModuleIndex>,
    /// Whether operators paused the run.
    is_paused: bool,
    tasks: BTreeMap<ModuleIndex, KnownTask>,
    externals: Vec<String>,
    end: Option<StarEnd>,
    end_reason: Option<String>,
    generation: Option<u32>,
}

#[derive(Default)]
struct KnownTask {
    outcome: Option<Outcome>,
    attempt: u32,
    worker: Option<String>,
    running: bool,
    started: Option<Timestamp>,
    millis: u64,
}

impl Known {
    /// Takes what the state says; whether the star is in flight, so that the state says everything.
    fn take_view(&mut self, view: StarView) -> bool {
        for module in (0..=u8::MAX).map(ModuleIndex).take(view.star.row.as_bytes().len()) {
            self.tasks.entry(module).or_default().attempt = view.star.attempt(module);
        }
        for (module, detail) in view.details {
            let task = self.tasks.entry(module).or_default();
            task.outcome = Some(detail.outcome);
            task.worker = detail.worker;
            task.started = detail.started;
            task.millis = detail.millis;
        }
        for (module, worker) in view.running {
            let task = self.tasks.entry(module).or_default();
            (task.running, task.worker) = (true, Some(worker));
        }
        self.row = view.star.row;
        let Some(admission) = view.admission else { return false };
        self.externals = admission.externals;
        true
    }

    /// Takes what the store says of a star that is closed: its generation of this run, else its line in the settled batches.
    async fn look_into_store(
        &mut self,
        store: &Store,
        agent: &mut Agent,
        record: &RunRecord,
        index: StarIndex,
        star: StarId,
    ) -> Result<(), ViewError> {
        let (run, quarter) = (record.run, record.quarter);
        let newest = read(store, move |store| store.latest_generation(star, quarter)).await?.unwrap_or(0);
        for number in (1..=newest).rev() {
            match agent.manifest(&store.at(paths::generation(star, quarter, number))).await {
                Ok(manifest) if manifest.generation.as_ref().is_some_and(|info| info.run == run) => {
                    self.take_generation(manifest);
                    return Ok(());
                }
                // Another run's, or one that cannot be read.
                Ok(_) | Err(AgentError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let line = read(store, move |store| store.settled_star(run, index)).await?;
        if let Some(SettledStar { row, end: Some(end), reason, .. }) = line
            && let Ok(row) = Row::from_bytes(row)
        {
            (self.row, self.end, self.end_reason) = (row, Some(end), reason);
            self.take_failures(store, record, star).await?;
        }
        Ok(())
    }

    /// Takes what is on record of failures of this run, where there is no generation that says more.
    async fn take_failures(&mut self, store: &Store, record: &RunRecord, star: StarId) -> Result<(), ViewError> {
        let (run, quarter) = (record.run, record.quarter);
        let pipeline = pipeline_of(store, record)?;
        let failures = read(store, move |store| store.failures(star, quarter)).await?;
        for failure in failures.into_iter().filter(|failure| failure.run == run) {
            let Some(module) = pipeline.index_of(&failure.module) else { continue };
            let task = KnownTask {
                outcome: Some(failure.outcome),
                attempt: failure.attempt,
                worker: Some(failure.worker),
                running: false,
                started: Some(failure.started),
                millis: failure.millis,
            };
            self.tasks.insert(module, task);
        }
        Ok(())
    }

    fn take_generation(&mut self, manifest: Manifest) {
        let Some(info) = manifest.generation else { return };
        let Ok(row) = Row::from_bytes(info.row) else { return };
        // A row that the state shows is newer: the star was opened again.
        if self.row.is_fresh() {
            self.row = row;
        }
        self.generation = Some(info.number);
        let files: BTreeSet<String> = manifest.externals.into_values().filter_map(|entry| entry.file).collect();
        self.externals = files.into_iter().collect();
        let mut missing = false;
        for (module, entry) in (0..=u8::MAX).map(ModuleIndex).zip(manifest.modules) {
            missing |= matches!(entry.outcome, Some(Outcome::Skipped(Skip::MissingExternal { .. })));
            let task = KnownTask {
                outcome: entry.outcome,
                attempt: entry.attempt,
                worker: entry.worker,
                running: false,
                started: entry.started,
                millis: entry.millis,
            };
            self.tasks.insert(module, task);
        }
        self.end = Some(end_of_row(&self.row, missing));
    }

    fn task(&self, pipeline: &Pipeline, module: ModuleIndex) -> TaskSummary {
        let definition = pipeline.module(module);
        let nothing = KnownTask::default();
        let known = self.tasks.get(&module).unwrap_or(&nothing);
        let state = self.row.cell(module).state;
        let open = definition.upstream.iter().filter(|up| !self.row.cell(**up).state.is_settled());
        let waits_for = match state {
            TaskState::Blocked => open.map(|up| pipeline.module(*up).name.clone()).collect(),
            TaskState::Queued
            | TaskState::Waiting
            | TaskState::Succeeded
            | TaskState::Failed
            | TaskState::Errored
            | TaskState::Skipped
            | TaskState::UpstreamFailed
            | TaskState::Cancelled
            | TaskState::Superseded => Vec::new(),
        };
        // What is known of a settled task may be of a try before it was opened again.
        let outcome =
            known.outcome.clone().filter(|outcome| !state.is_settled() || outcome.word() == state.to_string());
        TaskSummary {
            module: definition.name.clone(),
            group: definition.group.clone(),
            state,
            running: known.running,
            reason: self.reason(pipeline, module, known, outcome.as_ref()),
            waits_for,
            attempt: known.attempt,
            worker: known.worker.clone(),
            started: known.started,
            millis: known.millis,
            log_tail: match &outcome {
                Some(Outcome::Failed(failure)) => failure.log_tail.clone(),
                Some(
                    Outcome::Succeeded(_) | Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } | Outcome::Errored(_),
                )
                | None => String::new(),
            },
            products: match &outcome {
                Some(Outcome::Succeeded(success)) => success.products.keys().cloned().collect(),
                Some(
                    Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } | Outcome::Failed(_) | Outcome::Errored(_),
                )
                | None => Vec::new(),
            },
            outcome,
        }
    }

    /// One line: why a task is in its state.
    fn reason(&self, pipeline: &Pipeline, module: ModuleIndex, known: &KnownTask, outcome: Option<&Outcome>) -> String {
        let definition = pipeline.module(module);
        let before = outcome.map(|outcome| format!("; before: {outcome}")).unwrap_or_default();
        if let (TaskState::Skipped, Some(group)) = (self.row.cell(module).state, &definition.outside_of) {
            return Skip::NotOfGroup { group: group.clone() }.to_string();
        }
        match self.row.cell(module).state {
            TaskState::Blocked if self.row.is_fresh() => "the star did not enter the run yet".to_owned(),
            TaskState::Blocked => {
                let open = definition.upstream.iter().filter(|up| !self.row.cell(**up).state.is_settled());
                let names: Vec<&str> = open.map(|up| pipeline.module(*up).name.as_str()).collect();
                format!("waits for {}", names.join(", "))
            }
            TaskState::Queued if known.running => {
                let worker = known.worker.as_deref().unwrap_or("a worker");
                format!("attempt {} runs on {worker}{before}", known.attempt)
            }
            TaskState::Queued if self.held.contains(&module) => {
                format!("attempt {} waits until operators release {}{before}", known.attempt, definition.name)
            }
            TaskState::Queued if self.is_paused => {
                format!("attempt {} waits until the run is resumed{before}", known.attempt)
            }
            TaskState::Queued => {
                format!("attempt {} waits for a free slot of class {}{before}", known.attempt, definition.class)
            }
            TaskState::Waiting => format!("waits before attempt {}{before}", known.attempt + 1),
            TaskState::Cancelled => "an operator cancelled the run".to_owned(),
            TaskState::Superseded => "a newer run took the star over".to_owned(),
            state @ (TaskState::Succeeded
            | TaskState::Failed
            | TaskState::Errored
            | TaskState::Skipped
            | TaskState::UpstreamFailed) => {
                outcome.map_or_else(|| state.to_string().replace('_', " "), ToString::to_string)
            }
        }
    }
}
