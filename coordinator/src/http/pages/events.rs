//! Dataset events, each with what became of its stars in numbers that add up.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::Site;
use super::layout::{Topic, answer};
use super::parts::{empty, number, plain, run_link, table, text, time};
use super::query::{Query, audit_href, stars_href};
use super::runs::phase;
use crate::http::caller::Caller;
use crate::operate::OperateError;
use crate::operate::received::{EventRun, ReceivedEvent, list};
use crate::operate::stars::StarStage;
use domain::id::Sequence;
use domain::text::shown;
use store::audit::Target;
use store::events::Disposition;

/// How many events are shown at once.
const FEW: usize = 30;

pub(super) async fn show(State(site): State<Site>, caller: Caller, query: Query) -> Response {
    answer(&site, &caller, (Topic::Events, "Events"), content(&site, &caller, &query).await).await
}

async fn content(site: &Site, caller: &Caller, query: &Query) -> Result<Markup, OperateError> {
    let before = query.value("before")?.map(Sequence);
    let found = list(&site.context(caller), FEW, before).await?;
    let heads = html! {
        th scope="col" { "Accepted" } th scope="col" { "From" } th scope="col" { "Dataset" } th.n scope="col" { "Stars named" }
        th scope="col" { "Run" } th scope="col" { "What became of its stars" } th.n scope="col" { "Stars" }
    };
    let rows = html! { @for received in &found.events { (line(received)) } };
    Ok(html! {
        p { "Every star of an event ends in exactly one way: the numbers of a line add up to its stars." }
        @for line in &found.damaged { p.note { (text(line)) } }
        @if found.events.is_empty() { (empty(html! { "No event was accepted" @if before.is_some() { " before that" } "." })) } @else { (table("Events", heads, rows)) }
        @if let Some(older) = found.older { p { a href=(format!("/events?before={older}")) { "Older events" } } }
    })
}

fn line(ReceivedEvent { event, runs }: &ReceivedEvent) -> Markup {
    let rows = runs.len().max(1);
    html! {
        tr {
            td rowspan=(rows) { (time(event.accepted)) br; a.soft href=(audit_href(&Target::Event { event: event.event })) title="who published it, where that is on record" { "number " (event.sequence) } }
            td.wide rowspan=(rows) { (text(&event.source)) br; code { (text(&event.id)) } }
            td rowspan=(rows) { (text(event.dataset.as_str())) " " (event.quarter) @if let Some(pipeline) = &event.start { br; span.soft { "start of " (pipeline) } } }
            td.n rowspan=(rows) { @match event.stars { Some(stars) => (plain(stars)), None => span.soft title=(shown(event.stars_file.as_deref().unwrap_or_default())) { "in a list" } } }
            @match runs.first() { Some(run) => (of_run(run)), None => td colspan="3" { (no_run(event.dispositions.as_deref())) } }
        }
        @for run in runs.iter().skip(1) { tr { (of_run(run)) } }
    }
}

/// Why an event has no run.
fn no_run(dispositions: Option<&[Disposition]>) -> Markup {
    html! {
        @match dispositions {
            None => span.tag.attention { "▲ no coordinator finished accepting it yet" },
            Some(dispositions) => {
                @if !dispositions.iter().any(|disposition| matches!(disposition, Disposition::Waits { .. })) { span.tag.attention { "▲ no run" } " " }
                @for disposition in dispositions {
                    @match disposition {
                        Disposition::Rejected { reason } => { (text(reason)) },
                        Disposition::Waits { pipeline, on, .. } => { "its stars enter a run of " (pipeline) " when " (text(&on.to_string())) " is there " },
                        Disposition::NoPipeline => "no pipeline is triggered by its dataset",
                        Disposition::Run { run } => (run_link(*run)),
                    }
                }
            }
        }
    }
}

fn of_run(run: &EventRun) -> Markup {
    let known = run.ends.iter().map(|(end, count)| (StarStage::from(*end), *count));
    let open =
        [(StarStage::Settled, run.settled), (StarStage::InFlight, run.in_flight), (StarStage::ToCome, run.to_come)];
    let all: Vec<(StarStage, u64)> = known.chain(open).filter(|(_, count)| *count > 0).collect();
    html! {
        td { (run_link(run.run)) " " (run.pipeline) " " (phase(run.phase)) }
        td {
            @for (at, (stage, count)) in all.iter().enumerate() {
                @if at > 0 { " + " } (number(*count, &stars_href(run.run, *stage))) " " (stage.to_string().replace('_', " "))
            }
        }
        td.n { (number(run.stars, &format!("/runs/{}/matrix", run.run))) }
    }
}
