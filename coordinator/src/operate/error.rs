//! Why an operator did not get what he asked for: a kind for programs, words for people.

use domain::error::chain;
use domain::message::Unreadable;
use domain::pipeline::Mistakes;
use serde::{Deserialize, Serialize};
use services::queue::QueueError;
use services::state::StateError;
use store::StoreError;
use store::agent::AgentError;

use crate::trouble::Trouble;

/// What kind of no it is: exit codes and HTTP statuses follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ErrorKind {
    /// The request makes no sense, whatever the installation holds.
    Invalid,
    /// What it names is not there.
    NotFound,
    /// It cannot be done as things stand; the words say what would have to be otherwise.
    Refused,
    /// There is nothing left to do.
    AlreadySo,
    /// A service does not answer, or refuses.
    OutOfReach,
    /// It did not happen in time; it may yet.
    TimedOut,
    /// Something is broken: a file is damaged, a disk is full.
    Failed,
}

/// The one error of this room. Its words are a line, with the causes and, where there is one, the next step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct OperateError {
    /// For programs.
    pub kind: ErrorKind,
    /// For people.
    pub message: String,
    /// Whether a service answers and forbids it, which waiting does not mend. Known where it was asked alone.
    #[serde(skip)]
    pub forbids: bool,
}

impl OperateError {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), forbids: false }
    }

    /// What is named is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// It cannot be done as things stand.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, message)
    }

    /// The same, with what was being done.
    #[must_use]
    pub fn within(self, doing: &str) -> Self {
        Self { message: format!("{doing}: {}", self.message), ..self }
    }

    /// An error of this kind in the words of another one and its causes.
    fn of(kind: ErrorKind, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(kind, chain(error))
    }
}

impl From<StoreError> for OperateError {
    fn from(error: StoreError) -> Self {
        let kind = match error {
            StoreError::NotAStore(_) | StoreError::NotFound { .. } => ErrorKind::NotFound,
            StoreError::Away(_) => ErrorKind::OutOfReach,
            StoreError::Format { .. }
            | StoreError::Unusable { .. }
            | StoreError::Io { .. }
            | StoreError::Damaged { .. }
            | StoreError::Newer { .. }
            | StoreError::BadPath { .. } => ErrorKind::Failed,
        };
        Self::of(kind, &error)
    }
}

impl From<StateError> for OperateError {
    fn from(error: StateError) -> Self {
        let kind = if error.is_away() { ErrorKind::OutOfReach } else { ErrorKind::Failed };
        Self { forbids: matches!(error, StateError::Misconfigured(_)), ..Self::of(kind, &error) }
    }
}

impl From<QueueError> for OperateError {
    fn from(error: QueueError) -> Self {
        let is_away = matches!(error, QueueError::Unreachable(_));
        Self::of(if is_away { ErrorKind::OutOfReach } else { ErrorKind::Failed }, &error)
    }
}

impl From<AgentError> for OperateError {
    fn from(error: AgentError) -> Self {
        Self::of(ErrorKind::Failed, &error)
    }
}

impl From<Trouble> for OperateError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Queue(error) => error.into(),
            Trouble::State(error) => error.into(),
            Trouble::Store(error) => error.into(),
            Trouble::Agent(error) => error.into(),
            Trouble::Contended { .. } | Trouble::Foreign { .. } => Self::of(ErrorKind::Failed, &trouble),
        }
    }
}

impl From<Mistakes> for OperateError {
    fn from(mistakes: Mistakes) -> Self {
        Self::of(ErrorKind::Failed, &mistakes)
    }
}

impl From<Unreadable> for OperateError {
    fn from(error: Unreadable) -> Self {
        Self::of(ErrorKind::Refused, &error)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_error_says_its_kind_to_programs_and_all_causes_once_to_people() {
        let denied = StoreError::Io { doing: "link", path: "x".into(), source: io::ErrorKind::PermissionDenied.into() };
        let run = "8a6e0804-2bd0-4672-b79d-d97027f9071a".parse().unwrap();
        let kinds: [(OperateError, ErrorKind, &str); 7] = [
            (StoreError::NotAStore("x".into()).into(), ErrorKind::NotFound, "is not a store"),
            (denied.into(), ErrorKind::Failed, "failed to link `x`: permission denied"),
            (StateError::Unreachable("x".into()).into(), ErrorKind::OutOfReach, "state out of reach: x"),
            (StateError::Unexpected("x".into()).into(), ErrorKind::OutOfReach, "state answers strangely: x"),
            (StateError::Misconfigured("refuses".into()).into(), ErrorKind::OutOfReach, "refuses"),
            (StateError::NoRun(run).into(), ErrorKind::Failed, "is not in the state"),
            (QueueError::Refused("x".into()).into(), ErrorKind::Failed, "message broker refused: x"),
        ];
        for (error, kind, words) in kinds {
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.message.contains(words), "{error}");
            assert_eq!(error.forbids, words == "refuses", "{error}");
            let within = error.within("failed to do it");
            assert!(within.kind == kind && within.message.starts_with("failed to do it: "), "{within}");
        }
        let json = serde_json::to_string(&OperateError::not_found("no run")).unwrap();
        assert_eq!(json, r#"{"kind":"not_found","message":"no run"}"#);
    }
}
