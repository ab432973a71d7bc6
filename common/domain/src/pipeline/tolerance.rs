//! By how much products may differ from what they were and count as unchanged: what a definition says of it. Pure.

use std::collections::BTreeMap;

use super::names::{Names, parse};
use crate::id::ProductName;
use crate::product::{ColumnKind, ColumnTolerance, Tolerance};

/// Checks what a definition tolerates; every mistake begins with the field.
pub(super) fn check(
    raw: &BTreeMap<String, Tolerance>,
    names: &Names,
    mistakes: &mut Vec<String>,
) -> BTreeMap<ProductName, Tolerance> {
    let mut checked = BTreeMap::new();
    for (name, tolerance) in raw {
        let Some(product) = parse::<ProductName>(name, "tolerances", mistakes) else { continue };
        let product = names.canonical(product);
        if !names.producers.contains_key(&product) {
            mistakes.push(format!("tolerances: `{name}` is not made by any module"));
        }
        for (field, numbers) in numbers(tolerance) {
            let of = [("rtol", numbers.rtol), ("atol", numbers.atol)];
            for (which, number) in of.into_iter().filter(|(_, number)| !(0.0..f64::INFINITY).contains(number)) {
                mistakes.push(format!("tolerances.{name}: {field}{which}: {number} is no number of 0 or more"));
            }
        }
        if numbers(tolerance).all(|(_, numbers)| numbers == ColumnTolerance::default()) {
            mistakes.push(format!("tolerances.{name}: tolerates nothing, expected `rtol` or `atol` of more than 0"));
        }
        columns(name, tolerance, names, &product, mistakes);
        if checked.insert(product, tolerance.clone()).is_some() {
            mistakes.push(format!("tolerances: `{name}` is another name of a product that is listed already"));
        }
    }
    checked
}

/// Its numbers, each with the beginning of its field.
fn numbers(tolerance: &Tolerance) -> impl Iterator<Item = (String, ColumnTolerance)> {
    let own = ColumnTolerance { rtol: tolerance.rtol, atol: tolerance.atol };
    let columns = tolerance.columns.iter().map(|(column, numbers)| (format!("columns.{column}."), *numbers));
    std::iter::once((String::new(), own)).chain(columns)
}

/// Checks the columns that are named against the data model, where that knows any of the product.
fn columns(name: &str, tolerance: &Tolerance, names: &Names, product: &ProductName, mistakes: &mut Vec<String>) {
    let Some(model) = names.model.products.get(product).filter(|model| !model.columns.is_empty()) else { return };
    for (column, numbers) in &tolerance.columns {
        let wrong = match model.columns.get(column).map(|column| column.kind) {
            None => "is not in the data model",
            Some(ColumnKind::Bool | ColumnKind::String) => "has no numbers: it must be equal",
            Some(ColumnKind::Int) if numbers.rtol > 0.0 => "is of integers, which have an `atol` alone",
            Some(ColumnKind::Float | ColumnKind::Int) => continue,
        };
        mistakes.push(format!("tolerances.{name}: column `{column}` {wrong}"));
    }
}

#[cfg(test)]
mod tests {
    use crate::pipeline::load;

    const MODEL: &str = "[products.X.columns]\nvalue = { type = 'float', ndim = 0 }\nn = { type = 'int', ndim = 0 }\n\
                         flag = { type = 'bool', ndim = 0 }\n";

    fn check(tolerances: &str, expected: &[&str]) {
        let text = format!(
            "name = 'P'\nversion = '1'\ntrigger = 'a/b'\ndata_model = 'm.toml'\n{tolerances}\n\
             [modules.M]\nimage = 'i'\noutputs.mandatory = ['X', 'Y']\n"
        );
        let found = load("p.toml", &text, Some(MODEL)).map_or_else(|error| error.mistakes, |_| Vec::new());
        let found: Vec<String> = found.into_iter().map(|mistake| mistake.message).collect();
        assert_eq!(found, expected, "{tolerances}");
    }

    #[test]
    fn tolerances_are_numbers_of_0_or_more_for_columns_that_have_numbers() {
        check("tolerances.X = { rtol = 1e-6 }\ntolerances.Y = { atol = 1, columns.any = { rtol = 0.1 } }", &[]);
        check("tolerances.X = { columns.n = { atol = 1 }, columns.value = { rtol = 1e-9 } }", &[]);
        check(
            "tolerances.Z = { rtol = 1e-6 }\ntolerances.X = { rtol = -1.0 }\ntolerances.Y = { rtol = 0.0 }",
            &[
                "tolerances.X: rtol: -1 is no number of 0 or more",
                "tolerances.Y: tolerates nothing, expected `rtol` or `atol` of more than 0",
                "tolerances: `Z` is not made by any module",
            ],
        );
        check(
            "[tolerances.X.columns]\nflag = { atol = 1 }\nn = { rtol = 1e-3 }\nnone = { atol = 1 }\nvalue.atol = -2",
            &[
                "tolerances.X: columns.value.atol: -2 is no number of 0 or more",
                "tolerances.X: column `flag` has no numbers: it must be equal",
                "tolerances.X: column `n` is of integers, which have an `atol` alone",
                "tolerances.X: column `none` is not in the data model",
            ],
        );
        check(
            "tolerances.X = { rtol = 1e-6, stol = 2 }",
            &["tolerances.X: unknown field `stol`, expected one of `rtol`, `atol`, `columns`"],
        );
    }
}
