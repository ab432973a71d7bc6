//! Pipelines by name: as they are configured, or as runs of them had it.

use domain::id::{ModuleName, PipelineName};
use domain::pipeline::Pipeline;

use super::look_up::{ask_versions, newest_run_of, pipeline_of, record};
use super::{Context, OperateError};

/// The pipeline of this name as it is configured, else as its newest run had it.
pub(super) async fn named(context: &Context, name: &PipelineName) -> Result<Pipeline, OperateError> {
    let configured = context.installation.pipelines().await?;
    if let Some(found) = configured.iter().find(|pipeline| pipeline.name == *name) {
        return Ok(found.clone());
    }
    let wanted = name.clone();
    let of_run = context.ask(move |store| {
        let Some(run) = newest_run_of(store, &wanted)? else { return Ok(None) };
        let mut record = record(store, run)?;
        record.only_group = None;
        Ok::<_, OperateError>(Some(pipeline_of(store, &record)?))
    });
    of_run.await?.ok_or_else(|| unknown(name, "; give its file"))
}

/// A module must be of the configured pipeline of that name, or of a run of it.
pub(super) async fn require_module(
    context: &Context,
    name: &PipelineName,
    module: &ModuleName,
) -> Result<(), OperateError> {
    let configured = context.installation.pipelines().await?;
    let configured = configured.iter().find(|pipeline| pipeline.name == *name);
    if configured.is_some_and(|pipeline| pipeline.index_of(module).is_some()) {
        return Ok(());
    }
    let is_configured = configured.is_some();
    let (name, module) = (name.clone(), module.clone());
    let look = move |store: &store::Store| {
        let has_it = |run| {
            let record = record(store, run)?;
            Ok(pipeline_of(store, &record)?.index_of(&module).map(drop))
        };
        match ask_versions(store, &name, has_it)? {
            (Some(()), _) => Ok(()),
            (None, had_runs) if had_runs || is_configured => {
                Err(OperateError::not_found(format!("pipeline {name} has no module {module}")))
            }
            (None, _) => Err(unknown(&name, "")),
        }
    };
    context.ask(look).await
}

fn unknown(name: &PipelineName, advice: &str) -> OperateError {
    OperateError::not_found(format!(
        "no pipeline {name}: it is neither in `[coordinator] pipelines` nor was there ever a run of it{advice}"
    ))
}
