//! How an attempt ends before its end: every way in which a verb can stop it, and what that counts as.

use std::path::{Path, PathBuf};

use domain::error::chain;
use domain::outcome::{Failure, FailureKind, Outcome, PlatformError, PlatformErrorKind};
use store::StoreError;
use store::agent::{AgentError, RefusalKind};

use crate::runner::RunnerError;

/// Most bytes of a log's end that a failure carries in its message; the whole log is in the store.
const TAIL: usize = 2_000;

/// Most characters of a message.
const MESSAGE: usize = 4_000;

/// Why an attempt goes no further.
#[derive(Debug)]
pub(super) enum Ending {
    /// It ended so.
    Outcome(Box<Outcome>),
    /// An input is damaged that can be made again once it is out of the way.
    Damaged(Box<DamagedInput>),
    /// It was told to stop.
    Cancelled,
}

/// A committed file of this quarter that cannot be read.
#[derive(Debug)]
pub(super) struct DamagedInput {
    pub(super) file: PathBuf,
    /// The file's number, by which another that took its place is told from it.
    pub(super) inode: u64,
    /// What the agent said, twice.
    pub(super) error: AgentError,
}

impl Ending {
    pub(super) fn errored(kind: PlatformErrorKind, message: impl Into<String>) -> Self {
        Outcome::Errored(PlatformError::new(kind, bounded(message.into()))).into()
    }

    /// The platform's trouble with a program that ran, with the end of its log.
    pub(super) fn stopped(kind: PlatformErrorKind, message: impl Into<String>, log: &str) -> Self {
        let error = PlatformError::new(kind, bounded(message.into()));
        Outcome::Errored(PlatformError { log_tail: tail(log).to_owned(), ..error }).into()
    }

    /// The module's mistake, with the end of its log.
    pub(super) fn failed(kind: FailureKind, message: impl Into<String>, exit_code: Option<i64>, log: &str) -> Self {
        Outcome::Failed(Failure { kind, message: bounded(message.into()), exit_code, log_tail: tail(log).to_owned() })
            .into()
    }

    /// A committed file could not be read.
    pub(super) fn unreadable(path: &Path, error: &AgentError) -> Self {
        let kind = match error {
            AgentError::Start { .. } => PlatformErrorKind::Store,
            // Nothing is wrong with the file, and making it again would help nobody.
            AgentError::Refused(refusal) if refusal.kind == RefusalKind::Newer => PlatformErrorKind::Store,
            AgentError::Refused(_)
            | AgentError::Died { .. }
            | AgentError::Hung { .. }
            | AgentError::Overspent { .. } => PlatformErrorKind::InputLost,
        };
        Self::errored(kind, format!("failed to read `{}`: {}", path.display(), chain(error)))
    }

    /// How the attempt ended; `None` where it was told to stop.
    pub(super) fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Outcome(outcome) => Some(*outcome),
            Self::Damaged(input) => Self::unreadable(&input.file, &input.error).outcome(),
            Self::Cancelled => None,
        }
    }

    /// The store could not do what it was asked to.
    pub(super) fn store(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::errored(PlatformErrorKind::Store, chain(error))
    }
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        Self::Outcome(Box::new(outcome))
    }
}

impl From<StoreError> for Ending {
    fn from(error: StoreError) -> Self {
        Self::store(&error)
    }
}

impl From<RunnerError> for Ending {
    fn from(error: RunnerError) -> Self {
        let kind = match &error {
            RunnerError::ImageMissing(_) => PlatformErrorKind::ImageMissing,
            RunnerError::Refused(_) => PlatformErrorKind::Refused,
            RunnerError::Engine { .. } => PlatformErrorKind::Engine,
            RunnerError::Directory { .. } => PlatformErrorKind::Store,
        };
        Self::errored(kind, chain(&error))
    }
}

/// A message of bounded length, whatever it quotes.
fn bounded(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(MESSAGE) {
        message.truncate(end);
        message.push('…');
    }
    message
}

/// The last lines of a log.
fn tail(log: &str) -> &str {
    let log = log.trim_end();
    let mut from = log.len().saturating_sub(TAIL);
    while !log.is_char_boundary(from) {
        from += 1;
    }
    match log[from..].find('\n') {
        Some(line) if from > 0 => &log[from + line + 1..],
        Some(_) | None => &log[from..],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_log_is_whole_lines_where_it_has_lines() {
        assert_eq!(tail("one\ntwo\n"), "one\ntwo");
        let long: String = (0..1_000).map(|n| format!("line {n} é\n")).collect();
        assert!(tail(&long).starts_with("line ") && tail(&long).ends_with("line 999 é"));
        let wide = "é".repeat(3_000);
        assert!(tail(&wide).len() <= TAIL);
    }
}
