//! The tasks behind a number: one by one, in the language in which everything selects tasks.

use axum::extract::{Path, State};
use axum::response::Response;
use domain::id::RunId;
use maud::{Markup, html};

use super::Site;
use super::layout::{Topic, answer, may_act};
use super::parts::{badge, command, digits, empty, run_link, star_link, table, text, time_or, total, words};
use super::query::{Query, arguments_of, host_href, query_of};
use super::states;
use crate::http::caller::Caller;
use crate::operate::called::{CalledRun, find_run};
use crate::operate::selection::TaskSelection;
use crate::operate::task::{self, LISTED, ListSettled, ListTasks, ListedTask, SettledTasks};
use crate::operate::{Context, OperateError};

/// How many tasks are shown at first, and at most.
const FEW: usize = 50;
const MOST: usize = 1000;

pub(super) async fn show(State(site): State<Site>, caller: Caller, Path(run): Path<String>, query: Query) -> Response {
    let content = content(&site.context(&caller), may_act(&caller), &run, &query).await;
    answer(&site, &caller, (Topic::Runs, "Tasks"), content).await
}

async fn content(context: &Context, may_act: bool, called: &str, query: &Query) -> Result<Markup, OperateError> {
    let run = find_run(context, &called.parse::<CalledRun>()?).await?;
    let selection = query.selection(run)?;
    let limit = query.value("limit")?.unwrap_or(FEW).clamp(1, MOST);
    let is_counted = selection.states.iter().any(|state| !LISTED.contains(state));
    let list = if is_counted {
        let asked = ListSettled { selection: selection.clone(), after: query.value("after")?, limit };
        of_settled(&selection, &task::settled(context, asked).await?)
    } else {
        let found = task::list(context, ListTasks { selection: selection.clone(), limit }).await?;
        html! {
            p { (total(found.tasks.len() as u64 + found.left_out)) " tasks in all" }
            @for note in &found.notes { p.note { (words(note)) } }
            @if found.tasks.is_empty() { (empty(html! { "There are no such tasks now." @if selection.states.is_empty() { " Tasks that are blocked or ended well are listed where their state is asked for." } })) } @else { (of_listed(run, &found.tasks)) }
            @if found.left_out > 0 { p { (digits(found.left_out)) " more. " @if limit < MOST { a href=(more(&selection, limit)) { "Show more" } } @else { "Narrow the selection to see them." } } }
        }
    };
    Ok(html! {
        p { "Run " (run_link(run)) ": " (asked(&selection)) }
        (filters(&selection))
        div.actions {
            @if may_act && can_end(&selection, true) { a.button href=(format!("/runs/{run}/do/retry{}", query_of(&selection))) { "Retry these…" } }
            @if may_act && can_end(&selection, false) { a.button href=(format!("/runs/{run}/do/cancel-tasks{}", query_of(&selection))) { "Cancel these…" } }
            @if !is_counted { (command(&format!("sas task list{}", arguments_of(&selection)))) }
        }
        (list)
    })
}

/// Whether all states that are asked for are of tasks that have ended, or that have not.
fn can_end(selection: &TaskSelection, ended: bool) -> bool {
    !selection.states.is_empty() && selection.states.iter().all(|state| state.settled().is_some() == ended)
}

fn asked(selection: &TaskSelection) -> Markup {
    let states: Vec<&str> = selection.states.iter().map(|state| states::word(*state)).collect();
    html! {
        @if states.is_empty() { "tasks that run, wait, failed or could not be run" } @else { "tasks in state " (states.join(" or ")) }
        (text(&selection.words()))
    }
}

fn more(selection: &TaskSelection, limit: usize) -> String {
    let query = query_of(selection);
    let joint = if query.is_empty() { '?' } else { '&' };
    format!("{query}{joint}limit={}", (limit * 4).min(MOST))
}

/// The selection as a form, so that an address can be made without knowing its language.
fn filters(selection: &TaskSelection) -> Markup {
    let first = |values: Vec<String>| values.into_iter().next().unwrap_or_default();
    html! {
        form.filters data-keep="" {
            label { "State" select name="state" {
                option value="" { "those that need attention" }
                @for state in states::ORDER { option value=(state) selected[selection.states == [state]] { (states::word(state)) } }
            } }
            label { "Module" input name="module" size="14" value=(first(selection.modules.iter().map(ToString::to_string).collect())); }
            label { "Group" input name="group" size="8" value=(first(selection.groups.iter().map(ToString::to_string).collect())); }
            label { "Reason" input name="reason" size="14" value=(first(selection.reasons.iter().map(ToString::to_string).collect())); }
            label { "Host" input name="host" size="12" value=(first(selection.hosts.clone())); }
            label { "Longer than" input name="older" size="6" placeholder="10m" value=(selection.older.map(|older| humantime::format_duration(older).to_string()).unwrap_or_default()); }
            button { "Show" }
        }
    }
}

fn of_listed(run: RunId, tasks: &[ListedTask]) -> Markup {
    let heads = html! {
        th scope="col" { "Star" } th scope="col" { "Module" } th scope="col" { "State" } th.n scope="col" { "Attempt" } th scope="col" { "Host" } th scope="col" { "Since" } th scope="col" { "Reason" } th scope="col" { "Last line of its log" }
    };
    let rows = html! {
        @for task in tasks {
            tr {
                td { (star_link(task.star, Some(run))) }
                th scope="row" { (task.module) }
                td { (badge(task.state)) }
                td.n { (task.attempt) }
                td { @if let Some(host) = &task.host { a href=(host_href(host)) { (text(host)) } } }
                td { (time_or(task.since, "not known")) @if let Some(due) = task.due { br; "next try " (super::parts::time(due)) } }
                td { @if let Some(reason) = &task.reason { (text(reason)) } }
                td.wide { code { (text(&task.last_line)) } }
            }
        }
    };
    table("Tasks", heads, rows)
}

fn of_settled(selection: &TaskSelection, found: &SettledTasks) -> Markup {
    let heads = html! { th scope="col" { "Star" } th scope="col" { "Module" } th scope="col" { "State" } };
    let rows = html! {
        @for task in &found.tasks {
            tr { td { (star_link(task.star, Some(found.run))) } th scope="row" { (task.module) } td { (badge(task.state)) } }
        }
    };
    let query = query_of(selection);
    html! {
        @for note in &found.notes { p.note { (text(note)) } }
        p { (total(found.all)) " tasks in all" }
        @if found.tasks.is_empty() { (empty(html! { "There are no such tasks, or none after this." })) } @else { (table("Tasks that have ended", heads, rows)) }
        @if let Some(next) = found.next { p { a href=(format!("{query}&after={next}")) { "Next" } } }
    }
}
