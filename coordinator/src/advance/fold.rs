//! One star's news, folded into one change: what the core decides, in the words of the state.
//!
//! Pure.

use std::collections::BTreeMap;

use domain::id::{ModuleIndex, StarIndex};
use domain::pipeline::Pipeline;
use domain::run::{Action, Event, Graph, Ignored, Row, Star, TaskState, apply};
use services::state::{Change, Detail};

use crate::advance::verdict::outcome_of;

/// Something that happened to a star.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) event: Event,
    /// What became known of the event's task.
    pub(crate) detail: Option<Detail>,
}

/// What follows from a star's news.
#[derive(Debug)]
pub(crate) struct Folded {
    /// What to write; `None` when nothing changes.
    pub(crate) change: Option<Change>,
    /// Why steps changed nothing.
    pub(crate) ignored: Vec<Ignored>,
}

impl From<Event> for Step {
    fn from(event: Event) -> Self {
        Self { event, detail: None }
    }
}

/// Applies `steps` in their order to a star that is as `current` says.
pub(crate) fn fold(pipeline: &Pipeline, graph: &Graph, star: StarIndex, current: &Star, steps: &[Step]) -> Folded {
    let mut after = current.clone();
    let mut details: BTreeMap<ModuleIndex, Detail> = BTreeMap::new();
    let mut wait: BTreeMap<ModuleIndex, std::time::Duration> = BTreeMap::new();
    let mut ignored = Vec::new();
    let mut lease_lost = None;
    for step in steps {
        let actions = match apply(graph, &after, step.event) {
            Ok((next, actions)) => {
                after = next;
                actions
            }
            Err(reason) => {
                ignored.push(reason);
                continue;
            }
        };
        if let Event::LeaseLost { module, .. } = step.event {
            lease_lost = Some(module);
        }
        details.extend(module_of(step.event).zip(step.detail.clone()));
        for action in actions {
            match action {
                Action::Wait { module, delay } => drop(wait.insert(module, delay)),
                Action::Decided { module, cause } => {
                    let outcome = outcome_of(pipeline, &after.row, module, cause);
                    details.insert(module, without_attempt(outcome));
                }
                // Both are read from the row below: a later step may have taken them back.
                Action::Queue { .. } | Action::Close => {}
            }
        }
    }
    let changed = after != *current;
    let change = changed.then(|| Change {
        star,
        expected: current.row.clone(),
        queue: newly_queued(graph, current, &after),
        wait: wait.into_iter().filter(|(module, _)| state(&after.row, *module) == TaskState::Waiting).collect(),
        details: details.into_iter().collect(),
        admission: None,
        close: after.is_settled(),
        lease_lost,
        after,
    });
    Folded { change, ignored }
}

/// What is known of a task that was settled without an attempt.
pub(crate) fn without_attempt(outcome: domain::outcome::Outcome) -> Detail {
    Detail { outcome, attempt: 0, worker: None, started: None, millis: 0 }
}

/// Tasks that are queued with an attempt that they did not have before.
fn newly_queued(graph: &Graph, before: &Star, after: &Star) -> Vec<(ModuleIndex, u32)> {
    let queued = graph.modules().filter(|module| state(&after.row, *module) == TaskState::Queued);
    queued
        .map(|module| (module, after.attempt(module)))
        .filter(|(module, attempt)| before.attempt(*module) != *attempt)
        .collect()
}

fn state(row: &Row, module: ModuleIndex) -> TaskState {
    row.cell(module).state
}

fn module_of(event: Event) -> Option<ModuleIndex> {
    match event {
        Event::Ended { module, .. }
        | Event::LeaseLost { module, .. }
        | Event::GivenBack { module, .. }
        | Event::Due { module }
        | Event::Reopen { module } => Some(module),
        Event::Admit | Event::Withdraw | Event::Cancel | Event::Supersede => None,
    }
}

#[cfg(test)]
mod tests {
    use domain::outcome::{Outcome, PlatformError, PlatformErrorKind, Skip};
    use domain::pipeline::load;
    use domain::run::Verdict;

    use super::*;

    /// A → B → C.
    fn pipeline() -> Pipeline {
        let mut text =
            "name = 'P'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[classes.default]\ncpus = 1\nmemory = '1GB'\n"
                .to_owned();
        for (module, input) in [("A", ""), ("B", "'PA'"), ("C", "'PB'")] {
            text += &format!(
                "[modules.{module}]\nimage = 'i'\nclass = 'default'\ntime_limit = '1m'\n\
                 inputs.mandatory = [{input}]\noutputs.mandatory = ['P{module}']\n"
            );
        }
        load("p.toml", &text, None).unwrap()
    }

    fn check(current: &Star, steps: &[Step]) -> Folded {
        let pipeline = pipeline();
        fold(&pipeline, &pipeline.graph(), StarIndex(0), current, steps)
    }

    fn ended(module: u8, attempt: u32, verdict: Verdict) -> Event {
        Event::Ended { module: ModuleIndex(module), attempt, verdict }
    }

    fn fresh() -> Star {
        Star::fresh(&pipeline().graph())
    }

    fn admitted() -> Star {
        check(&fresh(), &[Event::Admit.into()]).change.unwrap().after
    }

    #[test]
    fn several_steps_are_one_change_with_what_is_queued_after_the_last() {
        let steps = [Event::Admit.into(), ended(0, 1, Verdict::Succeeded).into()];
        let change = check(&fresh(), &steps).change.unwrap();
        assert_eq!(change.expected, fresh().row);
        assert_eq!(change.queue, [(ModuleIndex(1), 1)], "A ran already");
        assert!(!change.close);
    }

    #[test]
    fn what_a_later_step_takes_back_is_not_queued() {
        let steps = [ended(0, 1, Verdict::Succeeded).into(), Event::Cancel.into()];
        let change = check(&admitted(), &steps).change.unwrap();
        assert!(change.queue.is_empty());
        assert!(change.close);
    }

    #[test]
    fn a_repeated_completion_changes_nothing_and_says_why() {
        let steps = [ended(0, 1, Verdict::Succeeded).into(), ended(0, 1, Verdict::Failed { again: false }).into()];
        let folded = check(&admitted(), &steps);
        assert_eq!(folded.ignored, [Ignored::Stale]);
        assert_eq!(folded.change.unwrap().after.row.cell(ModuleIndex(0)).state, TaskState::Succeeded);
        assert!(check(&admitted(), &[ended(0, 2, Verdict::Succeeded).into()]).change.is_none());
    }

    #[test]
    fn a_skip_is_recorded_with_its_reason_all_the_way_down() {
        let detail = without_attempt(Outcome::Skipped(Skip::MissingExternal { product: "X".to_owned() }));
        let step = Step { event: ended(0, 1, Verdict::Skipped), detail: Some(detail) };
        let change = check(&admitted(), &[step]).change.unwrap();
        assert!(change.close);
        let reasons: Vec<String> = change.details.iter().map(|(_, detail)| detail.outcome.to_string()).collect();
        assert_eq!(reasons, ["skipped (missing_external): X", "skipped (not_made): PA", "skipped (not_made): PB"]);
    }

    #[test]
    fn a_lost_lease_is_named_and_trouble_waits() {
        let lost = Event::LeaseLost { module: ModuleIndex(0), attempt: 1 };
        let change = check(&admitted(), &[lost.into()]).change.unwrap();
        assert_eq!((change.lease_lost, change.queue), (Some(ModuleIndex(0)), vec![(ModuleIndex(0), 2)]));
        let trouble = PlatformError { kind: PlatformErrorKind::Engine, message: String::new() };
        let step =
            Step { event: ended(0, 1, Verdict::Errored), detail: Some(without_attempt(Outcome::Errored(trouble))) };
        let change = check(&admitted(), &[step]).change.unwrap();
        assert!(change.queue.is_empty() && change.wait.len() == 1 && change.details.len() == 1);
    }
}
