//! One star: its tasks and why they are as they are, what it ended with, and where that came from.

use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use domain::id::{Generation, ProductName, Quarter, StarId};
use schemars::JsonSchema;
use serde::Deserialize;
use store::failures::FailureRecord;

use super::{ApiResult, doing, saying};
use crate::http::Site;
use crate::http::body::{About, Asked, AskedBy};
use crate::http::caller::Caller;
use crate::operate::called::{CalledRun, CalledStar, find_star};
use crate::operate::run::RunDecided;
use crate::operate::star::{
    self, AskLineage, CompareGenerations, Descent, Lineage, OneGeneration, OneQuarter, RollBack, RolledBack,
    StarCurves, StarDifference, StarGenerations, StarProducts,
};
use crate::operate::view::{self, OneStar, StarSummary};
use crate::operate::{Context, OperateError, task};

pub(super) fn routes() -> ApiRouter<Site> {
    ApiRouter::new()
        .api_route(
            "/stars/{star}",
            get_with(show, saying("showStar", "State and reason of every module, attempts, last lines of logs")),
        )
        .api_route(
            "/stars/{star}/failures",
            get_with(
                failures,
                saying("listFailedAttempts", "Tries that were the last of a task that failed, with their logs"),
            ),
        )
        .api_route(
            "/stars/{star}/generations",
            get_with(generations, saying("listGenerations", "What it ended with run by run")),
        )
        .api_route(
            "/stars/{star}/products",
            get_with(products, saying("listProducts", "What a generation holds, and why no more")),
        )
        .api_route("/stars/{star}/curves", get_with(curves, saying("showCurves", "What of a generation is drawn")))
        .api_route(
            "/stars/{star}/difference",
            get_with(difference, saying("compareGenerations", "Two generations side by side")),
        )
        .api_route(
            "/stars/{star}/lineage/{product}",
            get_with(lineage, saying("showLineage", "What a product was made from, by whom and how")),
        )
        .api_route(
            "/stars/{star}/descent/{product}",
            get_with(descent, saying("showDescent", "What was made from a product")),
        )
        .api_route(
            "/stars/{star}/rollback",
            post_with(roll_back, saying("rollBackStar", "Let the star file show another generation")),
        )
        .api_route(
            "/stars/{star}/cancel",
            post_with(cancel, saying("cancelStar", "Cancel what has not ended of a star in one run")),
        )
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WhichStar {
    /// The star: `PLATO_` and its UUID, or four or more of its first digits.
    star: String,
}

impl WhichStar {
    async fn find(&self, context: &Context, run: Option<&str>) -> Result<OneStar, OperateError> {
        let called: CalledStar = self.star.parse()?;
        let run: Option<CalledRun> = run.map(str::parse).transpose()?;
        find_star(context, &called, run.as_ref()).await
    }

    async fn star(&self, context: &Context) -> Result<StarId, OperateError> {
        Ok(self.find(context, None).await?.star)
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
struct WhichProduct {
    /// The star: `PLATO_` and its UUID, or four or more of its first digits.
    star: String,
    /// The product.
    product: ProductName,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InRun {
    /// The run: its id, its first digits, or `newest`; the newest that has the star unless given.
    #[serde(default)]
    run: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InQuarter {
    /// The quarter; the newest in which it has a generation unless given.
    #[serde(default)]
    quarter: Option<Quarter>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InGeneration {
    /// The quarter; the newest in which it has a generation unless given.
    #[serde(default)]
    quarter: Option<Quarter>,
    /// The generation; the one that the star file shows unless given.
    #[serde(default)]
    generation: Option<Generation>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Between {
    /// The quarter; the newest in which it has a generation unless given.
    #[serde(default)]
    quarter: Option<Quarter>,
    /// The generation before; unless given, what the star file shows, or where that is the generation after, the one before it.
    #[serde(default)]
    from: Option<Generation>,
    /// The generation after; the newest unless given.
    #[serde(default)]
    to: Option<Generation>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AskRollback {
    /// The generation.
    to: Generation,
    /// The quarter; the newest in which it has a generation unless given.
    #[serde(default)]
    quarter: Option<Quarter>,
    /// Why, for the audit.
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct AskCancel {
    /// The run: its id, its first digits, or `newest`; the newest that has the star unless given.
    run: Option<String>,
    /// How many tasks have not ended: nothing is decided where it is another number by now.
    count: Option<u64>,
    /// Why, for the audit.
    reason: Option<String>,
}

async fn show(
    State(site): State<Site>,
    caller: Caller,
    About(which): About<WhichStar>,
    AskedBy(asked): AskedBy<InRun>,
) -> ApiResult<StarSummary> {
    let context = site.context(&caller);
    let one = which.find(&context, asked.run.as_deref()).await?;
    Ok(Json(view::star(&context, one).await?))
}

async fn failures(
    State(site): State<Site>,
    caller: Caller,
    About(which): About<WhichStar>,
    AskedBy(asked): AskedBy<InQuarter>,
) -> ApiResult<Vec<FailureRecord>> {
    let context = site.context(&caller);
    let star = which.star(&context).await?;
    let quarter = match asked.quarter {
        Some(quarter) => Some(quarter),
        None => Some(view::star(&context, OneStar { star, run: None }).await?.quarter),
    };
    Ok(Json(star::failed_attempts(&context, OneQuarter { star, quarter }).await?))
}

async fn generations(
    State(site): State<Site>,
    caller: Caller,
    About(which): About<WhichStar>,
    AskedBy(asked): AskedBy<InQuarter>,
) -> ApiResult<StarGenerations> {
    let context = site.context(&caller);
    let asked = OneQuarter { star: which.star(&context).await?, quarter: asked.quarter };
    Ok(Json(star::generations(&context, asked).await?))
}

async fn products(
    State(site): State<Site>,
    caller: Caller,
    About(which): About<WhichStar>,
    AskedBy(asked): AskedBy<InGeneration>,
) -> ApiResult<StarProducts> {
    let context = site.context(&caller);
    let star = which.star(&context).await?;
    Ok(Json(star::products(&context, asked.of(star)).await?))
}

async fn curves(
    State(site): State<Site>,
    caller: Caller,
    About(which): About<WhichStar>,
    AskedBy(asked): AskedBy<InGeneration>,
) -> ApiResult<StarCurves> {
    let context = site.context(&caller);
    let star = which.star(&context).await?;
    Ok(Json(star::curves(&context, asked.of(star)).await?))
}

async fn difference(
    State(site): State<Site>,
    caller: Caller,
    About(which): About<WhichStar>,
    AskedBy(asked): AskedBy<Between>,
) -> ApiResult<StarDifference> {
    let context = site.context(&caller);
    let Between { quarter, from, to } = asked;
    let asked = CompareGenerations { star: which.star(&context).await?, quarter, from, to };
    Ok(Json(star::difference(&context, asked).await?))
}

async fn lineage(
    State(site): State<Site>,
    caller: Caller,
    About(WhichProduct { star, product }): About<WhichProduct>,
    AskedBy(asked): AskedBy<InGeneration>,
) -> ApiResult<Lineage> {
    let context = site.context(&caller);
    let star = WhichStar { star }.star(&context).await?;
    Ok(Json(star::lineage(&context, AskLineage { which: asked.of(star), product }).await?))
}

async fn descent(
    State(site): State<Site>,
    caller: Caller,
    About(WhichProduct { star, product }): About<WhichProduct>,
    AskedBy(asked): AskedBy<InGeneration>,
) -> ApiResult<Descent> {
    let context = site.context(&caller);
    let star = WhichStar { star }.star(&context).await?;
    Ok(Json(star::descent(&context, AskLineage { which: asked.of(star), product }).await?))
}

async fn roll_back(
    State(site): State<Site>,
    caller: Caller,
    About(which): About<WhichStar>,
    Asked(asked): Asked<AskRollback>,
) -> ApiResult<RolledBack> {
    let AskRollback { to, quarter, reason } = asked;
    let context = doing(&site, &caller, reason);
    let star = which.star(&context).await?;
    Ok(Json(star::roll_back(&context, RollBack { star, quarter, to }).await?))
}

async fn cancel(
    State(site): State<Site>,
    caller: Caller,
    About(which): About<WhichStar>,
    Asked(asked): Asked<AskCancel>,
) -> ApiResult<RunDecided> {
    let context = doing(&site, &caller, asked.reason);
    let one = which.find(&context, asked.run.as_deref()).await?;
    let plan = task::plan_star_cancel(&context, one).await?;
    task::require_count(&plan, asked.count)?;
    Ok(Json(task::carry_out(&context, plan).await?))
}

impl InGeneration {
    fn of(self, star: StarId) -> OneGeneration {
        OneGeneration { star, quarter: self.quarter, generation: self.generation }
    }
}
