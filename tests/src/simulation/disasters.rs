//! What happens to whole programs and services, at moments that have nothing to do with what they do.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use domain::id::RunId;
use services::state::SharedState;
use services::state::memory::MemoryState;
use store::runs::{Decided, Decision};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{FaultKind, World};

/// How often something may happen, from what to what.
const PAUSE: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3)];

impl World {
    /// Keeps `count` coordinators at work for `time`, killing one at random every few seconds; leaves one.
    pub async fn crash_coordinators(&self, count: usize, time: Duration) {
        let mut working: Vec<JoinHandle<()>> = (0..count).map(|_| self.coordinator()).collect();
        let end = Instant::now() + time;
        while Instant::now() < end {
            tokio::time::sleep(self.faults.between(Duration::from_millis(100), Duration::from_secs(4))).await;
            self.crash(&mut working).await;
        }
        self.keep_one(working);
    }

    /// Keeps two coordinators at work for `time`, while whole programs and services die, stand still, forget and come back
    /// to what they were; leaves one. `state` is the one that the world began with.
    pub(super) async fn strike(&self, state: &MemoryState, time: Duration) -> Result<()> {
        let mut working: Vec<JoinHandle<()>> = (0..2).map(|_| self.coordinator()).collect();
        let (mut state, mut before) = (state.clone(), state.snapshot());
        let end = Instant::now() + time;
        while Instant::now() < end && self.violations().is_empty() {
            tokio::time::sleep(self.faults.between(PAUSE[0], PAUSE[1])).await;
            if self.faults.happens(FaultKind::CoordinatorKilled, 0.4) {
                self.crash(&mut working).await;
            }
            if self.faults.happens(FaultKind::ProcessFrozen, 0.2) {
                self.freeze();
            }
            if self.faults.happens(FaultKind::ClockSteps, 0.05) {
                tokio::time::advance(self.faults.between(Duration::from_secs(1), Duration::from_secs(40))).await;
            }
            if self.faults.happens(FaultKind::StateAway, 0.05) {
                self.faults.set_state(false);
                tokio::time::sleep(self.faults.between(Duration::from_secs(1), Duration::from_secs(30))).await;
                self.faults.set_state(true);
            }
            if self.faults.happens(FaultKind::BrokerSilent, 0.04) {
                self.faults.set_broker(false);
                tokio::time::sleep(self.faults.between(Duration::from_secs(1), Duration::from_secs(40))).await;
                self.faults.set_broker(true);
            }
            if self.faults.happens(FaultKind::StateFlushed, 0.03) {
                state = MemoryState::new();
                self.replace_state(Arc::new(state.clone()));
            }
            if self.faults.happens(FaultKind::StateRolledBack, 0.03) {
                state = before.snapshot();
                self.replace_state(Arc::new(state.clone()));
            }
            if self.faults.below(4) == 0 {
                before = state.snapshot();
            }
            if self.faults.happens(FaultKind::RunPaused, 0.04) {
                self.pause().await?;
            }
        }
        self.keep_one(working);
        Ok(())
    }

    async fn crash(&self, working: &mut [JoinHandle<()>]) {
        let victim = self.faults.below(working.len());
        working[victim].abort();
        tokio::time::sleep(self.faults.between(Duration::ZERO, Duration::from_secs(2))).await;
        working[victim] = self.coordinator();
    }

    fn keep_one(&self, mut working: Vec<JoinHandle<()>>) {
        for killed in working.drain(1..) {
            killed.abort();
        }
        self.tasks.lock().unwrap().extend(working);
    }

    fn freeze(&self) {
        let time = self.faults.between(Duration::from_secs(1), Duration::from_secs(20));
        let coordinator = self.coordinators.lock().unwrap().iter().rfind(|life| life.is_alive()).cloned();
        let victim = if self.faults.below(2) == 0 { coordinator } else { self.around.witness.some_worker() };
        if let Some(victim) = victim {
            victim.freeze_for(time);
        }
    }

    fn replace_state(&self, state: SharedState) {
        self.around.state.replace(state);
    }

    /// Pauses a run for a while.
    async fn pause(&self) -> Result<()> {
        let Some(run) = self.store.runs()?.first().map(|record| record.run) else { return Ok(()) };
        self.decide(run, Decided::Pause)?;
        tokio::time::sleep(self.faults.between(Duration::from_secs(1), Duration::from_secs(10))).await;
        self.decide(run, Decided::Resume)
    }

    fn decide(&self, run: RunId, what: Decided) -> Result<()> {
        let decision = Decision { at: jiff::Timestamp::UNIX_EPOCH, by: "simulation".to_owned(), what };
        self.store.decide(run, &decision)?;
        Ok(())
    }
}
