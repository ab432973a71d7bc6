//! Asks a live coordinator for everything that the document of its API allows, and for what it does not: `make fuzz`.
//!
//! The cluster has a run of the real pipeline with light modules, in which one of three stars failed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::cluster::Cluster;
use harness::light::Campaign;
use harness::{free_address, wait_until};
use serde_json::json;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<()> {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let mut campaign = Campaign::new()?;
    let stars = campaign.deliver(3, "quiet=1,mixed=2", 1)?;
    let script = json!({ "like": "quiet", "modules": { "MSAP3_01": { "fail": "exit 3" } } });
    campaign.kinds.insert(stars["quiet"][0].clone(), script);
    let pipeline = campaign.rewrite(&deploy.join("pipelines/sas-pip.toml"), &["--time-limit", "10m"])?;
    let directory = campaign.path("cluster");
    std::fs::create_dir(&directory)?;
    let cluster = Cluster::start(&directory, &[&pipeline])?;
    let listen = free_address()?;
    let coordinator = cluster.coordinator_with("coordinator", &[("SAS_HTTP_LISTEN", &listen)])?;
    let slots = ["DEFAULT", "SMALL", "LARGE", "HEAVY"].map(|class| format!("SAS_SLOTS_{class}"));
    let mut settings = vec![("SAS_WORKER_RUNNER", "process")];
    settings.extend(slots.iter().map(|class| (class.as_str(), "1")));
    let _worker = cluster.worker("host-a", &settings)?;
    let shared = campaign.shared_file()?.display().to_string();
    let taken = cluster.sas(&["ingest", "--shared", "--dataset", "models/grids", &shared])?;
    ensure!(taken.status.success(), "sas ingest --shared: {}", String::from_utf8_lossy(&taken.stderr));
    let files: Vec<PathBuf> = campaign.star_files()?;
    cluster.ingest(&files)?;
    let has_ended = async || cluster.ask(&["run", "show"]).is_ok_and(|run| run["phase"] == "ended");
    wait_until(PATIENCE, "the run has ended", has_ended).await?;

    let mut fuzz = Command::new(deploy.join("fuzz.sh"));
    let fuzzed = fuzz.arg(format!("http://{listen}")).args(std::env::args().skip(1)).status();
    let fuzzed = fuzzed.context("failed to run deploy/fuzz.sh")?;
    let log = coordinator.log();
    ensure!(!log.contains("panicked"), "the coordinator panicked:\n{log}");
    ensure!(fuzzed.success(), "the API does not do what its document says");
    Ok(())
}
