//! Who changed what, and why.

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::page::{PageQuery, as_next, number};
use super::{ApiResult, saying};
use crate::http::Site;
use crate::http::body::AskedBy;
use crate::http::caller::Caller;
use crate::operate::audit::{self, AuditLine};

pub(super) fn routes() -> ApiRouter<Site> {
    ApiRouter::new().api_route("/audit", get_with(list, saying("listAudit", "Who changed what and why, newest first")))
}

/// A page of the audit.
#[derive(Debug, Serialize, JsonSchema)]
struct AuditAnswer {
    /// Newest first.
    lines: Vec<AuditLine>,
    /// What cannot be read of others.
    damaged: Vec<String>,
    /// Where to go on; not there on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

async fn list(State(site): State<Site>, caller: Caller, AskedBy(page): AskedBy<PageQuery>) -> ApiResult<AuditAnswer> {
    let found = audit::list(&site.context(&caller), page.limit()?, page.next(number)?).await?;
    Ok(Json(AuditAnswer { lines: found.lines, damaged: found.damaged, next: as_next(found.older) }))
}
