//! `sas star lineage` as a tree, and as a graph.

use std::collections::BTreeSet;

use coordinator::operate::star::{Lineage, LineageNode, LineageOrigin};
use domain::text::moment;

/// A line per product, what it was made from below it.
pub(super) fn tree(found: &Lineage) -> String {
    let mut text = format!("{} {}, generation {}\n", found.star, found.quarter, found.generation);
    branch(&found.product, "", "", &mut text);
    if found.left_out > 0 {
        text += &format!("{} results more are not shown\n", found.left_out);
    }
    text
}

/// `first` stands before the node's line, `rest` before those below it.
fn branch(node: &LineageNode, first: &str, rest: &str, text: &mut String) {
    *text += &format!("{first}{}  {}\n", node.product, origin(node));
    let inputs = inputs(node);
    for (at, input) in inputs.iter().enumerate() {
        let [first, below] = if at + 1 == inputs.len() { ["└─ ", "   "] } else { ["├─ ", "│  "] };
        branch(input, &format!("{rest}{first}"), &format!("{rest}{below}"), text);
    }
}

fn inputs(node: &LineageNode) -> &[LineageNode] {
    match &node.origin {
        LineageOrigin::Made { inputs, .. } => inputs,
        LineageOrigin::Above { .. }
        | LineageOrigin::Delivered { .. }
        | LineageOrigin::Absent { .. }
        | LineageOrigin::Unknown { .. } => &[],
    }
}

fn origin(node: &LineageNode) -> String {
    let digest = node.digest.map(|digest| format!(", digest {:.12}", digest.to_string())).unwrap_or_default();
    let file = node.file.as_deref().unwrap_or("no file");
    match &node.origin {
        LineageOrigin::Made { module, image, image_identity, key, run, made, .. } => format!(
            "by {module} ({image} = {image_identity}), key {:.12}, run {run}, {}{digest}",
            key.to_string(),
            moment(*made)
        ),
        LineageOrigin::Above { module, key } => format!("by {module}, key {:.12}, as above{digest}", key.to_string()),
        LineageOrigin::Delivered { dataset, sequence } => format!("delivered: {dataset} {sequence}, {file}{digest}"),
        LineageOrigin::Absent { why } => format!("absent: {why}"),
        LineageOrigin::Unknown { why } => format!("unknown: {why}{digest}"),
    }
}

/// The same for Graphviz: products and what they were made from.
pub(super) fn graph(found: &Lineage) -> String {
    let mut lines = BTreeSet::new();
    edges(&found.product, &mut lines);
    let lines: Vec<String> = lines.into_iter().collect();
    format!("digraph lineage {{\n  rankdir = LR;\n{}\n}}", lines.join("\n"))
}

fn edges(node: &LineageNode, lines: &mut BTreeSet<String>) {
    let name = |node: &LineageNode| match &node.origin {
        LineageOrigin::Made { module, .. } | LineageOrigin::Above { module, .. } => {
            format!("{:?}", format!("{}\n{module}", node.product))
        }
        LineageOrigin::Delivered { dataset, sequence } => {
            format!("{:?}", format!("{}\n{dataset} {sequence}", node.product))
        }
        LineageOrigin::Absent { .. } | LineageOrigin::Unknown { .. } => format!("{:?}", node.product.as_str()),
    };
    lines.insert(format!("  {};", name(node)));
    for input in inputs(node).iter().filter(|input| input.digest.is_some()) {
        lines.insert(format!("  {} -> {};", name(input), name(node)));
        edges(input, lines);
    }
}
