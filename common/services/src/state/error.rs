//! What an adapter of the state could not do, and what the caller can do about it.

use domain::id::{Epoch, RunId};

/// What an adapter could not do.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The service is out of reach: wait and try again.
    #[error("state out of reach: {0}")]
    Unreachable(String),
    /// The service answers and does not do it now, for it is full, read-only or busy: wait and try again.
    #[error("state: {service} refuses: {reason}")]
    Refuses {
        /// The service and where it is.
        service: String,
        /// What it said.
        reason: String,
    },
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
    /// The service is not set up as it must be, or forbids it; the message says what to change.
    #[error("{0}")]
    Misconfigured(String),
    /// Of this run the state holds something that no version of this program writes. Others' runs are not concerned.
    #[error(
        "run {run} is damaged in the state: {reason}; when its keys are removed it is taken up again from the store \
         (`redis-cli -u URL --scan --pattern 'sas:{{{run}}}:*' | xargs redis-cli -u URL unlink`, with the URL of `[state] url`)"
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

impl StateError {
    /// Whether the service itself is the trouble, for everybody: it is away, refuses, or is not set up as it must be. What it
    /// knows cannot be told before that is mended.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Refuses { .. } | Self::Misconfigured(_) | Self::Unexpected(_) => true,
            Self::Epoch { .. } | Self::NoRun(_) | Self::Damaged { .. } => false,
        }
    }

    /// Why, without a word of what is out of reach.
    pub fn reason(&self) -> String {
        match self {
            Self::Unreachable(reason) | Self::Misconfigured(reason) | Self::Unexpected(reason) => reason.clone(),
            Self::Refuses { service, reason } => format!("{service} refuses: {reason}"),
            Self::Epoch { .. } | Self::NoRun(_) | Self::Damaged { .. } => self.to_string(),
        }
    }
}
