//! Who changed what, through which door, and why.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use store::audit::Target;

use super::Site;
use super::layout::{Place, answer};
use super::parts::{command, digits, empty, run_link, table, text, time};
use super::query::Query;
use crate::http::caller::Caller;
use crate::operate::OperateError;
use crate::operate::audit::{AuditLine, list};

/// How many lines are shown at once.
const FEW: usize = 50;

pub(super) async fn show(State(site): State<Site>, caller: Caller, query: Query) -> Response {
    answer(&site, &caller, (Place::Audit, "Audit"), content(&site, &caller, &query).await).await
}

async fn content(site: &Site, caller: &Caller, query: &Query) -> Result<Markup, OperateError> {
    let page = list(&site.context(caller), FEW, query.value("before")?).await?;
    let heads = html! {
        th.n scope="col" { "Line" } th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "Door" } th scope="col" { "What" }
        th scope="col" { "To what" } th.n scope="col" { "How many" } th scope="col" { "Why" } th scope="col" { "What comes of it" }
    };
    Ok(html! {
        p { "Every change is a line here, whether it came from a page, the API or " (command("sas")) "." }
        @for line in &page.damaged { p.note { (text(line)) } }
        @if page.lines.is_empty() { (empty(html! { "Nobody changed anything." })) } @else { (table("Audit", heads, html! { @for line in &page.lines { (of_line(line)) } })) }
        @if let Some(older) = page.older { p { a href=(format!("/audit?before={older}")) { "Older lines" } } }
    })
}

fn of_line(line: &AuditLine) -> Markup {
    let record = &line.record;
    html! {
        tr #(format!("line-{}", line.number)) {
            td.n { (line.number) }
            td { (time(record.at)) }
            th scope="row" { (text(&record.who)) }
            td { (record.door) }
            td { (record.verb) @if let Some(decision) = record.decision { " " span.soft { "decision " (decision) } } }
            td { (target(&record.target)) }
            td.n { @match record.count { Some(count) => (digits(count)), None => span.nothing { "–" } } }
            td.wide { @match &record.reason { Some(reason) => (text(reason)), None => span.nothing { "nothing was said" } } }
            td.wide { (text(&record.effect)) }
        }
    }
}

fn target(target: &Target) -> Markup {
    html! {
        @match target {
            Target::Event { event } => { "event " a href="/events" { (event.to_string().chars().take(8).collect::<String>()) } },
            Target::Run { run } => { "run " (run_link(*run)) },
            Target::Module { pipeline, module } => { "module " (module) " of " (pipeline) },
            Target::Host { host } => { "host " a href=(format!("/workers?host={host}")) { (host) } },
            Target::Star { star, quarter } => { "star " a.id href=(format!("/stars/{star}?quarter={quarter}")) { (star) } " " (quarter) },
        }
    }
}
