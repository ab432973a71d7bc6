//! How long a task waits for the one before it, at low load: from a commit to the start of the program that it unlocked.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::cluster::Cluster;
use harness::light::{Campaign, empty_output};
use harness::results::{Figure, Limit, Results};
use harness::wait_until;

/// Modules in a row, and stars, one after the other.
const MODULES: usize = 20;
const STARS: usize = 12;
const QUARTER: u16 = 3;

pub(crate) async fn measure(results: &mut Results) -> Result<()> {
    let mut campaign = Campaign::new()?;
    campaign.deliver(QUARTER, &format!("quiet={STARS}"), 1)?;
    let directory = campaign.path("cluster");
    fs::create_dir(&directory)?;
    let pipeline = directory.join("bench.toml");
    fs::write(&pipeline, definition(&directory, &empty_output(&directory)?))?;
    let cluster = Cluster::start(&directory, &[&pipeline])?;
    let settings = [("SAS_WORKER_RUNNER", "process"), ("SAS_SLOTS_DEFAULT", "2"), ("RUST_LOG", "warn")];
    let worker = cluster.worker("worker", &settings)?;
    let coordinator = cluster.coordinator("coordinator")?;
    let mut hops = Vec::new();
    for (at, file) in campaign.star_files()?.into_iter().enumerate() {
        cluster.ingest(&[file])?;
        let lines = || fs::read_to_string(directory.join("times")).unwrap_or_default();
        let is_done = async || lines().lines().count() >= 2 * MODULES * (at + 1);
        let done = wait_until(Duration::from_secs(60), "the star's last program has ended", is_done).await;
        done.with_context(|| format!("{}\n{}", coordinator.log(), worker.log()))?;
        hops.extend(between(&lines().lines().skip(2 * MODULES * at).collect::<Vec<_>>())?);
    }
    hops.sort_by(f64::total_cmp);
    let at = |share: f64| hops[((hops.len() - 1) as f64 * share) as usize];
    println!("\nfrom the end of a program to the start of the one that it unlocks, in ms, of {} times:", hops.len());
    println!(
        "half within {:.1}, 99 % within {:.1} (checked, committed, reported, unlocked, claimed, staged, started)",
        at(0.5),
        at(0.99)
    );
    results.add("unlock_process_p50_ms", Figure::new("ms", vec![at(0.5)], Limit::None));
    results.add("unlock_process_p99_ms", Figure::new("ms", vec![at(0.99)], Limit::None));
    Ok(())
}

/// Milliseconds from each end to the start after it.
fn between(lines: &[&str]) -> Result<Vec<f64>> {
    ensure!(lines.len() == 2 * MODULES, "a program starts and ends: {lines:?}");
    let times = lines.iter().map(|line| Ok(line.trim().parse::<f64>()? / 1e6)).collect::<Result<Vec<_>>>()?;
    Ok(times[1..].chunks_exact(2).map(|pair| pair[1] - pair[0]).collect())
}

/// A chain of programs that say when they start and end, and give one number each.
fn definition(directory: &Path, template: &Path) -> String {
    let head = "name = \"BENCH\"\nversion = \"1\"\ntrigger = \"l1/lightcurve\"\n\
                [externals]\nstar = [\"DP1_LC_MERGED\"]\n[classes.default]\ncpus = 1\nmemory = \"64MB\"\n";
    let times = directory.join("times");
    let module = |at: usize| {
        let after: Vec<String> = (at > 0).then(|| format!("M{:02}", at.saturating_sub(1))).into_iter().collect();
        let script = format!(
            "date +%s%N >> {0}; cp {1} \"$SAS_OUTPUT\"; date +%s%N >> {0}",
            times.display(),
            template.display()
        );
        format!(
            "[modules.M{at:02}]\nimage = \"none\"\ncommand = [\"/bin/sh\", \"-c\", '{script}']\nclass = \"default\"\n\
             time_limit = \"1m\"\nafter = {after:?}\ninputs.mandatory = [\"DP1_LC_MERGED\"]\noutputs.optional = [\"P{at}\"]\n"
        )
    };
    head.to_owned() + &(0..MODULES).map(module).collect::<String>()
}
