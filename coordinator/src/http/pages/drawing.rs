//! The drawing of a pipeline in a run: a box for every module however many stars there are, conditions drawn apart.

use std::collections::BTreeMap;

use domain::id::RunId;
use domain::text::shown;
use maud::{Markup, html};

use super::graph::{GraphNode, GroupFrame, HEIGHT, Layout, WIDTH, direct};
use super::parts::{Share, digits, duration, is_hatched, percent, said, shares};
use super::states;
use crate::operate::selection::ShownState;
use crate::operate::view::{EdgeKind, ModuleInRun, UpstreamModule};

/// Most letters of a name that fit into a box.
const LETTERS: usize = 20;

/// Draws the modules of a run.
pub(super) fn draw(run: RunId, modules: &[ModuleInRun]) -> Markup {
    let at: BTreeMap<&str, usize> =
        modules.iter().enumerate().map(|(at, module)| (module.module.as_str(), at)).collect();
    let upstream =
        |module: &ModuleInRun| module.upstream.iter().filter_map(|up| at.get(up.module.as_str()).copied()).collect();
    let group = |module: &ModuleInRun| module.group.as_ref().map_or("", |group| group.as_str()).to_owned();
    let nodes: Vec<GraphNode> =
        modules.iter().map(|module| GraphNode { group: group(module), upstream: upstream(module) }).collect();
    let layout = Layout::of(&nodes);
    let direct = direct(&nodes);
    let is_drawn =
        |up: &UpstreamModule, from: usize, to: usize| up.edge == EdgeKind::Condition || direct.contains(&(from, to));
    html! {
        div.dag tabindex="0" role="region" aria-label="The pipeline as a drawing; the table below says the same" {
            svg width=(layout.width) height=(layout.height) viewBox=(format!("0 0 {} {}", layout.width, layout.height)) role="group" {
                @for frame in &layout.frames { (self::frame(frame)) }
                @for (to, module) in modules.iter().enumerate() {
                    @for (number, up) in module.upstream.iter().enumerate() {
                        @if let Some(from) = at.get(up.module.as_str()).filter(|from| is_drawn(up, **from, to)) {
                            path.edge.(class(up.edge)) d=(layout.path(*from, to, lane(number, module.upstream.len()))) {
                                title { (up.module) " → " (module.module) " (" (up.edge) ")" }
                            }
                        }
                    }
                }
                @for (at, module) in modules.iter().enumerate() { (self::module(run, module, layout.boxes[at].x, layout.boxes[at].y)) }
            }
        }
        div.key {
            span { "── reads what the other makes" } span.l-attention { "╌╌ its condition reads what the other makes: so many stars took the branch" } span { "···· only comes after" } span.soft { "Lines that follow from others are left out." }
        }
    }
}

fn class(edge: EdgeKind) -> &'static str {
    match edge {
        EdgeKind::Condition => "condition",
        EdgeKind::Data => "data",
        EdgeKind::Order => "order",
    }
}

/// Where an edge of so many meets its box, from 0 to 1.
fn lane(number: usize, of: usize) -> f64 {
    if of < 2 { 0.5 } else { number as f64 / (of - 1) as f64 }
}

fn frame(frame: &GroupFrame) -> Markup {
    html! {
        rect.frame x=(frame.at.x) y=(frame.at.y) width=(frame.width) height=(frame.height) rx="8" {}
        text.group x=(frame.at.x + 12) y=(frame.at.y + 17) { (shown(&frame.group)) }
    }
}

fn module(run: RunId, module: &ModuleInRun, x: i32, y: i32) -> Markup {
    let count = |state: ShownState| module.tasks.get(&state).copied().unwrap_or(0);
    let failed = count(ShownState::Failed) + count(ShownState::Errored);
    let name = module.module.as_str();
    let label = format!("{name}: {}", said(&module.tasks));
    html! {
        a href=(format!("/runs/{run}/tasks?module={name}")) aria-label=(label) {
            g.off[!module.enabled].bad[failed > 0].held[module.held] transform=(format!("translate({x} {y})")) {
                rect.box width=(WIDTH) height=(HEIGHT) rx="6" {}
                title { (label) @if !module.doc.is_empty() { "\n" (shown(&module.doc)) } @if let Some(condition) = &module.condition { "\nif " (shown(condition)) } }
                text.name x="10" y="17" { (cut(name)) }
                @if !module.enabled { text.small x=(WIDTH - 10) y="17" text-anchor="end" { "off" } }
                @else if module.held { text.small x=(WIDTH - 10) y="17" text-anchor="end" { "h held" } }
                (bar(module))
                text.small x="10" y="44" { (places(module)) }
                @if module.condition.is_some() { text.split x="10" y="59" { (split(module)) } }
                @if failed > 0 { text.wrong x=(WIDTH - 10) y="59" text-anchor="end" { "F " (digits(failed)) " · " (share_failed(module)) } }
            }
        }
    }
}

/// The bar of states inside a box.
fn bar(module: &ModuleInRun) -> Markup {
    let (left, width) = (10.0, f64::from(WIDTH - 20));
    html! {
        @for Share { state, from, width: share } in shares(&module.tasks) {
            @let (x, w) = (left + from * width / 100.0, share * width / 100.0);
            rect.(states::class(state)) x=(format!("{x:.1}")) y="23" width=(format!("{w:.1}")) height="9" {}
            @if is_hatched(state) { rect fill="url(#hatch)" x=(format!("{x:.1}")) y="23" width=(format!("{w:.1}")) height="9" {} }
        }
    }
}

/// What goes on in a module, in a line.
fn places(module: &ModuleInRun) -> String {
    let mut parts = Vec::new();
    for (state, word) in
        [(ShownState::Running, "running"), (ShownState::Queued, "ready"), (ShownState::Waiting, "waiting")]
    {
        parts.extend(module.tasks.get(&state).map(|count| format!("{} {word}", digits(*count))));
    }
    parts.extend(module.seconds.map(duration));
    if parts.is_empty() {
        let all: u64 = module.tasks.values().sum();
        let done: u64 =
            module.tasks.iter().filter(|(state, _)| state.settled().is_some()).map(|(_, count)| count).sum();
        parts.push(format!("{} of {} done", digits(done), digits(all)));
    }
    parts.join(" · ")
}

/// How many stars took a branch, and how many did not.
fn split(module: &ModuleInRun) -> String {
    let count = |states: &[ShownState]| states.iter().filter_map(|state| module.tasks.get(state)).sum::<u64>();
    let took = count(&[ShownState::Succeeded, ShownState::Failed, ShownState::Errored, ShownState::Running]);
    format!("◇ {} took it, {} not", digits(took), digits(count(&[ShownState::Skipped])))
}

fn cut(name: &str) -> String {
    if name.chars().count() <= LETTERS {
        name.to_owned()
    } else {
        format!("{}…", name.chars().take(LETTERS - 1).collect::<String>())
    }
}

/// The share of tasks that ended in failure, of those that were tried.
pub(super) fn share_failed(module: &ModuleInRun) -> String {
    let count = |state| module.tasks.get(&state).copied().unwrap_or(0);
    let failed = count(ShownState::Failed) + count(ShownState::Errored);
    percent(failed, failed + count(ShownState::Succeeded))
}
