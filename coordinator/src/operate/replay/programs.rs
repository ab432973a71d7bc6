//! The pipeline that is to run, and what its programs are: as runs before had them, unless somebody asks for others.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::contract;
use domain::id::{ImageIdentity, ModuleName, PipelineName, RunId};
use domain::pipeline::{self, Module, Pipeline};
use store::runs::{Amendments, RunRecord};
use store::{Store, StoreError};

use super::request::{DefinitionText, PlannedProgram, ReplayRequest};
use crate::operate::look_up::{ask_versions, pipeline_of, record};
use crate::operate::pipelines::{self, module_of};
use crate::operate::{Context, Images, OperateError};
use crate::settle::identity;

/// How many of the newest runs of the pipeline are asked what their programs were.
const ASKED: usize = 16;

/// What is to run.
pub(super) struct WantedPipeline {
    /// With the images that were asked for.
    pub(super) pipeline: Pipeline,
    /// What its programs are, as far as anybody knows.
    pub(super) programs: BTreeMap<ModuleName, PlannedProgram>,
    /// What runs before were made of, newest first.
    pub(super) before: Arc<[KnownRun]>,
    pub(super) notes: Vec<String>,
}

/// What a run was made of.
pub(super) struct KnownRun {
    pub(super) record: RunRecord,
    pub(super) pipeline: Pipeline,
    /// What its programs were; not of modules that nobody ran, nor of those whose images operators amended.
    identities: BTreeMap<ModuleName, ImageIdentity>,
    /// Modules that may have run as either of two images.
    amended: Vec<ModuleName>,
}

impl KnownRun {
    /// Reads it. Blocks on the disk.
    pub(super) fn read(store: &Store, run: RunId) -> Result<Self, OperateError> {
        let mut record = record(store, run)?;
        let pipeline = pipeline_of(store, &record)?;
        (record.definition, record.data_model) = Default::default();
        let amended: Vec<ModuleName> = Amendments::of(&store.decisions(run)?).images.into_keys().collect();
        let mut identities = BTreeMap::new();
        for module in pipeline.modules.iter().filter(|module| module.enabled && !amended.contains(&module.name)) {
            if let Some(identity) = identity(store, run, module)? {
                identities.insert(module.name.clone(), identity);
            }
        }
        Ok(Self { record, pipeline, identities, amended })
    }

    /// What a module's program was; `None` where nobody ran it, or where it is not certain.
    pub(super) fn identity(&self, module: &ModuleName) -> Option<&ImageIdentity> {
        self.identities.get(module)
    }

    /// Whether a module may have run as either of two images.
    pub(super) fn was_amended(&self, module: &ModuleName) -> bool {
        self.amended.contains(module)
    }

    /// Whether results of a module have the same keys as what this program makes of the same inputs.
    pub(super) fn was_at_work(&self, module: &Module, identity: &ImageIdentity) -> bool {
        let was = self.pipeline.modules.iter().find(|was| was.name == module.name);
        self.identity(&module.name) == Some(identity)
            && was.is_some_and(|was| contract::makes(was) == contract::makes(module))
    }
}

/// Finds what is to run, and writes it into the request, so that the request says all of it.
pub(super) async fn wanted(context: &Context, request: &mut ReplayRequest) -> Result<WantedPipeline, OperateError> {
    let pipeline = definition(context, request).await?;
    for module in request.images.keys() {
        module_of(&pipeline, module)?;
    }
    request.definition =
        Some(DefinitionText { pipeline: pipeline.definition.clone(), data_model: pipeline.data_model.clone() });
    request.version = Some(pipeline.version.clone());
    let pipeline = pipeline.with_images(&request.images);
    let name = request.pipeline.clone();
    let before: Arc<[KnownRun]> = context.ask(move |store| known_runs(store, &name)).await?.into();
    let mut notes = Vec::new();
    if request.programs.is_empty() {
        request.programs = programs(context, request, &pipeline, &before, &mut notes).await?;
    }
    request.resolve = false;
    Ok(WantedPipeline { pipeline, programs: request.programs.clone(), before, notes })
}

/// The pipeline without other images.
async fn definition(context: &Context, request: &ReplayRequest) -> Result<Pipeline, OperateError> {
    let name = &request.pipeline;
    if let Some(text) = &request.definition {
        let model = Some(text.data_model.as_str()).filter(|text| !text.is_empty());
        let pipeline = pipeline::load("the definition", &text.pipeline, model)?;
        if pipeline.name != *name {
            let reason = format!("the definition is of pipeline {}, expected {name}", pipeline.name);
            return Err(OperateError::refused(reason));
        }
        return Ok(pipeline);
    }
    let Some(version) = request.version.clone() else { return pipelines::named(context, name).await };
    let configured = context.installation.pipelines().await?;
    if let Some(found) = configured.iter().find(|pipeline| pipeline.name == *name && pipeline.version == version) {
        return Ok(found.clone());
    }
    let name = name.clone();
    let look = move |store: &Store| {
        let of_run = |run| {
            let mut record = record(store, run)?;
            (record.only_group, record.replay) = (None, None);
            Ok((record.version == version).then(|| pipeline_of(store, &record)).transpose()?)
        };
        ask_versions(store, &name, of_run)?.0.ok_or_else(|| {
            let reason = format!("no pipeline {name} {version}: no coordinator has it, nor had any run; give its file");
            OperateError::not_found(reason)
        })
    };
    context.ask(look).await
}

/// The newest whole runs of a pipeline, newest first.
fn known_runs(store: &Store, name: &PipelineName) -> Result<Vec<KnownRun>, OperateError> {
    let mut ids = Vec::new();
    store.find_run(|record| {
        if record.pipeline == *name && record.only_group.is_none() {
            ids.push(record.run);
        }
        Ok((ids.len() == ASKED).then_some(()))
    })?;
    ids.into_iter().map(|run| KnownRun::read(store, run)).collect()
}

/// What the programs are: on record for those that ran before, looked up for others.
async fn programs(
    context: &Context,
    request: &ReplayRequest,
    pipeline: &Pipeline,
    before: &Arc<[KnownRun]>,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<ModuleName, PlannedProgram>, OperateError> {
    let (runs, modules) = (before.clone(), pipeline.modules.clone());
    let on_record = context.ask(move |store| on_record(store, &runs, &modules)).await?;
    let newest = before.first().map(|run| &run.pipeline);
    let is_new = |module: &Module| {
        let was = newest.and_then(|newest| newest.modules.iter().find(|was| was.name == module.name && was.enabled));
        was.is_none_or(|was| (&was.image, &was.command) != (&module.image, &module.command))
    };
    let is_unknown = |module: &&Module| {
        request.resolve
            || request.images.contains_key(&module.name)
            || !on_record.contains_key(&module.name) && is_new(module)
    };
    let unknown: Vec<&Module> = pipeline.modules.iter().filter(|module| module.enabled).filter(is_unknown).collect();
    let mut programs = on_record.clone();
    if unknown.is_empty() {
        return Ok(programs);
    }
    let resolver = match context.installation.images().await {
        Ok(resolver) => resolver,
        Err(error) if request.resolve => return Err(error),
        Err(error) => {
            let names: Vec<&str> = unknown.iter().map(|module| module.name.as_str()).collect();
            notes.push(format!("what the images of {} stand for is not known here: {error}", names.join(", ")));
            unknown.iter().for_each(|module| drop(programs.remove(&module.name)));
            return Ok(programs);
        }
    };
    for module in unknown {
        match look_up(resolver.as_ref(), module).await {
            Ok(program) => {
                // In a run a subject is one program for all modules that name it.
                let same = programs.values_mut().filter(|other| other.subject == program.subject);
                same.for_each(|other| other.identity.clone_from(&program.identity));
                programs.insert(module.name.clone(), program);
            }
            Err(error) if request.resolve => return Err(error),
            Err(error) => {
                programs.remove(&module.name);
                notes.push(format!("what the image of {} stands for is not known here: {error}", module.name));
            }
        }
    }
    Ok(programs)
}

async fn look_up(resolver: &dyn Images, module: &Module) -> Result<PlannedProgram, OperateError> {
    let identity = resolver.identify(&module.image, &module.command).await?;
    Ok(PlannedProgram { subject: resolver.subject(&module.image, &module.command), identity })
}

/// What programs with these images and commands were when they ran last.
fn on_record(
    store: &Store,
    runs: &[KnownRun],
    modules: &[Module],
) -> Result<BTreeMap<ModuleName, PlannedProgram>, StoreError> {
    let mut found = BTreeMap::new();
    for module in modules.iter().filter(|module| module.enabled) {
        let subjects = [module.image.to_string(), format!("process: {}", serde_json::json!(module.command))];
        'runs: for run in runs {
            for subject in &subjects {
                if let Some(identity) = store.image_identity(run.record.run, subject)? {
                    let program = PlannedProgram { subject: subject.clone(), identity };
                    found.insert(module.name.clone(), program);
                    break 'runs;
                }
            }
        }
    }
    Ok(found)
}
