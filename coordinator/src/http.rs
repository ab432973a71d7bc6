//! What the coordinator answers over HTTP: whether it lives, and its metrics.

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::HttpConfig;
use crate::metrics;
use crate::running::Coordinator;

/// The media type of metrics.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Opens the configured address; `None` when there is none.
pub(crate) async fn listen(config: &HttpConfig) -> Result<Option<TcpListener>> {
    if config.listen.is_empty() {
        return Ok(None);
    }
    let listener = TcpListener::bind(&config.listen)
        .await
        .with_context(|| format!("failed to listen on {:?} (`[http] listen`)", config.listen))?;
    tracing::info!(address = %listener.local_addr()?, "HTTP is served");
    Ok(Some(listener))
}

/// Answers until `shutdown`.
pub(crate) async fn serve(listener: TcpListener, running: Coordinator, shutdown: CancellationToken) {
    let router = Router::new().route("/health", get(health)).route("/metrics", get(show)).with_state(running);
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "HTTP is not served any more");
    }
}

/// 200 when the state answers, 503 and why not otherwise.
async fn health(State(running): State<Coordinator>) -> Response {
    match running.services.state.epoch().await {
        Ok(_) => "ok\n".into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

async fn show(State(running): State<Coordinator>) -> Response {
    match metrics::text(&running).await {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(trouble) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")).into_response(),
    }
}
