//! How fast tasks are handed out that do nothing: real RabbitMQ, Redis, coordinator and worker as processes of their own, every
//! task claimed, leased, completed and acknowledged with all confirms. `cargo bench --workspace --bench dispatch`.
//!
//! Beside it, in the same run and in turns, what RabbitMQ alone can do for two messages a task (`ceiling`). Rates are of this
//! machine at this time: compare within one run. Processor time and counts say more than rates where others are at work.

mod ceiling;
mod cost;
mod results;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cost::{Cost, Processes};
use domain::id::{EventId, RunId, StarId};
use domain::message::{DatasetEvent, DatasetUpdate, StarSelection, Start, to_json};
use domain::run::TaskState;
use harness::cluster::{Cluster, Running};
use harness::{RabbitMq, Redis, wait_until};
use results::{Figure, Limit, Results};
use services::address::Address;
use services::queue::amqp::{AmqpConfig, AmqpQueue};
use services::queue::{Outgoing, Queue, QueueName};
use services::state::State;
use services::state::redis::{RedisConfig, RedisState};

/// Tasks of a star: five layers of six, then one.
const TASKS: u32 = 31;

/// Stars of a round, and rounds; `SAS_BENCH_STARS` and `SAS_BENCH_ROUNDS` say otherwise.
const STARS: u32 = 2_000;
const ROUNDS: u32 = 5;

/// Longest that a round may take.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, url] = &arguments[..]
        && role == ceiling::WORKER
    {
        return ceiling::work(url).await;
    }
    let (stars, rounds) = (asked("SAS_BENCH_STARS", STARS), asked("SAS_BENCH_ROUNDS", ROUNDS));
    let bench = Bench::start().await?;
    let empty = RabbitMq::shared()?.vhost()?;
    bench.round("warm", stars.min(100)).await?;
    println!("{stars} stars of {TASKS} tasks a round; one coordinator, one worker of 4 slots\n");
    println!("{:<10}{:>12}{:>12}{:>8}   {}", "round", "tasks/s", "ceiling/s", "ratio", Cost::HEAD);
    let mut measured = Vec::new();
    for number in 1..=rounds {
        let ours = bench.round(&number.to_string(), stars).await?;
        let limit = ceiling::round(empty.url.secret(), stars * TASKS).await?;
        println!("{number:<10}{:>12.0}{limit:>12.0}{:>8.2}   {}", ours.rate, ours.rate / limit, ours.cost);
        measured.push((ours, limit));
    }
    report(&measured)
}

/// A cluster whose worker runs nothing.
struct Bench {
    _directory: tempfile::TempDir,
    queue: AmqpQueue,
    state: RedisState,
    processes: Processes,
    _running: [Running; 2],
}

/// What a round came to.
struct Round {
    /// Tasks a second, from the event until the last task is settled.
    rate: f64,
    /// From the event until the run is over.
    cost: Cost,
}

impl Bench {
    async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let pipeline = directory.path().join("bench.toml");
        fs::write(&pipeline, definition())?;
        let cluster = Cluster::start(directory.path(), &[&pipeline])?;
        let settings = [("SAS_WORKER_RUNNER", "dispatch"), ("SAS_SLOTS_DEFAULT", "4"), ("RUST_LOG", "warn")];
        let worker = cluster.worker("worker", &settings)?;
        let coordinator = cluster.coordinator_with("coordinator", &[("RUST_LOG", "warn")])?;
        let queue = AmqpConfig { url: Address::new(cluster.queue_url()), management: None };
        let state = RedisConfig { url: Address::new(cluster.state_url()) };
        let processes = Processes::of(coordinator.id(), worker.id())?;
        let (queue, state) = (AmqpQueue::connect(&queue, "bench").await?, RedisState::connect(&state).await?);
        queue.declare(&[]).await?;
        Ok(Self { _directory: directory, queue, state, processes, _running: [coordinator, worker] })
    }

    /// Runs the group over so many stars, and waits until nothing is left of it.
    async fn round(&self, name: &str, stars: u32) -> Result<Round> {
        let (before, began) = (self.processes.cost()?, Instant::now());
        let run = self.begin(name, stars).await?;
        let settled = async || {
            let Ok(Some(view)) = self.state.run(run).await else { return false };
            let succeeded = view.counts.values().filter_map(|states| states.get(&TaskState::Succeeded));
            succeeded.sum::<u64>() == u64::from(stars * TASKS)
        };
        wait_until(PATIENCE, "every task succeeded", settled).await?;
        let rate = f64::from(stars * TASKS) / began.elapsed().as_secs_f64();
        wait_until(PATIENCE, "the run is over", async || matches!(self.state.run(run).await, Ok(None))).await?;
        let cost = (self.processes.cost()? - before).per(stars * TASKS);
        Ok(Round { rate, cost })
    }

    /// Publishes the event that starts the group over so many stars.
    async fn begin(&self, name: &str, stars: u32) -> Result<RunId> {
        let stars = (0..u64::from(stars)).map(StarId::of_simulator).collect();
        let start = Start { pipeline: "BENCH".parse()?, version: None, only_group: Some("G".parse()?), replay: None };
        let data = DatasetUpdate {
            dataset: "l1/lightcurve".parse()?,
            quarter: 3.try_into()?,
            stars: StarSelection::Inline(stars),
            start: Some(start),
        };
        let event = DatasetEvent::new("bench", name, jiff::Timestamp::now().to_string(), data);
        let sent =
            self.queue.publish(vec![Outgoing { queue: QueueName::Events, body: to_json(&event), trace: None }]).await;
        sent.into_iter().collect::<Result<(), _>>()?;
        Ok(RunId::of(EventId::of("bench", name), "BENCH", "1"))
    }
}

/// The group's definition. Order alone, no products: nothing is ever staged.
fn definition() -> String {
    let head = "name = \"BENCH\"\nversion = \"1\"\ntrigger = \"l1/lightcurve\"\n\
                [classes.default]\ncpus = 1\nmemory = \"64MB\"\n";
    let layer = |of: usize| (0..6).map(|at| format!("L{of}{at}")).collect::<Vec<_>>();
    let module = |name: &str, after: &[String]| {
        format!(
            "[modules.{name}]\ngroup = \"G\"\nimage = \"none\"\nclass = \"default\"\ntime_limit = \"1m\"\n\
             after = {after:?}\noutputs.optional = [\"P_{name}\"]\n"
        )
    };
    let layers = (0..5).flat_map(|of| {
        let after = if of == 0 { Vec::new() } else { layer(of - 1) };
        layer(of).into_iter().map(move |name| (name, after.clone()))
    });
    let modules = layers.chain([("END".to_owned(), layer(4))]);
    head.to_owned() + &modules.map(|(name, after)| module(&name, &after)).collect::<String>()
}

/// The table and the file of results.
fn report(measured: &[(Round, f64)]) -> Result<()> {
    let of = |value: fn(&(Round, f64)) -> f64| measured.iter().map(value).collect::<Vec<_>>();
    let mut results = Results::read()?;
    results.add("dispatch_rate", Figure::new("tasks/s", of(|(ours, _)| ours.rate), Limit::Least(5_000.0)));
    results.add("dispatch_ceiling", Figure::new("tasks/s", of(|(_, limit)| *limit), Limit::None));
    results.add("dispatch_vs_ceiling", Figure::new("ratio", of(|(ours, limit)| ours.rate / limit), Limit::Least(0.7)));
    results.add(
        "dispatch_core_us",
        Figure::new("us of core a task", of(|(ours, _)| ours.cost.core()), Limit::Most(400.0)),
    );
    results.add("dispatch_scripts", Figure::new("scripts a task", of(|(ours, _)| ours.cost.scripts), Limit::None));
    results.add("dispatch_commands", Figure::new("commands a task", of(|(ours, _)| ours.cost.commands), Limit::None));
    println!("\n{results}");
    results.write().context("failed to write the results")
}

fn asked(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// A number that `INFO` of Redis says.
fn info(redis: &Redis, section: &str, field: &str) -> Result<f64> {
    let text = redis.cli(&["INFO", section])?;
    let found = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = found.with_context(|| format!("INFO {section} does not say {field}"))?;
    ensure!(!number.is_empty(), "INFO {section} says nothing of {field}");
    let number = number.trim().strip_prefix("calls=").unwrap_or(number.trim());
    Ok(number.split(',').next().unwrap_or_default().parse()?)
}
