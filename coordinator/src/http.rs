//! What the coordinator answers over HTTP: the pages for people, the API for programs, whether it lives, and its metrics.
//!
//! Every route asks a function of [`crate::operate`] and says its answer; none decides anything itself.

mod api;
mod caller;
mod counted;
mod glance;
mod health;
mod pages;
mod site;

use anyhow::{Context, Result};
use axum::Router;
use axum::middleware::from_fn_with_state;
use caller::Caller;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) use site::Site;

use crate::config::HttpConfig;

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
pub(crate) async fn serve(listener: TcpListener, site: Site, shutdown: CancellationToken) {
    let served = axum::serve(listener, router(site)).with_graceful_shutdown(shutdown.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "HTTP is not served any more");
    }
}

fn router(site: Site) -> Router {
    let counted = from_fn_with_state(site.clone(), counted::count);
    Router::new().merge(health::routes()).merge(pages::routes()).merge(api::routes()).layer(counted).with_state(site)
}
