//! Dry expansion: what an event would come to, before anything runs.

use std::collections::BTreeMap;

use domain::id::{DatasetName, ModuleName, PipelineName, Quarter};
use domain::pipeline::{Module, Pipeline};
use schemars::JsonSchema;
use serde::Serialize;
use store::runs::Took;

use super::replay::measured;
use super::run::StartRun;
use super::{Context, OperateError, pipelines, run};

/// What one pipeline would have to do for the stars of one quarter.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Expansion {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// Its version.
    pub version: String,
    /// The quarter.
    pub quarter: Quarter,
    /// Stars.
    pub stars: u64,
    /// Tasks, where no condition skips any.
    pub tasks: u64,
    /// Hours of CPUs, as tasks took in earlier runs and classes have them; none where no run of it made anything.
    pub cpu_hours: Option<f64>,
    /// Modules that never made anything, of which the hours say nothing.
    pub unmeasured: Vec<ModuleName>,
    /// What a star waits for before it enters, where it is more than the event.
    pub trigger: Option<String>,
}

/// What an event of a dataset would come to over so many stars of each quarter.
pub async fn of_event(
    context: &Context,
    dataset: &DatasetName,
    stars: &BTreeMap<Quarter, u64>,
) -> Result<Vec<Expansion>, OperateError> {
    let mut expansions = Vec::new();
    for pipeline in context.installation.pipelines().await?.iter() {
        if pipeline.trigger.on.datasets().any(|named| named == dataset) {
            expansions.extend(expand(context, pipeline, stars).await?);
        }
    }
    Ok(expansions)
}

/// What a run that somebody wishes to start would come to.
pub async fn of_start(context: &Context, asked: StartRun) -> Result<Vec<Expansion>, OperateError> {
    let pipeline = pipelines::named(context, &asked.pipeline).await?;
    of_start_defined(context, asked, &pipeline).await
}

/// The same, of a pipeline whose definition the caller has.
pub async fn of_start_defined(
    context: &Context,
    asked: StartRun,
    pipeline: &Pipeline,
) -> Result<Vec<Expansion>, OperateError> {
    let group = asked.only_group.clone();
    let quarters = run::stars_to_start(context, asked, pipeline).await?;
    let stars = quarters.iter().map(|(quarter, stars)| (*quarter, stars.len() as u64)).collect();
    let pipeline = match &group {
        Some(group) => pipeline.clone().limited_to(group),
        None => pipeline.clone(),
    };
    let expansions = expand(context, &pipeline, &stars).await?;
    // Whoever starts a run does not wait.
    Ok(expansions.into_iter().map(|expansion| Expansion { trigger: None, ..expansion }).collect())
}

async fn expand(
    context: &Context,
    pipeline: &Pipeline,
    stars: &BTreeMap<Quarter, u64>,
) -> Result<Vec<Expansion>, OperateError> {
    let name = pipeline.name.clone();
    let took = context.ask(move |store| measured(store, &name)).await?;
    Ok(stars.iter().map(|(quarter, stars)| of(pipeline, &took, *quarter, *stars)).collect())
}

/// Pure.
fn of(pipeline: &Pipeline, took: &BTreeMap<ModuleName, Took>, quarter: Quarter, stars: u64) -> Expansion {
    let enabled: Vec<&Module> = pipeline.modules.iter().filter(|module| module.enabled).collect();
    let mut hours = None;
    let mut unmeasured = Vec::new();
    for module in &enabled {
        match took.get(&module.name).filter(|took| took.tasks > 0) {
            Some(took) => {
                let cpus = pipeline.classes.get(&module.class).map_or(1.0, |class| class.cpus);
                let each = took.millis as f64 / took.tasks as f64 / 3.6e6;
                *hours.get_or_insert(0.0) += each * cpus * stars as f64;
            }
            None => unmeasured.push(module.name.clone()),
        }
    }
    Expansion {
        pipeline: pipeline.name.clone(),
        version: pipeline.version.clone(),
        quarter,
        stars,
        tasks: stars * enabled.len() as u64,
        cpu_hours: hours,
        unmeasured,
        trigger: pipeline.trigger.plain().is_none().then(|| pipeline.trigger.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_so_many_tasks_and_hours_before_anything_runs() {
        let text = "name = 'P'\nversion = '1'\ntrigger = 'a & b'\nclasses.big = { cpus = 4, memory = '1GB' }\n\
                    [modules.A]\nimage = 'i'\n[modules.B]\nimage = 'i'\nclass = 'big'\n[modules.C]\nimage = 'i'\n\
                    [modules.D]\nimage = 'i'\nenabled = false\n";
        let pipeline = domain::pipeline::load("p.toml", text, None).unwrap();
        let took =
            [("A", 36_000), ("B", 72_000)].map(|(name, millis)| (name.parse().unwrap(), Took { tasks: 10, millis }));
        let expansion = of(&pipeline, &took.into(), Quarter::FIRST, 1000);
        assert_eq!((expansion.stars, expansion.tasks), (1000, 3000));
        assert_eq!(expansion.cpu_hours, Some(1.0 + 8.0));
        assert_eq!(expansion.unmeasured, ["C".parse().unwrap()]);
        assert_eq!(expansion.trigger.as_deref(), Some("a & b"));
        assert_eq!(of(&pipeline, &BTreeMap::new(), Quarter::FIRST, 1).cpu_hours, None);
    }
}
