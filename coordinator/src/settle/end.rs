//! How a star ended, and what is on record of it: in words of its row and of what is known of its tasks. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use domain::id::{Generation, Key, ModuleIndex, StarId};
use domain::outcome::{Outcome, Skip};
use domain::pipeline::Module;
use domain::run::TaskState;
use services::state::{Admission, Detail, StarView};
use store::agent::{Assemble, GenerationInfo, ModuleEntry, ends};
use store::course::Course;
use store::runs::StarEnd;

/// How a star ended, the worst of its tasks deciding.
pub(super) fn star_end(view: &StarView) -> StarEnd {
    let missing = view.details.iter().any(|(module, detail)| {
        view.star.row.cell(*module).state == TaskState::Skipped
            && matches!(detail.outcome, Outcome::Skipped(Skip::MissingExternal { .. }))
    });
    StarEnd::of_row(&view.star.row, missing)
}

/// Keys of the tasks that succeeded.
pub(super) fn keys(view: &StarView) -> BTreeMap<ModuleIndex, Key> {
    let key = |(module, detail): (&ModuleIndex, &Detail)| match &detail.outcome {
        Outcome::Succeeded(success) if view.star.row.cell(*module).state == TaskState::Succeeded => {
            Some((*module, success.key))
        }
        Outcome::Succeeded(_)
        | Outcome::Skipped(_)
        | Outcome::UpstreamFailed { .. }
        | Outcome::Failed(_)
        | Outcome::Errored(_) => None,
    };
    view.details.iter().filter_map(key).collect()
}

/// What a star file holds; the caller says where it is built, and as which generation.
pub(super) fn assemble(course: &Course, star: StarId, view: &StarView, admission: &Admission) -> Assemble {
    let record = &course.record;
    let modules: Vec<ModuleEntry> =
        course.pipeline.indexed().map(|(index, module)| entry(view, index, module)).collect();
    Assemble {
        dest: PathBuf::new(),
        store: PathBuf::new(),
        star,
        quarter: record.quarter,
        externals: admission.externals.clone(),
        generation: GenerationInfo {
            number: Generation::default(),
            run: record.run,
            pipeline: record.pipeline.clone(),
            version: record.version.clone(),
            horizon: record.horizon,
            previous: admission.previous,
            row: view.star.row.as_bytes().to_vec(),
            ends: ends(&modules),
            status: None,
            lost: BTreeSet::new(),
            last_complete: None,
        },
        modules,
    }
}

/// What is on record of a module.
fn entry(view: &StarView, index: ModuleIndex, module: &Module) -> ModuleEntry {
    let state = view.star.row.cell(index).state;
    // What is known may be of a try before the one that counts.
    let detail = view.details.get(&index).filter(|detail| detail.outcome.state() == state);
    ModuleEntry {
        module: module.name.clone(),
        group: module.group.as_ref().map(ToString::to_string).unwrap_or_default(),
        state,
        outcome: detail.map(|detail| detail.outcome.clone()),
        attempt: view.star.attempt(index),
        worker: detail.and_then(|detail| detail.worker.clone()),
        started: detail.and_then(|detail| detail.started),
        millis: detail.map_or(0, |detail| detail.millis),
        image: module.image.clone(),
        declares: module.outputs.products().cloned().collect(),
    }
}
