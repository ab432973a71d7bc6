//! A watched directory, on a real RabbitMQ: a delivery is taken as its manifest says, or nothing of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use harness::cluster::Cluster;
use harness::light::{Campaign, modules};
use serde_json::Value;

const PIPELINE: &str = "name = 'P'\nversion = '1'\ntrigger = 'l1/lightcurve'\nexternals.star = ['DP1_LC_MERGED']\n\
    [modules.M]\nimage = 'i'\ninputs.mandatory = ['DP1_LC_MERGED']\n[modules.N]\nimage = 'i'\n";

struct DoorScene {
    campaign: Campaign,
    cluster: Cluster,
    watched: PathBuf,
}

impl DoorScene {
    fn new(stars: u32) -> Result<Self> {
        let mut campaign = Campaign::new()?;
        campaign.deliver(3, &format!("quiet={stars}"), 1)?;
        let (directory, watched) = (campaign.path("cluster"), campaign.path("watched"));
        fs::create_dir_all(&directory)?;
        fs::create_dir_all(&watched)?;
        let pipeline = directory.join("p.toml");
        fs::write(&pipeline, PIPELINE)?;
        let cluster = Cluster::start(&directory, &[&pipeline])?;
        Ok(Self { campaign, cluster, watched })
    }

    /// Lays a delivery of these star files into the watched directory, with its manifest, as the shipped program writes it.
    fn deliver(&self, name: &str, files: &[PathBuf]) -> Result<PathBuf> {
        let folder = self.watched.join(name);
        fs::create_dir(&folder)?;
        for file in files {
            fs::copy(file, folder.join(file.file_name().context("it has a name")?))?;
        }
        fs::write(folder.join("README.txt"), "of no use here")?;
        let mut program = Command::new("/usr/bin/python3");
        program.args(["-m", "sas_modules.manifest"]).arg(&folder);
        program.env("PYTHONPATH", modules()).env("PYTHONDONTWRITEBYTECODE", "1");
        ensure!(program.status()?.success(), "no manifest");
        Ok(folder)
    }

    fn watch(&self) -> Result<Output> {
        let watched = self.watched.display().to_string();
        self.cluster.sas(&["-o", "json", "ingest", "--watch", &watched, "--settle", "0s", "--once"])
    }

    fn report(&self, name: &str) -> Result<Value> {
        let file = self.watched.join(format!("{name}.report.json"));
        Ok(serde_json::from_slice(&fs::read(&file).with_context(|| file.display().to_string())?)?)
    }

    /// How many stars the store has.
    fn stars(&self) -> Result<usize> {
        Ok(store::Store::open(&self.cluster.store)?.known_stars()?.values().map(Vec::len).sum())
    }
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn reason(report: &Value, file: &str) -> String {
    let bad = report["bad"].as_array().cloned().unwrap_or_default();
    let found = bad.iter().find(|bad| bad["file"] == file);
    found.and_then(|bad| bad["reason"].as_str()).unwrap_or("not bad").to_owned()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[test]
fn a_delivery_is_taken_as_its_manifest_says_or_nothing_of_it() -> Result<()> {
    let scene = DoorScene::new(4)?;
    let files = scene.campaign.star_files()?;
    // One is cut short after its manifest was made, one is no HDF5 at all though its digest is right, one has no manifest yet.
    let cut = scene.deliver("cut", &files[..2])?;
    let bytes = fs::read(cut.join(name(&files[1])))?;
    fs::write(cut.join(name(&files[1])), &bytes[..bytes.len() / 2])?;
    fs::write(cut.join("late.h5"), "")?;
    let odd = scene.campaign.path("odd.h5");
    fs::write(&odd, "no HDF5")?;
    scene.deliver("odd", &[files[2].clone(), odd])?;
    fs::create_dir(scene.watched.join("open"))?;
    fs::copy(&files[3], scene.watched.join("open").join(name(&files[3])))?;

    let done = scene.watch()?;
    assert_eq!(done.status.code(), Some(8), "{}", words(&done));
    assert_eq!(scene.stars()?, 0, "nothing of a bad delivery is taken");
    let report = scene.report("refused/cut")?;
    assert!(reason(&report, &name(&files[1])).contains("the manifest says"), "{report}");
    assert!(reason(&report, "late.h5").contains("not in the manifest"), "{report}");
    assert_eq!(report["taken"], false);
    let report = scene.report("refused/odd")?;
    assert!(reason(&report, "odd.h5").contains("is no HDF5 file"), "{report}");
    assert!(scene.watched.join("open").is_dir() && !scene.watched.join("cut").exists());

    // The same under the same name, whole: taken and announced, once.
    for _ in 0..2 {
        scene.deliver("cut", &files[..2])?;
        let done = scene.watch()?;
        assert!(done.status.success(), "{}", words(&done));
    }
    assert_eq!(scene.stars()?, 2);
    let (first, second) = (scene.report("done/cut")?, scene.report("done/cut-2")?);
    assert_eq!(first["events"].as_array().map(Vec::len), Some(1), "{first}");
    assert_eq!(first["events"][0]["data"]["stars"].as_array().map(Vec::len), Some(2));
    assert!(first["passed_over"][0]["reason"].as_str().is_some_and(|why| why.contains("no HDF5")), "{first}");
    assert_eq!(first["passed_over"].as_array().map(Vec::len), Some(1), "{first}");
    assert_eq!(second["stars"][0]["result"], serde_json::json!({"result": "unchanged", "sequence": 1}), "{second}");
    Ok(())
}

#[test]
fn what_an_event_would_come_to_is_said_before_anything_is_taken() -> Result<()> {
    let scene = DoorScene::new(3)?;
    let files: Vec<String> = scene.campaign.star_files()?.iter().map(|file| file.display().to_string()).collect();
    let mut words = vec!["ingest", "--publish", "--dry-run"];
    words.extend(files.iter().map(String::as_str));
    let answer = scene.cluster.ask(&words)?;
    assert_eq!(answer["new"]["3"], 3, "{answer}");
    let expansion = &answer["expansions"][0];
    assert_eq!((expansion["stars"].as_u64(), expansion["tasks"].as_u64()), (Some(3), Some(6)), "{answer}");
    assert!(expansion["cpu_hours"].is_null());
    assert_eq!(scene.stars()?, 0);
    Ok(())
}
