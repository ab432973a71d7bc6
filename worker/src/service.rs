//! A worker as a whole: its slots, its heartbeat, its sweep, its reports; from start to a stop that leaves nothing behind.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use backon::{ExponentialBuilder, Retryable};
use domain::id::{ClassName, WorkerName};
use services::clock::HostClock;
use services::queue::{QueueError, SharedQueue};
use services::state::SharedState;
use services::traces::Traces;
use store::Store;
use store::agent::Agent;
use store::presence::{self, SignOfLife};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::agent::MakeAgent;
use crate::attempt::{KeptFolders, Manifests};
use crate::claim::Claims;
use crate::config::WorkerConfig;
use crate::feed;
use crate::gate::Gate;
use crate::removal;
use crate::report::publish_all;
use crate::run::RunsHere;
use crate::runner::SharedRunner;
use crate::shared::Worker;
use crate::tally::Tally;
use crate::warm::Warm;
use crate::watch::HostWatch;

/// How long containers of attempts that are given back have to end, after the grace.
const STOPPING: Duration = Duration::from_secs(20);

/// How long the last completions are repeated before the worker ends without them; their leases run out then.
const REPORTING: Duration = Duration::from_secs(15);

/// Completions that wait to be published at most, before slots wait for them.
const REPORTS: usize = 4_096;

/// Where sessions have their directories, beside those of slots.
const SESSIONS: &str = "sessions";

/// Where directories of attempts are kept, in the worker's own.
const KEPT: &str = "kept";

/// What a worker is made of.
pub struct WorkerParts {
    /// Its name, unique to the process: [`crate::unique_name`].
    pub name: WorkerName,
    /// The store.
    pub store: Store,
    /// The message broker.
    pub queue: SharedQueue,
    /// The state of runs.
    pub state: SharedState,
    /// How modules are run.
    pub runner: SharedRunner,
    /// Where it tells what took how long.
    pub traces: Traces,
    /// How it works.
    pub config: WorkerConfig,
    /// How many attempts of each class it runs at once.
    pub slots: BTreeMap<ClassName, u32>,
}

/// Works until `shutdown`, then ends what runs, or gives it back, and leaves nothing behind. Dropped before, it is like a
/// process that was killed: what it runs ends at once, and its claims run out.
pub async fn run(parts: WorkerParts, shutdown: CancellationToken) -> Result<()> {
    run_with(parts, Arc::new(|options| Box::new(Agent::new(options))), shutdown).await
}

/// The same with other store agents, for simulation.
pub async fn run_with(parts: WorkerParts, make_agent: MakeAgent, shutdown: CancellationToken) -> Result<()> {
    let WorkerParts { name, store, queue, state, runner, traces, config, slots } = parts;
    let scratch = store.scratch(name.as_str())?;
    let presence = SignOfLife::show(&scratch).with_context(|| format!("failed to lock `{}`", scratch.display()))?;
    let (reports, reported) = mpsc::channel(REPORTS);
    let claims = Claims::new(state.clone(), RunsHere::new(store.clone()), name.clone(), config.lease);
    let all_slots = slots.values().map(|slots| *slots as usize).sum();
    let warm = Warm::new(config.warm_bounds(all_slots), scratch.join(SESSIONS));
    let kept = scratch.join(KEPT);
    std::fs::create_dir_all(&kept).with_context(|| format!("failed to make `{}`", kept.display()))?;
    let worker = Arc::new(Worker {
        name,
        gate: Gate::new(),
        claims,
        ledger: Arc::default(),
        tally: Tally::default(),
        clock: HostClock::default(),
        watch: Arc::new(HostWatch::new(store.clone(), config.free.as_u64())),
        began: jiff::Timestamp::now(),
        give_back: CancellationToken::new(),
        queue: queue.clone(),
        state,
        store,
        runner,
        warm,
        traces,
        config,
        slots,
        scratch,
        make_agent,
        reports,
        manifests: Manifests::default(),
        kept: KeptFolders::new(kept),
        fetching: Mutex::default(),
    });
    let publishing = AbortOnDropHandle::new(tokio::spawn(async move { publish_all(&queue, reported).await }));
    let result = worker.serve(&shutdown).await;
    worker.warm.close().await;
    worker.runner.finish().await;
    worker.state.forget_worker(&worker.name).await.ok();
    // The last sender goes with the worker: what is left is published, and the task ends.
    let (store, folder) = (worker.store.clone(), worker.scratch.clone());
    drop(worker);
    if tokio::time::timeout(REPORTING, publishing).await.is_err() {
        tracing::warn!("completions are not confirmed: the attempts are repeated when their leases have run out");
    }
    drop(presence);
    let _ = store.ask(move |_| Ok(removal::remove(&folder))).await;
    result
}

impl Worker {
    async fn serve(self: &Arc<Self>, shutdown: &CancellationToken) -> Result<()> {
        let classes: Vec<ClassName> = self.slots.keys().cloned().collect();
        let declared = tokio::select! {
            declared = declare(&self.queue, &classes) => declared,
            () = shutdown.cancelled() => return Ok(()),
        };
        declared.context("failed to declare the queues")?;
        tracing::info!(worker = self.name.as_str(), slots = ?self.slots, "ready");
        let stop = shutdown.child_token();
        let mut serving = JoinSet::new();
        for (class, slots) in self.slots.iter().filter(|(_, slots)| **slots > 0) {
            serving.spawn(feed::serve(Arc::clone(self), class.clone(), *slots, stop.clone()));
        }
        let work = async {
            let mut result = Ok(());
            while let Some(served) = serving.join_next().await {
                if let Err(error) = served.map_err(anyhow::Error::from).and_then(|served| Ok(served?)) {
                    // One class that cannot be served ends the worker: an operator has something to change.
                    stop.cancel();
                    result = Err(error).context("failed to consume tasks");
                }
            }
            result
        };
        tokio::select! {
            result = work => result,
            () = self.heartbeat() => Ok(()),
            () = self.show() => Ok(()),
            () = self.sweep() => Ok(()),
            () = self.warm.tend(&self.gate) => Ok(()),
            () = self.watch.tend() => Ok(()),
            () = self.gate.tend(&self.state, &self.runner, &self.store, self.config.free) => Ok(()),
            () = self.give_back_late(&stop) => {
                anyhow::bail!("attempts did not stop within {} s; the next sweep on this host removes them", STOPPING.as_secs())
            }
        }
    }

    /// After `stop` and the grace, gives back what still runs; returns when that takes too long.
    async fn give_back_late(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        tracing::info!(running = self.ledger.len(), grace = ?self.config.grace, "stopping: no more claims");
        tokio::time::sleep(self.config.grace).await;
        tracing::info!(running = self.ledger.len(), "giving back what still runs");
        self.give_back.cancel();
        tokio::time::sleep(STOPPING).await;
    }

    /// Removes what dead workers left on this host (W2). Never returns.
    async fn sweep(&self) {
        let mut ticks = tokio::time::interval(self.config.sweep);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.runner.sweep(&|name| self.ledger.knows(name) || self.warm.knows(name)).await {
                tracing::warn!(%error, "orphans could not be looked for");
            }
            let (scratch, host) = (self.scratch.parent().map(Path::to_owned), self.config.host());
            let swept = self.store.ask(move |_| Ok(scratch.map(|scratch| sweep_scratch(&scratch, &host))));
            let _ = swept.await;
        }
    }
}

/// Declares the queues as soon as the broker answers; fails where it will never allow it.
async fn declare(queue: &SharedQueue, classes: &[ClassName]) -> Result<(), QueueError> {
    let backoff = ExponentialBuilder::new().with_max_delay(Duration::from_secs(10)).without_max_times();
    (|| queue.declare(classes))
        .retry(backoff)
        .when(|error| !matches!(error, QueueError::Refused(_)))
        .notify(|error, after| tracing::warn!(%error, ?after, "waiting for the message broker"))
        .await
}

/// Removes the scratch directories of dead workers of this host, and of other programs of ours that died here.
fn sweep_scratch(scratch: &Path, host: &str) {
    let Ok(entries) = std::fs::read_dir(scratch) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(&format!("{host}-"));
        let is_dead = || presence::was_shown(&path) && !presence::lives(&path);
        if ours && (is_dead() || presence::never_came(&path)) {
            match removal::remove(&path) {
                Ok(()) => tracing::info!(folder = %path.display(), "removed what a dead process left"),
                Err(error) => {
                    tracing::warn!(folder = %path.display(), %error, "what a dead process left cannot be removed");
                }
            }
        }
    }
}
