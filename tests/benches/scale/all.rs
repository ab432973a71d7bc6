//! `window = "all"`: 300,000 stars of 34 modules, everything that can run queued at once, and what it takes to hold, pause and
//! cancel that.

use std::time::Instant;

use anyhow::{Context, Result};
use harness::cost::{info, resident};
use harness::noop::{NoopCluster, until};
use harness::results::{Figure, Limit, Results};
use harness::{RabbitMq, Redis};

use crate::events::list;

const STARS: u32 = 300_000;
/// Modules that a star begins with, of 34.
const FIRST: u32 = 4;
const THEN: u32 = 30;
/// Tasks that run before the run is cancelled.
const RUN: u64 = 20_000;

pub(crate) async fn measure(results: &mut Results) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let cluster = NoopCluster::start_with(directory.path(), &modules(), &[("SAS_COORDINATOR_WINDOW", "all")]).await?;
    let (redis, broker) = (Redis::shared()?, RabbitMq::shared()?.id()?);
    let before = (info(redis, "memory", "used_memory")?, resident(broker)?);
    let began = Instant::now();
    let run = cluster.begin("all", list(&cluster, STARS)?).await?;
    let all = u64::from(STARS * FIRST);
    until("everything is queued", async || Ok(cluster.waiting().await? >= all)).await?;
    let queued = began.elapsed().as_secs_f64();
    let megabytes = |bytes: f64| bytes / 1e6;
    println!("\nwindow = \"all\", {STARS} stars, {all} tasks: all queued after {queued:.0} s");
    let redis_mb = megabytes(info(redis, "memory", "used_memory")? - before.0);
    println!("Redis {redis_mb:.0} MB, RabbitMQ {:.0} MB more", megabytes(resident(broker)? - before.1));

    let on_hold = async || anyhow::Ok(cluster.view(run).await?.context("the run is there")?.on_hold);
    let say = |what: &str, began: Instant, longest: f64| {
        println!(
            "{what}: {:.1} s; longest that Redis served nobody else: {longest:.0} ms",
            began.elapsed().as_secs_f64()
        );
        longest
    };
    let mut longest = Vec::new();
    watch(redis)?;
    let began = Instant::now();
    cluster.cluster.ask(&["module", "hold", "BENCH", "F0"])?;
    until("a quarter is put aside", async || Ok(on_hold().await? == u64::from(STARS))).await?;
    longest.push(say("held", began, slowest(redis)?));
    let began = Instant::now();
    cluster.cluster.ask(&["module", "release", "BENCH", "F0"])?;
    until("it is back", async || Ok(on_hold().await? == 0)).await?;
    longest.push(say("released", began, slowest(redis)?));
    let worker = cluster.worker("worker", 4)?;
    let began = Instant::now();
    cluster.until_succeeded(run, RUN).await?;
    longest.push(say(&format!("{RUN} tasks run"), began, slowest(redis)?));
    drop(worker);
    let began = Instant::now();
    cluster.cluster.ask(&["run", "cancel", &run.to_string()])?;
    cluster.until_over(run).await?;
    longest.push(say("cancelled, every star put away", began, slowest(redis)?));
    let coordinator = cluster.coordinator.as_ref().context("it runs")?.most_memory()?;
    println!("coordinator at most {coordinator:.0} MB");
    results.add("window_all_queued_s", Figure::new("s", vec![queued], Limit::None));
    results.add("window_all_redis_mb", Figure::new("MB", vec![redis_mb], Limit::None));
    results.add("window_all_longest_script_ms", Figure::new("ms", longest, Limit::None));
    results.add("window_all_coordinator_mb", Figure::new("MB", vec![coordinator], Limit::None));
    Ok(())
}

/// Four that nothing comes before, and a chain behind each of all the others.
fn modules() -> Vec<(String, Vec<String>)> {
    let first = (0..FIRST).map(|at| (format!("F{at}"), Vec::new()));
    let then = (0..THEN).map(|at| (format!("T{at}"), vec![format!("F{}", at % FIRST)]));
    first.chain(then).collect()
}

/// Watches from now on for how long Redis serves nobody else.
fn watch(redis: &Redis) -> Result<()> {
    redis.cli(&["CONFIG", "SET", "latency-monitor-threshold", "1"])?;
    redis.cli(&["LATENCY", "RESET"])?;
    Ok(())
}

/// The longest that one command took since then, in milliseconds; the next look begins anew.
fn slowest(redis: &Redis) -> Result<f64> {
    // Of each kind of event its name, when it was last, how long then, and the longest.
    let latest = redis.cli(&["LATENCY", "LATEST"])?;
    let lines: Vec<&str> = latest.lines().collect();
    let longest = lines.chunks(4).find(|event| event.first() == Some(&"command")).and_then(|event| event.get(3));
    redis.cli(&["LATENCY", "RESET"])?;
    Ok(longest.map_or(Ok(0.0), |longest| longest.parse())?)
}
