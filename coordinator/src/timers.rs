//! Everything that hangs on a timer: leases that ran out, waits that are over, messages that got lost, stars and runs to
//! be closed, operators' decisions. No state is without one of these.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::id::{ClassName, RunId, StarIndex, Task};
use domain::outcome::{Outcome, PlatformError, PlatformErrorKind};
use domain::run::Event;
use services::queue::QueueName;
use services::state::{Detail, Due, Phase, RunView, StateError};
use store::StoreError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::advance::dispatch::publish;
use crate::advance::fold::Step;
use crate::advance::{News, Race};
use crate::config::CoordinatorConfig;
use crate::course::Course;
use crate::ports::Ports;
use crate::runs::end::end_if_done;
use crate::runs::follow;
use crate::settle::Closings;
use crate::trouble::{Outage, Trouble, blocking};

/// Timers of each kind that are taken at once.
const AT_ONCE: u32 = 256;

/// Sweeps that may fail to appear before it counts as an outage.
const SILENCES: u32 = 5;

/// How often they are taken before others get their turn.
const ROUNDS: u32 = 16;

/// Messages that are published again at once.
const AGAIN_AT_ONCE: u32 = 1000;

/// Least time between two looks for stars to be closed.
const PAUSE: Duration = Duration::from_millis(10);

/// What is remembered between two sweeps.
pub(crate) struct Sweeper {
    ports: Ports,
    config: CoordinatorConfig,
    closings: Closings,
    /// By how much more messages of a class were published than are in its queue, at the last comparison.
    excess: BTreeMap<ClassName, u64>,
}

impl Sweeper {
    pub(crate) fn new(ports: Ports, config: CoordinatorConfig, closings: Closings) -> Self {
        Self { ports, config, closings, excess: BTreeMap::new() }
    }

    /// Sweeps until `shutdown`.
    pub(crate) async fn sweep(mut self, shutdown: CancellationToken) {
        let mut outage = Outage::of("timers");
        let mut full = Instant::now();
        loop {
            let is_full = Instant::now() >= full;
            let done = if is_full { self.full().await } else { self.timers().await };
            match done {
                Ok(()) => outage.over(),
                Err(trouble) => {
                    outage.wait(&trouble).await;
                    if shutdown.is_cancelled() {
                        return;
                    }
                    continue;
                }
            }
            if is_full {
                full = Instant::now() + self.config.sweep;
            }
            let wakes = self.ports.wakes.clone();
            let next = tokio::time::timeout_at(full, async {
                tokio::time::sleep(PAUSE).await;
                wakes.closing.notified().await;
            });
            if shutdown.run_until_cancelled(next).await.is_none() {
                return;
            }
        }
    }

    /// Everything, once.
    async fn full(&mut self) -> Result<(), Trouble> {
        self.ports.look_at_epoch().await?;
        let store = self.ports.store.clone();
        if !blocking(move || store.nudges()).await?.is_empty() {
            self.ports.wakes.comparison.notify_one();
        }
        let mut views = Vec::new();
        let mut troubles = Vec::new();
        for info in self.ports.state.runs().await? {
            let Some(course) = self.ports.catalog.course(info.run).await? else { continue };
            let Some(view) = self.ports.state.run(info.run).await? else { continue };
            if self.of_one(info.run, self.run(&course, &view).await, &mut troubles) {
                views.push(view);
            }
        }
        self.compare_queues(&views).await?;
        troubles.into_iter().next().map_or(Ok(()), Err)
    }

    /// Timers alone: stars to be closed should not wait for the next full sweep.
    async fn timers(&mut self) -> Result<(), Trouble> {
        let mut troubles = Vec::new();
        for info in self.ports.state.runs().await? {
            let Some(course) = self.ports.catalog.course(info.run).await? else { continue };
            self.of_one(info.run, self.due(&course).await, &mut troubles);
        }
        troubles.into_iter().next().map_or(Ok(()), Err)
    }

    /// Whether all went well with one run; its trouble must not stop the timers of the others.
    fn of_one(&self, run: RunId, done: Result<(), Trouble>, troubles: &mut Vec<Trouble>) -> bool {
        match done {
            Ok(()) => return true,
            Err(Trouble::State(StateError::NoRun(run))) => tracing::debug!(%run, "ended while it was swept"),
            Err(trouble @ Trouble::Store(StoreError::Damaged { .. })) => self.ports.catalog.leave_alone(run, &trouble),
            Err(trouble) => troubles.push(trouble),
        }
        false
    }

    async fn run(&self, course: &Arc<Course>, view: &RunView) -> Result<(), Trouble> {
        let run = course.record.run;
        let orders = follow::orders(&self.ports, run).await?;
        follow::follow(&self.ports, course, view, &orders).await?;
        self.due(course).await?;
        if orders.phase == Phase::Active {
            let lost = self.ports.state.outbox(run, self.config.publish_again, AGAIN_AT_ONCE).await?;
            if !lost.is_empty() {
                tracing::debug!(%run, messages = lost.len(), "published again");
            }
            let tasks: Vec<(Task, u32)> = lost.into_iter().map(|ready| (ready.task, ready.attempt)).collect();
            publish(&self.ports, course, &tasks).await?;
        }
        end_if_done(&self.ports, course).await
    }

    /// Acts on the timers of a run that went off.
    async fn due(&self, course: &Arc<Course>) -> Result<(), Trouble> {
        for _ in 0..ROUNDS {
            let due = self.ports.state.due(course.record.run, AT_ONCE, SILENCES * self.config.sweep).await?;
            let is_all = [due.leases.len(), due.waits.len(), due.closing.len()].iter().all(|&n| n < AT_ONCE as usize);
            for star in &due.closing {
                self.closings.offer(course.record.run, *star);
            }
            self.try_again(course, &due).await?;
            if is_all {
                break;
            }
        }
        Ok(())
    }

    async fn try_again(&self, course: &Arc<Course>, due: &Due) -> Result<(), Trouble> {
        let mut waits = News::of(course);
        for task in &due.waits {
            waits.add(task.star, Event::Due { module: task.module });
        }
        waits.bring_in(&self.ports, Race::Again).await?;
        self.after(&waits).await?;
        for round in one_a_star(&due.leases) {
            let mut leases = News::of(course);
            for (task, attempt) in round {
                tracing::info!(run = %course.record.run, star = task.star.0, module = task.module.0, attempt, "lease lost");
                let event = Event::LeaseLost { module: task.module, attempt };
                leases.add(task.star, Step { event, detail: Some(lease_lost(attempt)) });
            }
            // A lease that lives again is no news; one that ran out is named again.
            leases.bring_in(&self.ports, Race::Leave).await?;
            self.ports.counters.leases_lost.inc_by(leases.changed.into());
            self.after(&leases).await?;
        }
        Ok(())
    }

    async fn after(&self, news: &News) -> Result<(), Trouble> {
        if news.closing > 0 {
            self.ports.wakes.closing.notify_one();
        }
        publish(&self.ports, &news.course, &news.ready).await
    }

    /// Where more was published than is in a queue, twice running, the oldest of it got lost.
    async fn compare_queues(&mut self, views: &[RunView]) -> Result<(), Trouble> {
        let active: Vec<&RunView> = views.iter().filter(|view| view.info.phase == Phase::Active).collect();
        let mut ready: BTreeMap<ClassName, u64> = BTreeMap::new();
        for (class, count) in active.iter().flat_map(|view| &view.ready) {
            *ready.entry(class.clone()).or_default() += count;
        }
        let queues: Vec<QueueName> = ready.keys().cloned().map(QueueName::Tasks).collect();
        let mut there: BTreeMap<String, u64> = BTreeMap::new();
        for depth in self.ports.queue.depths(&queues).await? {
            there.insert(depth.queue, depth.ready + depth.unacknowledged.unwrap_or(0));
        }
        let mut excess = BTreeMap::new();
        for (class, count) in ready {
            let in_queue = there.get(&QueueName::Tasks(class.clone()).to_string()).copied().unwrap_or(0);
            let more = count.saturating_sub(in_queue);
            let before = self.excess.get(&class).copied().unwrap_or(0);
            if more.min(before) > 0 {
                self.republish(&active, &class, more.min(before)).await?;
            }
            excess.insert(class, more);
        }
        self.excess = excess;
        Ok(())
    }

    async fn republish(&self, active: &[&RunView], class: &ClassName, count: u64) -> Result<(), Trouble> {
        let mut left = u32::try_from(count).unwrap_or(u32::MAX).min(AGAIN_AT_ONCE);
        for view in active {
            let age = self.config.publish_again;
            let again = match self.ports.state.republish(view.info.run, class, age, left).await {
                Err(StateError::NoRun(_)) => 0,
                again => again?,
            };
            if again > 0 {
                tracing::info!(run = %view.info.run, %class, again, "messages got lost in the queue");
            }
            left = left.saturating_sub(again);
        }
        Ok(())
    }
}

/// What is known of an attempt whose lease ran out.
fn lease_lost(attempt: u32) -> Detail {
    let message = "its lease ran out: the worker died, or could not reach the state for as long".to_owned();
    let outcome = Outcome::Errored(PlatformError { kind: PlatformErrorKind::Interrupted, message });
    Detail { outcome, attempt, worker: None, started: None, millis: 0 }
}

/// Splits leases so that each part has one of a star at most: a change rests on one lease.
fn one_a_star(leases: &[(Task, u32)]) -> Vec<Vec<(Task, u32)>> {
    let mut rounds: Vec<Vec<(Task, u32)>> = Vec::new();
    let mut seen: BTreeMap<StarIndex, usize> = BTreeMap::new();
    for &(task, attempt) in leases {
        let round = seen.entry(task.star).or_default();
        if rounds.len() == *round {
            rounds.push(Vec::new());
        }
        rounds[*round].push((task, attempt));
        *round += 1;
    }
    rounds
}

#[cfg(test)]
mod tests {
    use domain::id::ModuleIndex;

    use super::*;

    #[test]
    fn a_part_has_one_lease_of_a_star() {
        let lease = |star, module| (Task { star: StarIndex(star), module: ModuleIndex(module) }, 1);
        let leases = [lease(0, 0), lease(1, 0), lease(0, 1), lease(0, 2), lease(1, 1)];
        let rounds = one_a_star(&leases);
        assert_eq!(rounds.len(), 3);
        assert_eq!(rounds.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(one_a_star(&[]).is_empty());
    }
}
