//! The tasks behind a number: selected in the address, in the words of `sas task list`.

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};

use super::Site;
use super::layout::{Place, answer};
use super::parts::{badge, command, digits, empty, star_link, table, text, time, time_or, words};
use super::query::{Query, arguments_of};
use super::run::called;
use crate::http::caller::Caller;
use crate::operate::selection::TaskSelection;
use crate::operate::task::{ListTasks, TaskList, list};
use crate::operate::{Context, OperateError};

/// How many are shown.
const MOST: usize = 200;

pub(super) async fn show(State(site): State<Site>, caller: Caller, Path(run): Path<String>, query: Query) -> Response {
    let content = look(&site.context(&caller), &run, &query).await.map(|(asked, found)| content(&asked, &found));
    answer(&site, &caller, (Place::Runs, "Tasks"), content).await
}

async fn look(context: &Context, run: &str, query: &Query) -> Result<(TaskSelection, TaskList), OperateError> {
    let selection = query.selection(called(context, run).await?)?;
    let found = list(context, ListTasks { selection: selection.clone(), limit: MOST }).await?;
    Ok((selection, found))
}

fn content(asked: &TaskSelection, found: &TaskList) -> Markup {
    let run = found.run;
    let heads = html! { th { "star" } th { "module" } th { "state" } th.n { "attempt" } th { "host" } th { "since" } th { "next try" } th { "why, or last line" } };
    let rows = html! {
        @for task in &found.tasks {
            tr {
                td { (star_link(task.star, Some(run))) }
                td { (task.module) }
                td { (badge(task.state)) }
                td.n { (task.attempt) }
                td { @if let Some(host) = &task.host { (text(host)) } }
                td { (time_or(task.since, "–")) }
                td { @if let Some(due) = task.due { (time(due)) } }
                td { @match &task.reason { Some(reason) => (text(reason)), None => code { (text(&task.last_line)) } } }
            }
        }
    };
    html! {
        p { "Of run " a.id href=(format!("/runs/{run}")) { (run) } ": " (digits(found.tasks.len() as u64 + found.left_out)) " tasks, what has been so for longest first"
            @if found.left_out > 0 { "; " (digits(found.left_out)) " more are not shown" } "." }
        @for note in &found.notes { p.note { (words(note)) } }
        @if found.tasks.is_empty() { (empty(html! { "No task is meant by this address." })) } @else { (table("Tasks", heads, rows)) }
        p { (command(&format!("sas task list{}", arguments_of(asked)))) }
    }
}
