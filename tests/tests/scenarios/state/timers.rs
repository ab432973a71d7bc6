//! What goes off, or goes out, after a time: outbox, published messages, waits, stars to be closed.

use super::*;
use domain::id::Attempt;

pub(crate) async fn the_outbox_gives_what_is_old_enough(f: StateFixture) -> Result<()> {
    assert!(f.state.outbox(f.run, Duration::ZERO, 10).await?.is_empty());
    for (before, star) in [3, 1, 2].into_iter().enumerate() {
        // Entries of one millisecond have no order.
        harness::wait_until(Duration::from_secs(10), "entries are older than the next", async || {
            let old = f.state.outbox(f.run, Duration::from_millis(2), 10).await;
            old.is_ok_and(|old| old.len() == before)
        })
        .await?;
        f.admit(star).await?;
    }
    assert!(f.state.outbox(f.run, Duration::from_secs(60), 10).await?.is_empty());
    let ready = f.state.outbox(f.run, Duration::ZERO, 2).await?;
    let stars: Vec<u32> = ready.iter().map(|ready| ready.task.star.0).collect();
    assert_eq!(stars, [3, 1], "oldest first, no more than asked");
    Ok(())
}

pub(crate) async fn published_leaves_alone_what_moved_on(f: StateFixture) -> Result<()> {
    for star in [0, 1, 2] {
        f.admit(star).await?;
    }
    let ready = f.state.outbox(f.run, Duration::ZERO, 10).await?;
    f.granted(task(0, 0), 1).await?;
    assert_eq!(f.write(&[f.next_attempt(1, 0).await?]).await?, [Written::Done]);
    f.state.published(f.run, &ready).await?;
    f.state.published(f.run, &ready).await?;
    let left = f.state.outbox(f.run, Duration::ZERO, 10).await?;
    assert_eq!(
        left,
        [Ready { task: task(1, 0), attempt: Attempt(2), class: class(DEFAULT) }],
        "the next attempt is to be published"
    );
    assert_eq!(f.view().await?.ready[&class(DEFAULT)], 2);
    Ok(())
}

pub(crate) async fn what_nobody_claims_is_published_again(f: StateFixture) -> Result<()> {
    for star in [0, 1, 2] {
        f.admit(star).await?;
    }
    let ready = f.state.outbox(f.run, Duration::ZERO, 10).await?;
    f.state.published(f.run, &ready).await?;
    assert!(f.state.outbox(f.run, Duration::ZERO, 10).await?.is_empty());
    let again = async |class_name, age, limit| f.state.republish(f.run, &class(class_name), age, limit).await;
    assert_eq!(again(DEFAULT, Duration::from_secs(60), 10).await?, 0);
    assert_eq!(again(HEAVY, Duration::ZERO, 10).await?, 0);
    assert_eq!(again(DEFAULT, Duration::ZERO, 2).await?, 2);
    let old = Duration::from_secs(3600);
    assert_eq!(f.state.outbox(f.run, old, 10).await?.len(), 2, "older than any age");
    assert_eq!(f.view().await?.ready[&class(DEFAULT)], 3);
    Ok(())
}

pub(crate) async fn a_pause_refuses_claims_and_loses_nothing(f: StateFixture) -> Result<()> {
    for star in [0, 1, 2] {
        f.admit(star).await?;
    }
    let ready = f.state.outbox(f.run, Duration::ZERO, 10).await?;
    f.state.published(f.run, &ready[..2]).await?;
    let nonce = f.granted(task(0, 0), 1).await?;
    f.state.set_phase(f.run, Phase::Paused, 7).await?;
    let info = f.view().await?.info;
    assert_eq!((info.phase, info.weight), (Phase::Paused, 7));

    let refused = Claim::Refused(ClaimRefusal::NotActive);
    assert_eq!(f.claim(task(1, 0), 1, Nonce::random()).await?, refused);
    assert_eq!(f.claim(task(2, 0), 1, Nonce::random()).await?, refused);
    assert!(matches!(f.claim(task(0, 0), 1, nonce).await?, Claim::Granted(_)), "what it holds it goes on with");
    assert_eq!(f.view().await?.ready[&class(DEFAULT)], 2);

    f.state.set_phase(f.run, Phase::Active, 1).await?;
    let old = Duration::from_secs(3600);
    let back = f.state.outbox(f.run, old, 10).await?;
    assert_eq!(back.iter().map(|ready| ready.task).collect::<Vec<_>>(), [task(1, 0)], "what was published is at once");
    assert_eq!(f.state.outbox(f.run, Duration::ZERO, 10).await?.len(), 2);
    f.state.published(f.run, &back).await?;
    f.state.set_phase(f.run, Phase::Active, 2).await?;
    assert!(f.state.outbox(f.run, old, 10).await?.is_empty(), "a new weight is no resume");
    assert!(matches!(f.claim(task(1, 0), 1, Nonce::random()).await?, Claim::Granted(_)));
    Ok(())
}

pub(crate) async fn a_hold_puts_tasks_aside_and_a_release_brings_them_back(f: StateFixture) -> Result<()> {
    for star in [0, 1, 2] {
        f.admit(star).await?;
    }
    let ready = f.state.outbox(f.run, Duration::ZERO, 10).await?;
    f.state.published(f.run, &ready[..2]).await?;
    let nonce = f.granted(task(0, 0), 1).await?;
    f.state.hold(f.run, &[ModuleIndex(2), ModuleIndex(0)]).await?;
    let view = f.view().await?;
    assert_eq!(view.info.held, [ModuleIndex(0), ModuleIndex(2)]);
    assert_eq!((view.ready[&class(DEFAULT)], view.on_hold), (0, 2), "what is published and what is not");
    assert!(f.state.outbox(f.run, Duration::ZERO, 10).await?.is_empty());
    let refused = Claim::Refused(ClaimRefusal::OnHold);
    assert_eq!(f.claim(task(1, 0), 1, Nonce::random()).await?, refused);
    assert!(matches!(f.claim(task(0, 0), 1, nonce).await?, Claim::Granted(_)), "what it holds it goes on with");

    f.admit(3).await?;
    assert_eq!(f.view().await?.on_hold, 3, "what is queued later, too");
    f.end(3, 0, TaskState::Cancelled).await?;
    assert_eq!(f.view().await?.on_hold, 2, "a task that moves on leaves nothing behind");
    f.state.published(f.run, &ready).await?;
    assert_eq!(f.view().await?.ready[&class(DEFAULT)], 0, "a late confirm brings nothing back");

    f.state.hold(f.run, &[ModuleIndex(2)]).await?;
    let view = f.view().await?;
    assert_eq!((view.ready[&class(DEFAULT)], view.on_hold), (2, 0));
    let back = f.state.outbox(f.run, Duration::from_secs(3600), 10).await?;
    assert_eq!(back.iter().map(|ready| ready.attempt.0).collect::<Vec<_>>(), [1, 1], "at once, and no try is lost");
    f.granted(task(1, 0), 1).await?;
    f.counts_equal_rows().await
}

pub(crate) async fn a_wait_is_due_after_its_delay(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    let star = f.star(0).await?;
    let waiting = |delay| Change {
        expected: star.clone(),
        after: StateFixture::with_cell(&star, 0, Cell { state: TaskState::Waiting, tag: 1 }),
        wait: vec![(ModuleIndex(0), delay)],
        ..Change::default()
    };
    assert_eq!(f.write(&[waiting(Duration::from_millis(100))]).await?, [Written::Done]);
    assert!(f.state.outbox(f.run, Duration::ZERO, 10).await?.is_empty());
    assert!(f.state.due(f.run, 10, 10, SILENCE).await?.waits.is_empty());
    f.wait_until("the wait is over", |due| due.waits == [task(0, 0)]).await?;
    assert_eq!(f.write(&[f.next_attempt(0, 0).await?]).await?, [Written::Done]);
    assert_eq!(f.state.due(f.run, 10, 10, SILENCE).await?, Due::default());
    Ok(())
}

pub(crate) async fn a_star_to_be_closed_is_named_until_closed(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    f.admit(1).await?;
    f.settle(0).await?;
    assert!(f.state.due(f.run, 10, 0, SILENCE).await?.closing.is_empty(), "who has no room is told of none");
    assert_eq!(f.state.due(f.run, 10, 10, SILENCE).await?.closing, [StarIndex(0)]);
    assert!(f.state.due(f.run, 10, 10, SILENCE).await?.closing.is_empty(), "whoever was told has time for it");
    let row = f.row(0).await?;
    assert_eq!(f.view().await?.in_flight, 2);
    for _ in 0..2 {
        assert_eq!(f.state.closed(f.run, &[(StarIndex(0), &row)]).await?, [Written::Done]);
    }
    assert_eq!(f.view().await?.in_flight, 1);
    let view = f.state.star(f.run, StarIndex(0)).await?;
    assert!(view.details.is_empty() && view.admission.is_none());
    assert_eq!(view.star.row, row, "how it ended stays");
    f.counts_equal_rows().await
}

pub(crate) async fn a_star_that_is_not_admitted_any_more_leaves_nothing_behind(f: StateFixture) -> Result<()> {
    for star in [0, 1, 2] {
        f.admit(star).await?;
    }
    let cursor = CursorMove { from: 0, to: 3 };
    f.state.write(f.run, EPOCH, Some(cursor), &[]).await?;
    f.settle(1).await?;
    let settled = f.star(1).await?;
    let mut after = settled.clone();
    for module in 0..MODULES as u8 {
        after = StateFixture::with_cell(&after, module, Cell { state: TaskState::Blocked, tag: 1 });
    }
    after.tries.insert(ModuleIndex(2), Tries { attempt: Attempt(4), science: 0, platform: 0 });
    let change = Change { star: StarIndex(1), expected: settled, after: after.clone(), ..Change::default() };
    assert_eq!(f.write(&[change]).await?, [Written::Done]);
    assert_eq!(f.star(1).await?, after, "its attempts are remembered");
    let view = f.view().await?;
    assert_eq!((view.info.cursor, view.in_flight), (1, 2), "the cursor goes back to it");
    assert_eq!(f.state.in_flight(f.run, 10).await?, [StarIndex(0), StarIndex(2)]);
    assert!(f.state.due(f.run, 10, 10, SILENCE).await?.closing.is_empty());
    let known = f.state.star(f.run, StarIndex(1)).await?;
    assert!(known.details.is_empty() && known.admission.is_none());
    f.counts_equal_rows().await?;

    let again = Change { star: StarIndex(1), expected: after.clone(), ..f.admission_of(1) };
    assert_eq!(f.write(&[again]).await?, [Written::Done]);
    let view = f.view().await?;
    assert_eq!((view.info.cursor, view.in_flight), (1, 3));
    f.counts_equal_rows().await
}

pub(crate) async fn a_reopened_star_is_not_closed(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    f.settle(0).await?;
    let settled = f.row(0).await?;
    assert_eq!(f.write(&[f.next_attempt(0, 0).await?]).await?, [Written::Done]);
    assert_eq!(f.state.closed(f.run, &[(StarIndex(0), &settled)]).await?, [Written::Lost]);
    assert!(f.state.due(f.run, 10, 10, SILENCE).await?.closing.is_empty());
    assert!(f.state.star(f.run, StarIndex(0)).await?.admission.is_some());

    f.settle(0).await?;
    assert_eq!(f.state.closed(f.run, &[(StarIndex(0), &f.row(0).await?)]).await?, [Written::Done]);
    assert_eq!(f.view().await?.in_flight, 0);
    assert_eq!(f.write(&[f.next_attempt(0, 0).await?]).await?, [Written::Done]);
    assert_eq!(f.view().await?.in_flight, 1, "a closed star that is opened again is in flight");
    Ok(())
}
