//! What failed of a star, as it goes on record and as it is listed while the star is in flight. Pure.

use std::time::Duration;

use domain::id::{ImageName, StarIndex, WorkerName};
use domain::outcome::FailureWords;
use domain::pipeline::Module;
use domain::run::TaskState;
use jiff::Timestamp;
use services::state::{Detail, StarView};
use store::course::Course;
use store::runs::{Alike, Amendments, Decision, FailedTasks};

/// The tasks of a star that failed, or that the platform could not run; `decisions` are those about its run.
pub(crate) fn failed(course: &Course, star: StarIndex, view: &StarView, decisions: &[(u64, Decision)]) -> FailedTasks {
    let mut failed = FailedTasks::default();
    for (index, detail) in &view.details {
        let state = view.star.row.cell(*index).state;
        let is_lost = matches!(state, TaskState::Failed | TaskState::Errored) && detail.outcome.state() == state;
        let Some(FailureWords { reason, words, fingerprint }) = FailureWords::of(&detail.outcome).filter(|_| is_lost)
        else {
            continue;
        };
        let Some(module) = course.pipeline.modules.get(index.at()) else { continue };
        let host = detail.worker.as_ref().map(|worker| WorkerName::host(worker).to_owned());
        let image = image(module, detail.started, decisions);
        let alike = Alike { module: *index, reason, image, host, fingerprint };
        failed.add(&alike, &words, (star, view.star.attempt(*index), ended(detail)));
    }
    failed
}

/// When an attempt ended; what is not known of it ended at the epoch.
fn ended(detail: &Detail) -> Timestamp {
    let started = detail.started.unwrap_or(Timestamp::UNIX_EPOCH);
    started.checked_add(Duration::from_millis(detail.millis)).unwrap_or(started)
}

/// The image of an attempt that began then: operators may have amended it before.
fn image(module: &Module, started: Option<Timestamp>, decisions: &[(u64, Decision)]) -> ImageName {
    let is_before = |decision: &Decision| started.is_none_or(|started| decision.at <= started);
    let before: Vec<(u64, Decision)> = decisions.iter().filter(|(_, decision)| is_before(decision)).cloned().collect();
    let amended = Amendments::of(&before).images.remove(&module.name);
    amended.map_or_else(|| module.image.clone(), |amendment| amendment.image)
}
