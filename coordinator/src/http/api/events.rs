//! Dataset events: published here as on RabbitMQ, and what became of them.

mod posted;

use std::time::Duration;

use aide::OperationOutput;
use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use aide::transform::TransformOperation;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::id::{EventId, Sequence};
use domain::message::DatasetEvent;
use posted::PostedEvents;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::events::Disposition;
use tokio::time::{Instant, sleep};

use super::page::{PageQuery, as_next, number};
use super::{ApiResult, saying};
use crate::http::Site;
use crate::http::body::{About, AskedBy};
use crate::http::caller::Caller;
use crate::http::problem::Problem;
use crate::operate::Context;
use crate::operate::event::{self, DisposedStar, EventLedger, EventSummary};

/// How long an answer waits for a coordinator to accept what was published.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);

pub(super) fn routes() -> ApiRouter<Site> {
    let list_or_publish =
        get_with(list, saying("listEvents", "Events that were accepted, newest first")).post_with(publish, of_publish);
    ApiRouter::new()
        .api_route("/events", list_or_publish)
        .api_route("/events/{event}", get_with(show, saying("showEvent", "An event, and what became of it")))
        .api_route(
            "/events/{event}/ledger",
            get_with(ledger, saying("showLedger", "What became of the stars of an event, in sums that balance")),
        )
        .api_route(
            "/events/{event}/ledger/stars",
            get_with(receipt, saying("listReceipt", "The stars of an event, each with what became of it")),
        )
}

/// A page of events.
#[derive(Debug, Serialize, JsonSchema)]
struct Events {
    /// Newest first.
    events: Vec<EventSummary>,
    /// What cannot be read of others.
    damaged: Vec<String>,
    /// Where to go on; not there on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct OneEvent {
    /// The event, by its computed id.
    event: EventId,
}

/// A page of the stars of an event.
#[derive(Debug, Serialize, JsonSchema)]
struct EventReceipt {
    /// In the order of their ids, run by run.
    stars: Vec<DisposedStar>,
    /// Why the event was refused, where its stars cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    /// Where to go on; not there on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What came of an event that was published.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct Published {
    /// The event, by its computed id.
    event: EventId,
    /// Whether an event of this source and id was accepted before: nothing was published.
    is_repeat: bool,
    /// What became of it, runs among it; `None` while no coordinator accepted or refused it.
    dispositions: Option<Vec<Disposition>>,
    /// The line of the audit that says so.
    audit: Option<u64>,
}

/// What came of one event, or of each of a batch in its order.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum PublishedEvents {
    One(Published),
    Batch(Vec<Published>),
}

impl IntoResponse for PublishedEvents {
    fn into_response(self) -> Response {
        let all = match &self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Batch(batch) => batch,
        };
        let is_new = all.iter().any(|published| !published.is_repeat);
        let status = if is_new { StatusCode::ACCEPTED } else { StatusCode::OK };
        (status, Json(self)).into_response()
    }
}

impl OperationOutput for PublishedEvents {
    type Inner = Self;
}

fn of_publish(operation: TransformOperation<'_>) -> TransformOperation<'_> {
    saying("publishEvents", "Publish that stars have new data: CloudEvents 1.0, structured, binary or a batch")(
        operation,
    )
    .response_with::<202, Json<PublishedEvents>, _>(|response| response.description("published"))
    .response_with::<200, Json<PublishedEvents>, _>(|response| response.description("all were accepted before"))
}

async fn list(State(site): State<Site>, caller: Caller, AskedBy(page): AskedBy<PageQuery>) -> ApiResult<Events> {
    let before = page.next(number)?.map(Sequence);
    let found = event::list(&site.context(&caller), page.limit()?, before).await?;
    Ok(Json(Events { events: found.events, damaged: found.damaged, next: as_next(found.older) }))
}

async fn show(
    State(site): State<Site>,
    caller: Caller,
    About(OneEvent { event }): About<OneEvent>,
) -> ApiResult<EventSummary> {
    Ok(Json(event::show(&site.context(&caller), event).await?))
}

async fn ledger(
    State(site): State<Site>,
    caller: Caller,
    About(OneEvent { event }): About<OneEvent>,
) -> ApiResult<EventLedger> {
    Ok(Json(event::ledger(&site.context(&caller), event).await?))
}

async fn receipt(
    State(site): State<Site>,
    caller: Caller,
    About(OneEvent { event }): About<OneEvent>,
    AskedBy(page): AskedBy<PageQuery>,
) -> ApiResult<EventReceipt> {
    let skip = page.next(number)?.unwrap_or(0) as usize;
    let most = page.limit()?;
    let found = event::receipt(&site.context(&caller), event, skip, most).await?;
    let next = as_next(found.has_more.then_some(skip + most));
    Ok(Json(EventReceipt { stars: found.stars, refused: found.refused, next }))
}

async fn publish(State(site): State<Site>, caller: Caller, posted: PostedEvents) -> Result<PublishedEvents, Problem> {
    let context = site.context(&caller);
    match posted {
        PostedEvents::One(event) => {
            let published = publish_all(&context, vec![*event]).await?.pop();
            published.map(PublishedEvents::One).ok_or_else(|| Problem::invalid("there is no event"))
        }
        PostedEvents::Batch(events) => Ok(PublishedEvents::Batch(publish_all(&context, events).await?)),
    }
}

async fn publish_all(context: &Context, events: Vec<DatasetEvent>) -> Result<Vec<Published>, Problem> {
    let mut published = Vec::with_capacity(events.len());
    for (is_repeat, event) in event::are_repeats(context, &events).await?.into_iter().zip(&events) {
        published.push(Published { event: event.event_id(), is_repeat, dispositions: None, audit: None });
    }
    let new = events.into_iter().zip(&published).filter(|(_, published)| !published.is_repeat);
    let new = new.map(|(event, _)| event).collect();
    let lines = event::publish_written(context, new).await?;
    let new = published.iter_mut().filter(|published| !published.is_repeat);
    new.zip(lines).for_each(|(published, line)| published.audit = Some(line));
    let until = Instant::now() + PATIENCE;
    for published in &mut published {
        published.dispositions = accepted(context, published.event, until).await?;
    }
    Ok(published)
}

/// What became of an event, if a coordinator tells soon.
async fn accepted(context: &Context, id: EventId, until: Instant) -> Result<Option<Vec<Disposition>>, Problem> {
    loop {
        let refused = event::refusal(context, id).await?.map(|reason| vec![Disposition::Rejected { reason }]);
        let found = event::find(context, id).await?.and_then(|event| event.dispositions);
        let dispositions = found.or(refused);
        if dispositions.is_some() || Instant::now() >= until {
            return Ok(dispositions);
        }
        sleep(LOOK).await;
    }
}
