//! A slot at work on a granted attempt: runs it, writes a failure down, hands its completion on.

use domain::error::chain;
use domain::id::Nonce;
use domain::message::{ClaimTimes, Completion, Report, TaskMessage, WIRE_VERSION, to_json};
use domain::outcome::{Failure, FailureKind, Outcome, PlatformError, PlatformErrorKind};
use services::state::Lease;
use store::failures::FailureRecord;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::attempt::{Desk, Finish, Order, perform};
use crate::claim::Granted;
use crate::ledger::{HeldClaim, Subject};
use crate::progress::AttemptProgress;
use crate::report::PendingReport;
use crate::shared::Worker;
use crate::spans::spans;

/// Most bytes of an outcome in a completion: a quarter of what RabbitMQ takes by default.
const LARGEST: usize = 4 << 20;

/// A claim that is held, and renewed, from when it was granted.
pub(crate) struct HeldAttempt {
    granted: Granted,
    held: HeldClaim,
    cancel: CancellationToken,
}

impl HeldAttempt {
    /// Holds what was granted.
    pub(crate) fn of(worker: &Worker, granted: Granted) -> Self {
        let Granted { message, nonce, .. } = &granted;
        let lease = Lease { run: message.run, task: message.task, attempt: message.attempt, nonce: *nonce };
        let cancel = worker.give_back.child_token();
        let held = worker.ledger.hold(lease, cancel.clone());
        Self { granted, held, cancel }
    }

    /// Gives it back before it began, unless the claim is lost: nobody's fault, costs no try.
    pub(crate) async fn give_back(self, worker: &Worker) {
        let Self { granted: Granted { message, nonce, times, .. }, held, cancel } = self;
        if cancel.is_cancelled() && !worker.give_back.is_cancelled() {
            return worker.tally.lost();
        }
        worker.tally.given_back();
        let started = jiff::Timestamp::now();
        let completion = completion(worker, &message, nonce, times, started, Report::GivenBack);
        worker.report(PendingReport { completion, trace: None, held }).await;
    }
}

/// Runs a granted attempt and hands its completion on.
pub(crate) async fn work(worker: &Worker, desk: &mut Desk, attempt: HeldAttempt) {
    let HeldAttempt { granted: Granted { message, nonce, grant, times, trace, work }, held, cancel } = attempt;
    if cancel.is_cancelled() && !worker.give_back.is_cancelled() {
        // It waited for this slot for so long that somebody else has it.
        return worker.tally.lost();
    }
    let started = jiff::Timestamp::now();
    let progress = AttemptProgress::default();
    let subject = work.as_ref().ok().map(|(run, star)| {
        let module = run.course.pipeline.module(message.task.module);
        let (name, class, progress) = (module.name.clone(), module.class.clone(), progress.clone());
        Subject { star: *star, module: name, class, since: started, progress }
    });
    held.begins(subject);
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
    let completion = completion(worker, &message, nonce, times, started, result);
    worker.report(PendingReport { completion, trace, held }).await;
}

/// What is told of an attempt that began then and ends now.
fn completion(
    worker: &Worker,
    message: &TaskMessage,
    nonce: Nonce,
    claim: ClaimTimes,
    started: jiff::Timestamp,
    result: Report,
) -> Completion {
    Completion {
        v: WIRE_VERSION,
        epoch: message.epoch,
        run: message.run,
        task: message.task,
        attempt: message.attempt,
        nonce,
        worker: worker.name.clone(),
        started,
        millis: millis_since(started),
        claim: Some(claim),
        result: publishable(result),
    }
}

/// The result, unless no broker takes it: a message that is refused for its size would be sent again for ever.
fn publishable(result: Report) -> Report {
    let Report::Ended(outcome) = &result else { return result };
    let bytes = to_json(outcome).len();
    if bytes <= LARGEST {
        return result;
    }
    let message = format!("what is to be told of its end has {bytes} bytes, at most {LARGEST} can be: {outcome}");
    let message = message.chars().take(1_000).collect();
    Report::Ended(Outcome::Failed(Failure {
        kind: FailureKind::OutputTooLarge,
        message,
        exit_code: None,
        log_tail: String::new(),
    }))
}

/// Performs an attempt, writes a failure down, and says in one line how it ended.
async fn settle(worker: &Worker, desk: &mut Desk, order: &Order, cancel: &CancellationToken) -> Option<Outcome> {
    tracing::info!("begins");
    let Finish { outcome, key, image, log, is_on_record } = perform(desk, order, cancel).await;
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
    if matches!(outcome, Outcome::Failed(_)) && !is_on_record {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::id::Key;
    use domain::outcome::Success;

    use super::*;

    #[test]
    fn a_result_that_no_broker_takes_is_the_modules_failure() {
        let result = |products: usize| {
            let mut success = Success::new(Key::from_bytes([1; 32]), BTreeMap::new());
            for number in 0..products {
                success = success.without(format!("X{number}").parse().unwrap(), &"wide ".repeat(100));
            }
            publishable(Report::Ended(Outcome::Succeeded(success)))
        };
        assert!(matches!(result(10), Report::Ended(Outcome::Succeeded(_))));
        let Report::Ended(Outcome::Failed(failure)) = result(20_000) else { panic!("it would be sent for ever") };
        assert_eq!(failure.kind, FailureKind::OutputTooLarge);
        assert!(failure.message.len() < 2_000, "{}", failure.message);
    }
}
