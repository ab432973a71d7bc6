//! What a task costs the coordinator with 40 worker processes, beside two.

use anyhow::{Context, Result};
use domain::id::StarId;
use domain::message::StarSelection;
use harness::cluster::Running;
use harness::cost::Processes;
use harness::noop::{NoopCluster, layers};
use harness::results::{Figure, Limit, Results};

const STARS: u32 = 1_000;
const TASKS: u32 = 31;
const ROUNDS: usize = 3;
/// Slots of all workers together, so that only the number of processes differs.
const SLOTS: u32 = 40;

pub(crate) async fn measure(results: &mut Results) -> Result<()> {
    println!("\n{STARS} stars of {TASKS} tasks: core of the coordinator a task, in us");
    println!("{:<10}{:>10}{:>10}{:>8}", "round", "2 workers", "40", "times");
    let (few, many) = (WorkedCluster::start(2).await?, WorkedCluster::start(40).await?);
    for cluster in [&few, &many] {
        cluster.round("warm").await?;
    }
    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        let name = round.to_string();
        let (few, many) = (few.round(&name).await?, many.round(&name).await?);
        println!("{round:<10}{few:>10.0}{many:>10.0}{:>8.2}", many / few);
        times.push(many / few);
    }
    results.add("worker_scaling", Figure::new("times 2 workers", times, Limit::Most(1.15)));
    Ok(())
}

/// A cluster of so many workers.
struct WorkedCluster {
    _directory: tempfile::TempDir,
    cluster: NoopCluster,
    processes: Processes,
    _workers: Vec<Running>,
}

impl WorkedCluster {
    async fn start(count: u32) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let cluster = NoopCluster::start(directory.path(), &layers()).await?;
        let workers = (0..count).map(|number| cluster.worker(&format!("worker-{number}"), SLOTS / count));
        let workers = workers.collect::<Result<Vec<_>>>()?;
        let coordinator = cluster.coordinator.as_ref().context("it runs")?.id();
        let processes = Processes::of(coordinator, workers.iter().map(Running::id).collect())?;
        Ok(Self { _directory: directory, cluster, processes, _workers: workers })
    }

    /// Core of the coordinator a task, in microseconds.
    async fn round(&self, name: &str) -> Result<f64> {
        let before = self.processes.cost()?;
        let stars = StarSelection::Inline((0..u64::from(STARS)).map(StarId::of_simulator).collect());
        let run = self.cluster.begin(name, stars).await?;
        self.cluster.until_succeeded(run, u64::from(STARS * TASKS)).await?;
        self.cluster.until_over(run).await?;
        Ok((self.processes.cost()? - before).per(STARS * TASKS).coordinator)
    }
}
