//! Stars whose modules take their time and write down when each of them was started, on a real cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use harness::clock::SteppedClock;
use harness::cluster::Cluster;
use harness::light::{Campaign, star_file};
use harness::{RabbitMq, Redis};

/// Long enough for a busy machine.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A star goes through these, one after the other; only the one in the middle takes its time.
pub(crate) const MODULES: [(&str, &str, &str); 3] =
    [("QUICK", "DP1_LC_MERGED", "X"), ("SLOW", "X", "Y"), ("LAST", "Y", "Z")];

/// Stars that were delivered, and a cluster without programs yet.
pub(crate) struct RecoveryScene {
    campaign: Campaign,
    pub(crate) cluster: Cluster,
    log: PathBuf,
    redis: Option<Redis>,
}

/// A module was started.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StartedModule {
    pub(crate) module: String,
    pub(crate) star: String,
    pub(crate) pid: u32,
    /// Seconds since 1970.
    pub(crate) at: f64,
}

impl RecoveryScene {
    /// So many stars, of which one module takes so many seconds; on this broker, or the one that all share. Coordinators serve
    /// these pipelines, too.
    pub(crate) fn new(stars: u32, seconds: u32, broker: Option<&RabbitMq>, more: &[&str]) -> Result<Self> {
        Self::on(stars, seconds, (broker, None), more)
    }

    /// The same on a Redis that takes the time of day from this clock.
    pub(crate) fn by(clock: &SteppedClock, stars: u32, seconds: u32) -> Result<Self> {
        Self::on(stars, seconds, (None, Some(Redis::start_by(clock)?)), &[])
    }

    fn on(stars: u32, seconds: u32, on: (Option<&RabbitMq>, Option<Redis>), more: &[&str]) -> Result<Self> {
        let (broker, redis) = on;
        let mut campaign = Campaign::new()?;
        campaign.deliver(3, &format!("quiet={stars}"), 1)?;
        let directory = campaign.path("cluster");
        fs::create_dir(&directory)?;
        let log = directory.join("started");
        fs::write(&log, "")?;
        let mut pipelines = vec![directory.join("slow.toml")];
        fs::write(&pipelines[0], definition(&log, seconds))?;
        for (number, text) in more.iter().enumerate() {
            pipelines.push(directory.join(format!("more-{number}.toml")));
            fs::write(&pipelines[number + 1], text)?;
        }
        let paths: Vec<&Path> = pipelines.iter().map(PathBuf::as_path).collect();
        let queue = match broker {
            Some(broker) => broker.vhost()?,
            None => RabbitMq::shared()?.vhost()?,
        };
        let state = match &redis {
            Some(redis) => redis.database()?,
            None => Redis::shared()?.database()?,
        };
        let cluster = Cluster::start_on(&directory, &paths, &queue, &state)?;
        cluster.ingest(&campaign.star_files()?)?;
        Ok(Self { campaign, cluster, log, redis })
    }

    /// Modules that were started so far, in their order.
    pub(crate) fn started(&self) -> Result<Vec<StartedModule>> {
        let parse = |line: &str| {
            let [module, star, pid, at] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
            let (module, star) = (module.to_owned(), star.to_owned());
            Some(StartedModule { module, star, pid: pid.parse().ok()?, at: at.parse().ok()? })
        };
        Ok(fs::read_to_string(&self.log)?.lines().filter_map(parse).collect())
    }

    /// How often this module was started.
    pub(crate) fn count(&self, module: &str) -> usize {
        self.started().map_or(0, |all| all.iter().filter(|started| started.module == module).count())
    }

    /// Waits until this module was started so often.
    pub(crate) async fn until_started(&self, module: &str, times: usize) -> Result<()> {
        let what = format!("{module} was started {times} times");
        harness::wait_until(PATIENCE, &what, async || self.count(module) >= times).await
    }

    /// Redis forgets everything of this cluster.
    pub(crate) fn flush(&self) -> Result<()> {
        self.redis_cli(&["flushdb"]).map(drop)
    }

    /// Runs a command in `redis-cli` on the database of this cluster, and returns what it prints.
    pub(crate) fn redis_cli(&self, command: &[&str]) -> Result<String> {
        let database = self.cluster.state_url().rsplit('/').next().context("an address has a database")?;
        let redis = match &self.redis {
            Some(redis) => redis,
            None => Redis::shared()?,
        };
        redis.cli(&[&["-n", database], command].concat())
    }

    /// When the first star file was made, in seconds since 1970.
    pub(crate) fn first_star_file(&self) -> Result<f64> {
        let mut times = Vec::new();
        for star in self.campaign.kinds.keys() {
            let made = fs::metadata(star_file(&self.cluster.store, 3, star)?)?.modified()?;
            times.push(made.duration_since(UNIX_EPOCH)?.as_secs_f64());
        }
        times.into_iter().min_by(f64::total_cmp).context("there are stars")
    }

    /// A number that `sas run show` tells of the run of these stars.
    pub(crate) fn shown(&self, field: &str) -> Option<u64> {
        self.cluster.ask(&["run", "show", &self.run_of("SLEEPERS")?]).ok()?[field].as_u64()
    }

    /// The run of a pipeline.
    pub(crate) fn run_of(&self, pipeline: &str) -> Option<String> {
        let runs = self.cluster.ask(&["run", "list"]).ok()?;
        Some(runs.as_array()?.iter().find(|run| run["pipeline"] == pipeline)?["run"].as_str()?.to_owned())
    }

    /// Waits for the end of the run, in which each module was started once for each of `stars` stars.
    pub(crate) fn ends_with_each_started_once(&self, stars: usize) -> Result<()> {
        let run = self.run_of("SLEEPERS").context("there is the run")?;
        let done = self.cluster.sas(&["run", "watch", &run, "--timeout", "4m"])?;
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let started = self.started()?;
        for (module, ..) in MODULES {
            let stars_of: Vec<&String> =
                started.iter().filter(|one| one.module == module).map(|one| &one.star).collect();
            let different: std::collections::BTreeSet<_> = stars_of.iter().collect();
            assert_eq!((stars_of.len(), different.len()), (stars, stars), "{module} was started for {stars_of:?}");
        }
        Ok(())
    }
}

/// The time, in seconds since 1970.
pub(crate) fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

fn definition(log: &Path, seconds: u32) -> String {
    let mut text = "name = \"SLEEPERS\"\nversion = \"1\"\ntrigger = \"l1/lightcurve\"\n\
                    [externals]\nstar = [\"DP1_LC_MERGED\"]\n[classes.slow]\ncpus = 1\nmemory = \"256MB\"\n"
        .to_owned();
    for (name, input, output) in MODULES {
        let seconds = if name == "SLOW" { seconds } else { 0 };
        let program = format!(
            "import os, threading, time; e = os.environ; \
             open({log:?}, 'a').write(' '.join([e['SAS_MODULE'], e['SAS_STAR'], str(os.getpid()), str(time.time())]) + '\\n'); \
             threading.Event().wait({seconds}); import h5py; \
             h5py.File(e['SAS_OUTPUT'], 'w')['PRODUCTS/{output}/seen'] = 1"
        );
        text += &format!(
            "[modules.{name}]\nimage = \"none\"\ncommand = [\"/usr/bin/python3\", \"-c\", {program:?}]\nclass = \"slow\"\n\
             time_limit = \"5m\"\ninputs.mandatory = [{input:?}]\noutputs.mandatory = [{output:?}]\n"
        );
    }
    text
}
