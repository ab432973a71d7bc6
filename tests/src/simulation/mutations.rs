//! What broken protocols do otherwise about runs, rows and completions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use domain::id::{Attempt, Epoch, ModuleIndex, RunId, StarIndex};
use domain::message::{Completion, Report};
use domain::outcome::Outcome;
use domain::run::{Cell, Graph, TaskState};
use services::state::{Change, CursorMove, RunInfo, SharedState, StateError, Written};

use super::Faults;
use super::life::Life;
use super::mutant::Mutant;

/// What mutants remember.
#[derive(Default)]
pub(super) struct Mutations {
    /// Runs that were opened once.
    opened: Mutex<BTreeSet<RunId>>,
    /// How many tasks each waits for, for those that were decremented.
    left: Mutex<BTreeMap<(RunId, StarIndex, ModuleIndex), usize>>,
}

impl Mutations {
    /// Opens a run.
    pub(super) async fn open_run(
        &self,
        faults: &Faults,
        state: SharedState,
        (info, reserve): (&RunInfo, Duration),
    ) -> Result<(), StateError> {
        let is_first = self.opened.lock().unwrap().insert(info.run);
        if faults.breaks(Mutant::NoComparison) && !is_first {
            return Ok(());
        }
        state.open_run(info, reserve).await
    }

    /// Writes changes.
    pub(super) async fn write(
        &self,
        (faults, life, state): (&Faults, &Life, SharedState),
        (run, epoch, cursor): (RunId, Epoch, Option<CursorMove>),
        changes: &[Change],
    ) -> Result<Vec<Written>, StateError> {
        let mut changes = changes.to_vec();
        if faults.breaks(Mutant::NoNonce) {
            changes.iter_mut().for_each(|change| change.claimed.clear());
        }
        if faults.breaks(Mutant::TriesNotCompared) {
            let stars: Vec<StarIndex> = changes.iter().map(|change| change.star).collect();
            for (change, now) in changes.iter_mut().zip(state.load(run, &stars).await?) {
                change.expected.tries = now.tries;
            }
        }
        if !faults.breaks(Mutant::OutboxApart) {
            return state.write(run, epoch, cursor, &changes).await;
        }
        let queues: Vec<_> = changes.iter_mut().map(|change| std::mem::take(&mut change.queue)).collect();
        let written = state.write(run, epoch, cursor, &changes).await?;
        life.may_die(0.02).await;
        let done = changes.into_iter().zip(queues).zip(&written).filter(|(_, written)| **written == Written::Done);
        let entries = done.filter(|((_, queue), _)| !queue.is_empty()).map(|((change, queue), _)| Change {
            star: change.star,
            expected: change.after.clone(),
            after: change.after,
            queue,
            ..Change::default()
        });
        state.write(run, epoch, None, &entries.collect::<Vec<_>>()).await?;
        Ok(written)
    }

    /// A completion is delivered, maybe not for the first time.
    pub(super) async fn completed(&self, state: SharedState, graph: &Graph, completion: &Completion) {
        let (run, star) = (completion.run, completion.task.star);
        if !matches!(completion.result, Report::Ended(Outcome::Succeeded(_))) {
            return;
        }
        let downstream =
            graph.modules().filter(|module| graph.nodes[module.at()].upstream.contains(&completion.task.module));
        for module in downstream {
            let is_ready = {
                let mut counters = self.left.lock().unwrap();
                let all = || graph.nodes[module.at()].upstream.len();
                let left = counters.entry((run, star, module)).or_insert_with(all);
                *left = left.saturating_sub(1);
                *left == 0
            };
            if is_ready {
                _ = unlock(&state, run, star, module).await;
            }
        }
    }
}

/// Queues a task that is blocked.
async fn unlock(state: &SharedState, run: RunId, star: StarIndex, module: ModuleIndex) -> Result<(), StateError> {
    let expected = state.load(run, &[star]).await?.remove(0);
    if expected.row.is_fresh() || expected.row.cell(module).state != TaskState::Blocked {
        return Ok(());
    }
    let mut after = expected.clone();
    after.row.set(module, Cell::queued(Attempt(1)));
    let change = Change { star, expected, after, queue: vec![(module, Attempt(1))], ..Change::default() };
    let epoch = state.epoch().await?;
    state.write(run, epoch, None, &[change]).await.map(drop)
}
