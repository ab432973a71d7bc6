//! Runs, newest first.

use axum::extract::State;
use axum::response::Response;
use domain::id::RunId;
use maud::{Markup, html};

use super::Site;
use super::layout::{Topic, answer};
use super::parts::{bar, digits, duration, empty, number, percent, progress, run_link, text, time};
use super::query::{Query, stars_href, tasks_href};
use super::states::tally;
use crate::http::caller::Caller;
use crate::operate::OperateError;
use crate::operate::selection::ShownState;
use crate::operate::stars::StarStage;
use crate::operate::view::{RunPhase, RunSummary, newest_runs};

/// How many runs are shown at first, and at most.
const FEW: usize = 50;
const MOST: usize = 500;

pub(super) async fn show(State(site): State<Site>, caller: Caller, query: Query) -> Response {
    answer(&site, &caller, (Topic::Runs, "Runs"), content(&site, &caller, &query).await).await
}

async fn content(site: &Site, caller: &Caller, query: &Query) -> Result<Markup, OperateError> {
    let most = query.value("limit")?.unwrap_or(FEW).clamp(1, MOST);
    let all = newest_runs(&site.context(caller), most).await?;
    Ok(html! {
        @for line in &all.damaged { p.note { (text(line)) } }
        @if all.runs.is_empty() {
            (empty(html! { "There is no run yet. " code { "sas ingest --publish FILE…" } " delivers stars and starts one." }))
        } @else {
            (table_of_runs(&all.runs))
            @if all.runs.len() == most && most < MOST { p { a href=(format!("/runs?limit={}", (most * 2).min(MOST))) { "Show older runs" } } }
        }
    })
}

/// A line for each of these runs.
pub(super) fn table_of_runs(runs: &[RunSummary]) -> Markup {
    let heads = html! {
        th scope="col" { "Run" } th scope="col" { "Pipeline" } th scope="col" { "Phase" } th scope="col" { "Progress" }
        th.n scope="col" { "Stars" } th.n scope="col" { "Settled" } th.n scope="col" { "In flight" } th.n scope="col" { "To come" }
        th.n scope="col" { "Running" } th.n scope="col" { "Waiting" } th.n scope="col" { "Failed" } th scope="col" { "To go" }
        th scope="col" { "Accepted" }
    };
    super::parts::table("Runs", heads, html! { @for run in runs { (line(run)) } })
}

fn line(run: &RunSummary) -> Markup {
    let id = run.run;
    let count =
        |states: &[ShownState]| tally_of(run).iter().filter(|(state, _)| states.contains(state)).map(|(_, n)| n).sum();
    let failed = [ShownState::Failed, ShownState::Errored];
    html! {
        tr {
            th scope="row" { (run_link(id)) }
            td { (run.pipeline) " " span.soft { (text(&run.version)) " " (run.quarter) } @if let Some(group) = &run.only_group { " only " (text(group.as_str())) } }
            td { (phase(run.phase)) }
            td.bars { (how_far(run)) (bar(&tally_of(run))) }
            td.n { (number(run.stars.into(), &format!("/runs/{id}/matrix"))) }
            @for (count, stage) in stages(run) { td.n { (stage_number(id, count, stage)) } }
            @for state in [ShownState::Running, ShownState::Waiting] {
                td.n { @if run.stored_only.is_some() { (not_known()) } @else { (number(count(&[state]), &tasks_href(id, None, &[state]))) } }
            }
            td.n { @if run.stored_only.is_some() && count(&failed) == 0 { (not_known()) } @else { (number(count(&failed), &format!("/runs/{id}/failures"))) } }
            td { (to_go(run)) }
            td { (time(run.accepted)) }
        }
    }
}

/// How many stars of a run are settled, in flight and to come; which of those that are not settled are in flight only the state
/// knows.
pub(super) fn stages(run: &RunSummary) -> [(Option<u64>, StarStage); 3] {
    let settled = run.stars.saturating_sub(run.to_come).saturating_sub(run.in_flight);
    let known = |count: u32| run.stored_only.is_none().then_some(u64::from(count));
    [
        (Some(settled.into()), StarStage::Settled),
        (known(run.in_flight), StarStage::InFlight),
        (known(run.to_come), StarStage::ToCome),
    ]
}

/// A number of stars that leads to them.
pub(super) fn stage_number(run: RunId, count: Option<u64>, stage: StarStage) -> Markup {
    html! {
        @match count {
            Some(count) => (number(count, &stars_href(run, stage))),
            None => (not_known()),
        }
    }
}

/// What only the state knows, and it does not answer.
fn not_known() -> Markup {
    html! { span.nothing title="the state does not answer" { "not known" } }
}

/// All tasks of a run by state.
pub(super) fn tally_of(run: &RunSummary) -> super::states::StateTally {
    tally(&run.tasks, run.running.into(), run.on_hold)
}

/// How far a run is by what its tasks are expected to take; by their number where that is not known.
pub(super) fn how_far(run: &RunSummary) -> Markup {
    match &run.expected {
        Some(expected) if expected.seconds.is_some() => {
            let all = expected.work_done + expected.work_to_go;
            html! { (progress(expected.work_done, all)) " " span.soft { (percent(expected.work_done as u64, all.max(1.0) as u64)) " of the work" } }
        }
        Some(expected) => {
            html! { (progress(expected.tasks_done as f64, expected.tasks as f64)) " " span.soft { (percent(expected.tasks_done, expected.tasks)) " of the tasks" } }
        }
        None => html! {},
    }
}

/// How long it takes, and how sure that is.
pub(super) fn to_go(run: &RunSummary) -> Markup {
    html! {
        @match (&run.expected, &run.ended) {
            (_, Some(ended)) => { "ended " (time(*ended)) }
            (Some(expected), _) => {
                @match (expected.seconds, &expected.unknown) {
                    (Some(seconds), _) => {
                        "about " strong { (duration(seconds as f64)) }
                        @if expected.measured < expected.open { br; span.soft { (expected.measured) " of " (expected.open) " modules measured" } }
                    }
                    (None, Some(unknown)) => { (text(unknown)) }
                    (None, None) => { "not known" }
                }
            }
            (None, None) => { (text(run.stored_only.as_deref().unwrap_or("not known now"))) }
        }
    }
}

/// Where a run is, in a word with its sign.
pub(super) fn phase(phase: RunPhase) -> Markup {
    let (sign, class) = match phase {
        RunPhase::Active => ("▶", ""),
        RunPhase::Paused => ("‖", "attention"),
        RunPhase::Accepted => ("…", "attention"),
        RunPhase::Cancelling => ("×", "attention"),
        RunPhase::Open => ("?", "bad"),
        RunPhase::Ended => ("■", ""),
    };
    html! { span.tag.(class) { span aria-hidden="true" { (sign) " " } (phase) } }
}

/// A number in a sentence.
pub(super) fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{} {}", digits(count), if count == 1 { one } else { more })
}
