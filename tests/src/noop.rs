//! A cluster whose workers run nothing: what is left is claiming, completing and acknowledging, through real RabbitMQ and Redis.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use domain::id::{EventId, RunId};
use domain::message::{DatasetEvent, DatasetUpdate, StarSelection, Start, to_json};
use domain::run::TaskState;
use services::address::Address;
use services::queue::amqp::{AmqpConfig, AmqpQueue};
use services::queue::{Outgoing, Queue, QueueName};
use services::state::redis::{RedisConfig, RedisState};
use services::state::{RunView, State};
use store::Store;
use tokio::time::MissedTickBehavior;

use crate::cluster::{Cluster, Running};

/// How often the state is asked how far a run is.
const LOOK: Duration = Duration::from_millis(2);

/// Longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Queues, state, store and one coordinator. Workers are started by who uses it.
pub struct NoopCluster {
    /// What programs are started in.
    pub cluster: Cluster,
    /// The coordinator, until somebody ends it.
    pub coordinator: Option<Running>,
    /// Its store.
    pub store: Store,
    /// What coordinators are told.
    settings: Vec<(String, String)>,
    state: RedisState,
    queue: AmqpQueue,
}

impl NoopCluster {
    /// Starts it in `directory`, with a pipeline of these modules, each with those that come before it. All are of group `G`.
    pub async fn start(directory: &Path, modules: &[(String, Vec<String>)]) -> Result<Self> {
        Self::start_with(directory, modules, &[]).await
    }

    /// The same, with settings of its coordinators.
    pub async fn start_with(
        directory: &Path,
        modules: &[(String, Vec<String>)],
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let pipeline = directory.join("bench.toml");
        fs::write(&pipeline, definition(modules))?;
        let cluster = Cluster::start(directory, &[&pipeline])?;
        let queue = AmqpConfig::at(cluster.queue_url());
        let state = RedisConfig { url: Address::new(cluster.state_url()) };
        let (queue, state) = (AmqpQueue::connect(&queue, "bench").await?, RedisState::connect(&state).await?);
        queue.declare(&["default".parse()?]).await?;
        let store = Store::open(&cluster.store)?;
        let of = |text: &str| text.to_owned();
        let mut settings: Vec<_> = settings.iter().map(|(name, value)| (of(name), of(value))).collect();
        settings.push((of("RUST_LOG"), of("warn")));
        let mut started = Self { cluster, coordinator: None, store, settings, state, queue };
        started.start_coordinator("coordinator")?;
        Ok(started)
    }

    /// Starts a coordinator, in place of one that was ended.
    pub fn start_coordinator(&mut self, name: &str) -> Result<()> {
        let settings: Vec<_> = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.coordinator = Some(self.cluster.coordinator_with(name, &settings)?);
        Ok(())
    }

    /// Starts a worker with so many slots that runs nothing.
    pub fn worker(&self, name: &str, slots: u32) -> Result<Running> {
        let slots = slots.to_string();
        let settings = [("SAS_WORKER_RUNNER", "dispatch"), ("SAS_SLOTS_DEFAULT", slots.as_str()), ("RUST_LOG", "warn")];
        self.cluster.worker(name, &settings)
    }

    /// Publishes the event that starts the group over these stars; `name` is the event's own.
    pub async fn begin(&self, name: &str, stars: StarSelection) -> Result<RunId> {
        let start = Start { pipeline: "BENCH".parse()?, version: None, only_group: Some("G".parse()?), replay: None };
        let (dataset, quarter) = ("l1/lightcurve".parse()?, 3.try_into()?);
        let data = DatasetUpdate { dataset, quarter, stars, start: Some(start) };
        let event = DatasetEvent::new("bench", name, jiff::Timestamp::now().to_string(), data);
        let message = Outgoing { queue: QueueName::Events, body: to_json(&event), trace: None };
        self.queue.publish(vec![message]).await.into_iter().collect::<Result<(), _>>()?;
        Ok(RunId::of(EventId::of("bench", name), "BENCH", "1"))
    }

    /// How a run stands; `None` while the state does not have it.
    pub async fn view(&self, run: RunId) -> Result<Option<RunView>> {
        Ok(self.state.run(run).await?)
    }

    /// How many messages wait in the queue of tasks.
    pub async fn waiting(&self) -> Result<u64> {
        let depths = self.queue.depths(&[QueueName::Tasks("default".parse()?)]).await?;
        Ok(depths.iter().map(|depth| depth.ready).sum())
    }

    /// How many tasks of a run succeeded; none while the state does not have it.
    pub async fn succeeded(&self, run: RunId) -> Result<u64> {
        let view = self.state.run(run).await?;
        let counts = view.iter().flat_map(|view| view.counts.values());
        Ok(counts.filter_map(|states| states.get(&TaskState::Succeeded)).sum())
    }

    /// Waits until so many tasks of a run succeeded.
    pub async fn until_succeeded(&self, run: RunId, tasks: u64) -> Result<()> {
        until("tasks succeed", async || Ok(self.succeeded(run).await? >= tasks)).await
    }

    /// Waits until the state has a run no more.
    pub async fn until_over(&self, run: RunId) -> Result<()> {
        until("the run is over", async || Ok(self.state.run(run).await?.is_none())).await
    }

    /// Waits until the store has a run.
    pub async fn until_accepted(&self, run: RunId) -> Result<()> {
        until("the run is accepted", async || Ok(self.store.run(run)?.is_some())).await
    }
}

/// Five layers of six modules, then one: tasks of a star as in other peoples' benchmarks.
pub fn layers() -> Vec<(String, Vec<String>)> {
    let layer = |of: usize| (0..6).map(|at| format!("L{of}{at}")).collect::<Vec<_>>();
    let layers = (0..5).flat_map(|of| {
        let before = if of == 0 { Vec::new() } else { layer(of - 1) };
        layer(of).into_iter().map(move |name| (name, before.clone()))
    });
    layers.chain([("END".to_owned(), layer(4))]).collect()
}

/// Waits for a condition that is looked at every two milliseconds.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let holds = async {
        loop {
            every.tick().await;
            if condition().await? {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(PATIENCE, holds).await.with_context(|| format!("waited {PATIENCE:?} in vain until {what}"))?
}

/// The pipeline. Order alone, no products: nothing is ever staged.
fn definition(modules: &[(String, Vec<String>)]) -> String {
    let head = "name = \"BENCH\"\nversion = \"1\"\ntrigger = \"l1/lightcurve\"\n\
                [classes.default]\ncpus = 1\nmemory = \"64MB\"\n";
    let module = |(name, after): &(String, Vec<String>)| {
        format!(
            "[modules.{name}]\ngroup = \"G\"\nimage = \"none\"\nclass = \"default\"\ntime_limit = \"1m\"\n\
             after = {after:?}\noutputs.optional = [\"P_{name}\"]\n"
        )
    };
    head.to_owned() + &modules.iter().map(module).collect::<String>()
}
