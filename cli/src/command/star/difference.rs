//! `sas star diff` in words.

use coordinator::operate::star::{ColumnDifference, ProductDifference, StarDifference};
use store::agent::ColumnFacts;

use super::products::value;
use crate::output::{Format, Table, note, table};

pub(crate) fn print(format: Format, star: &StarDifference) {
    format.print_list(star, rows);
    if format == Format::Table {
        note(&words(star));
    }
}

fn rows(star: &StarDifference) -> Table {
    let mut table = table(["PRODUCT", "COLUMN", "BEFORE", "AFTER", "DIFFERENCE", "RELATIVE", "UNIT"]);
    let empty = String::new;
    for product in &star.lost {
        table.add_row([product.to_string(), empty(), "there".to_owned(), "gone".to_owned(), empty(), empty(), empty()]);
    }
    for product in &star.gained {
        table.add_row([product.to_string(), empty(), empty(), "new".to_owned(), empty(), empty(), empty()]);
    }
    for product in &star.changed {
        let ProductDifference { not_produced_before, not_produced_after, columns, .. } = product;
        let name = product.product.to_string();
        if not_produced_before.is_some() || not_produced_after.is_some() {
            let said = |reason: &Option<String>| match reason {
                Some(reason) => format!("not produced: {reason}"),
                None => "there".to_owned(),
            };
            let (before, after) = (said(not_produced_before), said(not_produced_after));
            table.add_row([name, empty(), before, after, empty(), empty(), empty()]);
            continue;
        }
        if columns.is_empty() {
            table.add_row([name.clone(), empty(), empty(), "other attributes".to_owned(), empty(), empty(), empty()]);
        }
        for column in columns {
            let ColumnDifference { before, after, .. } = column;
            let shown = |facts: &Option<ColumnFacts>| facts.as_ref().map_or_else(|| "-".to_owned(), value);
            let relative = column.relative.map(|part| format!("{:+.3} %", part * 100.0)).unwrap_or_default();
            let (before, after) = (shown(before), shown(after));
            table.add_row([name.clone(), column.column.clone(), before, after, by(column), relative, unit(column)]);
        }
    }
    table
}

/// By how much a column differs.
pub(crate) fn by(column: &ColumnDifference) -> String {
    match (column.difference, column.differing, column.largest) {
        (Some(by), ..) => format!("{by:+.6}"),
        (None, Some(elements), Some(most)) => format!("{elements} elements, by {most:.6} at most"),
        (None, Some(elements), None) => format!("{elements} elements"),
        (None, None, _) => "other".to_owned(),
    }
}

/// The unit, or both where they differ.
fn unit(column: &ColumnDifference) -> String {
    let of = |facts: &Option<ColumnFacts>| facts.as_ref().and_then(|facts| facts.unit.clone()).unwrap_or_default();
    let (before, after) = (of(&column.before), of(&column.after));
    if before == after || column.before.is_none() { after } else { format!("{before} → {after}") }
}

fn words(star: &StarDifference) -> String {
    let name = |(number, status): &(_, Option<_>)| match status {
        Some(status) => format!("generation {number} ({status})"),
        None => format!("generation {number}"),
    };
    let (lost, gained, changed) = (star.lost.len(), star.gained.len(), star.changed.len());
    let externals: Vec<String> = star.externals.iter().map(ToString::to_string).collect();
    let externals = if externals.is_empty() { "none".to_owned() } else { externals.join(", ") };
    let alike = star.changed.iter().filter(|change| change.stands_for.is_some());
    let alike: Vec<String> = alike.map(|change| change.product.to_string()).collect();
    let alike = match alike.as_slice() {
        [] => String::new(),
        alike => format!("; within tolerance, so that what is downstream goes on as before: {}", alike.join(", ")),
    };
    format!(
        "{} {}: {} → {}: {changed} products changed, {lost} gone, {gained} new, {} the same; other externals: {externals}{alike}",
        star.star,
        star.quarter,
        name(&star.from),
        name(&star.to),
        star.equal
    )
}
