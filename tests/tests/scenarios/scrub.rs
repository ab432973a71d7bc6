//! Damage in the store is found, moved aside and made again, on a real cluster: by `sas store scrub`, and by what coordinators and
//! workers do anyway with tasks that are tried again.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::cluster::{Cluster, Running};
use harness::light::Campaign;
use harness::wait_until;
use serde_json::Value;

/// A makes a number and a curve, which is too large to be copied into star files, of what was delivered; B one of that.
const PIPELINE: &str = "name = 'SCRUB'\nversion = '1'\ntrigger = 'l1/lightcurve'\n\
    [externals]\nstar = ['DP1_LC_MERGED']\n[classes.default]\ncpus = 1\nmemory = '512MB'\n\
    [modules.A]\nimage = 'none'\ncommand = ['/usr/bin/python3', 'PROGRAM', 'A']\n\
    inputs.mandatory = ['DP1_LC_MERGED']\noutputs.mandatory = ['NUMBER', 'CURVE']\n\
    [modules.B]\nimage = 'none'\ncommand = ['/usr/bin/python3', 'PROGRAM', 'B']\n\
    inputs.mandatory = ['NUMBER']\noutputs.mandatory = ['AGE']\n";

const PROGRAM: &str = r#"
import h5py, os, sys
with h5py.File(os.environ["SAS_OUTPUT"], "w") as f:
    if sys.argv[1] == "B":
        f["PRODUCTS/AGE/value"] = 4.5
    else:
        f["PRODUCTS/NUMBER/value"] = 2.5
        f["PRODUCTS/CURVE/power"] = [2.5] * 150_000
"#;

struct ScrubScene {
    campaign: Campaign,
    cluster: Cluster,
    stars: Vec<String>,
    _running: [Running; 2],
}

impl ScrubScene {
    async fn new() -> Result<Self> {
        let mut campaign = Campaign::new()?;
        let stars = campaign.deliver(0, "quiet=2", 1)?.remove("quiet").context("two stars")?;
        let (definition, program) = (campaign.path("pipeline.toml"), campaign.path("program.py"));
        fs::write(&program, PROGRAM)?;
        fs::write(&definition, PIPELINE.replace("PROGRAM", &program.display().to_string()))?;
        let directory = campaign.path("cluster");
        fs::create_dir(&directory)?;
        let cluster = Cluster::start(&directory, &[&definition])?;
        let settings = [("SAS_WORKER_RUNNER", "process"), ("SAS_SLOTS_DEFAULT", "2")];
        let running = [cluster.coordinator("coordinator")?, cluster.worker("worker", &settings)?];
        cluster.ingest(&campaign.star_files()?)?;
        let scene = Self { campaign, cluster, stars, _running: running };
        scene
            .until("the run has ended", |scene| {
                scene.cluster.ask(&["run", "show"]).is_ok_and(|run| run["phase"] == "ended")
            })
            .await?;
        Ok(scene)
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<()> {
        wait_until(Duration::from_secs(90), what, async || holds(self)).await
    }

    /// The committed result of a module of a star.
    fn result(&self, star: usize, module: &str) -> Result<PathBuf> {
        let shown = harness::light::star_file(&self.cluster.store, 0, &self.stars[star])?;
        let names = fs::read_dir(shown.parent().context("it lies in a folder")?.join("products"))?;
        let paths: Vec<PathBuf> = names.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        let is_it = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with(&format!("{module}-")) && name.ends_with(".h5")
        };
        paths.iter().find(is_it).cloned().with_context(|| format!("{module} in {paths:?}"))
    }

    /// The newest delivery of a star.
    fn delivery(&self, star: usize) -> Result<PathBuf> {
        let shown = harness::light::star_file(&self.cluster.store, 0, &self.stars[star])?;
        let names = fs::read_dir(shown.parent().context("it lies in a folder")?.join("externals"))?;
        let paths: Vec<PathBuf> = names.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        let delivered = paths.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "h5"));
        delivered.max_by_key(|path| path.metadata().and_then(|facts| facts.modified()).ok()).context("one is there")
    }

    /// Waits until every run has ended.
    async fn until_ended(&self) -> Result<()> {
        let ended = |run: &Value| run["phase"] == "ended";
        self.until("all runs have ended", |scene| {
            let runs = scene.cluster.ask(&["run", "list", "--all"]);
            runs.is_ok_and(|runs| runs.as_array().is_some_and(|runs| runs.iter().all(ended)))
        })
        .await
    }

    /// What `sas -o json` says, which must end so.
    fn ask(&self, arguments: &[&str], code: i32) -> Result<Value> {
        let done = self.cluster.sas(&[&["-o", "json"], arguments].concat())?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.code() == Some(code), "sas {arguments:?} ended with {:?}: {said}", done.status);
        Ok(serde_json::from_slice(&done.stdout)?)
    }
}

/// Another value in the light curve of a delivery.
const SPOIL_DELIVERY: &str = r#"
import h5py, sys
with h5py.File(sys.argv[1], "r+") as file:
    flux = file["EXTERNALS/DP1_LC_MERGED/flux"]
    flux[0] = flux[0] + 1
"#;

/// Changes the last byte of the values of a file that hold nothing but one number.
fn spoil(file: &Path, number: f64) -> Result<()> {
    let mut bytes = fs::read(file)?;
    let wanted = number.to_le_bytes();
    let at = bytes.windows(8).position(|window| window == wanted).context("the number stands in it")?;
    bytes[at] ^= 1;
    fs::set_permissions(file, Permissions::from_mode(0o644))?;
    Ok(fs::write(file, bytes)?)
}

#[tokio::test]
async fn what_is_damaged_or_gone_is_found_and_made_again_by_the_run_that_used_it() -> Result<()> {
    let scene = ScrubScene::new().await?;
    let well = scene.ask(&["store", "scrub", "--rate", "1GB"], 0)?;
    // Of each star a delivery, two results and a generation.
    ensure!(well["files"] == 8 && well["pass"] == 1 && well["damaged"] == serde_json::json!([]), "{well}");
    let [changed, gone] = [scene.result(0, "A")?, scene.result(1, "B")?];
    let before = fs::read(&changed)?;
    spoil(&changed, 2.5)?;
    fs::remove_file(&gone)?;

    let found = scene.ask(&["star", "verify", &scene.stars[0]], 1)?;
    let files = found["files"].as_array().context("files")?;
    let differing: Vec<&Value> = files.iter().filter(|file| !file["differences"][0].is_null()).collect();
    ensure!(differing.len() == 1 && differing[0]["differences"][0]["product"].is_string(), "{found}");
    let dry = scene.ask(&["store", "scrub", "--dry-run"], 1)?;
    ensure!(dry["damaged"].as_array().is_some_and(|damaged| damaged.len() == 2) && changed.is_file(), "{dry}");
    ensure!(dry["decided"] == serde_json::json!({}) && !gone.is_file(), "{dry}");

    let report = scene.ask(&["store", "scrub", "--rate", "1GB"], 1)?;
    let damaged = report["damaged"].as_array().context("damaged")?;
    ensure!(report["pass"] == 2 && damaged.len() == 2, "{report}");
    let aside: Vec<&str> = damaged.iter().filter_map(|file| file["aside"].as_str()).collect();
    ensure!(aside.len() == 1 && scene.cluster.store.join(aside[0]).is_file(), "{report}");
    ensure!(report["decided"].as_object().is_some_and(|runs| !runs.is_empty()), "{report}");
    scene.until("both are made again", |_| changed.is_file() && gone.is_file()).await?;
    scene.until_ended().await?;
    ensure!(fs::read(&changed)?.len() == before.len(), "the same result under the same name");
    for star in &scene.stars {
        scene.ask(&["star", "verify", star], 0)?;
        let generations = scene.ask(&["star", "generations", star], 0)?;
        ensure!(generations["newest"] == 1, "the end is the same, and no generation is made of it: {generations}");
    }
    let again = scene.ask(&["store", "scrub", "--rate", "1GB"], 0)?;
    ensure!(again["pass"] == 3 && again["files"] == 8, "{again}");
    let audit = scene.ask(&["audit"], 0)?;
    ensure!(audit.to_string().contains("sas store scrub"), "{audit}");
    Ok(())
}

#[tokio::test]
async fn a_damaged_generation_is_moved_aside_and_built_again() -> Result<()> {
    let scene = ScrubScene::new().await?;
    let shown = harness::light::star_file(&scene.cluster.store, 0, &scene.stars[0])?;
    let generation = shown.parent().context("it lies in a folder")?.join("generations/1.h5");
    spoil(&generation, 2.5)?;
    let found = scene.ask(&["star", "verify", &scene.stars[0]], 1)?;
    ensure!(found.to_string().contains("NUMBER"), "{found}");

    let report = scene.ask(&["store", "scrub", "--rate", "1GB"], 1)?;
    let damaged = report["damaged"].as_array().context("damaged")?;
    ensure!(
        damaged.len() == 1 && damaged[0]["file"].as_str().is_some_and(|file| file.contains("generations")),
        "{report}"
    );
    let aside = damaged[0]["aside"].as_str().context("it is moved aside")?;
    ensure!(scene.cluster.store.join(aside).is_file(), "{report}");
    ensure!(report["decided"].as_object().is_some_and(|runs| runs.len() == 1), "{report}");
    scene
        .until("a generation is built again", |scene| {
            let generations = scene.cluster.ask(&["star", "generations", &scene.stars[0]]);
            generations.is_ok_and(|found| found["generations"][0]["status"] == "complete")
        })
        .await?;
    scene.until_ended().await?;
    scene.ask(&["star", "verify", &scene.stars[0]], 0)?;
    let again = scene.ask(&["store", "scrub", "--rate", "1GB"], 0)?;
    ensure!(again["files"] == 8, "{again}");
    Ok(())
}

/// As somebody leaves it who died between moving it aside and writing down who makes it again.
#[tokio::test]
async fn a_generation_that_was_moved_aside_without_a_word_is_found_and_built_again() -> Result<()> {
    let scene = ScrubScene::new().await?;
    let shown = harness::light::star_file(&scene.cluster.store, 0, &scene.stars[0])?;
    let generation = shown.parent().context("it lies in a folder")?.join("generations/1.h5");
    let aside = generation.with_file_name("1.h5.damaged-0dd00000-0000-4000-8000-000000000001");
    fs::rename(&generation, &aside)?;
    let dry = scene.ask(&["store", "scrub", "--dry-run"], 1)?;
    ensure!(dry["damaged"].as_array().is_some_and(|damaged| damaged.len() == 1), "{dry}");

    let report = scene.ask(&["store", "scrub", "--rate", "1GB"], 1)?;
    let damaged = &report["damaged"][0];
    ensure!(damaged["file"].as_str().is_some_and(|file| file.ends_with("generations/1.h5")), "{report}");
    ensure!(damaged["aside"].as_str().is_some_and(|file| scene.cluster.store.join(file) == aside), "{report}");
    ensure!(report["decided"].as_object().is_some_and(|runs| runs.len() == 1), "{report}");
    scene.until("it is built again", |_| generation.is_file()).await?;
    scene.until_ended().await?;
    scene.ask(&["star", "verify", &scene.stars[0]], 0)?;
    let again = scene.ask(&["store", "scrub", "--rate", "1GB"], 0)?;
    ensure!(again["damaged"] == serde_json::json!([]) && aside.is_file(), "{again}");
    Ok(())
}

#[tokio::test]
async fn tasks_that_read_a_damaged_delivery_are_errored_until_it_is_delivered_again() -> Result<()> {
    let scene = ScrubScene::new().await?;
    let (delivery, star) = (scene.delivery(0)?, scene.stars[0].as_str());
    fs::set_permissions(&delivery, Permissions::from_mode(0o644))?;
    let done = std::process::Command::new("/usr/bin/python3").args(["-c", SPOIL_DELIVERY]).arg(&delivery).status()?;
    ensure!(done.success(), "h5py changes it");
    let report = scene.ask(&["store", "scrub", "--rate", "1GB"], 1)?;
    let damaged = report["damaged"].as_array().context("damaged")?;
    ensure!(damaged.len() == 1 && damaged[0]["differences"][0]["product"] == "DP1_LC_MERGED", "{report}");
    let aside = damaged[0]["aside"].as_str().context("it is moved aside")?;
    ensure!(scene.cluster.store.join(aside).is_file() && delivery.is_file(), "{report}");

    // Nobody reads anything in its place.
    scene.ask(&["run", "start", "--pipeline", "SCRUB", "--stars", star], 0)?;
    scene
        .until("its reader is errored", |scene| {
            let tasks = scene.cluster.sas(&["-o", "json", "star", "explain", star, "A"]);
            tasks.is_ok_and(|tasks| String::from_utf8_lossy(&tasks.stdout).contains("input_lost"))
        })
        .await?;
    let again = scene.ask(&["store", "scrub", "--rate", "1GB"], 1)?;
    ensure!(
        again["damaged"][0]["aside"] == *aside && again["damaged"].as_array().is_some_and(|all| all.len() == 1),
        "{again}"
    );

    let files = scene.campaign.star_files()?;
    let file = files.iter().find(|file| file.display().to_string().contains(star)).context("its file is there")?;
    scene.cluster.ingest(std::slice::from_ref(file))?;
    scene.until("it is read again", |scene| scene.delivery(0).is_ok_and(|newest| newest != delivery)).await?;
    scene.until_ended().await?;
    scene.ask(&["star", "verify", star], 0)?;
    let explained = scene.ask(&["star", "explain", star, "A"], 0)?;
    ensure!(explained.to_string().contains("succeeded"), "{explained}");
    scene.ask(&["store", "scrub", "--rate", "1GB"], 0)?;
    Ok(())
}
