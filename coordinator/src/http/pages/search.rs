//! From what somebody typed to the page of a run or a star.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::Site;
use super::layout::refused;
use super::query::Query;
use crate::http::caller::Caller;
use crate::operate::called::{CalledRun, CalledStar, find_run, find_star};
use crate::operate::{Context, ErrorKind, OperateError};

pub(super) async fn go(State(site): State<Site>, caller: Caller, query: Query) -> Response {
    match find(&site.context(&caller), query.one("q").unwrap_or_default()).await {
        Ok(address) => Redirect::to(&address).into_response(),
        Err(error) => refused(&site, &caller, &error).await,
    }
}

/// A run where one is called so, else a star.
async fn find(context: &Context, called: &str) -> Result<String, OperateError> {
    if let Ok(run) = called.parse::<CalledRun>() {
        match find_run(context, &run).await {
            Ok(run) => return Ok(format!("/runs/{run}")),
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let nothing =
        || OperateError::new(ErrorKind::Invalid, "type a run or a star: its id, or four or more of its first digits");
    let star = called.parse::<CalledStar>().map_err(|_| nothing())?;
    let found = find_star(context, &star, None).await?;
    Ok(match found.run {
        Some(run) => format!("/stars/{}?run={run}", found.star),
        None => format!("/stars/{}", found.star),
    })
}
