//! The pipeline as one star went through it: every module with its state, in the place that it has for all stars.

use std::collections::{BTreeMap, BTreeSet};

use domain::id::ModuleName;
use maud::{Markup, html};

use super::{state_of, task_anchor};
use crate::http::pages::graph::{GraphNode, HEIGHT, Layout, WIDTH};
use crate::http::pages::parts::{duration, is_hatched};
use crate::http::pages::states;
use crate::operate::view::{StarSummary, TaskSummary};

/// Characters of a reason that a box has room for.
const ROOM: usize = 22;

/// The drawing; each box leads to the row of its module.
pub(super) fn drawing(star: &StarSummary) -> Markup {
    let at: BTreeMap<&ModuleName, usize> = star.tasks.iter().zip(0..).map(|(task, at)| (&task.module, at)).collect();
    let upstream = |task: &TaskSummary| task.upstream.iter().filter_map(|name| at.get(name).copied()).collect();
    let nodes: Vec<GraphNode> =
        star.tasks.iter().map(|task| GraphNode { group: task.group.clone(), upstream: upstream(task) }).collect();
    let layout = Layout::of(&nodes);
    let edges = without_detours(&nodes);
    html! {
        div.dag tabindex="0" role="region" aria-label="The pipeline as the star went through it" {
            svg width=(layout.width) height=(layout.height) viewBox=(format!("0 0 {} {}", layout.width, layout.height)) {
                @for frame in &layout.frames {
                    rect.frame x=(frame.at.x) y=(frame.at.y) width=(frame.width) height=(frame.height) rx="6" {}
                    text.group x=(frame.at.x + 10) y=(frame.at.y + 16) { (domain::text::shown(&frame.group)) }
                }
                @for (to, upstream) in edges.iter().enumerate() {
                    @for (lane, from) in upstream.iter().enumerate() {
                        path.edge d=(layout.path(*from, to, (lane as f64 + 0.5) / upstream.len() as f64)) {}
                    }
                }
                @for (task, spot) in star.tasks.iter().zip(&layout.boxes) { (module(task, spot.x, spot.y)) }
            }
        }
    }
}

fn module(task: &TaskSummary, x: i32, y: i32) -> Markup {
    let state = state_of(task);
    let took = if task.millis > 0 { format!(", {}", duration(task.millis as f64 / 1e3)) } else { String::new() };
    let again = if task.attempt.0 > 1 { format!(", try {}", task.attempt) } else { String::new() };
    let said = format!("{}{again}{took}", states::word(state));
    let why = short(task);
    html! {
        a href=(task_anchor(&task.module)) aria-label=(format!("{}: {said}", task.module)) {
            g.bad[is_hatched(state)] {
                title { (task.module) ": " (said) @if !why.is_empty() { "\n" (domain::text::shown(&task.reason)) } }
                rect.box x=(x) y=(y) width=(WIDTH) height=(HEIGHT) rx="4" {}
                rect.(states::class(state)) x=(x + 1) y=(y + 1) width="18" height=(HEIGHT - 2) rx="3" {}
                text.letter-in-box x=(x + 10) y=(y + HEIGHT / 2 + 4) text-anchor="middle" { (states::letter(state)) }
                text.name x=(x + 26) y=(y + 20) { (task.module) }
                text x=(x + 26) y=(y + 37) { (said) }
                @if !why.is_empty() { text.small x=(x + 26) y=(y + 54) { (why) } }
            }
        }
    }
}

/// As much of the reason as there is room for, without the state that stands above it.
fn short(task: &TaskSummary) -> String {
    let state = task.state.to_string();
    let words = state.replace('_', " ");
    let reason = [&state, &words].into_iter().find_map(|said| task.reason.strip_prefix(said.as_str()));
    let reason = reason.unwrap_or(&task.reason).trim_start_matches([':', ' ']);
    let shown = domain::text::shown(reason);
    if shown.chars().count() <= ROOM {
        shown.into_owned()
    } else {
        shown.chars().take(ROOM - 1).chain(['…']).collect()
    }
}

/// What each module needs, without what stands above it by way of others anyway: so many lines nobody could follow.
fn without_detours(nodes: &[GraphNode]) -> Vec<Vec<usize>> {
    let mut above: Vec<BTreeSet<usize>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let before = node.upstream.iter().filter_map(|up| above.get(*up));
        above.push(before.flatten().chain(&node.upstream).copied().collect());
    }
    let is_direct = |node: &GraphNode, from: usize| {
        !node.upstream.iter().any(|other| above.get(*other).is_some_and(|above| above.contains(&from)))
    };
    nodes.iter().map(|node| node.upstream.iter().copied().filter(|from| is_direct(node, *from)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_that_other_edges_say_already_are_left_out() {
        let needs = [&[][..], &[0], &[0, 1], &[0, 2], &[1]];
        let nodes: Vec<GraphNode> =
            needs.iter().map(|needs| GraphNode { group: String::new(), upstream: needs.to_vec() }).collect();
        assert_eq!(without_detours(&nodes), [vec![], vec![0], vec![1], vec![2], vec![1]]);
    }
}
