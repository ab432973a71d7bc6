//! How the program ends: one code per kind of end, so that scripts can branch on it.

use std::error::Error;
use std::process::ExitCode;

use coordinator::operate::{ErrorKind, OperateError};
use services::definition::LoadError;
use store::StoreError;

/// The work was done, but not all of it: tasks failed, or inputs were missing.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Incomplete(pub(crate) String);

/// The command line is well formed but does not make sense.
pub(crate) fn usage(message: impl Into<String>) -> OperateError {
    OperateError::new(ErrorKind::Invalid, message)
}

/// The code for an error: the first cause that has one of its own decides.
pub(crate) fn code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(error.chain().find_map(code_of).unwrap_or(1))
}

fn code_of(cause: &(dyn Error + 'static)) -> Option<u8> {
    if cause.is::<Incomplete>() {
        return Some(8);
    }
    kind_of(cause).map(|kind| match kind {
        ErrorKind::Refused | ErrorKind::AlreadySo | ErrorKind::Failed => 1,
        ErrorKind::Invalid => 2,
        ErrorKind::NotFound => 3,
        ErrorKind::OutOfReach => 6,
        ErrorKind::TimedOut => 7,
    })
}

fn kind_of(cause: &(dyn Error + 'static)) -> Option<ErrorKind> {
    if let Some(error) = cause.downcast_ref::<OperateError>() {
        return Some(error.kind);
    }
    let no_file = cause.downcast_ref::<LoadError>().is_some_and(LoadError::is_missing);
    let no_store =
        matches!(cause.downcast_ref::<StoreError>(), Some(StoreError::NotAStore(_) | StoreError::NotFound { .. }));
    (no_file || no_store).then_some(ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;
    use services::queue::QueueError;
    use services::state::StateError;

    use super::*;

    #[test]
    fn the_cause_decides_the_code_through_any_context() {
        let of = |error: anyhow::Error| format!("{:?}", code(&error.context("failed to do it")));
        let expected = |number: u8| format!("{:?}", ExitCode::from(number));
        assert_eq!(of(Incomplete("x".into()).into()), expected(8));
        assert_eq!(of(usage("x").into()), expected(2));
        assert_eq!(of(OperateError::not_found("x").into()), expected(3));
        assert_eq!(of(OperateError::refused("x").into()), expected(1));
        assert_eq!(of(OperateError::from(StateError::Unreachable("x".into())).into()), expected(6));
        assert_eq!(of(OperateError::from(QueueError::Unreachable("x".into())).into()), expected(6));
        assert_eq!(of(StoreError::NotAStore("x".into()).into()), expected(3));
        let unread = |kind: io::ErrorKind| LoadError::Read { path: "x".into(), reason: kind.into() };
        assert_eq!(of(unread(io::ErrorKind::NotFound).into()), expected(3));
        assert_eq!(of(unread(io::ErrorKind::PermissionDenied).into()), expected(1));
        assert_eq!(of(anyhow::anyhow!("x")), expected(1));
        let late = OperateError::new(ErrorKind::TimedOut, "x");
        let wrapped: anyhow::Result<()> = Err(late).context("failed to watch");
        assert_eq!(of(wrapped.unwrap_err()), expected(7));
    }
}
