//! How things stand.

use axum::extract::State;
use axum::response::Response;
use maud::html;

use super::layout::{Place, answer};
use crate::http::Site;
use crate::http::caller::Caller;
use crate::operate::status::status;

pub(super) async fn show(State(site): State<Site>, caller: Caller) -> Response {
    let content = status(&site.context(&caller)).await.map(|status| {
        html! {
            @for answer in &status.answers {
                h2 { (answer.question) }
                @for line in &answer.lines { p { (line) } }
            }
        }
    });
    answer(&site, &caller, (Place::Overview, "Overview"), content).await
}
