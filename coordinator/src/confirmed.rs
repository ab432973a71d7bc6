//! Task messages that the broker confirmed and the state still has in its outbox.
//!
//! The state is told at the next sweep, of those that nobody has claimed and ended by then: where tasks are short that is few of
//! them. What a coordinator takes with it when it dies is sent once more, as whatever stays in the outbox; the claim is the fence.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::id::{Attempt, RunId, Task};

/// Confirmed attempts by run and task.
#[derive(Default)]
pub(crate) struct Confirmed(Mutex<BTreeMap<RunId, BTreeMap<Task, Attempt>>>);

impl Confirmed {
    /// The broker confirmed the messages of these attempts.
    pub(crate) fn add(&self, run: RunId, tasks: impl IntoIterator<Item = (Task, Attempt)>) {
        self.all().entry(run).or_default().extend(tasks);
    }

    /// Forgets all but these runs.
    pub(crate) fn keep(&self, runs: &[RunId]) {
        self.all().retain(|run, _| runs.contains(run));
    }

    /// Those of a run, which are forgotten here.
    pub(crate) fn take(&self, run: RunId) -> BTreeMap<Task, Attempt> {
        self.all().remove(&run).unwrap_or_default()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<RunId, BTreeMap<Task, Attempt>>> {
        // Every change leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use domain::id::{EventId, ModuleIndex, StarIndex};

    use super::*;

    #[test]
    fn each_task_is_there_once_with_its_newest_attempt_until_it_is_taken_or_its_run_is_over() {
        let [one, other] = ["1", "2"].map(|id| RunId::of(EventId::of("test", id), "P", "1"));
        let task = Task { star: StarIndex(3), module: ModuleIndex(1) };
        let confirmed = Confirmed::default();
        confirmed.add(one, [(task, Attempt(1))]);
        confirmed.add(one, [(task, Attempt(2))]);
        confirmed.add(other, [(task, Attempt(1))]);
        confirmed.keep(&[one]);
        assert_eq!(confirmed.take(other), BTreeMap::new());
        assert_eq!(confirmed.take(one), BTreeMap::from([(task, Attempt(2))]));
        assert_eq!(confirmed.take(one), BTreeMap::new());
    }
}
