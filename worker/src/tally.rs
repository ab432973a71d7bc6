//! How a worker's attempts ended: counted as they end, shown with the worker.

use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::outcome::Outcome;
use services::state::AttemptCounts;

/// How a worker's attempts ended so far.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<AttemptCounts>);

impl Tally {
    pub(crate) fn ended(&self, outcome: &Outcome) {
        let mut counts = self.lock();
        counts.all += 1;
        match outcome {
            Outcome::Failed(_) => counts.failed += 1,
            Outcome::Errored(_) => counts.errored += 1,
            Outcome::Succeeded(_) | Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } => {}
        }
    }

    pub(crate) fn given_back(&self) {
        let mut counts = self.lock();
        (counts.all, counts.given_back) = (counts.all + 1, counts.given_back + 1);
    }

    pub(crate) fn lost(&self) {
        let mut counts = self.lock();
        (counts.all, counts.lost) = (counts.all + 1, counts.lost + 1);
    }

    pub(crate) fn counts(&self) -> AttemptCounts {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, AttemptCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
