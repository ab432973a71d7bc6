//! The comparison of store, state and queues: part of the protocol, at the start and all the time.
//!
//! What the store says and the state does not know is taken up; what the state knows and is over is forgotten.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use domain::id::{ClassName, RunId, Sequence};
use domain::pipeline::Pipeline;
use store::crash::CrashPoint;
use store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::advance::dispatch::declare;
use crate::aside::Party;
use crate::config::CoordinatorConfig;
use crate::counters::now;
use crate::events::accept::finish;
use crate::events::unheard::UnheardEvents;
use crate::running::{Coordinator, Services};
use crate::runs::follow;
use crate::runs::open::open;
use crate::runs::rewind::rewind;
use crate::trouble::{Outage, Trouble};

/// Compares at once and then again and again until `shutdown`.
pub(crate) async fn recover(
    running: Coordinator,
    pipelines: Arc<[Pipeline]>,
    config: CoordinatorConfig,
    shutdown: CancellationToken,
) {
    let mut outage = Outage::of("comparisons of store and state");
    let (mut still, mut unheard) = (BTreeSet::new(), UnheardEvents::default());
    while !shutdown.is_cancelled() {
        let began = Instant::now();
        match compare(&running, &pipelines, &mut still, &mut unheard).await {
            Ok(()) => {
                running.counters.comparison.set(began.elapsed().as_secs_f64());
                running.counters.compared.set(now());
                outage.over();
            }
            Err(trouble) => {
                outage.wait(&trouble).await;
                continue;
            }
        }
        let next = tokio::time::timeout(config.compare, running.wakes.comparison.notified());
        if shutdown.run_until_cancelled(next).await.is_none() {
            return;
        }
    }
}

/// One comparison; `still` are the runs that stood still at the last one.
async fn compare(
    running: &Coordinator,
    pipelines: &[Pipeline],
    still: &mut BTreeSet<RunId>,
    unheard: &mut UnheardEvents,
) -> Result<(), Trouble> {
    running.look_at_epoch().await?;
    let classes: BTreeSet<ClassName> =
        pipelines.iter().flat_map(|pipeline| pipeline.modules.iter().map(|module| module.class.clone())).collect();
    declare(&running.services.queue, &classes).await?;
    let Services { store, state, .. } = &running.services;
    let held = held(running).await?;
    let mut forgotten = BTreeSet::new();
    for run in running.aside.over_state() {
        if matches!(state.run(run).await, Ok(None)) {
            forgotten.insert(run);
        }
    }
    let aside = running.aside.clone();
    let look = move |store: &Store| {
        aside.take_up(&forgotten);
        if !store.has_run_index()? {
            tracing::warn!(runs = store.index_all_runs()?, "there was no index of runs: it is made again");
        }
        Ok((store.undisposed_events()?, read_open_runs(store)?))
    };
    let (events, runs) = store.ask(look).await?;
    for event in events {
        if !running.aside.holds(Party::Event(event)) {
            let finished = finish(running, pipelines, event).await;
            running.of_event(event, finished).await?;
        }
    }
    // Their trouble is not that of the runs.
    if let Err(trouble) = unheard.publish_again(running).await {
        tracing::warn!(%trouble, "events that nobody received are not published again now");
    }
    take_nudges(running).await?;
    running.remembered.keep_only(&held);
    for run in held.iter().copied() {
        if is_over(running, run).await? == Some(true) {
            state.close_run(run).await?;
            CrashPoint::RunClosed.reached();
            running.services.courses.forget(run);
        }
    }
    *still = start_again(running, &held, still).await?;
    for (run, read) in runs {
        running.of_run(run, read.map_err(Trouble::from)).await?;
        if !held.contains(&run) && !open_if_not_over(running, run).await? {
            put_away(running, run).await?;
        }
    }
    Ok(())
}

/// The runs that the state holds. One that it cannot read is set aside, and so not entered over what is there.
async fn held(running: &Coordinator) -> Result<BTreeSet<RunId>, Trouble> {
    let state = &running.services.state;
    let held: BTreeSet<RunId> = state.runs().await?.into_iter().map(|info| info.run).collect();
    for run in state.run_ids().await?.into_iter().filter(|run| !held.contains(run)) {
        running.view(run).await?;
    }
    Ok(held)
}

/// A run in the store, and what reading its record came to.
type Looked = (RunId, Result<(), StoreError>);

/// Runs that are marked as open, oldest first, and whether their records can be read: one that cannot hides no other.
fn read_open_runs(store: &Store) -> Result<Vec<Looked>, StoreError> {
    let mut runs = Vec::new();
    for run in store.open_runs()? {
        match store.run(run) {
            // Being accepted at this moment.
            Ok(None) => {}
            Ok(Some(record)) => runs.push((record.horizon, run, Ok(()))),
            Err(error) => runs.push((Sequence(0), run, Err(error))),
        }
    }
    runs.sort_by_key(|(horizon, run, _)| (*horizon, *run));
    Ok(runs.into_iter().map(|(_, run, read)| (run, read)).collect())
}

/// Enters a run into the state that is not over, and not set aside; false when it is over.
async fn open_if_not_over(running: &Coordinator, run: RunId) -> Result<bool, Trouble> {
    let is_over = is_over(running, run).await?;
    if is_over == Some(false) {
        let opened = open(running, run).await;
        running.of_run(run, opened).await?;
    }
    Ok(is_over != Some(true))
}

/// Puts a run away that is over: what its stars settled with becomes one file, and no comparison looks at it any more.
async fn put_away(running: &Coordinator, run: RunId) -> Result<(), Trouble> {
    let work = move |store: &Store| store.compact_settled(run).and_then(|_| store.put_away(run));
    let done = running.services.store.ask(work).await.map_err(Trouble::from);
    if running.of_run(run, done).await?.is_some() {
        tracing::debug!(%run, "put away");
    }
    Ok(())
}

/// Whether a run has ended; `None` when it is set aside, so that nobody knows.
async fn is_over(running: &Coordinator, run: RunId) -> Result<Option<bool>, Trouble> {
    if running.aside.holds(Party::Run(run)) {
        return Ok(None);
    }
    let orders = follow::orders(running, run).await;
    Ok(running.of_run(run, orders).await?.map(|orders| orders.is_over))
}

/// Opens runs that ended and that operators want more of: what was decided of others the sweeps follow.
async fn take_nudges(running: &Coordinator) -> Result<(), Trouble> {
    let store = &running.services.store;
    for run in store.ask(|store| store.nudges()).await? {
        // Marked before the nudge goes, so that whoever comes after a crash in between finds it.
        store.ask(move |store| store.mark_open(run)).await?;
        // Somebody else's file must not stop everybody's comparison; it says the same again at the next one.
        if let Err(trouble) = store.ask(move |store| store.take_nudge(run)).await {
            tracing::warn!(%run, %trouble, "a nudge cannot be removed: it belongs to another user?");
        }
        open_if_not_over(running, run).await?;
    }
    Ok(())
}

/// Runs with tasks to do of which no star is in flight and none is to come: whoever restored them died over it. One that
/// stood still before is begun anew; returns those that stand still now.
async fn start_again(
    running: &Coordinator,
    held: &BTreeSet<RunId>,
    before: &BTreeSet<RunId>,
) -> Result<BTreeSet<RunId>, Trouble> {
    let mut still = BTreeSet::new();
    for run in held.iter().copied() {
        let Some(view) = running.view(run).await? else { continue };
        let unsettled = view.counts.values().flatten().any(|(state, count)| !state.is_settled() && *count > 0);
        if !unsettled || view.in_flight > 0 || view.info.cursor < view.info.stars {
            continue;
        }
        if before.contains(&run) {
            tracing::warn!(%run, "a run that stood still is begun anew");
            let begun = rewind(running, run).await;
            running.of_run(run, begun).await?;
        } else {
            still.insert(run);
        }
    }
    Ok(still)
}
