//! How things stand: once, or every second; and the description of all this.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use aide::transform::TransformOperation;
use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{ApiResult, saying};
use crate::http::Site;
use crate::http::caller::Caller;
use crate::http::problem::Problem;
use crate::operate::status::Status;
use crate::operate::{Context, flow};

/// How often a stream says how things stand.
const EVERY: Duration = Duration::from_secs(1);

pub(super) fn routes() -> ApiRouter<Site> {
    ApiRouter::new()
        .api_route("/status", get_with(show, saying("status", "How things stand, a second ago at most")))
        .api_route("/stream", get_with(follow, of_stream))
        .api_route(
            "/queues",
            get_with(queues, saying("queues", "How full the queues are, and where the tasks behind them are")),
        )
}

async fn show(State(site): State<Site>, caller: Caller) -> ApiResult<Arc<Status>> {
    Ok(Json(site.glance.status(&site.context(&caller)).await?))
}

async fn queues(State(site): State<Site>, caller: Caller) -> ApiResult<flow::Flow> {
    Ok(Json(flow::flow(&*site.context(&caller).installation).await?))
}

fn of_stream(operation: TransformOperation<'_>) -> TransformOperation<'_> {
    saying("stream", "How things stand, every second: server-sent events")(operation).response_with::<200, (), _>(
        |response| {
            let described =
                response.description("events `status`, each with the answer of /status; `problem` where there is none");
            with_media(described)
        },
    )
}

fn with_media<T>(mut response: aide::transform::TransformResponse<'_, T>) -> aide::transform::TransformResponse<'_, T> {
    let media = aide::openapi::MediaType::default();
    response.inner().content.insert("text/event-stream".to_owned(), media);
    response
}

async fn follow(State(site): State<Site>, caller: Caller) -> Response {
    match site.followers.clone().try_acquire_owned() {
        Ok(place) => {
            let context = site.context(&caller);
            Sse::new(events(site, context, place)).keep_alive(KeepAlive::default()).into_response()
        }
        Err(_) => Problem::too_many_follow().into_response(),
    }
}

/// However many follow, the status is looked at once a second; while nobody does, not at all.
fn events(site: Site, context: Context, place: OwnedSemaphorePermit) -> impl Stream<Item = Result<Event, Infallible>> {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::unfold((ticks, site, context, place), async |(mut ticks, site, context, place)| {
        let _: Instant = ticks.tick().await;
        let event = match site.glance.status(&context).await {
            Ok(status) => Event::default().event("status").json_data(&*status),
            Err(error) => Event::default().event("problem").json_data(Problem::from(error)),
        };
        let event = event.unwrap_or_else(|_| Event::default().event("problem"));
        Some((Ok(event), (ticks, site, context, place)))
    })
}
