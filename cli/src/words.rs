//! What commands and the progress of a run say of it in the same words.

use coordinator::operate::view::{RunPhase, RunSummary};
use domain::id::ClassName;

/// Stars that are closed.
pub(crate) fn done(run: &RunSummary) -> u32 {
    if run.phase == RunPhase::Ended { run.stars } else { run.stars.saturating_sub(run.to_come + run.in_flight) }
}

/// That no worker takes tasks of these classes; nothing where there are none.
pub(crate) fn unserved(classes: &[ClassName]) -> Option<String> {
    let names: Vec<&str> = classes.iter().map(ClassName::as_str).collect();
    (!names.is_empty()).then(|| format!("no worker has slots of class {}", names.join(", ")))
}
