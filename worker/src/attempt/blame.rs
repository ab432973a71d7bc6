//! Blame: before a module is blamed for how it ended, store and host are asked, and whether they had trouble while it ran. One
//! whose store is full or away, or whose host has no memory left, can do nothing about it. Nor is a host blamed for a kill that
//! has another reason.

use domain::outcome::{FailureKind, Outcome, PlatformErrorKind};
use tokio::time::Instant;

use super::desk::{Desk, Order};
use super::ending::Ending;
use crate::watch::HostTrouble;

/// How it ended in truth: the module's failure, or what store and host lack, or lacked since `began`, that may have brought it
/// about.
pub(super) async fn blame(desk: &Desk, order: &Order, ending: Ending, began: Instant) -> Ending {
    let Ending::Outcome(outcome) = &ending else { return ending };
    let (message, said) = match &**outcome {
        Outcome::Failed(failure) if may_be_the_hosts(failure.kind) => (&failure.message, &failure.log_tail),
        Outcome::Errored(error) if error.kind == PlatformErrorKind::Killed => (&error.message, &error.log_tail),
        Outcome::Succeeded(_)
        | Outcome::Skipped(_)
        | Outcome::UpstreamFailed { .. }
        | Outcome::Failed(_)
        | Outcome::Errored(_) => return ending,
    };
    match desk.watch.trouble(desk.folder_of(order), began).await {
        Some(HostTrouble { kind, reason }) => {
            Ending::stopped(kind, format!("{reason}; the module ended with {message}"), said)
        }
        None => ending,
    }
}

/// Whether a store that cannot be written to, or a host without memory, can look like this. Everything else is about what is in
/// a file that the module wrote, or about limits of its own.
const fn may_be_the_hosts(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Exit
        | FailureKind::TryAgain
        | FailureKind::Signal
        | FailureKind::TimeLimit
        | FailureKind::OutputMissing
        | FailureKind::OutputCorrupt => true,
        FailureKind::OutOfMemory
        | FailureKind::OutputUndeclared
        | FailureKind::UnsupportedType
        | FailureKind::OutputViolates
        | FailureKind::OutputTooLarge
        | FailureKind::Expression => false,
    }
}
