//! Pipelines by name: as they are configured, or as runs of them had it.

use std::collections::BTreeSet;

use domain::id::{ClassName, DatasetName, GroupName, ImageName, ModuleIndex, ModuleName, PipelineName};
use domain::pipeline::{Module, Pipeline};
use domain::text::did_you_mean;
use schemars::JsonSchema;
use serde::Serialize;

use super::look_up::{ask_versions, newest_run_of, pipeline_of, record};
use super::{Context, OperateError};

/// A pipeline in a list.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PipelineSummary {
    /// Its name.
    pub pipeline: PipelineName,
    /// Its version.
    pub version: String,
    /// What starts it: a dataset, or an expression over datasets with what else is said of it.
    pub trigger: String,
    /// The dataset that its results are, if they start others.
    pub publishes: Option<DatasetName>,
    /// How many modules it has.
    pub modules: usize,
}

/// A pipeline with its modules and edges.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PipelineView {
    /// The pipeline.
    #[serde(flatten)]
    pub summary: PipelineSummary,
    /// Its modules in topological order.
    pub nodes: Vec<ModuleView>,
}

/// A module of a pipeline.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ModuleView {
    /// Its name.
    pub module: ModuleName,
    /// The group that it is drawn in.
    pub group: Option<GroupName>,
    /// One line about it.
    pub doc: String,
    /// Its image.
    pub image: ImageName,
    /// Its resource class.
    pub class: ClassName,
    /// Whether it is ever run.
    pub enabled: bool,
    /// The condition under which it runs.
    pub run_if: Option<String>,
    /// The edges: modules that it waits for.
    pub upstream: Vec<ModuleName>,
}

/// The pipelines that events start, by name.
pub async fn list(context: &Context) -> Result<Vec<PipelineSummary>, OperateError> {
    Ok(context.installation.pipelines().await?.iter().map(PipelineSummary::of).collect())
}

/// A pipeline as it is configured, else as its newest run had it.
pub async fn show(context: &Context, name: &PipelineName) -> Result<PipelineView, OperateError> {
    let pipeline = named(context, name).await?;
    let node = |module: &Module| ModuleView {
        module: module.name.clone(),
        group: module.group.clone(),
        doc: module.doc.clone(),
        image: module.image.clone(),
        class: module.class.clone(),
        enabled: module.enabled,
        run_if: module.run_if.as_ref().map(|expression| expression.text().to_owned()),
        upstream: module.upstream.iter().map(|index| pipeline.module(*index).name.clone()).collect(),
    };
    Ok(PipelineView { summary: PipelineSummary::of(&pipeline), nodes: pipeline.modules.iter().map(node).collect() })
}

impl PipelineSummary {
    fn of(pipeline: &Pipeline) -> Self {
        Self {
            pipeline: pipeline.name.clone(),
            version: pipeline.version.clone(),
            trigger: pipeline.trigger.to_string(),
            publishes: pipeline.publishes.as_ref().map(|publishes| publishes.dataset.clone()),
            modules: pipeline.modules.len(),
        }
    }
}

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
        (record.only_group, record.replay) = (None, None);
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
