//! Everything that hangs on a timer: leases that ran out, waits that are over, messages that got lost, stars and runs to
//! be closed, operators' decisions. No state is without one of these.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::id::{Attempt, ClassName, RunId, StarIndex, Task};
use domain::outcome::{Outcome, PlatformError, PlatformErrorKind};
use domain::run::Event;
use jiff::Timestamp;
use services::clock::HostClock;
use services::queue::QueueName;
use services::state::{Detail, Due, Phase, RunView, RunningTask};
use store::course::Course;
use store::crash::CrashPoint;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::advance::dispatch::{publish, tell_confirmed};
use crate::advance::fold::Step;
use crate::advance::{News, Race};
use crate::config::CoordinatorConfig;
use crate::counters::now;
use crate::drains;
use crate::running::Coordinator;
use crate::runs::end::end_if_done;
use crate::runs::follow;
use crate::trouble::{Outage, Trouble};

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
    running: Coordinator,
    config: CoordinatorConfig,
    /// How often all runs were gone through: each time another one is first, so that none takes the room of others.
    turn: usize,
    /// By how much more messages of a class were published than are in its queue, at the last comparison.
    excess: BTreeMap<ClassName, u64>,
    /// Times in what a coordinator writes down are this host's, leases run by the state's.
    clock: HostClock,
}

impl Sweeper {
    pub(crate) fn new(running: Coordinator, config: CoordinatorConfig) -> Self {
        Self { running, config, turn: 0, excess: BTreeMap::new(), clock: HostClock::default() }
    }

    /// Sweeps until `shutdown`.
    pub(crate) async fn sweep(mut self, shutdown: CancellationToken) {
        let mut outage = Outage::of("timers");
        let mut full = Instant::now();
        loop {
            let is_full = Instant::now() >= full;
            let done = if is_full { self.full().await } else { self.timers().await };
            match done {
                Ok(()) => {
                    self.running.counters.swept.set(now());
                    outage.over();
                }
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
            let wakes = self.running.wakes.clone();
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
        self.running.look_at_epoch().await?;
        self.clock.compare(self.running.services.state.clock().await?, Timestamp::now());
        drains::follow(&self.running).await?;
        if !self.running.services.store.ask(|store| store.nudges()).await?.is_empty() {
            self.running.wakes.comparison.notify_one();
        }
        let mut views = Vec::new();
        let mut trouble = None;
        let runs = self.runs().await?;
        self.running.confirmed.keep(&runs);
        for run in runs {
            let done = self.run(run).await;
            match self.running.of_run(run, done).await {
                Ok(view) => views.extend(view.flatten()),
                // The timers of others go on.
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        self.compare_queues(&views).await?;
        trouble.map_or(Ok(()), Err)
    }

    /// Timers alone: stars to be closed should not wait for the next full sweep.
    async fn timers(&mut self) -> Result<(), Trouble> {
        let mut trouble = None;
        for run in self.runs().await? {
            let Some(course) = self.running.course(run).await? else { continue };
            let done = self.due(&course).await;
            if let Err(error) = self.running.of_run(run, done).await {
                trouble = trouble.or(Some(error));
            }
        }
        trouble.map_or(Ok(()), Err)
    }

    /// The runs in the state, from another one on each time.
    async fn runs(&mut self) -> Result<Vec<RunId>, Trouble> {
        let mut runs: Vec<RunId> = self.running.services.state.runs().await?.into_iter().map(|info| info.run).collect();
        if !runs.is_empty() {
            let first = self.turn % runs.len();
            runs.rotate_left(first);
            self.turn = self.turn.wrapping_add(1);
        }
        Ok(runs)
    }

    /// All of one run; how it stands, unless it is over or set aside.
    async fn run(&self, run: RunId) -> Result<Option<RunView>, Trouble> {
        let Some(course) = self.running.course(run).await? else { return Ok(None) };
        let Some(view) = self.running.services.state.run(run).await? else { return Ok(None) };
        let orders = follow::orders(&self.running, run).await?;
        follow::follow(&self.running, &course, &view, &orders).await?;
        self.due(&course).await?;
        tell_confirmed(&self.running, &course).await?;
        if orders.phase == Phase::Active {
            let lost = self.running.services.state.outbox(run, self.config.publish_again, AGAIN_AT_ONCE).await?;
            if !lost.is_empty() {
                tracing::debug!(%run, messages = lost.len(), "published again");
            }
            self.running.counters.republished.inc_by(lost.len() as u64);
            // The state says that they wait: what this coordinator kept of them may be older than what another wrote.
            lost.iter().for_each(|ready| self.running.rows.forget(run, ready.task.star));
            let tasks: Vec<(Task, Attempt)> = lost.into_iter().map(|ready| (ready.task, ready.attempt)).collect();
            publish(&self.running, &course, &tasks).await?;
        }
        end_if_done(&self.running, &course).await?;
        Ok(Some(view))
    }

    /// Acts on the timers of a run that went off.
    async fn due(&self, course: &Arc<Course>) -> Result<(), Trouble> {
        for _ in 0..ROUNDS {
            let (state, silence) = (&self.running.services.state, SILENCES * self.config.sweep);
            // Who takes more than it can close keeps it from others, and for long.
            let room = self.running.closings.room().min(AT_ONCE);
            let due = state.due(course.record.run, AT_ONCE, room, silence).await?;
            let is_full = |named: usize, most: u32| named >= most as usize;
            let is_all = !is_full(due.leases.len(), AT_ONCE)
                && !is_full(due.waits.len(), AT_ONCE)
                && (room == 0 || !is_full(due.closing.len(), room));
            for star in &due.closing {
                self.running.closings.offer(course.record.run, *star);
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
        waits.bring_in(&self.running, Race::Again).await?;
        if waits.changed > 0 {
            CrashPoint::WaitsOver.reached();
        }
        self.after(&waits).await?;
        for round in one_a_star(&due.leases) {
            let mut leases = News::of(course);
            let mut blamed = Vec::new();
            for (task, held) in round {
                let attempt = held.attempt;
                let worker = held.worker.as_str();
                tracing::info!(run = %course.record.run, star = %course.star_in_logs(task.star), module = course.module_in_logs(task.module), attempt = attempt.0, worker, "lease lost");
                blamed.push((held.worker.host().to_owned(), course.module_in_logs(task.module).to_owned()));
                let event = Event::LeaseLost { module: task.module, attempt };
                leases.add(task.star, Step { event, detail: Some(lease_lost(held)), claim: None });
            }
            // A lease that lives again is no news; one that ran out is named again.
            leases.bring_in(&self.running, Race::Leave).await?;
            self.running.counters.leases_lost.inc_by(leases.changed.into());
            if leases.changed > 0 {
                CrashPoint::LeasesLost.reached();
                blamed.iter().for_each(|(host, module)| self.running.counters.lost_on.count(host, module));
            }
            self.after(&leases).await?;
        }
        Ok(())
    }

    async fn after(&self, news: &News) -> Result<(), Trouble> {
        self.running.close_soon(news.closing);
        publish(&self.running, &news.course, &news.ready).await
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
        for depth in self.running.services.queue.depths(&queues).await? {
            // What is in a queue that is silent nobody knows.
            let count = if depth.silent.is_some() { u64::MAX } else { depth.ready + depth.unacknowledged.unwrap_or(0) };
            there.insert(depth.queue, count);
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
            let again = self.running.services.state.republish(view.info.run, class, age, left).await;
            let again = self.running.of_run(view.info.run, again.map_err(Trouble::from)).await?.unwrap_or(0);
            self.running.counters.republished.inc_by(again.into());
            if again > 0 {
                tracing::info!(run = %view.info.run, %class, again, "messages got lost in the queue");
            }
            left = left.saturating_sub(again);
        }
        Ok(())
    }
}

/// What is known of an attempt whose lease ran out.
fn lease_lost(held: RunningTask) -> Detail {
    let message = "its lease ran out: the worker died, or could not reach the state for as long";
    let outcome = Outcome::Errored(PlatformError::new(PlatformErrorKind::Interrupted, message));
    Detail { outcome, attempt: held.attempt, worker: Some(held.worker), started: held.since, millis: 0 }
}

/// Splits leases so that each part has one of a star at most: a change rests on one lease.
fn one_a_star(leases: &[(Task, RunningTask)]) -> Vec<Vec<(Task, RunningTask)>> {
    let mut rounds: Vec<Vec<(Task, RunningTask)>> = Vec::new();
    let mut seen: BTreeMap<StarIndex, usize> = BTreeMap::new();
    for (task, held) in leases {
        let round = seen.entry(task.star).or_default();
        if rounds.len() == *round {
            rounds.push(Vec::new());
        }
        rounds[*round].push((*task, held.clone()));
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
        let held = RunningTask { attempt: Attempt(1), worker: "a-1".parse().unwrap(), since: None };
        let lease = |star, module| (Task { star: StarIndex(star), module: ModuleIndex(module) }, held.clone());
        let leases = [lease(0, 0), lease(1, 0), lease(0, 1), lease(0, 2), lease(1, 1)];
        let rounds = one_a_star(&leases);
        assert_eq!(rounds.len(), 3);
        assert_eq!(rounds.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(one_a_star(&[]).is_empty());
    }
}
