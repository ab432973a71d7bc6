//! What an adapter of the state could not do, and what the caller can do about it.

use domain::id::{Epoch, RunId};

/// What an adapter could not do.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The service is out of reach: wait and try again.
    #[error("state out of reach: {0}")]
    Unreachable(String),
    /// The state is another life than the caller believes: read the epoch again.
    #[error("the state is in epoch {now}, not {expected}")]
    Epoch {
        /// The epoch that the caller named.
        expected: Epoch,
        /// The epoch of the state.
        now: Epoch,
    },
    /// The run is not in the state.
    #[error("run {0} is not in the state: it is over, or was never accepted")]
    NoRun(RunId),
    /// The service is not set up as it must be; the message says which line to change.
    #[error("{0}")]
    Misconfigured(String),
    /// Of this run the state holds something that no version of this program writes, or a script of the run fails for no
    /// reason that is known. Others' runs are not concerned.
    #[error(
        "run {run} is damaged in the state: {reason}; when its keys are removed it is taken up again from the store"
    )]
    Damaged {
        /// The run.
        run: RunId,
        /// What is wrong.
        reason: String,
    },
    /// The service answers what nobody expects, and it is about no run: wait and try again.
    #[error("state answers strangely: {0}")]
    Unexpected(String),
}
