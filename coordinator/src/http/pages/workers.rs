//! Workers: who lives, what each runs and how far it is, what stands out; draining a host.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use domain::id::ClassName;
use maud::{Markup, html};
use store::audit::Target;

use super::Site;
use super::layout::{Topic, answer, may_act};
use super::parts::{command, digits, done, duration, empty, percent, progress, star_link, table, text, time, time_or};
use super::query::{Query, audit_href, failures_href, host_href};
use crate::http::caller::Caller;
use crate::operate::workers::{AllWorkers, WorkerSlots, WorkerSummary};
use crate::operate::{OperateError, workers};

pub(super) async fn show(State(site): State<Site>, caller: Caller, query: Query) -> Response {
    answer(&site, &caller, (Topic::Workers, "Workers"), content(&site, &caller, &query).await).await
}

async fn content(site: &Site, caller: &Caller, query: &Query) -> Result<Markup, OperateError> {
    let mut all = workers::list(&site.context(caller)).await?;
    let host = query.one("host");
    if let Some(host) = host {
        all.workers.retain(|worker| worker.host == host);
    }
    let may_act = may_act(caller);
    Ok(html! {
        @if let Some(decided) = query.one("decided") {
            @let is_drained = all.drained.iter().any(|drained| drained.host.as_str() == decided);
            (done(html! { "Host " (text(decided)) @if is_drained { " is drained." } @else { " is not drained." } " Its workers follow within a second." }, query.value("audit")?))
        }
        @if let Some(host) = host { p { "On host " strong { (text(host)) } ". " a href="/workers" { "All workers" } } }
        @if let Some(reason) = &all.writes_refused {
            p.note { "■ " strong { "Redis takes no writes" } ": " (text(reason)) ". No worker can show itself before it does: which of them live is not known." }
        }
        @for lost in all.lost.iter().filter(|lost| host.is_none_or(|host| lost.host == host)) {
            p.note {
                "■ " strong { (text(&lost.host)) " is lost" } ": its worker " (text(lost.worker.as_str())) " was last seen " (time(lost.seen))
                (lost.running_words()) ". Look at the host, and start its worker again."
            }
        }
        @if all.workers.is_empty() {
            (empty(html! { "No worker lives here. Start one with " (command("sas-worker")) " on any host that sees the store and the services." }))
        } @else {
            (classes(&all))
            (list(&all.workers, may_act))
            h2 { "What runs now" }
            (attempts(&all.workers))
        }
        @if !all.drained.is_empty() {
            h2 { "Hosts that are drained" }
            ul {
                @for drained in &all.drained {
                    li #(format!("drained-{}", drained.host)) {
                        strong { (drained.host) } " since " (time(drained.since)) " by " (text(&drained.by)) ": "
                        a href=(audit_href(&Target::Host { host: drained.host.clone() })) { "why" } " "
                        @if may_act { a.button href=(format!("/hosts/{}/do/resume", drained.host)) { "Resume…" } }
                    }
                }
            }
        }
    })
}

/// Slots of each class, of all workers.
fn classes(all: &AllWorkers) -> Markup {
    let mut classes: BTreeMap<&ClassName, WorkerSlots> = BTreeMap::new();
    for (class, slots) in all.workers.iter().flat_map(|worker| &worker.slots) {
        let sum = classes.entry(class).or_insert(WorkerSlots { busy: 0, of: 0 });
        sum.busy += slots.busy;
        sum.of += slots.of;
    }
    html! {
        div.cards {
            @for (class, slots) in classes {
                div.card { h2 { "Slots of class " (class) } p.first { (slots.busy) " of " (slots.of) " busy" } (progress(slots.busy.into(), slots.of.into())) }
            }
        }
    }
}

fn list(workers: &[WorkerSummary], may_act: bool) -> Markup {
    let heads = html! {
        th scope="col" { "Host" } th scope="col" { "Worker" } th scope="col" { "Slots busy" } th scope="col" { "Seen" } th scope="col" { "Began" }
        th.n scope="col" { "Attempts" } th.n scope="col" { "Failed" } th.n scope="col" { "Errored" } th.n scope="col" { "Lost" } th scope="col" { "What stands out" }
        th scope="col" { "Version" } @if may_act { th scope="col" { "Host" } }
    };
    table("Workers", heads, html! { @for worker in workers { (line(worker, may_act)) } })
}

fn line(worker: &WorkerSummary, may_act: bool) -> Markup {
    let ended = worker.ended;
    let failures = failures_href(&worker.host);
    html! {
        tr {
            th scope="row" { a href=(host_href(&worker.host)) { (text(&worker.host)) } }
            td { code { (text(worker.worker.as_str())) } }
            td { @for (class, slots) in &worker.slots { span.tag { (class) " " (slots.busy) "/" (slots.of) } " " } }
            td { (time(worker.seen)) }
            td { (time_or(worker.began, "not known")) }
            td.n { (digits(ended.all)) }
            @for count in [ended.failed, ended.errored] {
                td.n title="attempts, those that were tried again among them" { (digits(count)) " " span.soft { (percent(count, ended.all)) } }
            }
            td.n { (digits(ended.lost)) " " span.soft { (percent(ended.lost, ended.all)) } }
            td.wide {
                @if worker.drained { span.tag.attention { "▲ drained" } " " }
                @if let Some(reason) = &worker.waits_for { span.tag.attention { "▲ takes nothing" } " " (text(reason)) " " }
                @for odd in &worker.odd { span.tag.bad { "■ odd" } " " (text(odd)) " " }
                @if ended.failed + ended.errored > 0 { a href=(failures) { "what failed for good here" } " " }
                @if !worker.drained && worker.waits_for.is_none() && worker.odd.is_empty() { span.soft { "nothing" } }
            }
            td { (text(&worker.version)) }
            @if may_act {
                td { @if worker.drained { a.button href=(format!("/hosts/{}/do/resume", worker.host)) { "Resume…" } } @else { a.button href=(format!("/hosts/{}/do/drain", worker.host)) { "Drain…" } } }
            }
        }
    }
}

fn attempts(workers: &[WorkerSummary]) -> Markup {
    let heads = html! {
        th scope="col" { "Module" } th scope="col" { "Star" } th scope="col" { "Host" } th.n scope="col" { "Attempt" } th scope="col" { "Runs for" } th scope="col" { "Does" } th scope="col" { "Last line of its log" }
    };
    let now = jiff::Timestamp::now();
    let running = workers.iter().flat_map(|worker| worker.attempts.iter().map(move |attempt| (worker, attempt)));
    let rows = html! {
        @for (worker, attempt) in running {
            tr {
                th scope="row" { (attempt.module) }
                td { (star_link(attempt.star, Some(attempt.run))) }
                td { (text(&worker.host)) }
                td.n { (attempt.attempt) }
                td { (duration(now.duration_since(attempt.since).as_secs_f64())) }
                td { (attempt.phase) }
                td.wide { code { (text(&attempt.last_line)) } }
            }
        }
    };
    html! {
        @if workers.iter().all(|worker| worker.attempts.is_empty()) { (empty(html! { "Nothing runs now." })) } @else { (table("Attempts that run now", heads, rows)) }
    }
}
