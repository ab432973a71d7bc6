//! Tasks of a run that are selected: listed, counted before anything is decided about them, cancelled, tried again.

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use domain::id::{GroupName, ModuleName, RunId, StarId};
use domain::outcome::FailurePattern;
use schemars::JsonSchema;
use serde::Deserialize;

use super::page::{Listed, within};
use super::runs::OneRun;
use super::{ApiResult, doing, saying};
use crate::http::Site;
use crate::http::body::{About, Asked, AskedBy};
use crate::http::caller::Caller;
use crate::http::problem::Problem;
use crate::operate::failures::{self, ListFailures, RunFailures};
use crate::operate::run::RunDecided;
use crate::operate::selection::{ShownState, TaskSelection};
use crate::operate::task::{self, ListTasks, PlannedVerb, TaskList, TaskPlan};
use crate::operate::{Context, OperateError};

/// The most tasks of a list.
const MOST: u64 = 1000;

/// The most groups of failures, and stars of each.
const MOST_GROUPS: u64 = 100;

pub(super) fn routes() -> ApiRouter<Site> {
    ApiRouter::new()
        .api_route(
            "/runs/{run}/tasks",
            get_with(list, saying("listTasks", "Tasks of a run that have not ended, or failed")),
        )
        .api_route(
            "/runs/{run}/failures",
            get_with(failed, saying("listFailures", "What failed in a run, by what is alike")),
        )
        .api_route(
            "/runs/{run}/tasks/plan",
            post_with(plan, saying("planTasks", "What it would come to; nothing is decided")),
        )
        .api_route(
            "/runs/{run}/tasks/cancel",
            post_with(cancel, saying("cancelTasks", "Cancel tasks that have not ended")),
        )
        .api_route("/runs/{run}/tasks/retry", post_with(retry, saying("retryTasks", "Run tasks that have ended again")))
}

/// Which tasks; several values of a parameter are separated by commas.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WhichTasks {
    /// Of these modules.
    #[serde(default)]
    module: Listed<ModuleName>,
    /// Of the modules of these groups.
    #[serde(default)]
    group: Listed<GroupName>,
    /// In these states.
    #[serde(default)]
    state: Listed<ShownState>,
    /// That failed so: kinds or fingerprints.
    #[serde(default)]
    reason: Listed<FailurePattern>,
    /// On these hosts.
    #[serde(default)]
    host: Listed<String>,
    /// Of these stars.
    #[serde(default)]
    star: Listed<StarId>,
    /// In their state for longer than this, as in `10m`.
    #[serde(default)]
    older: Option<String>,
    /// The most tasks, or groups of failures.
    #[serde(default)]
    limit: Option<u64>,
}

impl WhichTasks {
    fn of(self, run: RunId) -> Result<TaskSelection, Problem> {
        let older = self.older.map(|older| {
            let wrong = |error| Problem::invalid(format!("`older` is {older:?}, expected a time as in `10m`: {error}"));
            humantime::parse_duration(&older).map_err(wrong)
        });
        Ok(TaskSelection {
            run: Some(run),
            modules: self.module.0,
            groups: self.group.0,
            states: self.state.0,
            reasons: self.reason.0,
            hosts: self.host.0,
            stars: self.star.0,
            older: older.transpose()?,
        })
    }
}

/// What is to be counted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AskPlan {
    /// What is to become of them.
    verb: PlannedVerb,
    /// Which tasks.
    #[serde(default)]
    selection: TaskSelection,
}

/// What is to be done.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AskTasks {
    /// Which tasks.
    #[serde(default)]
    selection: TaskSelection,
    /// The count of the plan: nothing is decided where it is another by now.
    count: u64,
    /// Why, for the audit.
    #[serde(default)]
    reason: Option<String>,
}

async fn list(
    State(site): State<Site>,
    caller: Caller,
    About(one): About<OneRun>,
    AskedBy(which): AskedBy<WhichTasks>,
) -> ApiResult<TaskList> {
    let context = site.context(&caller);
    let limit = within("limit", which.limit.unwrap_or(100), MOST)?;
    let selection = which.of(one.find(&context).await?)?;
    Ok(Json(task::list(&context, ListTasks { selection, limit }).await?))
}

async fn failed(
    State(site): State<Site>,
    caller: Caller,
    About(one): About<OneRun>,
    AskedBy(which): AskedBy<WhichTasks>,
) -> ApiResult<RunFailures> {
    let context = site.context(&caller);
    let groups = within("limit", which.limit.unwrap_or(20), MOST_GROUPS)?;
    let selection = which.of(one.find(&context).await?)?;
    Ok(Json(failures::list(&context, ListFailures { selection, groups, stars: 10 }).await?))
}

async fn plan(
    State(site): State<Site>,
    caller: Caller,
    About(one): About<OneRun>,
    Asked(asked): Asked<AskPlan>,
) -> ApiResult<TaskPlan> {
    let context = site.context(&caller);
    let run = one.find(&context).await?;
    Ok(Json(planned(&context, run, asked.verb, asked.selection).await?))
}

async fn cancel(
    State(site): State<Site>,
    caller: Caller,
    About(one): About<OneRun>,
    Asked(asked): Asked<AskTasks>,
) -> ApiResult<RunDecided> {
    carry_out(&site, &caller, one, PlannedVerb::Cancel, asked).await
}

async fn retry(
    State(site): State<Site>,
    caller: Caller,
    About(one): About<OneRun>,
    Asked(asked): Asked<AskTasks>,
) -> ApiResult<RunDecided> {
    carry_out(&site, &caller, one, PlannedVerb::Retry, asked).await
}

async fn carry_out(
    site: &Site,
    caller: &Caller,
    one: OneRun,
    verb: PlannedVerb,
    asked: AskTasks,
) -> ApiResult<RunDecided> {
    let context = doing(site, caller, asked.reason);
    let run = one.find(&context).await?;
    let plan = planned(&context, run, verb, asked.selection).await?;
    task::require_count(&plan, Some(asked.count))?;
    Ok(Json(task::carry_out(&context, plan).await?))
}

async fn planned(
    context: &Context,
    run: RunId,
    verb: PlannedVerb,
    mut selection: TaskSelection,
) -> Result<TaskPlan, Problem> {
    if selection.run.is_some_and(|other| other != run) {
        return Err(Problem::invalid("`selection.run` is another run than that of the address"));
    }
    selection.run = Some(run);
    let planned: Result<TaskPlan, OperateError> = match verb {
        PlannedVerb::Retry => task::plan_retry(context, selection).await,
        PlannedVerb::Cancel => task::plan_cancel(context, selection).await,
    };
    Ok(planned?)
}
