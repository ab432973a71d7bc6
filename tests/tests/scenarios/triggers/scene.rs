//! A cluster with small pipelines that start each other, and deliveries of one number for each star.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::cluster::{Cluster, Running};
use harness::wait_until;
use rustix::fs::OFlags;
use rustix::io::Errno;
use serde_json::Value;

/// How long anything may take.
const LONG: Duration = Duration::from_secs(120);

/// Writes a star file of the quarter for each star: `EXTERNALS/<product>/<column>` is the number.
const DELIVER: &str = r#"
import h5py, sys
quarter, folder, product, column, *stars = sys.argv[1:]
for pair in stars:
    star, number = pair.split("=")
    with h5py.File(f"{folder}/{star}.{product}.h5", "w") as file:
        file.attrs["PLATO_ID"] = star
        file.attrs["QUARTER_NUMBER"] = int(quarter)
        group = file.create_group(f"EXTERNALS/{product}")
        if column == "flag":
            group.create_dataset(column, data=number == "1", dtype=bool)
        else:
            group.create_dataset(column, data=float(number))
"#;

/// Adds one to the number that it reads; a negative one makes it fail.
pub(crate) const ADD: &str = r#"
import h5py, os, sys
read, write = sys.argv[1:]
with h5py.File(os.environ["SAS_INPUT"], "r") as file:
    products = {**file.get("EXTERNALS", {}), **file.get("PRODUCTS", {})}
    number = products[read]["value"][()]
if number < 0:
    sys.exit("a negative number")
with h5py.File(os.environ["SAS_OUTPUT"], "w") as file:
    file.create_group(f"PRODUCTS/{write}").create_dataset("value", data=number + 1)
"#;

/// Adds what the quarter before made to the number that it reads; a negative one makes it fail unless that is mended, and for 7 it
/// waits until somebody opens the gate.
pub(crate) const CHAIN: &str = r#"
import h5py, os, sys
# Not among the arguments: of files that these name the content is looked at.
gate = os.path.join(os.path.dirname(__file__), "gate")
with h5py.File(os.environ["SAS_INPUT"], "r") as file:
    number = file["EXTERNALS/CURVE/value"][()]
    before = file["PREVIOUS/PRODUCTS/X/value"][()] if "PREVIOUS/PRODUCTS/X" in file else 0
if number < 0 and not os.path.exists(f"{gate}.{-number:.0f}"):
    sys.exit("a negative number")
if number == 7:
    open(gate).read()
with h5py.File(os.environ["SAS_OUTPUT"], "w") as file:
    file.create_group("PRODUCTS/X").create_dataset("value", data=abs(number) + before)
"#;

/// What a star file holds: its values by product, and the digests of all products.
const HELD: &str = r#"
import h5py, json, sys
with h5py.File(sys.argv[1], "r") as file:
    values = {name: float(of["value"][()]) for name, of in file["PRODUCTS"].items()}
    digests = {name: of["digest"] for name, of in json.loads(file["MANIFEST"][()])["products"].items()}
print(json.dumps([values, digests]))
"#;

/// Stars of this scene, by number from 1.
pub(crate) fn star(number: u8) -> String {
    format!("PLATO_00000000-0000-5000-8000-0000000000{number:02x}")
}

/// Writes a star file for each of these stars into a new folder.
pub(crate) fn write(folder: &Path, quarter: u16, (product, column): (&str, &str), stars: &[(u8, i32)]) -> Result<()> {
    fs::create_dir(folder)?;
    let pairs = stars.iter().map(|(number, value)| format!("{}={value}", star(*number)));
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", DELIVER, &quarter.to_string()]).arg(folder).args([product, column]).args(pairs);
    ensure!(python.status()?.success(), "no files");
    Ok(())
}

/// The cluster.
pub(crate) struct TriggerScene {
    directory: tempfile::TempDir,
    pub(crate) cluster: Cluster,
    coordinator: Option<Running>,
    _worker: Running,
}

impl TriggerScene {
    /// Starts it with these pipelines, whose modules call `ADD` or `CHAIN`.
    pub(crate) fn start(pipelines: &[&str]) -> Result<Self> {
        Self::start_with(pipelines, &[])
    }

    /// The same with more settings of its coordinator.
    pub(crate) fn start_with(pipelines: &[&str], settings: &[(&str, &str)]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let program = directory.path().join("add.py");
        fs::write(&program, ADD)?;
        let (chain, gate) = (directory.path().join("chain.py"), directory.path().join("gate"));
        fs::write(&chain, CHAIN)?;
        ensure!(Command::new("mkfifo").arg(&gate).status()?.success(), "no gate");
        let mut files: Vec<PathBuf> = Vec::new();
        for (number, text) in pipelines.iter().enumerate() {
            let file = directory.path().join(format!("{number}.toml"));
            let text =
                text.replace("ADD", &program.display().to_string()).replace("CHAIN", &chain.display().to_string());
            fs::write(&file, format!("{text}[classes.default]\ncpus = 1\nmemory = '256MB'\n"))?;
            files.push(file);
        }
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let cluster = Cluster::start(directory.path(), &files)?;
        let coordinator = Some(cluster.coordinator_with("coordinator", settings)?);
        let settings = [("SAS_WORKER_RUNNER", "process"), ("SAS_SLOTS_DEFAULT", "2")];
        let worker = cluster.worker("worker", &settings)?;
        Ok(Self { directory, cluster, coordinator, _worker: worker })
    }

    /// Tells `sas` that modules run as processes, for those questions that ask what their programs are.
    pub(crate) fn runs_processes(&self) -> Result<()> {
        let config = self.directory.path().join("sas.toml");
        Ok(fs::write(&config, fs::read_to_string(&config)? + "[worker]\nrunner = \"process\"\n")?)
    }

    /// Opens the gate: who waits at it goes on.
    pub(crate) fn open_gate(&self) -> Result<()> {
        Ok(fs::write(self.directory.path().join("gate"), "")?)
    }

    /// Opens it for who waits at it now, if anybody does.
    pub(crate) fn open_gate_at_once(&self) -> Result<()> {
        let mut gate = fs::OpenOptions::new();
        let opened =
            gate.write(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(self.directory.path().join("gate"));
        match opened {
            Err(error) if error.raw_os_error() != Some(Errno::NXIO.raw_os_error()) => Err(error.into()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// What the number of a star needs is mended.
    pub(crate) fn mend(&self, number: u8) -> Result<()> {
        Ok(fs::write(self.directory.path().join(format!("gate.{number}")), "")?)
    }

    /// Ingests a number for each of these stars in quarter 3, and publishes the event; its id.
    pub(crate) fn deliver(&self, dataset: &str, product: &str, column: &str, stars: &[(u8, i32)]) -> Result<String> {
        self.deliver_in(3, dataset, (product, column), stars)
    }

    /// The same in any quarter.
    pub(crate) fn deliver_in(
        &self,
        quarter: u16,
        dataset: &str,
        (product, column): (&str, &str),
        stars: &[(u8, i32)],
    ) -> Result<String> {
        let folder = self.write(quarter, (product, column), stars)?;
        let answer = self.cluster.ask(&["ingest", "--publish", "--dataset", dataset, &folder])?;
        let event = answer["events"][0].clone();
        let id = |name: &str| event[name].as_str().context("it names itself").map(str::to_owned);
        Ok(domain::id::EventId::of(&id("source")?, &id("id")?).to_string())
    }

    /// Ingests a number for each of these stars, of which no event says anything.
    pub(crate) fn take_in(
        &self,
        quarter: u16,
        dataset: &str,
        (product, column): (&str, &str),
        stars: &[(u8, i32)],
    ) -> Result<()> {
        let folder = self.write(quarter, (product, column), stars)?;
        self.cluster.ask(&["ingest", "--dataset", dataset, &folder]).map(drop)
    }

    /// Writes a star file for each of these stars; the folder.
    fn write(&self, quarter: u16, (product, column): (&str, &str), stars: &[(u8, i32)]) -> Result<String> {
        let folder = self.directory.path().join(format!("delivered-{}", uuid::Uuid::new_v4()));
        write(&folder, quarter, (product, column), stars)?;
        Ok(folder.display().to_string())
    }

    /// The ledger of an event: what became of how many stars in each pipeline, as `P: 2 joined, 1 waiting_for`. It must balance.
    pub(crate) fn ledger(&self, event: &str) -> Result<Vec<String>> {
        let ledger = self.cluster.ask(&["event", "ledger", event])?;
        let lines = ledger[0]["lines"].as_array().context("it has lines")?.clone();
        let line = |line: &Value| {
            let counts = line["stars"].as_object().cloned().unwrap_or_default();
            let counts: Vec<String> = counts.iter().map(|(became, count)| format!("{count} {became}")).collect();
            format!("{}: {}", line["pipeline"].as_str().unwrap_or("-"), counts.join(", "))
        };
        Ok(lines.iter().map(line).collect())
    }

    /// Waits until the ledger of an event has exactly these lines.
    pub(crate) async fn wait_for(&self, event: &str, lines: &[&str]) -> Result<()> {
        let mut seen = None;
        let waited = wait_until(LONG, "the ledger says so", async || {
            seen = Some(self.ledger(event));
            matches!(&seen, Some(Ok(found)) if *found == lines)
        })
        .await;
        waited.with_context(|| format!("{seen:?}, expected {lines:?}\n{}", self.log()))
    }

    /// The runs of a pipeline, oldest first, each with its number of stars; all of them have ended.
    pub(crate) async fn ended(&self, pipeline: &str, count: usize) -> Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        let waited = wait_until(LONG, "the runs have ended", async || {
            let Ok(runs) = self.cluster.ask(&["run", "list", "--all"]) else { return false };
            let runs = runs.as_array().cloned().unwrap_or_default();
            let runs: Vec<&Value> = runs.iter().rev().filter(|run| run["pipeline"] == pipeline).collect();
            found = runs
                .iter()
                .map(|run| (run["run"].as_str().unwrap_or_default().to_owned(), run["stars"].as_u64().unwrap_or(0)))
                .collect();
            runs.len() == count && runs.iter().all(|run| run["phase"] == "ended")
        })
        .await;
        waited.with_context(|| format!("{found:?}, expected {count} of {pipeline}\n{}", self.log()))?;
        Ok(found)
    }

    /// How many runs there are.
    pub(crate) fn runs(&self) -> Result<usize> {
        Ok(self.cluster.ask(&["run", "list", "--all"])?.as_array().map_or(0, Vec::len))
    }

    /// Redis forgets everything, and the coordinator is killed; `between` is done before another one starts.
    pub(crate) fn lose_everything(&mut self, between: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.kill()?;
        }
        let flushed = Command::new("redis-cli").args(["-u", self.cluster.state_url(), "FLUSHDB"]).output()?;
        ensure!(flushed.status.success(), "{flushed:?}");
        between(self)?;
        self.coordinator = Some(self.cluster.coordinator("coordinator-again")?);
        Ok(())
    }

    /// What a product of a star is in the newest run of a pipeline.
    pub(crate) fn made(&self, run: &str, module: &str) -> Result<u64> {
        let end = store::Store::open(&self.cluster.store)?.run_end(run.parse()?)?.context("it ended")?;
        Ok(end.took.get(&module.parse()?).map_or(0, |took| took.tasks))
    }

    /// What a star holds in quarter 3: values by product in its star file and digests of all products, and how many generations
    /// there are.
    pub(crate) fn held(&self, number: u8) -> Result<(Value, usize)> {
        let (star, quarter) = (star(number).parse()?, 3.try_into()?);
        let store = store::Store::open(&self.cluster.store)?;
        let file = store.at(store::paths::star_file(star, quarter));
        let read = Command::new("/usr/bin/python3").args(["-c", HELD]).arg(file).output()?;
        ensure!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        Ok((serde_json::from_slice(&read.stdout)?, store.generations(star, quarter)?.len()))
    }

    /// What the coordinator logged.
    pub(crate) fn log(&self) -> String {
        self.coordinator.as_ref().map(Running::log).unwrap_or_default()
    }
}
