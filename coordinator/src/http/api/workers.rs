//! Workers and their hosts.

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use domain::id::HostName;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{ApiResult, Why, doing, saying};
use crate::http::Site;
use crate::http::body::{About, Asked};
use crate::http::caller::Caller;
use crate::operate::workers::{self, AllWorkers, HostDecided, OneHost};

pub(super) fn routes() -> ApiRouter<Site> {
    ApiRouter::new()
        .api_route("/workers", get_with(list, saying("listWorkers", "Workers that live, and hosts that are drained")))
        .api_route(
            "/hosts/{host}/drain",
            post_with(drain, saying("drainHost", "Let a host's workers take nothing new")),
        )
        .api_route(
            "/hosts/{host}/resume",
            post_with(resume, saying("resumeHost", "Let a drained host's workers go on")),
        )
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WhichHost {
    /// The host, as its workers call it.
    host: HostName,
}

async fn list(State(site): State<Site>, caller: Caller) -> ApiResult<AllWorkers> {
    Ok(Json(workers::list(&site.context(&caller)).await?))
}

async fn drain(
    State(site): State<Site>,
    caller: Caller,
    About(WhichHost { host }): About<WhichHost>,
    Asked(why): Asked<Why>,
) -> ApiResult<HostDecided> {
    Ok(Json(workers::drain(&doing(&site, &caller, why.reason), OneHost { host }).await?))
}

async fn resume(
    State(site): State<Site>,
    caller: Caller,
    About(WhichHost { host }): About<WhichHost>,
    Asked(why): Asked<Why>,
) -> ApiResult<HostDecided> {
    Ok(Json(workers::resume(&doing(&site, &caller, why.reason), OneHost { host }).await?))
}
