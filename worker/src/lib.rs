//! The worker: takes tasks from the queues of its classes, runs their modules, commits and reports.
//!
//! It holds no state: what it runs is leased, what it made is in the store. `deliver → claim → acknowledge → stage → run →
//! check → commit → complete`; each word is a file or a function.

pub mod agent;
mod attempt;
mod claim;
pub mod config;
mod feed;
mod gate;
mod heartbeat;
mod ledger;
mod pace;
mod progress;
mod removal;
mod report;
mod run;
pub mod runner;
mod service;
mod shared;
mod show;
mod slot;
mod spans;
mod tally;
mod warm;
mod watch;

use std::sync::Arc;

use domain::id::{InvalidName, WorkerName};

use config::{RunnerKind, WorkerConfig};
use runner::dispatch::DispatchRunner;
use runner::docker::{DockerConfig, DockerRunner, Owner};
use runner::noop::NoopRunner;
use runner::process::ProcessRunner;
use runner::{RunnerError, SharedRunner};
pub use service::{WorkerParts, run, run_with};
use store::Store;

/// A name that no other worker has: the host's, and a random part.
pub fn unique_name(host: &str) -> Result<WorkerName, InvalidName> {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{host}-{}", &random[..8]).parse()
}

/// The runner that a worker of this name is configured to use; for Docker the engine must answer, and see the store at the
/// same path as this process.
pub async fn connect_runner(
    config: &WorkerConfig,
    docker: &DockerConfig,
    store: &Store,
    name: &WorkerName,
) -> Result<SharedRunner, RunnerError> {
    Ok(match config.runner {
        RunnerKind::Docker => {
            let owner = Owner {
                worker: name.clone(),
                host: config.host(),
                store: store.root().to_owned(),
                scratch: store.at(store::paths::scratch()),
            };
            let scratch = owner.scratch.clone();
            let runner = DockerRunner::connect(docker.clone(), owner).await?;
            runner.probe(&scratch).await?;
            Arc::new(runner)
        }
        RunnerKind::Process => Arc::new(ProcessRunner::new()),
        RunnerKind::Noop => Arc::new(NoopRunner),
        RunnerKind::Dispatch => Arc::new(DispatchRunner),
    })
}
