//! The pure core: what happens to one star's tasks when something happened.
//!
//! [`advance`]`(graph, star, events)` gives the star's new state and everything that follows from the events; nobody computes
//! again what it says. No clock, queue, store, log or async in here or below: coordinator, embedded run and simulation all
//! use this one. Invariants R1, R2 and R3 of the design are kept here: a task is queued only when its rule is decided, an
//! attempt settles at most once, and when nothing is queued or waiting every task is settled.

mod advance;
mod formula;
mod row;
mod rule;
mod step;

use std::collections::BTreeMap;
use std::time::Duration;

pub use advance::{Advanced, advance};
pub use formula::{Formula, Truth};
pub use row::{Cell, Row, TaskState};
pub use rule::{Cause, Rule, Ruling, StateNeeds, TriggerRule, decide};
use serde::{Deserialize, Serialize};

use crate::id::{Attempt, ModuleIndex};

/// Tries that the platform may spend on one task before it is `errored`: larger than any module's own budget, since
/// these are nobody's fault.
pub const PLATFORM_BUDGET: u32 = 12;

/// The DAG of a pipeline as the core sees it; the same for every star of a run. Nodes are in topological order.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// One node per module; `upstream` of each holds smaller indices only.
    pub nodes: Vec<Node>,
}

/// A module as the core sees it.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it waits for: producers of its inputs and of what its expressions name, and `after`. Without modules that
    /// are switched off.
    pub upstream: Vec<ModuleIndex>,
    /// When it runs.
    pub rule: Rule,
    /// False: it is skipped at once.
    pub enabled: bool,
    /// How often it may be tried, and the wait before the second try; each further wait is twice as long.
    pub retry: Retry,
}

/// A module's own budget of tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, 1 or more.
    pub max_attempts: u32,
    /// Wait before the second try.
    pub backoff: Duration,
}

/// State of one star in one run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Star {
    /// One byte per module.
    pub row: Row,
    /// True counts of tries, only where a task was queued more than once.
    pub tries: BTreeMap<ModuleIndex, Tries>,
}

/// Counts of one task's tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// The newest attempt, counted from 1.
    pub attempt: Attempt,
    /// Tries that the module lost.
    pub science: u32,
    /// Tries that the platform lost.
    pub platform: u32,
}

/// Everything that can happen to a star.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It enters the run.
    Admit,
    /// An attempt ended.
    Ended {
        /// Of which module.
        module: ModuleIndex,
        /// Which attempt.
        attempt: Attempt,
        /// How.
        verdict: Verdict,
    },
    /// The lease on an attempt ran out.
    LeaseLost {
        /// Of which module.
        module: ModuleIndex,
        /// Which attempt.
        attempt: Attempt,
    },
    /// A worker that stops gave an attempt back.
    GivenBack {
        /// Of which module.
        module: ModuleIndex,
        /// Which attempt.
        attempt: Attempt,
    },
    /// The wait before the next try is over.
    Due {
        /// Of which module.
        module: ModuleIndex,
    },
    /// Run this task again, and below it what depends on it: a retry by an operator, or a product that was lost. The task's
    /// budgets begin anew; of those below it the module's own, not the platform's, so that a product that is lost again and
    /// again ends with its reader `errored`.
    Reopen {
        /// Which module.
        module: ModuleIndex,
    },
    /// An operator cancelled one task that has not ended; what cannot do without it is given up.
    CancelTask {
        /// Which module.
        module: ModuleIndex,
    },
    /// A settled star must go on: it leaves the run, to be admitted again like one that never was. Its results are in the
    /// store under their keys, so that only what changed runs again; its attempts go on counting.
    Withdraw,
    /// An operator cancelled all of it that has not ended, with the run or alone.
    Cancel,
    /// A newer run of the same pipeline takes the star over.
    Supersede,
}

/// How an attempt ended, as far as the core cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its products are committed.
    Succeeded,
    /// The worker found that it has nothing to do.
    Skipped,
    /// The worker found that an input was lost to a failure.
    UpstreamFailed,
    /// The module failed.
    Failed {
        /// True when its retry policy lets this kind of failure be tried again.
        again: bool,
    },
    /// The platform failed.
    Errored,
}

/// Why an event changed nothing: normal for late and repeated messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// The star is already in the run.
    #[error("the star is already admitted")]
    AlreadyAdmitted,
    /// The star is not in the run yet.
    #[error("the star is not admitted")]
    NotAdmitted,
    /// The task moved on to another attempt, or settled; or it is to be opened again and is on its way already.
    #[error("the attempt is not the current one")]
    Stale,
    /// The task does not wait for a next try.
    #[error("the task does not wait")]
    NotWaiting,
    /// Everything is settled already.
    #[error("nothing is left to end")]
    Settled,
    /// Something of the star is still to do.
    #[error("the star is not settled")]
    NotSettled,
    /// The graph has no such module.
    #[error("the pipeline has no such module")]
    UnknownModule,
}

impl Graph {
    /// The positions of its modules in topological order.
    pub fn modules(&self) -> impl Iterator<Item = ModuleIndex> + use<> {
        (0..self.nodes.len()).map(|i| ModuleIndex(u8::try_from(i).expect("a pipeline has at most 255 modules")))
    }
}

impl Star {
    /// A star that has not been admitted yet.
    pub fn fresh(graph: &Graph) -> Self {
        Self { row: Row::fresh(graph.nodes.len()), tries: BTreeMap::new() }
    }

    /// The newest attempt of a task; 0 when it was never queued.
    pub fn attempt(&self, module: ModuleIndex) -> Attempt {
        match self.tries.get(&module) {
            Some(tries) => tries.attempt,
            None => Attempt(u32::from(self.row.cell(module).tag != 0)),
        }
    }

    /// Whether every task has ended.
    pub fn is_settled(&self) -> bool {
        self.row.cells().all(|cell| cell.state.is_settled())
    }
}

#[cfg(test)]
mod tests;
