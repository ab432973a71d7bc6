//! The slots of one class: each runs one attempt at a time, and tasks are consumed only while one is free.

use std::sync::Arc;
use std::time::Duration;

use domain::error::chain;
use domain::id::ClassName;
use domain::message::{Completion, Report, WIRE_VERSION};
use domain::outcome::{Outcome, PlatformError, PlatformErrorKind};
use services::queue::{Consumer, Delivery, QueueError, QueueName};
use services::state::Lease;
use store::failures::FailureRecord;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::attempt::{Desk, Finish, Order, perform};
use crate::claim::Granted;
use crate::gate::Obstacles;
use crate::ledger::Subject;
use crate::progress::AttemptProgress;
use crate::report::PendingReport;
use crate::shared::Worker;
use crate::spans::spans;

/// How long deliveries may wait here while every slot is busy, before they go back for other workers. Long enough that
/// short tasks do not cost a new consumer each.
const HOLD: Duration = Duration::from_millis(500);

/// Wait before a queue that could not be consumed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The slots of a class.
struct Slots {
    worker: Arc<Worker>,
    class: ClassName,
    idle: Vec<Desk>,
    busy: JoinSet<Desk>,
    /// Number of the next slot that takes the place of one that panicked.
    next: u32,
}

/// Serves the slots of a class until `stop`; then waits until all of them are idle.
pub(crate) async fn serve(
    worker: Arc<Worker>,
    class: ClassName,
    slots: u32,
    stop: CancellationToken,
) -> Result<(), QueueError> {
    let idle = (0..slots).map(|slot| worker.desk(&class, slot)).collect();
    let mut slots = Slots { worker, class, idle, busy: JoinSet::new(), next: slots };
    let served = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        Err(error) = slots.work() => Err(error),
    };
    while slots.busy.join_next().await.is_some() {}
    served
}

impl Slots {
    /// Consumes whenever a slot is free; returns only where that is not allowed. Cancel safe.
    async fn work(&mut self) -> Result<(), QueueError> {
        loop {
            while self.idle.is_empty()
                && let Some(done) = self.busy.join_next().await
            {
                self.reclaim(done);
            }
            self.consume().await?;
        }
    }

    /// Takes tasks for free slots until none was free for a while, or no tasks may be taken. Cancel safe: what was
    /// delivered and not taken goes back.
    async fn consume(&mut self) -> Result<(), QueueError> {
        let mut gate = self.worker.gate.watch();
        // The gate lives as long as the worker.
        let _ = gate.wait_for(Obstacles::is_open).await;
        // No more than can be taken at once: what waits here is missing elsewhere.
        let most = self.idle.len();
        let prefetch = u16::try_from(most).unwrap_or(u16::MAX);
        let mut consumer = match self.worker.queue.consume(QueueName::Tasks(self.class.clone()), prefetch).await {
            Ok(consumer) => consumer,
            Err(error @ QueueError::Refused(_)) => return Err(error),
            Err(error) => {
                tracing::warn!(class = %self.class, %error, "tasks cannot be consumed");
                tokio::time::sleep(AGAIN).await;
                return Ok(());
            }
        };
        loop {
            tokio::select! {
                biased;
                _ = gate.wait_for(|obstacles| !obstacles.is_open()) => return Ok(()),
                Some(done) = self.busy.join_next(), if !self.busy.is_empty() => {
                    self.reclaim(done);
                    if self.idle.len() > 2 * most {
                        // Tasks are short, and more slots are free than this consumer can feed.
                        return Ok(());
                    }
                }
                delivery = next(&mut consumer, self.idle.is_empty()) => match (delivery, self.idle.pop()) {
                    (Some(delivery), Some(desk)) => {
                        self.busy.spawn(take(Arc::clone(&self.worker), desk, delivery));
                    }
                    (Some(_) | None, _) => return Ok(()),
                },
            }
        }
    }

    /// Takes back the desk of a slot that became free.
    fn reclaim(&mut self, done: Result<Desk, JoinError>) {
        let desk = done.unwrap_or_else(|error| {
            tracing::error!(class = %self.class, %error, "a slot panicked; its claim runs out, another takes its place");
            self.next += 1;
            self.worker.desk(&self.class, self.next)
        });
        self.idle.push(desk);
    }
}

/// The next delivery while a slot is free; `None` when none was for a while.
async fn next(consumer: &mut Box<dyn Consumer>, all_busy: bool) -> Option<Delivery> {
    if all_busy {
        tokio::time::sleep(HOLD).await;
        return None;
    }
    Some(consumer.next().await)
}

/// Claims a task and runs it.
async fn take(worker: Arc<Worker>, mut desk: Desk, delivery: Delivery) -> Desk {
    if let Some(granted) = worker.claims.claim(delivery, &worker.gate).await {
        work(&worker, &mut desk, granted).await;
    }
    desk
}

/// Runs a granted attempt and hands its completion on.
async fn work(worker: &Worker, desk: &mut Desk, granted: Granted) {
    let Granted { message, nonce, grant, times, trace, work } = granted;
    let started = jiff::Timestamp::now();
    let lease = Lease { run: message.run, task: message.task, attempt: message.attempt, nonce };
    let cancel = worker.give_back.child_token();
    let progress = AttemptProgress::default();
    let subject = work.as_ref().ok().map(|(run, star)| {
        let module = run.course.pipeline.module(message.task.module);
        let (name, class, progress) = (module.name.clone(), module.class.clone(), progress.clone());
        Subject { star: *star, module: name, class, since: started, progress }
    });
    let held = worker.ledger.hold(lease, subject, cancel.clone());
    let (outcome, trace) = match work {
        Ok((run, star)) => {
            if run.is_new() {
                worker.prefetch(&run);
            }
            let (task, attempt) = (message.task, message.attempt);
            let order = Order { run, star, task, attempt, nonce, grant, started, trace, progress };
            let span = tracing::info_span!(
                "attempt",
                run = %message.run,
                %star,
                module = %order.module().name,
                attempt = message.attempt.0
            );
            let outcome = settle(worker, desk, &order, &cancel).instrument(span).await;
            (outcome, Some(order.span()).filter(|span| span.is_sampled))
        }
        Err(message) => (Some(Outcome::Errored(PlatformError { kind: PlatformErrorKind::Store, message })), None),
    };
    let result = match outcome {
        Some(outcome) => {
            worker.gate.learn(&outcome);
            worker.tally.ended(&outcome);
            Report::Ended(outcome)
        }
        None if worker.give_back.is_cancelled() => {
            worker.tally.given_back();
            Report::GivenBack
        }
        // The claim is lost: whoever has it now reports.
        None => return worker.tally.lost(),
    };
    let completion = Completion {
        v: WIRE_VERSION,
        epoch: message.epoch,
        run: message.run,
        task: message.task,
        attempt: message.attempt,
        nonce,
        worker: worker.name.clone(),
        started,
        millis: millis_since(started),
        claim: Some(times),
        result,
    };
    worker.report(PendingReport { completion, trace, held }).await;
}

/// Performs an attempt, writes a failure down, and says in one line how it ended.
async fn settle(worker: &Worker, desk: &mut Desk, order: &Order, cancel: &CancellationToken) -> Option<Outcome> {
    tracing::info!("begins");
    let Finish { outcome, key, image, log } = perform(desk, order, cancel).await;
    if order.trace.is_sampled {
        let spans = spans(order, image.as_ref(), outcome.as_ref(), jiff::Timestamp::now());
        spans.into_iter().for_each(|span| worker.traces.tell(span));
    }
    let millis = millis_since(order.started);
    let Some(outcome) = outcome else {
        tracing::info!(millis, "stopped: the claim is lost or given back");
        return None;
    };
    tracing::info!(millis, %outcome, "ended");
    if let Outcome::Failed(_) = &outcome {
        let record = FailureRecord {
            run: order.run.course.record.run,
            module: order.module().name.clone(),
            key,
            attempt: order.attempt,
            outcome: outcome.clone(),
            worker: worker.name.clone(),
            started: order.started,
            millis,
            log,
        };
        let (store, star, quarter) = (&desk.store, order.star, order.run.course.record.quarter);
        let recorded = store.ask(move |store| store.record_failure(star, quarter, &record)).await;
        if let Err(error) = recorded {
            tracing::warn!(error = chain(&error), "the failure's log is not in the store");
        }
    }
    Some(outcome)
}

fn millis_since(started: jiff::Timestamp) -> u64 {
    u64::try_from(jiff::Timestamp::now().duration_since(started).as_millis()).unwrap_or(0)
}
