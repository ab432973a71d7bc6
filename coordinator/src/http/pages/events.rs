//! Dataset events, each with what became of its stars in numbers that add up.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::Site;
use super::layout::{Place, answer};
use super::parts::{digits, empty, number, plain, run_link, table, text, time};
use super::query::Query;
use super::runs::phase;
use crate::http::caller::Caller;
use crate::operate::OperateError;
use crate::operate::received::{EventRun, ReceivedEvent, list};

/// How many events are shown at first, and at most.
const FEW: usize = 30;
const MOST: usize = 300;

pub(super) async fn show(State(site): State<Site>, caller: Caller, query: Query) -> Response {
    answer(&site, &caller, (Place::Events, "Events"), content(&site, &caller, &query).await).await
}

async fn content(site: &Site, caller: &Caller, query: &Query) -> Result<Markup, OperateError> {
    let most = query.value("limit")?.unwrap_or(FEW).clamp(1, MOST);
    let found = list(&site.context(caller), most).await?;
    let heads = html! {
        th scope="col" { "Accepted" } th scope="col" { "From" } th scope="col" { "Dataset" } th.n scope="col" { "Stars named" }
        th scope="col" { "Run" } th scope="col" { "What became of its stars" } th.n scope="col" { "Stars" }
    };
    let rows = html! { @for event in &found.events { (line(event)) } };
    Ok(html! {
        p { "Every star of an event ends in exactly one way: the numbers of a line add up to its stars." }
        @if found.events.is_empty() { (empty(html! { "No event was accepted yet." })) } @else { (table("Events", heads, rows)) }
        @if (found.events.len() as u64) < found.all && most < MOST { p { a href=(format!("/events?limit={}", (most * 3).min(MOST))) { "Show older events" } " (" (digits(found.all)) " in all)" } }
    })
}

fn line(event: &ReceivedEvent) -> Markup {
    let rows = event.runs.len().max(1);
    html! {
        tr {
            td rowspan=(rows) { (time(event.accepted)) br; span.soft { "number " (event.sequence) } }
            td.wide rowspan=(rows) { (text(&event.source)) br; code { (text(&event.id)) } }
            td rowspan=(rows) { (text(event.dataset.as_str())) " " (event.quarter) }
            td.n rowspan=(rows) { @match event.stars { Some(stars) => (plain(stars)), None => span.soft { "in a list" } } }
            @match event.runs.first() {
                Some(run) => (of_run(run)),
                None => td colspan="3" {
                    @if event.pending { span.tag.attention { "▲ not followed yet" } }
                    @if let Some(reason) = &event.no_run { span.tag.attention { "▲ no run" } " " (text(reason)) }
                },
            }
        }
        @for run in event.runs.iter().skip(1) { tr { (of_run(run)) } }
    }
}

fn of_run(run: &EventRun) -> Markup {
    let known = run.ends.iter().map(|(end, count)| (end.to_string(), *count));
    let open = [("settled", run.settled), ("in flight", run.in_flight), ("to come", run.to_come)];
    let all = known.chain(open.map(|(word, count)| (word.to_owned(), count))).filter(|(_, count)| *count > 0);
    let words: Vec<String> = all.map(|(word, count)| format!("{} {word}", digits(count))).collect();
    html! {
        td { (run_link(run.run)) " " (run.pipeline) " " (phase(run.phase)) }
        td { (words.join(" + ")) }
        td.n { (number(run.stars, &format!("/runs/{}/matrix", run.run))) }
    }
}
