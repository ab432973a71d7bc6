//! The comparison of store, state and queues: part of the protocol, at the start and all the time.
//!
//! What the store says and the state does not know is taken up; what the state knows and is over is forgotten.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::id::{ClassName, RunId};
use domain::pipeline::Pipeline;
use store::StoreError;
use tokio_util::sync::CancellationToken;

use crate::advance::dispatch::declare;
use crate::config::CoordinatorConfig;
use crate::events::accept::{finish, open, rewind};
use crate::ports::Ports;
use crate::runs::follow;
use crate::trouble::{Outage, Trouble, blocking};

/// Compares at once and then again and again until `shutdown`.
pub(crate) async fn recover(
    ports: Ports,
    pipelines: Arc<[Pipeline]>,
    config: CoordinatorConfig,
    shutdown: CancellationToken,
) {
    let mut outage = Outage::of("comparisons of store and state");
    let mut still = BTreeSet::new();
    while !shutdown.is_cancelled() {
        match compare(&ports, &pipelines, &mut still).await {
            Ok(()) => outage.over(),
            Err(trouble) => {
                outage.wait(&trouble).await;
                continue;
            }
        }
        let next = tokio::time::timeout(config.compare, ports.wakes.comparison.notified());
        if shutdown.run_until_cancelled(next).await.is_none() {
            return;
        }
    }
}

/// One comparison; `still` are the runs that stood still at the last one.
async fn compare(ports: &Ports, pipelines: &[Pipeline], still: &mut BTreeSet<RunId>) -> Result<(), Trouble> {
    ports.look_at_epoch().await?;
    let classes: BTreeSet<ClassName> =
        pipelines.iter().flat_map(|pipeline| pipeline.modules.iter().map(|module| module.class.clone())).collect();
    declare(ports, &classes).await?;
    let store = ports.store.clone();
    let (events, records) = blocking(move || Ok((store.undisposed_events()?, store.runs()?))).await?;
    for event in events {
        finish(ports, pipelines, event).await?;
    }
    take_nudges(ports).await?;
    let held: BTreeSet<RunId> = ports.state.runs().await?.into_iter().map(|info| info.run).collect();
    ports.catalog.keep_only(&held);
    for run in held.iter().copied() {
        if is_over(ports, run).await? == Some(true) {
            ports.state.close_run(run).await?;
            ports.catalog.forget(run);
        }
    }
    *still = start_again(ports, &held, still).await?;
    // Oldest first, as they were accepted.
    for record in records.into_iter().rev().filter(|record| !held.contains(&record.run)) {
        if is_over(ports, record.run).await? == Some(false) {
            open(ports, record.run).await?;
        }
    }
    Ok(())
}

/// Whether a run has ended; `None` when its files are damaged, so that nobody knows.
async fn is_over(ports: &Ports, run: RunId) -> Result<Option<bool>, Trouble> {
    match follow::orders(ports, run).await {
        Ok(orders) => Ok(Some(orders.is_over)),
        Err(trouble @ Trouble::Store(StoreError::Damaged { .. })) => {
            ports.catalog.leave_alone(run, &trouble);
            Ok(None)
        }
        Err(trouble) => Err(trouble),
    }
}

/// Opens runs that ended and that operators want more of: what was decided of others the sweeps follow.
async fn take_nudges(ports: &Ports) -> Result<(), Trouble> {
    let store = ports.store.clone();
    for run in blocking(move || store.nudges()).await? {
        let store = ports.store.clone();
        // Somebody else's file must not stop everybody's comparison; it says the same again at the next one.
        if let Err(trouble) = blocking(move || store.take_nudge(run)).await {
            tracing::warn!(%run, %trouble, "a nudge cannot be removed: it belongs to another user?");
        }
        if is_over(ports, run).await? == Some(false) {
            open(ports, run).await?;
        }
    }
    Ok(())
}

/// Runs with tasks to do of which no star is in flight and none is to come: whoever restored them died over it. One that
/// stood still before is begun anew; returns those that stand still now.
async fn start_again(
    ports: &Ports,
    held: &BTreeSet<RunId>,
    before: &BTreeSet<RunId>,
) -> Result<BTreeSet<RunId>, Trouble> {
    let mut still = BTreeSet::new();
    for run in held.iter().copied() {
        let Some(view) = ports.state.run(run).await? else { continue };
        let unsettled = view.counts.values().flatten().any(|(state, count)| !state.is_settled() && *count > 0);
        if !unsettled || view.in_flight > 0 || view.info.cursor < view.info.stars {
            continue;
        }
        if before.contains(&run) {
            tracing::warn!(%run, "a run that stood still is begun anew");
            rewind(ports, run).await?;
        } else {
            still.insert(run);
        }
    }
    Ok(still)
}
