//! What a worker can be told: its own sections of the configuration, read and checked once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use domain::id::{ClassName, HostName};
use serde::{Deserialize, Serialize};
use services::config::{ConfigError, ConfigFile, LogConfig, StoreConfig, local_queue, local_state};
use services::queue::amqp::AmqpConfig;
use services::state::redis::RedisConfig;
use services::traces::TracesConfig;

use crate::runner::docker::DockerConfig;
use crate::warm::WarmBounds;

/// Sections that a worker reads.
const SECTIONS: &[&str] = &["store", "queue", "state", "log", "worker", "slots", "docker", "traces"];

/// Everything that `sas-worker` reads from its file and the environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the store is.
    pub store: StoreConfig,
    /// Where RabbitMQ is.
    #[serde(default = "local_queue")]
    pub queue: AmqpConfig,
    /// Where Redis is.
    #[serde(default = "local_state")]
    pub state: RedisConfig,
    /// How it logs.
    #[serde(default)]
    pub log: LogConfig,
    /// How it works.
    #[serde(default)]
    pub worker: WorkerConfig,
    /// How many attempts of each class it runs at once (`[slots] default = 2`).
    #[serde(default = "one_slot")]
    pub slots: BTreeMap<ClassName, u32>,
    /// How it runs containers.
    #[serde(default)]
    pub docker: DockerConfig,
    /// Where it tells what took how long.
    #[serde(default)]
    pub traces: TracesConfig,
}

/// How a worker works (`[worker]`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerConfig {
    /// What this host is called in records, labels and messages; the system's own name where it is not set.
    pub host: Option<String>,
    /// How modules are run.
    pub runner: RunnerKind,
    /// How long a claim lives without renewal; it is renewed three times as often.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// How long running attempts have to end after SIGTERM before they are given back.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// Most that a module may write.
    pub output: ByteSize,
    /// Least that must be free in the store: with less no module goes on, and no task is taken.
    pub free: ByteSize,
    /// Size of a module's `/tmp`, which counts as its memory.
    pub tmp: ByteSize,
    /// Most processes and threads of a module.
    pub processes: u32,
    /// How long a committed input that cannot be seen yet is awaited.
    #[serde(with = "humantime_serde")]
    pub input_patience: Duration,
    /// How many programs that serve are kept for each slot, at work or idle; with 0 all programs are started star by star.
    pub warm: u32,
    /// How many stars such a program serves before another one takes its place.
    pub warm_requests: u32,
    /// How long it is kept without being asked.
    #[serde(with = "humantime_serde")]
    pub warm_idle: Duration,
    /// How often orphans are looked for.
    #[serde(with = "humantime_serde")]
    pub sweep: Duration,
    /// The program that serves as store agent; the worker itself where it is not set.
    pub agent: Option<PathBuf>,
}

/// How modules are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunnerKind {
    /// In containers.
    Docker,
    /// As processes of this host, without isolation: for development.
    Process,
    /// Not at all: for benchmarks of the cluster itself.
    Noop,
    /// Not even staged and committed: for benchmarks of claims, messages and state alone. Tasks of runs
    /// that make star files are given back.
    Dispatch,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            host: None,
            runner: RunnerKind::Docker,
            lease: Duration::from_secs(60),
            grace: Duration::from_secs(30),
            output: ByteSize::gib(2),
            free: ByteSize::gib(1),
            tmp: ByteSize::mib(256),
            processes: 512,
            input_patience: Duration::from_secs(90),
            warm: 2,
            warm_requests: 1_000,
            warm_idle: Duration::from_secs(300),
            sweep: Duration::from_secs(30),
            agent: None,
        }
    }
}

impl WorkerConfig {
    /// What this host is called.
    pub fn host(&self) -> String {
        self.host.clone().unwrap_or_else(|| gethostname::gethostname().to_string_lossy().into_owned())
    }

    /// What a worker with so many slots keeps warm.
    pub(crate) fn warm_bounds(&self, slots: usize) -> WarmBounds {
        let sessions = slots.saturating_mul(self.warm as usize);
        WarmBounds { sessions, requests: self.warm_requests, idle: self.warm_idle }
    }
}

impl Config {
    /// Reads the file, if one is given, with the environment on top.
    pub fn load(
        file: &ConfigFile,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let config: Self = file.load(environment, SECTIONS)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |reason: &str| Err(ConfigError::Invalid { from: String::new(), reason: reason.to_owned() });
        if self.slots.values().all(|slots| *slots == 0) {
            return wrong("[slots] has no slot, expected at least one class with 1 or more");
        }
        if self.slots.values().any(|slots| *slots > 1_000) {
            return wrong("[slots] has more than 1000 slots of a class");
        }
        if self.worker.lease < Duration::from_secs(1) {
            return wrong("[worker] lease is less than 1s");
        }
        if self.worker.warm_requests == 0 {
            return wrong("[worker] warm_requests is 0, expected 1 or more; `warm = 0` keeps no program");
        }
        // A host that operators could not name could not be drained either.
        match self.worker.host.as_deref().map(str::parse::<HostName>) {
            Some(Err(error)) => wrong(&format!("[worker] host: {error}")),
            Some(Ok(_)) | None => Ok(()),
        }
    }
}

fn one_slot() -> BTreeMap<ClassName, u32> {
    BTreeMap::from([("default".parse().expect("a valid class name"), 1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(&ConfigFile::default(), environment).map_err(|error| error.to_string())
    }

    #[test]
    fn a_store_is_all_that_must_be_said() {
        let config = check(&[("SAS_STORE_ROOT", "/s")]).unwrap();
        assert_eq!((config.worker, config.slots), (WorkerConfig::default(), one_slot()));
    }

    #[test]
    fn slots_are_set_by_class_and_there_must_be_one() {
        let config = check(&[("SAS_STORE_ROOT", "/s"), ("SAS_SLOTS_HEAVY", "3")]).unwrap();
        assert_eq!(config.slots, BTreeMap::from([("heavy".parse().unwrap(), 3)]));
        for (name, value, word) in [
            ("SAS_SLOTS_DEFAULT", "0", "[slots]"),
            ("SAS_WORKER_LEASE", "1ms", "lease"),
            ("SAS_WORKER_WARM_REQUESTS", "0", "warm_requests"),
            ("SAS_WORKER_HOST", "../x", "host"),
            ("SAS_WORKER_HOST", "<i>", "[worker] host"),
            ("SAS_WORKER_RUNNER", "podman", "runner"),
        ] {
            let error = check(&[("SAS_STORE_ROOT", "/s"), (name, value)]).unwrap_err();
            assert!(error.contains(word), "{error:?} does not name {word}");
        }
    }
}
