//! `sas star products` in words.

use coordinator::operate::star::StarProducts;
use store::agent::ColumnFacts;

use crate::output::{Format, Table, note, table};

pub(crate) fn print(format: Format, star: &StarProducts) {
    if format == Format::Table {
        let status = star.status.map(|status| status.to_string()).unwrap_or_default();
        note(&format!("{} {}, generation {}: {status}", star.star, star.quarter, star.generation));
    }
    format.print_list(star, rows);
}

fn rows(star: &StarProducts) -> Table {
    let mut table = table(["PRODUCT", "COLUMN", "VALUE", "UNIT", "TYPE", "MODULE"]);
    for product in &star.products {
        let module = product.module.as_ref().map(ToString::to_string).unwrap_or_default();
        let name = product.product.to_string();
        if let Some(reason) = &product.not_produced {
            let none = format!("not produced: {reason}");
            table.add_row([name, String::new(), none, String::new(), String::new(), module]);
            continue;
        }
        for (column, facts) in &product.columns {
            let unit = facts.unit.clone().unwrap_or_default();
            table.add_row([name.clone(), column.clone(), value(facts), unit, facts.dtype.clone(), module.clone()]);
        }
    }
    for none in &star.missing {
        let name = none.product.as_ref().map(ToString::to_string).unwrap_or_else(|| "-".to_owned());
        let empty = String::new;
        table.add_row([name, empty(), none.reason.clone(), empty(), empty(), none.module.to_string()]);
    }
    table
}

/// A scalar's value, or the shape of anything else.
pub(crate) fn value(facts: &ColumnFacts) -> String {
    match &facts.value {
        Some(value) => value.to_string(),
        None => {
            let dims: Vec<String> = facts.shape.iter().map(ToString::to_string).collect();
            format!("({})", dims.join(" × "))
        }
    }
}
