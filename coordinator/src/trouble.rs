//! What can be out of reach, and waiting for it: logged once when it begins and once when it is over.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use domain::error::chain;
use domain::id::{Epoch, RunId};
use services::queue::QueueError;
use services::state::StateError;
use store::StoreError;
use store::agent::AgentError;
use tokio::time::Instant;

/// Why something could not be done now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The broker.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The child process that builds star files.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// Others changed the same stars again and again.
    #[error("{stars} stars of run {run} were changed by others at every try")]
    Contended {
        /// The run.
        run: RunId,
        /// How many.
        stars: usize,
    },
    /// The state belongs to another store.
    #[error(
        "the state is in epoch {held}, but this store knows {known} only: it belongs to another store; \
         name another Redis database in `[state] url`, or flush this one"
    )]
    Foreign {
        /// Epoch of the state.
        held: Epoch,
        /// Newest epoch in the store.
        known: Epoch,
    },
}

impl Trouble {
    /// Whether waiting does not mend it.
    pub(crate) fn is_for_good(&self) -> bool {
        matches!(self, Self::Queue(QueueError::Refused(_)) | Self::State(StateError::Misconfigured(_)))
    }
}

/// A time during which something does not work.
pub(crate) struct Outage {
    what: &'static str,
    since: Option<Instant>,
    delays: ExponentialBackoff,
}

impl Outage {
    /// Nothing is wrong yet; `what` is what would not go on.
    pub(crate) fn of(what: &'static str) -> Self {
        Self { what, since: None, delays: delays() }
    }

    /// Waits, longer every time, before it is tried again.
    pub(crate) async fn wait(&mut self, trouble: &Trouble) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
            tracing::warn!(error = chain(trouble), "{} wait", self.what);
        } else {
            tracing::debug!(error = chain(trouble), "{} still wait", self.what);
        }
        tokio::time::sleep(self.delays.next().unwrap_or(MOST)).await;
    }

    /// It works again.
    pub(crate) fn over(&mut self) {
        if let Some(since) = self.since.take() {
            tracing::info!(seconds = since.elapsed().as_secs(), "{} go on", self.what);
            self.delays = delays();
        }
    }
}

/// Longest wait between two tries.
const MOST: Duration = Duration::from_secs(5);

fn delays() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_jitter()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(MOST)
        .without_max_times()
        .build()
}
