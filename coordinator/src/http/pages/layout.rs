//! What every page has around it: where one can go, how things stand, who is logged in.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets::address;
use super::parts::{light, text, words};
use crate::http::Site;
use crate::http::caller::Caller;
use crate::operate::status::Light;
use crate::operate::{ErrorKind, OperateError};
use crate::tokens::Role;

/// What a page is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Topic {
    /// How things stand.
    Overview,
    /// Runs, and what is in them.
    Runs,
    /// Queues.
    Queues,
    /// Workers.
    Workers,
    /// What failed.
    Failures,
    /// Dataset events.
    Events,
    /// Who changed what.
    Audit,
    /// Something else.
    Elsewhere,
}

/// Where one can go: what it is about, its name, its address, its key after `g`.
const TOPICS: [(Topic, &str, &str, &str); 7] = [
    (Topic::Overview, "Overview", "/", "o"),
    (Topic::Runs, "Runs", "/runs", "r"),
    (Topic::Queues, "Queues", "/queues", "q"),
    (Topic::Workers, "Workers", "/workers", "w"),
    (Topic::Failures, "Failures", "/failures", "f"),
    (Topic::Events, "Events", "/events", "e"),
    (Topic::Audit, "Audit", "/audit", "a"),
];

/// What is around a page: for whom it is, what it is about, and how things stand.
pub(in crate::http) struct Frame {
    topic: Topic,
    caller: Option<Caller>,
    lights: Vec<Light>,
    /// Whether it takes a token to be here: who has come can leave.
    needs_token: bool,
}

impl Frame {
    /// Around a page for `caller`.
    pub(in crate::http) async fn of(site: &Site, caller: &Caller, topic: Topic) -> Self {
        let lights = site.glance.lights(&site.context(caller)).await;
        Self { topic, caller: Some(caller.clone()), lights, needs_token: site.access.needs_token() }
    }

    /// Around a page for whom nobody knows yet: it says nothing of the installation.
    pub(in crate::http) fn for_nobody() -> Self {
        Self { topic: Topic::Elsewhere, caller: None, lights: Vec::new(), needs_token: true }
    }
}

/// Whether pages offer actions to `caller`.
pub(in crate::http) fn may_act(caller: &Caller) -> bool {
    caller.may(Role::Operator)
}

/// A whole page.
pub(in crate::http) fn page(frame: &Frame, title: &str, content: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · SAS" }
                link rel="icon" href=(address("icon.svg"));
                link rel="stylesheet" href=(address("style.css"));
                script src=(address("first.js")) {}
                script src=(address("live.js")) defer {}
                script src=(address("keys.js")) defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                @if frame.caller.is_some() { (head(frame)) }
                main #main tabindex="-1" { h1 { (title) } (content) }
                (patterns())
            }
        }
    }
}

fn head(frame: &Frame) -> Markup {
    html! {
        header {
            nav aria-label="Pages" {
                a.home href="/" title="Stellar analysis, star by star" { "SAS" }
                @for (topic, name, href, key) in TOPICS {
                    a href=(href) data-key=(key) aria-current=[(topic == frame.topic).then_some("page")] { (name) }
                }
            }
            form.search action="/search" role="search" {
                input type="search" name="q" placeholder="run, star, host, module  ( / )" aria-label="A run or a star by the first digits of its id, a host, or a module" autocomplete="off" spellcheck="false";
            }
            div.who {
                @if let Some(caller) = &frame.caller { span title="who is logged in" { (text(&caller.name)) } }
                @if frame.needs_token { form method="post" action="/logout" { button { "Log out" } } }
                button #theme type="button" hidden { "theme" }
                button #help type="button" hidden aria-label="Keys" { "?" }
            }
            ul #lights aria-label="How things stand" {
                @for part in &frame.lights {
                    li { a href=(behind(part.name)) title=(part.words) { (light(part.level)) " " (part.name) } }
                }
                li #live role="status" {}
            }
        }
    }
}

/// The page behind a light.
fn behind(light: &str) -> String {
    if TOPICS.iter().any(|(_, name, ..)| name.eq_ignore_ascii_case(light)) {
        format!("/{light}")
    } else {
        "/".to_owned()
    }
}

/// Patterns that bars are filled with.
fn patterns() -> Markup {
    html! {
        svg.patterns width="0" height="0" aria-hidden="true" {
            defs {
                pattern #hatch width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect.hatch width="2" height="5" {}
                }
            }
        }
    }
}

/// The page that says why there is no other.
pub(super) async fn refused(site: &Site, caller: &Caller, error: &OperateError) -> Response {
    let (status, title) = match error.kind {
        ErrorKind::Invalid => (StatusCode::BAD_REQUEST, "This cannot be asked"),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "This is not there"),
        ErrorKind::Refused => (StatusCode::CONFLICT, "This cannot be done"),
        ErrorKind::AlreadySo => (StatusCode::CONFLICT, "There is nothing to do"),
        ErrorKind::OutOfReach => (StatusCode::SERVICE_UNAVAILABLE, "A service does not answer, or refuses"),
        ErrorKind::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "It takes too long"),
        ErrorKind::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "Something is broken"),
    };
    let frame = Frame::of(site, caller, Topic::Elsewhere).await;
    let content = html! {
        p.error role="alert" { (words(&error.message)) }
        p { a href="/" { "Overview" } " · " a href="/runs" { "Runs" } " · go back and try otherwise" }
    };
    (status, page(&frame, title, content)).into_response()
}

/// A page, or the one that says why not.
pub(super) async fn answer(
    site: &Site,
    caller: &Caller,
    (topic, title): (Topic, &str),
    content: Result<Markup, OperateError>,
) -> Response {
    match content {
        Ok(content) => page(&Frame::of(site, caller, topic).await, title, content).into_response(),
        Err(error) => refused(site, caller, &error).await,
    }
}
