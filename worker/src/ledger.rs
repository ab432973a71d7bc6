//! The claims that a worker holds: what the heartbeat renews, what a sweep must leave alone, what the worker shows.
//!
//! One that was reported is renewed until its completion has settled it: coordinators may be away for longer than a lease, and
//! what ran for hours must not run again for that. Until then its completion is kept, to be published again: a broker that is
//! wiped, or whose queue is purged, has confirmed what nobody will read. What runs though the state has forgotten it is kept, too,
//! until it is adopted. A lock around a map, never held across an await.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::id::{Attempt, ClassName, Epoch, ModuleName, Nonce, StarId, TraceContext};
use domain::message::Completion;
use services::queue::Outgoing;
use services::state::{Grant, Lease, RunningAttempt};
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
    /// The epoch in which it was claimed.
    epoch: Epoch,
    /// Stops the attempt.
    cancel: CancellationToken,
    stage: ClaimStage,
    /// Until when it is under reserve, and what lets it begin then.
    reserve: Option<(Instant, CancellationToken)>,
}

/// How far a claim is.
#[derive(Debug)]
enum ClaimStage {
    /// It waits for a free slot.
    Waits,
    /// It is worked on.
    Runs(RunningClaim),
    /// It ended while the state did not know it: to be reported when it does.
    Ended { grant: Arc<Grant>, ended: Box<EndedAttempt> },
    /// The broker has its completion.
    Reported(ReportedClaim),
}

/// A claim that is worked on.
#[derive(Debug)]
struct RunningClaim {
    /// What it is about, where that is known.
    subject: Option<Subject>,
    /// What it rests on.
    grant: Arc<Grant>,
    /// Whether the state has forgotten it.
    is_forgotten: bool,
}

/// A claim that the state has forgotten.
#[derive(Debug, Clone)]
pub(crate) struct ForgottenClaim {
    pub(crate) lease: Lease,
    /// Star and module of what still runs, and since when, where that is known.
    pub(crate) begun: Option<(StarId, ModuleName, jiff::Timestamp)>,
}

/// How an attempt ended that is not reported yet.
#[derive(Debug)]
pub(crate) struct EndedAttempt {
    pub(crate) completion: Completion,
    /// Its span.
    pub(crate) trace: Option<TraceContext>,
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
    /// Notes a claim whose attempt has not begun; `cancel` stops it when the claim is lost. One that is under reserve for a while
    /// may begin when the last token says so.
    pub(crate) fn hold(
        self: &Arc<Self>,
        (lease, epoch): (Lease, Epoch),
        cancel: CancellationToken,
        reserve: Option<(Instant, CancellationToken)>,
    ) -> HeldClaim {
        let nonce = lease.nonce;
        self.lock().insert(Entry { lease, epoch, cancel, stage: ClaimStage::Waits, reserve });
        HeldClaim { ledger: Arc::clone(self), nonce }
    }

    /// Leases that are to be renewed and that the state knew when it was last asked: all, or those of what runs.
    pub(crate) fn leases(&self, all: bool) -> Vec<Lease> {
        let mut held = self.lock();
        let is_wanted = |entry: &&Entry| match &entry.stage {
            ClaimStage::Runs(running) => !running.is_forgotten,
            ClaimStage::Ended { .. } => false,
            ClaimStage::Waits | ClaimStage::Reported(_) => all || entry.reserve.is_some(),
        };
        let is_old =
            |entry: &Entry| matches!(&entry.stage, ClaimStage::Reported(claim) if claim.at.elapsed() >= REPORTED);
        let old: Vec<Nonce> = held.all().filter(|entry| is_old(entry)).map(|entry| entry.lease.nonce).collect();
        old.into_iter().for_each(|nonce| held.remove(nonce));
        held.all().filter(is_wanted).map(|entry| entry.lease.clone()).collect()
    }

    /// What runs, or has ended since, though the state has forgotten it.
    pub(crate) fn forgotten(&self) -> Vec<ForgottenClaim> {
        let held = self.lock();
        let forgotten = held.all().filter_map(|Entry { lease, stage, .. }| {
            let begun = match stage {
                ClaimStage::Runs(RunningClaim { is_forgotten: true, subject, .. }) => {
                    subject.as_ref().map(|subject| (subject.star, subject.module.clone(), subject.since))
                }
                ClaimStage::Ended { .. } => None,
                ClaimStage::Runs(_) | ClaimStage::Waits | ClaimStage::Reported(_) => return None,
            };
            Some(ForgottenClaim { lease: lease.clone(), begun })
        });
        forgotten.collect()
    }

    /// A lease lived when it was asked for at this moment.
    pub(crate) fn lives(&self, lease: &Lease, asked: Instant) {
        if let Some(entry) = self.lock().by_nonce.get_mut(&lease.nonce)
            && let Some((_, begins)) = entry.reserve.take_if(|(until, _)| *until <= asked)
        {
            begins.cancel();
        }
    }

    /// The state does not know a lease: forgets what was reported, and stops what has not begun. What runs may be adopted.
    pub(crate) fn misses(&self, lease: &Lease) {
        let mut held = self.lock();
        let Some(entry) = held.by_nonce.get_mut(&lease.nonce) else { return };
        match &mut entry.stage {
            ClaimStage::Runs(running) if entry.reserve.is_none() => running.is_forgotten = true,
            ClaimStage::Waits | ClaimStage::Runs(_) => entry.cancel.cancel(),
            ClaimStage::Ended { .. } => {}
            ClaimStage::Reported(_) => held.remove(lease.nonce),
        }
    }

    /// What a claim rests on whose attempt has begun.
    pub(crate) fn grant(&self, nonce: Nonce) -> Option<Arc<Grant>> {
        match &self.lock().by_nonce.get(&nonce)?.stage {
            ClaimStage::Runs(RunningClaim { grant, .. }) | ClaimStage::Ended { grant, .. } => Some(Arc::clone(grant)),
            ClaimStage::Waits | ClaimStage::Reported(_) => None,
        }
    }

    /// The state knows a claim again, as this attempt of this epoch. What is to be reported now, where it has ended.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        nonce: Nonce,
        epoch: Epoch,
        attempt: Attempt,
    ) -> Option<(HeldClaim, EndedAttempt)> {
        let mut held = self.lock();
        let entry = held.by_nonce.get_mut(&nonce)?;
        (entry.epoch, entry.lease.attempt) = (epoch, attempt);
        let grant = match &mut entry.stage {
            ClaimStage::Runs(running) => {
                running.is_forgotten = false;
                return None;
            }
            ClaimStage::Ended { grant, .. } => Arc::clone(grant),
            ClaimStage::Waits | ClaimStage::Reported(_) => return None,
        };
        let runs = ClaimStage::Runs(RunningClaim { subject: None, grant, is_forgotten: false });
        let ClaimStage::Ended { mut ended, .. } = std::mem::replace(&mut entry.stage, runs) else { return None };
        (ended.completion.epoch, ended.completion.attempt) = (epoch, attempt);
        Some((HeldClaim { ledger: Arc::clone(self), nonce }, *ended))
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
            ClaimStage::Reported(_) | ClaimStage::Waits | ClaimStage::Runs(_) | ClaimStage::Ended { .. } => None,
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
            let ClaimStage::Runs(RunningClaim { subject: Some(subject), .. }) = stage else { return None };
            let Subject { star, module, class, since, progress } = subject;
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

    /// A claim is lost: stops its attempt, and forgets one that has ended.
    pub(crate) fn lose(&self, lease: &Lease) {
        let mut held = self.lock();
        let Some(entry) = held.by_nonce.get(&lease.nonce) else { return };
        match entry.stage {
            ClaimStage::Waits | ClaimStage::Runs(_) => entry.cancel.cancel(),
            ClaimStage::Ended { .. } | ClaimStage::Reported(_) => held.remove(lease.nonce),
        }
    }

    fn lock(&self) -> MutexGuard<'_, ClaimsByNonce> {
        // Every change leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// How an attempt ended, as the attempt that the state knows; what the state has forgotten is kept until it is adopted.
    fn as_known(&mut self, mut ended: EndedAttempt) -> Option<EndedAttempt> {
        (ended.completion.epoch, ended.completion.attempt) = (self.epoch, self.lease.attempt);
        let ClaimStage::Runs(RunningClaim { grant, is_forgotten: true, .. }) = &self.stage else { return Some(ended) };
        let grant = Arc::clone(grant);
        self.stage = ClaimStage::Ended { grant, ended: Box::new(ended) };
        None
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
    /// A slot takes it: what it is about, where that is known, and what it rests on.
    pub(crate) fn begins(&self, subject: Option<Subject>, grant: &Arc<Grant>) {
        if let Some(entry) = self.ledger.lock().by_nonce.get_mut(&self.nonce) {
            let grant = Arc::clone(grant);
            entry.stage = ClaimStage::Runs(RunningClaim { subject, grant, is_forgotten: false });
        }
    }

    /// Its attempt ended. Returns what is to be reported now, as the attempt that the state knows; what the state has forgotten is
    /// kept until it is adopted.
    pub(crate) fn ended(self, ended: EndedAttempt) -> Option<(Self, EndedAttempt)> {
        let mut held = self.ledger.lock();
        let ended = match held.by_nonce.get_mut(&self.nonce) {
            Some(entry) => entry.as_known(ended)?,
            None => ended,
        };
        drop(held);
        Some((self, ended))
    }

    /// The completion is with the broker; the claim is renewed until it has settled the task. What the state was lost over meanwhile
    /// nobody believes: that is kept until it is adopted or, where it was already, returned to be reported as the state knows it.
    pub(crate) fn reported(self, ended: EndedAttempt, message: Outgoing) -> Option<(Self, EndedAttempt)> {
        let mut held = self.ledger.lock();
        let has_room = held.reported < MOST_REPORTED;
        let said = (ended.completion.epoch, ended.completion.attempt);
        let entry = held.by_nonce.get_mut(&self.nonce)?;
        let ended = entry.as_known(ended)?;
        if (ended.completion.epoch, ended.completion.attempt) != said {
            drop(held);
            return Some((self, ended));
        }
        if has_room {
            let completion = Some(message).filter(|message| message.body.len() <= MOST_KEPT);
            entry.stage = ClaimStage::Reported(ReportedClaim { at: Instant::now(), patience: AGAIN, completion });
            held.reported += 1;
        }
        None
    }
}

impl Drop for HeldClaim {
    fn drop(&mut self) {
        let mut held = self.ledger.lock();
        let is_kept = |entry: &Entry| matches!(entry.stage, ClaimStage::Reported(_) | ClaimStage::Ended { .. });
        if held.by_nonce.get(&self.nonce).is_some_and(|entry| !is_kept(entry)) {
            held.remove(self.nonce);
        }
    }
}

#[cfg(test)]
mod tests;
