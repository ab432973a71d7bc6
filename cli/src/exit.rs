//! How the program ends: one code per kind of end, so that scripts can branch on it.

use std::error::Error;
use std::process::ExitCode;

use coordinator::view::ViewError;
use services::definition::LoadError;
use services::queue::QueueError;
use services::state::StateError;
use store::StoreError;

/// Ends other than success, as the last cause in an error's chain.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    /// What was asked for does not exist.
    #[error("{0}")]
    NotFound(String),
    /// What was asked for did not happen in time.
    #[error("{0}")]
    TimedOut(String),
    /// The work was done, but not all of it: tasks failed, or inputs were missing.
    #[error("{0}")]
    Incomplete(String),
    /// A service does not answer.
    #[error("{0}")]
    OutOfReach(String),
    /// The command line is well formed but does not make sense.
    #[error("{0}")]
    Usage(String),
}

/// The code for an error: the first cause that has one of its own decides.
pub(crate) fn code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(error.chain().find_map(code_of).unwrap_or(1))
}

fn code_of(cause: &(dyn Error + 'static)) -> Option<u8> {
    if let Some(stop) = cause.downcast_ref::<Stop>() {
        return Some(match stop {
            Stop::Usage(_) => 2,
            Stop::NotFound(_) => 3,
            Stop::OutOfReach(_) => 6,
            Stop::TimedOut(_) => 7,
            Stop::Incomplete(_) => 8,
        });
    }
    if let Some(view) = cause.downcast_ref::<ViewError>() {
        // It stands for its cause, which is not in the chain.
        return match view {
            ViewError::NotFound(_) => Some(3),
            ViewError::State(error) => code_of(error),
            ViewError::Store(error) => code_of(error),
            ViewError::Agent(error) => code_of(error),
        };
    }
    let no_file = cause.downcast_ref::<LoadError>().is_some_and(LoadError::is_missing);
    let not_in_store =
        matches!(cause.downcast_ref::<StoreError>(), Some(StoreError::NotAStore(_) | StoreError::NotFound { .. }));
    if no_file || not_in_store {
        return Some(3);
    }
    let no_state = matches!(cause.downcast_ref::<StateError>(), Some(StateError::Unreachable(_)));
    let no_queue = matches!(cause.downcast_ref::<QueueError>(), Some(QueueError::Unreachable(_)));
    (no_state || no_queue).then_some(6)
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;

    use super::*;

    #[test]
    fn the_cause_decides_the_code_through_any_context() {
        let of = |error: anyhow::Error| format!("{:?}", code(&error.context("failed to do it")));
        let expected = |number: u8| format!("{:?}", ExitCode::from(number));
        assert_eq!(of(Stop::NotFound("x".into()).into()), expected(3));
        assert_eq!(of(Stop::Incomplete("x".into()).into()), expected(8));
        assert_eq!(of(StateError::Unreachable("x".into()).into()), expected(6));
        assert_eq!(of(QueueError::Unreachable("x".into()).into()), expected(6));
        assert_eq!(of(ViewError::State(StateError::Unreachable("x".into())).into()), expected(6));
        assert_eq!(of(StoreError::NotAStore("x".into()).into()), expected(3));
        let unread = |kind: io::ErrorKind| LoadError::Read { path: "x".into(), reason: kind.into() };
        assert_eq!(of(unread(io::ErrorKind::NotFound).into()), expected(3));
        assert_eq!(of(unread(io::ErrorKind::PermissionDenied).into()), expected(1));
        assert_eq!(of(anyhow::anyhow!("x")), expected(1));
        let wrapped: anyhow::Result<()> = Err(Stop::TimedOut("x".into())).context("failed to watch");
        assert_eq!(of(wrapped.unwrap_err()), expected(7));
    }
}
