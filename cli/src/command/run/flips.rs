//! `sas run flips` as a table.

use coordinator::operate::run::{Flip, FlipCount, RunFlips};
use domain::id::{Generation, ProductName};

use crate::output::{Table, table};

/// How many of each module, then star by star.
pub(super) fn page(found: &RunFlips) -> (String, Table) {
    let RunFlips { run, stars, compared, modules, flips, left_out } = found;
    let mut head = format!("run {run}: {compared} of {stars} stars had ended in an earlier run");
    if modules.is_empty() {
        head += ", and none took another branch";
    }
    for (module, FlipCount { left, taken }) in modules {
        head += &format!("\n{module}: left by {left} stars, taken by {taken}");
    }
    if *left_out > 0 {
        head += &format!("\n{left_out} more are not listed");
    }
    let mut table = table(["STAR", "MODULE", "BRANCH", "GENERATIONS", "PRODUCTS", "WHY SKIPPED"]);
    for Flip { star, module, direction, generations, products, reason, .. } in flips {
        let [before, now] =
            generations.map(|number| number.map_or("-".to_owned(), |number: Generation| number.to_string()));
        let products: Vec<&str> = products.iter().map(ProductName::as_str).collect();
        table.add_row([
            star.to_string(),
            module.to_string(),
            direction.to_string(),
            format!("{before} → {now}"),
            products.join(", "),
            reason.clone(),
        ]);
    }
    (head, table)
}
