//! The coordinator's configuration: its sections of the shared file, and the pipelines that they name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use domain::pipeline::{self, Pipeline};
use serde::{Deserialize, Deserializer};
use services::config::{LogConfig, StoreConfig, local_queue, local_state};
use services::definition::load_file;
use services::queue::amqp::AmqpConfig;
use services::state::redis::RedisConfig;
use services::traces::TracesConfig;

use crate::hooks::Hook;

/// The sections that the coordinator reads.
pub const SECTIONS: &[&str] = &["store", "queue", "state", "log", "coordinator", "http", "traces"];

/// Everything that the coordinator is told.
#[derive(Debug, Clone, Deserialize)]
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
    pub coordinator: CoordinatorConfig,
    /// Where it answers.
    #[serde(default)]
    pub http: HttpConfig,
    /// Where it tells what took how long.
    #[serde(default)]
    pub traces: TracesConfig,
}

/// How the coordinator works (`[coordinator]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CoordinatorConfig {
    /// Pipeline files that events start: paths, or patterns with `*`; one alone, as in the environment, need be no list.
    #[serde(deserialize_with = "one_or_many")]
    pub pipelines: Vec<String>,
    /// When stars enter.
    pub window: Window,
    /// Most stars that are admitted and not closed, of all runs together, where they enter as slots ask for them.
    pub in_flight: u32,
    /// A class has enough when it has this many ready tasks per slot.
    pub ready_per_slot: u32,
    /// Store agents that build star files.
    pub agents: u32,
    /// How often timers are looked at.
    #[serde(with = "humantime_serde")]
    pub sweep: Duration,
    /// How often store, state and queues are compared.
    #[serde(with = "humantime_serde")]
    pub compare: Duration,
    /// How long a message may be on its way before it is published again.
    #[serde(with = "humantime_serde")]
    pub publish_again: Duration,
    /// Most tasks that an event may start by itself: a larger run waits, paused, for an operator who resumes it. 0: any.
    pub hold_above: u64,
    /// Commands and webhooks that are told what happens.
    pub hooks: Vec<Hook>,
}

/// When stars enter their run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// As slots ask for them: queues stay short, and runs share.
    Slots,
    /// All at once, whoever is there to work: queues show all that can run.
    All,
}

impl Default for CoordinatorConfig {
    fn default() -> Self {
        Self {
            pipelines: Vec::new(),
            window: Window::Slots,
            in_flight: 10_000,
            ready_per_slot: 2,
            agents: 1,
            sweep: Duration::from_secs(1),
            compare: Duration::from_secs(30),
            publish_again: Duration::from_secs(5),
            hold_above: 0,
            hooks: Vec::new(),
        }
    }
}

/// Reads a list, or one text in its place.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Given::deserialize(deserializer)? {
        Given::One(text) => vec![text],
        Given::Many(texts) => texts,
    })
}

/// Where the coordinator answers HTTP (`[http]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Address and port; empty: nowhere. One that other hosts reach needs `tokens`.
    pub listen: String,
    /// The file of tokens, as `sas token new` prints its lines; without it everybody on this host may do everything.
    pub tokens: Option<PathBuf>,
    /// Names by which requests may call this host, besides those that mean the host itself.
    #[serde(deserialize_with = "one_or_many")]
    pub hosts: Vec<String>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8080".to_owned(), tokens: None, hosts: Vec::new() }
    }
}

impl HttpConfig {
    /// No HTTP at all.
    pub fn off() -> Self {
        Self { listen: String::new(), ..Self::default() }
    }
}

/// Loads the pipelines that these paths and patterns name; all mistakes of all files at once.
pub fn load_pipelines(patterns: &[String]) -> Result<Vec<Pipeline>> {
    let mut mistakes = Vec::new();
    let mut pipelines: BTreeMap<_, (PathBuf, Pipeline)> = BTreeMap::new();
    for pattern in patterns {
        for path in files(pattern, &mut mistakes)? {
            let pipeline = match load_file(&path) {
                Ok(pipeline) => pipeline,
                Err(error) => {
                    mistakes.push(error.to_string());
                    continue;
                }
            };
            let name = pipeline.name.clone();
            match pipelines.get(&name) {
                Some((other, _)) if *other == path => {}
                Some((other, _)) => mistakes.push(format!(
                    "`{}` and `{}` both define pipeline {name}: one event would run it twice",
                    other.display(),
                    path.display()
                )),
                None => drop(pipelines.insert(name, (path, pipeline))),
            }
        }
    }
    let pipelines: Vec<Pipeline> = pipelines.into_values().map(|(_, pipeline)| pipeline).collect();
    mistakes.extend(pipeline::circles(&pipelines));
    if !mistakes.is_empty() {
        bail!("{}", mistakes.join("\n"));
    }
    Ok(pipelines)
}

/// The files that a path or pattern names; one that names none is a mistake.
fn files(pattern: &str, mistakes: &mut Vec<String>) -> Result<Vec<PathBuf>> {
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![Path::new(pattern).to_owned()]);
    }
    let found: Vec<PathBuf> = glob::glob(pattern)
        .with_context(|| format!("{pattern:?} is not a pattern of file names"))?
        .collect::<Result<_, _>>()?;
    if found.is_empty() {
        mistakes.push(format!("no pipeline file matches {pattern:?}"));
    }
    Ok(found)
}
