//! The protocol under everything that goes wrong, on the in-process adapters and a clock of its own.
//!
//! After each: every star ends as it must (the same as without faults), R1, R3, P1, E1, S2 hold, and the run is over.

mod decided;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domain::id::{RunId, StarId, StarIndex};
use domain::message::StarSelection;
use domain::run::Tries;
use harness::simulation::{Episode, Mutant, Script, World};
use services::queue::QueueName;
use store::runs::{Decided, Decision, StarEnd};

fn stars(count: u64) -> Vec<StarId> {
    (0..count).map(StarId::of_simulator).collect()
}

fn none(violations: Vec<String>) {
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

fn decide(world: &World, run: RunId, what: Decided) -> Result<()> {
    let decision = Decision { at: jiff::Timestamp::UNIX_EPOCH, by: "test".to_owned(), what };
    world.store.decide(run, &decision)?;
    Ok(())
}

/// Waits until so many stars of a run are settled.
async fn settled(world: &World, run: RunId, count: usize) -> Result<()> {
    harness::wait_until(Duration::from_secs(3600), "stars are settled", async || {
        world.store.settled(run).is_ok_and(|settled| settled.len() >= count)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn without_faults_every_star_ends_as_it_must() -> Result<()> {
    let world = World::start(1, vec![Script::random(1, "ONE", 8)]).await?;
    let working = world.coordinator();
    let event = world.publish("1", &stars(60)).await?;
    let runs = world.runs_of(&event).await?;
    assert_eq!(runs.len(), 1);
    world.wait_for_end(&runs).await?;
    world.check_end(runs[0], false)?;
    assert_eq!(world.depth(QueueName::Events).await?, 0, "R4: the event is acknowledged");
    none(world.violations());
    working.abort();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn faults_of_every_kind_change_no_result() -> Result<()> {
    let mut rules = BTreeSet::new();
    for seed in 0..12 {
        let scripts = vec![Script::random(seed, "ONE", 7), Script::random(seed + 100, "TWO", 4)];
        let modules = scripts.iter().flat_map(|script| &script.pipeline.modules);
        let joins = modules.filter(|module| module.upstream.len() > 1);
        rules.extend(joins.filter_map(|module| module.trigger_rule).map(|rule| rule.to_string()));
        let world = World::start(seed, scripts).await?;
        world.faults.set_level(1.0);
        let event = world.publish("1", &stars(40)).await?;
        world.send(b"{}".to_vec()).await?;
        world.publish("1", &stars(40)).await?;
        world.crash_coordinators(2, Duration::from_secs(60)).await;
        let runs = world.runs_of(&event).await?;
        assert_eq!(runs.len(), 2, "a repeated event makes nothing twice");
        world.wait_for_end(&runs).await?;
        for run in &runs {
            world.check_end(*run, false)?;
        }
        assert_eq!(world.store.runs()?.len(), 2);
        assert_eq!(world.depth(QueueName::Dead).await?, 1, "the malformed event is with the dead letters");
        none(world.violations());
    }
    assert!(rules.len() >= 8, "few trigger rules were drawn: {rules:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_newer_run_takes_over_what_the_older_has_not_settled() -> Result<()> {
    for seed in 0..3 {
        let world = World::start(seed, vec![Script::random(seed, "ONE", 6)]).await?;
        world.faults.set_level(1.0);
        let first = world.coordinator();
        let older = world.publish("older", &stars(40)).await?;
        let older = world.runs_of(&older).await?[0];
        let newer = world.publish("newer", &stars(25)).await?;
        world.crash_coordinators(2, Duration::from_secs(20)).await;
        let newer = world.runs_of(&newer).await?[0];
        world.wait_for_end(&[older, newer]).await?;
        world.check_end(older, true)?;
        world.check_end(newer, false)?;
        let ends = world.store.run_end(older)?.context("it ended")?.stars;
        assert!(ends.get(&StarEnd::Superseded).is_some_and(|count| (1..=25).contains(count)), "{ends:?}");
        none(world.violations());
        first.abort();
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_flushed_state_is_rebuilt_from_the_store() -> Result<()> {
    for seed in 0..3 {
        let world = World::start(seed, vec![Script::random(seed, "ONE", 6)]).await?;
        world.faults.set_level(0.5);
        let event = world.publish("1", &stars(60)).await?;
        let first = world.coordinator();
        let runs = world.runs_of(&event).await?;
        settled(&world, runs[0], 10).await?;
        let before: Vec<StarIndex> = world.store.settled(runs[0])?.into_keys().collect();
        world.flush_state();
        harness::wait_until(Duration::from_secs(600), "the run is in the state again", async || {
            world.state().run(runs[0]).await.is_ok_and(|view| view.is_some_and(|view| view.in_flight > 0))
        })
        .await?;
        world.crash_coordinators(2, Duration::from_secs(20)).await;
        world.wait_for_end(&runs).await?;
        world.check_end(runs[0], false)?;
        let mut lines = BTreeMap::new();
        world.store.each_settled(runs[0], |line| *lines.entry(line.star).or_insert(0) += 1)?;
        let again = before.iter().filter(|star| lines[star] > 1).count();
        // A coordinator that dies while it restores leaves some to be done again, which changes nothing.
        assert!(again * 2 < before.len(), "{again} of {} settled stars were done again", before.len());
        none(world.violations());
        first.abort();
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_flushed_while_a_coordinator_starts_begins_an_epoch() -> Result<()> {
    let world = World::start(9, vec![Script::random(9, "ONE", 6)]).await?;
    let first = world.coordinator();
    let event = world.publish("1", &stars(60)).await?;
    let runs = world.runs_of(&event).await?;
    settled(&world, runs[0], 10).await?;
    first.abort();
    let before = world.store.newest_epoch()?;
    world.flush_state_while_the_next_starts();
    let second = world.coordinator();
    harness::wait_until(Duration::from_secs(600), "it has an epoch again", async || {
        world.state().epoch().await.is_ok_and(|epoch| epoch > before)
    })
    .await?;
    world.wait_for_end(&runs).await?;
    world.check_end(runs[0], false)?;
    assert_eq!((world.store.newest_epoch()?, world.state().epoch().await?), (before.next(), before.next()));
    none(world.violations());
    second.abort();
    Ok(())
}

#[test]
fn what_runs_is_neither_stopped_nor_begun_again_where_the_state_is_lost() -> Result<()> {
    let seeds = || (0..6).map(|number| number * 16 + 5);
    for seed in seeds() {
        let played = Episode { seed, only: None, mutant: None }.play()?;
        ensure!(played.wrong.is_none(), "seed {seed}: {played:?}");
    }
    for mutant in [Mutant::NoAdoption, Mutant::NoReserve] {
        let is_caught = |seed| anyhow::Ok(Episode { seed, only: None, mutant: Some(mutant) }.play()?.wrong.is_some());
        let caught = seeds().map(is_caught).collect::<Result<Vec<_>>>()?;
        ensure!(caught.contains(&true), "nobody notices {mutant}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_state_costs_no_attempt_however_long_it_is() -> Result<()> {
    for seed in 0..4 {
        let world = World::start(seed, vec![Script::random(seed, "ONE", 6)]).await?;
        let working = world.coordinator();
        let event = world.publish("1", &stars(120)).await?;
        let run = world.runs_of(&event).await?[0];
        settled(&world, run, 10).await?;
        world.faults.set_state(false);
        _ = tokio::time::timeout(Duration::from_secs(300), std::future::pending::<()>()).await;
        world.faults.set_state(true);
        let (script, names) = (world.script("ONE")?, world.store.stars(run)?);
        let all: Vec<StarIndex> = (0..120).map(StarIndex).collect();
        let mut lost = BTreeSet::new();
        harness::wait_until(Duration::from_secs(3600), "the run ended", async || {
            for (index, star) in all.iter().zip(world.state().load(run, &all).await.unwrap_or_default()) {
                let name = names.star(*index).expect("it is of the run");
                let more = |(module, tries): &(_, Tries)| tries.platform > script.trouble(name, *module);
                lost.extend(star.tries.into_iter().filter(more).map(|(module, _)| (name, module)));
            }
            world.store.run_end(run).is_ok_and(|end| end.is_some())
        })
        .await?;
        world.wait_for_end(&[run]).await?;
        world.check_end(run, false)?;
        assert!(lost.is_empty(), "tries that the platform lost: {lost:?}");
        none(world.violations());
        working.abort();
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_while_the_broker_is_silent_stops_nobody() -> Result<()> {
    let world = World::start(6, vec![Script::random(6, "ONE", 6)]).await?;
    let working = world.coordinator();
    let event = world.publish("1", &stars(100)).await?;
    let run = world.runs_of(&event).await?[0];
    settled(&world, run, 5).await?;
    world.faults.set_broker(false);
    decide(&world, run, Decided::Cancel)?;
    world.wait_for_end(&[run]).await?;
    world.faults.set_broker(true);
    let others: Vec<StarId> = (1000..1040).map(StarId::of_simulator).collect();
    let next = world.publish("next", &others).await?;
    let next = world.runs_of(&next).await?[0];
    world.wait_for_end(&[next]).await?;
    world.check_end(next, false)?;
    none(world.violations());
    working.abort();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn stars_may_come_by_reference_and_a_bad_list_is_refused_with_its_line() -> Result<()> {
    let world = World::start(8, vec![Script::random(8, "ONE", 3)]).await?;
    let working = world.coordinator();
    std::fs::write(world.store.at("control/bad.txt"), format!("{}\nKIC 7\n", StarId::of_simulator(1)))?;
    world.deliver(&stars(30))?;
    let list: String = stars(30).iter().map(|star| format!("{star}\n")).collect();
    std::fs::write(world.store.at("control/good.txt"), list)?;
    let bad = world.publish_selection("bad", StarSelection::File("control/bad.txt".to_owned())).await?;
    std::os::unix::fs::symlink("loop.txt", world.store.at("control/loop.txt"))?;
    ensure!(Command::new("mkfifo").arg(world.store.at("control/pipe.txt")).status()?.success(), "no FIFO");
    for name in ["none", "loop", "pipe"] {
        world.publish_selection(name, StarSelection::File(format!("control/{name}.txt"))).await?;
    }
    let good = world.publish_selection("good", StarSelection::File("control/good.txt".to_owned())).await?;
    let runs = world.runs_of(&good).await?;
    world.wait_for_end(&runs).await?;
    world.check_end(runs[0], false)?;
    let mut dead = world.broker.consume(QueueName::Dead, 10).await?;
    let mut reasons = Vec::new();
    for _ in 0..4 {
        let delivery = dead.next().await;
        reasons.push(delivery.death.context("it has a reason")?.reason);
        delivery.receipt.ack().await?;
    }
    assert!(reasons[0].contains("line 2") && reasons[0].contains("KIC 7"), "{reasons:?}");
    assert!(reasons[1].contains("none.txt"), "{reasons:?}");
    assert!(reasons[2].contains("symbolic links"), "{reasons:?}");
    assert!(reasons[3].contains("expected a regular file"), "{reasons:?}");
    assert_eq!(world.store.event(bad.event_id())?, None, "it can be sent again once the list is mended");
    let refused = world.store.refused_event(bad.event_id())?.context("who sent it can read why")?;
    assert_eq!(refused.reason, reasons[0]);
    working.abort();
    Ok(())
}
