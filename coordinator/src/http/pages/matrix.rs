//! The matrix of a run: stars down, modules across, drawn by scripts; and its counts as a table, for whoever has none.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::response::Response;
use domain::id::{ModuleName, RunId};
use domain::run::TaskState;
use domain::text::shown;
use maud::{Markup, html};

use super::assets::address;
use super::layout::{Topic, answer};
use super::parts::{badge, number, run_link, table, text, total};
use super::query::tasks_href;
use super::states;
use crate::http::Site;
use crate::http::caller::Caller;
use crate::operate::called::{CalledRun, find_run};
use crate::operate::matrix::{MatrixHead, StarOrder, head};
use crate::operate::selection::ShownState;
use crate::operate::view::{RunSummary, known_run};
use crate::operate::{Context, OperateError};

/// Orders as people call them.
const ORDERS: [(StarOrder, &str); 3] = [
    (StarOrder::Arrival, "arrival: as the run lists its stars"),
    (StarOrder::State, "state: what failed first"),
    (StarOrder::Progress, "progress: those that are furthest first"),
];

pub(super) async fn show(State(site): State<Site>, caller: Caller, Path(run): Path<String>) -> Response {
    let content = content(&site.context(&caller), &run).await;
    answer(&site, &caller, (Topic::Runs, "Matrix"), content).await
}

async fn content(context: &Context, run: &str) -> Result<Markup, OperateError> {
    let called: CalledRun = run.parse()?;
    let run = find_run(context, &called).await?;
    let (head, summary) = (head(context, run).await?, known_run(context, run).await?);
    Ok(html! {
        link rel="stylesheet" href=(address("matrix.css"));
        p {
            "Run " (run_link(run)) " of " (text(summary.pipeline.as_str())) " " (text(&summary.version)) ", " (summary.quarter) ": "
            (total(head.stars.into())) " stars × " (head.modules.len()) " modules. Every pixel is told in words below it."
        }
        @if let Some(reason) = &summary.stored_only { p.note { "Stars in flight look as if they were to come: " (text(reason)) } }
        (drawing(run))
        h2 { "In numbers" }
        (counts(&head, &summary))
        script src=(address("matrix-data.js")) defer {}
        script src=(address("matrix-draw.js")) defer {}
        script src=(address("matrix.js")) defer {}
    })
}

/// What scripts fill; there is nothing to see without them.
fn drawing(run: RunId) -> Markup {
    html! {
        section #matrix data-keep data-run=(run) aria-label="Matrix of states" {
            noscript { p.note { "The matrix is drawn by a script. Its numbers are in the table below." } }
            p.note data-is="note" role="status" hidden {}
            div.matrix-tools data-is="tools" hidden {
                label { "Order" select data-is="order" { @for (order, words) in ORDERS { option value=(order) { (words) } } } }
                label { input type="checkbox" data-is="mixed" checked; "shares of states (else the worst of them)" }
                button type="button" data-is="in" title="closer ( + )" { "+" }
                button type="button" data-is="out" title="further ( − )" { "−" }
                button type="button" data-is="all" title="all stars ( 0 )" { "all stars" }
            }
            p.matrix-readout data-is="readout" role="status" {}
            div.matrix-frame data-is="frame" hidden {
                div.matrix-heads data-is="heads" {}
                div.matrix-gutter data-is="gutter" {}
                canvas.matrix-cells data-is="cells" data-own-keys tabindex="0" role="application"
                    aria-label="States of tasks: arrows move, shift and arrows select, plus and minus zoom, enter opens a star" {}
                canvas.matrix-map data-is="map" aria-hidden="true" {}
            }
            (chosen())
            (legend())
            p.soft {
                "Wheel, " kbd { "+" } " and " kbd { "−" } ": closer and further · arrows, " kbd { "PgUp" } ", " kbd { "PgDn" } ", " kbd { "Home" } ", "
                kbd { "End" } ": move · drag, or " kbd { "shift" } " and arrows: select · " kbd { "Enter" } ": open a star · " kbd { "Esc" }
                ": select nothing · the strip on the right is the whole run"
            }
        }
    }
}

/// What is selected, and what can be done with it.
fn chosen() -> Markup {
    html! {
        div.card.matrix-chosen data-is="chosen" hidden {
            p { b data-is="what" {} " selected. " a data-is="tasks" href="#" { "Their tasks" } " " a data-is="open" href="#" hidden { "Open the star" } }
            p data-is="many" hidden { "More stars than can be named at once: the commands are about all stars of the run. Select 4096 at most." }
            @for name in ["list", "retry"] {
                div { span.command { code data-is=(name) {} button.copy type="button" data-is=(format!("copy-{name}")) data-copy="" hidden aria-label="copy the command" { "copy" } } }
            }
            button type="button" data-is="save" hidden { "Save these stars as stars.txt" }
        }
    }
}

/// Letter, word and colour of the states that a row can say.
fn legend() -> Markup {
    let shown = states::ORDER.iter().filter(|state| !matches!(state, ShownState::Running | ShownState::OnHold));
    html! { div.key { @for state in shown { span { (badge(*state)) @if *state == ShownState::Queued { " or running" } } } } }
}

/// How many tasks of each module are in each state.
fn counts(head: &MatrixHead, summary: &RunSummary) -> Markup {
    let states: BTreeSet<_> = summary.modules.iter().flat_map(|module| module.tasks.keys().copied()).collect();
    let of = |name: &ModuleName| summary.modules.iter().find(|module| module.module == *name);
    // Rows do not tell a task that runs, or is on hold, from one that waits for a slot.
    let behind = |state| {
        let of_queued = [ShownState::Queued, ShownState::Running, ShownState::OnHold];
        if state == ShownState::Queued { of_queued.to_vec() } else { vec![state] }
    };
    let link = |module: &ModuleName, state: ShownState| tasks_href(head.run, Some(module.as_str()), &behind(state));
    let heads = html! { th { "Group" } th { "Module" } @for state in &states { th.n { (badge(states::of_task(*state))) @if *state == TaskState::Queued { " or running" } } } };
    let rows = html! {
        @for module in &head.modules {
            tr {
                td { @if let Some(group) = &module.group { (text(group.as_str())) } }
                th scope="row" title=(shown(&module.doc)) { (module.module) }
                @for state in &states {
                    @let count = of(&module.module).and_then(|found| found.tasks.get(state)).copied().unwrap_or(0);
                    td.n { (number(count, &link(&module.module, states::of_task(*state)))) }
                }
            }
        }
    };
    table("Tasks by module and state", heads, rows)
}
