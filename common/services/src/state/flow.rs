//! Where the tasks of a run are, module by module, at one moment; and how many came and went of late.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::id::ModuleIndex;
use domain::run::TaskState;
use jiff::Timestamp;

/// How long a period is for which comings and goings are counted.
pub const PERIOD: Duration = Duration::from_secs(15);

/// How many whole periods are remembered.
pub const PERIODS: u64 = 20;

/// Entries of a queue, or of waits, that are looked through for the oldest or next of each module.
pub(super) const LOOKED_AT: usize = 500;

/// Where the tasks of a run are, all seen at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunFlow {
    /// By module; every module of the run is there.
    pub modules: BTreeMap<ModuleIndex, TaskPlaces>,
    /// The last whole periods, [`PERIODS`] of them, oldest first; those in which nothing moved are there, too.
    pub periods: Vec<Period>,
}

/// Where the tasks of a module are that are not settled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskPlaces {
    /// Blocked by others, or of stars that are not admitted.
    pub to_come: u64,
    /// Queued, and nobody has them.
    pub ready: u64,
    /// Queued and not handed out, for operators hold the module.
    pub on_hold: u64,
    /// Claimed, with a live lease.
    pub in_progress: u64,
    /// Claimed, with a lease that ran out and that nobody acted upon yet.
    pub lease_lost: u64,
    /// Waiting before their next try.
    pub waiting: u64,
    /// Since when the first of those that are ready is; `None` where that is not known.
    pub oldest: Option<Timestamp>,
    /// When the first of those that wait is due.
    pub due: Option<Timestamp>,
}

/// What came and went in a [`PERIOD`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// When it began.
    pub from: Timestamp,
    /// By module; those of which nothing moved are left out.
    pub moves: BTreeMap<ModuleIndex, Moves>,
}

/// How many tasks came into the queue of a class, to be claimed, and left it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moves {
    /// Attempts that became ready.
    pub entered: u64,
    /// Attempts that ended, in whichever way.
    pub left: u64,
}

impl TaskPlaces {
    /// From how many are in which state, those that are claimed, and whether the module is held.
    pub(super) fn of(
        counts: &BTreeMap<TaskState, u64>,
        (in_progress, lease_lost): (u64, u64),
        is_held: bool,
        (oldest, due): (Option<Timestamp>, Option<Timestamp>),
    ) -> Self {
        let of = |state| counts.get(&state).copied().unwrap_or(0);
        let unclaimed = of(TaskState::Queued).saturating_sub(in_progress + lease_lost);
        let (ready, on_hold) = if is_held { (0, unclaimed) } else { (unclaimed, 0) };
        Self {
            to_come: of(TaskState::Blocked),
            ready,
            on_hold,
            in_progress,
            lease_lost,
            waiting: of(TaskState::Waiting),
            oldest,
            due,
        }
    }
}
