//! Columns of products: what they are, and how they differ between two files.

use std::collections::BTreeMap;

use super::AgentResult;
use super::read::each_column;
use crate::agent::wire::*;
use crate::h5::{Attributed, Dataset, H5Error, Shape};

/// Elements of the largest arrays that are compared one by one.
pub(super) const LARGEST: u64 = 5_000_000;

/// How many values of a list are told.
const FIRST: usize = 3;

/// All columns of a product.
pub(super) fn columns(at: &At) -> AgentResult<BTreeMap<String, ColumnFacts>> {
    let mut columns = BTreeMap::new();
    each_column(at, &mut |name, dataset| {
        columns.insert(name.to_owned(), facts(dataset)?);
        Ok(())
    })?;
    Ok(columns)
}

fn facts(dataset: &Dataset) -> Result<ColumnFacts, H5Error> {
    let shape = dataset.shape()?;
    let (mut value, mut first) = (None, Vec::new());
    match &shape {
        shape if shape.is_one() => value = dataset.value(1)?.scalar(),
        Shape::Array(dims) if dims.len() == 1 => first = dataset.value(FIRST as u64)?.first(FIRST),
        Shape::Null | Shape::Scalar | Shape::Array(_) => {}
    }
    let unit = dataset.text_attribute("unit")?;
    Ok(ColumnFacts { dtype: dataset.dtype()?.word(), shape: shape.dims().to_vec(), unit, value, first })
}

/// The columns in which two products differ.
pub(super) fn compare([before, after]: &[At; 2]) -> AgentResult<BTreeMap<String, ColumnChange>> {
    let (old, new) = (columns(before)?, columns(after)?);
    let mut changes = BTreeMap::new();
    for (name, facts) in &old {
        let change =
            ColumnChange { before: Some(facts.clone()), after: new.get(name).cloned(), differing: None, largest: None };
        changes.insert(name.clone(), change);
    }
    for (name, facts) in &new {
        let gained = ColumnChange { before: None, after: Some(facts.clone()), differing: None, largest: None };
        changes.entry(name.clone()).or_insert(gained);
    }
    // Arrays of one shape are held in memory one pair at a time.
    for (name, change) in &mut changes {
        let (Some(old), Some(new)) = (&change.before, &change.after) else { continue };
        let elements = old.shape.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim));
        let is_small = elements.is_some_and(|elements| elements <= LARGEST);
        if old.shape == new.shape && !old.shape.is_empty() && is_small {
            let difference = difference(&value(before, name)?, &value(after, name)?);
            (change.differing, change.largest) = (Some(difference.0), difference.1);
        }
    }
    changes.retain(|_, change| is_change(change));
    Ok(changes)
}

fn is_change(change: &ColumnChange) -> bool {
    let same = match (&change.before, &change.after) {
        // NaN is not another value than NaN.
        (Some(old), Some(new)) => format!("{old:?}") == format!("{new:?}"),
        (Some(_), None) | (None, Some(_)) | (None, None) => false,
    };
    let is_compared = change.before.as_ref().is_some_and(|facts| facts.shape.is_empty()) || change.differing == Some(0);
    !(same && is_compared)
}

/// How many elements differ, and by how much at most where they are finite numbers.
fn difference(old: &[Scalar], new: &[Scalar]) -> (u64, Option<f64>) {
    let (mut differing, mut largest) = (old.len().abs_diff(new.len()) as u64, None);
    for (old, new) in old.iter().zip(new) {
        let numbers = old.as_f64().zip(new.as_f64());
        let are_nan = numbers.is_some_and(|(old, new)| old.is_nan() && new.is_nan());
        if old == new || are_nan {
            continue;
        }
        differing += 1;
        let by = numbers.map(|(old, new)| (new - old).abs()).filter(|by| by.is_finite());
        largest = by.map(|by| largest.map_or(by, |most: f64| most.max(by))).or(largest);
    }
    (differing, largest)
}

/// A column's values.
pub(super) fn value(at: &At, column: &str) -> AgentResult<Vec<Scalar>> {
    let mut values = Vec::new();
    each_column(at, &mut |name, dataset| {
        if name == column {
            values = dataset.value(u64::MAX)?.first(usize::MAX);
        }
        Ok(())
    })?;
    Ok(values)
}
