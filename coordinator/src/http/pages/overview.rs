//! How things stand: the five questions, the lights, the runs that go on, what failed most often.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::Site;
use super::failures::groups;
use super::layout::{Topic, answer};
use super::parts::{empty, light, text, words};
use super::query::host_href;
use super::runs::table_of_runs;
use crate::http::caller::Caller;
use crate::operate::status::{Answer, HangingTask, Question, Status};

pub(super) async fn show(State(site): State<Site>, caller: Caller) -> Response {
    let status = site.glance.status(&site.context(&caller)).await;
    answer(&site, &caller, (Topic::Overview, "Overview"), status.map(|status| content(&status))).await
}

fn content(status: &Status) -> Markup {
    html! {
        section.cards aria-label="The five questions" {
            @for answer in &status.answers { (card(answer)) }
        }
        h2 { "Runs that go on" }
        @if status.runs.is_empty() {
            (empty(html! { "No run goes on. " a href="/runs" { "All runs" } " · " code { "sas ingest --publish FILE…" } " starts one." }))
        } @else {
            (table_of_runs(&status.runs))
        }
        @if !status.hanging.is_empty() {
            h2 { "Tasks that hang" }
            ul { @for task in &status.hanging { li { (hanging(task)) } } }
        }
        h2 { "What failed most often" }
        @if let Some(away) = &status.state_away { p.note { "Of stars in flight nothing is known: " (text(away)) } }
        @if status.failures.is_empty() {
            @if status.state_away.is_none() { (empty(html! { "Nothing failed in the runs that go on." })) }
        } @else {
            (groups(&status.failures))
            p { a href="/failures" { "All failures" } }
        }
        h2 { "Services" }
        ul {
            @for part in &status.lights { li { (light(part.level)) " " (service(part.name)) ": " (words(&part.words)) } }
        }
    }
}

/// A service; where it has a page, that.
fn service(name: &str) -> Markup {
    html! {
        @match name {
            "events" | "queues" | "workers" => a href=(format!("/{name}")) { strong { (name) } },
            name => strong { (name) },
        }
    }
}

fn card(answer: &Answer) -> Markup {
    let mut lines = answer.lines.iter();
    html! {
        article.card.(format!("c-{}", answer.level)) {
            h2 { (answer.question) (light(answer.level)) }
            @if let Some(first) = lines.next() { p.first { @match behind(answer.question) { Some(href) => a href=(href) { (words(first)) }, None => (words(first)) } } }
            @if answer.lines.len() > 1 { ul { @for line in lines { li { (words(line)) } } } }
        }
    }
}

/// Where what an answer counts is listed; what is to be done has its lines.
fn behind(question: Question) -> Option<&'static str> {
    match question {
        Question::Moving => Some("/workers"),
        Question::Red => Some("/failures"),
        Question::Stuck => Some("/queues"),
        Question::Done => Some("/runs"),
        Question::Act => None,
    }
}

fn hanging(task: &HangingTask) -> Markup {
    html! {
        a href=(format!("/stars/{}?run={}", task.star, task.run)) { (task.star) } " " strong { (task.module) }
        " on " a href=(host_href(&task.host)) { (text(&task.host)) } ", since " (super::parts::time(task.since))
    }
}
