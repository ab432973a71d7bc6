//! How fast tasks are handed out that do nothing: real RabbitMQ, Redis, coordinator and worker as processes of their own, every
//! task claimed, leased, completed and acknowledged with all confirms. `cargo bench --workspace --bench dispatch`.
//!
//! Beside it, in the same run and in turns, what RabbitMQ alone can do for two messages a task (`ceiling`), and, where Debian's
//! `python3-celery` and `python3-redis` are, what Celery does on the same broker and Redis (`celery`). Rates are of this
//! machine at this time: compare within one run. Processor time and counts say more than rates where others are at work.

mod ceiling;
mod celery;

use std::time::Instant;

use anyhow::{Context, Result};
use domain::id::StarId;
use domain::message::StarSelection;
use harness::RabbitMq;
use harness::calls::{Calls, Trace};
use harness::cluster::Running;
use harness::cost::{Cost, Processes};
use harness::noop::{NoopCluster, layers};
use harness::results::{Figure, Limit, Results};

/// Tasks of a star: five layers of six, then one.
const TASKS: u32 = 31;

/// Stars of a round, and rounds; `SAS_BENCH_STARS` and `SAS_BENCH_ROUNDS` say otherwise.
const STARS: u32 = 2_000;
const ROUNDS: u32 = 5;

/// Stars of the round whose calls are counted, which is slow.
const COUNTED: u32 = 200;

/// Stars of a round of Celery, which is slower.
const CELERY_STARS: u32 = 40;

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
    let celery = celery::Celery::start()?;
    println!("{stars} stars of {TASKS} tasks a round; one coordinator, one worker of 4 slots\n");
    println!(
        "{:<8}{:>10}{:>12}{:>8}{:>10}{:>7}   {}",
        "round",
        "tasks/s",
        "ceiling/s",
        "ratio",
        "Celery/s",
        "times",
        Cost::HEAD
    );
    let mut measured = Vec::new();
    for number in 1..=rounds {
        let ours = bench.round(&number.to_string(), stars).await?;
        let limit = ceiling::round(empty.url.secret(), stars * TASKS).await?;
        let peer = celery.as_ref().map(|celery| celery.round(CELERY_STARS)).transpose()?.unwrap_or(f64::NAN);
        let (ratio, times) = (ours.rate / limit, ours.rate / peer);
        println!("{number:<8}{:>10.0}{limit:>12.0}{ratio:>8.2}{peer:>10.0}{times:>7.1}   {}", ours.rate, ours.cost);
        measured.push(Round { limit, peer, ..ours });
    }
    let counts = bench.counts().await?;
    report(&measured, counts)
}

/// A cluster whose worker runs nothing.
struct Bench {
    _directory: tempfile::TempDir,
    cluster: NoopCluster,
    processes: Processes,
    /// Coordinator and worker.
    traced: [u32; 2],
    _worker: Running,
}

/// What a round came to.
struct Round {
    /// Tasks a second, from the event until the last task is settled.
    rate: f64,
    /// From the event until the run is over.
    cost: Cost,
    /// Tasks a second of RabbitMQ alone.
    limit: f64,
    /// Tasks a second of Celery; not a number where it is not there.
    peer: f64,
}

impl Bench {
    async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let cluster = NoopCluster::start(directory.path(), &layers()).await?;
        let worker = cluster.worker("worker", 4)?;
        let coordinator = cluster.coordinator.as_ref().context("it runs")?.id();
        let processes = Processes::of(coordinator, vec![worker.id()])?;
        let traced = [coordinator, worker.id()];
        Ok(Self { _directory: directory, cluster, processes, traced, _worker: worker })
    }

    /// What tasks are counted to ask for, each: calls, where there is `strace`, and messages.
    async fn counts(&self) -> Result<(Option<Calls>, f64)> {
        let broker = RabbitMq::shared()?;
        let before = broker.messages()?;
        let trace = Trace::attach(&self.traced)?;
        self.round("counted", COUNTED).await?;
        let calls = trace.map(Trace::end).transpose()?.map(|calls| calls.per(COUNTED * TASKS));
        let messages = (broker.messages()? - before) / f64::from(COUNTED * TASKS);
        println!("\ncounted over {COUNTED} stars, a task: {messages:.2} messages; {calls:.2?}");
        Ok((calls, messages))
    }

    /// Runs the group over so many stars, and waits until nothing is left of it.
    async fn round(&self, name: &str, stars: u32) -> Result<Round> {
        let (before, began) = (self.processes.cost()?, Instant::now());
        let named = StarSelection::Inline((0..u64::from(stars)).map(StarId::of_simulator).collect());
        let run = self.cluster.begin(name, named).await?;
        self.cluster.until_succeeded(run, u64::from(stars * TASKS)).await?;
        let rate = f64::from(stars * TASKS) / began.elapsed().as_secs_f64();
        self.cluster.until_over(run).await?;
        let cost = (self.processes.cost()? - before).per(stars * TASKS);
        Ok(Round { rate, cost, limit: f64::NAN, peer: f64::NAN })
    }
}

/// The table and the file of results.
fn report(measured: &[Round], (calls, messages): (Option<Calls>, f64)) -> Result<()> {
    let of = |value: fn(&Round) -> f64| measured.iter().map(value).collect::<Vec<_>>();
    let mut results = Results::read()?;
    let mut add = |name, unit, value, limit| results.add(name, Figure::new(unit, of(value), limit));
    add("dispatch_rate", "tasks/s", |round| round.rate, Limit::Least(5_000.0));
    add("dispatch_ceiling", "tasks/s", |round| round.limit, Limit::None);
    add("dispatch_vs_ceiling", "ratio", |round| round.rate / round.limit, Limit::Least(0.7));
    if measured.iter().all(|round| round.peer.is_finite()) {
        add("dispatch_celery", "tasks/s", |round| round.peer, Limit::None);
        add("dispatch_vs_celery", "ratio", |round| round.rate / round.peer, Limit::Least(30.0));
    }
    add("dispatch_core_us", "us of core a task", |round| round.cost.core(), Limit::Most(400.0));
    add("dispatch_scripts", "scripts a task", |round| round.cost.scripts, Limit::None);
    add("dispatch_commands", "commands a task", |round| round.cost.commands, Limit::None);
    results.add("dispatch_messages", Figure::new("messages a task", vec![messages], Limit::None));
    if let Some(Calls { all, syncs, trips, .. }) = calls {
        results.add("dispatch_round_trips", Figure::new("sendings to Redis a task", vec![trips], Limit::None));
        results.add("dispatch_system_calls", Figure::new("system calls a task", vec![all], Limit::None));
        results.add("dispatch_fsyncs", Figure::new("fsyncs a task", vec![syncs], Limit::None));
    }
    println!("\n{results}");
    results.write().context("failed to write the results")
}

fn asked(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}
