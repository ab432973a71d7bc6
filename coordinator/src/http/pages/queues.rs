//! Queues: what is ready, in progress, waiting and dead.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use services::queue::Depth;

use super::Site;
use super::layout::{Place, answer};
use super::parts::{plain, table, text};
use crate::http::caller::Caller;
use crate::operate::{OperateError, queue};

pub(super) async fn show(State(site): State<Site>, caller: Caller) -> Response {
    answer(&site, &caller, (Place::Queues, "Queues"), content(&site, &caller).await).await
}

async fn content(site: &Site, caller: &Caller) -> Result<Markup, OperateError> {
    let context = site.context(caller);
    let depths = queue::list(&*context.installation).await?;
    let heads = html! {
        th scope="col" { "Queue" } th scope="col" { "What it is for" } th.n scope="col" { "Ready" } th.n scope="col" { "Unacknowledged" } th.n scope="col" { "Consumers" }
    };
    Ok(html! {
        p { "As the broker counts them. Most stars that are to come are in no queue: they enter as slots ask for them." }
        (table("Queues of the broker", heads, html! { @for depth in &depths { (line(depth)) } }))
        @if let Some(unknown) = depths.iter().find_map(|depth| depth.unknown.as_ref()) { p.note { "unacknowledged messages are not known: " (text(unknown)) } }
    })
}

fn line(depth: &Depth) -> Markup {
    let (purpose, is_bad) = match depth.queue.as_str() {
        "sas.events" => ("dataset events on their way to a coordinator", depth.consumers == 0),
        "sas.completions" => ("how attempts ended, on their way to a coordinator", depth.consumers == 0),
        "sas.dead" => ("what could not be read, with the reason", depth.ready > 0),
        _ => ("tasks on their way to workers", depth.ready > 0 && depth.consumers == 0),
    };
    html! {
        tr {
            th scope="row" { (text(&depth.queue)) @if is_bad { " " span.tag.bad { "■ look here" } } }
            td { (purpose) }
            td.n { (plain(depth.ready)) }
            td.n { @match depth.unacknowledged { Some(count) => (plain(count)), None => span.nothing title="the broker's management API is not configured" { "not known" } } }
            td.n { (plain(depth.consumers)) }
        }
    }
}
