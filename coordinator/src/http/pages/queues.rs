//! Queues: what is ready, in progress, waiting, dead and still to come, by class and module.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::Site;
use super::layout::{Topic, answer};
use super::parts::{duration, empty, number, plain, short, table, text, time_or};
use super::query::{Query, tasks_href};
use crate::http::caller::Caller;
use crate::operate::OperateError;
use crate::operate::flow::{ClassFlow, ModuleFlow, PeriodFlow, QueueFlow, TasksFlow, flow};
use crate::operate::selection::ShownState;
use crate::operate::view::{RunPhase, newest_runs};

/// How many of the newest runs are looked at for those that go on.
const RUNS: usize = 50;

pub(super) async fn show(State(site): State<Site>, caller: Caller) -> Response {
    answer(&site, &caller, (Topic::Queues, "Queues"), content(&site, &caller).await).await
}

/// The tasks behind a number of a module: of the run that goes on; where there are several, of each.
pub(super) async fn behind(
    State(site): State<Site>,
    caller: Caller,
    Path((pipeline, module)): Path<(String, String)>,
    query: Query,
) -> Response {
    let state = query.value::<ShownState>("state");
    let found = async {
        let state = state?;
        let mut runs = newest_runs(&site.context(&caller), RUNS).await?.runs;
        runs.retain(|run| run.phase != RunPhase::Ended && run.pipeline.as_str() == pipeline);
        Ok::<_, OperateError>(
            runs.into_iter()
                .map(|run| (run.run, tasks_href(run.run, Some(&module), state.as_slice())))
                .collect::<Vec<_>>(),
        )
    };
    let content = match found.await.as_deref() {
        Ok([(_, one)]) => return Redirect::to(one).into_response(),
        Ok(several) => Ok(html! {
            @if several.is_empty() { (empty(html! { "No run of it goes on." })) }
            ul { @for (run, href) in several { li { a href=(href) { "Tasks of " (text(&module)) " in run " (short(*run)) } } } }
        }),
        Err(error) => Err(error.clone()),
    };
    answer(&site, &caller, (Topic::Queues, "Tasks of a module"), content).await
}

async fn content(site: &Site, caller: &Caller) -> Result<Markup, OperateError> {
    let flow = flow(&*site.context(caller).installation).await?;
    let heads = html! {
        th scope="col" { "Queue" } th.n scope="col" { "Ready" } th.n scope="col" { "Unacknowledged" } th.n scope="col" { "Consumers" } th scope="col" { "What it is for" }
    };
    Ok(html! {
        @for (service, away) in [("the broker", &flow.broker_away), ("the state", &flow.state_away)] {
            @if let Some(reason) = away { p.note { "What " (service) " knows is not shown: " (text(reason)) } }
        }
        (table("Queues of the broker", heads, html! { @for queue in &flow.queues { (line(queue)) } }))
        p.soft { "As the broker counts them. Stars that are to come are in no queue: they enter as slots ask for them." }
        @for queue in &flow.queues { @if let Some(class) = &queue.class { (of_class(&queue.queue, class)) } }
    })
}

fn line(queue: &QueueFlow) -> Markup {
    let (ready, deaf) = (queue.ready.unwrap_or(0), queue.consumers == Some(0));
    let starved = |class: &ClassFlow| (class.slots == 0 && ready > 0).then_some("no worker serves it");
    let full = |class: &&ClassFlow| ready > 0 && class.slots > 0 && class.busy >= class.slots;
    let is_full = queue.class.as_ref().filter(full).is_some();
    let (purpose, wrong) = match queue.queue.as_str() {
        "sas.events" => ("dataset events on their way to a coordinator", deaf.then_some("no coordinator listens")),
        "sas.completions" => {
            ("how attempts ended, on their way to a coordinator", deaf.then_some("no coordinator listens"))
        }
        "sas.dead" => ("messages that could not be read, with the reason", (ready > 0).then_some("somebody must look")),
        _ => ("tasks on their way to workers", queue.class.as_ref().and_then(starved)),
    };
    let wrong = if queue.silent.is_some() { Some("it takes no message") } else { wrong };
    html! {
        tr {
            th scope="row" { (text(&queue.queue)) }
            td.n { @match (queue.ready, &queue.class) {
                (Some(ready), Some(_)) => (number(ready, &format!("#{}", queue.queue))),
                (ready, _) => (known(ready, "the broker does not say")),
            } }
            td.n { (known(queue.unacknowledged, queue.unknown.as_deref().unwrap_or("the broker's management API is not configured"))) }
            td.n { (known(queue.consumers, "the broker does not say")) }
            td { @if let Some(wrong) = wrong { span.tag.bad { "■ " (wrong) } " " } (purpose) @if is_full { span.soft { "; all slots are busy" } } }
        }
    }
}

fn known(count: Option<u64>, why_not: &str) -> Markup {
    html! { @match count { Some(count) => (plain(count)), None => span.nothing title=(why_not) { "not known" } } }
}

fn of_class(queue: &str, class: &ClassFlow) -> Markup {
    let name = queue.strip_prefix("sas.tasks.").unwrap_or(queue);
    let heads = html! {
        th scope="col" { "Module" } th.n scope="col" { "Ready" } th scope="col" { "Oldest" } th.n scope="col" { "In progress" } th.n scope="col" { "Waiting" } th.n scope="col" { "On hold" } th.n scope="col" { "To come" }
        th.n scope="col" title="in the last whole minute" { "In / min" } th.n scope="col" title="in the last whole minute" { "Out / min" } th.n scope="col" { "Work to do" }
    };
    html! {
        h2 id=(queue) { "Class " (text(name)) }
        dl.facts {
            div { dt { "slots busy" } dd { (class.busy) " of " (class.slots) @if class.slots == 0 { " " span.tag.bad { "■ no worker serves it" } } } }
            div { dt { "work to do" } dd { (work(&class.tasks)) } }
            div { dt { "with these slots" } dd { @if class.slots > 0 { "about " (duration(class.tasks.work / class.slots as f64)) } @else { "never" } } }
            div { dt { "in and out, the last minutes" } dd { (rates(&class.periods)) } }
        }
        (table(&format!("Tasks of class {name}"), heads, html! {
            @for module in &class.modules { (tasks(html! { (module.module) " " span.soft { (module.pipeline) } }, &module.tasks, Some(module))) }
            (tasks(html! { "all" }, &class.tasks, None))
        }))
    }
}

fn tasks(name: Markup, tasks: &TasksFlow, of: Option<&ModuleFlow>) -> Markup {
    let count = |count: u64, state: ShownState| match of {
        Some(of) => number(count, &format!("/queues/{}/{}?state={state}", of.pipeline, of.module)),
        None => plain(count),
    };
    html! {
        tr {
            th scope="row" { (name) }
            td.n { (count(tasks.ready, ShownState::Queued)) } td { @if tasks.ready > 0 { (time_or(tasks.oldest, "not known")) } }
            td.n { (count(tasks.in_progress, ShownState::Running)) @if tasks.lease_lost > 0 { " " span.tag.attention { "▲ " (tasks.lease_lost) " lost" } } }
            td.n { (count(tasks.waiting, ShownState::Waiting)) @if tasks.waiting > 0 { br; span.soft { "next " (time_or(tasks.due, "not known")) } } }
            td.n { (count(tasks.on_hold, ShownState::OnHold)) } td.n { (count(tasks.to_come, ShownState::Blocked)) } td.n { (plain(tasks.entered)) } td.n { (plain(tasks.left)) }
            td.n { (work(tasks)) }
        }
    }
}

fn work(tasks: &TasksFlow) -> Markup {
    html! {
        (duration(tasks.work)) @if tasks.unmeasured > 0 { " " span.soft title="modules with tasks to do that are not measured yet" { "and " (tasks.unmeasured) " unmeasured" } }
    }
}

/// What came and went, period by period: two rows of columns.
fn rates(periods: &[PeriodFlow]) -> Markup {
    let most = periods.iter().flat_map(|period| [period.entered, period.left]).max().unwrap_or(0).max(1);
    let width = 6;
    let height = |count: u64| (count as f64 * 22.0 / most as f64).ceil() as u64;
    let sum = |part: fn(&PeriodFlow) -> u64| periods.iter().map(part).sum::<u64>();
    html! {
        svg.rates width=(periods.len() * width) height="46" role="img" aria-label=(format!("{} came, {} went", sum(|p| p.entered), sum(|p| p.left))) {
            @for (at, period) in periods.iter().enumerate() {
                g {
                    title { (domain::text::moment(period.from)) ": " (period.entered) " came, " (period.left) " went in " (period.seconds) " s" }
                    rect.s-queued x=(at * width) y=(22 - height(period.entered)) width=(width - 1) height=(height(period.entered)) {}
                    rect.s-succeeded x=(at * width) y="24" width=(width - 1) height=(height(period.left)) {}
                }
            }
        }
        br; span.soft { "up: " (plain(sum(|p| p.entered))) " came, down: " (plain(sum(|p| p.left))) " went" }
    }
}
