//! The pure core: what happens to one star's tasks when something happened.
//!
//! `apply(graph, star, event) -> (new state, actions) | Ignored`. No clock, queue, store, log or async in here or below:
//! coordinator, embedded run and simulation all use this one. Invariants R1, R2 and R3 of the design are kept here:
//! a task is queued only when its rule is decided, an attempt settles at most once, and when nothing is queued or
//! waiting every task is settled.

mod formula;
mod row;
mod rule;

use std::collections::BTreeMap;
use std::time::Duration;

pub use formula::{Formula, Truth};
pub use row::{Cell, Row, TaskState};
pub use rule::{Cause, Decision, Needs, Rule, TriggerRule, decide};
use serde::{Deserialize, Serialize};

use crate::id::ModuleIndex;

/// Tries that the platform may spend on one task before it is `errored`: larger than any module's own budget, since
/// these are nobody's fault.
pub const PLATFORM_BUDGET: u32 = 12;

/// Longest wait between two tries.
const MAX_BACKOFF: Duration = Duration::from_secs(600);

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
    pub attempt: u32,
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
        attempt: u32,
        /// How.
        verdict: Verdict,
    },
    /// The lease on an attempt ran out.
    LeaseLost {
        /// Of which module.
        module: ModuleIndex,
        /// Which attempt.
        attempt: u32,
    },
    /// A worker that stops gave an attempt back.
    GivenBack {
        /// Of which module.
        module: ModuleIndex,
        /// Which attempt.
        attempt: u32,
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
    /// A settled star must go on: it leaves the run, to be admitted again like one that never was. Its results are in the
    /// store under their keys, so that only what changed runs again; its attempts go on counting.
    Withdraw,
    /// An operator cancelled the run.
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

/// What the shell must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Publish the task's message.
    Queue {
        /// Which module.
        module: ModuleIndex,
        /// Which attempt.
        attempt: u32,
    },
    /// Send [`Event::Due`] after the delay.
    Wait {
        /// Which module.
        module: ModuleIndex,
        /// How long.
        delay: Duration,
    },
    /// Record why a task was settled without running.
    Decided {
        /// Which module.
        module: ModuleIndex,
        /// Why.
        cause: Cause,
    },
    /// Every task of the star is settled: build its star file.
    Close,
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

/// The new state and what follows from it.
pub type Applied = (Star, Vec<Action>);

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
    pub fn attempt(&self, module: ModuleIndex) -> u32 {
        match self.tries.get(&module) {
            Some(tries) => tries.attempt,
            None => u32::from(self.row.cell(module).tag != 0),
        }
    }

    /// Whether every task has ended.
    pub fn is_settled(&self) -> bool {
        self.row.cells().all(|cell| cell.state.is_settled())
    }

    fn tries(&self, module: ModuleIndex) -> Tries {
        let first = Tries { attempt: self.attempt(module), science: 0, platform: 0 };
        self.tries.get(&module).copied().unwrap_or(first)
    }

    fn set(&mut self, module: ModuleIndex, state: TaskState) {
        self.row.set(module, Cell { state, ..self.row.cell(module) });
    }

    /// Counts one more attempt and queues it.
    fn queue(&mut self, module: ModuleIndex) -> Action {
        let mut tries = self.tries(module);
        tries.attempt += 1;
        if tries.attempt > 1 {
            self.tries.insert(module, tries);
        }
        self.row.set(module, Cell::queued(tries.attempt));
        Action::Queue { module, attempt: tries.attempt }
    }
}

/// What follows when `event` happens to `star`; `Err` says why nothing does.
pub fn apply(graph: &Graph, star: &Star, event: Event) -> Result<Applied, Ignored> {
    match (event, star.row.is_fresh()) {
        (Event::Admit, false) => return Err(Ignored::AlreadyAdmitted),
        (Event::Admit | Event::Cancel | Event::Supersede, true) | (_, false) => {}
        (_, true) => return Err(Ignored::NotAdmitted),
    }
    let mut next = star.clone();
    let mut actions = Vec::new();
    match event {
        Event::Admit => {}
        Event::Ended { module, attempt, verdict } => {
            let state = current(graph, star, module, attempt)?;
            match (state, verdict) {
                (TaskState::Queued, _) => actions.extend(end(graph, &mut next, module, verdict)),
                // A product wins over a failure: the lease ran out for good, but the worker made it after all.
                (TaskState::Failed | TaskState::Errored, Verdict::Succeeded) => {
                    next.set(module, TaskState::Succeeded);
                    reopen_below(graph, &mut next, module);
                }
                _ => return Err(Ignored::Stale),
            }
        }
        Event::LeaseLost { module, attempt } => {
            require_queued(graph, star, module, attempt)?;
            actions.extend(lose_to_platform(&mut next, module, Next::AtOnce));
        }
        Event::GivenBack { module, attempt } => {
            require_queued(graph, star, module, attempt)?;
            actions.push(next.queue(module));
        }
        Event::Due { module } => {
            if state_of(graph, star, module)? != TaskState::Waiting {
                return Err(Ignored::NotWaiting);
            }
            actions.push(next.queue(module));
        }
        Event::Reopen { module } => {
            // Two that ask for the same must not stop the attempt that the first of them began.
            if matches!(state_of(graph, star, module)?, TaskState::Queued | TaskState::Waiting) {
                return Err(Ignored::Stale);
            }
            next.set(module, TaskState::Blocked);
            if let Some(tries) = next.tries.get_mut(&module) {
                tries.platform = 0;
                tries.science = 0;
            }
            reopen_below(graph, &mut next, module);
        }
        Event::Withdraw => {
            if !star.is_settled() {
                return Err(Ignored::NotSettled);
            }
            return Ok((withdrawn(graph, next), actions));
        }
        Event::Cancel => end_all(&mut next, graph, TaskState::Cancelled)?,
        Event::Supersede => end_all(&mut next, graph, TaskState::Superseded)?,
    }
    unlock(graph, &mut next, &mut actions);
    if next.is_settled() {
        actions.push(Action::Close);
    }
    Ok((next, actions))
}

/// Settles or queues every blocked task whose rule is decided. One pass is enough: upstream comes first in the order, and
/// what is switched off, which nothing waits for, before everything else.
fn unlock(graph: &Graph, star: &mut Star, actions: &mut Vec<Action>) {
    let is_enabled = |module: &ModuleIndex| graph.nodes[module.at()].enabled;
    let (enabled, disabled): (Vec<_>, Vec<_>) = graph.modules().partition(is_enabled);
    for module in disabled.into_iter().chain(enabled) {
        if star.row.cell(module).state != TaskState::Blocked {
            continue;
        }
        match decide(&graph.nodes[module.at()], &star.row) {
            Decision::Undecided => {}
            Decision::Run => actions.push(star.queue(module)),
            Decision::Settle(cause) => {
                star.set(module, cause.state());
                actions.push(Action::Decided { module, cause });
            }
        }
    }
}

/// The effect of the end of the current attempt on its own task.
fn end(graph: &Graph, star: &mut Star, module: ModuleIndex, verdict: Verdict) -> Option<Action> {
    match verdict {
        Verdict::Succeeded => star.set(module, TaskState::Succeeded),
        Verdict::Skipped => star.set(module, TaskState::Skipped),
        Verdict::UpstreamFailed => star.set(module, TaskState::UpstreamFailed),
        Verdict::Failed { again } => {
            let retry = graph.nodes[module.at()].retry;
            let mut tries = star.tries(module);
            tries.science += 1;
            if !again || tries.science >= retry.max_attempts {
                star.set(module, TaskState::Failed);
                return None;
            }
            star.tries.insert(module, tries);
            star.set(module, TaskState::Waiting);
            return Some(Action::Wait { module, delay: backoff(retry.backoff, tries.science) });
        }
        Verdict::Errored => return lose_to_platform(star, module, Next::AfterBackoff),
    }
    None
}

enum Next {
    AtOnce,
    AfterBackoff,
}

/// Counts a try that the platform lost; the next one follows while the budget lasts.
fn lose_to_platform(star: &mut Star, module: ModuleIndex, next: Next) -> Option<Action> {
    let mut tries = star.tries(module);
    tries.platform += 1;
    star.tries.insert(module, tries);
    if tries.platform >= PLATFORM_BUDGET {
        star.set(module, TaskState::Errored);
        return None;
    }
    match next {
        Next::AtOnce => Some(star.queue(module)),
        Next::AfterBackoff => {
            star.set(module, TaskState::Waiting);
            Some(Action::Wait { module, delay: backoff(Duration::from_secs(1), tries.platform) })
        }
    }
}

/// Everything below `module` is decided anew; attempts go on counting, so that answers to the old ones are stale.
fn reopen_below(graph: &Graph, star: &mut Star, module: ModuleIndex) {
    let mut below = vec![false; graph.nodes.len()];
    below[module.at()] = true;
    for next in graph.modules().filter(|&m| m > module) {
        let node = &graph.nodes[next.at()];
        below[next.at()] = node.upstream.iter().any(|up| below[up.at()]);
        if below[next.at()] && node.enabled {
            star.set(next, TaskState::Blocked);
            if let Some(tries) = star.tries.get_mut(&next) {
                tries.science = 0;
            }
        }
    }
}

/// A star that is not admitted, but remembers its attempts, so that answers to them are stale.
fn withdrawn(graph: &Graph, mut star: Star) -> Star {
    for module in graph.modules() {
        star.set(module, TaskState::Blocked);
    }
    for tries in star.tries.values_mut() {
        *tries = Tries { attempt: tries.attempt, science: 0, platform: 0 };
    }
    star
}

fn end_all(star: &mut Star, graph: &Graph, state: TaskState) -> Result<(), Ignored> {
    if star.is_settled() {
        return Err(Ignored::Settled);
    }
    for module in graph.modules() {
        if !star.row.cell(module).state.is_settled() {
            star.set(module, state);
        }
    }
    Ok(())
}

fn state_of(graph: &Graph, star: &Star, module: ModuleIndex) -> Result<TaskState, Ignored> {
    if module.at() < graph.nodes.len() { Ok(star.row.cell(module).state) } else { Err(Ignored::UnknownModule) }
}

fn current(graph: &Graph, star: &Star, module: ModuleIndex, attempt: u32) -> Result<TaskState, Ignored> {
    let state = state_of(graph, star, module)?;
    if star.attempt(module) == attempt { Ok(state) } else { Err(Ignored::Stale) }
}

fn require_queued(graph: &Graph, star: &Star, module: ModuleIndex, attempt: u32) -> Result<(), Ignored> {
    if current(graph, star, module, attempt)? == TaskState::Queued { Ok(()) } else { Err(Ignored::Stale) }
}

/// The wait before try `lost + 1`: doubled with every lost try, bounded.
fn backoff(first: Duration, lost: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(lost.saturating_sub(1))).min(MAX_BACKOFF)
}

#[cfg(test)]
mod tests;
