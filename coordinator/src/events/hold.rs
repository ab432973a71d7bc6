//! Runs that are larger than an event may start by itself: they wait, paused, for an operator.

use domain::pipeline::Pipeline;
use jiff::Timestamp;
use store::audit::{AuditRecord, Door, Target, Verb};
use store::events::EventRecord;
use store::runs::{Decided, Decision, RunRecord};
use store::{Store, StoreError};

/// Who decides it.
const COORDINATOR: &str = "sas-coordinator";

/// Pauses a run of more than `most` tasks before anything of it is admitted, unless somebody decided something about it, or asked
/// for exactly this run. Blocks on the disk.
pub(super) fn hold(
    store: &Store,
    most: u64,
    event: &EventRecord,
    run: &RunRecord,
    pipeline: &Pipeline,
) -> Result<(), StoreError> {
    let modules = pipeline.modules.iter().filter(|module| module.enabled).count();
    let tasks = u64::from(run.stars) * modules as u64;
    let is_asked_for = event.event.data.start.is_some() && event.event.source != super::TRIGGER;
    if most == 0 || tasks <= most || is_asked_for || !store.decisions(run.run)?.is_empty() {
        return Ok(());
    }
    let at = Timestamp::now();
    let decision = Decision { at, by: COORDINATOR.to_owned(), what: Decided::Pause };
    let number = store.decide(run.run, &decision)?;
    let record = AuditRecord {
        at,
        who: COORDINATOR.to_owned(),
        door: Door::Setting,
        verb: Verb::Pause,
        target: Target::Run { run: run.run },
        count: Some(run.stars.into()),
        reason: Some(format!("{tasks} tasks are more than `[coordinator] hold_above`, {most}")),
        decision: Some(number),
        effect: format!("it is held for approval: `sas run resume {}` lets it go on", run.run),
    };
    store.audit(&record)?;
    tracing::warn!(run = %run.run, tasks, most, "the run is held for approval: `sas run resume` lets it go on");
    Ok(())
}
