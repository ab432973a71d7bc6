//! From configuration to the parts that a command talks to, each only where it is needed.

use domain::id::WorkerName;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use coordinator::config::CoordinatorConfig;
use serde::Deserialize;
use services::config::{StoreConfig, load, local_queue, local_state};
use services::queue::amqp::{AmqpConfig, AmqpQueue};
use services::queue::{QueueError, SharedQueue};
use services::state::redis::{RedisConfig, RedisState};
use services::state::{SharedState, StateError};
use store::Store;
use store::migration::{BroughtForward, bring_forward};
use worker::config::{RunnerKind, WorkerConfig};
use worker::connect_runner;
use worker::runner::docker::{DockerConfig, DockerRunner, Owner};
use worker::runner::{RunnerError, SharedRunner};

use crate::exit::usage;

/// Which installation a command is about.
#[derive(Debug, Args)]
pub(crate) struct Site {
    /// Configuration file; without it the environment (`SAS_…`) and defaults serve.
    #[arg(long, global = true, env = "SAS_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Root of the store, instead of `[store] root` in the configuration. `init`, `ingest` and `local` make one where there
    /// is none.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
}

/// What the commands read of the configuration.
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
    /// Reads the file, if there is one, the environment, and what the command line says instead.
    pub(crate) fn load(site: &Site) -> anyhow::Result<Self> {
        let sections = ["store", "queue", "state", "coordinator", "worker", "docker"];
        let mut config: Self = load(site.config.as_deref(), std::env::vars(), &sections)?;
        if let Some(root) = site.store.clone() {
            config.store = Some(StoreConfig { root });
        }
        Ok(config)
    }

    /// Files, or patterns of files, of the pipelines that events start.
    pub(crate) fn pipelines(&self) -> &[String] {
        &self.coordinator.pipelines
    }

    /// The store, which must be there.
    pub(crate) fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::open(self.root()?)?)
    }

    /// Whether there is a store in its place.
    pub(crate) fn has_store(&self) -> bool {
        self.root().is_ok_and(|root| Store::open(root).is_ok())
    }

    /// Brings a store of an older format to the newest; what was done, if anything.
    pub(crate) fn bring_store_forward(&self) -> anyhow::Result<Option<BroughtForward>> {
        Ok(bring_forward(self.root()?)?)
    }

    /// The store, made when it is not there.
    pub(crate) fn store_or_new(&self) -> anyhow::Result<Store> {
        make_store(self.root()?)
    }

    /// How modules are run on this host.
    pub(crate) fn runner_kind(&self) -> RunnerKind {
        self.worker.runner
    }

    /// The container engine of this host.
    pub(crate) async fn docker(&self, store: &Store) -> Result<DockerRunner, RunnerError> {
        let owner = Owner {
            worker: here(),
            host: self.worker.host(),
            store: store.root().to_owned(),
            scratch: store.at(store::paths::scratch()),
        };
        DockerRunner::connect(self.docker.clone(), owner).await
    }

    /// What runs modules on this host, as workers are told to.
    pub(crate) async fn runner(&self, store: &Store) -> Result<SharedRunner, RunnerError> {
        connect_runner(&self.worker, &self.docker, store, &here()).await
    }

    /// Where RabbitMQ is.
    pub(crate) fn broker(&self) -> &AmqpConfig {
        &self.queue
    }

    /// RabbitMQ.
    pub(crate) async fn queue(&self) -> Result<SharedQueue, QueueError> {
        Ok(Arc::new(AmqpQueue::connect(&self.queue, "sas").await?))
    }

    /// Redis.
    pub(crate) async fn state(&self) -> Result<SharedState, StateError> {
        Ok(Arc::new(RedisState::connect(&self.state).await?))
    }

    /// Where the store is.
    pub(crate) fn root(&self) -> anyhow::Result<&Path> {
        self.store.as_ref().map(|store| store.root.as_path()).ok_or_else(|| {
            usage("no store: name it with --store, `[store] root` in the configuration, or SAS_STORE_ROOT").into()
        })
    }
}

/// What may be in a directory that becomes a store: what an interrupted start left, and what file systems put there.
const HARMLESS: [&str; 7] = ["shared", "stars", "events", "runs", "control", "scratch", "lost+found"];

/// The store in a directory; both are made when they are not there. A directory with other things in it stays as it is.
pub(crate) fn make_store(root: &Path) -> anyhow::Result<Store> {
    std::fs::create_dir_all(root).with_context(|| format!("failed to make directory `{}`", root.display()))?;
    if !root.join(store::paths::STORE_FILE).exists() {
        let listed = root.read_dir().with_context(|| format!("failed to list `{}`", root.display()))?;
        for entry in listed {
            let name = entry?.file_name();
            anyhow::ensure!(
                HARMLESS.iter().any(|known| name == *known),
                "`{}` is no store and has other things in it (`{}`): name an empty directory, or a new one",
                root.display(),
                name.display()
            );
        }
    }
    Ok(Store::init(root)?)
}

/// What this process is called where workers are named.
fn here() -> WorkerName {
    format!("sas-{}", std::process::id()).parse().expect("a number is printable")
}
