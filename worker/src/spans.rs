//! What is told of an attempt in its star's trace: a span of its own, and below it one for every step. Pure.

use domain::id::ImageName;
use domain::outcome::Outcome;
use jiff::{SignedDuration, Timestamp};
use services::queue::QueueName;
use services::traces::{Span, SpanError};

use crate::attempt::Order;

/// The spans of an attempt that is over. `image` is what ran, where something did; an outcome of `None` is one that was stopped.
pub(crate) fn spans(
    order: &Order,
    image: Option<&ImageName>,
    outcome: Option<&Outcome>,
    ended: Timestamp,
) -> Vec<Span> {
    let context = order.span();
    let error = outcome.map_or_else(|| Some(stopped()), error);
    let queued = queued(order);
    let mut steps = vec![("wait", queued)];
    steps.extend(order.progress.steps().into_iter().map(|(step, began)| (step.name(), began)));
    let ends = steps.iter().skip(1).map(|(_, next)| *next).chain([ended]);
    let below = steps.iter().zip(ends).map(|((name, began), end)| Span {
        parent: Some(context.span),
        ..Span::new(context.child(name), *name, *began, end)
    });
    let mut spans: Vec<Span> = below.collect();
    if let Some(last) = spans.last_mut() {
        last.error.clone_from(&error);
    }
    spans.push(Span { parent: Some(order.trace.span), error, ..attempt(order, image, outcome, queued, ended) });
    spans
}

/// When it was ready to be claimed; when it was claimed where nobody knows that any more.
fn queued(order: &Order) -> Timestamp {
    let waited = order.grant.waited.and_then(|waited| SignedDuration::try_from(waited).ok()).unwrap_or_default();
    order.started.checked_sub(waited).unwrap_or(order.started)
}

fn attempt(
    order: &Order,
    image: Option<&ImageName>,
    outcome: Option<&Outcome>,
    queued: Timestamp,
    ended: Timestamp,
) -> Span {
    let (module, record) = (order.module(), &order.run.course.record);
    let mut span = Span::new(order.span(), format!("attempt {}", module.name), queued, ended)
        .of_message(&QueueName::Tasks(module.class.clone()).to_string())
        .with("sas.run", record.run.to_string())
        .with("sas.pipeline", record.pipeline.as_str())
        .with("sas.star", order.star.to_string())
        .with("sas.module", module.name.as_str())
        .with("sas.class", module.class.as_str())
        .with("sas.attempt", order.attempt.0)
        .with("sas.outcome", word(outcome));
    if let Some(image) = image {
        span = span.with("container.image.name", image.as_str());
    }
    if let Some(code) = outcome.and_then(exit_code) {
        span = span.with("process.exit.code", code);
    }
    span
}

fn word(outcome: Option<&Outcome>) -> String {
    match outcome {
        Some(Outcome::Succeeded(success)) if success.reused => "reused".to_owned(),
        Some(outcome) => outcome.state().to_string(),
        None => "stopped".to_owned(),
    }
}

fn exit_code(outcome: &Outcome) -> Option<i64> {
    match outcome {
        Outcome::Succeeded(success) => (!success.reused).then_some(0),
        Outcome::Failed(failure) => failure.exit_code,
        Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } | Outcome::Errored(_) => None,
    }
}

/// What went wrong; a skip is well.
fn error(outcome: &Outcome) -> Option<SpanError> {
    let (kind, message) = match outcome {
        Outcome::Failed(failure) => (failure.kind.to_string(), failure.message.clone()),
        Outcome::Errored(error) => (error.kind.to_string(), error.message.clone()),
        Outcome::Succeeded(_) | Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } => return None,
    };
    Some(SpanError { kind, message })
}

fn stopped() -> SpanError {
    SpanError { kind: "stopped".to_owned(), message: "its claim is lost or was given back".to_owned() }
}
