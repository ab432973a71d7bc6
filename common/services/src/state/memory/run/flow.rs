//! Where the tasks of a run in memory are, and what moved of late.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::id::{ModuleIndex, Task};
use domain::run::TaskState;
use tokio::time::Instant;

use super::{BothClocks, Run};
use crate::state::flow::{Moves, PERIOD, PERIODS, Period, RunFlow, TaskPlaces};

impl Run {
    /// Counts of the period that goes on now; those that are too old to be shown are forgotten.
    pub(super) fn moves_of(&mut self, module: ModuleIndex, now: Instant) -> &mut Moves {
        let period = self.period(now);
        if !self.moves.contains_key(&period) {
            self.moves.retain(|of, _| of + PERIODS >= period);
        }
        self.moves.entry(period).or_default().entry(module).or_default()
    }

    pub(in crate::state::memory) fn flow(&self, now: BothClocks) -> RunFlow {
        let mut counts: BTreeMap<ModuleIndex, BTreeMap<TaskState, u64>> = BTreeMap::new();
        for (&(module, state), &count) in &self.counts {
            counts.entry(module).or_default().insert(state, count);
        }
        let of = |module: ModuleIndex| move |task: &Task| task.module == module;
        let none = BTreeMap::new();
        let places = |module: ModuleIndex| {
            let leases = || self.leases.iter().filter(move |(task, _)| task.module == module);
            let live = leases().filter(|(_, held)| held.until > now.instant).count() as u64;
            let lost = leases().count() as u64 - live;
            let outbox = self.outbox.iter().filter_map(|(task, since)| Some((task, (*since)?)));
            let published = self.published.iter().map(|(task, since)| (task, *since));
            let is_of = of(module);
            let oldest = outbox.chain(published).filter(|(task, _)| is_of(task)).map(|(_, since)| since).min();
            let due = self.waits.iter().filter(|(task, _)| is_of(task)).map(|(_, due)| *due).min();
            let times = (oldest.map(|at| now.at(at)), due.map(|at| now.at(at)));
            let counts = counts.get(&module).unwrap_or(&none);
            (module, TaskPlaces::of(counts, (live, lost), self.info.held.contains(&module), times))
        };
        let modules = (0..=u8::MAX).map(ModuleIndex).take(self.info.modules.len());
        RunFlow { modules: modules.map(places).collect(), periods: self.periods(now) }
    }

    /// The last whole periods; those before the run was opened are empty.
    fn periods(&self, now: BothClocks) -> Vec<Period> {
        let current = self.period(now.instant);
        let began = self.opened + times(PERIOD, current);
        let period = |back: u64| Period {
            from: now.before(now.instant.saturating_duration_since(began) + times(PERIOD, back)),
            moves: current.checked_sub(back).and_then(|of| self.moves.get(&of)).cloned().unwrap_or_default(),
        };
        (1..=PERIODS).rev().map(period).collect()
    }

    fn period(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.opened).as_secs() / PERIOD.as_secs()
    }
}

fn times(one: Duration, count: u64) -> Duration {
    one.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}
