//! One run: its pipeline as a drawing and as a table, what was decided about it, what failed most in it, its levers.

use axum::extract::{Path, State};
use axum::response::Response;
use domain::id::RunId;
use domain::text::moment;
use maud::{Markup, html};
use store::audit::Target;

use super::Site;
use super::drawing::{draw, share_failed};
use super::failures::groups;
use super::layout::{Topic, answer, may_act};
use super::parts::{bar, command, done, duration, number, percent, short, text, time};
use super::query::{Query, audit_href, tasks_href};
use super::runs::{how_far, phase, stage_number, stages, tally_of, to_go};
use super::states::{self, ORDER, StateTally};
use crate::http::caller::Caller;
use crate::operate::called::{CalledRun, find_run};
use crate::operate::failures::{ListFailures, RunFailures, list};
use crate::operate::run::decided_words;
use crate::operate::selection::{ShownState, TaskSelection};
use crate::operate::stars::StarStage;
use crate::operate::view::{ModuleInRun, RunModules, RunPhase, RunSummary, modules, unserved_words};
use crate::operate::{Context, OperateError};

/// How many groups of failures are shown, and stars of each.
const GROUPS: usize = 5;
const STARS: usize = 3;

pub(super) async fn show(State(site): State<Site>, caller: Caller, Path(run): Path<String>, query: Query) -> Response {
    let found = find(&site.context(&caller), &run).await;
    let title = match &found {
        Ok((run, _)) => format!("{} {} · run {}", run.summary.pipeline, run.summary.quarter, short(run.summary.run)),
        Err(_) => String::new(),
    };
    let content = match found {
        Ok((run, failures)) => JustDone::read(&query).map(|said| content(&run, &failures, may_act(&caller), &said)),
        Err(error) => Err(error),
    };
    answer(&site, &caller, (Topic::Runs, &title), content).await
}

/// What was just done from a page.
struct JustDone {
    decided: Option<usize>,
    audit: Option<u64>,
}

impl JustDone {
    fn read(query: &Query) -> Result<Self, OperateError> {
        Ok(Self { decided: query.value("decided")?, audit: query.value("audit")? })
    }
}

async fn find(context: &Context, called: &str) -> Result<(RunModules, RunFailures), OperateError> {
    let run = find_run(context, &called.parse::<CalledRun>()?).await?;
    let selection = TaskSelection { run: Some(run), ..TaskSelection::default() };
    let failures = list(context, ListFailures { selection, groups: GROUPS, stars: STARS }).await?;
    Ok((modules(context, run).await?, failures))
}

fn content(run: &RunModules, failures: &RunFailures, may_act: bool, said: &JustDone) -> Markup {
    let RunModules { summary, drawn } = run;
    let id = summary.run;
    let decision = said.decided.and_then(|number| Some((number, summary.decisions.get(number.checked_sub(1)?)?)));
    html! {
        @if let Some((number, decision)) = decision {
            (done(html! { "Decision " (number) " is on record: " (text(&decided_words(&decision.what))) ". Coordinators follow it within a second." }, said.audit))
        } @else if said.audit.is_some() { (done(html! { "That is on record." }, said.audit)) }
        (facts(summary))
        @if may_act { (levers(summary)) }
        @if let Some(reason) = &summary.stored_only { p.note { (text(reason)) } }
        @if let Some(words) = unserved_words(&summary.unserved) { p.note { "▲ " (words) ": its tasks wait until one is started" } }
        @for outside in &summary.outside { p.note { (text(&outside.words())) } }
        div { (bar(&tally_of(summary))) }
        (key(id, &tally_of(summary)))
        h2 { "Pipeline" }
        (draw(id, drawn))
        h2 { "Modules" }
        (table(id, summary, drawn, may_act))
        h2 { "What failed most" }
        @if failures.groups.is_empty() { p.soft { "Nothing is on record." } } @else {
            (groups(&failures.groups))
            p { a href=(format!("/runs/{id}/failures")) { "All failures" } }
        }
        h2 { "Decisions" }
        @if summary.decisions.is_empty() { p.soft { "Nobody decided anything about this run." } } @else {
            ol { @for decision in &summary.decisions { li { (text(&decided_words(&decision.what))) ", by " (text(&decision.by)) ", " (time(decision.at)) } } }
        }
        p { a href=(audit_href(&Target::Run { run: id })) { "What was changed of this run, in the audit" } }
        p { "The same in a terminal: " (command(&format!("sas run show {id}"))) }
    }
}

fn facts(run: &RunSummary) -> Markup {
    let ends = run.ends.iter().map(|(end, count)| (Some(*count), StarStage::from(*end)));
    html! {
        dl.facts {
            div { dt { "phase" } dd { (phase(run.phase)) } }
            div { dt { "progress" } dd { (how_far(run)) @if run.expected.is_none() { (percent(stages(run)[0].0.unwrap_or(0), run.stars.into())) " of the stars" } } }
            div { dt { "to go" } dd { (to_go(run)) } }
            div { dt { "stars" } dd { (number(run.stars.into(), &format!("/runs/{}/matrix", run.run))) } }
            @for (count, stage) in stages(run).into_iter().chain(ends) {
                div { dt { (stage.to_string().replace('_', " ")) } dd { (stage_number(run.run, count, stage)) } }
            }
            div { dt { "version" } dd { (text(&run.version)) @if let Some(group) = &run.only_group { " only " (text(group.as_str())) } } }
            div { dt { "accepted" } dd title=(moment(run.accepted)) { (time(run.accepted)) } }
        }
    }
}

fn levers(run: &RunSummary) -> Markup {
    let act = |verb: &str| format!("/runs/{}/do/{verb}", run.run);
    html! {
        div.actions {
            a.button href=(format!("/runs/{}/matrix", run.run)) { "Matrix of stars" }
            @match run.phase {
                RunPhase::Ended => {}
                RunPhase::Paused => { a.button.strong href=(act("resume")) { "Resume…" } }
                RunPhase::Accepted | RunPhase::Active | RunPhase::Cancelling | RunPhase::Open => { a.button href=(act("pause")) { "Pause…" } }
            }
            @if run.phase != RunPhase::Ended {
                a.button href=(act("priority")) { "Priority…" }
                a.button href=(act("cancel")) { "Cancel…" }
            }
            a.button href=(act("retry")) { "Retry what was lost…" }
        }
    }
}

/// What the colours mean, with the number of tasks in each state.
fn key(run: RunId, tally: &StateTally) -> Markup {
    html! {
        div.key {
            @for state in ORDER {
                @if let Some(count) = tally.get(&state) {
                    span title=(states::meaning(state)) { (super::parts::badge(state)) " " (number(*count, &tasks_href(run, None, &[state]))) }
                }
            }
        }
    }
}

fn table(run: RunId, summary: &RunSummary, modules: &[ModuleInRun], may_act: bool) -> Markup {
    let shown: Vec<ShownState> =
        ORDER.into_iter().filter(|state| modules.iter().any(|module| module.tasks.contains_key(state))).collect();
    let heads = html! {
        th scope="col" { "Module" } th scope="col" { "Group" } th scope="col" { "Class" } th scope="col" { "States" }
        @for state in &shown { th.n scope="col" title=(states::meaning(*state)) { (states::word(*state)) } }
        th.n scope="col" { "Failed" } th.n scope="col" { "Mean time" } @if may_act { th scope="col" { "Module" } }
    };
    let hold = |module: &ModuleInRun, verb: &str| {
        format!("/modules/{}/{}/do/{verb}?run={run}", summary.pipeline, module.module)
    };
    let held = |module: &ModuleInRun| {
        audit_href(&Target::Module { pipeline: summary.pipeline.clone(), module: module.module.clone() })
    };
    let rows = html! {
        @for module in modules {
            tr #(format!("m-{}", module.module)) {
                th scope="row" title=(domain::text::shown(&module.doc)) { (module.module) @if module.held { " " a.tag.attention href=(held(module)) title="who held it, and why" { "h held" } } @if !module.enabled { " " span.tag { "off" } } }
                td { @if let Some(group) = &module.group { (text(group.as_str())) } }
                td { (module.class) }
                td.bars { (bar(&module.tasks)) }
                @for state in &shown { td.n { (number(module.tasks.get(state).copied().unwrap_or(0), &tasks_href(run, Some(module.module.as_str()), &[*state]))) } }
                td.n { (share_failed(module)) }
                td.n { @match module.seconds { Some(seconds) => (duration(seconds)), None => span.nothing { "–" } } }
                @if may_act { td { @if module.held { a href=(hold(module, "release")) { "Release…" } } @else { a href=(hold(module, "hold")) { "Hold…" } } } }
            }
        }
    };
    super::parts::table("Modules", heads, rows)
}
