//! Claims and leases: who may run an attempt, and for how long.

use super::*;
use domain::id::Attempt;

pub(crate) async fn a_claim_takes_the_task_out_of_the_outbox_and_is_granted_again(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    f.admit(1).await?;
    let ready = f.state.outbox(f.run, Duration::ZERO, 10).await?;
    f.state.published(f.run, &ready[..1]).await?;
    assert_eq!(f.view().await?.ready[&class(DEFAULT)], 2);
    let nonce = Nonce::random();
    for star in [0, 1] {
        for _ in 0..2 {
            let Claim::Granted(grant) = f.claim(task(star, 0), 1, nonce).await? else { panic!("not granted") };
            assert_eq!(grant.row, f.row(star).await?);
            assert_eq!(grant.admission, admission());
            assert_eq!(grant.tries, Tries { attempt: Attempt(1), science: 0, platform: 0 });
            assert!(grant.upstream.is_empty());
        }
    }
    let view = f.view().await?;
    assert_eq!((view.ready[&class(DEFAULT)], view.running), (0, 2));
    let running = f.state.star(f.run, StarIndex(0)).await?.running;
    let held = &running[&ModuleIndex(0)];
    assert_eq!((running.len(), held.attempt, held.worker.as_str()), (1, Attempt(1), "worker 1 of host"));
    let since = held.since.expect("it is known since when");
    assert!(jiff::Timestamp::now().duration_since(since).as_secs().abs() < 60, "{since}");
    Ok(())
}

pub(crate) async fn a_claim_tells_of_the_newest_amendment(f: StateFixture) -> Result<()> {
    let told = async |star: u32| match f.claim(task(star, 0), 1, Nonce::random()).await? {
        Claim::Granted(grant) => Ok(grant.amended),
        Claim::Refused(refusal) => Err(anyhow::anyhow!("{refusal}")),
    };
    for star in [0, 1, 2] {
        f.admit(star).await?;
    }
    assert_eq!(told(0).await?, 0);
    f.state.amend(f.run, 12).await?;
    assert_eq!(told(1).await?, 12);
    f.state.amend(f.run, 9).await?;
    assert_eq!(told(2).await?, 12, "an older one comes late");
    assert_eq!(f.view().await?.info.amended, 12);
    assert!(matches!(f.state.amend(fixture::other_run(), 1).await, Err(StateError::NoRun(_))));
    Ok(())
}

pub(crate) async fn a_claim_of_anything_but_the_queued_attempt_is_stale(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    let stale = Claim::Refused(ClaimRefusal::Stale);
    assert_eq!(f.claim(task(0, 0), 2, Nonce::random()).await?, stale, "an attempt that is not");
    assert_eq!(f.claim(task(0, 0), 0, Nonce::random()).await?, stale);
    assert_eq!(f.claim(task(0, 1), 1, Nonce::random()).await?, stale, "a task that is blocked");
    assert_eq!(f.claim(task(3, 0), 1, Nonce::random()).await?, stale, "a star that is not admitted");
    f.end(0, 0, TaskState::Succeeded).await?;
    assert_eq!(f.claim(task(0, 0), 1, Nonce::random()).await?, stale, "a task that is settled");
    Ok(())
}

pub(crate) async fn a_grant_carries_what_is_known_upstream(f: StateFixture) -> Result<()> {
    let mut change = f.admission_of(0);
    change.after = StateFixture::with_cell(&change.after, 0, Cell { state: TaskState::Succeeded, tag: 1 });
    change.after = StateFixture::with_cell(&change.after, 2, Cell::queued(Attempt(1)));
    change.queue = vec![(ModuleIndex(2), Attempt(1))];
    change.details = vec![(ModuleIndex(0), detail("first"))];
    assert_eq!(f.write(&[change]).await?, [Written::Done]);
    let mut request = f.request(task(0, 2), 1, Nonce::random());
    request.wishes[0].reads = vec![ModuleIndex(1), ModuleIndex(0)];
    let Claim::Granted(grant) = f.state.claim(&request).await?.remove(0) else { panic!("not granted") };
    assert_eq!(grant.upstream, [(ModuleIndex(0), detail("first"))].into());
    Ok(())
}

pub(crate) async fn a_held_task_is_refused_until_the_lease_runs_out(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    let (mine, other) = (Nonce::random(), Nonce::random());
    let mut request = f.request(task(0, 0), 1, mine);
    request.lease = Duration::from_millis(150);
    assert!(matches!(f.state.claim(&request).await?[..], [Claim::Granted(_)]));
    assert_eq!(f.claim(task(0, 0), 1, other).await?, Claim::Refused(ClaimRefusal::Held));
    f.wait_for_due_lease().await?;
    assert!(matches!(f.claim(task(0, 0), 1, other).await?, Claim::Granted(_)), "nobody acted upon it yet");
    assert_eq!(f.claim(task(0, 0), 1, mine).await?, Claim::Refused(ClaimRefusal::Held));
    let lease = |nonce| Lease { run: f.run, task: task(0, 0), attempt: Attempt(1), nonce };
    assert_eq!(f.state.renew(&[lease(mine), lease(other)], LEASE).await?, [false, true]);
    Ok(())
}

pub(crate) async fn an_expired_lease_is_due_until_acted_upon(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    f.claim_briefly(task(0, 0), 1, Nonce::random()).await?;
    f.wait_for_due_lease().await?;
    for _ in 0..2 {
        assert_eq!(f.lost().await?, [(task(0, 0), Attempt(1))]);
    }
    assert!(f.state.due(f.run, 0, 10, SILENCE).await?.leases.is_empty());
    assert_eq!(f.view().await?.running, 0);
    assert!(f.state.star(f.run, StarIndex(0)).await?.running.is_empty());
    let change = f.next_attempt(0, 0).await?;
    assert_eq!(f.write(&[Change { lease_lost: Some(ModuleIndex(0)), ..change }]).await?, [Written::Done]);
    assert_eq!(f.state.due(f.run, 10, 10, SILENCE).await?, Due::default());
    assert_eq!(f.state.outbox(f.run, Duration::ZERO, 10).await?.len(), 1);
    Ok(())
}

pub(crate) async fn after_a_silence_leases_have_the_time_to_be_renewed(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    let lease = Duration::from_millis(1500);
    let request = ClaimRequest { lease, ..f.request(task(0, 0), 1, Nonce::random()) };
    assert!(matches!(f.state.claim(&request).await?[..], [Claim::Granted(_)]));
    f.state.due(f.run, 10, 10, Duration::ZERO).await?;
    harness::wait_until(Duration::from_secs(10), "the lease runs out", async || {
        f.view().await.is_ok_and(|view| view.running == 0)
    })
    .await?;
    // Nobody asked for longer than a third of the lease.
    let begun = std::time::Instant::now();
    assert!(f.state.due(f.run, 10, 10, Duration::ZERO).await?.leases.is_empty());
    harness::wait_until(Duration::from_secs(10), "the time is over", async || {
        f.state.due(f.run, 10, 10, SILENCE).await.is_ok_and(|due| !due.leases.is_empty())
    })
    .await?;
    assert!(begun.elapsed() >= lease, "named after {:?}", begun.elapsed());
    assert_eq!(f.state.due(f.run, 10, 10, SILENCE).await?.leases.len(), 1, "sweeps that go on begin no other");
    Ok(())
}

pub(crate) async fn lease_lost_changes_nothing_while_the_lease_lives(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    f.granted(task(0, 0), 1).await?;
    let change = Change { lease_lost: Some(ModuleIndex(0)), ..f.next_attempt(0, 0).await? };
    assert_eq!(f.write(&[change]).await?, [Written::Lost]);
    assert_eq!(f.view().await?.running, 1);
    assert_eq!(f.row(0).await?.cell(ModuleIndex(0)), Cell::queued(Attempt(1)));
    f.admit(1).await?;
    let change = Change { lease_lost: Some(ModuleIndex(0)), ..f.next_attempt(1, 0).await? };
    assert_eq!(f.write(&[change]).await?, [Written::Done], "a lease that is not there does not live");
    Ok(())
}

pub(crate) async fn a_lease_that_ran_out_lives_again_when_renewed_in_time(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    let nonce = Nonce::random();
    f.claim_briefly(task(0, 0), 1, nonce).await?;
    f.wait_for_due_lease().await?;
    let lease = Lease { run: f.run, task: task(0, 0), attempt: Attempt(1), nonce };
    let wrong_attempt = Lease { attempt: Attempt(2), ..lease.clone() };
    let wrong_task = Lease { task: task(0, 1), ..lease.clone() };
    let wrong_nonce = Lease { nonce: Nonce::random(), ..lease.clone() };
    let renewed = f.state.renew(&[wrong_attempt, lease, wrong_task, wrong_nonce], LEASE).await?;
    assert_eq!(renewed, [false, true, false, false]);
    assert_eq!(f.state.due(f.run, 10, 10, SILENCE).await?, Due::default());
    let change = Change { lease_lost: Some(ModuleIndex(0)), ..f.next_attempt(0, 0).await? };
    assert_eq!(f.write(&[change]).await?, [Written::Lost], "the coordinator decided on what was due before");
    Ok(())
}

pub(crate) async fn a_change_of_the_cell_takes_its_lease(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    let nonce = f.granted(task(0, 0), 1).await?;
    f.end(0, 0, TaskState::Cancelled).await?;
    let lease = Lease { run: f.run, task: task(0, 0), attempt: Attempt(1), nonce };
    assert_eq!(f.state.renew(&[lease], LEASE).await?, [false]);
    assert_eq!(f.view().await?.running, 0);
    Ok(())
}

pub(crate) async fn leases_of_many_runs_renew_together(f: StateFixture) -> Result<()> {
    let other = RunInfo { run: fixture::other_run(), ..f.info.clone() };
    f.state.open_run(&other, Duration::ZERO).await?;
    f.admit(0).await?;
    f.admit(1).await?;
    f.state.write(other.run, EPOCH, None, &[f.admission_of(0)]).await?;
    let mine = [f.granted(task(0, 0), 1).await?, f.granted(task(1, 0), 1).await?];
    let nonce = Nonce::random();
    let request = ClaimRequest { run: other.run, ..f.request(task(0, 0), 1, nonce) };
    assert!(matches!(f.state.claim(&request).await?[..], [Claim::Granted(_)]));
    let lease = |run, star, nonce| Lease { run, task: task(star, 0), attempt: Attempt(1), nonce };
    let leases = [
        lease(f.run, 0, mine[0]),
        lease(other.run, 0, nonce),
        lease(f.run, 1, mine[0]),
        lease(f.run, 1, mine[1]),
        lease(other.run, 1, nonce),
    ];
    assert_eq!(f.state.renew(&leases, LEASE).await?, [true, true, false, true, false]);
    assert_eq!(f.state.renew(&[], LEASE).await?, [false; 0]);
    Ok(())
}

pub(crate) async fn claims_that_come_together_are_decided_each_for_itself(f: StateFixture) -> Result<()> {
    for star in 0..3 {
        f.admit(star).await?;
    }
    let held = f.granted(task(2, 0), 1).await?;
    let [first, second, third] = std::array::from_fn(|_| Nonce::random());
    let wish = |star, module, attempt, nonce| f.wish(task(star, module), attempt, nonce);
    let wishes = vec![
        wish(0, 0, 1, first),
        wish(0, 1, 1, second),
        wish(0, 0, 1, second),
        wish(1, 0, 2, second),
        wish(1, 0, 1, third),
        wish(2, 0, 1, first),
        wish(2, 0, 1, held),
        wish(STARS, 0, 1, first),
    ];
    let request = ClaimRequest { wishes, ..f.request(task(0, 0), 1, first) };
    let words: Vec<String> = f.state.claim(&request).await?.iter().map(word).collect();
    assert_eq!(words, ["granted", "stale", "held", "stale", "granted", "held", "granted", "stale"]);
    assert_eq!((f.view().await?.running, f.view().await?.ready[&class(DEFAULT)]), (3, 0));
    let words: Vec<String> = f.state.claim(&request).await?.iter().map(word).collect();
    assert_eq!(words, ["granted", "stale", "held", "stale", "granted", "held", "granted", "stale"], "asked again");
    assert!(f.state.claim(&ClaimRequest { wishes: Vec::new(), ..request }).await?.is_empty());
    Ok(())
}

fn word(claim: &Claim) -> String {
    match claim {
        Claim::Granted(_) => "granted".to_owned(),
        Claim::Refused(refusal) => refusal.to_string(),
    }
}

pub(crate) async fn who_speaks_of_a_task_must_have_claimed_it(f: StateFixture) -> Result<()> {
    f.admit(0).await?;
    let (mine, other) = (Nonce::random(), Nonce::random());
    let says = async |nonce, may_be_gone| -> Result<Written> {
        let claimed = vec![ClaimedTask { module: ModuleIndex(0), nonce, may_be_gone }];
        Ok(f.write(&[Change { claimed, ..f.next_attempt(0, 0).await? }]).await?.remove(0))
    };
    let unclaimed = |is_held| Written::Unclaimed { module: ModuleIndex(0), is_held };
    let before = f.star(0).await?;
    assert_eq!(says(mine, false).await?, unclaimed(false), "nobody has claimed it");
    assert!(matches!(f.claim(task(0, 0), 1, mine).await?, Claim::Granted(_)));
    assert_eq!(says(other, false).await?, unclaimed(true), "somebody else has");
    assert_eq!(says(other, true).await?, unclaimed(true));
    assert_eq!(f.star(0).await?, before, "nothing has changed");
    assert_eq!(says(mine, false).await?, Written::Done);
    assert_eq!(says(other, true).await?, Written::Done, "nobody has claimed the next attempt, nor need anybody");
    Ok(())
}
