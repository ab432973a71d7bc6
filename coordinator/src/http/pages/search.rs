//! From what somebody typed to the page of a run, a star, a host or a module.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::Site;
use super::layout::refused;
use super::query::{Query, host_href, tasks_href};
use crate::http::caller::Caller;
use crate::operate::called::{CalledRun, CalledStar, find_run, find_star};
use crate::operate::patience::soon;
use crate::operate::view::{RunSummary, newest_runs};
use crate::operate::{Context, ErrorKind, OperateError, workers};

/// How many of the newest runs are looked at for a module.
const RUNS: usize = 50;

pub(super) async fn go(State(site): State<Site>, caller: Caller, query: Query) -> Response {
    match find(&site.context(&caller), query.one("q").unwrap_or_default()).await {
        Ok(address) => Redirect::to(&address).into_response(),
        Err(error) => refused(&site, &caller, &error).await,
    }
}

/// A run where one is called so, else a star, a host, a module.
async fn find(context: &Context, called: &str) -> Result<String, OperateError> {
    if let Ok(run) = called.parse::<CalledRun>() {
        match find_run(context, &run).await {
            Ok(run) => return Ok(format!("/runs/{run}")),
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    if let Ok(star) = called.parse::<CalledStar>() {
        let found = find_star(context, &star, None).await?;
        return Ok(match found.run {
            Some(run) => format!("/stars/{}?run={run}", found.star),
            None => format!("/stars/{}", found.star),
        });
    }
    let host = is_host(context, called).await;
    if matches!(host, Ok(true)) {
        return Ok(host_href(called));
    }
    if let Some(address) = module(context, called).await? {
        return Ok(address);
    }
    // It may be a host of which nothing can be told now.
    host?;
    let what =
        "type a run or a star (its id, or four or more of its first digits), a host that has a worker, or a module";
    Err(OperateError::new(ErrorKind::Invalid, what))
}

/// Whether a worker lives there, or was lost there.
async fn is_host(context: &Context, called: &str) -> Result<bool, OperateError> {
    let all = soon("Redis", workers::list(context)).await?;
    Ok(all.workers.iter().any(|worker| worker.host == called) || all.lost.iter().any(|lost| lost.host == called))
}

/// The tasks of a module in the newest run that has one of this name.
async fn module(context: &Context, called: &str) -> Result<Option<String>, OperateError> {
    let runs = newest_runs(context, RUNS).await?.runs;
    let in_run = |run: &RunSummary| {
        let module = run.modules.iter().find(|known| known.module.as_str().eq_ignore_ascii_case(called))?;
        Some(tasks_href(run.run, Some(module.module.as_str()), &[]))
    };
    Ok(runs.iter().find_map(in_run))
}
