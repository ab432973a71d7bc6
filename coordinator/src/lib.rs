//! The coordinator: expands dataset events into runs, admits stars, unlocks tasks as completions arrive, closes stars and
//! runs.
//!
//! The shell around the pure core of `domain::run`: wait, decide, act, acknowledge. It keeps nothing that is not in the
//! store or in the state, so that it may die at any instruction and any number of them may run at once.

mod admission;
mod advance;
mod aside;
mod closings;
mod comparison;
mod completions;
pub mod config;
mod confirmed;
mod counters;
mod deliveries;
mod drains;
mod events;
pub mod hooks;
mod http;
mod metrics;
pub mod operate;
mod rates;
mod readiness;
mod rows;
mod running;
mod runs;
mod settle;
mod standing;
mod timers;
pub mod tokens;
mod triggers;
mod trouble;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use closings::Closings;
use config::{CoordinatorConfig, HttpConfig};
use counters::Counters;
use domain::pipeline::Pipeline;
use hooks::Hooks;
use running::{Coordinator, Services};
use services::queue::SharedQueue;
use services::state::SharedState;
use services::traces::Traces;
use settle::Settler;
pub use settle::StarFiles;
use store::Store;
use store::agent::{Agent, AgentOptions};
use store::scratch::Scratch;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use triggers::Triggers;
use trouble::{Outage, Trouble};

/// How long whoever is at work may take to finish at shutdown; nothing is lost when it does not.
const GRACE: Duration = Duration::from_secs(10);

/// How often a state that seems to be another store's is looked at again before it is refused: a shared file system may
/// show an epoch late.
const LOOKS: u32 = 6;

/// What a coordinator is made of.
pub struct CoordinatorParts {
    /// The store.
    pub store: Store,
    /// The broker.
    pub queue: SharedQueue,
    /// The state.
    pub state: SharedState,
    /// The pipelines that events start; of each name one.
    pub pipelines: Vec<Pipeline>,
    /// How it works.
    pub config: CoordinatorConfig,
    /// Where it answers; off in `sas local`.
    pub http: HttpConfig,
    /// Where it tells what took how long.
    pub traces: Traces,
    /// The program that is started as store agent; `None` is the running one, which then must begin with
    /// [`store::agent::serve_if_asked`].
    pub agent: Option<PathBuf>,
}

/// Works until `shutdown`, whatever is out of reach meanwhile; fails only over what waiting does not mend.
pub async fn run(parts: CoordinatorParts, shutdown: CancellationToken) -> Result<()> {
    let mut builders: Vec<(Scratch, Box<dyn StarFiles>)> = Vec::new();
    for _ in 0..parts.config.agents.max(1) {
        let Some(scratch) = shutdown.run_until_cancelled(scratch(&parts.store)).await else { return Ok(()) };
        let scratch = scratch?;
        let mut options = AgentOptions::new(parts.store.root(), scratch.path());
        options.program.clone_from(&parts.agent);
        builders.push((scratch, Box::new(Agent::new(options))));
    }
    work(parts, builders, shutdown).await
}

/// The same with builders of star files other than store agents, for tests and simulation.
pub async fn run_with(
    parts: CoordinatorParts,
    files: Vec<Box<dyn StarFiles>>,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut builders = Vec::new();
    for files in files {
        builders.push((scratch(&parts.store).await?, files));
    }
    work(parts, builders, shutdown).await
}

async fn work(
    parts: CoordinatorParts,
    builders: Vec<(Scratch, Box<dyn StarFiles>)>,
    shutdown: CancellationToken,
) -> Result<()> {
    let CoordinatorParts { store, queue, state, pipelines, config, http, traces, agent } = parts;
    let Some(reader) = shutdown.run_until_cancelled(reader(&store, &agent)).await else { return Ok(()) };
    let reader = reader?;
    let door = http::open(&http).await?;
    let counters = Counters::default();
    let (hooks, telling) = Hooks::new(config.hooks.clone(), store.clone(), counters.clone());
    let (closings, jobs) = Closings::channel();
    let mut running = Coordinator::new(Services::new(store, queue, state), hooks, traces, counters, closings);
    running.hold_above = config.hold_above;
    match shutdown.run_until_cancelled(start(&running)).await {
        Some(started) => started?,
        None => return Ok(()),
    }
    let pipelines: Arc<[Pipeline]> = pipelines.into();
    let mut tasks = JoinSet::new();
    tasks.spawn(telling);
    if let Some((listener, access)) = door {
        let site = http::Site::new(running.clone(), pipelines.clone(), agent, access);
        tasks.spawn(http::serve(listener, site, shutdown.clone()));
    }
    let (settled, lines) = mpsc::channel(1024);
    let jobs = Arc::new(tokio::sync::Mutex::new(jobs));
    for (scratch, files) in builders {
        let settler = Settler { running: running.clone(), files, scratch, fingerprints: Default::default() };
        let working = settler.work(jobs.clone(), settled.clone());
        let shutdown = shutdown.clone();
        tasks.spawn(async move { _ = shutdown.run_until_cancelled(working).await });
    }
    drop(settled);
    tasks.spawn(settle::write_lines(running.clone(), lines));
    tasks.spawn(comparison::recover(running.clone(), pipelines.clone(), config.clone(), shutdown.clone()));
    tasks.spawn(timers::Sweeper::new(running.clone(), config.clone()).sweep(shutdown.clone()));
    tasks.spawn(Triggers::new(running.clone(), pipelines.clone(), reader).work(shutdown.clone()));
    tasks.spawn(events::events(running.clone(), pipelines, shutdown.clone()));
    tasks.spawn(completions::completions(running.clone(), shutdown.clone()));
    tasks.spawn(admission::admit(running, config, shutdown.clone()));
    join(tasks, &shutdown).await
}

/// Waits for the parts: until `shutdown` none of them ends, and then each has a time to finish.
async fn join(mut tasks: JoinSet<()>, shutdown: &CancellationToken) -> Result<()> {
    let finish = async {
        while let Some(ended) = tasks.join_next().await {
            ended.context("a part of the coordinator broke off")?;
            anyhow::ensure!(shutdown.is_cancelled(), "a part of the coordinator ended by itself");
        }
        Ok(())
    };
    let grace = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        finished = finish => finished,
        () = grace => Ok(()),
    }
}

/// Waits until state and broker answer; fails when they, or the store, are not set up as they must be.
async fn start(running: &Coordinator) -> Result<()> {
    let mut outage = Outage::of("the coordinator");
    let mut looks = 0;
    loop {
        let trouble = match ready(running).await {
            Ok(()) => {
                outage.over();
                return Ok(());
            }
            Err(trouble) => trouble,
        };
        looks += u32::from(matches!(trouble, Trouble::Foreign { .. }));
        let is_stores = matches!(&trouble, Trouble::Store(error) if !error.may_pass());
        if trouble.is_for_good() || is_stores || looks > LOOKS {
            return Err(trouble.into());
        }
        outage.wait(&trouble).await;
    }
}

async fn ready(running: &Coordinator) -> Result<(), Trouble> {
    running.services.store.ask(|store| store.probe().and_then(|()| store.complete())).await?;
    running.services.state.check().await?;
    running.mend_epoch().await?;
    advance::dispatch::declare(&running.services.queue, &std::collections::BTreeSet::new()).await
}

/// An agent that nobody else asks, with its directory.
async fn reader(store: &Store, program: &Option<PathBuf>) -> Result<(Scratch, Agent)> {
    let scratch = scratch(store).await?;
    let mut options = AgentOptions::new(store.root(), scratch.path());
    options.program.clone_from(program);
    Ok((scratch, Agent::new(options)))
}

/// A directory for star files in the making that no other part of this or another process has.
async fn scratch(store: &Store) -> Result<Scratch> {
    let mut outage = Outage::of("the coordinator");
    loop {
        match store.ask(|store| store.own_scratch("coordinator")).await {
            Ok(scratch) => {
                outage.over();
                return Ok(scratch);
            }
            Err(error) if error.may_pass() => outage.wait(&error.into()).await,
            Err(error) => return Err(error.into()),
        }
    }
}
