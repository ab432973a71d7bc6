//! Whether a product that was made again differs from its reference by no more than is tolerated; and the record of it.

use super::compare::{LARGEST, value};
use super::pack::json;
use super::{AgentResult, delivered, open, parent_of, problem, unwritable};
use crate::agent::wire::*;
use crate::digest::{Walk, Walked, tolerates};
use crate::h5::{File, Type};
use domain::product::Tolerance;

/// Whether everything is equal but the values of columns with numbers, and these differ by no more than is tolerated. Arrays that
/// are too large to be compared differ.
pub(super) fn within(ask: &AskWithin) -> AgentResult<bool> {
    let AskWithin { reference, made, tolerance } = ask;
    let (old, new) = (but_for_numbers(reference, tolerance)?, but_for_numbers(made, tolerance)?);
    if old.digest != new.digest {
        return Ok(false);
    }
    let tolerant = old.columns.iter().filter(|(column, facts)| tolerates(tolerance, column, &facts.dtype));
    for (column, facts) in tolerant {
        let is_small = facts.shape.elements().is_some_and(|elements| elements <= LARGEST);
        let is_whole = matches!(facts.dtype, Type::Int { .. });
        if !is_small || !are_close(&value(reference, column)?, &value(made, column)?, tolerance, (column, is_whole)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A product with a digest of all but the values of columns whose numbers may differ.
fn but_for_numbers(at: &At, tolerance: &Tolerance) -> AgentResult<Walked> {
    let root = open(&at.file)?.into_root(&at.file)?;
    let (parent, name) = parent_of(root.group, &at.path, &at.file)?;
    Walk::new(delivered()).but_for(tolerance).product(&parent, name, &at.path).map_err(problem(&at.file))
}

fn are_close(old: &[Scalar], new: &[Scalar], tolerance: &Tolerance, (column, is_whole): (&str, bool)) -> bool {
    let allowed = if is_whole { tolerance.of_integers(column) } else { tolerance.of(column) };
    let is_close = |(old, new): (&Scalar, &Scalar)| {
        old == new || old.as_f64().zip(new.as_f64()).is_some_and(|(old, new)| allowed.allows(old, new))
    };
    old.len() == new.len() && old.iter().zip(new).all(is_close)
}

/// Writes into a sealed result what its products stand for.
pub(super) fn mark(order: &MarkSealed) -> AgentResult<()> {
    let failed = unwritable(&order.file);
    let file = File::open_to_change(&order.file).map_err(&failed)?;
    let root = file.root().map_err(&failed)?;
    root.create_text("STANDS_FOR", &json(&order.stands_for)).map_err(&failed)?;
    drop(root);
    file.close().map_err(&failed)
}
