//! The whole protocol in one process, on a clock of its own: coordinators that are killed and started, workers that die or
//! hang, messages that are lost, repeated and reordered, a state that does not answer or answers twice.
//!
//! Everything is real except modules, HDF5 and the two services, for which a runner, an agent and the in-process adapters
//! stand. What every star must end with is known beforehand and does not depend on any fault.

mod agent;
mod check;
mod disasters;
mod episode;
mod faults;
mod faulty;
mod files;
mod forgetful;
mod host;
mod life;
mod mutant;
mod mutations;
mod runner;
mod script;
mod stale;
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
use domain::pipeline::Pipeline;
use domain::run::{Star, TaskState};
pub use episode::{Episode, PlayedEpisode};
pub use faults::{Fault, FaultKind, Faults};
use faulty::{StateService, Surroundings};
use files::JsonFiles;
use host::WorkerHost;
use life::Life;
pub use mutant::Mutant;
pub use script::Script;
use services::config::LogConfig;
use services::queue::memory::MemoryQueue;
use services::queue::{Outgoing, QueueName, SharedQueue};
use services::state::memory::MemoryState;
use services::state::{SharedState, StarView};
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
    around: Surroundings,
    /// Coordinators that were started.
    coordinators: Arc<Mutex<Vec<Life>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    _directory: tempfile::TempDir,
}

impl World {
    /// A cluster in this process without coordinators, with two workers, for these pipelines. P1 is watched all the time.
    pub async fn start(seed: u64, scripts: Vec<Script>) -> Result<Self> {
        Self::start_with(Faults::new(seed), scripts, 2).await
    }

    /// The same with faults of any kind, and so many workers.
    async fn start_with(faults: Faults, scripts: Vec<Script>, workers: usize) -> Result<Self> {
        let services = (Arc::new(MemoryQueue::new()), Arc::new(MemoryState::new()));
        let world = Self::on(services.0, services.1, faults, scripts).await?;
        world.work(workers);
        world.keep(tokio::spawn(watch_counts(world.around.clone())));
        Ok(world)
    }

    /// The same on a broker and a state of any kind.
    pub async fn start_on(broker: SharedQueue, state: SharedState, seed: u64, scripts: Vec<Script>) -> Result<Self> {
        let world = Self::on(broker, state, Faults::new(seed), scripts).await?;
        world.work(2);
        Ok(world)
    }

    async fn on(broker: SharedQueue, state: SharedState, faults: Faults, scripts: Vec<Script>) -> Result<Self> {
        // Nothing is said unless RUST_LOG asks for it.
        services::telemetry::start(&LogConfig { filter: "off".to_owned(), ..LogConfig::default() })?;
        let directory = files::directory()?;
        broker.declare(&[]).await?;
        let store = Store::init(directory.path())?.asked_here();
        let scripts: Vec<Arc<Script>> = scripts.into_iter().map(Arc::new).collect();
        let faults = Arc::new(faults);
        let witness = Arc::new(Witness::new(store.clone(), faults.clone(), scripts.clone()));
        let state = Arc::new(StateService::new(state));
        Ok(Self {
            store,
            scripts,
            around: Surroundings { broker: broker.clone(), state, faults: faults.clone(), witness },
            broker,
            faults,
            coordinators: Arc::default(),
            tasks: Mutex::default(),
            _directory: directory,
        })
    }

    /// Starts hosts with a worker each.
    fn work(&self, workers: usize) {
        for number in 0..workers {
            let host =
                WorkerHost { name: format!("host-{number}"), store: self.store.clone(), around: self.around.clone() };
            self.keep(tokio::spawn(host.work()));
        }
    }

    /// Starts a coordinator; aborting it is a crash.
    pub fn coordinator(&self) -> JoinHandle<()> {
        self.coordinator_with("", Vec::new())
    }

    /// Starts a coordinator that answers HTTP at this address and tells these hooks.
    pub fn coordinator_with(&self, listen: &str, hooks: Vec<Hook>) -> JoinHandle<()> {
        self.coordinator_at(HttpConfig { listen: listen.to_owned(), ..HttpConfig::default() }, hooks)
    }

    /// Starts a coordinator that answers HTTP so and tells these hooks. When it dies over a step, another takes its place.
    pub fn coordinator_at(&self, http: HttpConfig, hooks: Vec<Hook>) -> JoinHandle<()> {
        let (store, around) = (self.store.clone(), self.around.clone());
        let pipelines: Vec<Pipeline> = self.scripts.iter().map(|script| script.pipeline.clone()).collect();
        let lives = self.coordinators.clone();
        tokio::spawn(async move {
            loop {
                let life = Life::of_coordinator(around.faults.clone());
                let _guard = life.guard();
                lives.lock().unwrap().push(life.clone());
                let parts = CoordinatorParts {
                    store: store.clone(),
                    queue: around.queue_of(&life),
                    state: around.state_of(&life),
                    pipelines: pipelines.clone(),
                    config: CoordinatorConfig { in_flight: 20, hooks: hooks.clone(), ..CoordinatorConfig::default() },
                    http: http.clone(),
                    traces: Traces::default(),
                    agent: None,
                };
                let files = JsonFiles { store: store.clone(), faults: around.faults.clone() };
                let files: Vec<Box<dyn StarFiles>> = vec![Box::new(files)];
                tokio::select! {
                    biased;
                    () = life.killed() => {}
                    ended = coordinator::run_with(parts, files, CancellationToken::new()) => {
                        if let Err(error) = ended {
                            around.witness.note(format!("a coordinator ended: {error:#}"));
                        }
                        return;
                    }
                }
                tokio::time::sleep(around.faults.between(Duration::ZERO, Duration::from_secs(2))).await;
            }
        })
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
        self.around.witness.kill_all();
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
        self.around.state.inner()
    }

    /// Forgets everything that the state knows, as a flushed Redis does.
    pub fn flush_state(&self) {
        self.around.state.replace(Arc::new(MemoryState::new()));
    }

    /// The same, once, between the moment at which the next coordinator that starts has looked at the epoch and that at which it
    /// tells all runs of it.
    pub fn flush_state_while_the_next_starts(&self) {
        self.around.state.forget_before_next_spread();
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
                Disposition::Waits { .. } | Disposition::NoPipeline | Disposition::Rejected { .. } => None,
            })
            .collect())
    }

    /// Waits until these runs ended and the state forgot them.
    pub async fn wait_for_end(&self, runs: &[RunId]) -> Result<()> {
        self.wait_for_end_within(runs, Duration::from_secs(4 * 3600)).await
    }

    async fn wait_for_end_within(&self, runs: &[RunId], patience: Duration) -> Result<()> {
        let waited = crate::wait_until(patience, "all runs have ended", async || {
            let over = |run: &RunId| self.store.run_end(*run).is_ok_and(|end| end.is_some());
            let ended =
                runs.iter().all(over) && self.around.state.inner().runs().await.is_ok_and(|held| held.is_empty());
            // Nobody need wait for the end of what went wrong already.
            ended || !self.around.witness.violations().is_empty()
        })
        .await;
        if waited.is_err() {
            bail!("{}", self.describe().await?);
        }
        Ok(())
    }

    /// What was seen that must never happen.
    pub fn violations(&self) -> Vec<String> {
        self.around.witness.violations()
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
        for info in self.around.state.inner().runs().await? {
            let Some(view) = self.around.state.inner().run(info.run).await? else { continue };
            let stars = self.around.state.inner().in_flight(info.run, 3).await?;
            text += &format!(
                "\n{:?}\n counts {:?}\n in flight {}\n ready {:?}",
                info, view.counts, view.in_flight, view.ready
            );
            for star in stars {
                let StarView { star: Star { row, tries }, running, due, .. } =
                    self.around.state.inner().star(info.run, star).await?;
                let cells: Vec<_> = row.cells().map(|cell| cell.state).collect();
                text += &format!("\n {star:?}: {cells:?}, {tries:?}, running {running:?}, due {due:?}");
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
async fn watch_counts(Surroundings { state, witness, .. }: Surroundings) {
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
