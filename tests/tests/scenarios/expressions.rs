//! Conditions, evaluated by the project and by light's own reading of the contract: both must say the same, whatever was
//! made, not made or lost.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use domain::expression::{EvaluationError, Expression, Known, Scalar, Scope};
use domain::id::{ModuleIndex, ProductName};
use domain::product::{Column, ColumnKind, DataModel, Origin, ProductModel};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

const CASES: u64 = 1500;

/// Products with a messy name, and without.
const PRODUCTS: &[&str] = &["A", "IDP_[FE_H] ", "C"];

/// Columns of every product: name as a member of it, name as a path, kind.
const COLUMNS: &[(&str, &str, ColumnKind)] = &[
    (".flag", "flag", ColumnKind::Bool),
    ("[\"other flag \"]", "other flag ", ColumnKind::Bool),
    (".n", "n", ColumnKind::Int),
    (".value", "value", ColumnKind::Float),
    (".info.name", "info/name", ColumnKind::String),
];

struct Case {
    text: String,
    products: BTreeMap<ProductName, ScalarPresence>,
}

enum ScalarPresence {
    Absent,
    Lost,
    Made(BTreeMap<String, Scalar>),
}

#[test]
fn both_readings_of_the_contract_say_the_same_of_every_condition() {
    let cases: Vec<Case> = (0..CASES).map(|seed| case(&mut StdRng::seed_from_u64(seed))).collect();
    let theirs = light(&cases);
    let mut seen = [0_u32; 3];
    for (case, theirs) in cases.iter().zip(theirs) {
        let ours = project(case);
        let kind = [json!(true), json!(false), json!("undecided")].iter().position(|value| *value == ours);
        seen[kind.unwrap_or_else(|| panic!("{}: {ours}", case.text))] += 1;
        assert_eq!(ours, theirs, "{} with {}", case.text, products_json(case));
    }
    assert!(seen.iter().all(|count| *count > 150), "one-sided cases: {seen:?}");
}

/// The project's answer, in light's words.
fn project(case: &Case) -> Value {
    let columns = COLUMNS.iter().map(|(_, path, kind)| {
        ((*path).to_owned(), Column { kind: *kind, ndim: 0, unit: None, optional: false, doc: None })
    });
    let product = ProductModel { columns: columns.collect() };
    let model = DataModel { products: PRODUCTS.iter().map(|name| (name.parse().unwrap(), product.clone())).collect() };
    let scope = Scope {
        products: &|_| Some(Origin::Module(ModuleIndex(0))),
        previous: &|_| true,
        params: &BTreeMap::from([("three".to_owned(), json!(3))]),
        model: &model,
        aliases: &BTreeMap::new(),
        unknown: "unknown",
    };
    let expression =
        Expression::compile(&case.text, &scope).unwrap_or_else(|errors| panic!("{}: {errors:?}", case.text));
    let answer = expression.evaluate(&|source| match &case.products[&source.product] {
        ScalarPresence::Absent => Known::Absent,
        ScalarPresence::Lost => Known::Lost,
        ScalarPresence::Made(columns) => Known::Made(columns),
    });
    match answer {
        Ok(value) => json!(value),
        Err(EvaluationError::Lost(_)) => json!("undecided"),
        Err(EvaluationError::Broken(reason)) => json!({ "error": reason }),
    }
}

/// The answers of light, all from one process.
fn light(cases: &[Case]) -> Vec<Value> {
    let mut child = Command::new("/usr/bin/python3")
        .args(["-m", "light.cel"])
        .env("PYTHONPATH", harness::light::modules())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: String = cases
        .iter()
        .map(|case| {
            let line = json!({ "text": case.text, "products": products_json(case), "params": { "three": 3 } });
            format!("{line}\n")
        })
        .collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let done = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(done.status.success());
    let answers = String::from_utf8(done.stdout).unwrap();
    answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn products_json(case: &Case) -> Value {
    let product = |presence: &ScalarPresence| match presence {
        ScalarPresence::Absent => json!("absent"),
        ScalarPresence::Lost => json!("lost"),
        ScalarPresence::Made(columns) => columns
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    Scalar::Bool(value) => json!(value),
                    Scalar::Int(value) => json!(value),
                    Scalar::Float(value) => json!(value),
                    Scalar::Text(value) => json!(value),
                };
                (name.clone(), value)
            })
            .collect(),
    };
    case.products.iter().map(|(name, presence)| (name.to_string(), product(presence))).collect()
}

fn case(random: &mut StdRng) -> Case {
    let products = PRODUCTS.iter().map(|name| (name.parse().unwrap(), presence(random))).collect();
    Case { text: condition(random, 3), products }
}

fn presence(random: &mut StdRng) -> ScalarPresence {
    match random.random_range(0..8) {
        0 => ScalarPresence::Absent,
        1 => ScalarPresence::Lost,
        _ => ScalarPresence::Made(
            COLUMNS.iter().map(|(_, path, kind)| ((*path).to_owned(), scalar(random, *kind))).collect(),
        ),
    }
}

fn scalar(random: &mut StdRng, kind: ColumnKind) -> Scalar {
    match kind {
        ColumnKind::Bool => Scalar::Bool(random.random()),
        ColumnKind::Int => Scalar::Int(random.random_range(-3..6)),
        ColumnKind::Float => Scalar::Float([-1.0, 0.0, 2.5, 1e300][random.random_range(0..4)]),
        ColumnKind::String => Scalar::Text(["", "µ", "a\"b"][random.random_range(0..3)].to_owned()),
    }
}

/// A condition of at most this many levels.
fn condition(random: &mut StdRng, depth: u32) -> String {
    if depth == 0 || random.random_ratio(1, 4) {
        return term(random);
    }
    let mut inner = || condition(random, depth - 1);
    let (a, b, c) = (inner(), inner(), inner());
    match random.random_range(0..8) {
        0..=2 => format!("{a} && {b}"),
        3..=5 => format!("({a} || {b})"),
        6 => format!("!({a})"),
        _ => format!("(({a}) ? ({b}) : ({c}))"),
    }
}

fn term(random: &mut StdRng) -> String {
    let name = PRODUCTS[random.random_range(0..PRODUCTS.len())];
    match random.random_range(0..9) {
        0 => format!("made(\"{name}\")"),
        1 => format!("valid('{name}')"),
        2 => format!("any(\"{name}\")"),
        3 => format!("all(\"{name}\")"),
        4 => read(random, ColumnKind::Bool),
        5 => format!("{} == 'µ'", read(random, ColumnKind::String)),
        6 => format!("{} {} 0.5", read(random, ColumnKind::Float), order(random)),
        7 => format!("{} * 2 - 1 {} params.three", read(random, ColumnKind::Int), order(random)),
        _ => format!("{} {} {}", read(random, ColumnKind::Int), order(random), read(random, ColumnKind::Int)),
    }
}

fn order(random: &mut StdRng) -> &'static str {
    ["==", "!=", "<", "<=", ">", ">="][random.random_range(0..6)]
}

/// A column of this kind, of some product.
fn read(random: &mut StdRng, kind: ColumnKind) -> String {
    let columns: Vec<_> = COLUMNS.iter().filter(|(_, _, of)| *of == kind).collect();
    let (member, ..) = columns[random.random_range(0..columns.len())];
    let name = PRODUCTS[random.random_range(0..PRODUCTS.len())];
    format!("P[\"{name}\"]{member}")
}
