//! `sas-worker`: a worker as a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use domain::text::shown_lines;
use services::config::{ConfigFile, environment};
use services::service;
use services::telemetry;
use services::traces::Traces;
use store::Store;
use worker::config::Config;
use worker::{WorkerParts, connect_runner, unique_name};

/// Runs modules of SAS pipelines in containers: takes tasks from RabbitMQ, reads and writes the store, reports back.
///
/// Start as many as you like, on any host that reaches RabbitMQ, Redis and the store. SIGTERM ends it: no new tasks, what
/// runs may finish within the grace time and is given back afterwards.
#[derive(Parser)]
#[command(name = "sas-worker", version, after_help = EXAMPLE)]
struct WorkerArguments {
    /// Configuration file (TOML). Every key can be set in the environment instead: `SAS_SECTION_KEY`.
    #[arg(long, env = "SAS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Root of the store, instead of `[store] root` in the configuration.
    #[arg(long, value_name = "DIR")]
    store: Option<String>,
}

const EXAMPLE: &str = r#"Example of a configuration; only [store] must be there:

  [store]
  root = "/data/sas"                # the same path on all hosts
  [queue]
  url = "amqp://guest:guest@127.0.0.1:5672/%2f"
  [state]
  url = "redis://127.0.0.1:6379/0"
  [slots]                           # attempts at once, by class of the pipeline
  default = 4
  heavy = 1
  [worker]
  runner = "docker"                 # or "process": no isolation, for development
  lease = "60s"
  grace = "30s"                     # after SIGTERM
  output = "2GiB"                   # most that a module may write
  [docker]
  pull = true                       # ask registries for images
  logins = "/etc/sas/docker.json"     # as `docker login` writes them; default: DOCKER_CONFIG, ~/.docker
  [log]
  format = "human"                  # or "json"; RUST_LOG sets the level
  [traces]
  endpoint = "http://collector:4318"  # OTLP over HTTP; without it there are none

The same from the environment: SAS_STORE_ROOT=/data/sas SAS_SLOTS_DEFAULT=4 sas-worker"#;

fn main() -> ExitCode {
    store::agent::serve_if_asked();
    store::modes::fit_umask();
    match start(WorkerArguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // There may be no log yet.
            _ = writeln!(std::io::stderr(), "sas-worker: {}", shown_lines(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: WorkerArguments) -> Result<()> {
    let file = ConfigFile::read(arguments.config.as_deref())?;
    let config = Config::load(&file, environment(arguments.store))?;
    telemetry::start(&config.log).context("failed to read the log filter")?;
    for warning in file.strange_sections() {
        tracing::warn!("{warning}");
    }
    service::share_heaps();
    tokio::runtime::Runtime::new().context("failed to start the async runtime")?.block_on(work(config))
}

async fn work(config: Config) -> Result<()> {
    let shutdown = service::ended_by_signal().context("failed to listen for signals")?;
    let (name, host) = (unique_name(&config.worker.host())?, config.worker.host());
    let about = [("service.name", "sas-worker"), ("service.instance.id", name.as_str()), ("host.name", host.as_str())];
    let (traces, sending) = Traces::new(&config.traces, &about)?;
    let store = Store::open(&config.store.root)?;
    let runner = connect_runner(&config.worker, &config.docker, &store, &name).await?;
    let connecting = service::connect(&config.queue, &config.state, name.as_str());
    let Some(connected) = shutdown.run_until_cancelled(connecting).await else { return Ok(()) };
    let (queue, state) = connected?;
    let parts = WorkerParts {
        name,
        store,
        queue: Arc::new(queue),
        state: Arc::new(state),
        runner,
        traces,
        config: config.worker,
        slots: config.slots,
    };
    sending.beside(worker::run(parts, shutdown)).await
}
