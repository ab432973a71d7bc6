//! The loop over `sas.completions`: wait, decide, act, acknowledge.
//!
//! A completion is acknowledged only after its consequences are confirmed (R4). While something is out of reach, deliveries are
//! kept unanswered; a message that cannot be read goes to the dead letters with a reason, and completions of a run that is set
//! aside are dropped: their attempts are repeated when it goes on, and find their results.

mod killed;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::id::{ClassName, ModuleIndex, RunId, Task};
use domain::message::{Completion, Report, parse_completions};
use domain::outcome::{FailureKind, Outcome, PlatformErrorKind, Success};
use domain::run::{Event, PLATFORM_BUDGET, TaskState};
use services::queue::{Delivery, QueueName};
use services::state::{ClaimedTask, Detail, StateError};
use store::course::Course;
use store::crash::CrashPoint;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::advance::dispatch::publish;
use crate::advance::fold::Step;
use crate::advance::verdict::verdict;
use crate::advance::{News, Race};
use crate::counters::labels;
use crate::deliveries::{Receipts, acknowledge, bury, consume};
use crate::running::{Coordinator, Services};
use crate::settle::gone;
use crate::trouble::{Outage, Trouble};

/// Most messages whose completions are decided together.
const BATCH: usize = 512;

/// Least time from one batch to the next. What comes meanwhile is decided together, however many workers it is from: each batch
/// costs a script of the state, and each wait for a message a wake-up.
const PACE: Duration = Duration::from_millis(1);

/// Decided batches whose messages wait to be published.
const DECIDED: usize = 4;

/// Unanswered messages: a batch that is decided, some whose task messages are confirmed, one that is filled.
const COMPLETIONS_AHEAD: u16 = 4096;

/// Brings completions into the state until `shutdown`.
pub(crate) async fn completions(running: Coordinator, shutdown: CancellationToken) {
    let Some(mut consumer) = consume(&running.services, QueueName::Completions, COMPLETIONS_AHEAD, &shutdown).await
    else {
        return;
    };
    // While the messages of one batch are confirmed, the next one is decided.
    let (sender, decided) = mpsc::channel(DECIDED);
    let publishing = confirm(&running, decided, &shutdown);
    let deciding = async {
        let mut outage = Outage::of("completions");
        let mut due = Instant::now();
        loop {
            let next = async {
                tokio::time::sleep_until(due).await;
                consumer.next_batch(BATCH).await
            };
            let Some(batch) = shutdown.run_until_cancelled(next).await else { break };
            due = Instant::now() + PACE;
            let Some(batch) = decide(&running, batch, &mut outage, &shutdown).await else { break };
            if sender.send(batch).await.is_err() {
                break;
            }
        }
        drop(sender);
    };
    tokio::join!(deciding, publishing);
}

/// A batch whose changes are in the state.
struct DecidedBatch {
    taken: Instant,
    completions: u64,
    news: Vec<News>,
    receipts: Receipts,
}

/// Brings a batch into the state; `None` at shutdown.
async fn decide(
    running: &Coordinator,
    batch: Vec<Delivery>,
    outage: &mut Outage,
    shutdown: &CancellationToken,
) -> Option<DecidedBatch> {
    let taken = Instant::now();
    let (mut receipts, mut count) = (Vec::with_capacity(batch.len()), 0);
    let mut by_run: BTreeMap<RunId, Vec<Completion>> = BTreeMap::new();
    for delivery in batch {
        match parse_completions(&delivery.body) {
            Ok(completions) => {
                count += completions.len() as u64;
                for completion in completions {
                    by_run.entry(completion.run).or_default().push(completion);
                }
                receipts.push(delivery.receipt);
            }
            Err(unreadable) => bury(&running.counters, delivery.receipt, &unreadable.to_string()).await,
        }
    }
    running.counters.completions.inc_by(count);
    CrashPoint::CompletionsTaken.reached();
    let mut brought_in = Vec::new();
    for (run, completions) in by_run {
        let mut news = None;
        loop {
            let done = bring_in(running, run, &completions, &mut news).await;
            match running.of_run(run, done).await {
                Ok(_) => break,
                Err(trouble) => outage.wait(&trouble).await,
            }
            if shutdown.is_cancelled() {
                return None;
            }
        }
        outage.over();
        if let Some(news) = news {
            running.close_soon(news.closing);
            brought_in.push(news);
        }
    }
    running.wakes.admission.notify_one();
    Some(DecidedBatch { taken, completions: count, news: brought_in, receipts })
}

/// Brings the completions of one run in; after trouble it goes on with what is left in `news`.
async fn bring_in(
    running: &Coordinator,
    run: RunId,
    completions: &[Completion],
    news: &mut Option<News>,
) -> Result<(), Trouble> {
    if news.is_none() {
        let Some(course) = running.course(run).await? else {
            tracing::debug!(%run, "completions of a run that is set aside, or that the store does not know");
            return Ok(());
        };
        let mut fresh = News::of(&course);
        // Workers publish again what settles nothing for long.
        let mut known = BTreeSet::new();
        let once: Vec<&Completion> = completions.iter().filter(|said| known.insert((said.task, said.nonce))).collect();
        for completion in &once {
            if completion.task.star.0 < course.stars.len() {
                add(running, &mut fresh, completion).await?;
            }
        }
        count_ends(running, &course, &once);
        *news = Some(fresh);
    }
    match news {
        Some(news) => {
            news.bring_in(running, Race::Again).await?;
            killed::record(&running.services, news).await
        }
        None => Ok(()),
    }
}

/// Adds what a completion says to the news of its star.
async fn add(running: &Coordinator, news: &mut News, completion: &Completion) -> Result<(), Trouble> {
    let Task { star, module } = completion.task;
    let attempt = completion.attempt;
    let course = news.course.clone();
    let Some(definition) = course.pipeline.modules.get(module.at()) else { return Ok(()) };
    let understood = killed::understood(&running.services, &course, completion).await?;
    if let Cow::Owned(failed) = &understood {
        news.failures.extend(killed::record_of(&course, failed).map(|record| (star, record)));
    }
    let completion = &*understood;
    measure(running, &course, completion);
    let outcome = match &completion.result {
        Report::GivenBack => {
            let claim = Some(ClaimedTask { module, nonce: completion.nonce, may_be_gone: true });
            news.add(star, Step { event: Event::GivenBack { module, attempt }, detail: None, claim });
            return Ok(());
        }
        Report::Ended(outcome) => outcome,
    };
    if let Outcome::Succeeded(success) = outcome {
        note(running, &course, module, success);
    }
    match outcome {
        Outcome::Failed(_) => running.counters.failed_on.count(completion.worker.host(), definition.name.as_str()),
        Outcome::Errored(_) => running.counters.errored_on.count(completion.worker.host(), definition.name.as_str()),
        Outcome::Succeeded(_) | Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } => {}
    }
    let event = Event::Ended { module, attempt, verdict: verdict(&course.pipeline, definition, attempt, outcome) };
    // What was made lies in the store, where it is found or not; of all else there is only this word.
    let may_be_gone = matches!(outcome, Outcome::Succeeded(_));
    let claim = Some(ClaimedTask { module, nonce: completion.nonce, may_be_gone });
    news.add(star, Step { event, detail: Detail::of(completion), claim });
    if let Outcome::Errored(error) = outcome
        && error.kind == PlatformErrorKind::InputLost
    {
        for producer in lost_upstream(&running.services, &course, completion).await? {
            tracing::warn!(run = %course.record.run, star = %course.star_in_logs(star), module = course.module_in_logs(producer), "its result is gone: made again");
            news.add(star, Event::Reopen { module: producer });
        }
    }
    Ok(())
}

/// Modules upstream whose committed result is not in the store any more.
async fn lost_upstream(
    services: &Services,
    course: &Arc<Course>,
    completion: &Completion,
) -> Result<Vec<ModuleIndex>, Trouble> {
    let Task { star, module } = completion.task;
    let view = match services.state.star(course.record.run, star).await {
        Ok(view) => view,
        Err(StateError::NoRun(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    // The reader has spent what the platform may spend on it, and ends: its input need not be made for it once more.
    if view.star.tries.get(&module).is_some_and(|tries| tries.platform + 1 >= PLATFORM_BUDGET) {
        return Ok(Vec::new());
    }
    // It may be on its way again: this completion need not be the first to miss it.
    let made = |producer: &ModuleIndex| view.star.row.cell(*producer).state == TaskState::Succeeded;
    let upstream = course.pipeline.module(module).upstream.iter().copied().filter(made).collect();
    gone(&services.store, course, star, &view, upstream).await
}

/// Counts ends by class, from which follows how many tasks should wait to be taken.
fn count_ends(running: &Coordinator, course: &Course, completions: &[&Completion]) {
    let mut ends: BTreeMap<&ClassName, usize> = BTreeMap::new();
    let modules = completions.iter().filter_map(|completion| course.pipeline.modules.get(completion.task.module.at()));
    modules.for_each(|module| *ends.entry(&module.class).or_default() += 1);
    ends.into_iter().for_each(|(class, count)| running.rates.ended(class, count, Instant::now()));
}

/// Counts and measures what a completion says.
fn measure(running: &Coordinator, course: &Course, completion: &Completion) {
    let counters = &running.counters;
    let module = course.pipeline.module(completion.task.module);
    let of = [("pipeline", course.record.pipeline.as_str()), ("module", module.name.as_str())];
    let (result, has_run) = match &completion.result {
        Report::GivenBack => ("given_back", false),
        Report::Ended(Outcome::Succeeded(success)) if success.reused => ("reused", false),
        Report::Ended(Outcome::Succeeded(_)) => ("succeeded", true),
        Report::Ended(Outcome::Skipped(_)) => ("skipped", false),
        Report::Ended(Outcome::UpstreamFailed { .. }) => ("upstream_failed", false),
        Report::Ended(Outcome::Failed(failure)) => {
            if is_violation(failure.kind) {
                counters.violations.get_or_create_owned(&labels(of)).inc();
            }
            ("failed", true)
        }
        Report::Ended(Outcome::Errored(_)) => ("errored", false),
    };
    counters.attempts.get_or_create_owned(&labels([of[0], of[1], ("result", result)])).inc();
    if has_run {
        counters.durations.get_or_create_owned(&labels(of)).observe(completion.millis as f64 / 1e3);
    }
    if let Some(times) = completion.claim {
        counters.claims.observe(times.took_micros as f64 / 1e6);
        if let Some(millis) = times.waited_millis {
            let of_class = labels([("class", module.class.as_str())]);
            counters.queue_waits.get_or_create_owned(&of_class).observe(millis as f64 / 1e3);
        }
    }
}

/// Whether a module gave something else than its contract says.
fn is_violation(kind: FailureKind) -> bool {
    match kind {
        FailureKind::OutputMissing
        | FailureKind::OutputUndeclared
        | FailureKind::OutputCorrupt
        | FailureKind::UnsupportedType
        | FailureKind::OutputViolates
        | FailureKind::OutputTooLarge => true,
        FailureKind::Exit
        | FailureKind::TryAgain
        | FailureKind::OutOfMemory
        | FailureKind::TimeLimit
        | FailureKind::Signal
        | FailureKind::Expression => false,
    }
}

/// Counts what is odd about a result; the first warning of a module is in the log.
fn note(running: &Coordinator, course: &Course, module: ModuleIndex, success: &Success) {
    if success.nondeterministic {
        running.counters.nondeterministic.inc();
    }
    if let Some(warning) = success.warnings.first() {
        let name = course.pipeline.module(module).name.as_str();
        let of_module = labels([("pipeline", course.record.pipeline.as_str()), ("module", name)]);
        let counter = running.counters.warned.get_or_create_owned(&of_module);
        if counter.inc() == 0 {
            tracing::warn!(run = %course.record.run, module = course.module_in_logs(module), warning, "a result is odd; more like it are counted in /metrics");
        }
    }
}

/// Publishes what decided batches made ready, all that wait together, then acknowledges their completions.
async fn confirm(running: &Coordinator, mut decided: mpsc::Receiver<DecidedBatch>, shutdown: &CancellationToken) {
    let mut outage = Outage::of("task messages");
    let mut batches = Vec::new();
    while decided.recv_many(&mut batches, DECIDED).await > 0 {
        let mut by_run: BTreeMap<RunId, News> = BTreeMap::new();
        for News { course, ready, .. } in batches.iter_mut().flat_map(|batch| batch.news.drain(..)) {
            by_run.entry(course.record.run).or_insert_with(|| News::of(&course)).ready.extend(ready);
        }
        for News { course, ready, .. } in by_run.values() {
            // What was confirmed before trouble is sent twice: the claim is the fence.
            loop {
                let done = publish(running, course, ready).await;
                match running.of_run(course.record.run, done).await {
                    Ok(_) => break,
                    Err(trouble) => outage.wait(&trouble).await,
                }
                if shutdown.is_cancelled() {
                    return;
                }
            }
            outage.over();
        }
        for batch in &batches {
            let took = batch.taken.elapsed().as_secs_f64();
            (0..batch.completions).for_each(|_| running.counters.unlocks.observe(took));
        }
        CrashPoint::CompletionsDone.reached();
        acknowledge(batches.drain(..).flat_map(|batch| batch.receipts).collect()).await;
        CrashPoint::CompletionsAcknowledged.reached();
    }
}
