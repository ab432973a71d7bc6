//! How the states of tasks look: one word, one letter and one colour each, used by every page.
//!
//! Small letters are of tasks that have not ended, large ones of those that have. The colours are in `style.css`, by class.

use std::collections::BTreeMap;

use domain::run::TaskState;

use crate::operate::selection::ShownState;
use crate::operate::view::shown_states;

/// All states in the order in which bars show them: what went well, what goes on, what is to come, what went wrong.
pub(super) const ORDER: [ShownState; 12] = [
    ShownState::Succeeded,
    ShownState::Skipped,
    ShownState::Running,
    ShownState::Queued,
    ShownState::OnHold,
    ShownState::Waiting,
    ShownState::Blocked,
    ShownState::Cancelled,
    ShownState::Superseded,
    ShownState::UpstreamFailed,
    ShownState::Errored,
    ShownState::Failed,
];

/// How many tasks are in each state; states with none may be left out.
pub(super) type StateTally = BTreeMap<ShownState, u64>;

/// The letter of a state.
pub(super) const fn letter(state: ShownState) -> char {
    match state {
        ShownState::Running => 'r',
        ShownState::Queued => 'q',
        ShownState::OnHold => 'h',
        ShownState::Waiting => 'w',
        ShownState::Blocked => 'b',
        ShownState::Succeeded => 'S',
        ShownState::Failed => 'F',
        ShownState::Errored => 'E',
        ShownState::Skipped => 'K',
        ShownState::UpstreamFailed => 'U',
        ShownState::Cancelled => 'C',
        ShownState::Superseded => 'N',
    }
}

/// The word for people.
pub(super) const fn word(state: ShownState) -> &'static str {
    match state {
        ShownState::Running => "running",
        ShownState::Queued => "queued",
        ShownState::OnHold => "on hold",
        ShownState::Waiting => "waiting",
        ShownState::Blocked => "blocked",
        ShownState::Succeeded => "succeeded",
        ShownState::Failed => "failed",
        ShownState::Errored => "errored",
        ShownState::Skipped => "skipped",
        ShownState::UpstreamFailed => "upstream failed",
        ShownState::Cancelled => "cancelled",
        ShownState::Superseded => "superseded",
    }
}

/// What it means, in a line.
pub(super) const fn meaning(state: ShownState) -> &'static str {
    match state {
        ShownState::Running => "a worker has it",
        ShownState::Queued => "it waits for a free slot",
        ShownState::OnHold => "operators hold its module",
        ShownState::Waiting => "it waits before its next try",
        ShownState::Blocked => "it waits for tasks upstream",
        ShownState::Succeeded => "its products are in the store",
        ShownState::Failed => "the module failed for good",
        ShownState::Errored => "the platform could not run it",
        ShownState::Skipped => "it does not run for the star: its condition does not hold, or an input is not there",
        ShownState::UpstreamFailed => "something that it needs was lost to a failure",
        ShownState::Cancelled => "an operator cancelled it",
        ShownState::Superseded => "a newer run took the star over",
    }
}

/// The class that colours it.
pub(super) fn class(state: ShownState) -> String {
    format!("s-{state}")
}

/// The word for a state as the core knows it; what runs counts as queued.
pub(super) fn of_task(state: TaskState) -> ShownState {
    state.into()
}

/// Counts as the core has them, with what is known of the queued ones: so many run, so many are on hold.
pub(super) fn tally(tasks: &BTreeMap<TaskState, u64>, running: u64, on_hold: u64) -> StateTally {
    shown_states(tasks, running, on_hold)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use strum::VariantArray;

    use super::*;

    #[test]
    fn every_state_is_shown_by_a_letter_of_its_own_that_tells_whether_it_ended() {
        let letters: BTreeSet<char> = ORDER.iter().map(|state| letter(*state)).collect();
        assert_eq!((letters.len(), ORDER.len()), (ShownState::VARIANTS.len(), ShownState::VARIANTS.len()));
        assert!(ORDER.iter().all(|state| state.settled().is_some() == letter(*state).is_uppercase()));
        let style = include_str!("../assets/style.css");
        for state in ORDER {
            assert!(style.contains(&format!(".{} ", class(state))), "style.css has no colour of {state}");
        }
    }
}
