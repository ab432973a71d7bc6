//! What it costs to replay stars of which nothing is other, beside what running them cost: the whole real pipeline with light
//! modules as processes, on real RabbitMQ, Redis, coordinator and worker.
//!
//! Each round delivers stars of its own and runs them once. Then they are replayed as `sas replay` does it, which finds that nothing
//! runs, and started again by `sas run start`, which finds every result by its key. The costs are of a star: replaying many costs
//! no more for each than replaying few.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::cluster::{Cluster, Running};
use harness::light::Campaign;
use harness::results::{Figure, Limit, Results};
use harness::wait_until;

/// Stars of a round, and rounds, unless `SAS_BENCH_STARS` and `SAS_BENCH_ROUNDS` say otherwise.
const STARS: u32 = 60;
const ROUNDS: u32 = 3;

/// What replaying may cost at most, of what running costs.
const MOST: f64 = 1.0 / 50.0;

/// Longest that a run may take.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

/// Seconds a star.
struct ReplayCost {
    run: f64,
    replay: f64,
    start: f64,
}

pub(crate) async fn measure(results: &mut Results) -> Result<()> {
    let asked = |name: &str, usual| std::env::var(name).map_or(Ok(usual), |count| count.parse::<u32>());
    let (stars, rounds) = (asked("SAS_BENCH_STARS", STARS)?, asked("SAS_BENCH_ROUNDS", ROUNDS)?);
    println!("{stars} stars a round through SAS-PIP, a worker of 2 slots of each class; ms a star");
    println!("{:<8}{:>12}{:>22}{:>22}", "round", "run", "replay plan, apply", "run start again");
    let site = UnchangedSite::start(stars, rounds)?;
    let mut costs = Vec::new();
    for round in 1..=rounds {
        let ReplayCost { run, replay, start } = site.round(round).await?;
        let [run_ms, replay_ms, start_ms] = [run, replay, start].map(|seconds| seconds * 1e3);
        println!("{round:<8}{run_ms:>12.0}{replay_ms:>22.2}{start_ms:>22.1}");
        costs.push(ReplayCost { run, replay, start });
    }
    let of = |value: fn(&ReplayCost) -> f64| costs.iter().map(value).collect::<Vec<f64>>();
    let mut add = |name, unit, values, limit| results.add(name, Figure::new(unit, values, limit));
    add("run_ms_per_star", "ms", of(|cost| cost.run * 1e3), Limit::None);
    add("unchanged_replay_vs_run", "of running", of(|cost| cost.replay / cost.run), Limit::Most(MOST));
    add("unchanged_start_vs_run", "of running", of(|cost| cost.start / cost.run), Limit::Most(MOST));
    Ok(())
}

/// A cluster with the whole pipeline.
struct UnchangedSite {
    cluster: Cluster,
    /// What was delivered, and the definition in which light plays every module.
    campaign: Campaign,
    /// The stars of each round.
    rounds: Vec<Vec<String>>,
    _running: [Running; 2],
}

impl UnchangedSite {
    fn start(stars: u32, rounds: u32) -> Result<Self> {
        let mut campaign = Campaign::new()?;
        let each = stars / 4;
        let kinds = format!("quiet={},rotating={each},seismic={each},mixed={each}", stars - 3 * each);
        let rounds =
            (1..=rounds).map(|round| Ok(campaign.deliver(3, &kinds, round)?.into_values().flatten().collect()));
        let rounds = rounds.collect::<Result<_>>()?;
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pipelines/sas-pip.toml");
        let pipeline = campaign.rewrite(&shipped, &["--time-limit", "600s"])?;
        let directory = campaign.path("cluster");
        fs::create_dir(&directory)?;
        let cluster = Cluster::start(&directory, &[&pipeline])?;
        let shared = campaign.shared_file()?.display().to_string();
        let taken = cluster.sas(&["ingest", "--shared", "--dataset", "models/grids", &shared])?;
        ensure!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
        let settings = [
            ("SAS_WORKER_RUNNER", "process"),
            ("SAS_SLOTS_SMALL", "2"),
            ("SAS_SLOTS_DEFAULT", "2"),
            ("SAS_SLOTS_LARGE", "2"),
            ("SAS_SLOTS_HEAVY", "2"),
            ("RUST_LOG", "warn"),
        ];
        let coordinator = cluster.coordinator_with("coordinator", &[("RUST_LOG", "warn")])?;
        let worker = cluster.worker("worker", &settings)?;
        Ok(Self { cluster, campaign, rounds, _running: [coordinator, worker] })
    }

    async fn round(&self, round: u32) -> Result<ReplayCost> {
        let stars = &self.rounds[round as usize - 1];
        let list = self.campaign.path(&format!("stars-{round}.txt"));
        fs::write(&list, stars.join("\n"))?;
        let is_of_round = |file: &PathBuf| stars.iter().any(|star| file.display().to_string().contains(star.as_str()));
        let files: Vec<PathBuf> = self.campaign.star_files()?.into_iter().filter(is_of_round).collect();
        let before = self.runs()?.len();
        self.cluster.ingest(&files)?;
        let began = Instant::now();
        wait_until(PATIENCE, "the event is a run", async || self.runs().is_ok_and(|runs| runs.len() > before)).await?;
        self.watch(&self.runs()?[0]).await?;
        let run = began.elapsed();

        let list = list.display().to_string();
        let plan = self.campaign.path(&format!("plan-{round}.json")).display().to_string();
        let began = Instant::now();
        let said =
            self.cluster.ask(&["replay", "plan", "--pipeline", "SAS-PIP", "--stars-from", &list, "--to", &plan])?;
        let applied = self.cluster.sas(&["replay", "apply", &plan, "--why", "nothing is other"])?;
        let replay = began.elapsed();
        let unchanged = said["work"]["unchanged"].as_u64();
        ensure!(unchanged == Some(stars.len() as u64), "something is other: {said}");
        ensure!(applied.status.code() == Some(1), "it ran something: {}", String::from_utf8_lossy(&applied.stderr));

        let began = Instant::now();
        let arguments = ["run", "start", "--pipeline", "SAS-PIP", "--quarter", "3", "--stars", &list];
        let started = self.cluster.ask(&arguments)?;
        let again = started[0]["run"].as_str().with_context(|| format!("{started} names a run"))?;
        self.watch(again).await?;
        let start = began.elapsed();
        let of = |time: Duration| time.as_secs_f64() / stars.len() as f64;
        Ok(ReplayCost { run: of(run), replay: of(replay), start: of(start) })
    }

    /// All runs, newest first.
    fn runs(&self) -> Result<Vec<String>> {
        let runs = self.cluster.ask(&["run", "list", "--all"])?;
        let named = runs.as_array().into_iter().flatten().filter_map(|run| run["run"].as_str().map(str::to_owned));
        Ok(named.collect())
    }

    /// Waits until a run has ended.
    async fn watch(&self, run: &str) -> Result<()> {
        wait_until(PATIENCE, "the run has ended", async || {
            self.cluster.ask(&["run", "show", run]).is_ok_and(|run| run["phase"] == "ended")
        })
        .await
    }
}
