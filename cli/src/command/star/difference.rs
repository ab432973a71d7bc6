//! `sas star diff` in words.

use coordinator::operate::star::{ColumnDifference, ProductDifference, StarDifference};
use domain::id::Digest;
use store::agent::ColumnFacts;

use super::products::value;
use crate::output::{Format, Table, note, table};

/// Digits of a digest that a table for people shows.
const SHORT: usize = 12;

pub(crate) fn print(format: Format, star: &StarDifference) {
    let digits = if format == Format::Csv { usize::MAX } else { SHORT };
    format.print_list(star, |star| rows(star, digits));
    if format == Format::Table {
        note(&words(star));
    }
}

/// With so many digits of digests.
fn rows(star: &StarDifference, digits: usize) -> Table {
    let mut table = table([
        "PRODUCT",
        "COLUMN",
        "BEFORE",
        "AFTER",
        "DIFFERENCE",
        "RELATIVE",
        "UNIT",
        "DIGEST BEFORE",
        "DIGEST AFTER",
        "STANDS FOR",
    ]);
    let mut add = |product: &str, shown: [String; 6], digests: [String; 3]| {
        table.add_row([product.to_owned()].into_iter().chain(shown).chain(digests));
    };
    for product in &star.lost {
        add(product.as_str(), said("there", "gone"), Default::default());
    }
    for product in &star.gained {
        add(product.as_str(), said("", "new"), Default::default());
    }
    for change in &star.changed {
        let digest = |digest: Digest| digest.to_string().chars().take(digits).collect::<String>();
        let stands_for = change.stands_for.as_ref().map(|before| digest(before.digest)).unwrap_or_default();
        let digests = [digest(change.digests.0), digest(change.digests.1), stands_for];
        for shown in changes(change) {
            add(change.product.as_str(), shown, digests.clone());
        }
    }
    table
}

/// What was and what is, where that is told in words.
fn said(before: &str, after: &str) -> [String; 6] {
    ["", before, after, "", "", ""].map(str::to_owned)
}

/// The columns of a product that differ, or in which way else it does.
fn changes(change: &ProductDifference) -> Vec<[String; 6]> {
    let ProductDifference { not_produced_before, not_produced_after, columns, .. } = change;
    if not_produced_before.is_some() || not_produced_after.is_some() {
        let words = |reason: &Option<String>| match reason {
            Some(reason) => format!("not produced: {reason}"),
            None => "there".to_owned(),
        };
        return vec![said(&words(not_produced_before), &words(not_produced_after))];
    }
    if columns.is_empty() {
        return vec![said("", "other attributes")];
    }
    let row = |column: &ColumnDifference| {
        let shown = |facts: &Option<ColumnFacts>| facts.as_ref().map_or_else(|| "-".to_owned(), value);
        let relative = column.relative.map(|part| format!("{} %", signed(part * 100.0))).unwrap_or_default();
        let (before, after) = (shown(&column.before), shown(&column.after));
        [column.column.clone(), before, after, by(column), relative, unit(column)]
    };
    columns.iter().map(row).collect()
}

/// By how much a column differs.
pub(crate) fn by(column: &ColumnDifference) -> String {
    match (column.difference, column.differing, column.largest) {
        (Some(by), ..) => signed(by),
        (None, Some(elements), Some(most)) => format!("{elements} elements, by {} at most", significant(most)),
        (None, Some(elements), None) => format!("{elements} elements"),
        (None, None, _) => "other".to_owned(),
    }
}

fn signed(number: f64) -> String {
    let sign = if number.is_sign_negative() { "" } else { "+" };
    format!("{sign}{}", significant(number))
}

/// A number with six significant digits, however small it is; a whole one with all of them.
fn significant(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return format!("{number:.0}");
    }
    let scientific = format!("{number:.5e}");
    let (digits, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let trimmed = |digits: &str| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    match usize::try_from(5 - power) {
        Ok(decimals) if power >= -4 => trimmed(&format!("{number:.decimals$}")),
        Ok(_) | Err(_) => format!("{}e{power}", trimmed(digits)),
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
    let alike = star.changed.iter().filter(|change| change.counts_as_unchanged());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_have_significant_digits_however_small_they_are() {
        let told =
            [0.0, 1.0, -2.5, 1e-11, -1.234_567_89e-9, 0.000_123_456_789, 1_234_567.0, 123_456.789, 1.5e18].map(signed);
        let expected = ["+0", "+1", "-2.5", "+1e-11", "-1.23457e-9", "+0.000123457", "+1234567", "+123457", "+1.5e18"];
        assert_eq!(told, expected);
        assert_eq!(significant(f64::NAN), "NaN");
    }
}
