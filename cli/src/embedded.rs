//! A coordinator and a worker in this process, with queue and state in memory: the same services as on a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use coordinator::config::{CoordinatorConfig, HttpConfig};
use coordinator::operate::{Connected, Context};
use domain::id::ClassName;
use domain::pipeline::Pipeline;
use services::queue::SharedQueue;
use services::queue::memory::MemoryQueue;
use services::state::SharedState;
use services::state::memory::MemoryState;
use services::traces::Traces;
use store::Store;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use worker::config::WorkerConfig;
use worker::runner::docker::DockerConfig;

use crate::installation::{no_runner, operator};

/// How long what runs may go on when the process is told to end: somebody waits at the keyboard.
const GRACE: Duration = Duration::from_secs(2);

/// What runs in this process.
pub(crate) struct Embedded {
    /// What its operator asks.
    pub(crate) context: Context,
    services: Mutex<JoinSet<anyhow::Result<()>>>,
    shutdown: CancellationToken,
}

impl Embedded {
    /// Starts both services for one pipeline.
    pub(crate) async fn start(
        store: &Store,
        pipeline: Pipeline,
        config: WorkerConfig,
        slots: BTreeMap<ClassName, u32>,
    ) -> anyhow::Result<Self> {
        let queue: SharedQueue = Arc::new(MemoryQueue::new());
        let state: SharedState = Arc::new(MemoryState::new());
        let shutdown = CancellationToken::new();
        let config = WorkerConfig { grace: GRACE, ..config };
        let name = worker::unique_name(&config.host()).context("[worker] host")?;
        let runner =
            worker::connect_runner(&config, &DockerConfig::default(), store, &name).await.map_err(|error| {
                let hint = "`--runner process` needs no Docker, and isolates nothing";
                no_runner(error, &format!("modules cannot be run ({hint})"))
            })?;
        let worker = worker::WorkerParts {
            name,
            store: store.clone(),
            queue: queue.clone(),
            state: state.clone(),
            runner,
            traces: Traces::default(),
            config,
            slots,
        };
        let pipelines = [pipeline.clone()].into();
        let connected = Connected { queue: queue.clone(), state: state.clone(), pipelines };
        let context = Context::new(store.clone(), Arc::new(connected), operator());
        let coordinator = coordinator::CoordinatorParts {
            store: store.clone(),
            queue: queue.clone(),
            state,
            pipelines: vec![pipeline],
            config: CoordinatorConfig::default(),
            http: HttpConfig::off(),
            traces: Traces::default(),
            agent: None,
        };
        let mut services = JoinSet::new();
        services.spawn(coordinator::run(coordinator, shutdown.clone()));
        services.spawn(worker::run(worker, shutdown.clone()));
        Ok(Self { context, services: Mutex::new(services), shutdown })
    }

    /// Waits until a service ends, which none should.
    pub(crate) async fn broken(&self) -> anyhow::Error {
        match self.services.lock().await.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => anyhow::Error::new(error).context("a service of this process failed"),
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("a service of this process ended too early"),
        }
    }

    /// Ends both services; containers that still run are stopped.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        let mut services = self.services.into_inner();
        while services.join_next().await.is_some() {}
    }
}
