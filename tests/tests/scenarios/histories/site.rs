//! A store with real files, and coordinator and worker in this process on queue and state in memory, as `sas local` has them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use coordinator::CoordinatorParts;
use coordinator::config::{CoordinatorConfig, HttpConfig};
use coordinator::operate::event::{StarDisposition, ledgers};
use coordinator::operate::replay::{self, ApplyReplay, DefinitionText, ReplayPlan, ReplayRequest};
use coordinator::operate::star::{RollBack, roll_back};
use coordinator::operate::{Connected, Context, ErrorKind, OperateError, Readers};
use domain::id::{Digest, Generation, ModuleName, ProductName, Quarter, StarId};
use domain::message::{DatasetEvent, DatasetUpdate, StarSelection, to_json};
use domain::outcome::Outcome;
use domain::pipeline::{Pipeline, load};
use domain::run::TaskState;
use harness::{program, wait_until};
use services::queue::memory::MemoryQueue;
use services::queue::{Outgoing, QueueName, SharedQueue};
use services::state::SharedState;
use services::state::memory::MemoryState;
use services::traces::Traces;
use store::agent::{Agent, AgentOptions, Manifest};
use store::ingest::{IngestOptions, IngestResult, IngestScope, IngestStep, Unnamed, ingest};
use store::{Store, paths};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::config::{RunnerKind, WorkerConfig};
use worker::runner::docker::DockerConfig;
use worker::{WorkerParts, connect_runner, unique_name};

use super::history::{HistoryDataset, HistoryDelivery, QUARTERS, STARS, definition};

/// How long everything may take to come to its end.
const LONG: Duration = Duration::from_secs(120);

/// Stars by their places.
pub(super) fn star(place: usize) -> StarId {
    StarId::of_simulator(place as u64)
}

/// A store and its services.
pub(super) struct HistorySite {
    root: PathBuf,
    store: Store,
    queue: SharedQueue,
    state: SharedState,
    pipeline: Pipeline,
    agent: Agent,
    coordinator: JoinHandle<Result<()>>,
    worker: JoinHandle<Result<()>>,
    shutdown: CancellationToken,
    /// Events that were published.
    pub(super) events: Vec<DatasetEvent>,
    /// Files that were delivered.
    delivered: usize,
}

/// What a star file holds, as far as it is to be the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HistoryEnd {
    products: BTreeMap<ProductName, (Digest, Option<String>)>,
    externals: BTreeMap<ProductName, Digest>,
    modules: BTreeMap<ModuleName, (TaskState, String)>,
}

impl HistorySite {
    /// An empty store in `root`, whose pipeline has these switches turned; the program of its modules lies in `shared`.
    pub(super) async fn start(shared: &Path, root: &Path, switches: &BTreeSet<u8>) -> Result<Self> {
        std::fs::create_dir_all(root.join("delivered"))?;
        let store = Store::init(&root.join("store"))?;
        let queue: SharedQueue = Arc::new(MemoryQueue::new());
        let state: SharedState = Arc::new(MemoryState::new());
        let pipeline = defined(shared, switches)?;
        queue.declare(&pipeline.classes.keys().cloned().collect::<Vec<_>>()).await?;
        let options = AgentOptions {
            program: Some(store_agent()),
            readable: vec![root.to_owned()],
            ..AgentOptions::new(store.root(), &store.scratch("test")?)
        };
        let shutdown = CancellationToken::new();
        let coordinator = coordinate(&store, &queue, &state, &pipeline, &shutdown);
        let worker = work(&store, &queue, &state, &shutdown).await?;
        Ok(Self {
            root: root.to_owned(),
            agent: Agent::new(options),
            store,
            queue,
            state,
            pipeline,
            coordinator,
            worker,
            shutdown,
            events: Vec::new(),
            delivered: 0,
        })
    }

    /// Kills the coordinator; another one starts, with these switches turned.
    pub(super) fn crash(&mut self, shared: &Path, switches: &BTreeSet<u8>) -> Result<()> {
        self.coordinator.abort();
        self.pipeline = defined(shared, switches)?;
        self.coordinator = coordinate(&self.store, &self.queue, &self.state, &self.pipeline, &self.shutdown);
        Ok(())
    }

    /// Takes files in, one by one, and publishes an event for each dataset and quarter.
    pub(super) async fn deliver(&mut self, deliveries: &[HistoryDelivery]) -> Result<()> {
        let mut files = Vec::new();
        for one in deliveries {
            self.delivered += 1;
            let file = self.root.join("delivered").join(format!("{}.h5", self.delivered));
            let [_, product, column] = one.dataset.names();
            files.push((file, star(one.star), one.quarter, product, column, one.value));
        }
        let plan = self.root.join("plan.json");
        std::fs::write(&plan, to_json(&files))?;
        let program = self.root.parent().context("it lies in a folder")?.join("program.py");
        let made = Command::new("/usr/bin/python3").arg(program).arg("deliver").arg(&plan).status()?;
        ensure!(made.success(), "no files were made");
        let mut news: BTreeMap<(HistoryDataset, u16), BTreeSet<StarId>> = BTreeMap::new();
        for (one, (file, ..)) in deliveries.iter().zip(&files) {
            self.take_in(one.dataset, file).await?;
            news.entry((one.dataset, one.quarter)).or_default().insert(star(one.star));
        }
        for ((dataset, quarter), stars) in news {
            let stars = StarSelection::Inline(stars.into_iter().collect());
            let [dataset, ..] = dataset.names();
            let update = DatasetUpdate { dataset: dataset.parse()?, quarter: quarter_of(quarter)?, stars, start: None };
            let id = format!("event-{}", self.events.len());
            let event = DatasetEvent::new("history", &id, "2030-01-01T00:00:00Z".to_owned(), update);
            self.publish(event).await?;
        }
        Ok(())
    }

    async fn take_in(&mut self, dataset: HistoryDataset, file: &Path) -> Result<()> {
        let options = IngestOptions {
            dataset: dataset.names()[0].parse()?,
            scope: IngestScope::AsWritten { unnamed: Unnamed::Nowhere },
            aliases: BTreeMap::new(),
        };
        let mut wrong = Vec::new();
        let mut tell = |step| {
            if let IngestStep::Done(ingested) = step
                && let IngestResult::Wrong { reason } = ingested.result
            {
                wrong.push(reason);
            }
        };
        ingest(&self.store, &mut self.agent, &[file.to_owned()], &options, &mut tell).await?;
        ensure!(wrong.is_empty(), "{wrong:?}");
        Ok(())
    }

    /// Publishes an event, for the first time or again.
    pub(super) async fn publish(&mut self, event: DatasetEvent) -> Result<()> {
        let sent = vec![Outgoing { queue: QueueName::Events, body: to_json(&event), trace: None }];
        self.queue.publish(sent).await.into_iter().collect::<Result<(), _>>()?;
        if self.events.iter().all(|known| known.event_id() != event.event_id()) {
            self.events.push(event);
        }
        Ok(())
    }

    /// Waits until every event is accepted and every run has ended; with `all` also until no star waits for anything.
    pub(super) async fn rest(&mut self, all: bool) -> Result<()> {
        let mut seen = String::new();
        let waited = wait_until(LONG, "everything has come to its end", async || {
            seen = self.unrest(all).await.unwrap_or_else(|error| Some(format!("{error:#}"))).unwrap_or_default();
            seen.is_empty() || self.coordinator.is_finished()
        })
        .await;
        waited.context(seen.clone())?;
        if self.coordinator.is_finished() {
            bail!("the coordinator ended: {:?}", (&mut self.coordinator).await);
        }
        Ok(())
    }

    async fn unrest(&self, all: bool) -> Result<Option<String>> {
        for event in &self.events {
            if self.store.dispositions(event.event_id())?.is_none() {
                return Ok(Some(format!("event {} is not accepted", event.id)));
            }
        }
        if let Some(info) = self.state.runs().await?.first() {
            return Ok(Some(format!(
                "run {} of {} goes on: {:?}",
                info.run,
                info.quarter,
                self.state.run(info.run).await?
            )));
        }
        for record in self.store.runs()? {
            if !self.store.is_over(record.run)? {
                return Ok(Some(format!("run {} has not ended", record.run)));
            }
        }
        let waits = |line: &BTreeMap<StarDisposition, Option<u64>>| line.contains_key(&StarDisposition::WaitingFor);
        if all
            && let Some(ledger) =
                self.ledgers().await?.into_iter().find(|ledger| ledger.lines.iter().any(|line| waits(&line.stars)))
        {
            return Ok(Some(format!("stars wait: {ledger:?}")));
        }
        Ok(None)
    }

    async fn ledgers(&self) -> Result<Vec<coordinator::operate::event::EventLedger>> {
        Ok(ledgers(&self.operator(), usize::MAX).await?)
    }

    /// Every star of every event is in one line, and the sums agree.
    pub(super) async fn check_ledgers(&self) -> Result<()> {
        let ledgers = self.ledgers().await?;
        ensure!(ledgers.len() >= self.events.len(), "{} of {} events are on record", ledgers.len(), self.events.len());
        for ledger in ledgers {
            // One pipeline takes it, so there is one line.
            let sums: Vec<u64> = ledger.lines.iter().map(|line| line.stars.values().flatten().sum()).collect();
            ensure!(
                ledger.balances && ledger.stars.is_some_and(|stars| sums == [stars]),
                "does not balance: {ledger:?}"
            );
        }
        Ok(())
    }

    /// Plans a replay of whatever changed, and applies it; the plan, if it ran anything.
    pub(super) async fn replay(&self, failed: bool, take_over: bool) -> Result<Option<ReplayPlan>> {
        let operator = self.operator();
        let mut request = ReplayRequest::of(self.pipeline.name.clone());
        let (pipeline, data_model) = (self.pipeline.definition.clone(), self.pipeline.data_model.clone());
        request.definition = Some(DefinitionText { pipeline, data_model });
        request.failed = failed;
        let applied = async {
            let plan = replay::plan(&operator, request).await?;
            replay::apply(&operator, ApplyReplay { plan: plan.clone(), weight: None, take_over }).await?;
            Ok::<_, OperateError>(plan)
        };
        match applied.await {
            Ok(plan) => Ok(Some(plan)),
            // Nothing ran yet, nothing changed, or somebody else was faster.
            Err(OperateError { kind: ErrorKind::AlreadySo | ErrorKind::NotFound | ErrorKind::Refused, .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Has a star file show its oldest generation, or the newest; whether it showed another one.
    pub(super) async fn show(&self, star: StarId, quarter: u16, newest: bool) -> Result<bool> {
        let quarter = quarter_of(quarter)?;
        let numbers = self.store.generations(star, quarter)?;
        let wanted: Option<&Generation> = if newest { numbers.last() } else { numbers.first() };
        let Some(to) = wanted.copied() else { return Ok(false) };
        let decided = roll_back(&self.operator(), RollBack { star, quarter: Some(quarter), to }).await?;
        Ok(decided.number.is_some())
    }

    /// What every star file holds.
    pub(super) async fn ends(&mut self) -> Result<BTreeMap<(usize, u16), HistoryEnd>> {
        let mut ends = BTreeMap::new();
        for (place, quarter) in (0..STARS).flat_map(|star| QUARTERS.map(|quarter| (star, quarter))) {
            let file = self.store.at(paths::star_file(star(place), quarter_of(quarter)?));
            let manifest = self.agent.manifest(&file).await.with_context(|| format!("`{}`", file.display()))?;
            ends.insert((place, quarter), HistoryEnd::of(manifest));
        }
        Ok(ends)
    }

    fn operator(&self) -> Context {
        let pipelines = [self.pipeline.clone()].into();
        let connected = Connected { queue: self.queue.clone(), state: self.state.clone(), pipelines };
        let readers = Readers::new(&self.store, Some(store_agent()), 1);
        Context { readers, ..Context::new(self.store.clone(), Arc::new(connected), "test") }
    }
}

impl Drop for HistorySite {
    fn drop(&mut self) {
        self.coordinator.abort();
        self.worker.abort();
    }
}

impl HistoryEnd {
    fn of(manifest: Manifest) -> Self {
        let reason = |outcome: &Option<Outcome>| match outcome {
            // Its key follows from a definition, which may say the same in other words.
            Some(Outcome::Succeeded(_)) | None => String::new(),
            Some(outcome) => outcome.to_string(),
        };
        let modules = manifest.modules.into_iter();
        Self {
            products: manifest.products.into_iter().map(|(name, of)| (name, (of.digest, of.not_produced))).collect(),
            externals: manifest.externals.into_iter().map(|(name, of)| (name, of.digest)).collect(),
            modules: modules.map(|of| (of.module, (of.state, reason(&of.outcome)))).collect(),
        }
    }
}

fn quarter_of(quarter: u16) -> Result<Quarter> {
    Ok(u32::from(quarter).try_into()?)
}

fn store_agent() -> PathBuf {
    program("sas-store", "sas-store-agent")
}

fn defined(shared: &Path, switches: &BTreeSet<u8>) -> Result<Pipeline> {
    let text = definition(&shared.join("program.py").display().to_string(), switches);
    load("history.toml", &text, None).with_context(|| text.clone())
}

fn coordinate(
    store: &Store,
    queue: &SharedQueue,
    state: &SharedState,
    pipeline: &Pipeline,
    shutdown: &CancellationToken,
) -> JoinHandle<Result<()>> {
    let parts = CoordinatorParts {
        store: store.clone(),
        queue: queue.clone(),
        state: state.clone(),
        pipelines: vec![pipeline.clone()],
        config: CoordinatorConfig { compare: Duration::from_secs(2), ..CoordinatorConfig::default() },
        http: HttpConfig::off(),
        traces: Traces::default(),
        agent: Some(store_agent()),
    };
    tokio::spawn(coordinator::run(parts, shutdown.clone()))
}

async fn work(
    store: &Store,
    queue: &SharedQueue,
    state: &SharedState,
    shutdown: &CancellationToken,
) -> Result<JoinHandle<Result<()>>> {
    let config = WorkerConfig {
        runner: RunnerKind::Process,
        agent: Some(store_agent()),
        grace: Duration::ZERO,
        warm: 8,
        ..WorkerConfig::default()
    };
    let name = unique_name("here")?;
    let runner = connect_runner(&config, &DockerConfig::default(), store, &name).await?;
    let parts = WorkerParts {
        name,
        store: store.clone(),
        queue: queue.clone(),
        state: state.clone(),
        runner,
        traces: Traces::default(),
        config,
        slots: [("default".parse()?, 2)].into(),
    };
    Ok(tokio::spawn(worker::run(parts, shutdown.clone())))
}
