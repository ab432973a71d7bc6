//! Pipelines, and modules that are held.

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use domain::id::{ModuleName, PipelineName};
use schemars::JsonSchema;
use serde::Deserialize;
use store::holds::Held;

use super::{ApiResult, Why, doing, saying};
use crate::http::Site;
use crate::http::body::{About, Asked};
use crate::http::caller::Caller;
use crate::operate::module::{self, ModuleDecided, OneModule};
use crate::operate::pipelines::{self, PipelineSummary, PipelineView};

pub(super) fn routes() -> ApiRouter<Site> {
    const MODULE: &str = "/pipelines/{pipeline}/modules/{module}";
    ApiRouter::new()
        .api_route("/pipelines", get_with(list, saying("listPipelines", "The pipelines that events start")))
        .api_route("/pipelines/{pipeline}", get_with(show, saying("showPipeline", "A pipeline: its modules and edges")))
        .api_route("/modules", get_with(held, saying("listHeldModules", "The modules that are held")))
        .api_route(
            &format!("{MODULE}/hold"),
            post_with(hold, saying("holdModule", "Hand no task of a module to workers")),
        )
        .api_route(&format!("{MODULE}/release"), post_with(release, saying("releaseModule", "Hand them out again")))
}

#[derive(Debug, Deserialize, JsonSchema)]
struct OnePipeline {
    /// The pipeline.
    pipeline: PipelineName,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WhichModule {
    /// The pipeline.
    pipeline: PipelineName,
    /// The module.
    module: ModuleName,
}

impl From<WhichModule> for OneModule {
    fn from(WhichModule { pipeline, module }: WhichModule) -> Self {
        Self { pipeline, module }
    }
}

async fn list(State(site): State<Site>, caller: Caller) -> ApiResult<Vec<PipelineSummary>> {
    Ok(Json(pipelines::list(&site.context(&caller)).await?))
}

async fn show(State(site): State<Site>, caller: Caller, About(one): About<OnePipeline>) -> ApiResult<PipelineView> {
    Ok(Json(pipelines::show(&site.context(&caller), &one.pipeline).await?))
}

async fn held(State(site): State<Site>, caller: Caller) -> ApiResult<Vec<Held>> {
    Ok(Json(module::list(&site.context(&caller)).await?))
}

async fn hold(
    State(site): State<Site>,
    caller: Caller,
    About(which): About<WhichModule>,
    Asked(why): Asked<Why>,
) -> ApiResult<ModuleDecided> {
    Ok(Json(module::hold(&doing(&site, &caller, why.reason), which.into()).await?))
}

async fn release(
    State(site): State<Site>,
    caller: Caller,
    About(which): About<WhichModule>,
    Asked(why): Asked<Why>,
) -> ApiResult<ModuleDecided> {
    Ok(Json(module::release(&doing(&site, &caller, why.reason), which.into()).await?))
}
