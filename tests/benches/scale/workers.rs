//! What a task costs the coordinator with 40 worker processes, beside two.

use std::fs;

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
    println!("\n{STARS} stars of {TASKS} tasks: core of the coordinator a task, in us; its sleeps for 1,000 tasks");
    println!("{:<10}{:>10}{:>10}{:>8}{:>10}{:>10}", "round", "2 workers", "40", "times", "2 workers", "40");
    let (few, many) = (WorkedCluster::start(2).await?, WorkedCluster::start(40).await?);
    for cluster in [&few, &many] {
        cluster.round("warm").await?;
    }
    let (mut times, mut sleeps) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let name = round.to_string();
        let (few, many) = (few.round(&name).await?, many.round(&name).await?);
        let more = many.core / few.core;
        println!(
            "{round:<10}{:>10.0}{:>10.0}{more:>8.2}{:>10.0}{:>10.0}",
            few.core, many.core, few.sleeps, many.sleeps
        );
        times.push(more);
        sleeps.push(many.sleeps / few.sleeps);
    }
    // The more often it sleeps, the less it finds to do at once.
    results.add("worker_scaling_sleeps", Figure::new("times 2 workers", sleeps, Limit::None));
    results.add("worker_scaling", Figure::new("times 2 workers", times, Limit::Most(1.15)));
    Ok(())
}

/// What a round cost the coordinator.
struct CoordinatorCost {
    /// Core a task, in microseconds.
    core: f64,
    /// Sleeps for 1,000 tasks.
    sleeps: f64,
}

/// A cluster of so many workers.
struct WorkedCluster {
    _directory: tempfile::TempDir,
    cluster: NoopCluster,
    processes: Processes,
    coordinator: u32,
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
        Ok(Self { _directory: directory, cluster, processes, coordinator, _workers: workers })
    }

    async fn round(&self, name: &str) -> Result<CoordinatorCost> {
        let (before, slept) = (self.processes.cost()?, self.sleeps()?);
        let stars = StarSelection::Inline((0..u64::from(STARS)).map(StarId::of_simulator).collect());
        let run = self.cluster.begin(name, stars).await?;
        self.cluster.until_succeeded(run, u64::from(STARS * TASKS)).await?;
        self.cluster.until_over(run).await?;
        Ok(CoordinatorCost {
            core: (self.processes.cost()? - before).per(STARS * TASKS).coordinator,
            sleeps: (self.sleeps()? - slept) * 1e3 / f64::from(STARS * TASKS),
        })
    }

    /// How often the coordinator had nothing to do, all its threads together.
    fn sleeps(&self) -> Result<f64> {
        let mut sleeps = 0.0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.coordinator))? {
            let status = fs::read_to_string(thread?.path().join("status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            sleeps += line.context("a thread says how often it slept")?.trim().parse::<f64>()?;
        }
        Ok(sleeps)
    }
}
