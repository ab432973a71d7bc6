//! The stars behind a number of a run: those to come, in flight, or ended in one way or another.

use axum::extract::{Path, State};
use axum::response::Response;
use domain::id::RunId;
use maud::{Markup, html};
use strum::VariantArray;

use super::Site;
use super::layout::{Topic, answer};
use super::parts::{digits, empty, run_link, star_link, table, text, total};
use super::query::{Query, stars_href};
use crate::http::caller::Caller;
use crate::operate::called::{CalledRun, find_run};
use crate::operate::stars::{ListStars, ListedStar, ListedStars, StarStage, list};
use crate::operate::{Context, OperateError};

/// How many stars are shown at first, and at most.
const FEW: usize = 100;
const MOST: usize = 1000;

pub(super) async fn show(State(site): State<Site>, caller: Caller, Path(run): Path<String>, query: Query) -> Response {
    answer(&site, &caller, (Topic::Runs, "Stars"), content(&site.context(&caller), &run, &query).await).await
}

async fn content(context: &Context, called: &str, query: &Query) -> Result<Markup, OperateError> {
    let run = find_run(context, &called.parse::<CalledRun>()?).await?;
    let stage = query.value("stage")?.unwrap_or(StarStage::InFlight);
    let limit = query.value("limit")?.unwrap_or(FEW).clamp(1, MOST);
    let found = list(context, ListStars { run, stage, after: query.value("after")?, limit }).await?;
    let goes_on = || found.next.map(|next| format!("{}&after={next}", stars_href(run, stage)));
    Ok(html! {
        p { "Run " (run_link(run)) ": " (total(found.all)) @if found.all == 1 { " star " } @else { " stars " } (words(stage)) }
        (stages(run, stage))
        @if let Some(reason) = &found.stored_only { p.note { "What is not settled counts as to come: " (text(reason)) } }
        @if found.stars.is_empty() { (empty(html! { "There are no such stars now." })) } @else { (lines(&found)) }
        @if let Some(next) = goes_on() { p { a href=(next) { "Next" } " of " (digits(found.all)) } }
    })
}

/// From one stage to another.
fn stages(run: RunId, shown: StarStage) -> Markup {
    html! {
        nav aria-label="Stages" {
            @for stage in StarStage::VARIANTS {
                a href=(stars_href(run, *stage)) aria-current=[(*stage == shown).then_some("true")] { (name(*stage)) }
            }
        }
    }
}

fn lines(found: &ListedStars) -> Markup {
    let row = |ListedStar { star, end }: &ListedStar| {
        html! { tr { td { (star_link(*star, Some(found.run))) } td { @match end { Some(end) => (end), None => span.nothing { "–" } } } } }
    };
    let heads = html! { th scope="col" { "Star" } th scope="col" { "Ended" } };
    table("Stars", heads, html! { @for star in &found.stars { (row(star)) } })
}

/// What a stage is called.
fn name(stage: StarStage) -> String {
    stage.to_string().replace('_', " ")
}

/// What is said of stars at a stage.
fn words(stage: StarStage) -> &'static str {
    match stage {
        StarStage::ToCome => "to come: they enter as slots ask for them",
        StarStage::InFlight => "in flight: let in, and not settled",
        StarStage::Settled => "settled, in whatever way",
        StarStage::Complete => "complete: every task succeeded or had nothing to do",
        StarStage::Incomplete => "incomplete: an external that a task needs was not delivered",
        StarStage::Failed => "failed: a task failed, or could not be run",
        StarStage::Cancelled => "cancelled before they were done",
        StarStage::Superseded => "taken over by a newer run",
    }
}
