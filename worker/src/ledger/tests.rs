//! The ledger by itself.

use domain::id::{EventId, ModuleIndex, RunId, StarIndex, Task};
use domain::message::{Report, WIRE_VERSION};
use domain::run::{Row, Tries};
use services::queue::QueueName;
use services::state::Admission;

use super::*;

fn lease() -> Lease {
    let task = Task { star: StarIndex(0), module: ModuleIndex(0) };
    Lease { run: RunId::of(EventId::of("test", "1"), "P", "1"), task, attempt: Attempt(1), nonce: Nonce::random() }
}

fn hold(ledger: &Arc<Ledger>, lease: &Lease, cancel: &CancellationToken) -> HeldClaim {
    ledger.hold((lease.clone(), Epoch(1)), cancel.clone(), None)
}

fn grant() -> Arc<Grant> {
    Arc::new(Grant {
        row: Row::fresh(1),
        upstream: BTreeMap::new(),
        admission: Admission::default(),
        tries: Tries { attempt: Attempt(1), science: 0, platform: 0 },
        amended: 0,
        waited: None,
        reserve: Duration::ZERO,
    })
}

fn ended(lease: &Lease) -> EndedAttempt {
    let completion = Completion {
        v: WIRE_VERSION,
        epoch: Epoch(1),
        run: lease.run,
        task: lease.task,
        attempt: lease.attempt,
        nonce: lease.nonce,
        worker: "a-1".parse().unwrap(),
        started: jiff::Timestamp::UNIX_EPOCH,
        millis: 1,
        claim: None,
        key: None,
        result: Report::GivenBack,
    };
    EndedAttempt { completion, trace: None }
}

fn completion() -> Outgoing {
    Outgoing { queue: QueueName::Completions, body: b"{}".to_vec(), trace: None }
}

/// The broker has what is reported of it.
fn report(held: HeldClaim, lease: &Lease) {
    assert!(held.reported(ended(lease), completion()).is_none(), "nothing happened to the state");
}

fn forgotten(ledger: &Ledger) -> Vec<Lease> {
    ledger.forgotten().into_iter().map(|claim| claim.lease).collect()
}

#[tokio::test(start_paused = true)]
async fn a_completion_that_does_not_settle_its_task_is_published_again_less_and_less_often() {
    let ledger = Arc::new(Ledger::default());
    let lease = lease();
    report(hold(&ledger, &lease, &CancellationToken::new()), &lease);
    let mut times = Vec::new();
    for second in 1..=100 {
        tokio::time::advance(Duration::from_secs(1)).await;
        times.extend(ledger.unsettled().iter().map(|_| second));
    }
    assert_eq!(times, [10, 30, 70]);
    ledger.lose(&lease);
    tokio::time::advance(REPORTED).await;
    assert!(ledger.unsettled().is_empty());
}

#[test]
fn a_reported_claim_is_renewed_until_it_is_settled_and_stops_nobody() {
    let ledger = Arc::new(Ledger::default());
    let (lease, cancel) = (lease(), CancellationToken::new());
    report(hold(&ledger, &lease, &cancel), &lease);
    assert_eq!((ledger.len(), ledger.leases(true)), (0, vec![lease.clone()]));
    ledger.misses(&lease);
    assert!(!cancel.is_cancelled());
    assert!(ledger.leases(true).is_empty());
}

#[test]
fn a_claim_that_is_dropped_or_lost_is_not_renewed() {
    let ledger = Arc::new(Ledger::default());
    let (lease, cancel) = (lease(), CancellationToken::new());
    let held = hold(&ledger, &lease, &cancel);
    ledger.lose(&lease);
    assert!(cancel.is_cancelled());
    drop(held);
    assert!(ledger.leases(true).is_empty());
}

#[test]
fn no_more_than_so_many_reported_claims_are_renewed() {
    let ledger = Arc::new(Ledger::default());
    for _ in 0..=MOST_REPORTED {
        let lease = lease();
        report(hold(&ledger, &lease, &CancellationToken::new()), &lease);
    }
    assert_eq!(ledger.leases(true).len(), MOST_REPORTED);
    let settled = ledger.leases(true).remove(0);
    ledger.lose(&settled);
    let lease = lease();
    report(hold(&ledger, &lease, &CancellationToken::new()), &lease);
    assert_eq!(ledger.leases(true).len(), MOST_REPORTED, "one that was settled makes room");
}

#[test]
fn a_claim_that_waits_for_a_slot_is_renewed_and_does_not_count_as_running() {
    let ledger = Arc::new(Ledger::default());
    let held = hold(&ledger, &lease(), &CancellationToken::new());
    assert_eq!((ledger.leases(true).len(), ledger.len()), (1, 0));
    held.begins(None, &grant());
    assert_eq!((ledger.leases(true).len(), ledger.len()), (1, 1));
}

#[test]
fn what_runs_goes_on_though_the_state_has_forgotten_it_and_is_reported_as_it_is_adopted() {
    let ledger = Arc::new(Ledger::default());
    let (lease, cancel) = (lease(), CancellationToken::new());
    let held = hold(&ledger, &lease, &cancel);
    held.begins(None, &grant());
    ledger.misses(&lease);
    assert!(!cancel.is_cancelled());
    assert_eq!((ledger.leases(true), forgotten(&ledger)), (vec![], vec![lease.clone()]));
    assert!(ledger.adopt(lease.nonce, Epoch(2), Attempt(3)).is_none(), "it runs");
    assert_eq!(ledger.leases(false), [Lease { attempt: Attempt(3), ..lease }]);
    let (_held, reported) = held.ended(ended(&lease)).expect("the state knows it");
    assert_eq!((reported.completion.epoch, reported.completion.attempt), (Epoch(2), Attempt(3)));
}

#[test]
fn what_ends_while_the_state_has_forgotten_it_is_reported_when_it_is_adopted() {
    let ledger = Arc::new(Ledger::default());
    let lease = lease();
    let held = hold(&ledger, &lease, &CancellationToken::new());
    held.begins(None, &grant());
    ledger.misses(&lease);
    assert!(held.ended(ended(&lease)).is_none());
    assert_eq!((ledger.len(), forgotten(&ledger)), (0, vec![lease.clone()]));
    let (_held, reported) = ledger.adopt(lease.nonce, Epoch(2), Attempt(1)).expect("it has ended");
    assert_eq!((reported.completion.epoch, forgotten(&ledger)), (Epoch(2), vec![]));
}

/// The broker was away for long, the state was lost and rebuilt, and the claim adopted: what was said of it is of no epoch that counts.
#[test]
fn what_was_adopted_before_its_completion_was_confirmed_is_reported_once_more() {
    let ledger = Arc::new(Ledger::default());
    let lease = lease();
    let held = hold(&ledger, &lease, &CancellationToken::new());
    held.begins(None, &grant());
    let (held, said) = held.ended(ended(&lease)).expect("the state knows it");
    ledger.misses(&lease);
    assert!(ledger.adopt(lease.nonce, Epoch(2), Attempt(1)).is_none(), "it is on its way");
    let (held, said) = held.reported(said, completion()).expect("it is said again");
    assert_eq!(said.completion.epoch, Epoch(2));
    assert!(held.reported(said, completion()).is_none());
    assert_eq!((ledger.len(), ledger.leases(true).len()), (0, 1));
}

#[test]
fn what_is_forgotten_before_its_completion_is_confirmed_is_kept_until_it_is_adopted() {
    let ledger = Arc::new(Ledger::default());
    let lease = lease();
    let held = hold(&ledger, &lease, &CancellationToken::new());
    held.begins(None, &grant());
    let (held, said) = held.ended(ended(&lease)).expect("the state knows it");
    ledger.misses(&lease);
    assert!(held.reported(said, completion()).is_none());
    assert_eq!(forgotten(&ledger), std::slice::from_ref(&lease));
    let (_held, said) = ledger.adopt(lease.nonce, Epoch(2), Attempt(1)).expect("it has ended");
    assert_eq!(said.completion.epoch, Epoch(2));
}

#[test]
fn what_is_under_reserve_begins_when_it_was_renewed_then_and_is_not_adopted_before() {
    let ledger = Arc::new(Ledger::default());
    let (lease, cancel, begins) = (lease(), CancellationToken::new(), CancellationToken::new());
    let until = Instant::now() + Duration::from_secs(3);
    let held = ledger.hold((lease.clone(), Epoch(1)), cancel.clone(), Some((until, begins.clone())));
    held.begins(None, &grant());
    ledger.lives(&lease, until - Duration::from_millis(1));
    assert!(!begins.is_cancelled());
    ledger.misses(&lease);
    assert!(cancel.is_cancelled() && ledger.forgotten().is_empty());
    ledger.lives(&lease, until);
    assert!(begins.is_cancelled());
}
