//! Actions in two steps: a page that says what it comes to and asks for a reason, then the decision itself.
//!
//! What was counted is sent along: where far more would be touched by then, it is asked again.

mod what;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};

use super::Site;
use super::layout::{Frame, Topic, answer, may_act, page, refused};
use super::parts::{command, digits, text, words};
use super::query::Query;
use crate::http::caller::Caller;
use crate::operate::{ErrorKind, OperateError};
use what::{Act, Outlook};

/// Most letters of a reason.
const LETTERS: usize = 1000;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/runs/{run}/do/{verb}", get(ask_run).post(do_run))
        .route("/hosts/{host}/do/{verb}", get(ask_host).post(do_host))
        .route("/modules/{pipeline}/{module}/do/{verb}", get(ask_module).post(do_module))
}

async fn ask_run(
    State(site): State<Site>,
    caller: Caller,
    Path((run, verb)): Path<(String, String)>,
    query: Query,
) -> Response {
    let act = Act::of_run(&site.context(&caller), &run, &verb, &query).await;
    ask(&site, &caller, act, None).await
}

async fn do_run(
    State(site): State<Site>,
    caller: Caller,
    Path((run, verb)): Path<(String, String)>,
    query: Query,
    body: Bytes,
) -> Response {
    let form = Query::read(&body);
    let act = Act::of_run(&site.context(&caller), &run, &verb, &query).await.and_then(|act| act.with(&form));
    decide(&site, &caller, act, &form).await
}

async fn ask_host(State(site): State<Site>, caller: Caller, Path((host, verb)): Path<(String, String)>) -> Response {
    ask(&site, &caller, Act::of_host(&host, &verb), None).await
}

async fn do_host(
    State(site): State<Site>,
    caller: Caller,
    Path((host, verb)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    decide(&site, &caller, Act::of_host(&host, &verb), &Query::read(&body)).await
}

type ModulePath = Path<(String, String, String)>;

async fn ask_module(
    State(site): State<Site>,
    caller: Caller,
    Path((pipeline, module, verb)): ModulePath,
    query: Query,
) -> Response {
    ask(&site, &caller, Act::of_module(&pipeline, &module, &verb, &query), None).await
}

async fn do_module(
    State(site): State<Site>,
    caller: Caller,
    Path((pipeline, module, verb)): ModulePath,
    query: Query,
    body: Bytes,
) -> Response {
    decide(&site, &caller, Act::of_module(&pipeline, &module, &verb, &query), &Query::read(&body)).await
}

/// Says what it comes to, and asks for a reason; `again` says why it is asked once more.
async fn ask(site: &Site, caller: &Caller, act: Result<Act, OperateError>, again: Option<&str>) -> Response {
    let looked = async {
        require_role(caller)?;
        let act = act?;
        let outlook = act.look(&site.context(caller)).await?;
        Ok((act, outlook))
    };
    match looked.await {
        Ok((act, outlook)) => {
            let content = Ok(form(&act, &outlook, again));
            let response = answer(site, caller, (act.topic(), &outlook.title), content).await;
            if again.is_some() { (StatusCode::CONFLICT, response).into_response() } else { response }
        }
        Err(error) => refused(site, caller, &error).await,
    }
}

fn form(act: &Act, outlook: &Outlook, again: Option<&str>) -> Markup {
    html! {
        div.ask data-still="" {
            @if let Some(again) = again { p.error role="alert" { (text(again)) } }
            p.count { (text(&outlook.what)) }
            p { (words(outlook.effect)) }
            @if !outlook.modules.is_empty() {
                ul { @for (module, count) in &outlook.modules { li { (digits(*count)) " of " strong { (module) } } } }
            }
            @for note in &outlook.notes { p.note { (words(note)) } }
            form method="post" {
                @if let Some(count) = outlook.count { input type="hidden" name="count" value=(count); }
                @if let Act::Priority { .. } = act {
                    label { "Weight (runs begin with 1) " input type="number" name="weight" min="1" max="1000000" value="2" required; }
                }
                label { "Why? It goes on record with your name." textarea name="reason" required maxlength=(LETTERS) autofocus {} }
                div.actions {
                    button.(if outlook.is_grave { "grave" } else { "strong" }) { (outlook.verb) }
                    a.button href=(act.back()) { "Leave it" }
                }
            }
            p.soft { "The same in a terminal: " (command(&outlook.command)) }
        }
    }
}

async fn decide(site: &Site, caller: &Caller, act: Result<Act, OperateError>, form: &Query) -> Response {
    let act = match require_role(caller).and(act) {
        Ok(act) => act,
        Err(error) => return refused(site, caller, &error).await,
    };
    let Some(reason) = form.one("reason").map(|reason| reason.chars().take(LETTERS).collect::<String>()) else {
        return ask(site, caller, Ok(act), Some("Say why: a reason must be given.")).await;
    };
    let context = site.context(caller).because(Some(reason));
    let seen = match form.value::<u64>("count") {
        Ok(seen) => seen,
        Err(error) => return refused(site, caller, &error).await,
    };
    match act.carry_out(&context, seen).await {
        Ok(done) => match done.address {
            Some(address) => Redirect::to(&address).into_response(),
            None => already(site, caller, &act, &done.effect).await,
        },
        Err(error) if error.kind == ErrorKind::AlreadySo => already(site, caller, &act, &error.message).await,
        Err(error) if error.kind == ErrorKind::Refused && seen.is_some() => {
            ask(site, caller, Ok(act), Some(&error.message)).await
        }
        Err(error) => refused(site, caller, &error).await,
    }
}

/// Nothing was decided, since it is so already.
async fn already(site: &Site, caller: &Caller, act: &Act, effect: &str) -> Response {
    let frame = Frame::of(site, caller, Topic::Elsewhere).await;
    let content = html! { p.done data-still="" role="status" { (text(effect)) } p { a href=(act.back()) { "Back" } } };
    page(&frame, "Nothing was decided", content).into_response()
}

fn require_role(caller: &Caller) -> Result<(), OperateError> {
    if may_act(caller) { Ok(()) } else { Err(OperateError::refused("only operators may decide; you may look")) }
}
