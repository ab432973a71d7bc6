//! Opening a run: it enters the state, for the first time or again, as the store says that it stands.

use std::time::Duration;

use domain::id::{ModuleIndex, RunId};
use services::state::{RESERVE, RunInfo};
use store::Store;
use store::course::Course;
use store::crash::CrashPoint;

use crate::advance::dispatch::declare;
use crate::running::{Coordinator, Services};
use crate::runs::restore::restore;
use crate::runs::rewind::rewind;
use crate::runs::{follow, holds};
use crate::standing::Standing;
use crate::trouble::Trouble;

/// Enters a run into the state unless it is over. Harmless when it is there.
pub(crate) async fn open(running: &Coordinator, run: RunId) -> Result<(), Trouble> {
    let Services { store, state, queue, .. } = &running.services;
    let orders = follow::orders(running, run).await?;
    if orders.is_over {
        return Ok(());
    }
    let Some(course) = running.course(run).await? else { return Ok(()) };
    if course.pipeline.publishes.is_some() && course.record.only_group.is_none() {
        store.ask(move |store| store.mark_unpublished(run)).await?;
    }
    declare(queue, &course.classes()).await?;
    let mut info = info(&course, &orders, holds::held(store, &course).await?);
    let look = move |store: &Store| Ok((store.has_settled(run)?, store.has_image_identities(run)?));
    let (has_settled, has_begun) = store.ask(look).await?;
    // Workers may run something of it that this life of the state does not know.
    let reserve = if has_begun || orders.amended > 0 { RESERVE } else { Duration::ZERO };
    if has_settled && state.run(run).await?.is_none() {
        // Nothing is admitted until the settled stars are back. Whoever dies meanwhile leaves a run that stands still, which
        // the comparison sees.
        info.cursor = info.stars;
        state.open_run(&info, reserve).await?;
        restore(running, &course, &orders.since_end).await?;
        // Before anything is admitted: tasks that end later are not part of them.
        follow::follow_tasks(running, &course, &orders).await?;
        rewind(running, run).await?;
    } else {
        state.open_run(&info, reserve).await?;
    }
    CrashPoint::RunEntered.reached();
    // Whoever ended it meanwhile closed it before it was opened here.
    if follow::orders(running, run).await?.is_over {
        state.close_run(run).await?;
    }
    running.wakes.admission.notify_one();
    Ok(())
}

fn info(course: &Course, orders: &Standing, held: Vec<ModuleIndex>) -> RunInfo {
    let record = &course.record;
    RunInfo {
        run: record.run,
        pipeline: record.pipeline.clone(),
        version: record.version.clone(),
        quarter: record.quarter,
        stars: course.stars.len(),
        modules: course.pipeline.modules.iter().map(|module| (module.name.clone(), module.class.clone())).collect(),
        horizon: record.horizon,
        accepted: record.accepted,
        phase: orders.phase,
        weight: orders.weight,
        cursor: 0,
        held,
        amended: orders.amended,
    }
}
