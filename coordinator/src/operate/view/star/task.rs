//! A task of a star as it is shown, and why it is as it is. Pure.

use domain::id::{ModuleIndex, ProductName, WorkerName};
use domain::outcome::{Outcome, Skip};
use domain::pipeline::Pipeline;
use domain::run::TaskState;
use domain::text::moment;

use super::facts::{StarFacts, TaskFacts};
use crate::operate::view::TaskSummary;

impl StarFacts {
    /// A task as it is shown.
    pub(super) fn task(&self, pipeline: &Pipeline, module: ModuleIndex) -> TaskSummary {
        let definition = pipeline.module(module);
        let nothing = TaskFacts::default();
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
        let outcome = known.outcome.clone().filter(|outcome| !state.is_settled() || outcome.state() == state);
        TaskSummary {
            module: definition.name.clone(),
            group: definition.group.as_ref().map(ToString::to_string).unwrap_or_default(),
            state,
            running: known.running,
            reason: self.reason(pipeline, module, known, outcome.as_ref()),
            upstream: definition.upstream.iter().map(|up| pipeline.module(*up).name.clone()).collect(),
            waits_for,
            attempt: known.attempt,
            worker: known.worker.clone(),
            started: known.started,
            due: known.due.filter(|_| state == TaskState::Waiting),
            millis: known.millis,
            log_tail: match &outcome {
                _ if known.running => known.last_line.clone(),
                Some(Outcome::Failed(failure)) => failure.log_tail.clone(),
                Some(Outcome::Errored(error)) => error.log_tail.clone(),
                Some(Outcome::Succeeded(_) | Outcome::Skipped(_) | Outcome::UpstreamFailed { .. }) | None => {
                    String::new()
                }
            },
            products: match &outcome {
                Some(Outcome::Succeeded(success)) => success.products.keys().cloned().collect(),
                Some(
                    Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } | Outcome::Failed(_) | Outcome::Errored(_),
                )
                | None => Vec::new(),
            },
            without_reason: match &outcome {
                Some(Outcome::Succeeded(success)) => {
                    let is_unmade = |product: &&ProductName| {
                        !success.products.contains_key(*product) && !success.not_made.contains_key(*product)
                    };
                    definition.outputs.optional.iter().filter(is_unmade).cloned().collect()
                }
                Some(
                    Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } | Outcome::Failed(_) | Outcome::Errored(_),
                )
                | None => Vec::new(),
            },
            outcome,
        }
    }

    /// One line: why a task is in its state.
    fn reason(&self, pipeline: &Pipeline, module: ModuleIndex, known: &TaskFacts, outcome: Option<&Outcome>) -> String {
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
                let worker = known.worker.as_ref().map(WorkerName::as_str).unwrap_or("a worker");
                let since = known.started.map(|at| format!(" since {}", moment(at))).unwrap_or_default();
                format!("attempt {} runs on {worker}{since}{before}", known.attempt)
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
            TaskState::Waiting => {
                let due = known.due.map(|at| format!(", due {}", moment(at))).unwrap_or_default();
                format!("waits before attempt {}{due}{before}", known.attempt.next())
            }
            TaskState::Cancelled => "an operator cancelled it".to_owned(),
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

#[cfg(test)]
mod tests {
    use domain::id::Attempt;
    use domain::pipeline;
    use domain::run::{Cell, Row};
    use jiff::Timestamp;

    use super::*;

    const PIPELINE: &str = "name = 'P'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[externals]\nstar = ['DP1']\n\
        [classes.default]\ncpus = 1\nmemory = '256MB'\n\
        [modules.A]\nimage = 'i'\ninputs.mandatory = ['DP1']\noutputs.mandatory = ['X']\n\
        [modules.B]\nimage = 'i'\ninputs.mandatory = ['X']\noutputs.mandatory = ['Y']\n";

    /// Why A, in this state, and B, blocked, are as they are.
    fn check(state: TaskState, change: impl FnOnce(&mut StarFacts), expected: [&str; 2]) {
        let pipeline = pipeline::load("p.toml", PIPELINE, None).unwrap();
        let mut facts = StarFacts { row: Row::fresh(2), ..StarFacts::default() };
        facts.row.set(ModuleIndex(0), Cell { state, ..facts.row.cell(ModuleIndex(0)) });
        facts.tasks.insert(ModuleIndex(0), TaskFacts { attempt: Attempt(2), ..TaskFacts::default() });
        change(&mut facts);
        assert_eq!([0, 1].map(|module| facts.task(&pipeline, ModuleIndex(module)).reason), expected, "{state}");
    }

    #[test]
    fn every_task_says_why_it_is_as_it_is() {
        let below = "waits for A";
        check(TaskState::Queued, |_| (), ["attempt 2 waits for a free slot of class default", below]);
        check(TaskState::Queued, |star| star.is_paused = true, ["attempt 2 waits until the run is resumed", below]);
        let hold = |star: &mut StarFacts| star.held = [ModuleIndex(0)].into();
        check(TaskState::Queued, hold, ["attempt 2 waits until operators release A", below]);
        let run = |star: &mut StarFacts| star.tasks.values_mut().for_each(|task| task.running = true);
        check(TaskState::Queued, run, ["attempt 2 runs on a worker", below]);
        let known = |star: &mut StarFacts| {
            for task in star.tasks.values_mut() {
                (task.started, task.due, task.running) =
                    (Some(Timestamp::UNIX_EPOCH), Some(Timestamp::UNIX_EPOCH), true);
            }
        };
        check(TaskState::Queued, known, ["attempt 2 runs on a worker since 1970-01-01T00:00:00Z", below]);
        check(TaskState::Waiting, |_| (), ["waits before attempt 3", below]);
        check(TaskState::Waiting, known, ["waits before attempt 3, due 1970-01-01T00:00:00Z", below]);
        check(TaskState::Cancelled, |_| (), ["an operator cancelled it", "waits for "]);
        check(TaskState::Blocked, |_| (), ["the star did not enter the run yet"; 2]);
        // What was found out about a try before does not explain the state after it.
        let before = |star: &mut StarFacts| {
            star.tasks.entry(ModuleIndex(0)).or_default().outcome = Some(Outcome::Skipped(Skip::Disabled));
        };
        check(TaskState::Failed, before, ["failed", "waits for "]);
    }
}
