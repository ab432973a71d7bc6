//! What is told of an event that was accepted. Pure.

use domain::id::{RunId, TraceContext};
use services::queue::QueueName;
use services::traces::Span;
use store::events::EventRecord;

/// The span of an event that started these runs over so many stars; whoever tells it says when that was done.
pub(super) fn event_span(record: &EventRecord, runs: &[RunId], stars: usize) -> Span {
    let (event, publisher) = (&record.event, record.event.publisher());
    let context = TraceContext::of_event(record.id, publisher);
    let runs: Vec<String> = runs.iter().map(ToString::to_string).collect();
    Span {
        parent: publisher.map(|publisher| publisher.span),
        ..Span::new(context, "event", record.accepted, record.accepted)
    }
    .of_message(&QueueName::Events.to_string())
    .with("cloudevents.event_id", event.id.as_str())
    .with("cloudevents.event_source", event.source.as_str())
    .with("cloudevents.event_type", event.kind.as_str())
    .with("sas.event", record.id.to_string())
    .with("sas.dataset", event.data.dataset.as_str())
    .with("sas.run", runs.join(" "))
    .with("sas.stars", u32::try_from(stars).unwrap_or(u32::MAX))
}
