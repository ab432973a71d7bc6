//! A cluster worth looking at, for browsers: the whole real pipeline with light modules, one run that ended with a third of its
//! stars failed, and one that goes on, in which a star hangs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Running};
use crate::light::Campaign;
use crate::{free_address, wait_until};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// The cluster, its programs, and what to look at.
pub struct Exhibit {
    /// The cluster.
    pub cluster: Cluster,
    /// Where its coordinator answers, with `http://`.
    pub address: String,
    /// The run that ended.
    pub ended: String,
    /// The run that goes on.
    pub open: String,
    /// A star that has what a star can have in the run that ended.
    pub whole: String,
    /// A star whose module failed there.
    pub failed: String,
    /// The star that hangs in the run that goes on.
    pub hanging: String,
    listen: String,
    coordinator: Option<Running>,
    _worker: Running,
    _campaign: Campaign,
}

impl Exhibit {
    /// Starts everything, and waits until one run ended and in the other nothing moves, for a star hangs. Modules that fail end
    /// with these words.
    pub async fn open(last_words: &str) -> Result<Self> {
        let mut campaign = Campaign::new()?;
        let stars = campaign.deliver(3, "quiet=2,rotating=2,mixed=2", 1)?;
        let star = |kind: &str, at: usize| stars[kind][at].clone();
        let (failed, whole) = (star("quiet", 0), star("mixed", 1));
        for (star, kind, module) in [(&failed, "quiet", "MSAP3_01"), (&star("rotating", 1), "rotating", "MSAP3_01")] {
            let script = json!({ "like": kind, "modules": { module: { "fail": format!("exit 3 {last_words}") } } });
            campaign.kinds.insert(star.clone(), script);
        }
        let later = campaign.deliver(4, "seismic=2", 2)?;
        let hanging = later["seismic"][0].clone();
        let script = json!({ "like": "seismic", "modules": { "MSAP1_07": { "fail": "hang" } } });
        campaign.kinds.insert(hanging.clone(), script);
        let definition = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pipelines/sas-pip.toml");
        let pipeline = campaign.rewrite(&definition, &["--time-limit", "10m"])?;
        let directory = campaign.path("cluster");
        fs::create_dir(&directory)?;
        let cluster = Cluster::start(&directory, &[&pipeline])?;
        let listen = free_address()?;
        let coordinator = cluster.coordinator_with("coordinator", &[("SAS_HTTP_LISTEN", &listen)])?;
        let slots = [
            ("SAS_WORKER_RUNNER", "process"),
            ("SAS_SLOTS_DEFAULT", "2"),
            ("SAS_SLOTS_SMALL", "2"),
            ("SAS_SLOTS_LARGE", "2"),
            ("SAS_SLOTS_HEAVY", "1"),
        ];
        let worker = cluster.worker("host-a", &slots)?;
        let files = campaign.star_files()?;
        let of =
            |quarter: &str| files.iter().filter(|file| file.to_string_lossy().ends_with(quarter)).cloned().collect();
        let shared = campaign.shared_file()?;
        let taken = cluster.sas(&[
            "ingest",
            "--shared",
            "--dataset",
            "models/grids",
            shared.to_str().context("a path that is no UTF-8")?,
        ])?;
        ensure!(taken.status.success(), "sas ingest --shared: {}", String::from_utf8_lossy(&taken.stderr));
        let ingest = |files: Vec<_>| cluster.ingest(&files);
        ingest(of("_Q3.h5"))?;
        let ended = newest_run(&cluster, |run| run["phase"] == "ended").await?;
        ingest(of("_Q4.h5"))?;
        let open = newest_run(&cluster, |run| run["run"] != ended.as_str()).await?;
        let hangs = |run: &Value| {
            let of_tasks = &run["tasks"];
            run["in_flight"] == 1 && run["running"] == 1 && of_tasks["queued"] == 1 && of_tasks["waiting"].is_null()
        };
        newest_run(&cluster, hangs).await?;
        let address = format!("http://{listen}");
        Ok(Self {
            cluster,
            address,
            ended,
            open,
            whole,
            failed,
            hanging,
            listen,
            coordinator: Some(coordinator),
            _worker: worker,
            _campaign: campaign,
        })
    }

    /// Ends the coordinator with SIGKILL.
    pub fn stop_coordinator(&mut self) -> Result<()> {
        self.coordinator.take().map_or(Ok(()), Running::kill)
    }

    /// Starts it again, where it was.
    pub fn start_coordinator(&mut self) -> Result<()> {
        let settings = [("SAS_HTTP_LISTEN", self.listen.as_str())];
        self.coordinator = Some(self.cluster.coordinator_with("coordinator-again", &settings)?);
        Ok(())
    }

    /// Every page with something on it: a name for files, and its path.
    pub fn pages(&self) -> Vec<(&'static str, String)> {
        let Self { ended, open, whole, failed, hanging, .. } = self;
        vec![
            ("overview", "/".to_owned()),
            ("runs", "/runs".to_owned()),
            ("run-ended", format!("/runs/{ended}")),
            ("run-open", format!("/runs/{open}")),
            ("run-failures", format!("/runs/{ended}/failures")),
            ("tasks", format!("/runs/{open}/tasks?state=running")),
            ("tasks-failed", format!("/runs/{ended}/tasks?state=failed")),
            ("tasks-ended", format!("/runs/{ended}/tasks?state=upstream_failed")),
            ("stars", format!("/runs/{ended}/stars?stage=settled")),
            ("matrix", format!("/runs/{ended}/matrix")),
            ("queues", "/queues".to_owned()),
            ("workers", "/workers".to_owned()),
            ("failures", "/failures".to_owned()),
            ("events", "/events".to_owned()),
            ("audit", "/audit".to_owned()),
            ("act-on-run", format!("/runs/{open}/do/cancel")),
            ("act-on-tasks", format!("/runs/{ended}/do/retry?state=failed")),
            ("act-on-host", "/hosts/host-a/do/drain".to_owned()),
            ("act-on-module", format!("/modules/SAS-PIP/MSAP1_07/do/hold?run={open}")),
            ("star-whole", format!("/stars/{whole}?run={ended}")),
            ("star-failed", format!("/stars/{failed}?run={ended}")),
            ("star-hanging", format!("/stars/{hanging}?run={open}")),
        ]
    }
}

/// Waits until the newest run is as it is wanted.
async fn newest_run(cluster: &Cluster, holds: impl Fn(&Value) -> bool) -> Result<String> {
    let mut last = Value::Null;
    let waited = wait_until(PATIENCE, "the newest run is as it is wanted", async || {
        last = cluster.ask(&["run", "show"]).unwrap_or_default();
        last["run"].is_string() && holds(&last)
    });
    waited.await.with_context(|| format!("sas run show says {last}"))?;
    ensure!(last["run"].is_string(), "a run has an id");
    Ok(last["run"].as_str().unwrap_or_default().to_owned())
}
