//! Replays: planned in numbers, then run, on a real RabbitMQ and Redis with the real pipeline and light modules. What a run
//! made is counted by the coordinator as it ended, and compared with what its plan had said.

mod narrowed;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::cluster::{Cluster, Running};
use harness::light::Campaign;
use harness::wait_until;
use serde_json::{Value, json};
use store::Store;
use store::runs::Took;

const SETTINGS: [(&str, &str); 2] = [("SAS_WORKER_RUNNER", "process"), ("SAS_SLOTS_DEFAULT", "2")];

/// Where the coordinator answers.
static LISTEN: LazyLock<String> = LazyLock::new(|| harness::free_address().expect("a free port"));

/// Light, as a program of its own: what is in place of `pass` is what its next version does otherwise.
const PROGRAM: &str = r#"
import h5py, os, runpy, sys
sys.argv[0] = "light"
try:
    runpy.run_module("light", run_name="__main__")
except SystemExit as end:
    if end.code:
        raise
with h5py.File(os.environ["SAS_OUTPUT"], "r+") as out:
    pass
"#;

/// Other values in one of the products, which only MSAP4_06 reads.
const CHANGED: &str = "
    for column in out['PRODUCTS/IDP_SAS_LONGTERM_MODULATION_FOURIER'].values():
        if column.dtype.kind == 'f':
            column[...] = column[...] + 1";

/// Takes the kit out of the files of three stars with a transit; what they were goes into a directory beside. Prints the stars.
const WITHOUT_KIT: &str = r#"
import glob, h5py, os, shutil, sys
source, late = sys.argv[1:]
os.mkdir(late)
def find(file, name):
    found = []
    file.visit(lambda path: found.append(path) if path.split("/")[-1] == name else None)
    return found[0]
for path in sorted(glob.glob(source + "/PLATO_*.h5")):
    with h5py.File(path, "r") as file:
        flag = file[find(file, "IDP_EAS_QC_TARGET_TCE_DETECTION")]
        transit = any(column[()] == 1 for column in (flag.values() if hasattr(flag, "values") else [flag]))
        star = file.attrs["PLATO_ID"]
    if transit and len(os.listdir(late)) < 3:
        shutil.copy(path, late)
        with h5py.File(path, "r+") as file:
            del file[find(file, "IDP_EAS_TRANSIT_REMOVAL_KIT")]
        print(star if isinstance(star, str) else star.decode())
"#;

/// A campaign over stars of the real pipeline that has run once.
struct ReplayScene {
    campaign: Campaign,
    cluster: Cluster,
    /// Stars whose kit comes late.
    late: Vec<String>,
    running: [Running; 2],
}

impl ReplayScene {
    async fn new(stars: &str) -> Result<Self> {
        let mut campaign = Campaign::new()?;
        campaign.deliver(3, stars, 1)?;
        let late = without_kit(&campaign)?;
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/pipelines/sas-pip.toml");
        let pipeline = campaign.rewrite(&shipped, &["--time-limit", "120s"])?;
        let program = campaign.path("msap4_01.py");
        fs::write(&program, PROGRAM)?;
        let text = fs::read_to_string(&pipeline)?;
        let (before, module) = text.split_once("[modules.MSAP4_01]").context("it has the module")?;
        let command = format!("\"{}\"", program.display());
        let module = module.replacen("\"-m\", \"light\"", &command, 1);
        ensure!(module.contains(&command), "the command is written otherwise");
        // A class for all, so that two slots are two slots.
        fs::write(
            &pipeline,
            format!("{before}[modules.MSAP4_01]{module}").replace("class = \"small\"", "class = \"default\""),
        )?;
        let directory = campaign.path("cluster");
        fs::create_dir(&directory)?;
        let cluster = Cluster::start(&directory, &[&pipeline])?;
        let config = directory.join("sas.toml");
        fs::write(&config, fs::read_to_string(&config)? + "[worker]\nrunner = \"process\"\n")?;
        let shared = campaign.shared_file()?.display().to_string();
        let taken = cluster.sas(&["ingest", "--shared", "--dataset", "models/grids", &shared])?;
        ensure!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
        let classes = [&SETTINGS[..], &[("SAS_SLOTS_LARGE", "1"), ("SAS_SLOTS_HEAVY", "1")]].concat();
        let running = [
            cluster.coordinator_with("coordinator", &[("SAS_HTTP_LISTEN", &LISTEN)])?,
            cluster.worker("worker", &classes)?,
        ];
        cluster.ingest(&campaign.star_files()?)?;
        let scene = Self { campaign, cluster, late, running };
        wait_until(Duration::from_secs(60), "the event is a run", async || {
            scene.cluster.ask(&["run", "list"]).is_ok_and(|runs| runs.as_array().is_some_and(|runs| runs.len() == 1))
        })
        .await?;
        scene.watch("newest", 8)?;
        Ok(scene)
    }

    fn watch(&self, run: &str, code: i32) -> Result<()> {
        let done = self.cluster.sas(&["run", "watch", run, "--timeout", "15m"])?;
        ensure!(
            done.status.code() == Some(code),
            "{}\n{}",
            String::from_utf8_lossy(&done.stderr),
            self.running[1].log()
        );
        Ok(())
    }

    /// What `sas replay plan` answers, and where the plan is.
    fn plan(&self, name: &str, arguments: &[&str]) -> Result<(Value, PathBuf)> {
        let file = self.campaign.path(name);
        let to = file.display().to_string();
        let plan =
            self.cluster.ask(&[&["replay", "plan", "--pipeline", "SAS-PIP", "--to", &to], arguments].concat())?;
        ensure!(serde_json::from_slice::<Value>(&fs::read(&file)?)? == plan, "the file is what is shown");
        Ok((plan, file))
    }

    /// Applies a plan; its run.
    fn apply(&self, plan: &Path) -> Result<String> {
        let plan = plan.display().to_string();
        let started = self.cluster.ask(&["replay", "apply", &plan, "--weight", "3", "--why", "a test"])?;
        let run = started[0]["run"].as_str().with_context(|| format!("{started} names a run"))?;
        Ok(run.to_owned())
    }

    /// Waits for the end of a run; what it made, by module.
    fn made(&self, run: &str) -> Result<BTreeMap<String, u64>> {
        self.watch(run, 0)?;
        let end = Store::open(&self.cluster.store)?.run_end(run.parse()?)?.context("it ended")?;
        Ok(end.took.iter().map(|(module, Took { tasks, .. })| (module.to_string(), *tasks)).collect())
    }

    /// Pauses a run while no worker does anything: nothing of it is taken until it goes on. It has its weight.
    async fn pause(&self, run: &str) -> Result<()> {
        let shown = async |what: &str, is_so: &dyn Fn(&Value) -> bool| -> Result<Value> {
            let mut shown = Value::Null;
            let waited = wait_until(Duration::from_secs(60), what, async || {
                shown = self.cluster.ask(&["run", "show", run]).unwrap_or_default();
                is_so(&shown)
            });
            waited.await.with_context(|| shown.to_string())?;
            Ok(shown)
        };
        self.cluster.ask(&["run", "pause", run])?;
        shown("the replay is paused", &|run| run["phase"] == "paused").await?;
        self.running[1].thaw()?;
        let shown = shown("nothing of it runs", &|run| run["running"] == 0).await?;
        assert!(shown["to_come"].as_u64() > Some(0), "{shown}");
        assert!(shown["decisions"].to_string().contains("\"weight\":3"), "{shown}");
        self.cluster.ask(&["run", "resume", run])?;
        Ok(())
    }

    fn refusal(&self, plan: &Path) -> Result<(Option<i32>, String)> {
        let done = self.cluster.sas(&["replay", "apply", &plan.display().to_string()])?;
        Ok((done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned()))
    }
}

/// The module's numbers in a plan: tasks that will run, and that may.
fn numbers(plan: &Value) -> BTreeMap<String, (u64, u64)> {
    let modules = plan["work"]["modules"].as_array().cloned().unwrap_or_default();
    let of = |module: &Value| {
        let number = |name: &str| module[name].as_u64().unwrap();
        (module["module"].as_str().unwrap().to_owned(), (number("will"), number("may")))
    };
    modules.iter().map(of).collect()
}

fn without_kit(campaign: &Campaign) -> Result<Vec<String>> {
    let delivered = campaign.path("delivered-3-1");
    let done = Command::new("/usr/bin/python3")
        .args(["-c", WITHOUT_KIT])
        .arg(delivered)
        .arg(campaign.path("late"))
        .output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8(done.stdout)?.lines().map(str::to_owned).collect())
}

#[tokio::test]
async fn what_changed_runs_again_with_what_is_below_it_where_values_differ_and_the_plan_had_said_so() -> Result<()> {
    const STARS: u64 = 20;
    let scene = ReplayScene::new("quiet=11,rotating=3,seismic=3,mixed=3").await?;

    // Nothing is other: nothing runs, failures and stars without their kit included.
    let (plan, file) = scene.plan("nothing.json", &[])?;
    let work = &plan["work"];
    assert_eq!((&work["considered"], &work["unchanged"]), (&json!(STARS), &json!(STARS)), "{plan}");
    assert_eq!((&work["tasks"], &work["quarters"]), (&json!({"at_least": 0, "at_most": 0}), &json!([])));
    let (code, said) = scene.refusal(&file)?;
    assert!(code == Some(1) && said.contains("runs nothing"), "{code:?} {said}");

    // Another image of one module.
    fs::write(scene.campaign.path("msap4_01.py"), PROGRAM.replace("\n    pass", CHANGED))?;
    let (unseen, _) = scene.plan("unseen.json", &[])?;
    assert_eq!(unseen["work"]["tasks"]["at_most"], json!(0), "images stay what they were unless somebody looks");
    let (plan, image) = scene.plan("image.json", &["--resolve"])?;
    let ran = STARS - scene.late.len() as u64;
    assert_eq!(plan["work"]["reasons"], json!([{"reason": "image", "module": "MSAP4_01", "stars": ran}]), "{plan}");
    let said = numbers(&plan);
    assert_eq!(said["MSAP4_01"], (ran, 0), "{said:?}");
    assert!(said.iter().all(|(module, (will, _))| module == "MSAP4_01" || *will == 0), "{said:?}");
    assert_eq!(said["MSAP4_06"], (0, ran));
    assert_eq!(said["MSAP4_03"], (0, ran), "it reads another product of the module");
    assert!(!said.contains_key("MSAP4_02") && !said.contains_key("MSAP3_01"), "{said:?}");
    assert_eq!(plan["work"]["unchanged"], json!(scene.late.len()), "without a kit it did not run");
    let seconds = &plan["seconds"];
    assert!(seconds["at_least"].as_f64() > Some(0.0) && seconds["at_most"].as_f64() > seconds["at_least"].as_f64());

    // It is paused before anything of it ran.
    scene.running[1].freeze()?;
    let run = scene.apply(&image)?;
    scene.pause(&run).await?;
    let made = scene.made(&run)?;
    assert_eq!(made, BTreeMap::from([("MSAP4_01".to_owned(), ran), ("MSAP4_06".to_owned(), ran)]));
    check_bounds(&plan, &made);
    let audit = scene.cluster.ask(&["audit"])?.to_string();
    assert!(audit.contains("a replay of") && audit.contains("a test"), "{audit}");
    let (code, said) = scene.refusal(&image)?;
    assert!(code == Some(1) && said.contains("plan again") && said.contains("since"), "{code:?} {said}");

    // What comes late redoes what waited for it, from the module on that reads it.
    let mut ingest = vec!["ingest".to_owned()];
    for entry in fs::read_dir(scene.campaign.path("late"))? {
        ingest.push(entry?.path().display().to_string());
    }
    let arguments: Vec<&str> = ingest.iter().map(String::as_str).collect();
    assert!(scene.cluster.sas(&arguments)?.status.success());
    let (plan, late) = scene.plan("late.json", &["--resolve"])?;
    assert_eq!(plan["work"]["quarters"][0]["stars"], json!(3), "{plan}");
    // Without its kit no star had run the module whose image is another one by now.
    let image = json!({"reason": "image", "module": "MSAP4_01", "stars": 3});
    let data = json!({"reason": "data", "dataset": "l1.lightcurve", "stars": 3});
    assert_eq!(plan["work"]["reasons"], json!([image, data]));
    let said = numbers(&plan);
    assert_eq!(said["MSAP1_01"], (0, 3), "whether it is read a condition says");
    assert!(!said.contains_key("MSAP1_02"), "it does not read the kit");
    let mut first: Vec<String> = plan["work"]["quarters"][0]["first"]
        .as_array()
        .unwrap()
        .iter()
        .map(|star| star.as_str().unwrap().to_owned())
        .collect();
    let mut stars = scene.late.clone();
    first.sort();
    stars.sort();
    assert_eq!(first, stars);
    let made = scene.made(&scene.apply(&late)?)?;
    assert_eq!((made["MSAP1_01"], made["MSAP4_01"], made.get("MSAP1_02")), (3, 3, None), "{made:?}");
    check_bounds(&plan, &made);

    let (plan, _) = scene.plan("end.json", &["--resolve"])?;
    assert_eq!(plan["work"]["unchanged"], json!(STARS), "{plan}");
    check_http(&plan).await?;

    // Every star of every event is in one line: the first event's, and those of two replays.
    let ledgers = scene.cluster.ask(&["event", "ledger"])?;
    let of =
        |ledger: &Value| (ledger["stars"].clone(), ledger["lines"][0]["stars"].clone(), ledger["balances"].clone());
    let found: Vec<_> = ledgers.as_array().context("a list")?.iter().map(of).collect();
    let expanded = |count: u64| (json!(count), json!({"expanded": count}), json!(true));
    assert_eq!(found, [expanded(3), expanded(ran), expanded(STARS)]);
    let event = ledgers[0]["event"].as_str().context("an id")?;
    let (_, receipt) = harness::ask_bytes(&LISTEN, &format!("/api/v1/events/{event}/ledger/stars?limit=2")).await?;
    let receipt: Value = serde_json::from_slice(&receipt)?;
    assert_eq!((receipt["stars"].as_array().map(Vec::len), &receipt["next"]), (Some(2), &json!("2")), "{receipt}");
    Ok(())
}

/// Over HTTP a plan is the same, and one that runs nothing is refused.
async fn check_http(plan: &Value) -> Result<()> {
    let post = async |path: &str, body: Value| -> Result<(u16, Value)> {
        let request = reqwest::Client::new().post(format!("http://{}/api/v1{path}", *LISTEN));
        let answer = request.header("content-type", "application/json").body(body.to_string()).send().await?;
        Ok((answer.status().as_u16(), serde_json::from_str(&answer.text().await?)?))
    };
    let (status, same) = post("/replays/plan", json!({"pipeline": "SAS-PIP"})).await?;
    assert_eq!((status, &same["work"]["unchanged"]), (200, &plan["work"]["considered"]), "{same}");
    let (status, refused) = post("/replays", json!({"plan": same, "reason": "a test"})).await?;
    assert!(status == 409 && refused.to_string().contains("runs nothing"), "{status} {refused}");
    Ok(())
}

/// What ran is within what the plan had said, of each module.
#[track_caller]
fn check_bounds(plan: &Value, made: &BTreeMap<String, u64>) {
    let said = numbers(plan);
    for (module, tasks) in made {
        let (will, may) = said.get(module).unwrap_or_else(|| panic!("{module} ran: {said:?}"));
        assert!(will <= tasks && *tasks <= will + may, "{module}: {tasks}, {will} and {may} were planned");
    }
    for (module, (will, _)) in said.iter().filter(|(_, (will, _))| *will > 0) {
        assert!(made.get(module).is_some_and(|tasks| tasks >= will), "{module} did not run: {made:?}");
    }
    let sum: u64 = made.values().sum();
    let tasks = &plan["work"]["tasks"];
    assert!(tasks["at_least"].as_u64() <= Some(sum) && Some(sum) <= tasks["at_most"].as_u64(), "{sum}: {tasks}");
}
