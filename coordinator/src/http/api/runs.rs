//! Runs: the list of them, one as it stands, starting one, and the levers of one.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::id::{GroupName, ImageName, ModuleName, PipelineName, Quarter, RunId, Sequence, StarId};
use domain::run::TaskState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::runs::{RunRank, Selection};

use super::page::PageQuery;
use super::{ApiResult, Why, doing, saying};
use crate::http::Site;
use crate::http::body::{About, Asked, AskedBy};
use crate::http::caller::Caller;
use crate::http::problem::Problem;
use crate::operate::called::{CalledRun, find_run};
use crate::operate::failures::{RunReport, report};
use crate::operate::run::{
    self, AmendImages, Lever, PullLever, RetryTasks, RollBackRun, RunDecided, RunFlips, RunRolledBack, StartRun,
    StartedRun,
};
use crate::operate::view::{self, RunModules, RunSummary};
use crate::operate::{Context, OperateError};

pub(super) fn routes() -> ApiRouter<Site> {
    let list_or_start = get_with(list, saying("listRuns", "Runs, newest first"))
        .post_with(start, saying("startRun", "Start a run over stars that the store has, for each quarter of them"));
    ApiRouter::new()
        .api_route("/runs", list_or_start)
        .api_route("/runs/{run}", get_with(show, saying("showRun", "A run as it stands, with what failed most in it")))
        .api_route(
            "/runs/{run}/modules",
            get_with(modules, saying("countTasks", "Tasks of a run by module and state, and what waits for what")),
        )
        .api_route(
            "/runs/{run}/flips",
            get_with(
                flips,
                saying("listFlips", "Modules of stars that ran before and were skipped now, or the other way"),
            ),
        )
        .api_route(
            "/runs/{run}/pause",
            post_with(pause, saying("pauseRun", "Let no star enter and no task be claimed")),
        )
        .api_route("/runs/{run}/resume", post_with(resume, saying("resumeRun", "Let a paused run go on")))
        .api_route(
            "/runs/{run}/cancel",
            post_with(cancel, saying("cancelRun", "End a run; what has not ended is cancelled")),
        )
        .api_route("/runs/{run}/priority", post_with(priority, saying("weighRun", "Set a run's weight among others")))
        .api_route("/runs/{run}/retry", post_with(retry, saying("retryRun", "Run settled tasks of a run again")))
        .api_route(
            "/runs/{run}/rollback",
            post_with(
                roll_back,
                saying(
                    "rollBackRun",
                    "Let star files show what they showed before a run; what is cut off may be sent again",
                ),
            ),
        )
        .api_route("/runs/{run}/amend", post_with(amend, saying("amendRun", "Let modules of a run have other images")))
}

/// A page of runs.
#[derive(Debug, Serialize, JsonSchema)]
struct Runs {
    /// Newest first.
    runs: Vec<RunSummary>,
    /// What cannot be read of others.
    damaged: Vec<String>,
    /// Where to go on; not there on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A run in an address.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct OneRun {
    /// The run: its id, four or more of its first digits, or `newest`.
    run: String,
}

impl OneRun {
    /// The run that is meant.
    pub(super) async fn find(&self, context: &Context) -> Result<RunId, OperateError> {
        let called: CalledRun = self.run.parse()?;
        find_run(context, &called).await
    }
}

/// What is to be started.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AskStart {
    /// The pipeline.
    pipeline: PipelineName,
    /// Its version; the one that the coordinator has unless given.
    #[serde(default)]
    version: Option<String>,
    /// The stars; each is run once.
    stars: Vec<StarId>,
    /// The quarter; of each star its newest unless given.
    #[serde(default)]
    quarter: Option<Quarter>,
    /// Run only the modules of this group, and what they need.
    #[serde(default)]
    only_group: Option<GroupName>,
    /// Take stars over from runs of this pipeline and quarter that still go on.
    #[serde(default)]
    take_over: bool,
    /// Why, for the audit.
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AskPriority {
    /// 1 or more; runs begin with 1.
    weight: NonZeroU32,
    /// Why, for the audit.
    #[serde(default)]
    reason: Option<String>,
}

/// Which settled tasks run again; without a state those that were lost, but not to a newer run.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct AskRetry {
    /// Of these modules.
    modules: Vec<ModuleName>,
    /// Of these stars.
    stars: Vec<StarId>,
    /// In these states.
    states: Vec<TaskState>,
    /// Why, for the audit.
    reason: Option<String>,
}

/// What is taken back.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct AskRollBackRun {
    /// Only count.
    dry_run: bool,
    /// Why, for the audit.
    reason: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AskAmend {
    /// The new image of each module.
    images: BTreeMap<ModuleName, ImageName>,
    /// Why, for the audit.
    #[serde(default)]
    reason: Option<String>,
}

async fn list(State(site): State<Site>, caller: Caller, AskedBy(page): AskedBy<PageQuery>) -> ApiResult<Runs> {
    let after = page.next(|next| {
        let (horizon, run) = next.split_once('.')?;
        Some(RunRank { horizon: Sequence(horizon.parse().ok()?), run: run.parse().ok()? })
    })?;
    let (found, last) = view::runs_after(&site.context(&caller), page.limit()?, after).await?;
    let next = last.map(|last| format!("{}.{}", last.horizon, last.run));
    Ok(Json(Runs { runs: found.runs, damaged: found.damaged, next }))
}

async fn show(State(site): State<Site>, caller: Caller, About(one): About<OneRun>) -> ApiResult<RunReport> {
    let context = site.context(&caller);
    Ok(Json(report(&context, one.find(&context).await?).await?))
}

async fn flips(State(site): State<Site>, caller: Caller, About(which): About<OneRun>) -> ApiResult<RunFlips> {
    let context = site.context(&caller);
    Ok(Json(run::flips(&context, which.find(&context).await?).await?))
}

async fn modules(State(site): State<Site>, caller: Caller, About(one): About<OneRun>) -> ApiResult<RunModules> {
    let context = site.context(&caller);
    Ok(Json(view::modules(&context, one.find(&context).await?).await?))
}

async fn start(
    State(site): State<Site>,
    caller: Caller,
    Asked(asked): Asked<AskStart>,
) -> Result<(StatusCode, Json<Vec<StartedRun>>), Problem> {
    let AskStart { pipeline, version, stars, quarter, only_group, take_over, reason } = asked;
    let asked = StartRun { pipeline, version, stars, quarter, only_group, take_over };
    if asked.stars.is_empty() {
        return Err(Problem::invalid("`stars` is empty, expected at least one star"));
    }
    let started = run::start(&doing(&site, &caller, reason), asked).await?;
    Ok((StatusCode::ACCEPTED, Json(started)))
}

async fn pull(
    site: &Site,
    caller: &Caller,
    one: OneRun,
    lever: Lever,
    reason: Option<String>,
) -> ApiResult<RunDecided> {
    let context = doing(site, caller, reason);
    let run = one.find(&context).await?;
    Ok(Json(run::pull(&context, PullLever { run, lever }).await?))
}

async fn pause(
    State(site): State<Site>,
    caller: Caller,
    About(one): About<OneRun>,
    Asked(why): Asked<Why>,
) -> ApiResult<RunDecided> {
    pull(&site, &caller, one, Lever::Pause, why.reason).await
}

async fn resume(
    State(site): State<Site>,
    caller: Caller,
    About(one): About<OneRun>,
    Asked(why): Asked<Why>,
) -> ApiResult<RunDecided> {
    pull(&site, &caller, one, Lever::Resume, why.reason).await
}

async fn cancel(
    State(site): State<Site>,
    caller: Caller,
    About(one): About<OneRun>,
    Asked(why): Asked<Why>,
) -> ApiResult<RunDecided> {
    pull(&site, &caller, one, Lever::Cancel, why.reason).await
}

async fn priority(
    State(site): State<Site>,
    caller: Caller,
    About(one): About<OneRun>,
    Asked(asked): Asked<AskPriority>,
) -> ApiResult<RunDecided> {
    pull(&site, &caller, one, Lever::Priority { weight: asked.weight }, asked.reason).await
}

async fn retry(
    State(site): State<Site>,
    caller: Caller,
    About(one): About<OneRun>,
    Asked(asked): Asked<AskRetry>,
) -> ApiResult<RunDecided> {
    let AskRetry { modules, stars, states, reason } = asked;
    let context = doing(&site, &caller, reason);
    let run = one.find(&context).await?;
    let selection = Selection {
        modules: modules.into_iter().collect(),
        stars: stars.into_iter().collect(),
        states: states.into_iter().collect(),
        tasks: None,
    };
    Ok(Json(run::retry(&context, RetryTasks { run, selection }).await?))
}

async fn roll_back(
    State(site): State<Site>,
    caller: Caller,
    About(one): About<OneRun>,
    Asked(asked): Asked<AskRollBackRun>,
) -> ApiResult<RunRolledBack> {
    let AskRollBackRun { dry_run, reason } = asked;
    let context = doing(&site, &caller, reason);
    let run = one.find(&context).await?;
    Ok(Json(run::roll_back(&context, RollBackRun { run, dry_run }, &mut |_, _| {}).await?))
}

async fn amend(
    State(site): State<Site>,
    caller: Caller,
    About(one): About<OneRun>,
    Asked(asked): Asked<AskAmend>,
) -> ApiResult<RunDecided> {
    if asked.images.is_empty() {
        return Err(Problem::invalid("`images` is empty, expected a module and its new image at least"));
    }
    let context = doing(&site, &caller, asked.reason);
    let run = one.find(&context).await?;
    Ok(Json(run::amend(&context, AmendImages { run, images: asked.images }).await?))
}
