//! What is asked only to look: open tasks, what modules took, who is drained.

use domain::outcome::Remarks;
use services::state::{OpenPlace, OpenTask, PERIOD, PERIODS, ROWS_BLOCK, RunFlow, Spent, TaskPlaces};

use super::*;

/// Waits until what happens next is later, in milliseconds.
async fn the_clock_goes_on() -> Result<()> {
    let begun = std::time::Instant::now();
    harness::wait_until(Duration::from_secs(1), "a few milliseconds", async || begun.elapsed().as_millis() > 3).await
}

pub(crate) async fn open_tasks_are_listed_by_place_the_oldest_first(f: StateFixture) -> Result<()> {
    let tasks = async |place, limit| -> Result<Vec<Task>> {
        let open = f.state.open_tasks(f.run, place, limit).await?;
        Ok(open.into_iter().map(|open| open.task).collect())
    };
    for star in [3, 0, 2, 1] {
        f.admit(star).await?;
        the_clock_goes_on().await?;
    }
    let in_order = [task(3, 0), task(0, 0), task(2, 0), task(1, 0)];
    assert_eq!(tasks(OpenPlace::Queued, 10).await?, in_order);
    assert_eq!(tasks(OpenPlace::Queued, 2).await?, in_order[..2]);
    assert!(tasks(OpenPlace::Queued, 0).await?.is_empty() && tasks(OpenPlace::Running, 0).await?.is_empty());

    f.granted(task(2, 0), 1).await?;
    the_clock_goes_on().await?;
    f.granted(task(0, 0), 1).await?;
    f.claim_briefly(task(1, 0), 1, Nonce::random()).await?;
    f.wait_for_due_lease().await?;
    let running = f.state.open_tasks(f.run, OpenPlace::Running, 10).await?;
    assert_eq!(running.iter().map(|open| open.task).collect::<Vec<_>>(), [task(2, 0), task(0, 0)], "leases that live");
    let OpenTask { attempt, worker, since, due, .. } = &running[0];
    assert_eq!((*attempt, worker.as_ref().map(|worker| worker.as_str())), (Attempt(1), Some("worker 1 of host")));
    assert!(since.is_some() && due.is_none());

    let ready = f.state.outbox(f.run, Duration::ZERO, 10).await?;
    f.state.published(f.run, &ready).await?;
    let queued = f.state.open_tasks(f.run, OpenPlace::Queued, 10).await?;
    assert_eq!(queued.iter().map(|open| (open.task, open.since.is_some())).collect::<Vec<_>>(), [(task(3, 0), true)]);
    f.state.hold(f.run, &[ModuleIndex(0)]).await?;
    assert!(tasks(OpenPlace::Queued, 10).await?.is_empty());
    assert_eq!(tasks(OpenPlace::OnHold, 10).await?, [task(3, 0)]);
    f.state.hold(f.run, &[]).await?;
    assert_eq!(f.state.open_tasks(f.run, OpenPlace::Queued, 10).await?[0].since, None, "what is older than any age");

    let now = f.star(3).await?;
    let change = Change {
        star: StarIndex(3),
        expected: now.clone(),
        after: StateFixture::with_cell(&now, 0, Cell { state: TaskState::Waiting, tag: 1 }),
        wait: vec![(ModuleIndex(0), Duration::from_secs(60))],
        ..Change::default()
    };
    assert_eq!(f.write(&[change]).await?, [Written::Done]);
    let waiting = f.state.open_tasks(f.run, OpenPlace::Waiting, 10).await?;
    assert_eq!((waiting.len(), waiting[0].task, waiting[0].since), (1, task(3, 0), None));
    let due = waiting[0].due.expect("it is known when it is due");
    let of_star = f.state.star(f.run, StarIndex(3)).await?.due;
    assert!(of_star.len() == 1 && of_star[&ModuleIndex(0)].duration_since(due).as_secs() == 0, "{of_star:?}");
    let seconds = due.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((30..=60).contains(&seconds), "{seconds}");
    let gone = f.state.open_tasks(fixture::other_run(), OpenPlace::Running, 1).await;
    assert!(matches!(gone, Err(StateError::NoRun(_))), "{gone:?}");
    Ok(())
}

pub(crate) async fn what_modules_took_is_added_up(f: StateFixture) -> Result<()> {
    let fresh = f.view().await?;
    assert!(fresh.spent.is_empty() && fresh.moved.is_none());
    for star in [0, 1] {
        f.admit(star).await?;
        f.settle(star).await?;
    }
    let moved = f.view().await?.moved.map(|moved| jiff::Timestamp::now().duration_since(moved).as_secs());
    assert!(moved.is_some_and(|ago| (0..30).contains(&ago)), "{moved:?}");
    let twice = Spent { tasks: 2, millis: 2 * 1234, found: 0, remarks: Remarks { warned: 2, unmade: 0 } };
    assert_eq!(f.view().await?.spent, [(ModuleIndex(0), twice)].into());
    let late = Change { details: vec![(ModuleIndex(0), detail("late"))], ..f.admission_of(0) };
    assert_eq!(f.write(&[late]).await?, [Written::Lost]);
    assert_eq!(f.view().await?.spent[&ModuleIndex(0)], twice, "a change that is lost took nothing");
    f.state.close_run(f.run).await?;
    f.state.open_run(&f.info, Duration::ZERO).await?;
    assert!(f.view().await?.spent.is_empty());
    Ok(())
}

pub(crate) async fn drained_hosts_are_told_whole(f: StateFixture) -> Result<()> {
    assert_eq!(f.state.drained().await?, None, "nobody told");
    let hosts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    for names in [&["a", "b.example"][..], &["b.example"], &[]] {
        f.state.set_drained(&hosts(names)).await?;
        assert_eq!(f.state.drained().await?, Some(hosts(names)));
    }
    Ok(())
}

pub(crate) async fn rows_of_many_stars_are_those_of_each(f: StateFixture) -> Result<()> {
    let run = fixture::other_run();
    let stars = ROWS_BLOCK + 3;
    f.state.open_run(&RunInfo { run, stars, ..f.info.clone() }, Duration::ZERO).await?;
    assert_eq!(f.state.rows(run, 0).await?, vec![0; ROWS_BLOCK as usize * MODULES], "never written");
    let written = [1, ROWS_BLOCK - 1, ROWS_BLOCK + 1].map(StarIndex);
    let changes: Vec<Change> = written.iter().map(|star| f.admission_of(star.0)).collect();
    assert_eq!(f.state.write(run, EPOCH, None, &changes).await?, [Written::Done; 3]);
    let mut rows = Vec::new();
    for block in 0..3 {
        let of_block = f.state.rows(run, block).await?;
        assert_eq!(of_block.len() / MODULES, [ROWS_BLOCK as usize, 3, 0][block as usize]);
        rows.extend(of_block);
    }
    let all: Vec<StarIndex> = (0..stars).map(StarIndex).collect();
    for (star, row) in f.state.load(run, &all).await?.iter().zip(rows.chunks(MODULES)) {
        assert_eq!(star.row.as_bytes(), row);
    }
    let is_fresh = |row: &&[u8]| row.iter().all(|byte| *byte == 0);
    assert_eq!(rows.chunks(MODULES).filter(|row| !is_fresh(row)).count(), written.len());
    Ok(())
}

pub(crate) async fn where_tasks_are_and_what_moved_is_told_by_module(f: StateFixture) -> Result<()> {
    let look = async || -> Result<RunFlow> { Ok(f.state.flow(f.run).await?.expect("the run is in the state")) };
    let places = |flow: &RunFlow| {
        let TaskPlaces { to_come, ready, on_hold, in_progress, lease_lost, waiting, .. } =
            flow.modules[&ModuleIndex(0)];
        [to_come, ready, on_hold, in_progress, lease_lost, waiting]
    };
    let fresh = look().await?;
    assert_eq!((fresh.modules.len(), places(&fresh)), (MODULES, [5, 0, 0, 0, 0, 0]));
    assert!(fresh.periods.len() as u64 == PERIODS && fresh.periods.iter().all(|period| period.moves.is_empty()));
    let apart = fresh.periods[1].from.duration_since(fresh.periods[0].from).as_secs();
    assert_eq!(apart, PERIOD.as_secs() as i64);

    for star in 0..4 {
        f.admit(star).await?;
    }
    f.granted(task(0, 0), 1).await?;
    f.claim_briefly(task(1, 0), 1, Nonce::random()).await?;
    f.wait_for_due_lease().await?;
    let now = f.star(3).await?;
    let waits = Change {
        star: StarIndex(3),
        expected: now.clone(),
        after: StateFixture::with_cell(&now, 0, Cell { state: TaskState::Waiting, tag: 1 }),
        wait: vec![(ModuleIndex(0), Duration::from_secs(60))],
        ..Change::default()
    };
    assert_eq!(f.write(&[waits]).await?, [Written::Done]);
    let flow = look().await?;
    assert_eq!(places(&flow), [1, 1, 0, 1, 1, 1]);
    let of = &flow.modules[&ModuleIndex(0)];
    let ago = |at: Option<jiff::Timestamp>| at.map(|at| jiff::Timestamp::now().duration_since(at).as_secs());
    assert!(ago(of.oldest).is_some_and(|ago| (0..30).contains(&ago)), "{of:?}");
    assert!(ago(of.due).is_some_and(|ago| (-60..=-30).contains(&ago)), "{of:?}");
    assert!(flow.modules[&ModuleIndex(1)].oldest.is_none() && flow.modules[&ModuleIndex(1)].due.is_none());

    f.state.hold(f.run, &[ModuleIndex(0)]).await?;
    assert_eq!(places(&look().await?), [1, 0, 1, 1, 1, 1], "what is held is not ready");
    assert!(f.state.flow(fixture::other_run()).await?.is_none());
    f.state.probe().await?;
    Ok(())
}
