//! The whole protocol in one process, on a clock of its own: coordinators that are killed and started, workers that die or
//! hang, messages that are lost, repeated and reordered, a state that does not answer or answers twice.
//!
//! Everything is real except modules, star files and the two services, for which the in-process adapters stand. What every
//! star must end with is known beforehand and does not depend on any fault.

mod faults;
mod script;
mod worker;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use coordinator::config::{CoordinatorConfig, HttpConfig};
use coordinator::hooks::Hook;
use coordinator::{Parts, StarFiles};
use domain::id::{RunId, StarId, StarIndex};
use domain::message::{DatasetEvent, DatasetUpdate, StarSelection, to_json};
use domain::outcome::Outcome;
use domain::run::{Row, TaskState};
pub use faults::Faults;
use faults::{FaultyQueue, FaultyState};
pub use script::Script;
use services::config::LogConfig;
use services::queue::memory::MemoryQueue;
use services::queue::{Outgoing, QueueName, SharedQueue};
use services::state::SharedState;
use services::state::memory::MemoryState;
use store::agent::{AgentError, Assemble, GenerationInfo, Refusal, RefusalKind};
use store::events::Disposition;
use store::runs::{SettledStar, StarEnd};
use store::{Store, paths};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

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
    violations: Arc<Mutex<Vec<String>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    _directory: tempfile::TempDir,
}

impl World {
    /// A cluster in this process without coordinators, with two workers, for these pipelines. P1 is watched all the time.
    pub async fn start(seed: u64, scripts: Vec<Script>) -> Result<Self> {
        let world = Self::start_on(Arc::new(MemoryQueue::new()), Arc::new(MemoryState::new()), seed, scripts).await?;
        world.keep(tokio::spawn(watch_counts(world.state.clone(), world.violations.clone())));
        Ok(world)
    }

    /// The same on a broker and a state of any kind.
    pub async fn start_on(broker: SharedQueue, state: SharedState, seed: u64, scripts: Vec<Script>) -> Result<Self> {
        // Nothing is said unless RUST_LOG asks for it.
        services::telemetry::start(&LogConfig { filter: "off".to_owned(), ..LogConfig::default() })?;
        let directory = tempfile::tempdir()?;
        let faults = Arc::new(Faults::new(seed));
        broker.declare(&[]).await?;
        let world = Self {
            store: Store::init(directory.path())?,
            scripts: scripts.into_iter().map(Arc::new).collect(),
            queue: Arc::new(FaultyQueue::new(broker.clone(), faults.clone())),
            state: Arc::new(FaultyState::new(state, faults.clone())),
            broker,
            faults,
            violations: Arc::default(),
            tasks: Mutex::default(),
            _directory: directory,
        };
        for number in 0..2 {
            let worker = worker::Worker {
                name: format!("worker-{number}"),
                store: world.store.clone(),
                queue: world.queue.clone(),
                state: world.state.clone(),
                faults: world.faults.clone(),
                scripts: world.scripts.clone(),
                violations: world.violations.clone(),
            };
            world.keep(tokio::spawn(worker.work()));
        }
        Ok(world)
    }

    /// Starts a coordinator; aborting it is a crash.
    pub fn coordinator(&self) -> JoinHandle<()> {
        self.coordinator_with("", Vec::new())
    }

    /// Starts a coordinator that answers HTTP at this address and tells these hooks.
    pub fn coordinator_with(&self, listen: &str, hooks: Vec<Hook>) -> JoinHandle<()> {
        let parts = Parts {
            store: self.store.clone(),
            queue: self.queue.clone(),
            state: self.state.clone(),
            pipelines: self.scripts.iter().map(|script| script.pipeline.clone()).collect(),
            config: CoordinatorConfig { in_flight: 20, hooks, ..CoordinatorConfig::default() },
            http: HttpConfig { listen: listen.to_owned() },
            agent: None,
        };
        let files = JsonFiles { store: self.store.clone(), faults: self.faults.clone() };
        let files: Vec<Box<dyn StarFiles>> = vec![Box::new(files)];
        let violations = self.violations.clone();
        tokio::spawn(async move {
            if let Err(error) = coordinator::run_with(parts, files, CancellationToken::new()).await {
                note(&violations, format!("a coordinator ended: {error:#}"));
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

    /// Publishes a dataset event with its stars inline; returns it.
    pub async fn publish(&self, id: &str, stars: &[StarId]) -> Result<DatasetEvent> {
        self.publish_selection(id, StarSelection::Inline(stars.to_vec())).await
    }

    /// Publishes a dataset event; returns it.
    pub async fn publish_selection(&self, id: &str, stars: StarSelection) -> Result<DatasetEvent> {
        let update = DatasetUpdate { dataset: "l1/lightcurve".parse()?, quarter: 3.try_into()?, stars, start: None };
        let event = DatasetEvent::new("simulation", id, "2026-01-01T00:00:00Z".to_owned(), update);
        self.send(to_json(&event)).await?;
        Ok(event)
    }

    /// Puts a body into the queue of events.
    pub async fn send(&self, body: Vec<u8>) -> Result<()> {
        for answer in self.broker.publish(vec![Outgoing { queue: QueueName::Events, body }]).await {
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

    /// Checks everything that must hold of a run that ended; `superseded` says whether a newer run could take its stars.
    pub fn check_end(&self, run: RunId, superseded: bool) -> Result<()> {
        let record = self.store.run(run)?.context("the run is in the store")?;
        let end = self.store.run_end(run)?.context("the run ended")?;
        let script = self.script(record.pipeline.as_str())?;
        let stars: Vec<StarId> = self.store.stars(run)?.iter().collect::<Result<_, _>>()?;
        let settled = self.store.settled(run)?;
        ensure!(settled.len() == stars.len(), "E1: {} of {} stars have an end", settled.len(), stars.len());
        let mut counts: BTreeMap<(usize, TaskState), u64> = BTreeMap::new();
        let mut ends: BTreeMap<StarEnd, u64> = BTreeMap::new();
        for (index, star) in (0..).map(StarIndex).zip(&stars) {
            let line = &settled[&index];
            let row = Row::from_bytes(line.row.clone())?;
            self.check_star(script, &record, *star, line, &row, superseded).with_context(|| format!("{run}/{star}"))?;
            for (module, cell) in row.cells().enumerate() {
                *counts.entry((module, cell.state)).or_default() += 1;
            }
            *ends.entry(line.end.context("E1")?).or_default() += 1;
        }
        let modules = &script.pipeline.modules;
        let recorded: BTreeMap<(usize, TaskState), u64> = end
            .counts
            .iter()
            .flat_map(|(name, states)| {
                let module = modules.iter().position(|module| module.name == *name).unwrap_or(usize::MAX);
                states.iter().map(move |(state, count)| ((module, *state), *count))
            })
            .collect();
        ensure!(recorded == counts, "P1: the run's counts {recorded:?} are not those of the rows {counts:?}");
        ensure!(end.stars == ends, "E1: stars of the run {:?}, of the lines {ends:?}", end.stars);
        Ok(())
    }

    fn check_star(
        &self,
        script: &Script,
        record: &store::runs::RunRecord,
        star: StarId,
        line: &SettledStar,
        row: &Row,
        superseded: bool,
    ) -> Result<()> {
        let expected = script.expected(star);
        for (cell, (module, wanted)) in row.cells().zip(script.pipeline.indexed().zip(&expected)) {
            let taken = superseded && cell.state == TaskState::Superseded;
            let (index, module) = module;
            ensure!(taken || cell.state == wanted.state, "{}: {} and not {}", module.name, cell.state, wanted.state);
            if let (TaskState::Succeeded, Some(generation)) = (cell.state, line.generation) {
                ensure!(
                    line.keys.get(&index) == wanted.key.as_ref(),
                    "{}: another key (generation {generation})",
                    module.name
                );
            }
        }
        let Some(generation) = line.generation else {
            ensure!(superseded, "a star without a star file");
            return Ok(());
        };
        let file = self.store.at(paths::generation(star, record.quarter, generation));
        let info = read_generation(&file)?;
        ensure!(info.run == record.run && info.row == line.row, "S2: the generation is of another end");
        let newest = self.store.latest_generation(star, record.quarter)?.unwrap_or(0);
        let newest = read_generation(&self.store.at(paths::generation(star, record.quarter, newest)))?;
        let shown = read_generation(&self.store.at(paths::star_file(star, record.quarter)))?;
        ensure!(shown.number == newest.number, "S2: the star file is not the newest generation");
        Ok(())
    }

    /// What was seen that must never happen.
    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
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
async fn watch_counts(state: Arc<FaultyState>, violations: Arc<Mutex<Vec<String>>>) {
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
                note(&violations, format!("P1: {:?} for rows {counts:?}", view.counts));
            }
        }
    }
}

fn note(violations: &Mutex<Vec<String>>, what: String) {
    violations.lock().unwrap().push(what);
}

/// Star files of JSON: what a generation says of itself.
struct JsonFiles {
    store: Store,
    faults: Arc<Faults>,
}

#[async_trait]
impl StarFiles for JsonFiles {
    async fn build(&mut self, assemble: Assemble) -> Result<(), AgentError> {
        tokio::time::sleep(self.faults.between(Duration::ZERO, Duration::from_millis(50))).await;
        if self.faults.happens(0.03) {
            return Err(AgentError::Died { status: "simulated".to_owned(), request: "build".to_owned() });
        }
        for entry in &assemble.modules {
            let Some(Outcome::Succeeded(success)) = &entry.outcome else { continue };
            let file = paths::product(assemble.star, assemble.quarter, &entry.module, &success.key);
            if !self.store.at(&file).exists() {
                let message = format!("`{}` is not there", file.display());
                return Err(AgentError::Refused(Refusal { kind: RefusalKind::Missing, message }));
            }
        }
        std::fs::write(&assemble.dest, to_json(&assemble.generation)).expect("the scratch directory is writable");
        Ok(())
    }

    async fn generation(&mut self, file: &Path) -> Result<Option<GenerationInfo>, AgentError> {
        Ok(read_generation(file).ok())
    }
}

fn read_generation(file: &Path) -> Result<GenerationInfo> {
    Ok(serde_json::from_slice(&std::fs::read(file)?)?)
}
