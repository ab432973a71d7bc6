//! One star's news as one change: what the core says, in the words of the state.
//!
//! Pure. What follows from events is the core's to say (`domain::run::advance`); nothing of it is computed here.

use std::collections::BTreeMap;

use domain::id::{Attempt, ModuleIndex, StarIndex};
use domain::pipeline::Pipeline;
use domain::run::{Event, Graph, Ignored, Star, advance};
use services::state::{Change, ClaimedTask, Detail};

use crate::advance::verdict::outcome_of;

/// Something that happened to a star.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) event: Event,
    /// What became known of the event's task.
    pub(crate) detail: Option<Detail>,
    /// The claim of who says so; none where nobody needs one.
    pub(crate) claim: Option<ClaimedTask>,
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
        Self { event, detail: None, claim: None }
    }
}

/// What follows from `steps` in their order for a star that is as `current` says.
pub(crate) fn fold(pipeline: &Pipeline, graph: &Graph, star: StarIndex, current: &Star, steps: &[Step]) -> Folded {
    let events: Vec<Event> = steps.iter().map(|step| step.event).collect();
    let advanced = advance(graph, current, &events);
    let ignored = advanced.ignored.values().copied().collect();
    if !advanced.changed {
        return Folded { change: None, ignored };
    }
    let mut details: BTreeMap<ModuleIndex, Detail> = BTreeMap::new();
    let mut claimed = Vec::new();
    for (_, step) in steps.iter().enumerate().filter(|(at, _)| !advanced.ignored.contains_key(at)) {
        details.extend(module_of(step.event).zip(step.detail.clone()));
        claimed.extend(step.claim);
    }
    for (module, cause) in advanced.decided {
        details.insert(module, without_attempt(outcome_of(pipeline, &advanced.star.row, module, cause)));
    }
    let change = Change {
        star,
        expected: current.clone(),
        after: advanced.star,
        queue: advanced.queued.into_iter().collect(),
        wait: advanced.waits.into_iter().collect(),
        details: details.into_iter().collect(),
        admission: None,
        close: advanced.closes,
        lease_lost: advanced.lease_lost,
        claimed,
    };
    Folded { change: Some(change), ignored }
}

/// What is known of a task that was settled without an attempt.
pub(crate) fn without_attempt(outcome: domain::outcome::Outcome) -> Detail {
    Detail { outcome, attempt: Attempt(0), worker: None, started: None, millis: 0 }
}

fn module_of(event: Event) -> Option<ModuleIndex> {
    match event {
        Event::Ended { module, .. }
        | Event::LeaseLost { module, .. }
        | Event::GivenBack { module, .. }
        | Event::Due { module }
        | Event::Reopen { module }
        | Event::CancelTask { module } => Some(module),
        Event::Admit | Event::Withdraw | Event::Cancel | Event::Supersede => None,
    }
}

#[cfg(test)]
mod tests {
    use domain::outcome::{Outcome, PlatformError, PlatformErrorKind, Skip};
    use domain::pipeline::load;
    use domain::run::{TaskState, Verdict};

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
        Event::Ended { module: ModuleIndex(module), attempt: Attempt(attempt), verdict }
    }

    fn fresh() -> Star {
        Star::fresh(&pipeline().graph())
    }

    fn admitted() -> Star {
        check(&fresh(), &[Event::Admit.into()]).change.unwrap().after
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
        let step = Step { event: ended(0, 1, Verdict::Skipped), detail: Some(detail), claim: None };
        let change = check(&admitted(), &[step]).change.unwrap();
        assert!(change.close);
        let reasons: Vec<String> = change.details.iter().map(|(_, detail)| detail.outcome.to_string()).collect();
        assert_eq!(reasons, ["skipped (missing_external): X", "skipped (not_made): PA", "skipped (not_made): PB"]);
    }

    #[test]
    fn a_change_says_what_the_core_says() {
        let steps = [Event::Admit.into(), ended(0, 1, Verdict::Succeeded).into()];
        let change = check(&fresh(), &steps).change.unwrap();
        assert_eq!(change.expected, fresh());
        assert_eq!((change.queue, change.close), (vec![(ModuleIndex(1), Attempt(1))], false));
        let change = check(&change.after, &[Event::Cancel.into()]).change.unwrap();
        assert!(change.queue.is_empty() && change.close);
    }

    #[test]
    fn a_lost_lease_is_named_and_trouble_waits() {
        let lost = Event::LeaseLost { module: ModuleIndex(0), attempt: Attempt(1) };
        let change = check(&admitted(), &[lost.into()]).change.unwrap();
        assert_eq!((change.lease_lost, change.queue), (Some(ModuleIndex(0)), vec![(ModuleIndex(0), Attempt(2))]));
        let trouble = PlatformError::new(PlatformErrorKind::Engine, "");
        let detail = Some(without_attempt(Outcome::Errored(trouble)));
        let step = Step { event: ended(0, 1, Verdict::Errored), detail, claim: None };
        let change = check(&admitted(), &[step]).change.unwrap();
        assert!(change.queue.is_empty() && change.wait.len() == 1 && change.details.len() == 1);
    }
}
