//! One run: how its stars ended, and its modules in their groups, each with its bar of states.

use axum::extract::{Path, State};
use axum::response::Response;
use domain::id::RunId;
use maud::{Markup, html};

use super::Site;
use super::graph::{HEIGHT, Layout, Node, WIDTH};
use super::layout::{Place, answer};
use super::parts::{bar, command, number, percent, plain, said, table, text, time, words};
use super::runs::{how_far, phase, tally_of, to_go};
use super::states;
use crate::http::caller::Caller;
use crate::operate::called::{CalledRun, find_run};
use crate::operate::run::decided_words;
use crate::operate::view::{ModuleShape, ModuleSummary, RunSummary, known_run, shape};
use crate::operate::{Context, OperateError};
use domain::run::TaskState;

pub(super) async fn show(State(site): State<Site>, caller: Caller, Path(run): Path<String>) -> Response {
    let found = look(&site.context(&caller), &run).await;
    let title = found
        .as_ref()
        .map_or("Run".to_owned(), |(run, _)| format!("{} {}, Q{}", run.pipeline, run.version, run.quarter));
    let content = found.map(|(run, shape)| content(&run, &shape));
    answer(&site, &caller, (Place::Runs, &title), content).await
}

/// The run that an address calls.
pub(super) async fn called(context: &Context, called: &str) -> Result<RunId, OperateError> {
    find_run(context, &called.parse::<CalledRun>()?).await
}

async fn look(context: &Context, run: &str) -> Result<(RunSummary, Vec<ModuleShape>), OperateError> {
    let run = called(context, run).await?;
    Ok((known_run(context, run).await?, shape(context, run).await?))
}

fn content(run: &RunSummary, shape: &[ModuleShape]) -> Markup {
    let id = run.run;
    html! {
        p {
            (phase(run.phase)) " " span.id { (id) } ", accepted " (time(run.accepted))
            @if let Some(ended) = run.ended { ", ended " (time(ended)) }
        }
        @if let Some(reason) = &run.stored_only { p.note { "As the store has it: " (words(reason)) } }
        (bar(&tally_of(run)))
        dl.facts {
            dt { "done" } dd { (how_far(run)) }
            dt { "to go" } dd { (to_go(run)) }
            dt { "stars" } dd { (plain(run.stars.into())) }
            dt { "in flight" } dd { (plain(run.in_flight.into())) }
            dt { "to come" } dd { (plain(run.to_come.into())) }
            @for (end, count) in &run.ends { dt { (end) } dd { (number(*count, &format!("/runs/{id}/failures"))) } }
            dt { "running" } dd { (number(run.running.into(), &format!("/runs/{id}/tasks?state=running"))) }
        }
        p {
            a href=(format!("/runs/{id}/failures")) { "failures" } " · "
            a href=(format!("/runs/{id}/tasks")) { "open and failed tasks" }
        }
        h2 { "Modules" }
        (drawn(run, shape))
        (modules(run, shape))
        @if !run.decisions.is_empty() {
            h2 { "Decisions" }
            ul {
                @for decision in &run.decisions { li { (time(decision.at)) " " (text(&decision.by)) ": " (text(&decided_words(&decision.what))) } }
            }
        }
        h2 { "In a terminal" }
        p { (command(&format!("sas run show {id}"))) " " (command(&format!("sas run failures {id}"))) }
    }
}

/// The modules as boxes in their groups, each with its bar; edges of what waits for a condition are dashed.
fn drawn(run: &RunSummary, shape: &[ModuleShape]) -> Markup {
    let nodes: Vec<Node> =
        shape.iter().map(|module| Node { group: module.group.clone(), upstream: module.upstream.clone() }).collect();
    let layout = Layout::of(&nodes);
    html! {
        div.scroll tabindex="0" role="region" aria-label="The pipeline" {
            svg.graph width=(layout.width) height=(layout.height) viewBox=(format!("0 0 {} {}", layout.width, layout.height)) {
                @for frame in &layout.frames {
                    rect.frame x=(frame.at.x) y=(frame.at.y) width=(frame.width) height=(frame.height) rx="6" {}
                    text.group x=(frame.at.x + 8) y=(frame.at.y + 14) { (text(&frame.group)) }
                }
                @for (to, module) in shape.iter().enumerate() {
                    @for (at, from) in module.upstream.iter().enumerate() {
                        path.edge.(if module.run_if.is_some() { "branch" } else { "" }) d=(layout.path(*from, to, (at + 1) as f64 / (module.upstream.len() + 1) as f64)) {}
                    }
                }
                @for (module, spot) in shape.iter().zip(&layout.boxes) {
                    @if let Some(summary) = run.modules.iter().find(|summary| summary.module == module.module) {
                        a href=(tasks(run, summary, "")) {
                            title { (module.module) ": " (said(&states::tally(&summary.tasks, 0, 0))) @if let Some(condition) = &module.run_if { "; runs if " (condition) } }
                            rect.node x=(spot.x) y=(spot.y) width=(WIDTH) height=(HEIGHT) rx="4" {}
                            text x=(spot.x + 8) y=(spot.y + 18) { (module.module) }
                            text.soft x=(spot.x + 8) y=(spot.y + 36) { (split(summary)) }
                            svg x=(spot.x + 8) y=(spot.y + HEIGHT - 20) width=(WIDTH - 16) height="12" { (bar(&states::tally(&summary.tasks, 0, 0))) }
                        }
                    }
                }
            }
        }
    }
}

/// How many stars took a module and how many did not need it; failures first.
fn split(module: &ModuleSummary) -> String {
    let parts = [
        (lost(module), "failed"),
        (count(module, TaskState::Succeeded), "ran"),
        (count(module, TaskState::Skipped), "skipped"),
    ];
    let words: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    words.join(", ")
}

fn modules(run: &RunSummary, shape: &[ModuleShape]) -> Markup {
    let heads = html! {
        th { "module" } th { "group" } th { "class" } th { "states" } th.n { "succeeded" } th.n { "skipped" } th.n { "failed" } th.n { "share" }
        th.n { "lost upstream" } th.n { "queued" } th.n { "waiting" }
    };
    let rows = html! {
        @for module in &run.modules {
            @let known = shape.iter().find(|known| known.module == module.module);
            tr {
                td { a href=(tasks(run, module, "")) { (module.module) } @if run.held.contains(&module.module) { " " span.badge { "held" } } }
                td { @if let Some(known) = known { (known.group) } }
                td { @if let Some(known) = known { (known.class) } }
                td { (bar(&states::tally(&module.tasks, 0, 0))) }
                td.n { (plain(count(module, TaskState::Succeeded))) }
                td.n { (plain(count(module, TaskState::Skipped))) }
                td.n { (number(lost(module), &tasks(run, module, "&state=failed&state=errored"))) }
                td.n { (percent(lost(module), lost(module) + count(module, TaskState::Succeeded))) }
                td.n { (plain(count(module, TaskState::UpstreamFailed))) }
                td.n { (number(count(module, TaskState::Queued), &tasks(run, module, "&state=running&state=queued&state=on_hold"))) }
                td.n { (number(count(module, TaskState::Waiting), &tasks(run, module, "&state=waiting"))) }
            }
        }
    };
    table("Modules", heads, rows)
}

fn count(module: &ModuleSummary, state: TaskState) -> u64 {
    module.tasks.get(&state).copied().unwrap_or_default()
}

fn lost(module: &ModuleSummary) -> u64 {
    count(module, TaskState::Failed) + count(module, TaskState::Errored)
}

fn tasks(run: &RunSummary, module: &ModuleSummary, more: &str) -> String {
    format!("/runs/{}/tasks?module={}{more}", run.run, module.module)
}
