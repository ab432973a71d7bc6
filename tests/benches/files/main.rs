//! What a task costs that stages, runs a process, checks and commits 1 KB, beside a bare loop of the same: `cargo bench
//! --workspace --bench files [-- commit | staging]`, after `cargo build --release --workspace --bins`.
//!
//! Real RabbitMQ, Redis, coordinator and worker. Both are taken in turns; times are of this machine at this time.

mod bare;
mod cost;
mod scene;
mod staging;

use anyhow::Result;
use harness::results::{Figure, Limit, Results};
use scene::{ProcessScene, TASKS};

/// Rounds; `SAS_BENCH_ROUNDS` says otherwise.
const ROUNDS: usize = 5;

/// Stars of a round; `SAS_BENCH_STARS` says otherwise.
const STARS: usize = 60;

/// Stars of the round whose calls are counted, which is slow.
const COUNTED: usize = 10;

/// Tasks at once.
const SLOTS: usize = 4;

#[tokio::main]
async fn main() -> Result<()> {
    // `cargo bench … -- staging` measures only that.
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    let number = |name, otherwise| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (rounds, stars) = (number("SAS_BENCH_ROUNDS", ROUNDS), number("SAS_BENCH_STARS", STARS));
    let mut results = Results::read()?;
    if wanted("commit") {
        commit(&mut results, rounds, stars).await?;
        results.write()?;
    }
    if wanted("staging") {
        staging::measure(&mut results, rounds).await?;
        results.write()?;
    }
    println!("\n{results}");
    Ok(())
}

/// Tasks that commit 1 KB, with all that the cluster does for them, in turns with a loop that does nothing else.
async fn commit(results: &mut Results, rounds: usize, stars: usize) -> Result<()> {
    println!("{stars} stars of {TASKS} tasks a round; one coordinator, one worker of {SLOTS} slots\n");
    println!(
        "{:<8}{:>10}{:>10}{:>8}   us of core a task: coordinator, worker, agents; calls",
        "round", "tasks/s", "bare/s", "ratio"
    );
    let (mut ours, mut bare, mut cores, mut calls) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let scene = ProcessScene::new(stars)?;
        let ran = scene.run(SLOTS).await?;
        let limit = bare::rate(&scene, stars * TASKS, SLOTS)?;
        let cost = ran.cost;
        println!(
            "{round:<8}{:>10.0}{limit:>10.0}{:>8.2}   {:.0}, {:.0}, {:.0}; {:.1}",
            ran.rate,
            ran.rate / limit,
            cost.coordinator,
            cost.worker,
            cost.agents,
            cost.calls
        );
        ours.push(ran.rate);
        bare.push(limit);
        cores.push(cost.coordinator + cost.worker + cost.agents);
        calls.push(cost.calls);
    }
    if let (_, Some(calls)) = ProcessScene::new(COUNTED)?.run_and_count(SLOTS, true).await? {
        println!("\ncounted over {COUNTED} stars, a task: {calls:.2?}");
        results.add("commit_system_calls", Figure::new("system calls a task", vec![calls.all], Limit::None));
        results.add("commit_fsyncs", Figure::new("fsyncs a task", vec![calls.syncs], Limit::None));
        results.add("commit_round_trips", Figure::new("sendings to Redis a task", vec![calls.trips], Limit::None));
    }
    let ratios = ours.iter().zip(&bare).map(|(ours, bare)| ours / bare).collect();
    results.add("commit_rate", Figure::new("tasks/s", ours, Limit::None));
    results.add("commit_bare", Figure::new("tasks/s", bare, Limit::None));
    results.add("commit_vs_bare", Figure::new("ratio", ratios, Limit::Least(0.6)));
    results.add("commit_core_us", Figure::new("us of core a task", cores, Limit::None));
    results.add("commit_calls", Figure::new("reads and writes a task", calls, Limit::None));
    Ok(())
}
