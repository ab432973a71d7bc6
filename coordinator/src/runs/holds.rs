//! Modules that operators hold, followed from the store: the state puts their tasks aside, and back when they are released.

use std::sync::Arc;

use domain::id::ModuleIndex;
use services::state::RunView;
use store::Store;
use store::course::Course;

use crate::running::Coordinator;
use crate::trouble::Trouble;

/// The modules of a run that are held now, sorted.
pub(crate) async fn held(store: &Store, course: &Course) -> Result<Vec<ModuleIndex>, Trouble> {
    let pipeline = course.record.pipeline.clone();
    let held = store.ask(move |store| store.held(&pipeline)).await?;
    let mut modules: Vec<ModuleIndex> = held.iter().filter_map(|held| course.pipeline.index_of(&held.module)).collect();
    modules.sort_unstable();
    Ok(modules)
}

/// Lets the state hold what operators hold.
pub(crate) async fn follow(running: &Coordinator, course: &Arc<Course>, view: &RunView) -> Result<(), Trouble> {
    let held = held(&running.services.store, course).await?;
    if held == view.info.held && !view.is_moving {
        return Ok(());
    }
    let run = course.record.run;
    running.services.state.hold(run, &held).await?;
    let names: Vec<&str> = held.iter().map(|module| course.pipeline.module(*module).name.as_str()).collect();
    tracing::info!(%run, held = ?names, "operators decided");
    running.wakes.admission.notify_one();
    Ok(())
}
