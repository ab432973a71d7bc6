//! Replays: planned, and applied as runs.

use std::num::NonZeroU32;

use aide::axum::ApiRouter;
use aide::axum::routing::post_with;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{ApiResult, doing, saying};
use crate::http::Site;
use crate::http::body::Asked;
use crate::http::caller::Caller;
use crate::http::problem::Problem;
use crate::operate::replay::{self, ApplyReplay, ReplayPlan, ReplayRequest};
use crate::operate::run::StartedRun;

pub(super) fn routes() -> ApiRouter<Site> {
    let plan = post_with(plan, saying("planReplay", "What would run again and why, in numbers; nothing runs"));
    let apply = saying("applyReplay", "Run what a plan says, for each quarter; refused where the world changed since");
    ApiRouter::new().api_route("/replays/plan", plan).api_route("/replays", post_with(apply_plan, apply))
}

/// A plan to apply.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AskApply {
    /// The plan, as it was answered.
    plan: ReplayPlan,
    /// The weight of its runs; 1 unless given.
    #[serde(default)]
    weight: Option<NonZeroU32>,
    /// Take stars over from runs of this pipeline and quarter that still go on.
    #[serde(default)]
    take_over: bool,
    /// Why, for the audit.
    #[serde(default)]
    reason: Option<String>,
}

async fn plan(State(site): State<Site>, caller: Caller, Asked(request): Asked<ReplayRequest>) -> ApiResult<ReplayPlan> {
    Ok(Json(replay::plan(&site.context(&caller), request).await?))
}

async fn apply_plan(
    State(site): State<Site>,
    caller: Caller,
    Asked(asked): Asked<AskApply>,
) -> Result<(StatusCode, Json<Vec<StartedRun>>), Problem> {
    let AskApply { plan, weight, take_over, reason } = asked;
    let started = replay::apply(&doing(&site, &caller, reason), ApplyReplay { plan, weight, take_over }).await?;
    Ok((StatusCode::ACCEPTED, Json(started)))
}
