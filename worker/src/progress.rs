//! How far an attempt is, for whoever asks meanwhile.

use std::sync::{Arc, Mutex, PoisonError};

use services::state::AttemptPhase;

use crate::runner::LastLine;

/// How far an attempt is; clones are about the same attempt.
#[derive(Debug, Clone, Default)]
pub(crate) struct AttemptProgress {
    phase: Arc<Mutex<AttemptPhase>>,
    /// The newest line of the module's log.
    pub(crate) last_line: LastLine,
}

impl AttemptProgress {
    /// The attempt goes on to this.
    pub(crate) fn reaches(&self, phase: AttemptPhase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// Where the attempt is.
    pub(crate) fn phase(&self) -> AttemptPhase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
