//! A cluster worth looking at, for browsers: the whole real pipeline with light modules, one run that ended with a third of its
//! stars failed, and one that goes on, in which a star hangs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Running};
use crate::light::Campaign;
use crate::wait_until;

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
    /// What works; the coordinator first.
    pub programs: Vec<Running>,
    _campaign: Campaign,
}

impl Exhibit {
    /// Starts everything, and waits until one run ended and a star hangs in the other.
    pub async fn open() -> Result<Self> {
        let mut campaign = Campaign::new()?;
        let stars = campaign.deliver(3, "quiet=2,rotating=2,mixed=2", 1)?;
        let star = |kind: &str, at: usize| stars[kind][at].clone();
        let (failed, whole) = (star("quiet", 0), star("mixed", 1));
        for (star, kind, module) in [(&failed, "quiet", "MSAP3_01"), (&star("rotating", 1), "rotating", "MSAP3_01")] {
            let script = json!({ "like": kind, "modules": { module: { "fail": "exit 3" } } });
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
        let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut programs = vec![cluster.coordinator_with("coordinator", &[("SAS_HTTP_LISTEN", &listen)])?];
        let slots = [
            ("SAS_WORKER_RUNNER", "process"),
            ("SAS_SLOTS_DEFAULT", "2"),
            ("SAS_SLOTS_SMALL", "2"),
            ("SAS_SLOTS_LARGE", "2"),
            ("SAS_SLOTS_HEAVY", "1"),
        ];
        programs.push(cluster.worker("host-a", &slots)?);
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
        let running =
            ["task", "list", "--run", &open, "--state", "running", "--module", "MSAP1_07", "--star", &hanging];
        wait_until(PATIENCE, "a star hangs", async || {
            cluster.ask(&running).is_ok_and(|listed| listed["tasks"].as_array().is_some_and(|tasks| !tasks.is_empty()))
        })
        .await?;
        let address = format!("http://{listen}");
        Ok(Self { cluster, address, ended, open, whole, failed, hanging, programs, _campaign: campaign })
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
            ("matrix", format!("/runs/{ended}/matrix")),
            ("queues", "/queues".to_owned()),
            ("workers", "/workers".to_owned()),
            ("failures", "/failures".to_owned()),
            ("events", "/events".to_owned()),
            ("audit", "/audit".to_owned()),
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
