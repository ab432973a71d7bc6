//! What failed and why, in groups of what is alike.

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};

use super::Site;
use super::layout::{Topic, answer, may_act};
use super::parts::{command, digits, empty, number, run_link, star_link, table, text, time, total, words};
use super::query::{Query, arguments_of, host_href, query_of};
use crate::http::caller::Caller;
use crate::operate::called::{CalledRun, find_run};
use crate::operate::failures::{FailureGroup, ListFailures, RunFailures, list};
use crate::operate::selection::{ShownState, TaskSelection};
use crate::operate::view::newest_runs;
use crate::operate::{Context, OperateError};
use domain::outcome::FailurePattern;

/// How many groups are shown, and stars of each.
const GROUPS: usize = 50;
const STARS: usize = 3;
/// How many runs are looked at where none is named.
const RUNS: usize = 10;

/// Of the newest runs.
pub(super) async fn of_all(State(site): State<Site>, caller: Caller, query: Query) -> Response {
    answer(&site, &caller, (Topic::Failures, "Failures"), newest(&site.context(&caller), query.one("host")).await).await
}

/// Of one run.
pub(super) async fn of_run(
    State(site): State<Site>,
    caller: Caller,
    Path(run): Path<String>,
    query: Query,
) -> Response {
    let content = one(&site.context(&caller), &caller, &run, &query).await;
    answer(&site, &caller, (Topic::Failures, "Failures of a run"), content).await
}

async fn newest(context: &Context, host: Option<&str>) -> Result<Markup, OperateError> {
    let mut found = Vec::new();
    for run in newest_runs(context, RUNS).await?.runs {
        let selection = TaskSelection { run: Some(run.run), ..on_host(host) };
        let failures = list(context, ListFailures { selection, groups: STARS, stars: STARS }).await?;
        if failures.listed > 0 || host.is_none() && failures.not_listed > 0 || failures.why_not.is_some() {
            found.push((run, failures));
        }
    }
    Ok(html! {
        p { "Tasks that failed in the " (RUNS) " newest runs, in groups of what is alike: reason, module, image, host and words." }
        @if let Some(host) = host { p { "On host " strong { (text(host)) } ". " a href="/failures" { "On all hosts" } } }
        @if found.is_empty() { (empty(html! { "Nothing failed." })) }
        @for (run, failures) in &found {
            h2 { "Run " (run_link(run.run)) " " (run.pipeline) " " (run.quarter) }
            @if let Some(why) = &failures.why_not { p.note { (words(why)) } }
            (groups(&failures.groups))
            p { a href=(format!("/runs/{}/failures{}", run.run, query_of(&on_host(host)))) { "All of these" } " (" (digits(failures.listed)) " tasks), to be tried again, too" }
        }
    })
}

fn on_host(host: Option<&str>) -> TaskSelection {
    TaskSelection { hosts: host.map(ToOwned::to_owned).into_iter().collect(), ..TaskSelection::default() }
}

async fn one(context: &Context, caller: &Caller, called: &str, query: &Query) -> Result<Markup, OperateError> {
    let run = find_run(context, &called.parse::<CalledRun>()?).await?;
    let selection = query.selection(run)?;
    let failures = list(context, ListFailures { selection: selection.clone(), groups: GROUPS, stars: STARS }).await?;
    let narrowed = selection.words();
    // What was lost to failures is not listed, and is tried again with what it needs.
    let mut listed = selection.clone();
    if listed.states.is_empty() {
        listed.states = vec![ShownState::Failed, ShownState::Errored];
    }
    Ok(html! {
        p { "Run " (run_link(run)) @if !narrowed.is_empty() { ", tasks" (text(&narrowed)) " · " a href=(format!("/runs/{run}/failures")) { "all" } } }
        (sums(&failures, &listed))
        @if let Some(why) = &failures.why_not { p.note { (words(why)) } }
        @if failures.groups.is_empty() { (empty(html! { "Nothing failed" (text(&narrowed)) "." })) } @else {
            div.actions {
                @if may_act(caller) { a.button.strong href=(format!("/runs/{run}/do/retry{}", query_of(&listed))) { "Retry these…" } }
                (command(&format!("sas run failures{} --retry", arguments_of(&selection).replacen(" --run", "", 1))))
            }
            (groups(&failures.groups))
            @if failures.groups_left_out > 0 { p.soft { (digits(failures.groups_left_out)) " smaller groups are not shown; narrow the selection" } }
        }
    })
}

fn sums(failures: &RunFailures, listed: &TaskSelection) -> Markup {
    let run = failures.run;
    html! {
        dl.facts {
            div { dt { "listed here" } dd { a href=(format!("/runs/{run}/tasks{}", query_of(listed))) { (total(failures.listed)) } } }
            @for (state, count) in &failures.all {
                div { dt { (super::states::word(super::states::of_task(*state))) } dd { (number(*count, &format!("/runs/{run}/tasks?state={state}"))) } }
            }
        }
    }
}

/// A line for each group.
pub(super) fn groups(groups: &[FailureGroup]) -> Markup {
    let heads = html! {
        th.n scope="col" { "Tasks" } th scope="col" { "Module" } th scope="col" { "Reason" } th scope="col" { "Host" } th scope="col" { "What they say" } th scope="col" { "Stars" } th scope="col" { "Last" }
    };
    table("Groups of failures", heads, html! { @for group in groups { (line(group)) } })
}

/// Where the tasks of a group are listed.
fn tasks_of(group: &FailureGroup) -> String {
    let alike = TaskSelection {
        modules: vec![group.module.clone()],
        reasons: vec![FailurePattern::Alike(group.fingerprint.clone())],
        hosts: group.host.iter().filter(|_| group.other_hosts == 0).cloned().collect(),
        ..TaskSelection::default()
    };
    format!("/runs/{}/tasks{}", group.run, query_of(&alike))
}

fn line(group: &FailureGroup) -> Markup {
    html! {
        tr {
            td.n { (number(group.count, &tasks_of(group))) }
            th scope="row" { (group.module) }
            td { (group.reason) @if group.is_platforms { br; span.tag { "platform" } } }
            td { @if let Some(host) = &group.host { a href=(host_href(host)) { (text(host)) } @if group.other_hosts > 0 { br; span.soft { "and " (digits(group.other_hosts)) " more" } } } @else { span.soft { "none" } } }
            td.wide { code { (text(&group.sample)) } br; span.soft { "image " (text(group.image.as_str())) " · " (group.fingerprint) } }
            td {
                @for star in &group.stars { (star_link(*star, Some(group.run))) br; }
                @if group.stars_left_out > 0 { span.soft { (digits(group.stars_left_out)) " more" } }
            }
            td { (time(group.last)) }
        }
    }
}
