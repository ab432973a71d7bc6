//! A cluster whose worker runs processes that write 1 KB each: stars of 31 tasks, five layers of six, then one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::calls::{Calls, Trace};
use harness::cluster::Cluster;
use harness::light::Campaign;
use harness::noop::layers;
use harness::wait_until;
use jiff::Timestamp;

use super::cost::{FileCost, agents_of};

/// Tasks of a star.
pub(crate) const TASKS: usize = 31;

/// Longest that a round may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Stars that were delivered, and what their modules write.
pub(crate) struct ProcessScene {
    campaign: Campaign,
    stars: usize,
}

/// What a round came to.
pub(crate) struct ProcessRound {
    /// Tasks a second, from the acceptance of the run to its end.
    pub(crate) rate: f64,
    /// For each task, from the event to the end of the run.
    pub(crate) cost: FileCost,
}

impl ProcessScene {
    pub(crate) fn new(stars: usize) -> Result<Self> {
        let mut campaign = Campaign::new()?;
        // One more, with which all begins.
        campaign.deliver(3, &format!("quiet={}", stars + 1), 1)?;
        let templates = campaign.path("templates");
        fs::create_dir(&templates)?;
        let names: Vec<String> = layers().into_iter().map(|(name, _)| name).collect();
        let program = format!(
            "import h5py, numpy as np\nfor name in {names:?}:\n    with h5py.File(f'{}/{{name}}.h5', 'w') as f: \
             f[f'PRODUCTS/P_{{name}}/value'] = np.arange(128.0)",
            templates.display()
        );
        ensure!(Command::new("/usr/bin/python3").args(["-c", &program]).status()?.success(), "h5py made no files");
        Ok(Self { campaign, stars })
    }

    /// What a module writes.
    pub(crate) fn template(&self, name: &str) -> PathBuf {
        self.campaign.path("templates").join(format!("{name}.h5"))
    }

    /// A directory on the store's file system.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.campaign.path(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Runs all tasks, so many at once.
    pub(crate) async fn run(&self, slots: usize) -> Result<ProcessRound> {
        Ok(self.run_and_count(slots, false).await?.0)
    }

    /// The same; counts calls of each task if that is wanted, and can be.
    pub(crate) async fn run_and_count(&self, slots: usize, is_counted: bool) -> Result<(ProcessRound, Option<Calls>)> {
        let directory = self.folder("cluster")?;
        let pipeline = directory.join("bench.toml");
        fs::write(&pipeline, self.definition())?;
        let cluster = Cluster::start(&directory, &[&pipeline])?;
        let settings =
            [("SAS_WORKER_RUNNER", "process"), ("SAS_SLOTS_DEFAULT", &*slots.to_string()), ("RUST_LOG", "warn")];
        let worker = cluster.worker("worker", &settings)?;
        let coordinator = cluster.coordinator_with("coordinator", &[("RUST_LOG", "warn")])?;
        let files = self.campaign.star_files()?;
        let (first, files) = files.split_at(1);
        run(&cluster, 1, first).await.with_context(|| coordinator.log())?;
        let before = FileCost::so_far(coordinator.id(), worker.id())?;
        let traced = || [vec![coordinator.id(), worker.id()], agents_of(coordinator.id(), worker.id())].concat();
        let trace = if is_counted { Trace::attach(&traced())? } else { None };
        run(&cluster, 2, files).await.with_context(|| coordinator.log())?;
        let tasks = self.stars * TASKS;
        let calls = trace.map(Trace::end).transpose()?.map(|calls| calls.per(u32::try_from(tasks).unwrap_or(u32::MAX)));
        let rate = tasks as f64 / seconds(&cluster)?;
        let cost = FileCost::so_far(coordinator.id(), worker.id())?.since(&before).per(tasks);
        Ok((ProcessRound { rate, cost }, calls))
    }

    fn definition(&self) -> String {
        let head = "name = \"BENCH\"\nversion = \"1\"\ntrigger = \"l1/lightcurve\"\n[externals]\nstar = [\"DP1_LC_MERGED\"]\n\
                    [classes.default]\ncpus = 1\nmemory = \"64MB\"\n";
        let module = |(name, after): (String, Vec<String>)| {
            format!(
                "[modules.{name}]\nimage = \"none\"\ncommand = {:?}\nclass = \"default\"\ntime_limit = \"1m\"\n\
                 after = {after:?}\ninputs.mandatory = [\"DP1_LC_MERGED\"]\noutputs.mandatory = [\"P_{name}\"]\n",
                command(&self.template(&name), "\"$SAS_OUTPUT\""),
            )
        };
        head.to_owned() + &layers().into_iter().map(module).collect::<String>()
    }
}

/// Runs all tasks of these stars, which is the cluster's run number `count`.
async fn run(cluster: &Cluster, count: usize, files: &[PathBuf]) -> Result<()> {
    cluster.ingest(files)?;
    let is_there = async || cluster.ask(&["run", "list"]).is_ok_and(|runs| runs[count.saturating_sub(1)].is_object());
    wait_until(PATIENCE, &format!("there is run {count}"), is_there).await?;
    let watched = cluster.sas(&["run", "watch", "--timeout", "10m"])?;
    ensure!(watched.status.success(), "{}", String::from_utf8_lossy(&watched.stderr));
    Ok(())
}

/// What writes a file; in one process, as the shell becomes it.
pub(crate) fn command(template: &Path, output: &str) -> [String; 3] {
    ["/bin/sh".to_owned(), "-c".to_owned(), format!("exec cp '{}' {output}", template.display())]
}

/// From the acceptance of the run to its end.
fn seconds(cluster: &Cluster) -> Result<f64> {
    let run = cluster.ask(&["run", "list"])?;
    let time = |key: &str| run[0][key].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let (from, to) = time("accepted").zip(time("ended")).context("a run that ended says when")?;
    Ok(to.duration_since(from).as_secs_f64())
}
