//! The root of a star's trace: from its admission to its end, linked to the event that asked for it.

use std::sync::Arc;

use domain::id::{StarIndex, TraceContext};
use jiff::Timestamp;
use services::traces::{Span, SpanError};
use store::course::Course;
use store::runs::StarEnd;

use crate::running::Coordinator;
use crate::trouble::Trouble;

/// What is told of a star that entered at `admitted` and ends now; `None` where it is not traced.
pub(super) async fn star_span(
    running: &Coordinator,
    course: &Arc<Course>,
    star: StarIndex,
    admitted: Timestamp,
    end: StarEnd,
) -> Result<Option<Span>, Trouble> {
    if !running.traces.is_on() {
        return Ok(None);
    }
    let (record, names) = (&course.record, course.clone());
    let name = running.services.store.ask(move |_| names.stars.star(star)).await?;
    let Some(context) = running.traces.star(record.run, name) else { return Ok(None) };
    let error = (end == StarEnd::Failed)
        .then(|| SpanError { kind: end.to_string(), message: "tasks of it failed, or the platform did".to_owned() });
    let link = Some(TraceContext::of_event(record.event, record.publisher));
    let span = Span { link, error, ..Span::new(context, "star", admitted, Timestamp::now()) }
        .with("sas.run", record.run.to_string())
        .with("sas.pipeline", record.pipeline.as_str())
        .with("sas.star", name.to_string())
        .with("sas.quarter", u32::from(record.quarter))
        .with("sas.status", end.to_string());
    Ok(Some(span))
}
