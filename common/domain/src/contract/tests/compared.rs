//! Two definitions side by side.

use crate::contract::compare;
use crate::pipeline::{Pipeline, load};

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

#[test]
fn a_module_that_is_changed_with_it_is_taken_to_know() {
    let (text, model) = (PIPELINE.replace("b:1", "b:2"), MODEL.replace("'uHz'", "'Hz'"));
    let difference = compare(&pipeline(PIPELINE, MODEL), &pipeline(&text, &model));
    assert_eq!((difference.breaks.len(), difference.adapted[0].module.as_str()), (0, "B"));
    let names: Vec<&str> = difference.modules.iter().map(|module| module.as_str()).collect();
    assert_eq!(names, ["B"]);
}
