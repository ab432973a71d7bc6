//! The matrix of a run over HTTP: `…/matrix/head`, `…/matrix` (rows), `…/matrix/counts`, `…/stars`.
//!
//! Rows and counts are bytes, `application/octet-stream`: for each part that changed the place of its first star and the number
//! of its lines, 4 bytes each, little-endian, then its lines. The line of a row is a byte for each module, the state in the
//! high four bits, the attempt modulo 16 in the low four; the line of counts is, for each module and each state, the number of
//! tasks in 2 bytes, little-endian. Nothing changed: 204, without a body. `sas-tick` is what to ask for next as `since`;
//! `sas-stored-only` says why only what is settled is there, where the state cannot be asked.

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use aide::openapi::MediaType;
use aide::transform::TransformOperation;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use super::runs::OneRun;
use super::{ApiResult, saying};
use crate::http::Site;
use crate::http::body::{About, AskedBy};
use crate::http::caller::Caller;
use crate::http::problem::Problem;
use crate::operate::matrix::{self, MatrixAnswer, MatrixHead, MatrixRange, PlacedStar, StarOrder};

const TICK: HeaderName = HeaderName::from_static("sas-tick");
const STORED_ONLY: HeaderName = HeaderName::from_static("sas-stored-only");

pub(super) fn routes() -> ApiRouter<Site> {
    ApiRouter::new()
        .api_route("/runs/{run}/matrix", get_with(rows, of_rows))
        .api_route("/runs/{run}/matrix/head", get_with(head, saying("matrixHead", "What the matrix of a run has")))
        .api_route("/runs/{run}/matrix/counts", get_with(counts, of_counts))
        .api_route("/runs/{run}/stars", get_with(stars, saying("listStars", "Stars of a run by their places")))
}

fn of_rows(operation: TransformOperation<'_>) -> TransformOperation<'_> {
    bytes(saying("matrixRows", "Rows of stars as bytes, or what changed of them")(operation))
}

fn of_counts(operation: TransformOperation<'_>) -> TransformOperation<'_> {
    bytes(saying("matrixCounts", "Tasks of many stars in a line, as bytes")(operation))
}

/// An answer in bytes, or none where nothing changed.
fn bytes(operation: TransformOperation<'_>) -> TransformOperation<'_> {
    let described = operation.response_with::<200, (), _>(|mut response| {
        response.inner().content.insert("application/octet-stream".to_owned(), MediaType::default());
        response.description("parts, each the place of its first star, the number of its lines, and these")
    });
    described.response_with::<204, (), _>(|response| response.description("nothing changed"))
}

/// Which part of a matrix, and how many stars make a line.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AskCounts {
    /// Place of the first star in the order.
    #[serde(default)]
    from: u32,
    /// How many stars.
    count: u32,
    /// Their order.
    #[serde(default)]
    order: StarOrder,
    /// Only what changed since this tick.
    #[serde(default)]
    since: i64,
    /// Stars of a line.
    stars_per_line: u32,
}

async fn head(State(site): State<Site>, caller: Caller, About(one): About<OneRun>) -> ApiResult<MatrixHead> {
    let context = site.context(&caller);
    Ok(Json(matrix::head(&context, one.find(&context).await?).await?))
}

async fn rows(
    State(site): State<Site>,
    caller: Caller,
    About(one): About<OneRun>,
    AskedBy(asked): AskedBy<MatrixRange>,
) -> Result<Response, Problem> {
    let context = site.context(&caller);
    Ok(sent(matrix::rows(&context, one.find(&context).await?, asked).await?))
}

async fn counts(
    State(site): State<Site>,
    caller: Caller,
    About(one): About<OneRun>,
    AskedBy(asked): AskedBy<AskCounts>,
) -> Result<Response, Problem> {
    let context = site.context(&caller);
    let AskCounts { from, count, order, since, stars_per_line } = asked;
    let asked = MatrixRange { from, count, order, since };
    Ok(sent(matrix::counts(&context, one.find(&context).await?, asked, stars_per_line).await?))
}

async fn stars(
    State(site): State<Site>,
    caller: Caller,
    About(one): About<OneRun>,
    AskedBy(asked): AskedBy<MatrixRange>,
) -> ApiResult<Vec<PlacedStar>> {
    let context = site.context(&caller);
    Ok(Json(matrix::stars(&context, one.find(&context).await?, asked).await?))
}

fn sent(answer: MatrixAnswer) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(TICK, answer.tick.into());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A header has ASCII alone.
    let reason = answer.stored_only.map(|reason| reason.replace(|c: char| !c.is_ascii() || c.is_ascii_control(), " "));
    if let Some(reason) = reason.and_then(|reason| HeaderValue::from_str(&reason).ok()) {
        headers.insert(STORED_ONLY, reason);
    }
    if answer.parts.is_empty() {
        return (StatusCode::NO_CONTENT, headers).into_response();
    }
    let length = answer.parts.iter().map(|part| part.bytes.len() + 8).sum();
    let mut body = Vec::with_capacity(length);
    for part in answer.parts {
        body.extend_from_slice(&part.from.to_le_bytes());
        body.extend_from_slice(&part.lines.to_le_bytes());
        body.extend(part.bytes);
    }
    (headers, body).into_response()
}
