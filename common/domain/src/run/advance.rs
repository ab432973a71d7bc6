//! Several events in their order, and what stands after the last of them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::rule::Cause;
use super::step::{Action, apply};
use super::{Event, Graph, Ignored, Star};
use crate::id::{Attempt, ModuleIndex};

/// What follows from a list of events. What a later event took back is not in here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advanced {
    /// The star after the last event.
    pub star: Star,
    /// Whether it is another than before.
    pub changed: bool,
    /// Tasks whose message is to be published, with the attempt that it is about.
    pub queued: BTreeMap<ModuleIndex, Attempt>,
    /// Tasks to which [`Event::Due`] is to be sent after this delay.
    pub waits: BTreeMap<ModuleIndex, Duration>,
    /// Tasks that were settled without running, and why.
    pub decided: BTreeMap<ModuleIndex, Cause>,
    /// Every task of the star is settled by these events: its star file is to be built.
    pub closes: bool,
    /// The task whose lost lease the change rests on; of several the last one.
    pub lease_lost: Option<ModuleIndex>,
    /// The events that changed nothing by their position in the list, and why.
    pub ignored: BTreeMap<usize, Ignored>,
}

/// What follows when `events` happen to `star` one after the other.
pub fn advance(graph: &Graph, star: &Star, events: &[Event]) -> Advanced {
    let mut advanced = Advanced {
        star: star.clone(),
        changed: false,
        queued: BTreeMap::new(),
        waits: BTreeMap::new(),
        decided: BTreeMap::new(),
        closes: false,
        lease_lost: None,
        ignored: BTreeMap::new(),
    };
    for (at, event) in events.iter().enumerate() {
        match apply(graph, &advanced.star, *event) {
            Ok((next, actions)) => advanced.take(graph, *event, next, actions),
            Err(reason) => drop(advanced.ignored.insert(at, reason)),
        }
    }
    advanced.changed = advanced.star != *star;
    advanced
}

impl Advanced {
    /// Goes one event on.
    fn take(&mut self, graph: &Graph, event: Event, next: Star, actions: Vec<Action>) {
        // What followed earlier for a task holds no more once its cell is another.
        for module in graph.modules().filter(|module| self.star.row.cell(*module) != next.row.cell(*module)) {
            self.queued.remove(&module);
            self.waits.remove(&module);
            self.decided.remove(&module);
        }
        self.star = next;
        self.closes = false;
        if let Event::LeaseLost { module, .. } = event {
            self.lease_lost = Some(module);
        }
        for action in actions {
            match action {
                Action::Queue { module, attempt } => drop(self.queued.insert(module, attempt)),
                Action::Wait { module, delay } => drop(self.waits.insert(module, delay)),
                Action::Decided { module, cause } => drop(self.decided.insert(module, cause)),
                Action::Close => self.closes = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Formula, StateNeeds};
    use crate::run::{Node, Retry, Rule, TaskState, Verdict};

    /// A → B → C, each with three tries.
    fn graph() -> Graph {
        let node = |upstream: Option<u8>| {
            let upstream: Vec<ModuleIndex> = upstream.map(ModuleIndex).into_iter().collect();
            let needs = StateNeeds { run_if: None::<Formula>, mandatory: upstream.clone() };
            let retry = Retry { max_attempts: 3, backoff: Duration::from_secs(30) };
            Node { upstream, rule: Rule::Contract(needs), enabled: true, retry }
        };
        Graph { nodes: vec![node(None), node(Some(0)), node(Some(1))] }
    }

    fn fresh() -> Star {
        Star::fresh(&graph())
    }

    fn admitted() -> Star {
        check(&fresh(), &[Event::Admit]).star
    }

    fn check(star: &Star, events: &[Event]) -> Advanced {
        advance(&graph(), star, events)
    }

    fn ended(module: u8, attempt: u32, verdict: Verdict) -> Event {
        Event::Ended { module: ModuleIndex(module), attempt: Attempt(attempt), verdict }
    }

    #[test]
    fn several_events_are_one_change_with_what_is_queued_after_the_last() {
        let advanced = check(&fresh(), &[Event::Admit, ended(0, 1, Verdict::Succeeded)]);
        assert_eq!(advanced.queued, [(ModuleIndex(1), Attempt(1))].into(), "A ran already");
        assert!(advanced.changed && !advanced.closes);
    }

    #[test]
    fn what_a_later_event_takes_back_does_not_follow() {
        let advanced = check(&admitted(), &[ended(0, 1, Verdict::Succeeded), Event::Cancel]);
        assert!(advanced.queued.is_empty() && advanced.closes);
        let waits = [ended(0, 1, Verdict::Failed { again: true }), Event::Due { module: ModuleIndex(0) }];
        let advanced = check(&admitted(), &waits);
        assert!(advanced.waits.is_empty());
        assert_eq!(advanced.queued, [(ModuleIndex(0), Attempt(2))].into());
        let reopened = [ended(0, 1, Verdict::Failed { again: false }), Event::Reopen { module: ModuleIndex(0) }];
        let advanced = check(&admitted(), &reopened);
        assert!(advanced.decided.is_empty() && !advanced.closes, "{advanced:?}");
    }

    #[test]
    fn a_repeated_completion_changes_nothing_and_is_named_by_its_position() {
        let twice = [ended(0, 1, Verdict::Succeeded), ended(0, 1, Verdict::Failed { again: false })];
        let advanced = check(&admitted(), &twice);
        assert_eq!(advanced.ignored, [(1, Ignored::Stale)].into());
        assert_eq!(advanced.star.row.cell(ModuleIndex(0)).state, TaskState::Succeeded);
        assert!(!check(&admitted(), &[ended(0, 2, Verdict::Succeeded)]).changed);
    }

    #[test]
    fn a_skip_is_decided_all_the_way_down() {
        let advanced = check(&admitted(), &[ended(0, 1, Verdict::Skipped)]);
        assert!(advanced.closes);
        let causes = [(1, 0), (2, 1)].map(|(module, from)| (ModuleIndex(module), Cause::NotMade(ModuleIndex(from))));
        assert_eq!(advanced.decided, causes.into());
    }

    #[test]
    fn a_lost_lease_is_named_and_trouble_waits() {
        let lost = Event::LeaseLost { module: ModuleIndex(0), attempt: Attempt(1) };
        let advanced = check(&admitted(), &[lost]);
        assert_eq!(
            (advanced.lease_lost, advanced.queued),
            (Some(ModuleIndex(0)), [(ModuleIndex(0), Attempt(2))].into())
        );
        assert_eq!(check(&fresh(), &[lost]).lease_lost, None, "it was ignored");
        let advanced = check(&admitted(), &[ended(0, 1, Verdict::Errored)]);
        assert!(advanced.queued.is_empty() && advanced.waits.len() == 1);
    }
}
