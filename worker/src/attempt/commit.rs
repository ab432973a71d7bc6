//! Commit: a sealed result, linked to the name that contains the key. The first link wins.
//!
//! It needs nothing of its slot, and goes on while the slot has its next attempt.

use std::fs;

use domain::outcome::{Outcome, Success};
use store::crash::CrashPoint;
use store::{Commit, Store, durable};
use tokio::sync::Mutex;

use super::desk::{Desk, Order};
use super::ending::Ending;
use super::resolve::{product_path, success_of};
use super::seal::SealedResult;
use super::twice::manifest;
use crate::progress::AttemptStep;

/// Commits what is sealed; the attempt's directory stays. What was committed before under this key is the result, and is read at
/// `desk`.
pub(crate) async fn commit(store: &Store, desk: &Mutex<Desk>, order: &Order, sealed: &SealedResult) -> Option<Outcome> {
    order.progress.begins(AttemptStep::Commit);
    link(store, desk, order, sealed).await.map_or_else(Ending::outcome, |success| Some(Outcome::Succeeded(success)))
}

async fn link(store: &Store, desk: &Mutex<Desk>, order: &Order, sealed: &SealedResult) -> Result<Success, Ending> {
    let (file, success) = (sealed.file.clone(), sealed.success.clone());
    let path = store.at(product_path(order, &success.key));
    let target = path.clone();
    let committed = store.ask(move |_| {
        let committed = durable::commit_file(&file, &target);
        CrashPoint::ResultLinked.reached();
        // What cannot be removed goes with the worker.
        let _ = fs::remove_file(&file);
        committed
    });
    let committed = committed.await?;
    CrashPoint::ResultCommitted.reached();
    match committed {
        Commit::Created => Ok(success),
        Commit::Exists => {
            let first = manifest(&mut *desk.lock().await, &path).await?;
            let result = success_of(order, success.key, &first.map_err(|error| Ending::unreadable(&path, &error))?);
            let nondeterministic = result.products != success.products;
            if nondeterministic {
                let (module, key) = (&order.module().name, success.key);
                tracing::warn!(%module, %key, "the module is not deterministic: equal inputs, other values; the first are kept");
            }
            Ok(Success { nondeterministic, ..result })
        }
    }
}
