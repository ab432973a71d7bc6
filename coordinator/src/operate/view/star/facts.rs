//! What is known of a star, gathered from wherever it comes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::{Attempt, Generation, ModuleIndex, WorkerName};
use domain::outcome::{Outcome, Skip};
use domain::pipeline::Pipeline;
use domain::run::{Cell, Row};
use jiff::Timestamp;
use services::state::{RunningAttempt, StarView};
use store::agent::Manifest;
use store::failures::FailureRecord;
use store::runs::{SettledStar, StarEnd};

/// What is known of a star, wherever it comes from.
#[derive(Default)]
pub(super) struct StarFacts {
    pub(super) row: Row,
    /// Modules that operators hold.
    pub(super) held: BTreeSet<ModuleIndex>,
    /// Whether operators paused the run.
    pub(super) is_paused: bool,
    pub(super) tasks: BTreeMap<ModuleIndex, TaskFacts>,
    pub(super) externals: Vec<String>,
    pub(super) end: Option<StarEnd>,
    pub(super) end_reason: Option<String>,
    pub(super) generation: Option<Generation>,
}

#[derive(Default)]
pub(super) struct TaskFacts {
    pub(super) outcome: Option<Outcome>,
    pub(super) attempt: Attempt,
    pub(super) worker: Option<WorkerName>,
    pub(super) running: bool,
    pub(super) started: Option<Timestamp>,
    /// When the next try is due.
    pub(super) due: Option<Timestamp>,
    pub(super) millis: u64,
    /// The newest line of the log, while it runs.
    pub(super) last_line: String,
}

impl StarFacts {
    /// Takes what the state says; whether the star is in flight, so that the state says everything.
    pub(super) fn take_view(&mut self, view: StarView, now: Timestamp) -> bool {
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
        for (module, running) in view.running {
            let task = self.tasks.entry(module).or_default();
            (task.running, task.worker, task.started) = (true, Some(running.worker), running.since);
            let so_far = running.since.map_or(0, |since| now.duration_since(since).as_millis());
            task.millis = u64::try_from(so_far).unwrap_or(0);
        }
        for (module, due) in view.due {
            self.tasks.entry(module).or_default().due = Some(due);
        }
        self.row = view.star.row;
        let Some(admission) = view.admission else { return false };
        self.externals = admission.externals;
        true
    }

    /// Takes the newest lines of what runs, as workers show them.
    pub(super) fn take_attempts(&mut self, pipeline: &Pipeline, shown: impl Iterator<Item = RunningAttempt>) {
        for attempt in shown {
            let task = pipeline.index_of(&attempt.module).and_then(|module| self.tasks.get_mut(&module));
            if let Some(task) = task.filter(|task| task.running && task.attempt == attempt.attempt) {
                task.last_line = attempt.last_line;
            }
        }
    }

    /// Takes what the settled batches say of a star that is closed; whether that can be read.
    pub(super) fn take_line(&mut self, line: SettledStar) -> bool {
        let Ok(row) = Row::from_bytes(line.row) else { return false };
        (self.row, self.end, self.end_reason) = (row, line.end, line.reason);
        true
    }

    /// Takes what is on record of a task that failed; where nothing else is known of it, it ended so.
    pub(super) fn take_failure(&mut self, module: ModuleIndex, failure: FailureRecord) {
        let cell = self.row.cell(module);
        if self.end.is_none() && !cell.state.is_settled() {
            self.row.set(module, Cell { state: failure.outcome.state(), ..cell });
        }
        let task = TaskFacts {
            outcome: Some(failure.outcome),
            attempt: failure.attempt,
            worker: Some(failure.worker),
            running: false,
            started: Some(failure.started),
            due: None,
            millis: failure.millis,
            last_line: String::new(),
        };
        self.tasks.insert(module, task);
    }

    /// Takes what a star file says.
    pub(super) fn take_generation(&mut self, manifest: Manifest) {
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
            let task = TaskFacts {
                outcome: entry.outcome,
                attempt: entry.attempt,
                worker: entry.worker,
                running: false,
                started: entry.started,
                due: None,
                millis: entry.millis,
                last_line: String::new(),
            };
            self.tasks.insert(module, task);
        }
        self.end = Some(StarEnd::of_row(&self.row, missing));
    }
}
