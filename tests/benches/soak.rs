//! Whether memory stays as it is: what coordinator, worker and the worker's store agents have after ever more tasks.
//! `cargo bench --workspace --bench soak`, or `… -- dispatch 100000` for one runner and another number of tasks.
//!
//! With `dispatch` attempts are claimed and reported and nothing else; with `noop` they also stage, seal and commit.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use domain::id::StarId;
use domain::message::StarSelection;
use harness::cost;
use harness::noop::{NoopCluster, layers};

/// Tasks of a star, stars of a run, runs between two looks.
const TASKS: u64 = 31;
const STARS: u64 = 108;
const RUNS: u64 = 3;

/// Tasks in all, where nobody says how many.
const ALL: [(&str, u64); 2] = [("dispatch", 100_000), ("noop", 100_000)];

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    for (runner, tasks) in ALL {
        match &arguments[..] {
            [] => soak(runner, tasks).await?,
            [asked] if asked == runner => soak(runner, tasks).await?,
            [asked, tasks] if asked == runner => soak(runner, tasks.parse().context("a number of tasks")?).await?,
            _ => {}
        }
    }
    Ok(())
}

async fn soak(runner: &str, tasks: u64) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let cluster = NoopCluster::start(directory.path(), &layers()).await?;
    let settings = [("SAS_WORKER_RUNNER", runner), ("SAS_SLOTS_DEFAULT", "4"), ("RUST_LOG", "warn")];
    let worker = cluster.cluster.worker("worker", &settings)?;
    let coordinator = cluster.coordinator.as_ref().context("it runs")?;
    let began = Instant::now();
    println!(
        "{runner}: MB after so many tasks\n{:>9}{:>9}{:>9}{:>9}{:>13}",
        "tasks", "s", "worker", "agents", "coordinator"
    );
    let (mut done, mut runs) = (0, 0);
    while done < tasks {
        for _ in 0..RUNS {
            let stars = (0..STARS).map(|star| StarId::of_simulator(runs * STARS + star)).collect();
            let run = cluster.begin(&format!("{runner}-{runs}"), StarSelection::Inline(stars)).await?;
            cluster.until_succeeded(run, STARS * TASKS).await?;
            cluster.until_over(run).await?;
            (done, runs) = (done + STARS * TASKS, runs + 1);
        }
        let agents = children(worker.id())?.into_iter().map(resident).sum::<f64>();
        println!(
            "{done:>9}{:>9.0}{:>9.1}{agents:>9.1}{:>13.1}",
            began.elapsed().as_secs_f64(),
            resident(worker.id()),
            resident(coordinator.id())
        );
    }
    Ok(())
}

/// What a process has in memory, in MB; nothing where it ended.
fn resident(process: u32) -> f64 {
    cost::resident(process).unwrap_or_default() / f64::from(1 << 20)
}

/// Processes that a process started, by any of its threads.
fn children(process: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for thread in fs::read_dir(Path::new("/proc").join(process.to_string()).join("task"))? {
        let said = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        found.extend(said.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
    }
    Ok(found)
}
