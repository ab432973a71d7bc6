//! What can be read of a run: one star, all of it in numbers, and the tasks that are open.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use domain::id::{Attempt, ClassName, ModuleIndex, Task, WorkerName};
use domain::outcome::Remarks;
use domain::run::{Star, TaskState};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Admission, Detail, RunInfo};

/// Everything about one star of a run in flight, for reading.
#[derive(Debug, Clone, PartialEq)]
pub struct StarView {
    /// Its tasks.
    pub star: Star,
    /// What is known of them.
    pub details: BTreeMap<ModuleIndex, Detail>,
    /// What was fixed at admission.
    pub admission: Option<Admission>,
    /// Tasks with a live lease.
    pub running: BTreeMap<ModuleIndex, RunningTask>,
    /// When the next try of a waiting task is due.
    pub due: BTreeMap<ModuleIndex, Timestamp>,
}

/// A task that a worker has now, or had until its lease ran out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunningTask {
    /// The attempt.
    pub attempt: Attempt,
    /// The worker.
    pub worker: WorkerName,
    /// When it was claimed; `None` where a version before this one wrote the lease.
    pub since: Option<Timestamp>,
}

/// How many tasks of each module are in each state; states with none are left out.
pub type Counts = BTreeMap<ModuleIndex, BTreeMap<TaskState, u64>>;

/// How a run stands.
#[derive(Debug, Clone, PartialEq)]
pub struct RunView {
    /// The run.
    pub info: RunInfo,
    /// Tasks by module and state; equal to what the rows say (P1).
    pub counts: Counts,
    /// Stars that are admitted and not closed.
    pub in_flight: u32,
    /// Attempts with a live lease.
    pub running: u32,
    /// Tasks that are published or about to be and not claimed, by class.
    pub ready: BTreeMap<ClassName, u64>,
    /// Tasks that are queued and not handed out, since their modules are held; they are not among the ready ones.
    pub on_hold: u64,
    /// Whether tasks are still put aside, or back, since other modules are held: whoever did so may have died over it.
    pub is_moving: bool,
    /// When a task of it was settled last; `None` where none was since the state began.
    pub moved: Option<Timestamp>,
    /// What each module took so far; modules that did not run are left out. A state that was lost begins at nothing again.
    pub spent: BTreeMap<ModuleIndex, Spent>,
}

impl RunView {
    /// Stars that have not entered: all their tasks are blocked, and of those of any other star some module's is not. (Where the
    /// admission cursor is says less: stars behind it may be in.)
    pub fn to_come(&self) -> u32 {
        let blocked = |module: u8| {
            let states = self.counts.get(&ModuleIndex(module));
            states.and_then(|states| states.get(&TaskState::Blocked)).copied().unwrap_or(0)
        };
        let least = (0..=u8::MAX).take(self.info.modules.len()).map(blocked).min().unwrap_or(0);
        u32::try_from(least).unwrap_or(u32::MAX)
    }
}

/// What attempts of a module took that made a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spent {
    /// How many there were.
    pub tasks: u64,
    /// How long they took in all, in milliseconds.
    pub millis: u64,
    /// How many results beside these were found, so that nothing ran.
    pub found: u64,
    /// How many of either gave cause for remarks; one that is made again counts again.
    #[serde(default)]
    pub remarks: Remarks,
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.tasks += other.tasks;
        self.millis += other.millis;
        self.found += other.found;
        self.remarks.warned += other.remarks.warned;
        self.remarks.unmade += other.remarks.unmade;
    }
}

/// A place where tasks are that are not settled, and not blocked by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum OpenPlace {
    /// A worker has them, with a live lease.
    Running,
    /// They wait for a free slot.
    Queued,
    /// They are queued, and operators hold their modules.
    OnHold,
    /// They wait before their next try.
    Waiting,
}

/// A task that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTask {
    /// Which.
    pub task: Task,
    /// The attempt that runs or is queued; of one that waits, the attempt before.
    pub attempt: Attempt,
    /// Who has it.
    pub worker: Option<WorkerName>,
    /// Since when it runs, or is queued; `None` where that was forgotten, as when its message was published again.
    pub since: Option<Timestamp>,
    /// When its next try is due.
    pub due: Option<Timestamp>,
}
