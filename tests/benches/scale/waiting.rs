//! What a coordinator keeps of 300,000 stars that wait for a second dataset, and how long it takes to let them all in.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use domain::id::{EventId, StarId};
use harness::cluster::Cluster;
use harness::cost;
use harness::results::{Figure, Limit, Results};
use harness::wait_until;
use store::Store;

const STARS: u32 = 300_000;

/// Longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// In which time triggers look at everything twice.
const LOOKS: Duration = Duration::from_secs(12);

/// Waits for two datasets; nobody ever runs its module.
const PIPELINE: &str = "name = 'WAITS'\nversion = '1'\n[trigger]\non = 'l1/lightcurve & exo/flag'\n[externals]\nstar = ['LC']\n\
    [classes.default]\ncpus = 1\nmemory = '64MB'\n[modules.A]\nimage = 'none'\ninputs.mandatory = ['LC']\n\
    outputs.mandatory = ['X']\n";

pub(crate) async fn measure(results: &mut Results) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let pipeline = directory.path().join("waits.toml");
    fs::write(&pipeline, PIPELINE)?;
    let cluster = Cluster::start(directory.path(), &[&pipeline])?;
    let mut list = String::new();
    for star in 0..u64::from(STARS) {
        writeln!(list, "{}", StarId::of_simulator(star))?;
    }
    fs::write(cluster.store.join("stars.txt"), list)?;
    let coordinator = cluster.coordinator_with("coordinator", &[("RUST_LOG", "warn")])?;
    // It is there, and has accepted something.
    publish(&cluster, "warm", "exo/kit", &[StarId::of_simulator(0).to_string().as_str()]).await?;
    let resident = || Ok::<_, anyhow::Error>(cost::resident(coordinator.id())? / f64::from(1 << 20));
    let before = resident()?;
    let all = ["--stars-file", "stars.txt"];
    publish(&cluster, "waits", "l1/lightcurve", &all).await?;
    let (began, mut most) = (Instant::now(), 0.0_f64);
    wait_until(PATIENCE, "triggers have looked twice", async || {
        most = resident().map_or(most, |now| now.max(most));
        began.elapsed() > LOOKS
    })
    .await?;
    let (waiting, peak) = (most - before, coordinator.most_memory()?);
    println!("{STARS} stars wait: {waiting:.1} MB more than {before:.1} MB, {peak:.1} MB at most at any time");
    let began = Instant::now();
    publish(&cluster, "comes", "exo/flag", &all).await?;
    wait_until(PATIENCE, "all of them are in a run", async || {
        let runs = cluster.ask(&["run", "list", "--all"]).unwrap_or_default();
        let stars = |run: &serde_json::Value| run["stars"].as_u64();
        runs.as_array().into_iter().flatten().filter_map(stars).sum::<u64>() == u64::from(STARS)
    })
    .await?;
    let entered = began.elapsed().as_secs_f64();
    let peak = coordinator.most_memory()?;
    println!("all enter {entered:.1} s after the second dataset came; {peak:.1} MB at most");
    results.add("waiting_stars_mb", Figure::new("MB", vec![waiting], Limit::None));
    results.add("waiting_stars_enter_s", Figure::new("s", vec![entered], Limit::None));
    Ok(())
}

/// Publishes an event over these stars; returns when it is accepted.
async fn publish(cluster: &Cluster, id: &str, dataset: &str, stars: &[&str]) -> Result<()> {
    let arguments = ["event", "publish", "--dataset", dataset, "--quarter", "3", "--id", id];
    let done = cluster.sas(&[&arguments[..], stars].concat())?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (store, event) = (Store::open(&cluster.store)?, EventId::of("sas", id));
    wait_until(PATIENCE, "the event is accepted", async || {
        store.dispositions(event).is_ok_and(|dispositions| dispositions.is_some())
    })
    .await
}
