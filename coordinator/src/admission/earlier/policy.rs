//! What becomes of a star for the sake of its quarter before. Pure.

use domain::id::RunId;
use domain::pipeline::PreviousPolicy;
use store::runs::{QuarterVerdict, StarEnd};

/// How the quarter before of a star stands in the runs of its pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QuarterBefore {
    /// It is in none.
    Unknown,
    /// This run has not settled it.
    GoesOn(RunId),
    /// It ended so in the newest of them.
    Ended(RunId, StarEnd),
}

/// The newest decisions about the star's own run: of all, and of those to resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct OwnDecisions {
    pub(super) newest: u64,
    pub(super) resumed: u64,
}

/// What becomes of a star; `noted` is the last word on it. Who may enter once may do so again, in the same way.
pub(super) fn verdict(
    policy: PreviousPolicy,
    before: QuarterBefore,
    noted: Option<QuarterVerdict>,
    own: OwnDecisions,
) -> QuarterVerdict {
    let held_for = match noted {
        Some(verdict @ (QuarterVerdict::Enters | QuarterVerdict::Without { .. })) => return verdict,
        Some(QuarterVerdict::Held { run, decisions, .. }) => Some((run, decisions)),
        Some(QuarterVerdict::Waits { .. }) | None => None,
    };
    match (policy, before) {
        (_, QuarterBefore::Unknown) => QuarterVerdict::Enters,
        (PreviousPolicy::Wait | PreviousPolicy::Hold, QuarterBefore::GoesOn(run)) => QuarterVerdict::Waits { run },
        (PreviousPolicy::Without, QuarterBefore::GoesOn(run)) => QuarterVerdict::Without { run, end: None },
        (_, QuarterBefore::Ended(_, end)) if is_well(end) => QuarterVerdict::Enters,
        (PreviousPolicy::Wait, QuarterBefore::Ended(..)) => QuarterVerdict::Enters,
        (PreviousPolicy::Without, QuarterBefore::Ended(run, end)) => QuarterVerdict::Without { run, end: Some(end) },
        (PreviousPolicy::Hold, QuarterBefore::Ended(run, end)) => match held_for {
            Some((of, decisions)) if of == run && own.resumed > decisions => QuarterVerdict::Enters,
            Some((of, decisions)) if of == run => QuarterVerdict::Held { run, end, decisions },
            Some(_) | None => QuarterVerdict::Held { run, end, decisions: own.newest },
        },
    }
}

/// Whether there is something to go on from.
fn is_well(end: StarEnd) -> bool {
    match end {
        StarEnd::Complete | StarEnd::Incomplete => true,
        StarEnd::Failed | StarEnd::Cancelled | StarEnd::Superseded => false,
    }
}

#[cfg(test)]
mod tests {
    use domain::id::EventId;

    use super::*;

    fn run(name: &str) -> RunId {
        RunId::of(EventId::of("t", name), "P", "1")
    }

    fn check(policy: PreviousPolicy, before: QuarterBefore, noted: Option<QuarterVerdict>, expected: QuarterVerdict) {
        let own = OwnDecisions { newest: 5, resumed: 3 };
        assert_eq!(verdict(policy, before, noted, own), expected, "{policy} {before:?} {noted:?}");
    }

    #[test]
    fn every_policy_says_what_becomes_of_a_quarter_that_goes_on_or_failed() {
        use PreviousPolicy::{Hold, Wait, Without};
        let (goes_on, failed) = (QuarterBefore::GoesOn(run("a")), QuarterBefore::Ended(run("a"), StarEnd::Failed));
        let (run, end) = (run("a"), StarEnd::Failed);
        let waits = QuarterVerdict::Waits { run };
        let enters = QuarterVerdict::Enters;
        check(Wait, goes_on, None, waits);
        check(Wait, failed, Some(waits), enters);
        check(Without, goes_on, None, QuarterVerdict::Without { run, end: None });
        check(Without, failed, None, QuarterVerdict::Without { run, end: Some(end) });
        check(Hold, goes_on, None, waits);
        check(Hold, failed, Some(waits), QuarterVerdict::Held { run, end, decisions: 5 });
        for policy in [Wait, Without, Hold] {
            check(policy, QuarterBefore::Unknown, None, enters);
            check(policy, QuarterBefore::Ended(run, StarEnd::Complete), Some(waits), enters);
            check(policy, QuarterBefore::Ended(run, StarEnd::Incomplete), None, enters);
        }
    }

    #[test]
    fn who_is_held_enters_when_an_operator_says_so_or_the_quarter_before_is_mended() {
        use PreviousPolicy::Hold;
        let (first, end) = (run("a"), StarEnd::Failed);
        let held = |run, decisions| QuarterVerdict::Held { run, end, decisions };
        let failed = |run| QuarterBefore::Ended(run, end);
        check(Hold, failed(first), Some(held(first, 2)), QuarterVerdict::Enters);
        check(Hold, failed(first), Some(held(first, 3)), held(first, 3));
        check(Hold, failed(run("b")), Some(held(first, 2)), held(run("b"), 5));
        check(Hold, QuarterBefore::Ended(first, StarEnd::Complete), Some(held(first, 3)), QuarterVerdict::Enters);
        check(Hold, QuarterBefore::GoesOn(first), Some(held(first, 3)), QuarterVerdict::Waits { run: first });
    }

    #[test]
    fn who_entered_once_enters_again_in_the_same_way() {
        let without = QuarterVerdict::Without { run: run("a"), end: None };
        let complete = QuarterBefore::Ended(run("a"), StarEnd::Complete);
        check(PreviousPolicy::Without, complete, Some(without), without);
        check(
            PreviousPolicy::Wait,
            QuarterBefore::GoesOn(run("b")),
            Some(QuarterVerdict::Enters),
            QuarterVerdict::Enters,
        );
    }
}
