//! One event: the new state of a star and what follows from it, or why the event changes nothing.

use std::time::Duration;

use super::row::{Cell, TaskState};
use super::rule::{Cause, Ruling, decide};
use super::{Event, Graph, Ignored, PLATFORM_BUDGET, Star, Tries, Verdict};
use crate::id::{Attempt, ModuleIndex};

/// Longest wait between two tries.
const MAX_BACKOFF: Duration = Duration::from_secs(600);

/// What follows from one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Publish the task's message.
    Queue {
        /// Which module.
        module: ModuleIndex,
        /// Which attempt.
        attempt: Attempt,
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

impl Star {
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
        tries.attempt = tries.attempt.next();
        if tries.attempt > Attempt(1) {
            self.tries.insert(module, tries);
        }
        self.row.set(module, Cell::queued(tries.attempt));
        Action::Queue { module, attempt: tries.attempt }
    }
}

/// What follows when `event` happens to `star`; `Err` says why nothing does.
pub(super) fn apply(graph: &Graph, star: &Star, event: Event) -> Result<(Star, Vec<Action>), Ignored> {
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
            actions.extend(lose_to_platform(&mut next, module, NextTry::AtOnce));
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
        Event::CancelTask { module } => {
            if state_of(graph, star, module)?.is_settled() {
                return Err(Ignored::Settled);
            }
            next.set(module, TaskState::Cancelled);
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
            Ruling::Undecided => {}
            Ruling::Run => actions.push(star.queue(module)),
            Ruling::Settle(cause) => {
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
        Verdict::Errored => return lose_to_platform(star, module, NextTry::AfterBackoff),
    }
    None
}

enum NextTry {
    AtOnce,
    AfterBackoff,
}

/// Counts a try that the platform lost; the next one follows while the budget lasts.
fn lose_to_platform(star: &mut Star, module: ModuleIndex, next: NextTry) -> Option<Action> {
    let mut tries = star.tries(module);
    tries.platform += 1;
    star.tries.insert(module, tries);
    if tries.platform >= PLATFORM_BUDGET {
        star.set(module, TaskState::Errored);
        return None;
    }
    match next {
        NextTry::AtOnce => Some(star.queue(module)),
        NextTry::AfterBackoff => {
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

fn current(graph: &Graph, star: &Star, module: ModuleIndex, attempt: Attempt) -> Result<TaskState, Ignored> {
    let state = state_of(graph, star, module)?;
    if star.attempt(module) == attempt { Ok(state) } else { Err(Ignored::Stale) }
}

fn require_queued(graph: &Graph, star: &Star, module: ModuleIndex, attempt: Attempt) -> Result<(), Ignored> {
    if current(graph, star, module, attempt)? == TaskState::Queued { Ok(()) } else { Err(Ignored::Stale) }
}

/// The wait before try `lost + 1`: doubled with every lost try, bounded.
fn backoff(first: Duration, lost: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(lost.saturating_sub(1))).min(MAX_BACKOFF)
}
