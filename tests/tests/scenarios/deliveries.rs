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

/// What was named as left in the watched directory.
fn left(output: &Output) -> Vec<String> {
    let said = words(output);
    let notes =
        said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()?["note"].as_str().map(str::to_owned));
    notes.filter(|note| note.starts_with("left: ")).collect()
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

    // Of no use here, each for a reason of its own.
    fs::write(scene.watched.join("notes.txt"), "")?;
    fs::create_dir(scene.watched.join(".part"))?;
    std::os::unix::fs::symlink(scene.campaign.path("cluster"), scene.watched.join("linked"))?;
    const LEFT: [&str; 4] = [
        "left: .part: its name begins with a dot",
        "left: linked: it is a link, which is not followed",
        "left: notes.txt: it is no directory",
        "left: open: no manifest.json yet",
    ];

    let done = scene.watch()?;
    assert_eq!(done.status.code(), Some(8), "{}", words(&done));
    assert_eq!(left(&done), LEFT);
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
        assert_eq!(left(&done), LEFT, "whoever looks once is told each time");
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

/// What stands between the shipped pipelines here: a number from the light curve.
const BETWEEN: &str = r#"name = "BETWEEN"
version = "1"
trigger = "l1/lightcurve"
externals.star = ["DP1_LC_MERGED"]
publishes = { dataset = "sas/products", products = ["DP3_SAS_NU_MAX"] }
[modules.M]
image = "i"
command = ["/usr/bin/python3", "-c", """
import h5py, os
with h5py.File(os.environ['SAS_INPUT'], 'r') as file:
    flux = file['EXTERNALS/DP1_LC_MERGED/flux'][()]
with h5py.File(os.environ['SAS_OUTPUT'], 'w') as file:
    file.create_group('PRODUCTS/DP3_SAS_NU_MAX').create_dataset('value', data=flux.mean())
"""]
inputs.mandatory = ["DP1_LC_MERGED"]
outputs.mandatory = ["DP3_SAS_NU_MAX"]
"#;

/// Says what is in an archive, after a look at its digest.
const UNPACK: &str = r#"
import glob, hashlib, h5py, io, sys, tarfile
[path] = glob.glob(sys.argv[1] + "/stars/*/*/Q003/products/POST_01-*.h5")
with h5py.File(path, "r") as file:
    delivery = file["PRODUCTS/IDP_POST_DELIVERY"]
    archive = bytes(delivery["archive"][()])
    assert hashlib.sha256(archive).hexdigest() == delivery["sha256"].asstr()[()]
print(" ".join(tarfile.open(fileobj=io.BytesIO(archive)).getnames()))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_pipelines_fetch_what_a_manifest_lists_and_pack_what_is_made_of_it() -> Result<()> {
    let mut campaign = Campaign::new()?;
    campaign.deliver(3, "quiet=1", 1)?;
    let [directory, delivered, manifests] = ["cluster", "delivery", "manifests"].map(|name| campaign.path(name));
    fs::create_dir_all(&directory)?;
    fs::create_dir_all(&delivered)?;
    for file in campaign.star_files()? {
        fs::copy(&file, delivered.join(name(&file)))?;
    }
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pipelines");
    fs::copy(shipped.join("products.toml"), directory.join("products.toml"))?;
    let path = format!("environment = {{ PYTHONPATH = {:?} }}\ncommand = [\"/usr/bin/python3\"", modules());
    for file in ["sas-pdx.toml", "sas-post.toml"] {
        let text = fs::read_to_string(shipped.join(file))?.replace("command = [\"python3\"", &path);
        fs::write(directory.join(file), text.replace("/var/sas/delivery", &delivered.display().to_string()))?;
    }
    fs::write(directory.join("between.toml"), BETWEEN)?;
    let pipelines = ["sas-pdx.toml", "between.toml", "sas-post.toml"].map(|file| directory.join(file));
    let cluster = Cluster::start(&directory, &pipelines.each_ref().map(PathBuf::as_path))?;
    let coordinator = cluster.coordinator("coordinator")?;
    let settings = [("SAS_WORKER_RUNNER", "process"), ("SAS_SLOTS_DEFAULT", "1"), ("SAS_SLOTS_FETCH", "1")];
    let worker = cluster.worker("worker", &settings)?;

    let mut program = Command::new("/usr/bin/python3");
    program.args(["-m", "sas_modules.manifest"]).arg(&delivered).arg("--stars").arg(&manifests);
    program.env("PYTHONPATH", modules()).env("PYTHONDONTWRITEBYTECODE", "1");
    ensure!(program.status()?.success(), "no manifest");
    cluster.ask(&["ingest", "--publish", "--dataset", "pdx/manifest", &manifests.display().to_string()])?;
    let ended = harness::wait_until(std::time::Duration::from_secs(120), "all three have ended", async || {
        let runs = cluster.ask(&["run", "list"]).unwrap_or_default();
        let runs = runs.as_array().cloned().unwrap_or_default();
        runs.len() == 3 && runs.iter().all(|run| run["phase"] == "ended" && run["ends"]["complete"] == 1)
    })
    .await;
    ended.with_context(|| {
        let failures = cluster.sas(&["run", "failures", "newest"]).map(|done| done.stdout).unwrap_or_default();
        format!("{}\n{}\n{}", String::from_utf8_lossy(&failures), coordinator.log(), worker.log())
    })?;
    let unpacked = Command::new("/usr/bin/python3").args(["-c", UNPACK]).arg(&cluster.store).output()?;
    let said = String::from_utf8_lossy(&unpacked.stdout).into_owned();
    assert_eq!(said.trim(), "DP3_SAS_NU_MAX/value.npy index.json", "{}", String::from_utf8_lossy(&unpacked.stderr));
    Ok(())
}
