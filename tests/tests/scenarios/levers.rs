//! What operators can pull, on a real RabbitMQ and a real Redis: `sas` decides, coordinators and workers follow.

mod cluster;

use std::time::Duration;

use anyhow::{Context, Result};
use cluster::{LeversCluster, none, stars};
use domain::id::{ImageIdentity, ModuleIndex, RunId};
use domain::run::{Row, TaskState};
use harness::simulation::Script;
use services::state::{Phase, RunView};
use store::paths;
use store::runs::{Decided, StarEnd};

/// How soon a decision is followed.
const SOON: Duration = Duration::from_secs(5);

/// How long a run may take.
const LONG: Duration = Duration::from_secs(120);

fn succeeded(view: &RunView, module: ModuleIndex) -> u64 {
    view.counts.get(&module).and_then(|states| states.get(&TaskState::Succeeded)).copied().unwrap_or(0)
}

/// Stars that are in and wait for a held module alone.
fn stands_still(view: &RunView) -> bool {
    view.info.cursor == view.info.stars
        && view.running == 0
        && view.on_hold > 0
        && view.ready.values().all(|ready| *ready == 0)
        && view.counts.values().all(|states| states.get(&TaskState::Waiting).is_none_or(|waiting| *waiting == 0))
        && view.counts.values().flat_map(|states| states.get(&TaskState::Queued)).sum::<u64>() == view.on_hold
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_paused_goes_on_gets_another_weight_and_is_cancelled() -> Result<()> {
    let cluster = LeversCluster::start(11, vec![Script::random(11, "ONE", 6)]).await?;
    let working = cluster.world.coordinator();
    let run = cluster.publish("1", &stars(0..2000)).await?;
    let name = run.to_string();
    cluster.view(run, LONG, "stars are in flight", |view| view.in_flight > 0).await?;

    let answer = cluster.sas(&["run", "pause", &name]).ok();
    assert_eq!((&answer["number"], &answer["decision"]), (&1.into(), &"pause".into()));
    assert!(answer["by"].as_str().is_some_and(|by| by.contains('@')) && answer["at"].is_string(), "{answer}");
    cluster.view(run, SOON, "it is paused", |view| view.info.phase == Phase::Paused).await?;
    let again = cluster.sas(&["run", "pause", &name]).ok();
    assert!(again["number"].is_null() && again["effect"].as_str().is_some_and(|it| it.contains("already")), "{again}");

    cluster.sas(&["run", "priority", &name, "7"]).ok();
    cluster.view(run, SOON, "it has its weight", |view| view.info.weight == 7).await?;
    cluster.sas(&["run", "priority", &name, "0"]).fails(2, "0 is not in 1..");
    cluster.sas(&["run", "resume", &name]).ok();
    cluster.view(run, SOON, "it goes on", |view| view.info.phase == Phase::Active).await?;
    let answer = cluster.sas(&["run", "cancel", &name]).ok();
    assert!(answer["effect"].as_str().is_some_and(|effect| effect.contains("cancelled")), "{answer}");
    cluster.world.wait_for_end(&[run]).await?;
    let end = cluster.world.store.run_end(run)?.context("it ended")?;
    assert!(end.stars[&StarEnd::Cancelled] > 0, "{:?}", end.stars);

    for lever in [&["pause"][..], &["resume"], &["cancel"], &["priority"]] {
        let mut arguments = vec!["run", lever[0], &name];
        arguments.extend((lever[0] == "priority").then_some("2"));
        cluster.sas(&arguments).fails(1, "ended at");
    }
    let nobody = RunId::of(domain::id::EventId::of("nobody", "1"), "ONE", "1").to_string();
    cluster.sas(&["run", "pause", &nobody]).fails(3, "not in the store");
    none(cluster.world.violations());
    working.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_a_run_that_ended_are_tried_again_at_once() -> Result<()> {
    let cluster = LeversCluster::start(7, vec![Script::random(7, "ONE", 6)]).await?;
    let working = cluster.world.coordinator();
    let run = cluster.publish("1", &stars(0..40)).await?;
    cluster.world.wait_for_end(&[run]).await?;
    cluster.world.check_end(run, false)?;
    let name = run.to_string();
    let end = cluster.world.store.run_end(run)?.context("it ended")?;
    let failed: u64 = end.counts.values().filter_map(|states| states.get(&TaskState::Failed)).sum();
    assert!(failed > 0);

    cluster.sas(&["run", "retry", &name, "--module", "NONE"]).fails(3, "no module NONE");
    let stranger = stars(900..901)[0].to_string();
    cluster.sas(&["run", "retry", &name, "--star", &stranger]).fails(3, "not a star of run");
    cluster.sas(&["run", "retry", &name, "--state", "queued"]).fails(2, "expected failed");
    cluster.sas(&["run", "retry", &name, "--state", "cancelled"]).fails(1, "no cancelled tasks");
    // Many tasks are meant: where nobody can be asked somebody must have agreed.
    let would = format!("this would retry {failed} failed tasks");
    cluster.sas(&["run", "retry", &name, "--state", "failed"]).fails(2, &would);
    let counted = cluster.sas(&["run", "retry", &name, "--state", "failed", "--dry-run"]).ok();
    assert_eq!(counted["count"], failed, "{counted}");
    let answer = cluster.sas(&["run", "retry", &name, "--state", "failed", "--yes"]).ok();
    assert!(answer["effect"].as_str().is_some_and(|effect| effect.contains(&format!("{failed} failed"))), "{answer}");
    let shown = cluster.sas(&["run", "show", &name]).ok();
    assert!(
        shown["phase"] != "ended" || cluster.world.store.run_end(run)?.is_some_and(|end| end.decisions == 1),
        "{shown}"
    );
    harness::wait_until(SOON, "the decision is followed", async || {
        cluster.world.store.followed(run).is_ok_and(|followed| followed.contains(&1))
            || cluster.world.state().run(run).await.is_ok_and(|view| view.is_some())
    })
    .await?;
    harness::wait_until(LONG, "it ended again", async || {
        cluster.world.store.run_end(run).is_ok_and(|end| end.is_some_and(|end| end.decisions == 1))
    })
    .await?;
    cluster.world.wait_for_end(&[run]).await?;
    cluster.world.check_end(run, false)?;
    none(cluster.world.violations());
    working.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_module_stands_still_in_all_runs_and_nothing_else_waits() -> Result<()> {
    let script = Script::random(21, "ONE", 7);
    let (held, module) = cluster::below_a_root(&script);
    let cluster = LeversCluster::start(21, vec![script]).await?;
    let working = cluster.world.coordinator();
    let first = cluster.publish("1", &stars(0..19)).await?;
    let answer = cluster.sas(&["module", "hold", "ONE", module.as_str()]).ok();
    assert_eq!((&answer["number"], &answer["decision"]), (&1.into(), &"hold".into()));
    let second = cluster.publish("2", &stars(19..38)).await?;
    for run in [first, second] {
        cluster.view(run, LONG, "only the held module is left", stands_still).await?;
    }
    let before = succeeded(&cluster.view(first, SOON, "it is there", |_| true).await?, held);
    let listed = cluster.sas(&["module", "list"]).ok();
    assert_eq!((&listed[0]["module"], listed.as_array().map(Vec::len)), (&module.as_str().into(), Some(1)));
    let shown = cluster.sas(&["run", "show", &second.to_string()]).ok();
    assert_eq!(shown["held"][0], module.as_str());
    assert!(shown["on_hold"].as_u64().is_some_and(|count| count > 0), "{shown}");

    // Redis forgets everything, and the coordinator is killed: a rebuilt state still knows.
    working.abort();
    cluster.flush()?;
    let working = cluster.world.coordinator();
    for run in [first, second] {
        cluster.view(run, LONG, "it stands still again", stands_still).await?;
    }
    let after = cluster.view(first, SOON, "it is there", |_| true).await?;
    assert!(succeeded(&after, held) <= before, "nothing of it ran");

    cluster.sas(&["module", "hold", "ONE", "NONE"]).fails(3, "no module NONE");
    cluster.sas(&["module", "hold", "TWO", module.as_str()]).fails(3, "no pipeline TWO");
    cluster.sas(&["module", "release", "ONE", module.as_str()]).ok();
    cluster.world.wait_for_end(&[first, second]).await?;
    for run in [first, second] {
        // The same as without a hold: no try was lost by it.
        cluster.world.check_end(run, false)?;
    }
    let again = cluster.sas(&["module", "release", "ONE", module.as_str()]).ok();
    assert!(again["number"].is_null(), "{again}");
    assert_eq!(cluster.sas(&["module", "list"]).ok().as_array().map(Vec::len), Some(0));
    none(cluster.world.violations());
    working.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_is_prepared_once_and_looked_at_again() -> Result<()> {
    let cluster = LeversCluster::start(31, vec![Script::random(31, "ONE", 3)]).await?;
    let folder = tempfile::tempdir()?;
    let pipeline = "name = 'INIT'\nversion = '2'\ntrigger = 'l1/lightcurve'\n[classes.tiny]\ncpus = 1\nmemory = '1GB'\n\
                    [modules.M]\nimage = 'localhost:9/none:1'\nclass = 'tiny'\ntime_limit = '1m'\noutputs.mandatory = ['X']\n";
    std::fs::write(folder.path().join("init.toml"), pipeline)?;
    let config = folder.path().join("sas.toml");
    let pattern = folder.path().join("init*.toml");
    std::fs::write(&config, format!("[coordinator]\npipelines = ['{}']\n", pattern.display()))?;
    let (config, root) = (config.display().to_string(), folder.path().join("store").display().to_string());
    let init = ["--config", &config, "init", "--store", &root];
    let of = |report: &serde_json::Value, what: &str| {
        let lines = report.as_array().expect("a line for each thing");
        let line = lines.iter().find(|line| line["what"] == what).unwrap_or_else(|| panic!("no {what} in {report}"));
        line["verdict"].as_str().expect("a word").to_owned()
    };

    let report = cluster.sas(&[&init[..], &["--no-docker"]].concat()).ok();
    for (what, verdict) in
        [("store", "made"), ("RabbitMQ", "ok"), ("Redis", "ok"), ("epoch", "made"), ("pipeline", "ok")]
    {
        assert_eq!(of(&report, what), verdict, "{what}: {report}");
    }
    let lines = report.as_array().context("a list")?;
    let tiny = lines.iter().find(|line| line["detail"] == "sas.tasks.tiny").context("a queue for the class")?;
    assert_eq!(tiny["verdict"], "made");
    let again = cluster.sas(&[&init[..], &["--no-docker"]].concat()).ok();
    assert!(again.as_array().is_some_and(|lines| lines.iter().all(|line| line["verdict"] == "ok")), "{again}");

    let dead = [("SAS_QUEUE_MANAGEMENT", "http://guest:S3cret@127.0.0.1:1")];
    let report = cluster.sas_told(&dead, &[&init[..], &["--no-docker"]].concat());
    report.fails(1, "1 problems");
    assert_eq!(of(&report.answer(), "management API"), "problem");
    let said = report.answer().to_string();
    assert!(said.contains("127.0.0.1:1 (`[queue] management`) does not answer") && !said.contains("S3cret"), "{said}");

    let images = cluster.sas_with("docker", &init);
    images.fails(1, "problems");
    assert_eq!(of(&images.answer(), "image localhost:9/none:1"), "problem");

    cluster.evicts()?;
    let report = cluster.sas(&[&init[..], &["--no-docker"]].concat());
    report.fails(1, "1 problems");
    assert!(report.answer().to_string().contains("noeviction"));
    cluster.stop_redis()?;
    let report = cluster.sas(&[&init[..], &["--no-docker"]].concat());
    report.fails(6, "1 services out of reach");
    assert_eq!(of(&report.answer(), "Redis"), "unreachable");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_amended_on_record_before_any_task_starts_with_it() -> Result<()> {
    let script = Script::random(41, "ONE", 5);
    let (_, module) = cluster::below_a_root(&script);
    let cluster = LeversCluster::start(41, vec![script]).await?;
    let working = cluster.world.coordinator();
    let run = cluster.publish("1", &stars(0..400)).await?;
    let (name, module) = (run.to_string(), module.as_str());
    cluster.view(run, LONG, "stars are in flight", |view| view.in_flight > 0).await?;
    // Unless a worker was first.
    let before = cluster.world.store.fix_image_identity(run, "i", &"noop:before".parse()?)?;

    let amend = |arguments: &[&str]| cluster.sas(&[&["run", "amend", &name][..], arguments].concat());
    amend(&["--module", module]).fails(2, "--image");
    amend(&["--module", module, "--image", "a", "--image", "b"]).fails(2, "1 modules and 2 images");
    amend(&["--module", "NONE", "--image", "a"]).fails(3, "no module NONE");
    let answer = amend(&["--module", module, "--image", "fixed:2"]).ok();
    assert_eq!((&answer["number"], &answer["decision"]), (&1.into(), &"amend".into()));
    let view = cluster.view(run, Duration::ZERO, "every claim tells of it", |view| view.info.amended == 1).await?;
    assert_eq!(view.info.phase, Phase::Active);
    amend(&["--module", module, "--image", "fixed:3"]).ok();

    let decisions = cluster.world.store.decisions(run)?;
    let Decided::Amend { images } = &decisions[1].1.what else { anyhow::bail!("{decisions:?}") };
    let amendment = images.values().next().context("one module")?;
    let was_identity = amendment.was_identity.as_ref().map_or("", ImageIdentity::as_str);
    let words = [amendment.image.as_str(), amendment.identity.as_str(), amendment.was.as_str(), was_identity];
    assert_eq!(words, ["fixed:3", "noop:fixed:3", "fixed:2", "noop:fixed:2"]);
    let Decided::Amend { images } = &decisions[0].1.what else { anyhow::bail!("{decisions:?}") };
    assert_eq!(images.values().next().and_then(|first| first.was_identity.as_ref()), Some(&before));

    // A rebuilt state knows it before it hands out anything.
    cluster.flush()?;
    cluster.view(run, LONG, "the run is in the state again", |view| view.info.amended == 2).await?;
    cluster.sas(&["run", "cancel", &name]).ok();
    cluster.world.wait_for_end(&[run]).await?;
    none(cluster.world.violations());
    working.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_over_stars_of_the_store_is_limited_to_a_group_and_what_it_needs() -> Result<()> {
    let script = Script::random(51, "ONE", 9);
    let limited = script.pipeline.clone().limited_to(&"G1".parse()?);
    let cluster = LeversCluster::start(51, vec![script]).await?;
    let store = &cluster.world.store;
    let working = cluster.world.coordinator();
    let all = stars(0..12);
    for star in &all {
        std::fs::create_dir_all(store.at(paths::externals(*star, 3.try_into()?)))?;
    }
    let whole = cluster.publish("1", &all).await?;
    let list = store.at("control/stars.txt");
    std::fs::write(&list, all.iter().map(|star| format!("{star}\n")).collect::<String>())?;
    let list = list.display().to_string();
    let start = |arguments: &[&str]| cluster.sas(&[&["run", "start", "--pipeline", "ONE"][..], arguments].concat());
    start(&["--stars", &list]).fails(1, "goes on and has");
    cluster.world.wait_for_end(&[whole]).await?;

    start(&["--stars", &list, "--only-group", "G9"]).fails(3, "it has G0, G1, G2");
    start(&["--stars", &list, "--quarter", "7"]).fails(3, "no data of Q007 of 12 stars");
    start(&["--stars", "nobody"]).fails(3, "is not a star's id");
    cluster.sas(&["run", "start", "--pipeline", "NONE", "--stars", &list]).fails(3, "no pipeline NONE");
    let started = start(&["--stars", &list, &all[0].to_string(), "--only-group", "G1"]).ok();
    assert_eq!((&started[0]["quarter"], &started[0]["stars"]), (&3.into(), &12.into()));
    let run: RunId = started[0]["run"].as_str().context("it was accepted")?.parse()?;
    // Whoever rebuilds it knows that it is limited.
    cluster.flush()?;
    cluster.world.wait_for_end(&[run]).await?;

    assert_eq!(store.run(run)?.context("it is on record")?.only_group.map(String::from).as_deref(), Some("G1"));
    let (first, second) = (store.settled(whole)?, store.settled(run)?);
    let mut outside = 0;
    for (star, line) in &second {
        assert_eq!(line.generation, None, "the star file stays as the whole run left it");
        let before = Row::from_bytes(first[star].row.clone())?;
        for ((index, module), cell) in limited.indexed().zip(Row::from_bytes(line.row.clone())?.cells()) {
            if module.outside_of.is_some() {
                outside += 1;
                assert_eq!(cell.state, TaskState::Skipped, "{}", module.name);
            } else {
                assert_eq!(cell.state, before.cell(index).state, "{}", module.name);
                assert_eq!(line.keys.get(&index), first[star].keys.get(&index), "{}", module.name);
            }
        }
    }
    assert!(outside > 0 && second.len() == 12);
    let shown = cluster.sas(&["star", "show", &all[0].to_string(), "--run", &run.to_string()]).ok();
    let tasks = shown["tasks"].as_array().context("its tasks")?;
    assert!(tasks.iter().any(|task| task["reason"] == "skipped (not of group G1)"), "{shown}");
    none(cluster.world.violations());
    working.abort();
    Ok(())
}
