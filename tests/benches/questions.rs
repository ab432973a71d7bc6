//! What operators' questions cost beside a run of 300,000 stars of 34 modules that is in full flight: real Redis, RabbitMQ
//! and store, each question a `sas` of its own, as people type them. `cargo bench --workspace --bench questions`.

use std::time::Instant;

use anyhow::Result;
use harness::flight::{Flight, MODULES, STARS};

#[tokio::main]
async fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let began = Instant::now();
    let flight = Flight::prepare(directory.path()).await?;
    println!("{STARS} stars x {MODULES} modules in Redis and store, made in {:.0?}\n", began.elapsed());
    println!("{:<58}{:>10}{:>10}", "question", "ms", "MB");
    let (flying, settled) = (flight.flying, flight.settled);
    for question in [
        "status",
        "run list",
        "run show",
        "run failures",
        "run failures --reason exit --host host-3",
        "task list",
        "task list --state running --older 1s",
        "task list --state queued",
        "task list --state waiting",
        "task list --state failed --module MSAP03",
        "task retry --state failed --dry-run",
        "task retry --reason out_of_memory --dry-run",
        "task cancel --module MSAP02 --dry-run",
        "worker list",
        "queue list",
        "module list",
        &format!("star show {flying}"),
        &format!("star explain {flying}"),
        &format!("star show {settled}"),
        &format!("star cancel {flying} --dry-run"),
    ] {
        let arguments: Vec<&str> = question.split_whitespace().collect();
        let mut costs = Vec::new();
        for _ in 0..5 {
            costs.push(flight.cluster.cost(&arguments)?);
        }
        costs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let memory = costs.iter().map(|cost| cost.kilobytes).max().unwrap_or(0);
        println!("{question:<58}{:>10.0}{:>10.0}", costs[2].seconds * 1e3, memory as f64 / 1024.0);
    }
    Ok(())
}
