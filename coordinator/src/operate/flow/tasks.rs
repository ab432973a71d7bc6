//! Tasks by module and class, added up over the runs that go on. Pure.

use std::collections::BTreeMap;

use domain::id::{ClassName, ModuleIndex};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use services::state::{Moves, PERIOD, RunFlow, RunView, TaskPlaces};

use super::{ClassFlow, ModuleFlow, PeriodFlow};
use crate::operate::view::to_do;

/// Where tasks are that are not settled.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct TasksFlow {
    /// Ready, and nobody has them. That is what the queue of their class should hold.
    pub ready: u64,
    /// Claimed, with a live lease.
    pub in_progress: u64,
    /// Claimed, with a lease that ran out: they are queued again at once.
    pub lease_lost: u64,
    /// Waiting before their next try.
    pub waiting: u64,
    /// Queued and not handed out, for operators hold their modules.
    pub on_hold: u64,
    /// Blocked by others, or of stars that are not admitted. Conditions may skip some of them.
    pub to_come: u64,
    /// Since when the first of those that are ready is.
    pub oldest: Option<Timestamp>,
    /// When the first of those that wait is due.
    pub due: Option<Timestamp>,
    /// Attempts that became ready in the last whole minute.
    pub entered: u64,
    /// Attempts that ended in the last whole minute.
    pub left: u64,
    /// Slot seconds that all of these are expected to take, as far as their modules are measured.
    pub work: f64,
    /// Modules with tasks to do that are not measured yet.
    pub unmeasured: u32,
}

/// Adds the tasks of a run to those of the classes.
pub(super) fn add(classes: &mut BTreeMap<ClassName, ClassFlow>, view: &RunView, flow: &RunFlow) {
    let work = to_do(view);
    for (index, (module, class)) in (0..=u8::MAX).map(ModuleIndex).zip(&view.info.modules) {
        let Some(places) = flow.modules.get(&index) else { continue };
        let class = classes.entry(class.clone()).or_default();
        let mut tasks = TasksFlow::of(places, work.get(&index).copied().flatten());
        let moves: Vec<Moves> =
            flow.periods.iter().map(|period| period.moves.get(&index).copied().unwrap_or_default()).collect();
        for moves in moves.iter().rev().take((60 / PERIOD.as_secs()) as usize) {
            tasks.entered += moves.entered;
            tasks.left += moves.left;
        }
        class.add_periods(flow, &moves);
        class.tasks.add(&tasks);
        let is_it = |known: &&mut ModuleFlow| known.pipeline == view.info.pipeline && known.module == *module;
        match class.modules.iter_mut().find(is_it) {
            Some(known) => known.tasks.add(&tasks),
            None => {
                let (pipeline, module) = (view.info.pipeline.clone(), module.clone());
                class.modules.push(ModuleFlow { pipeline, module, tasks });
            }
        }
    }
}

impl ClassFlow {
    /// Periods of several runs are the same, but for one that began while they were asked for one after the other: they are
    /// counted from the newest.
    fn add_periods(&mut self, flow: &RunFlow, moves: &[Moves]) {
        if self.periods.is_empty() {
            let empty = |from| PeriodFlow { from, seconds: PERIOD.as_secs(), entered: 0, left: 0 };
            self.periods = flow.periods.iter().map(|period| empty(period.from)).collect();
        }
        for (period, moves) in self.periods.iter_mut().rev().zip(moves.iter().rev()) {
            period.entered += moves.entered;
            period.left += moves.left;
        }
    }
}

impl TasksFlow {
    fn of(places: &TaskPlaces, work: Option<f64>) -> Self {
        let TaskPlaces { to_come, ready, on_hold, in_progress, lease_lost, waiting, oldest, due } = *places;
        Self {
            ready,
            in_progress,
            lease_lost,
            waiting,
            on_hold,
            to_come,
            oldest,
            due,
            entered: 0,
            left: 0,
            work: work.unwrap_or(0.0),
            unmeasured: u32::from(work.is_none()),
        }
    }

    fn add(&mut self, other: &Self) {
        self.ready += other.ready;
        self.in_progress += other.in_progress;
        self.lease_lost += other.lease_lost;
        self.waiting += other.waiting;
        self.on_hold += other.on_hold;
        self.to_come += other.to_come;
        self.oldest = first(self.oldest, other.oldest);
        self.due = first(self.due, other.due);
        self.entered += other.entered;
        self.left += other.left;
        self.work += other.work;
        self.unmeasured += other.unmeasured;
    }
}

fn first(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    [one, other].into_iter().flatten().min()
}
