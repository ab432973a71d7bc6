//! One star: its tasks with states and reasons; what it ended with, drawn and in numbers; where that came from.

mod dag;
mod drawn;
mod lineage;
mod plot;
mod products;

use axum::extract::{Path, State};
use axum::response::Response;
use domain::id::{Attempt, Generation, ModuleName, Quarter, WorkerName};
use domain::outcome::Outcome;
use maud::{Markup, html};
use store::failures::FailureRecord;

pub(super) use lineage::show as show_lineage;

use super::assets::address;
use super::layout::{Topic, answer, may_act};
use super::parts::{badge, command, duration, log, number, run_link, table, text, time_or};
use super::query::{Query, tasks_href};
use super::states;
use crate::http::Site;
use crate::http::caller::Caller;
use crate::operate::called::{CalledRun, CalledStar, find_star};
use crate::operate::selection::ShownState;
use crate::operate::star::{OneGeneration, OneQuarter, curves, failed_attempts, generations, products as products_of};
use crate::operate::view::{self, StarSummary, TaskSummary};
use crate::operate::{Context, ErrorKind, OperateError};

/// What of a star is asked for.
struct AskStar {
    run: Option<CalledRun>,
    quarter: Option<Quarter>,
    generation: Option<Generation>,
}

impl AskStar {
    fn read(query: &Query) -> Result<Self, OperateError> {
        let (run, quarter) = (query.one("run").map(str::parse).transpose()?, query.value("quarter")?);
        Ok(Self { run, quarter, generation: query.value("generation")? })
    }
}

pub(super) async fn show(State(site): State<Site>, caller: Caller, Path(star): Path<String>, query: Query) -> Response {
    let content = content(&site.context(&caller), &star, &query, may_act(&caller)).await;
    answer(&site, &caller, (Topic::Runs, "Star"), content).await
}

async fn content(context: &Context, star: &str, query: &Query, may_act: bool) -> Result<Markup, OperateError> {
    let called: CalledStar = star.parse()?;
    let asked = AskStar::read(query)?;
    let star = view::star(context, find_star(context, &called, asked.run.as_ref()).await?).await?;
    let quarter = asked.quarter.unwrap_or(star.quarter);
    let place = OneQuarter { star: star.star, quarter: Some(quarter) };
    let failures = failed_attempts(context, OneQuarter { star: star.star, quarter: Some(star.quarter) }).await?;
    // While it is in flight the page is asked for again and again: files are opened only for who wants to see them.
    let shows_files = star.end.is_some() || asked.quarter.is_some() || asked.generation.is_some();
    let which = OneGeneration {
        star: star.star,
        quarter: Some(quarter),
        generation: asked.generation.or(if asked.quarter.is_some() { None } else { star.generation }),
    };
    let files = if shows_files { Some(files(context, place, which).await) } else { None };
    Ok(html! {
        link rel="stylesheet" href=(address("star.css"));
        div data-still[files.is_some()] {
            (head(&star))
            @if matches!(files, Some(Ok(_))) {
                p { a href="#tasks" { "Tasks" } " · " a href="#plots" { "Plots" } " · " a href="#products" { "Products" } " · " a href="#generations" { "Generations" } }
            }
            h2 #tasks { "Tasks" }
            (dag::drawing(&star))
            (tasks(&star, &failures, may_act))
            @match files {
                Some(Ok(files)) => (files),
                Some(Err(error)) if error.kind == ErrorKind::NotFound => p.empty { (text(&error.message)) },
                Some(Err(error)) => p.error role="alert" { "What it ended with cannot be shown: " (text(&error.message)) },
                None => p.empty { "Products and plots are shown once the star is settled. "
                    @if star.newest.is_some() { a href=(format!("/stars/{}?run={}&quarter={}", star.star, star.run, star.quarter)) { "What it ended with before" } }
                },
            }
        }
    })
}

/// Plots, products and generations.
async fn files(context: &Context, place: OneQuarter, which: OneGeneration) -> Result<Markup, OperateError> {
    let (drawn, products) = (curves(context, which).await?, products_of(context, which).await?);
    let generations = generations(context, place).await?;
    Ok(html! {
        (drawn::plots(&drawn))
        (products::made(&products))
        (products::missing(&products))
        (products::generations(&generations, products.generation))
    })
}

fn head(star: &StarSummary) -> Markup {
    let count = |state: ShownState| star.tasks.iter().filter(|task| state_of(task) == state).count() as u64;
    let counts: Vec<(ShownState, u64)> =
        states::ORDER.iter().map(|state| (*state, count(*state))).filter(|(_, count)| *count > 0).collect();
    let tasks = |state: ShownState| format!("{}&star={}", tasks_href(star.run, None, &[state]), star.star);
    let quarter: u32 = star.quarter.into();
    html! {
        h2.id { (star.star) }
        dl.facts {
            div { dt { "Run" } dd { (run_link(star.run)) } }
            div { dt { "Pipeline" } dd { (text(star.pipeline.as_str())) } }
            div { dt { "Quarter" } dd { (star.quarter) } }
            div { dt { "Ended" } dd { @match star.end { Some(end) => (end), None if star.stored_only.is_some() => "not known now", None if star.admitted => "in flight", None => "not let in yet" } } }
            div { dt { "Star file shows" } dd { @match (star.open, star.newest) {
                (Some(open), Some(newest)) if open == newest => { "generation " (open) ", the newest" },
                (Some(open), Some(newest)) => { "generation " (open) "; the newest is " (newest) },
                _ => span.nothing { "nothing yet" },
            } } }
        }
        @if let Some(reason) = &star.end_reason { p.note { "Why: " (text(reason)) } }
        @if let Some(reason) = &star.stored_only { p.note { (text(reason)) } }
        div.key { @for (state, count) in &counts { span { (badge(*state)) " " (number(*count, &tasks(*state))) } } }
        @if let Some(file) = &star.file {
            p { "Star file " code { (text(file)) } }
            (command(&format!("sas star export {} --quarter {quarter} --to {}-Q{quarter}.h5", star.star, star.star)))
        }
    }
}

/// Its state in the words of all pages.
fn state_of(task: &TaskSummary) -> ShownState {
    if task.running { ShownState::Running } else { states::of_task(task.state) }
}

/// Its tasks by group, in the order of the pipeline.
fn tasks(star: &StarSummary, failures: &[FailureRecord], may_act: bool) -> Markup {
    let mut groups: Vec<(&str, Vec<&TaskSummary>)> = Vec::new();
    for task in &star.tasks {
        match groups.iter_mut().find(|(name, _)| *name == task.group) {
            Some((_, tasks)) => tasks.push(task),
            None => groups.push((&task.group, vec![task])),
        }
    }
    let cancel = may_act.then(|| format!("/runs/{}/do/cancel-tasks?star={}", star.run, star.star));
    let heads = html! { th { "Module" } th { "State" } th { "Why" } th.n { "Try" } th.n { "Took" } th { "Host" } th { "Began" } @if cancel.is_some() { th { "What can be done" } } };
    let rows = html! {
        @for (group, tasks) in &groups {
            @if !group.is_empty() { tr { th colspan=(if cancel.is_some() { 8 } else { 7 }) scope="rowgroup" { (text(group)) } } }
            @for task in tasks { (row(task, failures.iter().rfind(|failure| is_of(failure, star, task)), cancel.as_deref())) }
        }
    };
    html! { div.star-tasks { (table("Tasks of the star", heads, rows)) } }
}

fn is_of(failure: &FailureRecord, star: &StarSummary, task: &TaskSummary) -> bool {
    failure.run == star.run && failure.module == task.module && failure.attempt == task.attempt
}

/// `cancel` is where its tasks are cancelled.
fn row(task: &TaskSummary, failure: Option<&FailureRecord>, cancel: Option<&str>) -> Markup {
    let state = state_of(task);
    let was_tried = task.attempt > Attempt(0);
    html! {
        tr id=(format!("task-{}", task.module)) {
            th scope="row" { (task.module) }
            td { (badge(state)) }
            td.why { (why(task)) (more(task, failure)) }
            td.n { @if was_tried { (task.attempt) } @else { span.nothing { "–" } } }
            td.n { @if task.millis > 0 { (duration(task.millis as f64 / 1e3)) } @else { span.nothing { "–" } } }
            td { @match task.worker.as_ref().map(WorkerName::host) { Some(host) => (text(host)), None => span.nothing { "–" } } }
            td { (time_or(task.started, "–")) }
            @if let Some(cancel) = cancel {
                td { @if is_in_hand(state) { a.button href=(format!("{cancel}&module={}", task.module)) { "Cancel…" } } }
            }
        }
    }
}

/// Whether it runs, or is about to.
const fn is_in_hand(state: ShownState) -> bool {
    matches!(state, ShownState::Running | ShownState::Queued | ShownState::OnHold | ShownState::Waiting)
}

/// Why it is as it is; nothing where that would only say the state again.
fn why(task: &TaskSummary) -> Markup {
    let state = task.state.to_string().replace('_', " ");
    html! { @if task.reason != state { (text(&task.reason)) } }
}

/// What else is known: warnings, what was not made, the log.
fn more(task: &TaskSummary, failure: Option<&FailureRecord>) -> Markup {
    let (warnings, not_made) = match &task.outcome {
        Some(Outcome::Succeeded(success)) => (
            success.warnings.clone(),
            success.not_made.iter().map(|(product, why)| format!("{product}: {why}")).collect(),
        ),
        Some(Outcome::Skipped(_) | Outcome::UpstreamFailed { .. } | Outcome::Failed(_) | Outcome::Errored(_))
        | None => (Vec::new(), Vec::<String>::new()),
    };
    let said = failure.map_or(task.log_tail.as_str(), |failure| failure.log.as_str());
    html! {
        @for product in &task.without_reason { div.soft { "not made " (product) ": optional, without a reason" } }
        @for line in &not_made { div.soft { "not made " (text(line)) } }
        @for line in &warnings { div.soft { "warning: " (text(line)) } }
        @if !said.is_empty() {
            @if task.running { div.soft { code { (text(said)) } } }
            @else { details open[matches!(state_of(task), ShownState::Failed | ShownState::Errored)] { summary { "log of the last try" } (log(said)) } }
        }
    }
}

/// Where a module's row of this page is.
pub(super) fn task_anchor(module: &ModuleName) -> String {
    format!("#task-{module}")
}
