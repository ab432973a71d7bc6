//! The whole protocol in one process, on a clock of its own: coordinators that are killed and started, workers that die or
//! hang, messages that are lost, repeated and reordered, a state that does not answer or answers twice.
//!
//! Everything is real except modules, HDF5 and the two services, for which a runner, an agent and the in-process adapters
//! stand. What every star must end with is known beforehand and does not depend on any fault.

mod agent;
mod check;
mod faults;
mod faulty;
mod files;
mod host;
mod life;
mod runner;
mod script;
mod witness;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use coordinator::config::{CoordinatorConfig, HttpConfig};
use coordinator::hooks::Hook;
use coordinator::{CoordinatorParts, StarFiles};
use domain::id::{Quarter, RunId, StarId, StarIndex};
use domain::message::{DatasetEvent, DatasetUpdate, StarSelection, to_json};
use domain::run::TaskState;
pub use faults::Faults;
use faulty::{FaultyQueue, FaultyState};
use files::JsonFiles;
use host::WorkerHost;
pub use script::Script;
use services::config::LogConfig;
use services::queue::memory::MemoryQueue;
use services::queue::{Outgoing, QueueName, SharedQueue};
use services::state::SharedState;
use services::state::memory::MemoryState;
use services::traces::Traces;
use store::Store;
use store::events::Disposition;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use witness::Witness;

/// The quarter of all data.
fn quarter() -> Quarter {
    3.try_into().expect("a quarter")
}

/// A simulated cluster.
pub struct World {
    /// What goes wrong.
    pub faults: Arc<Faults>,
    /// The store.
    pub store: Store,
    /// The broker, without faults.
    pub broker: SharedQueue,
    scripts: Vec<Arc<Script>>,
    queue: Arc<FaultyQueue>,
    state: Arc<FaultyState>,
    witness: Arc<Witness>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    _directory: tempfile::TempDir,
}

impl World {
    /// A cluster in this process without coordinators, with two workers, for these pipelines. P1 is watched all the time.
    pub async fn start(seed: u64, scripts: Vec<Script>) -> Result<Self> {
        let world = Self::start_on(Arc::new(MemoryQueue::new()), Arc::new(MemoryState::new()), seed, scripts).await?;
        world.keep(tokio::spawn(watch_counts(world.state.clone(), world.witness.clone())));
        Ok(world)
    }

    /// The same on a broker and a state of any kind.
    pub async fn start_on(broker: SharedQueue, state: SharedState, seed: u64, scripts: Vec<Script>) -> Result<Self> {
        // Nothing is said unless RUST_LOG asks for it.
        services::telemetry::start(&LogConfig { filter: "off".to_owned(), ..LogConfig::default() })?;
        let directory = files::directory()?;
        let faults = Arc::new(Faults::new(seed));
        broker.declare(&[]).await?;
        let store = Store::init(directory.path())?;
        let scripts: Vec<Arc<Script>> = scripts.into_iter().map(Arc::new).collect();
        let witness = Arc::new(Witness::new(store.clone(), faults.clone(), scripts.clone()));
        let world = Self {
            store,
            scripts,
            queue: Arc::new(FaultyQueue::new(broker.clone(), faults.clone(), witness.clone())),
            state: Arc::new(FaultyState::new(state, faults.clone(), witness.clone())),
            broker,
            faults,
            witness,
            tasks: Mutex::default(),
            _directory: directory,
        };
        for number in 0..2 {
            let host = WorkerHost {
                name: format!("host-{number}"),
                store: world.store.clone(),
                queue: world.queue.clone(),
                state: world.state.clone(),
                faults: world.faults.clone(),
                witness: world.witness.clone(),
            };
            world.keep(tokio::spawn(host.work()));
        }
        Ok(world)
    }

    /// Starts a coordinator; aborting it is a crash.
    pub fn coordinator(&self) -> JoinHandle<()> {
        self.coordinator_with("", Vec::new())
    }

    /// Starts a coordinator that answers HTTP at this address and tells these hooks.
    pub fn coordinator_with(&self, listen: &str, hooks: Vec<Hook>) -> JoinHandle<()> {
        self.coordinator_at(HttpConfig { listen: listen.to_owned(), ..HttpConfig::default() }, hooks)
    }

    /// Starts a coordinator that answers HTTP so and tells these hooks.
    pub fn coordinator_at(&self, http: HttpConfig, hooks: Vec<Hook>) -> JoinHandle<()> {
        let parts = CoordinatorParts {
            store: self.store.clone(),
            queue: self.queue.clone(),
            state: self.state.clone(),
            pipelines: self.scripts.iter().map(|script| script.pipeline.clone()).collect(),
            config: CoordinatorConfig { in_flight: 20, hooks, ..CoordinatorConfig::default() },
            http,
            traces: Traces::default(),
            agent: None,
        };
        let files = JsonFiles { store: self.store.clone(), faults: self.faults.clone() };
        let files: Vec<Box<dyn StarFiles>> = vec![Box::new(files)];
        let witness = self.witness.clone();
        tokio::spawn(async move {
            if let Err(error) = coordinator::run_with(parts, files, CancellationToken::new()).await {
                witness.note(format!("a coordinator ended: {error:#}"));
            }
        })
    }

    /// Keeps `count` coordinators at work for `time`, killing one at random every few seconds; leaves one.
    pub async fn crash_coordinators(&self, count: usize, time: Duration) {
        let mut working: Vec<JoinHandle<()>> = (0..count).map(|_| self.coordinator()).collect();
        let end = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < end {
            tokio::time::sleep(self.faults.between(Duration::from_millis(100), Duration::from_secs(4))).await;
            let victim = self.faults.below(working.len());
            working[victim].abort();
            tokio::time::sleep(self.faults.between(Duration::ZERO, Duration::from_secs(2))).await;
            working[victim] = self.coordinator();
        }
        for killed in working.drain(1..) {
            killed.abort();
        }
        self.tasks.lock().unwrap().extend(working);
    }

    /// Delivers the externals of stars, and publishes a dataset event with the stars inline; returns it.
    pub async fn publish(&self, id: &str, stars: &[StarId]) -> Result<DatasetEvent> {
        self.deliver(stars)?;
        self.publish_selection(id, StarSelection::Inline(stars.to_vec())).await
    }

    /// Delivers the externals of stars that have none yet.
    pub fn deliver(&self, stars: &[StarId]) -> Result<()> {
        files::deliver(&self.store, &self.scripts, stars)
    }

    /// Kills all workers; others take their places. What they reported, and nobody followed, is free one lease later.
    pub fn kill_workers(&self) {
        self.witness.kill_all();
    }

    /// Publishes a dataset event; returns it.
    pub async fn publish_selection(&self, id: &str, stars: StarSelection) -> Result<DatasetEvent> {
        let update = DatasetUpdate { dataset: "l1/lightcurve".parse()?, quarter: quarter(), stars, start: None };
        let event = DatasetEvent::new("simulation", id, "2026-01-01T00:00:00Z".to_owned(), update);
        self.send(to_json(&event)).await?;
        Ok(event)
    }

    /// Puts a body into the queue of events.
    pub async fn send(&self, body: Vec<u8>) -> Result<()> {
        for answer in self.broker.publish(vec![Outgoing { queue: QueueName::Events, body, trace: None }]).await {
            answer?;
        }
        Ok(())
    }

    /// How many messages there are in a queue, waiting or unanswered.
    pub async fn depth(&self, queue: QueueName) -> Result<u64> {
        let depths = self.broker.depths(&[queue]).await?;
        Ok(depths.iter().map(|depth| depth.ready + depth.unacknowledged.unwrap_or(0)).sum())
    }

    /// The state, without faults.
    pub fn state(&self) -> SharedState {
        self.state.inner()
    }

    /// Forgets everything that the state knows, as a flushed Redis does.
    pub fn flush_state(&self) {
        self.state.replace(Arc::new(MemoryState::new()));
    }

    /// The runs that an event started, waited for.
    pub async fn runs_of(&self, event: &DatasetEvent) -> Result<Vec<RunId>> {
        let (store, id) = (self.store.clone(), event.event_id());
        crate::wait_until(Duration::from_secs(600), "the event has dispositions", async || {
            store.dispositions(id).is_ok_and(|dispositions| dispositions.is_some())
        })
        .await?;
        let dispositions = self.store.dispositions(id)?.context("just seen")?;
        Ok(dispositions
            .into_iter()
            .filter_map(|disposition| match disposition {
                Disposition::Run { run } => Some(run),
                Disposition::NoPipeline | Disposition::Rejected { .. } => None,
            })
            .collect())
    }

    /// Waits until these runs ended and the state forgot them.
    pub async fn wait_for_end(&self, runs: &[RunId]) -> Result<()> {
        let waited = crate::wait_until(Duration::from_secs(4 * 3600), "all runs have ended", async || {
            let over = |run: &RunId| self.store.run_end(*run).is_ok_and(|end| end.is_some());
            runs.iter().all(over) && self.state.inner().runs().await.is_ok_and(|held| held.is_empty())
        })
        .await;
        if waited.is_err() {
            bail!("{}", self.describe().await?);
        }
        Ok(())
    }

    /// What was seen that must never happen.
    pub fn violations(&self) -> Vec<String> {
        self.witness.violations()
    }

    /// The script of a pipeline.
    pub fn script(&self, pipeline: &str) -> Result<&Script> {
        let mut scripts = self.scripts.iter();
        let found = scripts.find(|script| script.pipeline.name.as_str() == pipeline);
        found.map(|script| &**script).with_context(|| format!("no pipeline {pipeline}"))
    }

    fn keep(&self, task: JoinHandle<()>) {
        self.tasks.lock().unwrap().push(task);
    }

    /// Where everything is stuck, for the message of a test that waited in vain.
    async fn describe(&self) -> Result<String> {
        let mut text = "runs do not end:".to_owned();
        for info in self.state.inner().runs().await? {
            let Some(view) = self.state.inner().run(info.run).await? else { continue };
            let stars = self.state.inner().in_flight(info.run, 3).await?;
            text += &format!(
                "\n{:?}\n counts {:?}\n in flight {}\n ready {:?}",
                info, view.counts, view.in_flight, view.ready
            );
            for star in stars {
                text += &format!("\n {star:?}: {:?}", self.state.inner().star(info.run, star).await?);
            }
        }
        text += &format!("\nviolations: {:?}", self.violations());
        Ok(text)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for task in self.tasks.lock().unwrap().drain(..) {
            task.abort();
        }
    }
}

/// P1 at every moment: the counts are those of the rows.
async fn watch_counts(state: Arc<FaultyState>, witness: Arc<Witness>) {
    loop {
        tokio::time::sleep(Duration::from_millis(170)).await;
        // Nothing here waits, so that nobody can come between.
        let inner = state.inner();
        for info in inner.runs().await.unwrap_or_default() {
            let stars: Vec<StarIndex> = (0..info.stars).map(StarIndex).collect();
            let (Ok(Some(view)), Ok(loaded)) = (inner.run(info.run).await, inner.load(info.run, &stars).await) else {
                continue;
            };
            let mut counts: BTreeMap<_, BTreeMap<TaskState, u64>> = BTreeMap::new();
            for star in loaded {
                for (module, cell) in (0..=u8::MAX).map(domain::id::ModuleIndex).zip(star.row.cells()) {
                    *counts.entry(module).or_default().entry(cell.state).or_default() += 1;
                }
            }
            if counts != view.counts {
                witness.note(format!("P1: {:?} for rows {counts:?}", view.counts));
            }
        }
    }
}
