//! What every part of the coordinator talks to, and the epoch that it believes in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use services::queue::SharedQueue;
use services::state::SharedState;
use store::Store;
use tokio::sync::Notify;

use crate::course::Catalog;
use crate::hooks::Hooks;
use crate::metrics::Counters;
use crate::trouble::{Trouble, blocking};

/// The coordinator's surroundings; clones are the same.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) store: Store,
    pub(crate) queue: SharedQueue,
    pub(crate) state: SharedState,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) counters: Counters,
    pub(crate) hooks: Hooks,
    pub(crate) wakes: Arc<Wakes>,
    epoch: Arc<AtomicU64>,
}

/// Nudges between the loops, so that none has to look often; what a nudge says is also found by the next look.
#[derive(Default)]
pub(crate) struct Wakes {
    /// Stars may be missing in the classes' queues.
    pub(crate) admission: Notify,
    /// Stars are to be closed.
    pub(crate) closing: Notify,
    /// Store and state are to be compared: operators decided something, or an epoch began.
    pub(crate) comparison: Notify,
}

impl Ports {
    pub(crate) fn new(store: Store, queue: SharedQueue, state: SharedState, hooks: Hooks, counters: Counters) -> Self {
        Self {
            catalog: Arc::new(Catalog::new(store.clone())),
            store,
            queue,
            state,
            counters,
            hooks,
            wakes: Arc::default(),
            epoch: Arc::default(),
        }
    }

    /// The epoch that was in force when it was last looked at.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Looks at the epoch again. A state without one, or with an older one than the store knows, was lost or rolled back:
    /// its next life begins. Two coordinators that see this at once begin the same one.
    pub(crate) async fn look_at_epoch(&self) -> Result<u64, Trouble> {
        // The state first: an epoch is in the store before it is in the state.
        let held = self.state.epoch().await?;
        let store = self.store.clone();
        let known = blocking(move || store.newest_epoch()).await?;
        if held > known {
            return Err(Trouble::Foreign { held, known });
        }
        let mut epoch = held;
        if held < known || held == 0 {
            let store = self.store.clone();
            blocking(move || store.begin_epoch(known + 1)).await?;
            epoch = self.state.begin_epoch(known + 1).await?;
            tracing::info!(epoch, before = held, "an epoch begins");
            self.wakes.comparison.notify_one();
        }
        self.epoch.store(epoch, Ordering::Relaxed);
        Ok(epoch)
    }

    /// The same after the state refused an epoch: whoever began the one in force may have died before all runs had it.
    pub(crate) async fn mend_epoch(&self) -> Result<(), Trouble> {
        let epoch = self.look_at_epoch().await?;
        self.state.begin_epoch(epoch).await?;
        Ok(())
    }
}
