//! What can be read of a run in memory.

use std::collections::BTreeMap;

use domain::id::{ClassName, StarIndex, Task};
use jiff::Timestamp;
use tokio::time::Instant;

use super::{LeaseHolder, Run, count};
use crate::state::{Counts, OpenPlace, OpenTask, ROWS_BLOCK, RunView, RunningTask, StarView, StateError};

/// A moment on both clocks: the one that timers run by, and the one that people read.
#[derive(Debug, Clone, Copy)]
pub(in crate::state::memory) struct BothClocks {
    pub(in crate::state::memory) instant: Instant,
    pub(in crate::state::memory) wall: Timestamp,
}

impl BothClocks {
    /// What people's clock showed so long before.
    pub(super) fn before(self, time: std::time::Duration) -> Timestamp {
        self.wall.saturating_sub(time).unwrap_or(self.wall)
    }

    /// What people's clock showed, or will show, at another moment.
    pub(super) fn at(self, other: Instant) -> Timestamp {
        let (before, after) =
            (self.instant.saturating_duration_since(other), other.saturating_duration_since(self.instant));
        self.wall.saturating_sub(before).and_then(|at| at.saturating_add(after)).unwrap_or(self.wall)
    }
}

impl LeaseHolder {
    pub(super) fn running(&self, now: BothClocks) -> RunningTask {
        RunningTask { attempt: self.attempt, worker: self.worker.clone(), since: Some(now.at(self.since)) }
    }
}

impl Run {
    pub(in crate::state::memory) fn view(&self, now: BothClocks) -> RunView {
        let mut counts = Counts::new();
        for (&(module, state), &count) in self.counts.iter().filter(|(_, count)| **count > 0) {
            counts.entry(module).or_default().insert(state, count);
        }
        let mut ready: BTreeMap<ClassName, u64> =
            self.info.modules.iter().map(|(_, class)| (class.clone(), 0)).collect();
        for task in self.outbox.keys().chain(self.published.keys()) {
            *ready.entry(self.class(task.module).clone()).or_default() += 1;
        }
        RunView {
            info: self.info.clone(),
            counts,
            in_flight: count(self.in_flight.len()),
            running: count(self.leases.values().filter(|held| held.until > now.instant).count()),
            ready,
            on_hold: self.on_hold.len() as u64,
            is_moving: false,
            spent: self.spent.clone(),
            moved: self.moved.map(|moved| now.at(moved)),
        }
    }

    pub(in crate::state::memory) fn rows(&self, block: u32) -> Vec<u8> {
        let bytes = self.info.modules.len() * ROWS_BLOCK as usize;
        self.all_rows.chunks(bytes.max(1)).nth(block as usize).unwrap_or_default().to_vec()
    }

    pub(in crate::state::memory) fn star(&self, star: StarIndex, now: BothClocks) -> Result<StarView, StateError> {
        let held = self.leases.iter().filter(|(task, held)| task.star == star && held.until > now.instant);
        let waits = self.waits.iter().filter(|(task, _)| task.star == star);
        let in_flight = self.in_flight.get(&star);
        Ok(StarView {
            star: self.load(star)?,
            details: in_flight.map(|known| known.details.clone()).unwrap_or_default(),
            admission: in_flight.and_then(|known| known.admission.clone()),
            running: held.map(|(task, held)| (task.module, held.running(now))).collect(),
            due: waits.map(|(task, at)| (task.module, now.at(*at))).collect(),
        })
    }

    pub(in crate::state::memory) fn open_tasks(&self, place: OpenPlace, limit: u32, now: BothClocks) -> Vec<OpenTask> {
        let open = |task: Task| OpenTask { task, attempt: self.attempt(task), worker: None, since: None, due: None };
        let mut found: Vec<(Option<Instant>, OpenTask)> = match place {
            OpenPlace::Running => {
                let live = self.leases.iter().filter(|(_, held)| held.until > now.instant);
                let running = |held: &LeaseHolder, task| OpenTask {
                    attempt: held.attempt,
                    worker: Some(held.worker.clone()),
                    ..open(task)
                };
                live.map(|(&task, held)| (Some(held.since), running(held, task))).collect()
            }
            OpenPlace::Queued => {
                let published = self.published.iter().map(|(&task, &since)| (task, Some(since)));
                let queued = self.outbox.iter().map(|(&task, &since)| (task, since)).chain(published);
                queued.map(|(task, since)| (since, open(task))).collect()
            }
            OpenPlace::OnHold => self.on_hold.iter().map(|(&task, &since)| (Some(since), open(task))).collect(),
            OpenPlace::Waiting => self.waits.iter().map(|(&task, &due)| (Some(due), open(task))).collect(),
        };
        found.sort_by_key(|(at, open)| (*at, open.task));
        let shown = found.into_iter().take(limit as usize).map(|(at, open)| {
            let at = at.map(|at| now.at(at));
            match place {
                OpenPlace::Running | OpenPlace::Queued | OpenPlace::OnHold => OpenTask { since: at, ..open },
                OpenPlace::Waiting => OpenTask { due: at, ..open },
            }
        });
        shown.collect()
    }

    pub(in crate::state::memory) fn in_flight(&self, limit: u32) -> Vec<StarIndex> {
        self.in_flight.keys().take(limit as usize).copied().collect()
    }
}
