//! `sas star lineage` as a tree, either way, and as a graph.

use std::collections::BTreeSet;

use coordinator::operate::star::{Descendant, Descent, HowMade, Lineage, LineageNode, LineageOrigin};
use domain::id::Quarter;
use domain::outcome::UsedResources;
use domain::text::{moment, shown};
use services::clock::off_words;

/// A line per product, what it was made from below it.
pub(super) fn tree(found: &Lineage) -> String {
    let mut text = format!("{} {}, generation {}\n", found.star, found.quarter, found.generation);
    branch(&found.product, "", "", &mut text);
    if let Some(reason) = &found.product.not_produced {
        text += &format!("\nthere is no such product: {}\n", shown(reason));
    }
    if let LineageOrigin::Made { how, .. } = &found.product.origin {
        text += &made(how);
    }
    if found.left_out > 0 {
        text += &format!("{} results more are not shown\n", found.left_out);
    }
    text
}

/// `first` stands before the node's line, `rest` before those below it.
fn branch(node: &LineageNode, first: &str, rest: &str, text: &mut String) {
    *text += &format!("{first}{}  {}\n", called(node), origin(node));
    let inputs = inputs(node);
    for (at, input) in inputs.iter().enumerate() {
        let [first, below] = if at + 1 == inputs.len() { ["└─ ", "   "] } else { ["├─ ", "│  "] };
        branch(input, &format!("{rest}{first}"), &format!("{rest}{below}"), text);
    }
}

/// What a product is called among the inputs of a module.
fn called(node: &LineageNode) -> String {
    match node.quarter {
        Some(quarter) => format!("{}@previous ({quarter})", node.product),
        None => node.product.to_string(),
    }
}

/// How the product itself was made.
fn made(how: &HowMade) -> String {
    let mut rows = vec![
        ("command", how.command.join(" ")),
        ("contract", how.contract.clone()),
        ("pipeline", how.version.clone()),
        ("parameters", json(&how.parameters)),
        ("environment", json(&how.environment)),
        ("seed", how.seed.clone()),
        ("conditions", json(&how.conditions)),
        ("attempt", format!("{} on {} ({})", how.attempt, how.worker, how.host)),
        ("began", moment(how.began)),
        ("used", used(&how.used)),
        ("exit code", how.exit_code.map_or("not on record".to_owned(), |code| code.to_string())),
        ("log", how.log.clone()),
    ];
    if how.clock_ahead != 0 {
        rows.push(("clock", format!("{}: the times above are wrong by that", off_words(how.clock_ahead))));
    }
    rows.extend(how.warnings.iter().map(|warning| ("warning", warning.clone())));
    rows.into_iter().map(|(name, value)| format!("  {name:<11} {}\n", shown(&value))).collect()
}

/// A map in one line.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What a program used, in words.
fn used(used: &UsedResources) -> String {
    let UsedResources { cpu_ms, peak_memory, read, written, at_least } = *used;
    let or_not = |value: Option<String>| value.unwrap_or_else(|| "not measured".to_owned());
    let bytes = |value: Option<u64>| or_not(value.map(|value| format!("{:.1} MB", value as f64 / 1e6)));
    let cpu = or_not(cpu_ms.map(|millis| format!("{:.2} s", millis as f64 / 1e3)));
    let least = if at_least { "at least: " } else { "" };
    format!(
        "{least}CPU {cpu}, memory {}, read from disks {}, written {}",
        bytes(peak_memory),
        bytes(read),
        bytes(written)
    )
}

/// What was made from a product, a line per result.
pub(super) fn down(found: &Descent) -> String {
    let Descent { star, quarter, generation, product, digest, made, left_out } = found;
    let mut text = format!("{star} {quarter}, generation {generation}\n{product}  digest {:.12}\n", digest.to_string());
    results(made, "", &mut text);
    if made.is_empty() {
        text += "nothing was made from it\n";
    }
    if *left_out > 0 {
        text += &format!("{left_out} results more could not be looked at\n");
    }
    text
}

/// `before` stands before the lines of all of them.
fn results(made: &[Descendant], before: &str, text: &mut String) {
    for (at, result) in made.iter().enumerate() {
        let [first, below] = if at + 1 == made.len() { ["└─ ", "   "] } else { ["├─ ", "│  "] };
        let Descendant { quarter, module, key, run, ended, products, as_above, made } = result;
        let names: Vec<String> = products.keys().map(ToString::to_string).collect();
        let above = if *as_above && !products.is_empty() { ", as above" } else { "" };
        let key = format!("{:.12}", key.to_string());
        let (made_by, when) = (format!("{quarter} {module}"), moment(*ended));
        *text += &format!("{before}{first}{made_by}: {}  key {key}, run {run}, {when}{above}\n", names.join(", "));
        results(made, &format!("{before}{below}"), text);
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
    let short = |digest: domain::id::Digest| format!("{:.12}", digest.to_string());
    let mut digest = node.digest.map(|digest| format!(", digest {}", short(digest))).unwrap_or_default();
    if let Some(before) = &node.stands_for {
        digest += &format!(", stands for {} (within {})", short(before.digest), before.within);
    }
    if let Some(made) = node.instead_of {
        digest += &format!(", in place of {}, which stands for it", short(made));
    }
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
    edges(&found.product, None, &mut lines);
    let lines: Vec<String> = lines.into_iter().collect();
    format!("digraph lineage {{\n  rankdir = LR;\n{}\n}}", lines.join("\n"))
}

/// `earlier` is the quarter of the product, where that is not the one of the product that was asked for.
fn edges(node: &LineageNode, earlier: Option<Quarter>, lines: &mut BTreeSet<String>) {
    let name = named_in_graph(node, earlier);
    lines.insert(format!("  {name};"));
    for input in inputs(node).iter().filter(|input| input.digest.is_some()) {
        let earlier = input.quarter.or(earlier);
        lines.insert(format!("  {} -> {name};", named_in_graph(input, earlier)));
        edges(input, earlier, lines);
    }
}

/// A product of an earlier quarter is another node than the one of this quarter.
fn named_in_graph(node: &LineageNode, earlier: Option<Quarter>) -> String {
    let is_of = |quarter: &Quarter| node.file.as_deref().is_some_and(|file| file.starts_with(&format!("{quarter}/")));
    let product = match earlier.filter(is_of) {
        Some(quarter) => format!("{} {quarter}", node.product),
        None => node.product.to_string(),
    };
    match &node.origin {
        LineageOrigin::Made { module, .. } | LineageOrigin::Above { module, .. } => {
            format!("{:?}", format!("{product}\n{module}"))
        }
        LineageOrigin::Delivered { dataset, sequence } => format!("{:?}", format!("{product}\n{dataset} {sequence}")),
        LineageOrigin::Absent { .. } | LineageOrigin::Unknown { .. } => format!("{product:?}"),
    }
}
