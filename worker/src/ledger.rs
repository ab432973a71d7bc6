//! The claims that a worker holds: what the heartbeat renews, what a sweep must leave alone, what the worker shows.
//!
//! One that was reported is renewed until its completion has settled it: coordinators may be away for longer than a lease, and
//! what ran for hours must not run again for that. Until then its completion is kept, to be published again: a broker that is
//! wiped, or whose queue is purged, has confirmed what nobody will read. A lock around a map, never held across an await.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::id::{ClassName, ModuleName, Nonce, StarId};
use services::queue::Outgoing;
use services::state::{Lease, RunningAttempt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::progress::AttemptProgress;

/// How long a claim is renewed after it was reported; what still has not settled it by then never will.
const REPORTED: Duration = Duration::from_secs(600);

/// How long a completion may take to settle its task before it is published again; each further time twice as long.
const AGAIN: Duration = Duration::from_secs(10);

/// Largest completion that is kept for that, in bytes.
const MOST_KEPT: usize = 64 * 1024;

/// How many reported claims are renewed at most: where there are more, attempts are short, and cheap to repeat.
const MOST_REPORTED: usize = 1024;

/// All claims of a worker.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<ClaimsByNonce>);

#[derive(Debug, Default)]
struct ClaimsByNonce {
    by_nonce: BTreeMap<Nonce, Entry>,
    /// How many of them were reported.
    reported: usize,
}

#[derive(Debug)]
struct Entry {
    lease: Lease,
    /// Stops the attempt.
    cancel: CancellationToken,
    stage: ClaimStage,
}

/// How far a claim is.
#[derive(Debug)]
enum ClaimStage {
    /// It waits for a free slot.
    Waits,
    /// It is worked on; what it is about, where that is known.
    Runs(Option<Subject>),
    /// The broker has its completion.
    Reported(ReportedClaim),
}

/// A claim whose completion was confirmed by the broker.
#[derive(Debug)]
struct ReportedClaim {
    /// When that was.
    at: Instant,
    /// How long it may take from then on to settle the task before it is published again.
    patience: Duration,
    /// The completion; none where it is too large to be kept.
    completion: Option<Outgoing>,
}

/// What a claim is about, for people.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) star: StarId,
    pub(crate) module: ModuleName,
    pub(crate) class: ClassName,
    /// When it began.
    pub(crate) since: jiff::Timestamp,
    pub(crate) progress: AttemptProgress,
}

/// A claim that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct HeldClaim {
    ledger: Arc<Ledger>,
    nonce: Nonce,
}

impl Ledger {
    /// Notes a claim whose attempt has not begun; `cancel` stops it when the claim is lost.
    pub(crate) fn hold(self: &Arc<Self>, lease: Lease, cancel: CancellationToken) -> HeldClaim {
        let nonce = lease.nonce;
        self.lock().insert(Entry { lease, cancel, stage: ClaimStage::Waits });
        HeldClaim { ledger: Arc::clone(self), nonce }
    }

    /// Every lease that is to be renewed.
    pub(crate) fn leases(&self) -> Vec<Lease> {
        let mut held = self.lock();
        let is_old =
            |entry: &Entry| matches!(&entry.stage, ClaimStage::Reported(claim) if claim.at.elapsed() >= REPORTED);
        let old: Vec<Nonce> = held.all().filter(|entry| is_old(entry)).map(|entry| entry.lease.nonce).collect();
        old.into_iter().for_each(|nonce| held.remove(nonce));
        held.all().map(|entry| entry.lease.clone()).collect()
    }

    /// Completions that have not settled their tasks for so long that they may be lost.
    pub(crate) fn unsettled(&self) -> Vec<Outgoing> {
        let mut held = self.lock();
        let due = held.by_nonce.values_mut().filter_map(|entry| match &mut entry.stage {
            ClaimStage::Reported(claim) if claim.at.elapsed() >= claim.patience => {
                // So that it comes 10, 30, 70, 150 and 310 seconds after the first time.
                claim.patience = claim.patience * 2 + AGAIN;
                claim.completion.clone()
            }
            ClaimStage::Reported(_) | ClaimStage::Waits | ClaimStage::Runs(_) => None,
        });
        due.collect()
    }

    /// Whether a claim with this nonce is held; it is written as labels of containers have it.
    pub(crate) fn knows(&self, nonce: &str) -> bool {
        self.lock().by_nonce.keys().any(|known| known.to_string() == nonce)
    }

    /// How many attempts run or are about to be reported.
    pub(crate) fn len(&self) -> usize {
        self.lock().all().filter(|entry| matches!(entry.stage, ClaimStage::Runs(_))).count()
    }

    /// The attempts that run, or are about to be reported, oldest first, each with its class.
    pub(crate) fn attempts(&self) -> Vec<(ClassName, RunningAttempt)> {
        let held = self.lock();
        let known = held.all().filter_map(|Entry { lease, stage, .. }| {
            let ClaimStage::Runs(Some(Subject { star, module, class, since, progress })) = stage else { return None };
            let attempt = RunningAttempt {
                run: lease.run,
                star: *star,
                module: module.clone(),
                attempt: lease.attempt,
                since: *since,
                phase: progress.phase(),
                last_line: progress.last_line.text(),
            };
            Some((class.clone(), attempt))
        });
        let mut attempts: Vec<_> = known.collect();
        attempts.sort_by_key(|(_, attempt)| attempt.since);
        attempts
    }

    /// Stops an attempt whose claim is lost, and forgets one that was reported. True when an attempt is stopped.
    pub(crate) fn lose(&self, lease: &Lease) -> bool {
        let mut held = self.lock();
        let Some(entry) = held.by_nonce.get(&lease.nonce) else { return false };
        match entry.stage {
            ClaimStage::Waits | ClaimStage::Runs(_) => {
                entry.cancel.cancel();
                true
            }
            ClaimStage::Reported(_) => {
                held.remove(lease.nonce);
                false
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, ClaimsByNonce> {
        // Every change leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClaimsByNonce {
    fn all(&self) -> impl Iterator<Item = &Entry> {
        self.by_nonce.values()
    }

    fn insert(&mut self, entry: Entry) {
        self.by_nonce.insert(entry.lease.nonce, entry);
    }

    fn remove(&mut self, nonce: Nonce) {
        let removed = self.by_nonce.remove(&nonce);
        self.reported -= usize::from(removed.is_some_and(|entry| matches!(entry.stage, ClaimStage::Reported(_))));
    }
}

impl HeldClaim {
    /// A slot takes it: what it is about, where that is known.
    pub(crate) fn begins(&self, subject: Option<Subject>) {
        if let Some(entry) = self.ledger.lock().by_nonce.get_mut(&self.nonce) {
            entry.stage = ClaimStage::Runs(subject);
        }
    }

    /// The completion is with the broker; the claim is renewed until it has settled the task.
    pub(crate) fn reported(self, completion: Outgoing) {
        let mut held = self.ledger.lock();
        if held.reported < MOST_REPORTED
            && let Some(entry) = held.by_nonce.get_mut(&self.nonce)
        {
            let completion = Some(completion).filter(|completion| completion.body.len() <= MOST_KEPT);
            entry.stage = ClaimStage::Reported(ReportedClaim { at: Instant::now(), patience: AGAIN, completion });
            held.reported += 1;
        }
    }
}

impl Drop for HeldClaim {
    fn drop(&mut self) {
        let mut held = self.ledger.lock();
        if held.by_nonce.get(&self.nonce).is_some_and(|entry| !matches!(entry.stage, ClaimStage::Reported(_))) {
            held.remove(self.nonce);
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::id::{Attempt, EventId, ModuleIndex, RunId, StarIndex, Task};
    use services::queue::QueueName;

    use super::*;

    fn lease() -> Lease {
        let task = Task { star: StarIndex(0), module: ModuleIndex(0) };
        Lease { run: RunId::of(EventId::of("test", "1"), "P", "1"), task, attempt: Attempt(1), nonce: Nonce::random() }
    }

    fn completion() -> Outgoing {
        Outgoing { queue: QueueName::Completions, body: b"{}".to_vec(), trace: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_completion_that_does_not_settle_its_task_is_published_again_less_and_less_often() {
        let ledger = Arc::new(Ledger::default());
        let lease = lease();
        ledger.hold(lease.clone(), CancellationToken::new()).reported(completion());
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
        ledger.hold(lease.clone(), cancel.clone()).reported(completion());
        assert_eq!((ledger.len(), ledger.leases()), (0, vec![lease.clone()]));
        assert!(!ledger.lose(&lease) && !cancel.is_cancelled());
        assert!(ledger.leases().is_empty());
    }

    #[test]
    fn a_claim_that_is_dropped_or_lost_is_not_renewed() {
        let ledger = Arc::new(Ledger::default());
        let (lease, cancel) = (lease(), CancellationToken::new());
        let held = ledger.hold(lease.clone(), cancel.clone());
        assert!(ledger.lose(&lease) && cancel.is_cancelled());
        drop(held);
        assert!(ledger.leases().is_empty());
    }

    #[test]
    fn no_more_than_so_many_reported_claims_are_renewed() {
        let ledger = Arc::new(Ledger::default());
        for _ in 0..=MOST_REPORTED {
            ledger.hold(lease(), CancellationToken::new()).reported(completion());
        }
        assert_eq!(ledger.leases().len(), MOST_REPORTED);
        let settled = ledger.leases().remove(0);
        ledger.lose(&settled);
        ledger.hold(lease(), CancellationToken::new()).reported(completion());
        assert_eq!(ledger.leases().len(), MOST_REPORTED, "one that was settled makes room");
    }

    #[test]
    fn a_claim_that_waits_for_a_slot_is_renewed_and_does_not_count_as_running() {
        let ledger = Arc::new(Ledger::default());
        let held = ledger.hold(lease(), CancellationToken::new());
        assert_eq!((ledger.leases().len(), ledger.len()), (1, 0));
        held.begins(None);
        assert_eq!((ledger.leases().len(), ledger.len()), (1, 1));
    }
}
