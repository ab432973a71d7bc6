//! How far an attempt is, for whoever asks meanwhile, and which step took how long, for its trace.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use services::state::AttemptPhase;

use crate::runner::LastLine;

/// A step of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptStep {
    /// Inputs, contract and image are looked at, and whether the result is there.
    Resolve,
    /// What the module reads is brought into place.
    Stage,
    /// The module runs.
    Execute,
    /// What it made is compared with its contract.
    Check,
    /// That is brought into the store.
    Commit,
}

/// How far an attempt is; clones are about the same attempt.
#[derive(Debug, Clone, Default)]
pub(crate) struct AttemptProgress {
    /// Its steps so far, each with its beginning.
    steps: Arc<Mutex<Vec<(AttemptStep, Timestamp)>>>,
    /// The newest line of the module's log.
    pub(crate) last_line: LastLine,
}

impl AttemptStep {
    /// What it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Stage => "stage",
            Self::Execute => "execute",
            Self::Check => "check",
            Self::Commit => "commit",
        }
    }
}

impl AttemptProgress {
    /// The attempt goes on to this step.
    pub(crate) fn begins(&self, step: AttemptStep) {
        self.lock().push((step, Timestamp::now()));
    }

    /// Its steps so far, each with its beginning.
    pub(crate) fn steps(&self) -> Vec<(AttemptStep, Timestamp)> {
        self.lock().clone()
    }

    /// Where the attempt is.
    pub(crate) fn phase(&self) -> AttemptPhase {
        match self.lock().last() {
            None | Some((AttemptStep::Resolve | AttemptStep::Stage, _)) => AttemptPhase::Staging,
            Some((AttemptStep::Execute, _)) => AttemptPhase::Running,
            Some((AttemptStep::Check | AttemptStep::Commit, _)) => AttemptPhase::Committing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(AttemptStep, Timestamp)>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
