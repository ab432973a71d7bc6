//! How things stand: the five questions, the lights, the runs that go on, what failed most often.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::Site;
use super::layout::page;
use crate::http::caller::Caller;
use crate::operate::status::status;

pub(super) async fn show(State(site): State<Site>, caller: Caller) -> Response {
    match status(&site.context(&caller)).await {
        Ok(status) => page(
            "Overview",
            html! {
                @for answer in &status.answers {
                    h2 { (answer.question) }
                    @for line in &answer.lines { p { (line) } }
                }
            },
        )
        .into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}
