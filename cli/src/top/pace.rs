//! How fast runs go: from one look to the next. Pure.

use std::collections::{BTreeMap, VecDeque};

use coordinator::operate::status::Status;
use coordinator::operate::view::RunSummary;
use domain::id::RunId;
use jiff::Timestamp;

/// How many looks are remembered.
const LOOKS: usize = 60;

/// Settled tasks of each run at the last looks.
#[derive(Default)]
pub(super) struct RunPaces(VecDeque<(Timestamp, BTreeMap<RunId, u64>)>);

impl RunPaces {
    pub(super) fn take(&mut self, status: &Status) {
        let settled = status.runs.iter().map(|run| (run.run, settled(run))).collect();
        self.0.push_back((status.at, settled));
        if self.0.len() > LOOKS {
            self.0.pop_front();
        }
    }

    /// Settled tasks of a run per second over the looks that are remembered; `None` before the second one.
    pub(super) fn of(&self, run: RunId) -> Option<f64> {
        let (began, first) = self.0.iter().find_map(|(at, runs)| Some((*at, *runs.get(&run)?)))?;
        let (ended, last) = self.0.iter().rev().find_map(|(at, runs)| Some((*at, *runs.get(&run)?)))?;
        let seconds = ended.duration_since(began).as_secs_f64();
        (seconds > 0.0).then(|| last.saturating_sub(first) as f64 / seconds)
    }

    /// Tasks of all runs that settled between one look and the next, oldest first.
    pub(super) fn history(&self) -> Vec<u64> {
        let totals: Vec<u64> = self.0.iter().map(|(_, runs)| runs.values().sum()).collect();
        totals.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect()
    }
}

fn settled(run: &RunSummary) -> u64 {
    run.tasks.iter().filter(|(state, _)| state.is_settled()).map(|(_, count)| count).sum()
}
