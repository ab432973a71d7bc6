//! Who changed what, through which door, and why.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use store::audit::Target;

use super::Site;
use super::layout::{Topic, answer};
use super::parts::{digits, empty, run_link, table, text, time};
use super::query::{Query, audit_href, host_href};
use crate::http::caller::Caller;
use crate::operate::OperateError;
use crate::operate::audit::{AuditLine, list, list_about};

/// How many lines are shown at once.
const FEW: usize = 50;

pub(super) async fn show(State(site): State<Site>, caller: Caller, query: Query) -> Response {
    answer(&site, &caller, (Topic::Audit, "Audit"), content(&site, &caller, &query).await).await
}

async fn content(site: &Site, caller: &Caller, query: &Query) -> Result<Markup, OperateError> {
    let (context, before) = (site.context(caller), query.value("before")?);
    let about = about(query)?;
    let page = match about.clone() {
        Some(target) => list_about(&context, target, FEW, before).await?,
        None => list(&context, FEW, before).await?,
    };
    let heads = html! {
        th.n scope="col" { "Line" } th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "Door" } th scope="col" { "What" }
        th scope="col" { "To what" } th.n scope="col" { "How many" } th scope="col" { "Why" } th scope="col" { "What comes of it" }
    };
    Ok(html! {
        @match &about {
            Some(about) => p { "Changes of " (target(about)) " · " a href="/audit" { "all changes" } },
            None => p { "Every change is a line here, whether it came from a page, the API or " code { "sas" } "." },
        }
        @for line in &page.damaged { p.note { (text(line)) } }
        @if page.lines.is_empty() { (empty(html! { "Nobody changed anything" @if about.is_some() { " of it" } "." })) } @else { (table("Audit", heads, html! { @for line in &page.lines { (of_line(line)) } })) }
        @if let Some(older) = page.older { p { a href=(older_href(about.as_ref(), older)) { "Older lines" } } }
    })
}

/// What all lines are to be about.
fn about(query: &Query) -> Result<Option<Target>, OperateError> {
    if let Some(run) = query.value("run")? {
        return Ok(Some(Target::Run { run }));
    }
    if let Some(host) = query.value("host")? {
        return Ok(Some(Target::Host { host }));
    }
    if let Some(event) = query.value("event")? {
        return Ok(Some(Target::Event { event }));
    }
    if let (Some(pipeline), Some(module)) = (query.value("pipeline")?, query.value("module")?) {
        return Ok(Some(Target::Module { pipeline, module }));
    }
    let star = query.value("star")?.zip(query.value("quarter")?);
    Ok(star.map(|(star, quarter)| Target::Star { star, quarter }))
}

fn older_href(about: Option<&Target>, older: u64) -> String {
    match about {
        Some(target) => format!("{}&before={older}", audit_href(target)),
        None => format!("/audit?before={older}"),
    }
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
            Target::Host { host } => { "host " a href=(host_href(host.as_str())) { (host) } },
            Target::Store => { "the store" },
            Target::Star { star, quarter } => { "star " a.id href=(format!("/stars/{star}?quarter={}", u32::from(*quarter))) { (star) } " " (quarter) },
        }
    }
}
