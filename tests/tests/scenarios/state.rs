//! What the state port promises, asserted on both adapters; and what only Redis can do wrong.

mod alike;
mod announced;
mod fixture;
mod leases;
mod looking;
mod redis_only;
mod stepped;
mod timers;

use std::time::Duration;

use announced::*;
use anyhow::{Result, ensure};
use domain::id::{Attempt, ModuleIndex, Nonce, StarIndex, Task};
use domain::run::{Cell, Star, TaskState, Tries};
use fixture::{
    DEFAULT, EPOCH, HEAVY, LEASE, MODULES, SILENCE, STARS, StateFixture, admission, class, detail, run_info, task,
};
use leases::*;
use looking::*;
use services::state::{
    Change, Claim, ClaimRefusal, ClaimRequest, ClaimedTask, CursorMove, Due, Lease, Phase, Ready, RunInfo, SharedState,
    StateError, WorkerInfo, Written,
};
use timers::*;

/// Runs every check on both adapters.
macro_rules! on_both_adapters {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() -> anyhow::Result<()> {
                super::$name(super::StateFixture::memory().await?).await
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() -> anyhow::Result<()> {
                super::$name(super::StateFixture::redis().await?).await
            })*
        }
    };
}

on_both_adapters!(
    a_run_opens_with_all_tasks_blocked_and_opens_once,
    a_run_that_is_not_there_is_an_error_or_nothing,
    a_write_is_seen_whole,
    a_write_on_an_old_row_is_lost_and_changes_nothing,
    two_changes_of_one_star_in_a_batch_follow_each_other,
    a_lost_cursor_writes_nothing,
    an_older_or_newer_epoch_is_an_error,
    a_star_beyond_the_list_is_never_written,
    a_claim_takes_the_task_out_of_the_outbox_and_is_granted_again,
    a_claim_of_anything_but_the_queued_attempt_is_stale,
    a_grant_carries_what_is_known_upstream,
    who_speaks_of_a_task_must_have_claimed_it,
    a_held_task_is_refused_until_the_lease_runs_out,
    an_expired_lease_is_due_until_acted_upon,
    after_a_silence_leases_have_the_time_to_be_renewed,
    lease_lost_changes_nothing_while_the_lease_lives,
    a_lease_that_ran_out_lives_again_when_renewed_in_time,
    a_change_of_the_cell_takes_its_lease,
    claims_that_come_together_are_decided_each_for_itself,
    leases_of_many_runs_renew_together,
    what_is_announced_is_kept_for_who_runs_it,
    what_has_moved_on_is_kept_for_nobody,
    of_two_who_run_a_task_the_newer_attempt_goes_first,
    what_is_announced_no_more_is_anybodys,
    who_runs_a_task_goes_before_who_claimed_it_under_reserve,
    who_runs_a_task_goes_before_who_gave_it_back_under_reserve,
    what_follows_into_an_epoch_is_claimed_under_reserve,
    what_runs_is_claimed_anew_in_a_paused_run_and_of_a_held_module,
    the_outbox_gives_what_is_old_enough,
    published_leaves_alone_what_moved_on,
    what_nobody_claims_is_published_again,
    a_pause_refuses_claims_and_loses_nothing,
    a_claim_tells_of_the_newest_amendment,
    a_hold_puts_tasks_aside_and_a_release_brings_them_back,
    a_wait_is_due_after_its_delay,
    a_star_to_be_closed_is_named_until_closed,
    a_star_that_is_not_admitted_any_more_leaves_nothing_behind,
    a_reopened_star_is_not_closed,
    counts_equal_the_rows_after_any_writes,
    attempts_are_told_apart_beyond_the_tag,
    runs_are_listed_with_what_changed,
    workers_show_themselves_and_expire,
    stars_in_flight_are_listed_in_order,
    open_tasks_are_listed_by_place_the_oldest_first,
    where_tasks_are_and_what_moved_is_told_by_module,
    what_modules_took_is_added_up,
    drained_hosts_are_told_whole,
    rows_of_many_stars_are_those_of_each,
);

async fn a_run_opens_with_all_tasks_blocked_and_opens_once(f: StateFixture) -> Result<()> {
    let view = f.view().await?;
    assert_eq!(view.info, f.info);
    assert_eq!(view.counts.len(), MODULES);
    for counts in view.counts.values() {
        assert_eq!(*counts, [(TaskState::Blocked, u64::from(STARS))].into());
    }
    assert_eq!((view.in_flight, view.running), (0, 0));
    assert_eq!(view.ready, [(class(DEFAULT), 0), (class(HEAVY), 0)].into());

    f.admit(0).await?;
    f.state.open_run(&f.info, Duration::ZERO).await?;
    assert_eq!(f.row(0).await?.cell(ModuleIndex(0)), Cell::queued(Attempt(1)), "opened again, it keeps what it has");
    Ok(())
}

async fn a_run_that_is_not_there_is_an_error_or_nothing(f: StateFixture) -> Result<()> {
    let s = &f.state;
    s.close_run(f.run).await?;
    s.close_run(f.run).await?;
    assert_eq!(s.run(f.run).await?, None);
    assert_eq!(s.runs().await?, vec![]);
    let gone = |result: Result<(), StateError>| matches!(result, Err(StateError::NoRun(run)) if run == f.run);
    assert!(gone(s.load(f.run, &[StarIndex(0)]).await.map(drop)));
    assert!(gone(s.rows(f.run, 0).await.map(drop)));
    assert!(gone(s.star(f.run, StarIndex(0)).await.map(drop)));
    assert!(gone(s.write(f.run, EPOCH, None, &[]).await.map(drop)));
    assert!(gone(s.closed(f.run, &[(StarIndex(0), &f.fresh())]).await.map(drop)));
    assert!(gone(s.outbox(f.run, Duration::ZERO, 10).await.map(drop)));
    assert!(gone(s.published(f.run, &[]).await));
    assert!(gone(s.republish(f.run, &class(DEFAULT), Duration::ZERO, 10).await.map(drop)));
    assert!(gone(s.due(f.run, 10, 10, SILENCE).await.map(drop)));
    assert!(gone(s.set_phase(f.run, Phase::Paused, 1).await));
    assert_eq!(f.claim(task(0, 0), 1, Nonce::random()).await?, Claim::Refused(ClaimRefusal::NoRun));
    let lease = Lease { run: f.run, task: task(0, 0), attempt: Attempt(1), nonce: Nonce::random() };
    assert_eq!(s.renew(&[lease], LEASE).await?, [false]);
    Ok(())
}

async fn a_write_is_seen_whole(f: StateFixture) -> Result<()> {
    let before = f.fresh_star();
    let mut after = f.star(2).await?;
    after.row.set(ModuleIndex(0), Cell { state: TaskState::Succeeded, tag: 1 });
    after.row.set(ModuleIndex(1), Cell::queued(Attempt(2)));
    after.row.set(ModuleIndex(2), Cell { state: TaskState::Waiting, tag: 1 });
    let tries = Tries { attempt: Attempt(2), science: 1, platform: 0 };
    after.tries.insert(ModuleIndex(1), tries);
    let change = Change {
        star: StarIndex(2),
        expected: before,
        after: after.clone(),
        queue: vec![(ModuleIndex(1), Attempt(2))],
        wait: vec![(ModuleIndex(2), Duration::from_secs(60))],
        details: vec![(ModuleIndex(0), detail("a \u{e9}\"\\ string"))],
        admission: Some(admission()),
        ..Change::default()
    };
    assert_eq!(f.write(&[change]).await?, [Written::Done]);

    assert_eq!(f.state.load(f.run, &[StarIndex(1), StarIndex(2)]).await?[1], after);
    let star = f.state.star(f.run, StarIndex(2)).await?;
    assert_eq!(star.star, after);
    assert_eq!(star.details, [(ModuleIndex(0), detail("a \u{e9}\"\\ string"))].into());
    assert_eq!(star.admission, Some(admission()));
    assert!(star.running.is_empty());
    let view = f.view().await?;
    assert_eq!(view.in_flight, 1);
    assert_eq!(view.ready[&class(HEAVY)], 0);
    assert_eq!(view.ready[&class(DEFAULT)], 1);
    let ready = f.state.outbox(f.run, Duration::ZERO, 10).await?;
    assert_eq!(ready, [Ready { task: task(2, 1), attempt: Attempt(2), class: class(DEFAULT) }]);
    f.counts_equal_rows().await
}

async fn a_write_on_an_old_row_is_lost_and_changes_nothing(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    let view = f.view().await?;
    let star = f.star(0).await?;
    let late = Change {
        expected: f.fresh_star(),
        after: StateFixture::with_cell(&star, 0, Cell { state: TaskState::Failed, tag: 1 }),
        close: true,
        ..Change::default()
    };
    let good = f.admission_of(1);
    assert_eq!(f.write(&[late, good]).await?, [Written::Lost, Written::Done], "each change for itself");
    assert_eq!(f.star(0).await?, star);
    assert_eq!(f.state.due(f.run, 10, 10, SILENCE).await?, Due::default());
    assert_eq!(f.view().await?.counts[&ModuleIndex(2)], view.counts[&ModuleIndex(2)]);
    f.counts_equal_rows().await
}

async fn two_changes_of_one_star_in_a_batch_follow_each_other(f: StateFixture) -> Result<()> {
    let first = f.admission_of(0);
    let second = Change {
        star: StarIndex(0),
        expected: first.after.clone(),
        after: StateFixture::with_cell(&first.after, 0, Cell { state: TaskState::Succeeded, tag: 1 }),
        ..Change::default()
    };
    let third = Change { expected: first.after.clone(), ..second.clone() };
    assert_eq!(f.write(&[first, second, third]).await?, [Written::Done, Written::Done, Written::Lost]);
    assert!(f.state.outbox(f.run, Duration::ZERO, 10).await?.is_empty());
    f.counts_equal_rows().await
}

async fn a_lost_cursor_writes_nothing(f: StateFixture) -> Result<()> {
    let move_to = |from, to| Some(CursorMove { from, to });
    let wrote = f.state.write(f.run, EPOCH, move_to(0, 2), &[f.admission_of(0), f.admission_of(1)]).await?;
    assert_eq!(wrote, [Written::Done; 2]);
    assert_eq!(f.view().await?.info.cursor, 2);
    let wrote = f.state.write(f.run, EPOCH, move_to(0, 3), &[f.admission_of(2)]).await?;
    assert_eq!(wrote, [Written::Lost]);
    assert_eq!(f.row(2).await?, f.fresh());
    let wrote = f.state.write(f.run, EPOCH, move_to(2, 5), &[]).await?;
    assert!(wrote.is_empty(), "stars that are looked at and not admitted move the cursor too");
    let view = f.view().await?;
    assert_eq!((view.info.cursor, view.in_flight), (5, 2));
    assert_eq!(f.state.runs().await?[0].cursor, 5);
    Ok(())
}

async fn an_older_or_newer_epoch_is_an_error(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    assert_eq!(f.state.epoch().await?, EPOCH);
    assert_eq!(f.state.begin_epoch(EPOCH.next()).await?, EPOCH.next());
    assert_eq!(f.state.begin_epoch(EPOCH).await?, EPOCH.next(), "there is no way back");
    assert_eq!(f.state.spread_epoch().await?, EPOCH.next());
    let old = f.write(&[f.admission_of(1)]).await;
    assert!(matches!(old, Err(StateError::Epoch { expected: EPOCH, now }) if now == EPOCH.next()), "{old:?}");
    assert_eq!(f.row(1).await?, f.fresh());
    let claim = f.claim(task(0, 0), 1, Nonce::random()).await?;
    assert_eq!(claim, Claim::Refused(ClaimRefusal::Stale), "a message of an older epoch is forgotten");
    let request = f.request(task(0, 0), 1, Nonce::random());
    let newer = f.state.claim(&ClaimRequest { epoch: EPOCH.next().next(), ..request }).await;
    assert!(matches!(newer, Err(StateError::Epoch { now, .. }) if now == EPOCH.next()), "{newer:?}");
    let wrote = f.state.write(f.run, EPOCH.next(), None, &[f.admission_of(1)]).await?;
    assert_eq!(wrote, [Written::Done]);

    let other = RunInfo { run: fixture::other_run(), ..f.info.clone() };
    f.state.open_run(&other, Duration::ZERO).await?;
    let wrote = f.state.write(other.run, EPOCH.next(), None, &[f.admission_of(1)]).await?;
    assert_eq!(wrote, [Written::Done], "a run that is opened later is in the epoch in force");
    Ok(())
}

async fn a_star_beyond_the_list_is_never_written(f: StateFixture) -> Result<()> {
    for star in [STARS, u32::MAX] {
        let change = Change { star: StarIndex(star), ..f.admission_of(0) };
        assert_eq!(f.write(&[change]).await?, [Written::Lost]);
        assert_eq!(f.row(star).await?, f.fresh());
        assert_eq!(f.claim(task(star, 0), 1, Nonce::random()).await?, Claim::Refused(ClaimRefusal::Stale));
        assert_eq!(f.state.star(f.run, StarIndex(star)).await?.star.row, f.fresh());
        assert_eq!(f.state.closed(f.run, &[(StarIndex(star), &f.fresh())]).await?, [Written::Lost]);
    }
    f.admit(0).await?;
    let claim = f.claim(task(0, 200), 1, Nonce::random()).await?;
    assert_eq!(claim, Claim::Refused(ClaimRefusal::Stale), "nor a module beyond the pipeline");
    assert_eq!(f.view().await?.in_flight, 1);
    Ok(())
}

async fn counts_equal_the_rows_after_any_writes(f: StateFixture) -> Result<()> {
    use rand::prelude::*;
    let seed = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..20 {
        let mut changes = Vec::new();
        for _ in 0..random.random_range(1..5) {
            let star = random.random_range(0..STARS);
            let now = f.star(star).await?;
            let mut after = now.clone();
            for module in 0..u8::try_from(MODULES)? {
                let state = TaskState::from_repr(random.random_range(0..10)).expect("there are ten states");
                after.row.set(ModuleIndex(module), Cell { state, tag: random.random_range(0..16) });
            }
            let expected = if random.random_bool(0.2) { after.clone() } else { now };
            changes.push(Change { star: StarIndex(star), expected, after, ..Change::default() });
        }
        f.write(&changes).await?;
        f.counts_equal_rows().await.map_err(|error| error.context(format!("seed {seed}")))?;
    }
    Ok(())
}

async fn attempts_are_told_apart_beyond_the_tag(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    for _ in 0..16 {
        assert_eq!(f.write(&[f.next_attempt(0, 0).await?]).await?, [Written::Done]);
    }
    let star = f.star(0).await?;
    assert_eq!((star.row.cell(ModuleIndex(0)).tag, star.tries[&ModuleIndex(0)].attempt), (1, Attempt(17)));
    let old = Star { row: star.row.clone(), ..Star::default() };
    let after = StateFixture::with_cell(&old, 0, Cell { state: TaskState::Succeeded, tag: 1 });
    let late = Change { star: StarIndex(0), expected: old, after, ..Change::default() };
    assert_eq!(f.write(&[late]).await?, [Written::Lost], "a row that was read sixteen attempts ago looks the same");
    assert_eq!(f.star(0).await?, star);
    assert_eq!(f.claim(task(0, 0), 1, Nonce::random()).await?, Claim::Refused(ClaimRefusal::Stale));
    let ready = f.state.outbox(f.run, Duration::ZERO, 10).await?;
    assert_eq!(ready[0].attempt, Attempt(17));
    f.state.published(f.run, &[Ready { attempt: Attempt(1), ..ready[0].clone() }]).await?;
    assert_eq!(f.state.outbox(f.run, Duration::ZERO, 10).await?, ready);
    f.claim_briefly(task(0, 0), 17, Nonce::random()).await?;
    f.wait_for_due_lease().await?;
    assert_eq!(f.lost().await?, [(task(0, 0), Attempt(17))]);
    Ok(())
}

async fn runs_are_listed_with_what_changed(f: StateFixture) -> Result<()> {
    let older = RunInfo { run: fixture::other_run(), accepted: "2026-01-01T00:00:00Z".parse()?, ..run_info() };
    f.state.open_run(&older, Duration::ZERO).await?;
    f.state.set_phase(f.run, Phase::Cancelling, 3).await?;
    let now = RunInfo { phase: Phase::Cancelling, weight: 3, ..f.info.clone() };
    assert_eq!(f.state.runs().await?, [older.clone(), now], "oldest first");
    f.state.close_run(f.run).await?;
    assert_eq!(f.state.runs().await?, [older]);
    f.state.open_run(&f.info, Duration::ZERO).await?;
    assert_eq!(f.row(0).await?, f.fresh());
    Ok(())
}

async fn workers_show_themselves_and_expire(f: StateFixture) -> Result<()> {
    let seen = "2026-01-01T00:00:00Z".parse()?;
    let worker = |name: &str, running| {
        let info = WorkerInfo::new(name.parse().expect("a worker name"), [(class(DEFAULT), 2)].into(), seen);
        WorkerInfo { running, ..info }
    };
    let names = async || -> Result<Vec<String>> {
        Ok(f.state.workers().await?.into_iter().map(|worker| worker.worker.to_string()).collect())
    };
    assert!(names().await?.is_empty());
    f.state.show_worker(&worker("b", 0), LEASE).await?;
    f.state.show_worker(&worker("a", 0), LEASE).await?;
    f.state.show_worker(&worker("a", 2), LEASE).await?;
    f.state.show_worker(&worker("c", 0), Duration::from_millis(50)).await?;
    assert_eq!(f.state.workers().await?[0], worker("a", 2));
    harness::wait_until(Duration::from_secs(10), "the third is forgotten", async || {
        names().await.is_ok_and(|names| names == ["a", "b"])
    })
    .await?;
    // It took no leave: who asks is told.
    assert_eq!(f.state.lost_workers().await?, [worker("c", 0)]);
    f.state.forget_worker(&"c".parse()?).await?;
    assert_eq!(f.state.lost_workers().await?, []);
    f.state.forget_worker(&"a".parse()?).await?;
    f.state.forget_worker(&"a".parse()?).await?;
    assert_eq!(names().await?, ["b"]);
    Ok(())
}

async fn stars_in_flight_are_listed_in_order(f: StateFixture) -> Result<()> {
    for star in [4, 0, 2] {
        f.admit(star).await?;
    }
    assert_eq!(f.state.in_flight(f.run, 10).await?, [StarIndex(0), StarIndex(2), StarIndex(4)]);
    assert_eq!(f.state.in_flight(f.run, 2).await?, [StarIndex(0), StarIndex(2)]);
    assert!(f.state.in_flight(f.run, 0).await?.is_empty());
    Ok(())
}
