//! The life of a worker, which ends at any moment, and how long its claims outlive it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Faults;

/// How long a claim lives without renewal.
pub(super) const LEASE: Duration = Duration::from_secs(5);

/// The time from a worker's start to its end.
#[derive(Clone)]
pub(super) struct Life {
    faults: Arc<Faults>,
    killed: CancellationToken,
    drained: CancellationToken,
}

impl Life {
    pub(super) fn new(faults: Arc<Faults>) -> Self {
        Self { faults, killed: CancellationToken::new(), drained: CancellationToken::new() }
    }

    /// Sometimes the worker dies here and now.
    pub(super) async fn may_die(&self, probability: f64) {
        if self.faults.happens(probability) {
            self.killed.cancel();
            // Nobody polls this again.
            std::future::pending::<()>().await;
        }
    }

    /// The worker dies.
    pub(super) fn kill(&self) {
        self.killed.cancel();
    }

    /// The worker is told to stop.
    pub(super) fn drain(&self) {
        self.drained.cancel();
    }

    /// Returns when it dies.
    pub(super) async fn killed(&self) {
        self.killed.cancelled().await;
    }

    /// Cancelled when it is told to stop.
    pub(super) fn drained(&self) -> CancellationToken {
        self.drained.clone()
    }
}
