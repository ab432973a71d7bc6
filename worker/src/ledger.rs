//! The claims that a worker holds: what the heartbeat renews and a sweep must leave alone.
//!
//! A lock around a map, never held across an await.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::id::Nonce;
use common::state::Lease;
use tokio_util::sync::CancellationToken;

/// All claims of a worker.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<BTreeMap<Nonce, Entry>>);

#[derive(Debug)]
struct Entry {
    lease: Lease,
    /// Stops the attempt.
    cancel: CancellationToken,
}

/// A claim that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    ledger: Arc<Ledger>,
    nonce: Nonce,
}

impl Ledger {
    /// Notes a claim; `cancel` stops its attempt when the claim is lost.
    pub(crate) fn hold(self: &Arc<Self>, lease: Lease, cancel: CancellationToken) -> Held {
        let nonce = lease.nonce;
        self.lock().insert(nonce, Entry { lease, cancel });
        Held { ledger: Arc::clone(self), nonce }
    }

    /// Every lease that is to be renewed.
    pub(crate) fn leases(&self) -> Vec<Lease> {
        self.lock().values().map(|entry| entry.lease.clone()).collect()
    }

    /// Whether a claim with this nonce is held; it is written as labels of containers have it.
    pub(crate) fn knows(&self, nonce: &str) -> bool {
        self.lock().keys().any(|known| known.to_string() == nonce)
    }

    /// How many attempts run or are about to be reported.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Stops an attempt whose claim is lost. True when it was still known.
    pub(crate) fn lose(&self, lease: &Lease) -> bool {
        match self.lock().get(&lease.nonce) {
            Some(entry) => {
                entry.cancel.cancel();
                true
            }
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Nonce, Entry>> {
        // Every change leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.ledger.lock().remove(&self.nonce);
    }
}
