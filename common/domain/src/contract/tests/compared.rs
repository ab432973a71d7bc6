//! Two definitions side by side.

use crate::contract::compare;
use crate::pipeline::{Pipeline, load, load_after};

/// A makes X and Y, B of another group reads X, C reads Y if it is there.
const PIPELINE: &str = r#"
name = 'P'
version = '1'
data_model = 'm.toml'
trigger = 'l1/lc'
[externals]
star = ['LC']
[classes.default]
cpus = 1
memory = '1GB'
[modules.A]
group = 'ONE'
image = 'a:1'
class = 'default'
time_limit = '1m'
inputs.mandatory = ['LC']
outputs.mandatory = ['X', 'Y']
[modules.B]
group = 'TWO'
image = 'b:1'
class = 'default'
time_limit = '1m'
inputs.mandatory = ['X']
outputs.mandatory = ['Z']
[modules.C]
group = 'ONE'
image = 'c:1'
class = 'default'
time_limit = '1m'
inputs.optional = ['Y']
outputs.mandatory = ['W']
"#;

const MODEL: &str =
    "[products.X.columns.nu]\ntype = 'float'\nndim = 0\nunit = 'uHz'\n[products.X.columns.n]\ntype = 'int'\nndim = 1\n";

fn pipeline(text: &str, model: &str) -> Pipeline {
    load("p.toml", text, Some(model)).unwrap()
}

/// Products that are others, and modules that break and that are adapted, when `from` is `to`.
fn check(from: &str, to: &str) -> (String, String, String) {
    let both = format!("{PIPELINE}\u{0}{MODEL}");
    assert!(both.contains(from), "{from}");
    let changed = both.replace(from, to);
    let (text, model) = changed.split_once('\u{0}').unwrap();
    let difference = compare(&pipeline(PIPELINE, MODEL), &pipeline(text, model));
    let products = difference.products.iter().map(|of| format!("{} {}", of.product, of.change.words()));
    let names = |all: &[super::super::ConcernedModule]| {
        all.iter().map(|of| of.module.to_string()).collect::<Vec<_>>().join(" ")
    };
    (products.collect::<Vec<_>>().join("; "), names(&difference.breaks), names(&difference.adapted))
}

#[test]
fn what_is_other_of_a_product_breaks_who_reads_it_and_is_as_it_was() {
    for (from, to, words, breaks) in [
        ("a:1", "a:2", "", ""),
        ("'X', 'Y'", "'X', 'Y', 'V'", "V is new", ""),
        ("unit = 'uHz'", "unit = 'Hz'", "X column nu is in Hz, not uHz", "B"),
        ("ndim = 1", "ndim = 2", "X column n has 2 dimensions, not 1", "B"),
        ("type = 'int'", "type = 'float'", "X column n is float, not int", "B"),
        ("type = 'float'", "type = 'int'", "X column nu is int, not float", ""),
        (MODEL, "", "X has no columns in the data model any more: it is not looked into", ""),
        (
            "[products.X.columns.n]\n",
            "[products.X.columns.m]\n",
            "X has no column n any more; X has a new column m",
            "B",
        ),
        ("ndim = 1", "ndim = 1\noptional = true", "X may miss its column n; it had it always", "B"),
        ("['X', 'Y']", "['X']\noutputs.optional = ['Y']", "Y may be missing; it was in every success", ""),
        ("['X', 'Y']", "['Y']\noutputs.nullable = ['X']", "X may be missing; it was in every success", "B"),
        ("['LC']\n[classes", "['LC', 'X2']\n[classes", "X2 is new", ""),
    ] {
        assert_eq!(check(from, to), (words.to_owned(), breaks.to_owned(), String::new()), "{from} is {to}");
    }
}

/// Read in every way that there is: as an input, in a condition, and of the quarter before.
#[test]
fn what_vanishes_breaks_who_still_reads_it_though_the_definition_runs_nowhere() {
    let text = PIPELINE.replace(
        "[modules.C]",
        "[modules.D]\nimage = 'd:1'\nclass = 'default'\ntime_limit = '1m'\nrun_if = 'P.X.nu > 1.0'\noutputs.mandatory = ['V']\n\
         [modules.E]\nimage = 'e:1'\nclass = 'default'\ntime_limit = '1m'\ninputs.optional = ['X@previous']\n\
         outputs.mandatory = ['U']\n[modules.C]",
    );
    let old = pipeline(&text, MODEL);
    let without = text.replace("['X', 'Y']", "['Y']");
    let mistakes = load("p.toml", &without, Some(MODEL)).unwrap_err().to_string();
    assert!(mistakes.contains("product `X` is neither made by a module nor an external"), "{mistakes}");
    let new = load_after("p.toml", &without, Some(MODEL), Some(&old)).unwrap();
    let difference = compare(&old, &new);
    let products: Vec<String> =
        difference.products.iter().map(|of| format!("{} {}", of.product, of.change.words())).collect();
    assert_eq!(products, ["X is gone"]);
    let breaks: Vec<&str> = difference.breaks.iter().map(|of| of.module.as_str()).collect();
    assert_eq!(breaks, ["B", "D", "E"]);
    let modules: Vec<&str> = difference.modules.iter().map(|module| module.as_str()).collect();
    assert_eq!((modules, difference.gone.len()), (vec!["A"], 0), "the others are as they were");
    // What the definition before did not have is a mistake as ever.
    let typo = without.replace("['X']\n", "['XX']\n");
    let mistakes = load_after("p.toml", &typo, Some(MODEL), Some(&old)).unwrap_err().to_string();
    assert!(mistakes.contains("`XX`"), "{mistakes}");
}

/// C reads a column of X in its condition, and nothing else of it.
const READING: &str = "inputs.optional = ['Y']\nrun_if = 'P.X.nu > 1.0'";

/// Modules that break when `from` is `to`, as the strict reading of the new definition has it and as the lenient one.
fn breaks_when(from: &str, to: &str) -> (bool, Vec<String>) {
    let text = PIPELINE.replace("inputs.optional = ['Y']", READING).replace("inputs.mandatory = ['X']", "");
    let old = pipeline(&text, MODEL);
    let changed = format!("{text}\u{0}{MODEL}");
    assert!(changed.contains(from), "{from}");
    let changed = changed.replace(from, to);
    let (text, model) = changed.split_once('\u{0}').unwrap();
    let runs = load("p.toml", text, Some(model)).is_ok();
    let difference = compare(&old, &load_after("p.toml", text, Some(model), Some(&old)).unwrap());
    (runs, difference.breaks.iter().map(|of| format!("{} {}", of.module, of.reads.change.words())).collect())
}

#[test]
fn a_condition_breaks_by_the_columns_that_it_names_alone_also_where_it_cannot_run_without_them() {
    let nothing = || (true, Vec::new());
    assert_eq!(breaks_when("[products.X.columns.n]", "[products.X.columns.m]"), nothing());
    assert_eq!(breaks_when("ndim = 1", "ndim = 2"), nothing());
    assert_eq!(breaks_when("ndim = 1", "ndim = 1\noptional = true"), nothing());
    assert_eq!(breaks_when("'uHz'", "'Hz'"), (true, vec!["C column nu is in Hz, not uHz".to_owned()]));
    let gone = (false, vec!["C has no column nu any more".to_owned()]);
    assert_eq!(breaks_when("[products.X.columns.nu]", "[products.X.columns.mu]"), gone);
    let kind = (false, vec!["C column nu is string, not float".to_owned()]);
    assert_eq!(breaks_when("'float'", "'string'"), kind);
    let shape = (false, vec!["C column nu has 1 dimensions, not 0".to_owned()]);
    assert_eq!(breaks_when("ndim = 0", "ndim = 1"), shape);
}

#[test]
fn another_maker_is_told_and_breaks_nobody() {
    let moved = "outputs.mandatory = ['Y']\n[modules.A9]\nimage = 'a:9'\ninputs.mandatory = ['LC']\noutputs.mandatory = ['X']\n";
    let (products, breaks, _) = check("outputs.mandatory = ['X', 'Y']\n", moved);
    assert_eq!((products.as_str(), breaks.as_str()), ("X comes from A9, not A", ""));
    let optional = moved.replace("outputs.mandatory = ['X']", "outputs.optional = ['X']");
    let (products, breaks, _) = check("outputs.mandatory = ['X', 'Y']\n", &optional);
    assert_eq!(products, "X comes from A9, not A; X may be missing; it was in every success");
    assert_eq!(breaks, "B");
    let delivered = PIPELINE.replace("['X', 'Y']", "['Y']").replace("['LC']\n[classes", "['LC', 'X']\n[classes");
    // Where it is staged is part of the definition of who reads it, which so is another one, too.
    let (products, breaks, adapted) = check(PIPELINE, &delivered);
    let told = (products.as_str(), breaks.as_str(), adapted.as_str());
    assert_eq!(told, ("X comes from ingestion, not A", "", "B"));
}

#[test]
fn a_module_that_is_gone_or_switched_off_is_named() {
    let old = pipeline(PIPELINE, MODEL);
    let end = PIPELINE.find("[modules.C]").unwrap();
    for text in [PIPELINE[..end].to_owned(), PIPELINE.replace("['Y']\n", "['Y']\nenabled = false\n")] {
        let difference = compare(&old, &pipeline(&text, MODEL));
        let gone: Vec<&str> = difference.gone.iter().map(|module| module.as_str()).collect();
        assert_eq!((gone, difference.modules.len()), (vec!["C"], 0));
    }
}

#[test]
fn a_module_that_is_changed_with_it_is_taken_to_know() {
    let (text, model) = (PIPELINE.replace("b:1", "b:2"), MODEL.replace("'uHz'", "'Hz'"));
    let difference = compare(&pipeline(PIPELINE, MODEL), &pipeline(&text, &model));
    assert_eq!((difference.breaks.len(), difference.adapted[0].module.as_str()), (0, "B"));
    let names: Vec<&str> = difference.modules.iter().map(|module| module.as_str()).collect();
    assert_eq!(names, ["B"]);
}
