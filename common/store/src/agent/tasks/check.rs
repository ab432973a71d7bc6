//! Checking what a module wrote: readable, within limits, declared, complete, and as the data model has it.
//!
//! What is wrong is a [`Violation`], not an error: it is the module's.

use std::collections::BTreeSet;

use super::entry;
use super::read::TakenScalars;
use crate::agent::wire::*;
use crate::digest::{DigestedColumn, ProductProblem, Walk, Walked};
use crate::h5::{File, H5Error, LinkKind, Shape, Type};
use domain::id::ProductName;
use domain::outcome::FailureKind;
use domain::product::{Column as Expected, ColumnKind, ProductModel};

/// Names that a message lists at most.
const LISTED: usize = 8;

/// Warnings that are on record at most.
const MOST_WARNINGS: usize = 1000;

/// Characters of a message at most.
const LONGEST: usize = 1000;

/// Checks an output, or that there is none; the first violation ends it. Warnings about units come before those about extra
/// columns.
pub(super) fn check(check: &Check, file: Option<&File>) -> Checked {
    let mut checked = Checked::default();
    let mut extra = Vec::new();
    checked.violation = examine(check, file, &mut checked, &mut extra).err();
    checked.warnings.extend(extra);
    checked.warnings.truncate(MOST_WARNINGS);
    checked.warnings.iter_mut().for_each(shorten);
    if let Some(violation) = &mut checked.violation {
        shorten(&mut violation.message);
    }
    checked
}

/// Cuts a message that quotes what may be of any length.
fn shorten(message: &mut String) {
    if let Some((end, _)) = message.char_indices().nth(LONGEST) {
        message.truncate(end);
        message.push('…');
    }
}

type Examined<T> = Result<T, Violation>;

pub(super) fn violation(kind: FailureKind, message: String) -> Violation {
    Violation { kind, message }
}

fn examine(check: &Check, file: Option<&File>, checked: &mut Checked, extra: &mut Vec<String>) -> Examined<()> {
    let must: Vec<&ProductName> = check.mandatory.iter().chain(&check.nullable).collect();
    match file {
        Some(file) => products(check, file, checked, extra)?,
        None if must.is_empty() => {}
        None => {
            let names: Vec<&str> = must.iter().map(|name| name.as_str()).take(LISTED).collect();
            let message = format!("output.h5 was not written, expected it with {}", names.join(", "));
            return Err(violation(FailureKind::OutputMissing, message));
        }
    }
    for name in &must {
        if !checked.products.contains_key(*name) {
            let message = format!("/PRODUCTS/{name} is missing, expected a product in every success");
            return Err(violation(FailureKind::OutputMissing, message));
        }
    }
    Ok(())
}

fn products(check: &Check, file: &File, checked: &mut Checked, extra: &mut Vec<String>) -> Examined<()> {
    let broken = |error: H5Error| violation(FailureKind::OutputCorrupt, format!("output.h5: {error}"));
    let root = file.root().map_err(broken)?;
    for (name, kind) in root.links(check.limits.objects).map_err(broken)? {
        if name != "PRODUCTS" {
            let message = format!("/{} is outside /PRODUCTS, where nothing is declared", name.escape_debug());
            return Err(violation(FailureKind::OutputUndeclared, message));
        }
        if kind != LinkKind::Hard {
            return Err(violation(FailureKind::OutputCorrupt, "/PRODUCTS is a link, expected a group".to_owned()));
        }
    }
    let Some(group) = root.subgroup("PRODUCTS").map_err(broken)? else {
        let what =
            if root.has("PRODUCTS").map_err(broken)? { "/PRODUCTS is no group, expected one" } else { return Ok(()) };
        return Err(violation(FailureKind::OutputCorrupt, what.to_owned()));
    };
    let lists = [&check.mandatory, &check.optional, &check.nullable, &check.conditional];
    let declared: BTreeSet<&ProductName> = lists.into_iter().flatten().collect();
    let mut walk = Walk::new(check.limits.clone());
    for (name, kind) in group.links(check.limits.objects).map_err(broken)? {
        let path = format!("/PRODUCTS/{name}");
        let written = name.parse::<ProductName>().ok();
        let product = written.as_ref().map(|written| check.aliases.get(written).unwrap_or(written));
        let Some(product) = product.filter(|product| declared.contains(product)) else {
            let message = format!("/PRODUCTS/{} is not among the outputs of the contract", name.escape_debug());
            return Err(violation(FailureKind::OutputUndeclared, message));
        };
        if checked.products.contains_key(product) {
            let message = format!("{path} is {product} a second time, under another name of it");
            return Err(violation(FailureKind::OutputUndeclared, message));
        }
        if let Some(written) = written.as_ref().filter(|written| *written != product) {
            checked.spelled.insert(product.clone(), written.clone());
        }
        if kind != LinkKind::Hard {
            let message = format!("{path} is a soft, external or user-defined link, expected a group or dataset");
            return Err(violation(FailureKind::OutputCorrupt, message));
        }
        let walked = walk.product(&group, &name, &path).map_err(of_problem)?;
        accept(check, product, &walked, checked)?;
        warn_of_extra(check, product, &walked, extra);
    }
    Ok(())
}

fn of_problem(problem: ProductProblem) -> Violation {
    let kind = match &problem {
        ProductProblem::Unreadable { .. } | ProductProblem::Forbidden { .. } => FailureKind::OutputCorrupt,
        ProductProblem::Unsupported { .. } => FailureKind::UnsupportedType,
        ProductProblem::TooLarge { .. } => FailureKind::OutputTooLarge,
    };
    violation(kind, problem.to_string())
}

/// Takes a product that could be read.
fn accept(check: &Check, name: &ProductName, walked: &Walked, checked: &mut Checked) -> Examined<()> {
    if let Some(reason) = &walked.not_produced {
        if check.mandatory.contains(name) {
            let message = format!("/PRODUCTS/{name} is answered by NOT_PRODUCED ({reason}), but it is mandatory");
            return Err(violation(FailureKind::OutputMissing, message));
        }
    } else if walked.is_group && walked.columns.is_empty() {
        let message =
            format!("/PRODUCTS/{name} is an empty group, expected columns, or the text attribute NOT_PRODUCED");
        return Err(violation(FailureKind::OutputMissing, message));
    } else if let Some(model) = check.model.get(name).filter(|model| !model.columns.is_empty()) {
        // The documents name products without a word on their columns: nothing is odd in them.
        compare(name, model, walked, check.strict_units, &mut checked.warnings)?;
    }
    if let Some(wanted) = check.scalars_of.get(name) {
        let mut taken = TakenScalars::of(wanted.as_ref());
        for (column, facts) in &walked.columns {
            let scalar = facts.scalar.clone().filter(|_| taken.wants(column));
            taken.take(column, scalar, || facts.shape.words(&facts.dtype.word()));
        }
        checked.scalars.insert(name.clone(), taken.read());
    }
    checked.products.insert(name.clone(), entry(walked));
    Ok(())
}

/// Compares the columns of a product with the data model; of units the first that is wrong is a violation where they are strict.
fn compare(
    name: &ProductName,
    model: &ProductModel,
    walked: &Walked,
    strict_units: bool,
    warnings: &mut Vec<String>,
) -> Examined<()> {
    for (column, expected) in &model.columns {
        let Some(found) = walked.columns.get(column) else {
            if expected.optional {
                continue;
            }
            let message = format!("/PRODUCTS/{name}: column {column:?} is missing, expected {}", words(expected));
            return Err(violation(FailureKind::OutputViolates, message));
        };
        if !fits(expected, found) {
            let (expected, found) = (words(expected), found_words(found));
            let message = format!("/PRODUCTS/{name}: column {column:?} is {found}, expected {expected}");
            return Err(violation(FailureKind::OutputViolates, message));
        }
        let (unit, found) = (expected.unit.as_deref(), found.unit.as_deref().unwrap_or_default());
        if unit.is_some_and(|unit| unit != found) {
            let message =
                format!("/PRODUCTS/{name}: column {column:?} has {}, expected {}", of(found), of(unit.unwrap_or("")));
            if strict_units {
                return Err(violation(FailureKind::OutputViolates, message));
            }
            warnings.push(message);
        }
    }
    Ok(())
}

/// A unit in words; a column without one is of the empty unit.
fn of(unit: &str) -> String {
    if unit.is_empty() { "no unit".to_owned() } else { format!("unit {unit:?}") }
}

/// Columns that the data model does not know, of a product whose columns it knows.
fn warn_of_extra(check: &Check, name: &ProductName, walked: &Walked, warnings: &mut Vec<String>) {
    let known = check.model.get(name).filter(|model| !model.columns.is_empty() && walked.not_produced.is_none());
    let Some(model) = known else { return };
    for column in walked.columns.keys().filter(|column| !model.columns.contains_key(*column)) {
        warnings.push(format!("/PRODUCTS/{name}: column {column:?} is not in the data model"));
    }
}

/// Kind and rank as expected, and a value: one element is a scalar, and one without any, as HDF5's null space has it, is none.
fn fits(expected: &Expected, found: &DigestedColumn) -> bool {
    let has_rank = found.shape.dims().len() == expected.ndim as usize || expected.ndim == 0 && found.shape.is_one();
    found.shape != Shape::Null
        && has_rank
        && is_of(expected.kind, &found.dtype)
        && (expected.kind != ColumnKind::Bool || !matches!(found.scalar, Some(Scalar::Int(value)) if value & !1 != 0))
}

fn is_of(kind: ColumnKind, dtype: &Type) -> bool {
    match kind {
        ColumnKind::Float => matches!(dtype, Type::Float { .. } | Type::Int { .. }),
        ColumnKind::Int => matches!(dtype, Type::Int { .. }),
        ColumnKind::Bool => {
            let is_flags = |members: &[(String, i128)]| members.iter().all(|(_, value)| matches!(value, 0 | 1));
            matches!(dtype, Type::Bool { .. } | Type::Bitfield { size: 1, .. } | Type::Int { size: 1, .. })
                || matches!(dtype, Type::Enum { members, .. } if is_flags(members))
        }
        ColumnKind::String => matches!(dtype, Type::FixedText { .. } | Type::Text),
    }
}

fn words(expected: &Expected) -> String {
    format!("{} with {} dimensions", expected.kind, expected.ndim)
}

fn found_words(found: &DigestedColumn) -> String {
    let word = found.dtype.word();
    match (&found.shape, &found.scalar) {
        (Shape::Scalar, Some(Scalar::Int(value))) => format!("{word} {value}"),
        (Shape::Scalar, _) => format!("{word} with 0 dimensions"),
        (shape @ (Shape::Null | Shape::Array(_)), _) => shape.words(&word),
    }
}
