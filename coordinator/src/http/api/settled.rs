//! Tasks of a run that have ended, a page at a time.

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use domain::id::{GroupName, ModuleName, StarId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::page::{Listed, as_next, within};
use super::runs::OneRun;
use super::{ApiResult, saying};
use crate::http::Site;
use crate::http::body::{About, AskedBy};
use crate::http::caller::Caller;
use crate::operate::selection::{ShownState, TaskSelection};
use crate::operate::task::{self, ListSettled, SettledTask, TaskPosition};

/// The most tasks of a page.
const MOST: u64 = 1000;

pub(super) fn routes() -> ApiRouter<Site> {
    let described = get_with(list, saying("listSettled", "Tasks of a run that have ended"));
    ApiRouter::new().api_route("/runs/{run}/tasks/settled", described)
}

/// Which tasks; several values of a parameter are separated by commas.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WhichSettled {
    /// Of these modules.
    #[serde(default)]
    module: Listed<ModuleName>,
    /// Of the modules of these groups.
    #[serde(default)]
    group: Listed<GroupName>,
    /// In these states.
    #[serde(default)]
    state: Listed<ShownState>,
    /// Of these stars.
    #[serde(default)]
    star: Listed<StarId>,
    /// The most tasks: 100 unless given.
    #[serde(default)]
    limit: Option<u64>,
    /// Where to go on: `next` of the page before.
    #[serde(default)]
    next: Option<String>,
}

/// A page of tasks.
#[derive(Debug, Serialize, JsonSchema)]
struct SettledPage {
    /// In the order of stars and modules.
    tasks: Vec<SettledTask>,
    /// How many are meant in all.
    all: u64,
    /// What is not listed, and why.
    notes: Vec<String>,
    /// Where to go on; not there on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

async fn list(
    State(site): State<Site>,
    caller: Caller,
    About(one): About<OneRun>,
    AskedBy(which): AskedBy<WhichSettled>,
) -> ApiResult<SettledPage> {
    let context = site.context(&caller);
    let limit = within("limit", which.limit.unwrap_or(100), MOST)?;
    let after: Option<TaskPosition> = which.next.as_deref().map(str::parse).transpose()?;
    let selection = TaskSelection {
        run: Some(one.find(&context).await?),
        modules: which.module.0,
        groups: which.group.0,
        states: which.state.0,
        stars: which.star.0,
        ..TaskSelection::default()
    };
    let found = task::settled(&context, ListSettled { selection, after, limit }).await?;
    Ok(Json(SettledPage { tasks: found.tasks, all: found.all, notes: found.notes, next: as_next(found.next) }))
}
