//! Operators' decisions about a run, summed up, and whether one more of them makes sense.
//!
//! [`read`] looks into the store; the rest is pure.

mod remembered;

use std::collections::BTreeSet;

use domain::id::RunId;
pub(crate) use remembered::Remembered;
use services::state::Phase;
use store::runs::{Decided, Decision, RunEnd, Selection, is_over};
use store::{Store, StoreError};

/// How a run stands by its operators' decisions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether it goes on.
    pub(crate) phase: Phase,
    /// Its weight, 1 or more.
    pub(crate) weight: u32,
    /// What is to become of tasks, where nobody followed it to the end yet, in its order.
    pub(crate) to_follow: Vec<(u64, TaskOrder)>,
    /// Retries since it last ended, followed or not.
    pub(crate) since_end: Vec<Selection>,
    /// The newest decision.
    pub(crate) newest: u64,
    /// The newest decision to resume; 0 when there is none.
    pub(crate) resumed: u64,
    /// The newest decision that amends images; 0 when none does.
    pub(crate) amended: u64,
    /// Whether it ended and no retry was asked for since.
    pub(crate) is_over: bool,
}

/// What is to become of tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TaskOrder {
    /// Those that have ended run again.
    Retry(Selection),
    /// Those that have not are cancelled.
    Cancel(Selection),
}

/// What one more decision would come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sense {
    /// Something.
    Changes,
    /// It is so already.
    Already,
    /// Nothing any more: the run has ended.
    Ended,
    /// Nothing any more: the run is being cancelled.
    Cancelling,
}

/// What the store says that operators want of a run. Blocks on the disk.
pub(crate) fn read(store: &Store, run: RunId) -> Result<Standing, StoreError> {
    let end = store.run_end(run)?;
    let decisions = store.decisions(run)?;
    let followed = if decisions.is_empty() { BTreeSet::new() } else { store.followed(run)? };
    Ok(sum_up(&decisions, &followed, end.as_ref()))
}

/// Sums decisions up. The last word on pausing and weight counts; a cancelled run stays cancelled, until tasks of it are
/// retried after it ended.
pub(crate) fn sum_up(decisions: &[(u64, Decision)], followed: &BTreeSet<u64>, end: Option<&RunEnd>) -> Standing {
    let ended_at = end.map(|end| end.decisions);
    let mut standing = Standing {
        phase: Phase::Active,
        weight: 1,
        to_follow: Vec::new(),
        since_end: Vec::new(),
        newest: 0,
        resumed: 0,
        amended: 0,
        is_over: is_over(decisions, end),
    };
    for (number, decision) in decisions {
        standing.newest = standing.newest.max(*number);
        let is_cancelled = standing.phase == Phase::Cancelling;
        if decision.what == Decided::Resume {
            standing.resumed = *number;
        }
        match &decision.what {
            Decided::Pause if !is_cancelled => standing.phase = Phase::Paused,
            Decided::Resume if !is_cancelled => standing.phase = Phase::Active,
            Decided::Pause | Decided::Resume => {}
            Decided::Cancel => standing.phase = Phase::Cancelling,
            Decided::Priority { weight } => standing.weight = (*weight).max(1),
            Decided::Amend { .. } => standing.amended = standing.amended.max(*number),
            Decided::Retry { selection } => {
                if *number > ended_at.unwrap_or(0) {
                    standing.since_end.push(selection.clone());
                }
                if ended_at.is_some_and(|ended| *number > ended) {
                    standing.phase = Phase::Active;
                }
                if !followed.contains(number) {
                    standing.to_follow.push((*number, TaskOrder::Retry(selection.clone())));
                }
            }
            // What it was about has ended with the run.
            Decided::CancelTasks { .. } if ended_at.is_some_and(|ended| *number <= ended) => {}
            Decided::CancelTasks { selection } => {
                if !followed.contains(number) {
                    standing.to_follow.push((*number, TaskOrder::Cancel(selection.clone())));
                }
            }
        }
    }
    standing
}

impl Standing {
    /// Whether one more decision would change anything.
    pub(crate) fn sense(&self, what: &Decided) -> Sense {
        let is = |phase| if self.phase == phase { Sense::Already } else { Sense::Changes };
        let is_cancelled = self.phase == Phase::Cancelling;
        match what {
            // What has ended is opened again by this alone.
            Decided::Retry { .. } if self.is_over => Sense::Changes,
            // It is for the tasks that are tried again then.
            Decided::Amend { .. } if self.is_over => Sense::Changes,
            _ if self.is_over => Sense::Ended,
            Decided::Cancel => is(Phase::Cancelling),
            _ if is_cancelled => Sense::Cancelling,
            Decided::Pause => is(Phase::Paused),
            Decided::Resume => is(Phase::Active),
            Decided::Priority { weight } if *weight == self.weight => Sense::Already,
            Decided::Priority { .. } | Decided::Retry { .. } | Decided::CancelTasks { .. } | Decided::Amend { .. } => {
                Sense::Changes
            }
        }
    }

    /// Whether tasks are to be tried again that nobody opened yet.
    pub(crate) fn has_retries(&self) -> bool {
        self.to_follow.iter().any(|(_, order)| matches!(order, TaskOrder::Retry(_)))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn decided(all: &[Decided]) -> Vec<(u64, Decision)> {
        let decision =
            |what: &Decided| Decision { at: Timestamp::UNIX_EPOCH, by: "test".to_owned(), what: what.clone() };
        (1..).zip(all.iter().map(decision)).collect()
    }

    fn ended(decisions: u64) -> RunEnd {
        RunEnd {
            ended: Timestamp::UNIX_EPOCH,
            decisions,
            counts: Default::default(),
            stars: Default::default(),
            remarks: Default::default(),
            took: Default::default(),
        }
    }

    fn check(all: &[Decided], followed: &[u64], end: Option<RunEnd>) -> Standing {
        sum_up(&decided(all), &followed.iter().copied().collect(), end.as_ref())
    }

    fn amend() -> Decided {
        Decided::Amend { images: Default::default() }
    }

    const ALL: Selection =
        Selection { modules: BTreeSet::new(), stars: BTreeSet::new(), states: BTreeSet::new(), tasks: None };
    const RETRY: Decided = Decided::Retry { selection: ALL };
    const CANCEL: Decided = Decided::CancelTasks { selection: ALL };

    #[test]
    fn the_last_word_counts_and_a_cancelled_run_stays_cancelled() {
        assert_eq!(check(&[Decided::Pause, Decided::Resume], &[], None).phase, Phase::Active);
        assert_eq!(check(&[Decided::Resume, Decided::Pause], &[], None).phase, Phase::Paused);
        assert_eq!(check(&[Decided::Cancel, Decided::Resume], &[], None).phase, Phase::Cancelling);
        assert_eq!(check(&[Decided::Priority { weight: 0 }], &[], None).weight, 1);
    }

    #[test]
    fn an_amendment_opens_nothing_and_is_known_by_its_number() {
        let orders = check(&[amend(), Decided::Pause, amend(), Decided::Resume], &[], Some(ended(0)));
        assert_eq!((orders.amended, orders.newest, orders.is_over), (3, 4, true));
    }

    #[test]
    fn a_retry_is_followed_once() {
        assert!(check(&[RETRY], &[], None).has_retries());
        assert!(!check(&[RETRY], &[1], None).has_retries());
    }

    #[test]
    fn what_is_to_become_of_tasks_is_followed_in_its_order_and_nothing_is_cancelled_after_the_end() {
        let (retry, cancel) = (TaskOrder::Retry(ALL), TaskOrder::Cancel(ALL));
        let orders = check(&[CANCEL, RETRY, CANCEL], &[], None);
        assert_eq!(orders.to_follow, [(1, cancel.clone()), (2, retry.clone()), (3, cancel)]);
        assert_eq!(check(&[CANCEL, RETRY], &[], Some(ended(1))).to_follow, [(2, retry)]);
        assert!(check(&[CANCEL], &[], Some(ended(0))).is_over, "it opens nothing");
    }

    #[test]
    fn only_a_later_retry_opens_a_run_that_ended() {
        assert!(check(&[RETRY], &[1], Some(ended(1))).is_over);
        assert!(check(&[RETRY, Decided::Resume], &[1], Some(ended(1))).is_over);
        let again = check(&[Decided::Cancel, RETRY], &[], Some(ended(1)));
        assert!(!again.is_over);
        assert_eq!(again.phase, Phase::Active);
        assert_eq!(again.since_end.len(), 1);
    }

    #[test]
    fn a_decision_that_changes_nothing_is_known_before_it_is_written() {
        let weight = |weight| Decided::Priority { weight };
        for (before, end, what, expected) in [
            (&[][..], None, Decided::Pause, Sense::Changes),
            (&[], None, Decided::Resume, Sense::Already),
            (&[Decided::Pause], None, Decided::Pause, Sense::Already),
            (&[Decided::Pause], None, Decided::Resume, Sense::Changes),
            (&[], None, weight(1), Sense::Already),
            (&[weight(3)], None, weight(1), Sense::Changes),
            (&[Decided::Cancel], None, Decided::Cancel, Sense::Already),
            (&[Decided::Cancel], None, Decided::Resume, Sense::Cancelling),
            (&[Decided::Cancel], None, RETRY, Sense::Cancelling),
            (&[Decided::Cancel], Some(1), RETRY, Sense::Changes),
            (&[Decided::Cancel], Some(1), Decided::Cancel, Sense::Ended),
            (&[], Some(0), Decided::Pause, Sense::Ended),
            (&[], Some(0), CANCEL, Sense::Ended),
            (&[], None, CANCEL, Sense::Changes),
            (&[Decided::Cancel], None, CANCEL, Sense::Cancelling),
            (&[], Some(0), weight(2), Sense::Ended),
            (&[RETRY], Some(0), Decided::Pause, Sense::Changes),
            (&[], Some(0), amend(), Sense::Changes),
            (&[Decided::Cancel], None, amend(), Sense::Cancelling),
        ] {
            let orders = check(before, &[], end.map(ended));
            assert_eq!(orders.sense(&what), expected, "{what:?} after {before:?}, ended {end:?}");
        }
    }
}
