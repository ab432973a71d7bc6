//! The installation that the configuration names: its services are connected when they are first needed, and once.

use std::sync::Arc;

use async_trait::async_trait;
use coordinator::config::load_pipelines;
use coordinator::operate::{Context, ErrorKind, Images, Installation, OperateError};
use domain::id::{ImageIdentity, ImageName};
use domain::pipeline::Pipeline;
use services::queue::SharedQueue;
use services::state::SharedState;
use store::Store;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use worker::config::WorkerConfig;
use worker::connect_runner;
use worker::runner::{Program, RunnerError, SharedRunner};

use crate::connect::{Config, SiteArgs, here};

/// What a configuration names.
pub(crate) struct Configured {
    pub(crate) config: Config,
    /// Why something is changed.
    reason: Option<String>,
    queue: OnceCell<SharedQueue>,
    state: OnceCell<SharedState>,
}

impl Configured {
    /// The installation of the configuration that a command line names.
    pub(crate) fn load(site: &SiteArgs) -> anyhow::Result<Self> {
        Ok(Self { reason: site.reason.clone(), ..Self::of(Config::load(site)?) })
    }

    pub(crate) fn of(config: Config) -> Self {
        Self { config, reason: None, queue: OnceCell::new(), state: OnceCell::new() }
    }

    /// With its store, for whoever sits at the terminal.
    pub(crate) fn context(self) -> anyhow::Result<Context> {
        let store = self.config.store()?;
        Ok(self.context_with(store))
    }

    /// The same with a store that was opened already.
    pub(crate) fn context_with(self, store: Store) -> Context {
        let reason = self.reason.clone();
        Context::new(store, Arc::new(self), operator()).because(reason)
    }
}

#[async_trait]
impl Installation for Configured {
    async fn queue(&self) -> Result<SharedQueue, OperateError> {
        Ok(self.queue.get_or_try_init(|| self.config.queue()).await?.clone())
    }

    async fn state(&self) -> Result<SharedState, OperateError> {
        Ok(self.state.get_or_try_init(|| self.config.state()).await?.clone())
    }

    async fn pipelines(&self) -> Result<Arc<[Pipeline]>, OperateError> {
        let named = self.config.pipelines().map_err(|error| failed(&error))?.to_vec();
        let loaded = spawn_blocking(move || load_pipelines(&named)).await;
        let pipelines = loaded.map_err(anyhow::Error::from).flatten().map_err(|error| failed(&error))?;
        Ok(pipelines.into())
    }

    async fn images(&self) -> Result<Arc<dyn Images>, OperateError> {
        let store = self.config.store().map_err(|error| failed(&error))?;
        let hint =
            format!("the identity of an image is found by this host's Docker: ask where it runs; {WITHOUT_CONTAINERS}");
        let (worker, docker) = (self.config.worker(), self.config.docker());
        let (worker, docker) = (worker.map_err(|error| failed(&error))?, docker.map_err(|error| failed(&error))?);
        let connected = connect_runner(worker, docker, &store, &here()).await;
        let runner = connected.map_err(|error| no_runner(error, &hint))?;
        Ok(Arc::new(OfRunner(runner)))
    }
}

/// How identities are found where there is no image.
const WITHOUT_CONTAINERS: &str = "where modules run without containers, set SAS_WORKER_RUNNER=process";

/// Images as the runner of this host knows them.
struct OfRunner(SharedRunner);

#[async_trait]
impl Images for OfRunner {
    fn subject(&self, image: &ImageName, command: &[String]) -> String {
        self.0.subject(&program(image, command))
    }

    async fn identify(&self, image: &ImageName, command: &[String]) -> Result<ImageIdentity, OperateError> {
        self.0.identify(&program(image, command)).await.map_err(|error| match error {
            RunnerError::ImageMissing(reason) => {
                OperateError::new(ErrorKind::Failed, format!("{reason}; {WITHOUT_CONTAINERS}"))
            }
            error @ (RunnerError::Refused(_) | RunnerError::Engine { .. } | RunnerError::Directory { .. }) => {
                failed(&error.into())
            }
        })
    }
}

fn program(image: &ImageName, command: &[String]) -> Program {
    Program { image: image.clone(), command: command.to_vec() }
}

/// Why there is no runner: an engine that does not do what a new runner asks of it is a service out of reach.
pub(crate) fn no_runner(error: RunnerError, what: &str) -> OperateError {
    let kind = match error {
        RunnerError::Engine { .. } => ErrorKind::OutOfReach,
        RunnerError::ImageMissing(_) | RunnerError::Refused(_) | RunnerError::Directory { .. } => ErrorKind::Failed,
    };
    OperateError { kind, ..failed(&error.into()) }.within(what)
}

fn failed(error: &anyhow::Error) -> OperateError {
    OperateError::new(ErrorKind::Failed, format!("{error:#}"))
}

/// The person at the terminal, as far as the environment says, and the host.
pub(crate) fn operator() -> String {
    let named = ["SAS_OPERATOR", "SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let user = named.filter(|name| !name.is_empty()).unwrap_or_else(|| "somebody".to_owned());
    format!("{user}@{}", WorkerConfig::default().host())
}
