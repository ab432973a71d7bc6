//! `sas-coordinator`: reads its configuration, connects, works until SIGTERM or SIGINT.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Parser;
use coordinator::CoordinatorParts;
use coordinator::config::{Config, SECTIONS, load_pipelines};
use domain::text::shown_lines;
use services::config::{ConfigFile, environment};
use services::service;
use services::telemetry;
use services::traces::Traces;
use store::Store;
use store::agent::serve_if_asked;
use store::modes::fit_umask;

/// Coordinator of the Stellar Analysis System: turns dataset events into runs, hands out tasks as they become ready, and
/// closes stars.
///
/// It keeps nothing that is not in the store or in Redis: it may be killed at any time, and any number of them may run at
/// once on the same store, RabbitMQ and Redis.
#[derive(Debug, Parser)]
#[command(version, after_help = HELP)]
struct CoordinatorArguments {
    /// Configuration file (TOML); the environment (`SAS_<SECTION>_<KEY>`) wins over it
    #[arg(short, long, env = "SAS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Root of the store, instead of `[store] root` in the configuration
    #[arg(long, value_name = "DIR")]
    store: Option<String>,
    /// Pipeline file that events start, or a pattern with `*`; in place of `[coordinator] pipelines`; may be repeated
    #[arg(short, long = "pipeline", value_name = "FILE")]
    pipelines: Vec<String>,
    /// Read configuration and pipelines, say what is wrong with them, and end
    #[arg(long)]
    check: bool,
}

const HELP: &str = "\
Sections of the configuration file, with what is taken when a key is missing:

  [store]        root                                 the store's directory, the same path on every host (needed)
  [queue]        url = \"amqp://guest:guest@127.0.0.1:5672/%2f\"
                 management                           RabbitMQ's management API, for unacknowledged counts
  [state]        url = \"redis://127.0.0.1:6379/0\"
  [coordinator]  pipelines = []                       pipeline files, or patterns with *
                 in_flight = 10000                    most stars admitted and not closed
                 ready_per_slot = 2                   ready tasks that a class should have per slot
                 agents = 1                           processes that build star files
                 sweep = \"1s\"                         how often timers are looked at
                 compare = \"30s\"                      how often store, Redis and queues are compared
                 publish_again = \"5s\"                 age at which an unconfirmed message is sent again
                 hooks = []                           tables: on = [run_started, run_ended, star_started, star_ended,
                                                      group_started, group_ended], command = [..] or url = \"..\",
                                                      pipeline, group, timeout = \"10s\"; told the moment as JSON
  [http]         listen = \"127.0.0.1:8080\"            /livez, /readyz, /metrics; empty: off
                 tokens                               file of tokens, as `sas token new` prints its lines; needed where
                                                      other hosts reach `listen`; without it this host may do everything
                 hosts = []                           names by which requests may call this host, besides its own
  [traces]       endpoint                             collector of OpenTelemetry traces (OTLP over HTTP); none: no traces
                 share = 1                            share of the stars that are traced, from 0 to 1
  [log]          format = \"human\" or \"json\", filter = \"info\"

Exit codes: 0 ended by SIGTERM or SIGINT, 1 failed, 2 wrong use.";

fn main() -> ExitCode {
    serve_if_asked();
    fit_umask();
    let arguments = CoordinatorArguments::parse();
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // There may be no log yet.
            _ = writeln!(std::io::stderr(), "sas-coordinator: {}", shown_lines(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: CoordinatorArguments) -> Result<()> {
    let file = ConfigFile::read(arguments.config.as_deref())?;
    let mut config: Config = file.load(environment(arguments.store), SECTIONS)?;
    if !arguments.pipelines.is_empty() {
        config.coordinator.pipelines = arguments.pipelines;
    }
    let pipelines = load_pipelines(&config.coordinator.pipelines)?;
    let instance = uuid::Uuid::new_v4().to_string();
    let about = [("service.name", "sas-coordinator"), ("service.instance.id", instance.as_str())];
    let (traces, sending) = Traces::new(&config.traces, &about)?;
    if arguments.check {
        return Ok(());
    }
    if pipelines.is_empty() {
        bail!("no pipeline: name at least one with --pipeline FILE or `[coordinator] pipelines`");
    }
    telemetry::start(&config.log).context("failed to read `[log] filter`")?;
    for warning in file.strange_sections() {
        tracing::warn!("{warning}");
    }
    service::share_heaps();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = service::ended_by_signal()?;
        let store = Store::open(&config.store.root)?;
        for pipeline in &pipelines {
            tracing::info!(name = %pipeline.name, version = pipeline.version, trigger = %pipeline.trigger, "pipeline");
        }
        let connecting = service::connect(&config.queue, &config.state, "sas-coordinator");
        let Some(connected) = shutdown.run_until_cancelled(connecting).await else { return Ok(()) };
        let (broker, state) = connected?;
        let parts = CoordinatorParts {
            store,
            queue: Arc::new(broker),
            state: Arc::new(state),
            pipelines,
            config: config.coordinator,
            http: config.http,
            traces,
            agent: None,
        };
        sending.beside(coordinator::run(parts, shutdown)).await
    })
}
