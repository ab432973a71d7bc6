//! Counts requests: by route, never by what stands in its place in an address.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;

use super::Site;
use crate::counters::labels;

/// Lets a request through, and counts it and the time to its answer.
pub(super) async fn count(State(site): State<Site>, request: Request, next: Next) -> Response {
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "none".to_owned());
    let began = Instant::now();
    let response = next.run(request).await;
    let counters = &site.running.counters;
    let status = response.status();
    let of = labels([("method", method.as_str()), ("route", &route), ("status", status.as_str())]);
    counters.requests.get_or_create_owned(&of).inc();
    let took = began.elapsed().as_secs_f64();
    counters.request_times.get_or_create_owned(&labels([("route", &route)])).observe(took);
    response
}
