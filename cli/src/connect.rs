//! From configuration to the parts that a command talks to, each only where it is needed.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use common::config::{StoreConfig, load, local_queue, local_state};
use common::id::RunId;
use common::queue::SharedQueue;
use common::queue::amqp::{AmqpConfig, AmqpQueue};
use common::state::SharedState;
use common::state::memory::MemoryState;
use common::state::redis::{RedisConfig, RedisState};
use common::store::Store;
use coordinator::config::CoordinatorConfig;
use coordinator::orders;
use serde::Deserialize;
use worker::config::{RunnerKind, WorkerConfig};
use worker::connect_runner;
use worker::runner::docker::{DockerConfig, DockerRunner, Owner};
use worker::runner::{RunnerError, SharedRunner};

use crate::exit::Stop;

/// What the commands read of the configuration; `[store]` may also be named on the command line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    store: Option<StoreConfig>,
    #[serde(default = "local_queue")]
    queue: AmqpConfig,
    #[serde(default = "local_state")]
    state: RedisConfig,
    #[serde(default)]
    coordinator: CoordinatorConfig,
    #[serde(default)]
    worker: WorkerConfig,
    #[serde(default)]
    docker: DockerConfig,
}

impl Config {
    /// Reads the file, if there is one, and the environment.
    pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        Ok(load(file, std::env::vars(), &["store", "queue", "state", "coordinator", "worker", "docker"])?)
    }

    /// Files, or patterns of files, of the pipelines that events start.
    pub(crate) fn pipelines(&self) -> &[String] {
        &self.coordinator.pipelines
    }

    /// The store, which must be there.
    pub(crate) fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::open(self.root(None)?)?)
    }

    /// Whether there is a store in `root`, or in the configured place.
    pub(crate) fn has_store(&self, root: Option<&Path>) -> bool {
        self.root(root).is_ok_and(|root| Store::open(root).is_ok())
    }

    /// The store in `root`, or the configured one; made when it is not there.
    pub(crate) fn store_or_new(&self, root: Option<&Path>) -> anyhow::Result<Store> {
        let root = self.root(root)?;
        std::fs::create_dir_all(root).with_context(|| format!("failed to make directory `{}`", root.display()))?;
        Ok(Store::init(root)?)
    }

    /// How modules are run on this host.
    pub(crate) fn runner_kind(&self) -> RunnerKind {
        self.worker.runner
    }

    /// The container engine of this host.
    pub(crate) async fn docker(&self, store: &Store) -> Result<DockerRunner, RunnerError> {
        let owner = Owner {
            worker: format!("sas-{}", std::process::id()),
            host: self.worker.host(),
            store: store.root().to_owned(),
            scratch: store.at("scratch"),
        };
        DockerRunner::connect(self.docker.clone(), owner).await
    }

    /// What runs modules on this host, as workers are told to.
    pub(crate) async fn runner(&self, store: &Store) -> Result<SharedRunner, RunnerError> {
        connect_runner(&self.worker, &self.docker, store, &format!("sas-{}", std::process::id())).await
    }

    /// Where RabbitMQ is.
    pub(crate) fn broker(&self) -> &AmqpConfig {
        &self.queue
    }

    /// RabbitMQ.
    pub(crate) async fn queue(&self) -> anyhow::Result<SharedQueue> {
        Ok(Arc::new(AmqpQueue::connect(&self.queue, "sas").await?))
    }

    /// Redis.
    pub(crate) async fn state(&self) -> anyhow::Result<SharedState> {
        Ok(Arc::new(RedisState::connect(&self.state).await?))
    }

    /// What is needed to read these runs: Redis, or, where all of them have ended, nothing: what is over is in the store.
    pub(crate) async fn state_of(&self, store: &Store, runs: &[RunId]) -> anyhow::Result<SharedState> {
        for run in runs {
            if !orders::read(store, *run)?.is_over {
                return self.state().await;
            }
        }
        Ok(Arc::new(MemoryState::new()))
    }

    fn root<'a>(&'a self, named: Option<&'a Path>) -> anyhow::Result<&'a Path> {
        named.or(self.store.as_ref().map(|store| store.root.as_path())).ok_or_else(|| {
            Stop::Usage(
                "no store: name it with --store, `[store] root` in the configuration, or SAS_STORE_ROOT".to_owned(),
            )
            .into()
        })
    }
}

/// Why there is no runner: an engine that does not do what a new runner asks of it is a service out of reach.
pub(crate) fn out_of_reach(error: RunnerError, what: &str) -> anyhow::Error {
    match error {
        RunnerError::Engine { .. } => Stop::OutOfReach(format!("{what}: {error}")).into(),
        RunnerError::ImageMissing(_) | RunnerError::Refused(_) | RunnerError::Directory { .. } => {
            anyhow::Error::new(error).context(what.to_owned())
        }
    }
}
