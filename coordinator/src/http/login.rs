//! Logging in with a token, for browsers: it is kept in a cookie that no script reads and no other site sends.

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::{Markup, html};
use serde::Deserialize;
use store::audit::Door;

use super::Site;
use super::access::COOKIE;
use super::body;
use super::pages::layout::{Frame, page};
use super::problem::Problem;

/// How long a browser keeps a token, in seconds: a shift.
const LASTS: u32 = 12 * 3600;

/// The longest form that is read, in bytes.
const LONGEST: usize = 4096;

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/login", get(show).post(log_in)).route("/logout", post(log_out))
}

/// Where to log in for this address.
pub(super) fn address(from: &Uri) -> String {
    let from = from.path_and_query().map_or("/", |from| from.as_str());
    let next = serde_urlencoded::to_string([("next", from)]).unwrap_or_default();
    format!("/login?{next}")
}

/// The page that says why there is no other, for whom nobody knows.
pub(super) fn refused(detail: &str) -> Markup {
    page(
        &Frame::for_nobody(),
        "This is not allowed",
        html! { p.error role="alert" { (detail) } p { a href="/" { "Overview" } } },
    )
}

#[derive(Debug, Deserialize)]
struct AskLogin {
    /// Where to go then.
    #[serde(default)]
    next: String,
}

#[derive(Debug, Deserialize)]
struct Login {
    token: String,
    #[serde(default)]
    next: String,
}

async fn show(State(site): State<Site>, Query(asked): Query<AskLogin>) -> Response {
    if !site.access.needs_token() {
        return Redirect::to(&local(&asked.next)).into_response();
    }
    form(&asked.next, None).into_response()
}

async fn log_in(State(site): State<Site>, request: axum::extract::Request) -> Result<Response, Problem> {
    let body = body::read(request.into_body(), LONGEST).await?;
    let login: Login = serde_urlencoded::from_bytes(&body).map_err(|error| Problem::invalid(error.to_string()))?;
    let token = login.token.trim();
    if site.access.needs_token() && site.access.holder(token, Door::Page).is_none() {
        let page = form(&login.next, Some("This token is not in force. `sas token new` makes one."));
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    }
    Ok(with_cookie(Redirect::to(&local(&login.next)), token, LASTS))
}

async fn log_out() -> Response {
    with_cookie(Redirect::to("/login"), "", 0)
}

fn with_cookie(redirect: Redirect, token: &str, lasts: u32) -> Response {
    let mut response = redirect.into_response();
    let cookie = format!("{COOKIE}={token}; Max-Age={lasts}; Path=/; HttpOnly; SameSite=Strict");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// An address of this site, whatever was asked for.
fn local(next: &str) -> String {
    let is_local = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n']);
    if is_local && HeaderValue::from_str(next).is_ok() { next.to_owned() } else { "/".to_owned() }
}

fn form(next: &str, wrong: Option<&str>) -> Markup {
    let content = html! {
        @if let Some(wrong) = wrong { p.error role="alert" { (wrong) } }
        form method="post" action="/login" data-still {
            input type="hidden" name="next" value=(local(next));
            p {
                label for="token" { "Token" } " "
                input #token type="password" name="token" required autofocus autocomplete="current-password" size="40";
            }
            p { button type="submit" { "Log in" } }
        }
        p { "Tokens are made with " code { "sas token new NAME --role viewer" } " by whoever runs the coordinator." }
    };
    page(&Frame::for_nobody(), "Log in", content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_logging_in_nobody_is_sent_elsewhere() {
        assert_eq!(local("/runs?x=1"), "/runs?x=1");
        for bad in ["", "//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nb"] {
            assert_eq!(local(bad), "/", "{bad}");
        }
        assert_eq!(address(&"/runs?a=1&b=2".parse().unwrap()), "/login?next=%2Fruns%3Fa%3D1%26b%3D2");
    }
}
