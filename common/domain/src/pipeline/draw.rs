//! Drawings of a pipeline: Graphviz DOT and Mermaid. Modules by group, conditions below their names, what is switched off
//! and what waits for it in vain dashed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Module, Pipeline};
use crate::expression::Expression;
use crate::id::{GroupName, ModuleIndex};

/// The graph in the language of Graphviz.
pub fn dot(pipeline: &Pipeline) -> String {
    let name = quoted(pipeline.name.as_str());
    let mut text = format!("digraph {name} {{\n  rankdir=LR;\n  node [shape=box, style=rounded];\n");
    for (number, (group, modules)) in groups(pipeline).into_iter().enumerate() {
        let indent = if group.is_empty() { "  " } else { "    " };
        if !group.is_empty() {
            let _ = writeln!(text, "  subgraph cluster_{number} {{\n    label={};", quoted(group));
        }
        for (_, module) in modules {
            let style = if module.enabled { "" } else { ", style=\"rounded,dashed\"" };
            let (name, label) = (quoted(module.name.as_str()), quoted(&label(module)));
            let _ = writeln!(text, "{indent}{name} [label={label}{style}];");
        }
        if !group.is_empty() {
            text.push_str("  }\n");
        }
    }
    for (from, to, is_void) in edges(pipeline) {
        let (from, to) = (quoted(pipeline.module(from).name.as_str()), quoted(pipeline.module(to).name.as_str()));
        let style = if is_void { " [style=dashed]" } else { "" };
        let _ = writeln!(text, "  {from} -> {to}{style};");
    }
    text.push_str("}\n");
    text
}

/// The graph in the language of Mermaid.
pub fn mermaid(pipeline: &Pipeline) -> String {
    let mut text = "flowchart LR\n".to_owned();
    for (number, (group, modules)) in groups(pipeline).into_iter().enumerate() {
        let indent = if group.is_empty() { "  " } else { "    " };
        if !group.is_empty() {
            let _ = writeln!(text, "  subgraph g{number} [\"{}\"]", entities(group));
        }
        for (index, module) in modules {
            let _ = writeln!(text, "{indent}m{}[\"{}\"]", index.0, entities(&label(module)));
        }
        if !group.is_empty() {
            text.push_str("  end\n");
        }
    }
    for (from, to, is_void) in edges(pipeline) {
        let arrow = if is_void { "-.->" } else { "-->" };
        let _ = writeln!(text, "  m{} {arrow} m{}", from.0, to.0);
    }
    for (index, _) in pipeline.indexed().filter(|(_, module)| !module.enabled) {
        let _ = writeln!(text, "  style m{} stroke-dasharray: 4", index.0);
    }
    text
}

fn groups(pipeline: &Pipeline) -> BTreeMap<&str, Vec<(ModuleIndex, &Module)>> {
    let mut groups: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (index, module) in pipeline.indexed() {
        groups.entry(module.group.as_ref().map_or("", GroupName::as_str)).or_default().push((index, module));
    }
    groups
}

/// All edges, and whether the module at the beginning is switched off, so that nobody waits for it.
fn edges(pipeline: &Pipeline) -> impl Iterator<Item = (ModuleIndex, ModuleIndex, bool)> {
    pipeline.indexed().flat_map(|(to, module)| {
        let from = named(module).into_iter();
        from.map(move |from| (from, to, !module.upstream.contains(&from)))
    })
}

/// Every module that this one names, switched off or not.
fn named(module: &Module) -> BTreeSet<ModuleIndex> {
    let inputs = &module.inputs;
    let conditions = module.run_if.iter().chain(inputs.conditional.iter().map(|input| &input.when));
    let read = conditions.flat_map(Expression::reads).map(|read| &read.source);
    let declared = inputs.mandatory.iter().chain(&inputs.optional).chain(inputs.one_of.iter().flatten());
    let conditional = inputs.conditional.iter().map(|input| &input.source);
    let producers = declared.chain(conditional).chain(read).filter_map(super::Source::producer);
    producers.chain(module.after.iter().copied()).collect()
}

fn label(module: &Module) -> String {
    let mut lines = vec![module.name.to_string()];
    lines.extend((!module.doc.is_empty()).then(|| module.doc.clone()));
    if let Some(condition) = &module.run_if {
        let condition = condition.text().split_whitespace().collect::<Vec<_>>().join(" ");
        lines.push(format!("if {}", condition.replace(" && ", "\n&& ").replace(" || ", "\n|| ")));
    }
    lines.extend((!module.enabled).then(|| "(switched off)".to_owned()));
    lines.join("\n")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Text in a Mermaid label; `#` begins an entity there.
fn entities(text: &str) -> String {
    let entity = |c: char| match c {
        '#' => "#35;".to_owned(),
        '&' => "#38;".to_owned(),
        '"' => "#quot;".to_owned(),
        '<' => "#lt;".to_owned(),
        '>' => "#gt;".to_owned(),
        '\n' => "<br/>".to_owned(),
        other => other.to_string(),
    };
    text.chars().map(entity).collect()
}
