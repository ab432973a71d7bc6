//! What the coordinator answers over HTTP: the pages for people, the API for programs, whether it lives, and its metrics.
//!
//! Every route asks a function of [`crate::operate`] and says its answer; none decides anything itself.

mod access;
mod api;
mod body;
mod caller;
mod counted;
mod escaped;
mod glance;
mod guard;
mod health;
mod login;
mod openapi;
mod pages;
mod problem;
mod repeats;
mod server;
mod site;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use problem::Problem;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::limit::GlobalConcurrencyLimitLayer;

pub(crate) use access::Access;
pub(crate) use site::Site;

use crate::config::HttpConfig;

/// Questions that are answered at a time, the others wait: what is read of the store for one is held in memory until then.
const AT_ONCE: usize = 4;

/// Opens the configured address, and finds out who may ask there; `None` when there is none.
pub(crate) async fn open(config: &HttpConfig) -> Result<Option<(TcpListener, Access)>> {
    if config.listen.is_empty() {
        return Ok(None);
    }
    let listener = server::listen(&config.listen)
        .await
        .with_context(|| format!("failed to listen on {:?} (`[http] listen`)", config.listen))?;
    let access = Access::open(config, &listener)?;
    tracing::info!(address = %listener.local_addr()?, tokens = access.needs_token(), "HTTP is served");
    Ok(Some((listener, access)))
}

/// Answers until `shutdown`.
pub(crate) async fn serve(listener: TcpListener, site: Site, shutdown: CancellationToken) {
    server::serve(listener, router(site), shutdown).await;
}

/// That there is nothing at an address.
async fn nothing(request: Request) -> Response {
    let path = request.uri().path();
    if path.starts_with("/api/") {
        return Problem::no_address(path).into_response();
    }
    (StatusCode::NOT_FOUND, login::refused("There is nothing at this address.")).into_response()
}

fn router(site: Site) -> Router {
    let guarded = from_fn_with_state(site.clone(), guard::guard);
    let counted = from_fn_with_state(site.clone(), counted::count);
    let asking = pages::routes().merge(api::routes(&site)).layer(GlobalConcurrencyLimitLayer::new(AT_ONCE));
    let all = asking.merge(health::routes()).merge(login::routes());
    all.fallback(nothing).layer(guarded).layer(counted).with_state(site)
}
