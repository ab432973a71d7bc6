//! Which tasks failed and why, on a cluster of processes: listed while the run goes on and from the store alone when it is
//! over, tried again by what they have in common, cancelled one by one.
//!
//! FAILS ends with 3 for two stars, each with a number of its own in its last words, and with 4 for a third. HANGS runs for
//! ever, until a file says that it need not.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::cluster::Cluster;
use harness::light::Campaign;
use harness::{Redis, program, wait_until};
use serde_json::{Value, json};
use store::Store;

const PATIENCE: Duration = Duration::from_secs(60);

fn definition(directory: &Path, stars: &[String]) -> Result<std::path::PathBuf> {
    let (flag, case) = (directory.join("goes-on").display().to_string(), |star: usize| stars[star].clone());
    let fails = format!(
        "case $SAS_STAR in {}) echo bad flux 17; exit 3;; {}) echo bad flux 4711; exit 3;; {}) echo no time; exit 4;; esac; exit 5",
        case(0),
        case(1),
        case(2)
    );
    let hangs = format!("test -e {flag} && exit 6; echo still at it; exec tail -f /dev/null");
    let module = |name: &str, program: &str, output: &str| {
        format!(
            "[modules.{name}]\nimage = 'none'\ngroup = 'G{output}'\ncommand = ['/bin/sh', '-c', '{program}']\ntime_limit = '5m'\n\
             inputs.mandatory = ['DP1_LC_MERGED']\noutputs.mandatory = ['{output}']\n"
        )
    };
    let below = "[modules.BELOW]\nimage = 'none'\ncommand = ['/bin/true']\ninputs.mandatory = ['Y']\noutputs.mandatory = ['Z']\n";
    let text = format!(
        "name = 'FAILURES'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[externals]\nstar = ['DP1_LC_MERGED']\n\
         [classes.default]\ncpus = 1\nmemory = '256MB'\n{}{}{below}",
        module("FAILS", &fails, "X"),
        module("HANGS", &hangs, "Y")
    );
    let path = directory.join("failures.toml");
    fs::write(&path, text)?;
    Ok(path)
}

/// Waits until an answer of `sas` is as it is wanted.
async fn wait_for(cluster: &Cluster, what: &str, line: &[&str], holds: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = Ok(Value::Null);
    let waited = wait_until(PATIENCE, what, async || {
        last = cluster.ask(line);
        last.as_ref().is_ok_and(&holds)
    });
    let waited = waited.await;
    waited.with_context(|| format!("sas {line:?} answers {last:?}"))?;
    last
}

/// What `sas` says of a store when no service answers.
fn from_store(cluster: &Cluster, line: &[&str]) -> Result<Value> {
    let mut command = Command::new(program("sas-cli", "sas"));
    command.args(["-o", "json"]).args(line).env("SAS_STORE_ROOT", &cluster.store);
    command.env("SAS_QUEUE_URL", "amqp://127.0.0.1:1/%2f").env("SAS_STATE_URL", "redis://127.0.0.1:1/0");
    let done = command.output()?;
    ensure!(done.status.success(), "sas {line:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(serde_json::from_slice(&done.stdout)?)
}

/// Module, fingerprint and count of each group, the largest first.
fn groups(failures: &Value) -> Vec<(String, String, u64)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let groups = failures["groups"].as_array().into_iter().flatten();
    groups
        .map(|group| (text(&group["module"]), text(&group["fingerprint"]), group["count"].as_u64().unwrap_or(0)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_listed_by_what_they_share_tried_again_so_and_tasks_that_hang_are_cancelled() -> Result<()> {
    let mut campaign = Campaign::new()?;
    campaign.deliver(3, "quiet=4", 1)?;
    let directory = campaign.path("cluster");
    fs::create_dir(&directory)?;
    let stars: Vec<String> = campaign.kinds.keys().cloned().collect();
    let cluster = Cluster::start(&directory, &[&definition(&directory, &stars)?])?;
    cluster.ingest(&campaign.star_files()?)?;
    let _coordinator = cluster.coordinator("coordinator")?;
    let settings = [("SAS_WORKER_RUNNER", "process"), ("SAS_WORKER_LEASE", "3s"), ("SAS_SLOTS_DEFAULT", "5")];
    let _worker = cluster.worker("host-a", &settings)?;

    // While the run goes on: what failed, and what runs where with its last line.
    let failures = ["run", "failures", "--module", "FAILS"];
    let found = wait_for(&cluster, "all failed", &failures, |found| found["listed"] == 4).await?;
    let alike = groups(&found);
    assert_eq!((alike.len(), alike[0].2, &found["groups"][0]["host"]), (3, 2, &json!("host-a")), "{found}");
    let sample = found["groups"][0]["sample"].as_str();
    assert!(sample.is_some_and(|sample| sample.contains("exit code 3: bad flux")), "{found}");
    assert_eq!(found["groups"][0]["stars"], json!([stars[0], stars[1]]));
    let hanging = ["task", "list", "--state", "running", "--host", "host-a", "--group", "GY"];
    let running = wait_for(&cluster, "all hang", &hanging, |found| {
        let tasks = found["tasks"].as_array().map_or(&[][..], Vec::as_slice);
        tasks.len() == 4 && tasks.iter().all(|task| task["last_line"] == "still at it")
    });
    let running = running.await?;
    assert!(running["tasks"][0]["since"].is_string() && running["tasks"][0]["module"] == "HANGS", "{running}");
    let old = cluster.ask(&["task", "list", "--state", "running", "--older", "1h"])?;
    assert_eq!(old["tasks"], json!([]));

    // One running task, and one star; nothing happens without a word.
    let cancel = ["task", "cancel", "--module", "HANGS", "--star", &stars[2]];
    let unsaid = cluster.sas(&cancel)?;
    assert!(unsaid.status.code() == Some(2) && String::from_utf8_lossy(&unsaid.stderr).contains("--yes"));
    let planned = cluster.ask(&[&cancel[..], &["--dry-run"]].concat())?;
    assert_eq!((&planned["count"], &planned["modules"]), (&json!(1), &json!({"HANGS": 1})));
    cluster.ask(&[&cancel[..], &["--yes"]].concat())?;
    let show = ["star", "show", &stars[2]];
    let of = |star: &Value, module: usize| star["tasks"][module]["state"].clone();
    let shown = wait_for(&cluster, "the star is done", &show, |star| star["end"] == "cancelled").await?;
    assert_eq!([of(&shown, 1), of(&shown, 2)], ["cancelled", "upstream_failed"], "{shown}");
    cluster.ask(&["star", "cancel", &stars[3], "--yes"])?;
    let left = wait_for(&cluster, "two are stopped", &hanging, |found| {
        found["tasks"].as_array().is_some_and(|tasks| tasks.len() == 2)
    });
    let left = left.await?;
    assert!([0, 1].iter().all(|at| stars[..2].iter().any(|star| left["tasks"][at]["star"] == json!(star))), "{left}");
    let again = cluster.sas(&["star", "cancel", &stars[3], "--yes"])?;
    assert!(String::from_utf8_lossy(&again.stderr).contains("nothing to cancel"), "{again:?}");
    cluster.ask(&["task", "cancel", "--yes"])?;
    let ended = |run: &Value| run["phase"] == "ended";
    wait_for(&cluster, "the run ended", &["run", "show"], ended).await?;

    // When it is over, the store alone tells the same.
    let over = from_store(&cluster, &failures)?;
    assert_eq!((groups(&over), &over["not_listed"]), (alike, &json!(0)));
    let report = from_store(&cluster, &["run", "show"])?;
    assert_eq!(report["failures"]["groups"][0]["count"], 2, "{report}");
    let listed = from_store(&cluster, &["task", "list", "--state", "failed", "--reason", "exit", "--star", &stars[2]])?;
    assert_eq!((&listed["tasks"][0]["last_line"], &listed["tasks"][0]["attempt"]), (&json!("no time"), &json!(1)));

    // Exactly what failed alike is tried again, with the run opened for it.
    fs::write(directory.join("goes-on"), "")?;
    let fingerprint = over["groups"][0]["fingerprint"].as_str().context("a fingerprint")?.to_owned();
    let retry = ["run", "failures", "--reason", &fingerprint, "--retry"];
    assert_eq!(cluster.ask(&[&retry[..], &["--dry-run"]].concat())?["count"], 2);
    let decided = cluster.ask(&[&retry[..], &["--yes"]].concat())?;
    assert_eq!(decided["selection"]["tasks"].as_object().map(|tasks| tasks.len()), Some(2), "{decided}");
    let last = |run: &Value| {
        ended(run) && run["decisions"].as_array().map(Vec::len) == decided["number"].as_u64().map(|n| n as usize)
    };
    wait_for(&cluster, "it ended again", &["run", "show"], last).await?;
    // Their stars entered anew, so that HANGS was tried again as well; the others stayed as they were.
    for (star, state) in stars.iter().zip(["failed", "failed", "cancelled", "cancelled"]) {
        let shown = from_store(&cluster, &["star", "show", star])?;
        assert_eq!([of(&shown, 0), of(&shown, 1)], ["failed", state], "{shown}");
    }
    Ok(())
}

#[test]
fn a_module_that_kills_itself_fails_after_two_tries_where_there_is_one_host() -> Result<()> {
    let mut campaign = Campaign::new()?;
    campaign.deliver(3, "quiet=1", 1)?;
    let (definition, store) = (campaign.path("kills.toml"), campaign.path("store"));
    let text = "name = 'KILLS'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[externals]\nstar = ['DP1_LC_MERGED']\n\
                [classes.default]\ncpus = 1\nmemory = '256MB'\n[modules.KILLS]\nimage = 'none'\n\
                command = ['/bin/sh', '-c', 'kill -KILL $$']\ninputs.mandatory = ['DP1_LC_MERGED']\noutputs.mandatory = ['X']\n";
    fs::write(&definition, text)?;
    let mut local = Command::new(program("sas-cli", "sas"));
    local.args(["local", "--runner", "process", "--pipeline"]).arg(&definition).arg("--store").arg(&store);
    let done = local.args(campaign.star_files()?).output()?;
    ensure!(!done.status.success(), "it cannot succeed");
    let star = campaign.kinds.keys().next().context("a star")?.clone();
    let mut explain = Command::new(program("sas-cli", "sas"));
    explain.args(["-o", "json", "star", "explain", &star, "--store"]).arg(&store).current_dir(campaign.path(""));
    let shown: Value = serde_json::from_slice(&explain.output()?.stdout)?;
    let task = &shown["tasks"][0];
    assert_eq!((&task["state"], &task["attempt"]), (&json!("failed"), &json!(2)), "{shown}");
    assert!(task["reason"].as_str().is_some_and(|reason| reason.contains("twice in a row")), "{shown}");
    Ok(())
}

/// What `sas` shows of a star's task once it has failed.
async fn failed_task(cluster: &Cluster, star: &str, at: usize) -> Result<Value> {
    let failed = |shown: &Value| shown["tasks"][at]["state"] == "failed";
    let shown = wait_for(cluster, "the task failed", &["star", "show", star], failed).await?;
    Ok(shown["tasks"][at].clone())
}

/// Two hosts: both take tasks of class `heavy`, of which ELSEWHERE is, and one takes those of `default`, of which ALONE is. Redis is
/// flushed in between: what has failed is on record, and does not run again.
#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_kills_itself_fails_on_two_hosts_or_where_no_other_takes_its_class() -> Result<()> {
    let mut campaign = Campaign::new()?;
    campaign.deliver(3, "quiet=1", 1)?;
    let directory = campaign.path("cluster");
    fs::create_dir(&directory)?;
    let (definition, flag) = (directory.join("kills.toml"), directory.join("goes-on"));
    let ran = directory.join("ran");
    let module = |name: &str, class: &str, program: &str| {
        format!(
            "[modules.{name}]\nimage = 'none'\nclass = '{class}'\ncommand = ['/bin/sh', '-c', '{program}']\ntime_limit = '5m'\n\
             inputs.mandatory = ['DP1_LC_MERGED']\noutputs.mandatory = ['{name}_X']\n"
        )
    };
    let class = |name: &str| format!("[classes.{name}]\ncpus = 1\nmemory = '256MB'\n");
    let kills = "echo no way out; kill -KILL $$";
    let later = format!("until test -e {}; do sleep 0.1; done; {kills}", flag.display());
    let text = format!(
        "name = 'KILLS'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[externals]\nstar = ['DP1_LC_MERGED']\n{}{}{}{}",
        class("default"),
        class("heavy"),
        module("ALONE", "default", &format!("echo once >> {}; {kills}", ran.display())),
        module("ELSEWHERE", "heavy", &later)
    );
    fs::write(&definition, text)?;
    let cluster = Cluster::start(&directory, &[&definition])?;
    let _coordinator = cluster.coordinator("coordinator")?;
    let settings = |slots| [("SAS_WORKER_RUNNER", "process"), ("SAS_SLOTS_HEAVY", "1"), ("SAS_SLOTS_DEFAULT", slots)];
    let _workers = [cluster.worker("host-a", &settings("1"))?, cluster.worker("host-b", &settings("0"))?];
    let are_up = |all: &Value| all["workers"].as_array().is_some_and(|all| all.len() == 2);
    wait_for(&cluster, "both hosts are there", &["worker", "list"], are_up).await?;
    cluster.ingest(&campaign.star_files()?)?;
    let star = campaign.kinds.keys().next().context("a star")?;

    let alone = failed_task(&cluster, star, 0).await?;
    assert_eq!((&alone["attempt"], &alone["log_tail"]), (&json!(2), &json!("no way out")), "{alone}");
    let reason = alone["reason"].as_str().context("a reason")?;
    assert!(reason.contains("on host-a, the only host that takes tasks of class default"), "{reason}");
    let (store, id, quarter) = (Store::open(&cluster.store)?, star.parse()?, "Q003".parse()?);
    let is_recorded = || store.failures(id, quarter).is_ok_and(|found| found.iter().any(|known| known.key.is_some()));
    wait_until(PATIENCE, "it is on record", async || is_recorded()).await?;

    let running = ["task", "list", "--state", "running"];
    let found = wait_for(&cluster, "the other runs", &running, |found| found["tasks"][0]["host"].is_string()).await?;
    let first = found["tasks"][0]["host"].as_str().context("a host")?;
    let database = cluster.state_url().rsplit('/').next().context("an address ends with the database")?;
    Redis::shared()?.cli(&["-n", database, "flushdb"])?;
    wait_for(&cluster, "it runs on", &running, |found| found["tasks"][0]["host"] == first).await?;
    cluster.ask(&["worker", "drain", first])?;
    let is_drained = |all: &Value| {
        let all = all["workers"].as_array();
        all.is_some_and(|all| all.iter().any(|worker| worker["host"] == first && worker["drained"] == true))
    };
    wait_for(&cluster, "its host is drained", &["worker", "list"], is_drained).await?;
    fs::write(&flag, "")?;
    let elsewhere = failed_task(&cluster, star, 1).await?;
    let hosts = if first == "host-a" { "on host-a and on host-b" } else { "on host-b and on host-a" };
    assert!(elsewhere["reason"].as_str().is_some_and(|reason| reason.contains(hosts)), "{elsewhere}");
    assert_eq!((&elsewhere["attempt"], &elsewhere["log_tail"]), (&json!(2), &json!("no way out")), "{elsewhere}");
    wait_for(&cluster, "the run ended", &["run", "show"], |run| run["phase"] == "ended").await?;
    assert_eq!(fs::read_to_string(&ran)?.lines().count(), 2, "{:?}", store.failures(id, quarter)?);
    Ok(())
}
