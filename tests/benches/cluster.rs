//! What a whole cluster does on this machine, with real RabbitMQ, Redis and processes: `make bench`.
//!
//! Numbers are of this machine at this time; compare within one run.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::cluster::{Cluster, Running};
use harness::light::{Campaign, empty_output};
use harness::wait_until;
use jiff::Timestamp;
use serde_json::Value;

const QUARTER: u16 = 3;

fn main() -> Result<()> {
    // `cargo bench … -- noop` measures only that.
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    println!("one coordinator; a worker has 4 slots; stars of 31 tasks (five layers of six, then one)");
    if wanted("noop") {
        println!("\n{:<44}{:>9}{:>12}", "no-op tasks (nothing runs, all is confirmed)", "tasks", "tasks/s");
        for workers in [1, 2] {
            throughput(&format!("  {workers} worker(s)"), 100, workers, "noop", "")?;
        }
    }
    if wanted("process") {
        println!("\n{:<44}{:>9}{:>12}", "processes that sleep 0.5 s", "tasks", "tasks/s");
        for workers in [1, 2, 4, 8] {
            let name = format!("  {workers} worker(s), most possible {}", workers * 4 * 2);
            throughput(&name, 5, workers, "process", "sleep 0.5; ")?;
        }
    }
    if wanted("classes") {
        println!("\nclasses: 4 default slots, 1 heavy slot with a backlog");
        classes()?;
    }
    Ok(())
}

/// Six modules a layer, each of which needs all of the layer before; one at the end.
fn layers(script: &str) -> String {
    let mut text = String::new();
    for layer in 0..5 {
        for at in 0..6 {
            let after: Vec<String> =
                if layer == 0 { Vec::new() } else { (0..6).map(|at| format!("L{}{at}", layer - 1)).collect() };
            text += &module(&format!("L{layer}{at}"), "default", script, &after);
        }
    }
    text + &module("END", "default", script, &(0..6).map(|at| format!("L4{at}")).collect::<Vec<_>>())
}

fn module(name: &str, class: &str, script: &str, after: &[String]) -> String {
    let script = format!("{script}cp \"$TEMPLATE\" \"$SAS_OUTPUT\"");
    format!(
        "[modules.{name}]\nimage = \"none\"\ncommand = [\"/bin/sh\", \"-c\", '{script}']\nclass = \"{class}\"\n\
         time_limit = \"1m\"\nafter = {after:?}\ninputs.mandatory = [\"DP1_LC_MERGED\"]\noutputs.optional = [\"P_{name}\"]\n"
    )
}

struct BenchScene {
    campaign: Campaign,
    cluster: Cluster,
}

impl BenchScene {
    fn new(stars: u32, modules: &str) -> Result<Self> {
        let mut campaign = Campaign::new()?;
        campaign.deliver(QUARTER, &format!("quiet={stars}"), 1)?;
        let directory = campaign.path("cluster");
        fs::create_dir(&directory)?;
        let template = empty_output(&directory)?;
        let pipeline = directory.join("bench.toml");
        let head =
            "name = \"BENCH\"\nversion = \"1\"\ntrigger = \"l1/lightcurve\"\n[externals]\nstar = [\"DP1_LC_MERGED\"]\n";
        let classes =
            ["default", "heavy"].map(|name| format!("[classes.{name}]\ncpus = 1\nmemory = \"64MB\"\n")).concat();
        let modules = modules.replace("$TEMPLATE", &template.display().to_string());
        fs::write(&pipeline, [head, &classes, &modules].concat())?;
        let cluster = Cluster::start(&directory, &[&pipeline])?;
        let done = cluster.sas(&["pipeline", "check", &pipeline.display().to_string()])?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        Ok(Self { campaign, cluster })
    }

    fn workers(&self, count: u32, settings: &[(&str, &str)]) -> Result<Vec<Running>> {
        (0..count).map(|number| self.cluster.worker(&format!("worker-{number}"), settings)).collect()
    }

    fn wait_for(&self, what: &str, condition: impl Fn(&Self) -> bool) -> Result<()> {
        let waiting = wait_until(Duration::from_secs(300), what, async || condition(self));
        tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(waiting)
    }

    fn run(&self) -> Result<Value> {
        let mut runs = self.cluster.ask(&["run", "list"])?;
        Ok(runs.get_mut(0).context("no run yet")?.take())
    }
}

fn throughput(what: &str, stars: u32, workers: u32, runner: &str, script: &str) -> Result<()> {
    let scene = BenchScene::new(stars, &layers(script))?;
    let settings = [("SAS_WORKER_RUNNER", runner), ("SAS_SLOTS_DEFAULT", "4"), ("RUST_LOG", "warn")];
    let _workers = scene.workers(workers, &settings)?;
    let coordinator = scene.cluster.coordinator("coordinator")?;
    scene.cluster.ingest(&scene.campaign.star_files()?)?;
    scene.wait_for("there is a run", |scene| scene.run().is_ok()).with_context(|| coordinator.log())?;
    let end = scene.cluster.sas(&["run", "watch", "--timeout", "10m"])?;
    ensure!(end.status.success(), "{}{}", String::from_utf8_lossy(&end.stderr), coordinator.log());
    let seconds = span(&scene)?.context("a run that ended says when")?.as_secs_f64();
    let tasks = stars * 31;
    println!("{what:<44}{tasks:>9}{:>12.1}", f64::from(tasks) / seconds);
    Ok(())
}

/// From the acceptance of the run to its end.
fn span(scene: &BenchScene) -> Result<Option<Duration>> {
    let run = scene.run()?;
    let time = |key: &str| run[key].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    Ok(time("accepted").zip(time("ended")).and_then(|(from, to)| to.duration_since(from).try_into().ok()))
}

/// Default modules of half a second before and after a heavy one of four: how busy are the default slots while the heavy
/// slot has a backlog?
fn classes() -> Result<()> {
    const SLOTS: u32 = 4;
    const STARS: u32 = 120;
    let modules = [
        module("FIRST", "default", "sleep 0.5; ", &[]),
        module("HEAVY", "heavy", "sleep 4; ", &["FIRST".to_owned()]),
        module("BESIDE", "default", "sleep 0.5; ", &["FIRST".to_owned()]),
        module("LAST", "default", "sleep 0.5; ", &["HEAVY".to_owned()]),
    ];
    let scene = BenchScene::new(STARS, &modules.concat())?;
    let slots = SLOTS.to_string();
    let settings = [("SAS_WORKER_RUNNER", "process"), ("SAS_SLOTS_DEFAULT", slots.as_str()), ("SAS_SLOTS_HEAVY", "1")];
    let _workers = scene.workers(1, &settings)?;
    let _coordinator = scene.cluster.coordinator("coordinator")?;
    scene.cluster.ingest(&scene.campaign.star_files()?)?;
    let succeeded = |run: &Value, name: &str| {
        let module = run["modules"].as_array().and_then(|all| all.iter().find(|module| module["module"] == name));
        module.and_then(|module| module["tasks"]["succeeded"].as_u64()).unwrap_or(0)
    };
    scene.wait_for("all default tasks are done", |scene| {
        scene.cluster.ask(&["run", "show"]).is_ok_and(|run| succeeded(&run, "BESIDE") >= u64::from(STARS))
    })?;
    let mut attempts = Vec::new();
    for star in scene.campaign.kinds.keys() {
        let shown = scene.cluster.ask(&["star", "show", star])?;
        for task in shown["tasks"].as_array().into_iter().flatten() {
            let started: Option<Timestamp> = task["started"].as_str().and_then(|text| text.parse().ok());
            if let Some(started) = started.filter(|_| task["module"] != "HEAVY") {
                attempts.push((started.as_millisecond(), task["millis"].as_i64().unwrap_or(0)));
            }
        }
    }
    attempts.sort_unstable();
    let (first, last) = attempts.first().zip(attempts.last()).context("no attempt is on record")?;
    // The first seconds fill the slots, the last ones have nothing left to fill them with.
    let (from, to) = (first.0 + 2_000, last.0 - 2_000);
    let busy: i64 = attempts.iter().map(|(at, millis)| ((at + millis).min(to) - (*at).max(from)).max(0)).sum();
    let share = busy as f64 / (f64::from(SLOTS) * (to - from) as f64);
    println!(
        "  default slots busy {:.1} % of {:.1} s, {} attempts",
        share * 100.0,
        (to - from) as f64 / 1e3,
        attempts.len()
    );
    Ok(())
}
