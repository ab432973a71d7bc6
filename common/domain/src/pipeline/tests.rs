//! What a definition may say, every mistake that it may have, and the definitions that are shipped.

mod mistakes;

use super::*;
use crate::id::GroupName;
use crate::product::Origin;
use crate::run::{Formula, Node};

/// Everything that a definition can say.
const FULL: &str = include_str!("tests/full.toml");
const MODEL: &str = include_str!("tests/full-products.toml");

#[test]
fn a_definition_says_what_it_says() {
    let pipeline = full();
    assert_eq!((pipeline.name.as_str(), pipeline.version.as_str()), ("FULL", "1.4.0-rc.1"));
    assert_eq!(pipeline.trigger.plain().unwrap().as_str(), "l1/lightcurve");
    assert_eq!(pipeline.classes[&"heavy".parse().unwrap()], Class { cpus: 0.5, memory: 8_000_000_000 });
    let bag = module(&pipeline, "MSAP3_04");
    assert_eq!(
        (bag.group.as_ref().unwrap().as_str(), bag.image.as_str()),
        ("MSAP3", "registry.example/sas/msap3_04:2.1")
    );
    assert_eq!(bag.command, ["peakbag"]);
    assert_eq!(bag.environment["NWALKERS"], "100");
    assert_eq!(
        serde_json::json!(bag.parameters),
        serde_json::json!({ "steps": 5000, "priors": { "width": [0.1, 9.0] } })
    );
    assert_eq!((bag.class.as_str(), bag.memory), ("heavy", 6 << 30));
    assert_eq!((bag.time_limit.as_secs(), bag.mode), (3 * 3600, Mode::Serve));
    assert_eq!(bag.retry, Retry { max_attempts: 5, backoff: Duration::from_secs(90) });
    assert_eq!(bag.retry_on, BTreeSet::from([75, 3]));
    assert_eq!(bag.run_if.as_ref().unwrap().text(), "P.IDP_SAS_SEISMIC_DETECTION_FLAG.peakbagging_flag");
}

#[test]
fn what_is_not_said_has_a_default() {
    let bare = "name = 'P'\nversion = '1'\ntrigger = 'l1/lc'\n[modules.A]\nimage = 'a'\n";
    let pipeline = load("bare.toml", bare, None).unwrap();
    let bare = module(&pipeline, "A");
    assert_eq!((bare.class.as_str(), bare.memory, bare.time_limit.as_secs()), ("default", 1_000_000_000, 3600));
    assert_eq!(pipeline.classes[&bare.class], Class { cpus: 1.0, memory: 1_000_000_000 });
    assert_eq!(bare.retry, Retry { max_attempts: 3, backoff: Duration::from_secs(30) });
    assert_eq!((bare.mode, bare.enabled, bare.trigger_rule), (Mode::Oneshot, true, None));
    assert!(bare.group.is_none() && bare.retry_on.is_empty() && bare.upstream.is_empty());
}

#[test]
fn modules_stand_in_topological_order_and_by_name() {
    let pipeline = full();
    let names: Vec<&str> = pipeline.modules.iter().map(|module| module.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "ALARM", "MSAP3_03", "MSAP2_00", "MSAP3_04", "MSAP2_01", "MSAP1_04", "MSAP4_07", "MSAP5_13", "MSAP5_14",
            "MSAP5_21", "MSAP5_32", "MSAP5_34"
        ],
        "a row has one byte per module in this order: it must never change"
    );
    for (index, module) in pipeline.indexed() {
        assert!(module.upstream.iter().all(|up| *up < index), "{}", module.name);
        assert_eq!(pipeline.index_of(&module.name), Some(index));
    }
}

#[test]
fn edges_follow_from_inputs_of_all_kinds_conditions_and_order() {
    let pipeline = full();
    let upstream = |name: &str| {
        let names = module(&pipeline, name).upstream.iter().map(|up| pipeline.module(*up).name.as_str());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(upstream("MSAP3_03"), "", "what is switched off is not waited for");
    assert_eq!(upstream("MSAP3_04"), "MSAP3_03", "a mandatory input and a condition");
    assert_eq!(upstream("MSAP2_01"), "MSAP3_03 MSAP2_00 MSAP3_04", "alternatives, conditions, and `after` alone");
    assert_eq!(upstream("MSAP5_13"), "MSAP3_03 MSAP3_04 MSAP2_01", "an optional input");
    assert_eq!(upstream("MSAP5_21"), "MSAP3_03 MSAP4_07", "a conditional input and its condition");
    assert_eq!(upstream("MSAP4_07"), "", "the quarter before makes no edge");
    assert_eq!(upstream("MSAP5_32"), "MSAP5_13 MSAP5_14");
}

#[test]
fn inputs_know_where_they_come_from() {
    let pipeline = full();
    let inputs = &module(&pipeline, "MSAP2_01").inputs;
    let text: Vec<Vec<String>> = inputs
        .one_of
        .iter()
        .map(|list| list.iter().map(|source| format!("{source} {:?}", source.origin)).collect())
        .collect();
    let (seismic, gravity) =
        (pipeline.index_of(&"MSAP3_03".parse().unwrap()), pipeline.index_of(&"MSAP2_00".parse().unwrap()));
    assert_eq!(
        text,
        [
            vec![
                format!("DP3_SAS_NU_MAX Module({:?})", seismic.unwrap()),
                format!("IDP_SAS_LOGG_FLIPER Module({:?})", gravity.unwrap())
            ],
            vec!["IDP_SAS_TEFF_SAPP@previous Previous".to_owned(), "IDP_PFU_TEFF_SAPP StarExternal".to_owned()],
        ]
    );
    assert_eq!(module(&pipeline, "MSAP5_13").inputs.mandatory[1].origin, Origin::SharedExternal);
}

#[test]
fn messy_names_and_other_spellings_survive() {
    let pipeline = full();
    let outputs: Vec<&str> = module(&pipeline, "MSAP2_01").outputs.products().map(ProductName::as_str).collect();
    assert_eq!(outputs, ["IDP_SAS_TEFF_SAPP", "IDP_SAS_FE_H_SAPP", "trailing "], "an alias means its product");
    let scaling = module(&pipeline, "MSAP5_14");
    assert_eq!(scaling.inputs.mandatory[0].product.as_str(), "IDP_SAS_FE_H_SAPP");
    assert_eq!(scaling.inputs.mandatory[1].product.as_str(), "trailing ");
    let reads: Vec<String> = scaling.run_if.as_ref().unwrap().reads().iter().map(ToString::to_string).collect();
    assert_eq!(reads[3], "IDP_SAS_FE_H_SAPP.a b/c ", "of the data model's other spelling, too");
    assert_eq!(pipeline.model.products[&"IDP_SAS_FE_H_SAPP".parse().unwrap()].columns.len(), 2);
}

#[test]
fn the_graph_knows_what_states_decide() {
    let pipeline = full();
    let at = |name: &str| pipeline.index_of(&name.parse().unwrap()).unwrap();
    let graph = pipeline.graph();
    let node = |name: &str| -> &Node { &graph.nodes[at(name).at()] };
    let Rule::Contract(needs) = &node("MSAP3_03").rule else { panic!("not by contract") };
    assert_eq!((&needs.run_if, &needs.mandatory), (&None, &vec![at("MSAP1_04")]), "switched off, but needed");
    let Rule::Contract(needs) = &node("MSAP2_01").rule else { panic!("not by contract") };
    let either = |a, b| Formula::Or(Box::new(Formula::Term(vec![a])), Box::new(Formula::Term(vec![b])));
    assert_eq!(needs.run_if, Some(either(at("MSAP3_03"), at("MSAP2_00"))));
    assert!(!node("MSAP1_04").enabled);
    let Rule::Airflow(rule, needed) = &node("ALARM").rule else { panic!("by contract") };
    assert_eq!((*rule, needed.len()), (TriggerRule::OneFailed, 0));
    let Rule::Airflow(rule, needed) = &node("MSAP5_34").rule else { panic!("by contract") };
    assert_eq!((*rule, needed), (TriggerRule::OneSuccess, &vec![at("MSAP5_32")]));
}

#[test]
fn the_texts_that_a_run_keeps_give_the_same_pipeline() {
    let pipeline = full();
    let again = load("store", &pipeline.definition, Some(&pipeline.data_model)).unwrap();
    assert_eq!(format!("{again:?}"), format!("{pipeline:?}"));
}

#[test]
fn drawings_show_groups_conditions_and_what_is_off() {
    let pipeline = full();
    let dot = draw::dot(&pipeline);
    assert!(dot.starts_with("digraph \"FULL\" {\n"), "{dot}");
    assert_eq!(dot.matches("subgraph cluster_").count(), 5, "ALARM has no group");
    assert!(dot.contains("  \"ALARM\" [label=\"ALARM\\nDoc with \\\"quotes\\\" <&>\"];\n"), "{dot}");
    assert!(dot.contains("\"MSAP1_04\" [label=\"MSAP1_04\\n(switched off)\", style=\"rounded,dashed\"];"), "{dot}");
    assert!(dot.contains("  \"MSAP3_03\" -> \"MSAP3_04\";\n"), "{dot}");
    assert!(dot.contains("\\nif any(\\\"IDP_SAS_CONSISTENCY_FLAGS\\\")"), "{dot}");
    assert!(
        dot.contains("  \"MSAP1_04\" -> \"MSAP3_03\" [style=dashed];\n"),
        "a void edge shows what is missing: {dot}"
    );
    assert!(dot.ends_with("}\n"));
    let mermaid = draw::mermaid(&pipeline);
    assert!(mermaid.starts_with("flowchart LR\n"), "{mermaid}");
    assert!(mermaid.contains("  m0[\"ALARM<br/>Doc with #quot;quotes#quot; #lt;#38;#gt;\"]\n"), "{mermaid}");
    assert!(mermaid.contains("  m1 --> m3\n") && mermaid.contains("  m5 -.-> m1\n"), "{mermaid}");
    assert!(mermaid.contains("  style m5 stroke-dasharray: 4\n"), "{mermaid}");
    assert_eq!(mermaid.matches("subgraph").count(), mermaid.matches("  end\n").count());
}

fn full() -> Pipeline {
    load("full.toml", FULL, Some(MODEL)).unwrap_or_else(|error| panic!("{error}"))
}

fn module<'a>(pipeline: &'a Pipeline, name: &str) -> &'a Module {
    pipeline.modules.iter().find(|module| module.name.as_str() == name).unwrap()
}

/// A → B → D, A → C; C after B. A and B are of group one, C and D of group two; E alone, and F switched off.
#[test]
fn a_limited_pipeline_runs_a_group_and_what_is_upstream_of_it() {
    let module = |name: &str, group: &str, rest: &str| {
        format!(
            "[modules.{name}]\nimage = 'i'\nclass = 'default'\ngroup = '{group}'\ntime_limit = '1m'\n\
             outputs.mandatory = ['P{name}']\n{rest}\n"
        )
    };
    let head = "name = 'P'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[classes.default]\ncpus = 1\nmemory = '1GB'\n";
    let text = [
        head.to_owned(),
        module("A", "one", ""),
        module("B", "one", "inputs.mandatory = ['PA']"),
        module("C", "two", "inputs.mandatory = ['PA']\nafter = ['B']"),
        module("D", "three", "inputs.mandatory = ['PB']"),
        module("E", "two", ""),
        module("F", "two", "enabled = false"),
    ]
    .concat();
    let whole = load("p.toml", &text, None).unwrap();
    assert_eq!(whole.groups().into_iter().map(GroupName::as_str).collect::<Vec<_>>(), ["one", "three", "two"]);
    for (group, runs) in [("one", "A B"), ("two", "A B C E"), ("three", "A B D")] {
        let limited = whole.clone().limited_to(&group.parse().unwrap());
        let names = |wanted: fn(&Module) -> bool| -> Vec<String> {
            let mut names: Vec<String> =
                limited.modules.iter().filter(|module| wanted(module)).map(|module| module.name.to_string()).collect();
            names.sort();
            names
        };
        assert_eq!(names(|module| module.enabled).join(" "), runs, "{group}");
        assert_eq!(names(|module| module.outside_of.is_some()).len(), 5 - runs.split(' ').count(), "F is off anyway");
        assert_eq!(limited.modules.len(), whole.modules.len(), "positions stay");
    }
}
