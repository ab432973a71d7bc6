//! How the program ends: one code per kind of end, so that scripts can branch on it.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use coordinator::operate::{ErrorKind, OperateError};
use domain::pipeline::{ContractError, Mistake, Mistakes};
use serde::Serialize;
use services::definition::LoadError;
use store::StoreError;

/// The work was done, but not all of it: tasks failed, or inputs were missing.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Incomplete(pub(crate) String);

/// A side of a comparison is not what it must be: a definition with mistakes, a label that is no contract.
#[derive(Debug, thiserror::Error)]
#[error("nothing to compare")]
pub(crate) struct NotComparable(#[source] pub(crate) anyhow::Error);

/// The command line is well formed but does not make sense.
pub(crate) fn usage(message: impl Into<String>) -> OperateError {
    OperateError::new(ErrorKind::Invalid, message)
}

/// Why a command did not do what it was asked to, or not all of it, as `-o json` says it.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorAnswer {
    /// What kind of no it is.
    pub(crate) kind: String,
    /// The exit code.
    code: u8,
    /// Why, in words, with all causes.
    pub(crate) message: String,
    /// Where a pipeline file is wrong: every mistake of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mistakes: Vec<Mistake>,
}

impl ErrorAnswer {
    /// The first cause that has a kind of its own decides.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        let kind = error.chain().find_map(end_of).unwrap_or(BadEnd::Kind(ErrorKind::Failed));
        let mistakes = error.chain().find_map(mistakes_of);
        Self {
            kind: kind.to_string(),
            code: kind.code(),
            message: format!("{error:#}"),
            mistakes: mistakes.map(|mistakes| mistakes.mistakes.clone()).unwrap_or_default(),
        }
    }

    /// A command line that makes no sense.
    pub(crate) fn usage(message: String) -> Self {
        let kind = BadEnd::Kind(ErrorKind::Invalid);
        Self { kind: kind.to_string(), code: kind.code(), message, mistakes: Vec::new() }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

/// How a command ends that does not end well.
enum BadEnd {
    Incomplete,
    Kind(ErrorKind),
}

impl BadEnd {
    fn code(&self) -> u8 {
        match self {
            Self::Kind(ErrorKind::Refused | ErrorKind::AlreadySo | ErrorKind::Failed) => 1,
            Self::Kind(ErrorKind::Invalid) => 2,
            Self::Kind(ErrorKind::NotFound) => 3,
            Self::Kind(ErrorKind::OutOfReach) => 6,
            Self::Kind(ErrorKind::TimedOut) => 7,
            Self::Incomplete => 8,
        }
    }
}

impl fmt::Display for BadEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("incomplete"),
            Self::Kind(kind) => kind.fmt(f),
        }
    }
}

/// Errors that are transparent for mistakes do not name them as their source.
fn mistakes_of<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a Mistakes> {
    if let Some(LoadError::Mistakes(mistakes)) = cause.downcast_ref() {
        return Some(mistakes);
    }
    if let Some(ContractError::Mistakes(mistakes)) = cause.downcast_ref() {
        return Some(mistakes);
    }
    cause.downcast_ref()
}

fn end_of(cause: &(dyn Error + 'static)) -> Option<BadEnd> {
    if cause.is::<Incomplete>() {
        return Some(BadEnd::Incomplete);
    }
    if cause.is::<NotComparable>() {
        return Some(BadEnd::Kind(ErrorKind::Invalid));
    }
    kind_of(cause).map(BadEnd::Kind)
}

fn kind_of(cause: &(dyn Error + 'static)) -> Option<ErrorKind> {
    if let Some(error) = cause.downcast_ref::<OperateError>() {
        return Some(error.kind);
    }
    if let Some(StoreError::Away(_)) = cause.downcast_ref() {
        return Some(ErrorKind::OutOfReach);
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
        let of = |error: anyhow::Error| ErrorAnswer::of(&error.context("failed to do it")).code;
        assert_eq!(of(Incomplete("x".into()).into()), 8);
        assert_eq!(of(usage("x").into()), 2);
        assert_eq!(of(OperateError::not_found("x").into()), 3);
        assert_eq!(of(OperateError::refused("x").into()), 1);
        assert_eq!(of(OperateError::from(StateError::Unreachable("x".into())).into()), 6);
        assert_eq!(of(OperateError::from(QueueError::Unreachable("x".into())).into()), 6);
        assert_eq!(of(StoreError::NotAStore("x".into()).into()), 3);
        assert_eq!(of(StoreError::Away("x".into()).into()), 6);
        let unread = |kind: io::ErrorKind| LoadError::Read { path: "x".into(), reason: kind.into() };
        assert_eq!(of(unread(io::ErrorKind::NotFound).into()), 3);
        assert_eq!(of(unread(io::ErrorKind::PermissionDenied).into()), 1);
        assert_eq!(of(anyhow::anyhow!("x")), 1);
        let late = OperateError::new(ErrorKind::TimedOut, "x");
        let wrapped: anyhow::Result<()> = Err(late).context("failed to watch");
        assert_eq!(of(wrapped.unwrap_err()), 7);
    }

    #[test]
    fn mistakes_of_files_and_of_labels_are_all_told() {
        let mistake = Mistake { place: None, message: "x".into() };
        let mistakes = Mistakes { file: "x.toml".into(), mistakes: vec![mistake.clone(), mistake] };
        let label: anyhow::Error = ContractError::from(mistakes.clone()).into();
        for error in [LoadError::from(mistakes.clone()).into(), NotComparable(label).into(), mistakes.into()] {
            assert_eq!(ErrorAnswer::of(&error).mistakes.len(), 2, "{error:?}");
        }
    }
}
