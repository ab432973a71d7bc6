//! What stands before every route: who asks, whether they may, and what browsers are told about every answer.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::Site;
use super::login;
use super::problem::Problem;

/// What browsers are told about every answer: nothing from elsewhere, no frame around it, no guess at what it is.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    // Other sites learn nothing. This one does: without it browsers send forms as if they came from nowhere, and these are refused.
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
];

/// Lets through who may ask, as the `Caller` of the request.
pub(super) async fn guard(State(site): State<Site>, mut request: Request, next: Next) -> Response {
    let mut response = match site.access.admit(&request) {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        Err(problem) => refused(&request, problem),
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// People are shown where to log in, or why not; programs get the problem.
fn refused(request: &Request, problem: Problem) -> Response {
    if request.uri().path().starts_with("/api/") {
        return problem.into_response();
    }
    match StatusCode::from_u16(problem.status()) {
        Ok(StatusCode::UNAUTHORIZED) => Redirect::to(&login::address(request.uri())).into_response(),
        Ok(status) => (status, login::refused(problem.detail())).into_response(),
        Err(_) => problem.into_response(),
    }
}
