//! Pipelines by name: as they are configured, or as runs of them had it.

use std::collections::BTreeSet;

use domain::id::{ModuleIndex, ModuleName, PipelineName};
use domain::pipeline::Pipeline;
use domain::text::did_you_mean;

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
    of_run.await?.ok_or_else(|| unknown(name, &configured, "; give its file"))
}

/// The position of a module, which a pipeline must have.
pub(super) fn module_of(pipeline: &Pipeline, module: &ModuleName) -> Result<ModuleIndex, OperateError> {
    pipeline.index_of(module).ok_or_else(|| {
        let known = pipeline.modules.iter().map(|module| module.name.as_str());
        let meant = did_you_mean(module.as_str(), known);
        OperateError::not_found(format!("{} {} has no module {module}{meant}", pipeline.name, pipeline.version))
    })
}

/// A module must be of the configured pipeline of that name, or of a run of it.
pub(super) async fn require_module(
    context: &Context,
    name: &PipelineName,
    module: &ModuleName,
) -> Result<(), OperateError> {
    let all = context.installation.pipelines().await?;
    let configured = all.iter().find(|pipeline| pipeline.name == *name);
    if configured.is_some_and(|pipeline| pipeline.index_of(module).is_some()) {
        return Ok(());
    }
    let is_configured = configured.is_some();
    let of_configured = configured.into_iter().flat_map(|pipeline| &pipeline.modules);
    let mut known: BTreeSet<ModuleName> = of_configured.map(|module| module.name.clone()).collect();
    let (name, module) = (name.clone(), module.clone());
    let look = move |store: &store::Store| {
        let has_it = |run| {
            let record = record(store, run)?;
            let pipeline = pipeline_of(store, &record)?;
            known.extend(pipeline.modules.iter().map(|module| module.name.clone()));
            Ok(pipeline.index_of(&module).map(drop))
        };
        match ask_versions(store, &name, has_it)? {
            (Some(()), _) => Ok(()),
            (None, had_runs) if had_runs || is_configured => {
                let meant = did_you_mean(module.as_str(), known.iter().map(ModuleName::as_str));
                Err(OperateError::not_found(format!("pipeline {name} has no module {module}{meant}")))
            }
            (None, _) => Err(unknown(&name, &all, "")),
        }
    };
    context.ask(look).await
}

fn unknown(name: &PipelineName, configured: &[Pipeline], advice: &str) -> OperateError {
    let meant = did_you_mean(name.as_str(), configured.iter().map(|pipeline| pipeline.name.as_str()));
    OperateError::not_found(format!(
        "no pipeline {name}: it is neither in `[coordinator] pipelines` nor was there ever a run of it{advice}{meant}"
    ))
}
