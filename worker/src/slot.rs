//! A slot at work on a granted attempt: runs it, writes a failure down, hands its completion on. A result that is to be committed
//! needs the slot no longer: the attempt goes on without it, and is reported after the commit (W1).

use std::sync::Arc;

use domain::error::chain;
use domain::id::{ImageName, Key, Nonce};
use domain::message::{ClaimTimes, Completion, Report, TaskMessage, WIRE_VERSION};
use domain::outcome::{Outcome, PlatformError, PlatformErrorKind, UsedResources};
use services::state::Lease;
use store::crash::CrashPoint;
use store::failures::FailureRecord;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::attempt::{Desk, End, Finish, Order, SealedResult, commit, perform, refusal};
use crate::claim::Granted;
use crate::ledger::{EndedAttempt, HeldClaim, Subject};
use crate::progress::AttemptProgress;
use crate::report::PendingReport;
use crate::shared::Worker;
use crate::spans::spans;

/// A claim that is held, and renewed, from when it was granted.
pub(crate) struct HeldAttempt {
    granted: Granted,
    held: HeldClaim,
    cancel: CancellationToken,
    begins: Option<CancellationToken>,
}

impl HeldAttempt {
    /// Holds what was granted.
    pub(crate) fn of(worker: &Worker, granted: Granted) -> Self {
        let Granted { message, nonce, grant, .. } = &granted;
        let lease = Lease { run: message.run, task: message.task, attempt: message.attempt, nonce: *nonce };
        let cancel = worker.give_back.child_token();
        let begins = (!grant.reserve.is_zero()).then(CancellationToken::new);
        let reserve = begins.clone().map(|begins| (Instant::now() + grant.reserve, begins));
        let held = worker.ledger.hold((lease, message.epoch), cancel.clone(), reserve);
        Self { granted, held, cancel, begins }
    }

    /// Gives it back before it began, unless the claim is lost: nobody's fault, costs no try.
    pub(crate) async fn give_back(self, worker: &Worker) {
        let Self { granted: Granted { message, nonce, times, .. }, held, cancel, .. } = self;
        if cancel.is_cancelled() && !worker.give_back.is_cancelled() {
            return worker.tally.lost();
        }
        worker.tally.given_back();
        let started = jiff::Timestamp::now();
        let completion = completion(worker, &message, nonce, times, started, Report::GivenBack);
        worker.report(PendingReport { completion, trace: None, held }).await;
    }
}

/// An attempt that was begun and is not reported.
struct BegunAttempt {
    message: TaskMessage,
    nonce: Nonce,
    times: ClaimTimes,
    held: HeldClaim,
    cancel: CancellationToken,
    order: Order,
    key: Option<Key>,
    image: Option<ImageName>,
    log: String,
    used: UsedResources,
    is_on_record: bool,
    span: tracing::Span,
}

/// An attempt with a result, which is to be committed.
pub(crate) struct SealedAttempt {
    attempt: BegunAttempt,
    result: SealedResult,
}

/// Runs a granted attempt, and reports it, unless its result is to be committed first.
pub(crate) async fn work(worker: &Worker, desk: &mut Desk, attempt: HeldAttempt) -> Option<SealedAttempt> {
    let run = attempt.granted.work.as_ref().ok().map(|(run, _)| &run.course.record);
    if let Some(reason) = run.and_then(|run| refusal(&worker.runner, run)) {
        // Nobody's fault but this worker's: the task costs no try, and others get a chance at it.
        worker.gate.close(reason);
        attempt.give_back(worker).await;
        return None;
    }
    let HeldAttempt { granted: Granted { message, nonce, grant, times, trace, work }, held, cancel, begins } = attempt;
    if cancel.is_cancelled() && !worker.give_back.is_cancelled() {
        // It waited for this slot for so long that somebody else has it.
        worker.tally.lost();
        return None;
    }
    let started = jiff::Timestamp::now();
    let progress = AttemptProgress::default();
    let subject = work.as_ref().ok().map(|(run, star)| {
        let module = run.course.pipeline.module(message.task.module);
        let (name, class, progress) = (module.name.clone(), module.class.clone(), progress.clone());
        Subject { star: *star, module: name, class, since: started, progress }
    });
    let grant = Arc::new(grant);
    held.begins(subject, &grant);
    let (run, star) = match work {
        Ok(found) => found,
        Err(reason) => {
            let outcome = Outcome::Errored(PlatformError::new(PlatformErrorKind::Store, reason));
            let result = ended(worker, outcome);
            let completion = completion(worker, &message, nonce, times, started, result);
            worker.report(PendingReport { completion, trace: None, held }).await;
            return None;
        }
    };
    if run.is_new() {
        worker.prefetch(&run);
    }
    let (task, attempt) = (message.task, message.attempt);
    let order = Order { run, star, task, attempt, nonce, grant, begins, started, trace, progress };
    let span = tracing::info_span!(
        "attempt",
        run = %message.run,
        %star,
        module = %order.module().name,
        attempt = message.attempt.0
    );
    let performing = async {
        tracing::info!("begins");
        perform(desk, &order, &cancel).await
    };
    let Finish { end, key, image, log, used, is_on_record } = performing.instrument(span.clone()).await;
    let begun = BegunAttempt { message, nonce, times, held, cancel, order, key, image, log, used, is_on_record, span };
    match end {
        End::Sealed(result) => return Some(SealedAttempt { attempt: begun, result }),
        End::Outcome(outcome) => begun.end(worker, Some(outcome)).await,
        End::Cancelled => begun.end(worker, None).await,
    }
    None
}

impl SealedAttempt {
    /// Commits the result and reports the attempt, unless the claim is lost: then whoever has it now makes its own. What was
    /// committed before is read at `desk`.
    pub(crate) async fn commit(self, worker: Arc<Worker>, desk: Arc<Mutex<Desk>>) {
        let Self { attempt, result } = self;
        if attempt.cancel.is_cancelled() && !worker.give_back.is_cancelled() {
            result.discard(&worker.store).instrument(attempt.span.clone()).await;
            return attempt.end(&worker, None).await;
        }
        let span = attempt.span.clone();
        let outcome = commit(&worker.store, &desk, &attempt.order, &result).instrument(span.clone()).await;
        attempt.end(&worker, outcome).await;
        // Last: nobody waits for the directory to go.
        result.clean_up(&worker.store).instrument(span).await;
    }
}

impl BegunAttempt {
    /// Tells how it ended to all who want to know; without an outcome it was told to stop.
    async fn end(self, worker: &Worker, outcome: Option<Outcome>) {
        self.settle(worker, outcome.as_ref()).instrument(self.span.clone()).await;
        let is_killed = matches!(&outcome, Some(Outcome::Errored(error)) if error.kind == PlatformErrorKind::Killed);
        let key = self.key.filter(|_| is_killed);
        let result = match outcome {
            Some(outcome) => ended(worker, outcome),
            None if worker.give_back.is_cancelled() => {
                worker.tally.given_back();
                Report::GivenBack
            }
            // The claim is lost: whoever has it now reports.
            None => return worker.tally.lost(),
        };
        let Self { message, nonce, times, held, order, .. } = self;
        let completion = Completion { key, ..completion(worker, &message, nonce, times, order.started, result) };
        let trace = Some(order.span()).filter(|span| span.is_sampled);
        if let Some((held, EndedAttempt { completion, trace })) = held.ended(EndedAttempt { completion, trace }) {
            worker.report(PendingReport { completion, trace, held }).await;
        }
    }

    /// Writes a failure down, and says in one line how it ended.
    async fn settle(&self, worker: &Worker, outcome: Option<&Outcome>) {
        let order = &self.order;
        if order.trace.is_sampled {
            let spans = spans(order, self.image.as_ref(), outcome, jiff::Timestamp::now());
            spans.into_iter().for_each(|span| worker.traces.tell(span));
        }
        let millis = millis_since(order.started);
        let Some(outcome) = outcome else {
            return tracing::info!(millis, "stopped: the claim is lost or given back");
        };
        tracing::info!(millis, %outcome, "ended");
        if matches!(outcome, Outcome::Failed(_)) && !self.is_on_record {
            let record = FailureRecord {
                run: order.run.course.record.run,
                module: order.module().name.clone(),
                key: self.key,
                attempt: order.attempt,
                outcome: outcome.clone(),
                worker: worker.name.clone(),
                started: order.started,
                millis,
                log: self.log.clone(),
                used: self.used,
            };
            let (star, quarter) = (order.star, order.run.course.record.quarter);
            let recorded = worker.store.ask(move |store| store.record_failure(star, quarter, &record)).await;
            CrashPoint::FailureRecorded.reached();
            if let Err(error) = recorded {
                tracing::warn!(error = chain(&error), "the failure's log is not in the store");
            }
        }
    }
}

/// An end that the worker has a share in.
fn ended(worker: &Worker, outcome: Outcome) -> Report {
    worker.gate.learn(&outcome);
    worker.tally.ended(&outcome);
    Report::Ended(outcome)
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
        key: None,
        result,
    }
}

fn millis_since(started: jiff::Timestamp) -> u64 {
    u64::try_from(jiff::Timestamp::now().duration_since(started).as_millis()).unwrap_or(0)
}
