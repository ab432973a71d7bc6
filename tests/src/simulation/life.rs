//! The life of a program, which ends at any moment or stands still, and how long a worker's claims outlive it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{FaultKind, Faults};

/// How long a claim lives without renewal.
pub(super) const LEASE: Duration = Duration::from_secs(5);

/// The time from a program's start to its end.
#[derive(Clone)]
pub(super) struct Life {
    faults: Arc<Faults>,
    /// What it is when it dies in the middle of a step.
    dies: FaultKind,
    killed: CancellationToken,
    drained: CancellationToken,
    frozen: watch::Sender<bool>,
}

impl Life {
    /// The life of a worker.
    pub(super) fn of_worker(faults: Arc<Faults>) -> Self {
        Self::new(faults, FaultKind::WorkerDies)
    }

    /// The life of a coordinator.
    pub(super) fn of_coordinator(faults: Arc<Faults>) -> Self {
        Self::new(faults, FaultKind::CoordinatorDies)
    }

    fn new(faults: Arc<Faults>, dies: FaultKind) -> Self {
        let (killed, drained) = (CancellationToken::new(), CancellationToken::new());
        Self { faults, dies, killed, drained, frozen: watch::Sender::new(false) }
    }

    /// Whether it is a coordinator's.
    pub(super) fn is_coordinators(&self) -> bool {
        self.dies == FaultKind::CoordinatorDies
    }

    /// Sometimes the program dies here and now.
    pub(super) async fn may_die(&self, probability: f64) {
        if self.faults.happens(self.dies, probability) {
            self.killed.cancel();
            // Nobody polls this again.
            std::future::pending::<()>().await;
        }
    }

    /// The program dies.
    pub(super) fn kill(&self) {
        self.killed.cancel();
    }

    /// The program is told to stop.
    pub(super) fn drain(&self) {
        self.drained.cancel();
    }

    /// Whether it is not killed yet.
    pub(super) fn is_alive(&self) -> bool {
        !self.killed.is_cancelled()
    }

    /// Returns when it dies.
    pub(super) async fn killed(&self) {
        self.killed.cancelled().await;
    }

    /// Cancelled when it is told to stop.
    pub(super) fn drained(&self) -> CancellationToken {
        self.drained.clone()
    }

    /// Kills the program when it is dropped: whoever aborts its task kills it.
    pub(super) fn guard(&self) -> DropGuard {
        self.killed.clone().drop_guard()
    }

    /// The program stands still until it is told otherwise: nothing that it asks of others leaves it, and no answer reaches it.
    pub(super) fn freeze(&self, stands: bool) {
        self.frozen.send_replace(stands);
    }

    /// The program stands still for so long.
    pub(super) fn freeze_for(&self, time: Duration) {
        self.freeze(true);
        let life = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            life.freeze(false);
        });
    }

    /// Returns when the program does not stand still.
    pub(super) async fn awake(&self) {
        // It ends with the life that is asked.
        _ = self.frozen.subscribe().wait_for(|frozen| !frozen).await;
    }
}
