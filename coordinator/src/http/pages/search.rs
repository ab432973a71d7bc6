//! To the run or star that somebody names by the first digits of its id.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::Site;
use super::layout::refused;
use super::query::Query;
use super::run::called;
use crate::http::caller::Caller;
use crate::operate::called::{CalledStar, find_star};
use crate::operate::{Context, OperateError};

pub(super) async fn find(State(site): State<Site>, caller: Caller, query: Query) -> Response {
    match look(&site.context(&caller), query.one("q").unwrap_or_default()).await {
        Ok(address) => Redirect::to(&address).into_response(),
        Err(error) => refused(&site, &caller, &error).await,
    }
}

async fn look(context: &Context, sought: &str) -> Result<String, OperateError> {
    let as_run = called(context, sought).await;
    if let Ok(run) = as_run {
        return Ok(format!("/runs/{run}"));
    }
    let found = find_star(context, &sought.parse::<CalledStar>()?, None).await?;
    Ok(format!("/stars/{}", found.star))
}
