//! Modules that operators hold, followed from the store: the state puts their tasks aside, and back when they are released.

use std::sync::Arc;

use domain::id::ModuleIndex;
use services::state::RunView;

use crate::course::Course;
use crate::ports::Ports;
use crate::trouble::{Trouble, blocking};

/// The modules of a run that are held now, sorted.
pub(crate) async fn held(ports: &Ports, course: &Course) -> Result<Vec<ModuleIndex>, Trouble> {
    let (store, pipeline) = (ports.store.clone(), course.record.pipeline.clone());
    let held = blocking(move || store.held(&pipeline)).await?;
    let mut modules: Vec<ModuleIndex> = held.iter().filter_map(|held| course.pipeline.index_of(&held.module)).collect();
    modules.sort_unstable();
    Ok(modules)
}

/// Lets the state hold what operators hold.
pub(crate) async fn follow(ports: &Ports, course: &Arc<Course>, view: &RunView) -> Result<(), Trouble> {
    let held = held(ports, course).await?;
    if held == view.info.held {
        return Ok(());
    }
    let run = course.record.run;
    ports.state.hold(run, &held).await?;
    let names: Vec<&str> = held.iter().map(|module| course.pipeline.module(*module).name.as_str()).collect();
    tracing::info!(%run, held = ?names, "operators decided");
    ports.wakes.admission.notify_one();
    Ok(())
}
