//! The cluster as operators run it: our programs as processes, on a real RabbitMQ, a real Redis and, where it matters, a
//! real container engine. Processes are killed, join and leave while a run goes on.

mod clocks;
mod committing;
mod crashes;
mod crowd;
mod disk;
mod doors;
mod drained;
mod flow;
mod forged;
mod lost;
mod read_only;
mod replayed;

use domain::id::Attempt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::cluster::{Cluster, Running};
use harness::light::{Campaign, StarFile, in_state, star_files};
use harness::{base_image, wait_until};

const QUARTER: u16 = 3;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A to B and C, which D joins. The program reads what it is given and writes the number of products that it saw.
const MODULES: [(&str, &str, &str); 4] = [
    ("A", r#"["DP1_LC_MERGED"]"#, "X"),
    ("B", r#"["X"]"#, "Y"),
    ("C", r#"["X", "DP1_LC_MERGED"]"#, "Z"),
    ("D", r#"["Y", "Z"]"#, "W"),
];

fn definition(directory: &Path, seconds: f64, python: &str, image: &str) -> Result<PathBuf> {
    let mut text = "name = \"SMALL\"\nversion = \"1\"\ntrigger = \"l1/lightcurve\"\n\
                    [externals]\nstar = [\"DP1_LC_MERGED\"]\n[classes.default]\ncpus = 1\nmemory = \"256MB\"\n"
        .to_owned();
    for (name, inputs, output) in MODULES {
        let program = format!(
            "import h5py, os, threading; i = h5py.File(os.environ['SAS_INPUT']); threading.Event().wait({seconds}); \
             o = h5py.File(os.environ['SAS_OUTPUT'], 'w'); \
             o['PRODUCTS/{output}/seen'] = sum(len(i[g]) for g in ('PRODUCTS', 'EXTERNALS') if g in i)"
        );
        text += &format!(
            "[modules.{name}]\nimage = {image:?}\ncommand = [{python:?}, \"-c\", {program:?}]\nclass = \"default\"\n\
             time_limit = \"1m\"\ninputs.mandatory = {inputs}\noutputs.mandatory = [\"{output}\"]\n"
        );
    }
    let path = directory.join("small.toml");
    fs::write(&path, text)?;
    Ok(path)
}

struct Scene {
    campaign: Campaign,
    cluster: Cluster,
}

impl Scene {
    /// Star files of `count` stars, and a cluster for the pipeline above.
    fn new(count: u32, seconds: f64, python: &str, image: &str) -> Result<Self> {
        let mut campaign = Campaign::new()?;
        campaign.deliver(QUARTER, &format!("quiet={count}"), 1)?;
        let directory = campaign.path("cluster");
        fs::create_dir(&directory)?;
        let pipeline = definition(&directory, seconds, python, image)?;
        let cluster = Cluster::start(&directory, &[&pipeline])?;
        cluster.ingest(&campaign.star_files()?)?;
        Ok(Self { campaign, cluster })
    }

    /// Waits until the event has become a run.
    async fn until_a_run(&self) -> Result<()> {
        let is_there = |runs: serde_json::Value| runs.as_array().is_some_and(|runs| !runs.is_empty());
        wait_until(PATIENCE, "there is a run", async || self.cluster.ask(&["run", "list"]).is_ok_and(is_there)).await
    }

    /// Waits for the end of the event's run, which must leave nothing undone.
    async fn watch(&self, running: &[&Running]) -> Result<()> {
        self.until_a_run().await?;
        let done = self.cluster.sas(&["run", "watch", "--timeout", "4m"])?;
        let logs = || running.iter().map(|running| running.log()).collect::<Vec<_>>().join("\n----\n");
        assert!(done.status.success(), "{}\n{}", String::from_utf8_lossy(&done.stderr), logs());
        Ok(())
    }

    /// Every star has every product, of one attempt each, and no message is left.
    async fn check(&self) -> Result<()> {
        let stars: Vec<&String> = self.campaign.kinds.keys().collect();
        let files = star_files(&self.cluster.store, QUARTER, &stars)?;
        assert_eq!(files.len(), stars.len());
        for (star, file) in &files {
            assert_eq!(in_state(file, "succeeded").len(), MODULES.len(), "{star}: {:?}", file.modules);
            let committed = products(&self.cluster.store, star)?;
            assert_eq!(committed.len(), MODULES.len(), "{star}: {committed:?}");
        }
        wait_until(PATIENCE, "the queues are empty", async || {
            let queues = self.cluster.ask(&["queue", "list"]).unwrap();
            queues.as_array().is_some_and(|all| all.iter().all(|queue| queue["ready"] == 0))
        })
        .await
    }

    fn star_files(&self) -> Result<Vec<StarFile>> {
        let stars: Vec<&String> = self.campaign.kinds.keys().collect();
        Ok(star_files(&self.cluster.store, QUARTER, &stars)?.into_values().collect())
    }
}

/// Names of a star's committed results.
fn products(store: &Path, star: &str) -> Result<Vec<String>> {
    let shard = star.strip_prefix("PLATO_").and_then(|uuid| uuid.get(..2)).context("a star has a UUID")?;
    let folder = store.join("stars").join(shard).join(star).join(format!("Q{QUARTER:03}/products"));
    Ok(fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()?)
}

/// Containers of a store, running or not, with the worker that each belongs to.
fn containers(store: &Path) -> Vec<String> {
    let filter = format!("label=sas.store={}", store.display());
    let listed = Command::new("docker")
        .args(["ps", "--all", "--filter", &filter, "--format", "{{.Label \"sas.worker\"}} {{.State}}"])
        .output()
        .unwrap();
    String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect()
}

const SHORT_LEASE: [(&str, &str); 3] =
    [("SAS_WORKER_LEASE", "3s"), ("SAS_WORKER_SWEEP", "2s"), ("SAS_SLOTS_DEFAULT", "1")];

#[tokio::test]
async fn what_a_killed_worker_ran_in_a_container_another_finishes() -> Result<()> {
    let scene = Scene::new(4, 2.0, "python3", base_image())?;
    let cluster = &scene.cluster;
    let coordinator = cluster.coordinator("coordinator")?;
    let victim = cluster.worker("victim", &SHORT_LEASE)?;
    wait_until(PATIENCE, "the victim runs a container", async || {
        containers(&cluster.store).iter().any(|line| line.starts_with("victim") && line.ends_with("running"))
    })
    .await
    .with_context(|| victim.log())?;
    victim.kill()?;
    let heir = cluster.worker("heir", &SHORT_LEASE)?;
    scene.watch(&[&coordinator, &heir]).await?;
    scene.check().await?;
    assert!(scene.star_files()?.iter().any(|file| file.modules.values().any(|end| end.attempt > Attempt(1))));
    wait_until(PATIENCE, "no container is left", async || containers(&cluster.store).is_empty()).await?;
    assert!(heir.terminate()?.success());
    assert!(coordinator.terminate()?.success());
    Ok(())
}

#[tokio::test]
async fn coordinators_and_workers_join_and_leave_while_a_run_goes_on() -> Result<()> {
    let scene = Scene::new(20, 0.1, "/usr/bin/python3", "none")?;
    let cluster = &scene.cluster;
    let settings = [&SHORT_LEASE[..], &[("SAS_WORKER_RUNNER", "process"), ("SAS_WORKER_GRACE", "20s")]].concat();
    let [first, second] = [cluster.coordinator("first")?, cluster.coordinator("second")?];
    let leaves = cluster.worker("leaves", &settings)?;
    let progress = async |at_least: usize| {
        wait_until(PATIENCE, &format!("{at_least} stars have results"), async || {
            let with_results = |star: &&String| products(&cluster.store, star).is_ok_and(|all| !all.is_empty());
            scene.campaign.kinds.keys().filter(with_results).count() >= at_least
        })
        .await
    };
    progress(2).await?;
    let joins = cluster.worker("joins", &settings)?;
    first.kill()?;
    progress(6).await?;
    assert!(leaves.terminate()?.success());
    progress(10).await?;
    let third = cluster.coordinator("third")?;
    let stays = cluster.worker("stays", &settings)?;
    second.kill()?;
    scene.watch(&[&third, &joins, &stays]).await?;
    scene.check().await?;
    Ok(())
}

#[tokio::test]
async fn what_was_delivered_is_announced_once_however_often_it_is_delivered() -> Result<()> {
    let mut campaign = Campaign::new()?;
    campaign.deliver(QUARTER, "quiet=2", 1)?;
    let directory = campaign.path("cluster");
    fs::create_dir(&directory)?;
    let pipeline = definition(&directory, 0.0, "/usr/bin/python3", "none")?;
    let cluster = Cluster::start(&directory, &[&pipeline])?;
    let delivery = campaign.star_files()?.iter().map(|file| file.display().to_string()).collect::<Vec<_>>();
    let deliver = |how: &[&'static str]| {
        let arguments: Vec<&str> = how.iter().copied().chain(delivery.iter().map(String::as_str)).collect();
        cluster.ask(&arguments)
    };
    let silent = deliver(&["ingest"])?;
    assert_eq!(silent["events"], serde_json::json!([]));
    let late = deliver(&["ingest", "--publish"])?;
    assert_eq!(late["stars"][0]["result"]["result"], "unchanged", "{late}");
    assert_eq!(late["events"].as_array().map(Vec::len), Some(1), "{late}");
    let waiting = deliver(&["ingest", "--publish"])?;
    assert_eq!(waiting["events"], serde_json::json!([]), "it still waits in its queue");
    let coordinator = cluster.coordinator("coordinator")?;
    wait_until(PATIENCE, "the event is a run", async || {
        cluster.ask(&["run", "list"]).is_ok_and(|runs| runs.as_array().is_some_and(|runs| runs.len() == 1))
    })
    .await?;
    let again = deliver(&["ingest", "--publish"])?;
    assert_eq!(again["events"], serde_json::json!([]), "the coordinator has it");
    let runs = cluster.ask(&["run", "list", "--all"])?;
    assert_eq!(runs.as_array().map(Vec::len), Some(1), "{runs}");
    assert!(coordinator.terminate()?.success());
    Ok(())
}
