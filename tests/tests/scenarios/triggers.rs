//! Triggers and chains, on a real RabbitMQ and Redis: stars enter when what is asked for is there, wait in the ledger until then,
//! and a pipeline's results start the next one.

pub(crate) mod scene;

use std::time::Duration;

use anyhow::{Context, Result};
use scene::{TriggerScene, star};

/// Starts with the curve and the flag, and where the flag says so with the kit.
const ASKS: &str = "name = 'ASKS'\nversion = '1'\nexternals.star = ['CURVE', 'FLAG', 'KIT']\n\
    [trigger]\non = 'l1/lightcurve & exo/flag & exo/kit'\nonly_if = { 'exo/kit' = 'P.FLAG.flag' }\n\
    [modules.M]\nimage = 'i'\ncommand = ['/usr/bin/python3', 'ADD', 'CURVE', 'X']\ninputs.mandatory = ['CURVE']\n\
    inputs.optional = ['KIT']\noutputs.mandatory = ['X']\n";

/// Waits for what never comes, but not for long; or, with what comes late, until it is quiet.
const WAITS: &str = "name = 'WAITS'\nversion = '1'\nexternals.star = ['CURVE']\n\
    [trigger]\non = 'l1/lightcurve & exo/never'\ndeadline = '8s'\n\
    [modules.M]\nimage = 'i'\ncommand = ['/usr/bin/python3', 'ADD', 'CURVE', 'Y']\ninputs.mandatory = ['CURVE']\n\
    outputs.mandatory = ['Y']\n";

#[tokio::test(flavor = "multi_thread")]
async fn stars_enter_when_what_their_trigger_asks_for_is_there() -> Result<()> {
    let mut scene = TriggerScene::start(&[ASKS])?;
    let curves = scene.deliver("l1/lightcurve", "CURVE", "value", &[(1, 10), (2, 20), (3, 30), (4, 40)])?;
    scene.wait_for(&curves, &["ASKS: 4 waiting_for"]).await?;
    // Star 3 has a transit, so that its kit is asked for.
    let flags = scene.deliver("exo/flag", "FLAG", "flag", &[(1, 0), (2, 0), (3, 1)])?;
    scene.wait_for(&flags, &["ASKS: 2 expanded, 1 waiting_for"]).await?;
    scene.wait_for(&curves, &["ASKS: 2 joined, 2 waiting_for"]).await?;
    let first = scene.ended("ASKS", 1).await?;
    assert_eq!(first[0].1, 2);
    let shown = scene.cluster.ask(&["event", "show", &curves])?;
    let reasons: Vec<&str> =
        shown["waiting"].as_array().unwrap().iter().filter_map(|it| it["reason"].as_str()).collect();
    assert_eq!(
        reasons,
        ["exo/kit (exo/kit only where P.FLAG.flag)", "exo/flag & exo/kit (exo/kit only where P.FLAG.flag)"]
    );

    // What waits is in the store alone: nobody who dies takes it along.
    let mut kits = String::new();
    scene.lose_everything(|scene| {
        kits = scene.deliver("exo/kit", "KIT", "value", &[(3, 1), (4, 1)])?;
        Ok(())
    })?;
    scene.wait_for(&kits, &["ASKS: 1 expanded, 1 waiting_for"]).await?;
    scene.wait_for(&curves, &["ASKS: 3 joined, 1 waiting_for"]).await?;
    scene.ended("ASKS", 2).await?;

    // A correction of what ran is there with all else: it runs again, alone.
    let corrected = scene.deliver("l1/lightcurve", "CURVE", "value", &[(2, 21)])?;
    scene.wait_for(&corrected, &["ASKS: 1 expanded"]).await?;
    let runs = scene.ended("ASKS", 3).await?;
    assert_eq!(runs[2].1, 1);
    // The same event again is the same event, and starts nothing.
    let star = star(4);
    let same = ["event", "publish", "--dataset", "exo/flag", "--quarter", "3", "--source", "t", "--id", "1", &star];
    let said = scene.cluster.ask(&same)?;
    scene.cluster.ask(&same)?;
    let repeated = domain::id::EventId::of("t", said["id"].as_str().unwrap()).to_string();
    scene.wait_for(&repeated, &["ASKS: 1 expanded"]).await?;
    scene.wait_for(&curves, &["ASKS: 4 joined"]).await?;
    assert_eq!(scene.ended("ASKS", 4).await?[3].1, 1);
    Ok(())
}

/// Waits until nothing comes any more.
const QUIET: &str = "name = 'QUIET'\nversion = '1'\nexternals.star = ['RAW']\n\
    [trigger]\non = 'raw/quiet'\ndebounce = '25s'\n\
    [modules.M]\nimage = 'i'\ncommand = ['/usr/bin/python3', 'ADD', 'RAW', 'Z']\ninputs.mandatory = ['RAW']\n\
    outputs.mandatory = ['Z']\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_passes_also_for_a_coordinator_that_was_not_there_when_it_began() -> Result<()> {
    let mut scene = TriggerScene::start(&[WAITS, QUIET])?;
    // What comes one after the other is one run, when no more comes.
    let first = scene.deliver("raw/quiet", "RAW", "value", &[(1, 1)])?;
    let second = scene.deliver("raw/quiet", "RAW", "value", &[(1, 2), (2, 2)])?;
    let curves = scene.deliver("l1/lightcurve", "CURVE", "value", &[(1, 10), (2, 20)])?;
    scene.wait_for(&curves, &["WAITS: 2 waiting_for"]).await?;
    let shown = scene.cluster.ask(&["event", "show", &curves])?;
    let reason = shown["waiting"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("exo/never; enters anyway at "), "{reason}");
    scene.lose_everything(|_| Ok(()))?;
    scene.wait_for(&curves, &["WAITS: 2 expanded"]).await?;
    assert_eq!(scene.ended("WAITS", 1).await?[0].1, 2);
    scene.wait_for(&second, &["QUIET: 2 expanded"]).await?;
    scene.wait_for(&first, &["QUIET: 1 joined"]).await?;
    assert_eq!(scene.ended("QUIET", 1).await?[0].1, 2);
    Ok(())
}

/// Freezes what is delivered, and hands it on when its run ends.
const PRE: &str = "name = 'PRE'\nversion = '1'\ntrigger = 'raw/delivery'\nstar_file = false\nexternals.star = ['RAW']\n\
    publishes = { dataset = 'pre/frozen', products = ['CURVE'] }\n\
    [modules.FREEZE]\nimage = 'i'\ncommand = ['/usr/bin/python3', 'ADD', 'RAW', 'CURVE']\ninputs.mandatory = ['RAW']\n\
    outputs.mandatory = ['CURVE']\nretry.max_attempts = 1\n";

/// Works on what is frozen; says so star by star.
const MAIN: &str = "name = 'MAIN'\nversion = '1'\ntrigger = 'pre/frozen'\nexternals.star = ['CURVE']\n\
    publishes = { dataset = 'main/products', when = 'star', products = ['X'] }\n\
    [modules.WORK]\nimage = 'i'\ncommand = ['/usr/bin/python3', 'ADD', 'CURVE', 'X']\ninputs.mandatory = ['CURVE']\n\
    outputs.mandatory = ['X']\n";

/// Delivers what both made.
const POST: &str = "name = 'POST'\nversion = '1'\ntrigger = 'main/products & pre/frozen'\nstar_file = false\n\
    externals.star = ['X', 'CURVE']\n\
    [modules.PACK]\nimage = 'i'\ncommand = ['/usr/bin/python3', 'ADD', 'X', 'PACKED']\ninputs.mandatory = ['X', 'CURVE']\n\
    outputs.mandatory = ['PACKED']\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_producer_starts_its_consumer_for_exactly_its_stars() -> Result<()> {
    let scene = TriggerScene::start(&[PRE, MAIN, POST])?;
    // Star 4 fails: there is nothing to hand on.
    let raw = scene.deliver("raw/delivery", "RAW", "value", &[(1, 10), (2, 20), (3, 30), (4, -1)])?;
    scene.wait_for(&raw, &["PRE: 4 expanded"]).await?;
    let (produced, _) = scene.ended("PRE", 1).await?.remove(0);
    let consumed = scene.ended("MAIN", 1).await?;
    assert_eq!(consumed[0].1, 3, "exactly its stars");
    let frozen = domain::id::EventId::of(&format!("sas run {produced}"), "end/0").to_string();
    // For MAIN it is all, for POST one of two.
    harness::wait_until(Duration::from_secs(60), "all stars are packed", async || {
        scene.ledger(&frozen).is_ok_and(|lines| lines == ["MAIN: 3 expanded", "POST: 3 joined"])
    })
    .await?;
    let mut packed = 0;
    let all = scene.cluster.ask(&["run", "list", "--all"])?;
    for run in all.as_array().unwrap().iter().filter(|run| run["pipeline"] == "POST") {
        let run = run["run"].as_str().unwrap();
        let done = scene.cluster.sas(&["run", "watch", run, "--timeout", "60s"])?;
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        packed += scene.made(run, "PACK")?;
    }
    assert_eq!(packed, 3);
    // What prepares and delivers leaves the star file as it is.
    let generations = store::Store::open(&scene.cluster.store)?.generations(star(1).parse()?, 3.try_into()?)?;
    assert_eq!(generations.len(), 1, "MAIN alone made one");

    // The same event again, split, and merged with what was: nothing is made that was not made before.
    let before = scene.runs()?;
    let held = || (1..=3).map(|number| scene.held(number)).collect::<Result<Vec<_>>>();
    let was = held()?;
    assert_eq!(was[0].0[0]["X"], serde_json::json!(12.0), "{was:?}");
    let source = format!("sas run {produced}");
    let publish = |id: &str, source: &str, stars: &[u8]| {
        let stars: Vec<String> = stars.iter().map(|number| star(*number)).collect();
        let mut words =
            vec!["event", "publish", "--dataset", "pre/frozen", "--quarter", "3", "--source", source, "--id", id];
        words.extend(stars.iter().map(String::as_str));
        scene.cluster.ask(&words)
    };
    publish("end/0", &source, &[1, 2, 3])?;
    for (id, stars) in [("a", &[1][..]), ("b", &[2, 3]), ("c", &[1, 2, 3])] {
        publish(id, "again", stars)?;
    }
    let runs = scene.ended("MAIN", 4).await?;
    assert_eq!(runs.iter().map(|(_, stars)| *stars).collect::<Vec<_>>(), [3, 1, 2, 3], "the repeat started nothing");
    for (run, _) in &runs[1..] {
        assert_eq!(scene.made(run, "WORK")?, 0, "everything was there");
    }
    assert!(scene.runs()? > before);
    let merged = domain::id::EventId::of("again", "c").to_string();
    harness::wait_until(Duration::from_secs(60), "no change is on record", async || {
        scene.ledger(&merged).is_ok_and(|lines| lines[0] == "MAIN: 3 no_change")
    })
    .await?;
    for ((was, _), (is, generations)) in was.into_iter().zip(held()?) {
        assert_eq!((is, generations), (was, 3), "two runs more, and what it holds is the same");
    }
    Ok(())
}

/// Hangs where its number is 7.
const HANGS: &str = "name = 'HANGS'\nversion = '1'\ntrigger = 'l1/lightcurve'\nexternals.star = ['CURVE']\n\
    [modules.M]\nimage = 'i'\ncommand = ['/usr/bin/python3', 'CHAIN']\ninputs.mandatory = ['CURVE']\n\
    outputs.mandatory = ['X']\n";

#[tokio::test(flavor = "multi_thread")]
async fn newer_data_takes_a_star_over_that_still_runs_and_what_that_ends_with_changes_nothing() -> Result<()> {
    let scene = TriggerScene::start(&[HANGS])?;
    let older = scene.deliver("l1/lightcurve", "CURVE", "value", &[(1, 7), (2, 2)])?;
    let running = async || {
        let tasks = scene.cluster.ask(&["task", "list", "--state", "running", "--star", &star(1)]).unwrap_or_default();
        tasks["tasks"].as_array().map_or(0, Vec::len)
    };
    harness::wait_until(Duration::from_secs(60), "star 1 hangs", async || running().await == 1).await?;
    let newer = scene.deliver("l1/lightcurve", "CURVE", "value", &[(1, 8)])?;
    scene.wait_for(&newer, &["HANGS: 1 expanded"]).await?;
    scene.wait_for(&older, &["HANGS: 1 expanded, 1 superseded_by"]).await?;
    scene.open_gate_at_once()?;
    let runs = scene.ended("HANGS", 2).await?;
    assert_eq!((runs[0].1, runs[1].1), (2, 1));
    let receipt = scene.cluster.ask(&["event", "ledger", &older, "--stars"])?;
    let line = receipt.as_array().context("a list")?.iter().find(|line| line["star"] == star(1).as_str());
    let line = line.context("star 1 is in it")?;
    let named = ["run", "disposition", "by"].map(|name| line[name].as_str().unwrap_or_default());
    assert_eq!(named, [runs[0].0.as_str(), "superseded_by", &runs[1].0]);

    // Whoever hung has ended, one way or the other.
    harness::wait_until(Duration::from_secs(60), "nobody works", async || {
        let workers = scene.cluster.ask(&["worker", "list"]).unwrap_or_default();
        workers["workers"][0]["slots"]["default"]["busy"] == 0
    })
    .await?;
    let (held, generations) = scene.held(1)?;
    assert_eq!((&held[0]["X"], generations), (&serde_json::json!(8.0), 1), "{held}");
    assert_eq!(scene.ledger(&older)?, ["HANGS: 1 expanded, 1 superseded_by"]);
    Ok(())
}

/// Three tasks for three stars are one more than may start by themselves.
const LARGE: &str = "name = 'LARGE'\nversion = '1'\ntrigger = 'l1/lightcurve'\nexternals.star = ['CURVE']\n\
    [modules.M]\nimage = 'i'\ncommand = ['/usr/bin/python3', 'ADD', 'CURVE', 'X']\ninputs.mandatory = ['CURVE']\n\
    outputs.mandatory = ['X']\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_too_large_is_held_until_somebody_approves_it() -> Result<()> {
    let scene = TriggerScene::start_with(&[LARGE], &[("SAS_COORDINATOR_HOLD_ABOVE", "2")])?;
    scene.deliver("l1/lightcurve", "CURVE", "value", &[(1, 1), (2, 2)])?;
    scene.ended("LARGE", 1).await?;
    scene.deliver("l1/lightcurve", "CURVE", "value", &[(1, 3), (2, 4), (3, 5)])?;
    harness::wait_until(Duration::from_secs(60), "the run is held", async || {
        scene.cluster.ask(&["run", "list"]).is_ok_and(|runs| runs[0]["phase"] == "paused" && runs[0]["stars"] == 3)
    })
    .await?;
    let audit = scene.cluster.ask(&["audit"])?;
    let line = audit["lines"].as_array().into_iter().flatten().find(|line| line["door"] == "setting");
    assert!(line.is_some_and(|line| line["reason"].as_str().is_some_and(|why| why.contains("3 tasks"))), "{audit}");
    let dry =
        scene.cluster.ask(&["run", "start", "--dry-run", "--pipeline", "LARGE", "--stars", &star(1), &star(2)])?;
    assert_eq!((dry[0]["stars"].as_u64(), dry[0]["tasks"].as_u64()), (Some(2), Some(2)), "{dry}");
    assert!(dry[0]["cpu_hours"].as_f64().is_some_and(|hours| hours > 0.0), "{dry}");
    scene.cluster.ask(&["run", "resume", "newest"])?;
    scene.ended("LARGE", 2).await?;
    Ok(())
}
