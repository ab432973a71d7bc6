//! Whether the coordinator lives, whether it can work, and its metrics.

use std::fmt::Write;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use domain::text::shown;

use super::Site;
use crate::metrics::{self, MetricsForm};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/health", get(ready))
        .route("/metrics", get(show))
}

/// A line per service; 503 where one cannot be written to.
async fn ready(State(site): State<Site>) -> Response {
    let services = site.readiness.look(&site.running.services).await;
    let mut text = String::new();
    for service in &services {
        // Writing to a string cannot fail.
        _ = match &service.trouble {
            None => writeln!(text, "ok    {}", service.name),
            Some(trouble) => writeln!(text, "away  {}: {}", service.name, shown(trouble)),
        };
    }
    let is_ready = services.iter().all(|service| service.trouble.is_none());
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text).into_response()
}

async fn show(State(site): State<Site>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let form = MetricsForm::accepted(accept);
    let text = metrics::text(&site.running, site.installation(), &site.readiness, form).await;
    ([(header::CONTENT_TYPE, form.media_type())], text).into_response()
}
