//! What operators decide, under the same protocol: runs that are paused, cancelled, amended and tried again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use coordinator::operate::view::{self, OneStar, RunPhase};
use coordinator::operate::{self, Connected, ErrorKind};
use domain::id::{Generation, RunId, StarId, StarIndex};
use domain::run::TaskState;
use harness::simulation::{Script, World};
use services::queue::memory::MemoryQueue;
use services::state::Phase;
use store::runs::{Decided, Selection, StarEnd};

use super::{decide, none, settled, stars};

/// Waits until the state shows a run in this phase.
async fn phase(world: &World, run: RunId, phase: Phase) -> Result<()> {
    harness::wait_until(Duration::from_secs(60), "the decision is followed", async || {
        world.state().run(run).await.is_ok_and(|view| view.is_some_and(|view| view.info.phase == phase))
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_paused_run_stands_still_and_goes_on_where_it_was() -> Result<()> {
    let world = World::start(5, vec![Script::random(5, "ONE", 6)]).await?;
    world.faults.set_level(1.0);
    let working = world.coordinator();
    let event = world.publish("1", &stars(80)).await?;
    let run = world.runs_of(&event).await?[0];
    settled(&world, run, 5).await?;
    decide(&world, run, Decided::Pause)?;
    phase(&world, run, Phase::Paused).await?;
    // Attempts that run end; then nothing moves, however long one looks.
    // A worker renews what it reported for ten minutes: the broker may have lost the completion.
    harness::wait_until(Duration::from_secs(900), "nothing runs", async || {
        world.state().run(run).await.is_ok_and(|view| view.is_some_and(|view| view.running == 0))
    })
    .await?;
    let before = world.state().run(run).await?.context("it is in the state")?;
    assert!(before.info.cursor < 80, "there is something left to pause");
    let nothing = std::future::pending::<()>();
    _ = tokio::time::timeout(Duration::from_secs(300), nothing).await;
    let after = world.state().run(run).await?.context("it is in the state")?;
    assert_eq!(before.info.cursor, after.info.cursor);
    assert_eq!(after.running, 0);
    decide(&world, run, Decided::Resume)?;
    world.wait_for_end(&[run]).await?;
    world.check_end(run, false)?;
    none(world.violations());
    working.abort();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_ends_with_every_star_on_record() -> Result<()> {
    let world = World::start(6, vec![Script::random(6, "ONE", 6)]).await?;
    world.faults.set_level(1.0);
    let working = world.coordinator();
    let event = world.publish("1", &stars(300)).await?;
    let run = world.runs_of(&event).await?[0];
    settled(&world, run, 5).await?;
    decide(&world, run, Decided::Cancel)?;
    world.wait_for_end(&[run]).await?;
    let end = world.store.run_end(run)?.context("it ended")?;
    assert_eq!(end.stars.values().sum::<u64>(), 300, "E1");
    assert!(end.stars[&StarEnd::Cancelled] > 200, "{:?}", end.stars);
    assert!(end.stars.len() > 1, "what was settled before stays so");
    none(world.violations());
    working.abort();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn tasks_that_failed_are_tried_again_after_the_run_ended() -> Result<()> {
    let world = World::start(7, vec![Script::random(7, "ONE", 6)]).await?;
    let working = world.coordinator();
    let event = world.publish("1", &stars(60)).await?;
    let run = world.runs_of(&event).await?[0];
    world.wait_for_end(&[run]).await?;
    world.check_end(run, false)?;
    let failed = world.store.run_end(run)?.context("it ended")?.stars[&StarEnd::Failed];
    assert!(failed > 0);
    decide(
        &world,
        run,
        Decided::Retry { selection: Selection { states: [TaskState::Failed].into(), ..Selection::default() } },
    )?;
    harness::wait_until(Duration::from_secs(600), "it ended again", async || {
        world.store.run_end(run).is_ok_and(|end| end.is_some_and(|end| end.decisions == 1))
    })
    .await?;
    world.wait_for_end(&[run]).await?;
    world.check_end(run, false)?;
    let mut lines = 0;
    world.store.each_settled(run, |_| lines += 1)?;
    assert_eq!(lines, 60 + failed, "the failed stars, and no others, were done again");
    none(world.violations());
    working.abort();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn other_results_of_an_amended_image_are_another_generation() -> Result<()> {
    let world = World::start(7, vec![Script::random(7, "ONE", 6)]).await?;
    let working = world.coordinator();
    let event = world.publish("1", &stars(30)).await?;
    let run = world.runs_of(&event).await?[0];
    world.wait_for_end(&[run]).await?;
    let before = world.store.settled(run)?;
    decide(&world, run, world.script("ONE")?.amend())?;
    let selection = Selection { states: [TaskState::Succeeded].into(), ..Selection::default() };
    decide(&world, run, Decided::Retry { selection })?;
    harness::wait_until(Duration::from_secs(600), "it ended again", async || {
        world.store.run_end(run).is_ok_and(|end| end.is_some_and(|end| end.decisions == 2))
    })
    .await?;
    world.wait_for_end(&[run]).await?;
    world.check_end(run, false)?;
    for (star, after) in world.store.settled(run)?.into_iter().filter(|(_, line)| !line.keys.is_empty()) {
        assert_eq!(after.row, before[&star].row, "the rows are alike");
        assert_eq!(after.generation, Some(Generation(2)), "the star file is not of the old results");
    }
    none(world.violations());
    working.abort();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_many_stars_is_bounded_by_what_may_be_in_flight() -> Result<()> {
    let world = World::start(7, vec![Script::random(7, "ONE", 6)]).await?;
    let working = world.coordinator();
    let event = world.publish("1", &stars(300)).await?;
    let run = world.runs_of(&event).await?[0];
    settled(&world, run, 200).await?;
    let selection = Selection { states: [TaskState::Succeeded].into(), ..Selection::default() };
    decide(&world, run, Decided::Retry { selection })?;
    let mut most = 0;
    harness::wait_until(Duration::from_secs(3600), "the run ended", async || {
        if let Ok(Some(view)) = world.state().run(run).await {
            most = most.max(view.in_flight);
        }
        world.store.run_end(run).is_ok_and(|end| end.is_some())
    })
    .await?;
    world.wait_for_end(&[run]).await?;
    world.check_end(run, false)?;
    assert!((10..=20).contains(&most), "{most} stars were in flight");
    let mut lines = 0;
    world.store.each_settled(run, |line| lines += u32::from(line.end.is_some()))?;
    assert!(lines > 450, "settled stars were done again: {lines}");
    none(world.violations());
    working.abort();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_paused_run_keeps_no_other_out() -> Result<()> {
    let world = World::start(5, vec![Script::random(5, "ONE", 6)]).await?;
    let working = world.coordinator();
    let event = world.publish("1", &stars(300)).await?;
    let run = world.runs_of(&event).await?[0];
    harness::wait_until(Duration::from_secs(600), "it has as many stars in flight as there may be", async || {
        world.state().run(run).await.is_ok_and(|view| view.is_some_and(|view| view.in_flight >= 20))
    })
    .await?;
    decide(&world, run, Decided::Pause)?;
    phase(&world, run, Phase::Paused).await?;
    let others: Vec<StarId> = (1000..1040).map(StarId::of_simulator).collect();
    let urgent = world.publish("urgent", &others).await?;
    let urgent = world.runs_of(&urgent).await?[0];
    harness::wait_until(Duration::from_secs(3600), "the other one ends", async || {
        world.store.run_end(urgent).is_ok_and(|end| end.is_some())
    })
    .await?;
    world.check_end(urgent, false)?;
    decide(&world, run, Decided::Resume)?;
    world.wait_for_end(&[run]).await?;
    world.check_end(run, false)?;
    none(world.violations());
    working.abort();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn operators_see_where_a_run_and_a_star_are() -> Result<()> {
    let world = World::start(9, vec![Script::random(9, "ONE", 6)]).await?;
    let working = world.coordinator();
    let all = stars(80);
    let event = world.publish("1", &all).await?;
    let run = world.runs_of(&event).await?[0];
    settled(&world, run, 1).await?;
    decide(&world, run, Decided::Pause)?;
    phase(&world, run, Phase::Paused).await?;
    let (store, state) = (&world.store, &world.state());
    let connected = Connected { queue: Arc::new(MemoryQueue::new()), state: state.clone(), pipelines: [].into() };
    let operator = operate::Context::new(store.clone(), Arc::new(connected), "tester");
    let paused = view::run(&operator, run).await?;
    assert_eq!((paused.phase, paused.stars), (RunPhase::Paused, 80));
    assert!(paused.to_come > 0 && paused.in_flight > 0, "{paused:?}");
    assert_eq!(paused.tasks.values().sum::<u64>(), 80 * 6);
    let index = state.in_flight(run, 1).await?[0];
    let name = store.stars(run)?.star(index)?;
    let star = view::star(&operator, OneStar { star: name, run: None }).await?;
    assert!(star.admitted && star.end.is_none() && star.tasks.len() == 6);
    for task in &star.tasks {
        assert!(!task.reason.is_empty());
        assert_eq!(task.state == TaskState::Blocked, !task.waits_for.is_empty(), "{task:?}");
    }
    decide(&world, run, Decided::Cancel)?;
    world.wait_for_end(&[run]).await?;
    let ended = &view::runs(&operator).await?.runs[0];
    assert_eq!(ended.phase, RunPhase::Ended);
    assert_eq!(ended.ends.values().sum::<u64>(), 80);
    let last = store.stars(run)?.star(StarIndex(79))?;
    let star = view::star(&operator, OneStar { star: last, run: Some(run) }).await?;
    assert_eq!(star.end, Some(StarEnd::Cancelled));
    assert!(star.tasks.iter().all(|task| task.reason.contains("cancelled")));
    let missing = view::star(&operator, OneStar { star: StarId::of_simulator(1_000_000), run: None }).await;
    assert!(missing.is_err_and(|error| error.kind == ErrorKind::NotFound));
    working.abort();
    Ok(())
}
