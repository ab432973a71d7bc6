//! What workers run of a run that has forgotten their claims.

use services::state::AnnouncedTask;

use super::*;

fn lease(f: &StateFixture, task: Task, attempt: u32, nonce: Nonce) -> Lease {
    Lease { run: f.run, task, attempt: Attempt(attempt), nonce }
}

async fn announce(f: &StateFixture, task: Task, attempt: u32, nonce: Nonce) -> Result<AnnouncedTask> {
    Ok(f.state.announce(&[lease(f, task, attempt, nonce)], LEASE).await?.remove(0))
}

pub(crate) async fn what_is_announced_is_kept_for_who_runs_it(f: StateFixture) -> Result<()> {
    let (mine, other) = (Nonce::random(), Nonce::random());
    assert_eq!(announce(&f, task(0, 0), 2, mine).await?, AnnouncedTask::Kept, "the star is not admitted yet");
    f.admit(0).await?;
    assert_eq!(announce(&f, task(0, 0), 2, mine).await?, AnnouncedTask::Queued(Attempt(1)));
    assert_eq!(announce(&f, task(0, 1), 1, other).await?, AnnouncedTask::Kept, "it is blocked");
    assert_eq!(f.claim(task(0, 0), 1, other).await?, Claim::Refused(ClaimRefusal::Held));
    let Claim::Granted(grant) = f.claim(task(0, 0), 1, mine).await? else { panic!("it is kept for it") };
    assert_eq!(grant.reserve, Duration::ZERO);
    let leases = [lease(&f, task(0, 0), 1, mine), lease(&f, task(0, 0), 2, mine)];
    assert_eq!(f.state.renew(&leases, LEASE).await?, [true, false]);
    assert_eq!((f.view().await?.running, f.view().await?.ready[&class(DEFAULT)]), (1, 0));
    assert_eq!(announce(&f, task(0, 0), 1, mine).await?, AnnouncedTask::Queued(Attempt(1)), "the answer was lost");
    assert_eq!(announce(&f, task(0, 0), 2, other).await?, AnnouncedTask::Lost, "another has it");
    Ok(())
}

pub(crate) async fn what_has_moved_on_is_kept_for_nobody(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    let nonce = Nonce::random();
    for attempt in [task(STARS, 0), task(0, 200)] {
        assert_eq!(announce(&f, attempt, 1, nonce).await?, AnnouncedTask::Lost, "there is no such task");
    }
    assert_eq!(f.write(&[f.next_attempt(0, 0).await?]).await?, [Written::Done]);
    assert_eq!(announce(&f, task(0, 0), 1, nonce).await?, AnnouncedTask::Lost, "a newer attempt is queued");
    f.end(0, 0, TaskState::Blocked).await?;
    assert_eq!(announce(&f, task(0, 0), 2, nonce).await?, AnnouncedTask::Lost, "it was opened again");
    f.end(0, 0, TaskState::Succeeded).await?;
    assert_eq!(announce(&f, task(0, 0), 9, nonce).await?, AnnouncedTask::Lost, "it is settled");
    f.state.close_run(f.run).await?;
    assert_eq!(announce(&f, task(0, 1), 1, nonce).await?, AnnouncedTask::NoRun);
    assert!(f.state.announce(&[], LEASE).await?.is_empty());
    Ok(())
}

pub(crate) async fn of_two_who_run_a_task_the_newer_attempt_goes_first(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    let [first, second, third] = std::array::from_fn(|_| Nonce::random());
    assert_eq!(announce(&f, task(0, 0), 3, first).await?, AnnouncedTask::Queued(Attempt(1)));
    assert_eq!(announce(&f, task(0, 0), 3, second).await?, AnnouncedTask::Lost);
    assert_eq!(announce(&f, task(0, 0), 4, third).await?, AnnouncedTask::Queued(Attempt(1)));
    assert_eq!(announce(&f, task(0, 0), 3, first).await?, AnnouncedTask::Lost);
    f.granted_as(task(0, 0), 1, third).await
}

pub(crate) async fn what_is_announced_no_more_is_anybodys(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    let briefly = lease(&f, task(0, 0), 1, Nonce::random());
    f.state.announce(&[briefly], Duration::from_millis(30)).await?;
    harness::wait_until(Duration::from_secs(10), "another may claim it", async || {
        matches!(f.claim(task(0, 0), 1, Nonce::random()).await, Ok(Claim::Granted(_)))
    })
    .await
}

pub(crate) async fn who_runs_a_task_goes_before_who_claimed_it_under_reserve(f: StateFixture) -> Result<()> {
    f.state.close_run(f.run).await?;
    f.state.open_run(&f.info, LEASE).await?;
    f.admit(0).await?;
    let (runs, claimed) = (Nonce::random(), Nonce::random());
    let Claim::Granted(grant) = f.claim(task(0, 0), 1, claimed).await? else { panic!("it is free") };
    assert!(grant.reserve > LEASE / 2 && grant.reserve <= LEASE, "{:?}", grant.reserve);
    assert_eq!(announce(&f, task(0, 0), 1, runs).await?, AnnouncedTask::Queued(Attempt(1)));
    assert_eq!(f.state.renew(&[lease(&f, task(0, 0), 1, claimed)], LEASE).await?, [false]);
    assert_eq!((f.view().await?.running, f.view().await?.ready[&class(DEFAULT)]), (0, 1), "its message is gone");
    assert_eq!(f.claim(task(0, 0), 1, claimed).await?, Claim::Refused(ClaimRefusal::Held));
    f.granted_as(task(0, 0), 1, runs).await?;
    assert_eq!(f.view().await?.ready[&class(DEFAULT)], 0);
    Ok(())
}

pub(crate) async fn who_runs_a_task_goes_before_who_gave_it_back_under_reserve(f: StateFixture) -> Result<()> {
    f.state.close_run(f.run).await?;
    f.state.open_run(&f.info, LEASE).await?;
    f.admit(0).await?;
    let (first, second, runs) = (Nonce::random(), Nonce::random(), Nonce::random());
    assert!(matches!(f.claim(task(0, 0), 1, first).await?, Claim::Granted(_)));
    assert_eq!(f.write(&[f.next_attempt(0, 0).await?]).await?, [Written::Done]);
    assert!(matches!(f.claim(task(0, 0), 2, second).await?, Claim::Granted(_)));
    assert_eq!(announce(&f, task(0, 0), 1, runs).await?, AnnouncedTask::Queued(Attempt(2)));
    assert_eq!(f.state.renew(&[lease(&f, task(0, 0), 2, second)], LEASE).await?, [false]);
    f.granted_as(task(0, 0), 2, runs).await
}

pub(crate) async fn what_follows_into_an_epoch_is_claimed_under_reserve(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    f.state.begin_epoch(EPOCH.next()).await?;
    let request = ClaimRequest { epoch: EPOCH.next(), ..f.request(task(0, 0), 1, Nonce::random()) };
    let Claim::Granted(grant) = f.state.claim(&request).await?.remove(0) else { panic!("it is free") };
    assert!(!grant.reserve.is_zero());
    Ok(())
}

pub(crate) async fn what_runs_is_claimed_anew_in_a_paused_run_and_of_a_held_module(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    f.admit(1).await?;
    f.state.hold(f.run, &[ModuleIndex(0)]).await?;
    f.state.set_phase(f.run, Phase::Paused, 1).await?;
    let nonce = Nonce::random();
    assert_eq!(announce(&f, task(0, 0), 1, nonce).await?, AnnouncedTask::Queued(Attempt(1)));
    f.granted_as(task(0, 0), 1, nonce).await?;
    assert_eq!((f.view().await?.running, f.view().await?.on_hold), (1, 1));
    let refused = f.claim(task(1, 0), 1, Nonce::random()).await?;
    assert_eq!(refused, Claim::Refused(ClaimRefusal::NotActive), "what does not run is not begun");
    Ok(())
}
