//! What contracts promise a module of a star, and whether that is what it read: derived from the definition and from what
//! is in the star files, of this quarter and of the one before, alone.

use std::collections::{BTreeMap, BTreeSet};

use domain::expression::{Expression, Known, Scalar};
use domain::pipeline::{Module, Pipeline, load};
use domain::product::{Origin, Source};
use harness::light::{ModuleEnd, StarFile};
use serde_json::{Value, json};

/// Products by where they come from, in the words of star files.
type PromisedInputs = BTreeMap<String, BTreeSet<String>>;

/// The modules of a star that succeeded and did not read exactly what their contracts promise, a line each.
pub(crate) fn broken_promises(pipeline: &Pipeline, file: &StarFile, before: Option<&StarFile>) -> Vec<String> {
    let there = There { pipeline, file, before };
    let ended = pipeline.modules.iter().map(|module| (module, &file.modules[module.name.as_str()]));
    let succeeded = ended.filter(|(_, end)| end.state == "succeeded");
    let differs = |(module, end): (&Module, &ModuleEnd)| {
        let promised = there.promised(module);
        let line = format!("{} read {:?}, and was promised {promised:?}", module.name, end.inputs);
        (end.inputs != promised).then_some(line)
    };
    succeeded.filter_map(differs).collect()
}

/// What there is of a star.
struct There<'a> {
    pipeline: &'a Pipeline,
    file: &'a StarFile,
    before: Option<&'a StarFile>,
}

impl There<'_> {
    /// The inputs of a module that ran: what it cannot do without, there or not, and of the rest what is there.
    fn promised(&self, module: &Module) -> PromisedInputs {
        let inputs = &module.inputs;
        let mut sources: Vec<&Source> = inputs.mandatory.iter().collect();
        sources.extend(inputs.conditional.iter().filter(|input| self.holds(&input.when)).map(|input| &input.source));
        for alternatives in &inputs.one_of {
            let first = alternatives.iter().find(|source| self.has(source));
            sources.push(first.unwrap_or_else(|| panic!("{} ran without any of {alternatives:?}", module.name)));
        }
        sources.extend(inputs.optional.iter().filter(|source| self.has(source)));
        let mut promised = PromisedInputs::new();
        for source in sources {
            promised.entry(self.origin(source)).or_default().insert(source.product.to_string());
        }
        promised
    }

    fn has(&self, source: &Source) -> bool {
        let product = source.product.as_str();
        match source.origin {
            Origin::StarExternal | Origin::SharedExternal => self.file.externals.contains(product),
            Origin::Module(_) => made(self.file, product),
            Origin::Previous => self.before.is_some_and(|before| made(before, product)),
        }
    }

    fn origin(&self, source: &Source) -> String {
        match source.origin {
            Origin::StarExternal => "EXTERNALS".to_owned(),
            Origin::SharedExternal => "PDP".to_owned(),
            Origin::Previous => "PREVIOUS".to_owned(),
            Origin::Module(module) => {
                let (pipeline, module) = (&self.pipeline.name, self.pipeline.module(module));
                let group = module.group.as_ref().expect("the modules of this pipeline have groups");
                format!("{pipeline}-{group}/{pipeline}-{}", module.name)
            }
        }
    }

    fn holds(&self, condition: &Expression) -> bool {
        let scalars: BTreeMap<&Source, BTreeMap<String, Scalar>> =
            condition.reads().iter().map(|read| (&read.source, self.scalars(&read.source))).collect();
        let known = |source: &Source| if self.has(source) { Known::Made(&scalars[source]) } else { Known::Absent };
        condition.evaluate(&known).unwrap_or_else(|error| panic!("{}: {error}", condition.text()))
    }

    fn scalars(&self, source: &Source) -> BTreeMap<String, Scalar> {
        assert!(source.origin != Origin::Previous, "no condition of the pipeline looks back");
        let columns = self.file.scalars.get(source.product.as_str()).into_iter().flatten();
        columns.map(|(column, value)| (column.clone(), scalar(value))).collect()
    }
}

/// Whether a star file has a product, and data in it.
fn made(file: &StarFile, product: &str) -> bool {
    file.products.contains(product) && !file.not_produced.contains(product)
}

fn scalar(value: &Value) -> Scalar {
    match value {
        Value::Bool(value) => Scalar::Bool(*value),
        Value::Number(number) => number.as_i64().map_or(Scalar::Float(number.as_f64().unwrap()), Scalar::Int),
        Value::String(text) => Scalar::Text(text.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => panic!("{value} is no scalar"),
    }
}

/// A module whose input has an optional product less, an alternative too many, or what a false condition forbids.
#[test]
fn an_input_too_many_or_too_few_is_found() {
    let text = "name = 'P'\nversion = '1'\ntrigger = 'l1/lightcurve'\n[externals]\nstar = ['LC', 'KIT', 'OLD']\n\
                [classes.default]\ncpus = 1\nmemory = '1GB'\n\
                [modules.A]\nimage = 'i'\ngroup = 'G'\noutputs.nullable = ['X', 'N']\n\
                [modules.B]\nimage = 'i'\ngroup = 'G'\noutputs.mandatory = ['Y']\n\
                inputs.mandatory = ['LC']\ninputs.optional = ['X', 'N', 'Y@previous']\ninputs.one_of = [['X', 'OLD']]\n\
                inputs.conditional = [{ product = 'KIT', when = 'P.LC.flag' }]\n";
    let pipeline = load("p.toml", text, None).unwrap();
    let star = |flag: bool, inputs: Value| -> StarFile {
        let end =
            |outputs: Value, inputs| json!({"state": "succeeded", "attempt": 1, "outputs": outputs, "inputs": inputs});
        serde_json::from_value(json!({
            "generation": 1, "products": ["X", "N", "Y"], "not_produced": ["N"], "externals": ["KIT", "LC", "OLD"],
            "scalars": {"LC": {"flag": flag}},
            "modules": {"A": end(json!(["X", "N"]), json!({})), "B": end(json!(["Y"]), inputs)},
        }))
        .unwrap()
    };
    let from_a = "P-G/P-A";
    let before = star(false, json!({}));
    let right = json!({"EXTERNALS": ["LC"], from_a: ["X"], "PREVIOUS": ["Y"]});
    assert!(broken_promises(&pipeline, &star(false, right.clone()), Some(&before)).is_empty());
    for (flag, inputs, before) in [
        (false, json!({"EXTERNALS": ["LC"], "PREVIOUS": ["Y"]}), Some(&before)),
        (false, json!({"EXTERNALS": ["LC"], from_a: ["X"]}), Some(&before)),
        (false, json!({"EXTERNALS": ["LC", "OLD"], from_a: ["X"], "PREVIOUS": ["Y"]}), Some(&before)),
        (false, json!({"EXTERNALS": ["LC", "KIT"], from_a: ["X"], "PREVIOUS": ["Y"]}), Some(&before)),
        (false, json!({"EXTERNALS": ["LC"], from_a: ["X", "N"], "PREVIOUS": ["Y"]}), Some(&before)),
        (false, right.clone(), None),
        (true, right, Some(&before)),
    ] {
        let found = broken_promises(&pipeline, &star(flag, inputs.clone()), before);
        assert_eq!(found.len(), 1, "{inputs}");
    }
}
