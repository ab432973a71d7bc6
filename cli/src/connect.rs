//! From configuration to the parts that a command talks to, each only where it is needed.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use coordinator::config::{CoordinatorConfig, HttpConfig};
use domain::id::{ClassName, WorkerName};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use services::config::{ConfigFile, LogConfig, StoreConfig, environment, local_queue, local_state};
use services::queue::amqp::{AmqpConfig, AmqpQueue};
use services::queue::{QueueError, SharedQueue};
use services::state::redis::{RedisConfig, RedisState};
use services::state::{SharedState, StateError};
use store::Store;
use store::migration::{BroughtForward, bring_forward};
use tokio::time::timeout;
use worker::config::WorkerConfig;
use worker::runner::docker::DockerConfig;

use crate::exit::usage;
use crate::output::note;

/// How long Redis may take to answer the first time.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which installation a command is about.
#[derive(Debug, Args)]
pub(crate) struct SiteArgs {
    /// Configuration file; without it the environment (`SAS_…`) and defaults serve.
    #[arg(long, global = true, env = "SAS_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Root of the store, instead of `[store] root` in the configuration. Where there is none, only `init`, `ingest --init` and
    /// `local` make one.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Why something is changed, for the audit; with commands that change something.
    #[arg(id = "why", long = "why", global = true, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// What the commands read of the configuration.
pub(crate) struct Config {
    store: Option<StoreConfig>,
    queue: AmqpConfig,
    state: RedisConfig,
    coordinator: Section<CoordinatorConfig>,
    worker: Section<WorkerConfig>,
    docker: Section<DockerConfig>,
    /// What is wrong with sections that this command may never read.
    odd: Vec<String>,
}

/// A section that few commands read: what is wrong with it stops no others.
type Section<T> = Result<T, String>;

/// What every command reads.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Needed {
    store: Option<StoreConfig>,
    #[serde(default = "local_queue")]
    queue: AmqpConfig,
    #[serde(default = "local_state")]
    state: RedisConfig,
}

impl Config {
    /// Reads the file, if there is one, the environment, and what the command line says instead. What is wrong with sections
    /// of other programs is said.
    pub(crate) fn load(site: &SiteArgs) -> anyhow::Result<Self> {
        let config = Self::read(site)?;
        config.odd.iter().for_each(|odd| note(&format!("warning: {odd}")));
        Ok(config)
    }

    /// The same without a word.
    pub(crate) fn read(site: &SiteArgs) -> anyhow::Result<Self> {
        let file = ConfigFile::read(site.config.as_deref())?;
        // Whoever names the store on the command line need not name it elsewhere to set something else of it.
        let root = site.store.as_ref().and_then(|root| root.to_str().map(str::to_owned));
        let needed: Needed = file.load(environment(root), &["store", "queue", "state"])?;
        let mut odd = file.strange_sections();
        let coordinator = section(&file, "coordinator", &mut odd);
        let worker = section(&file, "worker", &mut odd);
        let docker = section(&file, "docker", &mut odd);
        // No command reads these.
        _ = section::<HttpConfig>(&file, "http", &mut odd);
        _ = section::<LogConfig>(&file, "log", &mut odd);
        _ = section::<BTreeMap<ClassName, u32>>(&file, "slots", &mut odd);
        let keep_generations = needed.store.as_ref().and_then(|store| store.keep_generations);
        let store = site.store.clone().map(|root| StoreConfig { root, keep_generations }).or(needed.store);
        Ok(Self { store, queue: needed.queue, state: needed.state, coordinator, worker, docker, odd })
    }

    /// What is wrong with sections that few commands read.
    pub(crate) fn odd(&self) -> &[String] {
        &self.odd
    }

    /// Files, or patterns of files, of the pipelines that events start.
    pub(crate) fn pipelines(&self) -> anyhow::Result<&[String]> {
        Ok(&sound(&self.coordinator)?.pipelines)
    }

    /// The store, which must be there.
    pub(crate) fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::open(self.root()?)?)
    }

    /// How many of the newest generations `sas store gc` leaves.
    pub(crate) fn keep_generations(&self) -> Option<NonZeroU32> {
        self.store.as_ref().and_then(|store| store.keep_generations)
    }

    /// Whether there is a store in its place.
    pub(crate) fn has_store(&self) -> bool {
        self.root().is_ok_and(|root| Store::open(root).is_ok())
    }

    /// Brings a store of an older format to the newest; what was done, if anything.
    pub(crate) fn bring_store_forward(&self) -> anyhow::Result<Option<BroughtForward>> {
        Ok(bring_forward(self.root()?)?)
    }

    /// How workers of this host are configured.
    pub(crate) fn worker(&self) -> anyhow::Result<&WorkerConfig> {
        sound(&self.worker)
    }

    /// How they run containers.
    pub(crate) fn docker(&self) -> anyhow::Result<&DockerConfig> {
        sound(&self.docker)
    }

    /// Where RabbitMQ is.
    pub(crate) fn broker(&self) -> &AmqpConfig {
        &self.queue
    }

    /// RabbitMQ.
    pub(crate) async fn queue(&self) -> Result<SharedQueue, QueueError> {
        Ok(Arc::new(AmqpQueue::connect(&self.queue, "sas").await?))
    }

    /// Redis; whoever sits at the terminal does not wait long for one that is dead.
    pub(crate) async fn state(&self) -> Result<SharedState, StateError> {
        match timeout(PATIENCE, RedisState::connect(&self.state)).await {
            Ok(connected) => Ok(Arc::new(connected?)),
            Err(_) => {
                let reason = format!("Redis at {}: no answer for {} s", self.state.url, PATIENCE.as_secs());
                Err(StateError::Unreachable(reason))
            }
        }
    }

    /// Where the store is.
    pub(crate) fn root(&self) -> anyhow::Result<&Path> {
        self.store.as_ref().map(|store| store.root.as_path()).ok_or_else(|| {
            usage("no store: name it with --store, `[store] root` in the configuration, or SAS_STORE_ROOT").into()
        })
    }
}

/// A section of the file and the environment.
fn section<T: DeserializeOwned + Default>(file: &ConfigFile, name: &str, odd: &mut Vec<String>) -> Section<T> {
    let read = file.load::<BTreeMap<String, T>>(environment(None), &[name]);
    let section = read.map(|mut read| read.remove(name).unwrap_or_default());
    section.map_err(|error| error.to_string()).inspect_err(|reason| odd.push(reason.clone()))
}

fn sound<T>(section: &Section<T>) -> anyhow::Result<&T> {
    section.as_ref().map_err(|reason| anyhow::anyhow!("{reason}"))
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
pub(crate) fn here() -> WorkerName {
    format!("sas-{}", std::process::id()).parse().expect("a number is printable")
}
