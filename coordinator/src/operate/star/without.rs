//! Why a result was made without the quarter before, where its pipeline's policy is the reason.

use domain::id::{Quarter, RunId};
use store::agent::{InputRecord, InputSource, Provenance};
use store::runs::{QuarterVerdict, StarEnd};

use crate::operate::Context;

/// The policy in words, where the result was given nothing of the quarter before for the sake of that. What is on record of the
/// run that made it may be gone: then nobody knows.
pub(super) async fn without_previous(context: &Context, made: &Provenance) -> Option<String> {
    let is_missed = |input: &InputRecord| input.source == InputSource::Previous && input.absent.is_some();
    let before = made.quarter.previous().filter(|_| made.inputs.iter().any(is_missed))?;
    let (run, star) = (made.run, made.star);
    match context.ask(move |store| store.quarter_verdict(run, star)).await.ok().flatten()? {
        QuarterVerdict::Without { run, end } => Some(words(before, run, end)),
        QuarterVerdict::Waits { .. } | QuarterVerdict::Held { .. } | QuarterVerdict::Enters => None,
    }
}

fn words(before: Quarter, run: RunId, end: Option<StarEnd>) -> String {
    let why = match end {
        None => format!("{before} was not settled yet in run {run}"),
        Some(end) => format!("{before} ended as {end} in run {run}"),
    };
    format!("left out, for previous = \"without\" and {why}")
}
