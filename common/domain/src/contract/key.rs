//! The content address of a result.
//!
//! SHA-256 over a versioned, canonical text of everything that determines the result: equal keys, equal results. Every
//! field is preceded by its length, so that no two different lists of fields give the same text. Not in it: mode, limits,
//! class, host, retries, documentation.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Absence, InputRole, Staging};
use crate::expression::{Expression, Read, Scalar, What};
use crate::id::{ImageIdentity, Key, ProductName};
use crate::pipeline::Module;
use crate::product::{Origin, Source};

/// Version of the text below; a change of it makes every result be computed again.
const FORMAT: &str = "sas-key-1";

/// The key of what `module`, run as the image with this identity, makes of these inputs.
pub fn key(module: &Module, identity: &ImageIdentity, staging: &Staging) -> Key {
    let mut hash = Sha256::new();
    describe(module, identity, staging, &mut |field| {
        hash.update(format!("{}:", field.len()));
        hash.update(field);
    });
    Key::from_bytes(hash.finalize().into())
}

/// The seed of a module's random numbers: the first 64 bits of the key.
pub fn seed(key: &Key) -> u64 {
    let bytes = key.as_bytes();
    u64::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]])
}

/// Gives every field of the text to `write`, in order. Each list is preceded by its name and the number of its fields.
pub(super) fn describe(module: &Module, identity: &ImageIdentity, staging: &Staging, write: &mut dyn FnMut(&str)) {
    let mut list = |name: &str, fields: Vec<String>| write_list(name, &fields, write);
    list("format", vec![FORMAT.to_owned()]);
    list("image", vec![identity.to_string()]);
    define(module, &mut list);
    list("inputs", inputs(staging));
    list("reads", reads(staging));
}

/// Writes a list of fields, preceded by its name and their number.
pub(super) fn write_list(name: &str, fields: &[String], write: &mut dyn FnMut(&str)) {
    write(name);
    write(&fields.len().to_string());
    fields.iter().for_each(|field| write(field));
}

/// The lists of what a module's definition says of its results, besides its inputs.
pub(super) fn define(module: &Module, list: &mut dyn FnMut(&str, Vec<String>)) {
    list("command", module.command.clone());
    list("environment", module.environment.iter().flat_map(|(name, value)| [name.clone(), value.clone()]).collect());
    list("parameters", values(&module.parameters));
    list("params", values(&params(module)));
    let outputs = &module.outputs;
    list("outputs.mandatory", names(&outputs.mandatory));
    list("outputs.optional", names(&outputs.optional));
    list("outputs.nullable", names(&outputs.nullable));
    let conditional = outputs.conditional.iter();
    let conditional: BTreeSet<[String; 2]> =
        conditional.map(|output| [output.product.to_string(), output.when.text().to_owned()]).collect();
    list("outputs.conditional", conditional.into_iter().flatten().collect());
}

fn names(products: &[ProductName]) -> Vec<String> {
    let mut names: Vec<String> = products.iter().map(ToString::to_string).collect();
    names.sort_unstable();
    names
}

/// Origin, product, clause and digest of each declared input, in order.
fn inputs(staging: &Staging) -> Vec<String> {
    let mut inputs: BTreeSet<[String; 4]> = BTreeSet::new();
    for staged in &staging.staged {
        let [origin, product] = source(&staged.source);
        inputs.insert([origin, product, clause(staged.role), staged.digest.to_string()]);
    }
    for (absent, absence) in &staging.absent {
        let [origin, product] = source(absent);
        // An alternative that another one outranks cannot change the result: it is not looked at.
        if *absence != Absence::Outranked {
            inputs.insert([origin, product, "absent".to_owned(), String::new()]);
        }
    }
    inputs.into_iter().flatten().collect()
}

/// Origin, product, what is looked at, and its type and value, of each thing that conditions read, in order.
fn reads(staging: &Staging) -> Vec<String> {
    let read = |(read, value): &(Read, Option<Scalar>)| {
        let [origin, product] = source(&read.source);
        let what = match &read.what {
            What::Column(column) => format!("column {column}"),
            What::Made => "made".to_owned(),
            What::Valid => "valid".to_owned(),
            What::Any(_) => "any".to_owned(),
            What::All(_) => "all".to_owned(),
        };
        let value = match value {
            Some(Scalar::Bool(value)) => format!("bool {value}"),
            Some(Scalar::Int(value)) => format!("int {value}"),
            Some(Scalar::Float(value)) => format!("float {}", bits(*value)),
            Some(Scalar::Text(value)) => format!("text {value}"),
            None => "absent".to_owned(),
        };
        [origin, product, what, value]
    };
    let reads: BTreeSet<[String; 4]> = staging.reads.iter().map(read).collect();
    reads.into_iter().flatten().collect()
}

/// Where a product is staged, and its name.
pub(super) fn source(source: &Source) -> [String; 2] {
    let origin = match source.origin {
        Origin::StarExternal | Origin::SharedExternal => "external",
        Origin::Module(_) => "product",
        Origin::Previous => "previous",
    };
    [origin.to_owned(), source.product.to_string()]
}

fn clause(role: InputRole) -> String {
    match role {
        InputRole::OneOf(list) => format!("one_of {list}"),
        InputRole::Mandatory | InputRole::Conditional | InputRole::Optional => "input".to_owned(),
    }
}

/// The pipeline's parameters that the module's conditions name.
fn params(module: &Module) -> BTreeMap<String, Value> {
    let inputs = module.inputs.conditional.iter().map(|input| &input.when);
    let outputs = module.outputs.conditional.iter().map(|output| &output.when);
    let conditions = module.run_if.iter().chain(inputs).chain(outputs);
    conditions.flat_map(Expression::params).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Names and values, in order.
fn values(values: &BTreeMap<String, Value>) -> Vec<String> {
    let mut fields = Vec::new();
    for (name, value) in values {
        fields.push(name.clone());
        canonical(value, &mut fields);
    }
    fields
}

/// A JSON value as fields that no library's way of writing numbers or ordering names can change.
fn canonical(value: &Value, fields: &mut Vec<String>) {
    match value {
        Value::Null => fields.push("null".to_owned()),
        Value::Bool(value) => fields.push(format!("bool {value}")),
        Value::Number(number) => fields.push(match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => format!("int {number}"),
            (None, Some(number)) => format!("int {number}"),
            (None, None) => format!("float {}", bits(number.as_f64().unwrap_or(f64::NAN))),
        }),
        Value::String(text) => fields.push(format!("text {text}")),
        Value::Array(values) => {
            fields.push(format!("array {}", values.len()));
            values.iter().for_each(|value| canonical(value, fields));
        }
        Value::Object(values) => {
            fields.push(format!("table {}", values.len()));
            for (name, value) in values.iter().collect::<BTreeMap<_, _>>() {
                fields.push(name.clone());
                canonical(value, fields);
            }
        }
    }
}

/// A number's bits: 16 hexadecimal digits of its IEEE 754 form; all NaN are one.
fn bits(number: f64) -> String {
    if number.is_nan() { "nan".to_owned() } else { format!("{:016x}", number.to_bits()) }
}
