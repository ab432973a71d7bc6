//! Stars of a run at a stage, a page at a time.

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::page::{PageQuery, as_next, number};
use super::{ApiResult, saying};
use crate::http::Site;
use crate::http::body::{About, AskedBy};
use crate::http::caller::Caller;
use crate::http::problem::Problem;
use crate::operate::called::{CalledRun, find_run};
use crate::operate::stars::{ListStars, ListedStar, StarStage, list};

pub(super) fn routes() -> ApiRouter<Site> {
    let described = get_with(at_stage, saying("listStage", "Stars of a run that are to come, in flight, or ended so"));
    ApiRouter::new().api_route("/runs/{run}/stages/{stage}", described)
}

/// A stage of a run.
#[derive(Debug, Deserialize, JsonSchema)]
struct OneStage {
    /// The run: its id, four or more of its first digits, or `newest`.
    run: String,
    /// The stage.
    stage: StarStage,
}

/// A page of stars.
#[derive(Debug, Serialize, JsonSchema)]
struct StagePage {
    /// In the order of the run's list.
    stars: Vec<ListedStar>,
    /// How many there are in all.
    all: u64,
    /// That the state could not be asked, with the reason: what is not settled counts as to come.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_only: Option<String>,
    /// Where to go on; not there on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

async fn at_stage(
    State(site): State<Site>,
    caller: Caller,
    About(OneStage { run, stage }): About<OneStage>,
    AskedBy(page): AskedBy<PageQuery>,
) -> ApiResult<StagePage> {
    let context = site.context(&caller);
    let called: CalledRun = run.parse()?;
    let after = page.next(number)?.map(u32::try_from).transpose();
    let after = after.map_err(|_| Problem::invalid("`next` is no star's place, expected what the page before says"))?;
    let asked = ListStars { run: find_run(&context, &called).await?, stage, after, limit: page.limit()? };
    let found = list(&context, asked).await?;
    Ok(Json(StagePage {
        stars: found.stars,
        all: found.all,
        stored_only: found.stored_only,
        next: as_next(found.next),
    }))
}
