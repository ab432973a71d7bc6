//! One star's tasks as bytes: state in the high four bits, the attempt modulo 16 in the low four.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{Attempt, ModuleIndex};

/// State of a task. The numbers are on disk and in Redis: never reuse one.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::VariantArray,
    strum::FromRepr,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[repr(u8)]
pub enum TaskState {
    /// Waits for tasks upstream.
    Blocked = 0,
    /// Its message is, or will soon be, in a queue, or a worker has it.
    Queued = 1,
    /// Between a try and the next.
    Waiting = 2,
    /// Its products are in the store.
    Succeeded = 3,
    /// The module failed for good.
    Failed = 4,
    /// The platform could not run it.
    Errored = 5,
    /// Nothing to do for this star.
    Skipped = 6,
    /// Something that it needs was lost to a failure.
    UpstreamFailed = 7,
    /// An operator cancelled it, alone or with the run.
    Cancelled = 8,
    /// A newer run took the star over.
    Superseded = 9,
}

impl TaskState {
    /// Whether the task has ended.
    pub const fn is_settled(self) -> bool {
        match self {
            Self::Blocked | Self::Queued | Self::Waiting => false,
            Self::Succeeded
            | Self::Failed
            | Self::Errored
            | Self::Skipped
            | Self::UpstreamFailed
            | Self::Cancelled
            | Self::Superseded => true,
        }
    }

    /// Whether the task ended and its products are lost to a failure.
    pub const fn is_lost(self) -> bool {
        match self {
            Self::Failed | Self::Errored | Self::UpstreamFailed | Self::Cancelled | Self::Superseded => true,
            Self::Blocked | Self::Queued | Self::Waiting | Self::Succeeded | Self::Skipped => false,
        }
    }
}

/// One byte of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// The task's state.
    pub state: TaskState,
    /// Its newest attempt modulo 16.
    pub tag: u8,
}

impl Cell {
    /// The cell of a task whose `attempt` has just been queued.
    pub fn queued(attempt: Attempt) -> Self {
        Self { state: TaskState::Queued, tag: Self::tag_of(attempt) }
    }

    /// The tag of an attempt.
    pub fn tag_of(attempt: Attempt) -> u8 {
        (attempt.0 % 16) as u8
    }
}

/// Why bytes are not a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {at} of the row is {byte:#04x}, which is no task state")]
pub struct InvalidRow {
    at: usize,
    byte: u8,
}

/// The tasks of one star, a byte per module in topological order. All blocked: not admitted; where something is admitted, at
/// least one task is queued, waiting or settled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row(Vec<u8>);

impl Row {
    /// The row of a star that has not been admitted.
    pub fn fresh(modules: usize) -> Self {
        Self(vec![0; modules])
    }

    /// Reads a row back; every byte must hold a state.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, InvalidRow> {
        match bytes.iter().position(|&byte| TaskState::from_repr(byte >> 4).is_none()) {
            Some(at) => Err(InvalidRow { at, byte: bytes[at] }),
            None => Ok(Self(bytes)),
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the star is not admitted.
    pub fn is_fresh(&self) -> bool {
        self.cells().all(|cell| cell.state == TaskState::Blocked)
    }

    /// The cell of a module.
    pub fn cell(&self, module: ModuleIndex) -> Cell {
        cell(self.0[module.at()])
    }

    /// All cells in order.
    pub fn cells(&self) -> impl Iterator<Item = Cell> + '_ {
        self.0.iter().map(|&byte| cell(byte))
    }

    /// Changes the cell of a module.
    pub fn set(&mut self, module: ModuleIndex, cell: Cell) {
        self.0[module.at()] = (cell.state as u8) << 4 | (cell.tag & 0x0f);
    }
}

fn cell(byte: u8) -> Cell {
    let state = TaskState::from_repr(byte >> 4).expect("rows are checked when they are read");
    Cell { state, tag: byte & 0x0f }
}
