//! What is heard of a program that serves, and what it means where that is no line.

use super::super::Exit;
use super::LONGEST;
use super::words::{self, Reply};

/// What came of listening for a line.
pub(super) enum Heard {
    Line(Vec<u8>),
    /// More than a line may be long.
    Endless,
    /// It ended.
    Ended(Exit),
    /// It must be stopped.
    Stopped(Exit),
}

impl Heard {
    pub(super) fn line(self) -> Result<Vec<u8>, Self> {
        match self {
            Self::Line(line) => Ok(line),
            other @ (Self::Endless | Self::Ended(_) | Self::Stopped(_)) => Err(other),
        }
    }

    /// What it means that something was not said.
    pub(super) fn unsaid(self, heard: &[u8], expected: &str) -> Reply {
        match self {
            Self::Line(line) => words::nonsense(&line, expected),
            Self::Endless => words::nonsense(heard, &format!("{expected}, in a line of {LONGEST} bytes at most")),
            Self::Ended(Exit::Code(0)) => {
                Reply::Nonsense(format!("it ended with exit code 0, expected {expected}{}", words::instead(heard)))
            }
            Self::Ended(exit) | Self::Stopped(exit) => Reply::Over(exit),
        }
    }
}
