//! The loops over `sas.events` and `sas.completions`: wait, decide, act, acknowledge.
//!
//! A message is acknowledged only after its consequences are confirmed (R4). While something is out of reach, deliveries are
//! kept unanswered; a message that cannot be read goes to the dead letters with a reason and never ends a loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::id::{ModuleIndex, RunId, Task};
use domain::message::{Completion, DatasetEvent, Report, parse_completion};
use domain::outcome::{Outcome, PlatformErrorKind};
use domain::pipeline::Pipeline;
use domain::run::{Event, PLATFORM_BUDGET, TaskState};
use futures::future::join_all;
use services::queue::{Consumer, Delivery, QueueName, Receipt};
use services::state::{Detail, StateError};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::advance::dispatch::publish;
use crate::advance::fold::Step;
use crate::advance::verdict::verdict;
use crate::advance::{News, Race};
use crate::course::Course;
use crate::events::accept::{Accepted, accept};
use crate::ports::Ports;
use crate::settle::gone;
use crate::trouble::{Outage, Trouble};

/// Most completions that are decided together.
const BATCH: usize = 512;

/// How long a batch is filled after its first completion.
const FILL: Duration = Duration::from_millis(2);

/// Unanswered completions: a batch that is decided, some whose messages are confirmed, one that is filled.
const COMPLETIONS_AHEAD: u16 = 4096;

/// Unanswered events; one is accepted after the other.
const EVENTS_AHEAD: u16 = 4;

type Receipts = Vec<Box<dyn Receipt>>;

/// Accepts dataset events until `shutdown`.
pub(crate) async fn events(ports: Ports, pipelines: Arc<[Pipeline]>, shutdown: CancellationToken) {
    let Some(mut consumer) = consume(&ports, QueueName::Events, EVENTS_AHEAD, &shutdown).await else { return };
    let mut outage = Outage::of("dataset events");
    while let Some(delivery) = shutdown.run_until_cancelled(consumer.next()).await {
        ports.counters.events.inc();
        let event = match DatasetEvent::from_json(&delivery.body) {
            Ok(event) => event,
            Err(unreadable) => {
                bury(&ports, delivery.receipt, &unreadable.to_string()).await;
                continue;
            }
        };
        let accepted = loop {
            match accept(&ports, &pipelines, event.clone()).await {
                Ok(accepted) => break accepted,
                Err(trouble) => outage.wait(&trouble).await,
            }
            if shutdown.is_cancelled() {
                return;
            }
        };
        outage.over();
        match accepted {
            Accepted::Taken => acknowledge(vec![delivery.receipt]).await,
            Accepted::Refused(reason) => bury(&ports, delivery.receipt, &reason).await,
        }
    }
}

/// Brings completions into the state until `shutdown`.
pub(crate) async fn completions(ports: Ports, shutdown: CancellationToken) {
    let Some(mut consumer) = consume(&ports, QueueName::Completions, COMPLETIONS_AHEAD, &shutdown).await else {
        return;
    };
    // While the messages of one batch are confirmed, the next one is decided.
    let (sender, decided) = mpsc::channel(4);
    let publishing = confirm(&ports, decided, &shutdown);
    let deciding = async {
        let mut outage = Outage::of("completions");
        while let Some(batch) = shutdown.run_until_cancelled(next_batch(consumer.as_mut())).await {
            let Some(batch) = decide(&ports, batch, &mut outage, &shutdown).await else { break };
            if sender.send(batch).await.is_err() {
                break;
            }
        }
        drop(sender);
    };
    tokio::join!(deciding, publishing);
}

/// A batch whose changes are in the state.
struct Decided {
    news: Vec<News>,
    receipts: Receipts,
}

/// Waits for completions; those that are there are taken together.
async fn next_batch(consumer: &mut dyn Consumer) -> Vec<Delivery> {
    let mut batch = vec![consumer.next().await];
    let until = Instant::now() + FILL;
    while batch.len() < BATCH {
        match timeout_at(until, consumer.next()).await {
            Ok(delivery) => batch.push(delivery),
            Err(_) => break,
        }
    }
    batch
}

/// Brings a batch into the state; `None` at shutdown.
async fn decide(
    ports: &Ports,
    batch: Vec<Delivery>,
    outage: &mut Outage,
    shutdown: &CancellationToken,
) -> Option<Decided> {
    let mut receipts = Vec::with_capacity(batch.len());
    let mut by_run: BTreeMap<RunId, Vec<Completion>> = BTreeMap::new();
    ports.counters.completions.inc_by(batch.len() as u64);
    for delivery in batch {
        match parse_completion(&delivery.body) {
            Ok(completion) => {
                by_run.entry(completion.run).or_default().push(completion);
                receipts.push(delivery.receipt);
            }
            Err(unreadable) => bury(ports, delivery.receipt, &unreadable.to_string()).await,
        }
    }
    let mut brought_in = Vec::new();
    for (run, completions) in by_run {
        let mut news = None;
        while let Err(trouble) = bring_in(ports, run, &completions, &mut news).await {
            outage.wait(&trouble).await;
            if shutdown.is_cancelled() {
                return None;
            }
        }
        outage.over();
        if let Some(news) = news {
            if news.closing > 0 {
                ports.wakes.closing.notify_one();
            }
            brought_in.push(news);
        }
    }
    ports.wakes.admission.notify_one();
    Some(Decided { news: brought_in, receipts })
}

/// Brings the completions of one run in; after trouble it goes on with what is left in `news`.
async fn bring_in(
    ports: &Ports,
    run: RunId,
    completions: &[Completion],
    news: &mut Option<News>,
) -> Result<(), Trouble> {
    if news.is_none() {
        let Some(course) = ports.catalog.course(run).await? else {
            tracing::debug!(%run, "completions of a run that the store does not know");
            return Ok(());
        };
        let mut fresh = News::of(&course);
        for completion in completions {
            if completion.task.star.0 < course.stars.len() {
                add(ports, &mut fresh, completion).await?;
            }
        }
        *news = Some(fresh);
    }
    match news {
        Some(news) => news.bring_in(ports, Race::Again).await,
        None => Ok(()),
    }
}

/// Adds what a completion says to the news of its star.
async fn add(ports: &Ports, news: &mut News, completion: &Completion) -> Result<(), Trouble> {
    let Task { star, module } = completion.task;
    let attempt = completion.attempt;
    let course = news.course.clone();
    let Some(definition) = course.pipeline.modules.get(module.at()) else { return Ok(()) };
    let outcome = match &completion.result {
        Report::GivenBack => {
            news.add(star, Event::GivenBack { module, attempt });
            return Ok(());
        }
        Report::Ended(outcome) => outcome,
    };
    if let Outcome::Succeeded(success) = outcome
        && success.nondeterministic
    {
        ports.counters.nondeterministic.inc();
    }
    let event = Event::Ended { module, attempt, verdict: verdict(&course.pipeline, definition, attempt, outcome) };
    news.add(star, Step { event, detail: Detail::of(completion) });
    if let Outcome::Errored(error) = outcome
        && error.kind == PlatformErrorKind::InputLost
    {
        for producer in lost_upstream(ports, &course, completion).await? {
            tracing::warn!(run = %course.record.run, star = star.0, module = producer.0, "its result is gone: made again");
            news.add(star, Event::Reopen { module: producer });
        }
    }
    Ok(())
}

/// Modules upstream whose committed result is not in the store any more.
async fn lost_upstream(
    ports: &Ports,
    course: &Arc<Course>,
    completion: &Completion,
) -> Result<Vec<ModuleIndex>, Trouble> {
    let Task { star, module } = completion.task;
    let view = match ports.state.star(course.record.run, star).await {
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
    gone(ports, course, star, &view, upstream).await
}

/// Publishes what decided batches made ready, then acknowledges their completions.
async fn confirm(ports: &Ports, mut decided: mpsc::Receiver<Decided>, shutdown: &CancellationToken) {
    let mut outage = Outage::of("task messages");
    while let Some(batch) = decided.recv().await {
        for News { course, ready, .. } in &batch.news {
            // What was confirmed before trouble is sent twice: the claim is the fence.
            while let Err(trouble) = publish(ports, course, ready).await {
                outage.wait(&trouble).await;
                if shutdown.is_cancelled() {
                    return;
                }
            }
            outage.over();
        }
        acknowledge(batch.receipts).await;
    }
}

async fn acknowledge(receipts: Receipts) {
    for answer in join_all(receipts.into_iter().map(Receipt::ack)).await {
        if let Err(error) = answer {
            tracing::debug!(%error, "not acknowledged: it comes again, and changes nothing");
        }
    }
}

async fn bury(ports: &Ports, receipt: Box<dyn Receipt>, reason: &str) {
    ports.counters.unreadable.inc();
    tracing::warn!(reason, "a message that cannot be read goes to the dead letters");
    if let Err(error) = receipt.bury(reason).await {
        tracing::debug!(%error, "not buried: it comes again");
    }
}

async fn consume(
    ports: &Ports,
    queue: QueueName,
    prefetch: u16,
    shutdown: &CancellationToken,
) -> Option<Box<dyn Consumer>> {
    let mut outage = Outage::of("consumers");
    while !shutdown.is_cancelled() {
        match ports.queue.consume(queue.clone(), prefetch).await {
            Ok(consumer) => {
                outage.over();
                return Some(consumer);
            }
            Err(error) => outage.wait(&error.into()).await,
        }
    }
    None
}
