//! Tolerances, on a real RabbitMQ and Redis with modules as processes: what is made again and differs a little counts as what it was
//! for what is downstream, and both digests are on record.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::pipeline_light::provenance::published;
use crate::triggers::scene::{TriggerScene, star};

/// What it reads of the first product, moved by a parameter and turned by another.
const MODULE: &str = r#"
import h5py, json, os, sys
read, write = sys.argv[1:]
moved = json.load(open(os.environ["SAS_PARAMETERS"]))["moved"]
with h5py.File(os.environ["SAS_INPUT"], "r") as file:
    products = {**file.get("EXTERNALS", {}), **file.get("PRODUCTS", {})}
    number = products[read]["value"][()]
with h5py.File(os.environ["SAS_OUTPUT"], "w") as file:
    group = file.create_group(f"PRODUCTS/{write}")
    group["value"], group["count"] = number + moved, 3
"#;

/// The star file as h5py reads it: what is on record of X, and of what Y was made of.
const READ: &str = r#"
import h5py, json, sys
with h5py.File(sys.argv[1], "r") as file:
    groups = {name.split("-")[-1].split("_")[0]: group for name, group in file.items() if "state" in group.attrs}
    text = lambda value: value.decode() if isinstance(value, bytes) else value
    print(json.dumps({
        "x": float(file["PRODUCTS/X/value"][()]), "y": float(file["PRODUCTS/Y/value"][()]),
        "x_is": json.loads(file["MANIFEST"][()])["products"]["X"]["digest"],
        "x_stands_for": text(groups["A"]["stands_for"].attrs["X"]) if "stands_for" in groups["A"] else None,
        "y_read": text(groups["B"]["digests"].attrs["X"]),
    }))
"#;

/// B reads X of A, and only there where a condition on it holds.
fn definition(version: u32, [a, b]: [f64; 2], tolerance: &str) -> String {
    format!(
        "name = 'SHIFT'\nversion = '{version}'\ntrigger = 'l1/lightcurve'\nexternals.star = ['CURVE']\n{tolerance}\n\
         [modules.A]\nimage = 'i'\ncommand = ['/usr/bin/python3', 'MODULE', 'CURVE', 'X']\nparameters.moved = {a:?}\n\
         inputs.mandatory = ['CURVE']\noutputs.mandatory = ['X']\n\
         [modules.B]\nimage = 'i'\ncommand = ['/usr/bin/python3', 'MODULE', 'X', 'Y']\nparameters.moved = {b:?}\n\
         run_if = 'P.X.value > 1'\ninputs.mandatory = ['X']\noutputs.mandatory = ['Y']\n"
    )
}

struct ToleranceScene {
    scene: TriggerScene,
    directory: tempfile::TempDir,
    version: u32,
    /// The newest definition.
    file: String,
}

impl ToleranceScene {
    async fn new(tolerance: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join("module.py"), MODULE)?;
        let first = with_module(directory.path(), &definition(1, [0.0, 0.0], tolerance));
        let scene = TriggerScene::start(&[&first])?;
        scene.runs_processes()?;
        let event = scene.deliver("l1/lightcurve", "CURVE", "value", &[(1, 10)])?;
        scene.wait_for(&event, &["SHIFT: 1 expanded"]).await?;
        scene.ended("SHIFT", 1).await?;
        let file = directory.path().join("1.toml");
        fs::write(&file, complete(&first))?;
        Ok(Self { scene, file: file.display().to_string(), directory, version: 1 })
    }

    /// Replays the star with these parameters and this tolerance: which modules made something. The plan had said no less.
    async fn replay(&mut self, moved: [f64; 2], tolerance: &str) -> Result<BTreeMap<String, u64>> {
        self.version += 1;
        let [file, plan] = ["toml", "json"].map(|end| self.directory.path().join(format!("{}.{end}", self.version)));
        let text = with_module(self.directory.path(), &definition(self.version, moved, tolerance));
        fs::write(&file, complete(&text))?;
        let (file, plan) = (file.display().to_string(), plan.display().to_string());
        let said =
            self.scene.cluster.ask(&["replay", "plan", "--pipeline", "SHIFT", "--version", &file, "--to", &plan])?;
        // Whoever lays the definitions side by side is told the same.
        let compared = self.scene.cluster.ask(&["module", "diff", &self.file, &file])?;
        ensure!(compared["replay"]["work"] == said["work"], "{compared} is not what is planned: {said}");
        self.file = file;
        let started = self.scene.cluster.ask(&["replay", "apply", &plan])?;
        let run = started[0]["run"].as_str().with_context(|| format!("{started} names a run"))?;
        let done = self.scene.cluster.sas(&["run", "watch", run, "--timeout", "60s"])?;
        ensure!(done.status.success(), "{}\n{}", String::from_utf8_lossy(&done.stderr), self.scene.log());
        let end = store::Store::open(&self.scene.cluster.store)?.run_end(run.parse()?)?.context("it ended")?;
        let made: BTreeMap<String, u64> = end
            .took
            .iter()
            .filter(|(_, took)| took.tasks > 0)
            .map(|(module, took)| (module.to_string(), took.tasks))
            .collect();
        let (sum, tasks) = (made.values().sum::<u64>(), &said["work"]["tasks"]);
        ensure!(
            tasks["at_least"].as_u64() <= Some(sum) && Some(sum) <= tasks["at_most"].as_u64(),
            "{made:?} is not within {tasks}"
        );
        Ok(made)
    }

    fn file(&self) -> Result<PathBuf> {
        let store = store::Store::open(&self.scene.cluster.store)?;
        Ok(store.at(store::paths::star_file(star(1).parse()?, 3.try_into()?)))
    }

    /// What the star file says.
    fn seen(&self) -> Result<Value> {
        let read = Command::new("/usr/bin/python3").args(["-c", READ]).arg(self.file()?).output()?;
        ensure!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        // A reader of its own holds every digest against what was committed.
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut checker = Command::new("/usr/bin/python3");
        checker.arg(here.join("tests/scenarios/pipeline_light/provenance.py")).arg("files").arg(self.file()?);
        checker.env("PYTHONPATH", here.join("../common/store/tests/python")).env("PYTHONDONTWRITEBYTECODE", "1");
        let checked = checker.output()?;
        ensure!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        Ok(serde_json::from_slice(&read.stdout)?)
    }

    /// What other systems are told of the star, in a form that those who published it can read.
    fn told(&self, form: &str, published_as: &str) -> Result<Vec<Value>> {
        let (file, name) = (self.directory.path().join(form), star(1));
        let to = file.to_str().context("its name is text")?;
        self.scene.cluster.ask(&["star", "provenance", "--form", form, "--quarter", "3", "--to", to, &name])?;
        let documents: Vec<Value> =
            fs::read_to_string(&file)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        assert!(published(published_as, to) > 0);
        Ok(documents)
    }

    fn star(&self, question: &[&str]) -> Result<Value> {
        let name = star(1);
        self.scene.cluster.ask(&[&["star", question[0], &name], &question[1..]].concat())
    }
}

fn with_module(directory: &Path, definition: &str) -> String {
    definition.replace("MODULE", &directory.join("module.py").display().to_string())
}

fn complete(definition: &str) -> String {
    format!("{definition}[classes.default]\ncpus = 1\nmemory = '256MB'\n")
}

fn ran(modules: &[&str]) -> BTreeMap<String, u64> {
    modules.iter().map(|module| ((*module).to_owned(), 1)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_within_tolerance_counts_as_what_it_was_and_drift_is_caught() -> Result<()> {
    const WITHIN: &str = "tolerances.X = { rtol = 1e-9 }";
    let mut scene = ToleranceScene::new(WITHIN).await?;
    let first = scene.seen()?;
    assert_eq!((&first["y"], &first["x_stands_for"], &first["y_read"]), (&json!(10.0), &Value::Null, &first["x_is"]));

    // Moved by less: A runs, and nothing below it.
    assert_eq!(scene.replay([6e-9, 0.0], WITHIN).await?, ran(&["A"]));
    let second = scene.seen()?;
    assert!(second["x"] != first["x"] && second["x_is"] != first["x_is"], "{second}");
    assert_eq!((&second["x_stands_for"], &second["y_read"]), (&first["x_is"], &first["x_is"]), "{second}");
    let lineage = scene.star(&["lineage", "X"])?;
    let product = &lineage["product"];
    assert_eq!((&product["digest"], &product["stands_for"]["digest"]), (&second["x_is"], &first["x_is"]), "{lineage}");
    let told = scene.told("prov-json", "prov")?;
    assert!(told[0]["alternateOf"].as_object().is_some_and(|alternates| alternates.len() == 1), "{told:?}");
    let told = scene.told("open-lineage", "openlineage")?;
    let outputs = told.iter().filter_map(|event| event["outputs"].as_array()).flatten();
    let before: Vec<&Value> = outputs.map(|output| &output["facets"]["sas_standsFor"]["digest"]).collect();
    assert!(before.contains(&&first["x_is"]), "{before:?}");
    let down = scene.star(&["lineage", "X", "--down"])?;
    assert_eq!(down["made"][0]["module"], "B", "{down}");
    let difference = scene.star(&["diff"])?;
    let changed = &difference["changed"][0];
    assert_eq!(changed["digests"], json!([first["x_is"], second["x_is"]]), "{difference}");
    assert_eq!(changed["stands_for"]["digest"], first["x_is"]);
    // Rows have both digests, and differences that are small are not nothing.
    let rows = scene.scene.cluster.sas(&["-o", "csv", "star", "diff", &star(1)[..10]])?;
    let rows = String::from_utf8(rows.stdout)?;
    let digests = [&first["x_is"], &second["x_is"], &first["x_is"]].map(|digest| digest.as_str().unwrap_or_default());
    assert!(rows.contains("+6e-9,+6e-8 %") && rows.contains(&digests.join(",")), "{rows}");
    let verified = scene.scene.cluster.sas(&["star", "verify", &star(1)])?;
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));

    // As little again, but more beside the first: it is compared with that, not with the last one.
    assert_eq!(scene.replay([12e-9, 0.0], WITHIN).await?, ran(&["A", "B"]));
    let third = scene.seen()?;
    assert_eq!((&third["x_stands_for"], &third["y_read"]), (&Value::Null, &third["x_is"]), "{third}");

    // What is committed keeps what was decided of it.
    assert_eq!(scene.replay([6e-9, 0.0], WITHIN).await?, ran(&[]));
    assert_eq!(scene.seen()?["x_stands_for"], first["x_is"]);
    // What runs below it reads what counts, and says so.
    assert_eq!(scene.replay([6e-9, 1.0], WITHIN).await?, ran(&["B"]));
    let fifth = scene.seen()?;
    assert_eq!((&fifth["y"], &fifth["y_read"]), (&json!(11.0), &first["x_is"]), "{fifth}");
    let lineage = scene.star(&["lineage", "Y"])?;
    let read = &lineage["product"]["inputs"][0];
    assert_eq!((&read["digest"], &read["instead_of"]), (&first["x_is"], &second["x_is"]), "{lineage}");

    // Less is tolerated now than then: the same result stands for nothing any more, and nobody says that it does.
    assert_eq!(scene.replay([6e-9, 1.0], "tolerances.X = { rtol = 1e-12 }").await?, ran(&["B"]));
    let sixth = scene.seen()?;
    assert_eq!((&sixth["x_stands_for"], &sixth["y_read"]), (&Value::Null, &second["x_is"]), "{sixth}");
    let lineage = scene.star(&["lineage", "X"])?;
    assert_eq!(
        (&lineage["product"]["digest"], lineage["product"].get("stands_for")),
        (&second["x_is"], None),
        "{lineage}"
    );
    assert_eq!(scene.told("prov-json", "prov")?[0].get("alternateOf"), None);
    let explained = scene.star(&["show"])?;
    assert!(!explained.to_string().contains("stands_for"), "{explained}");
    let difference = scene.star(&["diff", "--from", "2"])?;
    assert_eq!(difference["equal"], 1, "X is the same, though it counts as another one: {difference}");
    let difference = scene.star(&["diff", "--from", "1"])?;
    let changed = difference["changed"].as_array().and_then(|all| all.iter().find(|change| change["product"] == "X"));
    assert!(changed.is_some_and(|change| change.get("stands_for").is_none()), "{difference}");

    // Where as much is tolerated as then, it holds again.
    assert_eq!(scene.replay([6e-9, 1.0], WITHIN).await?, ran(&[]));
    let seventh = scene.seen()?;
    assert_eq!((&seventh["x_stands_for"], &seventh["y_read"]), (&first["x_is"], &first["x_is"]), "{seventh}");
    let verified = scene.scene.cluster.sas(&["star", "verify", &star(1)])?;
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_tolerance_whatever_differs_runs_what_is_below_it_again() -> Result<()> {
    let mut scene = ToleranceScene::new("").await?;
    assert_eq!(scene.replay([6e-9, 0.0], "").await?, ran(&["A", "B"]));
    let seen = scene.seen()?;
    assert_eq!((&seen["x_stands_for"], &seen["y_read"]), (&Value::Null, &seen["x_is"]), "{seen}");
    // It is compared with what counts now: outside, then within.
    let within = "tolerances.X = { columns.value = { atol = 1e-8 } }";
    assert_eq!(scene.replay([5e-8, 0.0], within).await?, ran(&["A", "B"]));
    assert_eq!(scene.replay([5.5e-8, 0.0], within).await?, ran(&["A"]));
    Ok(())
}
